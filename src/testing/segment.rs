//! Segments from arbitrary bytes, for fuzz targets: every read either answers or errs; none may panic, hang or allocate beyond its input.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::cache::BlockCache;
use crate::entry::{Flags, Meta};
use crate::env::File;
use crate::error::Result;
use crate::hash::KeyHasher;
use crate::number::{BucketId, FileNumber, Revision};
use crate::segment::reseal::{decode_block, expected_of, reseal};
use crate::segment::{Builder, Cursor, Expected, Identity, Segment};

/// A file without a file system: what a builder wrote, or what a test made up. Clones share the bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct BytesFile(pub(crate) Arc<Mutex<Vec<u8>>>);

impl BytesFile {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(bytes)))
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().expect("no test panics while it holds this").clone()
    }
}

impl File for BytesFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.0.lock().expect("no test panics while it holds this");
        let from = bytes.get(offset as usize..).unwrap_or_default();
        let count = from.len().min(buffer.len());
        buffer[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut all = self.0.lock().expect("no test panics while it holds this");
        let end = offset as usize + bytes.len();
        let len = all.len().max(end);
        all.resize(len, 0);
        all[offset as usize..end].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().expect("no test panics while it holds this").resize(len as usize, 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().expect("no test panics while it holds this").len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }

    fn map(&self) -> io::Result<Arc<dyn AsRef<[u8]> + Send + Sync>> {
        Ok(Arc::new(self.bytes()))
    }
}

/// Opens `bytes` as what a manifest would have to expect of them.
pub(crate) fn open_bytes(bytes: &[u8], expected: &Expected) -> Result<Arc<Segment>> {
    let cache = Arc::new(BlockCache::new(1 << 20));
    Segment::open_file(&BytesFile::new(bytes.to_vec()), Path::new("bytes.seg"), expected, &cache)
}

/// Opens `bytes` as a segment, walks it both ways, looks up and seeks what it found, and verifies it.
pub fn open_segment_bytes(bytes: &[u8]) {
    let Ok(segment) = open_bytes(bytes, &expected_of(bytes)) else { return };
    let _ = segment.verify(&mut |_, _, _| {});
    let hasher = KeyHasher::new(expected_of(bytes).identity.store);
    for section in segment.sections() {
        let hash = |key: &[u8]| hasher.hash(section.bucket, key);
        let mut cursor = Cursor::new(Arc::clone(&segment), section.bucket);
        let mut other = Cursor::new(Arc::clone(&segment), section.bucket);
        // A cursor moves on with every step, so the length bounds the steps.
        let mut moved = cursor.seek_first();
        while let (Ok(()), Some(entry)) = (&moved, cursor.entry()) {
            let _ = segment.newest(section.bucket, entry.key, hash(entry.key)).map(|found| found.map(|found| found.to_value()));
            let _ = other.seek(entry.key);
            let _ = other.prev();
            moved = cursor.next();
        }
        moved = cursor.seek_last();
        while let (Ok(()), Some(entry)) = (&moved, cursor.entry()) {
            let _ = entry.value();
            moved = cursor.prev();
        }
        for key in [&b""[..], b"\0", b"k", &[0xff; 20]] {
            let _ = segment.newest(section.bucket, key, hash(key));
            let _ = other.seek(key);
        }
    }
}

/// [`open_segment_bytes`] after every checksum was made right.
pub fn open_resealed_segment_bytes(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    reseal(&mut bytes);
    open_segment_bytes(&bytes);
}

/// A valid small segment, for a fuzz target to edit. Its entries depend on `shape`.
#[must_use]
pub fn valid_segment_bytes(shape: u64) -> Vec<u8> {
    crate::segment::reseal::valid_segment(shape)
}

/// Decodes `bytes` as a block, every entry and some searches. Blocks have their checksum checked before they are decoded, so this is
/// already behind it.
pub fn decode_block_bytes(bytes: &[u8]) {
    decode_block(bytes);
}

/// [`decode_block_bytes`] with the lengths in the block's header set to what there is.
pub fn decode_resealed_block_bytes(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    let len = (bytes.len() as u32).to_le_bytes();
    for at in [4, 8] {
        if let Some(field) = bytes.get_mut(at..at + 4) {
            field.copy_from_slice(&len);
        }
    }
    if let Some(fixed) = bytes.get_mut(16..18) {
        fixed.fill(0);
    }
    decode_block(&bytes);
}

/// One segment of one bucket for benchmarks: keys of 25 bytes with even numbers, values of 100 bytes, revisions in another order than keys.
#[derive(Debug)]
pub struct Sample {
    segment: Arc<Segment>,
    hasher: KeyHasher,
}

impl Sample {
    /// Of so many keys, compressed or not, in memory.
    #[must_use]
    pub fn new(keys: u64, block_len: u32, compression: u8) -> Self {
        let file = BytesFile::default();
        let identity = Identity { store: 7, number: FileNumber(1) };
        let mut builder = Builder::new(Box::new(file.clone()), "sample.seg".into(), identity, block_len);
        builder.set_compression(compression);
        for number in 0..keys {
            // A permutation, so that each revision comes once.
            let revision = 1 + (number.wrapping_mul(7_919_777) % keys.next_power_of_two()) % keys.max(1);
            let created = 1_700_000_000_000_000_000 + revision * 1_300 + number % 7;
            let meta = Meta { revision: Revision(revision), flags: Flags::put(), created, ..Meta::default() };
            let value: Vec<u8> = (0..100_u64).map(|at| (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (at % 57)) as u8).collect();
            builder.add(BucketId(1), Self::key(2 * number).as_bytes(), &meta, &value).expect("memory takes everything");
        }
        let summary = builder.finish().expect("memory takes everything");
        let expected = Expected { identity, len: summary.len, checksum: summary.checksum };
        let cache = Arc::new(BlockCache::new(64 << 20));
        let segment = Segment::open_file(&file, Path::new("sample.seg"), &expected, &cache).expect("it was just built");
        Self { segment, hasher: KeyHasher::new(identity.store) }
    }

    /// Key `number`: even ones are there.
    #[must_use]
    pub fn key(number: u64) -> String {
        format!("user.{number:020}")
    }

    /// The length of the file.
    #[must_use]
    pub fn file_len(&self) -> u64 {
        self.segment.len()
    }

    /// The length of the value of a key: hash and lookup, as a read does it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<usize> {
        let hash = self.hasher.hash(BucketId(1), key.as_bytes());
        let found = self.segment.newest(BucketId(1), key.as_bytes(), hash).expect("it is sound");
        found.map(|found| found.value().len())
    }

    /// The same without the index.
    #[must_use]
    pub fn get_by_fences(&self, key: &str) -> Option<usize> {
        self.segment.find_by_fences(BucketId(1), key.as_bytes()).expect("it is sound").map(|found| found.value().len())
    }

    /// Walks all entries, forward or backward; answers a sum over keys and values that nobody can leave out.
    #[must_use]
    pub fn walk(&self, forward: bool) -> u64 {
        let mut cursor = Cursor::new(Arc::clone(&self.segment), BucketId(1));
        let mut sum = 0;
        if forward { cursor.seek_first() } else { cursor.seek_last() }.expect("it is sound");
        while let Some(entry) = cursor.entry() {
            sum += u64::from(entry.key[entry.key.len() - 1]) + u64::from(entry.value[0]) + entry.meta.revision.0;
            if forward { cursor.next() } else { cursor.prev() }.expect("it is sound");
        }
        sum
    }
}
