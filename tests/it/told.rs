//! What the events say: the same as what is read, deadlines, reasons, what was replaced; of writes to many keys and of several buckets; and
//! what is told of that which expired or was tidied away.

use std::time::{Duration, SystemTime};

use annals::{
    Bucket, BucketConfig, Entry, ErrorKind, Event, Operation, PutOptions, Reason, Revision, Store, Watch, WatchOptions,
    WatchToken,
};

use crate::fixture::{ms, on_each_store, ttl};

fn drain(watch: &mut Watch) -> Vec<Event> {
    std::iter::from_fn(|| watch.try_next().unwrap()).collect()
}

fn updates(bucket: &Bucket) -> Watch {
    let mut watch = bucket.watch_with(WatchOptions::new().updates_only(true)).unwrap();
    assert_eq!(drain(&mut watch), [Event::UpToDate]);
    watch
}

fn entries(watch: &mut Watch) -> Vec<Entry> {
    drain(watch).into_iter().filter_map(|event| event.entry().cloned()).collect()
}

fn shown(events: &[Event]) -> String {
    let shown = |event: &Event| match event {
        Event::Entry(entry) => format!("{:?} {} {}", entry.operation(), entry.key(), entry.revision()),
        Event::UpToDate => "marker".to_owned(),
        Event::Purged { through } => format!("purged {through}"),
        Event::Skipped { from, to } => format!("skipped {from} to {to}"),
        other => format!("{other:?}"),
    };
    events.iter().map(shown).collect::<Vec<_>>().join(", ")
}

#[test]
fn an_event_is_the_entry_that_is_read_whether_it_came_live_or_later() {
    on_each_store(|store| {
        let bucket = store.bucket(BucketConfig::new("b").history(64).limit_markers(ms(60_000))).handle();
        let mut live = updates(&bucket);
        bucket.put("a", "").unwrap();
        bucket.put("a", vec![7; 5_000]).unwrap();
        bucket.create_with("b", "lease", ttl(1000)).unwrap();
        bucket.delete("a").unwrap();
        bucket.create("a", "again").unwrap();
        bucket.purge_with("c", Revision::NONE, ttl(70_000)).unwrap();
        bucket.touch("b", ttl(2000)).unwrap();
        store.clock().advance(ms(2000));
        store.store().sweep().unwrap();
        let live = entries(&mut live);
        assert_eq!(live.len(), 8);
        let read: Vec<Entry> = bucket.history(">").unwrap().map(Result::unwrap).collect();
        let listed = bucket.changes_since(Revision::NONE).unwrap().map(|event| event.unwrap().entry().unwrap().clone());
        let begun = entries(&mut bucket.watch_with(WatchOptions::new().history(true)).unwrap());
        let resumed = entries(&mut bucket.watch_with(WatchOptions::new().from_revision(Revision::from(1))).unwrap());
        assert!(listed.eq(read.iter().cloned()));
        assert_eq!((&begun, &resumed), (&read, &read));
        // What the expiry took with it is not read any more: the whole life of `b`.
        let still: Vec<Entry> =
            live.into_iter().filter(|entry| read.iter().any(|read| read.revision() == entry.revision())).collect();
        assert_eq!(still, read);
    });
}

