//! Entries whose time is over: when that is, what goes with them, and that it does not matter what happened to the files meanwhile.

use std::time::Duration;

use annals::{BucketConfig, ErrorKind, KeysOptions, Operation, PutOptions, Reason, Revision};

use crate::fixture::{Refused, ms, on_each_store, on_every_schedule, refused, ttl};

const NANOSECOND: Duration = Duration::from_nanos(1);

fn aged(age: u64) -> BucketConfig {
    BucketConfig::new("b").history(5).max_age(ms(age))
}

#[test]
fn at_its_exact_deadline_an_entry_is_gone() {
    on_each_store(|store| {
        let (own, aged) = (store.bucket(BucketConfig::new("own")), store.bucket(BucketConfig::new("aged").max_age(ms(1000))));
        own.put_with("k", "value", ttl(1000));
        own.purge_with("marker", ttl(1000));
        aged.put("k", "value");
        aged.delete("marker");
        store.pass(ms(1000) - NANOSECOND);
        for bucket in [&own, &aged] {
            assert_eq!(bucket.text("k").as_deref(), Some("value"));
            assert_eq!(bucket.keys_with(KeysOptions::new().markers(true)), "k marker");
            assert_eq!(bucket.refusal(|bucket| bucket.create("k", "new")), refused(ErrorKind::AlreadyExists, 1));
            assert_eq!(bucket.status().values, 2);
        }
        store.pass(NANOSECOND);
        for bucket in [&own, &aged] {
            bucket.assert_nothing_at("k");
            bucket.assert_nothing_at("marker");
            assert_eq!((bucket.status().values, bucket.status().bytes), (0, 0));
            assert_eq!(bucket.create("k", "new"), 3);
        }
    });
}

#[test]
fn times_to_live_are_kept_to_the_nanosecond() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        let span = Duration::from_nanos(1_234_567);
        bucket.put_with("k", "value", PutOptions::new().ttl(span));
        store.pass(span - NANOSECOND);
        assert_eq!(bucket.text("k").as_deref(), Some("value"));
        store.pass(NANOSECOND);
        bucket.assert_nothing_at("k");
    });
}

#[test]
fn the_longest_time_to_live_never_ends() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        bucket.put_with("k", "value", PutOptions::new().ttl(Duration::MAX));
        store.pass(Duration::from_secs(50 * 365 * 86_400));
        assert_eq!(bucket.text("k").as_deref(), Some("value"));
    });
}

#[test]
fn an_entry_that_was_superseded_goes_alone_and_keeps_its_place_in_the_history() {
    on_every_schedule(5, |store| {
        let bucket = store.depth(3);
        bucket.put("k", "1");
        bucket.put_with("k", "2", ttl(1000));
        bucket.put("k", "3");
        assert_eq!(bucket.history("k"), "PUT 1, PUT 2, PUT 3");
        store.pass(ms(1000));
        assert_eq!(bucket.history("k"), "PUT 1, PUT 3");
        assert_eq!((bucket.status().values, bucket.text_at("k", 2)), (2, None));
        // It fills a position until it goes, so the first one is pushed out as if it were there.
        bucket.put("k", "4");
        assert_eq!(bucket.history("k"), "PUT 3, PUT 4");
        bucket.put("k", "5");
        assert_eq!(bucket.history("k"), "PUT 3, PUT 4, PUT 5");
    });
}

#[test]
fn an_expired_newest_entry_takes_the_whole_key_and_what_follows_is_a_new_life() {
    on_every_schedule(5, |store| {
        let bucket = store.depth(5);
        bucket.put("k", "1");
        bucket.put_with("k", "2", ttl(1000));
        assert_eq!(bucket.history("k"), "PUT 1, PUT 2");
        store.pass(ms(1000));
        bucket.assert_nothing_at("k");
        assert_eq!(bucket.put("k", "3"), 3);
        assert_eq!(bucket.history("k"), "PUT 3");
        store.pass(ms(1000));
        assert_eq!(bucket.history("k"), "PUT 3");
        assert_eq!((bucket.text_at("k", 1), bucket.text_at("k", 2)), (None, None));
    });
}

#[test]
fn markers_too_start_a_new_life_over_an_expired_entry() {
    on_every_schedule(4, |store| {
        let bucket = store.depth(5);
        for key in ["deleted", "purged"] {
            bucket.handle().put(key, "1").unwrap();
            bucket.put_with(key, "2", ttl(1000));
        }
        store.pass(ms(1000));
        assert_eq!(bucket.delete("deleted"), 5);
        bucket.purge("purged");
        assert_eq!(bucket.history(">"), "DEL 5, PURGE 6");
        assert_eq!(bucket.put("deleted", "3"), 7);
        assert_eq!(bucket.history("deleted"), "DEL 5, PUT 7");
    });
}

