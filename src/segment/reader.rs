//! Opens a finished segment and answers point reads from it.
//!
//! Header, footer and directory are read and verified at open, by ordinary reads, so that an unreadable disk is an error there. Fences and
//! blocks come through the map; the first use of each verifies its checksum and sets a bit, so that later uses pay one relaxed load. Only
//! success is remembered: bad bytes are an error every time. The bytes under a bit cannot change, hence relaxed is enough; two threads
//! that come first both verify.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::block::Block;
use super::fences::{Fence, Fences};
use super::format::{
    BLOCK_CHECKSUM_LEN, FOOTER_LEN, Footer, HEADER_LEN, Identity, Refusal, SectionInfo, decode_directory, decode_header,
};
use crate::cache::BlockCache;
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
    /// One bit per block, then one per section's fences: its checksum was right.
    checked: Box<[AtomicU64]>,
    blocks: u64,
    _cache: Arc<BlockCache>,
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

/// The newest entry of a key.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    pub(crate) meta: Meta,
    value: &'a [u8],
    segment: &'a Segment,
    /// Where the value starts in the file.
    value_at: usize,
}

impl Found<'_> {
    /// The value in place.
    pub(crate) fn value(&self) -> &[u8] {
        self.value
    }

    /// The value to keep: copied if small, pinning the map if large.
    pub(crate) fn to_value(&self) -> Value {
        self.segment.pin(self.value_at..self.value_at.saturating_add(self.value.len()))
    }
}

impl Segment {
    /// Opens `path`, which the manifest expects to be `expected`. Reads header, footer and directory; everything else when it is asked for.
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
        let bits = footer.blocks.saturating_add(sections.len() as u64);
        let checked = (0..bits.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ok(Arc::new(Self {
            path: path.to_owned(),
            expected: *expected,
            map,
            sections,
            entries: footer.entries,
            checked,
            blocks: footer.blocks,
            _cache: Arc::clone(cache),
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

    /// The newest entry of `key`, whatever it is (a dropped entry comes before the marker of its revision). `hash` is what the store's
    /// [`KeyHasher`](crate::hash::KeyHasher) gives for it. No allocation, no lock.
    pub(crate) fn newest<'a>(&'a self, bucket: BucketId, key: &[u8], hash: u64) -> Result<Option<Found<'a>>> {
        let _ = hash;
        let Some(index) = self.section_index(bucket) else { return Ok(None) };
        let Some(section) = self.sections.get(index) else { return Ok(None) };
        if key < &*section.first_key || *section.last_key < *key {
            return Ok(None);
        }
        let fences = self.fences(index)?;
        let after = fences.lower_bound(key).map_err(|error| self.corrupt(section.fences_offset(), error))?;
        if let Some(number) = after.checked_sub(1) {
            let (at, block) = self.block(index, &fences, number)?;
            let found = block.lower_bound(key).map_err(|error| self.corrupt(at as u64, error))?;
            if found < block.count() {
                return self.found(at, &block, found, key);
            }
        }
        if after < fences.count()
            && fences.separator_is(after, key).map_err(|error| self.corrupt(section.fences_offset(), error))?
        {
            let (at, block) = self.block(index, &fences, after)?;
            return self.found(at, &block, 0, key);
        }
        Ok(None)
    }

    /// Part of the file as a value: copied if small, pinning the map if large.
    pub(crate) fn pin(&self, range: Range<usize>) -> Value {
        Value::pinned(&self.map, range.start, range.len())
    }

    pub(super) fn section_index(&self, bucket: BucketId) -> Option<usize> {
        self.sections.binary_search_by_key(&bucket, |section| section.bucket).ok()
    }

    /// Part of the file. Ranges come from checked places, so a range outside is empty and fails where it is decoded.
    #[inline]
    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        (*self.map).as_ref().get(range).unwrap_or_default()
    }

    /// The fences of section `index`, verified.
    pub(super) fn fences(&self, index: usize) -> Result<Fences<'_>> {
        let none = DecodeError { at: 0, what: "section" };
        let section = self.sections.get(index).ok_or_else(|| self.corrupt(0, none))?;
        let offset = section.fences_offset();
        let bytes = self.bytes(offset as usize..section.end() as usize);
        let bit = self.blocks.saturating_add(index as u64);
        if !self.is_checked(bit) {
            if checksum(self.expected.identity.seed(offset), &[bytes]) != section.fences_checksum {
                return Err(self.corrupt(offset, DecodeError { at: 0, what: "checksum of the fences" }));
            }
            self.set_checked(bit);
        }
        Fences::decode(bytes, section.block_count).map_err(|error| self.corrupt(offset, error))
    }

    /// Block `number` of section `index`, verified, and where it starts in the file.
    pub(super) fn block(&self, index: usize, fences: &Fences<'_>, number: usize) -> Result<(usize, Block<'_>)> {
        let none = DecodeError { at: 0, what: "section" };
        let section = self.sections.get(index).ok_or_else(|| self.corrupt(0, none))?;
        let fence = self.place(section, fences, number)?;
        let start = fence.offset as usize;
        let bytes = self.bytes(start..start.saturating_add(fence.len as usize));
        let bit = section.first_block.saturating_add(number as u64);
        if !self.is_checked(bit) {
            self.check_block(&fence, bytes)?;
            self.set_checked(bit);
        }
        let block = Block::decode(bytes).map_err(|refusal| self.refuse(fence.offset, refusal))?;
        Ok((start, block))
    }

    /// The fence of a block, which lies inside its section.
    pub(super) fn place(&self, section: &SectionInfo, fences: &Fences<'_>, number: usize) -> Result<Fence> {
        let inside = |fence: &Fence| {
            section.offset <= fence.offset
                && fence.offset.checked_add(u64::from(fence.len)).is_some_and(|end| end <= section.fences_offset())
        };
        let none = DecodeError { at: 0, what: "fence" };
        fences.fence(number).filter(inside).ok_or_else(|| self.corrupt(section.fences_offset(), none))
    }

    /// Verifies the checksum of a block against itself and its fence.
    pub(super) fn check_block(&self, fence: &Fence, bytes: &[u8]) -> Result<()> {
        let wrong = || self.corrupt(fence.offset, DecodeError { at: 0, what: "checksum of a block" });
        let (stored, rest) = bytes.split_first_chunk::<BLOCK_CHECKSUM_LEN>().ok_or_else(wrong)?;
        let sum = checksum(self.expected.identity.seed(fence.offset), &[rest]);
        if sum == fence.checksum && sum == u32::from_le_bytes(*stored) { Ok(()) } else { Err(wrong()) }
    }

    #[cold]
    pub(super) fn corrupt(&self, base: u64, error: DecodeError) -> Error {
        self.refuse(base, Refusal::Invalid(error))
    }

    #[cold]
    pub(super) fn refuse(&self, base: u64, refusal: Refusal) -> Error {
        refusal.into_error(&self.path, base)
    }

    /// Entry `index` of the block at `at`, if it has this key.
    fn found<'a>(&'a self, at: usize, block: &Block<'a>, index: usize, key: &[u8]) -> Result<Option<Found<'a>>> {
        let wrong = |error| self.corrupt(at as u64, error);
        if !block.has_key(index, key).map_err(wrong)? {
            return Ok(None);
        }
        let entry = block.entry(index).map_err(wrong)?;
        let value_at = at.saturating_add(entry.value_at);
        Ok(Some(Found { meta: entry.meta, value: entry.value, segment: self, value_at }))
    }

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
