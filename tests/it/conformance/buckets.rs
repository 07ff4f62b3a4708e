//! Scenarios 95-103: buckets as a whole.

use std::collections::BTreeMap;
use std::time::Duration;

use annals::{BucketConfig, Compression, ErrorKind, Event, KeysOptions, Revision};

use crate::fixture::{ms, on_each_store};

#[test]
fn conformance_095_creating_a_bucket_again_needs_the_same_configuration() {
    on_each_store(|store| {
        let config = BucketConfig::new("b").history(3).description("accounts");
        let bucket = store.bucket(config.clone());
        bucket.put("k", "value");
        store.bucket(config.clone());
        assert_eq!((bucket.text("k").as_deref(), bucket.last()), (Some("value"), 1));
        for other in [config.clone().history(4), config.clone().max_age(ms(500)), config.clone().description("")] {
            let error = store.store().create_bucket(other).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BucketExists);
        }
        assert_eq!(bucket.handle().config().unwrap(), config);
        assert_eq!(bucket.text("k").as_deref(), Some("value"));
    });
}

#[test]
fn conformance_096_a_missing_bucket_is_not_found() {
    on_each_store(|store| {
        assert_eq!(store.store().bucket("b").unwrap_err().kind(), ErrorKind::BucketNotFound);
        assert_eq!(store.store().update_bucket(BucketConfig::new("b")).unwrap_err().kind(), ErrorKind::BucketNotFound);
        assert_eq!(store.store().delete_bucket("b").unwrap_err().kind(), ErrorKind::BucketNotFound);
        assert_eq!(store.store().buckets().unwrap(), [""; 0]);
    });
}

#[test]
fn conformance_097_a_bucket_that_is_created_again_is_a_new_one() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        for key in ["a", "b", "a"] {
            bucket.put(key, "value");
        }
        store.store().delete_bucket("b").unwrap();
        store.checkpoint();
        assert_eq!(store.store().buckets().unwrap(), [""; 0]);
        let bucket = store.depth(5);
        assert_eq!((bucket.history(">"), bucket.last()), (String::new(), 0));
        assert_eq!(bucket.put("a", "new"), 1);
        assert_eq!(bucket.order(">"), "a1");
        assert_eq!(bucket.text_at("a", 3), None);
    });
}

#[test]
fn conformance_098_after_a_purge_of_all_revisions_go_on() {
    on_each_store(|store| {
        let bucket = store.depth(3);
        for key in ["a", "b", "a", "c", "b", "a"] {
            bucket.put(key, "value");
        }
        // annals: the answer is up to which revision everything went, not how much there was.
        assert_eq!(bucket.purge_all(), 6);
        assert_eq!((bucket.status().values, bucket.status().live_keys), (0, 0));
        for key in ["a", "b", "c"] {
            bucket.assert_nothing_at(key);
        }
        assert_eq!(bucket.last(), 6);
        assert_eq!(bucket.put("a", "new"), 7);
        assert_eq!(bucket.order(">"), "a7");
    });
}

#[test]
fn conformance_098_a_watch_is_told_once_and_not_per_key() {
    on_each_store(|store| {
        let bucket = store.depth(3).handle();
        for key in ["a", "b", "a", "c", "b", "a"] {
            bucket.put(key, "value").unwrap();
        }
        let mut watches = [bucket.watch("a").unwrap(), bucket.watch("nobody").unwrap()];
        for watch in &mut watches {
            while watch.next().unwrap().unwrap() != Event::UpToDate {}
        }
        bucket.purge_all().unwrap();
        bucket.put("a", "new").unwrap();
        // annals: the model tells nothing; here one item says up to where nothing is left, whatever the filters are.
        let purged = Event::Purged { through: Revision::from(6) };
        for watch in &mut watches {
            assert_eq!(watch.try_next().unwrap(), Some(purged.clone()));
        }
        let events = watches.map(|mut watch| watch.try_next().unwrap().map(|event| event.entry().unwrap().revision().get()));
        assert_eq!(events, [Some(7), None]);
        // Who comes later begins with what there is, and it is not told.
        let events: Vec<_> = std::iter::from_fn(|| bucket.watch("b").unwrap().try_next().unwrap()).take(1).collect();
        assert_eq!(events, [Event::UpToDate]);
    });
}

#[test]
fn conformance_098_an_empty_bucket_that_is_purged_is_told_of_too() {
    on_each_store(|store| {
        let bucket = store.depth(1).handle();
        let mut watch = bucket.watch(">").unwrap();
        assert_eq!(watch.try_next().unwrap(), Some(Event::UpToDate));
        bucket.purge_all().unwrap();
        assert_eq!(watch.try_next().unwrap(), Some(Event::Purged { through: Revision::NONE }));
        assert_eq!(watch.try_next().unwrap(), None);
    });
}

