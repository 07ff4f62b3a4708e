//! The fences of a section: for each block where it is, which keys it can hold, and what is in it. See `format` for the bytes.
//!
//! Searched like a block: 8-byte heads behind a common prefix first, the rest only for equal heads. The reader verifies the checksum
//! before it asks; here every number is still checked against the bytes that there are.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use std::cmp::Ordering;

use super::format::{FENCE_LEN, HEAD_LEN, head_of, shared_len};
use crate::codec::{DecodeError, Reader};
use crate::number::Revision;

/// What is known of a block without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fence {
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) checksum: u32,
    pub(super) zone: Zone,
    /// Where its separator ends among all of them.
    separator_end: u64,
}

/// What the entries of a block are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Zone {
    pub(super) first_revision: Revision,
    pub(super) last_revision: Revision,
    pub(super) entries: u32,
    pub(super) puts: u32,
    pub(super) markers: u32,
}

/// The fences of a section as their bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fences<'a> {
    prefix: &'a [u8],
    heads: &'a [[u8; HEAD_LEN]],
    fences: &'a [[u8; FENCE_LEN]],
    separators: &'a [u8],
}

impl<'a> Fences<'a> {
    #[inline]
    pub(super) fn decode(bytes: &'a [u8], count: u64) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let count = usize::try_from(count).map_err(|_| reader.error("count of fences"))?;
        let prefix_len = usize::from(reader.u16("length of the fences' prefix")?);
        let prefix = reader.bytes(prefix_len, "prefix of the fences")?;
        let heads = reader.bytes(count.saturating_mul(HEAD_LEN), "heads of the fences")?.as_chunks().0;
        let fences = reader.bytes(count.saturating_mul(FENCE_LEN), "fences")?.as_chunks().0;
        let separators = bytes.get(reader.at()..).unwrap_or_default();
        Ok(Self { prefix, heads, fences, separators })
    }

    pub(super) const fn count(&self) -> usize {
        self.fences.len()
    }

    pub(super) const fn prefix(&self) -> &'a [u8] {
        self.prefix
    }

    pub(super) const fn heads(&self) -> &'a [[u8; HEAD_LEN]] {
        self.heads
    }

    /// All separators are used up by the fences.
    pub(super) fn separators_fit(&self) -> bool {
        self.count()
            .checked_sub(1)
            .and_then(|last| self.fence(last))
            .is_some_and(|fence| fence.separator_end == self.separators.len() as u64)
    }

    pub(super) fn fence(&self, index: usize) -> Option<Fence> {
        let mut reader = Reader::new(self.fences.get(index)?);
        Some(Fence {
            offset: reader.u64("").ok()?,
            len: reader.u32("").ok()?,
            checksum: reader.u32("").ok()?,
            zone: Zone {
                first_revision: Revision(reader.u64("").ok()?),
                last_revision: Revision(reader.u64("").ok()?),
                entries: reader.u32("").ok()?,
                puts: reader.u32("").ok()?,
                markers: reader.u32("").ok()?,
            },
            separator_end: reader.u64("").ok()?,
        })
    }

    /// The separator of block `index` behind the prefix.
    pub(super) fn separator(&self, index: usize) -> Result<&'a [u8], DecodeError> {
        let error = DecodeError { at: 0, what: "separator of a block" };
        let end = self.fence(index).ok_or(error)?.separator_end;
        let start = match index.checked_sub(1) {
            Some(before) => self.fence(before).ok_or(error)?.separator_end,
            None => 0,
        };
        let (start, end) = (usize::try_from(start).map_err(|_| error)?, usize::try_from(end).map_err(|_| error)?);
        self.separators.get(start..end).ok_or(error)
    }

    /// The first block whose separator is at least `key`: `key` can only be in the block before, or in this one if the separator is `key`.
    pub(super) fn lower_bound(&self, key: &[u8]) -> Result<usize, DecodeError> {
        let (start, rest) = key.split_at_checked(self.prefix.len()).unwrap_or((key, &[]));
        match start.cmp(self.prefix) {
            Ordering::Less => return Ok(0),
            Ordering::Greater => return Ok(self.count()),
            Ordering::Equal => {}
        }
        let head = head_of(rest);
        let mut low = self.heads.partition_point(|stored| u64::from_le_bytes(*stored) < head);
        let same = self.heads.get(low..).unwrap_or_default();
        let mut high = low.saturating_add(same.partition_point(|stored| u64::from_le_bytes(*stored) == head));
        while low < high {
            let middle = low.midpoint(high);
            if self.separator(middle)? < rest {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Whether block `index` has exactly `key` as its separator.
    pub(super) fn separator_is(&self, index: usize, key: &[u8]) -> Result<bool, DecodeError> {
        let Some(rest) = key.strip_prefix(self.prefix) else { return Ok(false) };
        Ok(self.separator(index)? == rest)
    }
}

/// Fences while a section is built.
#[derive(Debug, Default)]
pub(super) struct FencesDraft {
    fences: Vec<Fence>,
    separators: Vec<u8>,
}

impl FencesDraft {
    pub(super) fn push(&mut self, offset: u64, len: u32, checksum: u32, zone: Zone, separator: &[u8]) {
        self.separators.extend_from_slice(separator);
        let separator_end = self.separators.len() as u64;
        self.fences.push(Fence { offset, len, checksum, zone, separator_end });
    }

    pub(super) const fn count(&self) -> usize {
        self.fences.len()
    }

    pub(super) fn zones(&self) -> impl Iterator<Item = &Zone> {
        self.fences.iter().map(|fence| &fence.zone)
    }

    /// About how long the encoded form is.
    pub(super) const fn len(&self) -> usize {
        self.separators.len().saturating_add(self.fences.len().saturating_mul(FENCE_LEN + HEAD_LEN))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let ends = || self.fences.iter().map(|fence| fence.separator_end as usize);
        let starts = std::iter::once(0).chain(ends());
        let separators: Vec<&[u8]> =
            starts.zip(ends()).map(|(start, end)| self.separators.get(start..end).unwrap_or_default()).collect();
        // They ascend, so what the first and the last share, all share.
        let prefix_len = match (separators.first(), separators.last()) {
            (Some(first), Some(last)) => shared_len(first, last),
            _ => 0,
        };
        let rest = |separator: &'_ &[u8]| separator.get(prefix_len..).unwrap_or_default().to_vec();
        let rests: Vec<Vec<u8>> = separators.iter().map(rest).collect();
        let mut out = Vec::with_capacity(self.len());
        out.extend_from_slice(&(prefix_len as u16).to_le_bytes());
        out.extend_from_slice(separators.first().and_then(|first| first.get(..prefix_len)).unwrap_or_default());
        for rest in &rests {
            out.extend_from_slice(&head_of(rest).to_le_bytes());
        }
        let mut separator_end = 0_u64;
        for (fence, rest) in self.fences.iter().zip(&rests) {
            separator_end = separator_end.saturating_add(rest.len() as u64);
            out.extend_from_slice(&fence.offset.to_le_bytes());
            out.extend_from_slice(&fence.len.to_le_bytes());
            out.extend_from_slice(&fence.checksum.to_le_bytes());
            out.extend_from_slice(&fence.zone.first_revision.0.to_le_bytes());
            out.extend_from_slice(&fence.zone.last_revision.0.to_le_bytes());
            for count in [fence.zone.entries, fence.zone.puts, fence.zone.markers] {
                out.extend_from_slice(&count.to_le_bytes());
            }
            out.extend_from_slice(&separator_end.to_le_bytes());
        }
        for rest in &rests {
            out.extend_from_slice(rest);
        }
        out
    }
}
