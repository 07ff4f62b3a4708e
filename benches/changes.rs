//! Resuming: all that has changed since a revision, in the order of revisions, where keys were written in scrambled order, so that each
//! lies elsewhere in its file; from memory, from one settled run, from three runs with a memtable above them, with history to judge.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot set itself up has nothing better to do")]

mod workload;

use annals::{Bucket, Durability, Event, Options, Revision, Store, WatchOptions};
use workload::{Digest, VALUE_LEN, key, value};

const ENTRIES: u64 = 1_000_000;
const PASSES: usize = 3;

/// The best of some passes, per entry.
#[expect(clippy::disallowed_types, reason = "a benchmark looks at the clock on the wall")]
fn resume(bucket: &Bucket, what: &str, since: u64) {
    let (mut count, mut best) = (0_u64, u128::MAX);
    let mut digest = Digest::new();
    for _ in 0..PASSES {
        count = 0;
        digest = Digest::new();
        let start = std::time::Instant::now();
        for event in bucket.changes_since(Revision::from(since)).unwrap() {
            if let Event::Entry(entry) = event.unwrap() {
                digest.add(&entry.revision().get().to_le_bytes());
                count += 1;
            }
        }
        best = best.min(start.elapsed().as_nanos());
    }
    println!("{what:<58} {count:>9} entries {:>8} ns each", best / u128::from(count.max(1)));
    digest.print("their revisions");
}

/// The same by a watch, which reads in chunks, each from a view of its own.
#[expect(clippy::disallowed_types, reason = "a benchmark looks at the clock on the wall")]
fn watch(bucket: &Bucket, what: &str) {
    let (mut count, mut best) = (0_u64, u128::MAX);
    for _ in 0..PASSES {
        count = 0;
        let options = WatchOptions::new().from_revision(Revision::from(2));
        let start = std::time::Instant::now();
        for event in bucket.watch_with(options).unwrap() {
            match event.unwrap() {
                Event::Entry(_) => count += 1,
                Event::UpToDate => break,
                _ => {}
            }
        }
        best = best.min(start.elapsed().as_nanos());
    }
    println!("{what:<58} {count:>9} entries {:>8} ns each", best / u128::from(count.max(1)));
}

/// So many keys, each `times` times, with a flush after each third, and a merge of everything if it is to be settled.
fn filled(store: &Store, keys: u64, times: u64, history: u8, settled: bool) -> Bucket {
    let bucket = workload::bucket(store, history);
    for number in 0..keys * times {
        bucket.put(key(number % keys), value(number, VALUE_LEN)).unwrap();
        if number % (keys * times).div_ceil(4) == 0 {
            store.flush().unwrap();
        }
    }
    if settled {
        store.flush().unwrap();
        store.merge_all().unwrap();
    }
    bucket
}

fn in_memory() {
    let entries = workload::size(ENTRIES);
    workload::announce("resuming from memory", entries, VALUE_LEN, "none");
    let store = Options::new().manual_jobs().sizes(1 << 30, 900 << 20, 8 << 10).in_memory().unwrap();
    let bucket = workload::bucket(&store, 1);
    workload::fill(&bucket, entries, 1, VALUE_LEN);
    resume(&bucket, "all, in one memtable", 0);
    watch(&bucket, "all but one, in one memtable, by a watch");
    resume(&bucket, "the last thousand", entries.saturating_sub(1_000));
    let store = Options::new().manual_jobs().sizes(1 << 30, 900 << 20, 8 << 10).in_memory().unwrap();
    let bucket = workload::bucket(&store, 5);
    workload::fill(&bucket, entries / 5, 5, VALUE_LEN);
    resume(&bucket, "all, in one memtable, five of each key", 0);
}

fn on_disk() {
    let entries = workload::size(ENTRIES);
    for (times, history, settled, what) in [
        (1, 1, true, "all, settled"),
        (1, 1, false, "all, 3 runs and a memtable"),
        (5, 1, false, "all, 3 runs and a memtable, one of five counts"),
        (5, 5, true, "all, settled, five of each key"),
        (5, 5, false, "all, 3 runs and a memtable, five of each key"),
    ] {
        workload::announce("resuming from files", entries / times, VALUE_LEN, "OsCache");
        let (_directory, store) = workload::store_on_disk(Durability::OsCache);
        let bucket = filled(&store, entries / times, times, history, settled);
        resume(&bucket, what, 0);
        watch(&bucket, &format!("{what}, by a watch"));
        resume(&bucket, "the last thousand", entries.saturating_sub(1_000));
        store.close().unwrap();
    }
}

fn main() {
    in_memory();
    on_disk();
}
