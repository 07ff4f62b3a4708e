//! The one public error: what happened, to what, and whether it was applied.
//!
//! An error carries numbers, paths and an `io::Error`, never a type of a higher floor. Kinds are few and sorted by what the
//! caller does next; the message carries the rest and is not API.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::number::{CommitNumber, Revision};

/// The result of everything here that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, to what, and what it means for the data.
///
/// Match on [`kind`](Error::kind), ask [`outcome`](Error::outcome) whether a failed write may still appear, and use the accessors for
/// the data; the text is for people. One pointer wide, cheap to clone.
///
/// ```
/// use annals::{BucketConfig, ErrorKind, Outcome, Revision, Store};
/// let store = Store::in_memory()?;
/// let bucket = store.create_bucket(BucketConfig::new("locks"))?;
/// let first = bucket.put("job", "a")?;
/// let error = bucket.update("job", "b", Revision::from(99)).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::WrongRevision);
/// assert_eq!(error.actual_revision(), Some(first));
/// assert_eq!(error.outcome(), Outcome::NotApplied);
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    outcome: Outcome,
    message: String,
    actual_revision: Option<Revision>,
    durable_commit: Option<CommitNumber>,
    floor: Option<Revision>,
    file: Option<PathBuf>,
    offset: Option<u64>,
    source: Option<Arc<io::Error>>,
}

/// The kinds of [`Error`], sorted by what a caller can do about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The key's latest revision is not the expected one; [`Error::actual_revision`] tells it. Read again and retry.
    WrongRevision,
    /// `create` found a value; [`Error::actual_revision`] tells its revision.
    AlreadyExists,
    /// A key or pattern is malformed or too long.
    InvalidKey,
    /// A bucket name is malformed or too long.
    InvalidBucketName,
    /// An argument or option is out of its range.
    InvalidArgument,
    /// No bucket of that name, or the handle's bucket was deleted.
    BucketNotFound,
    /// A bucket of that name exists with another configuration.
    BucketExists,
    /// The value is larger than the bucket or the store allows.
    ValueTooLarge,
    /// The bucket is at its `max_bytes`.
    BucketFull,
    /// The disk, a quota or a file-size limit is full. Nothing was applied; free space and try again, no reopen is needed.
    NoSpace,
    /// The past that was asked for has been trimmed.
    Compacted,
    /// The token comes from a future that a crash took back.
    Diverged,
    /// A watcher fell too far behind.
    Lagged,
    /// The directory is open already, in this process or another.
    Locked,
    /// Bytes on disk are not what was written; [`Error::file`] and [`Error::offset`] tell where.
    Corrupt,
    /// The directory was written by a newer format, or needs a feature that this build lacks.
    UnsupportedFormat,
    /// The operating system refused a call.
    Io,
    /// An earlier sync failed: no more writes until the store is closed and opened again.
    Poisoned,
    /// The store was closed.
    Closed,
}

/// Whether a write that failed may still take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was not applied and never will be.
    NotApplied,
    /// It is not visible now, and may or may not be there after the store is opened again.
    Indeterminate,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            outcome: Outcome::NotApplied,
            message: message.into(),
            actual_revision: None,
            durable_commit: None,
            floor: None,
            file: None,
            offset: None,
            source: None,
        }))
    }

    /// A call on `path` that the operating system refused; a full disk, quota or size limit becomes [`ErrorKind::NoSpace`].
    pub(crate) fn io(action: &str, path: &Path, source: io::Error) -> Self {
        let (kind, hint) = match source.kind() {
            io::ErrorKind::StorageFull => (ErrorKind::NoSpace, "; free space and try again"),
            io::ErrorKind::QuotaExceeded => (ErrorKind::NoSpace, "; raise the quota or free space and try again"),
            io::ErrorKind::FileTooLarge => (ErrorKind::NoSpace, "; raise the file size limit and try again"),
            _ => (ErrorKind::Io, ""),
        };
        let mut error = Self::new(kind, format!("cannot {action}{hint}")).with_file(path);
        error.0.source = Some(Arc::new(source));
        error
    }

    /// Bytes of `file` that are not what was written.
    pub(crate) fn corrupt(file: &Path, offset: u64, what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, what).with_file(file).with_offset(offset)
    }

    pub(crate) fn with_file(mut self, file: &Path) -> Self {
        self.0.file = Some(file.to_owned());
        self
    }

    pub(crate) fn with_offset(mut self, offset: u64) -> Self {
        self.0.offset = Some(offset);
        self
    }

    pub(crate) fn with_actual_revision(mut self, revision: Revision) -> Self {
        self.0.actual_revision = Some(revision);
        self
    }

    pub(crate) fn with_floor(mut self, floor: Revision) -> Self {
        self.0.floor = Some(floor);
        self
    }

    pub(crate) fn with_durable_commit(mut self, commit: CommitNumber) -> Self {
        self.0.durable_commit = Some(commit);
        self
    }

    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    pub(crate) fn not_applied(mut self) -> Self {
        self.0.outcome = Outcome::NotApplied;
        self
    }

    pub(crate) fn indeterminate(mut self) -> Self {
        self.0.outcome = Outcome::Indeterminate;
        self
    }

    /// What went wrong, to match on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the failed call may still take effect.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.0.outcome
    }

    /// The key's latest revision, when a condition failed; [`Revision::NONE`] if it has none.
    #[must_use]
    pub fn actual_revision(&self) -> Option<Revision> {
        self.0.actual_revision
    }

    /// The newest commit known to be durable, when a sync failed: acknowledged commits after it may be gone.
    #[must_use]
    pub fn durable_commit(&self) -> Option<CommitNumber> {
        self.0.durable_commit
    }

    /// When the past that was asked for has been trimmed: the revision from which on it has not been. As of that revision a past can be
    /// read, and what came after it can be listed and watched.
    #[must_use]
    pub fn floor(&self) -> Option<Revision> {
        self.0.floor
    }

    /// The file that it happened to.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// The offset in [`file`](Error::file), in bytes.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        formatter.write_str(&inner.message)?;
        if let Some(file) = &inner.file {
            write!(formatter, ", file={}", file.display())?;
        }
        if let Some(offset) = inner.offset {
            write!(formatter, " offset={offset}")?;
        }
        if let Some(commit) = inner.durable_commit {
            write!(formatter, " durable_commit={commit}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        write!(formatter, "{:?} ({:?}): {self}", inner.kind, inner.outcome)?;
        if let Some(source) = &inner.source {
            write!(formatter, ": {source}")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}
