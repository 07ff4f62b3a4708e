//! Markers of what expires, beside writes of the same keys and watches.

use std::time::Duration;

use annals::testing::clock::ManualClock;
use annals::{BucketConfig, Operation, PutOptions, Reason};
use shuttle::thread;

use crate::check;
use crate::program;

const TTL: Duration = Duration::from_secs(1);

#[test]
fn a_key_that_expires_beside_a_write_is_told_as_the_bucket_has_it() {
    check(|| {
        let clock = ManualClock::new();
        let store = program::options().env(clock.env_in_memory()).manual_jobs().in_memory().unwrap();
        let config = BucketConfig::new("b").history(16).limit_markers(Duration::from_secs(3_600));
        let bucket = store.create_bucket(config).unwrap();
        bucket.put_with("a", "old", PutOptions::new().ttl(TTL)).unwrap();
        let watch = bucket.watch(">").unwrap();
        let writer = thread::spawn({
            let bucket = bucket.clone();
            move || bucket.put("a", "new").unwrap()
        });
        let sweeper = thread::spawn({
            let store = store.clone();
            move || {
                clock.advance(2 * TTL);
                store.sweep().unwrap();
            }
        });
        let reader = thread::spawn(move || {
            let entries = watch.map(Result::unwrap).filter_map(|event| event.entry().cloned());
            let mut seen = Vec::new();
            for entry in entries {
                seen.push((entry.revision().get(), entry.operation(), entry.reason()));
                if entry.key().as_str() == program::END {
                    return seen;
                }
            }
            unreachable!("a watch ends with an error");
        });
        writer.join().unwrap();
        sweeper.join().unwrap();
        bucket.put(program::END, "").unwrap();
        let seen = reader.join().unwrap();
        // The old value is marked before it is replaced, or replaced before it expires.
        let marker =
            |(_, operation, reason): &(u64, Operation, Reason)| *operation != Operation::Put && *reason == Reason::Expired;
        let marked: Vec<_> = seen.iter().filter(|entry| marker(entry)).collect();
        assert!(marked.len() <= 1, "{seen:?}");
        let revisions: Vec<u64> = seen.iter().map(|entry| entry.0).collect();
        let first = revisions[0];
        assert_eq!(revisions, (first..first + revisions.len() as u64).collect::<Vec<_>>(), "one after the other, to the end");
        assert_eq!(bucket.get("a").unwrap().as_deref(), Some(&b"new"[..]), "the marker takes the old value alone");
    });
}
