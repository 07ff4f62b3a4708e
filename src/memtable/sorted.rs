//! The order of a memtable's keys, made when somebody asks for it and kept up from then on.
//!
//! Lookups need no order, so a memtable that is only written to and looked up in has none, and the commit path does not pay for it. The
//! first cursor brings all keys in order; from then on the leader adds the keys of each group before it makes the group visible, so later
//! cursors find everything there. The next memtable begins where this one left off: it keeps order from its first key on if this one was
//! walked through.
//!
//! Whoever adds holds a lock that nobody waits for. A cursor that finds it taken, and the order not far enough for what it wants to see,
//! orders all keys for itself alone; a leader that finds it taken leaves its keys to the next one.

use super::arena::At;
use super::entries::Entries;
use super::probe::Probe;
use super::tree::Tree;
use crate::env::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use crate::number::CommitNumber;

/// Below this, keys are added one by one as they come; sorting more of them first makes each cheaper to add.
const SORTED_MIN: usize = 64;
/// Up to so many keys with equal heads are compared with each other as a whole.
const COMPARED_MAX: usize = 32;

/// The order so far.
#[derive(Debug)]
pub(super) struct Sorted {
    capacity: u64,
    tree: Tree,
    /// All keys up to this one are in the tree: a place, which only the holder of `adding` changes.
    last: AtomicU64,
    /// All keys with a commit up to this one are in the tree.
    through: AtomicU64,
    /// Keep it up with every group.
    is_kept: AtomicBool,
    /// Somebody walked through this memtable.
    is_used: AtomicBool,
    /// Held by who changes the tree; has memory for the keys that are to be added.
    adding: Mutex<Vec<At>>,
}

impl Sorted {
    /// No keys yet; `is_kept` if they will be wanted in order.
    pub(super) fn new(capacity: u64, is_kept: bool) -> Self {
        Self {
            capacity,
            tree: Tree::new(capacity),
            last: AtomicU64::new(0),
            through: AtomicU64::new(0),
            is_kept: AtomicBool::new(is_kept),
            is_used: AtomicBool::new(false),
            adding: Mutex::default(),
        }
    }

    /// Memory taken.
    pub(super) fn bytes(&self) -> u64 {
        self.tree.bytes()
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Whether a cursor has ever come.
    pub(super) fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Relaxed)
    }

    /// For the leader, before it makes `commit` visible, with all entries up to it in `entries`.
    pub(super) fn keep_up(&self, entries: &Entries, commit: CommitNumber) {
        if self.is_kept.load(Ordering::Relaxed) {
            self.add(entries, commit);
        }
    }

    /// For a cursor that is to see what is visible at `visible`: brings all keys in the tree, or answers with one of its own.
    pub(super) fn prepare(&self, entries: &Entries, visible: CommitNumber, published: CommitNumber) -> Option<Tree> {
        // Looked at first, so that readers do not take the line from each other once it is set.
        if !self.is_used() {
            self.is_used.store(true, Ordering::Relaxed);
            self.is_kept.store(true, Ordering::Relaxed);
        }
        let is_ready = self.through.load(Ordering::Acquire) >= visible.0
            || self.last.load(Ordering::Acquire) == u64::from(entries.last_born());
        if is_ready || self.add(entries, published) {
            return None;
        }
        let own = Tree::new(self.capacity);
        let mut keys = Vec::new();
        collect(entries, 0, entries.last_born(), &mut keys);
        extend(&own, entries, &mut keys);
        Some(own)
    }

    /// Keeps everybody from adding.
    #[cfg(test)]
    pub(super) fn hold(&self) -> crate::env::sync::MutexGuard<'_, Vec<At>> {
        self.adding.lock()
    }

    /// Brings all keys in the tree, among them those of all commits up to `commit`; unless somebody else is about it.
    fn add(&self, entries: &Entries, commit: CommitNumber) -> bool {
        let Some(mut keys) = self.adding.try_lock() else { return false };
        let newest = entries.last_born();
        let last = self.last.load(Ordering::Relaxed) as At;
        if newest != last {
            collect(entries, last, newest, &mut keys);
            extend(&self.tree, entries, &mut keys);
            keys.clear();
            keys.shrink_to(SORTED_MIN);
            self.last.store(newest.into(), Ordering::Release);
        }
        self.through.fetch_max(commit.0, Ordering::Release);
        true
    }
}

/// The keys that came after `last`, up to `newest`, as they came.
fn collect(entries: &Entries, last: At, newest: At, keys: &mut Vec<At>) {
    keys.clear();
    let mut key = newest;
    while key != last {
        keys.push(key);
        key = entries.born_before(key);
    }
    keys.reverse();
}

/// Adds keys to a tree that has none of them.
fn extend(tree: &Tree, entries: &Entries, keys: &mut [At]) {
    if keys.len() >= SORTED_MIN {
        sort(entries, keys);
        if tree.is_empty() {
            return tree.build(entries, keys);
        }
    }
    for key in keys {
        tree.insert(entries, *key);
    }
}

/// Sorts by eight bytes behind what all have in common; those with the same eight again, by what comes after.
fn sort(entries: &Entries, keys: &mut [At]) {
    let mut heads: Vec<(u64, At)> = keys.iter().map(|key| (0, *key)).collect();
    let mut unsorted = vec![(0, heads.len())];
    while let Some((start, end)) = unsorted.pop() {
        let part = &mut heads[start..end];
        let probe = |at| Probe::at(entries, at);
        let first = probe(part[0].1);
        let (mut skip, mut shortest) = (first.len(), first.len());
        for (_, key) in &part[1..] {
            let other = probe(*key);
            skip = skip.min(first.common_len(&other));
            shortest = shortest.min(other.len());
        }
        for (head, key) in &mut *part {
            *head = probe(*key).head(skip);
        }
        part.sort_unstable_by_key(|(head, _)| *head);
        let mut start = start;
        for equal in part.chunk_by_mut(|one, other| one.0 == other.0) {
            let end = start + equal.len();
            if equal.len() <= COMPARED_MAX || shortest < skip + 8 {
                equal.sort_unstable_by(|(_, one), (_, other)| probe(*one).compare(&probe(*other)));
            } else {
                unsorted.push((start, end));
            }
            start = end;
        }
    }
    for (key, (_, sorted)) in keys.iter_mut().zip(&heads) {
        *key = *sorted;
    }
}
