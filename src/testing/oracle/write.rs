//! What can be asked of a store that changes it, how it is asked, and what it answers: in the oracle's words.

use std::time::Duration;

use crate::batch::Batch;
use crate::bucket::Bucket;
use crate::config::{BucketConfig, PutOptions};
use crate::durability::Durability;
use crate::entry::Operation;
use crate::error::Result as StoreResult;
use crate::number::Revision;
use crate::store::Store;

/// A write to one key, as the API offers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    Put(Vec<u8>),
    Create(Vec<u8>),
    Update(Vec<u8>, u64),
    Delete,
    DeleteExpecting(u64),
    Purge,
    PurgeExpecting(u64),
    /// Only in a batch.
    Check(u64),
    /// What [`Commit::Touch`] comes down to: the key's value again.
    Touch(Vec<u8>),
}

/// Where a write goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyWrite {
    pub bucket: String,
    pub key: String,
    pub write: Write,
    /// Nanoseconds; 0 = none. Of puts, creates and updates, and of a purge that is no part of a batch.
    pub ttl: u64,
}

/// One thing that is done, with one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commit {
    Create(BucketConfig),
    Edit(BucketConfig),
    Remove(String),
    Write(KeyWrite),
    /// A put through a ticket.
    Submit(KeyWrite),
    Touch {
        bucket: String,
        key: String,
        ttl: u64,
    },
    Batch(Vec<KeyWrite>),
    Load {
        bucket: String,
        values: Vec<(String, Vec<u8>)>,
    },
    Matching {
        bucket: String,
        pattern: String,
        purge: bool,
    },
    PurgeAll(String),
    /// With the age in nanoseconds.
    PurgeDeletes(String, u64),
    /// Markers of these keys, by bucket, which have expired: what the store commits by itself.
    Expiry(Vec<(String, String)>),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    /// One for each operation, 0 for a check.
    Revisions(Vec<u64>),
    Touched(Option<u64>),
    /// How many entries there are of it, and the last one's revision.
    Many {
        count: u64,
        last: u64,
    },
    Through(u64),
    Dropped(u64),
}

impl Write {
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Put(value) | Self::Create(value) | Self::Update(value, _) | Self::Touch(value) => Some(value),
            _ => None,
        }
    }

    /// What it leaves; nothing where it is only a check.
    #[must_use]
    pub const fn operation(&self) -> Option<Operation> {
        match self {
            Self::Put(_) | Self::Create(_) | Self::Update(..) | Self::Touch(_) => Some(Operation::Put),
            Self::Delete | Self::DeleteExpecting(_) => Some(Operation::Delete),
            Self::Purge | Self::PurgeExpecting(_) => Some(Operation::Purge),
            Self::Check(_) => None,
        }
    }

    /// Whether it asks for something of the key.
    #[must_use]
    pub const fn is_conditional(&self) -> bool {
        match self {
            Self::Create(_) | Self::Update(..) | Self::Check(_) => true,
            Self::DeleteExpecting(revision) | Self::PurgeExpecting(revision) => *revision != 0,
            Self::Put(_) | Self::Delete | Self::Purge | Self::Touch(_) => false,
        }
    }
}

impl KeyWrite {
    /// Without a time to live.
    #[must_use]
    pub fn new(bucket: impl Into<String>, key: impl Into<String>, write: Write) -> Self {
        Self { bucket: bucket.into(), key: key.into(), write, ttl: 0 }
    }

    fn options(&self, durability: Option<Durability>) -> PutOptions {
        let options = PutOptions::new().ttl((self.ttl > 0).then(|| Duration::from_nanos(self.ttl)));
        durability.map_or(options, |durability| options.durability(durability))
    }

    fn send(&self, bucket: &Bucket, durability: Option<Durability>) -> StoreResult<Revision> {
        let (key, options) = (&self.key, self.options(durability));
        // The short forms where they do, so that these are tried too.
        let is_plain = self.ttl == 0 && durability.is_none();
        match &self.write {
            Write::Put(value) if is_plain => bucket.put(key, value),
            Write::Put(value) => bucket.put_with(key, value, options),
            Write::Create(value) if is_plain => bucket.create(key, value),
            Write::Create(value) => bucket.create_with(key, value, options),
            Write::Update(value, revision) if is_plain => bucket.update(key, value, Revision::from(*revision)),
            Write::Update(value, revision) => bucket.update_with(key, value, Revision::from(*revision), options),
            Write::Delete => bucket.delete(key),
            Write::DeleteExpecting(revision) => bucket.delete_expect_revision(key, Revision::from(*revision)),
            Write::Purge if is_plain => bucket.purge(key),
            Write::Purge => bucket.purge_with(key, Revision::NONE, options),
            Write::PurgeExpecting(revision) if is_plain => bucket.purge_expect_revision(key, Revision::from(*revision)),
            Write::PurgeExpecting(revision) => bucket.purge_with(key, Revision::from(*revision), options),
            Write::Check(_) | Write::Touch(_) => unreachable!("{:?} is no write of its own", self.write),
        }
    }

