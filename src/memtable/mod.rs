//! What was committed and is in no segment yet: one generation of entries in memory, by key and in order.
//!
//! Written by one thread at a time, the leader of `engine::commit`; read by any number. An entry is put in before it is visible: readers
//! pass the commit number up to which they may see, which is [`Memtable::visible`] of the *active* memtable of the view that they hold
//! (E1). When a memtable is sealed that number freezes, and the next one starts with it.
//!
//! Order: bucket, key as unsigned bytes, newest commit first, as in every other source of a merge.
//!
//! # Form
//!
//! Keys and entries lie in an arena, those of one key in a chain from newest to oldest ([`entries`]). A hash table leads to a key
//! ([`slots`]), a B-tree puts the keys in order once somebody asks for it ([`sorted`], [`tree`]), a list has the entries as they came
//! ([`arrivals`]). All of it only grows, and goes at once.
//!
//! Readers take no lock, touch no shared counter and allocate nothing in [`Memtable::with_newest`]. What they find is published by three
//! words, each released after everything that it leads to was written, and acquired by the readers: the newest entry of a key, the slot of
//! a key, and in the tree a node's order or child ([`entries`], [`tree`] say why that is enough). `visible` is stored after all
//! of them, also with release: who has loaded it finds all that it covers.
//!
//! This module does not decide what is visible, expired or trimmed, and knows nothing of logs and files.

mod arena;
mod arrivals;
mod changes;
mod cursor;
mod entries;
mod large;
mod node;
mod probe;
mod slots;
mod sorted;
#[cfg(test)]
mod tests;
mod tree;

pub(crate) use changes::Changes;
pub(crate) use cursor::{Cursor, CursorEntry};

use std::fmt;

use self::arena::At;
use self::arrivals::Arrivals;
use self::entries::{Entries, Kept};
use self::slots::Slots;
use self::sorted::Sorted;
use crate::entry::{Meta, Value};
use crate::env::sync::{AtomicU64, Ordering};
use crate::number::{BucketId, CommitNumber, Revision};

/// One generation.
pub(crate) struct Memtable {
    entries: Entries,
    slots: Slots,
    sorted: Sorted,
    arrivals: Arrivals,
    visible: AtomicU64,
    first: CommitNumber,
    capacity: u64,
}

/// An entry, in place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) commit: CommitNumber,
    pub(crate) meta: Meta,
    pub(crate) value: &'a [u8],
    kept: Kept<'a>,
}

impl Found<'_> {
    /// The value to keep.
    pub(crate) fn to_value(self) -> Value {
        self.kept.to_value()
    }
}

impl Memtable {
    /// An empty generation whose commits start at `first`, with everything up to `visible` already visible elsewhere. `capacity` is about
    /// how many bytes it is meant for; it takes more, in ever larger pieces.
    pub(crate) fn new(first: CommitNumber, visible: CommitNumber, capacity: u64) -> Self {
        Self::with_order(first, visible, capacity, false)
    }

    /// The empty generation after this one, which takes commits from `first` on.
    pub(crate) fn successor(&self, first: CommitNumber) -> Self {
        Self::with_order(first, self.visible(), self.capacity, self.sorted.is_used())
    }

    fn with_order(first: CommitNumber, visible: CommitNumber, capacity: u64, is_kept: bool) -> Self {
        Self {
            entries: Entries::new(capacity),
            slots: Slots::new(capacity),
            sorted: Sorted::new(capacity, is_kept),
            arrivals: Arrivals::default(),
            visible: AtomicU64::new(visible.0),
            first,
            capacity,
        }
    }

    /// No commit before this one is in here.
    pub(crate) const fn first(&self) -> CommitNumber {
        self.first
    }

    /// Up to which commit a reader that holds the view with this memtable active may see.
    pub(crate) fn visible(&self) -> CommitNumber {
        CommitNumber(self.visible.load(Ordering::Acquire))
    }

