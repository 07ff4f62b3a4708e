use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Cursor, Found, Memtable};
use crate::entry::{Flags, Meta, Value};
use crate::hash::KeyHasher;
use crate::number::{BucketId, CommitNumber, Revision};

/// Bucket, key, newest commit first: to the value.
type Model = BTreeMap<(u64, Vec<u8>, Reverse<u64>), Vec<u8>>;

fn meta(revision: u64) -> Meta {
    Meta { revision: Revision(revision), flags: Flags::put(), created: revision, deadline: 0, origin: Revision::NONE }
}

fn hash(bucket: BucketId, key: &[u8]) -> u64 {
    KeyHasher::new(1).hash(bucket, key)
}

fn new(capacity: u64) -> Arc<Memtable> {
    Arc::new(Memtable::new(CommitNumber(1), CommitNumber(0), capacity))
}

fn insert(memtable: &Memtable, bucket: u64, key: &[u8], commit: u64, value: &[u8]) {
    let bucket = BucketId(bucket);
    memtable.insert(bucket, key, hash(bucket, key), CommitNumber(commit), meta(commit), value);
}

fn newest(memtable: &Memtable, bucket: u64, key: &[u8], visible: u64) -> Option<u64> {
    let bucket = BucketId(bucket);
    memtable.with_newest(bucket, key, hash(bucket, key), CommitNumber(visible), |found| found.commit.0)
}

fn cursor(memtable: &Arc<Memtable>, bucket: u64, visible: u64) -> Cursor {
    Cursor::new(Arc::clone(memtable), BucketId(bucket), CommitNumber(visible))
}

/// Key and revision, which is the commit number in these tests.
fn entry(cursor: &Cursor) -> Option<(Vec<u8>, u64)> {
    cursor.entry().map(|entry| (entry.key.to_vec(), entry.meta.revision.0))
}

/// The rest of a bucket from where the cursor is.
fn rest(cursor: &mut Cursor) -> Vec<(Vec<u8>, u64)> {
    std::iter::from_fn(|| {
        let here = entry(cursor);
        cursor.next();
        here
    })
    .collect()
}

/// The same, backwards.
fn rest_back(cursor: &mut Cursor) -> Vec<(Vec<u8>, u64)> {
    std::iter::from_fn(|| {
        let here = entry(cursor);
        cursor.prev();
        here
    })
    .collect()
}

/// What a reader at `visible` is to see of a bucket, in order.
fn seen(model: &Model, bucket: u64, visible: u64) -> Vec<(Vec<u8>, u64)> {
    let all = model.keys().filter(|(of, _, commit)| *of == bucket && commit.0 <= visible);
    all.map(|(_, key, commit)| (key.clone(), commit.0)).collect()
}

#[test]
fn entries_above_visible_are_not_seen_by_lookups_and_cursors() {
    let memtable = new(1 << 20);
    for commit in 1..=3 {
        insert(&memtable, 1, b"k", commit, &[commit as u8]);
    }
    insert(&memtable, 1, b"l", 4, b"later");
    let read = |found: Found<'_>| (found.commit, found.to_value());
    let found = memtable.with_newest(BucketId(1), b"k", hash(BucketId(1), b"k"), CommitNumber(2), read);
    assert_eq!(found, Some((CommitNumber(2), Value::copy_of(&[2]))));
    assert_eq!(newest(&memtable, 1, b"k", 0), None);
    assert_eq!(newest(&memtable, 1, b"l", 3), None);
    let mut cursor = cursor(&memtable, 1, 2);
    cursor.seek(b"");
    assert_eq!(rest(&mut cursor), [(b"k".to_vec(), 2), (b"k".to_vec(), 1)]);
    cursor.seek_before(None);
    assert_eq!(rest_back(&mut cursor), [(b"k".to_vec(), 1), (b"k".to_vec(), 2)]);
}