#[test]
fn the_deadline_of_an_event_is_that_of_its_own_time_to_live() {
    on_each_store(|store| {
        let bucket = store.bucket(BucketConfig::new("b").max_age(ms(500)).limit_markers(ms(3000))).handle();
        let mut watch = updates(&bucket);
        bucket.put("plain", "value").unwrap();
        bucket.put_with("long", "value", ttl(1000)).unwrap();
        bucket.put_with("short", "value", ttl(100)).unwrap();
        bucket.purge_with("purged", Revision::NONE, ttl(400)).unwrap();
        bucket.delete("deleted").unwrap();
        store.clock().advance(ms(100));
        store.store().sweep().unwrap();
        let entries = entries(&mut watch);
        let spans: Vec<Option<Duration>> = entries
            .iter()
            .map(|entry| entry.deadline().map(|deadline| deadline.duration_since(entry.created()).unwrap()))
            .collect();
        // The last is the marker of `short`, which lives as long as the bucket says, from its commit on.
        assert_eq!(spans, [None, Some(ms(1000)), Some(ms(100)), Some(ms(400)), None, Some(ms(3000))]);
        let marker = entries.last().unwrap();
        assert_eq!((marker.key().as_str(), marker.reason()), ("short", Reason::Expired));
        assert_eq!(marker.created().duration_since(entries[0].created()).unwrap(), ms(100));
        let mut meta = bucket.watch_with(WatchOptions::new().filter("long").meta_only(true)).unwrap();
        assert_eq!(meta.next().unwrap().unwrap().entry().unwrap().deadline(), entries[1].deadline());
        assert!(entries[0].created() > SystemTime::UNIX_EPOCH);
    });
}

#[test]
fn a_touch_is_told_as_a_put_of_the_old_value_and_touching_nothing_is_not_told() {
    on_each_store(|store| {
        let bucket = store.depth(1).handle();
        bucket.put_with("k", "value", ttl(1000)).unwrap();
        let mut watch = updates(&bucket);
        bucket.touch("k", ttl(5000)).unwrap().unwrap();
        assert_eq!(bucket.touch("nobody", ttl(5000)).unwrap(), None);
        let [entry] = &*entries(&mut watch) else { panic!("one event") };
        assert_eq!((entry.operation(), entry.reason(), &**entry.value()), (Operation::Put, Reason::Touched, &b"value"[..]));
        assert_eq!(entry.previous(), Some(Revision::from(1)), "it had to look");
        assert_eq!(entry.deadline().unwrap().duration_since(entry.created()).unwrap(), ms(5000));
    });
}

#[test]
fn the_revision_that_was_replaced_is_told_by_writes_that_had_to_look() {
    on_each_store(|store| {
        let bucket = store.depth(2).handle();
        let mut watch = updates(&bucket);
        bucket.create("k", "1").unwrap();
        bucket.update("k", "2", Revision::from(1)).unwrap();
        bucket.put("k", "3").unwrap();
        bucket.delete_expect_revision("k", Revision::from(3)).unwrap();
        bucket.create("k", "5").unwrap();
        bucket.purge_expect_revision("k", Revision::from(5)).unwrap();
        let previous: Vec<_> = entries(&mut watch).iter().map(|entry| entry.previous().map(Revision::get)).collect();
        assert_eq!(previous, [Some(0), Some(1), None, Some(3), Some(4), Some(5)]);
        let again = entries(&mut bucket.watch_with(WatchOptions::new().history(true)).unwrap());
        assert!(again.iter().all(|entry| entry.previous().is_none()), "known only live");
    });
}

#[test]
fn a_write_to_all_keys_of_a_pattern_is_an_event_for_each_that_held_a_value_in_the_order_of_keys() {
    on_each_store(|store| {
        let bucket = store.depth(2).handle();
        for key in ["c.1", "a.1", "b", "a.2"] {
            bucket.put(key, "value").unwrap();
        }
        bucket.delete("a.2").unwrap();
        let mut watch = updates(&bucket);
        assert_eq!(bucket.delete_matching("*.1").unwrap().count, 2);
        assert_eq!(bucket.purge_matching(">").unwrap().count, 1);
        assert_eq!(bucket.delete_matching("nobody").unwrap().count, 0);
        assert_eq!(shown(&drain(&mut watch)), "Delete a.1 6, Delete c.1 7, Purge b 8");
    });
}

