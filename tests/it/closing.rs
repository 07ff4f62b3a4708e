//! How a store ends, what it leaves to others, and what happens behind its writers.

use std::thread;
use std::time::Duration;

use annals::{BucketConfig, Durability, ErrorKind, Options, Store};

#[test]
fn a_second_close_answers_what_the_first_did_and_waits_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Options::new().durability(Durability::OsCache).open(&path).unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    for number in 0..20_000 {
        bucket.put(format!("k{number}"), [7; 100]).unwrap();
    }
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                store.close().unwrap();
                // Whoever has been answered finds the lock free.
                drop(path.read_dir().unwrap());
            });
        }
    });
    assert_eq!(bucket.put("k", "v").unwrap_err().kind(), ErrorKind::Closed);
    let again = Store::open(&path).unwrap();
    assert!(again.recovery().clean, "{:?}", again.recovery());
    assert_eq!(again.bucket("b").unwrap().status().unwrap().live_keys, 20_000);
}

#[test]
fn files_that_only_look_like_the_stores_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    Store::open(&path).unwrap().close().unwrap();
    let names = ["000000012.seg", "12.wal", "00000012.seg.bak", "00000012.SEG", "+0000012.wal", "notes.txt"];
    for name in names {
        std::fs::write(path.join(name), "somebody's").unwrap();
    }
    // This one is named as ours are, and nothing refers to it.
    std::fs::write(path.join("00000012.seg"), "an orphan").unwrap();
    let store = Store::open(&path).unwrap();
    let mut foreign = store.recovery().foreign.clone();
    foreign.sort();
    let mut expected: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    expected.sort();
    assert_eq!(foreign, expected);
    assert_eq!(store.recovery().removed, ["00000012.seg"]);
    for name in names {
        assert_eq!(std::fs::read(path.join(name)).unwrap(), b"somebody's");
    }
    assert!(!path.join("00000012.seg").exists());
}

#[test]
fn below_sync_a_job_syncs_every_few_megabytes() {
    let directory = tempfile::tempdir().unwrap();
    let store = Options::new().durability(Durability::OsCache).open(directory.path().join("store")).unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    for number in 0..40 {
        bucket.put(format!("k{number}"), vec![7; 256 << 10]).unwrap();
    }
    // Ten megabytes were written and nobody called `sync`. The job has no deadline, so this waits for it, but not for ever.
    for _ in 0..1_000 {
        if store.durable_commit().get() > 20 {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("{:?}", store.status().unwrap());
}

#[test]
fn thousands_of_buckets_are_flushed_into_one_file_and_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Options::new().durability(Durability::OsCache).open(&path).unwrap();
    for number in 0..2_000 {
        let bucket = store.create_bucket(BucketConfig::new(format!("b{number}"))).unwrap();
        for key in ["x", "y", "z"] {
            bucket.put(key, number.to_string()).unwrap();
        }
    }
    store.flush().unwrap();
    assert_eq!(store.status().unwrap().segments, 1);
    store.delete_bucket("b7").unwrap();
    store.close().unwrap();
    let store = Store::open(&path).unwrap();
    assert_eq!(store.buckets().unwrap().len(), 1_999);
    assert_eq!(store.bucket("b7").unwrap_err().kind(), ErrorKind::BucketNotFound);
    assert_eq!(store.bucket("b1999").unwrap().get("z").unwrap().unwrap(), "1999");
    assert_eq!(store.verify().unwrap().entries, 6_000);
}
