//! What writers pay for work that waits, and how fast that work goes.
//!
//! A store takes writes faster than it can merge them. So writers are slowed as memory fills or files gather above the bottom run: a little at
//! first, more the more there is, so that nobody meets a wall. A writer pays before it joins the queue, by waiting until its bytes would have
//! come at the rate that is set; all writers stand in one line for that. What a finished flush or merge changes takes effect at once, also
//! for those who wait. The one hard stop is the memory budget (`jobs`).
//!
//! The other way round, flushes and merges that nobody waits for are held to a rate that leaves the disk to the log's syncs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use crate::durability::Durability;
use crate::env::Clock;
use crate::env::sync::{AtomicBool, AtomicU64, Condvar, Mutex, Ordering};
use crate::number::FileNumber;
use crate::run::Run;
use crate::view::View;

/// Writers are held to this rate, in bytes a second, when they begin to be; each further step halves it.
const RATE: f64 = 256e6;
/// How often it has been halved when there is as much to do as there may be.
const HALVINGS: f64 = 4.0;
/// Shorter waits are left to gather: a thread cannot wait for them exactly.
const WAIT_MIN: u64 = 200_000;
/// The longest wait of one write.
const WAIT_MAX: u64 = 100_000_000;
/// Bytes a second of a flush or merge that is in no hurry. With a sync every 4 MiB, the log's syncs beside it take about twice as long as alone.
const WORK_RATE: u64 = 200_000_000;
/// How far work may be ahead of its rate, in nanoseconds.
const AHEAD_MAX: u64 = 10_000_000;
/// Writers are slowed when there is more above the bottom than is meant to, and most when there is three quarters more.
const DEBT_FROM: f64 = 1.0;
const DEBT_TO: f64 = 1.75;
/// The same for the number of runs, which is what reads pay for.
const RUNS_FROM: f64 = 12.0;
const RUNS_TO: f64 = 24.0;

/// One per store. A writer in a store without debt pays two relaxed loads.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    /// Nanoseconds per KiB; 0 = free.
    price: AtomicU64,
    /// Memory may be full: the view has to be asked.
    crowded: AtomicBool,
    /// Until when the line is taken, in monotonic time. A leaf lock.
    line: Mutex<u64>,
    changed: Condvar,
    /// How long writers have waited in all, in nanoseconds.
    delayed: AtomicU64,
}

/// What waits to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Debt {
    /// Bytes in sealed memtables and in files above the bottom run.
    pub(super) bytes: u64,
    /// From 0 = none to 1 = as much as there may be.
    level: f64,
}

impl Debt {
    pub(super) fn of(view: &View, memory_budget: u64, memtable_len: u64, segment_len: u64) -> Self {
        let sealed: u64 = view.sealed.iter().map(|sealed| sealed.memtable.bytes()).sum();
        let (bottom, above) = view.runs.split_last().map_or((0, &[][..]), |(bottom, above)| (bottom.len(), above));
        let files = file_bytes(above);
        let meant = (bottom / 5).max(2 * segment_len);
        let memory = ramp((sealed + memtable_len) as f64 / memory_budget as f64, 0.5, 1.0);
        let disk = ramp(files as f64 / meant as f64, DEBT_FROM, DEBT_TO);
        let runs = ramp(above.len() as f64, RUNS_FROM, RUNS_TO);
        // One memtable may always wait for its flush.
        let memory = if view.sealed.len() > 1 { memory } else { 0.0 };
        Self { bytes: sealed + files, level: memory.max(disk).max(runs) }
    }

    /// Nanoseconds per KiB.
    fn price(self) -> u64 {
        if self.level <= 0.0 {
            return 0;
        }
        let rate = RATE / (HALVINGS * self.level.min(1.0)).exp2();
        (1024.0 * 1e9 / rate) as u64
    }
}

fn file_bytes(runs: &[Arc<Run>]) -> u64 {
    let mut seen: BTreeSet<FileNumber> = BTreeSet::new();
    let files = runs.iter().flat_map(|run| run.parts()).map(|part| &part.segment);
    files.filter(|segment| seen.insert(segment.number())).map(|segment| segment.len()).sum()
}

/// 0 up to `from`, 1 from `to` on.
fn ramp(value: f64, from: f64, to: f64) -> f64 {
    ((value - from) / (to - from)).clamp(0.0, 1.0)
}

impl Pressure {
    fn set(&self, price: u64, crowded: bool) {
        let mut line = self.line.lock();
        let before = self.price.swap(price, Ordering::Relaxed);
        self.crowded.store(crowded, Ordering::Relaxed);
        if price < before {
            // Who waits at the old price has waited long enough.
            *line = 0;
            drop(line);
            self.changed.notify_all();
        }
    }