#[test]
fn an_expired_purge_marker_leaves_nothing_and_brings_nothing_back() {
    on_every_schedule(5, |store| {
        let bucket = store.depth(5);
        bucket.put("k", "1");
        bucket.put("k", "2");
        bucket.purge_with("k", ttl(1000));
        assert_eq!(bucket.history("k"), "PURGE 3");
        store.pass(ms(1000));
        bucket.assert_nothing_at("k");
        bucket.update("k", "4", 0);
        assert_eq!(bucket.history("k"), "PUT 4");
    });
}

#[test]
fn a_second_expiry_in_a_row_leaves_nothing_of_either_life() {
    on_every_schedule(5, |store| {
        let bucket = store.depth(5);
        bucket.put_with("k", "1", ttl(100));
        store.pass(ms(100));
        bucket.put_with("k", "2", ttl(100));
        store.pass(ms(100));
        bucket.assert_nothing_at("k");
        bucket.put("k", "3");
        assert_eq!(bucket.history("k"), "PUT 3");
    });
}

#[test]
fn what_was_superseded_in_time_is_no_end_of_a_life() {
    on_every_schedule(5, |store| {
        let bucket = store.depth(5);
        bucket.put("k", "1");
        bucket.put_with("k", "2", ttl(1000));
        store.pass(ms(1000) - NANOSECOND);
        bucket.put("k", "3");
        store.pass(NANOSECOND);
        assert_eq!(bucket.history("k"), "PUT 1, PUT 3");
    });
}

#[test]
fn conditions_see_an_expired_key_as_one_without_any_entry() {
    on_each_store(|store| {
        for bucket in
            [store.bucket(BucketConfig::new("own").history(5)), store.bucket(BucketConfig::new("aged").max_age(ms(500)))]
        {
            for key in ["created", "updated", "deleted"] {
                bucket.put_with(key, "value", ttl(500));
            }
            store.pass(ms(500));
            for call in ["update", "delete", "purge"] {
                let refusal = bucket.refusal(|bucket| match call {
                    "update" => bucket.update("updated", "new", Revision::from(2)),
                    "delete" => bucket.delete_expect_revision("updated", Revision::from(2)),
                    _ => bucket.purge_expect_revision("updated", Revision::from(2)),
                });
                assert_eq!(refusal, refused(ErrorKind::WrongRevision, 0), "{call}");
            }
            assert_eq!(bucket.update("updated", "new", 0), 4);
            assert_eq!(bucket.create("created", "new"), 5);
            assert_eq!(bucket.history(">"), "PUT 4, PUT 5");
        }
    });
}

#[test]
fn the_smaller_of_the_two_times_wins() {
    on_each_store(|store| {
        let bucket = store.bucket(aged(1000));
        bucket.put_with("short", "value", ttl(400));
        bucket.put_with("long", "value", ttl(4000));
        bucket.purge_with("marker", ttl(4000));
        store.pass(ms(400));
        assert_eq!(bucket.keys(), "long");
        store.pass(ms(600));
        assert_eq!(bucket.history(">"), "");
    });
}

#[test]
fn a_lowered_age_limit_holds_at_once_and_a_raised_one_brings_nothing_back() {
    on_every_schedule(5, |store| {
        let bucket = store.bucket(aged(10_000));
        bucket.put("k", "old");
        store.pass(ms(500));
        bucket.put("k", "young");
        store.update(aged(400));
        assert_eq!(bucket.history("k"), "PUT 2");
        store.update(BucketConfig::new("b").history(5));
        assert_eq!(bucket.history("k"), "PUT 2");
        assert_eq!((bucket.status().values, bucket.text_at("k", 1)), (1, None));
        store.pass(ms(1_000_000));
        bucket.put("k", "new");
        assert_eq!(bucket.history("k"), "PUT 2, PUT 3");
    });
}

#[test]
fn a_key_that_was_too_old_for_a_moment_stays_away() {
    on_every_schedule(5, |store| {
        let bucket = store.bucket(BucketConfig::new("b").history(5));
        bucket.put("k", "old");
        store.pass(ms(500));
        store.update(aged(500));
        bucket.assert_nothing_at("k");
        store.update(aged(5_000));
        bucket.assert_nothing_at("k");
        assert_eq!(bucket.create("k", "new"), 2);
        assert_eq!(bucket.history("k"), "PUT 2");
    });
}

