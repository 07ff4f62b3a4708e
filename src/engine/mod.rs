//! The engine: owns the parts and the threads, and is the only floor with locks and a "when".
//!
//! - [`write`]: the caller's side of a write; [`bulk`]: of one to many keys; [`request`]: what it asks the leader for; [`queue`]: who leads; [`commit`]: the leader's side,
//!   step by step; [`judge`]: what may happen; [`newest`]: what a key holds;
//!   [`size`]: what a bucket takes; [`leader`]: what only a leader touches; [`change`]: what is
//!   no entry; [`rotation`]: from one log file and memtable to the next; [`tail`]: how far the log is durable.
//! - [`bus`]: from a commit to whoever watches.
//! - [`read`]: the read path, without locks: one reader, for handles and snapshots alike.
//! - [`jobs`]: what happens behind writers; [`flush`], [`merge`], [`sweep`] ([`horizon`]); [`board`]: where they are called;
//!   [`pressure`]: what writers pay;
//!   [`build`]: making segment files;
//!   [`keeper`] and [`edits`]: the manifest; [`retired`]: what waits for its last reader; [`reserve`]: space for a full disk.
//! - [`recovery`]: from a directory to an open store; [`directory`]: what lies there; [`replayed`]: what the log says; [`closing`]: the way
//!   back; [`check`]: reads everything and checks it.
//! - [`core`]: what they share, and the order in which its locks are taken; [`health`]: open, closed or poisoned; [`settings`].
//!
//! An [`Engine`] is what the public handles hold: when the last one goes, the threads are stopped and the log is synced.

mod board;
mod build;
mod bulk;
mod bus;
mod change;
mod check;
mod closing;
mod commit;
mod core;
mod directory;
mod edits;
mod flush;
mod health;
mod horizon;
mod jobs;
mod judge;
mod keeper;
mod leader;
mod merge;
mod newest;
mod pressure;
mod queue;
mod read;
mod recovery;
mod replayed;
mod request;
mod reserve;
mod retired;
mod rotation;
mod settings;
mod size;
mod sweep;
mod tail;
mod write;

pub(crate) use bulk::Swept;
pub(crate) use bus::{Next, Notice, Start, Stopper, Watcher, Wishes};
pub(crate) use read::{ChangeScan, Counts, EntryScan, Estimate, Item, Moment, Reader, Scan, Span, StoreMoment, Wanted};
pub(crate) use request::{Condition, OpFields};
pub(crate) use settings::Settings;
pub(crate) use write::{Submitted, WriteOptions};

use std::path::Path;
use std::sync::Arc;

use self::core::Core;
use self::jobs::Job;
use self::request::{Answer, Request};
use crate::entry::Flags;
use crate::env::Env;
use crate::env::sync::{JoinHandle, Mutex, current_thread, spawn};
use crate::error::{Error, Result};
use crate::number::{BucketId, CommitNumber, Revision};
use crate::report::{RecoveryReport, StoreStatus, VerifyReport};
use crate::spec::BucketSpec;
use crate::subject::Pattern;

/// An open store.
#[derive(Debug)]
pub(crate) struct Engine {
    core: Arc<Core>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Commits what nobody waits for; started when it is first needed.
    committer: Mutex<Option<JoinHandle<()>>>,
    /// Whether there is a thread for markers of expiry, which is started when a bucket first has them.
    has_sweeper: Mutex<bool>,
    /// What the first close answered, for whoever closes again; held while it works.
    closed: Mutex<Option<Result<()>>>,
}

impl Engine {
    pub(crate) fn open(env: Env, directory: &Path, settings: Settings) -> Result<Arc<Self>> {
        let core = Arc::new(recovery::open(env, directory, settings.fitted())?);
        core.keep_reserve();
        let engine = Arc::new(Self {
            core,
            threads: Mutex::default(),
            committer: Mutex::default(),
            has_sweeper: Mutex::default(),
            closed: Mutex::default(),
        });
        engine.start_jobs()?;
        Ok(engine)
    }

    fn start_jobs(&self) -> Result<()> {
        if !self.core.settings.threads {
            return Ok(());
        }
        Job::ALL.into_iter().try_for_each(|job| self.start_job(job))?;
        let view = self.core.view.load();
        let mut buckets = view.buckets.all(view.visible());
        if buckets.any(|state| state.spec.marker_ttl > 0) { self.start_sweeper() } else { Ok(()) }
    }

    fn start_job(&self, job: Job) -> Result<()> {
        let core = Arc::clone(&self.core);
        let thread = spawn(job.thread_name(), move || jobs::run(&core, job));
        let thread = thread.map_err(|error| Error::io("start a thread", &self.core.directory, error))?;
        self.threads.lock().push(thread);
        Ok(())
    }

