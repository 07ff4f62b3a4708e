//! From a directory to an open store.
//!
//! The order of the steps is what makes every crash inside recovery harmless: everything is read and checked before anything is
//! changed; then what the log held is written to a new segment, so that nothing rests on old page cache or on a file that had a torn
//! tail; then one manifest edit makes that the state; only then the new log is made and the old files go. Each step can be repeated.
//!
//! A store exists if and only if its manifest does. Files without a manifest are never taken for an empty store.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::build::{Built, Site};
use super::commit::UNSYNCED_COMMITS_MAX;
use super::core::{Core, Parts, segment_name};
use super::directory::{Listing, check_strangers, lock, make_directory};
use super::keeper::{Failed, Keeper, RESERVE_NAME};
use super::leader::{Draft, Leader, Live};
use super::replayed::Replayed;
use super::retired::Retired;
use super::settings::Settings;
use crate::cache::BlockCache;
use crate::clock::StoreClock;
use crate::durability::Durability;
use crate::env::{Env, write_all_at};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{self, BucketState, Manifest, PartRef, SegmentRef};
use crate::memtable::Memtable;
use crate::number::{BucketId, CommitNumber, FileNumber, NUMBER_MAX};
use crate::report::RecoveryReport;
use crate::run::{Part, Run};
use crate::segment::{Expected, Identity, Segment};
use crate::view::{Buckets, Table, View};
use crate::wal::{self, DurabilityClass, LogFile, LogFileOptions, RecordWriter};

/// Opens the store in `directory`.
pub(super) fn open(env: Env, directory: &Path, settings: Settings) -> Result<Core> {
    let started = env.clock.monotonic();
    let mut report = RecoveryReport::default();
    make_directory(&env, directory, &settings)?;
    let lock = lock(&env, directory)?;
    let manifest = match manifest::load(&*env.fs, directory)? {
        Some(manifest) => manifest,
        None => create(&env, directory)?,
    };
    let listing = Listing::read(&env, directory, &manifest)?;
    let cache = Arc::new(BlockCache::new(settings.cache_len));
    let runs = open_runs(&env, directory, &manifest, &listing.segments, &cache)?;
    let replayed = Replayed::read(&env, directory, &manifest, &listing, &settings, &mut report)?;

    check_plausible(directory, &manifest, &replayed)?;

    // Everything is read and sound; from here on things change.
    let mut recovery =
        Recovery { keeper: Keeper::new(env.clone(), directory.to_owned(), manifest), env, directory, settings, cache };
    let clock = recovery.resume_clock(&replayed);
    let (leader_parts, view) = recovery.settle(replayed, runs, &clock, &mut report)?;
    // What the manifest no longer names goes before the new log takes space: on a full disk there is no other.
    let mut retired = Retired::default();
    // One torn tail is kept: the newest.
    let saved = report.torn.as_ref().map(|torn| torn.file.with_extension("tail"));
    let tails = listing.tails.iter().filter(|name| saved.as_ref().is_some_and(|saved| *saved != directory.join(name)));
    let replayed_logs: Vec<String> = listing.logs.iter().map(|number| wal::file_name(*number)).collect();
    for name in listing.orphans.iter().chain(&listing.old_logs).chain(&replayed_logs).chain(tails) {
        retired.file(directory.join(name));
    }
    retired.reap(&*recovery.env.fs);
    let log = recovery.start_log()?;
    report.removed = listing.orphans;
    report.foreign = listing.foreign;
    report.elapsed = std::time::Duration::from_nanos(recovery.env.clock.monotonic().saturating_sub(started));
    let view = View { active_log: log.number(), ..view };
    let leader = leader_parts.with_log(log, &view);
    let Recovery { env, settings, keeper, cache, .. } = recovery;
    Ok(Core::new(Parts {
        env,
        directory: directory.to_owned(),
        settings,
        cache,
        report,
        clock,
        view,
        leader,
        keeper,
        retired,
        lock,
    }))
}

/// Makes the first manifest: from then on the store exists (P1).
fn create(env: &Env, directory: &Path) -> Result<Manifest> {
    // Looked at again under the lock: somebody else may have been first.
    let names = env.fs.list(directory).map_err(|error| Error::io("list the store's directory", directory, error))?;
    check_strangers(directory, &names)?;
    let store = random(env, directory)?;
    let manifest = Manifest::new(store, env.clock.wall());
    let mut keeper = Keeper::new(env.clone(), directory.to_owned(), manifest);
    keeper.edit(|_| {}).map_err(|failed| failed.error)?;
    Ok(keeper.manifest().clone())
}

fn random(env: &Env, directory: &Path) -> Result<u128> {
    env.random.u128().map_err(|error| Error::io("get random numbers", directory, error))
}