#[test]
fn each_watch_hears_of_its_own_bucket_though_a_batch_writes_to_several() {
    on_each_store(|store| {
        let [one, other] = ["one", "other"].map(|name| store.bucket(BucketConfig::new(name)).handle());
        let (mut of_one, mut of_other) = (updates(&one), updates(&other));
        let store = store.store();
        store.batch().put(&one, "a", "1").put(&other, "a", "2").put(&one, "b", "3").commit().unwrap();
        other.purge_all().unwrap();
        assert_eq!(shown(&drain(&mut of_one)), "Put a 1, Put b 2");
        assert_eq!(shown(&drain(&mut of_other)), "Put a 1, purged 1");
    });
}

#[test]
fn markers_of_expiry_are_left_out_with_the_others() {
    on_each_store(|store| {
        let bucket = store.bucket(BucketConfig::new("b").limit_markers(ms(60_000))).handle();
        let mut watch = bucket.watch_with(WatchOptions::new().ignore_deletes(true)).unwrap();
        bucket.put_with("k", "lease", ttl(1000)).unwrap();
        assert_eq!(shown(&drain(&mut watch)), "Put k 1, marker");
        store.clock().advance(ms(1000));
        store.store().sweep().unwrap();
        bucket.put("k", "again").unwrap();
        assert_eq!(shown(&drain(&mut watch)), "Put k 3");
    });
}

#[test]
fn what_is_skipped_before_a_watch_is_up_to_date_is_not_told_and_afterwards_it_is() {
    on_each_store(|store| {
        let bucket = store.depth(1).handle();
        bucket.put("k", "first").unwrap();
        let token = updates(&bucket).token();
        let mut never = bucket.watch(">").unwrap();
        let mut resumed = bucket.watch_with(WatchOptions::new().after(token)).unwrap();
        let mut looked = updates(&bucket);
        let mut without = bucket.watch_with(WatchOptions::new().ignore_deletes(true).updates_only(true)).unwrap();
        drain(&mut without);
        for _ in 0..1_500 {
            bucket.put("k", "again").unwrap();
        }
        bucket.delete("k").unwrap();
        assert_eq!(shown(&drain(&mut never)), "Delete k 1502, marker");
        assert_eq!(shown(&drain(&mut resumed)), "Delete k 1502, marker");
        assert_eq!(shown(&drain(&mut looked)), "skipped 2 to 1501, Delete k 1502");
        // A newer marker that was not asked for excuses what it replaced.
        let excused = drain(&mut without);
        assert!(excused.iter().all(|event| matches!(event, Event::Skipped { .. })), "{excused:?}");
        bucket.put("k", "live").unwrap();
        for watch in [&mut never, &mut resumed, &mut looked, &mut without] {
            assert_eq!(shown(&drain(watch)), "Put k 1503");
        }
    });
}

#[test]
fn a_key_that_expired_silently_refuses_who_asks_from_before_and_is_no_part_of_any_state() {
    on_each_store(|store| {
        let bucket = store.depth(5).handle();
        bucket.put("a", "1").unwrap();
        bucket.put_with("k", "2", ttl(100)).unwrap();
        bucket.put("a", "3").unwrap();
        let mut early = bucket.watch(">").unwrap();
        let mut live = updates(&bucket);
        bucket.put_with("k", "4", ttl(100)).unwrap();
        store.clock().advance(ms(100));
        // What waits is given though its deadline is over, which it says.
        let [entry] = &*entries(&mut live) else { panic!("one event") };
        assert_eq!((entry.key().as_str(), entry.revision().get()), ("k", 4));
        // One that had not begun finds what is there now.
        assert_eq!(shown(&drain(&mut early)), "Put a 3, marker");
        assert_eq!(shown(&drain(&mut bucket.watch("k").unwrap())), "marker");
        let history = bucket.watch_with(WatchOptions::new().history(true));
        assert_eq!(shown(&drain(&mut history.unwrap())), "Put a 1, Put a 3, marker");
        for from in 2..=4 {
            let error = bucket.watch_with(WatchOptions::new().from_revision(Revision::from(from))).unwrap_err();
            assert_eq!((error.kind(), error.floor()), (ErrorKind::Compacted, Some(Revision::from(4))), "from {from}");
        }
        assert_eq!(
            shown(&drain(&mut bucket.watch_with(WatchOptions::new().from_revision(Revision::from(5))).unwrap())),
            "marker"
        );
    });
}

