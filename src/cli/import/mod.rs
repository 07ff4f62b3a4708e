//! A directory tree as entries: each file's path is its key, each file's content its value.
//!
//! Used by the verb `import` and by the tour. Several workers share the list of files, so that commits which wait for the disk
//! wait together. Each file is compared with the stored value and written only if it differs, by compare-and-set on the revision
//! that was compared: a writer beside the import is never overwritten unseen. What cannot be stored is counted and named, never
//! passed over in silence. Files that change while they are read are stored as they were read: this is no snapshot of the tree.

mod report;
mod walk;

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use annals::{Bucket, BucketConfig, ErrorKind, Operation, Revision, Store};
use indicatif::ProgressBar;
use rustix::fs::OFlags;

use crate::args::ImportArgs;
use crate::failure::{Context, Exit, Failure, Result};
use crate::output::{COUNT_BAR, Output, progress};
use crate::path_key;

pub(crate) use report::Report;
use report::SkipKind;
pub(crate) use walk::{Bounds, walk};

const WORKERS: usize = 8;
/// How often a file is compared and written anew after somebody else's write came between.
const RETRIES_MAX: u32 = 3;
const HISTORY_DEFAULT: u8 = 5;
/// The limit on values of a store that is opened with the library's defaults, in bytes; buckets can only lower it.
const STORE_VALUE_LEN_MAX: u64 = 16 << 20;

/// The verb `import`, in a store that is open.
pub(crate) fn import(args: &ImportArgs, store: &Store, directory: &Path, output: &mut Output) -> Result<Exit> {
    let bucket = target(store, args)?;
    let found = walk(&args.source, Bounds { store: Some(directory), ..Bounds::default() }, args.verbose);
    let bar = progress(found.files.len() as u64, COUNT_BAR).with_message("files");
    let run =
        Run { bucket: &bucket, source: &args.source, files: &found.files, verbose: args.verbose, deadline: None, bar: &bar };
    let stored = run.store_files();
    bar.finish_and_clear();
    let mut report = stored?;
    report.skipped.merge(found.skipped);
    run.look_for_gone(args.delete_missing, &mut report)?;
    if output.is_json() {
        output.line(report.json(bucket.name()))?;
    } else {
        output.line(format_args!("{} -> bucket {}", args.source.display(), bucket.name()))?;
        output.line(report.text())?;
    }
    Ok(if report.skipped.total() == 0 { Exit::Done } else { Exit::Skipped })
}

/// Refuses a source that is no directory, before a store is created for it.
pub(crate) fn check_source(source: &Path) -> Result<()> {
    let metadata = std::fs::metadata(source).map_err(|error| Failure::system("read", source, error))?;
    if metadata.is_dir() {
        return Ok(());
    }
    let what = format!("{} is not a directory", source.display());
    Err(Failure::Usage { what, next: "import takes a directory; `put --file` stores one file".to_owned() })
}

fn target(store: &Store, args: &ImportArgs) -> Result<Bucket> {
    match store.bucket(&args.bucket) {
        Ok(bucket) => {
            let kept = bucket.config().trying(|| format!("read the configuration of bucket {}", args.bucket))?.history_depth();
            match args.history {
                Some(asked) if asked != kept => Err(Failure::Exists {
                    what: format!("bucket {} exists and keeps {kept} entries of each key, not {asked}", args.bucket),
                    next: "leave --history out, or name another bucket".to_owned(),
                }),
                _ => Ok(bucket),
            }
        }
        Err(error) if error.kind() == ErrorKind::BucketNotFound => {
            let config = BucketConfig::new(&args.bucket).history(args.history.unwrap_or(HISTORY_DEFAULT));
            store.create_bucket(config).trying(|| format!("create bucket {}", args.bucket))
        }
        Err(error) => Err(error).trying(|| format!("open bucket {}", args.bucket)),
    }
}

/// One pass over a list of files.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) bucket: &'a Bucket,
    pub(crate) source: &'a Path,
    /// Relative to the source.
    pub(crate) files: &'a [PathBuf],
    pub(crate) verbose: bool,
    /// When to stop: files that were not come to by then are left out, the last ones of the list.
    pub(crate) deadline: Option<Instant>,
    pub(crate) bar: &'a ProgressBar,
}

#[derive(Debug)]
enum Stored {
    New,
    Changed,
    Unchanged,
    Skipped(SkipKind, Option<io::Error>),
}

