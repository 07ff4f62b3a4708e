//! redb 4: copy-on-write B-trees in Rust.

use std::path::Path;

use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::engine::{Change, Engine, Level, Peer, Reader, Result, Visit};

pub const PEER: Peer = Peer {
    name: "redb",
    package: "redb",
    setup: "defaults (cache of 1 GiB); reads keep a transaction with its table; Durability::None, or Immediate",
    open: |directory, level| Ok(Box::new(Redb::open(directory, level)?)),
    has_subscribers: false,
};

const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("race");

struct Redb {
    database: Database,
    level: Level,
}

impl Redb {
    fn open(directory: &Path, level: Level) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let redb = Self { database: Database::create(directory.join("race.redb"))?, level };
        redb.write(|transaction| {
            drop(transaction.open_table(TABLE)?);
            Ok(())
        })?;
        Ok(redb)
    }

    fn write(&self, work: impl FnOnce(&WriteTransaction) -> Result<()>) -> Result<()> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(match self.level {
            Level::Os => Durability::None,
            Level::Sync => Durability::Immediate,
        })?;
        work(&transaction)?;
        transaction.commit()?;
        Ok(())
    }

    fn table(&self) -> Result<ReadOnlyTable<&'static [u8], &'static [u8]>> {
        Ok(self.database.begin_read()?.open_table(TABLE)?)
    }
}

impl Engine for Redb {
    fn put(&self, key: &str, value: &[u8]) -> Result<()> {
        self.write(|transaction| {
            transaction.open_table(TABLE)?.insert(key.as_bytes(), value)?;
            Ok(())
        })
    }

    fn put_all(&self, pairs: &[(String, Vec<u8>)]) -> Result<()> {
        self.write(|transaction| {
            let mut table = transaction.open_table(TABLE)?;
            for (key, value) in pairs {
                table.insert(key.as_bytes(), value.as_slice())?;
            }
            Ok(())
        })
    }

    fn update(&self, key: &str, change: Change<'_>) -> Result<()> {
        self.write(|transaction| {
            let mut table = transaction.open_table(TABLE)?;
            let mut value = Vec::new();
            change(table.get(key.as_bytes())?.ok_or("the key is gone")?.value(), &mut value);
            table.insert(key.as_bytes(), value.as_slice())?;
            Ok(())
        })
    }

    fn read(&self, work: &mut dyn FnMut(&mut dyn Reader) -> Result<()>) -> Result<()> {
        work(&mut self.table()?)
    }

    fn get_alone(&self, key: &str, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        self.table()?.get_value(key, visit)
    }

    fn settle(&mut self) -> Result<()> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        transaction.commit()?;
        self.database.compact()?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.database.close()?;
        Ok(())
    }
}

trait GetValue {
    fn get_value(&self, key: &str, visit: &mut dyn FnMut(&[u8])) -> Result<bool>;
}

impl GetValue for ReadOnlyTable<&'static [u8], &'static [u8]> {
    fn get_value(&self, key: &str, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = ReadableTable::get(self, key.as_bytes())?;
        Ok(value.map(|value| visit(value.value())).is_some())
    }
}

impl Reader for ReadOnlyTable<&'static [u8], &'static [u8]> {
    fn get(&mut self, key: &str, visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        self.get_value(key, visit)
    }

    fn scan(&mut self, from: Option<&str>, limit: usize, visit: Visit<'_>) -> Result<usize> {
        let mut count = 0;
        for entry in self.range(from.unwrap_or_default().as_bytes()..)?.take(limit) {
            let (key, value) = entry?;
            visit(key.value(), value.value());
            count += 1;
        }
        Ok(count)
    }
}
