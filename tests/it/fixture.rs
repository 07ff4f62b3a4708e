//! One test, four stores: in memory; in a directory with structures so small that rare paths are common; one that flushes and merges every
//! few writes by itself; and one that is flushed, merged, closed and opened again between any two steps of the test. Time is in the hand
//! of the test: it stands still until [`Fixture::pass`].

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use annals::env::Env;
use annals::testing::clock::ManualClock;
use annals::{
    Batch, Bucket, BucketConfig, BucketStatus, Entry, ErrorKind, Event, KeysOptions, Operation, Options, Outcome, PutOptions,
    Result, Revision, Store,
};
use tempfile::TempDir;

use crate::files::fast_directory;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Memory,
    Directory,
    /// Memtables of a few entries, so that background jobs are always at work.
    Busy,
    /// Every checkpoint does something to the files.
    Churn,
    /// Every checkpoint does what a number says. No threads, so that nothing else happens.
    Scripted,
}

/// A store of one of the kinds. What it hands out must not be kept over a step, because a step may reopen the store.
pub(crate) struct Fixture {
    kind: Kind,
    clock: Arc<ManualClock>,
    /// Holds the files of a store in memory while it is shut.
    env: Env,
    directory: TempDir,
    store: RefCell<Option<Store>>,
    checkpoints: Cell<u32>,
}

/// Runs the test on each kind of store.
pub(crate) fn on_each_store(test: impl Fn(&Fixture)) {
    for kind in [Kind::Memory, Kind::Directory, Kind::Busy, Kind::Churn] {
        println!("on a store of kind {kind:?}");
        test(&Fixture::new(kind, 0));
    }
}

/// Runs the test on stores on which nothing, a flush, a merge of what is in segments or a reopen without a close happens after each of the
/// first steps: once for every choice of these. Steps are writes, changes of the configuration and passages of time.
pub(crate) fn on_every_schedule(steps: u32, test: impl Fn(&Fixture)) {
    for script in 0..4_u32.pow(steps) {
        println!("on the schedule {script}: a base-4 digit per step, lowest first, of nothing, flush, merge, reopen");
        test(&Fixture::new(Kind::Scripted, script));
    }
}

/// Options with tiny log files, memtables and blocks.
pub(crate) fn tiny() -> Options {
    Options::new().sizes(16 << 10, 4 << 10, 512)
}

pub(crate) const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A time to live in milliseconds.
pub(crate) fn ttl(count: u64) -> PutOptions {
    PutOptions::new().ttl(ms(count))
}

impl Fixture {
    fn new(kind: Kind, checkpoints: u32) -> Self {
        let clock = ManualClock::new();
        let env = if kind == Kind::Directory { clock.env_on_files() } else { clock.env_in_memory() };
        let (directory, checkpoints) = (fast_directory(), Cell::new(checkpoints));
        let fixture = Self { kind, clock, env, directory, store: RefCell::new(None), checkpoints };
        fixture.open();
        fixture
    }

    fn open(&self) {
        let env = self.env.clone();
        let store = match self.kind {
            Kind::Memory => Options::new().env(env).in_memory(),
            Kind::Directory => tiny().env(env).open(self.directory.path().join("store")),
            Kind::Busy => Options::new().sizes(4 << 10, 300, 128).env(env).in_memory(),
            Kind::Churn => tiny().env(env).open("/store"),
            Kind::Scripted => tiny().env(env).manual_jobs().open("/store"),
        };
        *self.store.borrow_mut() = Some(store.unwrap());
    }

    pub(crate) fn store(&self) -> Store {
        self.store.borrow().clone().unwrap()
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, span: Duration) {
        self.clock.advance(span);
        self.checkpoint();
    }

    pub(crate) fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// What may happen to a store at any time without anybody seeing it: nothing, or in turn a flush, a merge, a clean reopen, one
    /// without a close.
    pub(crate) fn checkpoint(&self) {
        let turn = self.checkpoints.get();
        match (self.kind, turn % 4) {
            (Kind::Memory | Kind::Directory | Kind::Busy, _) | (Kind::Scripted, 0) => {}
            (Kind::Churn, 0) | (Kind::Scripted, 1) => self.store().flush().unwrap(),
            (Kind::Churn, 1) | (Kind::Scripted, 2) => self.store().merge_all().unwrap(),
            (Kind::Churn, turn) => self.reopen(turn == 2),
            (Kind::Scripted, _) => self.reopen(false),
        }
        self.checkpoints.set(if self.kind == Kind::Scripted { turn / 4 } else { turn + 1 });
    }

    /// Shuts the store and opens it again, where it has files that outlive it.
    pub(crate) fn reopen(&self, close: bool) {
        self.reopen_after(close, || ());
    }

