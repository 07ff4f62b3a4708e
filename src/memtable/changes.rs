//! The visible entries of one bucket in the order in which they were committed.
//!
//! Needs no order of keys, and reads only what it yields and, to find its beginning, what came after that.

use std::ops::Range;
use std::sync::Arc;

use super::Memtable;
use super::arena::At;
use super::cursor::CursorEntry;
use super::entries::Stored;
use crate::number::{BucketId, CommitNumber, Revision};

/// A walk by commit. Dropped entries, which have no revision of their own, are left out.
#[derive(Debug)]
pub(crate) struct Changes {
    memtable: Arc<Memtable>,
    bucket: BucketId,
    visible: CommitNumber,
    /// Arrivals from `next` on and below `end` are still to come.
    next: usize,
    end: usize,
    current: Option<(At, At)>,
}

impl Changes {
    /// Before the first visible entry.
    pub(crate) fn new(memtable: Arc<Memtable>, bucket: BucketId, visible: CommitNumber) -> Self {
        let end = visible_len(&memtable, visible);
        Self { memtable, bucket, visible, next: 0, end, current: None }
    }

    /// To before the first entry with a revision above `after`; answers whether there is one at or below it, so that nothing older matters.
    pub(crate) fn seek_after(&mut self, after: Revision) -> bool {
        self.current = None;
        let (mut low, mut high, mut step) = (0, self.end, 1);
        while low < high {
            // Whoever asks is most often near the end: from there in steps that double, until one goes too far; then by halves.
            let middle = if low > 0 { low.midpoint(high) } else { high.saturating_sub(step) };
            step *= 2;
            // Between two of this bucket there may be any number of others. Each look leaves out what it has passed, so all of them together
            // pass no more than twice what there is.
            match self.first_in(middle..high) {
                Some((index, revision)) if revision <= after => low = index + 1,
                _ => high = middle,
            }
        }
        self.next = low;
        low > 0
    }

    /// To the next entry; answers whether there is one.
    pub(crate) fn advance(&mut self) -> bool {
        self.current = None;
        while self.current.is_none() && self.next < self.end {
            let (key, entry) = self.memtable.arrivals.get(self.next);
            self.next += 1;
            self.current = self.revision(key, entry).map(|_| (key, entry));
        }
        self.current.is_some()
    }

    /// The entry that it is at.
    pub(crate) fn entry(&self) -> Option<CursorEntry<'_>> {
        let (key, entry) = self.current?;
        let entry = self.memtable.entries.entry(entry)?;
        Some(CursorEntry::new(self.memtable.entries.key(key), entry))
    }

    /// Whether nothing in this memtable is newer of the key than the entry that it is at; `None` where what is newer was dropped.
    pub(crate) fn is_newest(&self) -> Option<bool> {
        let (key, entry) = self.current?;
        let newest = self.memtable.entries.key(key).newest_visible(self.visible)?;
        let is_newest = newest.at() == entry;
        (is_newest || !newest.meta().flags.is_dropped()).then_some(is_newest)
    }

    fn revision(&self, key: At, entry: At) -> Option<Revision> {
        revision_in(&self.memtable, self.bucket, (key, entry))
    }

    /// The first arrival of the bucket among these.
    fn first_in(&self, mut arrivals: Range<usize>) -> Option<(usize, Revision)> {
        arrivals.find_map(|index| {
            let (key, entry) = self.memtable.arrivals.get(index);
            Some((index, self.revision(key, entry)?))
        })
    }
}

/// The lowest revision of the bucket that is not visible.
pub(super) fn first_hidden(memtable: &Memtable, bucket: BucketId, visible: CommitNumber) -> Option<Revision> {
    let hidden = visible_len(memtable, visible)..memtable.arrivals.len();
    hidden.filter_map(|index| revision_in(memtable, bucket, memtable.arrivals.get(index))).next()
}

/// How many arrivals are visible; they came in the order of their commits.
fn visible_len(memtable: &Memtable, visible: CommitNumber) -> usize {
    let is_visible = |index: usize| {
        let commit = memtable.entries.entry(memtable.arrivals.get(index).1).map(Stored::commit);
        commit.is_some_and(|commit| commit <= visible)
    };
    let (mut low, mut high) = (0, memtable.arrivals.len());
    // Almost always all of them are.
    if high == 0 || is_visible(high - 1) {
        return high;
    }
    while low < high {
        let middle = low.midpoint(high);
        (low, high) = if is_visible(middle) { (middle + 1, high) } else { (low, middle) };
    }
    low
}

/// The revision of an entry, if it is one of the bucket that has a revision of its own.
fn revision_in(memtable: &Memtable, bucket: BucketId, (key, entry): (At, At)) -> Option<Revision> {
    if memtable.entries.key(key).bucket() != bucket {
        return None;
    }
    let meta = memtable.entries.entry(entry)?.meta();
    (!meta.flags.is_dropped()).then_some(meta.revision)
}

#[cfg(test)]
mod tests;
