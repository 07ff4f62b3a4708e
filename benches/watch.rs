//! The watch bus: what watches cost those who write, how soon a commit is delivered, and how much can be. Handed to the operating system, so
//! that the disk is not what is measured. A plain program that prints a table: most rows need threads or thousands of watches.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot set itself up has nothing better to do")]
#![expect(clippy::disallowed_types, reason = "a benchmark measures time")]

mod workload;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use annals::{Bucket, Durability, Event, Store, Watch, WatchOptions};
use workload::{Numbers, VALUE_LEN, key, size, value};

/// Runs of each row; the median counts. Many, since flushes come and go.
const RUNS: usize = 15;

fn row(name: &str, figure: &str) {
    println!("{name:<64} {figure}");
}

fn median<T: Copy + PartialOrd>(mut figures: Vec<T>) -> T {
    figures.sort_by(|left, right| left.partial_cmp(right).unwrap());
    figures[figures.len() / 2]
}

fn open() -> (tempfile::TempDir, Store, Bucket) {
    let (directory, store) = workload::store_on_disk(Durability::OsCache);
    let bucket = workload::bucket(&store, 1);
    (directory, store, bucket)
}

fn puts(bucket: &Bucket, keys: u64, count: u64) -> f64 {
    let (mut numbers, bytes) = (Numbers::below(keys), value(1, VALUE_LEN));
    let started = Instant::now();
    for _ in 0..count {
        bucket.put(key(numbers.take()), &bytes).unwrap();
    }
    count as f64 / started.elapsed().as_secs_f64()
}

/// Everything that is there, without looking at it.
fn drain(watch: &mut Watch) -> u64 {
    let mut count = 0;
    while watch.try_next().unwrap().is_some() {
        count += 1;
    }
    count
}

fn live(bucket: &Bucket, pattern: &str) -> Watch {
    let mut watch = bucket.watch_with(WatchOptions::new().filter(pattern).updates_only(true)).unwrap();
    drain(&mut watch);
    watch
}

/// Puts beside watches of other keys, interleaved with puts beside none.
fn put_rate() {
    let (_directory, store, bucket) = open();
    let (keys, count) = (size(100_000), size(200_000));
    puts(&bucket, keys, count);
    for (name, watches, pattern) in [
        ("1 watch of another key", 1, "other"),
        ("10,000 watches of other keys", size(10_000), "other"),
        ("10,000 watches of other patterns", size(10_000), "other.*.>"),
    ] {
        let watch = |number| live(&bucket, &pattern.replacen("other", &format!("other.{number}"), 1));
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            without.push(puts(&bucket, keys, count));
            let watching: Vec<Watch> = (0..watches).map(watch).collect();
            with.push(puts(&bucket, keys, count));
            drop(watching);
        }
        // Each beside its neighbour: the rate drifts while merges come and go.
        let ratio = median(with.iter().zip(&without).map(|(with, without)| with / without).collect());
        let (without, with) = (median(without), median(with));
        row(&format!("put, {name}"), &format!("{with:>10.0} /s, {ratio:.3} of {without:.0} /s with none"));
    }
    let never = live(&bucket, ">");
    row(
        "put, 1 watch of all that never reads",
        &format!("{:>10.0} /s", median((0..5).map(|_| puts(&bucket, keys, count)).collect())),
    );
    drop(never);
    store.close().unwrap();
}

/// From just before `send` to the other thread's having received what it sent, p50 and p99 in microseconds; with pauses so that the reader
/// waits each time.
fn handed_over(pause: Duration, send: impl Fn(), mut receive: impl FnMut() + Send) -> (f64, f64) {
    let count = size(2_000_000 / pause.as_micros().max(100) as u64);
    let (epoch, sent) = (Instant::now(), AtomicU64::new(0));
    let mut waits = Vec::new();
    std::thread::scope(|scope| {
        let (epoch, sent) = (&epoch, &sent);
        let reader = scope.spawn(move || {
            let mut waits = Vec::new();
            for _ in 0..count {
                receive();
                waits.push(epoch.elapsed().as_nanos() as u64 - sent.load(Ordering::Acquire));
            }
            waits
        });
        for _ in 0..count {
            sent.store(epoch.elapsed().as_nanos() as u64, Ordering::Release);
            send();
            let started = Instant::now();
            while started.elapsed() < pause {
                std::hint::spin_loop();
            }
        }
        waits = reader.join().unwrap();
    });
    waits.sort_unstable();
    let at = |part: usize| waits[(waits.len() - 1) * part / 100] as f64 / 1000.0;
    (at(50), at(99))
}