    fn start_sweeper(&self) -> Result<()> {
        let mut has_sweeper = self.has_sweeper.lock();
        if !*has_sweeper && self.core.settings.threads {
            self.start_job(Job::Sweep)?;
            *has_sweeper = true;
        }
        Ok(())
    }

    fn stop_jobs(&self) {
        self.core.board.stop();
        let threads = std::mem::take(&mut *self.threads.lock());
        threads.into_iter().for_each(join);
    }

    /// Lets go of the directory, after which nothing of ours writes there any more: jobs have ended, and whoever merges or flushes for itself
    /// has been waited for or finds the store closed.
    fn release(&self) {
        // An edit of the manifest that is under way comes first, and any later one is refused.
        let keeper = self.core.keeper.lock();
        *self.core.lock.lock() = None;
        drop(keeper);
    }

    pub(crate) fn create_bucket(&self, spec: BucketSpec) -> Result<BucketId> {
        if spec.marker_ttl > 0 {
            self.start_sweeper()?;
        }
        match self.core.submit(Request::CreateBucket(spec))? {
            Answer::Bucket(id) => Ok(id),
            other => unreachable!("creating a bucket answers its id, not {other:?}"),
        }
    }

    pub(crate) fn find_bucket(&self, name: &str) -> Result<BucketId> {
        self.core.health.check_open()?;
        let view = self.core.view.load();
        view.buckets.find(name, view.visible()).map(|state| state.id).ok_or_else(|| self.core.no_bucket(name))
    }

    pub(crate) fn delete_bucket(&self, name: &str) -> Result<()> {
        self.core.submit(Request::DeleteBucket(name.to_owned())).map(|_| ())
    }

    /// Gives the bucket of that name this configuration.
    pub(crate) fn edit_bucket(&self, spec: BucketSpec) -> Result<BucketId> {
        let id = self.find_bucket(&spec.name)?;
        if spec.marker_ttl > 0 {
            self.start_sweeper()?;
        }
        // The leader of the change leaves nothing that is due behind it; the less there is left to do for it, the better.
        self.core.sweep(Some(id)).map_err(Error::not_applied)?;
        self.core.submit(Request::EditBucket(id, spec)).map(|_| id)
    }

    pub(crate) fn batch_ops_max(&self) -> usize {
        self.core.settings.batch_ops_max as usize
    }

    /// How many values of a load are one commit.
    pub(crate) fn load_values(&self) -> usize {
        self.core.settings.load_values
    }

