//! The workloads on one open store: what a thread does in a turn.

use std::ops::ControlFlow;
use std::time::Duration;

use annals::{Bucket, Durability, Operation, PutOptions, Store};
use indicatif::ProgressBar;

use super::data::Data;
use super::meter::{Hand, Measured, Run};
use crate::failure::{Context, Failure, Result};

/// Puts of one batch.
pub(super) const BATCH: u64 = 1000;

/// A bucket and what is to be in it.
#[derive(Clone, Debug)]
pub(super) struct Work<'a> {
    pub(super) store: &'a Store,
    pub(super) bucket: &'a Bucket,
    pub(super) data: Data,
}

impl Work<'_> {
    /// Puts every key once; version 0 is the first.
    pub(super) fn put_all(&self, run: Run, version: u64, bar: &ProgressBar) -> Result<Measured> {
        let order = self.data.order(version);
        run.measure(bar, |hand, turn| self.put(hand, order.number(turn), version, PutOptions::new()))
    }

    pub(super) fn get_some(&self, run: Run, bar: &ProgressBar) -> Result<Measured> {
        run.measure(bar, |hand, _| self.get(hand))
    }

    pub(super) fn get_none(&self, run: Run, bar: &ProgressBar) -> Result<Measured> {
        run.measure(bar, |hand, _| {
            self.data.absent_key(hand.random.below(self.data.keys), &mut hand.key);
            match self.bucket.get_with(&hand.key, <[u8]>::len).trying(|| format!("get {}", hand.key))? {
                None => Ok(1),
                Some(_) => Err(Failure::Broken(format!("{} is there and was never written", hand.key))),
            }
        })
    }

    /// One pass over all entries is one turn.
    pub(super) fn scan(&self, run: Run, bar: &ProgressBar) -> Result<Measured> {
        run.measure(bar, |hand, _| {
            let count = self.visit("", u64::MAX, hand)?;
            let keys = self.data.keys;
            if count == keys { Ok(count) } else { Err(Failure::Broken(format!("{count} entries were read, not {keys}"))) }
        })
    }

    /// One random place and the entries from there on is one turn.
    pub(super) fn seek(&self, run: Run, entries: u64, bar: &ProgressBar) -> Result<Measured> {
        run.measure(bar, |hand, _| {
            let mut key = std::mem::take(&mut hand.key);
            self.data.key(hand.random.below(self.data.keys), &mut key);
            self.visit(&key, entries, hand)?;
            hand.key = key;
            Ok(1)
        })
    }

    /// Reads up to so many entries; answers how many there were.
    fn visit(&self, from: &str, entries: u64, hand: &mut Hand) -> Result<u64> {
        let doing = || "read entries in order".to_owned();
        let mut count = 0;
        let mut range = self.bucket.range(from..).trying(doing)?;
        let _ended = range
            .visit(|entry| {
                hand.sum += u64::from(entry.value().first().copied().unwrap_or_default());
                count += 1;
                if count < entries { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
            .trying(doing)?;
        Ok(count)
    }

    pub(super) fn cas(&self, run: Run, bar: &ProgressBar) -> Result<Measured> {
        run.measure(bar, |hand, turn| {
            self.data.key(hand.random.below(self.data.keys), &mut hand.key);
            loop {
                let doing = || format!("read {}, to update it", hand.key);
                let Some(entry) = self.bucket.entry(&hand.key).trying(doing)?.filter(|entry| entry.operation() == Operation::Put)
                else {
                    return Err(missing(&hand.key));
                };
                hand.sum += u64::from(entry.value().first().copied().unwrap_or_default());
                self.data.value(turn, 1 << 20, &mut hand.value);
                match self.bucket.update(&hand.key, &hand.value, entry.revision()) {
                    // Another thread was faster: once more.
                    Err(error) if error.kind() == annals::ErrorKind::WrongRevision => {}
                    answer => return answer.trying(|| format!("update {}", hand.key)).map(|_| 1),
                }
            }
        })
    }

    /// Of a hundred operations on random keys, `gets` are gets.
    pub(super) fn mixed(&self, run: Run, gets: u64, bar: &ProgressBar) -> Result<Measured> {
        run.measure(bar, |hand, turn| {
            if hand.random.below(100) < gets {
                return self.get(hand);
            }
            let number = hand.random.below(self.data.keys);
            self.put(hand, number, turn, PutOptions::new())
        })
    }

    pub(super) fn batch(&self, run: Run, bar: &ProgressBar) -> Result<Measured> {
        run.measure(bar, |hand, turn| {
            let mut batch = self.store.batch();
            for _ in 0..BATCH {
                self.data.key(hand.random.below(self.data.keys), &mut hand.key);
                self.data.value(turn, 1 << 21, &mut hand.value);
                batch.put(self.bucket, &hand.key, &hand.value);
            }
            batch.commit().trying(|| "commit a batch".to_owned())?;
            Ok(BATCH)
        })
    }

    pub(super) fn put_synced(&self, run: Run, bar: &ProgressBar) -> Result<Measured> {
        let synced = PutOptions::new().durability(Durability::Sync);
        run.measure(bar, |hand, turn| {
            let number = hand.random.below(self.data.keys);
            self.put(hand, number, turn, synced)
        })
    }

    /// Puts a key that was never there before, to live for a while.
    pub(super) fn put_mortal(&self, run: Run, ttl: Duration, bar: &ProgressBar) -> Result<Measured> {
        let options = PutOptions::new().ttl(ttl);
        run.measure(bar, |hand, turn| self.put(hand, self.data.keys + turn, 0, options))
    }

    /// Puts random keys; the turn makes the value.
    pub(super) fn put_random(&self, run: Run, bar: &ProgressBar) -> Result<Measured> {
        self.mixed(run, 0, bar)
    }

    fn put(&self, hand: &mut Hand, number: u64, version: u64, options: PutOptions) -> Result<u64> {
        self.data.key(number, &mut hand.key);
        self.data.value(number, version, &mut hand.value);
        self.bucket.put_with(&hand.key, &hand.value, options).trying(|| format!("put {}", hand.key))?;
        Ok(1)
    }

    fn get(&self, hand: &mut Hand) -> Result<u64> {
        self.data.key(hand.random.below(self.data.keys), &mut hand.key);
        let read = |value: &[u8]| u64::from(value.first().copied().unwrap_or_default());
        match self.bucket.get_with(&hand.key, read).trying(|| format!("get {}", hand.key))? {
            Some(first) => hand.sum += first,
            None => return Err(missing(&hand.key)),
        }
        Ok(1)
    }
}

fn missing(key: &str) -> Failure {
    Failure::Broken(format!("{key} is gone, and nobody removed it"))
}
