//! One key lives through random writes, clock steps, changes of limits, flushes and merges, three times:
//! - `Oracle`: every entry ever, each with a flag that says whether it has died. Death is settled at every step and is for ever.
//!   It knows no era, no stub, no rollup bit and no floor;
//! - `whole`: the same entries under `Judge`, never flushed or merged;
//! - `runs`: a memtable and age-ordered runs that only `retain` has written, with what the engine knows at those moments: limits
//!   as of the last flush, and whether anything older lies below.
//!
//! Invariants, after every step: (i) all three show the same revisions; (ii) nothing alive is ever dropped or stubbed; (iii) a
//! merge of everything leaves only what is alive, and stubs above it; (iv) reads of the past never give a wrong value or a wrong
//! "absent", and nothing is called compacted where nothing died; (v) the newest entry never leaves the disk without raising the
//! watch floor; (vi) whether an expiry marker is due depends on no merge.
//!
//! Numbers are small, so that deadlines, ages and limits meet at the same moment again and again.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::entry::Reason;

#[derive(Clone, Debug)]
enum Op {
    Wait(u64),
    Put {
        ttl: u64,
    },
    Delete,
    Purge {
        ttl: u64,
    },
    /// `purge_deletes` with this age.
    DropMarkers {
        age: u64,
    },
    PurgeBucket,
    WriteOtherKey,
    SetDepth(u8),
    SetMaxAge(u64),
    /// Commits the expiry markers that were due so long ago (in buckets that have them).
    Sweep {
        ago: u64,
    },
    SetMarkers(bool),
    Flush {
        tells_oldest: bool,
    },
    Merge {
        first: usize,
        count: usize,
        tells_oldest: bool,
        tells_newer: bool,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let ttl = || prop_oneof![Just(0), 1_u64..6];
    prop_oneof![
        4 => (1_u64..4).prop_map(Op::Wait),
        6 => ttl().prop_map(|ttl| Op::Put { ttl }),
        2 => Just(Op::Delete),
        1 => ttl().prop_map(|ttl| Op::Purge { ttl }),
        2 => (0_u64..4).prop_map(|age| Op::DropMarkers { age }),
        1 => Just(Op::PurgeBucket),
        1 => Just(Op::WriteOtherKey),
        3 => (1_u8..5).prop_map(Op::SetDepth),
        3 => prop_oneof![Just(0), 2_u64..9].prop_map(Op::SetMaxAge),
        2 => (0_u64..3).prop_map(|ago| Op::Sweep { ago }),
        1 => any::<bool>().prop_map(Op::SetMarkers),
        5 => any::<bool>().prop_map(|tells_oldest| Op::Flush { tells_oldest }),
        5 => (0_usize..4, 1_usize..4, any::<bool>(), any::<bool>())
            .prop_map(|(first, count, tells_oldest, tells_newer)| Op::Merge { first, count, tells_oldest, tells_newer }),
    ]
}

/// A bucket's limits, owned.
#[derive(Clone, Debug)]
struct Limits {
    depth: u8,
    max_age: u64,
    floor: Revision,
    eras: Vec<Era>,
    now: u64,
    has_markers: bool,
    swept: (u64, Revision),
    last: Revision,
}

impl Limits {
    fn rules(&self) -> Rules<'_> {
        Rules {
            depth: self.depth,
            max_age: self.max_age,
            floor: self.floor,
            eras: &self.eras,
            now: self.now,
            cursor: self.has_markers.then_some(self.swept),
        }
    }
}

#[derive(Clone, Debug)]
struct Life {
    meta: Meta,
    is_dead: bool,
}

/// Oldest first.
#[derive(Debug, Default)]
struct Oracle(Vec<Life>);

impl Oracle {
    /// Lets die what is due under these limits.
    fn settle(&mut self, now: u64, depth: u8, max_age: u64) {
        let is_due = |meta: &Meta| {
            let is_expired = meta.deadline != 0 && meta.deadline <= now;
            is_expired || (max_age != 0 && meta.created + max_age <= now)
        };
        let is_key_due = self.0.last().is_some_and(|newest| is_due(&newest.meta));
        for (position, life) in self.0.iter_mut().rev().enumerate() {
            life.is_dead |= is_key_due || position >= usize::from(depth) || is_due(&life.meta);
        }
    }

    fn kill_up_to(&mut self, revision: Revision) {
        self.0.iter_mut().filter(|life| life.meta.revision <= revision).for_each(|life| life.is_dead = true);
    }

    /// The revisions that count, newest first.
    fn alive(&self) -> Vec<Revision> {
        self.0.iter().rev().filter(|life| !life.is_dead).map(|life| life.meta.revision).collect()
    }

    fn newest_alive(&self) -> Option<&Meta> {
        self.0.last().filter(|life| !life.is_dead).map(|life| &life.meta)
    }

