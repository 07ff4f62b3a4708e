//! What a builder writes, call for call, and what it does when the disk refuses.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

#[cfg(feature = "zstd")]
use super::build_with;
use super::{IDENTITY, Model, build, check_reads, expected, newest, put, verify};
use crate::cache::BlockCache;
use crate::entry::{Flags, Meta};
use crate::env::{Env, File};
use crate::error::ErrorKind;
use crate::number::{BucketId, Revision};
#[cfg(feature = "zstd")]
use crate::segment::reseal::{expected_of, reseal};
use crate::segment::{Builder, Cursor, Segment};
use crate::testing::segment::{BytesFile, open_bytes};

/// Whole writes of this length, from multiples of it on, are what file systems keep in huge pages.
const PIECE: u64 = 2 * 1024 * 1024;

/// Bytes between syncs, a sync that fails, and whether all is written in whole pieces.
#[derive(Clone, Debug, Default)]
struct Watched {
    file: BytesFile,
    calls: Arc<Mutex<Calls>>,
}

#[derive(Debug, Default)]
struct Calls {
    unsynced: usize,
    unsynced_max: usize,
    end: u64,
    /// Where a write began that is no piece of 2 MiB from a multiple of that on, nor the last write of all.
    crooked: Option<u64>,
    syncs: usize,
    failing_sync: Option<usize>,
    after_failure: usize,
}