#[test]
fn a_watch_that_fell_behind_what_left_no_trace_is_told_from_where_to_go_on() {
    on_each_store(|store| {
        let bucket = store.depth(1).handle();
        bucket.put("first", "value").unwrap();
        let mut watch = updates(&bucket);
        let mut unread = bucket.watch_with(WatchOptions::new().from_revision(Revision::from(1))).unwrap();
        let before = watch.token();
        for number in 0..1_500 {
            bucket.put(format!("k{number}"), "value").unwrap();
        }
        bucket.delete("k7").unwrap();
        bucket.purge_deletes(Duration::ZERO).unwrap();
        let error = watch.next().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Lagged);
        let floor = error.floor().unwrap();
        assert_eq!(floor, Revision::from(1502));
        assert!(watch.next().is_none());
        bucket.put("k8", "next").unwrap();
        let options = WatchOptions::new().from_revision(Revision::from(floor.get() + 1));
        assert_eq!(shown(&drain(&mut bucket.watch_with(options).unwrap())), "Put k8 1503, marker");
        assert_eq!(bucket.changes_since(floor).unwrap().count(), 1);
        // Whoever has seen nothing has missed nothing.
        assert_eq!(entries(&mut unread).len(), 1_500);
        let error = bucket.watch_with(WatchOptions::new().after(before)).unwrap_err();
        assert_eq!((error.kind(), error.floor()), (ErrorKind::Compacted, Some(floor)));
    });
}

#[test]
fn a_watch_that_began_in_an_empty_bucket_is_told_as_well_when_a_key_came_and_went() {
    on_each_store(|store| {
        for (filter, expires) in [(">", false), ("gone", false), (">", true), ("gone", true)] {
            let name = format!("{}-{expires}", if filter == ">" { "all" } else { "one" });
            let bucket = store.bucket(BucketConfig::new(&name)).handle();
            let mut live = updates(&bucket);
            let mut began = bucket.watch_with(WatchOptions::new().filter(filter)).unwrap();
            assert_eq!(drain(&mut began), [Event::UpToDate]);
            let unread = bucket.watch_with(WatchOptions::new().filter(filter).from_revision(Revision::from(1))).unwrap();
            let before = began.token();
            // Too many to wait for any of them.
            for _ in 0..1_500 {
                bucket.put_with("gone", "value", if expires { ttl(100) } else { PutOptions::new() }).unwrap();
                bucket.put("stays", "value").unwrap();
            }
            if expires {
                store.clock().advance(ms(100));
            } else {
                bucket.delete("gone").unwrap();
                bucket.purge_deletes(Duration::ZERO).unwrap();
            }
            for watch in [&mut live, &mut began] {
                let error = watch.next().unwrap().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Lagged, "{name}");
                assert!(error.floor().unwrap() >= Revision::from(2_999), "{name}");
                assert!(watch.next().is_none());
            }
            // Who was told nothing can begin, and go on with a token of nothing.
            let resumed = bucket.watch_with(WatchOptions::new().filter(filter).after(before)).unwrap();
            for mut watch in [resumed, unread] {
                assert!(entries(&mut watch).iter().all(|entry| entry.key().as_str() == "stays"), "{name}");
            }
        }
    });
}

