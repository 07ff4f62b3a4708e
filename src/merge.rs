//! K-way merge of sorted sources: key ascending, then newest first.
//!
//! The sources of one bucket stand newest first: every entry of a key in an earlier source is newer than every entry of it in a later one.
//! So the entries of one key are the first source's, then the second's, and so on; no revisions are compared. Used by reads that walk
//! and by `compact`. There are few sources (the number of runs is bounded), so the smallest key is found by looking at each.
//!
//! This module does not decide what is visible: it hands out all entries of a key.

use crate::entry::{Meta, Value};
use crate::error::Result;
use crate::{memtable, run};

/// A sorted source of one bucket's entries.
#[derive(Debug)]
pub(crate) enum Source {
    /// Entries in memory.
    Memtable(memtable::Cursor),
    /// Entries in files.
    Run(run::Cursor),
}

impl Source {
    fn seek(&mut self, key: &[u8]) -> Result<()> {
        match self {
            Self::Memtable(cursor) => {
                cursor.seek(key);
                Ok(())
            }
            Self::Run(cursor) => cursor.seek(key),
        }
    }

    fn next(&mut self) -> Result<()> {
        match self {
            Self::Memtable(cursor) => {
                cursor.next();
                Ok(())
            }
            Self::Run(cursor) => cursor.next(),
        }
    }

    fn key(&self) -> Option<&[u8]> {
        match self {
            Self::Memtable(cursor) => cursor.entry().map(|entry| entry.key),
            Self::Run(cursor) => cursor.entry().map(|entry| entry.key),
        }
    }

    fn entry(&self, values: Values) -> Option<(Meta, Value, u64)> {
        match self {
            Self::Memtable(cursor) => cursor.entry().map(|entry| (entry.meta, entry.value(), entry.value.len() as u64)),
            Self::Run(cursor) => cursor.entry().map(|entry| {
                let value = if values == Values::Take { entry.value() } else { Value::empty() };
                (entry.meta, value, entry.value.len() as u64)
            }),
        }
    }
}

/// Whether a walk needs values; leaving them saves the copies of small ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    /// Hand out values.
    Take,
    /// Hand out empty ones.
    Skip,
}

/// All entries of one key, newest first.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) key: Vec<u8>,
    pub(crate) metas: Vec<Meta>,
    pub(crate) values: Vec<Value>,
    /// How long each value is, also where it was skipped.
    pub(crate) lens: Vec<u64>,
}

/// Walks the keys of several sources.
#[derive(Debug)]
pub(crate) struct Merge {
    sources: Vec<Source>,
}

impl Merge {
    /// Over `sources`, newest first; positioned nowhere until a seek.
    pub(crate) const fn new(sources: Vec<Source>) -> Self {
        Self { sources }
    }

    /// To the first key at or above `key`.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.sources.iter_mut().try_for_each(|source| source.seek(key))
    }

    /// Puts the next key and all its entries into `group`; answers whether there was one.
    pub(crate) fn next_key(&mut self, group: &mut Group, values: Values) -> Result<bool> {
        group.metas.clear();
        group.values.clear();
        group.lens.clear();
        let Some(smallest) = self.sources.iter().filter_map(Source::key).min() else { return Ok(false) };
        group.key.clear();
        group.key.extend_from_slice(smallest);
        for source in &mut self.sources {
            while source.key() == Some(&group.key) {
                let Some((meta, value, len)) = source.entry(values) else { break };
                group.metas.push(meta);
                group.values.push(value);
                group.lens.push(len);
                source.next()?;
            }
        }
        Ok(true)
    }
}
