//! Segments against a sorted map, and against bytes that are not what was written.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;

use super::changes::Changes;
use super::deadlines::Expiring;
use super::reader::Found;
use super::{Builder, Cursor, Expected, Identity, Segment, Summary};
use crate::entry::{Flags, Meta};
use crate::error::Result;
use crate::hash::KeyHasher;
use crate::number::{BucketId, FileNumber, Revision};
use crate::testing::segment::{BytesFile, open_bytes};

const IDENTITY: Identity = Identity { store: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff, number: FileNumber(42) };

type Entry = (Vec<u8>, Meta, Vec<u8>);
/// By revision: what the entry is, whether a dropped one stands before it, its value.
type KeyHistory = BTreeMap<u64, ((Meta, bool), Vec<u8>)>;
/// Per bucket the entries in a segment's order.
type Model = BTreeMap<u64, Vec<Entry>>;

/// The newest entry of a key, by the hash that a caller has to bring.
fn newest<'a>(segment: &'a Segment, bucket: u64, key: &[u8]) -> Result<Option<Found<'a>>> {
    let hasher = KeyHasher::new(segment.expected.identity.store);
    segment.newest(BucketId(bucket), key, hasher.hash(BucketId(bucket), key))
}

fn put(revision: u64) -> Meta {
    Meta { revision: Revision(revision), flags: Flags::put(), created: 1_000 + revision, ..Meta::default() }
}

fn build(model: &Model, block_len: u32) -> (Vec<u8>, Summary) {
    build_with(model, block_len, 0)
}

fn build_with(model: &Model, block_len: u32, compression: u8) -> (Vec<u8>, Summary) {
    build_each(model, block_len, |_| compression)
}

fn build_each(model: &Model, block_len: u32, compression: impl Fn(u64) -> u8) -> (Vec<u8>, Summary) {
    let file = BytesFile::default();
    let mut builder = Builder::new(Box::new(file.clone()), PathBuf::from("n.seg"), IDENTITY, block_len);
    for (bucket, entries) in model {
        builder.set_compression(compression(*bucket));
        for (key, meta, value) in entries {
            builder.add(BucketId(*bucket), key, meta, value).unwrap();
        }
    }
    let summary = builder.finish().unwrap();
    (file.bytes(), summary)
}

fn expected(summary: &Summary) -> Expected {
    Expected { identity: IDENTITY, len: summary.len, checksum: summary.checksum }
}

/// Everything that a reader can ask agrees with the model; the first error ends it.
fn check_reads(segment: &Arc<Segment>, model: &Model) -> Result<()> {
    for (bucket, entries) in model {
        check_bucket(segment, BucketId(*bucket), entries)?;
    }
    assert!(newest(segment, u64::MAX, b"k")?.is_none());
    check_changes(segment, model)?;
    check_expiring(segment, model)?;
    Ok(())
}

fn check_bucket(segment: &Arc<Segment>, bucket: BucketId, entries: &[Entry]) -> Result<()> {
    let at = |cursor: &Cursor| cursor.entry().map(|entry| (entry.key.to_vec(), entry.meta, entry.value.to_vec()));
    let mut cursor = Cursor::new(Arc::clone(segment), bucket);
    assert!(cursor.entry().is_none(), "a new cursor is nowhere");
    for entry in entries {
        cursor.next()?;
        assert_eq!(at(&cursor).as_ref(), Some(entry));
    }
    cursor.next()?;
    assert!(cursor.entry().is_none());
    for entry in entries.iter().rev() {
        cursor.prev()?;
        assert_eq!(at(&cursor).as_ref(), Some(entry));
        assert_eq!(*cursor.entry().unwrap().value(), *entry.2);
    }
    cursor.prev()?;
    assert!(cursor.entry().is_none());
    cursor.seek_last()?;
    assert_eq!(at(&cursor).as_ref(), entries.last());
    cursor.seek_first()?;
    assert_eq!(at(&cursor).as_ref(), entries.first());
    for (key, ..) in entries {
        let (mut after, mut before) = (key.clone(), key.clone());
        after.push(0);
        before.pop();
        for probe in [key, &after, &before, &[key.as_slice(), &[0xff]].concat()] {
            let index = entries.partition_point(|entry| entry.0 < *probe);
            let found = newest(segment, bucket.0, probe)?.map(|found| (found.meta, found.to_value().to_vec()));
            let newest = entries.get(index).filter(|entry| entry.0 == *probe);
            assert_eq!(found, newest.map(|entry| (entry.1, entry.2.clone())));
            cursor.seek(probe)?;
            assert_eq!(at(&cursor).as_ref(), entries.get(index));
            cursor.prev()?;
            assert_eq!(at(&cursor).as_ref(), index.checked_sub(1).map(|before| &entries[before]));
        }
    }
    Ok(())
}

