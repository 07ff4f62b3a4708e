//! Open, close, drop, hold; durability; many threads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use annals::{
    Bucket, BucketConfig, Durability, Entry, Error, ErrorKind, History, Keys, Operation, Options, Revision, Store, Value,
};

use crate::fixture::tiny;
use crate::linear::{self, Call, Outcome};

#[test]
fn handles_can_be_shared_between_threads_and_held_for_ever() {
    const fn shared<T: Send + Sync + Clone + 'static>() {}
    const fn moved<T: Send + 'static>() {}
    shared::<Store>();
    shared::<Bucket>();
    shared::<Value>();
    shared::<Entry>();
    shared::<Error>();
    shared::<BucketConfig>();
    shared::<Options>();
    moved::<Keys>();
    moved::<History>();
}

#[test]
fn a_closed_store_opens_cleanly_with_all_that_it_held() {
    let directory = tempfile::tempdir().unwrap();
    let created = {
        let store = tiny().open(directory.path()).unwrap();
        let bucket = store.create_bucket(BucketConfig::new("b").history(3).description("kept")).unwrap();
        for number in 0..20 {
            bucket.put(format!("k{}", number % 5), number.to_string()).unwrap();
        }
        bucket.delete("k1").unwrap();
        let created = bucket.entry("k0").unwrap().unwrap().created();
        store.close().unwrap();
        created
    };
    let store = tiny().open(directory.path()).unwrap();
    assert!(store.recovery().clean, "{:?}", store.recovery());
    assert_eq!((store.recovery().replayed, &store.recovery().torn), (0, &None));
    let bucket = store.bucket("b").unwrap();
    assert_eq!(bucket.config().unwrap(), BucketConfig::new("b").history(3).description("kept"));
    assert_eq!(bucket.get("k0").unwrap().unwrap(), *b"15");
    assert_eq!(bucket.entry("k0").unwrap().unwrap().created(), created);
    assert_eq!(bucket.get("k1").unwrap(), None);
    let revisions: Vec<_> = bucket.history("k1").unwrap().map(|entry| entry.unwrap().revision().get()).collect();
    assert_eq!(revisions, [12, 17, 21]);
    assert_eq!(bucket.put("new", "1").unwrap().get(), 22);
}

#[test]
fn a_dropped_store_replays_its_log() {
    let directory = tempfile::tempdir().unwrap();
    {
        let bucket = Store::open(directory.path()).unwrap().create_bucket(BucketConfig::new("b").history(2)).unwrap();
        for number in 0..10 {
            bucket.put("k", number.to_string()).unwrap();
        }
    }
    let store = Store::open(directory.path()).unwrap();
    let recovery = store.recovery();
    assert!(!recovery.clean && recovery.replayed >= 10 && recovery.torn.is_none(), "{recovery:?}");
    let bucket = store.bucket("b").unwrap();
    assert_eq!(bucket.get("k").unwrap().unwrap(), *b"9");
    assert_eq!(bucket.history("k").unwrap().len(), 2);
    assert_eq!(bucket.put("k", "next").unwrap().get(), 11);
}

#[test]
fn opening_again_without_writing_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    drop(Store::open(directory.path()).unwrap().create_bucket(BucketConfig::new("b")).unwrap().put("k", "v"));
    for _ in 0..4 {
        let store = Store::open(directory.path()).unwrap();
        let bucket = store.bucket("b").unwrap();
        assert_eq!(bucket.get("k").unwrap().unwrap(), *b"v");
        assert_eq!(bucket.status().unwrap().last_revision.get(), 1);
    }
}

#[test]
fn a_bucket_keeps_its_store_open() {
    let directory = tempfile::tempdir().unwrap();
    let bucket = Store::open(directory.path()).unwrap().create_bucket(BucketConfig::new("b")).unwrap();
    assert_eq!(bucket.put("k", "v").unwrap().get(), 1);
    assert_eq!(Store::open(directory.path()).unwrap_err().kind(), ErrorKind::Locked);
    drop(bucket);
    Store::open(directory.path()).unwrap();
}

#[test]
fn clones_are_the_same_store_and_bucket() {
    let store = Store::in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    let (other_store, other_bucket) = (store.clone(), bucket.clone());
    other_bucket.put("k", "v").unwrap();
    assert_eq!(bucket.get("k").unwrap().unwrap(), *b"v");
    assert_eq!(other_store.bucket("b").unwrap().name(), "b");
    store.close().unwrap();
    assert_eq!(other_bucket.get("k").unwrap_err().kind(), ErrorKind::Closed);
}

