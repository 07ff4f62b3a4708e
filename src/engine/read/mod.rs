//! The read path: what a bucket is at one commit, and every question that can be asked of it.
//!
//! A [`Reader`] is a pinned view, the one number that says how much of it may be seen, the bucket as of that number, and the store time
//! that counts: nothing else decides an answer (E1). Handles make one for a call ([`Core::read`]); a [`Moment`] keeps what one needs, for
//! iterators and snapshots, which see the same from beginning to end whatever is written, flushed, merged or deleted meanwhile, even after
//! a close. So every operation is written once, for a `Reader`.
//!
//! A point read takes no lock and touches no counter that another reader writes: the view is pinned by `arc-swap`'s guard for one call. It
//! asks for the time only in buckets where entries expire.
//!
//! [`point`]: the newest entry of a key; [`past`]: entries and values by revision; [`history`]; [`scan`]: ranges of keys, both ways;
//! [`changes`]: entries in the order of revisions; [`paused`]: a piece at a time; [`verdict`]: which count; [`gone`]: what they do not tell;
//! [`resume`]: where somebody was; [`count`]: what is retained.

mod changes;
mod count;
mod gone;
mod history;
mod past;
mod paused;
mod point;
mod resume;
mod scan;
mod verdict;

pub(crate) use changes::{ChangeScan, Delivery, Missing};
pub(crate) use count::{Counts, Estimate};
pub(crate) use history::EntryScan;
pub(crate) use paused::Paused;
pub(crate) use resume::Origin;
pub(crate) use scan::{Item, Scan, Span, Wanted};

use std::sync::Arc;

use arc_swap::Guard;

use super::core::Core;
use crate::entry::{Entry, Meta, Value};
use crate::error::{Error, ErrorKind, Result};
use crate::hash::KeyHasher;
use crate::key::Key;
use crate::manifest::BucketState;
use crate::merge::{Backward, Merge};
use crate::number::{BucketId, CommitNumber, Revision};
use crate::retention::{Judge, Rules, Sight};
use crate::spec::BucketSpec;
use crate::view::{View, rules};

/// A bucket at one commit, for as long as a view is pinned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'v> {
    view: &'v View,
    visible: CommitNumber,
    state: &'v BucketState,
    /// Store time; 0 where it does not matter.
    now: u64,
    hasher: KeyHasher,
    /// The bucket's last revision; `None` to look it up when it is asked for.
    last_revision: Option<Revision>,
}

/// A bucket at one commit, to keep.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    view: Arc<View>,
    visible: CommitNumber,
    state: Arc<BucketState>,
    now: u64,
    hasher: KeyHasher,
    /// The bucket's last revision, or one that it had soon after.
    last_revision: Revision,
}

/// All buckets at one commit, to keep.
#[derive(Clone, Debug)]
pub(crate) struct StoreMoment {
    view: Arc<View>,
    visible: CommitNumber,
    now: u64,
    hasher: KeyHasher,
}

impl Core {
    /// Hands a reader of the bucket as it is now to `read`.
    pub(super) fn read<T>(&self, id: BucketId, read: impl FnOnce(&Reader<'_>) -> Result<T>) -> Result<T> {
        let now = self.now_for_readers();
        let (view, visible) = self.pin();
        let state = self.bucket_in(&view, id, visible)?;
        read(&Reader { view: &view, visible, state, now, hasher: self.hasher, last_revision: None })
    }

    /// The same for questions about the newest entry of one key, which need less care: see [`Core::pin`].
    #[inline]
    pub(super) fn read_newest<T>(&self, id: BucketId, read: impl FnOnce(&Reader<'_>) -> Result<T>) -> Result<T> {
        let view = self.view.load();
        let visible = view.visible();
        let state = self.bucket_in(&view, id, visible)?;
        if time_matters(state) {
            // The time is taken before the view that goes with it (E16): the other way round, a reader could miss a write that had found
            // alive what the reader finds expired.
            return self.read(id, read);
        }
        read(&Reader { view: &view, visible, state, now: 0, hasher: self.hasher, last_revision: None })
    }

    /// The bucket as it is now, to keep; its last revision is exact.
    pub(super) fn moment(&self, id: BucketId) -> Result<Moment> {
        loop {
            let mut moment = self.store_moment()?.bucket(id).ok_or_else(|| self.bucket_gone())?;
            // What is published but not visible yet lies in the active memtable of the view: if that was still the current one after the last
            // revision was loaded.
            if Arc::ptr_eq(&moment.view, &self.view.load()) {
                let beyond = moment.view.active.first_revision_above(id, moment.visible);
                let last = beyond.map_or(moment.last_revision, |beyond| moment.last_revision.min(Revision(beyond.0 - 1)));
                moment.last_revision = last;
                return Ok(moment);
            }
        }
    }

    /// The store as it is now, to keep.
    pub(super) fn store_moment(&self) -> Result<StoreMoment> {
        self.health.check_open()?;
        let now = self.now_for_readers();
        let (view, visible) = self.pin();
        Ok(StoreMoment { view: Guard::into_inner(view), visible, now, hasher: self.hasher })
    }

    fn bucket_in<'v>(&self, view: &'v View, id: BucketId, visible: CommitNumber) -> Result<&'v Arc<BucketState>> {
        self.health.check_open()?;
        view.buckets.get(id, visible).ok_or_else(|| self.bucket_gone())
    }
}

