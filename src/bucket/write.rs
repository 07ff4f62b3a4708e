//! Writing: one key, many keys, all keys.

use std::time::Duration;

use super::Bucket;
use crate::config::{PutOptions, nanoseconds};
use crate::engine::{Condition, OpFields, WriteOptions};
use crate::entry::Flags;
use crate::error::Result;
use crate::key::check_key;
use crate::number::Revision;
use crate::subject::Pattern;
use crate::ticket::Ticket;

/// What a write to all keys of a pattern did; see [`Bucket::delete_matching`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Matched {
    /// How many keys were written to.
    pub count: u64,
    /// The highest revision that it took; [`Revision::NONE`] if no key held a value.
    pub last_revision: Revision,
}

/// What [`Bucket::load`] wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// How many values were put.
    pub count: u64,
    /// The revision of the last one; [`Revision::NONE`] if there was none.
    pub last_revision: Revision,
}

/// About the bytes of one commit of a load.
const LOAD_BYTES: usize = 1 << 20;

impl Bucket {
    /// Gives `key` a value, whatever it held.
    ///
    /// On return the write is visible to every reader and durable as the store's [`Durability`](crate::Durability) says.
    /// The value is copied once into the log and once into memory.
    ///
    /// # Errors
    /// `InvalidKey`, `ValueTooLarge`, `BucketFull`, `BucketNotFound`, `NoSpace`, `Poisoned`, `Closed`: nothing was applied. `Io`: see
    /// [`Error::outcome`](crate::Error::outcome).
    pub fn put(&self, key: impl AsRef<str>, value: impl AsRef<[u8]>) -> Result<Revision> {
        self.put_value(key.as_ref(), value.as_ref(), Condition::None, PutOptions::new())
    }

    /// [`put`](Bucket::put) with a time to live, or more durability than the store's own.
    ///
    /// An entry whose time is over while it is its key's newest takes the whole key with it: reads see nothing, and what is written next
    /// starts a new life. One that was overwritten before goes from the history alone. Expiry takes no revision.
    ///
    /// ```
    /// use std::time::Duration;
    /// use annals::{BucketConfig, PutOptions, Store};
    /// let store = Store::in_memory()?;
    /// let sessions = store.create_bucket(BucketConfig::new("sessions"))?;
    /// sessions.put_with("ada", "token", PutOptions::new().ttl(Duration::from_millis(5)))?;
    /// std::thread::sleep(Duration::from_millis(6));
    /// assert!(sessions.get("ada")?.is_none());
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidArgument` for a time to live below 1 ms, and those of [`put`](Bucket::put).
    pub fn put_with(&self, key: impl AsRef<str>, value: impl AsRef<[u8]>, options: PutOptions) -> Result<Revision> {
        self.put_value(key.as_ref(), value.as_ref(), Condition::None, options)
    }

    /// Gives `key` a value if it has none: missing, deleted, purged and expired keys qualify. One atomic step.
    ///
    /// # Errors
    /// `AlreadyExists` with [`Error::actual_revision`](crate::Error::actual_revision), and those of [`put`](Bucket::put).
    pub fn create(&self, key: impl AsRef<str>, value: impl AsRef<[u8]>) -> Result<Revision> {
        self.create_with(key, value, PutOptions::new())
    }

    /// [`create`](Bucket::create) with a time to live, or more durability than the store's own.
    ///
    /// ```
    /// use std::time::Duration;
    /// use annals::{BucketConfig, ErrorKind, PutOptions, Store};
    /// let store = Store::in_memory()?;
    /// let locks = store.create_bucket(BucketConfig::new("locks"))?;
    /// let lease = PutOptions::new().ttl(Duration::from_secs(30));
    /// locks.create_with("nightly-job", "worker 1", lease)?;
    /// let error = locks.create_with("nightly-job", "worker 2", lease).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`create`](Bucket::create) and [`put_with`](Bucket::put_with).
    pub fn create_with(&self, key: impl AsRef<str>, value: impl AsRef<[u8]>, options: PutOptions) -> Result<Revision> {
        self.put_value(key.as_ref(), value.as_ref(), Condition::NoValue, options)
    }

