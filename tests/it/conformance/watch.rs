//! Scenarios 58-76: watches.

use annals::{BucketConfig, Entry, ErrorKind, Event, Operation, Outcome, Revision, Watch, WatchOptions};

use crate::fixture::{Fixture, Probe, on_each_store, refused};

/// Events as text: `b2`, `DEL a3`, `marker`, `purged 4`.
fn shown(event: &Event) -> String {
    match event {
        Event::Entry(entry) => format!("{}{}{}", operation(entry), entry.key(), entry.revision()),
        Event::UpToDate => "marker".to_owned(),
        Event::Purged { through } => format!("purged {through}"),
        other => format!("{other:?}"),
    }
}

fn operation(entry: &Entry) -> &'static str {
    match entry.operation() {
        Operation::Put => "",
        Operation::Delete => "DEL ",
        Operation::Purge => "PURGE ",
    }
}

/// All that can be had without waiting.
fn drain(watch: &mut Watch) -> String {
    let events = std::iter::from_fn(|| watch.try_next().unwrap());
    events.map(|event| shown(&event)).collect::<Vec<_>>().join(", ")
}

fn watch(bucket: &Probe<'_>, options: WatchOptions) -> Watch {
    bucket.handle().watch_with(options).unwrap()
}

/// What a watch of the bucket begins with.
fn start(bucket: &Probe<'_>, options: WatchOptions) -> String {
    drain(&mut watch(bucket, options))
}

fn all() -> WatchOptions {
    WatchOptions::new()
}

/// The data of scenarios 62 and 67.
fn filled(store: &Fixture) -> Probe<'_> {
    let bucket = store.depth(3);
    for key in ["a.x", "b.x", "a.y", "a.x", "c"] {
        bucket.put(key, "value");
    }
    bucket.delete("a.y");
    bucket.purge("b.x");
    bucket
}

#[test]
fn conformance_058_a_watch_of_an_empty_bucket_is_up_to_date_at_once() {
    on_each_store(|store| {
        let bucket = store.depth(1).handle();
        let mut watch = bucket.watch(">").unwrap();
        assert_eq!(drain(&mut watch), "marker");
        bucket.put("k", "value").unwrap();
        let event = watch.next().unwrap().unwrap();
        let entry = event.entry().unwrap();
        assert_eq!((shown(&event).as_str(), entry.value().as_ref(), entry.deadline()), ("k1", &b"value"[..], None));
    });
}

#[test]
fn conformance_059_the_state_comes_in_the_order_of_revisions() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        for key in ["a", "b", "a"] {
            bucket.put(key, "value");
        }
        assert_eq!(start(&bucket, all()), "b2, a3, marker");
    });
}

#[test]
fn conformance_060_markers_are_part_of_the_state() {
    on_each_store(|store| {
        let bucket = store.depth(3);
        bucket.put("a", "value");
        bucket.put("b", "value");
        bucket.delete("a");
        bucket.purge("b");
        assert_eq!(start(&bucket, all()), "DEL a3, PURGE b4, marker");
    });
}

#[test]
fn conformance_061_deletes_are_left_out_on_request() {
    on_each_store(|store| {
        let bucket = store.depth(3);
        bucket.put("a", "value");
        bucket.put("b", "value");
        bucket.delete("a");
        bucket.purge("b");
        let bucket = bucket.handle();
        let mut watch = bucket.watch_with(all().ignore_deletes(true)).unwrap();
        assert_eq!(drain(&mut watch), "marker");
        bucket.put("a", "value").unwrap();
        bucket.delete("a").unwrap();
        bucket.purge("b").unwrap();
        assert_eq!(drain(&mut watch), "a5");
    });
}

#[test]
fn conformance_062_history_is_everything_that_is_retained() {
    on_each_store(|store| {
        let bucket = filled(store);
        assert_eq!(start(&bucket, all().history(true)), "a.x1, a.y3, a.x4, c5, DEL a.y6, PURGE b.x7, marker");
    });
}

#[test]
fn conformance_063_updates_only_begins_with_the_next_write() {
    on_each_store(|store| {
        let bucket = filled(store).handle();
        let mut watch = bucket.watch_with(all().updates_only(true)).unwrap();
        // Even what is written before the first look.
        bucket.put("c", "value").unwrap();
        assert_eq!(drain(&mut watch), "marker, c8");
    });
}

#[test]
fn conformance_064_options_that_contradict_each_other_are_refused() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        let contradictions = [
            all().history(true).updates_only(true),
            all().updates_only(true).history(true),
            all().updates_only(true).from_revision(Revision::from(1)),
        ];
        for options in contradictions {
            let error = bucket.handle().watch_with(options).unwrap_err();
            assert_eq!((error.kind(), error.outcome()), (ErrorKind::InvalidArgument, Outcome::NotApplied));
        }
        let error = bucket.handle().watch("a..b").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidKey);
    });
}

