//! What the log says beyond the manifest: the entries and buckets that a replay brings back, before anything on disk is changed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::directory::Listing;
use super::settings::Settings;
use crate::env::{Env, read_whole};
use crate::error::{Error, ErrorKind, Result};
use crate::hash::KeyHasher;
use crate::manifest::{BucketState, Manifest};
use crate::memtable::Memtable;
use crate::number::{BucketId, CommitNumber, FileNumber, NUMBER_MAX};
use crate::report::{RecoveryReport, TornTail};
use crate::spec::ClockPair;
use crate::wal::{self, Change, ReplayEnd, ReplayInput};

/// A torn tail is kept aside for whoever wants to look at it, at most this much of it.
const SAVED_TAIL_LEN_MAX: usize = 1 << 20;
/// The longest log file that is read: a batch at its limit and its surroundings.
const LOG_FILE_LEN_MAX: u64 = 2 << 30;

/// What the log says beyond the manifest (steps 5 to 7).
pub(super) struct Replayed {
    pub(super) end: ReplayEnd,
    pub(super) memtable: Arc<Memtable>,
    pub(super) buckets: BTreeMap<BucketId, BucketState>,
    pub(super) next_bucket: BucketId,
    pub(super) clock: ClockPair,
    /// The bytes from the cut on, for people.
    pub(super) torn_tail: Vec<u8>,
}

impl Replayed {
    pub(super) fn read(
        env: &Env,
        directory: &Path,
        manifest: &Manifest,
        listing: &Listing,
        settings: &Settings,
        report: &mut RecoveryReport,
    ) -> Result<Self> {
        let first = manifest.flushed.next();
        let mut replay = Replay {
            flushed: manifest.flushed,
            memtable: Memtable::new(first, manifest.flushed, settings.memtable_len),
            hasher: KeyHasher::new(manifest.store),
            buckets: manifest.buckets.iter().map(|state| (state.id, state.clone())).collect(),
            next_bucket: manifest.next_bucket,
            clock: manifest.clock,
        };
        let path_of = |number: FileNumber| directory.join(wal::file_name(number));
        let mut load = |number: FileNumber| {
            let path = path_of(number);
            read_whole(&*env.fs, &path, LOG_FILE_LEN_MAX).map_err(|error| Error::io("read the log", &path, error))
        };
        let input = ReplayInput {
            store: manifest.store,
            files: &listing.logs,
            floor: manifest.log_floor,
            flushed: manifest.flushed,
            path_of: &path_of,
        };
        let end = wal::replay(&input, &mut load, &mut |_, changes| {
            let (file, offset) = changes.place();
            for change in changes {
                let (commit, change) = change?;
                replay.apply(commit, change).map_err(|error| error.with_file(file).with_offset(offset))?;
            }
            Ok(())
        })?;
        let mut torn_tail = Vec::new();
        if let Some(torn) = &end.torn {
            let file = path_of(torn.file);
            if settings.strict {
                let message = format!(
                    "the log has a torn end: {} bytes that no acknowledged sync covers; open without `strict` to cut them",
                    torn.bytes
                );
                return Err(Error::corrupt(&file, torn.offset, message));
            }
            let bytes = load(torn.file)?;
            torn_tail = bytes.get(torn.offset as usize..).unwrap_or_default().to_vec();
            let used = torn_tail.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            torn_tail.truncate(used.min(SAVED_TAIL_LEN_MAX));
            report.torn = Some(TornTail { file, offset: torn.offset, bytes: torn.bytes, records_after: torn.records_after });
        }
        report.clean = manifest.clean && end.changes == 0;
        report.log_files = listing.logs.len();
        report.replayed = end.changes;
        let Replay { memtable, buckets, next_bucket, clock, .. } = replay;
        Ok(Self { end, memtable: Arc::new(memtable), buckets, next_bucket, clock, torn_tail })
    }
}

/// The state that replay builds up, change by change.
struct Replay {
    flushed: CommitNumber,
    memtable: Memtable,
    hasher: KeyHasher,
    buckets: BTreeMap<BucketId, BucketState>,
    next_bucket: BucketId,
    clock: ClockPair,
}

impl Replay {
    fn apply(&mut self, commit: CommitNumber, change: Change<'_>) -> Result<()> {
        if let Change::Clock(pair) = change {
            // Never back: a manifest may have been written after the record.
            self.clock = if pair.store > self.clock.store { pair } else { self.clock };
        }
        if commit <= self.flushed {
            return Ok(());
        }
        match change {
            Change::Entry { bucket, key, meta, value } => {
                if let Some(state) = self.bucket(bucket)? {
                    if !meta.flags.is_dropped() {
                        if meta.revision <= state.last_revision {
                            let message = format!(
                                "the log gives revision {} of bucket {bucket} after {}",
                                meta.revision, state.last_revision
                            );
                            return Err(Error::new(ErrorKind::Corrupt, message));
                        }
                        state.last_revision = meta.revision;
                    }
                    state.deadlines_seen |= meta.deadline > 0;
                    // What it pushed out is not in the log: counted again when somebody has to know.
                    state.size = None;
                    if meta.flags.drops_newest() {
                        state.note_dropped(meta.revision);
                    }
                    let hash = self.hasher.hash(bucket, key);
                    self.memtable.insert(bucket, key, hash, commit, meta, value);
                }
            }
            Change::CreateBucket { id, spec } => {
                let corrupt = |why| Err(Error::new(ErrorKind::Corrupt, format!("the log creates bucket {id}, {why}")));
                if id < self.next_bucket {
                    return corrupt("which was created before");
                }
                if id.0 >= NUMBER_MAX {
                    return corrupt("and no store has that many");
                }
                self.next_bucket = BucketId(id.0 + 1);
                self.buckets.insert(id, BucketState::new(id, spec, commit));
            }
            Change::DeleteBucket { id } => {
                self.bucket(id)?;
                self.buckets.remove(&id);
            }
            Change::EditBucket { id, spec, now } => {
                if let Some(state) = self.bucket(id)? {
                    state.edit(spec, commit, now);
                }
            }
            Change::PurgeAll { id, through } => {
                if let Some(state) = self.bucket(id)? {
                    // Revisions that a failed write has burned are in no record, but they were given out when it was purged.
                    state.last_revision = state.last_revision.max(through);
                    state.purge_all(through, commit, 0);
                }
            }
            Change::SweepCursor { id, deadline, revision } => {
                if let Some(state) = self.bucket(id)? {
                    state.note_swept(deadline, revision);
                }
            }
            Change::Clock(_) => {}
        }
        Ok(())
    }

    /// The bucket; `None` if it was deleted. One that was never created means that the manifest is older than the log (E15).
    fn bucket(&mut self, id: BucketId) -> Result<Option<&mut BucketState>> {
        if id >= self.next_bucket {
            let message = format!("the log names bucket {id}, which was never created: the manifest is stale");
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        Ok(self.buckets.get_mut(&id))
    }
}
