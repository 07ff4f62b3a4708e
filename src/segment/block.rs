//! One block: some entries of one bucket in order. See `format` for its bytes.
//!
//! [`Layout`] is what the header says, as numbers only, so that a cursor can keep it; [`Block`] is that together with the bytes. Nothing
//! here knows of files, checksums or compression: whoever asks has verified the bytes before. Bytes that verify and still make no sense
//! are an error, whatever they are.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use std::cmp::Ordering;

use super::compression::decompress;
use super::format::{
    BLOCK_CHECKSUM_LEN, BLOCK_HEADER_LEN, COMPRESSED_BLOCK_LEN_MAX, FLAGS_SHIFT, HAS_DEADLINE, HAS_ORIGIN, HEAD_LEN, KEY_LEN_MAX,
    RECORD_LEN, Refusal, head_of,
};
use crate::codec::{DecodeError, Reader};
use crate::entry::{Flags, Meta};
use crate::number::Revision;
use crate::spec::COMPRESSION_ZSTD;

/// Where the parts of a block lie, and what its entries share.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Layout {
    count: usize,
    /// Where the prefix starts, and where it ends and the entries start.
    prefix_at: usize,
    entries_at: usize,
    revision_width: u8,
    created_width: u8,
    base_revision: u64,
    base_created: u64,
}

/// The header of a block as it stands in the file.
#[derive(Clone, Copy, Debug)]
struct Header {
    stored_len: u32,
    len: u32,
    count: u16,
    compression: u8,
    widths: u8,
    base_revision: u64,
    base_created: u64,
    prefix_len: u8,
}

impl Header {
    #[inline(always)]
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let error = DecodeError { at: BLOCK_CHECKSUM_LEN, what: "block header" };
        let header = bytes.first_chunk::<BLOCK_HEADER_LEN>().ok_or(error)?;
        // The length is known, so none of these is checked when it runs.
        let u64_at =
            |at: usize| header.get(at..).and_then(|bytes| bytes.first_chunk::<8>()).map(|field| u64::from_le_bytes(*field));
        let u32_at =
            |at: usize| header.get(at..).and_then(|bytes| bytes.first_chunk::<4>()).map(|field| u32::from_le_bytes(*field));
        let [.., count_low, count_high, compression, widths] = *header.first_chunk::<16>().ok_or(error)?;
        Ok(Self {
            stored_len: u32_at(4).ok_or(error)?,
            len: u32_at(8).ok_or(error)?,
            count: u16::from_le_bytes([count_low, count_high]),
            compression,
            widths,
            base_revision: u64_at(16).ok_or(error)?,
            base_created: u64_at(24).ok_or(error)?,
            prefix_len: *header.last().ok_or(error)?,
        })
    }
}

impl Layout {
    /// Of a block that is not compressed.
    #[inline(always)]
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let header = Header::decode(bytes)?;
        if header.compression != 0 {
            return Err(Refusal::Compression(header.compression));
        }
        let records_len = usize::from(header.count).saturating_mul(RECORD_LEN);
        let prefix_at = records_len.saturating_add(BLOCK_HEADER_LEN);
        let entries_at = prefix_at.saturating_add(usize::from(header.prefix_len));
        let (revision_width, created_width) = (header.widths & 0xf, header.widths >> 4);
        let lengths = header.stored_len as usize == bytes.len() && header.len == header.stored_len && entries_at <= bytes.len();
        if !lengths || header.count == 0 || revision_width > 8 || created_width > 8 {
            return Err(DecodeError { at: BLOCK_CHECKSUM_LEN, what: "block header" }.into());
        }
        Ok(Self {
            count: usize::from(header.count),
            prefix_at,
            entries_at,
            revision_width,
            created_width,
            base_revision: header.base_revision,
            base_created: header.base_created,
        })
    }

    pub(super) const fn count(&self) -> usize {
        self.count
    }

    pub(super) const fn prefix_len(&self) -> usize {
        self.entries_at.saturating_sub(self.prefix_at)
    }

    pub(super) const fn entries_at(&self) -> usize {
        self.entries_at
    }

    pub(super) const fn base_revision(&self) -> Revision {
        Revision(self.base_revision)
    }

    pub(super) const fn base_created(&self) -> u64 {
        self.base_created
    }

    pub(super) const fn widths(&self) -> (u8, u8) {
        (self.revision_width, self.created_width)
    }
}

