//! A clock in the hand of a test, in front of real files or of files in memory: it stands still until it is told to move.
//!
//! Unlike the simulated disk's clock it does not tick when it is looked at, so a test can stand exactly on a deadline.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::env::sync::{AtomicU64, Mutex, Ordering};
use crate::env::{Clock, Env};

const WALL_AT_START_NS: u64 = 1_700_000_000_000_000_000;

type Act = Box<dyn FnOnce() + Send>;

/// Both clocks of a machine.
pub struct ManualClock {
    monotonic: AtomicU64,
    wall: AtomicU64,
    /// What happens at a later reading of the monotonic clock, and how many come before.
    act: Mutex<Option<(u64, Act)>>,
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (monotonic, wall) = (&self.monotonic, &self.wall);
        formatter.debug_struct("ManualClock").field("monotonic", monotonic).field("wall", wall).finish_non_exhaustive()
    }
}

impl ManualClock {
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { monotonic: AtomicU64::new(1), wall: AtomicU64::new(WALL_AT_START_NS), act: Mutex::default() })
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

    /// Has `act` run by whoever reads the monotonic clock for the `count`-th time from now on, once it has read it: that thread is held up
    /// for so long.
    pub fn act_at_reading(&self, count: u64, act: impl FnOnce() + Send + 'static) {
        *self.act.lock() = Some((count, Box::new(act)));
    }

    /// Gives up what is to happen at a reading; answers whether it has not happened.
    pub fn forget_act(&self) -> bool {
        self.act.lock().take().is_some()
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
        let now = self.monotonic.load(Ordering::SeqCst);
        let due = {
            let mut act = self.act.lock();
            match &mut *act {
                Some((left, _)) if *left > 1 => {
                    *left -= 1;
                    None
                }
                _ => act.take(),
            }
        };
        if let Some((_, act)) = due {
            act();
        }
        now
    }
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).expect("spans of tests are shorter than 584 years")
}
