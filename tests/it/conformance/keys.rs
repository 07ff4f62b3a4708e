//! Scenarios 48-57: lists of keys, patterns, and what a name may be.

use annals::{BucketConfig, ErrorKind, KeysOptions};

use crate::fixture::{Refused, on_each_store};

#[test]
fn conformance_048_an_empty_bucket_has_no_keys() {
    // annals: an empty iterator, where some of the model's clients answer an error.
    on_each_store(|store| assert_eq!(store.depth(1).keys(), ""));
}

#[test]
fn conformance_049_deleted_and_purged_keys_are_not_listed() {
    on_each_store(|store| {
        let bucket = store.depth(3);
        for key in ["e", "d", "c", "b", "a", "c"] {
            bucket.put(key, "value");
        }
        bucket.delete("b");
        bucket.purge("d");
        // annals: in byte order, whatever order they were written in.
        assert_eq!(bucket.keys(), "a c e");
        assert_eq!(bucket.keys_with(KeysOptions::new().markers(true)), "a b c d e");
        assert_eq!(bucket.keys_with(KeysOptions::new().markers(true).filter("b").filter("c")), "b c");
    });
}

#[test]
fn conformance_050_a_key_that_came_back_is_listed() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        bucket.put("k", "1");
        bucket.delete("k");
        assert_eq!(bucket.keys(), "");
        bucket.put("k", "2");
        assert_eq!(bucket.keys(), "k");
    });
}

#[test]
fn conformance_051_a_filter_selects_keys() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        for key in ["alpha", "mid.x", "mid.y", "mid.x.z"] {
            bucket.put(key, "value");
        }
        assert_eq!(bucket.keys_matching(&["mid.*"]), "mid.x mid.y");
    });
}

#[test]
fn conformance_052_filters_are_a_union_that_lists_each_key_once() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        for key in ["alpha", "mid.x", "mid.y", "mid.x.z"] {
            bucket.put(key, "value");
        }
        assert_eq!(bucket.keys_matching(&["mid.*", "alpha"]), "alpha mid.x mid.y");
        // annals: filters may overlap, which the model refuses.
        assert_eq!(bucket.keys_matching(&["mid.>", "mid.x", "mid.>"]), "mid.x mid.x.z mid.y");
    });
}

#[test]
fn conformance_053_a_filter_on_a_deleted_key_lists_nothing() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        bucket.put("k", "value");
        bucket.delete("k");
        assert_eq!(bucket.keys_matching(&["k"]), "");
    });
}

#[test]
fn conformance_054_patterns_match_token_by_token() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        for key in ["a", "a.b", "a.b.c", "A", "x.b", "a.B"] {
            bucket.put(key, "value");
        }
        for (pattern, expected) in [
            ("a", "a"),
            ("a.*", "a.B a.b"),
            ("a.>", "a.B a.b a.b.c"),
            ("*", "A a"),
            ("*.*", "a.B a.b x.b"),
            ("*.b", "a.b x.b"),
            ("a.*.c", "a.b.c"),
            ("*.>", "a.B a.b a.b.c x.b"),
            (">", "A a a.B a.b a.b.c x.b"),
        ] {
            assert_eq!(bucket.keys_matching(&[pattern]), expected, "keys by {pattern}");
            let mut found: Vec<_> = bucket.entries(pattern).iter().map(|entry| entry.key().as_str().to_owned()).collect();
            found.sort_unstable();
            assert_eq!(found.join(" "), expected, "history by {pattern}");
        }
    });
}

#[test]
fn conformance_055_malformed_patterns_are_refused() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        bucket.put("a", "value");
        // annals: a wildcard inside a longer token (the last three) is refused too, where the model takes it literally.
        for pattern in ["", ".", "a.", ".a", "a..b", ">.a", "a.>.b", "a b", "a*", "**", "a.b>"] {
            let refused = Refused { kind: ErrorKind::InvalidKey, actual: None };
            assert_eq!(bucket.refusal(|bucket| bucket.history(pattern)), refused, "history by {pattern:?}");
            let options = KeysOptions::new().filter("a").filter(pattern);
            assert_eq!(bucket.refusal(|bucket| bucket.keys_with(options)), refused, "keys by {pattern:?}");
        }
    });
}

#[test]
fn conformance_056_what_a_key_may_be() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        for key in ["A-z_0=/9", "-", "_", "/", "=", "_kv.x"] {
            bucket.put(key, "value");
            assert_eq!(bucket.text(key).as_deref(), Some("value"));
        }
        for key in ["", ".a", "a.", "a..b", "a b", "a*", ">", "a:b", "\u{e9}", ".", "a\0", "a\n"] {
            let refused = Refused { kind: ErrorKind::InvalidKey, actual: None };
            assert_eq!(bucket.refusal(|bucket| bucket.put(key, "value")), refused, "put of {key:?}");
            assert_eq!(bucket.refusal(|bucket| bucket.get(key)), refused, "get of {key:?}");
            assert_eq!(bucket.refusal(|bucket| bucket.delete(key)), refused, "delete of {key:?}");
        }
    });
}

#[test]
fn conformance_057_what_a_bucket_name_may_be() {
    on_each_store(|store| {
        for name in ["A-b_9", "-", "_"] {
            let bucket = store.bucket(BucketConfig::new(name));
            assert_eq!(bucket.put("k", "value"), 1);
        }
        for name in ["", "a.b", "a b", "a*", "a/b", "\u{e9}", "..", "a="] {
            let error = store.store().create_bucket(BucketConfig::new(name)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidBucketName, "{name:?}");
            // annals: outside creation a name that no bucket can have is one that no bucket has.
            assert_eq!(store.store().bucket(name).unwrap_err().kind(), ErrorKind::BucketNotFound, "{name:?}");
        }
        assert_eq!(store.store().buckets().unwrap(), ["-", "A-b_9", "_"]);
    });
}
