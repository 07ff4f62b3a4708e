//! Several writes that happen together or not at all.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::bucket::Bucket;
use crate::config::PutOptions;
use crate::durability::Durability;
use crate::engine::{Condition, Engine, OpFields, WriteOptions};
use crate::entry::Flags;
use crate::error::{Error, ErrorKind, Result};
use crate::key::check_key;
use crate::number::{BucketId, Revision};

/// Keys and values of one batch together, in bytes.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// Operations over any keys and buckets of one store that take effect at one moment, or not at all; from
/// [`Store::batch`](crate::Store::batch).
///
/// Conditions are checked against the state before the batch. What is wrong with an operation (a bad key, a value over its limit) is told by
/// [`commit`](Batch::commit), so calls can be chained.
///
/// ```
/// use annals::{BucketConfig, ErrorKind, Store};
/// let store = Store::in_memory()?;
/// let accounts = store.create_bucket(BucketConfig::new("accounts"))?;
/// let audit = store.create_bucket(BucketConfig::new("audit"))?;
/// let ada = accounts.put("ada", "100")?;
/// let grace = accounts.put("grace", "20")?;
///
/// store
///     .batch()
///     .update(&accounts, "ada", "70", ada)
///     .update(&accounts, "grace", "50", grace)
///     .put(&audit, "transfer.1", "ada to grace: 30")
///     .commit()?;
///
/// let error = store.batch().update(&accounts, "ada", "0", ada).put(&audit, "transfer.2", "too late").commit().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::WrongRevision);
/// assert!(audit.get("transfer.2")?.is_none());
/// # Ok::<(), annals::Error>(())
/// ```
pub struct Batch {
    engine: Arc<Engine>,
    ops: Vec<BatchOp>,
    /// Keys and values, one after the other.
    bytes: Vec<u8>,
    synced: bool,
    /// The first operation that cannot be.
    refused: Option<Error>,
}

/// One operation; key and value lie in the batch's buffer.
struct BatchOp {
    bucket: BucketId,
    flags: Flags,
    condition: Condition,
    ttl: u64,
    is_check: bool,
    key: Range<usize>,
    value: Range<usize>,
}

impl Batch {
    pub(crate) const fn new(engine: Arc<Engine>) -> Self {
        Self { engine, ops: Vec::new(), bytes: Vec::new(), synced: false, refused: None }
    }

    /// [`Bucket::put`].
    pub fn put(&mut self, bucket: &Bucket, key: impl AsRef<str>, value: impl AsRef<[u8]>) -> &mut Self {
        self.put_with(bucket, key, value, PutOptions::new())
    }

    /// [`Bucket::put_with`].
    pub fn put_with(&mut self, bucket: &Bucket, key: impl AsRef<str>, value: impl AsRef<[u8]>, options: PutOptions) -> &mut Self {
        self.push(bucket, key.as_ref(), Some(value.as_ref()), Flags::put(), Condition::None, options)
    }

    /// [`Bucket::create`]: the batch fails with `AlreadyExists` if the key holds a value.
    pub fn create(&mut self, bucket: &Bucket, key: impl AsRef<str>, value: impl AsRef<[u8]>) -> &mut Self {
        self.create_with(bucket, key, value, PutOptions::new())
    }

    /// [`Bucket::create_with`].
    pub fn create_with(
        &mut self,
        bucket: &Bucket,
        key: impl AsRef<str>,
        value: impl AsRef<[u8]>,
        options: PutOptions,
    ) -> &mut Self {
        self.push(bucket, key.as_ref(), Some(value.as_ref()), Flags::put(), Condition::NoValue, options)
    }

    /// [`Bucket::update`]: the batch fails with `WrongRevision` if the key's newest entry has another revision.
    pub fn update(&mut self, bucket: &Bucket, key: impl AsRef<str>, value: impl AsRef<[u8]>, revision: Revision) -> &mut Self {
        self.update_with(bucket, key, value, revision, PutOptions::new())
    }

    /// [`Bucket::update_with`].
    pub fn update_with(
        &mut self,
        bucket: &Bucket,
        key: impl AsRef<str>,
        value: impl AsRef<[u8]>,
        revision: Revision,
        options: PutOptions,
    ) -> &mut Self {
        self.push(bucket, key.as_ref(), Some(value.as_ref()), Flags::put(), Condition::Revision(revision), options)
    }

    /// [`Bucket::delete_expect_revision`]; [`Revision::NONE`] asks for no check.
    pub fn delete(&mut self, bucket: &Bucket, key: impl AsRef<str>, revision: Revision) -> &mut Self {
        self.push(bucket, key.as_ref(), None, Flags::delete(), Condition::expecting(revision), PutOptions::new())
    }

    /// [`Bucket::purge_expect_revision`]; [`Revision::NONE`] asks for no check.
    pub fn purge(&mut self, bucket: &Bucket, key: impl AsRef<str>, revision: Revision) -> &mut Self {
        self.push(bucket, key.as_ref(), None, Flags::purge(), Condition::expecting(revision), PutOptions::new())
    }

