//! The manifest in memory and its replacement on disk, one edit at a time.
//!
//! File numbers come from here, because the manifest promises that none at or above its ceiling was ever given out: the ceiling is
//! raised on disk before a number beyond it is used, and after an open numbers go on at the old ceiling, so none is used twice.

use std::path::PathBuf;

use crate::env::Env;
use crate::error::Error;
use crate::manifest::{self, Manifest, StoreError};
use crate::number::FileNumber;
use crate::spec::ClockPair;

/// How many file numbers one manifest sets aside.
const NUMBERS_AHEAD: u64 = 1024;
/// Frees space for the manifest on a full disk.
pub(super) const RESERVE_NAME: &str = "RESERVE";

/// An edit that did not happen, or perhaps did.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: Error,
    /// Both the old and the new manifest may be there after a crash: nothing that either names may be deleted.
    pub(super) ambiguous: bool,
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Before(error) => Self { error, ambiguous: false },
            StoreError::Ambiguous(error) => Self { error, ambiguous: true },
        }
    }
}

/// Owns the manifest.
#[derive(Debug)]
pub(super) struct Keeper {
    env: Env,
    directory: PathBuf,
    manifest: Manifest,
    next_file: FileNumber,
}

impl Keeper {
    /// Of a manifest that is on disk, or of a new one that the next edit writes.
    pub(super) const fn new(env: Env, directory: PathBuf, manifest: Manifest) -> Self {
        let next_file = manifest.file_ceiling;
        Self { env, directory, manifest, next_file }
    }

    pub(super) const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The number that would be given out next.
    pub(super) const fn peek_file_number(&self) -> FileNumber {
        self.next_file
    }

    /// A number that was never given out.
    pub(super) fn next_file_number(&mut self) -> Result<FileNumber, Failed> {
        if self.next_file >= self.manifest.file_ceiling {
            // Whatever a clean close left is in use again.
            self.edit(|manifest| manifest.clean = false)?;
        }
        let number = self.next_file;
        self.next_file = FileNumber(number.0 + 1);
        Ok(number)
    }

    /// Writes that everything is in segments and no log is needed.
    pub(super) fn close(&mut self, clock: ClockPair) -> Result<(), Failed> {
        let next_file = self.next_file;
        self.edit(|manifest| {
            manifest.clean = true;
            manifest.log_floor = next_file;
            manifest.logs.clear();
            manifest.clock = clock;
        })
    }

    /// Replaces the manifest by what `change` makes of it, durably.
    pub(super) fn edit(&mut self, change: impl FnOnce(&mut Manifest)) -> Result<(), Failed> {
        let mut next = self.manifest.clone();
        change(&mut next);
        // A clean close sets nothing aside: nobody will take a number after it.
        next.file_ceiling = FileNumber(self.next_file.0 + if next.clean { 0 } else { NUMBERS_AHEAD });
        manifest::store(&*self.env.fs, &self.directory, &next)?;
        self.manifest = next;
        Ok(())
    }
}
