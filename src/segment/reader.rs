//! Opens a finished segment and answers point reads from it.
//!
//! Header, footer and directory are read and verified at open, by ordinary reads, so that an unreadable disk is an error there. Tables and
//! blocks come through the map; the first use of each granule and block verifies its checksum and sets a bit, so that later uses pay one
//! relaxed load. Only success is remembered: bad bytes are an error every time. The bytes under a bit cannot change, hence relaxed is
//! enough; two threads that come first both verify. Decompressed blocks come through the cache, and only of bytes that were verified.
//!
//! A point read asks the index, in one line, which entry the key may have, and compares that entry's key. Sections of one block have no
//! index, and a line whose keys did not fit sends its readers to the fences.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use std::fmt;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};

use super::block::{Block, Layout, decompressed, is_compressed};
use super::directory::{Parts, SectionInfo, decode_directory};
use super::fences::Fences;
use super::format::{
    BLOCK_CHECKSUM_LEN, FOOTER_LEN, Footer, GRANULE_LEN, HEADER_LEN, Identity, LINE_LEN, Refusal, decode_header,
};
use super::index::{Line, LineShape, Reach, home};
use crate::cache::{BlockCache, BlockPlace, Decompressed};
use crate::checksum::checksum;
use crate::codec::DecodeError;
use crate::entry::{Meta, SharedBytes, Value};
use crate::env::sync::{Arc, AtomicU64, Ordering};
use crate::env::{File, Fs, read_full_at};
use crate::error::{Error, Result};
use crate::number::{BucketId, FileNumber};

/// What the manifest says of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) identity: Identity,
    pub(crate) len: u64,
    /// [`Summary::checksum`](super::Summary::checksum).
    pub(crate) checksum: u32,
}

/// An open segment. Shared as `Arc`: cursors and pinned values hold on to it or its map.
pub(crate) struct Segment {
    path: PathBuf,
    pub(super) expected: Expected,
    map: SharedBytes,
    sections: Vec<SectionInfo>,
    entries: u64,
    /// A bit per block, then per granule of tables, then per section for its sums: the checksum was right.
    checked: Box<[AtomicU64]>,
    blocks: u64,
    granules: u64,
    cache: Arc<BlockCache>,
}

impl fmt::Debug for Segment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Segment")
            .field("path", &self.path)
            .field("expected", &self.expected)
            .field("sections", &self.sections)
            .finish_non_exhaustive()
    }
}

/// The bytes of a block without compression.
#[derive(Clone, Debug)]
pub(super) enum BlockBytes<'a> {
    /// As they lie in the file.
    Mapped(&'a [u8]),
    Cached(Decompressed),
}

impl Deref for BlockBytes<'_> {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(bytes) => bytes,
            Self::Cached(bytes) => bytes,
        }
    }
}

/// A verified block.
#[derive(Clone, Debug)]
pub(super) struct LoadedBlock<'a> {
    /// Where it starts in the file.
    pub(super) at: usize,
    pub(super) bytes: BlockBytes<'a>,
    pub(super) layout: Layout,
}

impl LoadedBlock<'_> {
    #[inline(always)]
    pub(super) fn block(&self) -> Block<'_> {
        Block { bytes: &self.bytes, layout: self.layout }
    }
}

/// The newest entry of a key.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    pub(crate) meta: Meta,
    /// Where its block starts in the file, and the bytes of that.
    at: usize,
    bytes: BlockBytes<'a>,
    segment: &'a Segment,
    /// Where the value lies in the block.
    value: Range<usize>,
}

impl Found<'_> {
    /// The value in place.
    #[inline]
    pub(crate) fn value(&self) -> &[u8] {
        self.bytes.get(self.value.clone()).unwrap_or_default()
    }

    /// The value to keep: copied if small, pinning the map or the decompressed block if large.
    pub(crate) fn to_value(&self) -> Value {
        match &self.bytes {
            BlockBytes::Mapped(_) => self.segment.pin(self.at, None, self.value.clone()),
            BlockBytes::Cached(bytes) => self.segment.pin(self.at, Some(bytes), self.value.clone()),
        }
    }
}