#[test]
fn conformance_065_meta_only_leaves_out_values_alone() {
    on_each_store(|store| {
        let bucket = filled(store).handle();
        let mut watch = bucket.watch_with(all().meta_only(true).history(true)).unwrap();
        bucket.put("c", "twelve bytes").unwrap();
        let events: Vec<Event> = std::iter::from_fn(|| watch.try_next().unwrap()).collect();
        bucket.put("c", "live").unwrap();
        let events: Vec<Event> = events.into_iter().chain(watch.try_next().unwrap()).collect();
        let shown: Vec<String> = events.iter().map(shown).collect();
        assert_eq!(shown.join(", "), "a.x1, a.y3, a.x4, c5, DEL a.y6, PURGE b.x7, c8, marker, c9");
        let lens: Vec<usize> = events.iter().filter_map(Event::entry).map(Entry::value_len).collect();
        assert_eq!(lens, [5, 5, 5, 5, 0, 0, 12, 4]);
        let history: Vec<Entry> = bucket.history(">").unwrap().map(Result::unwrap).collect();
        for entry in events.iter().filter_map(Event::entry) {
            assert!(entry.value().is_empty());
            let stored = history.iter().find(|stored| stored.revision() == entry.revision()).unwrap();
            let described =
                |entry: &Entry| (entry.created(), entry.operation(), entry.reason(), entry.value_len(), entry.deadline());
            assert_eq!(described(entry), described(stored));
        }
    });
}

#[test]
fn conformance_066_an_exact_key_is_that_key_alone() {
    on_each_store(|store| {
        let bucket = store.depth(1).handle();
        let mut watch = bucket.watch("k").unwrap();
        assert_eq!(drain(&mut watch), "marker");
        for key in ["k.x", "kk", "K", "k"] {
            bucket.put(key, "value").unwrap();
        }
        assert_eq!(drain(&mut watch), "k4");
    });
}

#[test]
fn conformance_067_a_watch_from_a_revision_begins_with_it_or_the_next_that_is_retained() {
    on_each_store(|store| {
        let bucket = filled(store);
        let from = |revision| start(&bucket, all().from_revision(Revision::from(revision)));
        assert_eq!(from(4), "a.x4, c5, DEL a.y6, PURGE b.x7, marker");
        assert_eq!(from(2), "a.y3, a.x4, c5, DEL a.y6, PURGE b.x7, marker");
        assert_eq!(from(1), "a.x1, a.y3, a.x4, c5, DEL a.y6, PURGE b.x7, marker");
        // The option is unset.
        assert_eq!(from(0), "a.x4, c5, DEL a.y6, PURGE b.x7, marker");
    });
}

#[test]
fn conformance_068_a_watch_from_the_revision_to_come_begins_with_new_writes() {
    on_each_store(|store| {
        let bucket = filled(store).handle();
        let mut watch = bucket.watch_with(all().from_revision(Revision::from(8))).unwrap();
        // annals: from a revision further ahead, nothing before it is given.
        let mut ahead = bucket.watch_with(all().from_revision(Revision::from(10))).unwrap();
        assert_eq!((drain(&mut watch), drain(&mut ahead)), ("marker".to_owned(), "marker".to_owned()));
        for _ in 0..3 {
            bucket.put("c", "value").unwrap();
        }
        assert_eq!((drain(&mut watch), drain(&mut ahead)), ("c8, c9, c10".to_owned(), "c10".to_owned()));
    });
}

#[test]
fn conformance_069_every_operation_is_an_event() {
    on_each_store(|store| {
        let bucket = store.depth(1).handle();
        let mut watch = bucket.watch(">").unwrap();
        assert_eq!(drain(&mut watch), "marker");
        bucket.put("k", "1").unwrap();
        bucket.put("k", "2").unwrap();
        bucket.delete("k").unwrap();
        bucket.purge("k").unwrap();
        let events: Vec<Event> = std::iter::from_fn(|| watch.try_next().unwrap()).collect();
        assert_eq!(events.iter().map(shown).collect::<Vec<_>>(), ["k1", "k2", "DEL k3", "PURGE k4"]);
        let values: Vec<&[u8]> = events.iter().filter_map(Event::entry).map(|entry| &**entry.value()).collect();
        assert_eq!(values, [&b"1"[..], b"2", b"", b""]);
    });
}

#[test]
fn conformance_070_a_write_that_is_refused_is_no_event() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        bucket.put("k", "value");
        let mut watch = watch(&bucket, all());
        assert_eq!(drain(&mut watch), "k1, marker");
        let handle = bucket.handle();
        assert_eq!(handle.create("k", "x").unwrap_err().actual_revision(), Some(Revision::from(1)));
        assert_eq!(handle.update("k", "x", Revision::from(9)).unwrap_err().kind(), ErrorKind::WrongRevision);
        assert_eq!(drain(&mut watch), "");
        drop(handle);
        assert_eq!(bucket.refusal(|bucket| bucket.create("k", "x")), refused(ErrorKind::AlreadyExists, 1));
    });
}

