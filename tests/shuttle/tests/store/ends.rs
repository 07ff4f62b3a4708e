//! Whoever waits for a watch hears of every end, whatever happens beside it.

use annals::testing::disk::{Fault, Injection, SimDisk};
use annals::{Bucket, BucketConfig, Durability, ErrorKind, Store, Watch, WatchOptions};
use shuttle::thread;

use crate::check;
use crate::program;

/// Reads a watch in a thread of its own while another writes twice and `end` happens; answers with the error that ended it, if one did.
fn end_beside(end: impl FnOnce(Store, Bucket, &Watch) -> thread::JoinHandle<()>) -> Option<ErrorKind> {
    let (store, bucket) = program::store(1);
    let watch = bucket.watch(">").unwrap();
    let writer = thread::spawn({
        let bucket = bucket.clone();
        // Refused from the end on.
        move || (0..2).for_each(|_| drop(bucket.put("a", "")))
    });
    let ender = end(store, bucket, &watch);
    let reader = thread::spawn(move || {
        let mut watch = watch;
        let last = watch.by_ref().last().expect("the end of the state comes at least, or an error");
        assert!(watch.next().is_none(), "nothing comes after the end");
        last.err().map(|error| error.kind())
    });
    writer.join().unwrap();
    ender.join().unwrap();
    reader.join().unwrap()
}

#[test]
fn a_bucket_that_is_deleted_ends_its_watches() {
    check(|| {
        let kind = end_beside(|store, bucket, _| {
            drop(bucket);
            thread::spawn(move || store.delete_bucket("b").unwrap())
        });
        // The last handle may be gone before the watch hears of the bucket.
        assert!(matches!(kind, Some(ErrorKind::BucketNotFound | ErrorKind::Closed)), "{kind:?}");
    });
}

#[test]
fn a_store_that_is_closed_ends_its_watches() {
    check(|| {
        let kind = end_beside(|store, _, _| thread::spawn(move || store.close().unwrap()));
        assert_eq!(kind, Some(ErrorKind::Closed));
    });
}

#[test]
fn a_store_whose_last_handle_is_dropped_ends_its_watches() {
    check(|| {
        let kind = end_beside(|store, bucket, _| thread::spawn(move || drop((store, bucket))));
        assert_eq!(kind, Some(ErrorKind::Closed));
    });
}

#[test]
fn a_store_whose_log_cannot_be_synced_ends_its_watches() {
    check(|| {
        let disk = SimDisk::new(1);
        let options = program::options().env(disk.env()).manual_jobs().durability(Durability::OsCache);
        let store = options.open("/store").unwrap();
        let bucket = store.create_bucket(BucketConfig::new("b").history(16)).unwrap();
        let watch = bucket.watch_with(WatchOptions::new().history(true)).unwrap();
        let reader = thread::spawn(move || {
            let items: Vec<_> = watch.collect();
            let entries = items.iter().flatten().filter_map(|event| event.entry().map(|entry| entry.revision().get()));
            (entries.collect::<Vec<_>>(), items.last().unwrap().as_ref().unwrap_err().kind())
        });
        for next in 1..40 {
            disk.inject(Injection { at: disk.calls() + next, fault: Fault::SyncFailOnce, sticky: false });
        }
        let syncer = thread::spawn({
            let store = store.clone();
            move || store.sync().unwrap_err()
        });
        let written = (0..2).filter_map(|_| bucket.put("a", "").ok()).count() as u64;
        syncer.join().unwrap();
        let (seen, kind) = reader.join().unwrap();
        assert_eq!(kind, ErrorKind::Poisoned);
        // A commit that is under way when the sync fails may come too late for the watch, which its token then goes on with.
        assert!(seen.len() as u64 <= written && seen == (1..=seen.len() as u64).collect::<Vec<_>>(), "{seen:?} of {written}");
    });
}

#[test]
fn a_watch_that_is_stopped_from_elsewhere_ends() {
    check(|| {
        let (_store, bucket) = program::store(1);
        let mut watch = bucket.watch(">").unwrap();
        watch.next().unwrap().unwrap();
        let stopper = watch.stopper();
        let reader = thread::spawn(move || watch.by_ref().inspect(|item| assert!(item.is_ok())).count());
        let stopper = thread::spawn(move || stopper.stop());
        bucket.put("a", "").unwrap();
        stopper.join().unwrap();
        assert!(reader.join().unwrap() <= 1);
    });
}

/// Everything at once, and nobody waits for ever.
#[test]
fn several_ends_at_once_end_all_watches() {
    check(|| {
        let (store, bucket) = program::store(1);
        let watches = [bucket.watch("a").unwrap(), bucket.watch(">").unwrap()];
        let stopper = watches[0].stopper();
        let readers = watches.map(|watch| thread::spawn(move || watch.last().is_some()));
        let deleter = thread::spawn({
            let store = store.clone();
            move || drop(store.delete_bucket("b"))
        });
        let closer = thread::spawn(move || store.close().unwrap());
        stopper.stop();
        drop(bucket.put("a", ""));
        for reader in readers {
            reader.join().unwrap();
        }
        deleter.join().unwrap();
        closer.join().unwrap();
    });
}
