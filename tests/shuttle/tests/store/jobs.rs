//! A store with its own threads: flushes and merges take from under a watch what it reads, and detached writes are committed by a thread.

use annals::{BucketConfig, Options, PutOptions, WatchOptions};
use shuttle::thread;

use crate::check;
use crate::program::{self, Watched};
use crate::validators::Ledger;

#[test]
fn a_watch_beside_flushes_gets_each_once() {
    check(|| {
        let store = program::options().in_memory().unwrap();
        let bucket = store.create_bucket(BucketConfig::new("b").history(16)).unwrap();
        let watched = Watched::new(&bucket, "a", WatchOptions::new().history(true));
        let reader = thread::spawn(move || watched.to_end());
        let flusher = thread::spawn({
            let store = store.clone();
            move || store.flush().unwrap()
        });
        let mut ledger = Ledger::default();
        (0..6).for_each(|_| program::put(&bucket, "a.1", &mut ledger));
        program::end(&bucket, &mut ledger);
        flusher.join().unwrap();
        let watched = reader.join().unwrap();
        watched.check(&ledger);
        assert_eq!(watched.revisions(), (1..=7).collect::<Vec<_>>());
    });
}

/// Puts and detached writes beside a watch.
fn submit_beside_puts(options: Options) {
    let store = options.in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b").history(16)).unwrap();
    let watch = bucket.watch_with(WatchOptions::new().history(true)).unwrap();
    let reader = thread::spawn(move || {
        let entries = watch.map(Result::unwrap).filter_map(|event| event.entry().map(|entry| entry.revision().get()));
        entries.take(4).collect::<Vec<_>>()
    });
    let writer = thread::spawn({
        let bucket = bucket.clone();
        move || (0..2).for_each(|_| _ = bucket.put("a", "").unwrap())
    });
    let tickets = [0, 1].map(|_| bucket.submit("a", "", PutOptions::new()).unwrap());
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    writer.join().unwrap();
    assert_eq!(reader.join().unwrap(), [1, 2, 3, 4]);
    store.close().unwrap();
}

#[test]
fn writes_that_nobody_waits_for_are_told_by_the_committer() {
    check(|| submit_beside_puts(program::options()));
}

#[test]
fn writes_that_nobody_waits_for_are_told_by_whoever_leads_where_there_is_no_committer() {
    check(|| submit_beside_puts(program::options().manual_jobs()));
}
