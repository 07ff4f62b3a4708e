//! Markers of expiry: which keys leave one, with which revision, and that a write never comes before the marker that is due.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use annals::{BucketConfig, ErrorKind, KeysOptions, Operation, Options, PutOptions, Reason, Revision, Store};

use crate::fixture::{Fixture, Probe, ms, on_each_store, on_every_schedule, refused, ttl};

/// Depth 5; markers live for a minute.
fn marked() -> BucketConfig {
    BucketConfig::new("b").history(5).limit_markers(ms(60_000))
}

/// The revisions of the entries that say that their key has expired.
fn expired(bucket: &Probe<'_>, pattern: &str) -> Vec<u64> {
    let entries = bucket.entries(pattern);
    entries.iter().filter(|entry| entry.reason() == Reason::Expired).map(|entry| entry.revision().get()).collect()
}

/// Nothing is due any more.
fn assert_swept(store: &Fixture, bucket: &Probe<'_>) {
    let before = bucket.last();
    store.store().sweep().unwrap();
    assert_eq!(bucket.last(), before, "something was still to be swept");
}

#[test]
fn a_key_that_expires_leaves_one_marker_with_a_revision_of_its_own() {
    on_every_schedule(4, |store| {
        let bucket = store.bucket(marked());
        bucket.handle().put("k", "1").unwrap();
        bucket.put_with("k", "2", ttl(1000));
        store.pass(ms(1000));
        bucket.assert_nothing_at("k");
        assert_eq!(bucket.last(), 2);
        store.sweep();
        assert_eq!(bucket.history("k"), "PURGE 3");
        let marker = bucket.entry("k").unwrap();
        assert_eq!((marker.operation(), marker.reason(), marker.value().len()), (Operation::Purge, Reason::Expired, 0));
        assert_eq!((bucket.get("k"), bucket.keys().as_str()), (None, ""));
        assert_eq!(bucket.keys_with(KeysOptions::new().markers(true)), "k");
        store.pass(ms(1));
        assert_swept(store, &bucket);
        assert_eq!(bucket.last(), 3);
    });
}

#[test]
fn markers_come_in_the_order_in_which_keys_expire_and_of_one_moment_in_the_order_of_revisions() {
    on_every_schedule(3, |store| {
        let bucket = store.bucket(marked());
        for (key, span) in [("a", 300), ("b", 100), ("c", 200), ("d", 200)] {
            bucket.handle().put_with(key, "value", ttl(span)).unwrap();
        }
        store.checkpoint();
        store.pass(ms(500));
        store.sweep();
        assert_eq!(bucket.order(">"), "b5 c6 d7 a8");
        assert_swept(store, &bucket);
    });
}

#[test]
fn a_marker_lives_for_its_own_time_and_leaves_none() {
    on_every_schedule(4, |store| {
        let bucket = store.bucket(marked().limit_markers(ms(500)));
        bucket.put_with("k", "value", ttl(100));
        store.pass(ms(200));
        store.sweep();
        assert_eq!(bucket.history("k"), "PURGE 2");
        // Until 500 ms after it was committed.
        store.pass(ms(500) - Duration::from_nanos(1));
        assert_eq!(bucket.history("k"), "PURGE 2");
        store.pass(Duration::from_nanos(1));
        bucket.assert_nothing_at("k");
        store.store().sweep().unwrap();
        assert_eq!(bucket.last(), 2);
        assert_eq!(bucket.update("k", "new", 0), 3);
        assert_eq!(bucket.history("k"), "PUT 3");
    });
}

#[test]
fn the_age_limit_bounds_the_life_of_a_marker() {
    on_each_store(|store| {
        let bucket = store.bucket(marked().max_age(ms(1000)));
        bucket.put("k", "value");
        store.pass(ms(1000));
        store.sweep();
        assert_eq!(bucket.history("k"), "PURGE 2");
        store.pass(ms(1000));
        bucket.assert_nothing_at("k");
        store.sweep();
        assert_eq!(bucket.last(), 2);
    });
}

