//! Markers of expired keys in places where they have been forgotten: behind removed markers, in front of a sweep that is under way, before a
//! change of the bucket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals::testing::clock::ManualClock;
use annals::{Bucket, BucketConfig, Options, Store};

use crate::fixture::{ms, ttl};

fn open(options: Options) -> (Arc<ManualClock>, Store) {
    let clock = ManualClock::new();
    let store = options.env(clock.env_in_memory()).manual_jobs().open("/store").unwrap();
    (clock, store)
}

fn history(bucket: &Bucket, key: &str) -> String {
    let shown = |entry: annals::Entry| format!("{:?} {}", entry.operation(), entry.revision());
    bucket.history(key).unwrap().map(|entry| shown(entry.unwrap())).collect::<Vec<_>>().join(", ")
}

/// What `purge_deletes` leaves in a file has an old revision and a late time, so it lies out of order by age.
#[test]
fn a_removed_marker_in_a_file_keeps_no_key_from_its_own() {
    // All in one file, and `e` in another than `z`, which would move the cursor over it.
    for segment_size in [1 << 20, 1024] {
        let (clock, store) = open(Options::new().segment_size(segment_size));
        let bucket = store.create_bucket(BucketConfig::new("b").max_age(ms(10_000)).limit_markers(ms(5_000))).unwrap();
        bucket.put("x", "in an older run").unwrap();
        store.flush().unwrap();
        bucket.delete("d").unwrap();
        bucket.put("e", vec![7; 5_000]).unwrap();
        bucket.put("z", "value").unwrap();
        clock.advance(ms(9_000));
        assert_eq!(bucket.purge_deletes(Duration::ZERO).unwrap(), 1);
        store.flush().unwrap();
        clock.advance(ms(1_000));
        store.sweep().unwrap();
        let found = ["x", "e", "z"].map(|key| history(&bucket, key));
        assert_eq!(found, ["Purge 5", "Purge 6", "Purge 7"], "files of {segment_size} bytes");
    }
}

/// What a lowered limit of age makes due while a sweep is under way may lie in front of where that is.
#[test]
fn a_sweep_that_is_under_way_goes_over_nothing_that_becomes_due_meanwhile() {
    let mut changed_meanwhile = 0;
    for _ in 0..5 {
        let (clock, store) = open(Options::new().max_batch_operations(65_536));
        let config = |age| BucketConfig::new("b").max_age(ms(age)).limit_markers(ms(5_000));
        let bucket = store.create_bucket(config(1_000_000)).unwrap();
        let other = store.create_bucket(BucketConfig::new("other").limit_markers(ms(5_000))).unwrap();
        bucket.put("first", "value").unwrap();
        let mut batch = store.batch();
        for key in 0..20_000 {
            batch.put_with(&other, format!("k{key}"), "value", ttl(180_000));
        }
        batch.commit().unwrap();
        clock.advance(ms(31_000));
        bucket.put("second", "value").unwrap();
        clock.advance(ms(169_000));
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                store.sweep().unwrap();
                is_done.store(true, Ordering::SeqCst);
            });
            while history(&other, "k0").is_empty() {
                std::thread::yield_now();
            }
            // By this, they have expired before and after those of the other bucket.
            store.update_bucket(config(150_000)).unwrap();
            changed_meanwhile += u32::from(!is_done.load(Ordering::SeqCst));
        });
        store.sweep().unwrap();
        let (first, second) = (history(&bucket, "first"), history(&bucket, "second"));
        assert!(first.starts_with("Purge") && second.starts_with("Purge"), "{first}; {second}");
    }
    assert!(changed_meanwhile > 0);
}

/// Time passes at any reading of the clock while a bucket is changed: whatever that makes due has a marker before the change.
#[test]
fn a_change_of_a_bucket_leaves_nothing_due_behind_whether_its_size_is_known_or_not() {
    for bytes in [None, Some(1_000_000)] {
        for reading in 1..20 {
            let (clock, store) = open(Options::new());
            let config = |age| BucketConfig::new("b").limit_markers(ms(5_000)).max_bytes(bytes).max_age(ms(age));
            let bucket = store.create_bucket(config(10_000)).unwrap();
            bucket.put("k", "value").unwrap();
            // Its size is not known from here on.
            store.update_bucket(config(10_000).history(2)).unwrap();
            let hand = Arc::clone(&clock);
            clock.act_at_reading(reading, move || hand.advance(ms(10_000)));
            store.update_bucket(config(100_000).history(2)).unwrap();
            let has_passed = !clock.forget_act();
            store.sweep().unwrap();
            let (value, found) = (bucket.get("k").unwrap(), history(&bucket, "k"));
            assert!(value.is_some() || found.starts_with("Purge"), "{found} at reading {reading}, {bytes:?}");
            if !has_passed {
                assert!(reading > 2, "it passes in the middle");
                break;
            }
        }
    }
}

/// A writer that has read the clock just before a deadline, and finds what a merge has made of the entry just after it.
#[test]
fn what_a_merge_found_expired_brings_nothing_older_back_for_a_writer_whose_time_is_earlier() {
    for merges in [false, true] {
        for reading in 1..3 {
            let (clock, store) = open(Options::new());
            let bucket = store.create_bucket(BucketConfig::new("b").history(5)).unwrap();
            bucket.put("k", "old").unwrap();
            bucket.put_with("k", "lease", ttl(10_000)).unwrap();
            store.flush().unwrap();
            clock.advance(Duration::from_nanos(9_999_999_999));
            let (hand, held) = (Arc::clone(&clock), store.clone());
            clock.act_at_reading(reading, move || {
                hand.advance(Duration::from_nanos(1));
                assert_eq!(history(&held.bucket("b").unwrap(), "k"), "", "its time is over");
                if merges {
                    held.merge_all().unwrap();
                }
            });
            bucket.put("k", "new").unwrap();
            assert!(!clock.forget_act());
            assert_eq!(history(&bucket, "k"), "Put 3", "reading {reading}, merges: {merges}");
        }
    }
}