impl StoreMoment {
    /// A bucket of then.
    pub(crate) fn bucket(&self, id: BucketId) -> Option<Moment> {
        let state = Arc::clone(self.view.buckets.get(id, self.visible)?);
        // Loaded after `visible`, and stored before that is: so it is not too low.
        let last_revision = self.view.buckets.last_revision(id);
        let (view, visible, now, hasher) = (Arc::clone(&self.view), self.visible, self.now, self.hasher);
        Some(Moment { view, visible, state, now, hasher, last_revision })
    }

    /// The bucket that had that name.
    pub(crate) fn find(&self, name: &str) -> Option<Moment> {
        self.bucket(self.view.buckets.find(name, self.visible)?.id)
    }

    /// The names of all buckets of then, in order.
    pub(crate) fn bucket_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.view.buckets.all(self.visible).map(|state| state.spec.name.clone()).collect();
        names.sort_unstable();
        names
    }

    /// The newest commit that it shows.
    pub(crate) const fn visible(&self) -> CommitNumber {
        self.visible
    }

    /// Store time then.
    pub(crate) const fn now(&self) -> u64 {
        self.now
    }
}

impl Moment {
    pub(crate) fn reader(&self) -> Reader<'_> {
        let Self { view, visible, state, now, hasher, last_revision } = self;
        let last_revision = Some(*last_revision);
        Reader { view, visible: *visible, state, now: *now, hasher: *hasher, last_revision }
    }

    pub(crate) fn state(&self) -> &BucketState {
        &self.state
    }

    /// The bucket's last revision then. Of a moment that [`Core::moment`] has made: everything up to there is visible in it.
    pub(crate) const fn last_revision(&self) -> Revision {
        self.last_revision
    }

    /// The newest commit that it shows.
    pub(crate) const fn visible(&self) -> CommitNumber {
        self.visible
    }

    /// Store time then.
    pub(crate) const fn now(&self) -> u64 {
        self.now
    }
}

impl<'v> Reader<'v> {
    pub(crate) const fn spec(&self) -> &'v BucketSpec {
        &self.state.spec
    }

    fn rules(&self) -> Rules<'v> {
        rules(self.state, self.now)
    }

    /// Not lower than the bucket's last revision at this commit; higher only by commits that were under way.
    fn last_revision(&self) -> Revision {
        self.last_revision.unwrap_or_else(|| self.view.buckets.last_revision(self.state.id))
    }

    fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash(self.state.id, key)
    }

    fn merge(&self) -> Merge {
        self.view.merge(self.state.id, self.visible)
    }

    fn backward(&self) -> Backward {
        self.view.backward(self.state.id, self.visible)
    }
}

/// Whether what a reader of the bucket sees depends on the time.
fn time_matters(state: &BucketState) -> bool {
    state.spec.max_age > 0 || state.deadlines_seen
}

/// Moves `merge` from an entry of `key` to the newest one of it that counts, itself or an older one; answers whether there is one.
fn settle(merge: &mut Merge, key: &[u8], rules: &Rules<'_>) -> Result<bool> {
    let mut judge = Judge::new(rules);
    while let Some(entry) = merge.entry().filter(|entry| entry.key == key) {
        match judge.see(&entry.meta) {
            Sight::Visible => return Ok(true),
            Sight::End => return Ok(false),
            Sight::Hidden => merge.next()?,
        }
    }
    Ok(false)
}

fn entry_of(key: &[u8], meta: Meta, value: Value) -> Result<Entry> {
    Ok(Entry::new(stored_key(key)?, meta, value))
}

fn stored_key(key: &[u8]) -> Result<Key> {
    Key::from_stored(key).ok_or_else(|| not_a_key(key))
}

#[cold]
fn not_a_key(key: &[u8]) -> Error {
    Error::new(ErrorKind::Corrupt, format!("stored key is not a key: {}", key.escape_ascii()))
}