impl Run<'_> {
    /// Stores what differs from what is stored; the first error of the store ends all workers.
    pub(crate) fn store_files(&self) -> Result<Report> {
        let start = Instant::now();
        let value_len_max = self.value_len_max()?;
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let results: Vec<Result<Report>> = thread::scope(|scope| {
            let workers: Vec<_> = (0..WORKERS)
                .map(|_| {
                    scope.spawn(|| self.work(&next, &stop, value_len_max).inspect_err(|_| stop.store(true, Ordering::Relaxed)))
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        let mut sum = Report::new(self.verbose);
        for result in results {
            sum.merge(result?);
        }
        sum.elapsed = start.elapsed();
        Ok(sum)
    }

    fn value_len_max(&self) -> Result<u64> {
        let config = self.bucket.config().trying(|| format!("read the configuration of bucket {}", self.bucket.name()))?;
        Ok(config.value_size_limit().unwrap_or(STORE_VALUE_LEN_MAX).min(STORE_VALUE_LEN_MAX))
    }

    fn work(&self, next: &AtomicUsize, stop: &AtomicBool, value_len_max: u64) -> Result<Report> {
        let mut report = Report::new(self.verbose);
        let mut content = Vec::new();
        while !stop.load(Ordering::Relaxed) && self.deadline.is_none_or(|deadline| Instant::now() < deadline) {
            let Some(path) = self.files.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            report.files += 1;
            let len = |content: &Vec<u8>| content.len() as u64;
            match self.store_file(path, value_len_max, &mut content)? {
                Stored::New => (report.new, report.bytes_written) = (report.new + 1, report.bytes_written + len(&content)),
                Stored::Changed => {
                    (report.changed, report.bytes_written) = (report.changed + 1, report.bytes_written + len(&content))
                }
                Stored::Unchanged => report.unchanged += 1,
                Stored::Skipped(kind, error) => report.skipped.add(kind, path, error.as_ref()),
            }
            report.bytes_read += len(&content);
            self.bar.inc(1);
        }
        Ok(report)
    }

    fn store_file(&self, path: &Path, value_len_max: u64, content: &mut Vec<u8>) -> Result<Stored> {
        content.clear();
        let Some(key) = path_key::encode(path) else { return Ok(Stored::Skipped(SkipKind::NotRegular, None)) };
        if annals::Key::new(&key).is_err() {
            return Ok(Stored::Skipped(SkipKind::KeyTooLong, None));
        }
        match read_file(&self.source.join(path), value_len_max, content) {
            Ok(None) => self.write(&key, content, || {}),
            Ok(Some(kind)) => Ok(Stored::Skipped(kind, None)),
            Err(error) => Ok(Stored::Skipped(walk::kind_of(Some(&error)), Some(error))),
        }
    }

    /// Compares and writes, again if somebody else wrote in between. `between` is where tests are somebody else.
    fn write(&self, key: &str, content: &[u8], mut between: impl FnMut()) -> Result<Stored> {
        for _ in 0..=RETRIES_MAX {
            let stored = self.bucket.entry(key).trying(|| format!("read {key} of bucket {}", self.bucket.name()))?;
            between();
            let (written, kind) = match stored {
                Some(entry) if entry.operation() == Operation::Put && *entry.value() == *content => return Ok(Stored::Unchanged),
                Some(entry) if entry.operation() == Operation::Put => {
                    (self.bucket.update(key, content, entry.revision()), Stored::Changed)
                }
                Some(marker) => (self.bucket.update(key, content, marker.revision()), Stored::New),
                None => (self.bucket.create(key, content), Stored::New),
            };
            match written {
                Ok(_) => return Ok(kind),
                Err(error) if is_conflict(error.kind()) => {}
                Err(error) if error.kind() == ErrorKind::ValueTooLarge => return Ok(Stored::Skipped(SkipKind::TooLarge, None)),
                Err(error) => return Err(error).trying(|| format!("write {key} to bucket {}", self.bucket.name())),
            }
        }
        Ok(Stored::Skipped(SkipKind::Conflict, None))
    }

    /// Counts the keys whose file is gone, or deletes them. Keys that are no path are not the import's and are left alone.
    fn look_for_gone(&self, delete: bool, report: &mut Report) -> Result<()> {
        let name = self.bucket.name();
        for key in self.bucket.keys().trying(|| format!("list the keys of bucket {name}"))? {
            let key = key.trying(|| format!("list the keys of bucket {name}"))?;
            let Some(path) = path_key::decode(&key) else { continue };
            if !is_gone(&self.source.join(&path)) {
                continue;
            }
            if !delete {
                report.gone_kept += 1;
                continue;
            }
            let entry = self.bucket.entry(&key).trying(|| format!("read {key} of bucket {name}"))?;
            let revision = entry.map_or(Revision::NONE, |entry| entry.revision());
            match self.bucket.delete_expect_revision(&key, revision) {
                Ok(_) => report.gone_deleted += 1,
                Err(error) if is_conflict(error.kind()) => report.skipped.add(SkipKind::Conflict, &path, None),
                Err(error) => return Err(error).trying(|| format!("delete {key} from bucket {name}")),
            }
        }
        Ok(())
    }
}

fn is_conflict(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WrongRevision | ErrorKind::AlreadyExists)
}

/// No regular file is there any more; what cannot be told is not gone.
fn is_gone(path: &Path) -> bool {
    match path.symlink_metadata() {
        Ok(metadata) => !metadata.is_file(),
        Err(error) => walk::kind_of(Some(&error)) == SkipKind::Vanished,
    }
}

/// Reads a whole file, unless there is a reason not to.
///
/// What the walk saw may have been replaced since: a link is not followed, and opening a pipe does not wait for its writer.
fn read_file(path: &Path, len_max: u64, content: &mut Vec<u8>) -> io::Result<Option<SkipKind>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file: File = match opened {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Ok(Some(SkipKind::SymbolicLink));
        }
        opened => opened?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Some(SkipKind::NotRegular));
    }
    if metadata.len() > len_max {
        return Ok(Some(SkipKind::TooLarge));
    }
    // The file may grow while it is read.
    file.take(len_max + 1).read_to_end(content)?;
    if content.len() as u64 > len_max {
        content.clear();
        return Ok(Some(SkipKind::TooLarge));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &Path, len_max: u64, expected: Option<SkipKind>, len: usize) {
        let mut content = Vec::new();
        assert_eq!(read_file(path, len_max, &mut content).unwrap(), expected);
        assert_eq!(content.len(), len);
    }

    #[test]
    fn a_file_of_exactly_the_limit_is_read_and_one_byte_more_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, [7; 100]).unwrap();
        check(&path, 100, None, 100);
        check(&path, 99, Some(SkipKind::TooLarge), 0);
    }

    /// Imports `mine` into a key that holds `old` while somebody else puts `other` at each of the first `times` chances.
    fn race(times: u32, mine: &str) -> (Stored, Vec<Vec<u8>>) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let bucket = store.create_bucket(BucketConfig::new("b").history(8)).unwrap();
        bucket.put("k", "old").unwrap();
        let bar = ProgressBar::hidden();
        let run = Run { bucket: &bucket, source: directory.path(), files: &[], verbose: false, deadline: None, bar: &bar };
        let mut left = times;
        let stored = run.write("k", mine.as_bytes(), || {
            if left > 0 {
                left -= 1;
                bucket.put("k", "other").unwrap();
            }
        });
        (stored.unwrap(), bucket.history("k").unwrap().map(|entry| entry.unwrap().value().to_vec()).collect())
    }

    #[test]
    fn a_write_in_between_is_seen_and_kept_in_history_before_the_import_writes() {
        let (stored, values) = race(1, "new");
        assert!(matches!(stored, Stored::Changed), "{stored:?}");
        assert_eq!(values, [&b"old"[..], b"other", b"new"]);
    }

    #[test]
    fn a_write_in_between_of_the_same_content_leaves_nothing_to_do() {
        let (stored, values) = race(1, "other");
        assert!(matches!(stored, Stored::Unchanged), "{stored:?}");
        assert_eq!(values, [&b"old"[..], b"other"]);
    }

    #[test]
    fn after_three_retries_the_file_counts_as_a_conflict_and_nothing_is_overwritten() {
        let (stored, _) = race(RETRIES_MAX, "new");
        assert!(matches!(stored, Stored::Changed), "{stored:?}");
        let (stored, values) = race(RETRIES_MAX + 1, "new");
        assert!(matches!(stored, Stored::Skipped(SkipKind::Conflict, None)), "{stored:?}");
        assert_eq!(values.last().unwrap(), b"other");
    }

    #[test]
    fn links_and_directories_are_not_read() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/hostname", directory.path().join("link")).unwrap();
        check(&directory.path().join("link"), 100, Some(SkipKind::SymbolicLink), 0);
        check(directory.path(), 100, Some(SkipKind::NotRegular), 0);
    }

    #[test]
    fn a_source_that_is_a_file_is_a_usage_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(check_source(file.path()).unwrap_err().exit(), Exit::Usage);
        assert_eq!(check_source(Path::new("/no/such/place")).unwrap_err().exit(), Exit::Io);
    }

    #[test]
    fn what_cannot_be_told_is_not_gone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(!is_gone(&file));
        assert!(is_gone(&directory.path().join("other")));
        assert!(is_gone(&file.join("below a file")));
        assert!(is_gone(directory.path()));
        assert!(!is_gone(Path::new(&"x".repeat(300))));
    }
}