/// Whether the bytes say that they are compressed, in whatever way.
#[inline]
pub(super) fn is_compressed(bytes: &[u8]) -> bool {
    bytes.first_chunk::<15>().is_some_and(|[.., compression]| *compression != 0)
}

/// The block as it would be without compression.
pub(super) fn decompressed(bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
    let header = Header::decode(bytes)?;
    if header.compression != COMPRESSION_ZSTD {
        return Err(Refusal::Compression(header.compression));
    }
    let len = header.len as usize;
    let wrong = DecodeError { at: BLOCK_CHECKSUM_LEN, what: "lengths of a compressed block" };
    if header.stored_len as usize != bytes.len() || !(bytes.len()..=COMPRESSED_BLOCK_LEN_MAX).contains(&len) {
        return Err(wrong.into());
    }
    let (head, body) = bytes.split_at_checked(BLOCK_HEADER_LEN).ok_or(wrong)?;
    let mut out = vec![0; len];
    let (start, rest) = out.split_at_mut_checked(BLOCK_HEADER_LEN).ok_or(wrong)?;
    start.copy_from_slice(head);
    if let Some(stored_len) = start.get_mut(4..8) {
        stored_len.copy_from_slice(&header.len.to_le_bytes());
    }
    if let Some(compression) = start.get_mut(14) {
        *compression = 0;
    }
    decompress(body, rest)?;
    Ok(out)
}

/// A block's bytes with their layout.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) layout: Layout,
}

/// One entry, its key in the two parts behind the prefix.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawEntry<'a> {
    /// Length of the key behind the prefix.
    pub(super) rest_len: usize,
    pub(super) head: [u8; HEAD_LEN],
    pub(super) tail: &'a [u8],
    pub(super) meta: Meta,
    pub(super) value: &'a [u8],
    /// Where the value starts in the block.
    pub(super) value_at: usize,
}

impl RawEntry<'_> {
    /// Replaces what stands behind the prefix in `key`.
    #[inline]
    pub(super) fn write_key(&self, prefix_len: usize, key: &mut Vec<u8>) {
        key.truncate(prefix_len);
        key.extend_from_slice(&self.head);
        if self.rest_len > HEAD_LEN {
            key.extend_from_slice(self.tail);
        } else {
            key.truncate(prefix_len.saturating_add(self.rest_len));
        }
    }

    /// Whether its key behind the prefix is `rest`.
    #[inline(always)]
    fn is_key(&self, rest: &[u8]) -> bool {
        self.rest_len == rest.len()
            && u64::from_be_bytes(self.head) == head_of(rest)
            && self.tail == rest.get(HEAD_LEN..).unwrap_or_default()
    }
}

/// The lengths and flags before an entry's numbers, and where these start.
#[derive(Clone, Copy, Debug)]
struct Start {
    rest_len: usize,
    code: u64,
    at: usize,
}

impl<'a> Block<'a> {
    #[inline]
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, Refusal> {
        Ok(Self { bytes, layout: Layout::decode(bytes)? })
    }

    pub(super) const fn count(&self) -> usize {
        self.layout.count
    }

