//! The bytes of a log file: its header, and the frame of its records. (The changes inside a group: [`change`](super::change).)
//!
//! A log file holds commit groups in commit order, each as one record: all of a group or nothing of it comes back after a
//! crash. It is prepared completely before its first use (header, blocks and name durable), so taking it into use needs no call
//! to the file system; a ready file without any record is normal. Everything is little-endian.
//!
//! File header, the first 4096 bytes:
//!
//! | offset | size | field | meaning |
//! |---|---|---|---|
//! | 0 | 8 | magic | `ANNALSWL` |
//! | 8 | 4 | version | 1 |
//! | 12 | 1 | class | 0 every group was synced before its answer; 1 syncs came later |
//! | 13 | 3 | zero | |
//! | 16 | 16 | store | the store's identity |
//! | 32 | 8 | number | the file's own number |
//! | 40 | 8 | salt | random, so that no record of any other file verifies in this one |
//! | 48 | 8 | previous | the number of the log file before this one; 0 = the first since the store was opened |
//! | 56 | 8 | length | the file's length when it was prepared |
//! | 64 | 4028 | zero | |
//! | 4092 | 4 | checksum | over the 4092 bytes before it |
//!
//! Records follow from offset 4096, each at a multiple of 8, with zeros between and after them. A record is this header and its
//! payload:
//!
//! | offset | size | field | meaning |
//! |---|---|---|---|
//! | 0 | 4 | header checksum | over the 44 bytes after it, seeded with the file's store, number and salt |
//! | 4 | 4 | payload length | at most 1 GiB; 0 in a seal |
//! | 8 | 1 | kind | 1 group, 2 seal; 0 is never valid |
//! | 9 | 3 | zero | |
//! | 12 | 4 | change count | commits in the group, at least 1; 0 in a seal |
//! | 16 | 8 | first commit | number of the group's first change; in a seal, at least the number after the last one before it |
//! | 24 | 8 | durable mark | newest commit known to be durable when this was written; below the first commit |
//! | 32 | 8 | now | store time of the group, in nanoseconds |
//! | 40 | 4 | chain | header checksum of the record before this one |
//! | 44 | 4 | payload checksum | over the payload, seeded in the same way |
//!
//! The chain of a file's first record is the header checksum of the last record (the seal) of the file before it, or the
//! checksum of the file's own header where there is no file before it.
//!
//! A seal ends a file: nothing behind it counts. A file is sealed before a newer one takes records, so a file without a seal is
//! the newest with records or has lost its end. A file counts as synced, for the durable mark, only with its seal.
//!
//! Rules of a reader:
//! - WAL-1: a file whose header does not verify, or names another store or number, is corrupt. There is no such thing as a torn
//!   file header, since the name comes after the content.
//! - WAL-2: a verified header with another version, class or anything in the zeros was written by a newer version: refused as
//!   such, as is a verified record of an unknown kind, or one with unknown changes. Magic, version and checksum keep their
//!   places in every version.
//! - WAL-3: each file names the one before it; a missing one is corruption, unless it lies below the log floor.
//! - WAL-4: a record counts if its header and payload verify and its chain fits. The first place where none does is the point X.
//! - WAL-5: a record that verifies and contradicts itself or the commit order was written wrongly: corrupt, never a torn end.
//! - WAL-6: a file shorter than its header says, without a seal, has been cut by somebody: its length was durable before its
//!   first record, and is only ever reduced behind a durable seal. Corrupt.
//! - WAL-7: if any verified header after X, in this file or a newer one, has a durable mark at or above the commit expected at
//!   X, then what is missing at X had been synced: corrupt. In a file of class 0 each group is durable before the next record is
//!   written, so the seal's mark is the last commit before it and proves the whole file. The seal itself is durable before a newer
//!   file takes a record: so any verified header in a newer file proves that what is missing at X, or the seal there, is damaged.
//! - WAL-8: otherwise the log ends at X. Only zeros from there on, in this file and behind the headers of newer ones, is a
//!   clean end; anything else is a torn one: cut even if intact records follow, because those were never synced either, and
//!   keeping them would make a hole.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use std::path::Path;