    fn push(&self, batch: &mut Batch, bucket: &Bucket) {
        let (key, options) = (&self.key, self.options(None));
        match &self.write {
            Write::Put(value) => batch.put_with(bucket, key, value, options),
            Write::Create(value) => batch.create_with(bucket, key, value, options),
            Write::Update(value, revision) => batch.update_with(bucket, key, value, Revision::from(*revision), options),
            Write::Delete => batch.delete(bucket, key, Revision::NONE),
            Write::DeleteExpecting(revision) => batch.delete(bucket, key, Revision::from(*revision)),
            Write::Purge => batch.purge(bucket, key, Revision::NONE),
            Write::PurgeExpecting(revision) => batch.purge(bucket, key, Revision::from(*revision)),
            Write::Check(revision) => batch.check(bucket, key, Revision::from(*revision)),
            Write::Touch(_) => unreachable!("a batch has no touch"),
        };
    }
}

impl Commit {
    /// The bucket, and the writes where they are known beforehand.
    pub(super) fn buckets(&self) -> Vec<&str> {
        match self {
            Self::Create(config) | Self::Edit(config) => vec![config.name()],
            Self::Write(one) | Self::Submit(one) => vec![&one.bucket],
            Self::Batch(writes) => writes.iter().map(|write| write.bucket.as_str()).collect(),
            Self::Expiry(places) => places.iter().map(|(bucket, _)| bucket.as_str()).collect(),
            Self::Remove(bucket) | Self::PurgeAll(bucket) | Self::PurgeDeletes(bucket, _) => vec![bucket],
            Self::Touch { bucket, .. } | Self::Load { bucket, .. } | Self::Matching { bucket, .. } => vec![bucket],
        }
    }

    /// The writes of which it consists, where that does not depend on what is there.
    #[must_use]
    pub fn key_writes(&self) -> Vec<KeyWrite> {
        match self {
            Self::Write(write) | Self::Submit(write) => vec![write.clone()],
            Self::Batch(writes) => writes.clone(),
            Self::Load { bucket, values } => {
                values.iter().map(|(key, value)| KeyWrite::new(bucket, key, Write::Put(value.clone()))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The first revision that it took in each bucket, or for a purge of all the one that comes next.
    #[must_use]
    pub fn first_revisions(&self, answer: &Answer) -> Vec<(String, u64)> {
        let mut firsts: Vec<(String, u64)> = Vec::new();
        let mut first = |bucket: &str, revision: u64| {
            if revision > 0 && firsts.iter().all(|(known, _)| known != bucket) {
                firsts.push((bucket.to_owned(), revision));
            }
        };
        let names = self.buckets();
        match answer {
            Answer::Revisions(revisions) => names.iter().zip(revisions).for_each(|(name, revision)| first(name, *revision)),
            Answer::Touched(Some(revision)) => first(names[0], *revision),
            Answer::Many { count, last } => first(names[0], if *count == 0 { 0 } else { last + 1 - count }),
            Answer::Through(last) => first(names[0], last + 1),
            Answer::Done | Answer::Dropped(_) | Answer::Touched(None) => {}
        }
        firsts
    }

    /// Does it to a real store; `find` finds the handle of a bucket. `durability` is what writes ask for beyond the store's own level.
    ///
    /// # Errors
    /// Those of the call.
    pub fn send(
        &self,
        store: &Store,
        find: &dyn Fn(&str) -> StoreResult<Bucket>,
        durability: Option<Durability>,
    ) -> StoreResult<Answer> {
        let one = |revision: Revision| Answer::Revisions(vec![revision.get()]);
        Ok(match self {
            Self::Create(config) => store.create_bucket(config.clone()).map(|_| Answer::Done)?,
            Self::Edit(config) => store.update_bucket(config.clone()).map(|_| Answer::Done)?,
            Self::Remove(name) => store.delete_bucket(name).map(|()| Answer::Done)?,
            Self::Write(write) => one(write.send(&find(&write.bucket)?, durability)?),
            Self::Submit(write) => {
                let value = write.write.value().unwrap_or_default();
                let ticket = find(&write.bucket)?.submit(&write.key, value, write.options(durability))?;
                one(ticket.wait()?)
            }
            Self::Touch { bucket, key, ttl } => {
                let options = KeyWrite { ttl: *ttl, ..KeyWrite::new(bucket, key, Write::Delete) }.options(durability);
                Answer::Touched(find(bucket)?.touch(key, options)?.map(Revision::get))
            }
            Self::Batch(writes) => {
                let handles = writes.iter().map(|write| find(&write.bucket)).collect::<StoreResult<Vec<_>>>()?;
                let mut batch = store.batch();
                writes.iter().zip(&handles).for_each(|(write, bucket)| write.push(&mut batch, bucket));
                durability.into_iter().for_each(|durability| {
                    batch.durability(durability);
                });
                Answer::Revisions(batch.commit()?.into_iter().map(Revision::get).collect())
            }
            Self::Load { bucket, values } => {
                let loaded = find(bucket)?.load(values.iter().map(|(key, value)| (key, value)))?;
                Answer::Many { count: loaded.count, last: loaded.last_revision.get() }
            }
            Self::Matching { bucket, pattern, purge } => {
                let bucket = find(bucket)?;
                let matched = if *purge { bucket.purge_matching(pattern)? } else { bucket.delete_matching(pattern)? };
                Answer::Many { count: matched.count, last: matched.last_revision.get() }
            }
            Self::Expiry(_) => unreachable!("nobody asks for markers of expiry"),
            Self::PurgeAll(bucket) => Answer::Through(find(bucket)?.purge_all()?.get()),
            Self::PurgeDeletes(bucket, age) => Answer::Dropped(find(bucket)?.purge_deletes(Duration::from_nanos(*age))?),
        })
    }
}
