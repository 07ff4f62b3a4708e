//! What a store takes on the disk, next to what lives in it: overwriting, expiry, deleted buckets, loads in order. Structures are tiny, so
//! that what takes gigabytes elsewhere takes kilobytes; merges happen when the test says so.

use std::sync::Arc;
use std::time::Duration;

use annals::testing::clock::ManualClock;
use annals::{Bucket, BucketConfig, Options, PutOptions, Store};

const SEGMENT_LEN: u64 = 16 << 10;
const KEYS: u64 = 3_000;

struct Bench {
    clock: Arc<ManualClock>,
    store: Store,
}

impl Bench {
    fn new() -> Self {
        let clock = ManualClock::new();
        let options = Options::new().env(clock.env_in_memory()).manual_jobs();
        let store = options.sizes(64 << 10, SEGMENT_LEN, 1024).segment_size(SEGMENT_LEN).open("/store").unwrap();
        Self { clock, store }
    }

    fn bucket(&self, name: &str) -> Bucket {
        self.store.create_bucket(BucketConfig::new(name)).unwrap()
    }

    /// All the background work that there is.
    fn settle(&self) {
        while self.store.step().unwrap() {}
    }

    fn bytes(&self) -> u64 {
        self.store.status().unwrap().segment_bytes
    }

    /// What is left if everything that does not count has gone.
    fn live_bytes(&self) -> u64 {
        self.store.compact().unwrap();
        self.settle();
        self.bytes()
    }
}

/// A number that looks like chance, the same in every run.
fn scatter(number: u64) -> u64 {
    let mixed = (number ^ (number >> 15)).wrapping_mul(0x2c1b_3c6d_0f4a_91d7);
    mixed ^ (mixed >> 29)
}

fn key(number: u64) -> String {
    format!("key.{number:08}")
}

#[test]
fn overwriting_a_set_ten_times_holds_little_more_than_the_set() {
    let bench = Bench::new();
    let bucket = bench.bucket("b");
    let value = [7; 80];
    for number in 0..KEYS {
        bucket.put(key(number), value).unwrap();
    }
    let live = bench.live_bytes();
    let mut most = 0;
    for number in 0..10 * KEYS {
        bucket.put(key(scatter(number) % KEYS), value).unwrap();
        if number % 20 == 0 {
            bench.settle();
            most = most.max(bench.bytes());
        }
    }
    println!("overwrite: {:.2} of what lives", most as f64 / live as f64);
    assert!(most <= live * 3 / 2, "{most} bytes for {live}");
    bench.store.verify().unwrap();
    for number in 0..KEYS {
        assert!(bucket.get(key(number)).unwrap().is_some());
    }
}

#[test]
fn what_expires_gives_its_space_back_while_others_are_written_and_when_nobody_writes() {
    let bench = Bench::new();
    let bucket = bench.bucket("b");
    let ttl = PutOptions::new().ttl(Duration::from_secs(KEYS));
    // One a second, each for as many seconds as there are to live at a time; ten times what lives.
    for number in 0..10 * KEYS {
        bucket.put_with(key(scatter(number)), [7; 80], ttl).unwrap();
        bench.clock.advance(Duration::from_secs(1));
        if number % 50 == 0 {
            bench.settle();
        }
    }
    bench.settle();
    let held = bench.bytes();
    let live = bench.live_bytes();
    println!("churn: {:.2} of what lives", held as f64 / live as f64);
    assert!(held <= live * 13 / 10, "{held} bytes for {live}");
    bench.clock.advance(Duration::from_secs(KEYS / 2));
    bench.settle();
    let held = bench.bytes();
    assert!(held <= live * 3 / 4, "half of it has expired, and {held} of {live} bytes are held");
    bench.clock.advance(Duration::from_secs(KEYS));
    bench.settle();
    assert_eq!(bench.store.status().unwrap().segments, 0, "nothing is left of what has expired");
}

/// With markers it takes a sweep first: what has expired stays until its marker is there, and the markers go when their time has come.
#[test]
fn what_has_expired_and_left_markers_gives_its_space_back_once_it_is_swept() {
    for age in [None, Some(Duration::from_secs(60))] {
        let bench = Bench::new();
        let config = BucketConfig::new("b").max_age(age).limit_markers(Duration::from_secs(60));
        let bucket = bench.store.create_bucket(config).unwrap();
        let options = PutOptions::new().ttl(if age.is_some() { None } else { Some(Duration::from_secs(60)) });
        for number in 0..KEYS {
            bucket.put_with(key(number), [7; 80], options).unwrap();
        }
        bench.settle();
        bench.store.flush().unwrap();
        let before = bench.bytes();
        bench.clock.advance(Duration::from_secs(60));
        bench.settle();
        assert!(bench.bytes() >= before, "nothing goes without its marker");
        bench.store.sweep().unwrap();
        assert_eq!(bucket.estimate().unwrap().last_revision.get(), 2 * KEYS);
        bench.store.flush().unwrap();
        bench.settle();
        let swept = bench.bytes();
        assert!(swept < before / 2, "{before} bytes became {swept}");
        bench.clock.advance(Duration::from_secs(60));
        bench.store.sweep().unwrap();
        bench.store.flush().unwrap();
        bench.settle();
        assert!(bench.bytes() < before / 20, "{before} bytes became {}", bench.bytes());
    }
}

#[test]
fn an_age_limit_gives_space_back_unread() {
    let bench = Bench::new();
    let bucket = bench.store.create_bucket(BucketConfig::new("b").max_age(Duration::from_secs(60))).unwrap();
    for number in 0..KEYS {
        bucket.put(key(number), [7; 80]).unwrap();
    }
    bench.store.flush().unwrap();
    bench.settle();
    assert!(bench.store.status().unwrap().segments > 3);
    bench.clock.advance(Duration::from_secs(61));
    bench.settle();
    assert_eq!(bench.store.status().unwrap().segments, 0);
    assert!(bucket.get(key(1)).unwrap().is_none());
}

