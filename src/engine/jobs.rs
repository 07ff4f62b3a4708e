//! Background work: flushes, merges, log files prepared and synced ahead, what is retired let go.
//!
//! Each job is a step that does one piece of work and says whether there was any. Threads call the steps in a loop; without threads
//! (`Settings::threads`), whoever would wait for a job calls the step itself, so that a test decides every interleaving. A job that fails
//! leaves everything as it was and is tried again; only a directory sync or a manifest of unknown fate poisons the store.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::build::Site;
use super::commit::{Leader, Request, SYNC_STEP_LEN};
use super::core::Core;
use super::keeper::{Failed, Keeper, RESERVE_NAME};
use super::queue::Member;
use crate::compact::{Inputs, Output, pick};
use crate::durability::Durability;
use crate::env::allocate_full;
use crate::env::sync::{Condvar, Mutex, Ordering};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{BucketState, Manifest, SegmentRef};
use crate::number::FileNumber;
use crate::segment::Segment;
use crate::spec::ClockPair;
use crate::view::Sealed;

/// How long a job that failed waits before it is tried again, if nobody asks for it earlier.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long a job sleeps that nobody calls.
const IDLE: Duration = Duration::from_secs(60);
/// How often the pair of clocks is logged, so that the next open knows how long the store was shut.
const CLOCK_EVERY: Duration = Duration::from_secs(60);

/// Where jobs are called, and tell how they fare.
#[derive(Debug, Default)]
pub(super) struct Board {
    state: Mutex<BoardState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct BoardState {
    /// Rises with every call.
    calls: u64,
    /// Rises with every flush step that ended, whatever came of it.
    attempts: u64,
    /// Why the last flush step failed; none while one runs.
    flush_error: Option<Error>,
    merge_error: Option<Error>,
    stopping: bool,
}

impl Board {
    /// There may be something to do.
    pub(super) fn wake(&self) {
        self.state.lock().calls += 1;
        self.changed.notify_all();
    }

    pub(super) fn stop(&self) {
        self.state.lock().stopping = true;
        self.changed.notify_all();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.state.lock().stopping
    }

    /// What the last flush or merge failed with, if it is not mended yet.
    pub(super) fn error(&self) -> Option<Error> {
        let state = self.state.lock();
        state.flush_error.clone().or_else(|| state.merge_error.clone())
    }

    fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// Waits for a call after the one numbered `seen`, at most for `timeout`; answers whether to go on.
    fn wait(&self, seen: u64, timeout: Duration) -> bool {
        let mut state = self.state.lock();
        if state.calls == seen && !state.stopping {
            state = self.changed.wait_timeout(state, timeout);
        }
        !state.stopping
    }

    fn attempt(&self) {
        self.state.lock().flush_error = None;
    }

    fn attempted(&self, result: &Result<bool>) {
        let mut state = self.state.lock();
        state.attempts += 1;
        state.flush_error = result.as_ref().err().cloned();
        drop(state);
        self.changed.notify_all();
    }

    fn merged(&self, error: Option<Error>) {
        self.state.lock().merge_error = error;
    }

