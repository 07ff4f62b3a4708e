//! sled 0.34: a lock-free tree in Rust, the one of these stores that also has subscribers.

use std::path::Path;
use std::time::{Duration, Instant};

use sled::{Batch, Config, Db, Event};

use crate::engine::{Change, Engine, Level, Peer, Reader, Result, Subscriber, Visit};

pub const PEER: Peer = Peer {
    name: "sled",
    package: "sled",
    setup: "defaults, but flush_every_ms(None), so that nothing is handed over before a buffer is full; or flush after each write",
    open: |directory, level| Ok(Box::new(Sled::open(directory, level)?)),
    has_subscribers: true,
};

struct Sled {
    tree: Db,
    level: Level,
}

impl Sled {
    fn open(directory: &Path, level: Level) -> Result<Self> {
        Ok(Self { tree: Config::new().path(directory).flush_every_ms(None).open()?, level })
    }

    fn sync(&self) -> Result<()> {
        if self.level == Level::Sync {
            self.tree.flush()?;
        }
        Ok(())
    }
}

impl Engine for Sled {
    fn put(&self, key: &str, value: &[u8]) -> Result<()> {
        self.tree.insert(key, value)?;
        self.sync()
    }

    fn put_all(&self, pairs: &[(String, Vec<u8>)]) -> Result<()> {
        let mut batch = Batch::default();
        for (key, value) in pairs {
            batch.insert(key.as_str(), value.as_slice());
        }
        self.tree.apply_batch(batch)?;
        self.sync()
    }

    fn update(&self, key: &str, change: Change<'_>) -> Result<()> {
        self.tree.update_and_fetch(key, |old| {
            let mut value = Vec::new();
            change(old?, &mut value);
            Some(value)
        })?;
        self.sync()
    }

    fn read(&self, work: &mut dyn FnMut(&mut dyn Reader) -> Result<()>) -> Result<()> {
        work(&mut Reads(&self.tree))
    }

    fn get_alone(&self, key: &str, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Reads(&self.tree).get(key, visit)
    }

    fn subscribe(&self, prefix: &str) -> Result<Box<dyn Subscriber>> {
        Ok(Box::new(Events(self.tree.watch_prefix(prefix))))
    }

    fn settle(&mut self) -> Result<()> {
        self.tree.flush()?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        // Dropping it persists what was written.
        drop(self);
        Ok(())
    }
}

/// Reads need nothing that could be kept.
struct Reads<'a>(&'a Db);

impl Reader for Reads<'_> {
    fn get(&mut self, key: &str, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.0.get(key)?;
        Ok(value.map(|value| visit(&value)).is_some())
    }

    fn scan(&mut self, from: Option<&str>, limit: usize, visit: Visit<'_>) -> Result<usize> {
        let mut count = 0;
        for entry in self.0.range(from.unwrap_or_default()..).take(limit) {
            let (key, value) = entry?;
            visit(&key, &value);
            count += 1;
        }
        Ok(count)
    }
}

struct Events(sled::Subscriber);

impl Subscriber for Events {
    fn next(&mut self, timeout: Duration, visit: Visit<'_>) -> Result<bool> {
        let start = Instant::now();
        loop {
            match self.0.next_timeout(timeout.saturating_sub(start.elapsed())) {
                Ok(Event::Insert { key, value }) => visit(&key, &value),
                Ok(Event::Remove { key }) => visit(&key, &[]),
                // Also said, in time, of a write that is under way, changed nothing, or is tried again.
                Err(_) if start.elapsed() < timeout => continue,
                Err(_) => return Ok(false),
            }
            return Ok(true);
        }
    }
}
