//! The workloads: the same calls in the same order on every store.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::data::{Numbers, write_key, write_value};
use crate::engine::{Engine, Level, Peer, Result};

/// What is read and written.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub keys: u64,
    pub value_len: usize,
    /// How long each row of synced writes takes.
    pub synced: Duration,
}

impl Load {
    /// Fewer operations than `count` if there are fewer than a million keys.
    pub fn scaled(&self, count: u64) -> u64 {
        scaled(count, self.keys)
    }
}

/// See [`Load::scaled`].
pub fn scaled(count: u64, keys: u64) -> u64 {
    (count * keys / MILLION).clamp(1, count)
}

/// What one run of a workload gave.
#[derive(Clone, Debug)]
pub struct Measured {
    pub workload: &'static str,
    pub threads: u64,
    pub durability: &'static str,
    pub settled: bool,
    /// Operations a second, or what the table says.
    pub figure: f64,
    /// Of all that was read; the same for every store.
    pub checksum: u64,
}

/// Operations of the rows that are counted, for a million keys; fewer for fewer.
const GETS: u64 = 400_000;
const SEEKS: u64 = 20_000;
const WRITES: u64 = 200_000;
const BATCHES: u64 = 100;
const BATCH: u64 = 1000;
const OPENINGS: u32 = 3;
const MILLION: u64 = 1_000_000;

/// The rows in their order.
pub const ROWS: [(&str, u64); 18] = [
    ("load", 1),
    ("get hit", 1),
    ("get hit", 2),
    ("get hit, alone", 1),
    ("get miss", 1),
    ("scan", 1),
    ("seek + 10", 1),
    ("seek + 100", 1),
    ("disk", 1),
    ("reopen", 1),
    ("overwrite", 1),
    ("update", 1),
    ("batch", 1),
    ("synced put", 1),
    ("synced put", 8),
    ("synced put", 32),
    ("settle", 1),
    ("close", 1),
];

/// Lets one store do everything, in a directory of its own.
pub fn race(peer: &Peer, directory: &Path, load: Load) -> Result<Vec<Measured>> {
    let mut run = Course { load, out: Vec::new(), settled: false, level: Level::Os };
    let mut engine = (peer.open)(directory, Level::Os)?;
    run.load(&*engine)?;
    let start = Instant::now();
    engine.settle()?;
    run.add("settle", 1, millis(start.elapsed()), 0);
    run.settled = true;
    run.add("disk", 1, disk_bytes(directory)? as f64, 0);
    run.reads(&*engine)?;
    engine = run.reopen(peer, directory, engine)?;
    run.settled = false;
    run.writes(&*engine)?;
    engine.close()?;
    run.level = Level::Sync;
    let engine = (peer.open)(directory, Level::Sync)?;
    for threads in [1, 8, 32] {
        run.synced(&*engine, threads)?;
    }
    engine.close()?;
    Ok(run.out)
}

struct Course {
    load: Load,
    out: Vec<Measured>,
    settled: bool,
    level: Level,
}

impl Course {
    fn add(&mut self, workload: &'static str, threads: u64, figure: f64, checksum: u64) {
        let durability = if self.level == Level::Os { "os" } else { "sync" };
        self.out.push(Measured { workload, threads, durability, settled: self.settled, figure, checksum });
    }

    fn load(&mut self, engine: &dyn Engine) -> Result<()> {
        let (mut key, mut value) = (String::new(), Vec::new());
        let start = Instant::now();
        for number in 0..self.load.keys {
            write_key(number, &mut key);
            write_value(number, self.load.value_len, &mut value);
            engine.put(&key, &value)?;
        }
        self.add("load", 1, rate(self.load.keys, start), 0);
        Ok(())
    }

    fn reads(&mut self, engine: &dyn Engine) -> Result<()> {
        let gets = self.load.scaled(GETS);
        for threads in [1, 2] {
            let course = &*self;
            let start = Instant::now();
            let sums: Result<Vec<u64>> = thread::scope(|scope| {
                let readers: Vec<_> = (0..threads).map(|thread| scope.spawn(move || course.get(engine, thread, gets))).collect();
                readers.into_iter().map(|reader| reader.join().expect("no reader panics")).collect()
            });
            let figure = rate(gets * threads, start);
            let checksum = sums?.iter().fold(0, |sum: u64, part| sum.wrapping_add(*part));
            self.add("get hit", threads, figure, checksum);
        }
        self.get_alone(engine, gets)?;
        self.get_miss(engine, gets)?;
        self.scan(engine)?;
        self.seek(engine, "seek + 10", 10)?;
        self.seek(engine, "seek + 100", 100)
    }

    fn get(&self, engine: &dyn Engine, thread: u64, gets: u64) -> Result<u64> {
        let (mut sum, mut key) = (0_u64, String::new());
        // The first thread of two reads what the only thread of one does.
        let mut numbers = Numbers::from(thread, self.load.keys);
        engine.read(&mut |reader| {
            for _ in 0..gets {
                write_key(numbers.take(), &mut key);
                if !reader.get(&key, &mut |value| sum = sum.wrapping_add(weigh(value)))? {
                    return Err(format!("{key} is missing").into());
                }
            }
            Ok(())
        })?;
        Ok(sum)
    }

    fn get_alone(&mut self, engine: &dyn Engine, gets: u64) -> Result<()> {
        let (mut sum, mut key) = (0_u64, String::new());
        let mut numbers = Numbers::below(self.load.keys);
        let start = Instant::now();
        for _ in 0..gets {
            write_key(numbers.take(), &mut key);
            if !engine.get_alone(&key, &mut |value| sum = sum.wrapping_add(weigh(value)))? {
                return Err(format!("{key} is missing").into());
            }
        }
        self.add("get hit, alone", 1, rate(gets, start), sum);
        Ok(())
    }

