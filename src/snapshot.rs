//! Read-only views of a bucket or of the whole store as of one moment.
//!
//! A snapshot answers every question that a bucket answers, by the same code, as of the commit and the store time at which it was made:
//! nothing that is written, flushed, merged, deleted or expires later changes an answer, and none of it waits for the snapshot. It stays
//! readable after [`Store::close`](crate::Store::close). What it shows is kept for it: memory of entries that have been flushed since, and
//! files that have been merged away. So a snapshot is for minutes, not for ever.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::config::BucketConfig;
use crate::engine::{ChangeScan, Moment, Scan, Span, StoreMoment, Wanted};
use crate::entry::{Entry, Operation, Value};
use crate::error::{Error, ErrorKind, Result};
use crate::key::check_key;
use crate::number::{CommitNumber, Revision};
use crate::scan::{Entries, History, KeyRange, Keys, KeysOptions, span_of};
use crate::status::{BucketEstimate, BucketStatus};
use crate::subject::{Filters, Pattern};
use crate::watch::Changes;

/// The whole store as of one commit; see [`Store::snapshot`](crate::Store::snapshot). Cheap to clone; `Send` and `Sync`.
///
/// Writes to several buckets that were one batch are in it together or not at all.
///
/// ```
/// use annals::{BucketConfig, Store};
/// let store = Store::in_memory()?;
/// let accounts = store.create_bucket(BucketConfig::new("accounts"))?;
/// accounts.put("ada", "10")?;
/// let snapshot = store.snapshot()?;
/// accounts.put("ada", "20")?;
/// store.delete_bucket("accounts")?;
/// assert_eq!(snapshot.bucket("accounts")?.get("ada")?.unwrap(), *b"10");
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone)]
pub struct Snapshot {
    moment: StoreMoment,
}

impl Snapshot {
    pub(crate) const fn new(moment: StoreMoment) -> Self {
        Self { moment }
    }

    /// The bucket that had this name then. Ask for it soon: what its estimate says of the last revision, and what
    /// [`get_as_of`](BucketSnapshot::get_as_of) says of revisions that the snapshot has not reached, goes by the bucket as it is at this call.
    ///
    /// # Errors
    /// `BucketNotFound`.
    pub fn bucket(&self, name: impl AsRef<str>) -> Result<BucketSnapshot> {
        let name = name.as_ref();
        let moment = self.moment.find(name).ok_or_else(|| {
            Error::new(ErrorKind::BucketNotFound, format!("the snapshot has no bucket {name:?}, as of commit {}", self.commit()))
        })?;
        Ok(BucketSnapshot::new(moment, name.into()))
    }

    /// The names of all buckets of then, in order.
    #[must_use]
    pub fn buckets(&self) -> Vec<String> {
        self.moment.bucket_names()
    }

    /// The newest commit that it shows.
    #[must_use]
    pub const fn commit(&self) -> CommitNumber {
        self.moment.visible()
    }

    /// The moment that it shows, by the store's clock: what had expired by then is gone, what had not stays.
    #[must_use]
    pub fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.moment.now())
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Snapshot").field("commit", &self.commit()).finish_non_exhaustive()
    }
}

/// A bucket as of one commit; see [`Bucket::snapshot`](crate::Bucket::snapshot). Cheap to clone; `Send` and `Sync`.
///
/// Its calls mean and cost what those of [`Bucket`](crate::Bucket) do, and cannot fail with `Closed` or `BucketNotFound`.
///
/// ```
/// use annals::{BucketConfig, Store};
/// let store = Store::in_memory()?;
/// let bucket = store.create_bucket(BucketConfig::new("config"))?;
/// bucket.put("mode", "safe")?;
/// let before = bucket.snapshot()?;
/// bucket.put("mode", "fast")?;
/// bucket.put("level", "3")?;
/// assert_eq!(before.get("mode")?.unwrap(), *b"safe");
/// assert_eq!(before.keys().count(), 1);
/// store.close()?;
/// assert_eq!(before.status()?.last_revision.get(), 1);
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone)]
pub struct BucketSnapshot {
    moment: Moment,
    name: Arc<str>,
}

impl BucketSnapshot {
    pub(crate) const fn new(moment: Moment, name: Arc<str>) -> Self {
        Self { moment, name }
    }

    /// The bucket's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The newest commit that it shows.
    #[must_use]
    pub const fn commit(&self) -> CommitNumber {
        self.moment.visible()
    }