/// A value too large to be copied, an iterator over keys and one over history, each read in part.
fn hold(bucket: &Bucket) -> (Value, Keys, History) {
    let value = bucket.get("large").unwrap().unwrap();
    let (mut keys, mut history) = (bucket.keys().unwrap(), bucket.history(">").unwrap());
    assert_eq!(keys.next().unwrap().unwrap().as_str(), "k000");
    assert_eq!(history.next().unwrap().unwrap().revision().get(), 1);
    (value, keys, history)
}

fn check_held((value, keys, history): (Value, Keys, History)) {
    assert_eq!(value, vec![7; 50_000]);
    let keys: Vec<_> = keys.map(|key| key.unwrap().as_str().to_owned()).collect();
    let expected: Vec<_> = (1..100).map(|number| format!("k{number:03}")).chain(["large".to_owned()]).collect();
    assert_eq!(keys, expected);
    assert_eq!(history.len(), 100);
    let history: Vec<_> = history.map(|entry| entry.unwrap().revision().get()).collect();
    assert_eq!(history, (2..=101).collect::<Vec<_>>());
}

#[test]
fn what_is_held_stays_readable_through_writes_merges_close_and_drop() {
    let directory = tempfile::tempdir().unwrap();
    for store in [Store::in_memory().unwrap(), tiny().open(directory.path()).unwrap()] {
        let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
        for number in 0..100 {
            bucket.put(format!("k{number:03}"), "value").unwrap();
        }
        bucket.put("large", vec![7; 50_000]).unwrap();
        let in_memory = hold(&bucket);
        store.flush().unwrap();
        let in_segment = hold(&bucket);
        let held: Vec<_> = (0..2).map(|_| hold(&bucket)).collect();
        for number in 0..100 {
            bucket.purge(format!("k{number:03}")).unwrap();
        }
        bucket.put("large", "small").unwrap();
        check_held(in_memory);
        store.delete_bucket("b").unwrap();
        store.merge_all().unwrap();
        check_held(in_segment);
        store.close().unwrap();
        let mut held = held.into_iter();
        check_held(held.next().unwrap());
        drop((bucket, store));
        check_held(held.next().unwrap());
    }
}

#[test]
fn what_is_held_does_not_keep_the_directory_locked() {
    let directory = tempfile::tempdir().unwrap();
    for close in [true, false] {
        let store = tiny().open(directory.path()).unwrap();
        let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
        bucket.put("k", vec![1; 20_000]).unwrap();
        store.flush().unwrap();
        let held = (bucket.get("k").unwrap(), bucket.keys().unwrap(), bucket.history(">").unwrap());
        if close {
            store.close().unwrap();
        }
        drop((store, bucket));
        let store = tiny().open(directory.path()).unwrap();
        assert_eq!(store.bucket("b").unwrap().get("k").unwrap(), held.0);
        drop(store);
        assert_eq!((held.1.count(), held.2.count()), (1, 1));
    }
}

#[test]
fn keys_are_listed_as_of_the_call_while_writes_go_on() {
    let store = tiny().in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    let name = |number: usize| format!("k{number:04}");
    for number in 0..1_000 {
        bucket.put(name(2 * number), "value").unwrap();
    }
    let mut keys = bucket.keys().unwrap();
    for number in 0..1_000 {
        assert_eq!(keys.next().unwrap().unwrap().as_str(), name(2 * number));
        bucket.put(name(2 * number + 3), "inserted ahead").unwrap();
        bucket.delete(name(2 * ((number + 500) % 1_000))).unwrap();
        if number % 250 == 0 {
            store.flush().unwrap();
        }
        if number % 400 == 399 {
            store.merge_all().unwrap();
        }
    }
    assert!(keys.next().is_none());
    assert!(keys.next().is_none(), "it is fused");
    assert_eq!(bucket.keys().unwrap().count(), 1_000, "the inserted ones; all others were deleted");
}

#[test]
fn status_counts_what_is_retained() {
    let store = Store::in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b").history(3)).unwrap();
    for key in ["a", "b", "a", "c"] {
        bucket.put(key, "12345").unwrap();
    }
    bucket.delete("b").unwrap();
    bucket.purge("c").unwrap();
    for _ in 0..2 {
        let status = bucket.status().unwrap();
        assert_eq!((status.last_revision.get(), status.live_keys, status.values), (6, 1, 5));
        // a twice and b once with a value, b and c with a marker: key + value + 32 each.
        assert_eq!(status.bytes, 3 * (1 + 5 + 32) + 2 * (1 + 32));
        assert_eq!(status.config, BucketConfig::new("b").history(3));
        store.flush().unwrap();
        store.merge_all().unwrap();
    }
}

