//! Reads and writes of what is in memory only: the memtable by itself, in the mixes that decided its form, and a store without files that
//! has never been flushed.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot set itself up has nothing better to do")]

mod workload;

use annals::testing::memtable::Generation;
use annals::{Bucket, Options};
use criterion::{BatchSize, Criterion, Throughput};
use workload::{Digest, Numbers, VALUE_LEN, absent_key, key, value};

/// Few enough to stay in one memtable.
const KEYS: u64 = 200_000;

fn new_bucket(history: u8) -> Bucket {
    // No threads, and a memtable that is never full: nothing is flushed behind the benchmark's back.
    let store = Options::new().manual_jobs().sizes(256 << 20, 200 << 20, 8 << 10).in_memory().unwrap();
    workload::bucket(&store, history)
}

fn reads(criterion: &mut Criterion, keys: u64) {
    let bucket = new_bucket(1);
    workload::fill(&bucket, keys, 1, VALUE_LEN);
    workload::announce("reads in memory, time per read", keys, VALUE_LEN, "none");
    let mut digest = Digest::new();
    for number in 0..keys {
        assert!(bucket.get_with(key(number), |bytes| digest.add(bytes)).unwrap().is_some());
        assert!(bucket.get(absent_key(number)).unwrap().is_none());
    }
    digest.print("all values");

    let mut group = criterion.benchmark_group("memtable");
    let mut numbers = Numbers::below(keys);
    group.throughput(Throughput::Elements(1));
    group.bench_function("get_with, hit", |bencher| {
        bencher.iter_batched(|| key(numbers.take()), |key| bucket.get_with(key, <[u8]>::len).unwrap(), BatchSize::SmallInput);
    });
    group.bench_function("get, hit", |bencher| {
        bencher.iter_batched(|| key(numbers.take()), |key| bucket.get(key).unwrap(), BatchSize::SmallInput);
    });
    group.bench_function("get, miss", |bencher| {
        bencher.iter_batched(|| absent_key(numbers.take()), |key| bucket.get(key).unwrap(), BatchSize::SmallInput);
    });
    group.throughput(Throughput::Elements(keys));
    group.bench_function("keys, all", |bencher| bencher.iter(|| bucket.keys().unwrap().map(Result::unwrap).count()));
    group.finish();
}

