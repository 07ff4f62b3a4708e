//! Whether the store may still be used: open, closed, or poisoned by a sync that failed.

use crate::env::sync::{AtomicBool, Mutex, Ordering};
use crate::error::{Error, ErrorKind, Result};
use crate::number::CommitNumber;

/// One per store. Reads check one flag; writes check two.
#[derive(Debug, Default)]
pub(super) struct Health {
    closed: AtomicBool,
    poisoned: AtomicBool,
    cause: Mutex<Option<Error>>,
}

impl Health {
    /// Reads go on in a poisoned store, not in a closed one.
    pub(super) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Self::closed());
        }
        Ok(())
    }

    pub(super) fn closed() -> Error {
        Error::new(ErrorKind::Closed, "the store was closed; open it again to go on")
    }

    pub(super) fn check_writable(&self) -> Result<()> {
        self.check_open()?;
        self.check_sound()
    }

    /// Not poisoned.
    pub(super) fn check_sound(&self) -> Result<()> {
        if !self.poisoned.load(Ordering::Acquire) {
            return Ok(());
        }
        let cause = self.cause.lock();
        let cause = cause.as_ref().map_or_else(String::new, |cause| format!(" ({cause})"));
        let message = format!("an earlier sync failed, so nothing more is written; close the store and open it again{cause}");
        Err(Error::new(ErrorKind::Poisoned, message))
    }

    /// Takes no more writes from now on. The first cause stays. Answers the error for whoever waits on what failed.
    pub(super) fn poison(&self, cause: Error, durable: CommitNumber) -> Error {
        // Not a full disk that space would mend, whatever the errno: what was to be made durable may be gone.
        let cause = cause.with_kind(ErrorKind::Io).with_durable_commit(durable);
        self.cause.lock().get_or_insert_with(|| cause.clone());
        self.poisoned.store(true, Ordering::Release);
        cause.indeterminate()
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// Answers whether it was open until now.
    pub(super) fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::AcqRel)
    }
}
