//! Background work: flushes, merges, log files prepared and synced ahead, what is retired let go.
//!
//! Each job is a step that does one piece of work and says whether there was any. Threads call the steps in a loop; without threads
//! (`Settings::threads`), whoever would wait for a job calls the step itself, so that a test decides every interleaving. A job that fails
//! leaves everything as it was and is tried again; only a directory sync or a manifest of unknown fate poisons the store.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::board::RETRY_AFTER;
use super::build::Site;
use super::commit::SYNC_STEP_LEN;
use super::core::Core;
use super::keeper::{Failed, Keeper};
use super::request::Request;
use crate::compact::{Inputs, Output, pick};
use crate::durability::Durability;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{BucketState, Manifest};
use crate::number::{CommitNumber, FileNumber};
use crate::run::Run;
use crate::segment::Segment;
use crate::spec::ClockPair;

/// How long a job sleeps that nobody calls.
const IDLE: Duration = Duration::from_secs(60);
/// How often the pair of clocks is logged, so that the next open knows how long the store was shut.
const CLOCK_EVERY: Duration = Duration::from_secs(60);

impl Core {
    /// Holds a writer back while memtables take more than the budget: until a flush made room, or with its error if it cannot.
    pub(super) fn wait_for_room(&self) -> Result<()> {
        while !self.has_room() {
            if !self.settings.threads {
                self.flush_oldest()?;
                continue;
            }
            self.health.check_writable()?;
            if let Err(error) = self.board.wait_for_flush()
                && !self.has_room()
            {
                return Err(error);
            }
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        let view = self.view.load();
        view.sealed.is_empty() || view.memtable_bytes() < self.settings.memory_budget
    }

    /// One piece of background work; answers whether there was any.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn step(&self) -> Result<bool> {
        Ok(self.flush_step()? || self.merge_step()?)
    }

    /// One piece of the work that writers depend on. What frees space comes first, what takes most of it last.
    pub(super) fn flush_step(&self) -> Result<bool> {
        self.health.check_sound()?;
        let reaped = self.retired.lock().reap(&*self.env.fs);
        let prepared = self.prepare_spare();
        if matches!(prepared, Ok(true)) {
            return Ok(true);
        }
        if self.settings.durability != Durability::Sync && (self.tail.has_sealed() || self.tail.unsynced_bytes() >= SYNC_STEP_LEN)
        {
            self.tail.sync(&self.health)?;
            return Ok(true);
        }
        if self.flush_oldest()? {
            return Ok(true);
        }
        prepared?;
        Ok(reaped)
    }

    /// Writes the oldest sealed memtable to a segment; answers whether there was one.
    pub(super) fn flush_oldest(&self) -> Result<bool> {
        let _turn = self.flushing.lock();
        self.health.check_sound()?;
        let view = self.view.load_full();
        let Some(sealed) = view.sealed.last() else { return Ok(false) };
        let inputs = Inputs {
            // A flush is finished even if the store is being closed: the close needs it.
            stop: &|| false,
            memtable: Some(&sealed.memtable),
            runs: &[],
            hold_oldest: view.runs.is_empty(),
            buckets: &sealed.buckets,
            now: self.now_for_retention(&sealed.buckets),
        };
        let (segment, output) = self.build_for_flush(&inputs)?;
        let newer = view.sealed.iter().rev().skip(1).map(|sealed| sealed.log);
        let mut logs: Vec<FileNumber> = newer.chain([view.active_log]).collect();
        // At a close nothing follows the last generation, and its file is still the active one.
        logs.dedup();
        self.install(segment.as_ref(), |manifest| manifest.flush(sealed, &logs, &output, self.clock_pair()))?;
        self.edit_view(|view| {
            view.sealed.retain(|other| !Arc::ptr_eq(other, sealed));
            view.runs.splice(0..0, segment.map(|segment| Arc::new(Run::of(segment))));
        });
        let mut retired = self.retired.lock();
        retired.memtable(Arc::clone(&sealed.memtable));
        let done = if logs.contains(&sealed.log) { FileNumber(0) } else { sealed.log };
        self.tail.settled(sealed.through, done);
        if done == sealed.log {
            retired.file(self.path(&crate::wal::file_name(sealed.log)));
        }
        Ok(true)
    }

