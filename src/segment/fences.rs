//! The fences of a section: for each block where it is, which keys it can hold, and what is in it. See `format` for the bytes.
//!
//! Searched like a block: 8-byte heads behind a common prefix first, the rest only for equal heads. They are read piece by piece through
//! [`Segment::table`], which verifies what it hands out; here every number is still checked against the bytes that there are.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use std::cmp::Ordering;

use super::directory::{Parts, SectionInfo};
use super::format::{FENCE_LEN, HEAD_LEN, PREFIX_LEN_MAX, head_of, shared_len};
use super::reader::Segment;
use crate::codec::{DecodeError, Reader};
use crate::error::Result;
use crate::number::Revision;

/// What is known of a block without reading it, besides its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fence {
    pub(super) checksum: u32,
    pub(super) zone: Zone,
    /// Where its separator ends among all of them.
    separator_end: u32,
}

/// What the entries of a block are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Zone {
    pub(super) first_revision: Revision,
    pub(super) last_revision: Revision,
    pub(super) entries: u16,
    pub(super) puts: u16,
    pub(super) markers: u16,
}

/// The fences of a section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fences<'a> {
    segment: &'a Segment,
    section: &'a SectionInfo,
    parts: &'a Parts,
}

impl<'a> Fences<'a> {
    #[inline]
    pub(super) const fn new(segment: &'a Segment, section: &'a SectionInfo) -> Self {
        Self { segment, section, parts: &section.parts }
    }

    pub(super) fn prefix(&self) -> &'a [u8] {
        self.section.first_key.get(..self.parts.prefix_len).unwrap_or_default()
    }

    const fn count(&self) -> usize {
        self.parts.block_count as usize
    }

    /// The first byte and the byte behind the last of block `index` in the file; they lie inside the section's blocks.
    #[inline(always)]
    pub(super) fn place(&self, index: usize) -> Result<(usize, usize)> {
        let last = index.saturating_add(1) >= self.count();
        let bytes = self.array(1, HEAD_LEN, index, if last { 1 } else { 2 })?;
        let start = bytes.first_chunk::<8>().map_or(0, |start| u64::from_le_bytes(*start));
        let end = bytes.get(8..).and_then(|bytes| bytes.first_chunk::<8>()).map(|end| u64::from_le_bytes(*end));
        let end = end.unwrap_or(self.parts.blocks_end());
        if self.parts.offset <= start && start < end && end <= self.parts.blocks_end() {
            return Ok((start as usize, end as usize));
        }
        Err(self.wrong("offset of a block"))
    }

    /// The rest of what is known of block `index`.
    pub(super) fn fence(&self, index: usize) -> Result<Fence> {
        let bytes = self.array(2, FENCE_LEN, index, 1)?;
        decode_fence(bytes).map_err(|error| self.wrong(error.what))
    }

    /// The first block whose separator is at least `key`: `key` can only be in the block before, or in this one if the separator is `key`.
    pub(super) fn lower_bound(&self, key: &[u8]) -> Result<usize> {
        let prefix = self.prefix();
        let (start, rest) = key.split_at_checked(prefix.len()).unwrap_or((key, &[]));
        match start.cmp(prefix) {
            Ordering::Less => return Ok(0),
            Ordering::Greater => return Ok(self.count()),
            Ordering::Equal => {}
        }
        let head = head_of(rest);
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low.midpoint(high);
            let below = match self.head(middle)?.cmp(&head) {
                Ordering::Less => true,
                Ordering::Greater => false,
                Ordering::Equal => self.separator(middle)? < rest,
            };
            if below {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Whether block `index` has exactly `key` as its separator.
    pub(super) fn separator_is(&self, index: usize, key: &[u8]) -> Result<bool> {
        let Some(rest) = key.strip_prefix(self.prefix()) else { return Ok(false) };
        Ok(self.separator(index)? == rest)
    }

    #[inline]
    fn head(&self, index: usize) -> Result<u64> {
        let bytes = self.array(0, HEAD_LEN, index, 1)?;
        Ok(bytes.first_chunk::<8>().map_or(0, |head| u64::from_le_bytes(*head)))
    }

    /// The separator of block `index` behind the prefix.
    pub(super) fn separator(&self, index: usize) -> Result<&'a [u8]> {
        let end = self.fence(index)?.separator_end;
        let start = match index.checked_sub(1) {
            Some(before) => self.fence(before)?.separator_end,
            None => 0,
        };
        let len = end.checked_sub(start).ok_or_else(|| self.wrong("separator of a block"))?;
        if self.parts.separators_len().is_none_or(|all| u64::from(end) > all) {
            return Err(self.wrong("separator of a block"));
        }
        let arrays = self.parts.block_count.saturating_mul((2 * HEAD_LEN + FENCE_LEN) as u64);
        let at = self.parts.fences_at().saturating_add(arrays).saturating_add(u64::from(start));
        self.segment.table(self.parts, at, len as usize)
    }

    /// `many` elements of an array from `index` on: array 0 has the heads, 1 the offsets, 2 the rest.
    #[inline(always)]
    fn array(&self, array: u64, len: usize, index: usize, many: usize) -> Result<&'a [u8]> {
        if index >= self.count() {
            return Err(self.wrong("number of a block"));
        }
        let before = self.parts.block_count.saturating_mul(array).saturating_mul(HEAD_LEN as u64);
        let at = self.parts.fences_at().saturating_add(before).saturating_add(index.saturating_mul(len) as u64);
        self.segment.table(self.parts, at, len.saturating_mul(many))
    }

    #[cold]
    fn wrong(&self, what: &'static str) -> crate::error::Error {
        self.segment.corrupt(self.parts.tables_at().saturating_add(self.parts.fences_at()), DecodeError { at: 0, what })
    }
}

