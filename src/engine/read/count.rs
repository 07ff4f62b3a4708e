//! What a bucket holds: exactly, by reading every entry but no value; or about, by what the files say of themselves.

use super::super::size::ENTRY_BYTES;
use super::Reader;
use crate::error::Result;
use crate::number::{CommitNumber, Revision};
use crate::retention::{Judge, Sight};
use crate::spec::BucketSpec;

/// What was counted.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) spec: BucketSpec,
    pub(crate) as_of: CommitNumber,
    pub(crate) last_revision: Revision,
    /// Of what is retained; `NONE` if nothing is.
    pub(crate) first_revision: Revision,
    pub(crate) live_keys: u64,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

/// What is known without reading entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Estimate {
    pub(crate) last_revision: Revision,
    pub(crate) floor: Revision,
    pub(crate) entries: u64,
    pub(crate) file_bytes: u64,
}

impl Reader<'_> {
    /// Counts what is retained.
    pub(crate) fn count(&self) -> Result<Counts> {
        let rules = self.rules();
        let mut counts = Counts {
            spec: self.state.spec.clone(),
            as_of: self.visible,
            last_revision: Revision::NONE,
            first_revision: Revision::NONE,
            live_keys: 0,
            entries: 0,
            bytes: 0,
        };
        let mut seen_last = Revision::NONE;
        let (mut merge, mut key) = (self.merge(), Vec::new());
        merge.seek(&[])?;
        while let Some(entry) = merge.entry() {
            key.clear();
            key.extend_from_slice(entry.key);
            let mut judge = Judge::new(&rules);
            let (mut is_newest, mut is_over) = (true, false);
            while let Some(entry) = merge.entry().filter(|entry| entry.key == key) {
                seen_last = seen_last.max(entry.meta.revision);
                if !is_over {
                    match judge.see(&entry.meta) {
                        Sight::Visible => {
                            let revision = entry.meta.revision;
                            counts.live_keys += u64::from(is_newest && entry.meta.flags.is_put());
                            counts.entries += 1;
                            counts.bytes += key.len() as u64 + entry.value.len() as u64 + ENTRY_BYTES;
                            let is_first = counts.first_revision == Revision::NONE || revision < counts.first_revision;
                            counts.first_revision = if is_first { revision } else { counts.first_revision };
                            is_newest = false;
                        }
                        Sight::Hidden => {}
                        Sight::End => is_over = true,
                    }
                }
                merge.next()?;
            }
        }
        counts.last_revision = self.last_of(seen_last);
        Ok(counts)
    }

    /// The bucket's last revision at this commit, from the highest one of all stored entries: what was removed since its commit, and took
    /// the revision with it, has raised a floor to it.
    fn last_of(&self, seen: Revision) -> Revision {
        let state = self.state;
        let known = [state.last_revision, state.floor, state.watch_floor];
        known.into_iter().fold(seen, Revision::max)
    }

    /// Reads the directories of the files, which are in memory.
    pub(crate) fn estimate(&self) -> Estimate {
        let bucket = self.state.id;
        let mut files = Vec::new();
        let mut estimate = Estimate { last_revision: self.last_revision(), floor: self.state.floor, entries: 0, file_bytes: 0 };
        for segment in self.view.segments() {
            // Several parts may be of one file.
            if files.contains(&segment.number()) {
                continue;
            }
            files.push(segment.number());
            for section in segment.sections().iter().filter(|section| section.bucket == bucket) {
                estimate.entries += section.entries;
                estimate.file_bytes += section.bytes;
            }
        }
        estimate
    }
}