    /// The same, with something that happens while the store is shut.
    pub(crate) fn reopen_after(&self, close: bool, meanwhile: impl FnOnce()) {
        if matches!(self.kind, Kind::Memory | Kind::Busy) {
            return meanwhile();
        }
        let store = self.store.borrow_mut().take().unwrap();
        if close {
            store.close().unwrap();
        }
        drop(store);
        meanwhile();
        self.open();
    }

    /// Commits the markers of what has expired.
    pub(crate) fn sweep(&self) {
        self.store().sweep().unwrap();
        self.checkpoint();
    }

    /// Everything to one segment.
    pub(crate) fn settle(&self) {
        self.store().flush().unwrap();
        self.store().merge_all().unwrap();
    }

    /// Gives a bucket another configuration.
    pub(crate) fn update(&self, config: BucketConfig) {
        self.store().update_bucket(config).unwrap();
        self.checkpoint();
    }

    /// Fills and commits a batch.
    pub(crate) fn batch(&self, fill: impl FnOnce(&mut Batch)) -> Result<Vec<u64>> {
        let mut batch = self.store().batch();
        fill(&mut batch);
        let answer = batch.commit();
        drop(batch);
        self.checkpoint();
        answer.map(|revisions| revisions.into_iter().map(Revision::get).collect())
    }

    /// Creates a bucket.
    pub(crate) fn bucket(&self, config: BucketConfig) -> Probe<'_> {
        let name = config.name().to_owned();
        self.store().create_bucket(config).unwrap();
        if self.kind != Kind::Scripted {
            self.checkpoint();
        }
        Probe { fixture: self, name }
    }

    /// A bucket with that depth of history.
    pub(crate) fn depth(&self, depth: u8) -> Probe<'_> {
        self.bucket(BucketConfig::new("b").history(depth))
    }
}

/// A bucket by its name: looks its handle up for each call, and lets a checkpoint follow each write.
pub(crate) struct Probe<'a> {
    fixture: &'a Fixture,
    name: String,
}

/// What a refused call says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) kind: ErrorKind,
    pub(crate) actual: Option<u64>,
}

/// A refusal that has to do with a key's revision.
pub(crate) const fn refused(kind: ErrorKind, actual: u64) -> Refused {
    Refused { kind, actual: Some(actual) }
}

