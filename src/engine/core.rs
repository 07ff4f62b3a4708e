//! What the threads of a store share, and who may touch it.
//!
//! Lock order, outermost first: `leader`; `flushing` and `merging` (one flush, one merge at a time); `spare`; `keeper`; the tail's turn;
//! `retired`; the view's edit lock. The bus: its registry, then a watcher's line. The locks of queue, board and pressure, of `horizons`, and of what
//! the bus keeps for its thread, are leaves: nothing is taken while one of them is held. Reads take none of these.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::board::Board;
use super::bus::Bus;
use super::commit::NO_TIME;
use super::health::Health;
use super::horizon::Horizons;
use super::keeper::Keeper;
use super::leader::Leader;
use super::merge::Merging;
use super::pressure::Pressure;
use super::queue::Queue;
use super::recovery::class_of;
use super::retired::Retired;
use super::settings::Settings;
use super::tail::{Tail, TailFile};
use crate::cache::BlockCache;
use crate::clock::StoreClock;
use crate::env::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering};
use crate::env::{Env, Lock};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::hash::KeyHasher;
use crate::number::{BucketId, CommitNumber, FileNumber, Revision};
use crate::report::RecoveryReport;
use crate::view::View;
use crate::wal::{self, LogFile, LogFileOptions};

/// One open store.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) env: Env,
    pub(super) directory: PathBuf,
    pub(super) settings: Settings,
    pub(super) cache: Arc<BlockCache>,
    pub(super) store: u128,
    pub(super) hasher: KeyHasher,
    pub(super) report: RecoveryReport,
    pub(super) clock: StoreClock,
    pub(super) health: Health,
    pub(super) view: ArcSwap<View>,
    view_edit: Mutex<()>,
    pub(super) queue: Queue,
    pub(super) leader: Mutex<Leader>,
    pub(super) tail: Tail,
    pub(super) spare: Mutex<Spare>,
    /// The active log file has been used for a quarter: the next one is prepared. A store that rests reserves one file and not two.
    pub(super) spare_wanted: AtomicBool,
    pub(super) keeper: Mutex<Keeper>,
    pub(super) retired: Mutex<Retired>,
    pub(super) flushing: Mutex<()>,
    pub(super) merging: Mutex<Merging>,
    /// What sweeps know of memtables.
    pub(super) horizons: Mutex<Horizons>,
    /// At which store time the next sweep is due, as far as is known.
    pub(super) sweep_at: AtomicU64,
    pub(super) pressure: Pressure,
    pub(super) board: Board,
    pub(super) bus: Arc<Bus>,
    /// The reserve was given up, or was never there.
    pub(super) reserve_missing: AtomicBool,
    pub(super) lock: Mutex<Option<Box<dyn Lock>>>,
    /// What the leader of a group has announced: readers count time no further ([`NO_TIME`](super::commit::NO_TIME) = nothing).
    pub(super) announced_now: AtomicU64,
}

/// The next log file, prepared before it is needed.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) file: Option<LogFile>,
    /// The newest log file that was prepared, in use or not: what the next one names as the one before it.
    pub(super) newest: FileNumber,
}

/// The parts that recovery brings together.
pub(super) struct Parts {
    pub(super) env: Env,
    pub(super) directory: PathBuf,
    pub(super) settings: Settings,
    pub(super) cache: Arc<BlockCache>,
    pub(super) report: RecoveryReport,
    pub(super) clock: StoreClock,
    pub(super) view: View,
    pub(super) leader: Leader,
    pub(super) keeper: Keeper,
    pub(super) retired: Retired,
    pub(super) lock: Box<dyn Lock>,
}

impl Core {
    pub(super) fn new(parts: Parts) -> Self {
        let hasher = KeyHasher::new(parts.keeper.manifest().store);
        let tail = Tail::new(TailFile::of(&parts.leader.log), parts.view.visible());
        Self {
            store: parts.keeper.manifest().store,
            hasher,
            env: parts.env,
            directory: parts.directory,
            settings: parts.settings,
            cache: parts.cache,
            report: parts.report,
            clock: parts.clock,
            health: Health::default(),
            view: ArcSwap::from_pointee(parts.view),
            view_edit: Mutex::default(),
            queue: Queue::default(),
            tail,
            spare_wanted: AtomicBool::new(false),
            spare: Mutex::new(Spare { file: None, newest: parts.leader.log.number() }),
            leader: Mutex::new(parts.leader),
            keeper: Mutex::new(parts.keeper),
            retired: Mutex::new(parts.retired),
            flushing: Mutex::default(),
            merging: Mutex::default(),
            horizons: Mutex::default(),
            sweep_at: AtomicU64::new(0),
            pressure: Pressure::default(),
            board: Board::default(),
            bus: Arc::new(Bus::new(hasher)),
            reserve_missing: AtomicBool::new(true),
            lock: Mutex::new(Some(parts.lock)),
            announced_now: AtomicU64::new(NO_TIME),
        }
    }

    /// Store time, in nanoseconds since 1970 UTC.
    pub(super) fn now(&self) -> u64 {
        self.clock.now(self.env.clock.monotonic())
    }

    /// Store time for a reader, to be taken before the view that it reads: never ahead of a commit that is under way, so what a reader has
    /// seen expire is not found alive by a later commit (E16).
    pub(super) fn now_for_readers(&self) -> u64 {
        // In this order: a leader that announces after the load takes its own time after that, and so after this clock reading.
        let now = self.now();
        now.min(self.announced_now.load(Ordering::SeqCst))
    }