#[test]
fn a_raised_age_limit_keeps_what_was_young_enough() {
    on_every_schedule(5, |store| {
        let bucket = store.bucket(aged(1000));
        bucket.put("k", "value");
        store.pass(ms(999));
        store.update(aged(10_000));
        store.pass(ms(5000));
        assert_eq!(bucket.text("k").as_deref(), Some("value"));
        store.pass(ms(4001) - NANOSECOND);
        assert_eq!(bucket.text("k").as_deref(), Some("value"));
        store.pass(NANOSECOND);
        bucket.assert_nothing_at("k");
    });
}

#[test]
fn touch_sets_the_time_to_live_anew_and_keeps_the_value() {
    on_every_schedule(5, |store| {
        let bucket = store.depth(2);
        bucket.put_with("k", "value", ttl(1000));
        store.pass(ms(600));
        assert_eq!(bucket.touch("k", ttl(1000)), Some(2));
        store.pass(ms(999));
        let entry = bucket.entry("k").unwrap();
        assert_eq!((entry.operation(), entry.reason(), &entry.value()[..]), (Operation::Put, Reason::Touched, &b"value"[..]));
        // The first one was superseded, and has gone.
        assert_eq!(bucket.history("k"), "PUT 2");
        assert_eq!(bucket.touch("k", PutOptions::new()), Some(3));
        store.pass(ms(100_000));
        assert_eq!((bucket.text("k").as_deref(), bucket.history("k").as_str()), (Some("value"), "PUT 3"));
        bucket.put("k", "next");
        assert_eq!(bucket.entry("k").unwrap().reason(), Reason::Written);
    });
}

#[test]
fn touch_of_a_key_without_a_value_does_nothing() {
    on_each_store(|store| {
        let bucket = store.depth(3);
        bucket.put("deleted", "value");
        bucket.delete("deleted");
        bucket.purge("purged");
        bucket.put_with("expired", "value", ttl(10));
        store.pass(ms(10));
        let before = bucket.status();
        for key in ["missing", "deleted", "purged", "expired"] {
            assert_eq!(bucket.touch(key, ttl(1000)), None, "{key}");
        }
        assert_eq!(bucket.status(), before);
        assert_eq!(bucket.refusal(|bucket| bucket.touch("not a key", ttl(1000))).kind, ErrorKind::InvalidKey);
    });
}

#[test]
fn touch_may_exceed_a_lowered_value_limit_but_not_the_buckets_bytes() {
    on_each_store(|store| {
        let config = |limit| BucketConfig::new("b").max_value_size(limit);
        let bucket = store.bucket(config(10));
        bucket.put("k", "0123456789");
        store.update(config(5));
        assert_eq!(bucket.touch("k", ttl(1000)), Some(2));
        assert_eq!(bucket.text("k").as_deref(), Some("0123456789"));
        // One in, one out: a full bucket has room for that at depth 1.
        store.update(config(5).max_bytes(1 + 10 + 32));
        assert_eq!(bucket.touch("k", ttl(1000)), Some(3));
        store.update(config(5).max_bytes(1 + 10 + 32).history(2));
        let refusal = bucket.refusal(|bucket| bucket.touch("k", ttl(1000)));
        assert_eq!(refusal, Refused { kind: ErrorKind::BucketFull, actual: None });
    });
}

#[test]
fn an_iterator_shows_what_there_was_at_its_call() {
    on_each_store(|store| {
        let bucket = store.bucket(aged(1000));
        for key in ["a", "b", "c"] {
            bucket.put_with(key, "value", ttl(500));
        }
        let (handle, keep) = (bucket.handle(), store.store());
        let (mut keys, history) = (handle.keys().unwrap(), handle.history(">").unwrap());
        drop(handle);
        assert_eq!(keys.next().unwrap().unwrap().as_str(), "a");
        // No checkpoint: what is held would keep the store open.
        store.clock().advance(ms(5000));
        assert_eq!(keys.map(|key| key.unwrap().as_str().to_owned()).collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(history.count(), 3);
        drop(keep);
        assert_eq!(bucket.keys(), "");
    });
}

#[test]
fn the_order_of_expiry_is_the_order_of_time_whatever_the_order_of_writing() {
    on_each_store(|store| {
        let bucket = store.depth(2);
        for (at, key) in ["e", "c", "a", "d", "b"].into_iter().enumerate() {
            bucket.put_with(key, "value", ttl(100 * ((at as u64 * 3) % 5 + 1)));
        }
        for left in ["a b c d", "a b d", "b d", "d", ""] {
            store.pass(ms(100));
            let expected: Vec<_> = left.split_whitespace().collect();
            assert_eq!(bucket.keys().split_whitespace().count(), expected.len());
        }
    });
}