    /// Merges segments if there are many; answers whether it did.
    pub(super) fn merge_step(&self) -> Result<bool> {
        let sizes: Vec<u64> = self.view.load().runs.iter().map(|run| run.len()).collect();
        match pick(&sizes) {
            Some(count) => self.merge(count),
            None => Ok(false),
        }
    }

    /// Merges the `count` newest segments into one.
    pub(super) fn merge(&self, count: usize) -> Result<bool> {
        let _turn = self.merging.lock();
        self.health.check_sound()?;
        let view = self.view.load_full();
        let inputs = view.runs.get(..count).unwrap_or_default();
        if inputs.is_empty() {
            return Ok(false);
        }
        let buckets: Vec<_> = self.keeper.lock().manifest().buckets.iter().cloned().map(Arc::new).collect();
        let (segment, output) = self.build(&Inputs {
            stop: &|| self.board.is_stopping(),
            memtable: None,
            runs: inputs,
            hold_oldest: count == view.runs.len(),
            buckets: &buckets,
            now: self.now_for_retention(&buckets),
        })?;
        let merged = |run: &Arc<Run>| inputs.iter().any(|input| Arc::ptr_eq(input, run));
        let segments = || inputs.iter().flat_map(|run| run.parts()).map(|part| &part.segment);
        let numbers: Vec<FileNumber> = segments().map(|segment| segment.number()).collect();
        self.install(segment.as_ref(), |manifest| manifest.merge(&numbers, &output))?;
        self.edit_view(|view| {
            // Flushes may have put newer ones in front meanwhile.
            let at = view.runs.iter().position(merged).unwrap_or(0);
            view.runs.retain(|run| !merged(run));
            view.runs.splice(at..at, segment.map(|segment| Arc::new(Run::of(segment))));
        });
        let mut retired = self.retired.lock();
        for segment in segments() {
            retired.segment(Arc::clone(segment));
        }
        Ok(true)
    }

    /// As of which store time what is due may leave the disk. A job judges by the limits of a flushed commit (E17), and those may say that an
    /// entry is too old which a limit that was raised since keeps. So while a bucket has changed since, nothing leaves for its age: the
    /// flush of that change ends it.
    fn now_for_retention(&self, buckets: &[Arc<BucketState>]) -> u64 {
        // In this order: a change that is not in the view yet is made at a later time (E16).
        let now = self.now_for_readers();
        let view = self.view.load();
        let has_changed = |state: &Arc<BucketState>| {
            let present = view.buckets.get(state.id, CommitNumber(u64::MAX));
            present.is_some_and(|present| present.changed > state.changed)
        };
        let mut aged = buckets.iter().filter(|state| state.spec.max_age > 0);
        if aged.any(has_changed) { 0 } else { now }
    }

    /// A flush must not fail for the lack of a few blocks: on a full disk the reserve is given up for it. A merge can wait.
    fn build_for_flush(&self, inputs: &Inputs<'_>) -> Result<(Option<Arc<Segment>>, Output)> {
        match self.build(inputs) {
            Err(error) if error.kind() == ErrorKind::NoSpace && self.release_reserve() => self.build(inputs),
            built => built,
        }
    }

    /// Writes what survives of `inputs` to a finished, named, opened segment (P4).
    fn build(&self, inputs: &Inputs<'_>) -> Result<(Option<Arc<Segment>>, Output)> {
        let mut site = Site {
            env: &self.env,
            directory: &self.directory,
            store: self.store,
            block_len: self.settings.block_len,
            cache: &self.cache,
            next_number: &mut || self.next_file_number(),
            sync_directory: &mut || self.sync_directory(),
        };
        site.build(inputs)
    }

    /// Puts `segment` into the manifest with the rest of `change`; takes the file away again if the manifest surely does not name it.
    fn install(&self, segment: Option<&Arc<Segment>>, mut change: impl FnMut(&mut Manifest)) -> Result<()> {
        let edited = self.edit_manifest(|keeper| keeper.edit(&mut change));
        if edited.is_err()
            && !self.health.is_poisoned()
            && let Some(segment) = segment
        {
            let _ = self.env.fs.remove(segment.path());
        }
        edited
    }

