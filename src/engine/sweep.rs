//! Expiry as commits, in buckets with `limit_markers` (E14): each key that expires gets a marker, in the order in which they expire.
//!
//! A sweep *looks* for what has expired since the last one, in bounded pieces: in segments along the permutations by deadline and by
//! revision, so that it costs what expires; in memtables at every key, where something may have expired ([`horizon`](super::horizon)). What
//! it finds are candidates; a marker is written on the condition that the key's newest entry is the one that was found, so whatever is
//! committed meanwhile, no key gets two or a wrong one. A group of markers is one record, with how far the sweep has got behind them: a
//! crash loses both or neither. Until then retention keeps what has expired, so a sweep after any downtime finds everything that is due.
//!
//! Writers do not wait for sweeps: who finds that a key has expired commits its marker first ([`Core::commit_markers`]). A change of a
//! bucket's configuration does: its leader sweeps to the time of the change.
//!
//! Several sweeps at once are as good as one: each has looked at all up to where it says that it has got to, whoever has committed the
//! markers. A sweep counts time as readers do, never past what a commit that is under way has announced (E16): so what such a commit
//! writes expires later than the sweep has got to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::board::RETRY_AFTER;
use super::core::Core;
use super::horizon::Horizons;
use super::leader::Leader;
use super::request::{Answer, Op, OpFields, Ops, Request, Settlement, SweptTo, Write};
use super::size::expiry_of;
use super::write::WriteOptions;
use crate::acceptance::Found;
use crate::entry::Meta;
use crate::env::sync::{AtomicBool, Ordering};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::BucketState;
use crate::number::{BucketId, CommitNumber, Revision};
use crate::run::Part;
use crate::segment::{Changes, Expiring, SectionInfo};
use crate::view::View;

/// Markers of one group.
const GROUP_LEN: usize = 1000;
/// Candidates of one look.
const LOOK_LEN: usize = 4 * GROUP_LEN;
/// The job rests this long between two sweeps, at least, so that what expires together is swept together.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// And so many times as long as the last sweep took: what lies in memtables is looked at as a whole.
const PAUSE_FACTOR: u32 = 10;
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// When an entry goes by itself, and which one it is: the order of markers.
type Place = (u64, BucketId, Revision);

/// What a look has found.
#[derive(Debug)]
struct Look<'a> {
    /// By bucket id.
    states: &'a [Arc<BucketState>],
    now: u64,
    after: Option<Place>,
    /// The keys of the first candidates.
    found: BTreeMap<Place, Candidate>,
    /// There are more behind them.
    is_cut: bool,
    /// When the next entry expires after `now`; not later than that.
    next: u64,
}

#[derive(Debug)]
struct Candidate {
    key: Box<[u8]>,
    created: u64,
}

/// Markers of one bucket that are committed together.
#[derive(Debug)]
struct Group {
    /// How far the sweep has got behind them.
    swept: SweptTo,
    /// How long they live.
    ttl: u64,
    /// The keys, and with which revisions they have expired.
    due: Vec<(Box<[u8]>, Revision)>,
}

impl Group {
    fn markers(&self) -> Vec<OpFields<'_>> {
        let bucket = self.swept.bucket;
        self.due.iter().map(|(key, revision)| OpFields::expiry_marker(bucket, key, *revision, self.ttl)).collect()
    }
}

/// What a sweep did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sweep {
    /// Whether it committed anything.
    pub(super) has_written: bool,
    /// When the next entry expires.
    next: u64,
}

impl<'a> Look<'a> {
    fn new(states: &'a [Arc<BucketState>], now: u64, after: Option<Place>) -> Self {
        Self { states, now, after, found: BTreeMap::new(), is_cut: false, next: u64::MAX }
    }

