//! What the tests have in common: small stores, threads that write and note what they wrote, watches that are checked.

use annals::testing::clock::ManualClock;
use annals::{Bucket, BucketConfig, Event, Operation, Options, Result, Store, Watch, WatchOptions};
use shuttle::rand::{RngCore, thread_rng};

use crate::validators::{Committed, Ledger, Validator};

/// The key whose entry ends a program; every watch has a filter for it.
pub(crate) const END: &str = "end";

/// Options of a store whose structures are small and whose clock stands still.
pub(crate) fn options() -> Options {
    Options::new().sizes(64 << 10, 32 << 10, 512).cache_size(64 << 10).env(ManualClock::new().env_in_memory())
}

/// A store without threads of its own, and a bucket in it.
pub(crate) fn store(history: u8) -> (Store, Bucket) {
    let store = options().manual_jobs().in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b").history(history)).unwrap();
    (store, bucket)
}

pub(crate) fn below(bound: u64) -> u64 {
    thread_rng().next_u64() % bound
}

fn committed(key: &str, operation: Operation, batch: u64) -> Committed {
    Committed { key: key.to_owned(), value: Vec::new(), operation, batch }
}

/// Writes, and notes what.
pub(crate) fn put(bucket: &Bucket, key: &str, ledger: &mut Ledger) {
    let revision = bucket.put(key, "").unwrap().get();
    ledger.add(revision, committed(key, Operation::Put, revision));
}

pub(crate) fn delete(bucket: &Bucket, key: &str, ledger: &mut Ledger) {
    let revision = bucket.delete(key).unwrap().get();
    ledger.add(revision, committed(key, Operation::Delete, revision));
}

pub(crate) fn purge_all(bucket: &Bucket, ledger: &mut Ledger) {
    ledger.purge(bucket.purge_all().unwrap().get());
}

pub(crate) fn batch(store: &Store, bucket: &Bucket, keys: &[&str], ledger: &mut Ledger) {
    let mut batch = store.batch();
    for key in keys {
        batch.put(bucket, key, "");
    }
    let revisions = batch.commit().unwrap();
    for (key, revision) in keys.iter().zip(&revisions) {
        ledger.add(revision.get(), committed(key, Operation::Put, revisions[0].get()));
    }
}

/// The last entry of a program.
pub(crate) fn end(bucket: &Bucket, ledger: &mut Ledger) {
    put(bucket, END, ledger);
}

/// A watch that is checked: of keys that begin with some prefix.
pub(crate) struct Watched {
    pub(crate) watch: Watch,
    pub(crate) validator: Validator,
    prefix: &'static str,
    has_end: bool,
    is_up_to_date: bool,
}

/// What it is to see, and how it goes on after a resume.
fn filtered(options: WatchOptions, prefix: &str) -> WatchOptions {
    let filter = if prefix.is_empty() { ">".to_owned() } else { format!("{prefix}.*") };
    // A key that two filters match comes once.
    options.filter(filter).filter(END)
}

impl Watched {
    pub(crate) fn new(bucket: &Bucket, prefix: &'static str, options: WatchOptions) -> Self {
        let watch = bucket.watch_with(filtered(options, prefix)).unwrap();
        Self { watch, validator: Validator::default(), prefix, has_end: false, is_up_to_date: false }
    }

    pub(crate) fn see(&mut self, event: &Event) {
        self.validator.see(event);
        self.is_up_to_date |= *event == Event::UpToDate;
        self.has_end |= event.entry().is_some_and(|entry| entry.key().as_str() == END);
    }

    /// It has got the last entry, and was told that the beginning was over.
    pub(crate) fn is_over(&self) -> bool {
        self.has_end && self.is_up_to_date
    }

    /// Takes an event if there is one; answers whether the end of the program is still to come.
    pub(crate) fn try_next(&mut self) -> Result<bool> {
        if let Some(event) = self.watch.try_next()? {
            self.see(&event);
        }
        Ok(!self.is_over())
    }

    /// Waits for the next event; answers whether the end of the program is still to come.
    pub(crate) fn next(&mut self) -> bool {
        let event = self.watch.next().expect("a watch ends with an error").unwrap();
        self.see(&event);
        !self.is_over()
    }

    pub(crate) fn to_end(mut self) -> Self {
        while !self.is_over() {
            self.next();
        }
        self
    }

    /// Goes on from its token, as after a restart.
    pub(crate) fn resume(&mut self, bucket: &Bucket) {
        self.watch = bucket.watch_with(filtered(WatchOptions::new(), self.prefix).after(self.watch.token())).unwrap();
        self.validator.resumed();
        self.is_up_to_date = false;
    }

    pub(crate) fn check(&self, ledger: &Ledger) {
        self.validator.check(ledger, |key| key == END || key.starts_with(self.prefix), 0);
    }

    /// The revisions that were given.
    pub(crate) fn revisions(&self) -> Vec<u64> {
        self.validator.delivered.iter().map(|delivered| delivered.0).collect()
    }
}