impl Segment {
    /// Opens `path`, which the manifest expects to be `expected`. Reads header, footer and directory; everything else when it is asked for.
    /// Decompressed blocks are shared through `cache`.
    pub(crate) fn open(fs: &dyn Fs, path: &Path, expected: &Expected, cache: &Arc<BlockCache>) -> Result<Arc<Self>> {
        let file = fs.open(path).map_err(|error| Error::io("open a segment", path, error))?;
        Self::open_file(&*file, path, expected, cache)
    }

    pub(crate) fn open_file(file: &dyn File, path: &Path, expected: &Expected, cache: &Arc<BlockCache>) -> Result<Arc<Self>> {
        let len = file.len().map_err(|error| Error::io("read the length of a segment", path, error))?;
        let (footer, sections) = check_frame(path, expected, len, |offset, len| {
            let mut bytes = vec![0; len];
            let read = read_full_at(file, &mut bytes, offset).map_err(|error| Error::io("read a segment", path, error))?;
            if read == len { Ok(bytes) } else { Err(Error::corrupt(path, offset, "segment ends before its length")) }
        })?;
        let map = file.map().map_err(|error| Error::io("map a segment", path, error))?;
        if (*map).as_ref().len() as u64 != len {
            return Err(Error::corrupt(path, 0, format!("segment changed its length, expected={len}")));
        }
        // Blocks and granules lie in the file side by side, so their number is bounded by its length.
        let granules = sections.iter().fold(0_u64, |sum, section| sum.saturating_add(section.parts.granules()));
        let bits = footer.blocks.saturating_add(granules).saturating_add(sections.len() as u64);
        let checked = (0..bits.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ok(Arc::new(Self {
            path: path.to_owned(),
            expected: *expected,
            map,
            sections,
            entries: footer.entries,
            checked,
            blocks: footer.blocks,
            granules,
            cache: Arc::clone(cache),
        }))
    }

    /// The length of the file.
    pub(crate) const fn len(&self) -> u64 {
        self.expected.len
    }

    /// The checksum that the manifest knows it by.
    pub(crate) const fn checksum(&self) -> u32 {
        self.expected.checksum
    }

    pub(crate) const fn entries(&self) -> u64 {
        self.entries
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) const fn number(&self) -> FileNumber {
        self.expected.identity.number
    }

    /// One per bucket, ascending.
    pub(crate) fn sections(&self) -> &[SectionInfo] {
        &self.sections
    }

    /// [`with_newest`](Self::with_newest), to keep.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn newest<'a>(&'a self, bucket: BucketId, key: &[u8], hash: u64) -> Result<Option<Found<'a>>> {
        self.with_newest(bucket, key, hash, |found| found)
    }

    /// Hands the newest entry of `key` to `read`, whatever it is (a dropped entry comes before the marker of its revision). `hash` is what
    /// the store's [`KeyHasher`](crate::hash::KeyHasher) gives for the key. No lock, and no allocation unless a block is decompressed.
    ///
    /// This is the path of every `get`, and what it costs is a line of the index, then a record of a block, then the entry: three misses of
    /// the caches. The header of the block and its prefix are two more, which the processor fetches meanwhile, if only nothing in between
    /// waits. A structure that is returned through memory and read in other pieces than it was written in does wait, for all that came
    /// before. So everything here has to end up in one function, in registers.
    #[inline(always)]
    pub(crate) fn with_newest<'a, T>(
        &'a self,
        bucket: BucketId,
        key: &[u8],
        hash: u64,
        read: impl FnOnce(Found<'a>) -> T,
    ) -> Result<Option<T>> {
        let Some(section) = self.section(bucket) else { return Ok(None) };
        if section.parts.lines == 0 {
            return Ok(self.newest_by_fences(section, key)?.map(read));
        }
        let shape = LineShape::new(section.parts.bits.all());
        let first = home(hash, section.parts.lines);
        let mut read = Some(read);
        let mut line = self.line(&section.parts, first, shape)?;
        let Reach::Lines(reach) = line.reach().ok_or_else(|| self.wrong_line(&section.parts, first))? else {
            return Ok(self.newest_by_fences(section, key)?.and_then(|found| read.take().map(|read| read(found))));
        };
        for further in 0..=reach {
            if further > 0 {
                let number = first.saturating_add(further).checked_rem(section.parts.lines).unwrap_or(0);
                line = self.line(&section.parts, number, shape)?;
            }
            let answer = line.find(hash, |position| {
                let position = section.parts.bits.position(position);
                let block = self.block(section, position.block)?;
                let found = self.found(block, position.index, key)?;
                Ok(found.and_then(|found| read.take().map(|read| read(found))))
            })?;
            if answer.is_some() {
                return Ok(answer);
            }
        }
        Ok(None)
    }

