//! The past: a snapshot stands still, time included; and what a key was as of a revision is answered exactly or not at all.

use std::collections::BTreeMap;

use annals::{BucketConfig, ErrorKind, Revision};

use crate::fixture::{Fixture, Probe, ms, on_each_store, on_every_schedule, ttl};

#[test]
fn a_snapshot_shows_what_there_was_whatever_happens() {
    on_each_store(|store| {
        let bucket = store.bucket(BucketConfig::new("b").history(3).max_age(ms(1000)));
        bucket.put("a", "1");
        bucket.put_with("b", "2", ttl(500));
        bucket.put("a", "3");
        // No checkpoints from here on: what is held would keep the store open.
        let (handle, store_now) = (bucket.handle(), store.store());
        let (of_bucket, of_store) = (handle.snapshot().unwrap(), store_now.snapshot().unwrap());
        let check = |what: &str| {
            for shown in [&of_bucket, &of_store.bucket("b").unwrap()] {
                assert_eq!(shown.get("b").unwrap().unwrap(), *b"2", "{what}");
                assert_eq!(shown.get_at("a", Revision::from(1)).unwrap().unwrap(), *b"1", "{what}");
                let revisions: Vec<_> = shown.history(">").unwrap().map(|entry| entry.unwrap().revision().get()).collect();
                assert_eq!(revisions, [1, 2, 3], "{what}");
                assert_eq!((shown.keys().count(), shown.status().unwrap().values), (2, 3), "{what}");
                assert_eq!(shown.config().history_depth(), 3, "{what}");
            }
        };
        check("at once");
        store.clock().advance(ms(500));
        assert_eq!(handle.get("b").unwrap(), None);
        check("after an expiry");
        handle.put("c", "4").unwrap();
        handle.purge("a").unwrap();
        store_now.update_bucket(BucketConfig::new("b").history(1).max_age(ms(100))).unwrap();
        store.settle();
        check("after a purge, an edit, a flush and a merge");
        store.clock().advance(ms(5000));
        handle.purge_all().unwrap();
        store.settle();
        check("after a purge of all");
        store_now.delete_bucket("b").unwrap();
        store.settle();
        check("after the bucket was deleted");
    });
}

/// What each key was after each revision, and the store's answers held against it: exact, or `Compacted`.
struct Past<'a> {
    bucket: Probe<'a>,
    /// From the first revision on.
    states: Vec<BTreeMap<&'static str, String>>,
}

impl<'a> Past<'a> {
    fn new(bucket: Probe<'a>) -> Self {
        Self { bucket, states: Vec::new() }
    }

    fn note(&mut self, key: &'static str, value: Option<&str>) {
        let mut state = self.states.last().cloned().unwrap_or_default();
        state.remove(key);
        state.extend(value.map(|value| (key, value.to_owned())));
        self.states.push(state);
    }

    fn forget(&mut self, key: &str) {
        let mut state = self.states.pop().unwrap();
        state.remove(key);
        self.states.push(state);
    }

    /// Answers how often the store did not know.
    fn check(&self) -> usize {
        let mut unknown = 0;
        for key in ["k", "other", "never"] {
            for (revision, state) in (1..).zip(&self.states) {
                let expected = state.get(key).map(|value| value.as_bytes().to_vec());
                match self.bucket.handle().get_as_of(key, Revision::from(revision)) {
                    Ok(value) => assert_eq!(value.map(|value| value.to_vec()), expected, "{key} as of {revision}"),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Compacted, "{key} as of {revision}: {error}");
                        assert!(error.floor().unwrap() > Revision::from(revision), "{error}");
                        unknown += 1;
                    }
                }
            }
            let present = self.bucket.get(key);
            for revision in [self.bucket.last(), self.bucket.last() + 1, u64::MAX] {
                let value = self.bucket.handle().get_as_of(key, Revision::from(revision)).unwrap();
                assert_eq!(value.map(|value| value.to_vec()), present, "{key} as of {revision}, which is the present");
            }
        }
        unknown
    }
}

#[test]
fn what_is_kept_is_known_as_of_every_revision() {
    on_every_schedule(4, |store| {
        let mut past = Past::new(store.depth(64));
        for (key, value) in [("k", Some("1")), ("other", Some("2")), ("k", None), ("k", Some("4")), ("k", Some("5"))] {
            match value {
                Some(value) => past.bucket.put(key, value),
                None => past.bucket.delete(key),
            };
            past.note(key, value);
            assert_eq!(past.check(), 0);
        }
    });
}

#[test]
fn what_is_gone_is_said_to_be_gone_and_never_guessed() {
    let play = |store: &Fixture, depth: u8| {
        let mut past = Past::new(store.depth(depth));
        past.bucket.put("k", "1");
        past.note("k", Some("1"));
        past.bucket.put_with("k", "2", ttl(100));
        past.note("k", Some("2"));
        past.bucket.put("other", "3");
        past.note("other", Some("3"));
        past.check();
        store.pass(ms(100));
        past.forget("k");
        past.bucket.put("k", "4");
        past.note("k", Some("4"));
        past.check();
        past.bucket.delete("k");
        past.note("k", None);
        past.check();
        past.bucket.purge_deletes(ms(0));
        past.check();
        past.bucket.purge("other");
        past.note("other", None);
        past.check();
    };
    for depth in [1, 2, 5] {
        on_every_schedule(5, |store| play(store, depth));
    }
}
