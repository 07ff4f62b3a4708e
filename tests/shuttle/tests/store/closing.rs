//! What is under way when a store is closed writes nothing into a directory that may be another's by then.

use std::sync::Arc;

use annals::testing::disk::SimDisk;
use annals::{BucketConfig, Durability, Store};
use shuttle::thread;

use crate::check;
use crate::program;

fn open(disk: &Arc<SimDisk>) -> Store {
    program::options().env(disk.env()).manual_jobs().durability(Durability::OsCache).open("/store").unwrap()
}

/// `work` in a thread of its own, beside a close of its store and the whole life of the next one.
fn close_beside(work: fn(&Store)) {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    for value in ["1", "2"] {
        bucket.put("a", value).unwrap();
        store.flush().unwrap();
    }
    bucket.put("a", "3").unwrap();
    let worker = thread::spawn({
        let store = store.clone();
        // Refused from the close on.
        move || work(&store)
    });
    store.close().unwrap();
    let next = open(&disk);
    next.bucket("b").unwrap().put("a", "4").unwrap();
    next.flush().unwrap();
    worker.join().unwrap();
    next.verify().unwrap();
    next.close().unwrap();
    let last = open(&disk);
    assert_eq!(last.bucket("b").unwrap().get("a").unwrap().unwrap(), *b"4");
}

#[test]
fn a_merge_beside_a_close_leaves_the_directory_to_the_next() {
    check(|| close_beside(|store| drop(store.compact())));
}

#[test]
fn a_flush_beside_a_close_leaves_the_directory_to_the_next() {
    check(|| close_beside(|store| drop(store.flush())));
}