    /// Gives `key` a value if its newest entry, value or marker, has `revision`. [`Revision::NONE`] demands a key without any entry.
    ///
    /// A revision is a type of its own: neither a plain number nor a commit number passes for one by accident.
    ///
    /// ```compile_fail,E0308
    /// # let store = annals::Store::in_memory()?;
    /// # let bucket = store.create_bucket(annals::BucketConfig::new("b"))?;
    /// bucket.update("k", "v", 7)?;
    /// # Ok::<(), annals::Error>(())
    /// ```
    /// ```compile_fail,E0308
    /// # let store = annals::Store::in_memory()?;
    /// # let bucket = store.create_bucket(annals::BucketConfig::new("b"))?;
    /// bucket.update("k", "v", store.durable_commit())?;
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// `WrongRevision` with [`Error::actual_revision`](crate::Error::actual_revision), and those of [`put`](Bucket::put).
    pub fn update(&self, key: impl AsRef<str>, value: impl AsRef<[u8]>, revision: Revision) -> Result<Revision> {
        self.update_with(key, value, revision, PutOptions::new())
    }

    /// [`update`](Bucket::update) with a time to live, or more durability than the store's own.
    ///
    /// # Errors
    /// Those of [`update`](Bucket::update) and [`put_with`](Bucket::put_with).
    pub fn update_with(
        &self,
        key: impl AsRef<str>,
        value: impl AsRef<[u8]>,
        revision: Revision,
        options: PutOptions,
    ) -> Result<Revision> {
        self.put_value(key.as_ref(), value.as_ref(), Condition::Revision(revision), options)
    }