#[test]
fn a_token_that_was_good_when_the_watch_was_made_may_be_too_old_when_it_is_read() {
    on_each_store(|store| {
        let bucket = store.depth(1).handle();
        bucket.put("a", "1").unwrap();
        let token = updates(&bucket).token();
        let mut watch = bucket.watch_with(WatchOptions::new().after(token)).unwrap();
        bucket.delete("a").unwrap();
        bucket.purge_deletes(Duration::ZERO).unwrap();
        let first = watch.next().unwrap();
        match first {
            // Told of in time after all.
            Ok(event) => assert_eq!(shown(&[event]), "Delete a 2"),
            Err(error) => {
                assert_eq!((error.kind(), error.floor()), (ErrorKind::Compacted, Some(Revision::from(2))));
                assert!(watch.next().is_none());
            }
        }
    });
}

#[test]
fn a_token_of_nothing_is_never_too_old() {
    on_each_store(|store| {
        let bucket = store.depth(1).handle();
        let token = updates(&bucket).token();
        bucket.put("gone", "value").unwrap();
        bucket.put("stays", "value").unwrap();
        let mut before = bucket.watch_with(WatchOptions::new().after(token)).unwrap();
        bucket.delete("gone").unwrap();
        bucket.purge_deletes(Duration::ZERO).unwrap();
        let mut after = bucket.watch_with(WatchOptions::new().after(token)).unwrap();
        for watch in [&mut before, &mut after] {
            assert_eq!(shown(&drain(watch)), "Put stays 2, marker");
        }
    });
}

#[test]
fn behind_the_floor_of_a_refusal_nothing_is_refused() {
    for between_chunks in [false, true] {
        on_each_store(|store| {
            let bucket = store.depth(1).handle();
            bucket.put("a", "value").unwrap();
            let token = updates(&bucket).token();
            for number in 0..1_500 {
                bucket.put(format!("k{number}"), "value").unwrap();
            }
            let mut watch = bucket.watch_with(WatchOptions::new().after(token)).unwrap();
            assert!(watch.try_next().unwrap().is_some());
            bucket.put("x", "value").unwrap();
            bucket.delete("x").unwrap();
            bucket.purge_deletes(Duration::ZERO).unwrap();
            // Gone above that, and not merged yet.
            bucket.put_with("brief", "value", ttl(100)).unwrap();
            bucket.put("stays", "value").unwrap();
            store.clock().advance(ms(100));
            let error = if between_chunks {
                watch.find_map(Result::err).unwrap()
            } else {
                bucket.watch_with(WatchOptions::new().after(token)).unwrap_err()
            };
            let floor = error.floor().unwrap();
            assert_eq!((error.kind(), floor), (ErrorKind::Compacted, Revision::from(1504)));
            let options = WatchOptions::new().from_revision(Revision::from(floor.get() + 1));
            assert_eq!(shown(&drain(&mut bucket.watch_with(options).unwrap())), "Put stays 1505, marker");
        });
    }
}

#[test]
fn from_a_revision_at_or_below_a_purge_of_the_whole_bucket_it_is_told_first() {
    on_each_store(|store| {
        let bucket = store.depth(3).handle();
        for key in ["a", "b", "a"] {
            bucket.put(key, "value").unwrap();
        }
        bucket.purge_all().unwrap();
        bucket.put("c", "value").unwrap();
        let from = |from| {
            let options = WatchOptions::new().from_revision(Revision::from(from));
            shown(&drain(&mut bucket.watch_with(options).unwrap()))
        };
        let told = "purged 3, Put c 4, marker";
        assert_eq!([1, 2, 3, 4, 5].map(from), [told, told, told, told, "marker"]);
        assert_eq!(shown(&drain(&mut bucket.watch(">").unwrap())), "Put c 4, marker");
        assert_eq!(shown(&drain(&mut bucket.watch_with(WatchOptions::new().history(true)).unwrap())), "Put c 4, marker");
    });
}

