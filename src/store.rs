//! The handle of a store: open, buckets, durability, status, close.

use std::path::Path;
use std::sync::Arc;

use crate::batch::Batch;
use crate::bucket::Bucket;
use crate::config::{BucketConfig, Options};
use crate::durability::Durability;
use crate::engine::Engine;
use crate::env::Env;
use crate::error::Result;
use crate::number::CommitNumber;
use crate::report::{RecoveryReport, StoreStatus, VerifyReport};
use crate::snapshot::Snapshot;

/// A store: one directory, many buckets. Clones share it; it is `Send` and `Sync`.
///
/// Dropping the last handle stops the background jobs and syncs the log; it does not flush, so the next open replays the log.
/// [`close`](Store::close) flushes first and reports errors.
///
/// ```
/// use annals::{BucketConfig, Store};
/// let directory = tempfile::tempdir()?;
/// let path = directory.path().join("data");
/// {
///     let store = Store::open(&path)?;
///     store.create_bucket(BucketConfig::new("users"))?.put("eu.42.email", "ada@example.org")?;
///     store.close()?;
/// }
/// let store = Store::open(&path)?;
/// assert_eq!(store.bucket("users")?.get("eu.42.email")?.unwrap(), *b"ada@example.org");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Store {
    engine: Arc<Engine>,
}

impl Options {
    /// Opens the store in `directory`, which is created if it is missing; the directory above it must exist.
    ///
    /// # Errors
    /// `Locked` if it is open already, `Corrupt` or `UnsupportedFormat` with file and offset, `InvalidArgument` for an option out of
    /// range, `NoSpace`, `Io`.
    pub fn open(self, directory: impl AsRef<Path>) -> Result<Store> {
        let (env, settings) = self.checked()?;
        Ok(Store { engine: Engine::open(env.unwrap_or_else(Env::os), directory.as_ref(), settings)? })
    }

    /// Opens a store without files: the same calls, gone with its last handle.
    ///
    /// # Errors
    /// `InvalidArgument` for an option out of range.
    pub fn in_memory(self) -> Result<Store> {
        let (env, mut settings) = self.checked()?;
        // Nothing outlives the process, so nothing is gained by syncs.
        settings.durability = Durability::OsCache;
        settings.reserve_len = 0;
        Ok(Store { engine: Engine::open(env.unwrap_or_else(Env::memory), Path::new("/memory"), settings)? })
    }
}