    /// Makes everything up to `commit` visible; its entries must be in.
    pub(crate) fn publish(&self, commit: CommitNumber) {
        assert!(self.visible() <= commit, "visibility went back");
        self.sorted.keep_up(&self.entries, commit);
        self.visible.store(commit.0, Ordering::Release);
    }

    /// Adds an entry; commits of one key must rise. `hash` is the key's, by the store's hasher. Only one thread at a time may do this.
    pub(crate) fn insert(&self, bucket: BucketId, key: &[u8], hash: u64, commit: CommitNumber, meta: Meta, value: &[u8]) {
        match self.slots.find(hash, |at| self.entries.key(at).is(bucket, key)) {
            Ok(at) => self.arrivals.push(at, self.entries.add_entry(at, commit, &meta, value)),
            Err(vacant) => {
                let at = self.entries.add_key(bucket, key, commit, &meta, value);
                self.slots.fill(&vacant, at);
                self.entries.announce(at);
                self.arrivals.push(at, self.entries.key(at).newest().at());
            }
        }
    }

    /// Memory taken: keys, entries, values, the hash table and the list as far as they were touched, the order as far as it was asked for.
    /// What is there without any entry, about 10 KiB, is not counted.
    pub(crate) fn bytes(&self) -> u64 {
        self.entries.bytes() + self.slots.bytes() + self.sorted.bytes() + self.arrivals.bytes()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.filled() == 0
    }

    /// Hands the key's newest entry at or below `visible` to `read`, in place.
    #[inline]
    pub(crate) fn with_newest<T>(
        &self,
        bucket: BucketId,
        key: &[u8],
        hash: u64,
        visible: CommitNumber,
        read: impl FnOnce(Found<'_>) -> T,
    ) -> Option<T> {
        // Whoever has loaded `visible` sees the count of at least what that covers. A table that nothing was put in is not touched: it has no
        // memory of its own yet.
        if self.is_empty() {
            return None;
        }
        let at = self.find(bucket, key, hash)?;
        let entry = self.entries.key(at).newest_visible(visible)?;
        let kept = entry.value();
        Some(read(Found { commit: entry.commit(), meta: entry.meta(), value: kept.bytes(), kept }))
    }

    /// Hands the entries at or below `visible` to `look`, in the order in which they came, from number `from` on; answers how many there
    /// are with those before.
    pub(crate) fn each_arrival(&self, from: usize, visible: CommitNumber, mut look: impl FnMut(BucketId, &Meta)) -> usize {
        let end = self.arrivals.len();
        for index in from..end {
            let (key, entry) = self.arrivals.get(index);
            let Some(entry) = self.entries.entry(entry).filter(|entry| entry.commit() <= visible) else { return index };
            look(self.entries.key(key).bucket(), &entry.meta());
        }
        end
    }

    /// Hands the newest entry at or below `visible` of every key to `look`, in no order, dropped ones left out. Costs a look at each key.
    pub(crate) fn each_newest(&self, visible: CommitNumber, mut look: impl FnMut(BucketId, &[u8], &Meta)) {
        let mut at = self.entries.last_born();
        while at != 0 {
            let key = self.entries.key(at);
            let mut entry = key.newest_visible(visible);
            while let Some(dropped) = entry.filter(|entry| entry.meta().flags.is_dropped()) {
                entry = dropped.older();
            }
            if let Some(entry) = entry {
                look(key.bucket(), key.bytes(), &entry.meta());
            }
            at = self.entries.born_before(at);
        }
    }

    /// The lowest revision of the bucket that was put in with a commit above `visible`.
    pub(crate) fn first_revision_above(&self, bucket: BucketId, visible: CommitNumber) -> Option<Revision> {
        changes::first_hidden(self, bucket, visible)
    }

    fn find(&self, bucket: BucketId, key: &[u8], hash: u64) -> Option<At> {
        self.slots.find(hash, |at| self.entries.key(at).is(bucket, key)).ok()
    }
}

impl fmt::Debug for Memtable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Memtable")
            .field("first", &self.first)
            .field("visible", &self.visible())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}