    /// Writes nothing: the batch fails with `WrongRevision` unless the key's newest entry, value or marker, has `revision`;
    /// [`Revision::NONE`] demands a key without any entry.
    pub fn check(&mut self, bucket: &Bucket, key: impl AsRef<str>, revision: Revision) -> &mut Self {
        self.push(bucket, key.as_ref(), None, Flags::put(), Condition::Revision(revision), PutOptions::new());
        if let Some(op) = self.ops.last_mut().filter(|_| self.refused.is_none()) {
            op.is_check = true;
        }
        self
    }

    /// Asks for this level for the whole batch, where it is more than the store's own.
    pub fn durability(&mut self, durability: Durability) -> &mut Self {
        self.synced |= durability == Durability::Sync;
        self
    }

    /// How many operations it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Commits the operations and empties the batch. Answers one revision per operation, [`Revision::NONE`] for a check. A batch without
    /// operations does nothing.
    ///
    /// On return all of it is visible and durable, as a [`put`](Bucket::put) is. One record of the log, one sync; each conditional operation
    /// reads its key once.
    ///
    /// # Errors
    /// Those of the operations. `InvalidArgument` for more operations than
    /// [`Options::max_batch_operations`](crate::Options::max_batch_operations), more than 64 MiB of keys and values, a condition on a key that an
    /// earlier operation of the batch writes, or a bucket of another store. Nothing of the batch is applied then; for `Io` see
    /// [`Error::outcome`](crate::Error::outcome).
    pub fn commit(&mut self) -> Result<Vec<Revision>> {
        let batch = std::mem::replace(self, Self::new(Arc::clone(&self.engine)));
        batch.into_committed()
    }

    fn into_committed(self) -> Result<Vec<Revision>> {
        if let Some(error) = self.refused {
            return Err(error);
        }
        if self.ops.is_empty() {
            return Ok(Vec::new());
        }
        let fields = |op: &BatchOp| OpFields {
            bucket: op.bucket,
            flags: op.flags,
            key: &self.bytes[op.key.clone()],
            value: &self.bytes[op.value.clone()],
            condition: op.condition,
            ttl: op.ttl,
            revision: Revision::NONE,
            is_check: op.is_check,
        };
        let ops: Vec<OpFields<'_>> = self.ops.iter().map(fields).collect();
        if let Err(error) = self.check_limits().and_then(|()| check_conditions(&ops)) {
            // Values are checked on the way to the queue; one over its limit is told before what is wrong with the batch as a whole.
            self.engine.check_values(&ops)?;
            return Err(error);
        }
        self.engine.write_batch(&ops, WriteOptions { synced: self.synced, ..WriteOptions::default() })
    }

    fn push(
        &mut self,
        bucket: &Bucket,
        key: &str,
        value: Option<&[u8]>,
        flags: Flags,
        condition: Condition,
        options: PutOptions,
    ) -> &mut Self {
        if self.refused.is_some() {
            return self;
        }
        match self.check_op(bucket, key, options) {
            Ok((ttl, write)) => {
                self.synced |= write.synced;
                let start = self.bytes.len();
                self.bytes.extend_from_slice(key.as_bytes());
                let middle = self.bytes.len();
                self.bytes.extend_from_slice(value.unwrap_or_default());
                let (key, value) = (start..middle, middle..self.bytes.len());
                self.ops.push(BatchOp { bucket: bucket.id(), flags, condition, ttl, is_check: false, key, value });
            }
            Err(error) => self.refused = Some(error),
        }
        self
    }

    fn check_op(&self, bucket: &Bucket, key: &str, options: PutOptions) -> Result<(u64, WriteOptions)> {
        if !bucket.is_of(&self.engine) {
            let message = format!("bucket {} belongs to another store than the batch", bucket.name());
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        check_key(key)?;
        options.checked()
    }

    fn check_limits(&self) -> Result<()> {
        let (count, limit) = (self.ops.len(), self.engine.batch_ops_max());
        if count > limit {
            let message =
                format!("a batch of {count} operations; this store takes at most {limit}, see Options::max_batch_operations");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        if self.ops.len() > 1 && self.bytes.len() > BATCH_BYTES_MAX {
            let message = format!("a batch of {} bytes; at most {BATCH_BYTES_MAX} (64 MiB)", self.bytes.len());
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(())
    }
}

/// No operation has a condition on a key that one before it writes.
fn check_conditions(ops: &[OpFields<'_>]) -> Result<()> {
    if ops.iter().all(|op| op.condition == Condition::None) {
        return Ok(());
    }
    let mut written = HashSet::new();
    for op in ops {
        let key = (op.bucket, op.key);
        if op.condition != Condition::None && written.contains(&key) {
            let key = String::from_utf8_lossy(op.key);
            let message =
                format!("a condition on key {key}, which an earlier operation of the same batch writes; use two batches");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        if !op.is_check {
            written.insert(key);
        }
    }
    Ok(())
}

impl fmt::Debug for Batch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Batch");
        shown.field("operations", &self.ops.len()).field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}