impl Watched {
    fn sync(&self) -> io::Result<()> {
        let mut calls = self.calls.lock().unwrap();
        calls.unsynced = 0;
        calls.syncs += 1;
        if calls.failing_sync == Some(calls.syncs) { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
    }
}

impl File for Watched {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut calls = self.calls.lock().unwrap();
        if calls.failing_sync.is_some_and(|failing| failing <= calls.syncs) {
            calls.after_failure += 1;
        }
        assert_eq!(offset, calls.end, "written from front to end");
        assert_eq!(calls.crooked, None, "not the last write, and no whole piece");
        if !offset.is_multiple_of(PIECE) || bytes.len() as u64 != PIECE {
            calls.crooked = Some(offset);
        }
        calls.end += bytes.len() as u64;
        calls.unsynced += bytes.len();
        calls.unsynced_max = calls.unsynced_max.max(calls.unsynced);
        self.file.write_at(bytes, offset)
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        unreachable!("a builder does not know its length")
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        unreachable!("a builder only appends")
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn map(&self) -> io::Result<Arc<dyn AsRef<[u8]> + Send + Sync>> {
        unreachable!("nothing is mapped while it is written")
    }
}

fn builder(file: impl File + 'static, block_len: u32) -> Builder {
    Builder::new(Box::new(file), PathBuf::from("n.seg"), IDENTITY, block_len)
}

#[test]
fn revisions_of_a_key_may_fill_many_blocks() {
    let mut entries = vec![(b"a".to_vec(), put(1), b"before".to_vec())];
    entries.extend((0..200).rev().map(|number| (b"key".to_vec(), put(10 + number), vec![b'v'; 30])));
    entries.push((b"key\0".to_vec(), put(2), b"after".to_vec()));
    let model = Model::from([(1, entries)]);
    let (bytes, summary) = build(&model, 128);
    let segment = open_bytes(&bytes, &expected(&summary)).unwrap();
    assert!(segment.sections()[0].parts.block_count > 60);
    assert_eq!(newest(&segment, 1, b"key").unwrap().unwrap().meta.revision, Revision(209));
    check_reads(&segment, &model).unwrap();
    verify(&segment).unwrap();
}

#[test]
fn keys_that_differ_only_by_zeros_within_a_head_are_told_apart() {
    let keys: Vec<Vec<u8>> = (0..30).map(|len| [b"k".to_vec(), vec![0; len]].concat()).collect();
    let model = Model::from([(1, keys.into_iter().map(|key| (key, put(1), b"v".to_vec())).collect())]);
    for block_len in [64, 200, 4096] {
        let (bytes, summary) = build(&model, block_len);
        check_reads(&open_bytes(&bytes, &expected(&summary)).unwrap(), &model).unwrap();
    }
}

#[test]
fn huge_values_go_through_in_pieces_and_are_read_in_place() {
    let value: Vec<u8> = (0..9_000_000_u32).map(|number| (number % 251) as u8).collect();
    let keys = ["a", "b", "c"].map(|key| key.as_bytes().to_vec());
    let entries = keys.into_iter().flat_map(|key| [(key.clone(), put(2), value.clone()), (key, put(1), b"small".to_vec())]);
    let entries: Vec<_> = entries.collect();
    let watched = Watched::default();
    let mut builder = builder(watched.clone(), 8192);
    for (key, meta, value) in &entries {
        builder.add(BucketId(1), key, meta, value).unwrap();
    }
    let summary = builder.finish().unwrap();
    let segment = open_bytes(&watched.file.bytes(), &expected(&summary)).unwrap();
    check_reads(&segment, &Model::from([(1, entries)])).unwrap();
    let calls = watched.calls.lock().unwrap();
    assert!(calls.unsynced_max <= 4 * 1024 * 1024, "{calls:?}");
    assert_eq!(calls.unsynced, 0, "all is synced at the end");
    assert!(calls.crooked.is_none_or(|last| last.is_multiple_of(PIECE)));
}

#[test]
fn small_entries_are_synced_on_the_way_too() {
    let watched = Watched::default();
    let mut builder = builder(watched.clone(), 8192);
    for number in 0..100_000_u32 {
        builder.add(BucketId(1), &number.to_be_bytes(), &put(1), &[7; 100]).unwrap();
    }
    let about = builder.len();
    let summary = builder.finish().unwrap();
    let calls = watched.calls.lock().unwrap();
    assert!(calls.unsynced_max <= 4 * 1024 * 1024 && calls.syncs >= 3, "{calls:?}");
    assert!(about.abs_diff(summary.len) < summary.len / 100, "{about} is about {}", summary.len);
    let blocks = summary.sections[0].parts.block_count;
    let mean = summary.sections[0].parts.blocks_len / blocks;
    assert!((7_000..=8_300).contains(&mean), "blocks of {mean} bytes where 8192 were asked for");
}

#[test]
fn after_a_failed_sync_nothing_more_is_written_and_the_error_stays() {
    for failing in 1..=2 {
        let watched = Watched::default();
        watched.calls.lock().unwrap().failing_sync = Some(failing);
        let mut builder = builder(watched.clone(), 8192);
        let mut failed = None;
        for number in 0..100_000_u32 {
            if let Err(error) = builder.add(BucketId(1), &number.to_be_bytes(), &put(1), &[7; 100]) {
                assert_eq!((error.kind(), error.file()), (ErrorKind::Io, Some(std::path::Path::new("n.seg"))));
                failed = Some(number);
                break;
            }
        }
        assert!(failed.is_some());
        assert!(builder.add(BucketId(2), b"k", &put(1), b"v").is_err());
        assert!(builder.finish().is_err());
        assert_eq!(watched.calls.lock().unwrap().after_failure, 0);
    }
}

#[test]
fn entries_out_of_order_are_a_bug() {
    let dropped = |revision| Meta { flags: Flags::dropped(), ..put(revision) };
    type Added = (u64, &'static [u8], Meta);
    let cases: [(&str, [Added; 2]); 6] = [
        ("bucket falls", [(2, b"a", put(1)), (1, b"a", put(1))]),
        ("key falls", [(1, b"b", put(1)), (1, b"a", put(1))]),
        ("key falls to its prefix", [(1, b"a\0", put(1)), (1, b"a", put(1))]),
        ("revision rises", [(1, b"a", put(1)), (1, b"a", put(2))]),
        ("revision twice", [(1, b"a", put(1)), (1, b"a", put(1))]),
        ("dropped after its marker", [(1, b"a", put(1)), (1, b"a", dropped(1))]),
    ];
    for (name, [first, second]) in cases {
        let mut builder = builder(BytesFile::default(), 4096);
        builder.add(BucketId(first.0), first.1, &first.2, b"").unwrap();
        let add = AssertUnwindSafe(|| builder.add(BucketId(second.0), second.1, &second.2, b""));
        assert!(catch_unwind(add).is_err(), "{name}");
    }
}

#[test]
#[should_panic(expected = "an empty segment is never built")]
fn an_empty_segment_is_a_bug() {
    let _ = builder(BytesFile::default(), 4096).finish();
}

#[test]
fn a_segment_on_a_real_disk_is_read_through_its_map_and_outlives_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("42.seg");
    let fs = Env::os().fs;
    let big = vec![9; 100_000];
    let mut builder = Builder::new(fs.create_new(&path).unwrap(), path.clone(), IDENTITY, 4096);
    builder.add(BucketId(1), b"big", &put(2), &big).unwrap();
    builder.add(BucketId(1), b"small", &put(1), b"v").unwrap();
    let summary = builder.finish().unwrap();
    let segment = Segment::open(&*fs, &path, &expected(&summary), &Arc::new(BlockCache::new(0))).unwrap();
    fs.remove(&path).unwrap();
    assert_eq!(segment.path(), path);
    let value = newest(&segment, 1, b"big").unwrap().unwrap().to_value();
    let mut cursor = Cursor::new(segment, BucketId(1));
    cursor.seek(b"c").unwrap();
    assert_eq!(cursor.entry().unwrap().key, b"small");
    let small = cursor.entry().unwrap().value();
    drop(cursor);
    assert_eq!((&*value, &*small), (&*big, &b"v"[..]));
    let error = Segment::open(&*fs, &path, &expected(&summary), &Arc::new(BlockCache::new(0))).unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::Io, Some(&*path)));
}

