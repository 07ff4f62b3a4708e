//! A watch falls behind beside commits, reads what it missed, and joins again; how far it says that it is.

use std::sync::atomic::{AtomicU64, Ordering};

use annals::{Bucket, Event, WatchOptions};
use shuttle::thread;

use crate::check;
use crate::program::{self, Watched};
use crate::validators::Ledger;

/// More than two lines hold.
const WRITES: u64 = 8;

/// What a watch has been given in the end, whose reader runs beside a writer; it is what it may be.
fn read_beside_writes(bucket: &Bucket, watched: Watched) -> Watched {
    let reader = thread::spawn(move || watched.to_end());
    let mut ledger = Ledger::default();
    (0..WRITES).for_each(|_| program::put(bucket, "a.1", &mut ledger));
    program::end(bucket, &mut ledger);
    let watched = reader.join().unwrap();
    watched.check(&ledger);
    watched
}

#[test]
fn a_watch_that_falls_behind_gets_each_once_where_history_is_kept() {
    check(|| {
        let (_store, bucket) = program::store(16);
        let watched = read_beside_writes(&bucket, Watched::new(&bucket, "a", WatchOptions::new().history(true)));
        assert_eq!(watched.revisions(), (1..=WRITES + 1).collect::<Vec<_>>());
    });
}

/// How often something was skipped, over all orders: not a part of what is scheduled.
static SKIPPED: AtomicU64 = AtomicU64::new(0);

#[test]
fn a_watch_that_falls_behind_is_told_what_it_may_have_missed() {
    check(|| {
        let (_store, bucket) = program::store(1);
        let mut watched = Watched::new(&bucket, "a", WatchOptions::new());
        watched.next();
        let watched = read_beside_writes(&bucket, watched);
        SKIPPED.fetch_add(WRITES + 1 - watched.revisions().len() as u64, Ordering::Relaxed);
    });
    assert!(SKIPPED.load(Ordering::Relaxed) > 0, "no watch fell behind");
}

/// Groups that are larger than a line, and such that fit.
#[test]
fn a_batch_comes_whole_whether_it_fits_or_not() {
    check(|| {
        let (store, bucket) = program::store(16);
        let watched = Watched::new(&bucket, "a", WatchOptions::new().history(true).progress(true));
        let writer = thread::spawn({
            let bucket = bucket.clone();
            move || {
                let mut ledger = Ledger::default();
                for keys in [&["a.1", "a.2"][..], &["a.1", "a.2", "a.3", "a.4"], &["a.2", "a.3"]] {
                    program::batch(&store, &bucket, keys, &mut ledger);
                }
                program::end(&bucket, &mut ledger);
                ledger
            }
        });
        let mut watched = watched;
        let firsts = [1, 3, 7];
        while watched.next() {
            // What is there of a batch is all there.
            let last = watched.revisions().last().copied().unwrap_or(0);
            if firsts.contains(&last) {
                watched.try_next().unwrap();
                assert_eq!(watched.revisions().last(), Some(&(last + 1)));
            }
        }
        let ledger = writer.join().unwrap();
        watched.check(&ledger);
        assert_eq!(watched.revisions(), (1..=9).collect::<Vec<_>>());
    });
}

#[test]
fn progress_is_never_ahead_of_what_was_given_nor_durable_ahead_of_the_log() {
    check(|| {
        let (store, bucket) = program::store(16);
        let mut watched = Watched::new(&bucket, "a", WatchOptions::new().progress(true));
        let writer = thread::spawn({
            let (store, bucket) = (store.clone(), bucket.clone());
            move || {
                let mut ledger = Ledger::default();
                for key in ["a.1", "b.1", "a.2", "b.2"] {
                    program::put(&bucket, key, &mut ledger);
                    if key == "b.1" {
                        store.sync().unwrap();
                    }
                }
                program::end(&bucket, &mut ledger);
                ledger
            }
        });
        loop {
            let event = watched.watch.next().unwrap().unwrap();
            watched.see(&event);
            match event {
                // The bucket is the first commit, and each entry one more.
                Event::Progress { durable, .. } if durable.get() > 0 => {
                    assert!(durable.get() < store.durable_commit().get(), "{durable:?}");
                }
                _ if watched.is_over() => break,
                _ => {}
            }
        }
        watched.check(&writer.join().unwrap());
    });
}