#[test]
fn a_delete_marker_that_ages_leaves_a_marker_and_a_purge_marker_leaves_none() {
    on_every_schedule(4, |store| {
        let bucket = store.bucket(marked().max_age(ms(1000)));
        bucket.handle().put("deleted", "value").unwrap();
        bucket.handle().delete("deleted").unwrap();
        bucket.purge("purged");
        bucket.purge_with("leased", ttl(500));
        store.pass(ms(1000));
        store.sweep();
        assert_eq!(bucket.history(">"), "PURGE 5");
        assert_eq!((bucket.history("deleted").as_str(), expired(&bucket, "deleted")), ("PURGE 5", vec![5]));
        assert_swept(store, &bucket);
    });
}

#[test]
fn what_newer_entries_have_superseded_expires_without_a_word() {
    on_every_schedule(4, |store| {
        let bucket = store.bucket(marked());
        bucket.put_with("k", "1", ttl(100));
        bucket.put("k", "2");
        store.pass(ms(100));
        store.sweep();
        assert_eq!(bucket.history("k"), "PUT 2");
        assert_eq!(bucket.last(), 2);
    });
}

#[test]
fn a_write_over_an_expired_key_comes_after_its_marker() {
    on_every_schedule(3, |store| {
        let bucket = store.bucket(marked());
        for key in ["put", "create", "delete", "purge", "update", "ticket", "touch", "batch", "lease"] {
            bucket.handle().put_with(key, "value", ttl(1000)).unwrap();
        }
        store.checkpoint();
        store.pass(ms(1000));
        assert_eq!(bucket.put("put", "new"), 11);
        assert_eq!(bucket.history("put"), "PURGE 10, PUT 11");
        assert_eq!(bucket.handle().create("create", "new").unwrap().get(), 13);
        assert_eq!(bucket.history("create"), "PURGE 12, PUT 13");
        assert_eq!(bucket.handle().delete("delete").unwrap().get(), 15);
        assert_eq!(bucket.history("delete"), "PURGE 14, DEL 15");
        assert_eq!(bucket.handle().purge("purge").unwrap().get(), 17);
        assert_eq!(bucket.history("purge"), "PURGE 17");
        // One that fails has a marker in front of it, too; and so has one that names that marker by chance.
        let error = bucket.handle().update("update", "new", 5.into()).unwrap_err();
        assert_eq!((error.kind(), error.actual_revision()), (ErrorKind::WrongRevision, Some(Revision::from(18))));
        assert_eq!((bucket.history("update").as_str(), bucket.last()), ("PURGE 18", 18));
        let ticket = bucket.handle().submit("ticket", "new", PutOptions::new()).unwrap();
        assert_eq!(ticket.wait().unwrap().get(), 20);
        assert_eq!(bucket.history("ticket"), "PURGE 19, PUT 20");
        // There is nothing to be touched, so nothing is written.
        assert_eq!(bucket.handle().touch("touch", ttl(5000)).unwrap(), None);
        assert_eq!(bucket.last(), 20);
        let answer = store.batch(|batch| {
            batch.put(&bucket.handle(), "other", "value");
            batch.check(&bucket.handle(), "batch", Revision::NONE);
        });
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::WrongRevision);
        assert_eq!((bucket.history("batch").as_str(), bucket.last()), ("PURGE 21", 21));
        store.sweep();
        assert_eq!((bucket.history("touch").as_str(), bucket.history("lease").as_str()), ("PURGE 22", "PURGE 23"));
        assert_swept(store, &bucket);
    });
}

#[test]
fn a_batch_over_expired_keys_comes_after_all_their_markers() {
    on_every_schedule(2, |store| {
        let (one, other) = (store.bucket(marked()), store.bucket(BucketConfig::new("other").limit_markers(ms(500))));
        for key in ["a", "b"] {
            one.handle().put_with(key, "value", ttl(100)).unwrap();
            other.handle().put_with(key, "value", ttl(100)).unwrap();
        }
        store.pass(ms(100));
        let answer = store.batch(|batch| {
            batch.put(&one.handle(), "b", "new");
            batch.put(&other.handle(), "a", "new");
            batch.delete(&one.handle(), "b", Revision::NONE);
            batch.create(&one.handle(), "a", "new");
        });
        assert_eq!(answer.unwrap(), [5, 4, 6, 7]);
        assert_eq!((one.order(">").as_str(), other.order(">").as_str()), ("b3 a4 b5 b6 a7", "a4"));
    });
}