impl Store {
    /// Opens the store in `directory` with the default [`Options`], creating it if missing or empty.
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        Options::new().open(directory)
    }

    /// A store without files, for tests and caches: the same calls, gone with its last handle.
    ///
    /// # Errors
    /// Only what the system refuses, such as starting a thread.
    pub fn in_memory() -> Result<Self> {
        Options::new().in_memory()
    }

    /// Creates a bucket, or returns the one that exists with the same configuration.
    ///
    /// Durable on return as a write is. Costs one commit, and memory for the name and configuration.
    ///
    /// # Errors
    /// `InvalidBucketName`, `InvalidArgument` (history depth, annotations), `BucketExists` if its configuration differs, and those of
    /// a write.
    pub fn create_bucket(&self, config: BucketConfig) -> Result<Bucket> {
        let spec = config.checked()?;
        let name = spec.name.clone();
        let id = self.engine.create_bucket(spec)?;
        Ok(Bucket::new(Arc::clone(&self.engine), id, name.into()))
    }

    /// Gives the bucket of that name this configuration, all of it: what `config` does not say goes back to its default.
    ///
    /// Lower limits hold for every reader at once. Raising a limit brings nothing back that a lower one had removed. Durable on
    /// return as a write is; costs one commit.
    ///
    /// ```
    /// use annals::{BucketConfig, Store};
    /// let store = Store::in_memory()?;
    /// let users = store.create_bucket(BucketConfig::new("users").history(5))?;
    /// users.put("ada", "1")?;
    /// users.put("ada", "2")?;
    /// store.update_bucket(BucketConfig::new("users").history(1))?;
    /// assert_eq!(users.history("ada")?.count(), 1);
    /// store.update_bucket(BucketConfig::new("users").history(5))?;
    /// assert_eq!(users.history("ada")?.count(), 1);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// `BucketNotFound`, `InvalidArgument`, and those of a write.
    pub fn update_bucket(&self, config: BucketConfig) -> Result<Bucket> {
        // The name is looked at before anything else.
        self.engine.find_bucket(config.name())?;
        let spec = config.checked_limits()?;
        let name = spec.name.clone();
        let id = self.engine.edit_bucket(spec)?;
        Ok(Bucket::new(Arc::clone(&self.engine), id, name.into()))
    }

    /// An empty batch of writes that will happen together or not at all.
    #[must_use]
    pub fn batch(&self) -> Batch {
        Batch::new(Arc::clone(&self.engine))
    }

    /// The bucket of that name.
    ///
    /// # Errors
    /// `BucketNotFound`, `Closed`.
    pub fn bucket(&self, name: impl AsRef<str>) -> Result<Bucket> {
        let id = self.engine.find_bucket(name.as_ref())?;
        Ok(Bucket::new(Arc::clone(&self.engine), id, name.as_ref().into()))
    }

    /// The names of all buckets, in order.
    ///
    /// # Errors
    /// `Closed`.
    pub fn buckets(&self) -> Result<Vec<String>> {
        Ok(self.engine.store_moment()?.bucket_names())
    }

    /// The whole store as it is now, read-only, to keep while it changes: all buckets as of one commit. Costs nothing per bucket or
    /// entry, and nobody waits for it.
    ///
    /// ```
    /// use annals::{BucketConfig, Store};
    /// let store = Store::in_memory()?;
    /// let (a, b) = (store.create_bucket(BucketConfig::new("a"))?, store.create_bucket(BucketConfig::new("b"))?);
    /// a.put("k", "1")?;
    /// let snapshot = store.snapshot()?;
    /// b.put("k", "2")?;
    /// assert_eq!(snapshot.bucket("b")?.get("k")?, None);
    /// assert_eq!(snapshot.bucket("a")?.get("k")?.unwrap(), *b"1");
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Closed`.
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.engine.store_moment().map(Snapshot::new)
    }

    /// Deletes a bucket with all that it holds. Handles of it answer `BucketNotFound` from then on, also when a bucket of the same name
    /// is created again. Durable on return as a write is; the space comes back with later merges.
    ///
    /// # Errors
    /// `BucketNotFound`, and those of a write.
    pub fn delete_bucket(&self, name: impl AsRef<str>) -> Result<()> {
        self.engine.delete_bucket(name.as_ref())
    }

    /// Makes everything committed before the call durable, and answers up to which commit that is.
    ///
    /// # Errors
    /// `Io` if the sync fails, after which the store is poisoned; `Poisoned`, `Closed`.
    pub fn sync(&self) -> Result<CommitNumber> {
        self.engine.sync()
    }

    /// The newest commit known to be durable. Reads one number.
    #[must_use]
    pub fn durable_commit(&self) -> CommitNumber {
        self.engine.durable_commit()
    }

    /// Writes everything that is in memory to segments. On return all of it is durable and named by the manifest, whatever the level of
    /// durability, and the next open has nothing to replay of it.
    ///
    /// Not needed for anything: memory is written out as it fills, and at [`close`](Store::close). Costs a file, so it is not for every write;
    /// [`sync`](Store::sync) is what makes writes durable.
    ///
    /// ```
    /// use annals::{BucketConfig, Store};
    /// let store = Store::in_memory()?;
    /// store.create_bucket(BucketConfig::new("users"))?.put("ada", "1")?;
    /// store.flush()?;
    /// assert_eq!(store.status()?.segment_entries, 1);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NoSpace` or `Io`, after which everything is as it was; `Poisoned`, `Closed`.
    pub fn flush(&self) -> Result<()> {
        self.engine.flush()
    }

    /// Merges everything that was committed before the call into one sorted run, and leaves behind all that does not count any more:
    /// superseded and expired entries, what was purged, deleted buckets. Buckets are converted to their compression.
    ///
    /// Not needed for anything: the store merges by itself where that is worth it. This reads and writes everything that there is, slice by
    /// slice; after each slice the store is whole, so a call that fails or is cut off by a close has done a part of it. Reads and writes go on
    /// meanwhile. Space that old readers hold comes back when they go.
    ///
    /// ```
    /// use annals::{BucketConfig, Store};
    /// let store = Store::in_memory()?;
    /// let users = store.create_bucket(BucketConfig::new("users"))?;
    /// users.put("ada", "1")?;
    /// store.flush()?;
    /// users.put("ada", "2")?;
    /// store.compact()?;
    /// let status = store.status()?;
    /// assert_eq!((status.runs, status.segment_entries), (1, 1));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NoSpace`, `Io`, `Corrupt` with file and offset if something cannot be read (it stays as it is); `Poisoned`, `Closed`.
    pub fn compact(&self) -> Result<()> {
        self.engine.compact()
    }

    /// What the store is and holds at this moment.
    ///
    /// # Errors
    /// `Closed`.
    pub fn status(&self) -> Result<StoreStatus> {
        self.engine.status()
    }

    /// What opening the store found and did.
    #[must_use]
    pub fn recovery(&self) -> &RecoveryReport {
        self.engine.recovery()
    }

    /// Reads the manifest and every segment in full and checks every checksum, order and count. Reads go on meanwhile.
    ///
    /// # Errors
    /// `Corrupt` with file and offset for the first thing found wrong; `Io`, `Closed`.
    pub fn verify(&self) -> Result<VerifyReport> {
        self.engine.verify(&mut |_| {})
    }

    /// [`verify`](Store::verify) that calls `progress` with the report so far after every segment block or so.
    ///
    /// # Errors
    /// As [`verify`](Store::verify).
    pub fn verify_with(&self, mut progress: impl FnMut(&VerifyReport)) -> Result<VerifyReport> {
        self.engine.verify(&mut progress)
    }

    /// Writes all that is in memory to segments, marks the store as cleanly closed and releases its lock, for every clone of the
    /// handle. Values, iterators and snapshots that are held stay readable; every other call answers `Closed`.
    ///
    /// # Errors
    /// `NoSpace`, `Io`, `Poisoned`; the store is closed all the same, and the next open replays the log.
    pub fn close(&self) -> Result<()> {
        self.engine.close()
    }
}

/// For tests and benchmarks: no stable API.
#[cfg(any(test, feature = "testing"))]
impl Store {
    /// Store time, in nanoseconds since 1970 UTC.
    #[doc(hidden)]
    #[must_use]
    pub fn store_time(&self) -> u64 {
        self.engine.store_time()
    }

    /// Commits the markers of all that has expired, in buckets that have them; answers whether there was any.
    #[doc(hidden)]
    pub fn sweep(&self) -> Result<bool> {
        self.engine.sweep()
    }

    /// Does one piece of background work, if there is any; answers whether there was.
    #[doc(hidden)]
    pub fn step(&self) -> Result<bool> {
        self.engine.step()
    }

    /// Merges all runs into one now, without a flush before.
    #[doc(hidden)]
    pub fn merge_all(&self) -> Result<()> {
        self.engine.merge_all()
    }
}