use crate::checksum::checksum;
use crate::codec::{DecodeError, Reader};
use crate::error::{Error, ErrorKind};
use crate::number::{CommitNumber, FileNumber};

/// What a log file starts with.
pub(crate) const MAGIC: [u8; 8] = *b"ANNALSWL";
/// The layout that this page describes.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// Length of the file header: where the first record lies.
pub(crate) const HEADER_LEN: usize = 4096;
/// Length of a record without its payload; of a seal, all of it.
pub(crate) const RECORD_HEADER_LEN: usize = 4 + 4 + 1 + 3 + 4 + 8 + 8 + 8 + 4 + 4;
/// The longest payload.
pub(crate) const PAYLOAD_LEN_MAX: usize = 1 << 30;
/// Every record starts at a multiple of this.
pub(crate) const RECORD_ALIGNMENT: usize = 8;

const CHECKSUM_LEN: usize = 4;
const HEADER_FIELDS_LEN: usize = 8 + 4 + 1 + 3 + 16 + 8 + 8 + 8 + 8;

const _: () = assert!(RECORD_HEADER_LEN == 48, "change the table above and the golden bytes too");
const _: () = assert!(HEADER_FIELDS_LEN == 64, "change the table above and the golden bytes too");
const _: () = assert!(RECORD_HEADER_LEN.is_multiple_of(RECORD_ALIGNMENT) && HEADER_LEN.is_multiple_of(RECORD_ALIGNMENT));

/// Why bytes are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FormatError {
    /// Not what any version writes.
    Malformed(DecodeError),
    /// Rightly checked bytes with a meaning that this version does not know.
    Unknown(DecodeError),
}

impl From<DecodeError> for FormatError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl FormatError {
    /// The error for a caller: `base` is where in `file` the bytes started.
    pub(crate) fn at(self, file: &Path, base: u64) -> Error {
        match self {
            Self::Malformed(DecodeError { at, what }) => {
                Error::corrupt(file, base.saturating_add(at as u64), format!("the log is damaged: {what} expected"))
            }
            Self::Unknown(DecodeError { at, what }) => Error::new(
                ErrorKind::UnsupportedFormat,
                format!("the log was written by a newer version: {what} unknown to this one (log format {FORMAT_VERSION})"),
            )
            .with_file(file)
            .with_offset(base.saturating_add(at as u64)),
        }
    }
}

/// How a log file was synced: all that recovery needs to know of the durability that it was written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DurabilityClass {
    /// Every group was synced before its answer.
    Sync,
    /// Answers came before the sync: numbers may have been seen that a crash took back.
    Weaker,
}

/// The header of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) class: DurabilityClass,
    pub(crate) store: u128,
    pub(crate) number: FileNumber,
    pub(crate) salt: u64,
    /// 0 = none.
    pub(crate) previous: FileNumber,
    pub(crate) len: u64,
}

impl FileHeader {
    /// The header's bytes and its checksum.
    pub(crate) fn encode(&self) -> (Vec<u8>, u32) {
        let mut out = Vec::with_capacity(HEADER_LEN);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.push(match self.class {
            DurabilityClass::Sync => 0,
            DurabilityClass::Weaker => 1,
        });
        out.extend_from_slice(&[0; 3]);
        out.extend_from_slice(&self.store.to_le_bytes());
        for number in [self.number.0, self.salt, self.previous.0, self.len] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.resize(HEADER_LEN.saturating_sub(CHECKSUM_LEN), 0);
        let crc = checksum(0, &[&out]);
        out.extend_from_slice(&crc.to_le_bytes());
        (out, crc)
    }

