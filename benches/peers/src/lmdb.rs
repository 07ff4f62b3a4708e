//! LMDB through heed: a memory-mapped B+tree in C.

use std::ops::Bound;
use std::path::Path;

use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, RoTxn, WithTls};

use crate::engine::{Change, Engine, Level, Peer, Reader, Result, Visit};

pub const PEER: Peer = Peer {
    name: "LMDB",
    package: "heed",
    setup: "through heed, whose version this is; map of 64 GiB; reads keep a transaction; no sync with a write map, or synced commits",
    open: |directory, level| Ok(Box::new(Lmdb::open(directory, level)?)),
    has_subscribers: false,
};

const MAP_LEN: usize = 64 << 30;

struct Lmdb {
    environment: Env,
    database: Database<Bytes, Bytes>,
}

impl Lmdb {
    fn open(directory: &Path, level: Level) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let mut options = EnvOpenOptions::new();
        options.map_size(MAP_LEN);
        if level == Level::Os {
            // SAFETY: a crash of the system may corrupt the file, which lives for one measurement.
            unsafe { options.flags(EnvFlags::NO_SYNC | EnvFlags::WRITE_MAP) };
        }
        // SAFETY: no other process and no other code of this one touches the file.
        let environment = unsafe { options.open(directory)? };
        let mut transaction = environment.write_txn()?;
        let database = environment.create_database(&mut transaction, None)?;
        transaction.commit()?;
        Ok(Self { environment, database })
    }
}

impl Engine for Lmdb {
    fn put(&self, key: &str, value: &[u8]) -> Result<()> {
        let mut transaction = self.environment.write_txn()?;
        self.database.put(&mut transaction, key.as_bytes(), value)?;
        transaction.commit()?;
        Ok(())
    }

    fn put_all(&self, pairs: &[(String, Vec<u8>)]) -> Result<()> {
        let mut transaction = self.environment.write_txn()?;
        for (key, value) in pairs {
            self.database.put(&mut transaction, key.as_bytes(), value)?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn update(&self, key: &str, change: Change<'_>) -> Result<()> {
        let mut transaction = self.environment.write_txn()?;
        let mut value = Vec::new();
        change(self.database.get(&transaction, key.as_bytes())?.ok_or("the key is gone")?, &mut value);
        self.database.put(&mut transaction, key.as_bytes(), &value)?;
        transaction.commit()?;
        Ok(())
    }

    fn read(&self, work: &mut dyn FnMut(&mut dyn Reader) -> Result<()>) -> Result<()> {
        work(&mut Transaction { transaction: self.environment.read_txn()?, database: self.database })
    }

    fn get_alone(&self, key: &str, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let transaction = self.environment.read_txn()?;
        let value = self.database.get(&transaction, key.as_bytes())?;
        Ok(value.map(visit).is_some())
    }

    fn settle(&mut self) -> Result<()> {
        self.environment.force_sync()?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.environment.prepare_for_closing().wait();
        Ok(())
    }
}

struct Transaction<'a> {
    transaction: RoTxn<'a, WithTls>,
    database: Database<Bytes, Bytes>,
}

impl Reader for Transaction<'_> {
    fn get(&mut self, key: &str, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.database.get(&self.transaction, key.as_bytes())?;
        Ok(value.map(visit).is_some())
    }

    fn scan(&mut self, from: Option<&str>, limit: usize, visit: Visit<'_>) -> Result<usize> {
        let range = (Bound::Included(from.unwrap_or_default().as_bytes()), Bound::Unbounded);
        let mut count = 0;
        if from.is_none() {
            for entry in self.database.iter(&self.transaction)?.take(limit) {
                let (key, value) = entry?;
                visit(key, value);
                count += 1;
            }
            return Ok(count);
        }
        for entry in self.database.range(&self.transaction, &range)?.take(limit) {
            let (key, value) = entry?;
            visit(key, value);
            count += 1;
        }
        Ok(count)
    }
}
