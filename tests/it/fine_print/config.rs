//! Configurations: which are the same, what a change does, and that no limit that is raised brings anything back.

use std::collections::BTreeMap;

use annals::{BucketConfig, Compression, ErrorKind, Options, Store};

use crate::fixture::{ms, on_each_store, on_every_schedule};

fn depth(depth: u8) -> BucketConfig {
    BucketConfig::new("b").history(depth)
}

#[test]
fn a_lowered_history_is_trimmed_at_once_and_a_raised_one_brings_nothing_back() {
    on_every_schedule(5, |store| {
        let bucket = store.depth(4);
        for value in ["1", "2", "3"] {
            bucket.handle().put("k", value).unwrap();
        }
        bucket.put("k", "4");
        assert_eq!(bucket.history("k"), "PUT 1, PUT 2, PUT 3, PUT 4");
        store.update(depth(2));
        assert_eq!(bucket.history("k"), "PUT 3, PUT 4");
        assert_eq!((bucket.text_at("k", 2), bucket.status().values), (None, 2));
        store.update(depth(4));
        assert_eq!(bucket.history("k"), "PUT 3, PUT 4");
        bucket.put("k", "5");
        assert_eq!(bucket.history("k"), "PUT 3, PUT 4, PUT 5");
        bucket.put("k", "6");
        assert_eq!(bucket.history("k"), "PUT 3, PUT 4, PUT 5, PUT 6");
        bucket.put("k", "7");
        assert_eq!(bucket.history("k"), "PUT 4, PUT 5, PUT 6, PUT 7");
    });
}

#[test]
fn a_history_raised_and_lowered_and_raised_keeps_what_the_tightest_limit_left() {
    on_every_schedule(5, |store| {
        let bucket = store.depth(3);
        for key in ["k", "k", "k", "other"] {
            bucket.handle().put(key, "value").unwrap();
        }
        for limit in [5, 1, 4, 2] {
            store.update(depth(limit));
        }
        store.update(depth(5));
        assert_eq!(bucket.history("k"), "PUT 3");
        assert_eq!(bucket.history("other"), "PUT 4");
        bucket.put("k", "new");
        assert_eq!(bucket.history("k"), "PUT 3, PUT 5");
    });
}

#[test]
fn depth_and_age_together_leave_what_both_allow() {
    on_every_schedule(5, |store| {
        let both = |depth: u8, age: u64| BucketConfig::new("b").history(depth).max_age(ms(age));
        let bucket = store.bucket(both(4, 10_000));
        bucket.put("k", "1");
        store.pass(ms(200));
        for value in ["2", "3", "4"] {
            bucket.handle().put("k", value).unwrap();
        }
        store.update(both(3, 200));
        assert_eq!(bucket.history("k"), "PUT 2, PUT 3, PUT 4");
        store.update(both(2, 10_000));
        assert_eq!(bucket.history("k"), "PUT 3, PUT 4");
        store.update(both(64, 10_000));
        store.pass(ms(5_000));
        assert_eq!(bucket.history("k"), "PUT 3, PUT 4");
        store.pass(ms(5_000));
        bucket.assert_nothing_at("k");
    });
}

#[test]
fn creating_again_compares_every_field() {
    on_each_store(|store| {
        let metadata = |value: &str| BTreeMap::from([("team".to_owned(), value.to_owned())]);
        let config = || {
            let config = BucketConfig::new("b").history(3).max_age(ms(5_000)).max_bytes(10_000).max_value_size(100);
            config.description("text").metadata(metadata("blue"))
        };
        store.bucket(config());
        store.bucket(config());
        for other in [
            config().history(2),
            config().max_age(ms(5_001)),
            config().max_age(None),
            config().max_bytes(None),
            config().max_bytes(10_001),
            config().max_value_size(None),
            config().description("other"),
            config().metadata(metadata("red")),
            config().metadata(BTreeMap::new()),
            config().compression(Compression::Zstd),
        ] {
            let error = store.store().create_bucket(other.clone()).unwrap_err();
            let expected = [ErrorKind::BucketExists, ErrorKind::InvalidArgument];
            // Without its feature, compression is refused before anything else.
            assert!(
                expected[..1 + usize::from(other.value_compression() == Compression::Zstd)].contains(&error.kind()),
                "{other:?}"
            );
        }
        assert_eq!(store.store().bucket("b").unwrap().config().unwrap(), config());
    });
}

