//! Watches that go on from a token, and watches that tell how far they are. Crashes: `tests/sim/tokens.rs`, `tests/process/watchers.rs`.

use std::collections::BTreeMap;

use annals::{Bucket, BucketConfig, Durability, ErrorKind, Event, Options, Revision, Store, Watch, WatchOptions, WatchToken};

use crate::fixture::{ms, on_each_store, on_every_schedule, ttl};

fn shown(event: &Event) -> String {
    match event {
        Event::Entry(entry) => format!("{}{}", entry.key(), entry.revision()),
        Event::UpToDate => "marker".to_owned(),
        Event::Purged { through } => format!("purged {through}"),
        Event::Progress { revision, durable } => format!("at {revision}, durable {durable}"),
        other => format!("{other:?}"),
    }
}

fn take(watch: &mut Watch, count: usize) -> String {
    let events = std::iter::from_fn(|| watch.try_next().unwrap()).take(count);
    events.map(|event| shown(&event)).collect::<Vec<_>>().join(", ")
}

fn after(bucket: &Bucket, token: WatchToken) -> Watch {
    bucket.watch_with(WatchOptions::new().after(token)).unwrap()
}

/// What a watch from the token gives without waiting.
fn resumed(bucket: &Bucket, token: WatchToken) -> String {
    take(&mut after(bucket, token), usize::MAX)
}

fn refusal(bucket: &Bucket, options: WatchOptions) -> ErrorKind {
    bucket.watch_with(options).unwrap_err().kind()
}

#[test]
fn a_token_says_what_was_given_and_not_what_was_read() {
    on_each_store(|store| {
        let bucket = store.depth(2);
        for key in ["a", "b", "a", "c"] {
            bucket.put(key, "value");
        }
        let mut watch = bucket.handle().watch(">").unwrap();
        let steps = [
            ("", "a1, b2, a3, c4, marker"),
            ("b2", "a3, c4, marker"),
            ("a3", "c4, marker"),
            ("c4", "marker"),
            ("marker", "marker"),
        ];
        for (given, rest) in steps {
            assert_eq!(take(&mut watch, usize::from(!given.is_empty())), given);
            assert_eq!(resumed(&bucket.handle(), watch.token()), rest, "after {given}");
        }
        bucket.handle().put("d", "value").unwrap();
        assert_eq!(resumed(&bucket.handle(), watch.token()), "d5, marker", "what waits was not given");
        watch.stop();
        assert_eq!(resumed(&bucket.handle(), watch.token()), "d5, marker", "an ended watch knows where it was");
    });
}

#[test]
fn a_purge_of_the_whole_bucket_is_told_to_whoever_does_not_know_it_and_to_nobody_twice() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        bucket.put("a", "1");
        let mut watch = bucket.handle().watch(">").unwrap();
        assert_eq!(take(&mut watch, 9), "a1, marker");
        let before = watch.token();
        bucket.handle().purge_all().unwrap();
        bucket.handle().put("b", "2").unwrap();
        assert_eq!(resumed(&bucket.handle(), before), "purged 1, b2, marker");
        let mut again = after(&bucket.handle(), before);
        assert_eq!(take(&mut again, 1), "purged 1");
        assert_eq!(resumed(&bucket.handle(), again.token()), "b2, marker");
        assert_eq!(take(&mut watch, 1), "purged 1", "the watch that stayed is told too");
        assert_eq!(watch.token(), again.token());
        bucket.handle().purge_all().unwrap();
        assert_eq!(resumed(&bucket.handle(), again.token()), "purged 2, marker");
    });
}

#[test]
fn whoever_goes_on_from_a_token_has_the_state_of_the_bucket_whatever_was_flushed_merged_or_closed_meanwhile() {
    on_every_schedule(5, |store| {
        let bucket = store.depth(1);
        let mut known = BTreeMap::new();
        let mut token = bucket.handle().watch_with(WatchOptions::new().updates_only(true)).unwrap().token();
        for step in 0..5_u64 {
            let key = ["a", "b", "c"][step as usize % 3];
            match step {
                2 => _ = bucket.purge_all(),
                3 => _ = bucket.delete(key),
                _ => _ = bucket.put(key, step.to_string()),
            }
            bucket.put("often", step.to_string());
            store.checkpoint();
            let mut watch = after(&bucket.handle(), token);
            while let Some(event) = watch.try_next().unwrap() {
                match event {
                    Event::Entry(entry) => _ = known.insert(entry.key().as_str().to_owned(), entry.revision().get()),
                    Event::Purged { through } => known.retain(|_, revision| *revision > through.get()),
                    other => assert_eq!(other, Event::UpToDate),
                }
            }
            // Kept as text.
            token = watch.token().to_string().parse().unwrap();
            let state =
                bucket.entries(">").iter().map(|entry| (entry.key().as_str().to_owned(), entry.revision().get())).collect();
            assert_eq!(known, state, "after step {step}");
        }
    });
}