#[test]
fn store_status_follows_commits_and_flushes() {
    let directory = tempfile::tempdir().unwrap();
    let store = Options::new().manual_jobs().open(directory.path()).unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    let before = store.status().unwrap();
    assert_eq!((before.buckets, before.segments, before.durability), (1, 0, Durability::Sync));
    assert_eq!(before.directory, directory.path());
    for number in 0..10 {
        bucket.put(format!("k{number}"), [0; 100]).unwrap();
    }
    let written = store.status().unwrap();
    assert_eq!(written.last_commit.get(), before.last_commit.get() + 10, "one commit number for each entry");
    assert_eq!(written.durable_commit, written.last_commit);
    assert!(written.memtable_bytes >= 1_000, "{written:?}");
    store.flush().unwrap();
    let flushed = store.status().unwrap();
    assert_eq!((flushed.segments, flushed.segment_entries, flushed.sealed_memtables), (1, 10, 0));
    assert!(flushed.segment_bytes >= 1_000 && flushed.memtable_bytes < written.memtable_bytes, "{flushed:?}");
    assert_eq!(flushed.last_commit, written.last_commit);
    assert!(!flushed.poisoned);
    let report = store.verify().unwrap();
    assert!(report.files >= 2 && report.entries == 10 && report.bytes >= flushed.segment_bytes, "{report:?}");
    let mut seen = Vec::new();
    assert_eq!(store.verify_with(|report| seen.push(report.bytes)).unwrap(), report);
    assert!(seen.is_sorted(), "{seen:?}");
}

#[test]
fn history_is_bounded_on_disk_after_a_merge() {
    let store = tiny().in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b").history(2)).unwrap();
    for number in 0..2_000 {
        bucket.put(format!("k{}", number % 4), number.to_string()).unwrap();
    }
    store.flush().unwrap();
    store.merge_all().unwrap();
    assert_eq!(store.status().unwrap().segment_entries, 8);
    // A deleted bucket's space comes back with the next merge.
    store.delete_bucket("b").unwrap();
    store.create_bucket(BucketConfig::new("other")).unwrap().put("k", "v").unwrap();
    store.flush().unwrap();
    store.merge_all().unwrap();
    assert_eq!(store.status().unwrap().segment_entries, 1);
}

#[test]
fn at_sync_every_answer_is_durable() {
    let directory = tempfile::tempdir().unwrap();
    let store = tiny().open(directory.path()).unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    for number in 0..50 {
        bucket.put("k", number.to_string()).unwrap();
        assert_eq!(store.durable_commit(), store.status().unwrap().last_commit);
    }
    assert_eq!(store.sync().unwrap(), store.durable_commit());
}

