//! What a user can choose: options of a store, the configuration of a bucket, levels of durability. Defaults, limits, validation.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::durability::Durability;
use crate::engine::{Settings, WriteOptions};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::key::check_bucket_name;
use crate::spec::{ANNOTATION_BYTES_MAX, BucketSpec, HISTORY_MAX};

/// The shortest time to live of an entry, and the lowest limit of age of a bucket.
const TTL_MIN: Duration = Duration::from_millis(1);
const AGE_MIN: Duration = Duration::from_millis(100);

/// How to open a store.
///
/// ```
/// use annals::{Durability, Options};
/// let directory = tempfile::tempdir()?;
/// let store = Options::new().durability(Durability::OsCache).open(directory.path().join("data"))?;
/// # store.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    settings: Settings,
    env: Option<Env>,
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Options {
    /// The defaults: [`Durability::Sync`], 256 MiB of memory for what is not in segments yet, values up to 16 MiB, created if missing.
    #[must_use]
    pub fn new() -> Self {
        Self { settings: Settings::default(), env: None }
    }

    /// What has happened to a write when it is acknowledged. Default: [`Durability::Sync`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.settings.durability = durability;
        self
    }

    /// Memory for entries that are not in segments yet, in bytes; writers wait for a flush beyond it. Default 256 MiB, at least 64 KiB.
    #[must_use]
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.settings.memory_budget = bytes;
        self
    }

    /// Memory for decompressed blocks of compressed buckets, in bytes, shared by all of them. Default 64 MiB; 0 keeps none.
    #[must_use]
    pub fn cache_size(mut self, bytes: u64) -> Self {
        self.settings.cache_len = bytes;
        self
    }

    /// The largest value that any bucket takes, in bytes. Default 16 MiB, at most 64 MiB.
    #[must_use]
    pub fn max_value_size(mut self, bytes: u64) -> Self {
        self.settings.value_len_max = bytes;
        self
    }

    /// The most operations of one batch. Default 1,000, at most 65,536.
    #[must_use]
    pub fn max_batch_operations(mut self, count: u32) -> Self {
        self.settings.batch_ops_max = count;
        self
    }

    /// Whether to create the store where there is none. Default true; if false, a missing store is an `Io` error of kind not found.
    #[must_use]
    pub fn create_if_missing(mut self, create: bool) -> Self {
        self.settings.create_if_missing = create;
        self
    }

    /// Whether to refuse, as `Corrupt`, a log whose last records are torn, rather than to cut them off and report it in
    /// [`Store::recovery`](crate::Store::recovery). A crash below or at any durability may leave such a tail. Default false.
    #[must_use]
    pub fn strict(mut self, strict: bool) -> Self {
        self.settings.strict = strict;
        self
    }

    /// Where to run, if not in the operating system's files or in memory, and how; checked.
    pub(crate) fn checked(self) -> Result<(Option<Env>, Settings)> {
        let settings = self.settings;
        let refuse = |message: String| Err(Error::new(ErrorKind::InvalidArgument, message));
        if settings.memory_budget < 64 << 10 {
            return refuse(format!("memory budget of {} bytes; it takes at least 65536", settings.memory_budget));
        }
        if settings.value_len_max > 64 << 20 {
            return refuse(format!("value size limit of {} bytes; it may be at most 67108864 (64 MiB)", settings.value_len_max));
        }
        if !(1..=65_536).contains(&settings.batch_ops_max) {
            return refuse(format!("batches of {} operations; it takes 1 to 65536", settings.batch_ops_max));
        }
        if let Durability::Periodic { delay, bytes } = settings.durability {
            if delay < Duration::from_millis(1) {
                return refuse(format!("sync delay of {delay:?}; it takes at least 1 ms, or use Durability::Sync"));
            }
            if bytes < 4096 {
                return refuse(format!("{bytes} unsynced bytes; it takes at least 4096, or use Durability::Sync"));
            }
        }
        Ok((self.env, settings))
    }
}

