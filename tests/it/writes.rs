//! What the commit path does where several things meet: batches over expired keys, tickets, failed writes before a purge, many buckets.

use std::path::Path;

use annals::testing::disk::{Fault, Injection, SimDisk};
use annals::{BucketConfig, Durability, ErrorKind, Options, PutOptions, Revision};

use crate::fixture::{ms, on_each_store, tiny, ttl};

#[test]
fn a_batch_that_checks_a_key_before_it_writes_it_starts_a_new_life_after_expiry() {
    on_each_store(|store| {
        let bucket = store.bucket(BucketConfig::new("b").history(5));
        bucket.put("k", "old");
        bucket.handle().put_with("k", "short-lived", ttl(10)).unwrap();
        store.pass(ms(10));
        let handle = bucket.handle();
        store.store().batch().check(&handle, "k", Revision::NONE).put(&handle, "k", "new").commit().unwrap();
        drop(handle);
        store.checkpoint();
        assert_eq!(bucket.history("k"), "PUT 3", "nothing of the life before comes back");
    });
}

#[test]
fn a_batch_may_ask_twice_of_a_key_before_it_writes_it() {
    on_each_store(|store| {
        let bucket = store.bucket(BucketConfig::new("b"));
        bucket.put("k", "1");
        let handle = bucket.handle();
        let revision = Revision::from(1);
        store.store().batch().check(&handle, "k", revision).update(&handle, "k", "2", revision).commit().unwrap();
        drop(handle);
        store.checkpoint();
        assert_eq!(bucket.text("k").as_deref(), Some("2"));
    });
}

#[test]
fn a_purge_of_all_counts_the_revisions_that_failed_writes_have_burned() {
    let disk = SimDisk::new(7);
    let open = || Options::new().sizes(16 << 10, 4 << 10, 512).env(disk.env()).manual_jobs().open("/store").unwrap();
    let store = open();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    bucket.put("k", "1").unwrap();
    disk.inject(Injection { at: disk.calls() + 1, fault: Fault::Eio, sticky: false });
    assert_eq!(bucket.put("k", "2").unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(bucket.purge_all().unwrap(), Revision::from(2), "the failed write had been given a revision");
    drop((bucket, store));
    let store = open();
    let bucket = store.bucket("b").unwrap();
    assert!(bucket.get("k").unwrap().is_none());
    assert_eq!(bucket.put("k", "3").unwrap(), Revision::from(3));
}

#[test]
fn a_ticket_may_be_asked_again_and_its_write_happens_once() {
    on_each_store(|store| {
        let bucket = store.bucket(BucketConfig::new("b").history(5));
        let ticket = bucket.handle().submit("k", "1", PutOptions::new()).unwrap();
        assert_eq!(ticket.wait().unwrap(), ticket.wait().unwrap());
        assert_eq!(ticket.poll().unwrap().unwrap(), Revision::from(1));
        drop(ticket);
        drop(bucket.handle().submit("k", "2", PutOptions::new()).unwrap());
        bucket.put("last", "3");
        assert_eq!(bucket.history("k"), "PUT 1, PUT 2", "a ticket that is dropped leaves its write in line");
    });
}

#[test]
fn after_a_close_nothing_is_put_in_line_and_what_was_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    let store = Options::new().durability(Durability::OsCache).open(directory.path()).unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    let tickets: Vec<_> = (0..500).map(|number| bucket.submit(format!("k{number}"), "v", PutOptions::new()).unwrap()).collect();
    store.close().unwrap();
    for (number, ticket) in tickets.iter().enumerate() {
        assert_eq!(ticket.wait().unwrap(), Revision::from(number as u64 + 1));
    }
    assert_eq!(bucket.submit("late", "v", PutOptions::new()).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(bucket.put("late", "v").unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn tickets_and_closes_meet_without_anybody_waiting_for_ever() {
    for round in 0..30 {
        let store = Options::new().env(annals::testing::clock::ManualClock::new().env_in_memory()).open("/store").unwrap();
        let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
        std::thread::scope(|scope| {
            for writer in 0..3 {
                let bucket = &bucket;
                scope.spawn(move || {
                    for number in 0..1000 {
                        let Ok(ticket) = bucket.submit(format!("{writer}.{number}"), "v", PutOptions::new()) else { break };
                        // Whether it was committed or refused: it is answered.
                        let _ = ticket.wait();
                        let _ = bucket.put("attached", "v");
                    }
                });
            }
            for _ in 0..round * 10 {
                std::thread::yield_now();
            }
            store.close().unwrap();
        });
    }
}

#[test]
fn ten_thousand_small_buckets_are_all_there_after_a_flush_and_after_a_reopen() {
    let directory = tempfile::tempdir().unwrap();
    let open = |path: &Path| Options::new().durability(Durability::OsCache).open(path).unwrap();
    let store = open(directory.path());
    let count = 10_000;
    let buckets: Vec<_> =
        (0..count).map(|number| store.create_bucket(BucketConfig::new(format!("b{number}"))).unwrap()).collect();
    for key in 0..10 {
        for (number, bucket) in buckets.iter().enumerate() {
            assert_eq!(bucket.put(format!("k{key}"), format!("{number}.{key}")).unwrap(), Revision::from(key + 1));
        }
    }
    store.flush().unwrap();
    assert!(store.status().unwrap().segments <= 4, "few files: {:?}", store.status().unwrap());
    drop(buckets);
    store.close().unwrap();
    drop(store);

    let store = open(directory.path());
    assert_eq!(store.status().unwrap().buckets, count);
    for number in (0..count).step_by(7) {
        let bucket = store.bucket(format!("b{number}")).unwrap();
        assert_eq!(bucket.status().unwrap().values, 10);
        assert_eq!(bucket.get("k3").unwrap().unwrap(), *format!("{number}.3").as_bytes());
        assert_eq!(bucket.put("k3", "again").unwrap(), Revision::from(11));
    }
}

#[test]
fn a_batch_as_large_as_may_be_is_judged_against_a_limit_of_bytes() {
    let store = tiny().max_batch_operations(65_536).in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b").max_bytes(65_536 * 40)).unwrap();
    let commit = |len: usize, value: &str| {
        let mut batch = store.batch();
        (0..len).for_each(|number| _ = batch.put(&bucket, format!("{number:05}"), value));
        batch.commit()
    };
    // 5 + 3 + 32 bytes for each.
    assert_eq!(commit(65_536, "abc").unwrap().len(), 65_536);
    assert_eq!(commit(65_536, "xyz").unwrap().len(), 65_536, "what is pushed out makes room");
    assert_eq!(commit(65_536, "abcd").unwrap_err().kind(), ErrorKind::BucketFull);
    assert_eq!(bucket.status().unwrap().bytes, 65_536 * 40);
}
