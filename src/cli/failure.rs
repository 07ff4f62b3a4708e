//! What ends a command early: what happened, to what, what to do next, and the exit code that says it to a script.
//!
//! The codes are documented in `--help` (see `args`); a test holds the two together.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};

use annals::{Error, ErrorKind, Outcome};
use serde_json::{Value as Json, json};

/// The exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Done = 0,
    NotFound = 1,
    Usage = 2,
    Condition = 3,
    Unusable = 4,
    Corrupt = 5,
    Io = 6,
    Skipped = 7,
}

/// The result of all that a command does.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

#[derive(Debug)]
pub(crate) enum Failure {
    /// The library refused; `action` says what was tried, on what.
    Store { action: String, error: Error },
    /// There is no store in the directory.
    NoStore(PathBuf),
    /// What was asked for is not there.
    NotFound { what: String, next: String },
    /// The arguments do not fit each other or the world.
    Usage { what: String, next: String },
    /// The bucket has another configuration than asked for.
    Exists { what: String, next: String },
    /// A file or process of the user's, not of the store's.
    System { action: String, source: io::Error },
    /// Acknowledged writes are missing.
    Lost { acknowledged: u64, lost: u64 },
    /// A promise of the library or of this program did not hold.
    Broken(String),
    /// The answer could not be printed.
    Output(io::Error),
}

impl Failure {
    pub(crate) fn system(action: impl Into<String>, path: &Path, source: io::Error) -> Self {
        Self::System { action: format!("{} {}", action.into(), path.display()), source }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Store { error, .. } => exit_of(error.kind()),
            Self::NoStore(_) => Exit::Unusable,
            Self::NotFound { .. } => Exit::NotFound,
            Self::Usage { .. } => Exit::Usage,
            Self::Exists { .. } => Exit::Condition,
            Self::System { .. } => Exit::Io,
            Self::Lost { .. } | Self::Broken(_) => Exit::Corrupt,
            // Who stops reading early, as `head` does, has got what it wanted.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Output(_) => Exit::Io,
        }
    }

    fn kind(&self) -> String {
        match self {
            Self::Store { error, .. } => format!("{:?}", error.kind()),
            Self::NoStore(_) => "NoStore".to_owned(),
            Self::NotFound { .. } => "NotFound".to_owned(),
            Self::Usage { .. } => "Usage".to_owned(),
            Self::Exists { .. } => format!("{:?}", ErrorKind::BucketExists),
            Self::System { .. } | Self::Output(_) => format!("{:?}", ErrorKind::Io),
            Self::Lost { .. } => "Lost".to_owned(),
            Self::Broken(_) => "Broken".to_owned(),
        }
    }

    /// What happened, to what: one line.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Store { action, error } => {
                let mut message = format!("cannot {action}: {error}");
                let mut source = error.source();
                while let Some(cause) = source {
                    message.push_str(&format!(": {cause}"));
                    source = cause.source();
                }
                message
            }
            Self::NoStore(directory) => format!("there is no store in {}", directory.display()),
            Self::NotFound { what, .. } | Self::Usage { what, .. } | Self::Exists { what, .. } => what.clone(),
            Self::System { action, source } => format!("cannot {action}: {source}"),
            Self::Lost { acknowledged, lost } => format!("of {acknowledged} acknowledged writes {lost} are lost"),
            Self::Broken(what) => what.clone(),
            Self::Output(error) => format!("cannot print the answer: {error}"),
        }
    }

    /// What to do next: one line.
    pub(crate) fn next(&self) -> String {
        match self {
            Self::Store { error, .. } => next_after(error),
            Self::NoStore(_) => "check --store; `bucket add` and `import` create a store".to_owned(),
            Self::NotFound { next, .. } | Self::Usage { next, .. } | Self::Exists { next, .. } => next.clone(),
            Self::System { .. } => "check the path, its permissions and the space left, then try again".to_owned(),
            Self::Lost { .. } | Self::Broken(_) => {
                "this must never happen: please report it, with the store (see --keep)".to_owned()
            }
            Self::Output(_) => "check where stdout leads to; a write may have been applied".to_owned(),
        }
    }

    pub(crate) fn json(&self) -> Json {
        let mut body = json!({
            "kind": self.kind(), "message": self.message(), "next": self.next(), "exit_code": self.exit() as u8,
        });
        if let Self::Store { error, .. } = self {
            if let Some(revision) = error.actual_revision() {
                body["actual_revision"] = revision.get().into();
            }
            if let Some(file) = error.file() {
                body["file"] = file.to_string_lossy().into();
            }
            if let Some(offset) = error.offset() {
                body["offset"] = offset.into();
            }
            body["applied"] = if error.outcome() == Outcome::NotApplied { false.into() } else { Json::Null };
        }
        json!({ "error": body })
    }
}

