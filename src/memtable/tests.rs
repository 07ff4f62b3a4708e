use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Cursor, Found, Memtable};
use crate::entry::{Flags, Meta, Value};
use crate::hash::KeyHasher;
use crate::number::{BucketId, CommitNumber, Revision};

fn meta(revision: u64) -> Meta {
    Meta { revision: Revision(revision), flags: Flags::put(), created: revision, deadline: 0, origin: Revision::NONE }
}

fn hash(bucket: BucketId, key: &[u8]) -> u64 {
    KeyHasher::new(1).hash(bucket, key)
}

fn insert(memtable: &Memtable, bucket: u64, key: &[u8], commit: u64, value: &[u8]) {
    let bucket = BucketId(bucket);
    memtable.insert(bucket, key, hash(bucket, key), CommitNumber(commit), meta(commit), value);
}

fn newest(memtable: &Memtable, bucket: BucketId, key: &[u8], visible: u64) -> Option<u64> {
    memtable.with_newest(bucket, key, hash(bucket, key), CommitNumber(visible), |found| found.commit.0)
}

#[test]
fn entries_above_visible_are_not_seen_by_lookups_and_cursors() {
    let memtable = Arc::new(Memtable::new(CommitNumber(1), CommitNumber(0), 1 << 20));
    for commit in 1..=3 {
        insert(&memtable, 1, b"k", commit, &[commit as u8]);
    }
    let read = |found: Found<'_>| (found.commit, found.to_value());
    let found = memtable.with_newest(BucketId(1), b"k", hash(BucketId(1), b"k"), CommitNumber(2), read);
    assert_eq!(found, Some((CommitNumber(2), Value::copy_of(&[2]))));
    assert!(newest(&memtable, BucketId(1), b"k", 0).is_none());
    let mut cursor = Cursor::new(Arc::clone(&memtable), BucketId(1), CommitNumber(2));
    cursor.seek(b"");
    assert_eq!(cursor.entry().unwrap().meta.revision, Revision(2));
    cursor.next();
    assert_eq!(cursor.entry().unwrap().meta.revision, Revision(1));
    cursor.next();
    assert!(cursor.entry().is_none());
}

#[test]
fn a_bucket_is_not_seen_from_its_neighbours() {
    let memtable = Arc::new(Memtable::new(CommitNumber(1), CommitNumber(0), 1 << 20));
    insert(&memtable, 1, b"k", 1, b"");
    insert(&memtable, 3, b"a", 2, b"");
    let mut cursor = Cursor::new(Arc::clone(&memtable), BucketId(2), CommitNumber(9));
    cursor.seek(b"");
    assert!(cursor.entry().is_none());
    assert!(newest(&memtable, BucketId(3), b"k", 9).is_none());
}

proptest! {
    /// Against a plain ordered map, with keys of two letters so that they collide, and a reader at every commit.
    #[test]
    fn lookups_and_walks_agree_with_an_ordered_map(
        writes in prop::collection::vec((0_u64..3, "[ab]{0,2}"), 0..40), visible in 0_u64..45, from in "[ab]{0,3}"
    ) {
        let memtable = Arc::new(Memtable::new(CommitNumber(1), CommitNumber(0), 1 << 20));
        let mut model = BTreeMap::new();
        for (at, (bucket, key)) in writes.iter().enumerate() {
            let commit = at as u64 + 1;
            insert(&memtable, *bucket, key.as_bytes(), commit, key.as_bytes());
            if commit <= visible {
                model.insert((*bucket, key.clone(), std::cmp::Reverse(commit)), commit);
            }
        }
        for bucket in 0..3 {
            let mut cursor = Cursor::new(Arc::clone(&memtable), BucketId(bucket), CommitNumber(visible));
            cursor.seek(from.as_bytes());
            let mut walked = Vec::new();
            while let Some(entry) = cursor.entry() {
                prop_assert_eq!(entry.value, entry.key);
                walked.push((String::from_utf8(entry.key.to_vec()).unwrap(), entry.meta.revision.0));
                cursor.next();
            }
            let mut back = Vec::new();
            cursor.seek_before(Some(from.as_bytes()));
            while let Some(entry) = cursor.entry() {
                back.push((String::from_utf8(entry.key.to_vec()).unwrap(), entry.meta.revision.0));
                cursor.prev();
            }
            let below = model.iter().filter(|((in_bucket, key, _), _)| *in_bucket == bucket && *key < from);
            prop_assert_eq!(back, below.rev().map(|((_, key, _), commit)| (key.clone(), *commit)).collect::<Vec<_>>());
            cursor.seek_before(None);
            let last = model.keys().rfind(|(in_bucket, ..)| *in_bucket == bucket).map(|(_, _, commit)| commit.0);
            prop_assert_eq!(cursor.entry().map(|entry| entry.meta.revision.0), last);
            let expected: Vec<_> = model
                .iter()
                .filter(|((in_bucket, key, _), _)| *in_bucket == bucket && *key >= from)
                .map(|((_, key, _), commit)| (key.clone(), *commit))
                .collect();
            prop_assert_eq!(walked, expected);
            let newest = newest(&memtable, BucketId(bucket), from.as_bytes(), visible);
            let first = model.range((bucket, from.clone(), std::cmp::Reverse(u64::MAX))..).next();
            prop_assert_eq!(newest, first.filter(|((b, key, _), _)| *b == bucket && *key == from).map(|(_, commit)| *commit));
        }
    }
}
