//! Bytes that are not what was written: found, or harmless; never a wrong answer, never a panic.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::{IDENTITY, Model, build, check_reads, expected, newest, put, verify};
use crate::cache::BlockCache;
use crate::entry::{Flags, Meta};
use crate::error::{Error, ErrorKind};
use crate::number::{BucketId, FileNumber, Revision};
use crate::segment::reseal::{expected_of, reseal, valid_segment};
use crate::segment::{Cursor, Expected, Identity, Segment};
use crate::testing::segment::{
    BytesFile, decode_block_bytes, decode_resealed_block_bytes, open_bytes, open_resealed_segment_bytes, open_segment_bytes,
};

/// Two buckets, several blocks each, every kind of entry, one value that is larger than a block.
fn small() -> (Model, Vec<u8>, Expected) {
    let mut model = Model::new();
    for bucket in [1, 9] {
        let entries = model.entry(bucket).or_default();
        for number in 0..5_u64 {
            let key = format!("key.{number}{}", if number == 3 { ".and.more.of.it" } else { "" }).into_bytes();
            let marker = Meta { flags: Flags::delete(), ..put(20 + number) };
            entries.push((key.clone(), Meta { flags: Flags::dropped(), ..marker }, vec![]));
            entries.push((key.clone(), marker, vec![]));
            entries.push((
                key,
                Meta { deadline: 7_000, ..put(10 + number) },
                vec![number as u8; if number == 2 { 200 } else { 5 }],
            ));
        }
    }
    let (bytes, summary) = build(&model, 100);
    (model, bytes, expected(&summary))
}

fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::UnsupportedFormat)
}

/// Every read by itself is right or refused; walks are right until they are refused, and stay so.
fn check_right_or_refused(segment: &Arc<Segment>, model: &Model) {
    for (bucket, entries) in model {
        for (key, ..) in entries {
            let expected = entries.iter().find(|entry| entry.0 == *key).unwrap();
            match newest(segment, *bucket, key) {
                Ok(found) => {
                    let found = found.expect("a key that is there is not lost");
                    assert_eq!((found.meta, found.value()), (expected.1, &*expected.2));
                }
                Err(error) => assert!(is_refusal(&error)),
            }
            let absent = [&**key, b"!"].concat();
            match newest(segment, *bucket, &absent) {
                Ok(found) => assert!(found.is_none()),
                Err(error) => assert!(is_refusal(&error)),
            }
            let mut cursor = Cursor::new(Arc::clone(segment), BucketId(*bucket));
            match cursor.seek(key) {
                Ok(()) => assert_eq!(cursor.entry().expect("it is there").meta, expected.1),
                Err(error) => assert!(is_refusal(&error)),
            }
        }
        walk(Cursor::new(Arc::clone(segment), BucketId(*bucket)), entries.iter(), Cursor::next);
        let mut cursor = Cursor::new(Arc::clone(segment), BucketId(*bucket));
        if cursor.seek_last().and_then(|()| cursor.next()).is_ok() {
            walk(cursor, entries.iter().rev(), Cursor::prev);
        }
    }
}

fn walk<'a>(
    mut cursor: Cursor,
    entries: impl Iterator<Item = &'a super::Entry>,
    step: impl Fn(&mut Cursor) -> crate::error::Result<()>,
) {
    for entry in entries {
        if let Err(error) = step(&mut cursor) {
            assert!(is_refusal(&error));
            assert!(cursor.entry().is_none());
            assert!(cursor.next().is_err() && cursor.prev().is_err(), "a walk that failed does not step over it");
            return;
        }
        let found = cursor.entry().expect("a walk does not end early");
        assert_eq!((found.key, found.meta, found.value), (&*entry.0, entry.1, &*entry.2));
    }
    assert!(step(&mut cursor).is_ok() && cursor.entry().is_none());
}

#[test]
fn every_flipped_bit_is_found_by_verify_and_gives_no_wrong_answer() {
    let (model, bytes, expected) = small();
    check_every_flip(&model, &bytes, &expected);
}

