//! For tests and fuzz targets only: right checksums for wrong bytes, so that the code behind the checksums is reached.

use std::path::PathBuf;

use super::block::Block;
use super::builder::Builder;
use super::directory::{SectionInfo, decode_directory, encode_directory};
use super::format::{FENCE_LEN, FOOTER_LEN, Footer, GRANULE_LEN, HEAD_LEN, HEADER_LEN, Identity};
use super::reader::Expected;
use crate::checksum::checksum;
use crate::entry::{Flags, Meta};
use crate::number::{BucketId, FileNumber, Revision};
use crate::testing::segment::BytesFile;

/// What a manifest would have to expect for these bytes to be taken as far as they can be.
pub(crate) fn expected_of(bytes: &[u8]) -> Expected {
    let number = bytes.get(32..40).map_or(0, |number| u64::from_le_bytes(number.try_into().expect("it is 8 bytes")));
    let store = bytes.get(16..32).map_or(0, |uuid| u128::from_le_bytes(uuid.try_into().expect("it is 16 bytes")));
    let checksum = bytes.last_chunk().map_or(0, |sum| u32::from_le_bytes(*sum));
    Expected { identity: Identity { store, number: FileNumber(number) }, len: bytes.len() as u64, checksum }
}

/// Sets every checksum, and the length, magic and number of the footer, to what the other bytes call for, as far as these can be followed.
pub(crate) fn reseal(bytes: &mut [u8]) {
    if bytes.len() < HEADER_LEN + FOOTER_LEN {
        return;
    }
    let identity = expected_of(bytes).identity;
    seal(bytes, 0, HEADER_LEN, 0);
    let footer_at = bytes.len() - FOOTER_LEN;
    let number = |at: usize, bytes: &[u8]| u64::from_le_bytes(bytes[footer_at + at..][..8].try_into().expect("it is 8 bytes"));
    let mut footer = Footer {
        section_count: number(12, bytes) as u32,
        directory_offset: number(16, bytes).clamp(HEADER_LEN as u64, footer_at as u64),
        file_len: bytes.len() as u64,
        entries: number(32, bytes),
        blocks: number(40, bytes),
        directory_checksum: 0,
    };
    let directory_at = footer.directory_offset as usize;
    if let Ok(mut sections) = decode_directory(&bytes[directory_at..footer_at], &footer) {
        for section in &mut sections {
            reseal_section(bytes, &identity, section);
        }
        bytes[directory_at..footer_at].copy_from_slice(&encode_directory(&sections));
    }
    footer.directory_checksum = checksum(identity.seed(footer.directory_offset), &[&bytes[directory_at..footer_at]]);
    bytes[footer_at..].copy_from_slice(&footer.encode(&identity));
}

/// The sections lie inside the file: the directory's decoder has checked that they end where it begins.
fn reseal_section(bytes: &mut [u8], identity: &Identity, section: &mut SectionInfo) {
    let parts = &mut section.parts;
    let (tables_at, sums_at) = (parts.tables_at() as usize, parts.sums_at() as usize);
    let count = parts.block_count as usize;
    let offsets_at = tables_at + parts.fences_at() as usize + HEAD_LEN * count;
    let fences_at = offsets_at + HEAD_LEN * count;
    let offset = |bytes: &[u8], index: usize| {
        let bytes = &bytes[offsets_at + index * HEAD_LEN..][..8];
        u64::from_le_bytes(bytes.try_into().expect("it is 8 bytes"))
    };
    for index in 0..count {
        let start = offset(bytes, index);
        let end = if index + 1 < count { offset(bytes, index + 1) } else { parts.blocks_end() };
        if start < parts.offset || start.saturating_add(4) > end || end > parts.blocks_end() {
            continue;
        }
        let (start, end) = (start as usize, end as usize);
        let sum = checksum(identity.seed(start as u64), &[&bytes[start + 4..end]]).to_le_bytes();
        bytes[start..start + 4].copy_from_slice(&sum);
        bytes[fences_at + index * FENCE_LEN..][..4].copy_from_slice(&sum);
    }
    for granule in 0..parts.granules() as usize {
        let at = tables_at + granule * GRANULE_LEN as usize;
        let end = (at + GRANULE_LEN as usize).min(sums_at);
        let sum = checksum(identity.seed(at as u64), &[&bytes[at..end]]);
        bytes[sums_at + granule * 4..][..4].copy_from_slice(&sum.to_le_bytes());
    }
    parts.sums_checksum = checksum(identity.seed(sums_at as u64), &[&bytes[sums_at..parts.end() as usize]]);
}

fn seal(bytes: &mut [u8], start: usize, len: usize, seed: u64) {
    let sum = checksum(seed, &[&bytes[start..start + len - 4]]);
    bytes[start + len - 4..start + len].copy_from_slice(&sum.to_le_bytes());
}

/// Decodes a block, each of its entries, and searches for each of its keys.
pub(crate) fn decode_block(bytes: &[u8]) {
    let Ok(block) = Block::decode(bytes) else { return };
    let mut key = block.prefix().to_vec();
    for index in 0..block.count() {
        if let Ok(entry) = block.entry(index) {
            entry.write_key(block.prefix().len(), &mut key);
        }
        let _ = block.lower_bound(&key);
        let _ = block.entry_of(index, &key);
    }
}

/// A small segment of two buckets with every kind of entry.
pub(crate) fn valid_segment(shape: u64) -> Vec<u8> {
    let file = BytesFile::default();
    let identity = Identity { store: 0x1234, number: FileNumber(7) };
    let mut builder = Builder::new(Box::new(file.clone()), PathBuf::from("valid.seg"), identity, 48 + (shape % 512) as u32);
    for bucket in 1..=2 {
        // Long values of one kind, so that blocks of the second bucket are compressed in some shapes.
        let long = vec![b'v'; if shape % 4 == 3 { 200 } else { 5 }];
        builder.set_compression(u8::from(bucket == 2 && cfg!(feature = "zstd")));
        for number in 0..4 + shape % 13 {
            let tail = if number % 3 == 0 { ".and.more.than.a.head" } else { "" };
            let key = format!("user:{number:03}{tail}");
            let revision = Revision(10 + number * 4);
            let created = 1_000_000 + revision.0;
            let marker = Meta { revision, flags: Flags::delete(), created, ..Meta::default() };
            let dropped = Meta { flags: Flags::dropped(), ..marker };
            let mortal = Meta { revision: Revision(revision.0 - 1), flags: Flags::put(), deadline: created + 500, ..marker };
            let copied = Meta { revision: Revision(revision.0 - 2), deadline: 5, origin: Revision(3), ..mortal };
            let mut entries = vec![(marker, &b""[..]), (mortal, &*long), (copied, b"")];
            if number % 2 == 0 {
                entries.insert(0, (dropped, b""));
            }
            for (meta, value) in entries {
                builder.add(BucketId(bucket), key.as_bytes(), &meta, value).expect("memory takes everything");
            }
        }
    }
    builder.finish().expect("memory takes everything");
    file.bytes()
}