#[test]
fn deleted_and_purged_buckets_give_their_space_back() {
    let bench = Bench::new();
    let [kept, purged, gone] = ["kept", "purged", "gone"].map(|name| bench.bucket(name));
    for number in 0..KEYS {
        for bucket in [&kept, &purged, &gone] {
            bucket.put(key(number), [7; 80]).unwrap();
        }
        if number % 100 == 0 {
            bench.settle();
        }
    }
    let all = bench.live_bytes();
    purged.purge_all().unwrap();
    bench.store.delete_bucket("gone").unwrap();
    purged.put("new", "1").unwrap();
    bench.store.flush().unwrap();
    bench.settle();
    let left = bench.bytes();
    assert!(left <= all * 2 / 5, "{left} of {all} bytes are left of a third");
    assert_eq!(kept.keys().unwrap().count() as u64, KEYS);
    assert_eq!(purged.keys().unwrap().count(), 1);
}

#[test]
fn a_load_in_order_is_one_run_of_files_that_are_full() {
    let bench = Bench::new();
    let bucket = bench.bucket("b");
    for number in 0..KEYS {
        bucket.put(key(number), [7; 80]).unwrap();
        if number % 20 == 0 {
            bench.settle();
        }
    }
    bench.store.flush().unwrap();
    bench.settle();
    let status = bench.store.status().unwrap();
    assert!(status.runs <= 2, "{status:?}");
    assert!(status.segments as u64 <= 4 * status.segment_bytes / SEGMENT_LEN, "{status:?}");
}

/// In files of a megabyte, as a store of ten times as much has them of ten.
#[test]
fn ten_thousand_buckets_of_ten_keys_lie_in_few_files_and_are_all_there_after_reopening() {
    const BUCKETS: u64 = 10_000;
    const FILE_LEN: u64 = 1 << 20;
    let env = ManualClock::new().env_in_memory();
    let open = || {
        let options = Options::new().env(env.clone()).manual_jobs().sizes(FILE_LEN, FILE_LEN, 4096);
        options.segment_size(FILE_LEN).open("/store").unwrap()
    };
    let value = |bucket: u64, key: u64| format!("{bucket}.{key}.{}", "v".repeat(100));
    let store = open();
    let mut raw = 0;
    for number in 0..BUCKETS {
        let bucket = store.create_bucket(BucketConfig::new(format!("bucket-{number}"))).unwrap();
        for at in 0..10 {
            raw += (key(at).len() + value(number, at).len()) as u64;
            bucket.put(key(at), value(number, at)).unwrap();
        }
        if number % 500 == 0 {
            while store.step().unwrap() {}
        }
    }
    store.flush().unwrap();
    while store.step().unwrap() {}
    let status = store.status().unwrap();
    println!("buckets: {:.2} of what was written in {} files", status.segment_bytes as f64 / raw as f64, status.segments);
    assert_eq!((status.buckets as u64, status.segment_entries), (BUCKETS, 10 * BUCKETS));
    assert!(status.segments as u64 <= 2 + 2 * status.segment_bytes / FILE_LEN, "{status:?}");
    // Blocks, directories and fences of sections of ten keys.
    assert!(status.segment_bytes <= raw * 5 / 4, "{} bytes for {raw}", status.segment_bytes);
    store.close().unwrap();
    let store = open();
    assert_eq!(store.buckets().unwrap().len() as u64, BUCKETS);
    for number in 0..BUCKETS {
        let bucket = store.bucket(format!("bucket-{number}")).unwrap();
        assert_eq!(bucket.keys().unwrap().count(), 10);
        for at in 0..10 {
            assert_eq!(bucket.get(key(at)).unwrap().as_deref(), Some(value(number, at).as_bytes()));
        }
    }
    store.verify().unwrap();
    store.close().unwrap();
}

#[test]
fn what_readers_hold_is_told_and_comes_back() {
    let bench = Bench::new();
    let bucket = bench.bucket("b");
    for number in 0..KEYS {
        bucket.put(key(number), [7; 80]).unwrap();
    }
    let live = bench.live_bytes();
    let mut keys = bucket.keys().unwrap();
    assert!(keys.next().is_some());
    assert_eq!(bench.store.status().unwrap().pinned_bytes, 0, "it is a part of the store still");
    bench.store.compact().unwrap();
    bench.settle();
    assert!(bench.store.status().unwrap().pinned_bytes >= live / 2);
    assert_eq!(keys.count() as u64, KEYS - 1);
    bench.settle();
    assert_eq!(bench.store.status().unwrap().pinned_bytes, 0);
}

/// Of half a year in nanoseconds, the last few are lost in a floating-point share.
#[test]
fn a_file_is_not_dropped_before_its_last_entry_has_aged() {
    const DAY: Duration = Duration::from_secs(86_400);
    let bench = Bench::new();
    let bucket = bench.store.create_bucket(BucketConfig::new("b").max_age(200 * DAY)).unwrap();
    bucket.put("a", "old").unwrap();
    bench.clock.advance(150 * DAY);
    bucket.put("b", "young").unwrap();
    bench.store.flush().unwrap();
    bench.clock.advance(200 * DAY - Duration::from_nanos(1));
    while bench.store.step().unwrap() {}
    assert_eq!(bucket.get("b").unwrap().unwrap(), *b"young");
    bench.clock.advance(Duration::from_nanos(1));
    assert_eq!(bucket.get("b").unwrap(), None);
}
