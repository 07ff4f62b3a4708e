//! The rule against lives of a store, told in full: every commit has a name of its own, every watcher knows the names of all that it saw.
//!
//! A life is a series of random steps: writes, purges of the whole bucket, removals without a change, flushes, syncs; ends of each kind
//! (close, drop, kill, power cut that leaves any prefix from the durable one on), opens that crash again and again, and copies of the
//! directory that are put back. Now and then a watcher that has seen some prefix leaves with its position; later it comes back. Then:
//! - if it has seen an entry that did not survive, it must be refused;
//! - if all that it has seen survived, it must not be told that it diverged;
//! - if it goes on, what it knew and what it is told must come to exactly the state of the bucket;
//! - "compacted" needs a reason: a removal beyond what it had seen, or more than 64 incarnations with changes.
//!
//! The model knows no incarnation, end or gap.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::spec::BucketSpec;

/// So far do numbers go on beyond what was recovered; more than are ever unsynced.
const AHEAD: u64 = 1000;

#[derive(Clone, Copy, Debug)]
struct Commit {
    name: u64,
    number: CommitNumber,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Put { key: u64, revision: Revision },
    PurgeAll { through: Revision },
}

/// A store's directory, and the store if it is open.
#[derive(Clone, Debug)]
struct Life {
    /// Commits of this many were synced, or flushed.
    durable: usize,
    flushed: usize,
    commits: Vec<Commit>,
    /// What is on disk as of `flushed`.
    manifest: BucketState,
    /// The leader's.
    live: BucketState,
    incarnation: u64,
    next: CommitNumber,
    /// The last one that the manifest knows.
    on_disk: CommitNumber,
    /// Newest entries that went without a change.
    removed: BTreeSet<Revision>,
    ever_ended: usize,
}

#[derive(Clone, Debug)]
struct Watcher {
    position: Position,
    seen: Vec<u64>,
    known: BTreeMap<u64, Revision>,
    saw_entry: BTreeSet<u64>,
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % end.max(1) as u64) as usize
    }
}

fn apply(known: &mut BTreeMap<u64, Revision>, commit: &Commit) {
    match commit.what {
        What::Put { key, revision } => {
            known.insert(key, revision);
        }
        What::PurgeAll { through } => known.retain(|_, revision| *revision > through),
    }
}

impl Life {
    fn new() -> Self {
        let state = BucketState::new(BucketId(1), BucketSpec::new("b".to_owned()), CommitNumber(1));
        Self {
            durable: 0,
            flushed: 0,
            commits: Vec::new(),
            manifest: state.clone(),
            live: state,
            incarnation: 1,
            next: CommitNumber(2),
            on_disk: CommitNumber(1),
            removed: BTreeSet::new(),
            ever_ended: 0,
        }
    }

    fn state(&self) -> BTreeMap<u64, Revision> {
        let mut known = BTreeMap::new();
        self.commits.iter().for_each(|commit| apply(&mut known, commit));
        known
    }

    fn commit(&mut self, name: u64, what: What) {
        let number = self.next;
        self.next = number.next();
        replay(&mut self.live, number, what);
        self.commits.push(Commit { name, number, what });
    }

    fn flush(&mut self) {
        self.live.watch_floor = self.live.watch_floor.max(self.manifest.watch_floor);
        self.manifest = self.live.clone();
        self.manifest.note_end(self.incarnation);
        self.on_disk = CommitNumber(self.next.0 - 1);
        (self.flushed, self.durable) = (self.commits.len(), self.commits.len());
    }

    /// Removes the newest entry of some key without a change: the floor rises on disk before the entry goes.
    fn remove(&mut self, random: &mut Random) {
        let flushed: Vec<Revision> =
            self.state().into_values().filter(|revision| *revision <= self.manifest.last_revision).collect();
        if flushed.is_empty() {
            return;
        }
        let revision = flushed[random.below(flushed.len())];
        self.removed.insert(revision);
        self.manifest.watch_floor = self.manifest.watch_floor.max(revision);
        self.live.watch_floor = self.live.watch_floor.max(revision);
    }

