//! What a watch holds on to while nobody reads it: no memtable and no file.
//!
//! Chunks have four entries here.

use std::path::Path;

use annals::{Bucket, BucketConfig, Event, Revision, Watch, WatchOptions};

use crate::catch_up::{fill, revisions, settle, store, take};
use crate::files::fast_directory;
use crate::fixture::tiny;

/// One that began in each way, over 400 keys of which the first 100 are known to the last two: live once, or gone on from a token.
fn watches(bucket: &Bucket) -> Vec<(&'static str, Watch)> {
    fill(bucket, 100);
    let mut lags = bucket.watch(">").unwrap();
    while lags.try_next().unwrap().is_some() {}
    let token = lags.token();
    for _ in 0..4 {
        // More than a line holds.
        fill(bucket, 400);
    }
    let with = |options: WatchOptions| bucket.watch_with(options).unwrap();
    vec![
        ("state", bucket.watch(">").unwrap()),
        ("history", with(WatchOptions::new().history(true))),
        ("from a revision", with(WatchOptions::new().from_revision(Revision::from(100)))),
        ("after a token", with(WatchOptions::new().after(token))),
        ("behind", lags),
    ]
}

#[test]
fn a_reader_that_pauses_keeps_no_memtable_and_no_file() {
    let (store, bucket) = store(2);
    for (what, mut watch) in watches(&bucket) {
        settle(&store);
        fill(&bucket, 50);
        assert_eq!(revisions(&take(&mut watch, 5)).len(), 5 - usize::from(what == "behind"), "{what}");
        fill(&bucket, 400);
        settle(&store);
        assert_eq!(store.status().unwrap().pinned_bytes, 0, "{what}");
        drop(watch);
    }
    let mut list = bucket.changes_since(Revision::NONE).unwrap();
    list.next().unwrap().unwrap();
    fill(&bucket, 400);
    settle(&store);
    assert!(store.status().unwrap().pinned_bytes > 0, "a list shows one moment, so it pins");
}

#[test]
fn a_watch_that_nobody_reads_keeps_nothing() {
    let (store, bucket) = store(2);
    let watches = watches(&bucket);
    settle(&store);
    fill(&bucket, 400);
    settle(&store);
    assert_eq!(store.status().unwrap().pinned_bytes, 0);
    drop(watches);
}

#[test]
fn large_values_that_wait_keep_no_file() {
    let (store, bucket) = store(1);
    for number in 0..20 {
        bucket.put(format!("k{number}"), vec![number; 3_000]).unwrap();
    }
    settle(&store);
    let mut watch = bucket.watch(">").unwrap();
    let first = watch.try_next().unwrap();
    drop(first);
    let mut rest: Vec<Event> = Vec::new();
    for number in 0..20 {
        bucket.put(format!("other{number}"), vec![number; 3_000]).unwrap();
        rest.extend(watch.try_next().unwrap());
        settle(&store);
    }
    let values: Vec<u8> = rest.iter().filter_map(Event::entry).map(|entry| entry.value()[0]).collect();
    assert_eq!(values[..19], (1..20).collect::<Vec<u8>>());
}

/// What is left of batches may not tell where they ended: other keys are not given, and a key that is written by each is replaced.
#[test]
fn batches_whose_last_key_is_not_given_hold_on_to_nothing() {
    for last in [Some("b"), Some("counter"), None] {
        for (what, options) in [
            ("state", WatchOptions::new()),
            ("history", WatchOptions::new().history(true)),
            ("from a revision", WatchOptions::new().from_revision(Revision::from(2))),
            ("behind", WatchOptions::new().updates_only(true)),
        ] {
            let (store, bucket) = store(2);
            let write = |count: u32| {
                for number in 0..count {
                    let mut batch = store.batch();
                    batch.put(&bucket, format!("a.{number}"), "value");
                    match last {
                        Some("b") => batch.put(&bucket, format!("b.{number}"), "value"),
                        Some(counter) => batch.put(&bucket, counter, number.to_be_bytes()),
                        None => batch.put(&bucket, "a.counter", number.to_be_bytes()),
                    };
                    batch.commit().unwrap();
                }
            };
            write(if what == "behind" { 1 } else { 200 });
            let mut watch = bucket.watch_with(options.filter("a.>")).unwrap();
            if what == "behind" {
                assert_eq!(take(&mut watch, 1), [Event::UpToDate]);
                write(1_500);
            }
            settle(&store);
            assert_eq!(take(&mut watch, 20).len(), 20);
            write(200);
            settle(&store);
            assert_eq!(store.status().unwrap().pinned_bytes, 0, "{what}, {last:?}");
        }
    }
}

/// How many files of a directory are mapped that are there no more.
fn deleted_maps(directory: &Path) -> usize {
    let directory = directory.canonicalize().unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains(directory.to_str().unwrap()) && line.ends_with("(deleted)")).count()
}

#[test]
fn what_waits_of_the_last_chunk_or_behind_a_word_keeps_no_map() {
    let directory = fast_directory();
    for (what, keys, lags) in [("one chunk", 3_u64, false), ("more chunks", 40, false), ("behind a word", 40, true)] {
        let store = tiny().manual_jobs().open(directory.path().join(what)).unwrap();
        let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
        let write = |rounds: u64| {
            for number in 0..rounds * keys {
                bucket.put(format!("k{}", number % keys), vec![number as u8; 3_000]).unwrap();
            }
            settle(&store);
        };
        let mut watch = bucket.watch_with(WatchOptions::new().updates_only(lags)).unwrap();
        if lags {
            assert_eq!(take(&mut watch, 1), [Event::UpToDate]);
        }
        write(5);
        let first = take(&mut watch, 1);
        assert_eq!(matches!(first[..], [Event::Skipped { .. }]), lags, "{first:?}");
        drop(first);
        write(1);
        assert_eq!(deleted_maps(directory.path()), 0, "{what}");
        // What waited, or what replaced it.
        assert!(revisions(&take(&mut watch, usize::MAX)).len() as u64 >= keys - u64::from(!lags), "{what}");
    }
}
