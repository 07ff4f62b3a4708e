//! Which of several reasons a write is refused for, and that it then takes nothing.

use annals::{Bucket, BucketConfig, ErrorKind, Result, Revision};

use crate::fixture::{Fixture, Probe, Refused, ms, on_each_store, refused, ttl};

const TOO_LONG: &str = "0123456789a";

/// A call whose answer does not matter.
type Call<'a> = dyn Fn(&Bucket) -> Result<()> + 'a;

fn plain(kind: ErrorKind) -> Refused {
    Refused { kind, actual: None }
}

/// Full, with a value at `k` (revision 1) and values up to ten bytes.
fn full(store: &Fixture) -> Probe<'_> {
    let bucket = store.bucket(BucketConfig::new("b").history(4).max_value_size(10).max_bytes(33));
    bucket.put("k", "");
    bucket
}

/// The same write alone and in a batch.
fn both_ways(
    store: &Fixture,
    bucket: &Probe<'_>,
    alone: impl Fn(&Bucket) -> Result<Revision>,
    batched: impl Fn(&mut annals::Batch, &Bucket),
) -> Refused {
    let first = bucket.refusal(alone);
    let second = bucket.refusal(|bucket| {
        let mut batch = store.store().batch();
        batched(&mut batch, bucket);
        batch.commit()
    });
    assert_eq!(first, second, "alone and in a batch");
    first
}

#[test]
fn the_key_is_looked_at_before_the_value_the_value_before_the_condition_the_condition_before_the_room() {
    on_each_store(|store| {
        let bucket = full(store);
        let wrong = Revision::from(7);
        let update = |key: &'static str, value: &'static str, revision: Revision| {
            both_ways(
                store,
                &bucket,
                move |bucket| bucket.update(key, value, revision),
                move |batch, bucket| {
                    batch.update(bucket, key, value, revision);
                },
            )
        };
        assert_eq!(update("not a key", TOO_LONG, wrong), plain(ErrorKind::InvalidKey));
        assert_eq!(update("k", TOO_LONG, wrong), plain(ErrorKind::ValueTooLarge));
        assert_eq!(update("k", "fits", wrong), refused(ErrorKind::WrongRevision, 1));
        assert_eq!(update("k", "fits", Revision::from(1)), plain(ErrorKind::BucketFull));

        let create = |key: &'static str, value: &'static str| {
            both_ways(
                store,
                &bucket,
                move |bucket| bucket.create(key, value),
                move |batch, bucket| {
                    batch.create(bucket, key, value);
                },
            )
        };
        assert_eq!(create("", TOO_LONG), plain(ErrorKind::InvalidKey));
        assert_eq!(create("k", TOO_LONG), plain(ErrorKind::ValueTooLarge));
        assert_eq!(create("k", "fits"), refused(ErrorKind::AlreadyExists, 1));
        assert_eq!(create("new", "fits"), plain(ErrorKind::BucketFull));
        assert_eq!(bucket.delete("k"), 2, "nothing that was refused took a revision");
    });
}

#[test]
fn every_kind_of_write_refuses_a_bad_key_or_pattern_as_such() {
    on_each_store(|store| {
        let bucket = store.depth(2);
        bucket.put("k", "value");
        for key in ["", "a..b", "a b", ">", "*"] {
            let calls: [&Call<'_>; 8] = [
                &|bucket| bucket.put_with(key, "value", ttl(1000)).map(drop),
                &|bucket| bucket.create_with(key, "value", ttl(1000)).map(drop),
                &|bucket| bucket.update_with(key, "value", 1.into(), ttl(1000)).map(drop),
                &|bucket| bucket.purge_with(key, 1.into(), ttl(1000)).map(drop),
                &|bucket| bucket.touch(key, ttl(1000)).map(drop),
                &|bucket| bucket.submit(key, "value", ttl(1000)).map(drop),
                &|bucket| bucket.load([(key, "value")]).map(drop),
                &|bucket| store.store().batch().check(bucket, key, 1.into()).commit().map(drop),
            ];
            for (at, call) in calls.into_iter().enumerate() {
                assert_eq!(bucket.refusal(call), plain(ErrorKind::InvalidKey), "call {at} with {key:?}");
            }
        }
        for pattern in ["", "a..b", "a b", ">.a", "a*"] {
            assert_eq!(bucket.refusal(|bucket| bucket.delete_matching(pattern)), plain(ErrorKind::InvalidKey));
            assert_eq!(bucket.refusal(|bucket| bucket.purge_matching(pattern)), plain(ErrorKind::InvalidKey));
        }
        // Reserved by convention in the model, not here.
        assert_eq!(bucket.put("_kv.x", "value"), 2);
    });
}

#[test]
fn a_value_of_exactly_the_limit_is_taken_by_every_kind_of_write() {
    on_each_store(|store| {
        let bucket = store.bucket(BucketConfig::new("b").max_value_size(10));
        let fits = "0123456789";
        bucket.create_with("k", fits, ttl(1000));
        let handle = bucket.handle();
        handle.update_with("k", fits, 1.into(), ttl(1000)).unwrap();
        handle.load([("k", fits)]).unwrap();
        handle.submit("k", fits, ttl(1000)).unwrap().wait().unwrap();
        store.store().batch().put(&handle, "k", fits).commit().unwrap();
        drop(handle);
        let calls: [&Call<'_>; 5] = [
            &|bucket| bucket.put_with("k", TOO_LONG, ttl(1000)).map(drop),
            &|bucket| bucket.update_with("k", TOO_LONG, 5.into(), ttl(1000)).map(drop),
            &|bucket| bucket.load([("k", TOO_LONG)]).map(drop),
            &|bucket| bucket.submit("k", TOO_LONG, ttl(1000)).map(drop),
            &|bucket| store.store().batch().put(bucket, "new", "fits").put(bucket, "k", TOO_LONG).commit().map(drop),
        ];
        for (at, call) in calls.into_iter().enumerate() {
            assert_eq!(bucket.refusal(call), plain(ErrorKind::ValueTooLarge), "call {at}");
        }
        assert_eq!(bucket.last(), 5);
    });
}

#[test]
fn a_refused_write_leaves_an_expired_key_expired() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        bucket.put("k", "1");
        bucket.put_with("k", "2", ttl(100));
        store.pass(ms(100));
        assert_eq!(bucket.refusal(|bucket| bucket.update("k", "3", 2.into())), refused(ErrorKind::WrongRevision, 0));
        bucket.assert_nothing_at("k");
        assert_eq!(bucket.last(), 2);
    });
}