    /// Refuses values over the limits of the store or of their buckets.
    pub(crate) fn check_values(&self, fields: &[OpFields<'_>]) -> Result<()> {
        self.core.check_values(fields)
    }

    pub(crate) fn purge_all(&self, id: BucketId) -> Result<Revision> {
        self.core.purge_all(id)
    }

    pub(crate) fn write(&self, fields: &OpFields<'_>, options: WriteOptions) -> Result<Revision> {
        self.core.write(fields, options)
    }

    pub(crate) fn write_batch(&self, fields: &[OpFields<'_>], options: WriteOptions) -> Result<Vec<Revision>> {
        self.core.write_batch(fields, options)
    }

    pub(crate) fn mark_matching(&self, id: BucketId, pattern: &Pattern, flags: Flags) -> Result<Swept> {
        self.core.mark_matching(id, pattern, flags)
    }

    /// Answers how many keys had a marker.
    pub(crate) fn purge_deletes(&self, id: BucketId, age: u64) -> Result<u64> {
        Ok(self.core.purge_deletes(id, age)?.count)
    }

    pub(crate) fn touch(&self, id: BucketId, key: &[u8], ttl: u64, options: WriteOptions) -> Result<Option<Revision>> {
        self.core.touch(id, key, ttl, options)
    }

    /// Puts a write in line; it is committed by a thread of the store's own.
    pub(crate) fn submit(&self, fields: &OpFields<'_>, options: WriteOptions) -> Result<Submitted> {
        self.start_committer()?;
        self.core.submit_detached(fields, options)
    }

    /// What became of a write that was put in line, as soon as it has been committed.
    pub(crate) fn outcome_of(&self, submitted: &Submitted) -> Result<Revision> {
        submitted.wait()
    }

    /// The same, if it has been committed.
    pub(crate) fn outcome_now(&self, submitted: &Submitted) -> Option<Result<Revision>> {
        submitted.poll()
    }

    fn start_committer(&self) -> Result<()> {
        let mut committer = self.committer.lock();
        if committer.is_none() && self.core.settings.threads {
            let core = Arc::clone(&self.core);
            let thread = spawn("annals-commit", move || core.run_committer());
            *committer = Some(thread.map_err(|error| Error::io("start a thread", &self.core.directory, error))?);
        }
        Ok(())
    }

    /// Takes no more writes that nobody waits for, and ends the committer once those in line have been committed.
    fn stop_committer(&self) {
        self.core.queue.stop();
        let thread = self.committer.lock().take();
        if thread.as_ref().is_some_and(is_this_one) {
            // Nobody else leads what is in line.
            self.core.run_committer();
        }
        thread.into_iter().for_each(join);
    }

    /// Hands a reader of the bucket as it is now to `read`.
    pub(crate) fn read<T>(&self, id: BucketId, read: impl FnOnce(&Reader<'_>) -> Result<T>) -> Result<T> {
        self.core.read(id, read)
    }

    /// The same for questions about the newest entry of one key.
    #[inline]
    pub(crate) fn read_newest<T>(&self, id: BucketId, read: impl FnOnce(&Reader<'_>) -> Result<T>) -> Result<T> {
        self.core.read_newest(id, read)
    }

    /// The bucket as it is now, to keep.
    pub(crate) fn moment(&self, id: BucketId) -> Result<Moment> {
        self.core.moment(id)
    }

    /// The store as it is now, to keep.
    pub(crate) fn store_moment(&self) -> Result<StoreMoment> {
        self.core.store_moment()
    }

    /// Begins to watch a bucket.
    pub(crate) fn watch(&self, id: BucketId, wishes: Wishes) -> Result<Watcher> {
        Watcher::new(&self.core, id, wishes)
    }

    pub(crate) fn sync(&self) -> Result<CommitNumber> {
        self.core.health.check_open()?;
        let synced = self.core.tail.sync(&self.core.health);
        self.core.wake_watchers();
        synced
    }

    pub(crate) fn durable_commit(&self) -> CommitNumber {
        self.core.tail.durable()
    }

    pub(crate) fn status(&self) -> Result<StoreStatus> {
        self.core.health.check_open()?;
        let view = self.core.view.load();
        let visible = view.visible();
        Ok(StoreStatus {
            directory: self.core.directory.clone(),
            durability: self.core.settings.durability,
            last_commit: visible,
            durable_commit: self.core.tail.durable(),
            buckets: view.buckets.all(visible).count(),
            memtable_bytes: view.memtable_bytes(),
            sealed_memtables: view.sealed.len(),
            runs: view.runs.len(),
            segments: view.segments().count(),
            segment_bytes: view.segments().map(|segment| segment.len()).sum(),
            segment_entries: view.segments().map(|segment| segment.entries()).sum(),
            pinned_bytes: self.core.retired.lock().bytes(),
            backlog_bytes: self.core.debt(&view).bytes,
            write_delay: self.core.pressure.delayed(),
            poisoned: self.core.health.is_poisoned(),
            job_error: self.core.board.error().map(|error| error.to_string()),
        })
    }

    pub(crate) fn recovery(&self) -> &RecoveryReport {
        &self.core.report
    }

    pub(crate) fn verify(&self, progress: &mut dyn FnMut(&VerifyReport)) -> Result<VerifyReport> {
        self.core.verify(progress)
    }

    pub(crate) fn close(&self) -> Result<()> {
        let mut closed = self.closed.lock();
        if let Some(answer) = &*closed {
            return answer.clone();
        }
        self.stop_committer();
        self.core.health.close();
        self.core.end_watches();
        self.stop_jobs();
        self.core.wait_for_merge();
        let settled = self.core.settle_for_good();
        if settled.is_err() {
            self.core.leave();
        }
        // The lock goes last, and goes whatever happened.
        self.release();
        *closed = Some(settled.clone());
        settled
    }

    /// Store time, in nanoseconds since 1970 UTC.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn store_time(&self) -> u64 {
        self.core.now()
    }

    /// Commits the markers of all that has expired; answers whether there was any.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn sweep(&self) -> Result<bool> {
        Ok(self.core.sweep(None)?.has_written)
    }

    /// One piece of background work; answers whether there was any.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn step(&self) -> Result<bool> {
        self.core.health.check_open()?;
        self.core.step()
    }

    pub(crate) fn flush(&self) -> Result<()> {
        self.core.health.check_open()?;
        let flushed = self.core.flush();
        self.core.wake_watchers();
        flushed
    }

    pub(crate) fn compact(&self) -> Result<()> {
        self.flush()?;
        self.core.merge_all()
    }

    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn merge_all(&self) -> Result<()> {
        self.core.health.check_open()?;
        self.core.merge_all()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop_committer();
        self.core.note_set_clock();
        if self.core.health.close() {
            self.core.end_watches();
            self.stop_jobs();
            self.core.leave();
            self.release();
        }
    }
}

fn is_this_one(thread: &JoinHandle<()>) -> bool {
    thread.thread().id() == current_thread().id()
}

/// Waits for the end of a thread of the store; unless that is this one, where a waker has let go of the last handle (E10).
fn join(thread: JoinHandle<()>) {
    if !is_this_one(&thread) {
        // A job that panicked has poisoned the store; there is nobody else to tell.
        let _ = thread.join();
    }
}
