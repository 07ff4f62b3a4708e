//! Wide fan-out: what concerns more watchers than a leader should serve goes to a thread of the bus's own.
//!
//! The leader hands it whole groups. While it holds anything, every group goes through it, so the order stays (E9). What it holds is bounded:
//! beyond that it is dropped and all watchers lag, which sends each to the store for what it missed. The thread is started with the first
//! watcher beyond those that a leader serves itself, and not at all in a store without threads, whose leaders serve everybody.
//!
//! What is here knows nothing of filters and lines; the bus spreads what it hands out.

use std::collections::VecDeque;

use super::line::Told;
use crate::env::sync::{Arc, AtomicBool, Condvar, JoinHandle, Mutex, Ordering, current_thread};
use crate::number::{BucketId, Revision};
use crate::view::Revisions;

/// So many watchers of one group are served by its leader. Few in `tests/shuttle`, as is what the inbox holds.
pub(super) const INLINE_MAX: usize = if cfg!(shuttle) { 1 } else { 16 };
/// Events that wait to be spread, at most; one group may have more.
const EVENTS_MAX: usize = if cfg!(shuttle) { 3 } else { 16 << 10 };
/// Bytes of keys and values that wait to be spread, at most; one group may have more.
const BYTES_MAX: usize = 4 << 20;

/// What a group says, to whom it may concern.
#[derive(Debug)]
pub(super) enum Word {
    /// Entries, with the hashes of their keys.
    Entries(Vec<(BucketId, u64, Told)>),
    Purged(BucketId, Told),
    Deleted(BucketId),
}

/// Up to which revision a bucket's watchers have been told once a word was spread.
pub(super) type Mark = (Arc<Revisions>, Revision);

/// What the thread takes at once.
#[derive(Debug, Default)]
pub(super) struct Parcel {
    pub(super) words: VecDeque<Word>,
    pub(super) marks: Vec<Mark>,
    /// Words were dropped: everybody has missed something.
    pub(super) is_lossy: bool,
}

#[derive(Debug, Default)]
struct Inbox {
    parcel: Parcel,
    events: usize,
    bytes: usize,
    is_stopping: bool,
}

/// The dispatcher, seen from outside.
#[derive(Debug, Default)]
pub(super) struct Dispatcher {
    inbox: Mutex<Inbox>,
    called: Condvar,
    /// It holds something, or is at work on it. Raised by leaders, one at a time; lowered by the thread when all is spread. Changed under
    /// the inbox's lock only, read without.
    is_behind: AtomicBool,
    is_started: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Word {
    fn size(&self) -> (usize, usize) {
        match self {
            Self::Entries(entries) => (entries.len(), entries.iter().map(|(_, _, told)| told.len()).sum()),
            Self::Purged(..) | Self::Deleted(_) => (1, 0),
        }
    }
}

impl Dispatcher {
    /// Whether it holds anything, so that everything else has to go through it. If not, all that it ever held has been spread.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::SeqCst)
    }

    /// How many watchers a leader serves itself.
    pub(super) fn inline_max(&self) -> usize {
        if self.is_started.load(Ordering::Acquire) { INLINE_MAX } else { usize::MAX }
    }

    /// Hands it a word, with how far watchers have been told once it is spread. Not after the end, when nobody is told any more.
    pub(super) fn push(&self, word: Word, marks: impl Iterator<Item = Mark>) {
        let (events, bytes) = word.size();
        let mut dropped = VecDeque::new();
        let mut inbox = self.inbox.lock();
        if inbox.is_stopping {
            return;
        }
        inbox.parcel.words.push_back(word);
        (inbox.events, inbox.bytes) = (inbox.events + events, inbox.bytes + bytes);
        for mark in marks {
            let known = inbox.parcel.marks.iter_mut().find(|known| Arc::ptr_eq(&known.0, &mark.0));
            match known {
                Some(known) => *known = mark,
                None => inbox.parcel.marks.push(mark),
            }
        }
        if inbox.parcel.words.len() > 1 && (inbox.events > EVENTS_MAX || inbox.bytes > BYTES_MAX) {
            // Whoever lags finds in the store what was written, and that a bucket was purged or deleted.
            dropped = std::mem::take(&mut inbox.parcel.words);
            (inbox.events, inbox.bytes, inbox.parcel.is_lossy) = (0, 0, true);
        }
        self.is_behind.store(true, Ordering::SeqCst);
        drop(inbox);
        self.called.notify_one();
        drop(dropped);
    }

    /// Starts the thread with what `start` makes, if it is not there yet.
    pub(super) fn start(&self, start: impl FnOnce() -> std::io::Result<JoinHandle<()>>) -> std::io::Result<()> {
        let mut thread = self.thread.lock();
        if thread.is_none() && !self.inbox.lock().is_stopping {
            *thread = Some(start()?);
            self.is_started.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Ends the thread, once it has spread what it holds.
    pub(super) fn stop(&self) {
        let thread = self.thread.lock().take();
        self.inbox.lock().is_stopping = true;
        self.called.notify_all();
        // A waker may have let go of the last handle of the store in that very thread (E10).
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != current_thread().id()) {
            let _ = thread.join();
        }
        self.is_started.store(false, Ordering::Release);
    }

    /// For the thread: all that waits, whatever was taken before having been spread; `None` at the end. `at_rest` is called whenever
    /// nothing is held any more.
    pub(super) fn take(&self, at_rest: impl Fn()) -> Option<Parcel> {
        let mut inbox = self.inbox.lock();
        loop {
            if !inbox.parcel.words.is_empty() || inbox.parcel.is_lossy {
                (inbox.events, inbox.bytes) = (0, 0);
                return Some(std::mem::take(&mut inbox.parcel));
            }
            if self.is_behind() {
                self.is_behind.store(false, Ordering::SeqCst);
                drop(inbox);
                at_rest();
                inbox = self.inbox.lock();
                continue;
            }
            if inbox.is_stopping {
                return None;
            }
            inbox = self.called.wait(inbox);
        }
    }
}
