//! The manifest: the whole state of a store that is not in its log or segments, replaced as a whole.
//!
//! The engine makes one [`Manifest`] after the other and stores each with [`store`]; opening starts with [`load`]. [`mod@format`]
//! owns the bytes, [`mod@file`] the order of calls that makes a replacement atomic and durable; [`LiveRange`] says what of a file counts.
//!
//! Everything in it is as of the commit `flushed`, never later: what is newer is in the log. The manifest does not know what
//! its fields mean to one another beyond what [`Manifest::check`] says; that a segment which it names exists is for recovery to
//! find out.

pub(crate) mod file;
pub(crate) mod format;
mod range;

#[cfg(test)]
mod tests;

pub(crate) use file::{MANIFEST_NAME, MANIFEST_TMP_NAME, StoreError, load, store};
pub(crate) use range::{Bound, LiveRange};

use std::collections::BTreeSet;

use crate::number::{BucketId, CommitNumber, FileNumber, Revision};
use crate::spec::{BucketSpec, ClockPair, Era};

/// How many ends of incarnations a bucket keeps.
pub(crate) const ENDS_MAX: usize = 64;

/// The state of a store as of its flushed commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// The store's identity, drawn when it was created.
    pub(crate) store: u128,
    /// Drawn at every open.
    pub(crate) incarnation: u64,
    /// Stored by an orderly close: `last_commit` is the newest commit there is, and durable.
    pub(crate) clean: bool,
    /// Numbers at or above this one have never been given to a file.
    pub(crate) file_ceiling: FileNumber,
    /// All commits up to here are in segments or in this state.
    pub(crate) flushed: CommitNumber,
    /// No smaller number may be given out again.
    pub(crate) last_commit: CommitNumber,
    /// Log files below this number are not needed.
    pub(crate) log_floor: FileNumber,
    /// Log files that are known to exist and may have records, ascending, none below the floor.
    pub(crate) logs: Vec<FileNumber>,
    /// Ids at or above this one have never been given to a bucket.
    pub(crate) next_bucket: BucketId,
    pub(crate) clock: ClockPair,
    /// By id, ascending.
    pub(crate) buckets: Vec<BucketState>,
    /// The files of all runs, by number, ascending.
    pub(crate) segments: Vec<SegmentRef>,
    /// The sorted runs that the files make up, newest first: for one key, everything in a run is newer than everything in a later one. The
    /// parts of a run stand in the order of bucket and key.
    pub(crate) runs: Vec<Vec<PartRef>>,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BucketState {
    pub(crate) id: BucketId,
    pub(crate) spec: BucketSpec,
    /// The commit that created it.
    pub(crate) created: CommitNumber,
    /// The last commit that changed it without being an entry.
    pub(crate) changed: CommitNumber,
    pub(crate) last_revision: Revision,
    /// Its last revision when the incarnation began.
    pub(crate) start: Revision,
    /// Everything up to here went with the last purge of the whole bucket.
    pub(crate) floor: Revision,
    /// The commit of that purge; 0 = there was none.
    pub(crate) purged: CommitNumber,
    /// Reads as of a revision up to here may miss keys that retention has removed.
    pub(crate) as_of_floor: Revision,
    /// Watches from below here may miss what was newest of its key.
    pub(crate) watch_floor: Revision,
    /// By commit, ascending.
    pub(crate) eras: Vec<Era>,
    /// It has held entries with a time to live of their own.
    pub(crate) deadlines_seen: bool,
    /// Where expiry commits markers, how far it has got: among deadlines of entries' own, and among the revisions that `max_age` takes.
    pub(crate) cursor: (u64, Revision),
    /// Its last revision at the end of each of the last incarnations in which it changed; oldest first, at most [`ENDS_MAX`].
    pub(crate) ends: Vec<(u64, Revision)>,
    /// What its retained entries take, exactly, where `max_bytes` asks for it and it has been counted.
    pub(crate) size: Option<BucketSize>,
}

/// What a bucket's retained entries take: key + value + 32 for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BucketSize {
    pub(crate) bytes: u64,
    /// Entries that expired after this store time are still counted.
    pub(crate) as_of: u64,
}

/// What counts of a file in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartRef {
    /// A segment of the manifest. Several parts may name one file.
    pub(crate) number: FileNumber,
    pub(crate) live: LiveRange,
}