    /// [`newest`](Self::newest) as it would be without an index, to measure it against that.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn find_by_fences(&self, bucket: BucketId, key: &[u8]) -> Result<Option<Found<'_>>> {
        self.section(bucket).map_or(Ok(None), |section| self.newest_by_fences(section, key))
    }

    /// The same by a search over fences and heads, for sections and keys without an index.
    pub(super) fn newest_by_fences<'a>(&'a self, section: &'a SectionInfo, key: &[u8]) -> Result<Option<Found<'a>>> {
        if key < &*section.first_key || *section.last_key < *key {
            return Ok(None);
        }
        let fences = Fences::new(self, section);
        let count = section.parts.block_count as usize;
        let after = if count == 1 { 1 } else { fences.lower_bound(key)? };
        if let Some(number) = after.checked_sub(1) {
            let block = self.block(section, number)?;
            let index = block.block().lower_bound(key).map_err(|error| self.corrupt(block.at as u64, error))?;
            if index < block.layout.count() {
                return self.found(block, index, key);
            }
        }
        if after < count && fences.separator_is(after, key)? {
            return self.found(self.block(section, after)?, 0, key);
        }
        Ok(None)
    }

    /// Part of the block at `at` as a value: copied if small, pinning the map or the decompressed block if large.
    pub(super) fn pin(&self, at: usize, decompressed: Option<&Decompressed>, range: Range<usize>) -> Value {
        let len = range.len();
        match decompressed {
            None => Value::pinned(&self.map, at.saturating_add(range.start), len),
            Some(bytes) => {
                let owner: SharedBytes = Arc::clone(bytes) as SharedBytes;
                Value::pinned(&owner, range.start, len)
            }
        }
    }

    #[inline]
    pub(super) fn section(&self, bucket: BucketId) -> Option<&SectionInfo> {
        match &*self.sections {
            // Most files of a large bucket hold nothing else.
            [only] => (only.bucket == bucket).then_some(only),
            sections => sections.get(sections.binary_search_by_key(&bucket, |section| section.bucket).ok()?),
        }
    }

    /// Part of the file. Ranges come from checked places, so a range outside is empty and fails where it is decoded.
    #[inline]
    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        (*self.map).as_ref().get(range).unwrap_or_default()
    }

    /// `len` bytes of the tables of a section, verified.
    #[inline(always)]
    pub(super) fn table(&self, parts: &Parts, at: u64, len: usize) -> Result<&[u8]> {
        let last = at.saturating_add((len as u64).saturating_sub(1)) / GRANULE_LEN;
        for granule in at / GRANULE_LEN..=last {
            if !self.is_checked(self.blocks.saturating_add(parts.first_granule).saturating_add(granule)) {
                self.check_granule(parts, granule)?;
            }
        }
        let start = parts.tables_at().saturating_add(at) as usize;
        Ok(self.bytes(start..start.saturating_add(len)))
    }

    #[inline(always)]
    fn line<'a>(&'a self, parts: &Parts, number: u64, shape: LineShape) -> Result<Line<'a>> {
        let bytes = self.table(parts, number.saturating_mul(LINE_LEN as u64), LINE_LEN)?;
        let bytes = bytes.first_chunk().ok_or_else(|| self.wrong_line(parts, number))?;
        Ok(Line::new(bytes, shape))
    }

    /// Verifies a piece of the tables against its sum, and the sums if nobody did yet.
    #[cold]
    fn check_granule(&self, parts: &Parts, granule: u64) -> Result<()> {
        let sums_at = parts.sums_at();
        let sums = self.bytes(sums_at as usize..parts.end() as usize);
        let sums_bit = self.blocks.saturating_add(self.granules).saturating_add(parts.number);
        if !self.is_checked(sums_bit) {
            if checksum(self.expected.identity.seed(sums_at), &[sums]) != parts.sums_checksum {
                return Err(self.corrupt(sums_at, DecodeError { at: 0, what: "checksum of the sums" }));
            }
            self.set_checked(sums_bit);
        }
        let at = parts.tables_at().saturating_add(granule.saturating_mul(GRANULE_LEN));
        let bytes = self.bytes(at as usize..at.saturating_add(GRANULE_LEN).min(sums_at) as usize);
        let sum = sums.as_chunks().0.get(granule as usize).map(|sum| u32::from_le_bytes(*sum));
        if sum != Some(checksum(self.expected.identity.seed(at), &[bytes])) {
            return Err(self.corrupt(at, DecodeError { at: 0, what: "checksum of a table" }));
        }
        self.set_checked(self.blocks.saturating_add(parts.first_granule).saturating_add(granule));
        Ok(())
    }

    /// Block `number` of a section, verified.
    #[inline(always)]
    pub(super) fn block<'a>(&'a self, section: &'a SectionInfo, number: usize) -> Result<LoadedBlock<'a>> {
        let (start, end) = Fences::new(self, section).place(number)?;
        let bytes = self.bytes(start..end);
        let bit = section.parts.first_block.saturating_add(number as u64);
        if !self.is_checked(bit) {
            self.check_first(section, number, start, bytes)?;
        }
        let bytes = if is_compressed(bytes) { self.decompressed(start, bytes)? } else { BlockBytes::Mapped(bytes) };
        let layout = Layout::decode(&bytes).map_err(|refusal| self.refuse(start as u64, refusal))?;
        Ok(LoadedBlock { at: start, bytes, layout })
    }

    #[cold]
    fn check_first(&self, section: &SectionInfo, number: usize, start: usize, bytes: &[u8]) -> Result<()> {
        let fence = Fences::new(self, section).fence(number)?;
        self.check_block(fence.checksum, start, bytes)?;
        self.set_checked(section.parts.first_block.saturating_add(number as u64));
        Ok(())
    }

    /// A compressed block, from the cache or into it.
    #[inline(never)]
    fn decompressed(&self, start: usize, bytes: &[u8]) -> Result<BlockBytes<'static>> {
        let place = BlockPlace { file: self.number(), offset: start as u64 };
        if let Some(block) = self.cache.get(place) {
            return Ok(BlockBytes::Cached(block));
        }
        let block = decompressed(bytes).map_err(|refusal| self.refuse(start as u64, refusal))?;
        let block = Arc::new(block);
        self.cache.insert(place, &block);
        Ok(BlockBytes::Cached(block))
    }

    /// Verifies the checksum of a block against itself and its fence.
    pub(super) fn check_block(&self, expected: u32, start: usize, bytes: &[u8]) -> Result<()> {
        let wrong = || self.corrupt(start as u64, DecodeError { at: 0, what: "checksum of a block" });
        let (stored, rest) = bytes.split_first_chunk::<BLOCK_CHECKSUM_LEN>().ok_or_else(wrong)?;
        let sum = checksum(self.expected.identity.seed(start as u64), &[rest]);
        if sum == expected && sum == u32::from_le_bytes(*stored) { Ok(()) } else { Err(wrong()) }
    }

    #[cold]
    pub(super) fn corrupt(&self, base: u64, error: DecodeError) -> Error {
        self.refuse(base, Refusal::Invalid(error))
    }

    #[cold]
    pub(super) fn refuse(&self, base: u64, refusal: Refusal) -> Error {
        refusal.into_error(&self.path, base)
    }

    #[cold]
    fn wrong_line(&self, parts: &Parts, number: u64) -> Error {
        let at = parts.tables_at().saturating_add(number.saturating_mul(LINE_LEN as u64));
        self.corrupt(at, DecodeError { at: 0, what: "line of the index" })
    }

    /// Entry `index` of a block, if it has this key.
    #[inline(always)]
    fn found<'a>(&'a self, block: LoadedBlock<'a>, index: usize, key: &[u8]) -> Result<Option<Found<'a>>> {
        let entry = block.block().entry_of(index, key).map_err(|error| self.corrupt(block.at as u64, error))?;
        let found = entry.map(|entry| (entry.meta, entry.value_at..entry.value_at.saturating_add(entry.value.len())));
        let LoadedBlock { at, bytes, .. } = block;
        Ok(found.map(|(meta, value)| Found { meta, at, bytes, segment: self, value }))
    }

    #[inline]
    fn is_checked(&self, bit: u64) -> bool {
        let word = self.checked.get((bit / 64) as usize);
        word.is_some_and(|word| word.load(Ordering::Relaxed) & (1 << (bit % 64)) != 0)
    }

    fn set_checked(&self, bit: u64) {
        if let Some(word) = self.checked.get((bit / 64) as usize) {
            word.fetch_or(1 << (bit % 64), Ordering::Relaxed);
        }
    }
}

