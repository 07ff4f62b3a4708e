//! Walks over a bucket: all of it and short ranges, lent and copied, forward and backward, from one settled segment and from three runs with
//! a memtable above them.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot set itself up has nothing better to do")]

mod workload;

use std::ops::ControlFlow;

use annals::{Bucket, Durability, Store};
use criterion::{Criterion, Throughput};
use workload::{Digest, Numbers, VALUE_LEN, key, value};

/// Settled: one run and nothing in memory. Otherwise every key is in one of three runs or in the memtable.
fn filled(store: &Store, keys: u64, settled: bool) -> Bucket {
    let bucket = workload::bucket(store, 1);
    for part in 0..4 {
        for number in (0..keys).filter(|number| number % 4 == part) {
            bucket.put(key(number), value(number, VALUE_LEN)).unwrap();
        }
        if part < 3 {
            store.flush().unwrap();
        }
    }
    if settled {
        store.flush().unwrap();
        store.merge_all().unwrap();
    }
    bucket
}

fn visit(bucket: &Bucket, from: &str, mut count: u64) -> u64 {
    let mut bytes = 0;
    let flow = bucket.range(from..).unwrap().visit(|entry| {
        bytes += (entry.key().len() + entry.value().len()) as u64;
        count -= 1;
        if count == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    flow.unwrap();
    bytes
}

fn scans(criterion: &mut Criterion, settled: bool) {
    let keys = workload::size(1_000_000);
    let shape = if settled { "settled" } else { "3 runs and a memtable" };
    workload::announce(&format!("scans, {shape}"), keys, VALUE_LEN, "OsCache");
    let (_directory, store) = workload::store_on_disk(Durability::OsCache);
    let bucket = filled(&store, keys, settled);
    let mut digest = Digest::new();
    for entry in bucket.range(..).unwrap() {
        digest.add(entry.unwrap().value());
    }
    digest.print(shape);
    let mut group = criterion.benchmark_group(format!("scan {shape}"));
    group.throughput(Throughput::Elements(keys));
    group.bench_function("all, lent", |bencher| bencher.iter(|| visit(&bucket, "", u64::MAX)));
    group.bench_function("all, lent, backward", |bencher| {
        bencher.iter(|| {
            let mut bytes = 0;
            let flow = bucket.range(..).unwrap().visit_back(|entry| {
                bytes += entry.value().len();
                ControlFlow::<()>::Continue(())
            });
            flow.unwrap();
            bytes
        });
    });
    group.bench_function("all, copied", |bencher| bencher.iter(|| bucket.range(..).unwrap().count()));
    group.bench_function("all keys", |bencher| bencher.iter(|| bucket.keys().unwrap().count()));
    for count in [10, 100] {
        let mut numbers = Numbers::below(keys);
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("seek and {count}, lent"), |bencher| {
            bencher.iter(|| visit(&bucket, &key(numbers.take()), count));
        });
    }
    let mut numbers = Numbers::below(keys);
    group.bench_function("get_with", |bencher| {
        bencher.iter(|| bucket.get_with(key(numbers.take()), <[u8]>::len).unwrap());
    });
    group.finish();
    store.close().unwrap();
}

fn main() {
    let mut criterion = workload::criterion();
    scans(&mut criterion, true);
    scans(&mut criterion, false);
    criterion.final_summary();
}
