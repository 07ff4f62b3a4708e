//! What waits for one watcher: a bounded queue between whoever commits and whoever reads, neither of whom waits for the other.
//!
//! What does not fit empties the queue: the watcher *lags* from then on, takes nothing more, and reads what it has missed from the store. The
//! reader takes all that is there at once; so a watcher holds at most twice the bounds.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

use crate::entry::Entry;
use crate::env::sync::{Arc, AtomicBool, Condvar, Mutex, Ordering};
use crate::number::{CommitNumber, Revision};

/// Events that wait for a watcher, at most. Few in `tests/shuttle`, so that watchers lag there.
pub(super) const EVENTS_MAX: usize = if cfg!(shuttle) { 3 } else { 1024 };
/// Bytes of keys and values that wait for a watcher, at most; one event may be larger.
pub(super) const BYTES_MAX: usize = 256 << 10;

/// One commit's word to a watcher.
#[derive(Clone, Debug)]
pub(super) enum Told {
    Entry(Arc<Change>),
    Purged { commit: CommitNumber, through: Revision },
}

/// A change of a key, shared by all its watchers.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) commit: CommitNumber,
    pub(super) entry: Entry,
}

/// The queue of one watcher.
#[derive(Debug, Default)]
pub(super) struct Line {
    state: Mutex<State>,
    changed: Condvar,
    /// A hint for whoever looks without the lock: the state may have news.
    has_news: AtomicBool,
    /// The same as in the state, for a reader that has something else to give. (Alone, and read wherever the state is, it would give
    /// `tests/loom` so many more orders to try that it takes 148 s instead of 11.)
    is_stopped: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Told>,
    bytes: usize,
    /// Something did not fit.
    lags: bool,
    /// The bucket was deleted.
    is_gone: bool,
    /// The program wants no more.
    is_stopped: bool,
    /// Somebody waits, and is to be woken once.
    is_parked: bool,
    waker: Option<Waker>,
}

/// What a reader finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Events,
    Nothing,
    /// Read what is missing, and join again.
    Lags,
    /// Nothing comes any more.
    Gone,
    Stopped,
}

/// What became of an offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offered {
    /// Somebody is to be woken.
    pub(super) wakes: bool,
    /// It did not fit.
    pub(super) lags: bool,
}

impl Change {
    /// A copy of the entry, which others share.
    pub(super) fn entry(&self) -> Entry {
        self.entry.clone()
    }
}

impl Told {
    /// Bytes of key and value.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Entry(change) => change.entry.key().len() + change.entry.value().len(),
            Self::Purged { .. } => 0,
        }
    }
}

impl Line {
    /// Adds what one commit group says, all of it or none; `told` is empty afterwards.
    pub(super) fn offer(&self, told: &mut Vec<Told>) -> Offered {
        let bytes: usize = told.iter().map(Told::len).sum();
        let mut dropped = VecDeque::new();
        let mut state = self.state.lock();
        if state.lags || state.is_gone || state.is_stopped {
            drop(state);
            told.clear();
            return Offered::default();
        }
        let fits = state.events.len() + told.len() <= EVENTS_MAX && state.bytes + bytes <= BYTES_MAX;
        if fits || (state.events.is_empty() && told.len() == 1) {
            state.events.extend(told.drain(..));
            state.bytes += bytes;
        } else {
            (state.lags, state.bytes) = (true, 0);
            dropped = std::mem::take(&mut state.events);
        }
        let offered = Offered { wakes: std::mem::take(&mut state.is_parked), lags: state.lags };
        drop(state);
        self.has_news.store(true, Ordering::Relaxed);
        drop(dropped);
        told.clear();
        offered
    }

    /// Something is missing from now on, as if it had not fit; answers whether somebody is to be woken.
    pub(super) fn lag(&self) -> bool {
        let mut state = self.state.lock();
        let dropped = std::mem::take(&mut state.events);
        (state.lags, state.bytes) = (true, 0);
        let wakes = std::mem::take(&mut state.is_parked);
        drop(state);
        self.has_news.store(true, Ordering::Relaxed);
        drop(dropped);
        wakes
    }

    /// Nothing comes after what is there; answers whether somebody is to be woken.
    pub(super) fn end(&self) -> bool {
        let mut state = self.state.lock();
        state.is_gone = true;
        let wakes = std::mem::take(&mut state.is_parked);
        drop(state);
        self.has_news.store(true, Ordering::Relaxed);
        wakes
    }

    /// Nothing comes any more, whatever is there; wakes whoever waits.
    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
        self.state.lock().is_stopped = true;
        self.has_news.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// Whether it is worth while to look: there may be something to take. A hint, which may come late.
    pub(super) fn may_have_news(&self) -> bool {
        self.has_news.load(Ordering::Relaxed)
    }

    /// Whether the program wants no more.
    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }

    /// Wakes whoever waits. No lock may be held: a waker is the program's.
    pub(super) fn wake(&self) {
        let waker = {
            let mut state = self.state.lock();
            state.is_parked = false;
            state.waker.take()
        };
        self.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether a waiting reader would have to look at more than this; it is woken then.
    pub(super) fn take_parked(&self) -> bool {
        std::mem::take(&mut self.state.lock().is_parked)
    }

    /// Moves all that is there to `events`, which is empty.
    pub(super) fn take(&self, events: &mut VecDeque<Told>) -> Taken {
        let mut state = self.state.lock();
        self.has_news.store(false, Ordering::Relaxed);
        if state.is_stopped {
            return Taken::Stopped;
        }
        if !state.events.is_empty() {
            std::mem::swap(&mut state.events, events);
            state.bytes = 0;
            return Taken::Events;
        }
        match (state.lags, state.is_gone) {
            (true, _) => Taken::Lags,
            (_, true) => Taken::Gone,
            _ => Taken::Nothing,
        }
    }

    /// Takes events again, from nothing on.
    pub(super) fn restart(&self) {
        let mut state = self.state.lock();
        let dropped = std::mem::take(&mut state.events);
        (state.lags, state.bytes) = (false, 0);
        drop(state);
        drop(dropped);
    }

    /// Waits until there is something to take or to tell, which `is_over` says of the store; answers whether it waited the whole time.
    pub(super) fn wait(&self, timeout: Option<Duration>, is_over: impl Fn() -> bool) -> bool {
        let mut state = self.state.lock();
        loop {
            if state.has_news() || is_over() {
                state.is_parked = false;
                return false;
            }
            state.is_parked = true;
            match timeout {
                None => state = self.changed.wait(state),
                Some(timeout) => {
                    let is_late;
                    (state, is_late) = self.changed.wait_for(state, timeout);
                    state.is_parked = false;
                    return is_late;
                }
            }
            if !state.is_parked {
                return false;
            }
        }
    }

    /// Has `waker` woken once there is something; answers whether there is already.
    pub(super) fn wait_with(&self, waker: &Waker, is_over: impl Fn() -> bool) -> bool {
        // Cloned and dropped without the lock: a waker is the program's.
        let mut new = None;
        loop {
            let mut state = self.state.lock();
            if state.has_news() || is_over() {
                return true;
            }
            let is_known = state.waker.as_ref().is_some_and(|known| known.will_wake(waker));
            if is_known || new.is_some() {
                state.is_parked = true;
                let old = if is_known { None } else { std::mem::replace(&mut state.waker, new.take()) };
                drop(state);
                drop(old);
                return false;
            }
            drop(state);
            new = Some(waker.clone());
        }
    }
}

impl State {
    fn has_news(&self) -> bool {
        !self.events.is_empty() || self.lags || self.is_gone || self.is_stopped
    }
}