#[test]
fn a_lease_that_is_taken_again_over_its_marker_expires_again() {
    on_every_schedule(4, |store| {
        let bucket = store.bucket(marked());
        bucket.create_with("lock", "me", ttl(1000));
        store.pass(ms(1000));
        assert_eq!(bucket.create_with("lock", "you", ttl(1000)), 3);
        assert_eq!(bucket.refusal(|bucket| bucket.create("lock", "them")), refused(ErrorKind::AlreadyExists, 3));
        store.pass(ms(1000));
        store.sweep();
        assert_eq!(bucket.history("lock"), "PURGE 4");
        assert_swept(store, &bucket);
    });
}

#[test]
fn downtime_counts_and_the_markers_come_after_the_next_open() {
    for close in [true, false] {
        on_each_store(|store| {
            let bucket = store.bucket(marked().max_age(ms(60_000)));
            bucket.put("aged", "value");
            bucket.put_with("leased", "value", ttl(1000));
            store.reopen_after(close, || store.clock().advance(ms(60_000)));
            assert_eq!((bucket.get("aged"), bucket.keys().as_str()), (None, ""));
            store.sweep();
            assert_eq!(bucket.order(">"), "leased3 aged4");
            assert_swept(store, &bucket);
        });
    }
}

#[test]
fn a_wall_clock_that_is_set_expires_and_revives_nothing_while_the_store_is_open() {
    on_each_store(|store| {
        let bucket = store.bucket(marked());
        bucket.put_with("k", "value", ttl(10_000));
        store.clock().set_wall_forward(ms(20_000));
        store.sweep();
        assert_eq!(bucket.last(), 1);
        store.pass(ms(10_000));
        store.sweep();
        assert_eq!(bucket.history("k"), "PURGE 2");
        store.clock().set_wall_back(ms(50_000));
        store.sweep();
        assert_eq!(bucket.history("k"), "PURGE 2");
    });
}

#[test]
fn a_lower_age_limit_leaves_a_marker_for_each_key_that_is_too_old_for_it() {
    on_every_schedule(4, |store| {
        let bucket = store.bucket(marked());
        bucket.handle().put("old", "1").unwrap();
        bucket.put("old", "2");
        store.pass(ms(1000));
        bucket.put("young", "value");
        store.update(marked().max_age(ms(500)));
        bucket.assert_nothing_at("old");
        store.sweep();
        assert_eq!(bucket.order(">"), "young3 old4");
        // Lower still: what had been swept by then does not matter.
        store.pass(ms(200));
        store.update(marked().max_age(ms(100)));
        store.sweep();
        assert_eq!((bucket.order(">").as_str(), bucket.last()), ("young5", 5));
        assert_eq!(expired(&bucket, ">"), [5]);
    });
}

#[test]
fn a_change_of_the_limits_first_commits_what_is_due() {
    on_every_schedule(3, |store| {
        let bucket = store.bucket(marked().max_age(ms(1000)));
        bucket.put("k", "value");
        store.pass(ms(1000));
        store.update(marked().max_age(ms(60_000)));
        assert_eq!(bucket.history(">"), "PURGE 2");
        bucket.put_with("k", "value", ttl(100));
        store.pass(ms(100));
        store.update(BucketConfig::new("b").history(5));
        assert_eq!(bucket.history(">"), "PURGE 4");
    });
}

