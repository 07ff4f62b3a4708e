//! Reads and writes of what is in memory only: a store without files that has never been flushed.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot set itself up has nothing better to do")]

mod workload;

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

fn main() {
    let mut criterion = workload::criterion();
    reads(&mut criterion, workload::size(KEYS));
    inserts(&mut criterion, workload::size(KEYS / 4));
    criterion.final_summary();
}
