//! One block: some entries of one bucket in order. See `format` for its bytes.
//!
//! [`Layout`] is what the header says, as numbers only, so that a cursor can keep it; [`Block`] is that together with the bytes. Nothing
//! here knows of files or checksums: whoever asks has verified the bytes before. Bytes that verify and still make no sense are an error,
//! whatever they are.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use std::cmp::Ordering;

use super::format::{
    BLOCK_CHECKSUM_LEN, BLOCK_HEADER_LEN, FLAGS_SHIFT, HAS_DEADLINE, HAS_ORIGIN, HEAD_LEN, KEY_LEN_MAX, Refusal, START_LEN,
    head_of,
};
use crate::codec::{DecodeError, Reader};
use crate::entry::{Flags, Meta};
use crate::number::Revision;

/// Where the parts of a block lie.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Layout {
    count: usize,
    heads_at: usize,
    starts_at: usize,
    entries_at: usize,
    base_revision: u64,
    base_created: u64,
}

impl Layout {
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut reader = Reader::new(bytes);
        reader.u32("checksum of a block")?;
        let stored_len = reader.u32("length of a block")?;
        let len = reader.u32("length of a block")?;
        let count = reader.u32("count of entries in a block")? as usize;
        let compression = reader.u8("compression of a block")?;
        let flags = reader.u8("flags of a block")?;
        let prefix_len = usize::from(reader.u16("length of a prefix")?);
        let base_revision = reader.u64("lowest revision of a block")?;
        let base_created = reader.u64("lowest time of a block")?;
        if compression != 0 {
            return Err(Refusal::Compression(compression));
        }
        if stored_len as usize != bytes.len() || len != stored_len || flags != 0 || count == 0 {
            return Err(DecodeError { at: BLOCK_CHECKSUM_LEN, what: "block header" }.into());
        }
        reader.bytes(prefix_len, "prefix of a block")?;
        let heads_at = reader.at();
        reader.bytes(count.saturating_mul(HEAD_LEN), "heads of a block")?;
        let starts_at = reader.at();
        reader.bytes(count.saturating_mul(START_LEN), "starts of a block's entries")?;
        Ok(Self { count, heads_at, starts_at, entries_at: reader.at(), base_revision, base_created })
    }

    pub(super) const fn count(&self) -> usize {
        self.count
    }

    pub(super) const fn prefix_len(&self) -> usize {
        self.heads_at.saturating_sub(BLOCK_HEADER_LEN)
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
        key.extend_from_slice(self.head.get(..self.rest_len).unwrap_or(&self.head));
        key.extend_from_slice(self.tail);
    }
}

impl<'a> Block<'a> {
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, Refusal> {
        Ok(Self { bytes, layout: Layout::decode(bytes)? })
    }

    pub(super) const fn count(&self) -> usize {
        self.layout.count
    }

    pub(super) fn prefix(&self) -> &'a [u8] {
        self.bytes.get(BLOCK_HEADER_LEN..self.layout.heads_at).unwrap_or_default()
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
        let heads = self.heads();
        let mut low = heads.partition_point(|stored| u64::from_le_bytes(*stored) < head);
        let same = heads.get(low..).unwrap_or_default();
        if same.first().is_none_or(|stored| u64::from_le_bytes(*stored) != head) {
            return Ok(low);
        }
        let mut high = low.saturating_add(same.partition_point(|stored| u64::from_le_bytes(*stored) == head));
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

    /// Whether entry `index` has this key.
    pub(super) fn has_key(&self, index: usize, key: &[u8]) -> Result<bool, DecodeError> {
        let Some(rest) = key.strip_prefix(self.prefix()) else { return Ok(false) };
        let same_head = self.heads().get(index).is_some_and(|stored| u64::from_le_bytes(*stored) == head_of(rest));
        Ok(same_head && self.compare(index, rest)? == Ordering::Equal)
    }