#[test]
fn what_expired_before_markers_were_switched_on_leaves_none() {
    on_every_schedule(4, |store| {
        let bucket = store.bucket(BucketConfig::new("b").history(5).max_age(ms(10_000)));
        bucket.put("aged", "value");
        store.pass(ms(9_900));
        bucket.handle().put_with("leased", "value", ttl(100)).unwrap();
        bucket.put_with("later", "value", ttl(200));
        store.pass(ms(100));
        store.update(marked().max_age(ms(10_000)));
        store.sweep();
        assert_eq!((bucket.order(">").as_str(), bucket.last()), ("later3", 3));
        assert_eq!(bucket.handle().create("leased", "new").unwrap().get(), 4);
        assert_eq!(bucket.history("leased"), "PUT 4");
        store.pass(ms(100));
        store.sweep();
        assert_eq!((expired(&bucket, ">"), bucket.last()), (vec![5], 5));
        // Nor do they when the age limit is lowered afterwards.
        store.update(marked().max_age(ms(5_000)));
        store.sweep();
        assert_eq!(bucket.last(), 5);
    });
}

#[test]
fn after_markers_are_switched_off_keys_expire_silently() {
    on_every_schedule(3, |store| {
        let bucket = store.bucket(marked());
        bucket.put_with("k", "value", ttl(1000));
        store.update(BucketConfig::new("b").history(5));
        store.pass(ms(1000));
        store.sweep();
        bucket.assert_nothing_at("k");
        assert_eq!(bucket.put("k", "new"), 2);
        assert_eq!(bucket.history("k"), "PUT 2");
    });
}

#[test]
fn a_purge_of_the_whole_bucket_takes_the_markers_that_are_due_along() {
    on_every_schedule(3, |store| {
        let bucket = store.bucket(marked());
        bucket.put_with("k", "value", ttl(1000));
        store.pass(ms(1000));
        assert_eq!(bucket.purge_all(), 1);
        store.sweep();
        assert_eq!((bucket.history(">").as_str(), bucket.last()), ("", 1));
        assert_eq!(bucket.put("k", "new"), 2);
    });
}

#[test]
fn purge_deletes_takes_markers_of_expiry_like_any_other() {
    on_every_schedule(4, |store| {
        let bucket = store.bucket(marked().max_age(ms(10_000)));
        bucket.put_with("leased", "value", ttl(1000));
        bucket.delete("deleted");
        store.pass(ms(1000));
        store.sweep();
        assert_eq!(bucket.history(">"), "DEL 2, PURGE 3");
        // The delete marker stays, and what lies under it goes: its own marker comes when it is too old.
        assert_eq!(bucket.purge_deletes(ms(500)), 2);
        assert_eq!(bucket.history(">"), "PURGE 3");
        bucket.handle().delete("again").unwrap();
        bucket.purge_deletes(ms(60_000));
        store.pass(ms(10_000));
        store.sweep();
        assert_eq!(expired(&bucket, "again"), [5]);
    });
}

#[test]
fn a_full_bucket_takes_markers_and_has_room_again() {
    on_every_schedule(3, |store| {
        // Room for two entries of 1 + 60 + 32 bytes.
        let bucket = store.bucket(marked().history(1).max_bytes(186));
        let value = "v".repeat(60);
        bucket.put_with("a", &value, ttl(1000));
        bucket.put("b", &value);
        assert_eq!(bucket.refusal(|bucket| bucket.put("c", &value)).kind, ErrorKind::BucketFull);
        store.pass(ms(1000));
        store.sweep();
        assert_eq!((bucket.history(">").as_str(), bucket.status().bytes), ("PUT 2, PURGE 3", 93 + 33));
        assert_eq!(bucket.put("c", &value[..27]), 4);
    });
}

#[test]
fn more_keys_than_one_group_takes_expire_at_the_same_moment() {
    on_each_store(|store| {
        let bucket = store.bucket(BucketConfig::new("b").limit_markers(ms(60_000)));
        let count = 4_500_u64;
        for chunk in 0..count / 500 {
            let answer = store.batch(|batch| {
                for key in 0..500 {
                    batch.put_with(&bucket.handle(), format!("k{}", chunk * 500 + key), "v", ttl(1000));
                }
            });
            answer.unwrap();
        }
        store.pass(ms(1000));
        store.sweep();
        let entries = bucket.entries(">");
        assert!(entries.iter().all(|entry| entry.reason() == Reason::Expired));
        let revisions = entries.iter().map(|entry| entry.revision().get());
        assert!(revisions.eq(count + 1..=2 * count));
        assert_swept(store, &bucket);
    });
}

