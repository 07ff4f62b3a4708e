//! Scenarios 83-94: limits of time, of buckets and of entries.
//!
//! Number 94 is a matter of types: see the documentation of `Bucket::delete`.

use std::time::Duration;

use annals::{BucketConfig, ErrorKind, Event, KeysOptions, Operation, PutOptions, Reason, Revision, Watch, WatchOptions};

use crate::fixture::{Fixture, Refused, ms, on_each_store, refused, ttl};

const INVALID: Refused = Refused { kind: ErrorKind::InvalidArgument, actual: None };

/// Lets time pass, and the markers of what has expired be committed, without anything that would end a watch.
fn expire(store: &Fixture, span: u64) {
    store.clock().advance(ms(span));
    store.store().sweep().unwrap();
}

/// What the watch tells before the entry of the key `end`.
fn told(watch: &mut Watch, end: &str) -> String {
    let mut told = Vec::new();
    loop {
        match watch.next().unwrap().unwrap() {
            Event::Entry(entry) if entry.key().as_str() == end => return told.join(", "),
            Event::Entry(entry) => told.push(format!("{:?} {:?} {}", entry.operation(), entry.reason(), entry.revision())),
            other => told.push(format!("{other:?}")),
        }
    }
}

fn aged(age: u64) -> BucketConfig {
    BucketConfig::new("b").max_age(ms(age))
}

#[test]
fn conformance_083_a_value_is_gone_after_the_age_limit() {
    on_each_store(|store| {
        let bucket = store.bucket(aged(1000));
        assert_eq!(bucket.put("k", "value"), 1);
        store.pass(ms(2000));
        assert_eq!(bucket.get("k"), None);
        assert_eq!(bucket.keys(), "");
        assert_eq!(bucket.status().values, 0);
        assert_eq!(bucket.create("k", "new"), 2);
        assert_eq!(bucket.text("k").as_deref(), Some("new"));
    });
}

#[test]
fn conformance_084_expiry_takes_no_revision() {
    on_each_store(|store| {
        let bucket = store.bucket(aged(1000));
        bucket.put("k", "value");
        store.pass(ms(2000));
        bucket.assert_nothing_at("k");
        assert_eq!(bucket.last(), 1);
        assert_eq!(bucket.put("other", "value"), 2);
    });
}

#[test]
fn conformance_084_a_watcher_is_told_nothing_of_it() {
    on_each_store(|store| {
        let bucket = store.bucket(aged(1000)).handle();
        let mut watch = bucket.watch(">").unwrap();
        assert_eq!(watch.next().unwrap().unwrap(), Event::UpToDate);
        bucket.put("k", "value").unwrap();
        expire(store, 2000);
        bucket.put("end", "value").unwrap();
        assert_eq!(told(&mut watch, "end"), "Put Written 1");
    });
}

#[test]
fn conformance_085_an_age_limit_below_100_ms_is_refused() {
    on_each_store(|store| {
        // annals: there is no negative span of time, and none for off: that is `None`.
        for age in [0, 50, 99] {
            let error = store.store().create_bucket(aged(age)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{age} ms");
            assert_eq!(store.store().buckets().unwrap(), [""; 0]);
        }
        let bucket = store.bucket(aged(100));
        let error = store.store().update_bucket(aged(99)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert_eq!(bucket.handle().config().unwrap().age_limit(), Some(ms(100)));
    });
}

#[test]
fn conformance_086_each_entry_ages_by_itself() {
    on_each_store(|store| {
        let bucket = store.bucket(aged(1000).history(5));
        bucket.put("k", "old");
        store.pass(ms(600));
        bucket.put("k", "new");
        store.pass(ms(850));
        assert_eq!(bucket.history("k"), "PUT 2");
        assert_eq!(bucket.status().values, 1);
    });
}

#[test]
fn conformance_087_a_marker_ages_too() {
    on_each_store(|store| {
        let bucket = store.bucket(aged(1000));
        bucket.put("k", "value");
        bucket.delete("k");
        bucket.purge("other");
        assert_eq!(bucket.status().values, 2);
        store.pass(ms(2000));
        assert_eq!(bucket.status().values, 0);
        assert_eq!(bucket.keys_with(KeysOptions::new().markers(true)), "");
        bucket.assert_nothing_at("k");
    });
}

#[test]
fn conformance_088_any_bucket_takes_a_time_to_live() {
    on_each_store(|store| {
        // annals: there is no switch.
        let bucket = store.depth(1);
        assert_eq!(bucket.put_with("k", "value", ttl(1000)), 1);
        store.pass(ms(1000));
        assert_eq!(bucket.get("k"), None);
    });
}

#[test]
fn conformance_089_a_created_key_is_gone_after_its_time_to_live() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        assert_eq!(bucket.create_with("k", "value", ttl(1000)), 1);
        assert_eq!(bucket.text("k").as_deref(), Some("value"));
        store.pass(ms(1500));
        bucket.assert_nothing_at("k");
        assert_eq!(bucket.last(), 1);
    });
}

#[test]
fn conformance_089_where_there_are_markers_it_leaves_one_with_a_new_revision() {
    on_each_store(|store| {
        let bucket = store.bucket(BucketConfig::new("b").limit_markers(ms(60_000)));
        bucket.create_with("k", "value", ttl(1000));
        store.pass(ms(1500));
        store.sweep();
        let marker = bucket.entry("k").unwrap();
        assert_eq!((marker.operation(), marker.reason(), marker.revision().get()), (Operation::Purge, Reason::Expired, 2));
        assert_eq!((bucket.get("k"), bucket.last()), (None, 2));
    });
}

