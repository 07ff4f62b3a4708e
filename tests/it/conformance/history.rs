//! Scenarios 41-47: what of a key's past is kept.

use annals::{BucketConfig, ErrorKind};

use crate::fixture::on_each_store;

fn puts(revisions: std::ops::RangeInclusive<u64>) -> String {
    revisions.map(|revision| format!("PUT {revision}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn conformance_041_history_keeps_the_newest_up_to_its_depth() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        for number in 0..70 {
            bucket.put("k", number.to_string());
        }
        assert_eq!(bucket.history("k"), puts(66..=70));
    });
}

#[test]
fn conformance_042_history_may_be_sixty_four_deep() {
    on_each_store(|store| {
        let bucket = store.depth(64);
        for number in 1..=70 {
            bucket.put("k", number.to_string());
        }
        assert_eq!(bucket.history("k"), puts(7..=70));
        let values: Vec<_> = bucket.entries("k").iter().map(|entry| entry.value().to_vec()).collect();
        let expected: Vec<_> = (7..=70).map(|number| number.to_string().into_bytes()).collect();
        assert_eq!(values, expected);
    });
}

#[test]
fn conformance_043_a_history_of_0_or_65_is_refused() {
    on_each_store(|store| {
        // annals: 0 is refused like 65; the model's clients make it 1, or unlimited.
        for depth in [0, 65, 255] {
            let error = store.store().create_bucket(BucketConfig::new("b").history(depth)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert_eq!(store.store().buckets().unwrap(), [""; 0]);
        }
    });
}

#[test]
fn conformance_044_the_history_of_a_bucket_is_in_revision_order() {
    on_each_store(|store| {
        let bucket = store.depth(3);
        for key in ["a", "b", "a", "b", "a", "a"] {
            bucket.put(key, "value");
        }
        assert_eq!(bucket.order(">"), "b2 a3 b4 a5 a6");
    });
}

#[test]
fn conformance_045_the_history_of_a_missing_key_is_empty() {
    on_each_store(|store| {
        let bucket = store.depth(3);
        bucket.put("other", "value");
        // annals: empty, where the model's clients answer an error.
        assert_eq!(bucket.history("k"), "");
        assert_eq!(bucket.handle().history("k").unwrap().len(), 0);
    });
}

#[test]
fn conformance_046_markers_count_and_push_values_out() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        bucket.put("k", "value");
        for _ in 0..7 {
            bucket.delete("k");
        }
        assert_eq!(bucket.history("k"), "DEL 4, DEL 5, DEL 6, DEL 7, DEL 8");
        assert_eq!(bucket.text_at("k", 1), None);
    });
}

#[test]
fn conformance_047_update_works_on_a_full_history() {
    on_each_store(|store| {
        let bucket = store.depth(3);
        for value in ["1", "2", "3"] {
            bucket.put("k", value);
        }
        assert_eq!(bucket.update("k", "4", 3), 4);
        assert_eq!(bucket.history("k"), puts(2..=4));
    });
}