/// Numbers near the end of their range were never given out; they would overflow in what follows.
fn check_plausible(directory: &Path, manifest: &Manifest, replayed: &Replayed) -> Result<()> {
    let numbers = [
        manifest.last_commit.0,
        manifest.file_ceiling.0,
        manifest.clock.store,
        replayed.end.last_commit.0,
        replayed.end.last_now,
        replayed.next_bucket.0,
        replayed.clock.store,
    ];
    let revisions = replayed.buckets.values().map(|state| state.last_revision.0);
    match numbers.into_iter().chain(revisions).max() {
        Some(largest) if largest > NUMBER_MAX => {
            let message = format!("a number of {largest} in the manifest or the log, which no store reaches");
            Err(Error::corrupt(&directory.join(manifest::MANIFEST_NAME), 0, message))
        }
        _ => Ok(()),
    }
}

/// Step 4. Every file is opened once, however many parts name it.
fn open_runs(
    env: &Env,
    directory: &Path,
    manifest: &Manifest,
    names: &[String],
    cache: &Arc<BlockCache>,
) -> Result<Vec<Arc<Run>>> {
    let open = |segment: &SegmentRef| {
        let path = directory.join(segment_name(segment.number));
        if !names.contains(&segment_name(segment.number)) {
            return Err(Error::corrupt(&path, 0, "a segment that the manifest names is missing"));
        }
        let identity = Identity { store: manifest.store, number: segment.number };
        let expected = Expected { identity, len: segment.len, checksum: segment.checksum };
        Segment::open(&*env.fs, &path, &expected, cache)
    };
    let segments: Vec<Arc<Segment>> = manifest.segments.iter().map(open).collect::<Result<_>>()?;
    let wrong = |what| Error::corrupt(&directory.join(manifest::MANIFEST_NAME), 0, what);
    let part = |part: &PartRef| {
        let at = segments.binary_search_by_key(&part.number, |segment| segment.number());
        let segment = at.ok().and_then(|at| segments.get(at)).ok_or_else(|| wrong("the manifest names a part of no segment"))?;
        Ok(Part { segment: Arc::clone(segment), live: part.live.clone() })
    };
    let run = |parts: &Vec<PartRef>| {
        let run = Run::unchecked(parts.iter().map(part).collect::<Result<_>>()?);
        if run.is_sound() { Ok(Arc::new(run)) } else { Err(wrong("the parts of a run in the manifest are not in order")) }
    };
    manifest.runs.iter().map(run).collect()
}

/// The steps that change things.
struct Recovery<'a> {
    env: Env,
    directory: &'a Path,
    settings: Settings,
    cache: Arc<BlockCache>,
    keeper: Keeper,
}

/// What the leader starts with, but its log file.
struct LeaderParts {
    next: CommitNumber,
    next_bucket: BucketId,
    buckets: Vec<BucketState>,
}

impl LeaderParts {
    fn with_log(self, log: LogFile, view: &View) -> Leader {
        let names = self.buckets.iter().map(|state| (state.spec.name.clone(), state.id)).collect();
        let time_matters = self.buckets.iter().any(|state| state.spec.max_age > 0 || state.deadlines_seen);
        let (mut buckets, mut sealed) = (BTreeMap::new(), Table::default());
        for state in self.buckets.into_iter().map(Arc::new) {
            let revisions = view.buckets.revisions(state.id).unwrap_or_default();
            sealed.insert(state.id, Arc::clone(&state));
            buckets.insert(state.id, Live::new(state, revisions, view.visible(), 0));
        }
        Leader {
            chain: log.initial_chain(),
            log,
            log_ended: false,
            record: RecordWriter::new(),
            next: self.next,
            next_bucket: self.next_bucket,
            time_matters,
            buckets,
            sealed,
            changed: Vec::new(),
            active: Arc::clone(&view.active),
            names,
            draft: Draft::default(),
            answers: Vec::new(),
        }
    }
}

