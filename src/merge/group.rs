//! All entries of one key at once, in memory that is used again for the next key.

use std::ops::Range;

use super::Lent;
use crate::entry::{Meta, Value};

/// Whether a group needs values; leaving them saves the copies of small ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    /// Hold them.
    Take,
    /// Hold their lengths only.
    Skip,
}

/// Values up to this length are copied into the group's own memory; longer ones share the memory or map that they lie in.
const COPIED_LEN_MAX: usize = 1024;

/// All entries of one key, newest first.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) key: Vec<u8>,
    pub(crate) metas: Vec<Meta>,
    /// How long each value is, also where it was skipped.
    pub(crate) lens: Vec<u64>,
    values: Vec<Held>,
    bytes: Vec<u8>,
}

#[derive(Debug)]
enum Held {
    Copied(Range<usize>),
    Shared(Value),
}

impl Group {
    /// The value of entry `index`; empty if values were skipped.
    pub(crate) fn value(&self, index: usize) -> &[u8] {
        match self.values.get(index) {
            Some(Held::Copied(range)) => self.bytes.get(range.clone()).unwrap_or_default(),
            Some(Held::Shared(value)) => value,
            None => &[],
        }
    }

    pub(super) fn begin(&mut self, key: &[u8]) {
        self.key.clear();
        self.key.extend_from_slice(key);
        self.metas.clear();
        self.lens.clear();
        self.values.clear();
        self.bytes.clear();
    }

    pub(super) fn push(&mut self, entry: &Lent<'_>, values: Values) {
        self.metas.push(entry.meta);
        self.lens.push(entry.value.len() as u64);
        if values == Values::Skip {
            return;
        }
        self.values.push(if entry.value.len() <= COPIED_LEN_MAX {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(entry.value);
            Held::Copied(start..self.bytes.len())
        } else {
            Held::Shared(entry.to_value())
        });
    }
}