    /// An edit that must not fail for the lack of a few blocks: on a full disk the reserve is given up for it.
    pub(super) fn edit_manifest(&self, mut edit: impl FnMut(&mut Keeper) -> std::result::Result<(), Failed>) -> Result<()> {
        match self.keeper_edit(&mut edit) {
            Err(error) if error.kind() == ErrorKind::NoSpace && self.release_reserve() => self.keeper_edit(&mut edit),
            edited => edited,
        }
    }

    pub(super) fn clock_pair(&self) -> ClockPair {
        self.clock.pair(self.env.clock.wall(), self.env.clock.monotonic())
    }

    /// Writes everything in memory to segments.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn flush(&self) -> Result<()> {
        {
            let mut leader = self.leader.lock();
            self.health.check_writable()?;
            if leader.has_changes(&self.view.load().active) {
                self.rotate(&mut leader, 0)?;
            }
        }
        while self.flush_oldest()? {}
        Ok(())
    }
}

/// What the threads of a store run; each ends when the board says so.
pub(super) fn run(core: &Core, job: Job) {
    let outcome = catch_unwind(AssertUnwindSafe(|| match job {
        Job::Flush => run_flush(core),
        Job::Merge => run_merge(core),
        Job::Timer => run_timer(core),
    }));
    if outcome.is_err() {
        core.poison(Error::new(ErrorKind::Poisoned, format!("the {job:?} job panicked; this is a bug of annals")));
    }
}

/// The background threads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Job {
    /// Flushes, log files ahead, what is retired.
    Flush,
    /// Merges.
    Merge,
    /// Periodic syncs and the clock.
    Timer,
}

impl Job {
    pub(super) const ALL: [Self; 3] = [Self::Flush, Self::Merge, Self::Timer];

    pub(super) const fn thread_name(self) -> &'static str {
        match self {
            Self::Flush => "annals-flush",
            Self::Merge => "annals-merge",
            Self::Timer => "annals-timer",
        }
    }
}

fn run_flush(core: &Core) {
    loop {
        let seen = core.board.calls();
        core.board.attempt();
        let result = core.flush_step();
        core.board.attempted(&result);
        let timeout = match result {
            Ok(true) => {
                // A flush may have made a merge due.
                core.board.wake();
                Duration::ZERO
            }
            Ok(false) => {
                core.keep_reserve();
                IDLE
            }
            // Tried again when somebody asks for it, or after a while.
            Err(_) => RETRY_AFTER,
        };
        if !core.board.wait(seen, timeout) {
            return;
        }
    }
}

fn run_merge(core: &Core) {
    // A merge that failed is not tried again until there is another set of segments.
    let mut failed_on = None;
    loop {
        let seen = core.board.calls();
        let newest = core.view.load().segments().next().map(|segment| segment.number());
        if newest.is_some() && newest != failed_on {
            match core.merge_step() {
                Ok(merged) => {
                    failed_on = None;
                    core.board.merged(None);
                    if merged {
                        core.board.wake();
                    }
                }
                Err(error) => {
                    failed_on = newest;
                    core.board.merged(Some(error));
                }
            }
        }
        if !core.board.wait(seen, IDLE) {
            return;
        }
    }
}

fn run_timer(core: &Core) {
    let delay = match core.settings.durability {
        Durability::Periodic { delay, .. } => delay.min(CLOCK_EVERY),
        _ => CLOCK_EVERY,
    };
    let mut logged = core.env.clock.monotonic();
    loop {
        let due = core.env.clock.monotonic() + delay.as_nanos() as u64;
        while core.env.clock.monotonic() < due {
            let rest = due.saturating_sub(core.env.clock.monotonic());
            if !core.board.wait(core.board.calls(), Duration::from_nanos(rest)) {
                return;
            }
        }
        if matches!(core.settings.durability, Durability::Periodic { .. }) && core.tail.unsynced_bytes() > 0 {
            // A failure poisons the store, which is how its users learn of it.
            let _ = core.tail.sync(&core.health);
        }
        if core.env.clock.monotonic().saturating_sub(logged) >= CLOCK_EVERY.as_nanos() as u64 {
            logged = core.env.clock.monotonic();
            let _ = core.submit(Request::Clock(core.clock_pair()));
        }
    }
}