#[test]
fn a_bucket_is_not_seen_from_its_neighbours() {
    let memtable = new(1 << 20);
    insert(&memtable, 1, b"k", 1, b"");
    insert(&memtable, 3, b"a", 2, b"");
    let mut cursor = cursor(&memtable, 2, 9);
    cursor.seek(b"");
    assert!(cursor.entry().is_none());
    cursor.seek_before(None);
    assert!(cursor.entry().is_none());
    assert_eq!(newest(&memtable, 3, b"k", 9), None);
}

#[test]
fn an_empty_memtable_takes_nothing_and_answers_nothing() {
    for capacity in [0, 300, 64 << 20] {
        let memtable = new(capacity);
        assert_eq!((memtable.bytes(), memtable.is_empty()), (0, true));
        assert_eq!(newest(&memtable, 1, b"k", 9), None);
        let mut cursor = cursor(&memtable, 1, 9);
        cursor.seek(b"");
        cursor.next();
        cursor.seek_before(None);
        cursor.prev();
        assert!(cursor.entry().is_none());
    }
}

#[test]
fn bytes_tell_what_few_and_many_entries_take() {
    let memtable = new(4 << 10);
    insert(&memtable, 1, &[b'k'; 25], 1, &[0; 100]);
    assert!((125..1024).contains(&memtable.bytes()), "one entry takes {} bytes", memtable.bytes());
    let before = memtable.bytes();
    insert(&memtable, 1, b"large", 2, &[0; 1 << 20]);
    assert!((1 << 20..(1 << 20) + 1024).contains(&(memtable.bytes() - before)), "{} bytes", memtable.bytes() - before);
    let memtable = new(64 << 20);
    for commit in 1..=10_000_u64 {
        insert(&memtable, 1, format!("a-key-of-25-bytes-{commit:07}").as_bytes(), commit, &[0; 100]);
    }
    let per_entry = (memtable.bytes() - (8 << 20)) / 10_000;
    assert!((150..250).contains(&per_entry), "an entry takes {per_entry} bytes beside the hash table");
    let before = memtable.bytes();
    cursor(&memtable, 1, 10_000).seek(b"");
    let order = (memtable.bytes() - before) / 10_000;
    assert!((8..40).contains(&order), "the order takes {order} bytes for each key");
}

#[test]
fn every_field_of_an_entry_comes_back() {
    let memtable = new(1 << 20);
    let mut commit = 0;
    let mut expected = Vec::new();
    for deadline in [0, 7, u64::MAX] {
        for origin in [0, 9, u64::MAX] {
            for value_len in [0, 1, 8, 1024, 1025, 70_000] {
                commit += 1;
                let flags = Flags::delete().with(Flags::CONTINUES | Flags::STUB);
                let meta = Meta { revision: Revision(commit), flags, created: !commit, deadline, origin: Revision(origin) };
                let value: Vec<u8> = (0..value_len).map(|at| (at as u64 + commit) as u8).collect();
                memtable.insert(BucketId(u64::MAX - 1), b"k", 5, CommitNumber(commit), meta, &value);
                expected.push((meta, value));
            }
        }
    }
    let mut cursor = cursor(&memtable, u64::MAX - 1, u64::MAX);
    cursor.seek(b"k");
    for (at, (meta, value)) in expected.iter().enumerate().rev() {
        let found = cursor.entry().unwrap();
        assert_eq!((found.meta, found.value, &found.value()), (*meta, &value[..], &Value::copy_of(value)));
        let read = |found: Found<'_>| (found.meta, found.to_value());
        let looked_up = memtable.with_newest(BucketId(u64::MAX - 1), b"k", 5, CommitNumber(at as u64 + 1), read);
        assert_eq!(looked_up, Some((*meta, Value::copy_of(value))));
        cursor.next();
    }
    assert!(cursor.entry().is_none());
}