/// Verifies header, footer and directory of a file of `len` bytes, which `read(offset, len)` gives parts of.
pub(super) fn check_frame(
    path: &Path,
    expected: &Expected,
    len: u64,
    read: impl Fn(u64, usize) -> Result<Vec<u8>>,
) -> Result<(Footer, Vec<SectionInfo>)> {
    let identity = &expected.identity;
    if len != expected.len {
        return Err(Error::corrupt(path, len, format!("segment of another length, expected={} got={len}", expected.len)));
    }
    if len < HEADER_LEN.saturating_add(FOOTER_LEN) as u64 || usize::try_from(len).is_err() {
        return Err(Error::corrupt(path, 0, format!("segment of an impossible length, got={len}")));
    }
    let found = decode_header(&read(0, HEADER_LEN)?).map_err(|refusal| refusal.into_error(path, 0))?;
    if found.store != identity.store {
        return Err(Error::corrupt(path, 16, "segment of another store"));
    }
    if found.number != identity.number {
        let message = format!("segment of another number, expected={} got={}", identity.number, found.number);
        return Err(Error::corrupt(path, 32, message));
    }
    let footer_offset = len.saturating_sub(FOOTER_LEN as u64);
    let footer = read(footer_offset, FOOTER_LEN)?;
    let (footer, sum) = Footer::decode(&footer, identity, len).map_err(|refusal| refusal.into_error(path, footer_offset))?;
    if sum != expected.checksum {
        let message =
            format!("segment is not the one in the manifest, checksum expected={:08x} got={sum:08x}", expected.checksum);
        return Err(Error::corrupt(path, footer_offset, message));
    }
    let directory = read(footer.directory_offset, footer_offset.saturating_sub(footer.directory_offset) as usize)?;
    if checksum(identity.seed(footer.directory_offset), &[&directory]) != footer.directory_checksum {
        return Err(Error::corrupt(path, footer.directory_offset, "invalid checksum of the directory"));
    }
    let sections = decode_directory(&directory, &footer)
        .map_err(|error| Refusal::Invalid(error).into_error(path, footer.directory_offset))?;
    Ok((footer, sections))
}