/// Adds what was tried to an error of the library.
pub(crate) trait Context<T> {
    fn trying(self, action: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for annals::Result<T> {
    fn trying(self, action: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Failure::Store { action: action(), error })
    }
}

const fn exit_of(kind: ErrorKind) -> Exit {
    match kind {
        ErrorKind::BucketNotFound | ErrorKind::Compacted => Exit::NotFound,
        ErrorKind::InvalidKey | ErrorKind::InvalidBucketName | ErrorKind::InvalidArgument | ErrorKind::ValueTooLarge => {
            Exit::Usage
        }
        ErrorKind::WrongRevision | ErrorKind::AlreadyExists | ErrorKind::BucketExists => Exit::Condition,
        ErrorKind::Locked | ErrorKind::Closed | ErrorKind::UnsupportedFormat | ErrorKind::Poisoned => Exit::Unusable,
        ErrorKind::Corrupt => Exit::Corrupt,
        _ => Exit::Io,
    }
}

fn next_after(error: &Error) -> String {
    if error.outcome() == Outcome::Indeterminate {
        return "the write may or may not have been applied: read before you repeat it".to_owned();
    }
    let revision = error.actual_revision().unwrap_or_default();
    match error.kind() {
        ErrorKind::WrongRevision => {
            format!("the key is at revision {revision}: read it again, and repeat with --revision {revision} if it still suits")
        }
        ErrorKind::AlreadyExists => {
            format!("it has a value at revision {revision}: `update --revision {revision}` replaces that one, `put` any")
        }
        ErrorKind::InvalidKey => {
            "a key is tokens of A-Z a-z 0-9 - _ / = with single dots between them, at most 4000 bytes".to_owned()
        }
        ErrorKind::InvalidBucketName => "a bucket name is made of A-Z a-z 0-9 - _, at most 252 bytes".to_owned(),
        ErrorKind::InvalidArgument => "see --help for the range of the options".to_owned(),
        ErrorKind::Compacted => match error.floor() {
            Some(floor) => format!("what it was then is not retained; revision {floor} is the next that can be asked for"),
            None => "what it was then is not retained".to_owned(),
        },
        ErrorKind::BucketNotFound => "`bucket ls` lists the buckets, `bucket add` creates one".to_owned(),
        ErrorKind::BucketExists => "`bucket info` shows its configuration; give the same one, or another name".to_owned(),
        ErrorKind::ValueTooLarge => "store less under one key, or use a bucket with a larger --max-value-size".to_owned(),
        ErrorKind::NoSpace | ErrorKind::BucketFull => "nothing was applied: free space and try again".to_owned(),
        ErrorKind::Locked => "another program has the store open: wait for it or end it, then try again".to_owned(),
        ErrorKind::Corrupt => "copy the directory away before anything else, then restore the file from a backup".to_owned(),
        ErrorKind::UnsupportedFormat => "use the version of annals that wrote the store, or a newer one".to_owned(),
        ErrorKind::Poisoned | ErrorKind::Closed => "open the store again: run the command once more".to_owned(),
        _ => "check the path, its permissions and the space left, then try again".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;
    use clap::CommandFactory;

    #[test]
    fn every_exit_code_is_in_the_help() {
        let help = Args::command().render_long_help().to_string();
        for exit in
            [Exit::Done, Exit::NotFound, Exit::Usage, Exit::Condition, Exit::Unusable, Exit::Corrupt, Exit::Io, Exit::Skipped]
        {
            assert!(help.contains(&format!("\n  {}  ", exit as u8)), "{exit:?}");
        }
    }

    #[test]
    fn a_reader_that_stops_early_is_no_failure() {
        assert_eq!(Failure::Output(io::ErrorKind::BrokenPipe.into()).exit(), Exit::Done);
        assert_eq!(Failure::Output(io::ErrorKind::StorageFull.into()).exit(), Exit::Io);
    }

    #[test]
    fn an_error_of_the_library_keeps_its_kind_and_gains_what_was_tried() {
        let error = annals::Key::new("").unwrap_err();
        let failure = Failure::Store { action: "put the empty key".to_owned(), error };
        assert_eq!(failure.exit(), Exit::Usage);
        assert!(failure.message().starts_with("cannot put the empty key: "), "{}", failure.message());
        let json = failure.json();
        assert_eq!(json["error"]["kind"], "InvalidKey");
        assert_eq!(json["error"]["exit_code"], 2);
        assert_eq!(json["error"]["applied"], false);
    }
}
