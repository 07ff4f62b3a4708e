//! K-way merge of sorted sources: key ascending, then newest first; or key descending.
//!
//! The sources of one bucket stand newest first: every entry of a key in an earlier source is newer than every entry of it in a later one.
//! So the entries of one key are the first source's, then the second's, and so on; no revisions are compared. Used by reads that walk
//! and by `compact`.
//!
//! [`Merge`] walks entry by entry and lends each in place: a source's cursor stays where it is until the next call, so nothing is copied
//! that nobody asks for. [`Backward`] walks key by key, because the newest entry of a key is the last that it meets; it collects what is
//! decided on, and goes back to the one entry that is wanted. [`Group`] is all of one key at once, for whoever has to see the whole before
//! it can judge. [`Changes`] goes by revision instead. Direction is a matter of type: nothing turns round.
//!
//! There are few sources (the number of runs is bounded), so the next key is found by looking at each; while one source has all the next
//! keys, by one comparison. This module does not decide what is visible: it hands out all entries of a key.

mod backward;
mod changes;
mod group;
#[cfg(test)]
mod tests;

pub(crate) use backward::Backward;
pub(crate) use changes::{Change, Changes};
pub(crate) use group::{Group, Values};

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

/// An entry where it lies, until its source moves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lent<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) meta: Meta,
    pub(crate) value: &'a [u8],
    source: &'a Source,
}

impl Lent<'_> {
    /// The value to keep: copied if small, sharing memory or map if large.
    pub(crate) fn to_value(self) -> Value {
        let kept = match self.source {
            Source::Memtable(cursor) => cursor.entry().map(|entry| entry.value()),
            Source::Run(cursor) => cursor.entry().map(|entry| entry.value()),
        };
        kept.unwrap_or_else(Value::empty)
    }
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

    fn seek_key(&mut self, key: &[u8], hash: u64) -> Result<()> {
        match self {
            Self::Memtable(cursor) => {
                cursor.seek_key(key, hash);
                Ok(())
            }
            Self::Run(cursor) => cursor.seek(key),
        }
    }

    fn seek_before(&mut self, key: Option<&[u8]>) -> Result<()> {
        match self {
            Self::Memtable(cursor) => {
                cursor.seek_before(key);
                Ok(())
            }
            Self::Run(cursor) => cursor.seek_before(key),
        }
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        match self {
            Self::Memtable(cursor) => {
                cursor.next();
                Ok(())
            }
            Self::Run(cursor) => cursor.next(),
        }
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        match self {
            Self::Memtable(cursor) => {
                cursor.prev();
                Ok(())
            }
            Self::Run(cursor) => cursor.prev(),
        }
    }

    #[inline]
    fn key(&self) -> Option<&[u8]> {
        match self {
            Self::Memtable(cursor) => cursor.entry().map(|entry| entry.key),
            Self::Run(cursor) => cursor.key(),
        }
    }

    #[inline]
    fn entry(&self) -> Option<Lent<'_>> {
        match self {
            Self::Memtable(cursor) => {
                cursor.entry().map(|entry| Lent { key: entry.key, meta: entry.meta, value: entry.value, source: self })
            }
            Self::Run(cursor) => {
                cursor.entry().map(|entry| Lent { key: entry.key, meta: entry.meta, value: entry.value, source: self })
            }
        }
    }
}

/// Walks the entries of several sources forward. After an error it stays where it failed until the next seek.
#[derive(Debug)]
pub(crate) struct Merge {
    sources: Vec<Source>,
    /// The source that has the next key, the newest of those that do; `None` past the end.
    at: Option<usize>,
    /// The one that comes next after it; `None` if it is alone. While the key of `at` is the smaller one, nothing else is looked at.
    rival: Option<usize>,
}

impl Merge {
    /// Over `sources`, newest first; positioned nowhere until a seek.
    pub(crate) const fn new(sources: Vec<Source>) -> Self {
        Self { sources, at: None, rival: None }
    }

    /// To the newest entry of the first key at or above `key`.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.sources.iter_mut().try_for_each(|source| source.seek(key))?;
        self.settle();
        Ok(())
    }

    /// To the newest entry of `key`, which has this hash, if it is there. Memtables need no order for it, so what comes after the key is
    /// not to be asked for.
    pub(crate) fn seek_key(&mut self, key: &[u8], hash: u64) -> Result<()> {
        self.sources.iter_mut().try_for_each(|source| source.seek_key(key, hash))?;
        self.settle();
        Ok(())
    }

    fn settle(&mut self) {
        self.at = self.least_but(None);
        self.rival = self.at.and_then(|at| self.least_but(Some(at)));
    }

    /// The entry that it is at; none past the end.
    #[inline]
    pub(crate) fn entry(&self) -> Option<Lent<'_>> {
        self.sources.get(self.at?)?.entry()
    }

    /// The key of the entry that it is at.
    #[inline]
    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.sources.get(self.at?)?.key()
    }

    /// To the next entry: an older one of the same key, or the newest of the next.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<()> {
        let Some(at) = self.at else { return Ok(()) };
        self.sources[at].next()?;
        let Some(rival) = self.rival else {
            if self.sources[at].key().is_none() {
                self.at = None;
            }
            return Ok(());
        };
        if !self.stands_before(at, rival) {
            self.at = Some(rival);
            self.rival = self.least_but(Some(rival));
        }
        Ok(())
    }

    /// Whether `at` still has an entry, and that one comes before the one of `rival`.
    #[inline]
    fn stands_before(&self, at: usize, rival: usize) -> bool {
        let (Some(key), Some(other)) = (self.sources[at].key(), self.sources[rival].key()) else { return false };
        // Of one key, the entries of the newer source come first.
        if at < rival { key <= other } else { key < other }
    }

    /// The source with the smallest key, the newest of them, leaving one out.
    fn least_but(&self, left_out: Option<usize>) -> Option<usize> {
        let keys = self.sources.iter().enumerate().filter(|(at, _)| Some(*at) != left_out);
        keys.filter_map(|(at, source)| Some((source.key()?, at))).min().map(|(_, at)| at)
    }

    /// Puts all entries of the key that it is at into `group` and moves to the next one; answers whether there was one.
    pub(crate) fn next_key(&mut self, group: &mut Group, values: Values) -> Result<bool> {
        let Some(first) = self.entry() else { return Ok(false) };
        group.begin(first.key);
        while let Some(entry) = self.entry().filter(|entry| entry.key == group.key) {
            group.push(&entry, values);
            self.next()?;
        }
        Ok(true)
    }
}