#[test]
fn a_large_value_outlives_its_memtable() {
    let memtable = new(300);
    insert(&memtable, 1, b"k", 1, &[7; 3 << 20]);
    let value = memtable.with_newest(BucketId(1), b"k", hash(BucketId(1), b"k"), CommitNumber(1), |found| found.to_value());
    drop(memtable);
    assert!(value.unwrap().iter().all(|byte| *byte == 7));
}

/// More keys, and more bytes, than there is room for by far; each is still found at once, and all are in order.
#[test]
fn a_group_may_overshoot_capacity_and_slots() {
    let memtable = new(300);
    let key = |number: u64| format!("k{:x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    for commit in 1..=70_000 {
        insert(&memtable, 1, key(commit).as_bytes(), commit, &commit.to_le_bytes());
    }
    for commit in 1..=70_000 {
        assert_eq!(newest(&memtable, 1, key(commit).as_bytes(), 70_000), Some(commit));
    }
    assert_eq!(newest(&memtable, 1, b"absent", 70_000), None);
    let mut expected: Vec<_> = (1..=70_000).map(|commit| (key(commit).into_bytes(), commit)).collect();
    expected.sort_unstable();
    let mut cursor = cursor(&memtable, 1, 70_000);
    cursor.seek(b"");
    assert_eq!(rest(&mut cursor), expected);
    cursor.seek_before(None);
    expected.reverse();
    assert_eq!(rest_back(&mut cursor), expected);
}

#[test]
fn keys_with_equal_hashes_are_told_apart() {
    let memtable = new(300);
    for commit in 1..=200_u64 {
        memtable.insert(BucketId(commit % 2), &[commit as u8], 42, CommitNumber(commit), meta(commit), b"");
    }
    for commit in 1..=200_u64 {
        let read =
            |bucket| memtable.with_newest(BucketId(bucket), &[commit as u8], 42, CommitNumber(200), |found| found.commit.0);
        assert_eq!((read(commit % 2), read(1 - commit % 2)), (Some(commit), None));
    }
}

/// If a search in a chain were linear, this would take minutes.
#[test]
fn a_key_that_was_written_very_often_is_read_at_any_moment() {
    let memtable = new(1 << 20);
    let last = if cfg!(miri) { 300 } else { 400_000 };
    for commit in 1..=last {
        insert(&memtable, 1, b"hot", 2 * commit, b"");
    }
    for at in (1..=last).step_by(7) {
        assert_eq!(newest(&memtable, 1, b"hot", 2 * at + 1), Some(2 * at));
    }
    let mut cursor = cursor(&memtable, 1, last);
    cursor.seek_before(None);
    let upwards: Vec<u64> = rest_back(&mut cursor).iter().map(|(_, commit)| *commit).collect();
    assert_eq!(upwards, (1..=last / 2).map(|commit| 2 * commit).collect::<Vec<_>>());
}

#[test]
fn a_cursor_that_finds_the_order_being_made_makes_its_own() {
    let memtable = new(300);
    for commit in 1..=100 {
        insert(&memtable, 1, &[commit as u8], commit, b"");
    }
    let held = memtable.sorted.hold();
    let mut first = cursor(&memtable, 1, 100);
    first.seek(&[50]);
    insert(&memtable, 1, &[200], 101, b"");
    memtable.publish(CommitNumber(101));
    let mut second = cursor(&memtable, 1, 101);
    second.seek(&[100]);
    assert_eq!(memtable.sorted.bytes(), 0, "nobody could add to the common order");
    drop(held);
    let expected = |range: std::ops::RangeInclusive<u64>| range.map(|at| (vec![at as u8], at)).collect::<Vec<_>>();
    assert_eq!(rest(&mut first), expected(50..=100));
    assert_eq!(rest(&mut second), [(vec![100], 100), (vec![200], 101)]);
    second.seek(&[99]);
    assert_eq!(rest(&mut second), [(vec![99], 99), (vec![100], 100), (vec![200], 101)]);
    assert!(memtable.sorted.bytes() > 0, "now the common order is made");
}

