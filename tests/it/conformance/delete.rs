//! Scenarios 13-20: delete markers.

use annals::{ErrorKind, Operation, Revision};

use crate::fixture::{on_each_store, refused};

#[test]
fn conformance_013_deleting_a_missing_key_leaves_a_marker() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        assert_eq!(bucket.delete("k"), 1);
        assert_eq!(bucket.put("k", "value"), 2);
        assert_eq!(bucket.status().values, 2);
        assert_eq!(bucket.history("k"), "DEL 1, PUT 2");
    });
}

#[test]
fn conformance_014_a_delete_keeps_the_history_before_it() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        bucket.put("k", "1");
        bucket.put("k", "2");
        bucket.delete("k");
        assert_eq!(bucket.history("k"), "PUT 1, PUT 2, DEL 3");
        // annals: how many are still to come is the iterator's length, not a field of each entry.
        let mut history = bucket.handle().history("k").unwrap();
        let mut left = Vec::new();
        while history.next().is_some() {
            left.push(history.len());
        }
        assert_eq!(left, [2, 1, 0]);
    });
}

#[test]
fn conformance_015_at_depth_one_only_the_marker_is_left() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        bucket.put("k", "1");
        bucket.delete("k");
        assert_eq!(bucket.history("k"), "DEL 2");
    });
}

#[test]
fn conformance_016_a_second_delete_is_a_second_marker() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        bucket.put("k", "1");
        bucket.delete("k");
        bucket.delete("k");
        assert_eq!(bucket.history("k"), "PUT 1, DEL 2, DEL 3");
    });
}

#[test]
fn conformance_017_a_delete_expecting_a_stale_revision_is_refused_and_takes_no_number() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        bucket.put("k", "1");
        bucket.put("k", "2");
        let refusal = bucket.refusal(|bucket| bucket.delete_expect_revision("k", Revision::from(1)));
        assert_eq!(refusal, refused(ErrorKind::WrongRevision, 2));
        assert_eq!(bucket.put("other", "3"), 3);
        assert_eq!(bucket.handle().delete_expect_revision("k", Revision::from(2)).unwrap().get(), 4);
        assert_eq!(bucket.history("k"), "PUT 1, PUT 2, DEL 4");
    });
}

#[test]
fn conformance_018_a_delete_expecting_none_is_unchecked() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        bucket.put("k", "1");
        assert_eq!(bucket.handle().delete_expect_revision("k", Revision::NONE).unwrap().get(), 2);
        assert_eq!(bucket.get("k"), None);
    });
}

#[test]
fn conformance_019_a_put_after_a_delete_brings_the_key_back() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        bucket.put("k", "old");
        bucket.delete("k");
        bucket.put("k", "new");
        assert_eq!((bucket.text("k").as_deref(), bucket.revision("k")), (Some("new"), 3));
        assert_eq!(bucket.history("k"), "PUT 1, DEL 2, PUT 3");
    });
}

#[test]
fn conformance_020_a_delete_marker_is_an_entry_without_value() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        bucket.put("k", "value");
        bucket.delete("k");
        let entry = bucket.entry("k").unwrap();
        assert_eq!((entry.operation(), entry.revision().get()), (Operation::Delete, 2));
        assert!(entry.value().is_empty());
        assert_eq!(entry, bucket.entries("k")[1]);
    });
}
