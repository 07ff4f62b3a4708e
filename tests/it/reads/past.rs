//! What a key was when a revision was the newest: right, or said to be trimmed.

use std::collections::BTreeSet;

use annals::{Bucket, BucketConfig, ErrorKind, Revision};

use super::{Dice, KEYS, State, shown, write};
use crate::fixture::{ms, on_each_store, ttl};

/// What the model knows of an answer about the past, whatever has been trimmed.
fn check_past(bucket: &Bucket, states: &[State], depth: u8) -> Vec<String> {
    let last = states.len() as u64 - 1;
    let mut answers = Vec::new();
    for key in KEYS {
        for revision in 0..=last + 2 {
            let state = &states[revision.min(last) as usize];
            let then = state.get(key).map(|(revision, value)| (*revision, value.clone()));
            let answer = bucket.entry_as_of(key, Revision::from(revision));
            match &answer {
                Ok(entry) => {
                    let entry = entry.as_ref().map(shown).map(|(_, revision, value)| (revision, value));
                    assert_eq!(entry, then, "{key} as of {revision}");
                    let value = bucket.get_as_of(key, Revision::from(revision)).unwrap();
                    assert_eq!(value.map(|value| value.to_vec()), then.and_then(|(_, value)| value).map(String::into_bytes));
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Compacted, "{key} as of {revision}: {error:?}");
                    let later = states[revision as usize + 1..].iter().filter_map(|state| state.get(key));
                    let newer: BTreeSet<_> = later.filter(|(other, _)| *other > revision).collect();
                    let is_trimmed = newer.len() >= usize::from(depth) || newer.iter().any(|(_, value)| value.is_none());
                    assert!(is_trimmed, "{key} as of {revision}: nothing was removed");
                    let floor = error.floor().unwrap();
                    assert!(floor.get() > revision && floor.get() <= last, "{key} as of {revision}: floor {floor}");
                    bucket.entry_as_of(key, floor).unwrap();
                    assert!(bucket.entry_as_of(key, Revision::from(floor.get() - 1)).is_err(), "{floor} is not the first");
                }
            }
            answers.push(format!("{answer:?}"));
        }
    }
    answers
}

#[test]
fn the_past_is_what_it_was_or_is_said_to_be_trimmed_whatever_has_been_merged() {
    on_each_store(|store| {
        for depth in [1, 2, 5] {
            let (mut dice, mut states) = (Dice(depth.into()), vec![State::new()]);
            store.bucket(BucketConfig::new("b").history(depth));
            for round in 0..50 {
                let state = write(store, &mut dice, states.last().unwrap());
                states.push(state);
                if round % 10 == 9 {
                    let before = check_past(&store.store().bucket("b").unwrap(), &states, depth);
                    store.store().flush().unwrap();
                    assert_eq!(check_past(&store.store().bucket("b").unwrap(), &states, depth), before, "after a flush");
                    store.settle();
                    assert_eq!(check_past(&store.store().bucket("b").unwrap(), &states, depth), before, "after a merge");
                }
            }
            store.store().delete_bucket("b").unwrap();
        }
    });
}

#[test]
fn the_past_below_a_purge_of_everything_is_compacted_and_above_it_absent() {
    on_each_store(|store| {
        let bucket = store.depth(3);
        bucket.put("k", "gone");
        bucket.put("l", "gone");
        store.store().bucket("b").unwrap().purge_all().unwrap();
        store.checkpoint();
        bucket.put("l", "new");
        bucket.put("m", "new");
        for _ in 0..2 {
            let as_of = |key, revision| store.store().bucket("b").unwrap().get_as_of(key, Revision::from(revision));
            assert_eq!(as_of("k", 1).unwrap_err().kind(), ErrorKind::Compacted);
            assert_eq!(as_of("k", 2).unwrap_err().kind(), ErrorKind::Compacted);
            assert_eq!(as_of("k", 3).unwrap(), None);
            assert_eq!(as_of("l", 3).unwrap().unwrap(), "new");
            assert_eq!(as_of("m", 3).unwrap(), None);
            assert_eq!(as_of("m", 4).unwrap().unwrap(), "new");
            store.settle();
        }
    });
}

#[test]
fn what_expired_and_was_merged_away_is_not_said_to_have_been_absent() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        store.store().bucket("b").unwrap().put_with("k", "short-lived", ttl(1_000)).unwrap();
        bucket.put("l", "stays");
        bucket.put("l", "stays");
        store.pass(ms(1_000));
        for _ in 0..3 {
            let handle = store.store().bucket("b").unwrap();
            assert_eq!(handle.get_as_of("k", Revision::from(1)).unwrap_err().kind(), ErrorKind::Compacted);
            assert_eq!(handle.get_as_of("k", Revision::from(2)).unwrap_err().kind(), ErrorKind::Compacted);
            assert_eq!(handle.get_as_of("k", Revision::from(3)).unwrap(), None, "the present");
            assert_eq!(handle.status().unwrap().last_revision.get(), 3);
            drop(handle);
            store.settle();
        }
    });
}
