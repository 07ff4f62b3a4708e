//! The workload of subscribers: what they cost whoever writes, how much is delivered, how soon, and what one does that never reads.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::data::{Numbers, write_key, write_value};
use crate::engine::{Engine, Level, Peer, Result, Subscriber};
use crate::work::{Load, Measured, rate, weigh};

/// Numbers for a million keys; fewer for fewer.
const KEYS: u64 = 100_000;
pub const PUTS: u64 = 200_000;
const DELIVERIES: u64 = 200_000;
const SHARED_PUTS: u64 = 20_000;
const LATENCIES: u64 = 10_000;

const OTHERS: u64 = 1000;
const SHARING: usize = 100;
/// Below what sled lets wait for a subscriber, since one thread writes and reads by turns.
const BURST: u64 = 500;
/// Between two puts whose delivery is timed, so that the reader waits each time.
const PAUSE: Duration = Duration::from_micros(100);
/// A writer that has not gone on for so long stands still.
const PATIENCE: Duration = Duration::from_secs(1);
/// Nothing here takes longer; a race that does is thrown away.
const DEADLINE: Duration = Duration::from_secs(30);
/// Keys from here on were not written before.
const FRESH: u64 = 1 << 32;

/// The rows in their order.
pub const ROWS: [(&str, u64); 10] = [
    ("put, nobody subscribed", 1),
    ("put, 1 of another prefix", 1),
    ("put, 1,000 of other prefixes", 1),
    ("put, nobody any more", 1),
    ("delivered, 1 that keeps up", 2),
    ("delivered, 100 in bursts", 1),
    ("latency, p50", 2),
    ("latency, p99", 2),
    ("puts done, 1 never reads", 1),
    ("put, 1 never reads", 1),
];

/// Lets one store do everything, in a directory of its own.
pub fn race(peer: &Peer, directory: &Path, load: Load) -> Result<Vec<Measured>> {
    let engine: Arc<dyn Engine> = Arc::from((peer.open)(directory, Level::Os)?);
    let mut run = Course { load, out: Vec::new(), engine, next: 0 };
    run.put(load.scaled(PUTS))?;
    run.put_row("put, nobody subscribed")?;
    for (row, others) in [("put, 1 of another prefix", 1), ("put, 1,000 of other prefixes", OTHERS)] {
        let subscribers: Result<Vec<_>> = (0..others).map(|other| run.engine.subscribe(&format!("other.{other}."))).collect();
        run.put_row(row)?;
        drop(subscribers?);
    }
    run.put_row("put, nobody any more")?;
    run.one_keeps_up()?;
    run.many_in_bursts()?;
    run.latency()?;
    run.one_never_reads()?;
    Ok(run.out)
}

struct Course {
    load: Load,
    out: Vec<Measured>,
    engine: Arc<dyn Engine>,
    /// The number of the next value: none is written twice, since sled leaves out a write that changes nothing.
    next: u64,
}

impl Course {
    fn add(&mut self, workload: &'static str, threads: u64, figure: f64, checksum: u64) {
        self.out.push(Measured { workload, threads, durability: "os", settled: false, figure, checksum });
    }

    /// Puts to keys that are there.
    fn put(&mut self, count: u64) -> Result<f64> {
        let (mut key, mut value) = (String::new(), Vec::new());
        let mut numbers = Numbers::below(self.load.scaled(KEYS));
        let start = Instant::now();
        for _ in 0..count {
            write_key(numbers.take(), &mut key);
            write_value(self.next, self.load.value_len, &mut value);
            self.next += 1;
            self.engine.put(&key, &value)?;
        }
        Ok(rate(count, start))
    }

    fn put_row(&mut self, row: &'static str) -> Result<()> {
        let figure = self.put(self.load.scaled(PUTS))?;
        self.add(row, 1, figure, 0);
        Ok(())
    }

    /// One thread writes as fast as it can, another reads.
    fn one_keeps_up(&mut self) -> Result<()> {
        let count = self.load.scaled(DELIVERIES);
        let mut subscriber = self.engine.subscribe("")?;
        let start = Instant::now();
        let (written, sum) = thread::scope(|scope| {
            let reader = scope.spawn(move || {
                let mut sum = 0;
                for _ in 0..count {
                    take(&mut *subscriber, &mut sum)?;
                }
                Ok::<u64, Box<dyn std::error::Error + Send + Sync>>(sum)
            });
            let written = self.put_fresh(count);
            (written, reader.join().expect("no reader panics"))
        });
        let figure = rate(count, start);
        written?;
        self.add("delivered, 1 that keeps up", 2, figure, sum?);
        Ok(())
    }

    /// Keys that nobody wrote before, so that no store may leave out one for a newer one.
    fn put_fresh(&mut self, count: u64) -> Result<()> {
        let (mut key, mut value) = (String::new(), Vec::new());
        for _ in 0..count {
            write_key(FRESH + self.next, &mut key);
            write_value(self.next, self.load.value_len, &mut value);
            self.next += 1;
            self.engine.put(&key, &value)?;
        }
        Ok(())
    }

