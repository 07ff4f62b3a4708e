//! What a reader pins: one immutable picture of the store, and the one number that says how much of it may be seen.
//!
//! A view names the active memtable, the sealed ones, the segments and the buckets. It is replaced as a whole when one of these changes;
//! entries that are inserted into the active memtable do not change it. A reader takes a view and then loads
//! `view.active.visible()`, nothing else and in no other order (E1): the number lives in the memtable that it belongs to and freezes with
//! it, so an old view never shows half of what a newer one holds.
//!
//! Buckets come with the commit numbers of their changes, because a view with a change is installed before the change is visible: a
//! reader uses the newest version at or below its own visible number. One that asks about more than the newest entry of one key also
//! makes sure that its view was still the current one after it loaded that number (`Core::pin`), or its buckets could be older than that.
//!
//! No locks, no clock, no files are opened here; `engine` decides when a view is replaced.

mod table;

pub(crate) use table::Table;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::env::sync::{AtomicU64, Ordering};
use crate::manifest::BucketState;
use crate::memtable::{self, Memtable};
use crate::merge::{Backward, Changes, Merge, Source};
use crate::number::{BucketId, CommitNumber, FileNumber, Revision};
use crate::retention::Rules;
use crate::run::{self, Run};
use crate::segment::Segment;

/// One picture of the store. In each list the newest comes first, so the first entry found of a key is its newest.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) active: Arc<Memtable>,
    /// The log file that holds the same commits as `active`.
    pub(crate) active_log: FileNumber,
    pub(crate) sealed: Vec<Arc<Sealed>>,
    pub(crate) runs: Vec<Arc<Run>>,
    pub(crate) buckets: Arc<Buckets>,
    /// Which open of the store this is: a random number.
    pub(crate) incarnation: u64,
}

/// A memtable that waits for its flush, with what the manifest must say of the buckets once it is flushed (E17).
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) memtable: Arc<Memtable>,
    /// The log file that holds the same commits.
    pub(crate) log: FileNumber,
    /// The newest commit number given out when it was sealed.
    pub(crate) through: CommitNumber,
    pub(crate) buckets: Table<BucketId, Arc<BucketState>>,
    pub(crate) next_bucket: BucketId,
}

/// The buckets of a view, by id and by name. Cheap to copy and to change, however many there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buckets {
    versions: Table<BucketId, Versions>,
    /// The newest bucket of each name.
    names: Table<Arc<str>, BucketId>,
    /// Those that were deleted, with the commit that did it, as long as somebody may still see them.
    deleted: Vec<(CommitNumber, BucketId, Arc<str>)>,
}

/// What a bucket is from `commit` on (`None` = deleted), and what it was before, newest first, as long as somebody may see that.
#[derive(Clone, Debug)]
struct Versions {
    commit: CommitNumber,
    state: Option<Arc<BucketState>>,
    older: Vec<(CommitNumber, Option<Arc<BucketState>>)>,
    revisions: Arc<Revisions>,
}

/// A bucket's newest revision, from outside.
#[derive(Debug, Default)]
pub(crate) struct Revisions {
    /// Stored before its commit is visible: no reader has seen a higher one.
    pub(crate) published: AtomicU64,
    /// Stored after its commit was told to watchers: everything up to it waits for whom it concerns.
    pub(crate) told: AtomicU64,
}

impl Revisions {
    pub(crate) const fn new(last: Revision) -> Self {
        Self { published: AtomicU64::new(last.0), told: AtomicU64::new(last.0) }
    }
}

impl Sealed {
    /// The buckets as of `through`, by id.
    pub(crate) fn states(&self) -> Vec<Arc<BucketState>> {
        self.buckets.values().cloned().collect()
    }
}

impl View {
    /// Which commits a reader that holds this view may see.
    pub(crate) fn visible(&self) -> CommitNumber {
        self.active.visible()
    }

    /// No commit before this one is in a memtable of this view.
    pub(crate) fn memory_starts_at(&self) -> CommitNumber {
        self.sealed.last().map_or(self.active.first(), |oldest| oldest.memtable.first())
    }

