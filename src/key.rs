//! Keys and bucket names: what is allowed, and the owned, checked key.
//!
//! Every call that takes a key checks it here before anything else happens; formats check again what they read. The check is one
//! pass over a table, without branches per byte and without allocation: a point read pays it each time. Only a refusal looks for
//! the place, so that its message can name the byte. [`Pattern`](crate::subject::Pattern) is built of the same alphabet.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use crate::error::{Error, ErrorKind, Result};

/// The longest key, in bytes.
pub(crate) const KEY_LEN_MAX: usize = 4_000;
/// The longest bucket name, in bytes.
pub(crate) const BUCKET_NAME_LEN_MAX: usize = 252;

/// What messages show of a text; a key of thousands of bytes would bury what is wrong with it.
const SHOWN_CHARS_MAX: usize = 48;

/// Bits of [`CLASSES`]. `FOREIGN` and `DOT` are read by the key check, `NAME` by the bucket name check.
const FOREIGN: u8 = 1;
const DOT: u8 = 1 << 1;
const NAME: u8 = 1 << 2;

/// What each byte is, so that a check is one load per byte.
static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [FOREIGN; 256];
    let mut byte = 0;
    while byte < 128 {
        classes[byte] = match byte as u8 {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => NAME,
            b'/' | b'=' => 0,
            b'.' => DOT,
            _ => FOREIGN,
        };
        byte += 1;
    }
    classes
}

/// A key, checked once and kept, for hot paths and for holding on to.
///
/// A key is a subject: one or more tokens with a dot between them, as in `orders.eu.42`, so that
/// patterns such as `orders.*.42` and `orders.>` can select it. `a` and `a.b` are unrelated keys; case matters; order is that of
/// the bytes. Every call takes plain text as well; a `Key` saves the owner a copy, not the check.
///
/// # Limits
/// - 1 to 4,000 bytes;
/// - `A-Z`, `a-z`, `0-9`, `-`, `_`, `/` and `=` in tokens, and the dot between them;
/// - no empty token: no dot at the start, at the end, or beside another.
///
/// Keys that begin with `_kv` are allowed.
///
/// ```
/// use annals::{ErrorKind, Key};
///
/// let key = Key::new("orders.eu.42")?;
/// assert_eq!(key.as_str(), "orders.eu.42");
/// assert_eq!(key.split('.').count(), 3);
///
/// let error = Key::new("orders eu").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidKey);
/// assert!(error.to_string().starts_with("key has byte 0x20 (' ') at position 6"));
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Box<str>);

impl Key {
    /// Checks a key and keeps a copy of it.
    ///
    /// # Errors
    /// [`InvalidKey`](ErrorKind::InvalidKey) if it is empty, too long, has a byte outside the alphabet or an empty token. The
    /// message names the byte and its position, counted from 0, or the length and the limit.
    ///
    /// ```
    /// use annals::Key;
    /// assert!(Key::new("sessions/2024.ada").is_ok());
    /// assert!(Key::new("sessions..ada").is_err());
    /// ```
    pub fn new(key: impl AsRef<str>) -> Result<Self> {
        check_key(key.as_ref())?;
        Ok(Self(key.as_ref().into()))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A key from bytes that a format stored; they were checked when they were written, and are again.
    pub(crate) fn from_stored(bytes: &[u8]) -> Option<Self> {
        if !is_key(bytes) {
            return None;
        }
        std::str::from_utf8(bytes).ok().map(|text| Self(text.into()))
    }
}

impl Deref for Key {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Key({:?})", self.as_str())
    }
}

pub(crate) fn check_key(key: &str) -> Result<()> {
    if is_key(key.as_bytes()) { Ok(()) } else { Err(refuse_key(key)) }
}

pub(crate) fn check_bucket_name(name: &str) -> Result<()> {
    let is_short = (1..=BUCKET_NAME_LEN_MAX).contains(&name.len());
    if is_short && name.bytes().all(is_name_byte) { Ok(()) } else { Err(refuse_bucket_name(name)) }
}

