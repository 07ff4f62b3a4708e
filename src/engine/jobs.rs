//! Background work: flushes, merges, log files prepared and synced ahead, what is retired let go.
//!
//! Each job is a step that does one piece of work and says whether there was any. Threads call the steps in a loop; without threads
//! (`Settings::threads`), whoever would wait for a job calls the step itself, so that a test decides every interleaving. A job that fails
//! leaves everything as it was and is tried again; only a directory sync or a manifest of unknown fate poisons the store.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::board::RETRY_AFTER;
use super::commit::SYNC_STEP_LEN;
use super::core::Core;
use super::request::Request;
use super::sweep;
use crate::durability::Durability;
use crate::error::{Error, ErrorKind, Result};
use crate::number::FileNumber;
use crate::spec::ClockPair;

/// How long a job sleeps that nobody calls.
const IDLE: Duration = Duration::from_secs(60);
/// How long there must have been nothing to merge before less is worth it, and how often what has expired is looked for.
const MERGE_IDLE: Duration = Duration::from_secs(5);
/// How often the pair of clocks is logged, so that the next open knows how long the store was shut.
const CLOCK_EVERY: Duration = Duration::from_secs(60);

impl Core {
    /// Holds a writer of so many bytes back: a little while much waits to be merged; while memtables take more than the budget, until a flush
    /// made room, or with its error if it cannot.
    pub(super) fn wait_for_room(&self, bytes: u64) -> Result<()> {
        self.pressure.pay(bytes, &*self.env.clock);
        while self.pressure.is_crowded() && !self.has_room() {
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
        let logged = self.log_step();
        if matches!(logged, Ok(true)) {
            return Ok(true);
        }
        // A log file that cannot be prepared keeps no flush from making space for it.
        let flushed = self.flush_step();
        if matches!(flushed, Ok(true)) {
            return Ok(true);
        }
        logged?;
        Ok(flushed? || self.merge_step(false)? || self.merge_step(true)?)
    }

    /// One piece of the work on log files: short, and nothing that takes long comes before it.
    pub(super) fn log_step(&self) -> Result<bool> {
        self.health.check_sound()?;
        let prepared = self.prepare_spare();
        if matches!(prepared, Ok(true)) {
            return Ok(true);
        }
        let is_due = self.tail.has_sealed() || self.tail.unsynced_bytes() >= SYNC_STEP_LEN;
        if is_due && self.settings.durability != Durability::Sync {
            self.tail.sync(&self.health)?;
            return Ok(true);
        }
        prepared
    }

    /// One piece of the work that makes room for writers. What frees space comes first.
    pub(super) fn flush_step(&self) -> Result<bool> {
        self.health.check_sound()?;
        let reaped = self.retired.lock().reap(&*self.env.fs);
        Ok(self.flush_oldest()? || reaped)
    }

    pub(super) fn clock_pair(&self) -> ClockPair {
        self.clock.pair(self.env.clock.wall(), self.env.clock.monotonic())
    }
}

/// What the threads of a store run; each ends when the board says so.
pub(super) fn run(core: &Core, job: Job) {
    let outcome = catch_unwind(AssertUnwindSafe(|| match job {
        Job::Log => run_log(core),
        Job::Flush => run_flush(core),
        Job::Merge => run_merge(core),
        Job::Timer => run_timer(core),
        Job::Sweep => sweep::run(core),
    }));
    if outcome.is_err() {
        core.poison(Error::new(ErrorKind::Poisoned, format!("the {job:?} job panicked; this is a bug of annals")));
    }
}

/// The background threads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Job {
    /// Log files prepared and synced ahead. A thread of its own, so that neither waits for a flush and writers wait for neither.
    Log,
    /// Flushes, what is retired.
    Flush,
    /// Merges.
    Merge,
    /// Periodic syncs and the clock.
    Timer,
    /// Markers of what expires; only in a store that has a bucket with them.
    Sweep,
}

impl Job {
    /// Those of every store.
    pub(super) const ALL: [Self; 4] = [Self::Log, Self::Flush, Self::Merge, Self::Timer];

    pub(super) const fn thread_name(self) -> &'static str {
        match self {
            Self::Log => "annals-log",
            Self::Flush => "annals-flush",
            Self::Merge => "annals-merge",
            Self::Timer => "annals-timer",
            Self::Sweep => "annals-sweep",
        }
    }
}

fn run_log(core: &Core) {
    loop {
        let seen = core.board.calls();
        let result = core.log_step();
        let timeout = match result {
            Ok(true) => Duration::ZERO,
            Ok(false) => IDLE,
            // Tried again when somebody calls, as a flush does that made space, or after a while.
            Err(_) => RETRY_AFTER,
        };
        core.board.logged(result.err());
        core.wake_watchers();
        if !core.board.wait(seen, timeout) {
            return;
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
        core.wake_watchers();
        if !core.board.wait(seen, timeout) {
            return;
        }
    }
}

fn run_merge(core: &Core) {
    // A merge that failed is not tried again until there are other files, or for a while.
    let mut failed_on: Option<Vec<FileNumber>> = None;
    let mut is_idle = false;
    loop {
        let seen = core.board.calls();
        let files: Vec<FileNumber> = core.view.load().segments().map(|segment| segment.number()).collect();
        let may_try = failed_on.as_ref().is_none_or(|failed| *failed != files);
        let merged = if may_try { core.merge_step(is_idle) } else { Ok(false) };
        let own_calls = u64::from(matches!(merged, Ok(true)));
        let timeout = match merged {
            Ok(true) => {
                failed_on = None;
                core.board.merged(None);
                // What is retired can go, and there may be more to do.
                core.board.wake();
                Duration::ZERO
            }
            Ok(false) if may_try => {
                failed_on = None;
                core.board.merged(None);
                MERGE_IDLE
            }
            Ok(false) => IDLE,
            Err(error) => {
                failed_on = Some(files);
                core.board.merged(Some(error));
                IDLE
            }
        };
        core.wake_watchers();
        if !core.board.wait(seen, timeout) {
            return;
        }
        // Nobody called for as long: things are calm, and what has expired meanwhile is looked at.
        is_idle = core.board.calls() == seen + own_calls && (is_idle || timeout > Duration::ZERO);
        if is_idle && timeout == IDLE {
            failed_on = None;
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
            core.wake_watchers();
        }
        if core.env.clock.monotonic().saturating_sub(logged) >= CLOCK_EVERY.as_nanos() as u64 {
            logged = core.env.clock.monotonic();
            let _ = core.submit(Request::Clock(core.clock_pair()));
        }
    }
}
