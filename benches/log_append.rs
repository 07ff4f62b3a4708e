//! Writes by 1, 8 and 32 writers at once, at each level of durability. Writers that commit together share one sync.
//!
//! The time is the wall time of all writes divided by their number: what one write costs the store, not what one writer waits.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot set itself up has nothing better to do")]

mod workload;

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use annals::{Bucket, Durability};
use criterion::{BenchmarkId, Criterion, Throughput};

/// The wall time of `count` writes by so many writers, all started at once.
#[expect(clippy::disallowed_types, reason = "a benchmark looks at the clock on the wall")]
fn write(bucket: &Bucket, writers: u64, count: u64, keys: u64) -> Duration {
    let start = Barrier::new(writers as usize + 1);
    thread::scope(|scope| {
        for writer in 0..writers {
            let start = &start;
            scope.spawn(move || {
                let share = count / writers + u64::from(writer < count % writers);
                let value = workload::value(writer, workload::VALUE_LEN);
                start.wait();
                for number in 0..share {
                    bucket.put(workload::key((number * writers + writer) % keys), &value).unwrap();
                }
            });
        }
        start.wait();
        std::time::Instant::now()
    })
    .elapsed()
}

fn main() {
    let mut criterion: Criterion = workload::criterion();
    let keys = workload::size(100_000);
    let periodic = Durability::Periodic { delay: Duration::from_millis(100), bytes: 16 << 20 };
    for (name, durability) in [("Sync", Durability::Sync), ("Periodic", periodic), ("OsCache", Durability::OsCache)] {
        workload::announce("put by several writers, time per put", keys, workload::VALUE_LEN, name);
        let mut group = criterion.benchmark_group(format!("log_append/{name}"));
        group.throughput(Throughput::Elements(1));
        for writers in [1, 8, 32] {
            let (_directory, store) = workload::store_on_disk(durability);
            let bucket = workload::bucket(&store, 1);
            group.bench_function(BenchmarkId::from_parameter(format!("{writers} writers")), |bencher| {
                bencher.iter_custom(|count| write(&bucket, writers, count, keys));
            });
            store.close().unwrap();
        }
        group.finish();
    }
    criterion.final_summary();
}
