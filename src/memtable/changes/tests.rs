use super::*;
use crate::entry::{Flags, Meta};

fn insert(memtable: &Memtable, (bucket, key): (u64, u64), commit: u64, revision: u64, flags: Flags) {
    let meta = Meta { revision: Revision(revision), flags, ..Meta::default() };
    memtable.insert(BucketId(bucket), &key.to_be_bytes(), key, CommitNumber(commit), meta, b"value");
}

fn rest(changes: &mut Changes) -> Vec<u64> {
    std::iter::from_fn(|| changes.advance().then(|| changes.entry().map_or(0, |entry| entry.meta.revision.0))).collect()
}

/// Two buckets by turns, 97 keys each; the commit is twice the revision in bucket 1, and one more in bucket 2.
fn filled(count: u64) -> Arc<Memtable> {
    let memtable = Arc::new(Memtable::new(CommitNumber(1), CommitNumber(0), 64 << 10));
    for revision in 1..=count {
        insert(&memtable, (1, revision * 31 % 97), 2 * revision, revision, Flags::put());
        insert(&memtable, (2, revision * 31 % 97), 2 * revision + 1, revision, Flags::put());
    }
    memtable
}

#[test]
fn entries_come_in_the_order_of_commits_from_any_revision_up_to_any_commit() {
    // More than a piece or two of the list.
    let memtable = filled(2_000);
    for (after, visible) in [(0, 4_001), (0, 3_000), (700, 4_001), (700, 1_401), (1_999, 4_001), (2_000, 4_001), (5, 4), (0, 0)] {
        let mut changes = Changes::new(Arc::clone(&memtable), BucketId(1), CommitNumber(visible));
        let is_reached = changes.seek_after(Revision(after));
        assert_eq!(is_reached, after > 0 && visible > 1, "after {after} up to {visible}");
        assert_eq!(rest(&mut changes), (after + 1..=visible / 2).collect::<Vec<_>>());
    }
    assert_eq!(rest(&mut Changes::new(memtable, BucketId(3), CommitNumber(4_001))), []);
}

#[test]
fn what_is_not_visible_yet_is_told_by_its_first_revision() {
    let memtable = filled(100);
    for (visible, first) in [(0, Some(1)), (1, Some(1)), (2, Some(2)), (99, Some(50)), (199, Some(100)), (200, None), (201, None)]
    {
        assert_eq!(memtable.first_revision_above(BucketId(1), CommitNumber(visible)), first.map(Revision), "above {visible}");
    }
}

#[test]
fn dropped_entries_are_left_out_and_what_they_hide_is_not_judged() {
    let memtable = Arc::new(Memtable::new(CommitNumber(1), CommitNumber(0), 64 << 10));
    insert(&memtable, (1, 1), 1, 1, Flags::put());
    insert(&memtable, (1, 2), 2, 2, Flags::put());
    insert(&memtable, (1, 1), 3, 3, Flags::delete());
    insert(&memtable, (1, 1), 4, 3, Flags::dropped());
    let mut changes = Changes::new(memtable, BucketId(1), CommitNumber(4));
    let mut found = Vec::new();
    while changes.advance() {
        found.push((changes.entry().map_or(0, |entry| entry.meta.revision.0), changes.is_newest()));
    }
    assert_eq!(found, [(1, None), (2, Some(true)), (3, None)]);
}