#[test]
fn below_sync_the_durable_commit_follows_a_sync_or_the_period() {
    let delay = Duration::from_millis(5);
    for durability in [Durability::OsCache, Durability::Periodic { delay, bytes: 1 << 20 }] {
        let directory = tempfile::tempdir().unwrap();
        let store = tiny().durability(durability).open(directory.path()).unwrap();
        assert_eq!(store.status().unwrap().durability, durability);
        let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
        bucket.put("k", "v").unwrap();
        let commit = store.status().unwrap().last_commit;
        if durability == Durability::OsCache {
            assert!(store.sync().unwrap() >= commit);
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while store.durable_commit() < commit {
            assert!(Instant::now() < deadline, "{durability:?}: still not durable");
            thread::sleep(Duration::from_millis(1));
        }
        // Many writes rotate the log; durable never runs ahead of what is committed.
        for number in 0..500 {
            bucket.put("k", number.to_string()).unwrap();
            let durable = store.durable_commit();
            assert!(durable <= store.status().unwrap().last_commit);
        }
        drop((bucket, store));
        let store = tiny().open(directory.path()).unwrap();
        assert_eq!(store.bucket("b").unwrap().get("k").unwrap().unwrap(), *b"499");
    }
}

#[test]
fn thirty_two_writers_share_commits_and_get_consecutive_revisions() {
    let directory = tempfile::tempdir().unwrap();
    let store = tiny().open(directory.path()).unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    let writer = |thread: usize| {
        let bucket = bucket.clone();
        move || -> Vec<u64> {
            let put = |number| bucket.put(format!("t{thread}.{number}"), format!("{thread} {number}")).unwrap().get();
            (0..40).map(put).collect()
        }
    };
    let threads: Vec<_> = (0..32).map(|thread| thread::spawn(writer(thread))).collect();
    let answers: Vec<Vec<u64>> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(answers.iter().all(|revisions| revisions.is_sorted()), "each thread's revisions rise");
    let mut all: Vec<u64> = answers.concat();
    all.sort_unstable();
    assert_eq!(all, (1..=32 * 40).collect::<Vec<_>>());
    drop((bucket, store));
    let bucket = tiny().open(directory.path()).unwrap().bucket("b").unwrap();
    for (thread, revisions) in answers.iter().enumerate() {
        for (number, revision) in revisions.iter().enumerate() {
            let entry = bucket.entry(format!("t{thread}.{number}")).unwrap().unwrap();
            assert_eq!((entry.revision().get(), entry.value().to_vec()), (*revision, format!("{thread} {number}").into_bytes()));
        }
    }
}

#[test]
fn concurrent_calls_are_linearizable() {
    let directory = tempfile::tempdir().unwrap();
    let unsynced = tiny().durability(Durability::OsCache).open(directory.path().join("unsynced")).unwrap();
    let synced = tiny().open(directory.path().join("synced")).unwrap();
    for (store, calls) in [(Store::in_memory().unwrap(), 1_500), (unsynced, 1_500), (synced, 300)] {
        let bucket = store.create_bucket(BucketConfig::new("b").history(2)).unwrap();
        let (clock, done) = (AtomicU64::new(1), AtomicBool::new(false));
        let logs: Vec<Call> = thread::scope(|scope| {
            let churn = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    store.flush().unwrap();
                    store.merge_all().unwrap();
                }
            });
            let caller = |thread: u64| {
                let (bucket, clock) = (bucket.clone(), &clock);
                scope.spawn(move || log_calls(&bucket, clock, thread, calls))
            };
            let callers: Vec<_> = (0..6).map(caller).collect();
            let logs = callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect();
            done.store(true, Ordering::Relaxed);
            churn.join().unwrap();
            logs
        });
        linear::check(&logs).unwrap();
        let written = logs.iter().filter(|call| matches!(call.outcome, Outcome::Wrote { .. } | Outcome::Swapped { .. }));
        assert_eq!(bucket.status().unwrap().last_revision.get(), written.count() as u64);
    }
}

/// A mix of puts, deletes, reads and swaps on three keys, each logged with its tickets.
fn log_calls(bucket: &Bucket, clock: &AtomicU64, thread: u64, count: u64) -> Vec<Call> {
    let mut chance = thread.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut newest_seen = [0; 3];
    let mut log = Vec::new();
    for number in 0..count {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        let key = (chance % 3) as usize;
        let (name, value) = (format!("k{key}"), thread << 32 | number << 1 | 1);
        let expected = newest_seen[key];
        let called = clock.fetch_add(1, Ordering::SeqCst);
        let outcome = match chance >> 8 & 7 {
            0 => Outcome::Wrote { revision: bucket.put(name, value.to_string()).unwrap().get(), value },
            1 => Outcome::Wrote { revision: bucket.delete(name).unwrap().get(), value: 0 },
            2..=4 => match bucket.update(name, value.to_string(), Revision::from(expected)) {
                Ok(revision) => Outcome::Swapped { expected, revision: revision.get(), value },
                Err(error) => Outcome::Refused { expected, actual: error.actual_revision().unwrap().get() },
            },
            _ => bucket.entry(name).unwrap().map_or(Outcome::Read { revision: 0, value: 0 }, |entry| Outcome::Read {
                revision: entry.revision().get(),
                value: if entry.operation() == Operation::Put { number_of(entry.value()) } else { 0 },
            }),
        };
        let returned = clock.fetch_add(1, Ordering::SeqCst);
        newest_seen[key] = match outcome {
            Outcome::Wrote { revision, .. } | Outcome::Swapped { revision, .. } | Outcome::Read { revision, .. } => revision,
            Outcome::Refused { actual, .. } => actual,
        };
        log.push(Call { key, called, returned, outcome });
    }
    log
}

fn number_of(value: &[u8]) -> u64 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

#[test]
fn a_store_in_memory_is_a_store_like_any_other_and_leaves_nothing() {
    let store = tiny().in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    for number in 0..2_000 {
        bucket.put(format!("k{}", number % 300), vec![number as u8; 500]).unwrap();
    }
    assert_eq!(bucket.keys().unwrap().count(), 300);
    assert_eq!(bucket.get("k1").unwrap().unwrap(), vec![1_801_u64 as u8; 500]);
    assert!(store.recovery().clean || store.recovery().replayed == 0);
    let other = Store::in_memory().unwrap();
    assert_eq!(other.buckets().unwrap(), [""; 0]);
    drop((store, bucket));
    assert_eq!(other.bucket("b").unwrap_err().kind(), ErrorKind::BucketNotFound);
}