#[test]
fn an_update_replaces_the_whole_configuration() {
    on_each_store(|store| {
        let bucket = store.bucket(BucketConfig::new("b").history(3).max_age(ms(5_000)).description("text").max_value_size(3));
        bucket.put("k", "123");
        store.update(BucketConfig::new("b").history(2));
        assert_eq!(bucket.handle().config().unwrap(), BucketConfig::new("b").history(2));
        assert_eq!(bucket.put("k", "12345"), 2);
        // The same again changes nothing.
        store.update(BucketConfig::new("b").history(2));
        assert_eq!(bucket.history("k"), "PUT 1, PUT 2");
    });
}

#[test]
fn a_refused_update_changes_nothing() {
    on_each_store(|store| {
        let bucket = store.bucket(BucketConfig::new("b").history(3).description("text"));
        for config in [depth(0), depth(65), depth(1).max_age(ms(99)), depth(1).max_bytes(0), depth(1).max_value_size(0)] {
            assert_eq!(bucket.refusal(|_| store.store().update_bucket(config)).kind, ErrorKind::InvalidArgument);
        }
        assert_eq!(bucket.handle().config().unwrap(), BucketConfig::new("b").history(3).description("text"));
    });
}

#[test]
fn outside_of_creation_a_name_that_cannot_be_is_not_found() {
    let store = Store::in_memory().unwrap();
    for name in ["", "a.b", "a b", "missing"] {
        assert_eq!(store.bucket(name).unwrap_err().kind(), ErrorKind::BucketNotFound);
        assert_eq!(store.delete_bucket(name).unwrap_err().kind(), ErrorKind::BucketNotFound);
        // The name is looked at first.
        for depth in [1, 0] {
            let error = store.update_bucket(BucketConfig::new(name).history(depth)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BucketNotFound);
        }
    }
    let error = store.create_bucket(BucketConfig::new("a b").history(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidBucketName);
}

#[test]
fn a_deleted_buckets_handle_finds_nothing_in_any_new_call() {
    on_each_store(|store| {
        let bucket = store.depth(2);
        bucket.put("k", "value");
        let (old, store_now) = (bucket.handle(), store.store());
        store_now.delete_bucket("b").unwrap();
        for again in [false, true] {
            if again {
                store_now.create_bucket(depth(2)).unwrap().put("k", "new").unwrap();
            }
            let options = crate::fixture::ttl(1000);
            let kinds = [
                old.put_with("k", "value", options).unwrap_err().kind(),
                old.create_with("k", "value", options).unwrap_err().kind(),
                old.update_with("k", "value", 1.into(), options).unwrap_err().kind(),
                old.purge_with("k", 1.into(), options).unwrap_err().kind(),
                old.touch("k", options).unwrap_err().kind(),
                old.load([("k", "value")]).unwrap_err().kind(),
                old.delete_matching(">").unwrap_err().kind(),
                old.purge_matching(">").unwrap_err().kind(),
                old.purge_deletes(ms(0)).unwrap_err().kind(),
                old.purge_all().unwrap_err().kind(),
                old.submit("k", "value", options).and_then(|ticket| ticket.wait()).unwrap_err().kind(),
                store_now.batch().put(&old, "k", "value").commit().unwrap_err().kind(),
                store_now.batch().check(&old, "k", 1.into()).commit().unwrap_err().kind(),
                old.config().unwrap_err().kind(),
            ];
            assert_eq!(kinds, [ErrorKind::BucketNotFound; 14]);
        }
        assert_eq!(store_now.bucket("b").unwrap().get("k").unwrap().unwrap(), *b"new");
    });
}

#[test]
fn annotations_have_a_limit_that_is_told() {
    let store = Options::new().in_memory().unwrap();
    let metadata = |len: usize| BTreeMap::from([("k".to_owned(), "v".repeat(len))]);
    store.create_bucket(BucketConfig::new("b").metadata(metadata((16 << 10) - 1))).unwrap();
    let error = store.create_bucket(BucketConfig::new("c").metadata(metadata(16 << 10))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("16384"), "{error}");
}
