//! What has changed since a revision: order, completeness, and what it costs.

use annals::{BucketConfig, Event, Options, Result, Revision};

use crate::fixture::{ms, on_each_store, on_every_schedule, tiny};

#[test]
fn changes_come_in_revision_order_whatever_files_they_lie_in() {
    on_every_schedule(5, |store| {
        let bucket = store.depth(2);
        bucket.put("b", "1");
        bucket.put("a", "2");
        bucket.put("b", "3");
        bucket.put("b", "4");
        bucket.purge("a");
        assert_eq!(bucket.changes(0), Ok("PUT b 3, PUT b 4, PURGE a 5".to_owned()));
        assert_eq!(bucket.changes(2), Ok("PUT b 3, PUT b 4, PURGE a 5".to_owned()));
        assert_eq!(bucket.changes(3), Ok("PUT b 4, PURGE a 5".to_owned()));
        assert_eq!([5, 6, 99].map(|since| bucket.changes(since)), [const { Ok(String::new()) }; 3]);
    });
}

#[test]
fn a_purge_of_the_whole_bucket_is_told_to_who_may_not_know_of_it() {
    on_every_schedule(4, |store| {
        let bucket = store.depth(5);
        bucket.put("a", "1");
        bucket.put("b", "2");
        bucket.purge_all();
        assert_eq!(bucket.changes(2), Ok("ALL 2".to_owned()), "whoever saw 2 need not have seen the purge");
        bucket.put("c", "3");
        for since in 0..=2 {
            assert_eq!(bucket.changes(since), Ok("ALL 2, PUT c 3".to_owned()));
        }
        assert_eq!(bucket.changes(3), Ok(String::new()));
    });
}

#[test]
fn what_went_before_a_purge_of_the_whole_bucket_is_not_missing() {
    on_each_store(|store| {
        let bucket = store.depth(5);
        bucket.put("a", "1");
        bucket.delete("a");
        bucket.purge_deletes(ms(0));
        assert_eq!(bucket.changes(1), Err(2));
        bucket.put("b", "3");
        bucket.purge_all();
        assert_eq!(bucket.changes(1), Ok("ALL 3".to_owned()));
    });
}

/// Hundreds of keys over memtables and runs of many ages, from any revision on, held while all of it moves on.
#[test]
fn a_list_shows_the_moment_at_which_it_was_asked_for() {
    let store = Options::new().sizes(4 << 10, 600, 128).manual_jobs().in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b").history(3)).unwrap();
    let other = store.create_bucket(BucketConfig::new("other")).unwrap();
    let mut held = Vec::new();
    for number in 0..2_000_u64 {
        bucket.put(format!("k{}", number * 7919 % 300), number.to_string()).unwrap();
        other.put(format!("k{}", number % 100), "x").unwrap();
        if number % 3 == 0 {
            store.step().unwrap();
        }
        if number % 400 == 399 {
            let since = number / 2;
            let expected: Vec<u64> = bucket.history(">").unwrap().map(|entry| entry.unwrap().revision().get()).collect();
            let expected: Vec<u64> = expected.into_iter().filter(|revision| *revision > since).collect();
            held.push((bucket.changes_since(Revision::from(since)).unwrap(), expected));
        }
    }
    for (changes, expected) in held {
        let found: Result<Vec<u64>> = changes.map(|event| Ok(event?.entry().unwrap().revision().get())).collect();
        assert_eq!(found.unwrap(), expected);
    }
}

#[test]
fn a_list_stays_readable_after_a_close_and_ends_once() {
    let directory = crate::files::fast_directory();
    let store = tiny().open(directory.path().join("store")).unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    bucket.put("k", "value").unwrap();
    let mut changes = bucket.changes_since(Revision::NONE).unwrap();
    store.close().unwrap();
    let Some(Ok(Event::Entry(entry))) = changes.next() else { panic!("an entry") };
    assert_eq!((*entry.value()).to_vec(), b"value");
    assert!(changes.next().is_none() && changes.next().is_none());
}

/// With jobs at work: whoever asks again and again from where it was has every write once and in order, up to a whole batch.
#[test]
fn who_asks_again_and_again_misses_nothing_and_gets_nothing_twice() {
    const WRITES: u64 = 6_000;
    let store = Options::new().sizes(4 << 10, 300, 128).in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b").history(2)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in (0..WRITES).step_by(3) {
                let mut batch = store.batch();
                for key in number..number + 3 {
                    batch.put(&bucket, format!("k{key}"), key.to_string());
                }
                batch.commit().unwrap();
            }
        });
        for reader in 0..2 {
            let bucket = bucket.clone();
            scope.spawn(move || {
                let mut seen = 0;
                while seen < WRITES {
                    let changes = bucket.changes_since(Revision::from(seen)).unwrap();
                    for event in changes {
                        let event = event.unwrap();
                        let entry = event.entry().unwrap();
                        assert_eq!(entry.revision().get(), seen + 1, "reader {reader}");
                        assert_eq!(*entry.value(), *seen.to_string().as_bytes());
                        seen += 1;
                    }
                    assert_eq!(seen % 3, 0, "a batch is there as a whole");
                }
            });
        }
    });
}
