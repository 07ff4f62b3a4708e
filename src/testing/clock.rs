//! A clock in the hand of a test, in front of real files or of files in memory: it stands still until it is told to move.
//!
//! Unlike the simulated disk's clock it does not tick when it is looked at, so a test can stand exactly on a deadline.

use std::sync::Arc;
use std::time::Duration;

use crate::env::sync::{AtomicU64, Ordering};
use crate::env::{Clock, Env};

const WALL_AT_START_NS: u64 = 1_700_000_000_000_000_000;

/// Both clocks of a machine.
#[derive(Debug)]
pub struct ManualClock {
    monotonic: AtomicU64,
    wall: AtomicU64,
}

impl ManualClock {
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { monotonic: AtomicU64::new(1), wall: AtomicU64::new(WALL_AT_START_NS) })
    }

    /// The operating system's files, with this clock.
    #[must_use]
    pub fn env_on_files(self: &Arc<Self>) -> Env {
        Env { clock: Arc::<Self>::clone(self), ..Env::os() }
    }

    /// New files in memory, with this clock. They live as long as a clone of the environment does.
    #[must_use]
    pub fn env_in_memory(self: &Arc<Self>) -> Env {
        Env { clock: Arc::<Self>::clone(self), ..Env::memory() }
    }

    /// Lets time pass, on both clocks.
    pub fn advance(&self, span: Duration) {
        self.monotonic.fetch_add(nanoseconds(span), Ordering::SeqCst);
        self.set_wall_forward(span);
    }

    /// Somebody sets the wall clock; the monotonic one does not notice.
    pub fn set_wall_forward(&self, span: Duration) {
        self.wall.fetch_add(nanoseconds(span), Ordering::SeqCst);
    }

    /// Somebody sets the wall clock back; the monotonic one does not notice.
    pub fn set_wall_back(&self, span: Duration) {
        self.wall.fetch_sub(nanoseconds(span), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> u64 {
        self.wall.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> u64 {
        self.monotonic.load(Ordering::SeqCst)
    }
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).expect("spans of tests are shorter than 584 years")
}
