//! A watch in the hands of a program.

use std::iter::FusedIterator;
use std::time::Duration;

use crate::engine::{Next, Notice, Stopper, Watcher};
use crate::error::Result;
use crate::watch::{Event, WatchStream, WatchToken};

/// The changes of a bucket as they come; see [`Bucket::watch`](crate::Bucket::watch).
///
/// # What is guaranteed
/// - *Ordered*: entries come in the order of their revisions. *Unique*: none comes twice.
/// - *Complete*: an entry is left out only if a newer one of the same key is given instead. That happens to a watch that falls behind, and is
///   told by [`Event::Skipped`] before whatever comes next, unless the watch was not up to date before. A watch that keeps up sees
///   every change, whatever the depth of history.
/// - *Atomic*: the changes of one commit become available together.
/// - Nobody who writes ever waits for a watch, though each watch that a change concerns has to be told of it. At most 1,024 events and 256 KiB
///   of keys and values (or one event that is larger) wait for one, and as much again is on its way to the program. When that is exceeded
///   the watch has fallen behind: it goes on by reading what it missed from the store, in the thread of whoever asks for the next event, and
///   then takes up what comes. It reads that, and what there was at the beginning, in chunks of as much, and between two of them holds on
///   to no memory and no file of the store, however long the program takes; only the keys of what is still to come may be listed, up to
///   65,536 of them and 8 MiB, where a watch names them or there are not more. Two things it reads from one view, as an iterator does:
///   history, up to where the last key went without a trace; and the end of a beginning during which as much was written as there was.
///
/// # How it ends
/// With an error, after everything that was committed before and waits for the watch in memory; then with `None`, for ever.
/// - `BucketNotFound`: the bucket was deleted. One that is created again under the same name is another.
/// - `Closed`: the store was closed, or its last handle was dropped. A watch does not keep a store open.
/// - `Poisoned`: a sync failed; nothing is written any more until the store is opened again.
/// - `Lagged`: it fell behind, and meanwhile a key that it had not heard of lately expired or lost its marker, so that nothing is left that
///   would tell of it. Watch anew, or from the revision behind [`Error::floor`](crate::Error::floor) on if only what changes counts.
///   `Compacted`: the same of a watch that was not up to date yet, where what went may have replaced what was given.
/// - `Io`, `Corrupt`: it had to read, and could not.
///
/// Dropping a watch ends it at once.
///
/// ```
/// use annals::{BucketConfig, Event, Store};
/// let store = Store::in_memory()?;
/// let jobs = store.create_bucket(BucketConfig::new("jobs"))?;
/// jobs.put("nightly", "queued")?;
/// let watch = jobs.watch("*")?;
/// let worker = std::thread::spawn(move || -> annals::Result<Vec<String>> {
///     let mut seen = Vec::new();
///     for event in watch {
///         match event? {
///             Event::Entry(entry) if *entry.value() == *b"stop" => break,
///             Event::Entry(entry) => seen.push(format!("{} {}", entry.key(), String::from_utf8_lossy(entry.value()))),
///             _ => {}
///         }
///     }
///     Ok(seen)
/// });
/// jobs.put("hourly", "queued")?;
/// jobs.put("worker", "stop")?;
/// assert_eq!(worker.join().unwrap()?, ["nightly queued", "hourly queued"]);
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a watch that is dropped ends at once"]
pub struct Watch {
    watcher: Watcher,
}

impl Watch {
    pub(crate) const fn new(watcher: Watcher) -> Self {
        Self { watcher }
    }

    /// The next event if there is one without waiting for a commit; `None` if there is none yet, and after the end. May read files: at the
    /// beginning, and after the watch fell behind.
    ///
    /// A write that has returned is given at once, unless it concerns more than 16 watches: these are told by a thread of the store, a moment
    /// later, and so is what is written meanwhile.
    ///
    /// # Errors
    /// The end of the watch, once.
    pub fn try_next(&mut self) -> Result<Option<Event>> {
        Ok(match self.watcher.next_now()? {
            Next::Notice(notice) => Some(notice.into()),
            Next::Wait | Next::Over => None,
        })
    }

    /// The next event, as soon as there is one, if it comes within `timeout`; else `None`, and at once after the end.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let store = annals::Store::in_memory()?;
    /// # let bucket = store.create_bucket(annals::BucketConfig::new("b"))?;
    /// let mut watch = bucket.watch(">")?;
    /// assert_eq!(watch.next_timeout(Duration::from_secs(10))?, Some(annals::Event::UpToDate));
    /// assert_eq!(watch.next_timeout(Duration::from_millis(1))?, None);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// The end of the watch, once.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Event>> {
        let started = self.watcher.monotonic();
        loop {
            match self.watcher.next_now()? {
                Next::Notice(notice) => return Ok(Some(notice.into())),
                Next::Over => return Ok(None),
                Next::Wait => {}
            }
            let passed = Duration::from_nanos(self.watcher.monotonic().saturating_sub(started));
            let left = timeout.saturating_sub(passed);
            if left.is_zero() || self.watcher.wait(Some(left)) {
                // What came while the time ran out is given all the same.
                return self.try_next();
            }
        }
    }

    /// Where this watch is: whoever keeps it together with what was given so far can go on from there, with
    /// [`WatchOptions::after`](crate::WatchOptions::after), also after the watch has ended. Costs no reading; may be asked for after each event.
    #[must_use]
    pub fn token(&self) -> WatchToken {
        WatchToken::new(self.watcher.position())
    }

    /// Ends the watch. Never waits.
    pub fn stop(&mut self) {
        self.watcher.end();
    }

    /// What ends this watch from another thread, even while one waits for its next event.
    #[must_use]
    pub fn stopper(&self) -> WatchStopper {
        WatchStopper { stopper: self.watcher.stopper() }
    }

    /// The same events for `async` code, without a thread and for any runtime.
    pub const fn into_stream(self) -> WatchStream {
        WatchStream::new(self)
    }

    pub(crate) const fn watcher(&mut self) -> &mut Watcher {
        &mut self.watcher
    }
}

impl Iterator for Watch {
    type Item = Result<Event>;

    /// Waits for the next event; `None` after the end.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.watcher.next_now() {
                Ok(Next::Notice(notice)) => return Some(Ok(notice.into())),
                Ok(Next::Over) => return None,
                Ok(Next::Wait) => {
                    self.watcher.wait(None);
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl FusedIterator for Watch {}

/// Ends a [`Watch`] from another thread; see [`Watch::stopper`]. Clones end the same one.
#[derive(Clone, Debug)]
pub struct WatchStopper {
    stopper: Stopper,
}

impl WatchStopper {
    /// Ends the watch: from then on it gives nothing, whatever waits for it or is being read. Never waits.
    ///
    /// ```
    /// # let store = annals::Store::in_memory()?;
    /// # let bucket = store.create_bucket(annals::BucketConfig::new("b"))?;
    /// let watch = bucket.watch(">")?;
    /// let stopper = watch.stopper();
    /// let reader = std::thread::spawn(move || watch.count());
    /// stopper.stop();
    /// assert!(reader.join().unwrap() <= 1);
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn stop(&self) {
        self.stopper.stop();
    }
}

impl From<Notice> for Event {
    fn from(notice: Notice) -> Self {
        match notice {
            Notice::Entry(entry) => Self::Entry(entry),
            Notice::UpToDate => Self::UpToDate,
            Notice::Progress { revision, durable } => Self::Progress { revision, durable },
            Notice::Skipped { from, to } => Self::Skipped { from, to },
            Notice::Purged { through } => Self::Purged { through },
        }
    }
}