#[test]
fn reading_one_key_makes_no_order() {
    let memtable = new(1 << 20);
    for commit in 1..=9 {
        insert(&memtable, 1, &[b'a' + commit as u8 % 3], commit, b"");
    }
    let mut cursor = cursor(&memtable, 1, 6);
    cursor.seek_key(b"a", hash(BucketId(1), b"a"));
    assert_eq!(rest(&mut cursor), [(b"a".to_vec(), 6), (b"a".to_vec(), 3)]);
    cursor.seek_key(b"absent", hash(BucketId(1), b"absent"));
    assert!(cursor.entry().is_none());
    assert_eq!(memtable.sorted.bytes(), 0);
    assert!(!memtable.sorted.is_used());
}

#[test]
fn the_successor_of_a_memtable_that_was_walked_through_keeps_order_from_the_start() {
    let memtable = new(1 << 20);
    memtable.publish(CommitNumber(7));
    let plain = memtable.successor(CommitNumber(8));
    cursor(&memtable, 1, 7).seek(b"");
    let ordered = memtable.successor(CommitNumber(8));
    for (memtable, is_ordered) in [(plain, false), (ordered, true)] {
        assert_eq!((memtable.first(), memtable.visible()), (CommitNumber(8), CommitNumber(7)));
        insert(&memtable, 1, b"k", 8, b"");
        memtable.publish(CommitNumber(8));
        assert_eq!(memtable.sorted.bytes() > 0, is_ordered);
    }
}

/// One thread inserts in groups, most of them of new keys, and publishes after each; two others look at any moment and must see exactly
/// the entries up to what was visible when they looked: forward, backward, from the middle, and by key.
#[test]
fn readers_see_all_that_is_visible_and_nothing_else_while_entries_are_inserted() {
    let last: u64 = if cfg!(miri) { 200 } else { 6_000 };
    let key = |commit: u64| {
        let number = (commit * 0x9e37_79b9) % (last * 3 / 4);
        (number % 2, format!("{}{number:05}", if number.is_multiple_of(5) { "" } else { "a.common.prefix." }).into_bytes())
    };
    for capacity in [300, 1 << 20] {
        let memtable = new(capacity);
        let check = |visible: u64| {
            let mut model = Model::new();
            for commit in 1..=visible {
                let (bucket, key) = key(commit);
                model.insert((bucket, key, Reverse(commit)), Vec::new());
            }
            for bucket in 0..2 {
                let mut expected = seen(&model, bucket, visible);
                let mut cursor = cursor(&memtable, bucket, visible);
                cursor.seek(b"");
                assert_eq!(rest(&mut cursor), expected);
                cursor.seek(b"a.common.prefix.01");
                let middle = expected.partition_point(|(key, _)| key[..] < b"a.common.prefix.01"[..]);
                assert_eq!(entry(&cursor), expected.get(middle).cloned());
                cursor.seek_before(None);
                expected.reverse();
                assert_eq!(rest_back(&mut cursor), expected);
            }
            for commit in (1..=visible).rev().take(100) {
                let (bucket, key) = key(commit);
                let found = newest(&memtable, bucket, &key, visible);
                let expected = model.range((bucket, key, Reverse(u64::MAX))..).next();
                assert_eq!(found, expected.map(|((_, _, commit), _)| commit.0));
            }
        };
        std::thread::scope(|scope| {
            let reader = || loop {
                let visible = memtable.visible().0;
                check(visible);
                if visible == last {
                    return;
                }
            };
            scope.spawn(reader);
            scope.spawn(reader);
            let mut commit = 0;
            while commit < last {
                let end = last.min(commit + 1 + commit % 7);
                for commit in commit + 1..=end {
                    let (bucket, key) = key(commit);
                    insert(&memtable, bucket, &key, commit, &commit.to_le_bytes());
                }
                memtable.publish(CommitNumber(end));
                commit = end;
            }
        });
    }
}