    /// Calls the flush job and waits until it has tried, or for a while; answers with what it says.
    fn wait_for_flush(&self) -> Result<()> {
        let mut state = self.state.lock();
        state.calls += 1;
        self.changed.notify_all();
        let seen = state.attempts;
        while state.attempts == seen && !state.stopping {
            let calls = state.calls;
            state = self.changed.wait_timeout(state, RETRY_AFTER);
            if state.calls == calls {
                // A long flush, or none any more: the caller looks at the store's health and comes back.
                break;
            }
        }
        state.flush_error.clone().map_or(Ok(()), Err)
    }
}

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
            segments: &[],
            hold_oldest: view.segments.is_empty(),
            buckets: &sealed.buckets,
            now: self.now(),
        };
        let (segment, output) = self.build_for_flush(&inputs)?;
        let newer = view.sealed.iter().rev().skip(1).map(|sealed| sealed.log);
        let mut logs: Vec<FileNumber> = newer.chain([view.active_log]).collect();
        // At a close nothing follows the last generation, and its file is still the active one.
        logs.dedup();
        self.install(segment.as_ref(), |manifest| manifest.flush(sealed, &logs, &output, self.clock_pair()))?;
        self.edit_view(|view| {
            view.sealed.retain(|other| !Arc::ptr_eq(other, sealed));
            view.segments.splice(0..0, segment);
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
        let sizes: Vec<u64> = self.view.load().segments.iter().map(|segment| segment.len()).collect();
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
        let inputs = view.segments.get(..count).unwrap_or_default();
        if inputs.is_empty() {
            return Ok(false);
        }
        let buckets: Vec<_> = self.keeper.lock().manifest().buckets.iter().cloned().map(Arc::new).collect();
        let (segment, output) = self.build(&Inputs {
            stop: &|| self.board.is_stopping(),
            memtable: None,
            segments: inputs,
            hold_oldest: count == view.segments.len(),
            buckets: &buckets,
            now: self.now(),
        })?;
        let numbers: Vec<FileNumber> = inputs.iter().map(|segment| segment.number()).collect();
        self.install(segment.as_ref(), |manifest| manifest.merge(&numbers, &output))?;
        self.edit_view(|view| {
            // Flushes may have put newer ones in front meanwhile.
            let at = view.segments.iter().position(|segment| numbers.contains(&segment.number())).unwrap_or(0);
            view.segments.retain(|segment| !numbers.contains(&segment.number()));
            view.segments.splice(at..at, segment);
        });
        let mut retired = self.retired.lock();
        for segment in inputs {
            retired.segment(Arc::clone(segment));
        }
        Ok(true)
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
    fn edit_manifest(&self, mut edit: impl FnMut(&mut Keeper) -> std::result::Result<(), Failed>) -> Result<()> {
        match self.keeper_edit(&mut edit) {
            Err(error) if error.kind() == ErrorKind::NoSpace && self.release_reserve() => self.keeper_edit(&mut edit),
            edited => edited,
        }
    }

    pub(super) fn clock_pair(&self) -> ClockPair {
        self.clock.pair(self.env.clock.wall(), self.env.clock.monotonic())
    }

    /// Frees the space that was kept aside; answers whether there was any.
    fn release_reserve(&self) -> bool {
        let released = self.env.fs.remove(&self.path(RESERVE_NAME)).is_ok();
        if released {
            self.reserve_missing.store(true, Ordering::Relaxed);
        }
        released
    }

    /// Sets space aside, if it is not and the disk has it.
    pub(super) fn keep_reserve(&self) {
        let (path, len) = (self.path(RESERVE_NAME), self.settings.reserve_len);
        if len == 0 || self.health.is_poisoned() || !self.reserve_missing.load(Ordering::Relaxed) {
            return;
        }
        // Whatever fails here leaves a smaller reserve or none; the store works without.
        let there = self.env.fs.open(&path).and_then(|file| file.len()).is_ok_and(|found| found >= len);
        if !there {
            let _ = self.env.fs.remove(&path);
            let made = self.env.fs.create_new(&path).and_then(|file| {
                allocate_full(&*file, len)?;
                file.sync_all()
            });
            if made.is_err() {
                let _ = self.env.fs.remove(&path);
                return;
            }
        }
        self.reserve_missing.store(false, Ordering::Relaxed);
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

    /// The work of a clean close: everything into segments, a manifest that says so, no log left.
    pub(super) fn settle_for_good(&self) -> Result<()> {
        let leader = self.leader.lock();
        self.health.check_sound()?;
        if leader.has_changes(&self.view.load().active) {
            self.seal(&leader, &leader.log);
        }
        while self.flush_oldest()? {}
        self.edit_manifest(|keeper| keeper.close(self.clock_pair()))?;
        let spare = self.spare.lock().file.take();
        let mut retired = self.retired.lock();
        retired.file(leader.log.path().to_owned());
        if let Some(spare) = spare {
            retired.file(spare.path().to_owned());
        }
        retired.reap(&*self.env.fs);
        Ok(())
    }

    /// The work of a drop without a close: what was acknowledged is synced, and the log says that nothing came after it.
    pub(super) fn leave(&self) {
        let mut leader = self.leader.lock();
        if self.health.check_sound().is_err() {
            return;
        }
        // The newest log file must be the one that ends with the seal, or the next open would have to assume lost commits.
        if let Some(spare) = self.spare.lock().file.take() {
            let _ = self.env.fs.remove(spare.path());
        }
        let sealed = leader.log_ended || self.end_log(&mut leader).is_ok();
        if sealed {
            // Errors have nobody left to go to; the next open finds what is there and reports it.
            let _ = self.tail.sync(&self.health);
        }
    }
}

impl Leader {
    /// Whether a commit went to `active`.
    fn has_changes(&self, active: &crate::memtable::Memtable) -> bool {
        active.first() < self.next
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
        let newest = core.view.load().segments.first().map(|segment| segment.number());
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
            let _ = core.submit(&Member::new(Request::Clock(core.clock_pair())));
        }
    }
}

impl Manifest {
    /// What a flush changes, with everything as of the flushed commit (E17).
    fn flush(&mut self, sealed: &Sealed, logs: &[FileNumber], output: &Output, clock: ClockPair) {
        let raised = std::mem::take(&mut self.buckets);
        self.flushed = sealed.through;
        self.last_commit = sealed.through;
        self.next_bucket = sealed.next_bucket;
        self.buckets = sealed.buckets.iter().map(|state| BucketState::clone(state)).collect();
        for state in &mut self.buckets {
            // A merge may have raised floors that the leader's copy does not have.
            if let Ok(at) = raised.binary_search_by_key(&state.id, |before| before.id) {
                let before = &raised[at];
                state.as_of_floor = state.as_of_floor.max(before.as_of_floor);
                state.watch_floor = state.watch_floor.max(before.watch_floor);
            }
            state.note_end(self.incarnation);
        }
        self.raise_floors(output);
        self.segments.splice(0..0, SegmentRef::of(output));
        self.log_floor = logs.first().copied().unwrap_or(self.log_floor);
        self.logs = logs.to_vec();
        self.clock = clock;
        self.clean = false;
    }

    /// What a merge changes.
    fn merge(&mut self, inputs: &[FileNumber], output: &Output) {
        let at = self.segments.iter().position(|segment| inputs.contains(&segment.number)).unwrap_or(0);
        self.segments.retain(|segment| !inputs.contains(&segment.number));
        self.segments.splice(at..at, SegmentRef::of(output));
        self.raise_floors(output);
    }

    fn raise_floors(&mut self, output: &Output) {
        for state in &mut self.buckets {
            if let Some((as_of, watch)) = output.floors.get(&state.id) {
                state.as_of_floor = state.as_of_floor.max(*as_of);
                state.watch_floor = state.watch_floor.max(*watch);
            }
        }
    }
}

/// How many incarnations a bucket remembers the end of.
const ENDS_MAX: usize = 64;

impl BucketState {
    /// Remembers its last revision as the end of `incarnation`, if it changed in it (E8).
    pub(super) fn note_end(&mut self, incarnation: u64) {
        match self.ends.last_mut() {
            Some((last, revision)) if *last == incarnation => *revision = self.last_revision,
            Some((_, revision)) if *revision == self.last_revision => {}
            _ if self.last_revision.0 == 0 => {}
            _ => self.ends.push((incarnation, self.last_revision)),
        }
        if self.ends.len() > ENDS_MAX {
            self.ends.remove(0);
        }
    }
}