#[test]
fn conformance_089_a_watcher_is_told_by_the_marker() {
    on_each_store(|store| {
        let bucket = store.bucket(BucketConfig::new("b").limit_markers(ms(60_000))).handle();
        let mut watch = bucket.watch(">").unwrap();
        assert_eq!(watch.next().unwrap().unwrap(), Event::UpToDate);
        bucket.create_with("k", "value", ttl(1000)).unwrap();
        expire(store, 1500);
        bucket.put("end", "value").unwrap();
        assert_eq!(told(&mut watch, "end"), "Put Written 1, Purge Expired 2");
        // Who comes now finds the marker as the key's state.
        assert_eq!(told(&mut bucket.watch(">").unwrap(), "end"), "Purge Expired 2");
    });
}

#[test]
fn conformance_090_a_time_to_live_below_1_ms_is_refused() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        // annals: from 1 ms on, to the nanosecond; the model wants whole seconds.
        for span in [Duration::ZERO, Duration::from_nanos(1), Duration::from_nanos(999_999)] {
            let options = PutOptions::new().ttl(span);
            assert_eq!(bucket.refusal(|bucket| bucket.put_with("k", "value", options)), INVALID, "{span:?}");
            assert_eq!(bucket.refusal(|bucket| bucket.create_with("k", "value", options)), INVALID, "{span:?}");
            assert_eq!(bucket.refusal(|bucket| bucket.update_with("k", "value", 0.into(), options)), INVALID, "{span:?}");
            assert_eq!(bucket.refusal(|bucket| bucket.purge_with("k", 0.into(), options)), INVALID, "{span:?}");
            assert_eq!(bucket.refusal(|bucket| bucket.touch("k", options)), INVALID, "{span:?}");
            assert_eq!(bucket.refusal(|bucket| bucket.submit("k", "value", options)), INVALID, "{span:?}");
        }
        assert_eq!(bucket.put_with("k", "value", ttl(1)), 1);
        assert_eq!(bucket.put_with("k", "value", ttl(500)), 2);
        store.pass(ms(499));
        assert_eq!(bucket.text("k").as_deref(), Some("value"));
        store.pass(ms(1));
        assert_eq!(bucket.get("k"), None);
    });
}

#[test]
fn conformance_091_a_put_without_a_time_to_live_stays() {
    on_each_store(|store| {
        for depth in [1, 5] {
            let bucket = store.bucket(BucketConfig::new(format!("depth{depth}")).history(depth));
            bucket.create_with("k", "lease", ttl(1000));
            bucket.put("k", "for ever");
            store.pass(ms(3000));
            assert_eq!(bucket.text("k").as_deref(), Some("for ever"));
            assert_eq!(bucket.history("k"), "PUT 2");
        }
    });
}

#[test]
fn conformance_092_a_purge_marker_goes_after_its_time_to_live() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        bucket.put("k", "value");
        assert_eq!(bucket.purge_with("k", ttl(1000)), 2);
        assert_eq!(bucket.history("k"), "PURGE 2");
        store.pass(ms(2000));
        assert_eq!(bucket.history("k"), "");
        assert_eq!(bucket.refusal(|bucket| bucket.update("k", "new", 2.into())), refused(ErrorKind::WrongRevision, 0));
        assert_eq!(bucket.create("k", "new"), 3);
        assert_eq!(bucket.history("k"), "PUT 3");
    });
}

#[test]
fn conformance_092_it_leaves_no_second_marker() {
    on_each_store(|store| {
        let bucket = store.bucket(BucketConfig::new("b").history(5).limit_markers(ms(60_000)));
        bucket.put("k", "value");
        assert_eq!(bucket.purge_with("k", ttl(1000)), 2);
        store.pass(ms(2000));
        store.sweep();
        assert_eq!((bucket.history("k").as_str(), bucket.last()), ("", 2));
        assert_eq!(bucket.create("k", "new"), 3);
    });
}

#[test]
fn conformance_092_and_093_a_watcher_is_told_nothing_of_the_end_of_a_marker() {
    on_each_store(|store| {
        let bucket = store.bucket(BucketConfig::new("b").history(5).limit_markers(ms(2000))).handle();
        let mut watch = bucket.watch_with(WatchOptions::new().updates_only(true)).unwrap();
        bucket.purge_with("purged", Revision::NONE, ttl(1000)).unwrap();
        bucket.create_with("k", "lease", ttl(1000)).unwrap();
        expire(store, 1000);
        bucket.create("k", "new").unwrap();
        expire(store, 2000);
        bucket.put("end", "value").unwrap();
        assert_eq!(told(&mut watch, "end"), "UpToDate, Purge Written 1, Put Written 2, Purge Expired 3, Put Written 4");
    });
}

#[test]
fn conformance_093_a_key_may_be_created_over_the_marker_of_its_expiry() {
    on_each_store(|store| {
        let bucket = store.bucket(BucketConfig::new("b").history(5).limit_markers(ms(2000)));
        bucket.create_with("k", "lease", ttl(1000));
        store.pass(ms(1000));
        store.sweep();
        assert_eq!(bucket.create("k", "new"), 3);
        assert_eq!(bucket.history("k"), "PURGE 2, PUT 3");
        store.pass(ms(2000));
        store.sweep();
        assert_eq!((bucket.history("k").as_str(), bucket.last()), ("PUT 3", 3));
    });
}
