//! A machine that can lose its power: the simulated disk, and a store on it that is killed and opened again.

use std::sync::Arc;
use std::time::Duration;

use annals::testing::disk::{CrashPolicy, SimDisk};
use annals::{Bucket, BucketConfig, Options, Revision, Store};

use crate::fixture::tiny;

/// How a life of the store ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Close,
    Drop,
    /// The process is gone; what it wrote is there.
    Kill,
    /// What was not synced is gone too, in one of the ways in which that happens.
    PowerCut(CrashPolicy),
}

pub(crate) struct Machine {
    disk: Arc<SimDisk>,
    options: Options,
    store: Option<Store>,
}

impl End {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        [Self::Close, Self::Drop, Self::Kill].into_iter().chain(CrashPolicy::ALL.map(Self::PowerCut))
    }
}

impl Machine {
    /// With tiny structures, and no threads.
    pub(crate) fn new() -> Self {
        Self::with(tiny())
    }

    pub(crate) fn with(options: Options) -> Self {
        let mut machine = Self { disk: SimDisk::new(1), options: options.manual_jobs(), store: None };
        machine.open();
        machine
    }

    fn open(&mut self) {
        self.store = Some(self.options.clone().env(self.disk.env()).open("/store").unwrap());
    }

    pub(crate) fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    pub(crate) fn bucket(&self) -> Bucket {
        self.store().bucket("b").unwrap()
    }

    pub(crate) fn create(&self, config: BucketConfig) -> Bucket {
        self.store().create_bucket(config).unwrap()
    }

    pub(crate) fn settle(&self) {
        self.store().flush().unwrap();
        self.store().merge_all().unwrap();
    }

    /// Lets time pass on both clocks.
    pub(crate) fn pass(&self, span: Duration) {
        self.disk.clock().advance(u64::try_from(span.as_nanos()).unwrap());
    }

    /// Ends this life of the store, does something while it is shut, and begins the next.
    pub(crate) fn end_and(&mut self, end: End, meanwhile: impl FnOnce(&SimDisk)) {
        let store = self.store.take();
        match end {
            End::Close => store.iter().for_each(|store| store.close().unwrap()),
            End::Drop => drop(store),
            End::Kill => self.disk.restart(),
            End::PowerCut(policy) => self.disk.crash(policy),
        }
        meanwhile(&self.disk);
        self.open();
    }

    pub(crate) fn end(&mut self, end: End) {
        self.end_and(end, |_| ());
    }

    pub(crate) fn disk(&self) -> &SimDisk {
        &self.disk
    }
}

/// Operations and revisions of a key's history.
pub(crate) fn history(bucket: &Bucket, pattern: &str) -> String {
    let entries = bucket.history(pattern).unwrap().map(Result::unwrap);
    entries.map(|entry| format!("{:?} {}", entry.operation(), entry.revision())).collect::<Vec<_>>().join(", ")
}

pub(crate) fn assert_gone(bucket: &Bucket, key: &str, what: &str) {
    assert_eq!(bucket.get(key).unwrap(), None, "get of {key}, {what}");
    assert!(bucket.keys().unwrap().all(|listed| listed.unwrap().as_str() != key), "{key} is listed, {what}");
    let last = bucket.status().unwrap().last_revision.get().min(1000);
    let old = (1..=last).filter(|revision| bucket.get_at(key, Revision::from(*revision)).unwrap().is_some());
    assert_eq!(old.collect::<Vec<_>>(), [0; 0], "old values of {key}, {what}");
}
