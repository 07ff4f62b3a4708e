//! Defects that random programs have found, each as a story of a few lines.

use std::sync::Arc;
use std::time::Duration;

use annals::env::Env;
use annals::testing::clock::ManualClock;
use annals::{BucketConfig, ErrorKind, Options, PutOptions, Revision, Store};

const MOMENT: Duration = Duration::from_millis(100);

/// A store whose time stands still, without threads.
fn store(clock: &Arc<ManualClock>) -> (Store, Env) {
    let env = clock.env_in_memory();
    (Options::new().env(env.clone()).manual_jobs().open("/store").unwrap(), env)
}

fn short() -> PutOptions {
    PutOptions::new().ttl(MOMENT)
}

/// A check wrote nothing, yet a put behind it was taken for the second write of the key: it did not start a new life over the expired entry.
#[test]
fn a_check_in_a_batch_is_not_taken_for_a_write_of_its_key() {
    let clock = ManualClock::new();
    let (store, _) = store(&clock);
    let bucket = store.create_bucket(BucketConfig::new("b").history(5)).unwrap();
    bucket.put("k", "old").unwrap();
    bucket.put_with("k", "short", short()).unwrap();
    clock.advance(MOMENT);
    store.batch().check(&bucket, "k", Revision::NONE).put(&bucket, "k", "new").commit().unwrap();
    assert_eq!(bucket.history("k").unwrap().count(), 1);
    let last = bucket.entry("k").unwrap().unwrap().revision();
    store.batch().check(&bucket, "k", last).update(&bucket, "k", "newer", last).commit().unwrap();
}

/// Retention knew the limits as of the sealing and the time of the flush: entries aged by a limit that had been lifted in between.
#[test]
fn a_flush_does_not_age_entries_by_a_limit_that_is_no_more() {
    let clock = ManualClock::new();
    let env = clock.env_in_memory();
    let store = Options::new().env(env).manual_jobs().sizes(4 << 10, 1 << 10, 256).open("/store").unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b").max_age(MOMENT)).unwrap();
    bucket.put("kept", "1").unwrap();
    for number in 0..20 {
        bucket.put(format!("filler.{number}"), [b'x'; 100]).unwrap();
    }
    store.update_bucket(BucketConfig::new("b")).unwrap();
    clock.advance(2 * MOMENT);
    store.flush().unwrap();
    assert_eq!(bucket.get("kept").unwrap().unwrap(), *b"1");
    assert_eq!(bucket.status().unwrap().live_keys, 21);
}

/// Pushing out an entry that had expired since the last count passed for making room, so a full bucket took more.
#[test]
fn an_expired_entry_makes_room_only_once() {
    let clock = ManualClock::new();
    let (store, _) = store(&clock);
    let bucket = store.create_bucket(BucketConfig::new("b").max_bytes(120)).unwrap();
    bucket.put_with("short", [b'x'; 33], short()).unwrap();
    store.update_bucket(BucketConfig::new("b").max_bytes(60)).unwrap();
    bucket.put("a", "").unwrap_err();
    clock.advance(MOMENT);
    bucket.put("a", "12345").unwrap();
    let error = bucket.put("short", "").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BucketFull);
    assert_eq!(bucket.status().unwrap().bytes, 38);
}

/// Once one bucket of a batch had been counted anew, the others were believed to have been.
#[test]
fn each_full_bucket_of_a_batch_is_counted_anew() {
    let clock = ManualClock::new();
    let (store, _) = store(&clock);
    let buckets = ["b", "c"].map(|name| store.create_bucket(BucketConfig::new(name).max_bytes(60)).unwrap());
    for bucket in &buckets {
        bucket.put_with("short", "12345", short()).unwrap();
    }
    clock.advance(MOMENT);
    store.batch().put(&buckets[0], "a", "1").put(&buckets[1], "a", "1").commit().unwrap();
}

/// A merge removed a key that had expired after the last flush, and raised the floor of the past only to the last revision of that flush: what
/// the key was in between was called absent.
#[test]
fn the_past_of_a_key_that_expired_after_the_flush_is_not_called_absent() {
    let clock = ManualClock::new();
    let (store, _) = store(&clock);
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    bucket.put_with("short", "1", short()).unwrap();
    store.flush().unwrap();
    bucket.put("a", "2").unwrap();
    bucket.put("a", "3").unwrap();
    clock.advance(MOMENT);
    store.merge_all().unwrap();
    let error = bucket.get_as_of("short", Revision::from(2)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Compacted);
}
