//! What the store tells about itself: plain values, filled in by the engine, held by users.

use std::path::PathBuf;
use std::time::Duration;

use crate::durability::Durability;
use crate::number::CommitNumber;

/// What a store is and holds at one moment; see [`Store::status`](crate::Store::status).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStatus {
    /// Where it lives.
    pub directory: PathBuf,
    /// What an acknowledgement means.
    pub durability: Durability,
    /// The newest commit that reads can see.
    pub last_commit: CommitNumber,
    /// The newest commit known to be durable.
    pub durable_commit: CommitNumber,
    /// How many buckets there are.
    pub buckets: usize,
    /// Bytes of memory held by entries that are in no segment yet.
    pub memtable_bytes: u64,
    /// How many memtables wait for their flush.
    pub sealed_memtables: usize,
    /// How many sorted runs the segment files make up: how many places a read may have to look in.
    pub runs: usize,
    /// How many segment files there are.
    pub segments: usize,
    /// Bytes in segment files.
    pub segment_bytes: u64,
    /// How many entries the segment files hold, history and markers included.
    pub segment_entries: u64,
    /// Bytes of files and memtables that are no part of the store any more, but are held by readers, snapshots or iterators.
    /// A [`Value`](crate::Value) of more than 1 KiB that a program keeps holds its file too, and is not counted.
    pub pinned_bytes: u64,
    /// Bytes that wait to be flushed, or to be merged into the oldest run.
    pub backlog_bytes: u64,
    /// How long writers have been held back in all, because the backlog was long.
    pub write_delay: Duration,
    /// What the last flush or merge failed with, if it has not succeeded since.
    pub job_error: Option<String>,
    /// Whether an earlier sync failed, so that no write is taken until the store is opened again.
    pub poisoned: bool,
}

/// What opening a store found and did; see [`Store::recovery`](crate::Store::recovery).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The last close was clean: nothing had to be replayed.
    pub clean: bool,
    /// How many log files were read.
    pub log_files: usize,
    /// How many changes were replayed from them.
    pub replayed: u64,
    /// A torn tail that was cut off, if there was one.
    pub torn: Option<TornTail>,
    /// Files of the store's own naming that nothing refers to. They are removed, if not at once then when the disk lets them.
    pub removed: Vec<String>,
    /// Files that are not the store's and were left alone.
    pub foreign: Vec<String>,
    /// How long opening took.
    pub elapsed: Duration,
}

/// A tail of the log that a crash left and that no acknowledgement at [`Durability::Sync`] covered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TornTail {
    /// The log file.
    pub file: PathBuf,
    /// Where it was cut, in bytes.
    pub offset: u64,
    /// How many bytes that were not zero were cut off, later files included.
    pub bytes: u64,
    /// How many intact records were seen beyond the cut and given up with it, so that no hole is left.
    pub records_after: u64,
}

/// What [`Store::verify`](crate::Store::verify) read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Files checked: manifest and segments.
    pub files: usize,
    /// Bytes checked.
    pub bytes: u64,
    /// Blocks checked.
    pub blocks: u64,
    /// Entries decoded.
    pub entries: u64,
}