fn decode_fence(bytes: &[u8]) -> std::result::Result<Fence, DecodeError> {
    let mut reader = Reader::new(bytes);
    Ok(Fence {
        checksum: reader.u32("fence")?,
        zone: Zone {
            first_revision: Revision(reader.u64("fence")?),
            last_revision: Revision(reader.u64("fence")?),
            entries: reader.u16("fence")?,
            puts: reader.u16("fence")?,
            markers: reader.u16("fence")?,
        },
        separator_end: reader.u32("fence")?,
    })
}

/// Fences while a section is built.
#[derive(Debug, Default)]
pub(super) struct FencesDraft {
    fences: Vec<(u64, u32, Zone, usize)>,
    separators: Vec<u8>,
    entries_max: u16,
}

impl FencesDraft {
    pub(super) fn push(&mut self, offset: u64, checksum: u32, zone: Zone, separator: &[u8]) {
        self.separators.extend_from_slice(separator);
        self.fences.push((offset, checksum, zone, self.separators.len()));
        self.entries_max = self.entries_max.max(zone.entries);
    }

    pub(super) const fn count(&self) -> usize {
        self.fences.len()
    }

    pub(super) fn zones(&self) -> impl Iterator<Item = &Zone> {
        self.fences.iter().map(|(_, _, zone, _)| zone)
    }

    pub(super) const fn entries_max(&self) -> u16 {
        self.entries_max
    }

    /// About how long the encoded form is.
    pub(super) const fn len(&self) -> usize {
        self.separators.len().saturating_add(self.fences.len().saturating_mul(FENCE_LEN + 2 * HEAD_LEN))
    }

    /// How long all separators are, which has to stay below 4 GiB.
    pub(super) const fn separators_len(&self) -> usize {
        self.separators.len()
    }

    /// Appends the fences; answers the length of the prefix that all separators share.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> usize {
        let ends = || self.fences.iter().map(|(.., end)| *end);
        let starts = std::iter::once(0).chain(ends());
        let separators: Vec<&[u8]> =
            starts.zip(ends()).map(|(start, end)| self.separators.get(start..end).unwrap_or_default()).collect();
        // They ascend, so what the first and the last share, all share.
        let prefix_len = match (separators.first(), separators.last()) {
            (Some(first), Some(last)) => shared_len(first, last).min(PREFIX_LEN_MAX),
            _ => 0,
        };
        let rests = || separators.iter().map(|separator| separator.get(prefix_len..).unwrap_or_default());
        for rest in rests() {
            out.extend_from_slice(&head_of(rest).to_le_bytes());
        }
        for (offset, ..) in &self.fences {
            out.extend_from_slice(&offset.to_le_bytes());
        }
        let mut separator_end = 0_u32;
        for ((_, checksum, zone, _), rest) in self.fences.iter().zip(rests()) {
            separator_end = separator_end.saturating_add(rest.len() as u32);
            out.extend_from_slice(&checksum.to_le_bytes());
            out.extend_from_slice(&zone.first_revision.0.to_le_bytes());
            out.extend_from_slice(&zone.last_revision.0.to_le_bytes());
            for count in [zone.entries, zone.puts, zone.markers] {
                out.extend_from_slice(&count.to_le_bytes());
            }
            out.extend_from_slice(&separator_end.to_le_bytes());
        }
        for rest in rests() {
            out.extend_from_slice(rest);
        }
        prefix_len
    }
}
