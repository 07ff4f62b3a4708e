//! Where a watcher was, to be kept and to go on from.
//!
//! A token is opaque; its bytes are a version, what a [`Position`] holds, and a checksum:
//!
//! | size | field |
//! |---|---|
//! | 1 | version: 1 |
//! | varint | the bucket's id |
//! | 8 | the incarnation of the store in which the revision was committed, little-endian |
//! | varint | the commit of the last purge of the whole bucket that the watcher knows of |
//! | varint | the revision |
//! | 4 | checksum over all before it |
//!
//! Refused: another length, version or checksum, a varint longer than needed. Equal tokens have equal bytes. The text form is the bytes as
//! lower-case hexadecimal digits.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use std::fmt;
use std::str::FromStr;

use crate::checksum::checksum;
use crate::codec::{DecodeError, Reader, put_varint};
use crate::error::{Error, ErrorKind, Result};
use crate::number::{BucketId, CommitNumber, Revision};
use crate::resume::Position;

const VERSION: u8 = 1;
const CHECKSUM_LEN: usize = 4;
/// What the checksum is seeded with: no other bytes of ours verify.
const SEED: u64 = u64::from_le_bytes(*b"WATCHTOK");
/// The longest: three varints of ten bytes.
const LEN_MAX: usize = 1 + 10 + 8 + 10 + 10 + CHECKSUM_LEN;

/// Where a watcher was: what it has seen of a bucket, and in which life of the store.
///
/// Kept wherever the watcher keeps what it has learned, as text ([`Display`](fmt::Display), [`FromStr`]) or bytes, it lets that go on after
/// a restart, and misses nothing: what was seen and is not there any more, because a crash took it back, is told by `Diverged`; what cannot
/// be told any more by `Compacted`. It belongs to one bucket of one store, and to every copy of that store. (One
/// that has seen nothing, because its bucket was empty, cannot be told from that of another new store, and gives all there is.)
///
/// A token of 16 to 43 bytes; it is checked when it is read, and not meant to be made by anybody else.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct WatchToken(Position);

impl WatchToken {
    pub(crate) const fn new(position: Position) -> Self {
        Self(position)
    }

    pub(crate) const fn position(&self) -> &Position {
        &self.0
    }

    /// Everything up to this revision was seen.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.0.revision
    }

    /// The token as bytes; at most 43.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        put_varint(&mut bytes, self.0.bucket.0);
        bytes.extend_from_slice(&self.0.incarnation.to_le_bytes());
        put_varint(&mut bytes, self.0.purged.0);
        put_varint(&mut bytes, self.0.revision.0);
        let sum = checksum(SEED, &[&bytes]);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) made.
    ///
    /// # Errors
    /// `InvalidArgument` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        decode(bytes).map(Self).map_err(|error| invalid(format!("{} expected at byte {}", error.what, error.at)))
    }
}

fn decode(bytes: &[u8]) -> std::result::Result<Position, DecodeError> {
    let mut reader = Reader::new(bytes);
    let covered_len = bytes.len().checked_sub(CHECKSUM_LEN).ok_or(reader.error("a token"))?;
    let covered = reader.bytes(covered_len, "a token")?;
    if reader.u32("a checksum")? != checksum(SEED, &[covered]) {
        return Err(Reader::new(covered).error("a token with its own checksum"));
    }
    let mut reader = Reader::new(covered);
    if reader.u8("a version")? != VERSION {
        return Err(Reader::new(covered).error("a token of a version that this program knows"));
    }
    let position = Position {
        bucket: BucketId(reader.varint("a bucket")?),
        incarnation: reader.u64("an incarnation")?,
        purged: CommitNumber(reader.varint("a commit")?),
        revision: Revision(reader.varint("a revision")?),
    };
    reader.finish("the end of the token")?;
    Ok(position)
}

#[cold]
fn invalid(what: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("not a watch token: {what}; give it as it was given out"))
}

impl fmt::Display for WatchToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_bytes().iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for WatchToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "WatchToken({self} at revision {})", self.0.revision)
    }
}

impl FromStr for WatchToken {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.len() > 2 * LEN_MAX || !text.len().is_multiple_of(2) {
            return Err(invalid(format!("{} characters", text.len())));
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte.wrapping_sub(b'0')),
            b'a'..=b'f' => Some(byte.wrapping_sub(b'a').wrapping_add(10)),
            _ => None,
        };
        let byte = |pair: &[u8]| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
        Self::from_bytes(&bytes.ok_or_else(|| invalid("characters other than 0 to 9 and a to f".to_owned()))?)
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(bucket: u64, incarnation: u64, purged: u64, revision: u64) -> WatchToken {
        let (bucket, purged, revision) = (BucketId(bucket), CommitNumber(purged), Revision(revision));
        WatchToken::new(Position { bucket, incarnation, purged, revision })
    }

    #[test]
    fn a_token_has_this_text() {
        let text = token(7, 0x1716_1514_1312_1110, 300, 5).to_string();
        // The checksum was computed by another implementation of CRC-32.
        assert_eq!(text, concat!("01", "07", "1011121314151617", "ac02", "05", "f97cd0d8"));
    }

    #[test]
    fn whatever_is_not_a_token_is_refused() {
        let whole = token(7, u64::MAX, 300, 5).to_string();
        for at in 0..whole.len() {
            for digit in "0123456789abcdef".chars().filter(|digit| !whole[at..].starts_with(*digit)) {
                let changed = format!("{}{digit}{}", &whole[..at], &whole[at + 1..]);
                assert!(changed.parse::<WatchToken>().is_err(), "{changed}");
            }
            assert!(whole[..at].parse::<WatchToken>().is_err());
        }
        for text in
            ["", "0", "zz", &whole.to_uppercase(), &format!("{whole}00"), &format!(" {whole}"), &"00".repeat(100), "\u{e9}\u{e9}"]
        {
            let error = text.parse::<WatchToken>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text}");
        }
    }

    #[test]
    fn a_token_of_another_version_is_told_from_damage() {
        let mut bytes = token(1, 2, 3, 4).to_bytes();
        bytes.truncate(bytes.len() - CHECKSUM_LEN);
        bytes[0] = 2;
        let sum = checksum(SEED, &[&bytes]);
        bytes.extend_from_slice(&sum.to_le_bytes());
        assert!(WatchToken::from_bytes(&bytes).unwrap_err().to_string().contains("version"));
    }

    proptest! {
        #[test]
        fn tokens_round_trip(bucket: u64, incarnation: u64, purged: u64, revision: u64) {
            let token = token(bucket, incarnation, purged, revision);
            prop_assert_eq!(token.to_string().parse::<WatchToken>().unwrap(), token);
            prop_assert!(token.to_bytes().len() <= LEN_MAX);
        }

        #[test]
        fn arbitrary_bytes_behind_a_right_checksum_never_panic_and_what_decodes_has_one_encoding(mut bytes: Vec<u8>) {
            if let Some(version) = bytes.first_mut() {
                *version = VERSION;
            }
            let sum = checksum(SEED, &[&bytes]);
            bytes.extend_from_slice(&sum.to_le_bytes());
            if let Ok(token) = WatchToken::from_bytes(&bytes) {
                prop_assert_eq!(token.to_bytes(), bytes);
            }
        }
    }
}