    fn is_alive(&self, meta: &Meta) -> bool {
        self.0.iter().any(|life| life.meta.revision == meta.revision && !life.is_dead)
    }
}

#[derive(Debug)]
struct Run {
    /// Newest first.
    entries: Vec<Meta>,
    sealed: u64,
}

const MARKER_TTL: u64 = 3;

#[derive(Debug)]
struct Model {
    limits: Limits,
    /// As of the last flush.
    flushed: Limits,
    oracle: Oracle,
    /// Newest first, as are `memtable` and the runs.
    whole: Vec<Meta>,
    memtable: Vec<Meta>,
    runs: Vec<Run>,
    past_floor: Revision,
    watch_floor: Revision,
    /// The newest entry, if it has expired and leaves a marker that is not there yet.
    awaiting: Option<Revision>,
    /// For every revision of the bucket but the last: what the key's value was at some moment while it was the newest.
    seen: Vec<BTreeSet<Option<Revision>>>,
    has_removed: bool,
}

impl Model {
    fn new(has_markers: bool) -> Self {
        let limits = Limits {
            depth: 3,
            max_age: 0,
            floor: Revision::NONE,
            eras: Vec::new(),
            now: 10,
            has_markers,
            swept: (0, Revision::NONE),
            last: Revision::NONE,
        };
        Self {
            flushed: limits.clone(),
            limits,
            oracle: Oracle::default(),
            whole: Vec::new(),
            memtable: Vec::new(),
            runs: Vec::new(),
            past_floor: Revision::NONE,
            watch_floor: Revision::NONE,
            awaiting: None,
            seen: vec![BTreeSet::from([None])],
            has_removed: false,
        }
    }

    fn disk(&self) -> impl Iterator<Item = Meta> {
        self.memtable.iter().chain(self.runs.iter().flat_map(|run| &run.entries)).copied()
    }

    fn step(&mut self, op: &Op) {
        match *op {
            Op::Wait(time) => self.limits.now += time,
            Op::Put { ttl } => self.write(Flags::put(), ttl),
            Op::Delete => self.write(Flags::delete(), 0),
            Op::Purge { ttl } => self.write(Flags::purge(), ttl),
            Op::DropMarkers { age } => self.drop_markers(age),
            Op::PurgeBucket => {
                self.limits.floor = self.limits.last;
                self.oracle.kill_up_to(self.limits.last);
                self.awaiting = None;
                self.has_removed = true;
            }
            Op::WriteOtherKey => self.number(),
            Op::SetDepth(depth) => {
                if depth > self.limits.depth {
                    self.log_era();
                }
                self.limits.depth = depth;
            }
            Op::SetMaxAge(max_age) => {
                if self.limits.max_age != 0 && (max_age == 0 || max_age > self.limits.max_age) {
                    self.log_era();
                }
                self.limits.max_age = max_age;
            }
            Op::Sweep { ago } => self.sweep(self.limits.now - ago),
            Op::SetMarkers(has_markers) => self.set_markers(has_markers),
            Op::Flush { tells_oldest } => self.flush(tells_oldest),
            Op::Merge { first, count, tells_oldest, tells_newer } => self.merge(first, count, tells_oldest, tells_newer),
        }
        self.settle();
        self.check();
    }

    fn settle(&mut self) {
        let newest = self.oracle.newest_alive().copied();
        self.oracle.settle(self.limits.now, self.limits.depth, self.limits.max_age);
        if self.limits.has_markers && self.oracle.newest_alive().is_none() {
            self.awaiting = newest.filter(|meta| !meta.flags.is_purge()).map(|meta| meta.revision).or(self.awaiting);
        }
        let value = self.oracle.newest_alive().filter(|meta| meta.flags.is_put()).map(|meta| meta.revision);
        self.seen.last_mut().expect("one for each revision").insert(value);
    }

    fn number(&mut self) {
        self.limits.last = Revision(self.limits.last.get() + 1);
        self.seen.push(BTreeSet::new());
    }

    fn log_era(&mut self) {
        self.sweep(self.limits.now);
        let Limits { depth, max_age, now, last, .. } = self.limits;
        self.limits.eras.push(Era::at_raise(CommitNumber(0), last, depth, max_age, now));
    }

    /// Whether the newest entry that a reader of `entries` meets has expired: then what follows it rolls up (E6).
    fn has_expired(&self, mut entries: impl Iterator<Item = Meta>) -> bool {
        let rules = Rules { cursor: None, ..self.limits.rules() };
        entries.find(|meta| !meta.flags.is_dropped()).is_some_and(|meta| rules.is_expired(&meta) || rules.is_aged(&meta))
    }