    /// The view, and the commit up to which it may be seen, with buckets that are those of that commit.
    ///
    /// A change of a bucket is installed in a new view before it is visible, but `visible` lives in the memtable that both views share: a
    /// reader that was held up between its two loads could see entries behind a change that the buckets of its view lack. So it looks
    /// whether its view is still the current one. The newest entry of one key needs no such care: whatever it finds was the answer at some
    /// moment of the call.
    pub(super) fn pin(&self) -> (Guard<Arc<View>>, CommitNumber) {
        loop {
            let view = self.view.load();
            let visible = view.visible();
            if Arc::ptr_eq(&view, &self.view.load()) {
                return (view, visible);
            }
        }
    }

    /// Replaces the view by what `edit` makes of it; answers the new one.
    pub(super) fn edit_view(&self, edit: impl FnOnce(&mut View)) -> Arc<View> {
        let _turn = self.view_edit.lock();
        let mut view = View::clone(&self.view.load());
        edit(&mut view);
        let view = Arc::new(view);
        self.view.store(Arc::clone(&view));
        view
    }

    /// The bucket's last revision, or one that it will have soon.
    pub(super) fn last_revision(&self, id: BucketId) -> Revision {
        self.view.load().buckets.last_revision(id)
    }

    /// Up to here watchers of the bucket were told. Call it before a line is looked at.
    pub(super) fn told_revision(&self, id: BucketId) -> Revision {
        self.view.load().buckets.told_revision(id)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(super) fn poison(&self, cause: Error) -> Error {
        let error = self.health.poison(cause, self.tail.durable());
        self.board.wake();
        error
    }

    /// Makes the names in the directory durable. A failure poisons the store: what was renamed may or may not be back after a crash.
    pub(super) fn sync_directory(&self) -> Result<()> {
        let synced = self.env.fs.sync_dir(&self.directory);
        synced.map_err(|error| self.poison(Error::io("sync the directory", &self.directory, error).with_kind(ErrorKind::Io)))
    }

    pub(super) fn next_file_number(&self) -> Result<FileNumber> {
        self.keeper_edit(|keeper| keeper.next_file_number())
    }

    /// Runs `edit` on the manifest's keeper. A failure after which both the old and the new manifest may come back poisons the store.
    pub(super) fn keeper_edit<T>(
        &self,
        edit: impl FnOnce(&mut Keeper) -> std::result::Result<T, super::keeper::Failed>,
    ) -> Result<T> {
        let mut keeper: MutexGuard<'_, Keeper> = self.keeper.lock();
        // Whoever waited for the lock must not go on from what a poisoned edit left.
        self.health.check_sound()?;
        // Without the lock of the directory, that may be somebody else's by now.
        if self.lock.lock().is_none() {
            return Err(Health::closed());
        }
        edit(&mut keeper).map_err(|failed| if failed.ambiguous { self.poison(failed.error) } else { failed.error })
    }

    /// The next log file for a record with `payload_len` bytes: the prepared one, or one that is prepared now.
    pub(super) fn take_log(&self, payload_len: usize) -> Result<LogFile> {
        let mut spare = self.spare.lock();
        self.spare_wanted.store(false, Ordering::Relaxed);
        if let Some(file) = spare.file.take() {
            return Ok(file);
        }
        let len = self.settings.log_file_len.max(wal::file_len_for(payload_len) as u64);
        self.prepare_log(&mut spare, len)
    }

    /// Prepares the next log file if it will be needed soon and is not there; answers whether it did.
    pub(super) fn prepare_spare(&self) -> Result<bool> {
        let mut spare = self.spare.lock();
        if spare.file.is_some() || !self.spare_wanted.load(Ordering::Relaxed) {
            return Ok(false);
        }
        spare.file = Some(self.prepare_log(&mut spare, self.settings.log_file_len)?);
        Ok(true)
    }

    fn prepare_log(&self, spare: &mut Spare, len: u64) -> Result<LogFile> {
        let file = match self.prepare_log_after(spare.newest, len) {
            // On a full disk, what waits to be removed comes first.
            Err(error) if error.kind() == ErrorKind::NoSpace && self.retired.lock().reap(&*self.env.fs) => {
                self.prepare_log_after(spare.newest, len)?
            }
            prepared => prepared?,
        };
        spare.newest = file.number();
        Ok(file)
    }

    fn prepare_log_after(&self, previous: FileNumber, len: u64) -> Result<LogFile> {
        let options = LogFileOptions {
            store: self.store,
            number: self.next_file_number()?,
            previous,
            class: class_of(self.settings.durability),
            len,
        };
        let prepared = LogFile::prepare(&self.env, &self.directory, &options);
        // Indeterminate means that the file may be there after a crash, so that none may take its place.
        prepared.map_err(|error| if error.outcome() == Outcome::Indeterminate { self.poison(error) } else { error })
    }

    pub(super) fn no_bucket(&self, name: &str) -> Error {
        let message = format!("no bucket {name:?} in {}; create it first", self.directory.display());
        Error::new(ErrorKind::BucketNotFound, message)
    }

    pub(super) fn bucket_gone(&self) -> Error {
        Error::new(ErrorKind::BucketNotFound, "the bucket of this handle was deleted; open or create it again")
    }
}

/// Whether a name in the store's directory is one of ours, and which number it has.
pub(super) fn own_file_number(name: &str) -> Option<FileNumber> {
    let (stem, extension) = name.split_once('.')?;
    let known = ["wal", "spare", "seg", "tmp", "tail"].contains(&extension);
    let number: u64 = stem.parse().ok()?;
    // Only as we write it: another spelling of a number is somebody's copy.
    (known && format!("{number:08}.{extension}") == name).then_some(FileNumber(number))
}

/// The name of a finished segment.
pub(super) fn segment_name(number: FileNumber) -> String {
    format!("{:08}.seg", number.0)
}