    pub(super) fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::Relaxed)
    }

    pub(super) fn is_free(&self) -> bool {
        self.price.load(Ordering::Relaxed) == 0
    }

    /// How long writers have waited in all.
    pub(super) fn delayed(&self) -> Duration {
        Duration::from_nanos(self.delayed.load(Ordering::Relaxed))
    }

    /// Pays for `bytes` that are about to be written.
    pub(super) fn pay(&self, bytes: u64, clock: &dyn Clock) {
        let price = self.price.load(Ordering::Relaxed);
        if price > 0 {
            self.wait_in_line(bytes.saturating_mul(price) / 1024, clock);
        }
    }

    #[cold]
    fn wait_in_line(&self, cost: u64, clock: &dyn Clock) {
        let now = clock.monotonic();
        let mut line = self.line.lock();
        *line = (*line).max(now).saturating_add(cost);
        let wait = (*line - now).min(WAIT_MAX);
        if wait < WAIT_MIN {
            return;
        }
        // Woken early, it goes on early: something was finished, and the next write pays what is due then.
        drop(self.changed.wait_timeout(line, Duration::from_nanos(wait)));
        self.delayed.fetch_add(clock.monotonic().saturating_sub(now), Ordering::Relaxed);
    }
}

impl Core {
    pub(super) fn debt(&self, view: &View) -> Debt {
        let settings = &self.settings;
        Debt::of(view, settings.memory_budget, settings.memtable_len, settings.segment_len)
    }

    /// Sets what writers pay from now on; called by whoever has sealed, flushed or merged.
    pub(super) fn note_pressure(&self) {
        let view = self.view.load();
        let settings = &self.settings;
        let sealed: u64 = view.sealed.iter().map(|sealed| sealed.memtable.bytes()).sum();
        // The active memtable grows without anybody being told.
        let crowded = sealed > 0 && sealed + settings.memtable_len >= settings.memory_budget;
        // Without threads nobody works while a writer waits.
        let price = if settings.threads { self.debt(&view).price() } else { 0 };
        self.pressure.set(price, crowded);
    }

    /// Holds a flush or merge that has written so many bytes since `started` to its rate, unless writers wait for it.
    pub(super) fn keep_rate(&self, started: u64, written: u64) {
        let is_free = self.pressure.is_free() && !self.board.is_stopping();
        if !self.settings.threads || self.settings.durability == Durability::OsCache || !is_free {
            return;
        }
        let due = started.saturating_add((u128::from(written) * 1_000_000_000 / u128::from(WORK_RATE)) as u64);
        let ahead = due.saturating_sub(self.env.clock.monotonic());
        if ahead > AHEAD_MAX {
            self.board.wait(self.board.calls(), Duration::from_nanos(ahead.min(WAIT_MAX)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_rises_smoothly_with_the_debt_and_has_an_end() {
        let price = |level: f64| Debt { bytes: 0, level }.price();
        assert_eq!(price(0.0), 0);
        let steps: Vec<u64> = (1..=100).map(|step| price(f64::from(step) / 100.0)).collect();
        assert!(steps.is_sorted());
        assert!(steps.windows(2).all(|pair| pair[1] <= pair[0] + pair[0] / 20 + 1), "no jump: {steps:?}");
        assert!(steps[0] < 4_500, "at first it is what nobody reaches: {}", steps[0]);
        assert_eq!(price(1.0), price(7.0));
        assert!(price(1.0) < 70_000, "a KiB never costs more than 70 us");
    }

    #[test]
    fn ramps_begin_and_end_where_they_say() {
        assert_eq!([1.0, 1.5, 2.0, 2.5, 9.0].map(|value| ramp(value, 1.5, 2.5)), [0.0, 0.0, 0.5, 1.0, 1.0]);
    }

    #[test]
    fn a_line_is_left_when_the_price_falls() {
        let env = crate::env::Env::memory();
        let pressure = Pressure::default();
        pressure.pay(1 << 20, &*env.clock);
        assert_eq!(pressure.delayed(), Duration::ZERO, "nothing is paid where there is no debt");
        pressure.set(64_000, true);
        // The line is taken for longer than a write may wait.
        *pressure.line.lock() = env.clock.monotonic() + 3_600_000_000_000;
        pressure.set(100, false);
        assert_eq!(*pressure.line.lock(), 0);
        pressure.pay(1024, &*env.clock);
        assert_eq!(pressure.delayed(), Duration::ZERO, "what is too short to wait for gathers");
        assert!(*pressure.line.lock() > 0);
    }
}