#[test]
fn conformance_070_whatever_it_is_refused_for() {
    on_each_store(|store| {
        let config = BucketConfig::new("b").max_value_size(10).max_bytes(2 * 43);
        let bucket = store.bucket(config).handle();
        bucket.put("k", "0123456789").unwrap();
        let mut watch = bucket.watch(">").unwrap();
        assert_eq!(drain(&mut watch), "k1, marker");
        let stale = Revision::from(9);
        let kinds = [
            bucket.put("k", "0123456789a").unwrap_err().kind(),
            bucket.put("a..b", "").unwrap_err().kind(),
            bucket.delete_expect_revision("k", stale).unwrap_err().kind(),
            bucket.purge_expect_revision("k", stale).unwrap_err().kind(),
            store.store().batch().put(&bucket, "c", "new").update(&bucket, "k", "", stale).commit().unwrap_err().kind(),
            store.store().batch().put(&bucket, "c", "").put(&bucket, "d", "0123456789").commit().unwrap_err().kind(),
        ];
        let expected = [
            ErrorKind::ValueTooLarge,
            ErrorKind::InvalidKey,
            ErrorKind::WrongRevision,
            ErrorKind::WrongRevision,
            ErrorKind::WrongRevision,
            ErrorKind::BucketFull,
        ];
        assert_eq!(kinds, expected);
        assert_eq!(drain(&mut watch), "");
        bucket.put("k", "next").unwrap();
        assert_eq!(drain(&mut watch), "k2");
    });
}

#[test]
fn conformance_071_several_filters_are_one_watch() {
    on_each_store(|store| {
        let bucket = filled(store);
        let both = || all().filter("a.x").filter("c");
        assert_eq!(start(&bucket, both()), "a.x4, c5, marker");
        assert_eq!(start(&bucket, both().history(true)), "a.x1, a.x4, c5, marker");
        // annals: filters that overlap are allowed, and each change is given once.
        let overlapping = || all().filter("a.>").filter("a.x").filter("*.x").filter("a.x").filter(">");
        assert_eq!(start(&bucket, overlapping()), "a.x4, c5, DEL a.y6, PURGE b.x7, marker");
        let handle = bucket.handle();
        let mut live = handle.watch_with(overlapping().updates_only(true)).unwrap();
        handle.put("a.x", "value").unwrap();
        assert_eq!(drain(&mut live), "marker, a.x8");
    });
}

#[test]
fn conformance_072_a_filter_that_matches_nothing_is_up_to_date_at_once() {
    on_each_store(|store| {
        let bucket = filled(store);
        assert_eq!(start(&bucket, all().filter("nobody")), "marker");
        assert_eq!(start(&bucket, all().filter("nobody.*").history(true)), "marker");
    });
}

#[test]
fn conformance_073_two_watches_see_the_same() {
    on_each_store(|store| {
        let bucket = filled(store).handle();
        let mut watches = [bucket.watch(">").unwrap(), bucket.watch(">").unwrap()];
        let states = watches.each_mut().map(drain);
        assert_eq!(states, ["a.x4, c5, DEL a.y6, PURGE b.x7, marker"; 2]);
        bucket.put("c", "value").unwrap();
        bucket.delete("a.x").unwrap();
        assert_eq!(watches.each_mut().map(drain), ["c8, DEL a.x9"; 2]);
    });
}

#[test]
fn conformance_074_a_watch_that_keeps_up_sees_every_change_at_depth_one() {
    on_each_store(|store| {
        let bucket = store.depth(1).handle();
        let mut watch = bucket.watch("k").unwrap();
        assert_eq!(drain(&mut watch), "marker");
        for number in 0..5 {
            bucket.put("k", [number]).unwrap();
        }
        let values: Vec<u8> =
            std::iter::from_fn(|| watch.try_next().unwrap()).map(|event| event.entry().unwrap().value()[0]).collect();
        assert_eq!(values, [0, 1, 2, 3, 4]);
    });
}

#[test]
fn conformance_075_nothing_comes_after_a_stop() {
    on_each_store(|store| {
        let bucket = store.depth(1).handle();
        let mut stopped = [bucket.watch(">").unwrap(), bucket.watch(">").unwrap()];
        assert_eq!(stopped.each_mut().map(drain), ["marker"; 2]);
        bucket.put("k", "before").unwrap();
        stopped[0].stop();
        stopped[1].stopper().stop();
        bucket.put("k", "after").unwrap();
        for mut watch in stopped {
            assert!(watch.next().is_none());
            assert_eq!(watch.try_next().unwrap(), None);
            // annals: a second stop does nothing.
            watch.stop();
        }
    });
}

#[test]
fn conformance_076_a_watch_is_told_that_its_bucket_was_deleted() {
    on_each_store(|store| {
        let bucket = store.bucket(BucketConfig::new("gone")).handle();
        let mut watch = bucket.watch(">").unwrap();
        assert_eq!(drain(&mut watch), "marker");
        bucket.put("k", "last words").unwrap();
        store.store().delete_bucket("gone").unwrap();
        store.store().create_bucket(BucketConfig::new("gone")).unwrap().put("k", "another bucket").unwrap();
        assert_eq!(shown(&watch.next().unwrap().unwrap()), "k1");
        assert_eq!(watch.next().unwrap().unwrap_err().kind(), ErrorKind::BucketNotFound);
        assert!(watch.next().is_none());
    });
}
