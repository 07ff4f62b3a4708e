//! Watchers that are slow, late or many: K49, K52, K53.

use annals::{Bucket, BucketConfig, Event, Options, Store, Watch, WatchOptions};

fn bucket(history: u8) -> (Store, Bucket) {
    let store = Options::new().sizes(64 << 10, 16 << 10, 512).in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b").history(history)).unwrap();
    (store, bucket)
}

fn drain(watch: &mut Watch) -> Vec<Event> {
    std::iter::from_fn(|| watch.try_next().unwrap()).collect()
}

fn revisions(events: &[Event]) -> Vec<u64> {
    events.iter().filter_map(Event::entry).map(|entry| entry.revision().get()).collect()
}

#[test]
fn k49_a_slow_watch_is_told_what_it_missed() {
    let (_store, bucket) = bucket(1);
    let mut watch = bucket.watch("a").unwrap();
    assert_eq!(drain(&mut watch), [Event::UpToDate]);
    for number in 0..5_000_u32 {
        bucket.put("a", number.to_be_bytes()).unwrap();
    }
    let events = drain(&mut watch);
    assert!(matches!(events[0], Event::Skipped { from, to } if from.get() == 1 && to.get() == 4_999), "{:?}", events[0]);
    assert_eq!(revisions(&events), [5_000]);
    // And it is live again.
    bucket.put("a", "live").unwrap();
    bucket.put("a", "live").unwrap();
    assert_eq!(revisions(&drain(&mut watch)), [5_001, 5_002]);
}

#[test]
fn k49_a_slow_watch_misses_nothing_that_history_holds() {
    let (_store, bucket) = bucket(64);
    let mut watch = bucket.watch(">").unwrap();
    assert_eq!(drain(&mut watch), [Event::UpToDate]);
    for number in 0..5_000_u64 {
        bucket.put(format!("a.{}", number % 100), "value").unwrap();
    }
    let events = drain(&mut watch);
    assert_eq!(events.iter().filter(|event| event.entry().is_none()).count(), 0, "nothing was missed");
    assert_eq!(revisions(&events), (1..=5_000).collect::<Vec<u64>>());
}

#[test]
fn k49_a_value_that_no_line_holds_comes_all_the_same() {
    let (_store, bucket) = bucket(1);
    let mut watch = bucket.watch("a").unwrap();
    assert_eq!(drain(&mut watch), [Event::UpToDate]);
    for size in [300_000, 10, 600_000, 700_000] {
        bucket.put("a", vec![7; size]).unwrap();
    }
    let events = drain(&mut watch);
    let last = events.last().unwrap().entry().unwrap();
    assert_eq!((last.revision().get(), last.value().len()), (4, 700_000));
}

#[test]
fn k52_no_event_is_dropped_while_watches_are_made_quickly() {
    let (_store, bucket) = bucket(1);
    let writes = 3_000_u64;
    std::thread::scope(|scope| {
        let bucket = &bucket;
        scope.spawn(move || {
            for _ in 0..writes {
                bucket.put("a", "value").unwrap();
            }
        });
        for _ in 0..2 {
            scope.spawn(move || {
                for _ in 0..300 {
                    let mut watch = bucket.watch_with(WatchOptions::new().filter("a").updates_only(true)).unwrap();
                    // Whatever is committed after this call is part of it.
                    let own = bucket.put("b", "value").unwrap().get();
                    let all = bucket.watch_with(WatchOptions::new()).unwrap();
                    let seen: Vec<u64> = all
                        .map_while(|event| match event.unwrap() {
                            Event::UpToDate => None,
                            event => event.entry().map(|entry| entry.revision().get()),
                        })
                        .collect();
                    assert!(*seen.last().unwrap() >= own, "{seen:?} lacks {own}");
                    let given = revisions(&drain(&mut watch));
                    assert!(given.is_sorted_by(|left, right| left < right), "{given:?}");
                }
            });
        }
        scope.spawn(move || {
            // Watches that come while somebody writes see every write from their first on.
            for _ in 0..50 {
                let mut watch = bucket.watch_with(WatchOptions::new().filter("a").filter("b").updates_only(true)).unwrap();
                let (mut events, mut next) = (Vec::new(), None);
                for _ in 0..200 {
                    events.append(&mut drain(&mut watch));
                }
                for event in events {
                    // Where this thread did not run for long, it has fallen behind, and is told what may be missing.
                    let (from, to) = match &event {
                        Event::Entry(entry) => (entry.revision(), entry.revision()),
                        Event::Skipped { from, to } => (*from, *to),
                        _ => continue,
                    };
                    assert!(next.is_none_or(|next| from.get() <= next), "{event:?} instead of {next:?}");
                    next = next.max(Some(to.get() + 1));
                }
            }
        });
    });
}

#[test]
fn k53_a_watch_that_was_not_polled_goes_on() {
    let (store, bucket) = bucket(1);
    let mut never = bucket.watch(">").unwrap();
    let mut once = bucket.watch(">").unwrap();
    assert_eq!(drain(&mut once), [Event::UpToDate]);
    for number in 0..20_000_u64 {
        bucket.put(format!("k.{}", number % 10), "value").unwrap();
    }
    store.flush().unwrap();
    store.compact().unwrap();
    let newest: Vec<u64> = (19_991..=20_000).collect();
    assert_eq!(revisions(&drain(&mut never)), newest);
    let events = drain(&mut once);
    assert_eq!(revisions(&events), newest);
    assert!(matches!(events[0], Event::Skipped { .. }));
    bucket.put("k.0", "live").unwrap();
    assert_eq!((revisions(&drain(&mut never)), revisions(&drain(&mut once))), (vec![20_001], vec![20_001]));
}
