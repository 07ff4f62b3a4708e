//! Ranges of keys, in every way in which they can be read.

use std::ops::{Bound, ControlFlow};

use annals::{Bucket, BucketConfig, Entries, Result};

use super::{Dice, State, shown, write};
use crate::fixture::on_each_store;

/// Ends of ranges: keys, texts between keys, texts that cannot be keys, and nothing.
const ENDS: [&str; 9] = ["", "A", "a", "a.", "a.b", "a.b\0", "b", "b.c.", "~"];

fn expected(state: &State, range: (Bound<&str>, Bound<&str>), markers: bool) -> Vec<(String, u64, Option<String>)> {
    let inside = |key: &str| {
        let after = match range.0 {
            Bound::Included(start) => start <= key,
            Bound::Excluded(start) => start < key,
            Bound::Unbounded => true,
        };
        let before = match range.1 {
            Bound::Included(end) => key <= end,
            Bound::Excluded(end) => key < end,
            Bound::Unbounded => true,
        };
        after && before
    };
    let wanted = state.iter().filter(|(key, (_, value))| inside(key) && (markers || value.is_some()));
    wanted.map(|(key, (revision, value))| (key.to_string(), *revision, value.clone())).collect()
}

/// One range, in every way in which it can be read.
fn check_range(bucket: &Bucket, state: &State, range: (Bound<&str>, Bound<&str>), dice: &mut Dice) {
    for markers in [false, true] {
        let expected = expected(state, range, markers);
        let entries = || bucket.range(range).unwrap().markers(markers);
        let forward: Vec<_> = entries().map(|entry| shown(&entry.unwrap())).collect();
        assert_eq!(forward, expected, "{range:?}");
        let mut backward: Vec<_> = entries().rev().map(|entry| shown(&entry.unwrap())).collect();
        backward.reverse();
        assert_eq!(backward, expected, "{range:?} backward");
        let keys: Vec<_> = entries().keys().rev().map(|key| key.unwrap().to_string()).collect();
        assert!(keys.iter().rev().eq(expected.iter().map(|(key, ..)| key)), "{range:?} keys");
        check_both_ends(entries(), &expected, dice);
        check_visits(entries(), &expected, dice);
    }
}

/// Ends that are used in turn meet, and give each entry once.
fn check_both_ends(mut entries: Entries, expected: &[(String, u64, Option<String>)], dice: &mut Dice) {
    let (mut front, mut back) = (Vec::new(), Vec::new());
    loop {
        let is_front = dice.roll(2) == 0;
        let entry = if is_front { entries.next() } else { entries.next_back() };
        let Some(entry) = entry else { break };
        if is_front { &mut front } else { &mut back }.push(shown(&entry.unwrap()));
    }
    assert!(entries.next().is_none() && entries.next_back().is_none(), "the end is the end");
    assert!(front.iter().chain(back.iter().rev()).eq(expected), "{front:?} and {back:?} of {expected:?}");
}

/// A walk that is broken off and taken up again shows the same, each entry once.
fn check_visits(mut entries: Entries, expected: &[(String, u64, Option<String>)], dice: &mut Dice) {
    let (mut front, mut back) = (Vec::new(), Vec::new());
    loop {
        let mut left = 1 + dice.roll(3);
        let is_front = dice.roll(2) == 0;
        let seen = if is_front { &mut front } else { &mut back };
        let visit = |entry: annals::EntryRef<'_>| {
            seen.push((entry.key().to_owned(), entry.revision().get()));
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let flow = if is_front { entries.visit(visit) } else { entries.visit_back(visit) };
        if flow.unwrap().is_none() {
            break;
        }
    }
    let expected: Vec<_> = expected.iter().map(|(key, revision, _)| (key.clone(), *revision)).collect();
    assert!(front.iter().chain(back.iter().rev()).eq(&expected), "{front:?} and {back:?} of {expected:?}");
}

fn ranges() -> impl Iterator<Item = (Bound<&'static str>, Bound<&'static str>)> {
    let ends = || ENDS.iter().flat_map(|end| [Bound::Included(*end), Bound::Excluded(*end)]).chain([Bound::Unbounded]);
    ends().flat_map(move |start| ends().map(move |end| (start, end)))
}

#[test]
fn every_range_shows_what_a_sorted_map_would() {
    on_each_store(|store| {
        let (mut dice, mut state) = (Dice(1), State::new());
        store.bucket(BucketConfig::new("b").history(3));
        // The neighbours' keys are in the same files.
        for other in ["a", "c"] {
            store.bucket(BucketConfig::new(other)).put("a.b", "a neighbour's");
        }
        for round in 0..60 {
            state = write(store, &mut dice, &state);
            let bucket = store.store().bucket("b").unwrap();
            // All of them are many; each round takes some.
            for range in ranges().skip(round % 7).step_by(7) {
                check_range(&bucket, &state, range, &mut dice);
            }
        }
        store.settle();
        let bucket = store.store().bucket("b").unwrap();
        ranges().for_each(|range| check_range(&bucket, &state, range, &mut dice));
    });
}

#[test]
fn a_range_is_written_as_ranges_are() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        for key in ["a", "b", "c"] {
            bucket.put(key, "value");
        }
        let keys = |entries: Result<Entries>| entries.unwrap().keys().map(|key| key.unwrap().to_string()).collect::<String>();
        let handle = bucket.handle();
        assert_eq!(keys(handle.range(..)), "abc");
        assert_eq!(keys(handle.range("b"..)), "bc");
        assert_eq!(keys(handle.range(.."b")), "a");
        assert_eq!(keys(handle.range(..="b".to_owned())), "ab");
        assert_eq!(keys(handle.range("a".."c")), "ab");
        assert_eq!(keys(handle.range("b"..="c")), "bc");
        assert_eq!(keys(handle.range("c".."a")), "", "upside down");
        assert_eq!(keys(handle.range((Bound::Excluded("a"), Bound::Excluded("c")))), "b");
        assert_eq!(keys(handle.prefix("b")), "b");
        assert_eq!(keys(handle.prefix("")), "abc");
        assert_eq!(keys(handle.prefix("\u{10ffff}")), "");
    });
}
