//! The same order from its end: key descending, and within a key still newest first.
//!
//! Sources walked backwards meet the entries of a key from the oldest to the newest, one source after the other. So the entries of a key
//! are collected first, without their values, and then the source that holds the wanted one goes back to it.

use super::{Lent, Source};
use crate::entry::Meta;
use crate::error::Result;

/// Walks the keys of several sources backward. After an error it stays where it failed until the next seek.
#[derive(Debug)]
pub(crate) struct Backward {
    sources: Vec<Source>,
    key: Vec<u8>,
    metas: Vec<Meta>,
    /// Which sources have how many of `metas`, in that order. All of them stand before the key.
    spans: Vec<(usize, usize)>,
    /// The source that was moved to a chosen entry, and how far.
    chosen: Option<(usize, usize)>,
}

impl Backward {
    /// Over `sources`, newest first; positioned nowhere until a seek.
    pub(crate) const fn new(sources: Vec<Source>) -> Self {
        Self { sources, key: Vec::new(), metas: Vec::new(), spans: Vec::new(), chosen: None }
    }

    /// Behind the last key below `key`, or behind the last of all: [`prev_key`](Self::prev_key) goes to it.
    pub(crate) fn seek_before(&mut self, key: Option<&[u8]>) -> Result<()> {
        self.metas.clear();
        self.chosen = None;
        self.sources.iter_mut().try_for_each(|source| source.seek_before(key))
    }

    /// To the key before; answers whether there is one.
    pub(crate) fn prev_key(&mut self) -> Result<bool> {
        self.leave_chosen()?;
        self.metas.clear();
        self.spans.clear();
        let Some(greatest) = self.sources.iter().filter_map(Source::key).max() else { return Ok(false) };
        self.key.clear();
        self.key.extend_from_slice(greatest);
        for (at, source) in self.sources.iter_mut().enumerate() {
            let start = self.metas.len();
            while let Some(entry) = source.entry().filter(|entry| entry.key == self.key) {
                self.metas.push(entry.meta);
                source.prev()?;
            }
            let own = &mut self.metas[start..];
            if !own.is_empty() {
                own.reverse();
                self.spans.push((at, own.len()));
            }
        }
        Ok(true)
    }

    /// The key that it is at.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// All entries of the key, newest first.
    pub(crate) fn metas(&self) -> &[Meta] {
        &self.metas
    }

    /// Goes to entry `index` of the key, for [`entry`](Self::entry) to lend it. Once per key.
    pub(crate) fn choose(&mut self, index: usize) -> Result<()> {
        let mut before = index;
        for (at, len) in &self.spans {
            if before < *len {
                let source = &mut self.sources[*at];
                if source.key().is_some() {
                    source.next()?;
                } else {
                    // It has nothing before the key, so it is past its end and knows no way back.
                    source.seek(&self.key)?;
                }
                for _ in 0..before {
                    source.next()?;
                }
                self.chosen = Some((*at, before + 1));
                return Ok(());
            }
            before -= len;
        }
        Ok(())
    }

    /// The entry that was chosen.
    pub(crate) fn entry(&self) -> Option<Lent<'_>> {
        self.sources.get(self.chosen?.0)?.entry()
    }

    fn leave_chosen(&mut self) -> Result<()> {
        let Some((at, steps)) = self.chosen.take() else { return Ok(()) };
        (0..steps).try_for_each(|_| self.sources[at].prev())
    }
}
