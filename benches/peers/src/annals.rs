//! annals, through its public API.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use annals::{Bucket, BucketConfig, Durability, ErrorKind, Event, Options, Store, Watch, WatchOptions};

use crate::engine::{Change, Engine, Level, Peer, Reader, Result, Subscriber, Visit};

pub const PEER: Peer = Peer {
    name: "annals",
    package: "annals",
    setup: "defaults; gets by get_with, scans by visit; OsCache, or Sync",
    open: |directory, level| Ok(Box::new(Annals::open(directory, level)?)),
    has_subscribers: true,
};

struct Annals {
    store: Store,
    bucket: Bucket,
}

impl Annals {
    fn open(directory: &Path, level: Level) -> Result<Self> {
        let durability = match level {
            Level::Os => Durability::OsCache,
            Level::Sync => Durability::Sync,
        };
        let store = Options::new().durability(durability).open(directory)?;
        let bucket = store.create_bucket(BucketConfig::new("race"))?;
        Ok(Self { store, bucket })
    }
}

impl Engine for Annals {
    fn put(&self, key: &str, value: &[u8]) -> Result<()> {
        self.bucket.put(key, value)?;
        Ok(())
    }

    fn put_all(&self, pairs: &[(String, Vec<u8>)]) -> Result<()> {
        let mut batch = self.store.batch();
        for (key, value) in pairs {
            batch.put(&self.bucket, key, value);
        }
        batch.commit()?;
        Ok(())
    }

    fn update(&self, key: &str, change: Change<'_>) -> Result<()> {
        let mut value = Vec::new();
        loop {
            let entry = self.bucket.entry(key)?.ok_or("the key is gone")?;
            value.clear();
            change(entry.value(), &mut value);
            match self.bucket.update(key, &value, entry.revision()) {
                Err(error) if error.kind() == ErrorKind::WrongRevision => {}
                answer => {
                    answer?;
                    return Ok(());
                }
            }
        }
    }

    fn read(&self, work: &mut dyn FnMut(&mut dyn Reader) -> Result<()>) -> Result<()> {
        work(&mut Reads(&self.bucket))
    }

    fn get_alone(&self, key: &str, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.bucket.get_with(key, visit)?.is_some())
    }

    fn subscribe(&self, prefix: &str) -> Result<Box<dyn Subscriber>> {
        let mut watch = self.bucket.watch_with(WatchOptions::new().filter(format!("{prefix}>")).updates_only(true))?;
        if watch.next().transpose()? != Some(Event::UpToDate) {
            return Err("a watch of updates began with something else".into());
        }
        Ok(Box::new(Events(watch)))
    }

    fn settle(&mut self) -> Result<()> {
        self.store.compact()?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.store.close()?;
        Ok(())
    }
}

/// Reads need nothing that could be kept.
struct Reads<'a>(&'a Bucket);

impl Reader for Reads<'_> {
    fn get(&mut self, key: &str, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.0.get_with(key, visit)?.is_some())
    }

    fn scan(&mut self, from: Option<&str>, limit: usize, visit: Visit<'_>) -> Result<usize> {
        let mut count = 0;
        let mut entries = self.0.range(from.unwrap_or_default()..)?;
        let _ended = entries.visit(|entry| {
            visit(entry.key().as_bytes(), entry.value());
            count += 1;
            if count < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(count)
    }
}

struct Events(Watch);

impl Subscriber for Events {
    fn next(&mut self, timeout: Duration, visit: Visit<'_>) -> Result<bool> {
        // What else a watch tells, that something was skipped for example, is no change.
        while let Some(event) = self.0.next_timeout(timeout)? {
            if let Event::Entry(entry) = event {
                visit(entry.key().as_bytes(), entry.value());
                return Ok(true);
            }
        }
        Ok(false)
    }
}
