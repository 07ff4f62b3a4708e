//! The handle of a bucket: every operation on keys.

mod write;

pub use write::{Loaded, Matched};

use std::fmt;
use std::sync::Arc;

use crate::config::BucketConfig;
use crate::engine::{Engine, EntryScan, KeyScan};
use crate::entry::{Entry, Operation, Value};
use crate::error::Result;
use crate::key::{Key, check_key};
use crate::number::{BucketId, Revision};
use crate::subject::Pattern;

/// A bucket: keys with values, revisions and history. Clones share it; it is `Send` and `Sync`.
#[derive(Clone)]
pub struct Bucket {
    engine: Arc<Engine>,
    id: BucketId,
    name: Arc<str>,
}

/// What a bucket is and holds at one moment; see [`Bucket::status`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BucketStatus {
    /// Its configuration.
    pub config: BucketConfig,
    /// The revision of its newest entry, or of the last one that it ever had; [`Revision::NONE`] if it never had any.
    pub last_revision: Revision,
    /// How many keys hold a value.
    pub live_keys: u64,
    /// How many entries are retained: values and markers, history included.
    pub values: u64,
    /// Bytes of what is retained: key + value + 32 for each entry.
    pub bytes: u64,
}

/// Which keys [`Bucket::keys_with`] lists.
#[derive(Clone, Debug, Default)]
pub struct KeysOptions {
    filters: Vec<String>,
    markers: bool,
}

impl KeysOptions {
    /// All keys that hold a value.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a pattern: a key is listed if any of the patterns matches it.
    #[must_use]
    pub fn filter(mut self, pattern: impl Into<String>) -> Self {
        self.filters.push(pattern.into());
        self
    }

    /// Whether to list keys whose newest entry is a marker, too.
    #[must_use]
    pub const fn markers(mut self, include: bool) -> Self {
        self.markers = include;
        self
    }
}

impl Bucket {
    pub(crate) const fn new(engine: Arc<Engine>, id: BucketId, name: Arc<str>) -> Self {
        Self { engine, id, name }
    }

    pub(crate) const fn id(&self) -> BucketId {
        self.id
    }

    /// Whether it is a bucket of this store.
    pub(crate) fn is_of(&self, engine: &Arc<Engine>) -> bool {
        Arc::ptr_eq(&self.engine, engine)
    }

    /// The bucket's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bucket's configuration now.
    ///
    /// # Errors
    /// `BucketNotFound`, `Closed`.
    pub fn config(&self) -> Result<BucketConfig> {
        Ok(BucketConfig::from_spec(self.engine.bucket_spec(self.id)?))
    }

    /// What the bucket is and holds. Reads every entry of the bucket but no values.
    ///
    /// # Errors
    /// `BucketNotFound`, `Closed`, `Corrupt`, `Io`.
    pub fn status(&self) -> Result<BucketStatus> {
        let counts = self.engine.count(self.id)?;
        Ok(BucketStatus {
            config: BucketConfig::from_spec(counts.spec),
            last_revision: counts.last_revision,
            live_keys: counts.live_keys,
            values: counts.entries,
            bytes: counts.bytes,
        })
    }

    /// The key's value, or `None` if it has none.
    ///
    /// # Errors
    /// `InvalidKey`, `BucketNotFound`, `Corrupt`, `Io`, `Closed`.
    pub fn get(&self, key: impl AsRef<str>) -> Result<Option<Value>> {
        let key = key.as_ref();
        check_key(key)?;
        self.engine.get(self.id, key.as_bytes())
    }