    /// The next open, of which only the first `survivors` commits are found; `ahead`: whether more may have been seen.
    fn open(&mut self, survivors: usize, ahead: bool, incarnation: u64) {
        assert!(self.flushed <= survivors);
        self.commits.truncate(survivors);
        let mut state = self.manifest.clone();
        for commit in &self.commits[self.flushed..] {
            replay(&mut state, commit.number, commit.what);
        }
        state.note_end(self.incarnation);
        self.ever_ended = self.ever_ended.max(state.ends.len());
        let ahead = if ahead { AHEAD } else { 0 };
        let newest = self.commits.last().map_or(self.on_disk, |commit| commit.number.max(self.on_disk));
        self.on_disk = CommitNumber(newest.0 + ahead);
        self.next = self.on_disk.next();
        state.begin(ahead);
        (self.manifest, self.live) = (state.clone(), state);
        (self.flushed, self.durable) = (survivors, survivors);
        self.incarnation = incarnation;
    }

    fn watcher(&self, random: &mut Random) -> Watcher {
        let count = random.below(self.commits.len() + 1);
        let count = if random.below(3) == 0 { self.commits.len() } else { count };
        let (mut known, mut purged, mut revision) = (BTreeMap::new(), CommitNumber(0), Revision::NONE);
        for commit in &self.commits[..count] {
            apply(&mut known, commit);
            match commit.what {
                What::Put { revision: this, .. } => revision = this,
                What::PurgeAll { through } => (purged, revision) = (commit.number, revision.max(through)),
            }
        }
        if count == self.commits.len() {
            // Told by a progress mark, though perhaps no change has it.
            revision = self.live.last_revision;
        }
        let is_entry = |commit: &&Commit| matches!(commit.what, What::Put { .. });
        Watcher {
            position: Position::new(&self.live, self.incarnation, purged, revision),
            seen: self.commits[..count].iter().map(|commit| commit.name).collect(),
            saw_entry: self.commits[..count].iter().filter(is_entry).map(|commit| commit.name).collect(),
            known,
        }
    }

    /// The watcher comes back.
    fn check(&self, watcher: &Watcher) -> Result<(), String> {
        let verdict = watcher.position.resume(&self.live, self.incarnation, self.live.last_revision);
        let survivors: BTreeSet<u64> = self.commits.iter().map(|commit| commit.name).collect();
        let lost: Vec<u64> = watcher.seen.iter().copied().filter(|name| !survivors.contains(name)).collect();
        let lost_entry = lost.iter().any(|name| watcher.saw_entry.contains(name));
        let revision = watcher.position.revision;
        match verdict {
            Err(Refusal::OtherBucket) => Err("another bucket".to_owned()),
            Err(Refusal::Diverged) if lost.is_empty() => {
                Err("told that it diverged, and nothing that it saw was lost".to_owned())
            }
            Err(Refusal::Diverged) => Ok(()),
            Err(Refusal::Compacted(floor)) => {
                let is_removed = self.removed.iter().any(|removed| *removed > revision) && floor > revision;
                let is_old = self.ever_ended >= ENDS_MAX;
                if is_removed || is_old { Ok(()) } else { Err("compacted for no reason".to_owned()) }
            }
            Ok(_) if lost_entry => Err("goes on although it saw an entry that was lost".to_owned()),
            Ok(resumption) => {
                let mut known = watcher.known.clone();
                if let Some(through) = resumption.purged {
                    known.retain(|_, revision| *revision > through);
                }
                for commit in &self.commits {
                    if matches!(commit.what, What::Put { revision, .. } if revision > resumption.after) {
                        apply(&mut known, commit);
                    }
                }
                let mut state = self.state();
                // Who has seen it knows when it expires; who has not must not be left with an older one.
                state.retain(|_, revision| !self.removed.contains(revision));
                known.retain(|_, revision| !self.removed.contains(revision));
                if known == state { Ok(()) } else { Err(format!("{resumption:?} leads to {known:?} instead of {state:?}")) }
            }
        }
    }
}

