//! More watches than a leader serves itself (here: than one), in a store with threads: what concerns several goes to the dispatcher, whose
//! inbox holds three events.

use annals::{Bucket, BucketConfig, ErrorKind, Store, WatchOptions};
use shuttle::thread;

use crate::check;
use crate::program::{self, Watched};
use crate::validators::Ledger;

fn store() -> (Store, Bucket) {
    let store = program::options().in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b").history(16)).unwrap();
    (store, bucket)
}

/// From what one watch gets to what all get and back: the order stays, and nobody loses anything, whether inbox and lines hold it or not.
#[test]
fn what_leaders_tell_and_what_the_dispatcher_tells_comes_once_and_in_order() {
    check(|| {
        let (store, bucket) = store();
        let options = || WatchOptions::new().history(true).progress(true);
        let readers = ["", "a", "a"].map(|prefix| {
            let watched = Watched::new(&bucket, prefix, options());
            thread::spawn(move || watched.to_end())
        });
        let mut ledger = Ledger::default();
        for key in ["b.1", "a.1", "b.2", "a.2"] {
            program::put(&bucket, key, &mut ledger);
        }
        program::batch(&store, &bucket, &["a.1", "b.1"], &mut ledger);
        program::end(&bucket, &mut ledger);
        for (reader, wanted) in readers.into_iter().zip([&[1, 2, 3, 4, 5, 6, 7][..], &[2, 4, 5, 7], &[2, 4, 5, 7]]) {
            let watched = reader.join().unwrap();
            watched.check(&ledger);
            assert_eq!(watched.revisions(), wanted);
        }
    });
}

#[test]
fn a_watch_that_begins_beside_what_the_dispatcher_tells_gets_each_once() {
    check(|| {
        let (_store, bucket) = store();
        let early = ["a", "a"].map(|prefix| Watched::new(&bucket, prefix, WatchOptions::new().history(true)));
        let writer = thread::spawn({
            let bucket = bucket.clone();
            move || {
                let mut ledger = Ledger::default();
                (0..3).for_each(|_| program::put(&bucket, "a.1", &mut ledger));
                program::purge_all(&bucket, &mut ledger);
                program::put(&bucket, "a.1", &mut ledger);
                ledger
            }
        });
        let late = Watched::new(&bucket, "a", WatchOptions::new().progress(true));
        let late = thread::spawn(move || late.to_end());
        let early = early.map(|watched| thread::spawn(move || watched.to_end()));
        let mut ledger = writer.join().unwrap();
        program::end(&bucket, &mut ledger);
        for reader in early.into_iter().chain([late]) {
            reader.join().unwrap().check(&ledger);
        }
    });
}

/// What was committed before the end comes before it, from the dispatcher too; and the end comes.
#[test]
fn the_end_of_a_store_comes_to_all_and_after_what_was_committed() {
    check(|| {
        let (store, bucket) = store();
        let readers = [(); 3].map(|()| {
            let watch = bucket.watch_with(WatchOptions::new().history(true)).unwrap();
            thread::spawn(move || {
                let mut revisions = Vec::new();
                for item in watch {
                    match item {
                        Ok(event) => revisions.extend(event.entry().map(|entry| entry.revision().get())),
                        Err(error) => return (revisions, error.kind()),
                    }
                }
                unreachable!("nobody stops it");
            })
        });
        (0..2).for_each(|_| _ = bucket.put("a", "").unwrap());
        let closer = thread::spawn(move || store.close().unwrap());
        closer.join().unwrap();
        for reader in readers {
            let (revisions, kind) = reader.join().unwrap();
            assert_eq!(kind, ErrorKind::Closed);
            assert_eq!(revisions, (1..=revisions.len() as u64).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_bucket_that_is_deleted_ends_all_its_watches() {
    check(|| {
        let (store, bucket) = store();
        let readers = [(); 3].map(|()| {
            let watch = bucket.watch(">").unwrap();
            thread::spawn(move || watch.last().unwrap().unwrap_err().kind())
        });
        (0..2).for_each(|_| _ = bucket.put("a", "").unwrap());
        store.delete_bucket("b").unwrap();
        for reader in readers {
            assert_eq!(reader.join().unwrap(), ErrorKind::BucketNotFound);
        }
    });
}