    /// The moment that it shows, by the store's clock: what had expired by then is gone, what had not stays.
    #[must_use]
    pub fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.moment.now())
    }

    /// The bucket's configuration then.
    #[must_use]
    pub fn config(&self) -> BucketConfig {
        BucketConfig::from_spec(self.moment.state().spec.clone())
    }

    /// As [`Bucket::status`](crate::Bucket::status).
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub fn status(&self) -> Result<BucketStatus> {
        self.moment.reader().count().map(BucketStatus::new)
    }

    /// As [`Bucket::estimate`](crate::Bucket::estimate).
    #[must_use]
    pub fn estimate(&self) -> BucketEstimate {
        BucketEstimate::new(self.moment.reader().estimate())
    }

    /// As [`Bucket::get`](crate::Bucket::get).
    ///
    /// # Errors
    /// `InvalidKey`, `Corrupt`, `Io`.
    pub fn get(&self, key: impl AsRef<str>) -> Result<Option<Value>> {
        let key = key.as_ref();
        check_key(key)?;
        self.moment.reader().get(key.as_bytes())
    }

    /// As [`Bucket::get_with`](crate::Bucket::get_with).
    ///
    /// # Errors
    /// As [`get`](BucketSnapshot::get).
    pub fn get_with<T>(&self, key: impl AsRef<str>, read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        let key = key.as_ref();
        check_key(key)?;
        self.moment.reader().get_with(key.as_bytes(), read)
    }

    /// As [`Bucket::get_many`](crate::Bucket::get_many).
    ///
    /// # Errors
    /// As [`get`](BucketSnapshot::get).
    pub fn get_many<K: AsRef<str>>(&self, keys: impl IntoIterator<Item = K>) -> Result<Vec<Option<Value>>> {
        keys.into_iter().map(|key| self.get(key)).collect()
    }

    /// As [`Bucket::entry`](crate::Bucket::entry).
    ///
    /// # Errors
    /// As [`get`](BucketSnapshot::get).
    pub fn entry(&self, key: impl AsRef<str>) -> Result<Option<Entry>> {
        let key = key.as_ref();
        check_key(key)?;
        self.moment.reader().entry(key.as_bytes())
    }

    /// As [`Bucket::get_at`](crate::Bucket::get_at).
    ///
    /// # Errors
    /// As [`get`](BucketSnapshot::get).
    pub fn get_at(&self, key: impl AsRef<str>, revision: Revision) -> Result<Option<Value>> {
        Ok(value_of(self.entry_at(key, revision)?))
    }

    /// As [`Bucket::entry_at`](crate::Bucket::entry_at).
    ///
    /// # Errors
    /// As [`get`](BucketSnapshot::get).
    pub fn entry_at(&self, key: impl AsRef<str>, revision: Revision) -> Result<Option<Entry>> {
        let key = key.as_ref();
        check_key(key)?;
        self.moment.reader().entry_at(key.as_bytes(), revision)
    }

    /// As [`Bucket::get_as_of`](crate::Bucket::get_as_of); a revision beyond the last that the snapshot shows asks for what it shows.
    ///
    /// # Errors
    /// `Compacted`, and those of [`get`](BucketSnapshot::get).
    pub fn get_as_of(&self, key: impl AsRef<str>, revision: Revision) -> Result<Option<Value>> {
        Ok(value_of(self.entry_as_of(key, revision)?))
    }

    /// As [`Bucket::entry_as_of`](crate::Bucket::entry_as_of).
    ///
    /// # Errors
    /// As [`get_as_of`](BucketSnapshot::get_as_of).
    pub fn entry_as_of(&self, key: impl AsRef<str>, revision: Revision) -> Result<Option<Entry>> {
        let key = key.as_ref();
        check_key(key)?;
        self.moment.reader().entry_as_of(key.as_bytes(), revision)
    }

    /// As [`Bucket::history`](crate::Bucket::history).
    ///
    /// # Errors
    /// As [`get`](BucketSnapshot::get).
    pub fn history(&self, pattern: impl AsRef<str>) -> Result<History> {
        let pattern = Pattern::parse(pattern.as_ref())?;
        self.moment.reader().history(&pattern).map(History::new)
    }

    /// As [`Bucket::changes_since`](crate::Bucket::changes_since), up to what the snapshot shows.
    ///
    /// # Errors
    /// `Compacted`.
    pub fn changes_since(&self, revision: Revision) -> Result<Changes> {
        ChangeScan::since(self.moment.clone(), revision, Filters::default()).map(Changes::new)
    }

    /// As [`Bucket::range`](crate::Bucket::range).
    pub fn range(&self, range: impl KeyRange) -> Entries {
        Entries::new(Scan::new(self.moment.clone(), span_of(&range), Wanted::default()))
    }

    /// As [`Bucket::prefix`](crate::Bucket::prefix).
    pub fn prefix(&self, prefix: impl AsRef<str>) -> Entries {
        let span = Span::prefix(prefix.as_ref().as_bytes());
        Entries::new(Scan::new(self.moment.clone(), span, Wanted::default()))
    }

    /// As [`Bucket::keys`](crate::Bucket::keys).
    pub fn keys(&self) -> Keys {
        Keys::new(Scan::matching(self.moment.clone(), Wanted::default()))
    }

    /// As [`Bucket::keys_with`](crate::Bucket::keys_with).
    ///
    /// # Errors
    /// `InvalidKey` for a bad pattern.
    pub fn keys_with(&self, options: KeysOptions) -> Result<Keys> {
        let wanted = Wanted { filters: Filters::parse(&options.filters)?, markers: options.markers };
        Ok(Keys::new(Scan::matching(self.moment.clone(), wanted)))
    }
}

impl fmt::Debug for BucketSnapshot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commit = self.commit();
        formatter.debug_struct("BucketSnapshot").field("name", &self.name).field("commit", &commit).finish_non_exhaustive()
    }
}

/// The value of an entry, if it has one.
pub(crate) fn value_of(entry: Option<Entry>) -> Option<Value> {
    entry.filter(|entry| entry.operation() == Operation::Put).map(Entry::into_value)
}
