//! What was committed and is in no segment yet: one generation of entries, ordered, in memory.
//!
//! Written by one thread at a time, the leader of `engine::commit`; read by any number. An entry is put in before it is visible: readers
//! pass the commit number up to which they may see, which is [`Memtable::visible`] of the *active* memtable of the view that they hold
//! (E1). When a memtable is sealed that number freezes, and the next one starts with it.
//!
//! Order: bucket, key as unsigned bytes, newest commit first, as in every other source of a merge.
//!
//! The form is `crossbeam_skiplist`: ordered, and readers take no lock that a writer holds. It is the first form behind this interface,
//! chosen for being plain; it counts references per node, and a faster one may take its place. This module does not decide what is
//! visible, expired or trimmed, and knows nothing of logs and files.

mod cursor;
#[cfg(test)]
mod tests;

pub(crate) use cursor::Cursor;

use std::borrow::Borrow;
use std::cmp::Reverse;
use std::fmt;
use std::ops::Bound;

use crossbeam_skiplist::SkipMap;

use crate::entry::{Meta, Value};
use crate::env::sync::{AtomicU64, Ordering};
use crate::number::{BucketId, CommitNumber};

/// What an entry costs beside its key and value, about: node, slot, value header.
const ENTRY_OVERHEAD: u64 = 160;

/// One generation.
pub(crate) struct Memtable {
    entries: SkipMap<Slot, Stored>,
    visible: AtomicU64,
    first: CommitNumber,
    bytes: AtomicU64,
}

/// An entry, in place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) commit: CommitNumber,
    pub(crate) meta: Meta,
    pub(crate) value: &'a [u8],
    kept: &'a Value,
}

impl Found<'_> {
    /// The value to keep.
    pub(crate) fn to_value(self) -> Value {
        self.kept.clone()
    }
}

/// Where an entry stands in the order.
struct Slot {
    bucket: BucketId,
    key: Box<[u8]>,
    commit: CommitNumber,
}

struct Stored {
    meta: Meta,
    value: Value,
}

/// A place in the order, by reference: lets a lookup compare against a slot without owning its key.
trait Place {
    fn place(&self) -> (BucketId, &[u8], Reverse<CommitNumber>);
}

impl Place for Slot {
    fn place(&self) -> (BucketId, &[u8], Reverse<CommitNumber>) {
        (self.bucket, &self.key, Reverse(self.commit))
    }
}

impl Place for (BucketId, &[u8], CommitNumber) {
    fn place(&self) -> (BucketId, &[u8], Reverse<CommitNumber>) {
        (self.0, self.1, Reverse(self.2))
    }
}

impl PartialEq for dyn Place + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for dyn Place + '_ {}

impl PartialOrd for dyn Place + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Place + '_ {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place().cmp(&other.place())
    }
}

impl<'a> Borrow<dyn Place + 'a> for Slot {
    fn borrow(&self) -> &(dyn Place + 'a) {
        self
    }
}

impl PartialEq for Slot {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Slot {}

impl PartialOrd for Slot {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Slot {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place().cmp(&other.place())
    }
}

impl Memtable {
    /// An empty generation whose commits start at `first`, with everything up to `visible` already visible elsewhere. `capacity` is about
    /// how many bytes it is meant for; it takes more, at the price of slower lookups.
    pub(crate) fn new(first: CommitNumber, visible: CommitNumber, capacity: u64) -> Self {
        let _ = capacity;
        Self { entries: SkipMap::new(), visible: AtomicU64::new(visible.0), first, bytes: AtomicU64::new(0) }
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
        self.visible.store(commit.0, Ordering::Release);
    }

    /// Adds an entry; commits of one key must rise. `hash` is the key's, by the store's hasher.
    pub(crate) fn insert(&self, bucket: BucketId, key: &[u8], hash: u64, commit: CommitNumber, meta: Meta, value: &[u8]) {
        let _ = hash;
        self.bytes.fetch_add(key.len() as u64 + value.len() as u64 + ENTRY_OVERHEAD, Ordering::Relaxed);
        self.entries.insert(Slot { bucket, key: key.into(), commit }, Stored { meta, value: Value::copy_of(value) });
    }

    /// Memory taken, about.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Hands the key's newest entry at or below `visible` to `read`, in place.
    pub(crate) fn with_newest<T>(
        &self,
        bucket: BucketId,
        key: &[u8],
        hash: u64,
        visible: CommitNumber,
        read: impl FnOnce(Found<'_>) -> T,
    ) -> Option<T> {
        let _ = hash;
        let wanted = (bucket, key, visible);
        let entry = self.entries.lower_bound(Bound::Included(&wanted as &dyn Place))?;
        let slot = entry.key();
        let stored = entry.value();
        let found = || Found { commit: slot.commit, meta: stored.meta, value: &stored.value, kept: &stored.value };
        (slot.bucket == bucket && *slot.key == *key).then(|| read(found()))
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
