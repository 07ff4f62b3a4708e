//! The store's clock: nanoseconds that only grow, over every close, crash and jump of the wall clock.
//!
//! `created`, deadlines and expiry all use it, so a clock that is set back must revive nothing and one that jumps ahead must not
//! expire everything. While the store is open, time is what the monotonic clock says, which counts suspend: jumps of the wall
//! clock do nothing. Between two openings it is what the wall clock says has passed since the last logged pair, but never less
//! than nothing, and never so little that a record would lie in the future.
//!
//! Pure: the engine reads both clocks and passes them in; it logs a [`ClockPair`] every minute, on close and after
//! [`adopt`](StoreClock::adopt), and the store time of every group. What was neither logged nor followed by a pair when the
//! process died is forgotten only if the wall clock was set back meanwhile.

use crate::spec::ClockPair;

/// Store time while the store is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreClock {
    /// Store time when the monotonic clock stood at `monotonic`.
    store: u64,
    monotonic: u64,
}

impl StoreClock {
    /// The clock of a new store: starts at the wall clock.
    #[allow(dead_code, reason = "tests start clocks; a store resumes one")]
    pub(crate) const fn start(wall_now: u64, monotonic_now: u64) -> Self {
        Self { store: wall_now, monotonic: monotonic_now }
    }

    /// The clock of a store that is opened again: `pair` is the last one that was logged, `newest_record_now` the latest store
    /// time in the log (0 if there is none).
    pub(crate) fn resume(pair: ClockPair, newest_record_now: u64, wall_now: u64, monotonic_now: u64) -> Self {
        let passed = wall_now.saturating_sub(pair.wall);
        Self { store: pair.store.saturating_add(passed).max(newest_record_now), monotonic: monotonic_now }
    }

    /// Store time.
    pub(crate) const fn now(&self, monotonic_now: u64) -> u64 {
        // A reading from before the start is another thread's that came late.
        self.store.saturating_add(monotonic_now.saturating_sub(self.monotonic))
    }

    /// What to log at this moment.
    pub(crate) const fn pair(&self, wall_now: u64, monotonic_now: u64) -> ClockPair {
        ClockPair { wall: wall_now, store: self.now(monotonic_now) }
    }

    /// Sets store time forward to the wall clock; answers by how much. A wall clock that lies behind changes nothing.
    #[allow(dead_code, reason = "no public call sets the store clock yet")]
    pub(crate) fn adopt(&mut self, wall_now: u64, monotonic_now: u64) -> u64 {
        let now = self.now(monotonic_now);
        *self = Self { store: now.max(wall_now), monotonic: monotonic_now.max(self.monotonic) };
        self.store.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests;