    fn write(&mut self, flags: Flags, ttl: u64) {
        self.mark_expiry(u64::MAX);
        self.append(flags, ttl);
    }

    fn append(&mut self, flags: Flags, ttl: u64) {
        self.number();
        let created = self.limits.now;
        let deadline = if ttl == 0 { 0 } else { created + ttl };
        let meta = Meta { revision: self.limits.last, flags, created, deadline, origin: Revision::NONE };
        let rolled = |is_expired| Meta { flags: if is_expired { flags.with(Flags::ROLLUP) } else { flags }, ..meta };
        let in_memtable = rolled(self.has_expired(self.disk()));
        let in_whole = rolled(self.has_expired(self.whole.iter().copied()));
        if flags.is_purge() {
            self.oracle.kill_up_to(self.limits.last);
            self.has_removed = true;
        }
        self.oracle.0.push(Life { meta, is_dead: false });
        self.whole.insert(0, in_whole);
        self.memtable.insert(0, in_memtable);
        self.settle();
    }

    /// When an entry goes by itself.
    fn expiry(&self, meta: &Meta) -> u64 {
        let by_age = if self.limits.max_age == 0 { u64::MAX } else { meta.created + self.limits.max_age };
        if meta.deadline == 0 { by_age } else { meta.deadline.min(by_age) }
    }

    /// Commits the expiry marker that is due, if it is due by this time.
    fn mark_expiry(&mut self, by: u64) {
        let newest = self.oracle.0.last().filter(|life| Some(life.meta.revision) == self.awaiting);
        if newest.is_some_and(|life| self.expiry(&life.meta) <= by) {
            self.awaiting = None;
            self.append(Flags::purge().with_reason(Reason::Expired), MARKER_TTL);
        }
    }

    fn sweep(&mut self, by: u64) {
        if self.limits.has_markers {
            let max_age = self.limits.max_age;
            let is_old = |meta: &Meta| max_age != 0 && meta.created + max_age <= by;
            let old =
                self.oracle.0.iter().rev().find(|life| is_old(&life.meta)).map_or(Revision::NONE, |life| life.meta.revision);
            self.mark_expiry(by);
            let (deadline, revision) = self.limits.swept;
            self.limits.swept = (deadline.max(by), revision.max(old));
        }
    }

    /// What has expired before markers are switched on leaves none; before they are switched off all are committed.
    fn set_markers(&mut self, has_markers: bool) {
        if has_markers && !self.limits.has_markers {
            if self.limits.max_age != 0 {
                self.log_era();
            }
            self.limits.swept.0 = self.limits.now;
            self.watch_floor = self.limits.last;
        } else if !has_markers {
            self.sweep(self.limits.now);
        }
        self.limits.has_markers = has_markers;
    }

    fn drop_markers(&mut self, age: u64) {
        let Some(marker) = self.oracle.newest_alive().copied().filter(|meta| !meta.flags.is_put()) else { return };
        let takes_marker = marker.created + age <= self.limits.now;
        let flags = if takes_marker { Flags::dropped().with(Flags::ROLLUP) } else { Flags::dropped() };
        let dropped = Meta { flags, created: self.limits.now, deadline: 0, ..marker };
        self.whole.insert(0, dropped);
        self.memtable.insert(0, dropped);
        self.oracle.kill_up_to(if takes_marker { marker.revision } else { Revision(marker.revision.get() - 1) });
        self.has_removed = true;
    }

    fn flush(&mut self, tells_oldest: bool) {
        self.flushed = self.limits.clone();
        let memtable = std::mem::take(&mut self.memtable);
        self.rewrite(0, &memtable, Inputs { holds_oldest: tells_oldest && self.is_empty_from(0), newer_from: self.limits.now });
    }

    fn merge(&mut self, first: usize, count: usize, tells_oldest: bool, tells_newer: bool) {
        let first = first.min(self.runs.len());
        let end = (first + count).min(self.runs.len());
        let merged: Vec<_> = self.runs.drain(first..end).collect();
        let Some(sealed) = merged.first().map(|run| run.sealed) else { return };
        let entries: Vec<_> = merged.into_iter().flat_map(|run| run.entries).collect();
        let holds_oldest = tells_oldest && self.is_empty_from(first);
        self.rewrite(first, &entries, Inputs { holds_oldest, newer_from: if tells_newer { sealed } else { 0 } });
        self.runs[first].sealed = sealed;
    }

    fn is_empty_from(&self, first: usize) -> bool {
        self.runs[first..].iter().all(|run| run.entries.is_empty())
    }