/// Beside what the system takes to wake a thread, which is what a reader that sleeps cannot have sooner.
fn latency() {
    for pause in [20, 100, 1_000].map(Duration::from_micros) {
        let (_directory, store, bucket) = open();
        let mut watch = live(&bucket, "k");
        let send = || {
            bucket.put("k", "value").unwrap();
        };
        let (p50, p99) = handed_over(pause, send, || assert!(matches!(watch.next(), Some(Ok(Event::Entry(_))))));
        let (sender, receiver) = std::sync::mpsc::channel();
        let (bare_p50, bare_p99) = handed_over(pause, || sender.send(()).unwrap(), move || receiver.recv().unwrap());
        row(
            &format!("call of put to delivery, a put each {} us, p50 / p99", pause.as_micros()),
            &format!("{p50:>10.1} us / {p99:.1} us; a channel alone {bare_p50:.1} us / {bare_p99:.1} us"),
        );
        store.close().unwrap();
    }
}

/// One thread writes some hundred entries, then takes what all watches have.
fn deliveries() {
    for (name, watches, distinct, batch) in [
        ("1 watch of all", 1, false, 1),
        ("1 watch of all, batches of 100", 1, false, 100),
        ("100 watches of all", 100, false, 1),
        ("10,000 watches of all", size(10_000), false, 1),
        ("100 watches of a key each", 100, true, 1),
        ("10,000 watches of a key each", size(10_000), true, 1),
    ] {
        let (_directory, store, bucket) = open();
        let pattern = |number: u64| if distinct { key(number) } else { ">".to_owned() };
        let mut watching: Vec<Watch> = (0..watches).map(|number| live(&bucket, &pattern(number))).collect();
        let bytes = value(1, VALUE_LEN);
        let total = if distinct { size(400_000) } else { size(4_000_000).max(watches) };
        let each = if distinct { total } else { total / watches };
        let (mut delivered, mut written) = (0, 0);
        let started = Instant::now();
        while written < each {
            let burst = 500.min(each - written);
            for first in (written..written + burst).step_by(batch) {
                if batch == 1 {
                    bucket.put(key(first % watches), &bytes).unwrap();
                    continue;
                }
                let mut puts = store.batch();
                for number in first..(first + batch as u64).min(written + burst) {
                    puts.put(&bucket, key(number % 1_000), &bytes);
                }
                puts.commit().unwrap();
            }
            written += burst;
            delivered += watching.iter_mut().map(drain).sum::<u64>();
        }
        let all = if distinct { each } else { each * watches };
        // The dispatcher may not be done.
        while delivered < all {
            delivered += watching.iter_mut().map(drain).sum::<u64>();
        }
        let rate = delivered as f64 / started.elapsed().as_secs_f64();
        assert_eq!(delivered, all);
        row(&format!("deliveries, {name}, puts included"), &format!("{rate:>10.0} /s"));
        drop(watching);
        store.close().unwrap();
    }
}

/// 1,000 filters in one watch, a put to each in turn.
fn filters() {
    let (_directory, store, bucket) = open();
    let (filters, count) = (size(1_000), size(200_000));
    let options = (0..filters).fold(WatchOptions::new().updates_only(true), |options, number| options.filter(key(number)));
    let mut watch = bucket.watch_with(options).unwrap();
    let bytes = value(1, VALUE_LEN);
    let started = Instant::now();
    let mut delivered = 0;
    for number in 0..count {
        bucket.put(key(number % filters), &bytes).unwrap();
        if number % 500 == 499 {
            delivered += drain(&mut watch);
        }
    }
    delivered += drain(&mut watch);
    assert_eq!(delivered, count + 1);
    row(
        "1,000 filters in one watch, puts and deliveries",
        &format!("{:>10.0} /s", count as f64 / started.elapsed().as_secs_f64()),
    );
    store.close().unwrap();
}

/// By what the process takes of memory.
fn memory() {
    let (_directory, store, bucket) = open();
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    };
    let (before, watches) = (resident(), size(100_000));
    let watching: Vec<Watch> = (0..watches).map(|number| live(&bucket, &key(number))).collect();
    let taken = resident().saturating_sub(before);
    row("memory of an idle watch of a key", &format!("{:>10} bytes", taken / watches));
    drop(watching);
    store.close().unwrap();
}

fn main() {
    workload::announce("watches", size(100_000), VALUE_LEN, "OsCache");
    put_rate();
    latency();
    deliveries();
    filters();
    memory();
}