    /// Reads the header at the start of a file (WAL-1, WAL-2), and its checksum.
    pub(crate) fn decode(file: &[u8]) -> Result<(Self, u32), FormatError> {
        let mut whole = Reader::new(file);
        let covered = whole.bytes(HEADER_LEN.saturating_sub(CHECKSUM_LEN), "a file header of 4096 bytes")?;
        let crc = whole.u32("the checksum of the file header")?;
        let mut reader = Reader::new(covered);
        if reader.bytes(MAGIC.len(), "magic")? != MAGIC {
            return Err(Reader::new(covered).error("the magic of a log file").into());
        }
        if checksum(0, &[covered]) != crc {
            return Err(reader.error("a file header that its checksum fits").into());
        }
        let at = reader;
        if reader.u32("version")? != FORMAT_VERSION {
            return Err(FormatError::Unknown(at.error("log format version")));
        }
        let at = reader;
        let class = match reader.u32("class")? {
            0 => DurabilityClass::Sync,
            1 => DurabilityClass::Weaker,
            _ => return Err(FormatError::Unknown(at.error("durability class"))),
        };
        let header = Self {
            class,
            store: reader.u128("store")?,
            number: FileNumber(reader.u64("number")?),
            salt: reader.u64("salt")?,
            previous: FileNumber(reader.u64("previous")?),
            len: reader.u64("length")?,
        };
        let rest = reader.bytes(reader.remaining(), "zeros")?;
        if rest.iter().any(|byte| *byte != 0) {
            return Err(FormatError::Unknown(at.error("field in the file header")));
        }
        Ok((header, crc))
    }

    /// What the checksums of this file's records start from.
    pub(crate) fn seed(&self) -> Seed {
        let parts = [&self.store.to_le_bytes()[..], &self.number.0.to_le_bytes(), &self.salt.to_le_bytes()];
        Seed(u64::from(checksum(0, &parts)))
    }
}

/// What the checksums of one file's records start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(u64);

impl Seed {
    /// The checksum of `bytes` in this file.
    #[inline]
    pub(crate) fn checksum(self, bytes: &[u8]) -> u32 {
        checksum(self.0, &[bytes])
    }
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordKind {
    /// A commit group.
    Group,
    /// The end of a file.
    Seal,
}

/// What whoever writes a record says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordFields {
    /// Commits in the group; 0 in a seal.
    pub(crate) change_count: u32,
    /// The number of its first change; in a seal, the next number that will be given out.
    pub(crate) first_commit: CommitNumber,
    /// The newest commit known to be durable.
    pub(crate) durable_mark: CommitNumber,
    /// Store time, in nanoseconds.
    pub(crate) now: u64,
    /// The header checksum of the record before.
    pub(crate) chain: u32,
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) kind: RecordKind,
    pub(crate) payload_len: u32,
    pub(crate) fields: RecordFields,
    pub(crate) payload_crc: u32,
    /// Its own checksum: the chain value of the record after it.
    pub(crate) crc: u32,
}

impl RecordHeader {
    /// The bytes of a header, and its checksum.
    #[inline]
    pub(crate) fn encode(
        seed: Seed,
        kind: RecordKind,
        fields: &RecordFields,
        payload_len: u32,
        payload_crc: u32,
    ) -> ([u8; RECORD_HEADER_LEN], u32) {
        let kind: u32 = match kind {
            RecordKind::Group => 1,
            RecordKind::Seal => 2,
        };
        let mut bytes = [0; RECORD_HEADER_LEN];
        // The order is that of the table; each piece is as long as its field, so that all of them fill the array exactly.
        let pieces: [&[u8]; 9] = [
            &[0; CHECKSUM_LEN],
            &payload_len.to_le_bytes(),
            &kind.to_le_bytes(),
            &fields.change_count.to_le_bytes(),
            &fields.first_commit.0.to_le_bytes(),
            &fields.durable_mark.0.to_le_bytes(),
            &fields.now.to_le_bytes(),
            &fields.chain.to_le_bytes(),
            &payload_crc.to_le_bytes(),
        ];
        let mut rest = &mut bytes[..];
        for piece in pieces {
            if let Some((field, after)) = std::mem::take(&mut rest).split_at_mut_checked(piece.len()) {
                field.copy_from_slice(piece);
                rest = after;
            }
        }
        let mut crc = 0;
        if let Some((field, covered)) = bytes.split_first_chunk_mut::<CHECKSUM_LEN>() {
            crc = seed.checksum(covered);
            *field = crc.to_le_bytes();
        }
        (bytes, crc)
    }

