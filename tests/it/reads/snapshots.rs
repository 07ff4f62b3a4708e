//! Snapshots: that they show the same whatever happens, and one moment of everything.

use annals::{BucketConfig, BucketSnapshot, ErrorKind, KeysOptions, Revision};

use super::{Dice, KEYS, State, shown, write};
use crate::fixture::{ms, on_each_store, ttl};

/// All that a snapshot shows, as text.
fn picture(bucket: &BucketSnapshot) -> String {
    let entries: Vec<_> = bucket.range(..).markers(true).map(|entry| shown(&entry.unwrap())).collect();
    let back: Vec<_> = bucket.range(..).markers(true).rev().map(|entry| shown(&entry.unwrap())).collect();
    assert!(entries.iter().rev().eq(&back));
    let history: Vec<_> = bucket.history(">").unwrap().map(|entry| shown(&entry.unwrap())).collect();
    let keys = bucket.keys_with(KeysOptions::new().markers(true)).unwrap().map(|key| key.unwrap().to_string());
    let keys: Vec<_> = keys.collect();
    let values = bucket.get_many(KEYS).unwrap();
    let newest: Vec<_> = KEYS.iter().map(|key| bucket.entry(key).unwrap().map(|entry| shown(&entry))).collect();
    let last = bucket.status().unwrap().last_revision.get();
    let past = KEYS.iter().flat_map(|key| (0..=last + 1).map(|revision| (*key, Revision::from(revision))));
    let past = past.map(|(key, revision)| match bucket.get_as_of(key, revision) {
        Ok(value) => (value, None),
        Err(error) => (None, Some((error.kind(), error.floor()))),
    });
    let past: Vec<_> = past.collect();
    format!("{entries:?} {history:?} {keys:?} {values:?} {newest:?} {past:?} {:?}", bucket.status().unwrap())
}

#[test]
fn a_snapshot_shows_the_same_for_as_long_as_it_is_kept() {
    on_each_store(|store| {
        let (mut dice, mut state) = (Dice(2), State::new());
        store.bucket(BucketConfig::new("b").history(3));
        let mut kept: Vec<(BucketSnapshot, String)> = Vec::new();
        for round in 0..40 {
            state = write(store, &mut dice, &state);
            if round % 5 == 0 {
                let snapshot = store.store().snapshot().unwrap().bucket("b").unwrap();
                let shown = picture(&snapshot);
                assert_eq!(picture(&store.store().bucket("b").unwrap().snapshot().unwrap()), shown);
                kept.push((snapshot, shown));
            }
        }
        store.settle();
        store.store().bucket("b").unwrap().purge_all().unwrap();
        store.settle();
        store.store().delete_bucket("b").unwrap();
        store.settle();
        store.bucket(BucketConfig::new("b")).put("a", "of another bucket with the same name");
        store.store().close().unwrap();
        for (snapshot, shown) in &kept {
            assert_eq!(picture(snapshot), *shown);
        }
    });
}

#[test]
fn a_snapshot_of_the_store_has_a_batch_over_buckets_whole_or_not_at_all() {
    on_each_store(|store| {
        let names = ["x", "y"];
        names.iter().for_each(|name| drop(store.bucket(BucketConfig::new(*name))));
        let mut snapshots = Vec::new();
        for round in 0..10_u32 {
            store
                .batch(|batch| {
                    for name in names {
                        batch.put(&store.store().bucket(name).unwrap(), "k", round.to_string());
                    }
                })
                .unwrap();
            snapshots.push(store.store().snapshot().unwrap());
        }
        for (round, snapshot) in snapshots.iter().enumerate() {
            assert_eq!(snapshot.buckets(), names);
            for name in names {
                assert_eq!(snapshot.bucket(name).unwrap().get("k").unwrap().unwrap(), round.to_string());
            }
        }
        assert_eq!(snapshots[0].bucket("z").unwrap_err().kind(), ErrorKind::BucketNotFound);
    });
}

#[test]
fn time_stands_still_in_a_snapshot_and_in_an_iterator() {
    on_each_store(|store| {
        let bucket = store.bucket(BucketConfig::new("b").history(2));
        bucket.put("k", "older");
        store.store().bucket("b").unwrap().put_with("k", "short-lived", ttl(1_000)).unwrap();
        store.store().bucket("b").unwrap().put_with("l", "short-lived", ttl(1_000)).unwrap();
        let snapshot = store.store().bucket("b").unwrap().snapshot().unwrap();
        let entries = store.store().bucket("b").unwrap().range(..).unwrap();
        store.pass(ms(1_000));
        store.settle();
        assert_eq!(bucket.get("k"), None, "nothing older comes back");
        assert_eq!(bucket.keys(), "");
        assert_eq!(bucket.handle().range(..).unwrap().rev().count(), 0);
        assert_eq!(snapshot.get("k").unwrap().unwrap(), "short-lived");
        assert_eq!(snapshot.history("k").unwrap().count(), 2);
        assert_eq!(entries.count(), 2);
        let now = bucket.handle().snapshot().unwrap();
        assert_eq!(now.time().duration_since(snapshot.time()).unwrap(), ms(1_000));
    });
}