#[test]
fn every_bit_and_every_cut_of_a_token_is_noticed() {
    let store = Store::in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    for _ in 0..300 {
        bucket.put("a", "value").unwrap();
    }
    bucket.purge_all().unwrap();
    bucket.put("a", "value").unwrap();
    let token = updates(&bucket).token();
    let (bytes, text) = (token.to_bytes(), token.to_string());
    assert_eq!(WatchToken::from_bytes(&bytes).unwrap(), token);
    assert!((16..=43).contains(&bytes.len()));
    assert!(text.is_ascii() && text.len() == 2 * bytes.len());
    let refused = |bytes: &[u8]| {
        let error = WatchToken::from_bytes(bytes).unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::InvalidArgument, annals::Outcome::NotApplied));
    };
    for at in 0..bytes.len() {
        refused(&bytes[..at]);
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            refused(&changed);
        }
        for extra in [0, 0xff] {
            let mut longer = bytes.clone();
            longer.insert(at, extra);
            refused(&longer);
        }
    }
    refused(&bytes.repeat(2));
    refused(&vec![1; 1 << 20]);
    for wrong in [
        format!("{text} "),
        format!("\n{text}"),
        format!("0x{text}"),
        text.to_uppercase(),
        text[1..].to_owned(),
        text.replace('0', "O"),
    ] {
        if wrong != text {
            assert_eq!(wrong.parse::<WatchToken>().unwrap_err().kind(), ErrorKind::InvalidArgument, "{wrong:?}");
        }
    }
}

#[test]
fn a_token_that_has_seen_nothing_is_good_for_any_store_and_gives_all() {
    let [token, _] = [0, 1].map(|_| {
        let store = Store::in_memory().unwrap();
        let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
        updates(&bucket).token()
    });
    assert_eq!(token.revision(), Revision::NONE);
    let store = Store::in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    bucket.put("a", "1").unwrap();
    let mut watch = bucket.watch_with(WatchOptions::new().after(token)).unwrap();
    assert_eq!(shown(&drain(&mut watch)), "Put a 1, marker");
    // Another bucket is another number, in any store.
    let second = store.create_bucket(BucketConfig::new("c")).unwrap();
    assert_eq!(second.watch_with(WatchOptions::new().after(token)).unwrap_err().kind(), ErrorKind::BucketNotFound);
}

#[test]
fn keys_and_patterns_of_thousands_of_tokens_are_matched() {
    let store = Store::in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    let tokens = |token: &str, count: usize| vec![token; count].join(".");
    let stars = tokens("*", 2000);
    let mixed = ["a", "*"].repeat(1000).join(".");
    let rest = format!("{}.>", tokens("*", 1999));
    let mut all = bucket.watch_with(WatchOptions::new().filter(&*stars).filter(&*mixed).filter(&*rest)).unwrap();
    let mut each = [stars, mixed, rest, tokens("*", 1999)].map(|pattern| bucket.watch(pattern).unwrap());
    for watch in std::iter::once(&mut all).chain(&mut each) {
        assert_eq!(drain(watch), [Event::UpToDate]);
    }
    bucket.put(tokens("a", 2000), "value").unwrap();
    assert_eq!(entries(&mut all).len(), 1);
    assert_eq!(each.each_mut().map(|watch| entries(watch).len()), [1, 1, 1, 0]);
    bucket.put(tokens("a", 1999), "value").unwrap();
    assert_eq!(entries(&mut all).len(), 0);
    assert_eq!(each.each_mut().map(|watch| entries(watch).len()), [0, 0, 0, 1]);
}

#[test]
fn whatever_watches_may_be_sent_and_tokens_and_stoppers_shared() {
    fn is_send<T: Send + 'static>() {}
    fn is_shared<T: Clone + Send + Sync + 'static>() {}
    is_send::<Watch>();
    is_send::<annals::WatchStream>();
    is_send::<annals::Changes>();
    is_shared::<annals::WatchStopper>();
    is_shared::<WatchToken>();
    is_shared::<Event>();
    is_shared::<WatchOptions>();
}
