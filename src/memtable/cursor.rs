//! A position among the visible entries of one bucket; owns its memtable, so that iterators are `'static`.

use std::sync::Arc;

use super::Memtable;
use super::arena::At;
use super::entries::{Kept, Key, Stored};
use super::probe::Probe;
use super::tree::{Position, Tree};
use crate::entry::{Meta, Value};
use crate::number::{BucketId, CommitNumber};

/// Walks a bucket in order: key ascending, then newest first. Entries above `visible` are skipped.
///
/// It sees what was inserted up to `visible` before it was last sought with; `visible` must not be more than was published then, or
/// nothing may be inserted any more.
#[derive(Debug)]
pub(crate) struct Cursor {
    memtable: Arc<Memtable>,
    bucket: BucketId,
    visible: CommitNumber,
    /// An order that nobody else uses, where the common one was not ready.
    own: Option<Box<Tree>>,
    current: Option<Current>,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    /// In the order; none where the key was found by its hash.
    position: Option<Position>,
    key: At,
    entry: At,
}

/// The entry that a cursor is at, in place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CursorEntry<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) meta: Meta,
    pub(crate) value: &'a [u8],
    kept: Kept<'a>,
}

impl<'a> CursorEntry<'a> {
    pub(super) fn new(key: Key<'a>, entry: Stored<'a>) -> Self {
        let kept = entry.value();
        Self { key: key.bytes(), meta: entry.meta(), value: kept.bytes(), kept }
    }

    /// The value to keep.
    pub(crate) fn value(&self) -> Value {
        self.kept.to_value()
    }
}

impl Cursor {
    /// Positioned nowhere.
    pub(crate) const fn new(memtable: Arc<Memtable>, bucket: BucketId, visible: CommitNumber) -> Self {
        Self { memtable, bucket, visible, own: None, current: None }
    }

    /// To the first entry whose key is at or above `key`.
    pub(crate) fn seek(&mut self, key: &[u8]) {
        self.prepare();
        let position = self.tree().first_from(&self.memtable.entries, &Probe::new(self.bucket, key), true);
        self.settle_forward(position);
    }

    /// To the newest entry of `key`, which has this hash. Needs no order; after the last entry of the key comes none, nor before the first.
    pub(crate) fn seek_key(&mut self, key: &[u8], hash: u64) {
        let found = self.memtable.find(self.bucket, key, hash);
        let entry = found.and_then(|at| self.memtable.entries.key(at).newest_visible(self.visible));
        self.current = found.zip(entry).map(|(key, entry)| Current { position: None, key, entry: entry.at() });
    }

    /// To the last entry whose key is below `key`, or to the last of all.
    pub(crate) fn seek_before(&mut self, key: Option<&[u8]>) {
        self.prepare();
        let probe = key.map_or_else(|| Probe::new(BucketId(self.bucket.0 + 1), &[]), |key| Probe::new(self.bucket, key));
        let position = self.tree().last_before(&self.memtable.entries, &probe);
        self.settle_backward(position);
    }

    /// To the next entry, which may be an older one of the same key.
    pub(crate) fn next(&mut self) {
        let Some(current) = self.current else { return };
        let older = self.memtable.entries.entry(current.entry).and_then(Stored::older);
        if let Some(older) = older {
            self.current = Some(Current { entry: older.at(), ..current });
            return;
        }
        let position = current.position.and_then(|position| self.tree().next(&self.memtable.entries, &position));
        self.settle_forward(position);
    }

    /// To the entry before, which may be a newer one of the same key.
    pub(crate) fn prev(&mut self) {
        let Some(current) = self.current else { return };
        let entries = &self.memtable.entries;
        let commit = entries.entry(current.entry).map_or(CommitNumber(u64::MAX), Stored::commit);
        if let Some(newer) = entries.key(current.key).newer_visible(commit, self.visible) {
            self.current = Some(Current { entry: newer.at(), ..current });
            return;
        }
        let position = current.position.and_then(|position| self.tree().prev(entries, &position));
        self.settle_backward(position);
    }

    /// Where it stands, or `None` past either end.
    pub(crate) fn entry(&self) -> Option<CursorEntry<'_>> {
        let current = self.current?;
        let entry = self.memtable.entries.entry(current.entry)?;
        Some(CursorEntry::new(self.memtable.entries.key(current.key), entry))
    }

    fn prepare(&mut self) {
        let Memtable { sorted, entries, .. } = &*self.memtable;
        self.current = None;
        self.own = sorted.prepare(entries, self.visible, self.memtable.visible()).map(Box::new);
    }

    fn tree(&self) -> &Tree {
        self.own.as_deref().unwrap_or_else(|| self.memtable.sorted.tree())
    }

    fn settle_forward(&mut self, mut from: Option<Position>) {
        self.current = None;
        let entries = &self.memtable.entries;
        while let Some(position) = from {
            let at = self.tree().key(&position);
            let key = entries.key(at);
            if key.bucket() != self.bucket {
                return;
            }
            if let Some(entry) = key.newest_visible(self.visible) {
                self.current = Some(Current { position: Some(position), key: at, entry: entry.at() });
                return;
            }
            from = self.tree().next(entries, &position);
        }
    }

    fn settle_backward(&mut self, mut from: Option<Position>) {
        self.current = None;
        let entries = &self.memtable.entries;
        while let Some(position) = from {
            let at = self.tree().key(&position);
            let key = entries.key(at);
            if key.bucket() != self.bucket {
                return;
            }
            if let Some(entry) = key.oldest_visible(self.visible) {
                self.current = Some(Current { position: Some(position), key: at, entry: entry.at() });
                return;
            }
            from = self.tree().prev(entries, &position);
        }
    }
}
