//! A store with the oracle beside it, and how a program of [`Op`]s is run on both.
//!
//! [`run`] is one call for a whole program, for the model test and fuzz targets; a test that interferes keeps a [`World`] and goes step by
//! step. The store has no threads of its own (`manual_jobs`): flushes and merges come where the program says so, or where a writer would wait
//! for one. Nothing crashes here: every drop is followed by an open of the same files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::Durability;
use crate::bucket::Bucket;
use crate::config::{BucketConfig, Options};
use crate::entry::Entry;
use crate::env::Env;
use crate::error::{Error, ErrorKind};
use crate::key::Key;
use crate::number::Revision;
use crate::scan::{History, Keys, KeysOptions};
use crate::store::Store;
use crate::testing::ops::{Change, Expect, Op, bucket_config, bucket_name, key_name, pattern_name};
use crate::testing::oracle::{Checked, Mismatch, Oracle, OracleBucket, Refusal, Version, Write, check_entry, check_refusal};

const DEAD_HANDLES_MAX: usize = 4;
const HELD_MAX: usize = 3;

/// Where and how a program runs.
#[derive(Clone, Debug)]
pub struct Setup {
    pub directory: PathBuf,
    /// `None` = the operating system's files.
    pub env: Option<Env>,
    pub durability: Durability,
    /// Bytes of a log file, a memtable, a block.
    pub sizes: (u64, u64, u32),
}

impl Setup {
    #[must_use]
    pub fn options(&self) -> Options {
        let (log, memtable, block) = self.sizes;
        let options = Options::new().durability(self.durability).sizes(log, memtable, block).manual_jobs();
        match &self.env {
            Some(env) => options.env(env.clone()),
            None => options,
        }
    }
}

#[derive(Debug)]
enum Held {
    Keys(Keys, Vec<String>),
    History(History, Vec<(String, Version)>),
}

/// A store and the oracle beside it.
#[derive(Debug)]
pub struct World {
    setup: Setup,
    /// `None` only inside a reopen.
    store: Option<Store>,
    pub oracle: Oracle,
    handles: BTreeMap<String, Bucket>,
    dead: Vec<Bucket>,
    held: Vec<Held>,
    steps: usize,
}

/// Runs a whole program on a new store, and compares everything at its end and after a last reopen.
///
/// # Errors
/// The first difference, with the step that showed it.
pub fn run(ops: &[Op], setup: Setup) -> Checked {
    let mut world = World::create(setup)?;
    for (step, op) in ops.iter().enumerate() {
        world.apply(op).map_err(|mismatch| mismatch.context(format!("step {step} {op:?}")))?;
    }
    world.finish().map_err(|mismatch| mismatch.context("at the end"))
}

impl World {
    /// A new store with two buckets, so that most steps meet one that exists.
    ///
    /// # Errors
    /// What differs.
    pub fn create(setup: Setup) -> Checked<Self> {
        let store = setup.options().open(&setup.directory)?;
        let mut world = Self {
            setup,
            store: Some(store),
            oracle: Oracle::new(),
            handles: BTreeMap::new(),
            dead: Vec::new(),
            held: Vec::new(),
            steps: 0,
        };
        world.apply(&Op::CreateBucket { bucket: 0, config: 2 })?;
        world.apply(&Op::CreateBucket { bucket: 1, config: 0 })?;
        Ok(world)
    }

    /// The store.
    ///
    /// # Panics
    /// Never: it is only gone inside a reopen.
    #[must_use]
    pub fn store(&self) -> &Store {
        self.store.as_ref().expect("the store is only gone inside a reopen")
    }

    /// Runs one step and compares its answer.
    ///
    /// # Errors
    /// What differs.
    pub fn apply(&mut self, op: &Op) -> Checked {
        self.steps += 1;
        match op {
            Op::Write { bucket, key, change } => self.write(bucket_name(*bucket), &key_name(*key), *change),
            Op::Read { bucket, key } => self.read(*bucket, |oracle, bucket| oracle.check_key(bucket, &key_name(*key))),
            Op::ReadAt { bucket, key, back } => self.read(*bucket, |oracle, bucket| {
                let revision = match back {
                    255 => 0,
                    254 => oracle.last_revision + 1,
                    back => oracle.last_revision.saturating_sub(u64::from(back % 16)),
                };
                oracle.check_key_at(bucket, &key_name(*key), revision)
            }),
            Op::History { bucket, pattern } => {
                self.read(*bucket, |oracle, bucket| oracle.check_history(bucket, &pattern_name(*pattern)))
            }
            Op::Keys { bucket, patterns, markers } => self.keys(*bucket, patterns, *markers),
            Op::HoldKeys { bucket, pattern, take } => self.hold_keys(*bucket, *pattern, *take),
            Op::HoldHistory { bucket, pattern, take } => self.hold_history(*bucket, *pattern, *take),
            Op::DrainHeld => self.drain_held(),
            Op::CreateBucket { bucket, config } => self.create_bucket(&bucket_config(*bucket, *config)),
            Op::DeleteBucket { bucket } => self.delete_bucket(bucket_name(*bucket)),
            Op::UseDeadHandle { call } => self.use_dead_handle(*call),
            Op::Status { bucket } => self.status(*bucket),
            Op::Flush => Ok(self.store().flush()?),
            Op::MergeAll => {
                self.store().merge_all()?;
                self.check()
            }
            Op::Step => Ok(self.store().step().map(|_| ())?),
            Op::Sync => self.sync(),
            Op::Reopen => self.reopen(true),
            Op::DropAndReopen => self.reopen(false),
        }
    }