    /// One thread writes some hundred entries, then takes what all have.
    fn many_in_bursts(&mut self) -> Result<()> {
        let count = self.load.scaled(SHARED_PUTS);
        let subscribers: Result<Vec<_>> = (0..SHARING).map(|_| self.engine.subscribe("")).collect();
        let (mut subscribers, mut sum, mut written) = (subscribers?, 0, 0);
        let start = Instant::now();
        while written < count {
            let burst = BURST.min(count - written);
            self.put_fresh(burst)?;
            for subscriber in &mut subscribers {
                for _ in 0..burst {
                    take(&mut **subscriber, &mut sum)?;
                }
            }
            written += burst;
        }
        let figure = rate(count * SHARING as u64, start);
        self.add("delivered, 100 in bursts", 1, figure, sum);
        Ok(())
    }

    /// From just before a put to another thread's having it.
    fn latency(&mut self) -> Result<()> {
        let count = self.load.scaled(LATENCIES);
        let mut subscriber = self.engine.subscribe("")?;
        let (epoch, sent) = (Instant::now(), AtomicU64::new(0));
        let now = || u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let (written, waits) = thread::scope(|scope| {
            let (now, sent) = (&now, &sent);
            let reader = scope.spawn(move || {
                let (mut waits, mut sum) = (Vec::new(), 0);
                for _ in 0..count {
                    take(&mut *subscriber, &mut sum)?;
                    waits.push(now().saturating_sub(sent.load(Ordering::Acquire)));
                }
                Ok::<Vec<u64>, Box<dyn std::error::Error + Send + Sync>>(waits)
            });
            let written = (0..count).try_for_each(|_| {
                sent.store(now(), Ordering::Release);
                self.put_fresh(1)?;
                let pause = Instant::now();
                while pause.elapsed() < PAUSE {
                    std::hint::spin_loop();
                }
                Ok(())
            });
            (written, reader.join().expect("no reader panics"))
        });
        let written: Result<()> = written;
        written?;
        let mut waits = waits?;
        waits.sort_unstable();
        for (row, part) in [("latency, p50", 50), ("latency, p99", 99)] {
            self.add(row, 2, waits[(waits.len() - 1) * part / 100] as f64 / 1e3, 0);
        }
        Ok(())
    }

    /// Somebody subscribed to everything and has gone to sleep. The writer is watched from here, since it may never come back.
    fn one_never_reads(&mut self) -> Result<()> {
        let count = self.load.scaled(PUTS);
        let mut subscriber = self.engine.subscribe("")?;
        let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let writer = {
            let (engine, done, stop, value_len) =
                (Arc::clone(&self.engine), Arc::clone(&done), Arc::clone(&stop), self.load.value_len);
            thread::spawn(move || put_until(&*engine, count, value_len, &done, &stop))
        };
        let (mut seen, mut since) = (0, Instant::now());
        while !writer.is_finished() && since.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
            let now = done.load(Ordering::Acquire);
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
        let stands = !writer.is_finished();
        stop.store(true, Ordering::Release);
        // A writer of sled that waits holds what dropping the subscriber waits for: only reading sets it free.
        let start = Instant::now();
        while !writer.is_finished() {
            if start.elapsed() > DEADLINE {
                return Err("a writer stands still though its subscriber was read again".into());
            }
            subscriber.next(Duration::from_millis(1), &mut |_, _| ())?;
        }
        let figure = writer.join().expect("no writer panics")?;
        self.add("puts done, 1 never reads", 1, if stands { seen } else { count } as f64, 0);
        if !stands {
            self.add("put, 1 never reads", 1, figure, 0);
        }
        Ok(())
    }
}

/// The next change, which must come in time.
fn take(subscriber: &mut dyn Subscriber, sum: &mut u64) -> Result<()> {
    if subscriber.next(DEADLINE, &mut |key, value| *sum = sum.wrapping_add(weigh(key) ^ weigh(value)))? {
        Ok(())
    } else {
        Err("a change was not delivered".into())
    }
}

/// Puts of which another thread sees how many there were, and which it can end.
fn put_until(engine: &dyn Engine, count: u64, value_len: usize, done: &AtomicU64, stop: &AtomicBool) -> Result<f64> {
    let (mut key, mut value) = (String::new(), Vec::new());
    let mut numbers = Numbers::below(count);
    let start = Instant::now();
    for number in 0..count {
        if stop.load(Ordering::Acquire) {
            break;
        }
        write_key(numbers.take(), &mut key);
        write_value(FRESH + number, value_len, &mut value);
        engine.put(&key, &value)?;
        done.store(number + 1, Ordering::Release);
    }
    Ok(rate(count, start))
}