/// Writers, sweeps and a clock that runs ahead, all at once: of each life of a key there is one end.
#[test]
fn whoever_writes_and_sweeps_at_once_no_key_gets_two_markers_for_one_life() {
    let clock = annals::testing::clock::ManualClock::new();
    let options = Options::new().sizes(64 << 10, 16 << 10, 512).env(clock.env_in_memory());
    let store = options.in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b").history(64).limit_markers(Duration::from_secs(3600))).unwrap();
    let is_over = AtomicBool::new(false);
    let keys = ["a", "b", "c", "d"];
    thread::scope(|scope| {
        let writers = [0, 1].map(|writer| {
            let (bucket, clock) = (&bucket, &clock);
            scope.spawn(move || {
                for round in 0..150_usize {
                    let key = keys[(round * 7 + writer) % keys.len()];
                    match round % 3 {
                        0 => drop(bucket.create_with(key, "lease", ttl(2))),
                        1 => drop(bucket.put_with(key, "lease", ttl(1)).unwrap()),
                        _ => drop(bucket.submit(key, "lease", ttl(3)).unwrap().wait().unwrap()),
                    }
                    clock.advance(ms(1));
                }
            })
        });
        let sweeper = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                store.sweep().unwrap();
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        is_over.store(true, Ordering::Relaxed);
        sweeper.join().unwrap();
    });
    clock.advance(ms(10));
    store.sweep().unwrap();
    let mut expired = 0;
    for key in keys {
        let entries: Vec<_> = bucket.history(key).unwrap().map(Result::unwrap).collect();
        let newest = entries.last().unwrap();
        assert_eq!(newest.reason(), Reason::Expired, "{key} has expired");
        expired += entries.iter().filter(|entry| entry.reason() == Reason::Expired).count();
        let follows = |pair: &[annals::Entry]| pair[0].operation() == Operation::Put || pair[1].operation() == Operation::Put;
        assert!(entries.windows(2).all(follows), "{entries:?}");
    }
    assert!(expired >= keys.len());
}

#[test]
fn whoever_resumes_is_told_of_what_has_expired_by_its_marker() {
    on_every_schedule(4, |store| {
        let bucket = store.bucket(marked().limit_markers(ms(5_000)));
        bucket.handle().put("other", "value").unwrap();
        bucket.put_with("k", "value", ttl(1000));
        store.pass(ms(1000));
        // It is to come.
        assert_eq!(bucket.changes(1), Ok(String::new()));
        store.sweep();
        for since in 1..=2 {
            assert_eq!(bucket.changes(since), Ok("PURGE k 3".to_owned()));
        }
        // When the marker has gone as well, nothing tells of it.
        store.pass(ms(5_000));
        assert_eq!((bucket.changes(2), bucket.changes(3)), (Err(3), Ok(String::new())));
    });
}

/// The store's own thread does it, by the clock of the machine.
#[test]
fn markers_come_by_themselves() {
    let store = Store::in_memory().unwrap();
    let config = BucketConfig::new("b").limit_markers(Duration::from_secs(3600));
    let bucket = store.create_bucket(config.clone().limit_markers(None)).unwrap();
    store.update_bucket(config).unwrap();
    for (key, span) in [("a", 3_600_000), ("b", 20), ("c", 1)] {
        bucket.put_with(key, "value", ttl(span)).unwrap();
    }
    while bucket.estimate().unwrap().last_revision.get() < 5 {
        thread::yield_now();
    }
    let order: Vec<_> = bucket.history(">").unwrap().map(|entry| entry.unwrap().key().to_string()).collect();
    assert_eq!(order, ["a", "c", "b"]);
}

#[test]
fn a_lifetime_of_markers_below_100_ms_is_refused() {
    on_each_store(|store| {
        for lifetime in [0, 99] {
            let error = store.store().create_bucket(marked().limit_markers(ms(lifetime))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        }
        let bucket = store.bucket(marked().limit_markers(ms(100)));
        assert_eq!(bucket.handle().config().unwrap().marker_lifetime(), Some(ms(100)));
    });
}
