//! The fifth part: how fast it goes on this machine. A second for each row; a first impression, not a benchmark.
//!
//! Puts take turns over a fixed set of keys in a bucket of their own; reads pick keys of the imported tree at random. What a row
//! measures stands in the row, and the number of processors below, so that a number can be told again without its story.

use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use annals::{Bucket, BucketConfig, Store};

use super::Guide;
use crate::args::Level;
use crate::commands::open;
use crate::failure::{Context, Result};
use crate::output::{STEPS_BAR, progress};
use crate::text::{grouped, per_second, span};

const BUCKET: &str = "rates";
const SPAN: Duration = Duration::from_secs(1);
const KEY_COUNT: u64 = 10_000;
const VALUE: [u8; 100] = *b"0123456789 one hundred bytes that compress but that nobody compresses here 0123456789 0123456789 012";
/// How many reads lie between two looks at the clock, which costs as much as a read does.
const READS_PER_LOOK: u64 = 64;
const HEADINGS: [&str; 6] = ["what", "threads", "keys", "value bytes", "per second", "each takes"];

/// How many of something were done in which time.
#[derive(Clone, Copy, Debug)]
struct Rate {
    count: u64,
    elapsed: Duration,
    threads: usize,
}

impl Rate {
    fn row(self, what: &str, keys: u64, value_bytes: u64) -> Vec<String> {
        let each = self.elapsed.as_secs_f64() * self.threads as f64 / self.count.max(1) as f64;
        let numbers = [self.threads as u64, keys, value_bytes, per_second(self.count, self.elapsed)];
        let mut row = vec![what.to_owned()];
        row.extend(numbers.map(grouped));
        row.push(span(Duration::from_secs_f64(each)));
        row
    }
}

pub(super) fn measure(directory: &Path, tree: &str, keys: &[String], guide: &mut Guide<'_>) -> Result<()> {
    guide.section("5. How fast, here")?;
    guide.say("A second for each row. Synced: on the disk before the call returns; threads that wait together share a sync.")?;
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let readers = if processors == 1 { vec![1] } else { vec![1, processors] };
    let bar = progress(5 + readers.len() as u64, STEPS_BAR).with_message("rates");
    let mut rows = Vec::new();
    let mut add = |row| {
        rows.push(row);
        bar.inc(1);
    };
    let store = open(directory, Level::Sync, false)?;
    let bucket = store.create_bucket(BucketConfig::new(BUCKET)).trying(|| format!("create bucket {BUCKET}"))?;
    for threads in [1, 8, 32] {
        add(puts(&bucket, threads)?.row("put, synced", KEY_COUNT, VALUE.len() as u64));
    }
    close(&store)?;
    drop((bucket, store));

    let store = open(directory, Level::Os, false)?;
    let find = |name: &str| store.bucket(name).trying(|| format!("open bucket {name}"));
    add(puts(&find(BUCKET)?, 1)?.row("put, left to the operating system", KEY_COUNT, VALUE.len() as u64));
    if !keys.is_empty() {
        let tree = find(tree)?;
        for threads in readers {
            let (rate, bytes) = gets(&tree, keys, threads)?;
            add(rate.row("get, imported tree, random key", keys.len() as u64, bytes / rate.count.max(1)));
        }
        add(scans(&tree)?.row("keys in order, imported tree", keys.len() as u64, 0));
    }
    close(&store)?;
    bar.finish_and_clear();
    guide.table(&HEADINGS, rows, &[1, 2, 3, 4, 5])?;
    guide.say(format_args!("Processors: {processors}. Value bytes of reads are the mean of what was read."))
}

fn close(store: &Store) -> Result<()> {
    store.close().trying(|| "close the store".to_owned())
}

fn puts(bucket: &Bucket, threads: usize) -> Result<Rate> {
    timed(threads, |_, turn| {
        let key = format!("sensor.{:05}", turn % KEY_COUNT);
        bucket.put(key, VALUE).trying(|| format!("put in bucket {BUCKET}"))?;
        Ok(1)
    })
}

fn gets(bucket: &Bucket, keys: &[String], threads: usize) -> Result<(Rate, u64)> {
    let bytes = AtomicU64::new(0);
    let rate = timed(threads, |thread, turn| {
        let mut read = 0;
        for at in 0..READS_PER_LOOK {
            let key = &keys[scattered(thread, turn * READS_PER_LOOK + at, keys.len())];
            let len = bucket.get_with(key, |value| black_box(value).len()).trying(|| format!("get {key}"))?;
            read += len.unwrap_or_default() as u64;
        }
        bytes.fetch_add(read, Ordering::Relaxed);
        Ok(READS_PER_LOOK)
    })?;
    Ok((rate, bytes.into_inner()))
}

fn scans(bucket: &Bucket) -> Result<Rate> {
    timed(1, |_, _| {
        let mut count = 0;
        for key in bucket.keys().trying(|| "list the keys".to_owned())? {
            black_box(key.trying(|| "list the keys".to_owned())?);
            count += 1;
        }
        Ok(count)
    })
}

/// Lets `threads` threads do `work` again and again for the span of a row. `work` gets the number of its thread and, for each
/// thread in steps of the number of threads, its turn; it answers how many things it did.
fn timed(threads: usize, work: impl Fn(usize, u64) -> Result<u64> + Sync) -> Result<Rate> {
    let start = Instant::now();
    let repeat = |thread: usize| -> Result<u64> {
        let (mut count, mut turn) = (0, thread as u64);
        while start.elapsed() < SPAN {
            count += work(thread, turn)?;
            turn += threads as u64;
        }
        Ok(count)
    };
    let counts: Result<Vec<u64>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|thread| scope.spawn(move || repeat(thread))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    Ok(Rate { count: counts?.iter().sum(), elapsed: start.elapsed(), threads })
}

/// An index below `len` that jumps about: the finalizer of SplitMix64.
fn scattered(thread: usize, turn: u64, len: usize) -> usize {
    let mut bits = (turn ^ ((thread as u64) << 48)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((u128::from(bits ^ (bits >> 31)) * len as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_reach_every_key_and_none_beyond() {
        let mut seen = [false; 10];
        for turn in 0..200 {
            seen[scattered(1, turn, seen.len())] = true;
        }
        assert_eq!(seen, [true; 10]);
    }

    #[test]
    fn a_row_says_what_one_takes_when_several_threads_share_the_second() {
        let rate = Rate { count: 8_000, elapsed: Duration::from_secs(1), threads: 8 };
        assert_eq!(rate.row("put", 10, 100), ["put", "8", "10", "100", "8,000", "1.0 ms"]);
    }
}
