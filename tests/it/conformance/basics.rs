//! Scenarios 1-12: put, get, revisions.

use annals::BucketConfig;

use crate::fixture::on_each_store;

#[test]
fn conformance_001_put_counts_revisions_over_the_bucket() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        assert_eq!(bucket.put("a", "first"), 1);
        assert_eq!(bucket.put("b", "second"), 2);
        assert_eq!(bucket.put("a", "third"), 3);
        assert_eq!((bucket.text("a").as_deref(), bucket.revision("a")), (Some("third"), 3));
        assert_eq!((bucket.text("b").as_deref(), bucket.revision("b")), (Some("second"), 2));
    });
}

#[test]
fn conformance_002_get_on_a_new_bucket_finds_nothing() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        assert_eq!(bucket.get("a"), None);
        assert_eq!(bucket.entry("a"), None);
        assert_eq!(bucket.status().last_revision.get(), 0);
    });
}

#[test]
fn conformance_003_an_empty_value_is_a_value() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        assert_eq!(bucket.put("k", ""), 1);
        assert_eq!(bucket.get("k"), Some(Vec::new()));
        assert_eq!(bucket.keys(), "k");
    });
}

#[test]
fn conformance_004_a_value_of_all_byte_values_comes_back_exactly() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        let value: Vec<u8> = (0..=u8::MAX).collect();
        bucket.put("k", &value);
        assert_eq!(bucket.get("k"), Some(value));
    });
}

#[test]
fn conformance_005_the_same_value_twice_is_two_revisions() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        assert_eq!((bucket.put("k", "same"), bucket.put("k", "same")), (1, 2));
        assert_eq!(bucket.history("k"), "PUT 1, PUT 2");
    });
}

#[test]
fn conformance_006_keys_that_look_related_are_not() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        for key in ["a", "a.b", "a.b.c", "A"] {
            bucket.put(key, format!("value of {key}"));
        }
        for key in ["a", "a.b", "a.b.c", "A"] {
            assert_eq!(bucket.text(key), Some(format!("value of {key}")));
        }
    });
}

#[test]
fn conformance_007_buckets_count_by_themselves() {
    on_each_store(|store| {
        let (first, second) = (store.bucket(BucketConfig::new("X")), store.bucket(BucketConfig::new("Y")));
        assert_eq!(first.put("k", "1"), 1);
        assert_eq!(second.put("k", "2"), 1);
        assert_eq!(first.put("k", "3"), 2);
        assert_eq!((first.text("k").as_deref(), second.text("k").as_deref()), (Some("3"), Some("2")));
    });
}

#[test]
fn conformance_008_get_at_answers_the_value_of_that_revision_of_that_key() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        assert_eq!((bucket.put("x", "x1"), bucket.put("y", "y"), bucket.put("x", "x2")), (1, 2, 3));
        assert_eq!(bucket.text_at("x", 1).as_deref(), Some("x1"));
        assert_eq!(bucket.text_at("x", 3).as_deref(), Some("x2"));
        // annals: a revision of another key is absent, not an error.
        assert_eq!(bucket.text_at("x", 2), None);
    });
}

#[test]
fn conformance_009_get_at_an_unwritten_revision_is_absent_and_zero_is_the_newest() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        bucket.put("x", "now");
        assert_eq!(bucket.text_at("x", 2), None);
        assert_eq!(bucket.text_at("x", u64::MAX), None);
        assert_eq!(bucket.text_at("x", 0).as_deref(), Some("now"));
        assert_eq!(bucket.text_at("y", 0), None);
    });
}

#[test]
fn conformance_010_a_trimmed_revision_is_gone_at_once() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        bucket.put("x", "old");
        bucket.put("x", "new");
        assert_eq!(bucket.text_at("x", 1), None);
        assert_eq!(bucket.text_at("x", 2).as_deref(), Some("new"));
    });
}

#[test]
fn conformance_011_a_deleted_key_answers_nothing_but_its_past() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        bucket.put("k", "value");
        assert_eq!(bucket.delete("k"), 2);
        assert_eq!(bucket.get("k"), None);
        assert_eq!(bucket.text_at("k", 1).as_deref(), Some("value"));
        assert_eq!(bucket.text_at("k", 2), None);
    });
}

#[test]
fn conformance_012_creation_times_never_decrease() {
    on_each_store(|store| {
        let bucket = store.depth(3);
        for number in 0..12 {
            bucket.put(&format!("k{}", number % 3), "value");
        }
        let entries = bucket.entries(">");
        assert_eq!(entries.len(), 9);
        assert!(entries.is_sorted_by_key(annals::Entry::created), "{entries:?}");
    });
}
