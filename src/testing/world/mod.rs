//! A store with the oracle beside it, and how a program of [`Op`]s is run on both.
//!
//! [`run`] is one call for a whole program, for the model test and fuzz targets; a test that interferes keeps a [`World`] and goes step by
//! step. The store has no threads of its own (`manual_jobs`): flushes and merges come where the program says so, or where a writer would wait
//! for one. Its clock stands still but for the program's waits. Nothing crashes here: every drop is followed by an open of the same files.
//!
//! - `commits`: what a step asks the store for; `reads`: what it compares; here: buckets' handles, time, and the ends of a store.

mod commits;
mod reads;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use self::reads::Held;
use crate::Durability;
use crate::bucket::Bucket;
use crate::config::{Options, nanoseconds};
use crate::env::{Clock, Env};
use crate::error::{Error, ErrorKind};
use crate::store::Store;
use crate::testing::clock::ManualClock;
use crate::testing::ops::{BATCH_OPS_MAX, Jump, Op, Wait, bucket_config, bucket_name, key_name, pattern_name};
use crate::testing::oracle::{Checked, Commit, Mismatch, Oracle, Refusal, check_refusal, same};

/// Keys of one commit of a load or of a write to many keys, so that most are several commits.
const CHUNK_KEYS: usize = 3;
const DEAD_HANDLES_MAX: usize = 4;

/// Where and how a program runs.
#[derive(Clone, Debug)]
pub struct Setup {
    pub directory: PathBuf,
    /// Files, and all but the clock.
    pub env: Env,
    pub durability: Durability,
    /// Bytes of a log file, a memtable, a block.
    pub sizes: (u64, u64, u32),
    /// After changes of many keys and after reopenings every entry is compared, every so many times in every way that there is to read it.
    pub full_check_every: usize,
    /// Every bucket is, not only those whose shape says so.
    pub compressed: bool,
}

impl Setup {
    /// In files of the operating system.
    #[must_use]
    pub fn on_files(directory: PathBuf, durability: Durability, sizes: (u64, u64, u32)) -> Self {
        Self { directory, env: Env::os(), durability, sizes, full_check_every: 1, compressed: false }
    }

    /// In files that live in memory as long as this setup or a world of it does.
    #[must_use]
    pub fn in_memory(durability: Durability, sizes: (u64, u64, u32)) -> Self {
        Self { directory: PathBuf::from("/store"), env: Env::memory(), durability, sizes, full_check_every: 1, compressed: false }
    }

    fn options(&self, clock: &Arc<ManualClock>) -> Options {
        let (log, memtable, block) = self.sizes;
        Options::new()
            .durability(self.durability)
            .sizes(log, memtable, block)
            .max_batch_operations(u32::from(BATCH_OPS_MAX) - 1)
            .segment_size(memtable / 4)
            .chunk_size(CHUNK_KEYS)
            .manual_jobs()
            .env(Env { clock: Arc::<ManualClock>::clone(clock), ..self.env.clone() })
    }
}

/// A store and the oracle beside it.
#[derive(Debug)]
pub struct World {
    setup: Setup,
    clock: Arc<ManualClock>,
    /// `None` only inside a reopen.
    store: Option<Store>,
    pub oracle: Oracle,
    /// Kept from the creation or the last open on, over every change of the bucket.
    handles: BTreeMap<String, Bucket>,
    dead: Vec<Bucket>,
    held: Vec<Held>,
    /// By how much the wall clock was set forward since the last open; `None` = not touched.
    wall_moved: Option<u64>,
    steps: usize,
    checks: usize,
}

/// Runs a whole program on a new store, and compares everything at its end and after a last reopen.
///
/// # Errors
/// The first difference, with the step that showed it.
pub fn run(ops: &[Op], setup: Setup) -> Checked {
    let mut world = World::create(setup)?;
    for (step, op) in ops.iter().enumerate() {
        world.apply(op).map_err(|mismatch| mismatch.context(format!("step {step} {op:?}")))?;
    }
    world.finish().map_err(|mismatch| mismatch.context("at the end"))
}

impl World {
    /// A new store with two buckets, so that most steps meet one that exists.
    ///
    /// # Errors
    /// What differs.
    pub fn create(setup: Setup) -> Checked<Self> {
        let clock = ManualClock::new();
        let store = setup.options(&clock).open(&setup.directory)?;
        let mut oracle = Oracle::new();
        oracle.is_time_exact = true;
        oracle.batch_ops_max = usize::from(BATCH_OPS_MAX) - 1;
        oracle.load_values = CHUNK_KEYS;
        oracle.pass_to(clock.wall());
        let mut world = Self {
            setup,
            clock,
            store: Some(store),
            oracle,
            handles: BTreeMap::new(),
            dead: Vec::new(),
            held: Vec::new(),
            wall_moved: None,
            steps: 0,
            checks: 0,
        };
        world.apply(&Op::CreateBucket { bucket: 0, config: (2, 0) })?;
        world.apply(&Op::CreateBucket { bucket: 1, config: (0, 0) })?;
        Ok(world)
    }