    /// Active and sealed memtables, newest first.
    pub(crate) fn memtables(&self) -> impl Iterator<Item = &Arc<Memtable>> {
        std::iter::once(&self.active).chain(self.sealed.iter().map(|sealed| &sealed.memtable))
    }

    /// Memory that the memtables of this view take, in bytes.
    pub(crate) fn memtable_bytes(&self) -> u64 {
        self.memtables().map(|memtable| memtable.bytes()).sum()
    }

    /// The files of all runs, by number: each once, however many parts name it.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &Arc<Segment>> {
        let parts = self.runs.iter().flat_map(|run| run.parts());
        let files: BTreeMap<FileNumber, &Arc<Segment>> = parts.map(|part| (part.segment.number(), &part.segment)).collect();
        files.into_values()
    }

    /// Everything of one bucket up to `visible`, in order.
    pub(crate) fn merge(&self, bucket: BucketId, visible: CommitNumber) -> Merge {
        Merge::new(self.sources(bucket, visible))
    }

    /// The same from the end.
    pub(crate) fn backward(&self, bucket: BucketId, visible: CommitNumber) -> Backward {
        Backward::new(self.sources(bucket, visible))
    }

    /// The same in the order of revisions, from above `after` on.
    pub(crate) fn changes(&self, bucket: BucketId, visible: CommitNumber, after: Revision) -> Changes {
        let parts = self.runs.iter().flat_map(|run| run.parts());
        Changes::new(bucket, after, visible, self.memtables(), parts)
    }

    /// Newest first. What is empty now has nothing up to `visible` later either.
    fn sources(&self, bucket: BucketId, visible: CommitNumber) -> Vec<Source> {
        let memtables = self.memtables().filter(|memtable| !memtable.is_empty());
        let memtables = memtables.map(|memtable| memtable::Cursor::new(Arc::clone(memtable), bucket, visible));
        let runs = self.runs.iter().map(|run| run::Cursor::new(Arc::clone(run), bucket));
        memtables.map(Source::Memtable).chain(runs.map(Source::Run)).collect()
    }
}

impl Buckets {
    /// The buckets that a manifest names.
    pub(crate) fn new(states: &[BucketState]) -> Self {
        let mut buckets = Self::default();
        for state in states {
            buckets.set(state.changed, Arc::new(state.clone()), CommitNumber(0));
        }
        buckets
    }

    /// The bucket as of `visible`.
    pub(crate) fn get(&self, id: BucketId, visible: CommitNumber) -> Option<&Arc<BucketState>> {
        self.versions.get(&id)?.at(visible)
    }

    /// The bucket of that name as of `visible`.
    pub(crate) fn find(&self, name: &str, visible: CommitNumber) -> Option<&Arc<BucketState>> {
        let newest = self.names.get(name).and_then(|id| self.get(*id, visible));
        // One that was just created again is not visible yet while the one before it may still be.
        newest.or_else(|| self.deleted.iter().filter(|gone| *gone.2 == *name).find_map(|gone| self.get(gone.1, visible)))
    }

    /// All buckets as of `visible`, by id.
    pub(crate) fn all(&self, visible: CommitNumber) -> impl Iterator<Item = &Arc<BucketState>> {
        self.versions.values().filter_map(move |versions| versions.at(visible))
    }

    /// The bucket's newest published revision.
    pub(crate) fn last_revision(&self, id: BucketId) -> Revision {
        Revision(self.versions.get(&id).map_or(0, |versions| versions.revisions.published.load(Ordering::Acquire)))
    }

    /// The newest revision up to which watchers of the bucket were told.
    pub(crate) fn told_revision(&self, id: BucketId) -> Revision {
        Revision(self.versions.get(&id).map_or(0, |versions| versions.revisions.told.load(Ordering::Acquire)))
    }

    /// Where the newest revision of a bucket is kept.
    pub(crate) fn revisions(&self, id: BucketId) -> Option<Arc<Revisions>> {
        self.versions.get(&id).map(|versions| Arc::clone(&versions.revisions))
    }

