//! What the stress writes, and what it watches: keys, values, filters, random writes.

use std::time::Duration;

use annals::testing::random::Random;
use annals::{Bucket, ErrorKind, Operation, PutOptions, Store};

use super::ledger::{Content, Ledger, Record};

/// So many keys, so that they are overwritten often.
pub(crate) const KEYS: usize = 15;
const NAMES: [&str; KEYS] =
    ["a.0", "a.1", "a.2", "a.3", "a.4", "b.0", "b.1", "b.2", "b.3", "b.4", "c.0", "c.1", "c.2", "c.3", "c.4"];

/// Filters, and the keys that they match, as a bit each: counted here, apart from the store's own matching.
const FILTERS: [(&[&str], u16); 6] = [
    (&[">"], 0b11111_11111_11111),
    (&["a.>", "a.1", ">"], 0b11111_11111_11111),
    (&["a.*"], 0b00000_00000_11111),
    (&["*.1", "b.2"], 0b00010_00110_00010),
    (&["c.0"], 0b00001_00000_00000),
    (&["b.*", "*.3", "b.3"], 0b01000_11111_01000),
];

/// What a watch asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interest {
    pub(crate) filters: &'static [&'static str],
    keys: u16,
}

impl Interest {
    /// Every key, or one of some interests.
    pub(crate) fn random(random: &mut Random, all_of_ten: u64) -> Self {
        let at = if random.below(10) < all_of_ten { 0 } else { random.below(FILTERS.len() as u64) as usize };
        let (filters, keys) = FILTERS[at];
        Self { filters, keys }
    }

    pub(crate) const fn has(self, key: u8) -> bool {
        self.keys >> key & 1 == 1
    }
}

pub(crate) fn key_number(key: &str) -> u8 {
    let [letter, b'.', digit] = key.as_bytes() else { panic!("{key} is not ours") };
    (letter - b'a') * 5 + (digit - b'0')
}

/// The value of a stamp: the stamp, then bytes that follow from it.
fn value(stamp: u64, len: usize) -> Vec<u8> {
    let tail = (0..len - 8).map(|at| (stamp as u8).wrapping_add(at as u8));
    stamp.to_le_bytes().into_iter().chain(tail).collect()
}

/// The stamp of a value, of which every byte is looked at; 0 if it is empty.
pub(crate) fn stamp_of(value: &[u8]) -> u64 {
    let Some((stamp, tail)) = value.split_first_chunk() else {
        assert!(value.is_empty(), "{value:?} is not ours");
        return 0;
    };
    let stamp = u64::from_le_bytes(*stamp);
    let is_ours = tail.iter().enumerate().all(|(at, byte)| *byte == (stamp as u8).wrapping_add(at as u8));
    assert!(is_ours, "the value of stamp {stamp} has other bytes");
    stamp
}

/// A program that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) random: Random,
    /// Makes every value different from all others.
    stamp: u64,
    /// Puts get times to live, in units of this.
    ttl_unit: Option<Duration>,
}

impl Writer {
    /// Stamps of writers with different numbers differ.
    pub(crate) fn new(seed: u64, number: u64, ttl_unit: Option<Duration>) -> Self {
        Self { random: Random::new(seed.wrapping_mul(31).wrapping_add(number)), stamp: (number + 1) << 40, ttl_unit }
    }

    fn key(&mut self) -> u8 {
        self.random.below(KEYS as u64) as u8
    }

    /// Makes up a put, with its value.
    pub(crate) fn put(&mut self) -> (&'static str, Vec<u8>, Content) {
        self.stamp += 1;
        // Now and then a value that lies by itself.
        let len = if self.random.below(40) == 0 { 2_000 } else { 16 + self.random.below(16) as usize };
        let key = self.key();
        (NAMES[usize::from(key)], value(self.stamp, len), Content::put(key, self.stamp, len))
    }

    /// Writes something, and notes it. An error is not noted.
    pub(crate) fn write(&mut self, store: &Store, bucket: &Bucket, ledger: &mut Ledger) -> annals::Result<()> {
        match self.random.below(40) {
            0..6 => self.mark(bucket, ledger),
            6..12 => self.batch(store, bucket, ledger),
            12..16 => self.put_if(bucket, ledger),
            16..19 if self.ttl_unit.is_some() => {
                let (key, value, content) = self.put();
                let ttl = self.ttl_unit.unwrap_or_default() * (1 + self.random.below(5) as u32);
                let revision = bucket.put_with(key, &value, PutOptions::new().ttl(ttl))?.get();
                ledger.add(Record::new(revision, revision, Content { ttl: ttl.as_nanos() as u64, ..content }));
                Ok(())
            }
            _ => {
                let (key, value, content) = self.put();
                let revision = bucket.put(key, &value)?.get();
                ledger.add(Record::new(revision, revision, content));
                Ok(())
            }
        }
    }

    fn mark(&mut self, bucket: &Bucket, ledger: &mut Ledger) -> annals::Result<()> {
        let (key, is_purge) = (self.key(), self.random.below(3) == 0);
        let name = NAMES[usize::from(key)];
        let revision = if is_purge { bucket.purge(name) } else { bucket.delete(name) }?.get();
        let operation = if is_purge { Operation::Purge } else { Operation::Delete };
        ledger.add(Record::new(revision, revision, Content::marker(key, operation)));
        Ok(())
    }

    /// A write with a condition: its event tells what was there before.
    fn put_if(&mut self, bucket: &Bucket, ledger: &mut Ledger) -> annals::Result<()> {
        let (key, value, content) = self.put();
        let answer = match bucket.entry(key)? {
            Some(entry) => bucket.update(key, &value, entry.revision()),
            None => bucket.create(key, &value),
        };
        match answer {
            Ok(revision) => ledger.add(Record::new(revision.get(), revision.get(), content)),
            Err(error) if matches!(error.kind(), ErrorKind::WrongRevision | ErrorKind::AlreadyExists) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// A batch, in which a key may come more than once.
    fn batch(&mut self, store: &Store, bucket: &Bucket, ledger: &mut Ledger) -> annals::Result<()> {
        let puts: Vec<_> = (0..2 + self.random.below(6)).map(|_| self.put()).collect();
        put_together(store, bucket, ledger, &puts)
    }

    /// A batch that every watch hears of.
    pub(crate) fn write_all(&mut self, store: &Store, bucket: &Bucket, ledger: &mut Ledger) -> annals::Result<()> {
        let puts = (0..KEYS).map(|key| {
            self.stamp += 1;
            (NAMES[key], value(self.stamp, 16), Content::put(key as u8, self.stamp, 16))
        });
        let puts: Vec<_> = puts.collect();
        put_together(store, bucket, ledger, &puts)
    }
}

type Put = (&'static str, Vec<u8>, Content);

fn put_together(store: &Store, bucket: &Bucket, ledger: &mut Ledger, puts: &[Put]) -> annals::Result<()> {
    let mut batch = store.batch();
    for (key, value, _) in puts {
        batch.put(bucket, key, value);
    }
    let revisions = batch.commit()?;
    for ((.., content), revision) in puts.iter().zip(&revisions) {
        ledger.add(Record::new(revision.get(), revisions[0].get(), *content));
    }
    Ok(())
}
