//! Scenarios 21-27: purge markers.

use annals::{ErrorKind, Revision};

use crate::fixture::{on_each_store, refused};

#[test]
fn conformance_021_a_purge_drops_the_history_and_leaves_itself() {
    on_each_store(|store| {
        let bucket = store.depth(10);
        for value in ["1", "2", "3"] {
            bucket.put("k", value);
        }
        assert_eq!(bucket.purge("k"), 4);
        assert_eq!(bucket.history("k"), "PURGE 4");
        for revision in 1..=4 {
            assert_eq!(bucket.text_at("k", revision), None);
        }
    });
}

#[test]
fn conformance_022_purging_a_missing_key_leaves_a_marker() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        assert_eq!(bucket.purge("k"), 1);
        assert_eq!(bucket.history("k"), "PURGE 1");
    });
}

#[test]
fn conformance_023_a_purge_expecting_a_stale_revision_leaves_all_history() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        bucket.put("k", "1");
        bucket.put("k", "2");
        let refusal = bucket.refusal(|bucket| bucket.purge_expect_revision("k", Revision::from(1)));
        assert_eq!(refusal, refused(ErrorKind::WrongRevision, 2));
        assert_eq!(bucket.history("k"), "PUT 1, PUT 2");
        assert_eq!(bucket.handle().purge_expect_revision("k", Revision::from(2)).unwrap().get(), 3);
        assert_eq!(bucket.history("k"), "PURGE 3");
    });
}

#[test]
fn conformance_024_a_second_purge_replaces_the_first() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        bucket.put("k", "1");
        bucket.purge("k");
        bucket.purge("k");
        assert_eq!(bucket.history("k"), "PURGE 3");
    });
}

#[test]
fn conformance_025_history_goes_on_after_a_purge() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        bucket.put("k", "1");
        bucket.purge("k");
        bucket.put("k", "3");
        assert_eq!(bucket.history("k"), "PURGE 2, PUT 3");
    });
}

#[test]
fn conformance_026_a_purge_touches_no_other_key() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        for (key, value) in [("a", "1"), ("b", "2"), ("a.b", "3"), ("b", "4")] {
            bucket.put(key, value);
        }
        bucket.purge("a");
        assert_eq!(bucket.order(">"), "b2 a.b3 b4 a5");
        assert_eq!(bucket.text_at("b", 2).as_deref(), Some("2"));
    });
}

#[test]
fn conformance_027_a_delete_after_a_purge_is_kept_beside_it_and_goes_with_the_next() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        bucket.put("k", "1");
        bucket.purge("k");
        bucket.delete("k");
        assert_eq!(bucket.history("k"), "PURGE 2, DEL 3");
        bucket.purge("k");
        assert_eq!(bucket.history("k"), "PURGE 4");
    });
}