#[test]
fn conformance_099_and_100_what_tidies_a_bucket_is_no_event() {
    on_each_store(|store| {
        let bucket = store.depth(5).handle();
        for key in ["live", "deleted", "purged", "live", "deleted"] {
            bucket.put(key, "value").unwrap();
        }
        bucket.delete("deleted").unwrap();
        bucket.purge("purged").unwrap();
        let mut watch = bucket.watch(">").unwrap();
        while watch.next().unwrap().unwrap() != Event::UpToDate {}
        assert_eq!(bucket.purge_deletes(Duration::from_secs(3600)).unwrap(), 2);
        assert_eq!(bucket.purge_deletes(Duration::ZERO).unwrap(), 2);
        // 6.6: nor is a lowered limit of history, nor what becomes of files.
        store.store().update_bucket(BucketConfig::new("b").history(1)).unwrap();
        store.store().flush().unwrap();
        store.store().merge_all().unwrap();
        assert_eq!(watch.try_next().unwrap(), None);
        bucket.put("live", "next").unwrap();
        assert_eq!(watch.next().unwrap().unwrap().entry().unwrap().revision().get(), 8);
    });
}

#[test]
fn conformance_099_purge_deletes_leaves_live_keys_their_history() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        for key in ["live", "deleted", "purged", "live", "deleted", "back"] {
            bucket.put(key, "value");
        }
        bucket.delete("deleted");
        bucket.purge("purged");
        bucket.delete("back");
        bucket.put("back", "again");
        assert_eq!(bucket.purge_deletes(Duration::ZERO), 2);
        assert_eq!(bucket.order(">"), "live1 live4 back6 back9 back10");
        bucket.assert_nothing_at("deleted");
        bucket.assert_nothing_at("purged");
        // No revisions were used, and the keys are as new.
        assert_eq!(bucket.create("deleted", "new"), 11);
        assert_eq!(bucket.update("purged", "new", 0), 12);
    });
}

#[test]
fn conformance_100_a_young_marker_stays_without_what_it_hid() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        bucket.put("deleted", "1");
        bucket.put("deleted", "2");
        bucket.delete("deleted");
        bucket.put("purged", "4");
        bucket.purge("purged");
        assert_eq!(bucket.purge_deletes(Duration::from_secs(3600)), 2);
        assert_eq!(bucket.history(">"), "DEL 3, PURGE 5");
        assert_eq!(bucket.revision("deleted"), 3);
        assert_eq!((bucket.get("deleted"), bucket.text_at("deleted", 2)), (None, None));
        assert_eq!(bucket.keys_with(KeysOptions::new().markers(true)), "deleted purged");
        assert_eq!(bucket.update("deleted", "new", 3), 6);
        assert_eq!(bucket.history("deleted"), "DEL 3, PUT 6");
    });
}

#[test]
fn conformance_101_a_reopened_bucket_is_what_it_was() {
    on_each_store(|store| {
        let bucket = store.depth(3);
        for key in ["a", "b", "a", "c", "b", "a", "a"] {
            bucket.put(key, "value");
        }
        bucket.delete("b");
        bucket.purge("c");
        let before = (bucket.entries(">"), bucket.status());
        store.reopen(true);
        assert_eq!((bucket.entries(">"), bucket.status()), before);
        assert_eq!(bucket.put("d", "next"), 10);
    });
}

#[test]
fn conformance_102_description_metadata_and_compression_can_be_changed() {
    on_each_store(|store| {
        // annals: what a store's files are is not a bucket's matter, so there is no storage kind to change.
        let bucket = store.depth(3);
        bucket.put("k", "value");
        let metadata = BTreeMap::from([("team".to_owned(), "blue".to_owned())]);
        let config = BucketConfig::new("b").history(3).description("what it is for").metadata(metadata.clone());
        store.update(config.clone());
        assert_eq!(bucket.handle().config().unwrap(), config);
        let config = bucket.handle().config().unwrap();
        assert_eq!((config.description_text(), config.metadata_pairs()), ("what it is for", &metadata));
        let config = config.compression(Compression::Zstd);
        match store.store().update_bucket(config.clone()) {
            Ok(_) => assert_eq!(bucket.handle().config().unwrap().value_compression(), Compression::Zstd),
            // Without the feature.
            Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidArgument),
        }
        store.checkpoint();
        assert_eq!(bucket.put("k", "value"), 2);
        assert_eq!(bucket.history("k"), "PUT 1, PUT 2");
    });
}

#[test]
fn conformance_103_status_counts_history_and_markers() {
    on_each_store(|store| {
        let bucket = store.depth(3);
        for key in ["a", "b", "a", "c"] {
            bucket.put(key, "value");
        }
        bucket.delete("b");
        bucket.purge("c");
        let status = bucket.status();
        assert_eq!((status.values, status.live_keys, status.last_revision.get()), (5, 1, 6));
        // annals: 32 bytes and key and value for each.
        assert_eq!(status.bytes, 5 * 33 + 3 * 5);
    });
}