/// For tests and benchmarks: no stable API.
#[cfg(any(test, feature = "testing"))]
impl Options {
    /// Runs in another environment.
    #[doc(hidden)]
    #[must_use]
    pub fn env(mut self, env: Env) -> Self {
        self.env = Some(env);
        self
    }

    /// No threads: flushes and merges happen in [`Store::step`](crate::Store::step) and where a writer would wait for them.
    #[doc(hidden)]
    #[must_use]
    pub fn manual_jobs(mut self) -> Self {
        self.settings.threads = false;
        self
    }

    /// Small structures, so that rare paths are common: log file, memtable and block sizes in bytes. A watch reads as little at once as fits
    /// such a memtable.
    #[doc(hidden)]
    #[must_use]
    pub fn sizes(mut self, log_file_len: u64, memtable_len: u64, block_len: u32) -> Self {
        self.settings.log_file_len = log_file_len;
        self.settings.memtable_len = memtable_len;
        self.settings.block_len = block_len;
        self.settings.reserve_len = 64 << 10;
        self.settings.chunk_entries = (memtable_len / 1024).clamp(3, 1024) as usize;
        self
    }

    /// How many keys loads, and writes to all keys that match, put into one commit.
    #[doc(hidden)]
    #[must_use]
    pub fn chunk_size(mut self, keys: usize) -> Self {
        self.settings.load_values = keys;
        self.settings.sweep_keys = keys;
        self
    }

    /// Bytes at which a segment file ends and the next begins; merges take slices of four times that.
    #[doc(hidden)]
    #[must_use]
    pub fn segment_size(mut self, segment_len: u64) -> Self {
        self.settings.segment_len = segment_len;
        self
    }
}

/// How one value is put; see [`Bucket::put_with`](crate::Bucket::put_with).
///
/// ```
/// use std::time::Duration;
/// use annals::{Durability, PutOptions};
/// let options = PutOptions::new().ttl(Duration::from_secs(60)).durability(Durability::Sync);
/// # let _ = options;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct PutOptions {
    ttl: Option<Duration>,
    synced: bool,
}

impl PutOptions {
    /// No time to live, and the store's own durability.
    #[must_use]
    pub const fn new() -> Self {
        Self { ttl: None, synced: false }
    }

    /// How long after its commit the entry expires, at least 1 ms; `None` (the default) is never. A bucket's `max_age` bounds it.
    ///
    /// There is no negative time to live.
    ///
    /// ```compile_fail,E0600
    /// let options = annals::PutOptions::new().ttl(std::time::Duration::from_secs(-1_u64));
    /// ```
    #[must_use]
    pub fn ttl(mut self, ttl: impl Into<Option<Duration>>) -> Self {
        self.ttl = ttl.into();
        self
    }

    /// Asks for this level for this write, where it is more than the store's own: with [`Durability::Sync`] the write is synced before it
    /// returns. Never less than the store's.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.synced = durability == Durability::Sync;
        self
    }

    /// The time to live in nanoseconds, 0 for none, and how to write.
    pub(crate) fn checked(self) -> Result<(u64, WriteOptions)> {
        if let Some(ttl) = self.ttl.filter(|ttl| *ttl < TTL_MIN) {
            let message = format!("time to live of {ttl:?}; it takes at least 1 ms, or none");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok((self.ttl.map_or(0, nanoseconds), WriteOptions { synced: self.synced, ..WriteOptions::default() }))
    }
}

/// A span in nanoseconds; more than 584 years are as good as that.
pub(crate) fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// How the values of a bucket are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// Compressed with Zstandard, block by block, where that makes a block at least an eighth smaller. Needs the feature `zstd`, which is on by default.
    Zstd,
}