fn replay(state: &mut BucketState, number: CommitNumber, what: What) {
    match what {
        What::Put { revision, .. } => state.last_revision = revision,
        What::PurgeAll { through } => {
            state.last_revision = state.last_revision.max(through);
            (state.floor, state.purged) = (through, number);
        }
    }
}

/// What was met: went on, was told of a purge, diverged, compacted.
#[derive(Debug, Default)]
struct Met([usize; 4]);

fn live(seed: u64, steps: usize, is_weak: bool, met: &mut Met) {
    let mut random = Random(seed);
    let (mut life, mut names) = (Life::new(), 0..);
    let mut incarnations = 2..;
    let mut watchers: Vec<Watcher> = Vec::new();
    let mut copies: Vec<Life> = Vec::new();
    for step in 0..steps {
        let mut next = || incarnations.next().unwrap_or_default();
        match random.below(16) {
            0..=5 => {
                let revision = Revision(life.live.last_revision.0 + 1);
                let key = random.below(5) as u64;
                life.commit(names.next().unwrap_or_default(), What::Put { key, revision });
                if !is_weak {
                    life.durable = life.commits.len();
                }
            }
            6 if random.below(4) == 0 => {
                let through = life.live.last_revision;
                life.commit(names.next().unwrap_or_default(), What::PurgeAll { through });
                if !is_weak {
                    life.durable = life.commits.len();
                }
            }
            7 => life.durable = life.commits.len(),
            8 => life.flush(),
            9 if random.below(3) == 0 => life.remove(&mut random),
            10 => {
                // Closed, or dropped: everything survives, and is known to.
                if random.below(2) == 0 {
                    life.flush();
                }
                life.open(life.commits.len(), false, next());
            }
            11 => {
                let survivors = life.durable + random.below(life.commits.len() - life.durable + 1);
                life.open(survivors, is_weak, next());
                for _ in 0..random.below(3) {
                    // Down again before anything was written: with a log or before there is one.
                    let ahead = is_weak && random.below(2) == 0;
                    life.open(survivors, ahead, next());
                }
            }
            12 if random.below(8) == 0 => copies.push(life.clone()),
            13 if random.below(8) == 0 && !copies.is_empty() => {
                life = copies.swap_remove(random.below(copies.len()));
                life.open(life.commits.len(), is_weak, next());
            }
            14 => watchers.push(life.watcher(&mut random)),
            _ if !watchers.is_empty() => {
                let watcher = &watchers[random.below(watchers.len())];
                if let Err(what) = life.check(watcher) {
                    panic!("seed {seed}, weak {is_weak}, step {step}: {what}\n{watcher:?}\n{life:?}");
                }
                let verdict = watcher.position.resume(&life.live, life.incarnation, life.live.last_revision);
                met.0[match verdict {
                    Ok(Resumption { purged: None, .. }) => 0,
                    Ok(_) => 1,
                    Err(Refusal::Diverged) => 2,
                    Err(_) => 3,
                }] += 1;
            }
            _ => {}
        }
    }
}

#[test]
fn whoever_goes_on_ends_with_the_state_of_the_bucket_and_whoever_saw_what_was_lost_does_not() {
    let mut met = Met::default();
    for seed in 1..=400 {
        live(seed, 300, seed % 2 == 0, &mut met);
    }
    // Long lives, of more than 64 incarnations.
    for seed in 1001..=1010 {
        live(seed, 4000, seed % 2 == 0, &mut met);
    }
    assert!(met.0.iter().all(|count| *count > 100), "each verdict is met often: {met:?}");
}