    /// Leaves a delete marker: reads see nothing, history keeps what was there. Succeeds whatever the key held.
    ///
    /// A delete marker has neither a value nor a time to live; a purge marker may have the latter.
    ///
    /// ```compile_fail,E0061
    /// # let store = annals::Store::in_memory()?;
    /// # let bucket = store.create_bucket(annals::BucketConfig::new("b"))?;
    /// bucket.delete("k", annals::PutOptions::new().ttl(std::time::Duration::from_secs(1)))?;
    /// # Ok::<(), annals::Error>(())
    /// ```
    /// ```compile_fail,E0061
    /// # let store = annals::Store::in_memory()?;
    /// # let bucket = store.create_bucket(annals::BucketConfig::new("b"))?;
    /// bucket.delete("k", "a value")?;
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`put`](Bucket::put) but `ValueTooLarge` and `BucketFull`.
    pub fn delete(&self, key: impl AsRef<str>) -> Result<Revision> {
        self.mark(key.as_ref(), Flags::delete(), Condition::None, PutOptions::new())
    }

    /// [`delete`](Bucket::delete) if the key's newest entry has `revision`; [`Revision::NONE`] asks for no check, as in the model.
    ///
    /// # Errors
    /// `WrongRevision`, and those of [`delete`](Bucket::delete).
    pub fn delete_expect_revision(&self, key: impl AsRef<str>, revision: Revision) -> Result<Revision> {
        self.mark(key.as_ref(), Flags::delete(), Condition::expecting(revision), PutOptions::new())
    }

    /// Removes the key's whole history and leaves one purge marker. Succeeds whatever the key held.
    ///
    /// # Errors
    /// Those of [`delete`](Bucket::delete).
    pub fn purge(&self, key: impl AsRef<str>) -> Result<Revision> {
        self.purge_with(key, Revision::NONE, PutOptions::new())
    }

    /// [`purge`](Bucket::purge) if the key's newest entry has `revision`; [`Revision::NONE`] asks for no check, as in the model.
    ///
    /// # Errors
    /// `WrongRevision`, and those of [`delete`](Bucket::delete).
    pub fn purge_expect_revision(&self, key: impl AsRef<str>, revision: Revision) -> Result<Revision> {
        self.purge_with(key, revision, PutOptions::new())
    }

    /// [`purge_expect_revision`](Bucket::purge_expect_revision) whose marker goes by itself after a time to live.
    ///
    /// # Errors
    /// Those of [`purge_expect_revision`](Bucket::purge_expect_revision), and `InvalidArgument` for a time to live below 1 ms.
    pub fn purge_with(&self, key: impl AsRef<str>, revision: Revision, options: PutOptions) -> Result<Revision> {
        self.mark(key.as_ref(), Flags::purge(), Condition::expecting(revision), options)
    }

    /// Writes the key's value again with the time to live of `options`, or with none. The new entry has the reason
    /// [`Touched`](crate::Reason::Touched) and a revision of its own. `None` if the key holds no value. Reads the value; one that is over
    /// a limit that was lowered since may be touched.
    ///
    /// ```
    /// use std::time::Duration;
    /// use annals::{BucketConfig, PutOptions, Store};
    /// let store = Store::in_memory()?;
    /// let sessions = store.create_bucket(BucketConfig::new("sessions"))?;
    /// let half_an_hour = PutOptions::new().ttl(Duration::from_secs(1800));
    /// sessions.put_with("ada", "token", half_an_hour)?;
    /// assert!(sessions.touch("ada", half_an_hour)?.is_some());
    /// assert!(sessions.touch("nobody", half_an_hour)?.is_none());
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`put_with`](Bucket::put_with) but `ValueTooLarge`, and those of [`get`](Bucket::get).
    pub fn touch(&self, key: impl AsRef<str>, options: PutOptions) -> Result<Option<Revision>> {
        let key = key.as_ref();
        check_key(key)?;
        let (ttl, write) = options.checked()?;
        self.engine.touch(self.id, key.as_bytes(), ttl, write)
    }

    /// Puts a write in line and returns at once; the [`Ticket`] tells its revision as soon as it is committed, and so durable as the store's
    /// [`Durability`](crate::Durability) and `options` ask for. Writes that one thread submits commit in their order, and many of them share
    /// one sync; but one to a key that has expired, in a bucket with `limit_markers`, may come behind others that were submitted after it. A
    /// ticket that is dropped leaves the write in line.
    ///
    /// In a bucket with `max_bytes` it is committed before this returns. What is in line is held in memory, however much it is: whoever submits
    /// faster than the disk syncs should wait for tickets now and then.
    ///
    /// ```
    /// use annals::{BucketConfig, PutOptions, Store};
    /// let store = Store::in_memory()?;
    /// let readings = store.create_bucket(BucketConfig::new("readings"))?;
    /// let tickets: Vec<_> = (0..100)
    ///     .map(|number| readings.submit(format!("sensor.{number}"), "21.5", PutOptions::new()))
    ///     .collect::<annals::Result<_>>()?;
    /// for ticket in tickets {
    ///     ticket.wait()?;
    /// }
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// What can be told before the write is in line: `InvalidKey`, `InvalidArgument`, `ValueTooLarge`, `BucketNotFound`, `Poisoned`, `Closed`,
    /// and the flush's error if there is no memory left for entries. All else is the ticket's.
    pub fn submit(&self, key: impl AsRef<str>, value: impl AsRef<[u8]>, options: PutOptions) -> Result<Ticket> {
        let (key, value) = (key.as_ref(), value.as_ref());
        let (ttl, write) = options.checked()?;
        check_key(key)?;
        let fields = OpFields { ttl, ..OpFields::put(self.id, key.as_bytes(), value, Condition::None) };
        Ok(Ticket::new(self.engine.clone(), self.engine.submit(&fields, write)?))
    }

    /// Puts many values, in large commits: much faster than one at a time where commits are synced. Each commit (up to 1,000 values or about
    /// 1 MiB) is all or nothing; an error leaves those before it in place.
    ///
    /// # Errors
    /// Those of [`put`](Bucket::put).
    pub fn load<K: AsRef<str>, V: AsRef<[u8]>>(&self, values: impl IntoIterator<Item = (K, V)>) -> Result<Loaded> {
        let mut loaded = Loaded { count: 0, last_revision: Revision::NONE };
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        for (key, value) in values {
            check_key(key.as_ref())?;
            bytes += key.as_ref().len() + value.as_ref().len();
            chunk.push((key, value));
            if chunk.len() == self.engine.load_values() || bytes >= LOAD_BYTES {
                self.load_chunk(&mut chunk, &mut loaded)?;
                bytes = 0;
            }
        }
        self.load_chunk(&mut chunk, &mut loaded)?;
        Ok(loaded)
    }

    fn load_chunk<K: AsRef<str>, V: AsRef<[u8]>>(&self, chunk: &mut Vec<(K, V)>, loaded: &mut Loaded) -> Result<()> {
        if chunk.is_empty() {
            return Ok(());
        }
        let ops: Vec<_> = chunk
            .iter()
            .map(|(key, value)| OpFields::put(self.id, key.as_ref().as_bytes(), value.as_ref(), Condition::None))
            .collect();
        let revisions = self.engine.write_batch(&ops, WriteOptions::default())?;
        loaded.count += revisions.len() as u64;
        loaded.last_revision = revisions.last().copied().unwrap_or(loaded.last_revision);
        chunk.clear();
        Ok(())
    }

    /// Leaves a delete marker at every key that matches `pattern` (`*` one token, `>` the rest) and holds a value, in key order.
    ///
    /// The keys are those of the moment of the call. They are written in chunks of up to 512, each of them one commit; one that somebody
    /// deletes meanwhile is left out. Reads every key that begins as the pattern does.
    ///
    /// ```
    /// use annals::{BucketConfig, Store};
    /// let store = Store::in_memory()?;
    /// let users = store.create_bucket(BucketConfig::new("users"))?;
    /// users.put("eu.ada", "1")?;
    /// users.put("eu.grace", "2")?;
    /// users.put("us.alan", "3")?;
    /// assert_eq!(users.delete_matching("eu.*")?.count, 2);
    /// assert_eq!(users.keys()?.count(), 1);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidKey` for a bad pattern, those of [`delete`](Bucket::delete) and of [`get`](Bucket::get). Chunks that were committed before stay.
    pub fn delete_matching(&self, pattern: impl AsRef<str>) -> Result<Matched> {
        self.mark_matching(pattern.as_ref(), Flags::delete())
    }

    /// [`delete_matching`](Bucket::delete_matching) with purge markers: the history of each key goes.
    ///
    /// # Errors
    /// Those of [`delete_matching`](Bucket::delete_matching).
    pub fn purge_matching(&self, pattern: impl AsRef<str>) -> Result<Matched> {
        self.mark_matching(pattern.as_ref(), Flags::purge())
    }

    /// Removes everything from the bucket: values, markers, histories. Answers up to which revision that was; revisions go on from there.
    /// Costs one commit, however many keys there are; the space comes back with later merges.
    ///
    /// ```
    /// use annals::{BucketConfig, Store};
    /// let store = Store::in_memory()?;
    /// let cache = store.create_bucket(BucketConfig::new("cache"))?;
    /// cache.put("a", "1")?;
    /// assert_eq!(cache.purge_all()?.get(), 1);
    /// assert!(cache.get("a")?.is_none());
    /// assert_eq!(cache.put("a", "2")?.get(), 2);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`delete`](Bucket::delete).
    pub fn purge_all(&self) -> Result<Revision> {
        self.engine.purge_all(self.id)
    }

    /// For each key whose newest entry is a marker: removes everything under the marker, and the marker itself if it is `age` old or older
    /// (`Duration::ZERO`: all of them). Answers how many keys had a marker. Takes no revisions.
    ///
    /// Reads every key, and writes once per marker, in chunks; a key that is written to meanwhile is left as it is.
    ///
    /// # Errors
    /// Those of [`delete`](Bucket::delete) and of [`get`](Bucket::get). Chunks that were committed before stay.
    pub fn purge_deletes(&self, age: Duration) -> Result<u64> {
        self.engine.purge_deletes(self.id, nanoseconds(age))
    }

    fn mark_matching(&self, pattern: &str, flags: Flags) -> Result<Matched> {
        let swept = self.engine.mark_matching(self.id, &Pattern::parse(pattern)?, flags)?;
        Ok(Matched { count: swept.count, last_revision: swept.last })
    }

    fn put_value(&self, key: &str, value: &[u8], condition: Condition, options: PutOptions) -> Result<Revision> {
        let (ttl, write) = options.checked()?;
        check_key(key)?;
        self.engine.write(&OpFields { ttl, ..OpFields::put(self.id, key.as_bytes(), value, condition) }, write)
    }

    fn mark(&self, key: &str, flags: Flags, condition: Condition, options: PutOptions) -> Result<Revision> {
        let (ttl, write) = options.checked()?;
        check_key(key)?;
        self.engine.write(&OpFields { ttl, ..OpFields::marker(self.id, key.as_bytes(), flags, condition) }, write)
    }
}