/// What compresses well, in several blocks, and one value of its own kind that is longer than a block.
#[cfg(feature = "zstd")]
fn compressible() -> Model {
    let entry = |number: u64| (format!("key.{number:05}").into_bytes(), put(number + 1), vec![b'c'; 200]);
    let mut entries: Vec<_> = (0..2_000).map(entry).collect();
    entries.push((b"long".to_vec(), put(1), vec![b'l'; 3_000_000]));
    entries.push((
        b"noise".to_vec(),
        put(1),
        (0..9_000_u32).map(|number| (number.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect(),
    ));
    Model::from([(1, entries)])
}

#[cfg(feature = "zstd")]
#[test]
fn compressed_blocks_are_smaller_and_read_like_others_and_one_bit_of_them_is_missed() {
    let model = compressible();
    let (plain, _) = build(&model, 4096);
    let (bytes, summary) = build_with(&model, 4096, 1);
    assert!(bytes.len() < plain.len() / 20, "{} of {}", bytes.len(), plain.len());
    let segment = open_bytes(&bytes, &expected(&summary)).unwrap();
    check_reads(&segment, &model).unwrap();
    verify(&segment).unwrap();
    let value = newest(&segment, 1, b"long").unwrap().unwrap().to_value();
    drop(segment);
    assert_eq!(value, vec![b'l'; 3_000_000], "a value holds on to what it is part of");
    let middle = bytes.len() / 3;
    let flipped = [&bytes[..middle], &[bytes[middle] ^ 4], &bytes[middle + 1..]].concat();
    assert!(verify(&open_bytes(&flipped, &expected(&summary)).unwrap()).is_err());
}

#[cfg(feature = "zstd")]
#[test]
fn a_block_that_lies_about_its_length_is_refused_and_nothing_large_is_made_for_it() {
    let model = compressible();
    for len in [0_u32, 40, 5_000, u32::MAX] {
        let (mut bytes, _) = build_with(&model, 4096, 1);
        assert_eq!(bytes[64 + 14], 1, "the first block is compressed");
        bytes[72..76].copy_from_slice(&len.to_le_bytes());
        reseal(&mut bytes);
        let segment = open_bytes(&bytes, &expected_of(&bytes)).unwrap();
        assert_eq!(newest(&segment, 1, b"key.00000").unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(verify(&segment).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[cfg(feature = "zstd")]
#[test]
fn a_small_cache_serves_a_walk_and_stays_small() {
    let model = compressible();
    let (bytes, summary) = build_with(&model, 4096, 1);
    let cache = Arc::new(BlockCache::new(40_000));
    let file = BytesFile::new(bytes);
    let segment = Segment::open_file(&file, std::path::Path::new("n.seg"), &expected(&summary), &cache).unwrap();
    let mut cursor = Cursor::new(Arc::clone(&segment), BucketId(1));
    let mut count = 0;
    cursor.seek_first().unwrap();
    while cursor.entry().is_some() {
        assert!(cache.bytes() <= 40_000);
        count += 1;
        cursor.next().unwrap();
    }
    assert_eq!(count, model[&1].len());
}

#[cfg(not(feature = "zstd"))]
#[test]
fn without_zstd_nothing_is_compressed() {
    let model = Model::from([(1, vec![(b"k".to_vec(), put(1), vec![0; 3_000])])]);
    let (bytes, _) = super::build_with(&model, 4096, 1);
    assert_eq!(bytes, build(&model, 4096).0);
}
