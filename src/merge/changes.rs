//! All entries of one bucket in the order of their revisions, from a revision on, whatever counts of them.
//!
//! What is in memory was committed after all that is in files, and each memtable after the one before it: so the files are merged, by the
//! lowest revision that each has next, and then the memtables follow one after the other. Where memory reaches back to where the walk
//! begins, no file is touched; a file is opened when the walk has come to its first revision. Dropped entries, which have no revision of
//! their own, are left out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::VecDeque;
use std::sync::Arc;

use crate::entry::{Meta, Value};
use crate::error::Result;
use crate::memtable::{self, Memtable};
use crate::number::{BucketId, CommitNumber, Revision};
use crate::run::Part;
use crate::segment;

/// A walk by revision. Owns what it needs.
#[derive(Debug)]
pub(crate) struct Changes {
    bucket: BucketId,
    after: Revision,
    /// Not yet opened, with their first revisions, the lowest last.
    waiting: Vec<(Revision, Part)>,
    open: Vec<OpenPart>,
    /// The revision at which each open part stands.
    order: BinaryHeap<Reverse<(Revision, usize)>>,
    /// Oldest first.
    memtables: VecDeque<memtable::Changes>,
    at: At,
}

#[derive(Debug)]
struct OpenPart {
    part: Part,
    changes: segment::Changes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Nowhere,
    File(usize),
    Memory,
}

/// An entry where it lies, until the walk goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change<'a> {
    /// In memory.
    Memory(memtable::CursorEntry<'a>),
    /// In a file.
    File(segment::CursorEntry<'a>),
}

impl<'a> Change<'a> {
    pub(crate) const fn key(&self) -> &'a [u8] {
        match self {
            Self::Memory(entry) => entry.key,
            Self::File(entry) => entry.key,
        }
    }

    pub(crate) const fn meta(&self) -> &Meta {
        match self {
            Self::Memory(entry) => &entry.meta,
            Self::File(entry) => &entry.meta,
        }
    }

    pub(crate) const fn value_len(&self) -> usize {
        match self {
            Self::Memory(entry) => entry.value.len(),
            Self::File(entry) => entry.value.len(),
        }
    }

    /// The value to keep: copied if small, sharing memory or map if large.
    pub(crate) fn to_value(self) -> Value {
        match self {
            Self::Memory(entry) => entry.value(),
            Self::File(entry) => entry.value(),
        }
    }
}

impl Changes {
    /// The entries of `bucket` with a revision above `after`, out of `memtables`, newest first, up to `visible`, and of `parts`.
    pub(crate) fn new<'a>(
        bucket: BucketId,
        after: Revision,
        visible: CommitNumber,
        memtables: impl Iterator<Item = &'a Arc<Memtable>>,
        parts: impl Iterator<Item = &'a Part>,
    ) -> Self {
        let mut in_memory = VecDeque::new();
        let mut is_whole = false;
        for memtable in memtables {
            let mut changes = memtable::Changes::new(Arc::clone(memtable), bucket, visible);
            is_whole = changes.seek_after(after);
            in_memory.push_front(changes);
            if is_whole {
                break;
            }
        }
        let mut waiting = Vec::new();
        if !is_whole {
            waiting.extend(parts.filter_map(|part| Some((first_of(part, bucket, after)?, part.clone()))));
        }
        waiting.sort_by_key(|(first, _)| Reverse(*first));
        let (open, order) = (Vec::new(), BinaryHeap::new());
        Self { bucket, after, waiting, open, order, memtables: in_memory, at: At::Nowhere }
    }

    /// To the next entry; answers whether there is one. After an error it must not be asked again.
    pub(crate) fn advance(&mut self) -> Result<bool> {
        if let At::File(index) = self.at {
            self.advance_file(index)?;
        }
        while let Some((first, _)) = self.waiting.last()
            && self.order.peek().is_none_or(|Reverse((next, _))| first <= next)
            && let Some((_, part)) = self.waiting.pop()
        {
            let changes = segment::Changes::new(Arc::clone(&part.segment), self.bucket, self.after)?;
            self.open.push(OpenPart { part, changes });
            self.advance_file(self.open.len() - 1)?;
        }
        if let Some(Reverse((_, index))) = self.order.pop() {
            self.at = At::File(index);
            return Ok(true);
        }
        self.at = At::Memory;
        while let Some(oldest) = self.memtables.front_mut() {
            if oldest.advance() {
                return Ok(true);
            }
            self.memtables.pop_front();
        }
        Ok(false)
    }

    /// The entry that it is at.
    pub(crate) fn entry(&self) -> Option<Change<'_>> {
        match self.at {
            At::Nowhere => None,
            At::File(index) => self.open.get(index)?.changes.entry().map(Change::File),
            At::Memory => self.memtables.front()?.entry().map(Change::Memory),
        }
    }

    /// Whether the entry that it is at is the newest of its key; `None` where that takes a look at other sources.
    pub(crate) fn is_newest(&self) -> Option<bool> {
        if self.at != At::Memory {
            return None;
        }
        let is_newest = self.memtables.front()?.is_newest()?;
        (!is_newest || self.memtables.len() == 1).then_some(is_newest)
    }

    /// To the next entry of a file that counts, if it has another.
    fn advance_file(&mut self, index: usize) -> Result<()> {
        let OpenPart { part, changes } = &mut self.open[index];
        while changes.advance()? {
            let Some(entry) = changes.entry() else { break };
            if !entry.meta.flags.is_dropped() && part.live.holds(self.bucket, entry.key) {
                self.order.push(Reverse((entry.meta.revision, index)));
                break;
            }
        }
        Ok(())
    }
}

/// The lowest revision that a part has of the bucket, if it has any above `after`.
fn first_of(part: &Part, bucket: BucketId, after: Revision) -> Option<Revision> {
    let sections = part.segment.sections();
    let index = sections.binary_search_by_key(&bucket, |section| section.bucket).ok()?;
    let section = sections.get(index)?;
    (section.last_revision > after).then_some(section.first_revision)
}
