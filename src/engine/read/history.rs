//! The retained entries of a key, or of all keys that a pattern matches, in revision order.

use super::{Reader, entry_of};
use crate::entry::Entry;
use crate::error::Result;
use crate::merge::Merge;
use crate::retention::{Judge, Sight};
use crate::subject::Pattern;

/// Entries in order; see [`Bucket::history`](crate::Bucket::history).
#[derive(Debug)]
pub(crate) struct EntryScan {
    entries: std::vec::IntoIter<Entry>,
}

impl EntryScan {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl Iterator for EntryScan {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.entries.next().map(Ok)
    }
}

impl Reader<'_> {
    /// The retained entries of all keys that match, in revision order.
    pub(crate) fn history(&self, pattern: &Pattern) -> Result<EntryScan> {
        let mut entries = Vec::new();
        let mut merge = self.merge();
        match pattern.exact() {
            Some(key) => {
                merge.seek_key(key.as_bytes(), self.hash(key.as_bytes()))?;
                self.collect(&mut merge, key.as_bytes(), &mut entries)?;
                entries.reverse();
            }
            None => {
                let prefix = pattern.literal_prefix();
                let mut key = Vec::new();
                merge.seek(prefix)?;
                while let Some(entry) = merge.entry().filter(|entry| entry.key.starts_with(prefix)) {
                    key.clear();
                    key.extend_from_slice(entry.key);
                    if pattern.matches(&key) {
                        self.collect(&mut merge, &key, &mut entries)?;
                    }
                    while merge.entry().is_some_and(|entry| entry.key == key) {
                        merge.next()?;
                    }
                }
                entries.sort_unstable_by_key(Entry::revision);
            }
        }
        Ok(EntryScan { entries: entries.into_iter() })
    }

    /// What of a key counts, newest first, from its newest entry on.
    fn collect(&self, merge: &mut Merge, key: &[u8], entries: &mut Vec<Entry>) -> Result<()> {
        let rules = self.rules();
        let mut judge = Judge::new(&rules);
        while let Some(entry) = merge.entry().filter(|entry| entry.key == key) {
            match judge.see(&entry.meta) {
                Sight::Visible => entries.push(entry_of(key, entry.meta, entry.to_value())?),
                Sight::Hidden => {}
                Sight::End => break,
            }
            merge.next()?;
        }
        Ok(())
    }
}
