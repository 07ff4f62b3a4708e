//! Reads of what is in segment files: everything was flushed and merged into one file before the first measurement, and is in the
//! operating system's cache.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot set itself up has nothing better to do")]

mod workload;

use annals::testing::segment::Sample;
use annals::{Durability, KeysOptions, Revision, Store};
use criterion::{BatchSize, Criterion, Throughput};
use workload::{Digest, Numbers, VALUE_LEN, absent_key, key};

fn settle(store: &Store) {
    store.flush().unwrap();
    store.merge_all().unwrap();
    let status = store.status().unwrap();
    println!("{} segments, {} bytes, {} entries", status.segments, status.segment_bytes, status.segment_entries);
    assert_eq!((status.sealed_memtables, status.segments), (0, 1), "something else would be measured, too");
}

fn points(criterion: &mut Criterion) {
    let keys = workload::size(500_000);
    workload::announce("reads from one segment, time per read", keys, VALUE_LEN, "OsCache");
    let (_directory, store) = workload::store_on_disk(Durability::OsCache);
    let bucket = workload::bucket(&store, 1);
    workload::fill(&bucket, keys, 1, VALUE_LEN);
    settle(&store);
    let mut digest = Digest::new();
    for number in 0..keys {
        assert!(bucket.get_with(key(number), |bytes| digest.add(bytes)).unwrap().is_some());
    }
    digest.print("all values");

    let mut group = criterion.benchmark_group("segment");
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
    group.throughput(Throughput::Elements(keys / 1000 + 1));
    group.bench_function("keys, one in a thousand by its beginning", |bencher| {
        bencher.iter(|| bucket.keys_with(KeysOptions::new().filter("user.001.>")).unwrap().map(Result::unwrap).count());
    });
    group.finish();
    store.close().unwrap();
}

/// The segment by itself: the index against the search that it replaced, and walks.
fn alone(criterion: &mut Criterion) {
    let keys = workload::size(1_000_000);
    for block_len in [4 << 10, 8 << 10] {
        let sample = Sample::new(keys, block_len, 0);
        let raw = keys * (25 + VALUE_LEN as u64);
        println!("blocks of {block_len}: {} bytes, {:.3} of raw", sample.file_len(), sample.file_len() as f64 / raw as f64);
        let mut group = criterion.benchmark_group(format!("segment_alone_{block_len}"));
        let mut numbers = Numbers::below(keys);
        group.throughput(Throughput::Elements(1));
        group.bench_function("hit", |bencher| {
            bencher.iter_batched(|| Sample::key(2 * numbers.take()), |key| sample.get(&key).unwrap(), BatchSize::SmallInput);
        });
        group.bench_function("hit, by fences", |bencher| {
            bencher.iter_batched(|| Sample::key(2 * numbers.take()), |key| sample.get_by_fences(&key), BatchSize::SmallInput);
        });
        group.bench_function("miss", |bencher| {
            bencher.iter_batched(|| Sample::key(2 * numbers.take() + 1), |key| sample.get(&key), BatchSize::SmallInput);
        });
        group.bench_function("miss, by fences", |bencher| {
            bencher.iter_batched(|| Sample::key(2 * numbers.take() + 1), |key| sample.get_by_fences(&key), BatchSize::SmallInput);
        });
        group.throughput(Throughput::Elements(keys));
        group.bench_function("walk", |bencher| bencher.iter(|| sample.walk(true)));
        group.bench_function("walk back", |bencher| bencher.iter(|| sample.walk(false)));
        group.finish();
    }
}

fn histories(criterion: &mut Criterion) {
    const DEPTH: u64 = 8;
    let keys = workload::size(50_000);
    workload::announce(&format!("histories of {DEPTH} entries in one segment, time per read"), keys, VALUE_LEN, "OsCache");
    let (_directory, store) = workload::store_on_disk(Durability::OsCache);
    let bucket = workload::bucket(&store, DEPTH as u8);
    workload::fill(&bucket, keys, DEPTH, VALUE_LEN);
    settle(&store);
    let mut digest = Digest::new();
    for number in 0..keys.min(1000) {
        let history: Vec<_> = bucket.history(key(number)).unwrap().map(Result::unwrap).collect();
        assert_eq!(history.len() as u64, DEPTH);
        history.iter().for_each(|entry| digest.add(entry.value()));
    }
    digest.print("the first histories");

    let mut group = criterion.benchmark_group("segment_history");
    let mut numbers = Numbers::below(keys);
    group.throughput(Throughput::Elements(DEPTH));
    group.bench_function("history of a key", |bencher| {
        bencher.iter_batched(
            || key(numbers.take()),
            |key| bucket.history(key).unwrap().map(Result::unwrap).count(),
            BatchSize::SmallInput,
        );
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("get_at the middle of the history", |bencher| {
        bencher.iter_batched(
            // The key that was put as `number`-th in the fifth of eight rounds.
            || {
                let number = numbers.take();
                (key(number), Revision::from(4 * keys + number + 1))
            },
            |(key, revision)| bucket.get_at(key, revision).unwrap().unwrap(),
            BatchSize::SmallInput,
        );
    });
    group.finish();
    store.close().unwrap();
}

fn main() {
    let mut criterion = workload::criterion();
    alone(&mut criterion);
    points(&mut criterion);
    histories(&mut criterion);
    criterion.final_summary();
}
