//! A position among the visible entries of one bucket; owns its memtable, so that iterators are `'static`.

use std::ops::Bound;
use std::sync::Arc;

use super::{Memtable, Place, Stored};
use crate::entry::{Meta, Value};
use crate::number::{BucketId, CommitNumber};

/// Walks a bucket in order: key ascending, then newest first. Entries above `visible` are skipped.
#[derive(Debug)]
pub(crate) struct Cursor {
    memtable: Arc<Memtable>,
    bucket: BucketId,
    visible: CommitNumber,
    key: Vec<u8>,
    current: Option<(CommitNumber, Meta, Value)>,
}

/// The entry that a cursor is at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CursorEntry<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) meta: Meta,
    pub(crate) value: &'a [u8],
    kept: &'a Value,
}

impl CursorEntry<'_> {
    /// The value to keep.
    pub(crate) fn value(&self) -> Value {
        self.kept.clone()
    }
}

/// Which way to look for the next visible entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Forward,
    Backward,
}

impl Cursor {
    /// Positioned nowhere.
    pub(crate) const fn new(memtable: Arc<Memtable>, bucket: BucketId, visible: CommitNumber) -> Self {
        Self { memtable, bucket, visible, key: Vec::new(), current: None }
    }

    /// To the first entry whose key is at or above `key`.
    pub(crate) fn seek(&mut self, key: &[u8]) {
        // Numbers sort newest first, so the greatest number stands before every entry of the key.
        self.settle(key.to_vec(), Bound::Included(CommitNumber(u64::MAX)), Way::Forward);
    }

    /// To the last entry whose key is below `key`, or to the last of all.
    pub(crate) fn seek_before(&mut self, key: Option<&[u8]>) {
        match key {
            Some(key) => self.settle(key.to_vec(), Bound::Included(CommitNumber(u64::MAX)), Way::Backward),
            None => {
                let end = BucketId(self.bucket.0 + 1);
                let found = self.at(end, &[], Bound::Excluded(CommitNumber(u64::MAX)), Way::Backward);
                self.settle_at(found, Way::Backward);
            }
        }
    }

    /// To the next entry, which may be an older one of the same key.
    pub(crate) fn next(&mut self) {
        if let Some((commit, ..)) = self.current {
            let key = std::mem::take(&mut self.key);
            self.settle(key, Bound::Excluded(commit), Way::Forward);
        }
    }

    /// To the entry before, which may be a newer one of the same key.
    pub(crate) fn prev(&mut self) {
        if let Some((commit, ..)) = self.current {
            let key = std::mem::take(&mut self.key);
            self.settle(key, Bound::Excluded(commit), Way::Backward);
        }
    }

    fn settle(&mut self, key: Vec<u8>, bound: Bound<CommitNumber>, way: Way) {
        let found = self.at(self.bucket, &key, bound, way);
        self.settle_at(found, way);
    }

    fn settle_at(&mut self, mut found: Option<(Vec<u8>, CommitNumber, Meta, Value)>, way: Way) {
        self.current = None;
        while let Some((key, commit, meta, value)) = found {
            if commit <= self.visible {
                self.current = Some((commit, meta, value));
                self.key = key;
                return;
            }
            found = self.at(self.bucket, &key, Bound::Excluded(commit), way);
        }
    }

    fn at(
        &self,
        bucket: BucketId,
        key: &[u8],
        bound: Bound<CommitNumber>,
        way: Way,
    ) -> Option<(Vec<u8>, CommitNumber, Meta, Value)> {
        let (Bound::Included(commit) | Bound::Excluded(commit)) = bound else { return None };
        let place = (bucket, key, commit);
        let place: &dyn Place = &place;
        let bound = if matches!(bound, Bound::Excluded(_)) { Bound::Excluded(place) } else { Bound::Included(place) };
        let entries = &self.memtable.entries;
        let entry = if way == Way::Forward { entries.lower_bound(bound) } else { entries.upper_bound(bound) };
        let entry = entry.filter(|entry| entry.key().bucket == self.bucket)?;
        let (slot, Stored { meta, value }) = (entry.key(), entry.value());
        Some((slot.key.to_vec(), slot.commit, *meta, value.clone()))
    }

    /// Where it stands, or `None` past either end.
    pub(crate) fn entry(&self) -> Option<CursorEntry<'_>> {
        let (_, meta, value) = self.current.as_ref()?;
        Some(CursorEntry { key: &self.key, meta: *meta, value, kept: value })
    }
}
