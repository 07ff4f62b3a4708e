//! The store's directory: that it is there, that it is ours, who holds it, and what lies in it.
//!
//! Nothing is created in a directory that holds other files, and nothing is removed that is not ours by name and by number.

use std::io;
use std::path::Path;

use super::core::{own_file_number, segment_name};
use super::keeper::RESERVE_NAME;
use super::settings::Settings;
use crate::env::{Env, Lock, LockMode};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{self, Manifest};
use crate::number::FileNumber;
use crate::wal;

const LOCK_NAME: &str = "LOCK";

/// Step 0: the directory is there, and is a store's or an empty one. Nothing is created in a directory that is neither.
pub(super) fn make_directory(env: &Env, directory: &Path, settings: &Settings) -> Result<()> {
    match env.fs.list(directory) {
        Ok(names) => {
            check_strangers(directory, &names)?;
            if names.iter().any(|name| name == manifest::MANIFEST_NAME) {
                return Ok(());
            }
            if settings.create_if_missing {
                // Whoever made the directory may have been stopped before its name was durable.
                return sync_parent(env, directory);
            }
            Err(Error::io("find a store", directory, io::ErrorKind::NotFound.into()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && settings.create_if_missing => {
            env.fs.create_dir(directory).map_err(|error| Error::io("create the store's directory", directory, error))?;
            sync_parent(env, directory)
        }
        Err(error) => Err(Error::io("list the store's directory", directory, error)),
    }
}

/// Makes the name of the store's directory durable.
fn sync_parent(env: &Env, directory: &Path) -> Result<()> {
    let parent = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    env.fs.sync_dir(parent).map_err(|error| Error::io("sync the directory above the store", parent, error))
}

/// Refuses files without a manifest: a store that lost it, or something that never was one.
pub(super) fn check_strangers(directory: &Path, names: &[String]) -> Result<()> {
    if names.iter().any(|name| name == manifest::MANIFEST_NAME) {
        return Ok(());
    }
    let bootstrap = [LOCK_NAME, manifest::MANIFEST_TMP_NAME, "lost+found"];
    let mut others: Vec<&String> = names.iter().filter(|name| !bootstrap.contains(&name.as_str())).collect();
    others.sort_unstable();
    let Some(first) = others.first() else { return Ok(()) };
    if others.iter().any(|name| own_file_number(name).is_some()) {
        let message = format!("the manifest is missing beside {} files of a store, such as {first}", others.len());
        return Err(Error::corrupt(&directory.join(manifest::MANIFEST_NAME), 0, message));
    }
    let message = format!("not a store: the directory holds {} other files, such as {first}; use an empty one", others.len());
    Err(Error::new(ErrorKind::InvalidArgument, message).with_file(directory))
}

/// Step 1.
pub(super) fn lock(env: &Env, directory: &Path) -> Result<Box<dyn Lock>> {
    let path = directory.join(LOCK_NAME);
    env.fs.lock(&path, LockMode::Exclusive).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            let message = "the store is open already, here or in another process; close it there first";
            Error::new(ErrorKind::Locked, message).with_file(directory)
        }
        _ => Error::io("lock the store", &path, error),
    })
}

/// What lies in the directory, sorted by what it is (step 3).
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Log files that are replayed.
    pub(super) logs: Vec<FileNumber>,
    pub(super) old_logs: Vec<String>,
    /// Segments that the manifest names.
    pub(super) segments: Vec<String>,
    /// Torn tails that were kept for people.
    pub(super) tails: Vec<String>,
    /// Ours by name, named by nothing.
    pub(super) orphans: Vec<String>,
    pub(super) foreign: Vec<String>,
}

impl Listing {
    pub(super) fn read(env: &Env, directory: &Path, manifest: &Manifest) -> Result<Self> {
        let mut names = env.fs.list(directory).map_err(|error| Error::io("list the store's directory", directory, error))?;
        names.sort_unstable();
        let mut listing = Self::default();
        for name in names {
            let known = [manifest::MANIFEST_NAME, LOCK_NAME, RESERVE_NAME, "lost+found"];
            if known.contains(&name.as_str()) {
                continue;
            }
            listing.sort_in(name, directory, manifest)?;
        }
        for listed in &manifest.logs {
            if *listed >= manifest.log_floor && !listing.logs.contains(listed) {
                let path = directory.join(wal::file_name(*listed));
                return Err(Error::corrupt(&path, 0, "a log file that the manifest names is missing"));
            }
        }
        Ok(listing)
    }

    fn sort_in(&mut self, name: String, directory: &Path, manifest: &Manifest) -> Result<()> {
        if name == manifest::MANIFEST_TMP_NAME {
            // The next edit of the manifest takes its place.
            return Ok(());
        }
        let Some(number) = own_file_number(&name) else {
            self.foreign.push(name);
            return Ok(());
        };
        if number >= manifest.file_ceiling {
            let message =
                format!("file number at or above {}, which the manifest never gave out: it is stale", manifest.file_ceiling);
            return Err(Error::corrupt(&directory.join(name), 0, message));
        }
        match wal::parse_file_name(&name) {
            Some(number) if number >= manifest.log_floor => self.logs.push(number),
            Some(_) => self.old_logs.push(name),
            None if name.ends_with(".tail") => self.tails.push(name),
            None if manifest.segments.iter().any(|segment| segment_name(segment.number) == name) => self.segments.push(name),
            None => self.orphans.push(name),
        }
        Ok(())
    }
}
