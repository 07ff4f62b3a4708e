//! Where jobs are called, and tell how they fare.

use std::time::Duration;

use crate::env::sync::{Condvar, Mutex};
use crate::error::{Error, Result};

/// How long a job that failed waits before it is tried again, if nobody asks for it earlier.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// One per store. Its lock is a leaf: nothing is taken while it is held.
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
    log_error: Option<Error>,
    sweep_error: Option<Error>,
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

    /// What the last flush, merge, sweep or work on log files failed with, if it is not mended yet.
    pub(super) fn error(&self) -> Option<Error> {
        let state = self.state.lock();
        let errors = [&state.flush_error, &state.merge_error, &state.log_error, &state.sweep_error];
        errors.into_iter().flatten().next().cloned()
    }

    pub(super) fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// Waits for a call after the one numbered `seen`, at most for `timeout`; answers whether to go on.
    pub(super) fn wait(&self, seen: u64, timeout: Duration) -> bool {
        let mut state = self.state.lock();
        if state.calls == seen && !state.stopping {
            state = self.changed.wait_timeout(state, timeout);
        }
        !state.stopping
    }

    pub(super) fn attempt(&self) {
        self.state.lock().flush_error = None;
    }

    pub(super) fn attempted(&self, result: &Result<bool>) {
        let mut state = self.state.lock();
        state.attempts += 1;
        state.flush_error = result.as_ref().err().cloned();
        drop(state);
        self.changed.notify_all();
    }

    pub(super) fn logged(&self, error: Option<Error>) {
        self.state.lock().log_error = error;
    }

    pub(super) fn merged(&self, error: Option<Error>) {
        self.state.lock().merge_error = error;
    }

    pub(super) fn swept(&self, error: Option<Error>) {
        self.state.lock().sweep_error = error;
    }

    /// Calls the flush job and waits until it has tried, or for a while; answers with what it says.
    pub(super) fn wait_for_flush(&self) -> Result<()> {
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