    /// Compares everything that the store shows.
    ///
    /// # Errors
    /// What differs.
    pub fn check(&mut self) -> Checked {
        let store = self.store().clone();
        self.oracle.check(&store)
    }

    /// Compares everything, reads what is held, reopens and compares again; the files must verify.
    ///
    /// # Errors
    /// What differs.
    pub fn finish(mut self) -> Checked {
        self.check()?;
        self.reopen(true)?;
        while !self.held.is_empty() {
            self.drain_held()?;
        }
        self.store().verify()?;
        Ok(self.store().close()?)
    }

    fn write(&mut self, bucket: &str, key: &str, change: Change) -> Checked {
        let write = self.resolve(bucket, key, change);
        let Some(handle) = self.handles.get(bucket) else { return self.check_missing(bucket) };
        let answer = write.send(handle, key);
        self.oracle.observe(bucket, key, &write, &answer)?;
        let revision = answer.as_ref().map_or(0, |revision| revision.get());
        if let Some(oracle) = self.oracle.buckets.get(bucket).filter(|_| revision > 0) {
            let entry = handle.entry(key)?;
            check_entry(entry.as_ref(), key, oracle.newest(key)).map_err(|mismatch| mismatch.context("just written"))?;
        }
        if self.setup.durability == Durability::Sync {
            let status = self.store().status()?;
            if status.durable_commit != status.last_commit {
                return Err(Mismatch(format!("visible {} but durable {}", status.last_commit, status.durable_commit)));
            }
        }
        Ok(())
    }

    fn resolve(&self, bucket: &str, key: &str, change: Change) -> Write {
        let oracle = self.oracle.buckets.get(bucket);
        let current = oracle.and_then(|bucket| bucket.newest(key)).map_or(0, |version| version.revision);
        let last = oracle.map_or(0, |bucket| bucket.last_revision);
        let revision = |expect| match expect {
            Expect::Current => current,
            Expect::None => 0,
            Expect::Before => current.saturating_sub(1),
            Expect::Future => last + 1,
            Expect::LastOfBucket => last,
        };
        match change {
            Change::Put(payload) => Write::Put(payload.bytes(self.steps)),
            Change::Create(payload) => Write::Create(payload.bytes(self.steps)),
            Change::Update(payload, expect) => Write::Update(payload.bytes(self.steps), revision(expect)),
            Change::Delete => Write::Delete,
            Change::DeleteExpecting(expect) => Write::DeleteExpecting(revision(expect)),
            Change::Purge => Write::Purge,
            Change::PurgeExpecting(expect) => Write::PurgeExpecting(revision(expect)),
        }
    }

    fn read(&self, bucket: u8, read: impl FnOnce(&OracleBucket, &Bucket) -> Checked) -> Checked {
        let name = bucket_name(bucket);
        match (self.oracle.buckets.get(name), self.handles.get(name)) {
            (Some(oracle), Some(handle)) => read(oracle, handle),
            _ => self.check_missing(name),
        }
    }

    fn check_missing(&self, name: &str) -> Checked {
        check_failed(Refusal::of(ErrorKind::BucketNotFound), self.store().bucket(name))
    }

    fn keys(&self, bucket: u8, patterns: &[u8], markers: bool) -> Checked {
        let patterns: Vec<String> = patterns.iter().map(|pattern| pattern_name(*pattern)).collect();
        self.read(bucket, |oracle, bucket| {
            let options = patterns.iter().fold(KeysOptions::new().markers(markers), |options, one| options.filter(one));
            compare_keys(bucket.keys_with(options)?, &oracle.keys(&patterns, markers))
        })
    }

    fn hold_keys(&mut self, bucket: u8, pattern: u8, take: u8) -> Checked {
        let (name, pattern) = (bucket_name(bucket), pattern_name(pattern));
        let (Some(oracle), Some(handle)) = (self.oracle.buckets.get(name), self.handles.get(name)) else { return Ok(()) };
        let mut expected = oracle.keys(std::slice::from_ref(&pattern), false);
        let mut keys = handle.keys_with(KeysOptions::new().filter(pattern))?;
        let taken = usize::from(take % 4).min(expected.len());
        compare_keys(keys.by_ref().take(taken), &expected[..taken])?;
        self.hold(Held::Keys(keys, expected.split_off(taken)));
        Ok(())
    }

    fn hold_history(&mut self, bucket: u8, pattern: u8, take: u8) -> Checked {
        let (name, pattern) = (bucket_name(bucket), pattern_name(pattern));
        let (Some(oracle), Some(handle)) = (self.oracle.buckets.get(name), self.handles.get(name)) else { return Ok(()) };
        let found = oracle.history(&pattern).into_iter();
        let mut expected: Vec<_> = found.map(|(key, version)| (key.to_owned(), version.clone())).collect();
        let mut history = handle.history(pattern)?;
        let taken = usize::from(take % 4).min(expected.len());
        compare_history(history.by_ref().take(taken), &expected[..taken])?;
        self.hold(Held::History(history, expected.split_off(taken)));
        Ok(())
    }