fn inserts(criterion: &mut Criterion, keys: u64) {
    workload::announce("inserting all keys into an empty store in memory, time for all", keys, VALUE_LEN, "none");
    let mut group = criterion.benchmark_group("memtable_fill");
    group.sample_size(10).throughput(Throughput::Elements(keys));
    let bytes = value(3, VALUE_LEN);
    group.bench_function("put", |bencher| {
        bencher.iter_batched(
            || (new_bucket(1), (0..keys).map(key).collect::<Vec<_>>()),
            |(bucket, texts)| {
                for text in &texts {
                    bucket.put(text, &bytes).unwrap();
                }
                bucket
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// As many as fill a memtable of the default size, about.
const GENERATION: u64 = 450_000;
const CAPACITY: u64 = 64 << 20;
/// Enough for a p99.
const FIRST_SCANS: usize = 100;

/// Wall time of `work` by the number of its steps, printed.
#[expect(clippy::disallowed_types, reason = "a benchmark looks at the clock on the wall")]
fn timed(what: &str, steps: u64, work: impl FnOnce()) {
    let start = std::time::Instant::now();
    work();
    println!("{what:<58} {:>8} ns", start.elapsed().as_nanos() / u128::from(steps));
}

/// The key texts of `numbers`, one behind the other, so that reading them costs no cache miss of its own.
fn texts(numbers: impl Iterator<Item = u64>, of: fn(u64) -> String) -> Vec<Vec<u8>> {
    numbers.map(|number| of(number).into_bytes()).collect()
}

/// The mixes that decided the form of the memtable, on the memtable itself, without the engine around it.
fn forms() {
    let count = workload::size(GENERATION);
    workload::announce("one memtable by itself, time per step, hashing of the key included", count, VALUE_LEN, "none");
    let bytes = value(5, VALUE_LEN);
    let keys = texts(0..count, key);
    let mut numbers = Numbers::below(count);
    let others = texts((0..count).map(|_| numbers.take()), key);
    let absent = texts(0..count, absent_key);

    let mut plain = Generation::new(CAPACITY);
    timed("insert", count, || keys.iter().for_each(|key| plain.insert(key, &bytes)));
    println!("{:<58} {:>8} bytes", "memory per entry", plain.bytes() / count);
    timed("get, hit", count, || assert!(others.iter().all(|key| plain.get(key).is_some())));
    timed("get, miss", count, || assert!(absent.iter().all(|key| plain.get(key).is_none())));
    timed("walk over everything, by a flush: nothing is in order yet", count, || {
        assert_eq!(plain.scan(b"", usize::MAX) as u64, count)
    });
    timed("walk over everything, again", count, || assert_eq!(plain.scan(b"", usize::MAX) as u64, count));

    let mut ordered = plain.successor();
    timed("insert, order kept", count, || keys.iter().for_each(|key| ordered.insert(key, &bytes)));
    println!("{:<58} {:>8} bytes", "memory per entry, order kept", ordered.bytes() / count);
    timed("insert over what is there", count, || others.iter().for_each(|key| ordered.insert(key, &bytes)));

    let mut mixed = Generation::new(CAPACITY);
    timed("insert and get by turns, per operation", 2 * count, || {
        for (key, other) in keys.iter().zip(&others) {
            mixed.insert(key, &bytes);
            std::hint::black_box(mixed.get(other));
        }
    });
    let mut scanned = plain.successor();
    timed("ten inserts, then seek and 10 entries, per insert", count, || {
        for (at, (key, other)) in keys.iter().zip(&others).enumerate() {
            scanned.insert(key, &bytes);
            if at % 10 == 0 {
                std::hint::black_box(scanned.scan(other, 10));
            }
        }
    });
    alternate(&keys, &others, &bytes);
    first_scans(&keys, &bytes);
}

/// What the first cursor after a phase of writes only pays, over many generations: it puts all keys in order.
#[expect(clippy::disallowed_types, reason = "a benchmark looks at the clock on the wall")]
fn first_scans(keys: &[Vec<u8>], bytes: &[u8]) {
    // The keys come ascending, which a sort may notice; so they are inserted in another order.
    let mut shuffled: Vec<&Vec<u8>> = keys.iter().collect();
    let mut numbers = Numbers::below(u64::MAX);
    shuffled.sort_by_cached_key(|_| numbers.take());
    for count in [10_000, 100_000, GENERATION].map(|count| workload::size(count) as usize) {
        let mut times: Vec<u128> = (0..FIRST_SCANS)
            .map(|_| {
                let mut generation = Generation::new(CAPACITY);
                shuffled[..count].iter().for_each(|key| generation.insert(key, bytes));
                let start = std::time::Instant::now();
                assert!(generation.scan(b"", 10) > 0);
                start.elapsed().as_nanos()
            })
            .collect();
        print_times(&format!("first scan of {count} keys, {FIRST_SCANS} generations"), &mut times);
    }
}

/// The distribution of `times`.
fn print_times(what: &str, times: &mut [u128]) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 1000];
    println!("{what}: p50 {} ns, p99 {} ns, p99.9 {} ns", at(500), at(990), at(999));
}

/// Half of the keys without order, then strictly one insert, one scan: what the first scan costs, and the distribution of the others.
#[expect(clippy::disallowed_types, reason = "a benchmark looks at the clock on the wall")]
fn alternate(keys: &[Vec<u8>], others: &[Vec<u8>], bytes: &[u8]) {
    let mut generation = Generation::new(CAPACITY);
    let (before, rest) = keys.split_at(keys.len() / 2);
    before.iter().for_each(|key| generation.insert(key, bytes));
    timed("first scan, with half of the keys not in order", 1, || assert!(generation.scan(b"", 10) > 0));
    let (mut inserts, mut scans) = (Vec::new(), Vec::new());
    for (key, other) in rest.iter().zip(others) {
        let start = std::time::Instant::now();
        generation.insert(key, bytes);
        let between = std::time::Instant::now();
        std::hint::black_box(generation.scan(other, 10));
        inserts.push((between - start).as_nanos());
        scans.push(between.elapsed().as_nanos());
    }
    print_times("insert by turns", &mut inserts);
    print_times("seek and 10 entries by turns", &mut scans);
}

fn main() {
    forms();
    let mut criterion = workload::criterion();
    reads(&mut criterion, workload::size(KEYS));
    inserts(&mut criterion, workload::size(KEYS / 4));
    criterion.final_summary();
}