impl Recovery<'_> {
    fn resume_clock(&self, replayed: &Replayed) -> StoreClock {
        StoreClock::resume(replayed.clock, replayed.end.last_now, self.env.clock.wall(), self.env.clock.monotonic())
    }

    /// Steps 8 to 10: numbers, the replayed entries as a segment, one manifest edit.
    fn settle(
        &mut self,
        replayed: Replayed,
        mut runs: Vec<Arc<Run>>,
        clock: &StoreClock,
        report: &mut RecoveryReport,
    ) -> Result<(LeaderParts, View)> {
        let manifest = self.keeper.manifest();
        let (mut last, mut next_bucket) = (manifest.last_commit.max(replayed.end.last_commit), replayed.next_bucket);
        let mut buckets: Vec<BucketState> = replayed.buckets.into_values().collect();
        let ended = manifest.incarnation;
        buckets.iter_mut().for_each(|state| state.note_end(ended));
        if let Some(torn) = &replayed.end.torn {
            self.save_tail(torn.file, &replayed.torn_tail);
        }
        let built = match self.build_run(&replayed.memtable, runs.is_empty(), &buckets, clock) {
            Err(error) if error.kind() == ErrorKind::NoSpace && self.release_reserve() => {
                self.build_run(&replayed.memtable, runs.is_empty(), &buckets, clock)?
            }
            built => built?,
        };
        // Below `Sync`, numbers may have been seen that the log has lost: go on beyond any of them.
        let is_ahead = replayed.end.weaker_than_sync && !replayed.end.last_file_sealed;
        if is_ahead {
            last = CommitNumber(last.0 + UNSYNCED_COMMITS_MAX);
            next_bucket = BucketId(next_bucket.0 + UNSYNCED_COMMITS_MAX);
        }
        let ahead = if is_ahead { UNSYNCED_COMMITS_MAX } else { 0 };
        buckets.iter_mut().for_each(|state| state.begin(ahead));
        let incarnation = random(&self.env, self.directory)? as u64;
        let pair = clock.pair(self.env.clock.wall(), self.env.clock.monotonic());
        let floor = self.keeper.peek_file_number();
        let change = |manifest: &mut Manifest| {
            manifest.clean = false;
            manifest.incarnation = incarnation;
            manifest.flushed = last;
            manifest.last_commit = last;
            manifest.next_bucket = next_bucket;
            manifest.buckets = buckets.clone();
            manifest.add_run(&built);
            manifest.log_floor = floor;
            manifest.logs.clear();
            manifest.clock = pair;
        };
        let mut edited = self.keeper.edit(change);
        if matches!(&edited, Err(failed) if !failed.ambiguous && failed.error.kind() == ErrorKind::NoSpace)
            && self.release_reserve()
        {
            edited = self.keeper.edit(change);
        }
        if let Err(failed) = edited {
            return Err(self.undo(failed, &built));
        }
        let buckets: Vec<BucketState> = self.keeper.manifest().buckets.clone();
        if !built.segments.is_empty() {
            runs.insert(0, Arc::new(Run::of_files(built.segments)));
        }
        report.clean &= replayed.end.torn.is_none();
        let active = Arc::new(Memtable::new(last.next(), last, self.settings.memtable_len));
        let buckets_now = Arc::new(Buckets::new(&buckets));
        let view = View { active, active_log: floor, sealed: Vec::new(), runs, buckets: buckets_now, incarnation };
        Ok((LeaderParts { next: last.next(), next_bucket, buckets }, view))
    }

    /// Frees the space that was kept aside for a full disk; answers whether there was any.
    fn release_reserve(&self) -> bool {
        self.env.fs.remove(&self.directory.join(RESERVE_NAME)).is_ok()
    }

    fn undo(&self, failed: Failed, built: &Built) -> Error {
        if !failed.ambiguous {
            built.discard(&self.env);
        }
        failed.error
    }

    /// Keeps a torn tail for people, under the number of its log file, so that an open that fails again and again keeps it once. That it
    /// can be kept is not needed for anything.
    fn save_tail(&mut self, log: FileNumber, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let path = self.directory.join(format!("{:08}.tail", log.0));
        let _ = self.env.fs.remove(&path);
        let saved = self.env.fs.create_new(&path).and_then(|file| {
            write_all_at(&*file, bytes, 0)?;
            file.sync_all()
        });
        if saved.is_err() {
            let _ = self.env.fs.remove(&path);
        }
    }

    /// Step 9: what the log held, as a run.
    fn build_run(
        &mut self,
        memtable: &Arc<Memtable>,
        hold_oldest: bool,
        buckets: &[BucketState],
        clock: &StoreClock,
    ) -> Result<Built> {
        if memtable.is_empty() {
            return Ok(Built::default());
        }
        let buckets: Vec<_> = buckets.iter().cloned().map(Arc::new).collect();
        let now = clock.now(self.env.clock.monotonic());
        let inputs = crate::compact::Inputs {
            pace: &|_| Ok(()),
            memtable: Some(memtable),
            runs: &[],
            hold_oldest,
            hold_newest: true,
            buckets: &buckets,
            now: &|_| now,
            file_len: self.settings.segment_len,
        };
        let store = self.keeper.manifest().store;
        let (keeper, env, directory) = (&mut self.keeper, &self.env, self.directory);
        let mut site = Site {
            env,
            directory,
            store,
            block_len: self.settings.block_len,
            cache: &self.cache,
            next_number: &mut || keeper.next_file_number().map_err(|failed| failed.error),
            sync_directory: &mut || env.fs.sync_dir(directory).map_err(|error| Error::io("sync the directory", directory, error)),
        };
        site.build(&inputs)
    }

    /// Step 11.
    fn start_log(&mut self) -> Result<LogFile> {
        let number = self.keeper.next_file_number().map_err(|failed| failed.error)?;
        let options = LogFileOptions {
            store: self.keeper.manifest().store,
            number,
            previous: FileNumber(0),
            class: class_of(self.settings.durability),
            len: self.settings.log_file_len,
        };
        LogFile::prepare(&self.env, self.directory, &options)
    }
}

pub(super) const fn class_of(durability: Durability) -> DurabilityClass {
    match durability {
        Durability::Sync => DurabilityClass::Sync,
        Durability::Periodic { .. } | Durability::OsCache => DurabilityClass::Weaker,
    }
}