    /// The bucket as its newest change made it, visible or not.
    pub(crate) fn newest(&self, id: BucketId) -> Option<&Arc<BucketState>> {
        self.versions.get(&id)?.state.as_ref()
    }

    /// Reads of the past up to `as_of` and watches from below `watch` may miss what a merge has removed (E5, E8).
    pub(crate) fn raise_floors(&mut self, id: BucketId, as_of: Revision, watch: Revision) {
        let Some(versions) = self.versions.get_mut(&id) else { return };
        let older = versions.older.iter_mut().filter_map(|(_, state)| state.as_mut());
        for state in versions.state.iter_mut().chain(older) {
            raise_floors(state, as_of, watch);
        }
    }

    /// Creates or changes a bucket from `commit` on. Versions that nobody at or above `visible` can ask for go.
    pub(crate) fn set(&mut self, commit: CommitNumber, mut state: Arc<BucketState>, visible: CommitNumber) {
        self.forget_deleted(visible);
        let (id, last_revision) = (state.id, state.last_revision);
        if let Some(versions) = self.versions.get_mut(&id) {
            if let Some(before) = &versions.state {
                // The leader's copy does not know what merges have removed.
                raise_floors(&mut state, before.as_of_floor, before.watch_floor);
            }
            versions.set(commit, Some(state), visible);
            return;
        }
        self.names.insert(Arc::from(state.spec.name.as_str()), id);
        let revisions = Arc::new(Revisions::new(last_revision));
        self.versions.insert(id, Versions { commit, state: Some(state), older: Vec::new(), revisions });
    }

    /// Deletes a bucket from `commit` on.
    pub(crate) fn remove(&mut self, commit: CommitNumber, id: BucketId, visible: CommitNumber) {
        self.forget_deleted(visible);
        let Some(versions) = self.versions.get_mut(&id) else { return };
        if let Some(before) = &versions.state {
            self.deleted.push((commit, id, Arc::from(before.spec.name.as_str())));
        }
        versions.set(commit, None, visible);
    }

    /// Nobody at or above `visible` asks for buckets that were deleted up to then.
    fn forget_deleted(&mut self, visible: CommitNumber) {
        let Self { versions, names, deleted } = self;
        deleted.retain(|(commit, id, name)| {
            let is_seen = *commit > visible;
            if !is_seen {
                versions.remove(id);
                if names.get(&**name) == Some(id) {
                    names.remove(&**name);
                }
            }
            is_seen
        });
    }
}

impl Versions {
    /// A change from `commit` on; what nobody at or above `visible` can ask for goes.
    fn set(&mut self, commit: CommitNumber, state: Option<Arc<BucketState>>, visible: CommitNumber) {
        let before = (std::mem::replace(&mut self.commit, commit), std::mem::replace(&mut self.state, state));
        self.older.insert(0, before);
        if let Some(settled) = self.older.iter().position(|(commit, _)| *commit <= visible) {
            self.older.truncate(settled + 1);
        }
    }

    fn at(&self, visible: CommitNumber) -> Option<&Arc<BucketState>> {
        if self.commit <= visible {
            return self.state.as_ref();
        }
        self.older.iter().find(|(commit, _)| *commit <= visible)?.1.as_ref()
    }
}

fn raise_floors(state: &mut Arc<BucketState>, as_of: Revision, watch: Revision) {
    if state.as_of_floor < as_of || state.watch_floor < watch {
        let state = Arc::make_mut(state);
        state.as_of_floor = state.as_of_floor.max(as_of);
        state.watch_floor = state.watch_floor.max(watch);
    }
}

/// The rules that decide what of a bucket's entries is seen at store time `now`.
pub(crate) fn rules(state: &BucketState, now: u64) -> Rules<'_> {
    Rules {
        depth: state.spec.history,
        max_age: state.spec.max_age,
        floor: state.floor,
        eras: &state.eras,
        now,
        cursor: (state.spec.marker_ttl > 0).then_some(state.cursor),
    }
}
