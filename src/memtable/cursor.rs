//! A position among the visible entries of one bucket; owns its memtable, so that iterators are `'static`.

use std::ops::Bound;
use std::sync::Arc;

use super::{Memtable, Place};
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

impl Cursor {
    /// Positioned nowhere.
    pub(crate) const fn new(memtable: Arc<Memtable>, bucket: BucketId, visible: CommitNumber) -> Self {
        Self { memtable, bucket, visible, key: Vec::new(), current: None }
    }

    /// To the first entry whose key is at or above `key`.
    pub(crate) fn seek(&mut self, key: &[u8]) {
        // Numbers sort newest first, so the greatest number stands before every entry of the key.
        self.settle(key.to_vec(), Bound::Included(CommitNumber(u64::MAX)));
    }

    /// To the next entry, which may be an older one of the same key.
    pub(crate) fn next(&mut self) {
        if let Some((commit, ..)) = self.current {
            let key = std::mem::take(&mut self.key);
            self.settle(key, Bound::Excluded(commit));
        }
    }

    fn settle(&mut self, mut key: Vec<u8>, mut bound: Bound<CommitNumber>) {
        self.current = None;
        loop {
            let found = {
                let place = match bound {
                    Bound::Included(commit) | Bound::Excluded(commit) => (self.bucket, &*key, commit),
                    Bound::Unbounded => return,
                };
                let place: &dyn Place = &place;
                self.memtable.entries.lower_bound(if matches!(bound, Bound::Excluded(_)) {
                    Bound::Excluded(place)
                } else {
                    Bound::Included(place)
                })
            };
            let Some(entry) = found.filter(|entry| entry.key().bucket == self.bucket) else { return };
            let slot = entry.key();
            key.clear();
            key.extend_from_slice(&slot.key);
            if slot.commit <= self.visible {
                self.current = Some((slot.commit, entry.value().meta, entry.value().value.clone()));
                self.key = key;
                return;
            }
            bound = Bound::Included(self.visible);
        }
    }

    /// Where it stands, or `None` past the end.
    pub(crate) fn entry(&self) -> Option<(&[u8], &Meta, &Value)> {
        self.current.as_ref().map(|(_, meta, value)| (&*self.key, meta, value))
    }
}
