//! The synchronisation primitives that the engine uses, in one place, so that a model checker can stand in for them.
//!
//! Only floor 3 and the forms that it shares with readers use these. A panic while a lock is held is a bug of ours and never leaves
//! half-done state behind a lock that matters (jobs poison the store instead), so poisoning of the lock itself is ignored.

pub(crate) use std::sync::Arc;

// The package `tests/shuttle` compiles all of this crate with a scheduler's primitives, which have the standard library's names.
#[cfg(shuttle)]
use shuttle as primitives;
#[cfg(not(shuttle))]
use std as primitives;

pub(crate) use primitives::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
pub(crate) use primitives::thread::{JoinHandle, current as current_thread};

use primitives::sync::{self, PoisonError, TryLockError};
use std::time::Duration;

/// `std::sync::MutexGuard`.
pub(crate) type MutexGuard<'a, T> = sync::MutexGuard<'a, T>;

/// `std::sync::Mutex` without poisoning.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The guard, unless somebody else has it.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// `std::sync::Condvar` without poisoning.
#[derive(Debug, Default)]
pub(crate) struct Condvar(sync::Condvar);

impl Condvar {
    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wait_timeout<'a, T>(&self, guard: MutexGuard<'a, T>, timeout: Duration) -> MutexGuard<'a, T> {
        self.0.wait_timeout(guard, timeout).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Answers with the guard whether the whole time has passed.
    pub(crate) fn wait_for<'a, T>(&self, guard: MutexGuard<'a, T>, timeout: Duration) -> (MutexGuard<'a, T>, bool) {
        let (guard, timed_out) = self.0.wait_timeout(guard, timeout).unwrap_or_else(PoisonError::into_inner);
        (guard, timed_out.timed_out())
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// Whether another processor works while a thread of ours does nothing but look. Not under a scheduler that runs one thread at a time, in an
/// order that time must not change.
pub(crate) fn has_spare_processor() -> bool {
    !cfg!(shuttle) && std::thread::available_parallelism().is_ok_and(|processors| processors.get() > 1)
}

/// Lets whoever else wants to run have the processor.
pub(crate) fn give_way() {
    primitives::thread::yield_now();
}

/// Starts a named thread.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    primitives::thread::Builder::new().name(name.to_owned()).spawn(body)
}
