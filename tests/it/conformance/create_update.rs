//! Scenarios 28-40: what is written only on a condition, alone and in a race.

use std::sync::Barrier;
use std::thread;

use annals::{Bucket, ErrorKind, Revision};

use crate::fixture::{Refused, on_each_store, refused};

#[test]
fn conformance_028_create_refuses_a_key_that_holds_a_value() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        assert_eq!(bucket.create("k", "first"), 1);
        assert_eq!(bucket.refusal(|bucket| bucket.create("k", "second")), refused(ErrorKind::AlreadyExists, 1));
        assert_eq!(bucket.put("k", "third"), 2);
    });
}

#[test]
fn conformance_029_create_takes_a_deleted_key() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        assert_eq!(bucket.create("k", "1"), 1);
        assert_eq!(bucket.delete("k"), 2);
        assert_eq!(bucket.create("k", "3"), 3);
        assert_eq!(bucket.text("k").as_deref(), Some("3"));
    });
}

#[test]
fn conformance_030_create_takes_a_purged_key() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        bucket.create("k", "1");
        bucket.purge("k");
        assert_eq!(bucket.create("k", "3"), 3);
        assert_eq!(bucket.history("k"), "PURGE 2, PUT 3");
    });
}

#[test]
fn conformance_031_create_on_an_invalid_key_stores_nothing() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        let refusal = bucket.refusal(|bucket| bucket.create("not a key", "1"));
        assert_eq!(refusal, Refused { kind: ErrorKind::InvalidKey, actual: None });
        assert_eq!(bucket.put("k", "1"), 1);
        assert_eq!(bucket.keys(), "k");
    });
}

#[test]
fn conformance_032_update_of_a_missing_key_takes_only_revision_none() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        let refusal = bucket.refusal(|bucket| bucket.update("k", "1", Revision::from(5)));
        assert_eq!(refusal, refused(ErrorKind::WrongRevision, 0));
        assert_eq!(bucket.update("k", "1", 0), 1);
        // As in the model, none means no entry at all: neither a value nor a marker.
        assert_eq!(bucket.refusal(|bucket| bucket.update("k", "2", Revision::NONE)), refused(ErrorKind::WrongRevision, 1));
        bucket.delete("k");
        assert_eq!(bucket.refusal(|bucket| bucket.update("k", "2", Revision::NONE)), refused(ErrorKind::WrongRevision, 2));
    });
}

#[test]
fn conformance_033_a_stale_update_tells_the_current_revision() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        assert_eq!(bucket.put("k", "1"), 1);
        assert_eq!(bucket.update("k", "2", 1), 2);
        assert_eq!(bucket.refusal(|bucket| bucket.update("k", "3", Revision::from(1))), refused(ErrorKind::WrongRevision, 2));
        assert_eq!(bucket.text("k").as_deref(), Some("2"));
    });
}

#[test]
fn conformance_034_another_keys_revision_is_no_match() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        bucket.put("a", "1");
        bucket.put("b", "2");
        assert_eq!(bucket.refusal(|bucket| bucket.update("a", "3", Revision::from(2))), refused(ErrorKind::WrongRevision, 1));
    });
}

#[test]
fn conformance_035_a_markers_revision_is_what_counts_after_a_delete() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        bucket.put("k", "1");
        bucket.delete("k");
        assert_eq!(bucket.refusal(|bucket| bucket.update("k", "3", Revision::from(1))), refused(ErrorKind::WrongRevision, 2));
        assert_eq!(bucket.update("k", "3", 2), 3);
    });
}

#[test]
fn conformance_036_a_future_revision_is_no_match() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        bucket.put("k", "1");
        for future in [2, 3, u64::MAX] {
            let refusal = bucket.refusal(|bucket| bucket.update("k", "2", Revision::from(future)));
            assert_eq!(refusal, refused(ErrorKind::WrongRevision, 1));
        }
    });
}

/// Runs the same call in many threads that start together, and answers what each got.
fn race<T: Send>(threads: usize, bucket: &Bucket, call: impl Fn(&Bucket, usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        let racer = |number| {
            let (start, call, bucket) = (&start, &call, bucket.clone());
            scope.spawn(move || {
                start.wait();
                call(&bucket, number)
            })
        };
        let racers: Vec<_> = (0..threads).map(racer).collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    })
}

#[test]
fn conformance_037_of_eight_threads_that_create_one_key_one_wins() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        for round in 0..20_u64 {
            let key = format!("key.{round}");
            let answers = race(8, &bucket.handle(), |bucket, number| bucket.create(&key, number.to_string()));
            let winners: Vec<_> = answers.iter().enumerate().filter(|(_, answer)| answer.is_ok()).collect();
            assert_eq!(winners.len(), 1, "round {round}: {answers:?}");
            assert_eq!(bucket.text(&key), Some(winners[0].0.to_string()));
            for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
                assert_eq!(error.kind(), ErrorKind::AlreadyExists);
                assert_eq!(error.actual_revision(), Some(Revision::from(round + 1)));
            }
            store.checkpoint();
        }
        assert_eq!(bucket.status().last_revision.get(), 20);
    });
}

#[test]
fn conformance_038_of_fifty_updates_of_one_revision_one_wins() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        bucket.put("k", "start");
        let answers = race(50, &bucket.handle(), |bucket, number| bucket.update("k", number.to_string(), Revision::from(1)));
        let winners: Vec<_> = answers.iter().enumerate().filter(|(_, answer)| answer.is_ok()).collect();
        assert_eq!(winners.len(), 1, "{answers:?}");
        store.checkpoint();
        assert_eq!(bucket.text("k"), Some(winners[0].0.to_string()));
        assert_eq!(bucket.history("k"), "PUT 1, PUT 2");
        for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            assert_eq!((error.kind(), error.actual_revision()), (ErrorKind::WrongRevision, Some(Revision::from(2))));
        }
    });
}

#[test]
fn conformance_039_eight_writers_that_read_and_update_lose_no_increment() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        bucket.put("counter", "0");
        race(8, &bucket.handle(), |bucket, _| (0..25).for_each(|_| increment(bucket)));
        store.checkpoint();
        assert_eq!(bucket.text("counter").as_deref(), Some("200"));
        assert_eq!(bucket.revision("counter"), 201);
    });
}

/// Adds one to the counter, however often somebody else is faster.
fn increment(bucket: &Bucket) {
    loop {
        let entry = bucket.entry("counter").unwrap().unwrap();
        let count: u64 = std::str::from_utf8(entry.value()).unwrap().parse().unwrap();
        match bucket.update("counter", (count + 1).to_string(), entry.revision()) {
            Ok(_) => return,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WrongRevision),
        }
    }
}

#[test]
fn conformance_040_create_refuses_a_key_that_was_put_many_times() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        for number in 0..10 {
            bucket.put("k", number.to_string());
        }
        assert_eq!(bucket.refusal(|bucket| bucket.create("k", "new")), refused(ErrorKind::AlreadyExists, 10));
    });
}