/// The entries in the order of their revisions, from before the first on and from within.
fn check_changes(segment: &Arc<Segment>, model: &Model) -> Result<()> {
    for (bucket, entries) in model {
        let mut ordered: Vec<_> = entries.iter().collect();
        ordered.sort_by_key(|entry| entry.1.revision);
        for after in [0, 5, ordered[ordered.len() / 2].1.revision.0, u64::MAX] {
            let mut changes = Changes::new(Arc::clone(segment), BucketId(*bucket), Revision(after))?;
            for expected in ordered.iter().filter(|entry| entry.1.revision.0 > after) {
                assert!(changes.advance()?, "there is more");
                let found = changes.entry().expect("it was just found");
                assert_eq!((found.key, found.meta, found.value), (&*expected.0, expected.1, &*expected.2));
            }
            assert!(!changes.advance()?);
        }
    }
    Ok(())
}

/// The entries that have deadlines, in the order of these.
fn check_expiring(segment: &Arc<Segment>, model: &Model) -> Result<()> {
    for (bucket, entries) in model {
        let mut deadlines: Vec<_> = entries.iter().map(|entry| (entry.1.deadline, entry.1.revision)).collect();
        deadlines.retain(|(deadline, _)| *deadline > 0);
        deadlines.sort_unstable();
        let middle = deadlines.get(deadlines.len() / 2).map_or(7, |(deadline, _)| *deadline);
        for after in [0, middle, middle.saturating_sub(1), u64::MAX] {
            let mut walk = Expiring::new(Arc::clone(segment), BucketId(*bucket), after)?;
            let mut found = Vec::new();
            while walk.advance()? {
                let entry = walk.entry().expect("it was just found");
                found.push((entry.meta.deadline, entry.meta.revision));
            }
            assert!(found.is_sorted_by_key(|(deadline, _)| *deadline));
            found.sort_unstable();
            assert_eq!(found, deadlines[deadlines.partition_point(|(deadline, _)| *deadline <= after)..]);
        }
    }
    Ok(())
}

fn verify(segment: &Segment) -> Result<(u64, u64, u64)> {
    let mut sums = (0, 0, 0);
    segment.verify(&mut |bytes, blocks, entries| {
        sums.0 += bytes;
        sums.1 += blocks;
        sums.2 += entries;
    })?;
    Ok(sums)
}

/// Keys over a tiny alphabet, so that they share prefixes, are prefixes of each other and differ by zeros at their end.
fn keys() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(0_u8), Just(1), Just(b'a'), Just(b'b'), Just(0xff)];
    prop_oneof![
        4 => prop::collection::vec(byte.clone(), 0..12),
        2 => prop::collection::vec(byte.clone(), 0..4).prop_map(|tail| [b"user:0000:", &*tail].concat()),
        1 => prop::collection::vec(byte, 60..300),
    ]
}

fn metas() -> impl Strategy<Value = (Meta, bool)> {
    let deadline = prop_oneof![3 => Just(0_u64), 1 => 1..3_000_u64, 1 => any::<u64>()];
    let flags = (0..3_u8, prop::sample::select(vec![0, Flags::ROLLUP, Flags::TRIMMED | Flags::STUB, Flags::CONTINUES]));
    let flags =
        flags.prop_map(|(operation, bits)| [Flags::put(), Flags::delete(), Flags::purge()][operation as usize].with(bits));
    let created = prop_oneof![4 => 1_000..2_000_u64, 1 => any::<u64>()];
    let origin = prop_oneof![3 => Just(0_u64), 1 => any::<u64>()];
    (flags, created, deadline, origin, any::<bool>()).prop_map(|(flags, created, deadline, origin, dropped)| {
        (Meta { revision: Revision(0), flags, created, deadline, origin: Revision(origin) }, dropped && !flags.is_put())
    })
}