    /// Reads a header: none if it does not verify, an error if it does and makes no sense (WAL-2, WAL-5).
    pub(crate) fn decode(bytes: &[u8; RECORD_HEADER_LEN], seed: Seed) -> Result<Option<Self>, FormatError> {
        let mut reader = Reader::new(bytes);
        let crc = reader.u32("header checksum")?;
        if bytes.split_first_chunk::<CHECKSUM_LEN>().is_none_or(|(_, covered)| seed.checksum(covered) != crc) {
            return Ok(None);
        }
        let payload_len = reader.u32("payload length")?;
        let at = reader;
        let kind = match reader.u32("kind")? {
            0 => return Ok(None),
            1 => RecordKind::Group,
            2 => RecordKind::Seal,
            _ => return Err(FormatError::Unknown(at.error("kind of record"))),
        };
        let fields = RecordFields {
            change_count: reader.u32("change count")?,
            first_commit: CommitNumber(reader.u64("first commit")?),
            durable_mark: CommitNumber(reader.u64("durable mark")?),
            now: reader.u64("now")?,
            chain: reader.u32("chain")?,
        };
        let header = Self { kind, payload_len, fields, payload_crc: reader.u32("payload checksum")?, crc };
        header.check().map_err(|what| at.error(what))?;
        Ok(Some(header))
    }

    fn check(&self) -> Result<(), &'static str> {
        let RecordFields { change_count, first_commit, durable_mark, .. } = self.fields;
        if durable_mark >= first_commit {
            return Err("a durable mark below the record's first commit");
        }
        match self.kind {
            RecordKind::Seal if change_count != 0 || self.payload_len != 0 => Err("a seal without changes and payload"),
            RecordKind::Group if change_count == 0 => Err("a group with at least one change"),
            RecordKind::Group if first_commit.0.checked_add(u64::from(change_count)).is_none() => {
                Err("commit numbers of 64 bits")
            }
            _ if self.payload_len as usize > PAYLOAD_LEN_MAX => Err("a payload of at most 1 GiB"),
            _ => Ok(()),
        }
    }

    /// The number of the group's last change. A seal has none and answers the number before its own.
    pub(crate) const fn last_commit(&self) -> CommitNumber {
        let after = self.fields.first_commit.0.saturating_add(self.fields.change_count as u64);
        CommitNumber(after.saturating_sub(1))
    }
}

/// The bytes that a record with so long a payload takes in the file.
#[inline]
pub(crate) const fn record_len(payload_len: usize) -> usize {
    RECORD_HEADER_LEN.saturating_add(payload_len).saturating_add(RECORD_ALIGNMENT - 1) & !(RECORD_ALIGNMENT - 1)
}

/// The record at `at` and its payload, if one verifies there and lies inside the file (WAL-4 without the chain).
pub(crate) fn read_record(file: &[u8], at: usize, seed: Seed) -> Result<Option<(RecordHeader, &[u8])>, FormatError> {
    let Some((header_bytes, rest)) = file.get(at..).and_then(|bytes| bytes.split_first_chunk::<RECORD_HEADER_LEN>()) else {
        return Ok(None);
    };
    let Some(header) = RecordHeader::decode(header_bytes, seed)? else {
        return Ok(None);
    };
    let payload = rest.get(..header.payload_len as usize);
    Ok(payload.filter(|payload| seed.checksum(payload) == header.payload_crc).map(|payload| (header, payload)))
}