    fn hold(&mut self, held: Held) {
        if self.held.len() == HELD_MAX {
            self.held.remove(0);
        }
        self.held.push(held);
    }

    fn drain_held(&mut self) -> Checked {
        if self.held.is_empty() {
            return Ok(());
        }
        let mismatch = match self.held.remove(0) {
            Held::Keys(keys, expected) => compare_keys(keys, &expected),
            Held::History(history, expected) => compare_history(history, &expected),
        };
        mismatch.map_err(|mismatch| mismatch.context("held iterator"))
    }

    fn create_bucket(&mut self, config: &BucketConfig) -> Checked {
        let answer = self.store().create_bucket(config.clone());
        match self.oracle.create_bucket(config) {
            Ok(()) => {
                self.handles.insert(config.name().to_owned(), answer?);
                Ok(())
            }
            Err(refusal) => check_failed(refusal, answer),
        }
    }

    fn delete_bucket(&mut self, name: &str) -> Checked {
        let answer = self.store().delete_bucket(name);
        if let Err(refusal) = self.oracle.delete_bucket(name) {
            return check_failed(refusal, answer);
        }
        answer?;
        if self.dead.len() == DEAD_HANDLES_MAX {
            self.dead.remove(0);
        }
        self.dead.extend(self.handles.remove(name));
        self.check_missing(name)
    }

    fn use_dead_handle(&self, call: u8) -> Checked {
        let Some(bucket) = self.dead.get(usize::from(call) % self.dead.len().max(1)) else { return Ok(()) };
        let refusal = Refusal::of(ErrorKind::BucketNotFound);
        match call / 32 {
            0 => check_failed(refusal, bucket.put("a", "1")),
            1 => check_failed(refusal, bucket.get("a")),
            2 => check_failed(refusal, bucket.history(">")),
            3 => check_failed(refusal, bucket.keys()),
            4 => check_failed(refusal, bucket.status()),
            5 => check_failed(refusal, bucket.config()),
            6 => check_failed(refusal, bucket.entry_at("a", Revision::from(1))),
            _ => check_failed(refusal, bucket.purge("a")),
        }
    }

    fn status(&self, bucket: u8) -> Checked {
        let status = self.store().status()?;
        if status.poisoned || status.durable_commit > status.last_commit || status.directory != self.setup.directory {
            return Err(Mismatch(format!("status {status:?}")));
        }
        self.read(bucket, |oracle, bucket| oracle.check_counts(bucket))
    }

    fn sync(&self) -> Checked {
        let before = self.store().status()?.last_commit;
        let durable = self.store().sync()?;
        let known = self.store().durable_commit();
        if before <= durable && durable <= known {
            return Ok(());
        }
        Err(Mismatch(format!("sync answers {durable} after commit {before}; durable_commit answers {known}")))
    }

    fn reopen(&mut self, clean: bool) -> Checked {
        self.handles.clear();
        self.dead.clear();
        let store = self.store.take();
        if let Some(store) = store.filter(|_| clean) {
            store.close()?;
        } else if self.setup.durability != Durability::Sync {
            self.oracle.allow_gap();
        }
        let store = self.setup.options().create_if_missing(false).open(&self.setup.directory)?;
        let recovery = store.recovery().clone();
        self.store = Some(store);
        if recovery.torn.is_some() || clean && !(recovery.clean && recovery.replayed == 0) {
            return Err(Mismatch(format!("nothing crashed, yet recovery says {recovery:?}")));
        }
        for name in self.oracle.buckets.keys() {
            self.handles.insert(name.clone(), self.store().bucket(name)?);
        }
        self.check().map_err(|mismatch| mismatch.context("after the reopen"))
    }
}

fn compare_keys(found: impl Iterator<Item = Result<Key, Error>>, expected: &[String]) -> Checked {
    let found: Vec<String> = found.map(|key| Ok(key?.as_str().to_owned())).collect::<Result<_, Error>>()?;
    if found == expected { Ok(()) } else { Err(Mismatch(format!("keys are {found:?} instead of {expected:?}"))) }
}

fn compare_history(found: impl Iterator<Item = Result<Entry, Error>>, expected: &[(String, Version)]) -> Checked {
    let found = found.collect::<Result<Vec<_>, Error>>()?;
    if found.len() != expected.len() {
        return Err(Mismatch(format!("{} entries of history instead of {}", found.len(), expected.len())));
    }
    found.iter().zip(expected).try_for_each(|(entry, (key, version))| check_entry(Some(entry), key, Some(version)))
}

fn check_failed<T>(refusal: Refusal, answer: Result<T, Error>) -> Checked {
    match answer {
        Ok(_) => Err(Mismatch(format!("succeeded instead of {refusal:?}"))),
        Err(error) => check_refusal(refusal, &error),
    }
}