/// Whether a byte may stand in a token of a key.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & (FOREIGN | DOT) == 0
}

fn is_name_byte(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & NAME != 0
}

fn is_key(key: &[u8]) -> bool {
    if key.is_empty() || key.len() > KEY_LEN_MAX {
        return false;
    }
    // A dot may follow anything but a dot, and both ends count as dots: that is "no empty token".
    let mut previous = DOT;
    let mut faults = 0;
    for &byte in key {
        let class = CLASSES[usize::from(byte)];
        faults |= (class & FOREIGN) | (class & previous & DOT);
        previous = class;
    }
    (faults | (previous & DOT)) == 0
}

#[cold]
fn refuse_key(key: &str) -> Error {
    let refused = Refused { kind: ErrorKind::InvalidKey, noun: "key", text: key };
    if let Some(error) = refused.length(KEY_LEN_MAX) {
        return error;
    }
    let mut previous = b'.';
    for (position, byte) in key.bytes().enumerate() {
        if byte == b'.' && previous == b'.' {
            return refused.byte(position, EMPTY_TOKEN_BEFORE);
        }
        if byte != b'.' && !is_token_byte(byte) {
            return refused.byte(position, "; allowed are A-Z a-z 0-9 - _ / = and . between tokens");
        }
        previous = byte;
    }
    refused.byte(key.len() - 1, EMPTY_TOKEN_AFTER)
}

#[cold]
fn refuse_bucket_name(name: &str) -> Error {
    let refused = Refused { kind: ErrorKind::InvalidBucketName, noun: "bucket name", text: name };
    refused.length(BUCKET_NAME_LEN_MAX).unwrap_or_else(|| {
        let position = name.bytes().position(|byte| !is_name_byte(byte)).unwrap_or_default();
        refused.byte(position, "; allowed are A-Z a-z 0-9 - and _")
    })
}

pub(crate) const EMPTY_TOKEN_BEFORE: &str = " with no token before it; a dot stands between two tokens";
pub(crate) const EMPTY_TOKEN_AFTER: &str = " with no token after it; a dot stands between two tokens";

/// A text that was refused: turns what is wrong with it into the message that a user reads.
pub(crate) struct Refused<'a> {
    pub(crate) kind: ErrorKind,
    pub(crate) noun: &'static str,
    pub(crate) text: &'a str,
}

impl Refused<'_> {
    /// The error, if it is its length that is wrong.
    pub(crate) fn length(&self, limit: usize) -> Option<Error> {
        let Self { kind, noun, text } = *self;
        if text.is_empty() {
            return Some(Error::new(kind, format!("{noun} is empty; it has 1 to {limit} bytes")));
        }
        (text.len() > limit)
            .then(|| Error::new(kind, format!("{noun} is too long, length={} limit={limit} {noun}={self}", text.len())))
    }

    /// The error about the byte at `position`; `advice` continues the sentence. The position must lie inside the text.
    pub(crate) fn byte(&self, position: usize, advice: &str) -> Error {
        let Self { kind, noun, text } = *self;
        let byte = text.as_bytes().get(position).copied().unwrap_or_default();
        // A byte above 0x7f is only a part of a character: show the whole of it.
        let place = (0..=position).rev().find_map(|start| text.get(start..)).and_then(|rest| rest.chars().next());
        let shown = place.map(|character| format!("{character:?}")).unwrap_or_default();
        Error::new(kind, format!("{noun} has byte {byte:#04x} ({shown}) at position {position}{advice}, {noun}={self}"))
    }
}

/// The text in quotes, escaped, cut if it is long.
impl fmt::Display for Refused<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text.char_indices().nth(SHOWN_CHARS_MAX) {
            None => write!(formatter, "{:?}", self.text),
            Some((end, _)) => write!(formatter, "{:?}...", self.text.get(..end).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests;