impl Probe<'_> {
    /// The handle, good until the next step.
    pub(crate) fn handle(&self) -> Bucket {
        self.fixture.store().bucket(&self.name).unwrap()
    }

    /// The handle that made the call must be gone by now, or the reopen finds the store in use.
    fn written(&self, answer: Result<Revision>) -> u64 {
        self.fixture.checkpoint();
        answer.unwrap().get()
    }

    pub(crate) fn put(&self, key: &str, value: impl AsRef<[u8]>) -> u64 {
        let answer = self.handle().put(key, value);
        self.written(answer)
    }

    pub(crate) fn put_with(&self, key: &str, value: impl AsRef<[u8]>, options: PutOptions) -> u64 {
        let answer = self.handle().put_with(key, value, options);
        self.written(answer)
    }

    pub(crate) fn create_with(&self, key: &str, value: impl AsRef<[u8]>, options: PutOptions) -> u64 {
        let answer = self.handle().create_with(key, value, options);
        self.written(answer)
    }

    pub(crate) fn purge_with(&self, key: &str, options: PutOptions) -> u64 {
        let answer = self.handle().purge_with(key, Revision::NONE, options);
        self.written(answer)
    }

    pub(crate) fn touch(&self, key: &str, options: PutOptions) -> Option<u64> {
        let answer = self.handle().touch(key, options);
        self.fixture.checkpoint();
        answer.unwrap().map(Revision::get)
    }

    pub(crate) fn purge_all(&self) -> u64 {
        let answer = self.handle().purge_all();
        self.written(answer)
    }

    pub(crate) fn purge_deletes(&self, age: Duration) -> u64 {
        let answer = self.handle().purge_deletes(age);
        self.fixture.checkpoint();
        answer.unwrap()
    }

    /// How many keys got a marker, and the last revision of them.
    pub(crate) fn delete_matching(&self, pattern: &str) -> (u64, u64) {
        let answer = self.handle().delete_matching(pattern);
        self.fixture.checkpoint();
        let matched = answer.unwrap();
        (matched.count, matched.last_revision.get())
    }

    pub(crate) fn purge_matching(&self, pattern: &str) -> (u64, u64) {
        let answer = self.handle().purge_matching(pattern);
        self.fixture.checkpoint();
        let matched = answer.unwrap();
        (matched.count, matched.last_revision.get())
    }

    pub(crate) fn create(&self, key: &str, value: &str) -> u64 {
        let answer = self.handle().create(key, value);
        self.written(answer)
    }

    pub(crate) fn update(&self, key: &str, value: &str, revision: u64) -> u64 {
        let answer = self.handle().update(key, value, Revision::from(revision));
        self.written(answer)
    }

    pub(crate) fn delete(&self, key: &str) -> u64 {
        let answer = self.handle().delete(key);
        self.written(answer)
    }

    pub(crate) fn purge(&self, key: &str) -> u64 {
        let answer = self.handle().purge(key);
        self.written(answer)
    }

    /// Tries a call that must be refused without effect: no revision is used, and history stays.
    pub(crate) fn refusal<T: std::fmt::Debug>(&self, call: impl FnOnce(&Bucket) -> Result<T>) -> Refused {
        let before = (self.status(), self.order(">"));
        let error = call(&self.handle()).unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotApplied);
        assert_eq!((self.status(), self.order(">")), before, "a refused call changed something");
        self.fixture.checkpoint();
        Refused { kind: error.kind(), actual: error.actual_revision().map(Revision::get) }
    }

    pub(crate) fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.handle().get(key).unwrap().map(|value| value.to_vec())
    }

    /// The value as text.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        self.get(key).map(|value| String::from_utf8(value).unwrap())
    }

    /// The value of a revision as text.
    pub(crate) fn text_at(&self, key: &str, revision: u64) -> Option<String> {
        let value = self.handle().get_at(key, Revision::from(revision)).unwrap();
        value.map(|value| String::from_utf8(value.to_vec()).unwrap())
    }

    pub(crate) fn entry(&self, key: &str) -> Option<Entry> {
        self.handle().entry(key).unwrap()
    }

    /// The revision of the newest entry.
    pub(crate) fn revision(&self, key: &str) -> u64 {
        self.entry(key).unwrap().revision().get()
    }

    pub(crate) fn entries(&self, pattern: &str) -> Vec<Entry> {
        self.handle().history(pattern).unwrap().collect::<Result<_>>().unwrap()
    }

    /// Operations and revisions, as in `PUT 1, DEL 2`.
    pub(crate) fn history(&self, pattern: &str) -> String {
        let shown = |entry: &Entry| format!("{} {}", operation(entry), entry.revision());
        self.entries(pattern).iter().map(shown).collect::<Vec<_>>().join(", ")
    }

    /// Keys and revisions, as in `b2 a3`.
    pub(crate) fn order(&self, pattern: &str) -> String {
        let shown = |entry: &Entry| format!("{}{}", entry.key(), entry.revision());
        self.entries(pattern).iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    /// What has changed since a revision, as in `PUT a 2, DEL a 3`, with `ALL 4` where the whole bucket was purged; or up to where it is
    /// compacted.
    pub(crate) fn changes(&self, since: u64) -> std::result::Result<String, u64> {
        let shown = |event: Event| match event {
            Event::Entry(entry) => format!("{} {} {}", operation(&entry), entry.key(), entry.revision()),
            Event::Purged { through } => format!("ALL {through}"),
            other => format!("{other:?}"),
        };
        let changes = self.handle().changes_since(Revision::from(since));
        match changes.and_then(|changes| changes.map(|event| event.map(shown)).collect::<Result<Vec<_>>>()) {
            Ok(changes) => Ok(changes.join(", ")),
            Err(error) if error.kind() == ErrorKind::Compacted => Err(error.floor().unwrap().get()),
            Err(error) => panic!("{error:?}"),
        }
    }

    /// The keys that hold a value, as in `a a.b`.
    pub(crate) fn keys(&self) -> String {
        self.keys_with(KeysOptions::new())
    }

    /// The keys that one of the patterns matches.
    pub(crate) fn keys_matching(&self, patterns: &[&str]) -> String {
        self.keys_with(patterns.iter().fold(KeysOptions::new(), |options, pattern| options.filter(*pattern)))
    }

    pub(crate) fn keys_with(&self, options: KeysOptions) -> String {
        let keys = self.handle().keys_with(options).unwrap();
        keys.map(|key| key.unwrap().as_str().to_owned()).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn status(&self) -> BucketStatus {
        self.handle().status().unwrap()
    }

    /// The revision of the bucket's newest entry.
    pub(crate) fn last(&self) -> u64 {
        self.status().last_revision.get()
    }

    /// Nothing of the key is there, whoever asks.
    pub(crate) fn assert_nothing_at(&self, key: &str) {
        assert_eq!(self.get(key), None, "get of {key}");
        assert_eq!(self.handle().get_with(key, |_| ()).unwrap(), None, "get_with of {key}");
        assert_eq!(self.entry(key), None, "entry of {key}");
        assert_eq!(self.history(key), "", "history of {key}");
        assert_eq!(self.keys_with(KeysOptions::new().markers(true).filter(key)), "", "keys by {key}");
        for revision in 1..=self.last() {
            assert_eq!(self.handle().entry_at(key, Revision::from(revision)).unwrap(), None, "entry {revision} of {key}");
        }
    }
}

fn operation(entry: &Entry) -> &'static str {
    match entry.operation() {
        Operation::Put => "PUT",
        Operation::Delete => "DEL",
        Operation::Purge => "PURGE",
    }
}