/// Bucket 9 is compressed, and with `both` bucket 1 too: a few blocks each of what compresses, and one that does not.
#[cfg(feature = "zstd")]
fn small_compressed(both: bool) -> (Model, Vec<u8>, Expected) {
    let mut model = Model::new();
    for bucket in [1, 9] {
        let entry = |number: u64| {
            let noise = |at: u64| ((at + number).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8;
            let value = if number == 6 { (0..300).map(noise).collect() } else { vec![number as u8; 60] };
            (format!("key.{number}").into_bytes(), Meta { deadline: 7_000, ..put(10 + number) }, value)
        };
        let mut entries: Vec<_> = (0..7).map(entry).collect();
        entries.insert(1, (b"key.0".to_vec(), put(5), vec![0xee; 60]));
        model.insert(bucket, entries);
    }
    let (bytes, summary) = super::build_each(&model, 110, |bucket| u8::from(both || bucket == 9));
    let compressions = |section: &crate::segment::SectionInfo| -> Vec<u8> {
        let (mut at, mut found) = (section.parts.offset as usize, Vec::new());
        while at < section.parts.blocks_end() as usize {
            found.push(bytes[at + 14]);
            at += u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        }
        found
    };
    let found: Vec<_> = summary.sections.iter().map(compressions).collect();
    let (plain, packed) = (vec![0; 8], vec![1, 1, 1, 1, 0]);
    assert_eq!(found, [if both { packed.clone() } else { plain }, packed]);
    (model, bytes, expected(&summary))
}

#[cfg(feature = "zstd")]
#[test]
fn every_flipped_bit_of_compressed_blocks_is_found_too() {
    let (model, bytes, expected) = small_compressed(true);
    check_every_flip(&model, &bytes, &expected);
}

#[cfg(feature = "zstd")]
#[test]
fn every_flipped_bit_is_found_where_one_bucket_is_compressed_and_one_is_not() {
    let (model, bytes, expected) = small_compressed(false);
    check_every_flip(&model, &bytes, &expected);
}

fn check_every_flip(model: &Model, bytes: &[u8], expected: &Expected) {
    check_reads(&open_bytes(bytes, expected).unwrap(), model).unwrap();
    let mut opened = 0;
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match open_bytes(&flipped, expected) {
            Ok(segment) => {
                opened += 1;
                let error = verify(&segment).expect_err("verify reads every bit");
                assert!(is_refusal(&error), "{error:?}");
                assert!(error.offset().is_some_and(|offset| offset <= (bit / 8) as u64), "{error:?} for bit {bit}");
                check_right_or_refused(&segment, model);
            }
            Err(error) => assert!(is_refusal(&error), "{error:?}"),
        }
    }
    assert!(opened > bytes.len(), "most flips are in blocks, which open does not read");
}

#[test]
fn a_bad_block_fails_only_the_reads_that_need_it_and_every_time() {
    let (model, mut bytes, expected) = small();
    let segment = open_bytes(&bytes, &expected).unwrap();
    let value = newest(&segment, 1, b"key.0").unwrap().unwrap();
    assert!(value.meta.flags.is_dropped());
    bytes[64 + 40] ^= 1; // in the first block of bucket 1
    let segment = open_bytes(&bytes, &expected).unwrap();
    for _ in 0..3 {
        let error = newest(&segment, 1, b"key.0").unwrap_err();
        assert_eq!((error.kind(), error.file(), error.offset()), (ErrorKind::Corrupt, Some(Path::new("bytes.seg")), Some(64)));
    }
    assert!(newest(&segment, 1, b"key.4").unwrap().is_some());
    assert!(newest(&segment, 9, b"key.0").unwrap().is_some());
    let mut cursor = Cursor::new(Arc::clone(&segment), BucketId(1));
    assert!(cursor.next().is_err());
    assert!(cursor.next().is_err());
    cursor.seek(b"key.4").unwrap();
    assert_eq!(cursor.entry().unwrap().key, &*model[&1].last().unwrap().0);
}