    #[inline]
    pub(super) fn prefix(&self) -> &'a [u8] {
        self.bytes.get(self.layout.prefix_at..self.layout.entries_at).unwrap_or_default()
    }

    /// The index of the first entry whose key is at least `key`; the count if there is none.
    pub(super) fn lower_bound(&self, key: &[u8]) -> Result<usize, DecodeError> {
        let prefix = self.prefix();
        let (start, rest) = key.split_at_checked(prefix.len()).unwrap_or((key, &[]));
        match start.cmp(prefix) {
            Ordering::Less => return Ok(0),
            Ordering::Greater => return Ok(self.count()),
            Ordering::Equal => {}
        }
        let head = head_of(rest);
        let records = self.records();
        let mut low = records.partition_point(|record| head_in(record) < head);
        let same = records.get(low..).unwrap_or_default();
        if same.first().is_none_or(|record| head_in(record) != head) {
            return Ok(low);
        }
        let mut high = low.saturating_add(same.partition_point(|record| head_in(record) == head));
        while low < high {
            let middle = low.midpoint(high);
            if self.compare(middle, rest)? == Ordering::Less {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Entry `index`, if it has this key.
    #[inline(always)]
    pub(super) fn entry_of(&self, index: usize, key: &[u8]) -> Result<Option<RawEntry<'a>>, DecodeError> {
        let entry = self.entry(index)?;
        let Some((start, rest)) = key.split_at_checked(self.layout.prefix_len()) else { return Ok(None) };
        // The prefix comes last, since it lies behind a miss of its own.
        Ok((entry.is_key(rest) && start == self.prefix()).then_some(entry))
    }

    /// Entry `index` in full.
    #[inline(always)]
    pub(super) fn entry(&self, index: usize) -> Result<RawEntry<'a>, DecodeError> {
        let (from, to) = self.entry_range(index)?;
        let wrong = |what| DecodeError { at: from, what };
        let record = self.record(index).ok_or(wrong("index of an entry"))?;
        let bytes = self.bytes.get(..to).unwrap_or_default();
        let Start { rest_len, code, at } = start(bytes, from)?;
        let flags = Flags::from_bits(code >> FLAGS_SHIFT).ok_or(wrong("flags"))?;
        let (revision_width, created_width) = (usize::from(self.layout.revision_width), usize::from(self.layout.created_width));
        let created_at = at.saturating_add(revision_width);
        let revision = number(bytes, at, revision_width).ok_or(wrong("revision"))?;
        let revision = self.layout.base_revision.checked_add(revision).ok_or(wrong("revision"))?;
        let created = number(bytes, created_at, created_width).ok_or(wrong("time"))?;
        let created = self.layout.base_created.checked_add(created).ok_or(wrong("time"))?;
        let mut meta = Meta { revision: Revision(revision), flags, created, deadline: 0, origin: Revision::NONE };
        let mut tail_at = created_at.saturating_add(created_width);
        if code & (HAS_DEADLINE | HAS_ORIGIN) != 0 {
            tail_at = rare_fields(bytes, tail_at, code, &mut meta)?;
        }
        let value_at = tail_at.saturating_add(rest_len.saturating_sub(HEAD_LEN));
        let tail = bytes.get(tail_at..value_at).ok_or(wrong("key"))?;
        let value = bytes.get(value_at..).ok_or(wrong("key"))?;
        Ok(RawEntry { rest_len, head: head_in(record).to_be_bytes(), tail, meta, value, value_at })
    }

    /// Where entry `index` starts in the block.
    #[inline(always)]
    pub(super) fn start(&self, index: usize) -> Option<usize> {
        let [.., low, high] = self.record(index)?;
        Some(usize::from(u16::from_le_bytes([*low, *high])))
    }

    /// Found by its place alone: the header only says whether there is one, and the processor need not wait for that.
    #[inline(always)]
    fn record(&self, index: usize) -> Option<&'a [u8; RECORD_LEN]> {
        if index >= self.layout.count {
            return None;
        }
        let at = BLOCK_HEADER_LEN.saturating_add(index.saturating_mul(RECORD_LEN));
        let (_, rest) = self.bytes.split_at_checked(at)?;
        rest.first_chunk()
    }

    #[inline]
    fn records(&self) -> &'a [[u8; RECORD_LEN]] {
        self.bytes.get(BLOCK_HEADER_LEN..self.layout.prefix_at).unwrap_or_default().as_chunks().0
    }

    /// Where entry `index` starts and ends.
    #[inline(always)]
    fn entry_range(&self, index: usize) -> Result<(usize, usize), DecodeError> {
        let error = DecodeError { at: BLOCK_HEADER_LEN, what: "start of an entry" };
        let from = self.start(index).ok_or(error)?;
        let to = self.start(index.saturating_add(1)).unwrap_or(self.bytes.len());
        if from <= to && to <= self.bytes.len() { Ok((from, to)) } else { Err(error) }
    }

    /// Compares the key of entry `index` with `rest`, both behind the prefix and known to have equal heads: equal heads and a key that
    /// ends within them leave only zeros to differ in, so the longer one is the greater.
    fn compare(&self, index: usize, rest: &[u8]) -> Result<Ordering, DecodeError> {
        let entry = self.entry(index)?;
        Ok(entry.tail.cmp(rest.get(HEAD_LEN..).unwrap_or_default()).then(entry.rest_len.cmp(&rest.len())))
    }
}