    fn state(&self, id: BucketId) -> Option<&'a Arc<BucketState>> {
        self.states.binary_search_by_key(&id, |state| state.id).ok().and_then(|at| self.states.get(at))
    }

    /// Takes an entry that expires at `at`; answers whether it is no use to go on to later ones.
    fn take(&mut self, at: u64, bucket: BucketId, meta: &Meta, key: &[u8]) -> bool {
        if at > self.now {
            self.next = self.next.min(at);
            return true;
        }
        let place = (at, bucket, meta.revision);
        if self.after.is_some_and(|after| place <= after) {
            return false;
        }
        if self.found.len() == LOOK_LEN && self.found.last_key_value().is_some_and(|(last, _)| *last < place) {
            self.is_cut = true;
            // Of the same moment there may be some in front of the last.
            return self.found.last_key_value().is_some_and(|(last, _)| last.0 < at);
        }
        self.found.insert(place, Candidate { key: key.into(), created: meta.created });
        if self.found.len() > LOOK_LEN {
            self.found.pop_last();
            self.is_cut = true;
        }
        false
    }

    /// The newest entry of each key of a memtable; what it has superseded leaves no marker. A memtable in which nothing can have expired,
    /// by its horizon, is left out.
    fn look_into_memtables(&mut self, view: &View, visible: CommitNumber, mut horizons: Option<&mut Horizons>) {
        for memtable in view.memtables() {
            if let Some(horizons) = &mut horizons {
                let next = horizons.next(memtable, visible, self.states);
                if next > self.now {
                    self.next = self.next.min(next);
                    continue;
                }
            }
            let mut next = u64::MAX;
            memtable.each_newest(visible, |bucket, key, meta| {
                let Some(state) = self.state(bucket) else { return };
                let at = expiry_of(state, meta);
                let (deadline, revision) = state.cursor;
                let is_swept = if at == meta.deadline { at <= deadline } else { meta.revision <= revision };
                if at < u64::MAX && !is_swept && meta.revision > state.floor {
                    next = next.min(at);
                    self.take(at, bucket, meta, key);
                }
            });
            if let Some(horizons) = &mut horizons {
                horizons.set(memtable, next);
            }
        }
    }

    fn look_into_segments(&mut self, view: &View) -> Result<()> {
        for part in view.runs.iter().flat_map(|run| run.parts()) {
            for section in part.segment.sections() {
                let Some(state) = self.state(section.bucket).filter(|state| section.last_revision > state.floor) else {
                    continue;
                };
                self.look_by_deadline(part, section, state)?;
                self.look_by_age(part, section, state)?;
            }
        }
        Ok(())
    }

    fn look_by_deadline(&mut self, part: &Part, section: &SectionInfo, state: &BucketState) -> Result<()> {
        if section.deadlines == 0 {
            return Ok(());
        }
        if section.first_deadline > self.now {
            self.next = self.next.min(section.first_deadline);
            return Ok(());
        }
        let bucket = section.bucket;
        let from = self.after.map_or(0, |after| after.0.saturating_sub(1)).max(state.cursor.0);
        let mut walk = Expiring::new(Arc::clone(&part.segment), bucket, from)?;
        while walk.advance()? {
            let Some(entry) = walk.entry() else { break };
            // Age takes it earlier: then it is found by that.
            let is_aged_first = expiry_of(state, &entry.meta) < entry.meta.deadline;
            let is_taken = !is_aged_first && part.live.holds(bucket, entry.key);
            if (is_taken || entry.meta.deadline > self.now) && self.take(entry.meta.deadline, bucket, &entry.meta, entry.key) {
                break;
            }
        }
        Ok(())
    }

    fn look_by_age(&mut self, part: &Part, section: &SectionInfo, state: &BucketState) -> Result<()> {
        let (bucket, revision) = (section.bucket, state.cursor.1);
        if state.spec.max_age == 0 || section.last_revision <= revision {
            return Ok(());
        }
        let by_age = |created: u64| created.saturating_add(state.spec.max_age);
        if by_age(section.first_created) > self.now {
            self.next = self.next.min(by_age(section.first_created));
            return Ok(());
        }
        let mut walk = Changes::new(Arc::clone(&part.segment), bucket, revision)?;
        while walk.advance()? {
            let Some(entry) = walk.entry() else { break };
            // It has the revision of an old marker, and the time of its removal: by age it is out of order.
            if entry.meta.flags.is_dropped() {
                continue;
            }
            let at = by_age(entry.meta.created);
            let is_taken = expiry_of(state, &entry.meta) == at && part.live.holds(bucket, entry.key);
            if (is_taken || at > self.now) && self.take(at, bucket, &entry.meta, entry.key) {
                break;
            }
        }
        Ok(())
    }
}