    /// The store.
    ///
    /// # Panics
    /// Never: it is only gone inside a reopen.
    #[must_use]
    pub fn store(&self) -> &Store {
        self.store.as_ref().expect("the store is only gone inside a reopen")
    }

    /// Runs one step and compares its answer.
    ///
    /// # Errors
    /// What differs.
    pub fn apply(&mut self, op: &Op) -> Checked {
        self.steps += 1;
        if let Some((commit, synced)) = self.commit_of(op) {
            return self.commit(&commit, synced);
        }
        match op {
            Op::Wait(wait) => self.wait(*wait),
            Op::SetWall(jump) => {
                self.set_wall(*jump);
                same("store time after the wall clock was set", &self.store().store_time(), &self.oracle.now())
            }
            Op::Read { bucket, key } => self.read(*bucket, |oracle, bucket| oracle.check_key(bucket, &key_name(*key))),
            Op::ReadAt { bucket, key, back } => self.read(*bucket, |oracle, bucket| {
                oracle.check_key_at(bucket, &key_name(*key), back_from(oracle.last_revision, *back))
            }),
            Op::History { bucket, pattern } => {
                self.read(*bucket, |oracle, bucket| oracle.check_history(bucket, &pattern_name(*pattern)))
            }
            Op::Changes { bucket, back } => {
                self.read(*bucket, |oracle, bucket| oracle.check_changes(bucket, back_from(oracle.last_revision, *back)))
            }
            Op::Keys { bucket, patterns, markers } => self.keys(*bucket, patterns, *markers),
            Op::HoldKeys { bucket, pattern, take } => self.hold_keys(*bucket, *pattern, *take),
            Op::HoldHistory { bucket, pattern, take } => self.hold_history(*bucket, *pattern, *take),
            Op::HoldChanges { bucket, back } => self.hold_changes(*bucket, *back),
            Op::HoldSnapshot { bucket } => self.hold_snapshot(*bucket),
            Op::HoldStoreSnapshot => self.hold_store_snapshot(),
            Op::DrainHeld => self.drain_held(),
            Op::Range { bucket, from, to, shape, turns } => self.range(*bucket, (*from, *to), *shape, *turns),
            Op::UseDeadHandle { call } => self.use_dead_handle(*call),
            Op::Status { bucket } => self.status(*bucket),
            Op::Flush => Ok(self.store().flush()?),
            Op::MergeAll => {
                self.store().merge_all()?;
                self.check_now_and_then()
            }
            Op::Step => Ok(self.store().step().map(|_| ())?),
            Op::Sweep => self.sweep(),
            Op::Sync => self.sync(),
            Op::Reopen { clean, pause, jump } => self.reopen(*clean, *pause, *jump),
            op => unreachable!("{op:?} is a commit"),
        }
    }

    /// Does what the program does not say, so that the rest of it runs on other files in another state.
    ///
    /// # Errors
    /// What the store refuses, and what differs after a reopen.
    pub fn disturb(&mut self, disturbance: Disturbance) -> Checked {
        match disturbance {
            Disturbance::Step => Ok(self.store().step().map(|_| ())?),
            Disturbance::Flush => Ok(self.store().flush()?),
            Disturbance::FlushAndMerge => {
                self.store().flush()?;
                Ok(self.store().merge_all()?)
            }
            Disturbance::Reopen { clean } => self.reopen(clean, Wait::Span(Duration::ZERO), Jump::None),
        }
    }

    /// The markers of all that has expired.
    fn sweep(&mut self) -> Checked {
        let has_written = self.store().sweep()?;
        let marked = self.oracle.sweep();
        if !marked.is_empty() && !has_written {
            return Err(Mismatch(format!("nothing was swept, where {marked:?} had expired")));
        }
        for (name, _) in &marked {
            if let (Some(oracle), Some(bucket)) = (self.oracle.buckets.get(name), self.handles.get(name)) {
                oracle.check_history(bucket, ">").map_err(|mismatch| mismatch.context("just swept"))?;
            }
        }
        Ok(())
    }

    /// Compares everything that the store shows.
    ///
    /// # Errors
    /// What differs.
    pub fn check(&mut self) -> Checked {
        let store = self.store().clone();
        self.oracle.check(&store)
    }

    /// The same, but in every way only at every so many calls, as the setup says.
    pub(super) fn check_now_and_then(&mut self) -> Checked {
        self.checks += 1;
        if self.checks.is_multiple_of(self.setup.full_check_every) {
            return self.check();
        }
        let store = self.store().clone();
        self.oracle.check_in_turn(&store, self.checks)
    }

    /// Compares everything, reads what is held, reopens and compares again; the files must verify.
    ///
    /// # Errors
    /// What differs.
    pub fn finish(mut self) -> Checked {
        self.check()?;
        self.reopen(true, Wait::Span(Duration::ZERO), Jump::None)?;
        while !self.held.is_empty() {
            self.drain_held()?;
        }
        self.store().verify()?;
        Ok(self.store().close()?)
    }