#[inline]
fn head_in(record: &[u8; RECORD_LEN]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *record;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// The fields before an entry's numbers; nearly always two bytes.
#[inline(always)]
fn start(bytes: &[u8], from: usize) -> Result<Start, DecodeError> {
    if let Some([rest_len @ 0..0x80, code @ 0..0x80]) = bytes.get(from..).and_then(|bytes| bytes.first_chunk()) {
        return Ok(Start { rest_len: usize::from(*rest_len), code: u64::from(*code), at: from.saturating_add(2) });
    }
    long_start(bytes, from)
}

#[cold]
fn long_start(bytes: &[u8], from: usize) -> Result<Start, DecodeError> {
    let mut reader = Reader::new(bytes.get(from..).unwrap_or_default());
    let inside = |error: DecodeError| DecodeError { at: from.saturating_add(error.at), what: error.what };
    let rest_len = reader.varint_max(KEY_LEN_MAX as u64, "length of a key").map_err(inside)? as usize;
    let code = reader.varint("flags").map_err(inside)?;
    Ok(Start { rest_len, code, at: from.saturating_add(reader.at()) })
}

/// Reads deadline and origin; answers where they end.
fn rare_fields(bytes: &[u8], from: usize, code: u64, meta: &mut Meta) -> Result<usize, DecodeError> {
    let mut reader = Reader::new(bytes.get(from..).unwrap_or_default());
    let inside = |error: DecodeError| DecodeError { at: from.saturating_add(error.at), what: error.what };
    if code & HAS_DEADLINE != 0 {
        meta.deadline = meta.created.wrapping_add(unzigzag(reader.varint("deadline").map_err(inside)?));
        if meta.deadline == 0 {
            return Err(inside(reader.error("deadline")));
        }
    }
    if code & HAS_ORIGIN != 0 {
        meta.origin = Revision(reader.varint("origin").map_err(inside)?);
        if meta.origin == Revision::NONE {
            return Err(inside(reader.error("origin")));
        }
    }
    Ok(from.saturating_add(reader.at()))
}

/// A number of `width` bytes, 0 to 8.
#[inline]
fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let mask = u64::MAX.checked_shr(64_u32.saturating_sub((width as u32).saturating_mul(8))).unwrap_or(0);
    let here = bytes.get(at..)?;
    if let Some(chunk) = here.first_chunk::<8>() {
        return Some(u64::from_le_bytes(*chunk) & mask);
    }
    let short = here.get(..width)?;
    Some(short.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// Numbers near zero, either side of it, to small ones.
pub(super) const fn zigzag(difference: u64) -> u64 {
    (difference << 1) ^ (if difference >> 63 == 1 { u64::MAX } else { 0 })
}

const fn unzigzag(code: u64) -> u64 {
    (code >> 1) ^ (if code & 1 == 1 { u64::MAX } else { 0 })
}