impl Core {
    /// Commits the markers of all that has expired by now, in all buckets that have them or in one.
    pub(super) fn sweep(&self, only: Option<BucketId>) -> Result<Sweep> {
        let mut sweep = Sweep { has_written: false, next: u64::MAX };
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            self.health.check_writable()?;
            let mut horizons = self.horizons.lock();
            // In this order (E16).
            let now = self.now_for_readers();
            let (view, visible) = self.pin();
            let has_markers = |state: &&Arc<BucketState>| state.spec.marker_ttl > 0 && state.is_mortal();
            let states: Vec<_> = match only {
                Some(id) => view.buckets.get(id, visible).into_iter().filter(has_markers).cloned().collect(),
                None => view.buckets.all(visible).filter(has_markers).cloned().collect(),
            };
            if states.is_empty() {
                return Ok(sweep);
            }
            let present: Vec<_> = states.iter().map(|state| (state.id, state.changed)).collect();
            if present != seen {
                // Other limits may have made something due in front of where it was.
                (after, seen) = (None, present);
            }
            let mut look = Look::new(&states, now, after);
            if only.is_none() {
                horizons.settle(&view, &states);
            }
            look.look_into_memtables(&view, visible, only.is_none().then_some(&mut horizons));
            drop(horizons);
            look.look_into_segments(&view)?;
            after = look.found.last_key_value().map(|(place, _)| *place);
            sweep.next = look.next;
            for group in self.groups(&look, &view, visible)? {
                self.write_markers(&group.markers(), Some(group.swept))?;
                sweep.has_written = true;
            }
            if !look.is_cut || self.board.is_stopping() {
                return Ok(sweep);
            }
        }
    }

    /// The same for one bucket to the time of a change of its configuration, by the leader who is about to make that.
    pub(super) fn sweep_before_edit(&self, leader: &mut Leader, bucket: BucketId, now: u64) -> Result<()> {
        let mut after = None;
        loop {
            // All that there is.
            let visible = CommitNumber(leader.next.0 - 1);
            let Some(live) = leader.buckets.get(&bucket) else { return Ok(()) };
            if live.state.spec.marker_ttl == 0 || !live.state.is_mortal() {
                return Ok(());
            }
            let (view, states) = (self.view.load_full(), [Arc::clone(&live.state)]);
            let mut look = Look::new(&states, now, after);
            look.look_into_memtables(&view, visible, None);
            look.look_into_segments(&view)?;
            after = look.found.last_key_value().map(|(place, _)| *place);
            for group in self.groups(&look, &view, visible)? {
                self.mark_by_leader(leader, &group, now)?;
            }
            if !look.is_cut {
                return Ok(());
            }
        }
    }

    /// Commits the markers of a group, and counts what the bucket takes first if that is not known.
    fn mark_by_leader(&self, leader: &mut Leader, group: &Group, now: u64) -> Result<()> {
        let request = self.write_by_leader(&group.markers(), Some(group.swept));
        let mut answers = Vec::new();
        loop {
            self.commit_writes(leader, &[&request], now, &mut answers);
            match answers.pop() {
                Some(Ok(Answer::Count(bucket))) => {
                    self.settle_size(leader, &Settlement::by_leader(bucket), now)?;
                }
                answer => return answer.map_or(Ok(()), |answer| answer.map(|_| ())),
            }
        }
    }

    /// The candidates in groups, and of each those that are to have a marker.
    fn groups(&self, look: &Look<'_>, view: &View, visible: CommitNumber) -> Result<Vec<Group>> {
        let mut groups = Vec::new();
        let found: Vec<_> = look.found.iter().collect();
        let mut from = 0;
        while from < found.len() {
            let to = (from + GROUP_LEN).min(found.len());
            // All that expires up to here is in this group or an earlier one.
            let last = found[to - 1].0.0;
            let deadline = match found.get(to) {
                Some((next, _)) if next.0 == last => last - 1,
                None if look.is_cut => last - 1,
                _ => last,
            };
            let mut by_bucket: BTreeMap<BucketId, Group> = BTreeMap::new();
            for ((_, bucket, revision), candidate) in &found[from..to] {
                let Some(state) = look.state(*bucket) else { continue };
                let group = by_bucket.entry(*bucket).or_insert_with(|| Group {
                    swept: SweptTo { bucket: *bucket, deadline, revision: Revision::NONE, at: visible },
                    ttl: state.spec.marker_ttl,
                    due: Vec::new(),
                });
                if state.spec.max_age > 0 && candidate.created.saturating_add(state.spec.max_age) <= deadline {
                    group.swept.revision = group.swept.revision.max(*revision);
                }
                let key = (&*candidate.key, self.hasher.hash(*bucket, &candidate.key));
                if self.find_newest(view, visible, state, key, look.now)? == (Found::Due { revision: *revision }) {
                    group.due.push((candidate.key.clone(), *revision));
                }
            }
            groups.extend(by_bucket.into_values());
            from = to;
        }
        Ok(groups)
    }

    /// The markers of keys that have expired with these revisions: whoever is about to write them commits these first.
    pub(super) fn commit_markers<'k>(&self, due: impl IntoIterator<Item = (BucketId, &'k [u8], Revision)>) -> Result<()> {
        let view = self.view.load();
        let ttl = |bucket| view.buckets.newest(bucket).map_or(0, |state| state.spec.marker_ttl);
        let marker = |(bucket, key, revision)| OpFields::expiry_marker(bucket, key, revision, ttl(bucket));
        let markers: Vec<_> = due.into_iter().map(marker).collect();
        drop(view);
        // Whatever became of them, what is to come behind them was not tried.
        markers.chunks(GROUP_LEN).try_for_each(|group| self.write_markers(group, None)).map_err(Error::not_applied)
    }

    fn write_markers(&self, markers: &[OpFields<'_>], swept: Option<SweptTo>) -> Result<()> {
        match self.write_batch(markers, WriteOptions { lenient: true, swept, ..WriteOptions::default() }) {
            // Deleted meanwhile.
            Err(error) if error.kind() == ErrorKind::BucketNotFound => Ok(()),
            written => written.map(|_| ()),
        }
    }

    /// A marker for which the leader reads.
    pub(super) fn marker_by_leader(&self, bucket: BucketId, key: &[u8], revision: Revision) -> Request {
        let ttl = self.view.load().buckets.newest(bucket).map_or(0, |state| state.spec.marker_ttl);
        self.write_by_leader(&[OpFields::expiry_marker(bucket, key, revision, ttl)], None)
    }

    fn write_by_leader(&self, ops: &[OpFields<'_>], swept: Option<SweptTo>) -> Request {
        let mut bytes = Vec::new();
        let encode = |op: &OpFields<'_>| Op::encode(&mut bytes, op, self.hasher.hash(op.bucket, op.key));
        let ops = Ops::Many(ops.iter().map(encode).collect());
        let (counted, swept) = (AtomicBool::new(false), swept.map(Box::new));
        Request::Write(Write { bytes, ops, lenient: true, synced: false, alone: true, leader_reads: true, counted, swept })
    }

    /// Something that may need a marker expires at `at`: calls the job if it would come too late. To be called once that is visible, or a sweep
    /// that begins meanwhile would miss it and forget when to come back.
    pub(super) fn expires_at(&self, at: u64) {
        if at < self.sweep_at.load(Ordering::Relaxed) && at < self.sweep_at.fetch_min(at, Ordering::SeqCst) {
            self.board.wake();
        }
    }
}

/// What the job's thread runs until the board ends it.
pub(super) fn run(core: &Core) {
    loop {
        let started = core.env.clock.monotonic();
        // What is written from here on says when it expires.
        core.sweep_at.store(u64::MAX, Ordering::SeqCst);
        let sweep = core.sweep(None);
        let next = sweep.as_ref().map_or_else(|_| core.now().saturating_add(RETRY_AFTER.as_nanos() as u64), |sweep| sweep.next);
        core.board.swept(sweep.err());
        core.sweep_at.fetch_min(next, Ordering::SeqCst);
        let ended = core.env.clock.monotonic();
        let took = Duration::from_nanos(ended.saturating_sub(started));
        let rest = (took * PAUSE_FACTOR).clamp(PAUSE_MIN, PAUSE_MAX).as_nanos() as u64;
        loop {
            let calls = core.board.calls();
            let rests = ended.saturating_add(rest).saturating_sub(core.env.clock.monotonic());
            let due = core.sweep_at.load(Ordering::SeqCst).saturating_sub(core.now());
            let wait = rests.max(due).min(PAUSE_MAX.as_nanos() as u64);
            if !core.board.wait(calls, Duration::from_nanos(wait)) {
                return;
            }
            if wait == 0 {
                break;
            }
        }
    }
}
