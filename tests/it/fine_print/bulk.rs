//! What writes to many keys at once: matching keys, all keys, markers; and loads and tickets.

use std::time::Duration;

use annals::{BucketConfig, ErrorKind, PutOptions, Revision};

use crate::fixture::{ms, on_each_store, on_every_schedule, ttl};

#[test]
fn matching_writes_go_to_keys_that_hold_a_value_in_key_order() {
    on_each_store(|store| {
        for purge in [false, true] {
            let bucket = store.bucket(BucketConfig::new(format!("purge-{purge}")).history(3));
            for key in ["x.c", "x.a", "x.b", "y.a", "x.deleted", "x.purged", "x", "x.a.b"] {
                bucket.put(key, "value");
            }
            bucket.put_with("x.expired", "value", ttl(10));
            bucket.delete("x.deleted");
            bucket.purge("x.purged");
            store.pass(ms(10));
            assert_eq!(bucket.last(), 11);
            let answer = if purge { bucket.purge_matching("x.*") } else { bucket.delete_matching("x.*") };
            assert_eq!(answer, (3, 14));
            let history = if purge { "x.a12 x.b13 x.c14" } else { "x.c1 x.a2 x.b3 x.a12 x.b13 x.c14" };
            let shown: Vec<_> = bucket.order("x.*").split(' ').filter(|entry| !entry.contains("ed")).map(str::to_owned).collect();
            assert_eq!(shown.join(" "), history);
            assert_eq!(bucket.keys(), "x x.a.b y.a");
            bucket.assert_nothing_at("x.expired");
            // Once more there is nothing left to write to.
            assert_eq!(bucket.delete_matching("x.*"), (0, 0));
            assert_eq!(bucket.purge_matching("missing"), (0, 0));
            assert_eq!(bucket.delete_matching("x"), (1, 15));
            assert_eq!(bucket.purge_matching(">"), (2, 17));
            assert_eq!(bucket.status().live_keys, 0);
        }
    });
}

#[test]
fn matching_writes_reach_every_key_of_a_large_bucket() {
    on_each_store(|store| {
        let bucket = store.depth(2);
        let keys = (0..1500).map(|number| format!("{}.{number:04}", if number % 3 == 0 { "a" } else { "b" }));
        let loaded = bucket.handle().load(keys.map(|key| (key, "value"))).unwrap();
        store.checkpoint();
        assert_eq!((loaded.count, loaded.last_revision.get()), (1500, 1500));
        assert_eq!(bucket.delete_matching("b.*"), (1000, 2500));
        assert_eq!(bucket.status().live_keys, 500);
        assert_eq!(bucket.purge_matching("a.>"), (500, 3000));
        assert_eq!(bucket.status().live_keys, 0);
        assert_eq!(bucket.purge_deletes(Duration::ZERO), 1500);
        assert_eq!((bucket.status().values, bucket.last()), (0, 3000));
    });
}

#[test]
fn a_purge_of_all_is_final_whatever_happens_to_the_files() {
    on_every_schedule(5, |store| {
        let bucket = store.depth(3);
        bucket.handle().put("a", "1").unwrap();
        bucket.handle().delete("a").unwrap();
        bucket.put("b", "3");
        assert_eq!(bucket.purge_all(), 3);
        assert_eq!(bucket.purge_all(), 3, "nothing was written since");
        assert_eq!((bucket.status().values, bucket.status().bytes, bucket.last()), (0, 0, 3));
        assert_eq!(bucket.update("a", "4", 0), 4);
        assert_eq!(bucket.order(">"), "a4");
        assert_eq!(bucket.create("b", "5"), 5);
        assert_eq!(bucket.order(">"), "a4 b5");
    });
}

#[test]
fn a_purge_of_all_of_an_empty_bucket_is_fine_and_others_are_untouched() {
    on_each_store(|store| {
        let (empty, other) = (store.bucket(BucketConfig::new("empty")), store.bucket(BucketConfig::new("other")));
        other.put("k", "value");
        assert_eq!(empty.purge_all(), 0);
        assert_eq!((empty.put("k", "value"), empty.purge_all()), (1, 1));
        assert_eq!(other.text("k").as_deref(), Some("value"));
    });
}

#[test]
fn purge_deletes_takes_a_marker_of_exactly_the_age() {
    on_every_schedule(4, |store| {
        let bucket = store.depth(4);
        bucket.handle().put("old", "1").unwrap();
        bucket.delete("old");
        store.pass(Duration::from_nanos(1));
        bucket.handle().put("young", "3").unwrap();
        bucket.purge("young");
        store.pass(ms(100));
        assert_eq!(bucket.purge_deletes(ms(100) + Duration::from_nanos(1)), 2);
        assert_eq!(bucket.history(">"), "PURGE 4");
        bucket.assert_nothing_at("old");
        assert_eq!(bucket.purge_deletes(ms(100)), 1);
        assert_eq!(bucket.history(">"), "");
        assert_eq!(bucket.purge_deletes(ms(0)), 0);
        assert_eq!(bucket.update("young", "5", 0), 5);
    });
}

