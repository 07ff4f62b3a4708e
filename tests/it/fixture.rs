//! One test, three stores: in memory; in a directory with structures so small that rare paths are common; and such a directory that is
//! flushed, merged, closed and opened again between any two steps of the test.

use std::cell::{Cell, RefCell};

use annals::{
    Bucket, BucketConfig, BucketStatus, Entry, ErrorKind, KeysOptions, Operation, Options, Outcome, Result, Revision, Store,
};
use tempfile::TempDir;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Memory,
    Directory,
    /// Every checkpoint does something to the files.
    Churn,
}

/// A store of one of the three kinds. What it hands out must not be kept over a step, because a step may reopen the store.
pub(crate) struct Fixture {
    kind: Kind,
    directory: TempDir,
    store: RefCell<Option<Store>>,
    checkpoints: Cell<u32>,
}

/// Runs the test on each kind of store.
pub(crate) fn on_each_store(test: impl Fn(&Fixture)) {
    for kind in [Kind::Memory, Kind::Directory, Kind::Churn] {
        println!("on a store of kind {kind:?}");
        let directory = tempfile::tempdir().unwrap();
        let fixture = Fixture { kind, directory, store: RefCell::new(None), checkpoints: Cell::new(0) };
        fixture.open();
        test(&fixture);
    }
}

/// Options with tiny log files, memtables and blocks.
pub(crate) fn tiny() -> Options {
    Options::new().sizes(16 << 10, 4 << 10, 512)
}

impl Fixture {
    fn open(&self) {
        let store = match self.kind {
            Kind::Memory => Store::in_memory(),
            Kind::Directory | Kind::Churn => tiny().open(self.directory.path().join("store")),
        };
        *self.store.borrow_mut() = Some(store.unwrap());
    }

    pub(crate) fn store(&self) -> Store {
        self.store.borrow().clone().unwrap()
    }

    /// What may happen to a store at any time without anybody seeing it: nothing, or in turn a flush, a merge, a clean reopen, one
    /// without a close.
    pub(crate) fn checkpoint(&self) {
        if self.kind != Kind::Churn {
            return;
        }
        let turn = self.checkpoints.get();
        self.checkpoints.set(turn + 1);
        match turn % 4 {
            0 => self.store().flush().unwrap(),
            1 => self.store().merge_all().unwrap(),
            turn => {
                let store = self.store.borrow_mut().take().unwrap();
                if turn == 2 {
                    store.close().unwrap();
                }
                drop(store);
                self.open();
            }
        }
    }

    /// Creates a bucket.
    pub(crate) fn bucket(&self, config: BucketConfig) -> Probe<'_> {
        let name = config.name().to_owned();
        self.store().create_bucket(config).unwrap();
        self.checkpoint();
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
}

fn operation(entry: &Entry) -> &'static str {
    match entry.operation() {
        Operation::Put => "PUT",
        Operation::Delete => "DEL",
        Operation::Purge => "PURGE",
    }
}
