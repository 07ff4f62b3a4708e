//! When something in a memtable expires next, remembered from one sweep to the next.
//!
//! A memtable has no order by deadline, so a sweep that looks for what has expired looks at every key of it. That is worth it only if there
//! may be something: so of each memtable is kept up to which entry it was looked at, and when the first of these expires. What came since
//! is added at the next sweep, at the cost of what came.

use std::sync::{Arc, Weak};

use super::size::expiry_of;
use crate::manifest::BucketState;
use crate::memtable::Memtable;
use crate::number::{BucketId, CommitNumber};
use crate::view::View;

/// What is known of the memtables of a view.
#[derive(Debug, Default)]
pub(super) struct Horizons {
    /// For which buckets, each as of its last change.
    buckets: Vec<(BucketId, CommitNumber)>,
    known: Vec<Horizon>,
}

#[derive(Debug)]
struct Horizon {
    /// What has been flushed is not held.
    memtable: Weak<Memtable>,
    /// So many entries have been looked at.
    seen: usize,
    /// When the first of them expires that has not been swept; or before that.
    next: u64,
}

impl Horizon {
    fn is_of(&self, memtable: &Arc<Memtable>) -> bool {
        std::ptr::eq(self.memtable.as_ptr(), Arc::as_ptr(memtable))
    }
}

impl Horizons {
    /// Forgets memtables that are not of the view, and everything if the buckets are not those of before.
    pub(super) fn settle(&mut self, view: &View, states: &[Arc<BucketState>]) {
        let buckets = states.iter().map(|state| (state.id, state.changed));
        if !self.buckets.iter().copied().eq(buckets.clone()) {
            self.buckets = buckets.collect();
            self.known.clear();
        }
        self.known.retain(|horizon| view.memtables().any(|memtable| horizon.is_of(memtable)));
    }

    /// When the first entry of a memtable expires that was committed up to `visible` and has not been swept; or before that.
    pub(super) fn next(&mut self, memtable: &Arc<Memtable>, visible: CommitNumber, states: &[Arc<BucketState>]) -> u64 {
        let horizon = self.of(memtable);
        let mut next = horizon.next;
        horizon.seen = memtable.each_arrival(horizon.seen, visible, |bucket, meta| {
            if let Ok(at) = states.binary_search_by_key(&bucket, |state| state.id) {
                next = next.min(expiry_of(&states[at], meta));
            }
        });
        horizon.next = next;
        next
    }

    /// All that [`next`](Self::next) has counted was looked at again.
    pub(super) fn set(&mut self, memtable: &Arc<Memtable>, next: u64) {
        self.of(memtable).next = next;
    }

    fn of(&mut self, memtable: &Arc<Memtable>) -> &mut Horizon {
        let known = self.known.iter().position(|horizon| horizon.is_of(memtable));
        let at = known.unwrap_or_else(|| {
            self.known.push(Horizon { memtable: Arc::downgrade(memtable), seen: 0, next: u64::MAX });
            self.known.len() - 1
        });
        &mut self.known[at]
    }
}