#[test]
fn a_file_of_another_length_is_refused() {
    let (_, bytes, expected) = small();
    for len in 0..bytes.len() {
        assert_eq!(open_bytes(&bytes[..len], &expected).unwrap_err().kind(), ErrorKind::Corrupt);
        let shorter = Expected { len: len as u64, ..expected };
        assert_eq!(open_bytes(&bytes[..len], &shorter).unwrap_err().kind(), ErrorKind::Corrupt);
    }
    let longer = [&*bytes, &[0]].concat();
    assert_eq!(open_bytes(&longer, &expected).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn zeroed_pieces_are_found() {
    let (model, bytes, expected) = small();
    for start in 0..bytes.len() - 16 {
        let mut zeroed = bytes.clone();
        zeroed[start..start + 16].fill(0);
        if zeroed == bytes {
            continue;
        }
        if let Ok(segment) = open_bytes(&zeroed, &expected) {
            assert!(verify(&segment).is_err());
            check_right_or_refused(&segment, &model);
        }
    }
    assert!(open_bytes(&vec![0; bytes.len()], &expected).is_err());
}

#[test]
fn another_stores_file_another_number_and_another_build_are_refused() {
    let (model, bytes, expected) = small();
    let other_store = Identity { store: 1, ..IDENTITY };
    let other_number = Identity { number: FileNumber(43), ..IDENTITY };
    for identity in [other_store, other_number] {
        assert_eq!(open_bytes(&bytes, &Expected { identity, ..expected }).unwrap_err().kind(), ErrorKind::Corrupt);
    }
    let mut changed = model;
    changed.get_mut(&9).unwrap()[2].2 = vec![0xee; 5];
    let (other_build, _) = build(&changed, 100);
    assert_eq!(other_build.len(), bytes.len());
    assert_eq!(open_bytes(&other_build, &expected).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_block_of_another_build_at_the_same_place_is_refused() {
    // As a disk may do that loses one write: the block verifies by itself, and its fence knows better.
    let (model, bytes, expected) = small();
    let mut changed = model.clone();
    changed.get_mut(&1).unwrap()[2].2 = vec![0xee; 5];
    let (stale, _) = build(&changed, 100);
    let segment = open_bytes(&bytes, &expected).unwrap();
    let end = segment.sections()[0].parts.blocks_end() as usize;
    let mixed = [&stale[..end], &bytes[end..]].concat();
    assert_ne!(mixed, bytes);
    let segment = open_bytes(&mixed, &expected).unwrap();
    assert_eq!(verify(&segment).unwrap_err().kind(), ErrorKind::Corrupt);
    check_right_or_refused(&segment, &model);
}

#[test]
fn a_newer_version_and_an_unknown_compression_are_unsupported() {
    let (_, bytes, _) = small();
    let mut newer = bytes.clone();
    newer[8] = 2;
    reseal(&mut newer);
    let error = open_bytes(&newer, &expected_of(&newer)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedFormat);
    assert_eq!(error.to_string(), "segment of a newer format version, found=2 known=1, file=bytes.seg");
    let mut compressed = bytes;
    compressed[64 + 14] = 2;
    reseal(&mut compressed);
    let segment = open_bytes(&compressed, &expected_of(&compressed)).unwrap();
    for error in [newest(&segment, 1, b"key.0").unwrap_err(), verify(&segment).unwrap_err()] {
        assert_eq!((error.kind(), error.offset()), (ErrorKind::UnsupportedFormat, Some(64)));
    }
}

#[test]
fn resealing_what_is_right_changes_nothing() {
    for shape in 0..50 {
        let bytes = valid_segment(shape * 37);
        let mut sealed = bytes.clone();
        reseal(&mut sealed);
        assert_eq!(sealed, bytes);
        verify(&open_bytes(&bytes, &expected_of(&bytes)).unwrap()).unwrap();
    }
}

/// What a cursor finds in a segment.
fn collect(segment: &Arc<Segment>) -> Model {
    let mut model = Model::new();
    for section in segment.sections() {
        let mut cursor = Cursor::new(Arc::clone(segment), section.bucket);
        cursor.seek_first().unwrap();
        while let Some(entry) = cursor.entry() {
            model.entry(section.bucket.0).or_default().push((entry.key.to_vec(), entry.meta, entry.value.to_vec()));
            cursor.next().unwrap();
        }
    }
    model
}

/// There is one way to write what is there: a bit that is not for an entry's content is refused even behind right checksums.
#[test]
fn verify_refuses_every_flip_behind_the_checksums_that_does_not_change_an_entry() {
    let (model, bytes, _) = small();
    let mut verified = 0;
    // The identity in the header is anybody's, once the checksums are right.
    for bit in (0..16 * 8).chain(40 * 8..bytes.len() * 8) {
        let mut edited = bytes.clone();
        edited[bit / 8] ^= 1 << (bit % 8);
        reseal(&mut edited);
        if edited == bytes {
            continue;
        }
        let Ok(segment) = open_bytes(&edited, &expected_of(&edited)) else { continue };
        if verify(&segment).is_ok() {
            verified += 1;
            let found = collect(&segment);
            check_reads(&segment, &found).unwrap();
            assert_ne!(found, model, "bit {} of byte {} means nothing", bit % 8, bit / 8);
        }
    }
    assert!(verified > 0, "some flips change a value");
}

#[test]
fn a_deadline_or_origin_that_says_none_is_refused() {
    let mortal = Meta { created: 0, deadline: 1, ..put(1) };
    let copied = Meta { created: 0, origin: Revision(1), ..put(1) };
    for (meta, stored) in [(mortal, 2), (copied, 1)] {
        let (mut bytes, _) = build(&Model::from([(1, vec![(b"k".to_vec(), meta, b"v".to_vec())])]), 100);
        // Header, record and prefix; the length and flags before it are a byte each, revision and time take none.
        let at = 64 + 33 + 10 + 1 + 2;
        assert_eq!(bytes[at], stored);
        bytes[at] = 0;
        reseal(&mut bytes);
        let error = newest(&open_bytes(&bytes, &expected_of(&bytes)).unwrap(), 1, b"k").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes: Vec<u8>) {
        open_segment_bytes(&bytes);
        open_resealed_segment_bytes(&bytes);
        decode_block_bytes(&bytes);
        decode_resealed_block_bytes(&bytes);
    }

    /// Right checksums over edited bytes: no read panics, and what `verify` accepts is consistent, however it is read.
    #[test]
    fn edits_behind_the_checksums_do_no_harm_and_what_verifies_is_consistent(
        shape in 0..1_000_u64,
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![0..4_u8, any::<u8>()]), 1..4),
    ) {
        let mut bytes = valid_segment(shape);
        for (index, byte) in edits {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        open_resealed_segment_bytes(&bytes);
        reseal(&mut bytes);
        let Ok(segment) = open_bytes(&bytes, &expected_of(&bytes)) else { return Ok(()) };
        if verify(&segment).is_ok() {
            check_reads(&segment, &collect(&segment)).unwrap();
        }
    }

    #[test]
    fn edited_blocks_do_no_harm(
        shape in 0..1_000_u64,
        edits in prop::collection::vec((0..120_usize, any::<u8>()), 1..6),
    ) {
        let bytes = valid_segment(shape);
        let len = u32::from_le_bytes(bytes[68..72].try_into().unwrap()) as usize;
        let mut block = bytes[64..64 + len].to_vec();
        for (at, byte) in edits {
            let at = at % block.len();
            block[at] = byte;
        }
        decode_block_bytes(&block);
        decode_resealed_block_bytes(&block);
    }
}

#[test]
fn a_map_of_another_length_than_the_file_is_refused() {
    #[derive(Debug)]
    struct Shrinking(BytesFile);
    impl crate::env::File for Shrinking {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
            self.0.read_at(buffer, offset)
        }
        fn write_at(&self, _: &[u8], _: u64) -> std::io::Result<usize> {
            unreachable!()
        }
        fn allocate(&self, _: u64) -> std::io::Result<()> {
            unreachable!()
        }
        fn set_len(&self, _: u64) -> std::io::Result<()> {
            unreachable!()
        }
        fn len(&self) -> std::io::Result<u64> {
            self.0.len()
        }
        fn sync_data(&self) -> std::io::Result<()> {
            unreachable!()
        }
        fn sync_all(&self) -> std::io::Result<()> {
            unreachable!()
        }
        fn map(&self) -> std::io::Result<Arc<dyn AsRef<[u8]> + Send + Sync>> {
            let bytes = self.0.bytes();
            Ok(Arc::new(bytes[..bytes.len() / 2].to_vec()))
        }
    }
    let (_, bytes, expected) = small();
    let error =
        Segment::open_file(&Shrinking(BytesFile::new(bytes)), Path::new("n.seg"), &expected, &Arc::new(BlockCache::new(0)))
            .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}
