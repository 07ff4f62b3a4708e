//! Reading and replacing the file `MANIFEST`.
//!
//! A replacement is written beside the file, synced, and renamed over it; then the directory is synced. Until the rename the
//! old state is what a crash leaves; between the rename and the end of the directory's sync either may come back, so until then
//! nothing that either of them names may be deleted, and no number be used again. [`StoreError`] keeps the two cases apart.

use std::io;
use std::path::Path;

use crate::env::{Fs, read_full_at, write_all_at};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::Manifest;
use crate::manifest::format::{FILE_LEN_MAX, FORMAT_VERSION, ManifestError};

/// The file's name: a store is where this is.
pub(crate) const MANIFEST_NAME: &str = "MANIFEST";
/// The name of a replacement that is not in place yet.
pub(crate) const MANIFEST_TMP_NAME: &str = "MANIFEST.tmp";

/// Why a manifest was not replaced.
#[derive(Clone, Debug)]
pub(crate) enum StoreError {
    /// The old state is what it was; it may be tried again.
    Before(Error),
    /// The rename, or the sync that makes it durable, failed: either state may come back. The store must take no more writes.
    Ambiguous(Error),
}

impl StoreError {
    /// The error for a caller.
    #[cfg(test)]
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Before(error) => error,
            Self::Ambiguous(error) => error.indeterminate(),
        }
    }
}

/// The manifest of `dir`; none if there is no file of that name.
pub(crate) fn load(fs: &dyn Fs, dir: &Path) -> Result<Option<Manifest>> {
    let path = dir.join(MANIFEST_NAME);
    let file = match fs.open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open the manifest", &path, error)),
    };
    let len = file.len().map_err(|error| Error::io("read the manifest's length", &path, error))?;
    if len > FILE_LEN_MAX {
        return Err(Error::corrupt(&path, FILE_LEN_MAX, format!("the manifest is damaged: {len} bytes long")));
    }
    let mut bytes = vec![0; len as usize];
    let read = read_full_at(&*file, &mut bytes, 0).map_err(|error| Error::io("read the manifest", &path, error))?;
    bytes.truncate(read);
    Manifest::decode(&bytes).map(Some).map_err(|error| refused(error, &path))
}

fn refused(error: ManifestError, path: &Path) -> Error {
    match error {
        ManifestError::Corrupt(error) => {
            Error::corrupt(path, error.at as u64, format!("the manifest is damaged: {} expected", error.what))
        }
        ManifestError::OtherVersion(version) => Error::new(
            ErrorKind::UnsupportedFormat,
            format!("the manifest has format version {version}, this program knows {FORMAT_VERSION}; open it with a newer one"),
        )
        .with_file(path),
    }
}

/// Replaces the manifest of `dir`.
pub(crate) fn store(fs: &dyn Fs, dir: &Path, manifest: &Manifest) -> std::result::Result<(), StoreError> {
    let path = dir.join(MANIFEST_NAME);
    let tmp = dir.join(MANIFEST_TMP_NAME);
    write_tmp(fs, &tmp, manifest).map_err(StoreError::Before)?;
    // From here on an error is not a full disk that space would mend, whatever its number: the new state may be there.
    let ambiguous = |error: Error| StoreError::Ambiguous(error.with_kind(ErrorKind::Io));
    fs.rename(&tmp, &path).map_err(|error| ambiguous(Error::io("replace the manifest", &path, error)))?;
    fs.sync_dir(dir).map_err(|error| ambiguous(Error::io("sync the directory of the manifest", dir, error)))
}

fn write_tmp(fs: &dyn Fs, tmp: &Path, manifest: &Manifest) -> Result<()> {
    // A state that could not be read back must not take the place of one that can.
    if let Err(what) = manifest.check() {
        return Err(Error::corrupt(tmp, 0, format!("refused to store a manifest without {what}")));
    }
    let bytes = manifest.encode();
    if bytes.len() as u64 > FILE_LEN_MAX {
        return Err(Error::new(ErrorKind::NoSpace, "the manifest is full: more than 1 GiB").with_file(tmp));
    }
    match fs.remove(tmp) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io("remove an unfinished manifest", tmp, error)),
    }
    let file = fs.create_new(tmp).map_err(|error| Error::io("create a manifest", tmp, error))?;
    let written = write_all_at(&*file, &bytes, 0)
        .map_err(|error| Error::io("write a manifest", tmp, error))
        .and_then(|()| file.sync_all().map_err(|error| Error::io("sync a manifest", tmp, error)));
    if written.is_err() {
        // It may hold the very space that is missing. The first error is the one that counts.
        let _ = fs.remove(tmp);
    }
    written
}
