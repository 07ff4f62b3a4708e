//! fjall 3: an LSM tree in Rust.

use std::path::Path;
use std::thread;
use std::time::Duration;

use fjall::{KeyspaceCreateOptions, PersistMode, SingleWriterTxDatabase, SingleWriterTxKeyspace};

use crate::engine::{Change, Engine, Level, Peer, Reader, Result, Visit};

pub const PEER: Peer = Peer {
    name: "fjall",
    package: "fjall",
    setup: "defaults; updates by update_fetch of a single-writer database; no fsync, or persist(SyncAll) after each write",
    open: |directory, level| Ok(Box::new(Fjall::open(directory, level)?)),
    has_subscribers: false,
};

struct Fjall {
    database: SingleWriterTxDatabase,
    keyspace: SingleWriterTxKeyspace,
    level: Level,
}

impl Fjall {
    fn open(directory: &Path, level: Level) -> Result<Self> {
        let database = SingleWriterTxDatabase::builder(directory).open()?;
        let keyspace = database.keyspace("race", KeyspaceCreateOptions::default)?;
        Ok(Self { database, keyspace, level })
    }

    fn sync(&self) -> Result<()> {
        if self.level == Level::Sync {
            self.database.persist(PersistMode::SyncAll)?;
        }
        Ok(())
    }
}

impl Engine for Fjall {
    fn put(&self, key: &str, value: &[u8]) -> Result<()> {
        self.keyspace.inner().insert(key, value)?;
        self.sync()
    }

    fn put_all(&self, pairs: &[(String, Vec<u8>)]) -> Result<()> {
        let mut batch = self.database.inner().batch();
        for (key, value) in pairs {
            batch.insert(self.keyspace.inner(), key.as_str(), value.as_slice());
        }
        batch.commit()?;
        self.sync()
    }

    fn update(&self, key: &str, change: Change<'_>) -> Result<()> {
        self.keyspace.update_fetch(key, |old| {
            let mut value = Vec::new();
            change(old?, &mut value);
            Some(value.into())
        })?;
        self.sync()
    }

    fn read(&self, work: &mut dyn FnMut(&mut dyn Reader) -> Result<()>) -> Result<()> {
        work(&mut Reads(&self.keyspace))
    }

    fn get_alone(&self, key: &str, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Reads(&self.keyspace).get(key, visit)
    }

    fn settle(&mut self) -> Result<()> {
        self.keyspace.inner().rotate_memtable_and_wait()?;
        while self.database.inner().outstanding_flushes() > 0 || self.database.inner().active_compactions() > 0 {
            thread::sleep(Duration::from_millis(10));
        }
        self.keyspace.inner().major_compact()?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        // Dropping it persists what was written.
        drop(self);
        Ok(())
    }
}

/// Reads need nothing that could be kept.
struct Reads<'a>(&'a SingleWriterTxKeyspace);

impl Reader for Reads<'_> {
    fn get(&mut self, key: &str, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.0.inner().get(key)?;
        Ok(value.map(|value| visit(&value)).is_some())
    }

    fn scan(&mut self, from: Option<&str>, limit: usize, visit: Visit<'_>) -> Result<usize> {
        let mut count = 0;
        for guard in self.0.inner().range(from.unwrap_or_default()..).take(limit) {
            let (key, value) = guard.into_inner()?;
            visit(&key, &value);
            count += 1;
        }
        Ok(count)
    }
}