    fn span_of(&self, wait: Wait) -> Duration {
        let until = || self.oracle.next_expiry().map_or(0, |expiry| expiry.saturating_sub(self.oracle.now()));
        match wait {
            Wait::Span(span) => span,
            Wait::ToNextExpiry => Duration::from_nanos(until()),
            Wait::BeforeNextExpiry => Duration::from_nanos(until().saturating_sub(1)),
        }
    }

    fn wait(&mut self, wait: Wait) -> Checked {
        let span = self.span_of(wait);
        self.clock.advance(span);
        self.oracle.pass_to(self.oracle.now() + nanoseconds(span));
        same("store time", &self.store().store_time(), &self.oracle.now())
    }

    /// The wall clock alone: nothing that a store does while it is open may depend on it.
    fn set_wall(&mut self, jump: Jump) {
        match jump {
            Jump::None => {}
            Jump::Forward(span) => {
                self.clock.set_wall_forward(span);
                self.wall_moved = Some(self.wall_moved.unwrap_or(0) + nanoseconds(span));
            }
            Jump::Back(span) => {
                self.clock.set_wall_back(span);
                self.wall_moved = Some(self.wall_moved.unwrap_or(0));
            }
        }
    }

    fn reopen(&mut self, clean: bool, pause: Wait, jump: Jump) -> Checked {
        self.handles.clear();
        self.dead.clear();
        let store = self.store.take();
        if let Some(store) = store.filter(|_| clean) {
            store.close()?;
        } else if self.setup.durability != Durability::Sync {
            self.oracle.allow_gap();
        }
        if clean {
            // The close has written down both clocks.
            self.wall_moved = None;
        }
        let pause = self.span_of(pause);
        self.clock.advance(pause);
        self.set_wall(jump);
        let store = self.setup.options(&self.clock).create_if_missing(false).open(&self.setup.directory)?;
        let recovery = store.recovery().clone();
        let now = store.store_time();
        self.store = Some(store);
        self.check_time(now, clean, pause, jump)?;
        self.oracle.pass_to(now);
        if recovery.torn.is_some() || clean && !(recovery.clean && recovery.replayed == 0) {
            return Err(Mismatch(format!("nothing crashed, yet recovery says {recovery:?}")));
        }
        for name in self.oracle.buckets.keys() {
            self.handles.insert(name.clone(), self.store().bucket(name)?);
        }
        self.align_markers()?;
        self.check_now_and_then().map_err(|mismatch| mismatch.context("after the reopen"))
    }

    /// Nobody is told the revisions of markers: after a gap they go on where the bucket says.
    fn align_markers(&mut self) -> Checked {
        for (name, handle) in &self.handles {
            let Some(oracle) = self.oracle.buckets.get_mut(name).filter(|oracle| oracle.gap_allowed) else { continue };
            let last = handle.status()?.last_revision.get();
            if last < oracle.last_revision {
                return Err(Mismatch(format!("bucket {name} went back from revision {} to {last}", oracle.last_revision)));
            }
            if oracle.config.marker_lifetime().is_some() {
                oracle.last_revision = last;
                oracle.gap_allowed = false;
            }
        }
        Ok(())
    }

    /// Store time after an open: what it was, and what the wall clock says has passed, but never less than nothing. Where the wall clock was
    /// set while the store was open and that is not written down, it may count as passed too.
    fn check_time(&mut self, now: u64, clean: bool, pause: Duration, jump: Jump) -> Checked {
        let (before, pause) = (self.oracle.now(), nanoseconds(pause));
        let moved = self.wall_moved.take();
        let shut = match jump {
            Jump::None => pause,
            Jump::Forward(span) => pause + nanoseconds(span),
            Jump::Back(span) => pause.saturating_sub(nanoseconds(span)),
        };
        if clean || moved.is_none() {
            return same("store time after the reopen", &now, &(before + shut));
        }
        let latest = before + pause + moved.unwrap_or(0);
        if before <= now && now <= latest {
            return Ok(());
        }
        Err(Mismatch(format!("store time {now} after the reopen, outside of {before} to {latest}")))
    }

    fn check_missing(&self, name: &str) -> Checked {
        check_failed(Refusal::of(ErrorKind::BucketNotFound), self.store().bucket(name))
    }
}

/// What can happen to a store between two steps that must not change any answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturbance {
    Step,
    Flush,
    FlushAndMerge,
    Reopen { clean: bool },
}

/// The revision that a step names by how far it lies back.
fn back_from(last: u64, back: u8) -> u64 {
    match back {
        255 => 0,
        254 => last + 1,
        back => last.saturating_sub(u64::from(back % 16)),
    }
}

fn check_failed<T>(refusal: Refusal, answer: Result<T, Error>) -> Checked {
    match answer {
        Ok(_) => Err(Mismatch(format!("succeeded instead of {refusal:?}"))),
        Err(error) => check_refusal(refusal, &error),
    }
}