/// What a bucket is to be.
///
/// ```
/// use annals::{BucketConfig, Store};
/// let store = Store::in_memory()?;
/// let config = BucketConfig::new("users").history(8).max_value_size(4096).description("accounts by id");
/// let users = store.create_bucket(config.clone())?;
/// assert_eq!(users.config()?, config);
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketConfig {
    spec: BucketSpec,
    /// As they were asked for: 0 stands for "none" in the spec, and is refused here.
    max_value_size: Option<u64>,
    max_bytes: Option<u64>,
    max_age: Option<Duration>,
    marker_ttl: Option<Duration>,
}

impl BucketConfig {
    /// A bucket that keeps one entry per key, without limits of its own. Names are `[A-Za-z0-9_-]+`, up to 252 bytes.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { spec: BucketSpec::new(name.into()), max_value_size: None, max_bytes: None, max_age: None, marker_ttl: None }
    }

    /// How many entries of each key are kept, markers included: 1 to 64. Default 1. There is no value for "all".
    ///
    /// ```compile_fail,E0600
    /// let config = annals::BucketConfig::new("b").history(-1);
    /// ```
    #[must_use]
    pub fn history(mut self, depth: u8) -> Self {
        self.spec.history = depth;
        self
    }

    /// How old entries get, markers included, whatever their own time to live; at least 100 ms, `None` (the default) is any age. Expiry
    /// takes no revision, unless [`limit_markers`](BucketConfig::limit_markers) is set.
    #[must_use]
    pub fn max_age(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.max_age = age.into();
        self.spec.max_age = self.max_age.map_or(0, nanoseconds);
        self
    }

    /// Whether a key that expires leaves a marker, and how long that lives: at least 100 ms, and no longer than
    /// [`max_age`](BucketConfig::max_age). `None` (the default) is no marker: keys expire silently.
    ///
    /// The marker is an entry of its own: operation purge, reason [`Expired`](crate::Reason::Expired), the bucket's next revision. So
    /// history and watches show that a key has expired. It comes soon after the deadline, by itself; a write of the key in between,
    /// whether it succeeds or not, finds the marker in front of it. Reads see nothing of the key from the deadline on, marker or not.
    /// What expired while the store was shut gets its marker after the next open.
    ///
    /// A purge marker that expires leaves none, nor does a marker of expiry; a delete marker does. Where newer entries have taken the
    /// place of an expired one, there is nothing to tell. Keys that had expired before markers were switched on leave none. Every change of
    /// the configuration commits first what is due.
    ///
    /// With markers, every write in a bucket where entries may expire reads its key first.
    ///
    /// ```
    /// use annals::{BucketConfig, Store};
    /// use std::time::Duration;
    /// let store = Store::in_memory()?;
    /// let config = BucketConfig::new("sessions").limit_markers(Duration::from_secs(60));
    /// assert_eq!(config.marker_lifetime(), Some(Duration::from_secs(60)));
    /// let sessions = store.create_bucket(config)?;
    /// # Ok::<(), annals::Error>(())
    /// ```
    #[must_use]
    pub fn limit_markers(mut self, lifetime: impl Into<Option<Duration>>) -> Self {
        self.marker_ttl = lifetime.into();
        self.spec.marker_ttl = self.marker_ttl.map_or(0, nanoseconds);
        self
    }

    /// What the retained entries may take together, in bytes: key + value + 32 for each, uncompressed; at least 1, `None` (the default) is
    /// no limit. A write that would go beyond is refused as `BucketFull`; deletes and purges always pass. With a limit, every
    /// write reads what it pushes out.
    #[must_use]
    pub fn max_bytes(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.max_bytes = bytes.into();
        self.spec.max_bytes = self.max_bytes.unwrap_or(0);
        self
    }

    /// How its values are stored; default [`Compression::None`]. What was written before a change is converted by later merges.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.spec.compression = match compression {
            Compression::None => 0,
            Compression::Zstd => 1,
        };
        self
    }

    /// The largest value, in bytes, at least 1; `None` (the default) leaves the store's limit.
    #[must_use]
    pub fn max_value_size(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.max_value_size = bytes.into();
        self.spec.max_value_size = self.max_value_size.unwrap_or(0);
        self
    }

    /// Free text; with the metadata at most 16 KiB.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.spec.description = text.into();
        self
    }

    /// Free key-value pairs; with the description at most 16 KiB.
    #[must_use]
    pub fn metadata(mut self, pairs: BTreeMap<String, String>) -> Self {
        self.spec.metadata = pairs;
        self
    }

    /// The bucket's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// How many entries of each key are kept.
    #[must_use]
    pub const fn history_depth(&self) -> u8 {
        self.spec.history
    }

    /// The bucket's own limit on values, if it has one.
    #[must_use]
    pub const fn value_size_limit(&self) -> Option<u64> {
        self.max_value_size
    }

    /// How old entries get, if there is a limit.
    #[must_use]
    pub const fn age_limit(&self) -> Option<Duration> {
        self.max_age
    }

    /// How long markers of expiry live, if there are any.
    #[must_use]
    pub const fn marker_lifetime(&self) -> Option<Duration> {
        self.marker_ttl
    }

    /// What the retained entries may take together, if there is a limit.
    #[must_use]
    pub const fn byte_limit(&self) -> Option<u64> {
        self.max_bytes
    }

    /// How its values are stored.
    #[must_use]
    pub const fn value_compression(&self) -> Compression {
        if self.spec.compression == 0 { Compression::None } else { Compression::Zstd }
    }

    /// The free text.
    #[must_use]
    pub fn description_text(&self) -> &str {
        &self.spec.description
    }

    /// The free key-value pairs.
    #[must_use]
    pub const fn metadata_pairs(&self) -> &BTreeMap<String, String> {
        &self.spec.metadata
    }

    pub(crate) fn from_spec(spec: BucketSpec) -> Self {
        let given = |limit: u64| Some(limit).filter(|limit| *limit > 0);
        let (max_value_size, max_bytes) = (given(spec.max_value_size), given(spec.max_bytes));
        let max_age = given(spec.max_age).map(Duration::from_nanos);
        let marker_ttl = given(spec.marker_ttl).map(Duration::from_nanos);
        Self { spec, max_value_size, max_bytes, max_age, marker_ttl }
    }

    pub(crate) fn checked(self) -> Result<BucketSpec> {
        check_bucket_name(&self.spec.name)?;
        self.checked_limits()
    }

    /// Everything but the name, which outside of creation is found or not.
    pub(crate) fn checked_limits(self) -> Result<BucketSpec> {
        let spec = self.spec;
        if self.max_value_size == Some(0) {
            let message =
                format!("value size limit of 0 bytes for bucket {}; it takes at least 1, or None for no limit", spec.name);
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        if self.max_bytes == Some(0) {
            let message = format!("byte limit of 0 for bucket {}; it takes at least 1, or None for no limit", spec.name);
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        if let Some(age) = self.max_age.filter(|age| *age < AGE_MIN) {
            let message = format!("age limit of {age:?} for bucket {}; it takes at least 100 ms, or None for any age", spec.name);
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        if let Some(lifetime) = self.marker_ttl.filter(|lifetime| *lifetime < AGE_MIN) {
            let message = format!(
                "lifetime of {lifetime:?} for markers of bucket {}; it takes at least 100 ms, or None for none",
                spec.name
            );
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        if spec.compression != 0 && !cfg!(feature = "zstd") {
            let message = format!("compression for bucket {}; this build lacks the feature `zstd`", spec.name);
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        if !(1..=HISTORY_MAX).contains(&spec.history) {
            let message = format!("history depth {} for bucket {}; it takes 1 to {HISTORY_MAX}", spec.history, spec.name);
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        let pairs: usize = spec.metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
        let annotation = spec.description.len() + pairs;
        if annotation > ANNOTATION_BYTES_MAX {
            let message = format!(
                "description and metadata of bucket {} have {annotation} bytes; at most {ANNOTATION_BYTES_MAX}",
                spec.name
            );
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(spec)
    }
}
