//! How far the log is durable: the files that hold commits which no sync has covered, and the one place that syncs them.
//!
//! A failed sync is never tried again (the kernel may have dropped the pages and forgotten the error): it poisons the store. For the same
//! reason syncs take turns, and each looks at the store's health once it has its turn: an error that another caller was told must not be
//! followed by an `Ok` that covers the same bytes.

use std::path::PathBuf;
use std::sync::Arc;

use super::health::Health;
use crate::env::File;
use crate::env::sync::{AtomicU64, Mutex, Ordering};
use crate::error::{Error, Result};
use crate::number::{CommitNumber, FileNumber};
use crate::wal::LogFile;

/// One per store.
#[derive(Debug)]
pub(super) struct Tail {
    /// Oldest first; the last one is being written.
    files: Mutex<Vec<TailFile>>,
    /// Held during a sync. Taken before `files`.
    turn: Mutex<()>,
    /// The newest commit that was written, and how many bytes of records were since the store was opened. Only the leader writes them, once
    /// its record is in a file of `files`.
    written: AtomicU64,
    appended: AtomicU64,
    /// How many of these bytes a sync has covered, or a segment made needless.
    synced: AtomicU64,
    durable: AtomicU64,
}

/// A log file that may hold bytes which no sync has covered.
#[derive(Clone, Debug)]
pub(super) struct TailFile {
    number: FileNumber,
    path: PathBuf,
    file: Arc<dyn File>,
    /// How many bytes of records were appended to the files before it.
    start: u64,
}

impl TailFile {
    pub(super) fn of(log: &LogFile) -> Self {
        Self { number: log.number(), path: log.path().to_owned(), file: log.file(), start: 0 }
    }
}

impl Tail {
    pub(super) fn new(active: TailFile, written: CommitNumber) -> Self {
        Self {
            files: Mutex::new(vec![active]),
            turn: Mutex::new(()),
            written: AtomicU64::new(written.0),
            appended: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            durable: AtomicU64::new(written.0),
        }
    }

    pub(super) fn durable(&self) -> CommitNumber {
        CommitNumber(self.durable.load(Ordering::Acquire))
    }

    /// Commits up to `commit` are durable by other means: they are in a segment that the manifest names. Log files up to `log` go.
    pub(super) fn settled(&self, commit: CommitNumber, log: FileNumber) {
        let mut files = self.files.lock();
        files.retain(|file| file.number > log);
        if let Some(oldest) = files.first() {
            self.synced.fetch_max(oldest.start, Ordering::AcqRel);
        }
        drop(files);
        self.durable.fetch_max(commit.0, Ordering::AcqRel);
    }

    /// A record of `bytes` that ends with `commit` was written; answers how many bytes no sync has covered now. Only for the leader.
    pub(super) fn wrote(&self, commit: CommitNumber, bytes: u64) -> u64 {
        let appended = self.appended.load(Ordering::Relaxed) + bytes;
        self.appended.store(appended, Ordering::Release);
        self.written.store(commit.0, Ordering::Release);
        appended - self.synced.load(Ordering::Acquire)
    }

    /// Records go to `next` from now on.
    pub(super) fn rotated(&self, next: TailFile) {
        let start = self.appended.load(Ordering::Relaxed);
        self.files.lock().push(TailFile { start, ..next });
    }

    pub(super) fn unsynced_bytes(&self) -> u64 {
        // In this order: what is synced was appended before.
        let synced = self.synced.load(Ordering::Acquire);
        self.appended.load(Ordering::Acquire) - synced
    }

    /// Whether a file that is no longer written waits for its sync.
    pub(super) fn has_sealed(&self) -> bool {
        self.files.lock().len() > 1
    }

    /// Runs what syncs a log file by itself, with nobody else's sync beside it: each error is told to one caller only, so a sync that ran
    /// beside this one could be answered `Ok` for bytes that are lost. `run` must poison the store before it returns a failure.
    pub(super) fn alone<T>(&self, run: impl FnOnce() -> T) -> T {
        let _turn = self.turn.lock();
        run()
    }

    /// Makes everything written before the call durable; answers up to which commit.
    ///
    /// A failure poisons the store.
    pub(super) fn sync(&self, health: &Health) -> Result<CommitNumber> {
        let _turn = self.turn.lock();
        health.check_sound()?;
        // In this order: what was written by then is in the files that are listed after it, and all of it counts as appended.
        let written = self.written.load(Ordering::Acquire);
        let appended = self.appended.load(Ordering::Acquire);
        let files = self.files.lock().clone();
        // Oldest first, so that what a crash leaves is a prefix.
        for file in &files {
            if let Err(error) = file.file.sync_data() {
                return Err(health.poison(Error::io("sync the log", &file.path, error), self.durable()));
            }
        }
        let newest = files.last().map(|file| file.number);
        self.files.lock().retain(|file| Some(file.number) >= newest);
        self.synced.fetch_max(appended, Ordering::AcqRel);
        self.durable.fetch_max(written, Ordering::AcqRel);
        Ok(self.durable())
    }
}

#[cfg(test)]
mod tests;