    /// Puts what `retain` leaves of `entries` in as the run at `index`.
    fn rewrite(&mut self, index: usize, entries: &[Meta], inputs: Inputs) {
        let mut fates = vec![Fate::Drop; 3];
        let removed = retain(&self.flushed.rules(), entries, inputs, &mut fates);
        assert_eq!(fates.len(), entries.len(), "one fate for each entry");
        for (meta, fate) in entries.iter().zip(&fates) {
            let is_lost = matches!(fate, Fate::Stub | Fate::StubTrimmed | Fate::Drop);
            assert!(!is_lost || meta.flags.is_dropped() || !self.oracle.is_alive(meta), "(ii) {meta:?} is alive, fate {fate:?}");
        }
        let entries: Vec<_> = entries.iter().zip(&fates).filter_map(|(meta, fate)| fate.apply(meta)).collect();
        self.runs.insert(index, Run { entries, sealed: self.flushed.now });
        self.watch_floor = self.watch_floor.max(removed.newest);
        if removed.leaves_nothing {
            self.past_floor = self.past_floor.max(self.flushed.last);
        }
    }

    fn visible(&self, entries: impl Iterator<Item = Meta>) -> Vec<Revision> {
        let rules = self.limits.rules();
        let mut judge = Judge::new(&rules);
        let mut visible = Vec::new();
        for meta in entries {
            match judge.see(&meta) {
                Sight::Visible => visible.push(meta.revision),
                Sight::Hidden => {}
                Sight::End => break,
            }
        }
        visible
    }

    fn check(&mut self) {
        let alive = self.oracle.alive();
        self.has_removed |= alive.len() < self.oracle.0.len();
        assert_eq!(self.visible(self.whole.iter().copied()), alive, "(i) whole, {self:#?}");
        assert_eq!(self.visible(self.disk()), alive, "(i) runs, {self:#?}");
        for entries in [self.whole.clone(), self.disk().collect()] {
            let rules = self.limits.rules();
            assert_eq!(awaits_marker(&rules, &entries), self.awaiting, "(vi) {entries:?}, {self:#?}");
        }
        self.check_past();
        if let Some(newest) = self.oracle.0.last().map(|life| life.meta.revision) {
            let is_there = self.disk().any(|meta| meta.revision == newest);
            let is_told = is_there || newest <= self.limits.floor || newest <= self.watch_floor;
            assert!(is_told, "(v) {newest} left without a word, {self:#?}");
        }
    }

    fn check_past(&self) {
        for (number, seen) in self.seen[..self.seen.len() - 1].iter().enumerate().skip(1) {
            let revision = Revision(number as u64);
            for (name, entries) in [("whole", self.whole.clone()), ("runs", self.disk().collect())] {
                match as_of(&self.limits.rules(), entries.iter().copied(), revision, self.past_floor) {
                    Past::Entry(index) => {
                        let value = Some(entries[index].revision).filter(|_| entries[index].flags.is_put());
                        assert!(seen.contains(&value), "(iv) {name} as of {revision}: {value:?}, {self:#?}");
                    }
                    Past::Absent => assert!(seen.contains(&None), "(iv) {name} as of {revision}: absent, {self:#?}"),
                    Past::Compacted => assert!(self.has_removed, "(iv) {name} as of {revision}: compacted, {self:#?}"),
                }
            }
            let ask = |entries: &[Meta]| match as_of(&self.limits.rules(), entries.iter().copied(), revision, self.past_floor) {
                Past::Entry(index) => Some(entries[index].revision),
                Past::Absent | Past::Compacted => None,
            };
            assert_eq!(ask(&self.whole), ask(&self.disk().collect::<Vec<_>>()), "(iv) as of {revision}, {self:#?}");
        }
    }

    /// Everything into one run, by what is known now.
    fn settle_disk(&mut self) {
        self.sweep(self.limits.now);
        self.flush(true);
        self.merge(0, usize::MAX / 2, true, true);
        self.settle();
        self.check();
        let entries: Vec<_> = self.disk().collect();
        let oldest_alive = self.oracle.alive().last().copied();
        for meta in entries {
            assert!(!meta.flags.is_dropped(), "(iii) {meta:?} is left, {self:#?}");
            let is_needed = oldest_alive.is_some_and(|oldest| oldest <= meta.revision);
            let is_position = meta.flags.has(Flags::STUB) || self.oracle.is_alive(&meta);
            assert!(is_needed, "(iii) {meta:?} hides nothing, {self:#?}");
            assert!(is_position, "(iii) {meta:?} is dead, {self:#?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8_000, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn no_answer_depends_on_which_merges_have_run(
        has_markers: bool,
        ops in prop::collection::vec(op(), 1..60),
        more in prop::collection::vec(op(), 0..12),
    ) {
        let mut model = Model::new(has_markers);
        for op in &ops {
            model.step(op);
        }
        model.settle_disk();
        for op in &more {
            model.step(op);
        }
        for _ in 0..10 {
            model.step(&Op::Wait(1));
        }
        model.settle_disk();
    }
}
