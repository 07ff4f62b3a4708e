//! Whether anybody watches, for a leader that must not take a lock to find out. The argument is at the top of the bus (E9).

use crate::env::sync::{AtomicU64, Ordering, fence};

/// Counts watchers.
#[derive(Debug)]
pub(super) struct Gate {
    watchers: AtomicU64,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self { watchers: AtomicU64::new(0) }
    }

    /// One more, who is in the registry already. What the caller finds visible after this, no leader that missed the new number has made
    /// visible since.
    pub(super) fn enter(&self) {
        self.watchers.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// One less.
    pub(super) fn leave(&self) {
        self.watchers.fetch_sub(1, Ordering::SeqCst);
    }

    /// For a leader that has just made a group visible: whether there may be somebody to tell.
    pub(super) fn is_watched(&self) -> bool {
        // Between what was made visible and the look at the number.
        fence(Ordering::SeqCst);
        self.watchers.load(Ordering::Relaxed) > 0
    }
}