/// Several buckets; per key distinct revisions from high to low, a marker sometimes behind a dropped entry of its revision.
fn models() -> impl Strategy<Value = Model> {
    let value = prop_oneof![2 => Just(vec![]), 4 => prop::collection::vec(any::<u8>(), 0..40), 1 => prop::collection::vec(any::<u8>(), 900..2_000), 1 => (900..30_000_usize).prop_map(|len| vec![b'z'; len])];
    let revision = prop_oneof![9 => 1..200_u64, 1 => any::<u64>()];
    let history = prop::collection::btree_map(revision, (metas(), value), 1..8);
    let bucket = prop::collection::btree_map(keys(), history, 1..30);
    let number = prop_oneof![4 => 1..5_u64, 1 => any::<u64>()];
    prop::collection::btree_map(number, bucket, 1..4).prop_map(|buckets| {
        let in_order = |(key, history): (Vec<u8>, KeyHistory)| {
            let mut entries = Vec::new();
            for (revision, ((meta, dropped), value)) in history.into_iter().rev() {
                let meta = Meta { revision: Revision(revision), ..meta };
                if dropped {
                    entries.push((key.clone(), Meta { flags: Flags::dropped(), deadline: 0, ..meta }, vec![]));
                }
                entries.push((key.clone(), meta, value));
            }
            entries
        };
        buckets.into_iter().map(|(bucket, keys)| (bucket, keys.into_iter().flat_map(in_order).collect())).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_was_added_is_read_back_every_way(
        model in models(),
        block_len in prop_oneof![Just(64_u32), Just(256), Just(4096), Just(1 << 20)],
        compressed: bool,
    ) {
        let (bytes, summary) = build_with(&model, block_len, u8::from(compressed && cfg!(feature = "zstd")));
        prop_assert_eq!(summary.len, bytes.len() as u64);
        let segment = open_bytes(&bytes, &expected(&summary)).unwrap();
        check_reads(&segment, &model).unwrap();
        let entries: usize = model.values().map(Vec::len).sum();
        let sums = verify(&segment).unwrap();
        prop_assert_eq!((sums.0, sums.2), (summary.len, entries as u64));
        prop_assert_eq!((segment.entries(), segment.len(), segment.number()), (entries as u64, summary.len, IDENTITY.number));
        prop_assert_eq!(segment.sections(), &*summary.sections);
        for (section, (bucket, entries)) in segment.sections().iter().zip(&model) {
            let revisions = || entries.iter().map(|entry| entry.1.revision);
            let is_marker = |entry: &&Entry| !entry.1.flags.is_put() && !entry.1.flags.is_dropped();
            prop_assert_eq!(section.bucket.0, *bucket);
            prop_assert_eq!((section.entries, section.markers), (entries.len() as u64, entries.iter().filter(is_marker).count() as u64));
            prop_assert_eq!(Some((section.first_revision, section.last_revision)), revisions().min().zip(revisions().max()));
            let created = || entries.iter().map(|entry| entry.1.created);
            prop_assert_eq!(Some((section.first_created, section.last_created)), created().min().zip(created().max()));
            let deadlines = || entries.iter().map(|entry| entry.1.deadline).filter(|deadline| *deadline > 0);
            prop_assert_eq!((section.deadlines, section.first_deadline), (deadlines().count() as u64, deadlines().min().unwrap_or(0)));
            for now in deadlines().chain([0, u64::MAX]).flat_map(|deadline| [deadline.saturating_sub(1), deadline]) {
                let expired = segment.expired(section.bucket, now).unwrap();
                prop_assert_eq!(expired.entries, deadlines().filter(|deadline| *deadline <= now).count() as u64);
            }
            let keys: std::collections::BTreeSet<_> = entries.iter().map(|entry| &entry.0).collect();
            let puts = entries.iter().filter(|entry| entry.1.flags.is_put()).count();
            prop_assert_eq!((section.keys, section.puts), (keys.len() as u64, puts as u64));
            prop_assert_eq!((&*section.first_key, &*section.last_key), (&*entries[0].0, &*entries[entries.len() - 1].0));
        }
    }
}

mod building;
mod corruption;
mod golden;
