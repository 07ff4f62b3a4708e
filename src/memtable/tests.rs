use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Cursor, Memtable};
use crate::entry::{Flags, Meta, Value};
use crate::number::{BucketId, CommitNumber, Revision};

fn meta(revision: u64) -> Meta {
    Meta { revision: Revision(revision), flags: Flags::put(), created: revision, deadline: 0, origin: Revision::NONE }
}

fn newest(memtable: &Memtable, bucket: BucketId, key: &[u8], visible: u64) -> Option<u64> {
    memtable.with_newest(bucket, key, CommitNumber(visible), |commit, _, _| commit.0)
}

#[test]
fn entries_above_visible_are_not_seen_by_lookups_and_cursors() {
    let memtable = Arc::new(Memtable::new(CommitNumber(1), CommitNumber(0)));
    for commit in 1..=3 {
        memtable.insert(BucketId(1), b"k", CommitNumber(commit), meta(commit), Value::copy_of(&[commit as u8]));
    }
    let found = memtable.with_newest(BucketId(1), b"k", CommitNumber(2), |commit, _, value| (commit, value.clone()));
    assert_eq!(found, Some((CommitNumber(2), Value::copy_of(&[2]))));
    assert!(newest(&memtable, BucketId(1), b"k", 0).is_none());
    let mut cursor = Cursor::new(Arc::clone(&memtable), BucketId(1), CommitNumber(2));
    cursor.seek(b"");
    assert_eq!(cursor.entry().unwrap().1.revision, Revision(2));
    cursor.next();
    assert_eq!(cursor.entry().unwrap().1.revision, Revision(1));
    cursor.next();
    assert!(cursor.entry().is_none());
}

#[test]
fn a_bucket_is_not_seen_from_its_neighbours() {
    let memtable = Arc::new(Memtable::new(CommitNumber(1), CommitNumber(0)));
    memtable.insert(BucketId(1), b"k", CommitNumber(1), meta(1), Value::empty());
    memtable.insert(BucketId(3), b"a", CommitNumber(2), meta(1), Value::empty());
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
        let memtable = Arc::new(Memtable::new(CommitNumber(1), CommitNumber(0)));
        let mut model = BTreeMap::new();
        for (at, (bucket, key)) in writes.iter().enumerate() {
            let commit = at as u64 + 1;
            memtable.insert(BucketId(*bucket), key.as_bytes(), CommitNumber(commit), meta(commit), Value::copy_of(key.as_bytes()));
            if commit <= visible {
                model.insert((*bucket, key.clone(), std::cmp::Reverse(commit)), commit);
            }
        }
        for bucket in 0..3 {
            let mut cursor = Cursor::new(Arc::clone(&memtable), BucketId(bucket), CommitNumber(visible));
            cursor.seek(from.as_bytes());
            let mut walked = Vec::new();
            while let Some((key, meta, value)) = cursor.entry() {
                prop_assert!(*value == key);
                walked.push((String::from_utf8(key.to_vec()).unwrap(), meta.revision.0));
                cursor.next();
            }
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
