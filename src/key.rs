//! Keys and bucket names: what is allowed, and the owned, checked key.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use crate::error::{Error, ErrorKind, Result};

/// The longest key, in bytes.
pub(crate) const KEY_LEN_MAX: usize = 4_000;
/// The longest bucket name, in bytes.
pub(crate) const BUCKET_NAME_LEN_MAX: usize = 252;

/// A checked key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Box<str>);

impl Key {
    /// Checks and keeps a key.
    ///
    /// # Errors
    /// `InvalidKey`.
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
        let text = std::str::from_utf8(bytes).ok()?;
        Self::new(text).ok()
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
    if key.is_empty() { Err(Error::new(ErrorKind::InvalidKey, "todo")) } else { Ok(()) }
}

pub(crate) fn check_bucket_name(name: &str) -> Result<()> {
    if name.is_empty() { Err(Error::new(ErrorKind::InvalidBucketName, "todo")) } else { Ok(()) }
}
