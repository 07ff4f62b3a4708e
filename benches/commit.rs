//! The path of a write by one writer: without a condition, and with each kind of condition, met and not met. Handed to the operating
//! system, so that the disk is not what is measured; `log_append` has the synced writes.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot set itself up has nothing better to do")]

mod workload;

use annals::{Durability, ErrorKind, Revision};
use criterion::{BenchmarkId, Criterion, Throughput};
use workload::{Numbers, VALUE_LEN, key, value};

fn put(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("put");
    for (value_len, full, history) in [(16, 100_000, 1), (VALUE_LEN, 100_000, 1), (VALUE_LEN, 100_000, 8), (64 << 10, 500, 1)] {
        let keys = workload::size(full);
        workload::announce(&format!("put, history {history}, time per put"), keys, value_len, "OsCache");
        let (_directory, store) = workload::store_on_disk(Durability::OsCache);
        let bucket = workload::bucket(&store, history);
        let (mut numbers, bytes) = (Numbers::below(keys), value(1, value_len));
        group.throughput(Throughput::Bytes(25 + value_len as u64));
        group.bench_function(BenchmarkId::from_parameter(format!("{value_len} bytes, history {history}")), |bencher| {
            bencher.iter(|| bucket.put(key(numbers.take()), &bytes).unwrap());
        });
        store.close().unwrap();
    }
    group.finish();
}

fn conditions(criterion: &mut Criterion) {
    let keys = workload::size(100_000);
    workload::announce("conditional writes, time per write", keys, VALUE_LEN, "OsCache");
    let (_directory, store) = workload::store_on_disk(Durability::OsCache);
    let bucket = workload::bucket(&store, 1);
    workload::fill(&bucket, keys, 1, VALUE_LEN);
    let bytes = value(2, VALUE_LEN);
    let mut group = criterion.benchmark_group("conditional");
    group.throughput(Throughput::Elements(1));

    let mut numbers = Numbers::below(keys);
    group.bench_function("read, then update, met", |bencher| {
        bencher.iter(|| {
            let key = key(numbers.take());
            let revision = bucket.entry(&key).unwrap().unwrap().revision();
            bucket.update(&key, &bytes, revision).unwrap()
        });
    });
    group.bench_function("update, not met", |bencher| {
        bencher.iter(|| {
            let error = bucket.update(key(numbers.take()), &bytes, Revision::from(u64::MAX)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WrongRevision);
        });
    });
    group.bench_function("create, not met", |bencher| {
        bencher.iter(|| {
            let error = bucket.create(key(numbers.take()), &bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        });
    });
    group.bench_function("delete, then create, met", |bencher| {
        bencher.iter(|| {
            let key = key(numbers.take());
            bucket.delete(&key).unwrap();
            bucket.create(&key, &bytes).unwrap()
        });
    });
    group.finish();
    store.close().unwrap();
}

fn main() {
    let mut criterion = workload::criterion();
    put(&mut criterion);
    conditions(&mut criterion);
    criterion.final_summary();
}
