//! A write that is on its way.

use std::sync::Arc;

use crate::engine::{Engine, Submitted};
use crate::error::Result;
use crate::number::Revision;

/// A write that was put in line by [`Bucket::submit`](crate::Bucket::submit). Holds the store open; dropping it leaves the write in line.
#[derive(Debug)]
#[must_use = "only its ticket tells whether a write succeeded"]
pub struct Ticket {
    engine: Arc<Engine>,
    submitted: Submitted,
}

impl Ticket {
    pub(crate) const fn new(engine: Arc<Engine>, submitted: Submitted) -> Self {
        Self { engine, submitted }
    }

    /// Waits until the write is committed, and so visible and durable; answers its revision.
    ///
    /// # Errors
    /// Those of [`Bucket::put`](crate::Bucket::put). `Closed` if the store was closed before the write's turn came.
    pub fn wait(&self) -> Result<Revision> {
        self.engine.outcome_of(&self.submitted)
    }

    /// What [`wait`](Ticket::wait) would answer, if it need not wait.
    #[must_use]
    pub fn poll(&self) -> Option<Result<Revision>> {
        self.engine.outcome_now(&self.submitted)
    }
}