/// A segment that is part of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentRef {
    pub(crate) number: FileNumber,
    pub(crate) len: u64,
    /// Of the whole file.
    pub(crate) checksum: u32,
    pub(crate) entries: u64,
}

impl BucketState {
    /// A bucket that was created by `created` and holds nothing yet.
    pub(crate) const fn new(id: BucketId, spec: BucketSpec, created: CommitNumber) -> Self {
        Self {
            id,
            spec,
            created,
            changed: created,
            last_revision: Revision::NONE,
            start: Revision::NONE,
            floor: Revision::NONE,
            purged: CommitNumber(0),
            as_of_floor: Revision::NONE,
            watch_floor: Revision::NONE,
            eras: Vec::new(),
            deadlines_seen: false,
            cursor: (0, Revision::NONE),
            ends: Vec::new(),
            size: None,
        }
    }
}

impl Manifest {
    /// Of a store without anything in it, made at `wall` (nanoseconds since 1970 UTC).
    pub(crate) const fn new(store: u128, wall: u64) -> Self {
        Self {
            store,
            incarnation: 0,
            clean: false,
            file_ceiling: FileNumber(1),
            flushed: CommitNumber(0),
            last_commit: CommitNumber(0),
            log_floor: FileNumber(1),
            logs: Vec::new(),
            next_bucket: BucketId(1),
            clock: ClockPair { wall, store: wall },
            buckets: Vec::new(),
            segments: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// What holds in every manifest, and is checked before one is written and after one is read: the rule that is broken, if any.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let used = |number: FileNumber| number < self.file_ceiling;
        if !self.logs.is_sorted_by(|left, right| left < right) {
            return Err("log files in ascending order");
        }
        if self.logs.first().is_some_and(|first| *first < self.log_floor) {
            return Err("log files at or above the log floor");
        }
        if self.flushed > self.last_commit {
            return Err("a flushed commit up to the last one");
        }
        if self.log_floor > self.file_ceiling || !self.logs.iter().copied().all(used) {
            return Err("log files below the ceiling of file numbers");
        }
        self.check_runs()?;
        if !self.buckets.is_sorted_by(|left, right| left.id < right.id) {
            return Err("buckets in ascending order of id");
        }
        if self.buckets.last().is_some_and(|last| last.id >= self.next_bucket) {
            return Err("bucket ids below the next one");
        }
        let mut names = BTreeSet::new();
        if !self.buckets.iter().all(|bucket| names.insert(bucket.spec.name.as_str())) {
            return Err("one bucket per name");
        }
        self.buckets.iter().try_for_each(BucketState::check)
    }

    fn check_runs(&self) -> Result<(), &'static str> {
        if !self.segments.iter().all(|segment| segment.number < self.file_ceiling) {
            return Err("segments below the ceiling of file numbers");
        }
        if !self.segments.is_sorted_by(|left, right| left.number < right.number) {
            return Err("segments in ascending order");
        }
        if self.segments.iter().any(|segment| self.logs.binary_search(&segment.number).is_ok()) {
            return Err("one file per number");
        }
        let named: BTreeSet<FileNumber> = self.runs.iter().flatten().map(|part| part.number).collect();
        if !named.iter().copied().eq(self.segments.iter().map(|segment| segment.number)) {
            return Err("parts of all the segments that there are");
        }
        for run in &self.runs {
            if run.is_empty() || run.iter().any(|part| part.live.is_empty()) {
                return Err("something in every run and every part");
            }
            // What a range leaves open is bounded by what is in the file, which is for recovery to find out.
            let ends_before = |left: &PartRef, right: &PartRef| match (left.live.to(), right.live.from()) {
                (Some(to), Some(from)) => to <= from,
                _ => left.number != right.number,
            };
            if !run.windows(2).all(|pair| ends_before(&pair[0], &pair[1])) {
                return Err("parts in the order of keys, none over another");
            }
        }
        Ok(())
    }
}

impl BucketState {
    fn check(&self) -> Result<(), &'static str> {
        if !self.eras.is_sorted_by(|left, right| left.commit < right.commit) {
            return Err("eras in ascending order of commit");
        }
        if self.ends.len() > ENDS_MAX {
            return Err("at most 64 ends of incarnations");
        }
        Ok(())
    }
}
