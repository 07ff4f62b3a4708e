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
    state: Mutex<State>,
    /// Held during a sync. Taken before `state`.
    turn: Mutex<()>,
    durable: AtomicU64,
}

#[derive(Debug)]
struct State {
    /// Oldest first; the last one is being written.
    files: Vec<TailFile>,
    written: CommitNumber,
}

/// A log file that may hold bytes which no sync has covered.
#[derive(Clone, Debug)]
pub(super) struct TailFile {
    number: FileNumber,
    path: PathBuf,
    file: Arc<dyn File>,
    unsynced_bytes: u64,
}

impl TailFile {
    pub(super) fn of(log: &LogFile) -> Self {
        Self { number: log.number(), path: log.path().to_owned(), file: log.file(), unsynced_bytes: 0 }
    }
}

impl State {
    fn unsynced_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.unsynced_bytes).sum()
    }
}

impl Tail {
    pub(super) fn new(active: TailFile, written: CommitNumber) -> Self {
        Self {
            state: Mutex::new(State { files: vec![active], written }),
            turn: Mutex::new(()),
            durable: AtomicU64::new(written.0),
        }
    }

    pub(super) fn durable(&self) -> CommitNumber {
        CommitNumber(self.durable.load(Ordering::Acquire))
    }

    /// Commits up to `commit` are durable by other means: they are in a segment that the manifest names. Log files up to `log` go.
    pub(super) fn settled(&self, commit: CommitNumber, log: FileNumber) {
        self.state.lock().files.retain(|file| file.number > log);
        self.durable.fetch_max(commit.0, Ordering::AcqRel);
    }

    /// A record of `bytes` that ends with `commit` was written; answers how many bytes no sync has covered now.
    pub(super) fn wrote(&self, commit: CommitNumber, bytes: u64) -> u64 {
        let mut state = self.state.lock();
        state.written = commit;
        if let Some(active) = state.files.last_mut() {
            active.unsynced_bytes += bytes;
        }
        state.unsynced_bytes()
    }

    /// Records go to `next` from now on.
    pub(super) fn rotated(&self, next: TailFile) {
        self.state.lock().files.push(next);
    }

    pub(super) fn unsynced_bytes(&self) -> u64 {
        self.state.lock().unsynced_bytes()
    }

    /// Whether a file that is no longer written waits for its sync.
    pub(super) fn has_sealed(&self) -> bool {
        self.state.lock().files.len() > 1
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
        let (files, written) = {
            let state = self.state.lock();
            (state.files.clone(), state.written)
        };
        // Oldest first, so that what a crash leaves is a prefix.
        for file in &files {
            if let Err(error) = file.file.sync_data() {
                return Err(health.poison(Error::io("sync the log", &file.path, error), self.durable()));
            }
        }
        let mut state = self.state.lock();
        let newest = files.last().map(|file| file.number);
        state.files.retain(|file| Some(file.number) >= newest);
        for file in &mut state.files {
            let synced = files.iter().find(|synced| synced.number == file.number).map_or(0, |synced| synced.unsynced_bytes);
            file.unsynced_bytes = file.unsynced_bytes.saturating_sub(synced);
        }
        drop(state);
        self.durable.fetch_max(written.0, Ordering::AcqRel);
        Ok(self.durable())
    }
}

#[cfg(test)]
mod tests;
