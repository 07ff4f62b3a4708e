//! Scenarios 104-108: several writes that happen together.

use annals::{BucketConfig, ErrorKind, Event, Operation, Revision, Watch};

use crate::fixture::{Refused, on_each_store, refused};

#[test]
fn conformance_104_a_batch_takes_consecutive_revisions_and_may_write_a_key_twice() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        let handle = bucket.handle();
        // annals: one revision per operation, where the model tells the last.
        let revisions = store.store().batch().put(&handle, "a", "1").put(&handle, "b", "2").put(&handle, "a", "3").commit();
        drop(handle);
        store.checkpoint();
        assert_eq!(revisions.unwrap(), [1, 2, 3].map(Revision::from));
        assert_eq!(bucket.order(">"), "a1 b2 a3");
        assert_eq!(bucket.text_at("a", 1).as_deref(), Some("1"));
        assert_eq!(bucket.text("a").as_deref(), Some("3"));
    });
}

/// What a watch of the bucket has, without waiting.
fn drain(watch: &mut Watch) -> Vec<Event> {
    std::iter::from_fn(|| watch.try_next().unwrap()).collect()
}

/// Operations, keys and revisions.
fn shown(events: &[Event]) -> Vec<(Operation, &str, u64)> {
    let entries = events.iter().map(|event| event.entry().unwrap());
    entries.map(|entry| (entry.operation(), entry.key().as_str(), entry.revision().get())).collect()
}

#[test]
fn conformance_104_every_write_of_a_batch_is_an_event_also_at_depth_one() {
    on_each_store(|store| {
        let bucket = store.depth(1).handle();
        let mut watch = bucket.watch(">").unwrap();
        assert_eq!(drain(&mut watch), [Event::UpToDate]);
        store.store().batch().put(&bucket, "a", "1").put(&bucket, "b", "2").put(&bucket, "a", "3").commit().unwrap();
        let events = drain(&mut watch);
        assert_eq!(shown(&events), [(Operation::Put, "a", 1), (Operation::Put, "b", 2), (Operation::Put, "a", 3)]);
        let values: Vec<&[u8]> = events.iter().map(|event| &**event.entry().unwrap().value()).collect();
        assert_eq!(values, [b"1", b"2", b"3"]);
    });
}

#[test]
fn conformance_105_one_condition_that_fails_refuses_the_whole_batch() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        bucket.put("b", "1");
        let refusal = bucket.refusal(|bucket| {
            let mut batch = store.store().batch();
            batch.put(bucket, "c", "new").update(bucket, "b", "2", Revision::from(7)).commit()
        });
        assert_eq!(refusal, refused(ErrorKind::WrongRevision, 1));
        bucket.assert_nothing_at("c");
        assert_eq!(bucket.put("next", "value"), 2);
    });
}

#[test]
fn conformance_106_conditions_that_hold_let_a_batch_through() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        bucket.put("a", "1");
        let handle = bucket.handle();
        let revisions = store.batch(|batch| {
            batch.update(&handle, "a", "2", Revision::from(1)).create(&handle, "d", "3");
            drop(handle);
        });
        assert_eq!(revisions.unwrap(), [2, 3]);
        assert_eq!(bucket.order(">"), "a1 a2 d3");
    });
}

#[test]
fn conformance_107_a_batch_may_delete_and_purge() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        bucket.put("a", "1");
        bucket.put("b", "2");
        let handle = bucket.handle();
        let revisions = store.batch(|batch| {
            batch.delete(&handle, "a", Revision::NONE).purge(&handle, "b", Revision::NONE);
            drop(handle);
        });
        assert_eq!(revisions.unwrap(), [3, 4]);
        assert_eq!(bucket.history("a"), "PUT 1, DEL 3");
        assert_eq!(bucket.history("b"), "PURGE 4");
    });
}

#[test]
fn conformance_107_a_watcher_is_told_of_both_in_their_order() {
    on_each_store(|store| {
        let bucket = store.depth(5).handle();
        bucket.put("a", "1").unwrap();
        bucket.put("b", "2").unwrap();
        let mut watch = bucket.watch(">").unwrap();
        assert_eq!(drain(&mut watch).len(), 3);
        store.store().batch().delete(&bucket, "a", Revision::NONE).purge(&bucket, "b", Revision::NONE).commit().unwrap();
        assert_eq!(shown(&drain(&mut watch)), [(Operation::Delete, "a", 3), (Operation::Purge, "b", 4)]);
    });
}

#[test]
fn conformance_108_a_watcher_is_told_of_all_of_a_thousand_and_of_none_of_one_more() {
    on_each_store(|store| {
        let bucket = store.bucket(BucketConfig::new("b")).handle();
        let mut watch = bucket.watch(">").unwrap();
        assert_eq!(drain(&mut watch), [Event::UpToDate]);
        for (count, expected) in [(1001, 0), (1000, 1000)] {
            let mut batch = store.store().batch();
            for number in 0..count {
                batch.put(&bucket, format!("k{number}"), "value");
            }
            assert_eq!(batch.commit().is_ok(), count == 1000);
            let events = drain(&mut watch);
            assert!(shown(&events).into_iter().map(|(.., revision)| revision).eq(1..=expected));
        }
    });
}

#[test]
fn conformance_108_a_thousand_writes_are_a_batch_and_one_more_is_refused_whole() {
    on_each_store(|store| {
        let bucket = store.bucket(BucketConfig::new("b"));
        let fill = |count: usize| {
            let (handle, mut batch) = (bucket.handle(), store.store().batch());
            for number in 0..count {
                batch.put(&handle, format!("k{number}"), "value");
            }
            batch
        };
        let refusal = bucket.refusal(|_| fill(1001).commit());
        assert_eq!(refusal, Refused { kind: ErrorKind::InvalidArgument, actual: None });
        assert_eq!(bucket.last(), 0);
        let revisions = fill(1000).commit().unwrap();
        store.checkpoint();
        assert!(revisions.into_iter().map(Revision::get).eq(1..=1000));
        assert_eq!(bucket.status().live_keys, 1000);
    });
}