    /// Hands the key's value to `read` in place, without a copy; `None` if it has none. `read` must not write to the store.
    ///
    /// The bytes are lent for the call; who wants to keep them takes [`get`](Bucket::get).
    ///
    /// ```compile_fail
    /// # let store = annals::Store::in_memory()?;
    /// # let bucket = store.create_bucket(annals::BucketConfig::new("b"))?;
    /// let kept: Option<&[u8]> = bucket.get_with("k", |bytes| bytes)?;
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`get`](Bucket::get).
    pub fn get_with<T>(&self, key: impl AsRef<str>, read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        let key = key.as_ref();
        check_key(key)?;
        self.engine.get_with(self.id, key.as_bytes(), read)
    }

    /// The key's newest entry, value or marker; `None` if it has none.
    ///
    /// # Errors
    /// As [`get`](Bucket::get).
    pub fn entry(&self, key: impl AsRef<str>) -> Result<Option<Entry>> {
        let key = key.as_ref();
        check_key(key)?;
        self.engine.entry(self.id, key.as_bytes())
    }

    /// The value that `revision` gave to `key`, if it is still retained; `None` too where that revision is a marker or another key's.
    /// [`Revision::NONE`] asks for the newest.
    ///
    /// # Errors
    /// As [`get`](Bucket::get).
    pub fn get_at(&self, key: impl AsRef<str>, revision: Revision) -> Result<Option<Value>> {
        Ok(self.entry_at(key, revision)?.filter(|entry| entry.operation() == Operation::Put).map(Entry::into_value))
    }

    /// The entry, value or marker, that `revision` denotes, if it is `key`'s and still retained. [`Revision::NONE`] asks for the newest.
    ///
    /// # Errors
    /// As [`get`](Bucket::get).
    pub fn entry_at(&self, key: impl AsRef<str>, revision: Revision) -> Result<Option<Entry>> {
        let key = key.as_ref();
        check_key(key)?;
        if revision == Revision::NONE {
            return self.engine.entry(self.id, key.as_bytes());
        }
        self.engine.entry_at(self.id, key.as_bytes(), revision)
    }

    /// The retained entries of a key, oldest first, markers included; or of all keys that a pattern matches (`*` one token, `>` the
    /// rest), in revision order over all of them. Empty if there are none.
    ///
    /// For a pattern, all that it yields is collected and sorted before the first entry comes: memory for each entry, but values over
    /// 1 KiB stay where they are.
    ///
    /// # Errors
    /// `InvalidKey` for a bad pattern, and those of [`get`](Bucket::get).
    pub fn history(&self, pattern: impl AsRef<str>) -> Result<History> {
        let pattern = Pattern::parse(pattern.as_ref())?;
        Ok(History { scan: self.engine.history(self.id, &pattern)? })
    }

    /// All keys that hold a value, in byte order, as of this call. Reads as it is iterated.
    ///
    /// # Errors
    /// `BucketNotFound`, `Closed`.
    pub fn keys(&self) -> Result<Keys> {
        self.keys_with(KeysOptions::new())
    }

    /// The keys that `options` ask for, in byte order, each once, as of this call. Reads as it is iterated; only the range of keys that
    /// the filters' common beginning leaves is read.
    ///
    /// # Errors
    /// `InvalidKey` for a bad pattern, `BucketNotFound`, `Closed`.
    pub fn keys_with(&self, options: KeysOptions) -> Result<Keys> {
        let filters = options.filters.iter().map(|pattern| Pattern::parse(pattern)).collect::<Result<Vec<_>>>()?;
        Ok(Keys { scan: self.engine.keys(self.id, filters, options.markers)? })
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Bucket").field("name", &self.name).field("id", &self.id).finish_non_exhaustive()
    }
}

/// The retained entries of one key or pattern; see [`Bucket::history`]. Owns what it needs; `len` tells how many are still to come.
#[derive(Debug)]
pub struct History {
    scan: EntryScan,
}

impl Iterator for History {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.scan.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.scan.len(), Some(self.scan.len()))
    }
}

impl ExactSizeIterator for History {}

impl std::iter::FusedIterator for History {}

/// Keys in byte order; see [`Bucket::keys`]. Owns what it needs; after an error it ends.
#[derive(Debug)]
pub struct Keys {
    scan: KeyScan,
}

impl Iterator for Keys {
    type Item = Result<Key>;

    fn next(&mut self) -> Option<Self::Item> {
        self.scan.next()
    }
}

impl std::iter::FusedIterator for Keys {}
