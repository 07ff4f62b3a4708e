//! Subject patterns: `*` matches one token, `>` the rest.

use crate::error::Result;

/// A checked pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(Box<str>);

impl Pattern {
    pub(crate) fn parse(pattern: &str) -> Result<Self> {
        Ok(Self(pattern.into()))
    }

    /// Whether a valid key matches.
    pub(crate) fn matches(&self, _key: &[u8]) -> bool {
        todo!()
    }

    /// The longest byte prefix that every match has; the whole pattern if it has no wildcard.
    pub(crate) fn literal_prefix(&self) -> &[u8] {
        todo!()
    }

    /// The one key that matches, where there is no wildcard.
    pub(crate) fn exact(&self) -> Option<&str> {
        todo!()
    }
}
