//! K44: somebody sets the wall clock, forward or back, while the store is open and while it is shut. Nothing expires early, nothing that has
//! expired comes back, and the time that the store was shut counts.

use std::time::{Duration, SystemTime};

use annals::BucketConfig;

use crate::fixture::{Fixture, Probe, ms, on_each_store, ttl};
use crate::machine::{End, Machine};

const HOUR: Duration = Duration::from_secs(3600);

/// A bucket with an entry that lives for a minute, one for ever, and in another bucket one that ages.
fn buckets(store: &Fixture) -> (Probe<'_>, Probe<'_>) {
    let own = store.bucket(BucketConfig::new("own").history(3));
    let aged = store.bucket(BucketConfig::new("aged").max_age(ms(60_000)));
    own.put_with("minute", "value", ttl(60_000));
    own.put("forever", "value");
    aged.put("k", "value");
    (own, aged)
}

fn created(bucket: &Probe<'_>) -> Vec<SystemTime> {
    bucket.entries(">").iter().map(annals::Entry::created).collect()
}

#[test]
fn k44_a_wall_clock_that_is_set_while_the_store_is_open_changes_nothing() {
    for forward in [true, false] {
        on_each_store(|store| {
            let (own, aged) = buckets(store);
            // No checkpoint in between: a reopen is another test's matter.
            if forward {
                store.clock().set_wall_forward(HOUR)
            } else {
                store.clock().set_wall_back(HOUR)
            };
            store.clock().advance(ms(59_999));
            assert_eq!((own.keys().as_str(), aged.keys().as_str()), ("forever minute", "k"));
            store.clock().advance(ms(1));
            assert_eq!((own.keys().as_str(), aged.keys().as_str()), ("forever", ""));
            if forward {
                store.clock().set_wall_back(2 * HOUR)
            } else {
                store.clock().set_wall_forward(2 * HOUR)
            };
            assert_eq!((own.keys().as_str(), aged.keys().as_str()), ("forever", ""));
            own.handle().put("next", "value").unwrap();
            assert!(created(&own).is_sorted());
            let span = created(&own)[1].duration_since(created(&own)[0]).unwrap();
            assert_eq!(span, ms(60_000));
        });
    }
}

#[test]
fn k44_time_while_the_store_is_shut_counts() {
    for close in [true, false] {
        on_each_store(|store| {
            let (own, aged) = buckets(store);
            store.reopen_after(close, || store.clock().advance(ms(59_999)));
            assert_eq!((own.keys().as_str(), aged.keys().as_str()), ("forever minute", "k"));
            store.reopen_after(close, || store.clock().advance(ms(1)));
            assert_eq!((own.keys().as_str(), aged.keys().as_str()), ("forever", ""));
            own.assert_nothing_at("minute");
        });
    }
}

#[test]
fn k44_a_wall_clock_that_is_set_back_while_the_store_is_shut_revives_nothing() {
    for close in [true, false] {
        on_each_store(|store| {
            let (own, aged) = buckets(store);
            store.clock().advance(ms(60_000));
            own.handle().put_with("newer", "value", ttl(60_000)).unwrap();
            store.reopen_after(close, || store.clock().set_wall_back(HOUR));
            own.assert_nothing_at("minute");
            assert_eq!((own.keys().as_str(), aged.keys().as_str()), ("forever newer", ""));
            own.handle().put("next", "value").unwrap();
            assert!(created(&own).is_sorted(), "created never decreases");
            // It took nothing off, and it adds nothing: what was to live for a minute does.
            store.clock().advance(ms(59_999));
            assert_eq!(own.keys(), "forever newer next");
            store.clock().advance(ms(1));
            assert_eq!(own.keys(), "forever next");
        });
    }
}

#[test]
fn k44_a_wall_clock_that_was_set_while_the_store_was_open_is_no_downtime() {
    for close in [true, false] {
        for forward in [true, false] {
            on_each_store(|store| {
                let (own, aged) = buckets(store);
                store.clock().advance(ms(10_000));
                if forward {
                    store.clock().set_wall_forward(HOUR)
                } else {
                    store.clock().set_wall_back(HOUR)
                };
                store.clock().advance(ms(10_000));
                store.reopen_after(close, || store.clock().advance(ms(39_999)));
                assert_eq!((own.keys().as_str(), aged.keys().as_str()), ("forever minute", "k"), "forward {forward}");
                store.clock().advance(ms(1));
                assert_eq!((own.keys().as_str(), aged.keys().as_str()), ("forever", ""), "forward {forward}");
            });
        }
    }
}

/// After a kill or a power cut nobody has noted when that was: the clock goes on from what the log tells, never behind it.
#[test]
fn k44_after_any_end_nothing_revives_and_created_never_decreases() {
    for end in End::all() {
        for jump in [-3_600_i64, 0, 10] {
            let mut machine = Machine::new();
            let bucket = machine.create(BucketConfig::new("b").history(5));
            bucket.put_with("k", "value", ttl(5_000)).unwrap();
            machine.pass(ms(5_000));
            assert_eq!(bucket.get("k").unwrap(), None);
            bucket.put("later", "value").unwrap();
            let before = bucket.entry("later").unwrap().unwrap().created();
            drop(bucket);
            machine.end_and(end, |disk| {
                let wall = annals::env::Clock::wall(&**disk.clock()).saturating_add_signed(jump * 1_000_000_000);
                disk.clock().set_wall(wall);
            });
            let bucket = machine.bucket();
            let what = format!("{end:?}, wall clock set by {jump} s");
            crate::machine::assert_gone(&bucket, "k", &what);
            bucket.put("next", "value").unwrap();
            assert!(bucket.entry("next").unwrap().unwrap().created() >= before, "{what}");
        }
    }
}
