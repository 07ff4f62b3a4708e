//! What every call pays before it reaches the store: checking a key; and what listings pay per key: matching a pattern.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot set itself up has nothing better to do")]

mod workload;

use std::hint::black_box;

use annals::{BucketConfig, Key, KeysOptions, Store};
use criterion::{BenchmarkId, Criterion, Throughput};

fn checking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("key_new");
    for tokens in [1, 3, 30] {
        let text = vec!["abcdefgh"; tokens].join(".");
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(format!("{} bytes", text.len())), &text, |bencher, text| {
            bencher.iter(|| Key::new(black_box(text)).unwrap());
        });
    }
    group.finish();
}

fn matching(criterion: &mut Criterion) {
    let keys = workload::size(100_000);
    let store = Store::in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("bench")).unwrap();
    workload::fill(&bucket, keys, 1, 0);
    workload::announce("listing with filters, in memory, time per listing", keys, 0, "none");
    let mut group = criterion.benchmark_group("keys_with");
    group.throughput(Throughput::Elements(keys));
    for pattern in [">", "user.*.*", "user.001.>", "*.*.0000000000000000"] {
        group.bench_with_input(BenchmarkId::from_parameter(pattern), pattern, |bencher, pattern| {
            bencher.iter(|| bucket.keys_with(KeysOptions::new().filter(pattern)).unwrap().map(Result::unwrap).count());
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = workload::criterion();
    checking(&mut criterion);
    matching(&mut criterion);
    criterion.final_summary();
}
