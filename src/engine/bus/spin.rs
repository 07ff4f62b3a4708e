//! How long a reader looks for news by itself before it has the system put its thread to sleep.
//!
//! Waking a thread costs the one who wakes it a system call, and the one who sleeps tens of microseconds where an idle processor halts. Where
//! events come in short intervals, a reader that keeps looking has them sooner and spares the writer the call. So it looks for as long
//! as events have lately taken to come, doubled; if they take longer than a bound, not at all (as the kernel's haltpoll governor does for
//! an idle processor, with the same bound: Documentation/virt/guest-halt-polling.rst). One reader per store does so at a time, it gives its
//! processor to whoever else wants to run, and on a machine with one processor nobody does.

use crate::env::Clock;
use crate::env::sync::{AtomicBool, Ordering, give_way, has_spare_processor};

/// Nanoseconds that a reader looks by itself, at most.
const LIMIT_MAX: u64 = 200_000;
/// Less is not worth the bother.
const LIMIT_MIN: u64 = 1_000;
/// Looks between two looks at the clock.
const LOOKS: u32 = 32;

/// Whether there is a processor to spare, and nobody has taken it.
#[derive(Debug)]
pub(super) struct Spare {
    is_free: AtomicBool,
}

/// One reader's experience.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spin {
    /// How long to look, in nanoseconds.
    limit: u64,
}

impl Spare {
    pub(super) fn new() -> Self {
        Self { is_free: AtomicBool::new(has_spare_processor()) }
    }
}

impl Spin {
    /// Looks for news for a while, at most `limit` nanoseconds; answers whether there was any.
    pub(super) fn look(self, spare: &Spare, clock: &dyn Clock, limit: u64, has_news: impl Fn() -> bool) -> bool {
        let limit = self.limit.min(limit);
        if limit < LIMIT_MIN || !spare.is_free.swap(false, Ordering::Relaxed) {
            return false;
        }
        let found = look(clock, limit, has_news);
        spare.is_free.store(true, Ordering::Relaxed);
        found
    }

    /// It took so many nanoseconds until there was something.
    pub(super) fn learn(&mut self, waited: u64) {
        self.limit = if waited <= LIMIT_MAX { (2 * waited).clamp(LIMIT_MIN, LIMIT_MAX) } else { self.limit / 2 };
    }
}

fn look(clock: &dyn Clock, limit: u64, has_news: impl Fn() -> bool) -> bool {
    let started = clock.monotonic();
    let mut now = started;
    while now - started < limit {
        for _ in 0..LOOKS {
            if has_news() {
                return true;
            }
            std::hint::spin_loop();
        }
        give_way();
        let before = std::mem::replace(&mut now, clock.monotonic());
        if now <= before {
            // A clock that stands, as in a simulation.
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests;
