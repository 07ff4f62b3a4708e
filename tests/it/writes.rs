//! What the commit path does where several things meet: batches over expired keys, tickets, failed writes before a purge, many buckets.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use annals::testing::disk::{Fault, Injection, SimDisk};
use annals::{BucketConfig, Durability, ErrorKind, Options, Outcome, PutOptions, Revision, Store};

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

#[test]
fn submit_tells_at_once_what_can_be_told_whatever_the_limits_of_the_bucket() {
    let store = Store::in_memory().unwrap();
    for limit in [None, Some(1_000)] {
        let config = BucketConfig::new(format!("b{}", limit.is_some())).max_value_size(10).max_bytes(limit);
        let bucket = store.create_bucket(config).unwrap();
        let refused = bucket.submit("k", "longer than ten", PutOptions::new());
        assert_eq!(refused.map(drop).unwrap_err().kind(), ErrorKind::ValueTooLarge, "limit {limit:?}");
    }
}

/// Whatever fails in a flush that makes room, the write behind it was not tried.
#[test]
fn a_write_that_found_no_room_was_not_applied() {
    let value = vec![7; 1_000];
    let (mut refused, mut at) = (0, usize::MAX);
    for ahead in 0..60 {
        let disk = SimDisk::new(1);
        let options = Options::new().sizes(64 << 10, 16 << 10, 512).memory_budget(64 << 10).env(disk.env()).manual_jobs();
        let store = options.open("/store").unwrap();
        let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
        let put = |number: usize| bucket.put(format!("k{number}"), &value);
        if ahead == 0 {
            // Which one flushes.
            at = (0..1_000).find(|number| put(*number).is_ok() && store.status().unwrap().segments > 0).unwrap();
            continue;
        }
        (0..at).for_each(|number| assert!(put(number).is_ok()));
        let before = store.status().unwrap().last_commit;
        disk.inject(Injection { at: disk.calls() + ahead, fault: Fault::SyncFailKeepsCache, sticky: false });
        if let Err(error) = put(at) {
            let is_log = error.to_string().contains("sync the log");
            refused += u32::from(!is_log);
            assert_eq!(error.outcome() == Outcome::NotApplied, !is_log, "{error:?}");
            assert_eq!(store.status().unwrap().last_commit, before);
        }
    }
    assert!(refused > 0);
}

#[test]
fn no_value_over_a_limit_is_committed_after_that_was_lowered() {
    let store = Options::new().max_value_size(64 << 20).memory_budget(1 << 30).in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    let value = vec![7; 32 << 20];
    for round in 0..4 {
        store.update_bucket(BucketConfig::new("b")).unwrap();
        let (starts, started) = mpsc::channel();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                starts.send(()).unwrap();
                bucket.put("k", &value)
            });
            started.recv().unwrap();
            std::thread::sleep(Duration::from_micros(500 * round));
            store.update_bucket(BucketConfig::new("b").max_value_size(10)).unwrap();
            let last = bucket.estimate().unwrap().last_revision;
            match writer.join().unwrap() {
                Ok(revision) => assert!(revision <= last, "revision {revision} after {last}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::ValueTooLarge),
            }
        });
    }
}