/// Keys that make heads equal: long common beginnings, zeroes at the end, one that begins another.
fn keys() -> impl Strategy<Value = Vec<u8>> {
    let tail = prop::collection::vec(prop::sample::select(vec![0_u8, b'a', b'b', 255]), 0..4);
    (prop::sample::select(vec![&b""[..], b"p", b"a.long.common.beginning.", b"a.long.common.beginning.\0\0\0\0\0\0\0\0"]), tail)
        .prop_map(|(start, tail)| [start, &tail].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 64 }, failure_persistence: None, ..ProptestConfig::default() })]

    /// Against an ordered map: all lookups, and every movement of a cursor from every position, for readers of any moment. Order is asked
    /// for in the middle, so that some keys come to it together and some one by one.
    #[test]
    fn lookups_and_walks_agree_with_an_ordered_map(
        writes in prop::collection::vec((prop::sample::select(vec![0_u64, 1, 255, 256, 1 << 40]), keys()), 0..600),
        asked in 0_usize..600, visible in 0_u64..650, from in keys(), capacity in prop::sample::select(vec![300_u64, 1 << 20])
    ) {
        let memtable = new(capacity);
        let mut model = Model::new();
        for (at, (bucket, key)) in writes.iter().enumerate() {
            let commit = at as u64 + 1;
            insert(&memtable, *bucket, key, commit, key);
            model.insert((*bucket, key.clone(), Reverse(commit)), key.clone());
            if at == asked {
                cursor(&memtable, 1, visible).seek(b"");
            }
            if at > asked {
                memtable.publish(CommitNumber(commit));
            }
        }
        for bucket in [0, 1, 2, 255, 256, 1 << 40] {
            let expected = seen(&model, bucket, visible);
            let mut cursor = cursor(&memtable, bucket, visible);
            cursor.seek(b"");
            prop_assert_eq!(rest(&mut cursor), expected.clone());
            cursor.seek_before(None);
            prop_assert_eq!(rest_back(&mut cursor), expected.iter().rev().cloned().collect::<Vec<_>>());
            let middle = expected.partition_point(|(key, _)| *key < from);
            cursor.seek(&from);
            prop_assert_eq!(entry(&cursor), expected.get(middle).cloned());
            cursor.seek_before(Some(&from));
            prop_assert_eq!(entry(&cursor), middle.checked_sub(1).map(|at| expected[at].clone()));
            cursor.seek(b"");
            for at in 0..expected.len() {
                let found = cursor.entry().map(|entry| (entry.key.to_vec(), entry.value.to_vec()));
                prop_assert_eq!(found, Some((expected[at].0.clone(), expected[at].0.clone())));
                cursor.prev();
                prop_assert_eq!(entry(&cursor), at.checked_sub(1).map(|before| expected[before].clone()));
                if at == 0 { cursor.seek(b"") } else { cursor.next() }
                prop_assert_eq!(entry(&cursor), Some(expected[at].clone()));
                cursor.next();
            }
            let of_key: Vec<_> = expected.iter().filter(|(key, _)| *key == from).cloned().collect();
            cursor.seek_key(&from, hash(BucketId(bucket), &from));
            prop_assert_eq!(rest(&mut cursor), of_key.clone());
            cursor.seek_key(&from, hash(BucketId(bucket), &from));
            for at in 1..of_key.len() {
                cursor.next();
                cursor.prev();
                prop_assert_eq!(entry(&cursor), Some(of_key[at - 1].clone()));
                cursor.next();
            }
            cursor.seek_key(&from, hash(BucketId(bucket), &from));
            cursor.prev();
            prop_assert_eq!(entry(&cursor), None);
            let first = expected.get(middle).filter(|(key, _)| *key == from).map(|(_, commit)| *commit);
            prop_assert_eq!(newest(&memtable, bucket, &from, visible), first);
        }
    }
}
