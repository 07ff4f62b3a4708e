//! The handle of a bucket: every operation on keys.

mod write;

pub use write::{Loaded, Matched};

use std::fmt;
use std::sync::Arc;

use crate::config::BucketConfig;
use crate::engine::Engine;
use crate::entry::{Entry, Value};
use crate::error::Result;
use crate::key::check_key;
use crate::number::{BucketId, Revision};
use crate::scan::{Entries, History, KeyRange, Keys, KeysOptions};
use crate::snapshot::{BucketSnapshot, value_of};
use crate::status::{BucketEstimate, BucketStatus};
use crate::subject::Pattern;
use crate::watch::{Changes, Watch, WatchOptions};

/// A bucket: keys with values, revisions and history. Clones share it; it is `Send` and `Sync`.
#[derive(Clone)]
pub struct Bucket {
    engine: Arc<Engine>,
    id: BucketId,
    name: Arc<str>,
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
        self.engine.read(self.id, |reader| Ok(BucketConfig::from_spec(reader.spec().clone())))
    }

    /// What the bucket is and holds, exactly, as of a commit that it names. Reads every entry of the bucket but no values.
    ///
    /// ```
    /// # let store = annals::Store::in_memory()?;
    /// # let bucket = store.create_bucket(annals::BucketConfig::new("b").history(2))?;
    /// bucket.put("a", "1")?;
    /// bucket.delete("a")?;
    /// let status = bucket.status()?;
    /// assert_eq!((status.live_keys, status.values, status.bytes), (0, 2, 33 + 1 + 33));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// `BucketNotFound`, `Closed`, `Corrupt`, `Io`.
    pub fn status(&self) -> Result<BucketStatus> {
        self.snapshot()?.status()
    }

    /// What is known of the bucket without reading it: costs a look at each segment file's directory, which is in memory.
    ///
    /// ```
    /// # let store = annals::Store::in_memory()?;
    /// # let bucket = store.create_bucket(annals::BucketConfig::new("b"))?;
    /// let revision = bucket.put("a", "1")?;
    /// assert_eq!(bucket.estimate()?.last_revision, revision);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// `BucketNotFound`, `Closed`.
    pub fn estimate(&self) -> Result<BucketEstimate> {
        self.engine.read(self.id, |reader| Ok(BucketEstimate::new(reader.estimate())))
    }

    /// The bucket as it is now, read-only, to keep while it changes. Costs nothing per entry, and nobody waits for it.
    ///
    /// ```
    /// # let store = annals::Store::in_memory()?;
    /// # let bucket = store.create_bucket(annals::BucketConfig::new("b"))?;
    /// bucket.put("a", "1")?;
    /// let before = bucket.snapshot()?;
    /// bucket.purge_all()?;
    /// assert_eq!(before.get("a")?.unwrap(), *b"1");
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// `BucketNotFound`, `Closed`.
    pub fn snapshot(&self) -> Result<BucketSnapshot> {
        Ok(BucketSnapshot::new(self.engine.moment(self.id)?, Arc::clone(&self.name)))
    }

    /// The key's value, or `None` if it has none.
    ///
    /// # Errors
    /// `InvalidKey`, `BucketNotFound`, `Corrupt`, `Io`, `Closed`.
    #[inline]
    pub fn get(&self, key: impl AsRef<str>) -> Result<Option<Value>> {
        let key = key.as_ref();
        check_key(key)?;
        self.engine.read_newest(self.id, |reader| reader.get(key.as_bytes()))
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
    /// ```
    /// # let store = annals::Store::in_memory()?;
    /// # let bucket = store.create_bucket(annals::BucketConfig::new("b"))?;
    /// bucket.put("a", "12345")?;
    /// assert_eq!(bucket.get_with("a", <[u8]>::len)?, Some(5));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`get`](Bucket::get).
    #[inline]
    pub fn get_with<T>(&self, key: impl AsRef<str>, read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        let key = key.as_ref();
        check_key(key)?;
        self.engine.read_newest(self.id, |reader| reader.get_with(key.as_bytes(), read))
    }

    /// The values of several keys at one moment, in the order in which they are asked for; `None` for each that has none.
    ///
    /// ```
    /// # let store = annals::Store::in_memory()?;
    /// # let bucket = store.create_bucket(annals::BucketConfig::new("b"))?;
    /// bucket.put("a", "1")?;
    /// bucket.put("b", "2")?;
    /// let values = bucket.get_many(["b", "c", "a"])?;
    /// let found: Vec<_> = values.iter().map(|value| value.as_deref()).collect();
    /// assert_eq!(found, [Some(&b"2"[..]), None, Some(b"1")]);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`get`](Bucket::get); the first that any key gives.
    pub fn get_many<K: AsRef<str>>(&self, keys: impl IntoIterator<Item = K>) -> Result<Vec<Option<Value>>> {
        self.snapshot()?.get_many(keys)
    }

    /// The key's newest entry, value or marker; `None` if it has none.
    ///
    /// # Errors
    /// As [`get`](Bucket::get).
    pub fn entry(&self, key: impl AsRef<str>) -> Result<Option<Entry>> {
        let key = key.as_ref();
        check_key(key)?;
        self.engine.read_newest(self.id, |reader| reader.entry(key.as_bytes()))
    }

    /// The value that `revision` gave to `key`, if it is still retained; `None` too where that revision is a marker or another key's.
    /// [`Revision::NONE`] asks for the newest.
    ///
    /// # Errors
    /// As [`get`](Bucket::get).
    pub fn get_at(&self, key: impl AsRef<str>, revision: Revision) -> Result<Option<Value>> {
        Ok(value_of(self.entry_at(key, revision)?))
    }

    /// The entry, value or marker, that `revision` denotes, if it is `key`'s and still retained. [`Revision::NONE`] asks for the newest.
    ///
    /// # Errors
    /// As [`get`](Bucket::get).
    pub fn entry_at(&self, key: impl AsRef<str>, revision: Revision) -> Result<Option<Entry>> {
        let key = key.as_ref();
        check_key(key)?;
        self.engine.read(self.id, |reader| reader.entry_at(key.as_bytes(), revision))
    }

    /// The value that `key` had when `revision` was the bucket's newest; `None` if it had none. A revision that the bucket has not reached
    /// yet asks for the present.
    ///
    /// Never a guess: where history that was trimmed would have to be known, the answer is an error.
    ///
    /// ```
    /// # let store = annals::Store::in_memory()?;
    /// # let bucket = store.create_bucket(annals::BucketConfig::new("b").history(2))?;
    /// use annals::{ErrorKind, Revision};
    ///
    /// for value in ["one", "two", "three"] {
    ///     bucket.put("k", value)?;
    /// }
    /// bucket.put("other", "four")?;
    /// assert_eq!(bucket.get_as_of("k", Revision::from(2))?.unwrap(), *b"two");
    /// assert_eq!(bucket.get_as_of("other", Revision::from(3))?, None);
    /// let error = bucket.get_as_of("k", Revision::from(1)).unwrap_err();
    /// assert_eq!((error.kind(), error.floor()), (ErrorKind::Compacted, Some(Revision::from(2))));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Compacted` if retention, expiry or a purge has removed what the answer would depend on; [`Error::floor`](crate::Error::floor)
    /// is the next revision that can be asked for. And those of [`get`](Bucket::get).
    pub fn get_as_of(&self, key: impl AsRef<str>, revision: Revision) -> Result<Option<Value>> {
        Ok(value_of(self.entry_as_of(key, revision)?))
    }

    /// The same, as an entry: a key that was deleted then answers with its marker.
    ///
    /// # Errors
    /// As [`get_as_of`](Bucket::get_as_of).
    pub fn entry_as_of(&self, key: impl AsRef<str>, revision: Revision) -> Result<Option<Entry>> {
        let key = key.as_ref();
        check_key(key)?;
        self.engine.read(self.id, |reader| reader.entry_as_of(key.as_bytes(), revision))
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
        self.engine.read(self.id, |reader| reader.history(&pattern).map(History::new))
    }

    /// What has changed after `revision`, exclusive, up to this call: every entry with a higher revision that is still retained, markers
    /// included, in revision order; before them [`Event::Purged`](crate::Event::Purged) if the whole bucket was purged since, or at that
    /// revision. [`Revision::NONE`] asks for all there is; a revision that the bucket has not reached yet for nothing.
    ///
    /// Revisions are consecutive, so those that are left out were superseded by one of the same key that comes later. Whoever had the state
    /// as of `revision` and takes over what is yielded has the state of now: keys that expire by themselves without a change being
    /// written, which is so in every bucket without [`limit_markers`](crate::BucketConfig::limit_markers), are the exception, and so each
    /// entry carries its deadline.
    ///
    /// Reads as it is iterated, in bounded memory: entries in the order in which they were written are found without a search, but lie
    /// in files by key, so that each may cost a page that is not in memory.
    ///
    /// ```
    /// # let store = annals::Store::in_memory()?;
    /// # let bucket = store.create_bucket(annals::BucketConfig::new("b"))?;
    /// use annals::Event;
    /// let seen = bucket.put("a", "1")?;
    /// bucket.put("b", "2")?;
    /// bucket.delete("a")?;
    /// let changed = bucket.changes_since(seen)?.map(|event| Ok(event?.entry().map(|entry| entry.key().to_string())));
    /// assert_eq!(changed.collect::<annals::Result<Vec<_>>>()?, [Some("b".to_owned()), Some("a".to_owned())]);
    /// bucket.purge_all()?;
    /// assert!(matches!(bucket.changes_since(seen)?.next(), Some(Ok(Event::Purged { .. }))));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Compacted` if a key that had been changed after `revision` was removed by expiry or [`purge_deletes`](Bucket::purge_deletes) while
    /// that change was its newest, so that nothing tells of it. [`Error::floor`](crate::Error::floor) is the
    /// lowest revision from which on nothing is missing. And `BucketNotFound`, `Closed`; what comes later, `Corrupt` and `Io`, the iterator
    /// yields.
    pub fn changes_since(&self, revision: Revision) -> Result<Changes> {
        self.snapshot()?.changes_since(revision)
    }

    /// Watches the keys that match a pattern: their newest entries in the order of revisions, markers included; then
    /// [`Event::UpToDate`](crate::Event::UpToDate), in any case; then every change as it is committed. [`Watch`] says what is guaranteed, and how
    /// it ends.
    ///
    /// A write that begins after this call returned is part of it. While there are watches, each commit looks up its keys among their
    /// patterns, once for all of them, and then tells each watch that it concerns. In buckets without `limit_markers` keys expire without
    /// an event; entries tell their deadline.
    ///
    /// ```
    /// use annals::Event;
    /// # let store = annals::Store::in_memory()?;
    /// # let users = store.create_bucket(annals::BucketConfig::new("users"))?;
    /// users.put("eu.42.email", "ada@example.org")?;
    /// let mut watch = users.watch("eu.*.email")?;
    /// assert_eq!(*watch.next().unwrap()?.entry().unwrap().value(), *b"ada@example.org");
    /// assert_eq!(watch.next().unwrap()?, Event::UpToDate);
    /// users.put("eu.42.email", "countess@example.org")?;
    /// assert_eq!(*watch.next().unwrap()?.entry().unwrap().value(), *b"countess@example.org");
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidKey`, `BucketNotFound`, `Closed`.
    pub fn watch(&self, pattern: impl AsRef<str>) -> Result<Watch> {
        self.watch_with(WatchOptions::new().filter(pattern.as_ref()))
    }

    /// [`watch`](Bucket::watch) with several patterns, from another beginning, or with less to each event.
    ///
    /// # Errors
    /// As [`watch`](Bucket::watch). `InvalidArgument` if the options contradict each other; `Compacted` if a revision or token to begin from
    /// is given and a key that had been changed since was removed without a trace: [`Error::floor`](crate::Error::floor) is the
    /// highest revision that may be missing, so one may begin behind it. For a token also `Diverged`, if some of what it has seen was
    /// taken back, and `BucketNotFound` if it is of another bucket.
    pub fn watch_with(&self, options: WatchOptions) -> Result<Watch> {
        Ok(Watch::new(self.engine.watch(self.id, options.wishes()?)?))
    }

    /// The newest entry of each key in a range that holds a value, in byte order and from either end, as of this call. Reads as it is
    /// iterated. The ends of the range may be any texts.
    ///
    /// ```
    /// # let store = annals::Store::in_memory()?;
    /// # let bucket = store.create_bucket(annals::BucketConfig::new("b"))?;
    /// for key in ["2024-01", "2024-02", "2024-03", "2025-01"] {
    ///     bucket.put(key, "...")?;
    /// }
    /// let latest = bucket.range("2024-02".."2025")?.next_back().unwrap()?;
    /// assert_eq!(latest.key().as_str(), "2024-03");
    /// assert_eq!(bucket.range("2024-02"..)?.count(), 3);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// `BucketNotFound`, `Closed`; what comes later, `Corrupt` and `Io`, the iterator yields.
    pub fn range(&self, range: impl KeyRange) -> Result<Entries> {
        Ok(self.snapshot()?.range(range))
    }

    /// [`range`](Bucket::range) over the keys that begin with `prefix`, which may be any text: `"eu."`, or half a token.
    ///
    /// ```
    /// # let store = annals::Store::in_memory()?;
    /// # let bucket = store.create_bucket(annals::BucketConfig::new("b"))?;
    /// bucket.put("eu.1", "a")?;
    /// bucket.put("eu.2", "b")?;
    /// bucket.put("us.1", "c")?;
    /// let values: Vec<_> = bucket.prefix("eu.")?.rev().map(|entry| Ok(entry?.into_value())).collect::<annals::Result<_>>()?;
    /// assert_eq!(values, [*b"b", *b"a"]);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`range`](Bucket::range).
    pub fn prefix(&self, prefix: impl AsRef<str>) -> Result<Entries> {
        Ok(self.snapshot()?.prefix(prefix))
    }

    /// All keys that hold a value, in byte order and from either end, as of this call. Reads as it is iterated, and no values.
    ///
    /// # Errors
    /// `BucketNotFound`, `Closed`.
    pub fn keys(&self) -> Result<Keys> {
        Ok(self.snapshot()?.keys())
    }

    /// The keys that `options` ask for, in byte order, each once, as of this call. Reads as it is iterated; only the range of keys that
    /// the filters' common beginning leaves is read.
    ///
    /// # Errors
    /// `InvalidKey` for a bad pattern, `BucketNotFound`, `Closed`.
    pub fn keys_with(&self, options: KeysOptions) -> Result<Keys> {
        self.snapshot()?.keys_with(options)
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Bucket").field("name", &self.name).field("id", &self.id).finish_non_exhaustive()
    }
}