#[test]
fn what_a_marker_hid_stays_away_after_the_marker_went() {
    on_every_schedule(6, |store| {
        let bucket = store.depth(4);
        bucket.put("k", "1");
        bucket.put("k", "2");
        bucket.delete("k");
        assert_eq!(bucket.purge_deletes(ms(0)), 1);
        bucket.assert_nothing_at("k");
        assert_eq!(bucket.refusal(|bucket| bucket.update("k", "new", 3.into())).actual, Some(0));
        bucket.put("k", "4");
        assert_eq!(bucket.history("k"), "PUT 4");
        bucket.put("k", "5");
        assert_eq!(bucket.history("k"), "PUT 4, PUT 5");
    });
}

#[test]
fn a_marker_that_was_left_goes_on_as_the_keys_newest_entry() {
    on_every_schedule(5, |store| {
        let bucket = store.depth(4);
        bucket.put("k", "1");
        bucket.delete("k");
        assert_eq!(bucket.purge_deletes(ms(1000)), 1);
        assert_eq!((bucket.history("k").as_str(), bucket.revision("k")), ("DEL 2", 2));
        assert_eq!(bucket.text_at("k", 1), None);
        assert_eq!(bucket.refusal(|bucket| bucket.update("k", "new", 1.into())).actual, Some(2));
        assert_eq!(bucket.update("k", "3", 2), 3);
        assert_eq!(bucket.history("k"), "DEL 2, PUT 3");
        bucket.delete("k");
        assert_eq!(bucket.history("k"), "DEL 2, PUT 3, DEL 4");
        assert_eq!(bucket.purge_deletes(ms(1000)), 1);
        assert_eq!(bucket.history("k"), "DEL 4");
    });
}

#[test]
fn purge_deletes_leaves_values_alone_also_over_old_markers() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        bucket.put("k", "1");
        bucket.delete("k");
        bucket.put("k", "3");
        bucket.put_with("expiring", "4", ttl(100));
        assert_eq!(bucket.purge_deletes(ms(0)), 0);
        assert_eq!(bucket.history("k"), "PUT 1, DEL 2, PUT 3");
        store.pass(ms(100));
        // An expired value is no marker, and an expired marker is none any more.
        bucket.purge_with("marker", ttl(100));
        store.pass(ms(100));
        assert_eq!(bucket.purge_deletes(ms(0)), 0);
    });
}

#[test]
fn a_load_is_many_puts_and_tells_the_last_revision() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        let nothing = bucket.handle().load([("", ""); 0]).unwrap();
        assert_eq!((nothing.count, nothing.last_revision), (0, Revision::NONE));
        let values = (0..2500_u32).map(|number| (format!("k{}", number % 1700), number.to_le_bytes()));
        let loaded = bucket.handle().load(values).unwrap();
        store.checkpoint();
        assert_eq!((loaded.count, loaded.last_revision.get()), (2500, 2500));
        assert_eq!(bucket.status().live_keys, 1700);
        assert_eq!(bucket.get("k799"), Some(2499_u32.to_le_bytes().to_vec()));
        assert_eq!(bucket.get("k800"), Some(800_u32.to_le_bytes().to_vec()));
        // What is wrong stops it; commits before it stand.
        let bad = (0..1200).map(|number| if number == 1100 { "not a key".to_owned() } else { format!("l{number}") });
        let error = bucket.handle().load(bad.map(|key| (key, "value"))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidKey);
        store.checkpoint();
        assert_eq!((bucket.last(), bucket.status().live_keys), (3500, 2700));
    });
}

#[test]
fn tickets_answer_in_the_order_of_their_writes() {
    on_each_store(|store| {
        for limit in [None, Some(1_000_000)] {
            let bucket = store.bucket(BucketConfig::new(format!("b{}", limit.is_some())).history(64).max_bytes(limit));
            let handle = bucket.handle();
            let options = PutOptions::new();
            let tickets: Vec<_> = (0..50).map(|number| handle.submit("k", number.to_string(), options).unwrap()).collect();
            drop(handle.submit("dropped", "value", options).unwrap());
            let revisions: Vec<_> = tickets.iter().map(|ticket| ticket.wait().unwrap().get()).collect();
            assert_eq!(revisions, (1..=50).collect::<Vec<_>>());
            assert!(tickets.iter().all(|ticket| ticket.poll().is_some_and(|answer| answer.is_ok())), "waiting twice is fine");
            assert_eq!(handle.submit("last", "value", options).unwrap().wait().unwrap().get(), 52);
            drop((handle, tickets));
            store.checkpoint();
            assert_eq!((bucket.text("k").as_deref(), bucket.text("dropped").as_deref()), (Some("49"), Some("value")));
        }
    });
}

#[test]
fn a_submitted_write_has_its_time_to_live_and_starts_a_new_life_too() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        let submit = |value: &str, options: PutOptions| {
            let ticket = bucket.handle().submit("k", value, options).unwrap();
            let answer = ticket.wait().unwrap().get();
            drop(ticket);
            store.checkpoint();
            answer
        };
        assert_eq!(submit("1", PutOptions::new()), 1);
        assert_eq!(submit("2", ttl(100)), 2);
        store.pass(ms(100));
        bucket.assert_nothing_at("k");
        assert_eq!(submit("3", PutOptions::new()), 3);
        assert_eq!(bucket.history("k"), "PUT 3");
    });
}