    /// Entry `index` in full.
    #[inline]
    pub(super) fn entry(&self, index: usize) -> Result<RawEntry<'a>, DecodeError> {
        let (at, bytes) = self.entry_bytes(index)?;
        let mut reader = Reader::new(bytes);
        let decoded = self.decode_entry(index, &mut reader);
        let mut entry = decoded.map_err(|error| DecodeError { at: at.saturating_add(error.at), what: error.what })?;
        entry.value_at = at.saturating_add(reader.at());
        entry.value = bytes.get(reader.at()..).unwrap_or_default();
        Ok(entry)
    }

    /// Everything but the value and its place.
    #[inline]
    fn decode_entry(&self, index: usize, reader: &mut Reader<'a>) -> Result<RawEntry<'a>, DecodeError> {
        let stored = self.heads().get(index).ok_or(reader.error("index of an entry"))?;
        let head = u64::from_le_bytes(*stored).to_be_bytes();
        let rest_len = reader.varint_max(KEY_LEN_MAX as u64, "length of a key")? as usize;
        let tail = reader.bytes(rest_len.saturating_sub(HEAD_LEN), "key")?;
        let code = reader.varint("flags")?;
        let flags = Flags::from_bits(code >> FLAGS_SHIFT).ok_or(reader.error("flags"))?;
        let revision = reader.varint("revision")?;
        let revision = self.layout.base_revision.checked_add(revision).ok_or(reader.error("revision"))?;
        let created = reader.varint("time")?;
        let created = self.layout.base_created.checked_add(created).ok_or(reader.error("time"))?;
        let mut meta = Meta { revision: Revision(revision), flags, created, ..Meta::default() };
        if code & HAS_DEADLINE != 0 {
            meta.deadline = created.wrapping_add(unzigzag(reader.varint("deadline")?));
            if meta.deadline == 0 {
                return Err(reader.error("deadline"));
            }
        }
        if code & HAS_ORIGIN != 0 {
            meta.origin = Revision(reader.varint("origin")?);
            if meta.origin == Revision::NONE {
                return Err(reader.error("origin"));
            }
        }
        Ok(RawEntry { rest_len, head, tail, meta, value: &[], value_at: 0 })
    }

    /// Where entry `index` starts, counted from the first one.
    pub(super) fn start(&self, index: usize) -> Option<usize> {
        let starts = self.bytes.get(self.layout.starts_at..self.layout.entries_at)?.as_chunks::<START_LEN>().0;
        starts.get(index).map(|start| u32::from_le_bytes(*start) as usize)
    }

    pub(super) fn heads(&self) -> &'a [[u8; HEAD_LEN]] {
        self.bytes.get(self.layout.heads_at..self.layout.starts_at).unwrap_or_default().as_chunks().0
    }

    /// The bytes of entry `index`, and where they lie in the block.
    #[inline]
    fn entry_bytes(&self, index: usize) -> Result<(usize, &'a [u8]), DecodeError> {
        let error = DecodeError { at: self.layout.starts_at, what: "start of an entry" };
        let from = self.start(index).ok_or(error)?.checked_add(self.layout.entries_at).ok_or(error)?;
        let to = match self.start(index.saturating_add(1)) {
            Some(next) => next.checked_add(self.layout.entries_at).ok_or(error)?,
            None => self.bytes.len(),
        };
        Ok((from, self.bytes.get(from..to).ok_or(error)?))
    }

    /// Compares the key of entry `index` with `rest`, both behind the prefix and known to have equal heads: equal heads and a key that
    /// ends within them leave only zeros to differ in, so the longer one is the greater.
    fn compare(&self, index: usize, rest: &[u8]) -> Result<Ordering, DecodeError> {
        let (at, bytes) = self.entry_bytes(index)?;
        let inside = |error: DecodeError| DecodeError { at: at.saturating_add(error.at), what: error.what };
        let mut reader = Reader::new(bytes);
        let rest_len = reader.varint_max(KEY_LEN_MAX as u64, "length of a key").map_err(inside)? as usize;
        let tail = reader.bytes(rest_len.saturating_sub(HEAD_LEN), "key").map_err(inside)?;
        Ok(tail.cmp(rest.get(HEAD_LEN..).unwrap_or_default()).then(rest_len.cmp(&rest.len())))
    }
}

/// Numbers near zero, either side of it, to small ones.
pub(super) const fn zigzag(difference: u64) -> u64 {
    (difference << 1) ^ (if difference >> 63 == 1 { u64::MAX } else { 0 })
}

const fn unzigzag(code: u64) -> u64 {
    (code >> 1) ^ (if code & 1 == 1 { u64::MAX } else { 0 })
}