    fn get_miss(&mut self, engine: &dyn Engine, gets: u64) -> Result<()> {
        let mut key = String::new();
        let mut numbers = Numbers::below(self.load.keys);
        let start = Instant::now();
        engine.read(&mut |reader| {
            for _ in 0..gets {
                write_key(numbers.take() | 1 << 48, &mut key);
                if reader.get(&key, &mut |_| ())? {
                    return Err(format!("{key} is there").into());
                }
            }
            Ok(())
        })?;
        self.add("get miss", 1, rate(gets, start), 0);
        Ok(())
    }

    fn scan(&mut self, engine: &dyn Engine) -> Result<()> {
        let mut sum = 0_u64;
        let start = Instant::now();
        let mut count = 0;
        engine.read(&mut |reader| {
            count = reader.scan(None, usize::MAX, &mut |key, value| sum = sum.wrapping_add(weigh(key) ^ weigh(value)))?;
            Ok(())
        })?;
        let figure = rate(count as u64, start);
        if count as u64 != self.load.keys {
            return Err(format!("{count} entries, not {}", self.load.keys).into());
        }
        self.add("scan", 1, figure, sum);
        Ok(())
    }

    fn seek(&mut self, engine: &dyn Engine, workload: &'static str, entries: usize) -> Result<()> {
        let seeks = self.load.scaled(SEEKS);
        let (mut sum, mut key) = (0_u64, String::new());
        let mut numbers = Numbers::below(self.load.keys);
        let start = Instant::now();
        engine.read(&mut |reader| {
            for _ in 0..seeks {
                write_key(numbers.take(), &mut key);
                reader.scan(Some(&key), entries, &mut |key, value| sum = sum.wrapping_add(weigh(key) ^ weigh(value)))?;
            }
            Ok(())
        })?;
        self.add(workload, 1, rate(seeks, start), sum);
        Ok(())
    }

    fn reopen(&mut self, peer: &Peer, directory: &Path, mut engine: Box<dyn Engine>) -> Result<Box<dyn Engine>> {
        let (mut closing, mut opening) = (Vec::new(), Vec::new());
        for _ in 0..OPENINGS {
            let start = Instant::now();
            engine.close()?;
            closing.push(start.elapsed());
            let start = Instant::now();
            engine = (peer.open)(directory, Level::Os)?;
            opening.push(start.elapsed());
        }
        self.add("close", 1, millis(middle(&mut closing)), 0);
        self.add("reopen", 1, millis(middle(&mut opening)), 0);
        Ok(engine)
    }

    fn writes(&mut self, engine: &dyn Engine) -> Result<()> {
        let writes = self.load.scaled(WRITES);
        let (mut key, mut value) = (String::new(), Vec::new());
        let mut numbers = Numbers::below(self.load.keys);
        let start = Instant::now();
        for turn in 0..writes {
            write_key(numbers.take(), &mut key);
            write_value(turn, self.load.value_len, &mut value);
            engine.put(&key, &value)?;
        }
        self.add("overwrite", 1, rate(writes, start), 0);

        let start = Instant::now();
        for turn in 0..writes {
            write_key(numbers.take(), &mut key);
            engine.update(&key, &|old, new| {
                new.extend_from_slice(old);
                if let Some(first) = new.first_mut() {
                    *first = first.wrapping_add(turn as u8);
                }
            })?;
        }
        self.add("update", 1, rate(writes, start), 0);

        let batches = self.load.scaled(BATCHES);
        let mut pairs = vec![(String::new(), Vec::new()); BATCH as usize];
        let start = Instant::now();
        for turn in 0..batches {
            for (key, value) in &mut pairs {
                write_key(numbers.take(), key);
                write_value(turn, self.load.value_len, value);
            }
            engine.put_all(&pairs)?;
        }
        self.add("batch", 1, rate(batches * BATCH, start), 0);
        Ok(())
    }

    fn synced(&mut self, engine: &dyn Engine, threads: u64) -> Result<()> {
        let course = &*self;
        let start = Instant::now();
        let counts: Result<Vec<u64>> = thread::scope(|scope| {
            let writers: Vec<_> =
                (0..threads).map(|thread| scope.spawn(move || course.put_synced(engine, thread, start))).collect();
            writers.into_iter().map(|writer| writer.join().expect("no writer panics")).collect()
        });
        let figure = rate(counts?.iter().sum(), start);
        self.add("synced put", threads, figure, 0);
        Ok(())
    }

    fn put_synced(&self, engine: &dyn Engine, thread: u64, start: Instant) -> Result<u64> {
        let (mut key, mut value) = (String::new(), Vec::new());
        let mut numbers = Numbers::from(thread, self.load.keys);
        let mut count = 0;
        while start.elapsed() < self.load.synced {
            write_key(numbers.take(), &mut key);
            write_value(count, self.load.value_len, &mut value);
            engine.put(&key, &value)?;
            count += 1;
        }
        Ok(count)
    }
}

/// Something of a text that differs between texts, cheap enough to be no part of the race.
pub fn weigh(bytes: &[u8]) -> u64 {
    let (first, last) = (bytes.first().copied().unwrap_or_default(), bytes.last().copied().unwrap_or_default());
    bytes.len() as u64 + (u64::from(first) << 16) + (u64::from(last) << 24)
}

pub fn rate(count: u64, start: Instant) -> f64 {
    count as f64 / start.elapsed().as_secs_f64().max(1e-9)
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

fn middle(spans: &mut [Duration]) -> Duration {
    spans.sort_unstable();
    spans[spans.len() / 2]
}

/// What all files of a directory take on the disk.
pub fn disk_bytes(directory: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut sum = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += if metadata.is_dir() { disk_bytes(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(sum)
}