#[test]
fn the_token_of_a_watch_goes_on_though_no_key_of_its_filters_changes() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        let mut watch = bucket.handle().watch("quiet").unwrap();
        assert_eq!(take(&mut watch, 9), "marker");
        for _ in 0..3 {
            bucket.handle().put("loud", "value").unwrap();
        }
        assert_eq!(watch.token().revision(), Revision::NONE);
        assert_eq!(take(&mut watch, 9), "");
        assert_eq!(watch.token().revision(), Revision::from(3));
    });
}

#[test]
fn a_token_of_something_else_is_refused() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        bucket.put("a", "1");
        let token = bucket.handle().watch_with(WatchOptions::new().updates_only(true)).unwrap().token();
        let other = store.bucket(BucketConfig::new("other")).handle();
        assert_eq!(refusal(&other, WatchOptions::new().after(token)), ErrorKind::BucketNotFound);
        let stranger = Store::in_memory().unwrap().create_bucket(bucket.handle().status().unwrap().config).unwrap();
        stranger.put("a", "1").unwrap();
        assert_eq!(refusal(&stranger, WatchOptions::new().after(token)), ErrorKind::Diverged);
        let options = WatchOptions::new().after(token);
        for options in [options.clone().updates_only(true), options.from_revision(Revision::from(1))] {
            assert_eq!(refusal(&bucket.handle(), options), ErrorKind::InvalidArgument);
        }
        let name = bucket.handle().name().to_owned();
        store.store().delete_bucket(&name).unwrap();
        let again = store.store().create_bucket(BucketConfig::new(&name)).unwrap();
        assert_eq!(refusal(&again, WatchOptions::new().after(token)), ErrorKind::BucketNotFound);
    });
}

/// K48 for tokens: one below the floor, at it, above it.
#[test]
fn below_the_floor_a_token_is_refused_with_the_floor() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        let token = || bucket.handle().watch_with(WatchOptions::new().updates_only(true)).unwrap().token();
        let mut tokens = Vec::new();
        for step in 0..4 {
            if step == 2 {
                bucket.delete("gone")
            } else {
                bucket.put(["gone", "a", "", "b"][step], "value")
            };
            tokens.push(token());
        }
        bucket.purge_deletes(std::time::Duration::ZERO);
        store.settle();
        for (token, expected) in tokens[..2].iter().zip([3, 3]) {
            let error = bucket.handle().watch_with(WatchOptions::new().after(*token)).unwrap_err();
            assert_eq!((error.kind(), error.floor()), (ErrorKind::Compacted, Some(Revision::from(expected))));
        }
        assert_eq!(resumed(&bucket.handle(), tokens[2]), "b4, marker");
        assert_eq!(resumed(&bucket.handle(), tokens[3]), "marker");
    });
}

#[test]
fn a_key_that_expired_while_nobody_watched_refuses_whoever_may_know_an_older_value_of_it() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        let token = || bucket.handle().watch_with(WatchOptions::new().updates_only(true)).unwrap().token();
        bucket.put("a", "1");
        let before = token();
        bucket.put_with("a", "2", ttl(50));
        let after_it = token();
        store.pass(ms(100));
        let error = bucket.handle().watch_with(WatchOptions::new().after(before)).unwrap_err();
        assert_eq!((error.kind(), error.floor()), (ErrorKind::Compacted, Some(Revision::from(2))));
        assert_eq!(resumed(&bucket.handle(), after_it), "marker", "who has seen it knows its deadline");
    });
}

/// K51: a bookmark was ahead of the events that it covered. The validators of `watch` hold every mark of the stress against that, too.
#[test]
fn progress_tells_what_was_seen_and_how_much_of_it_is_durable_and_only_when_that_is_new() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let open = || Options::new().durability(Durability::OsCache).manual_jobs().open(&path).unwrap();
    let store = open();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    let mut watch = bucket.watch_with(WatchOptions::new().filter("a").progress(true)).unwrap();
    assert_eq!(take(&mut watch, 9), "marker, at 0, durable 0");
    bucket.put("a", "1").unwrap();
    bucket.put("b", "2").unwrap();
    assert_eq!(take(&mut watch, 9), "a1, at 2, durable 0");
    assert_eq!(take(&mut watch, 9), "");
    store.sync().unwrap();
    bucket.put("b", "3").unwrap();
    assert_eq!(take(&mut watch, 9), "at 3, durable 2");
    store.sync().unwrap();
    assert_eq!(take(&mut watch, 9), "at 3, durable 3");
    let token = watch.token();
    store.close().unwrap();
    let store = open();
    let options = WatchOptions::new().filter("a").progress(true).after(token);
    let mut watch = store.bucket("b").unwrap().watch_with(options).unwrap();
    assert_eq!(take(&mut watch, 9), "marker, at 3, durable 3", "what was there at the open is durable");
}

#[test]
fn a_thread_that_waits_is_told_of_progress_though_no_change_wakes_it() {
    let store = Options::new().in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    let mut watch = bucket.watch_with(WatchOptions::new().filter("a").updates_only(true).progress(true)).unwrap();
    assert_eq!(watch.next().unwrap().unwrap(), Event::UpToDate);
    let reader = std::thread::spawn(move || {
        watch.map(Result::unwrap).find(|event| matches!(event, Event::Progress { revision, .. } if revision.get() == 1))
    });
    bucket.put("b", "not for it").unwrap();
    assert!(reader.join().unwrap().is_some());
}
