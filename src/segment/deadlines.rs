//! What of a section has expired by its entries' own deadlines: how much, which makes a merge worth it, and which, for their markers.
//!
//! The permutation by deadline answers that with a binary search: first over the stored deadlines, one for every 64 entries, then over the
//! entries between two of them, at most six of which are read. A section of one block is read as a whole.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use super::cursor::{Cursor, CursorEntry};
use super::directory::SectionInfo;
use super::format::DEADLINE_STEP;
use super::position::{Position, packed_range, unpack};
use super::reader::Segment;
use crate::codec::DecodeError;
use crate::entry::Meta;
use crate::env::sync::Arc;
use crate::error::Result;
use crate::number::BucketId;

/// How much of a section has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Expired {
    /// Entries whose deadline has come.
    pub(crate) entries: u64,
    /// About what they take in the file: their share of the section.
    pub(crate) bytes: u64,
}

impl Segment {
    /// Of the entries of `bucket`, those with a deadline of their own at or before `now`. Reads at most seven entries.
    pub(crate) fn expired(&self, bucket: BucketId, now: u64) -> Result<Expired> {
        let Some(section) = self.section(bucket).filter(|section| section.deadlines > 0 && section.first_deadline <= now) else {
            return Ok(Expired::default());
        };
        let entries = if section.parts.block_count == 1 {
            self.expired_in_block(section, now)?
        } else {
            self.expired_in_tables(section, now)?
        };
        let share = u128::from(section.bytes).saturating_mul(u128::from(entries)).checked_div(u128::from(section.entries));
        Ok(Expired { entries, bytes: share.unwrap_or(0) as u64 })
    }

    /// Of a section of several blocks.
    fn expired_in_tables(&self, section: &SectionInfo, now: u64) -> Result<u64> {
        let samples = section.deadlines.div_ceil(DEADLINE_STEP);
        let sample = partition(0, samples, |number| Ok(self.deadline_sample(section, number)? <= now))?;
        let from = sample.saturating_sub(1).saturating_mul(DEADLINE_STEP);
        let to = sample.saturating_mul(DEADLINE_STEP).min(section.deadlines);
        partition(from, to, |number| Ok(self.by_deadline(section, number)?.deadline <= now))
    }

    /// Entry `number` in the order of deadlines, of a section of several blocks.
    fn by_deadline(&self, section: &SectionInfo, number: u64) -> Result<Meta> {
        let position = self.permuted(section, section.parts.deadlines_at(), number)?;
        let block = self.block(section, position.block)?;
        Ok(block.block().entry(position.index).map_err(|error| self.corrupt(block.at as u64, error))?.meta)
    }

    /// Number `number` of the permutation at `at` in the tables.
    pub(super) fn permuted(&self, section: &SectionInfo, at: u64, number: u64) -> Result<Position> {
        let bits = section.parts.bits;
        let (first, len) = packed_range(number, bits.all());
        let bytes = self.table(&section.parts, at.saturating_add(first), len)?;
        Ok(bits.position(unpack(bytes, number, bits.all())))
    }

    fn deadline_sample(&self, section: &SectionInfo, number: u64) -> Result<u64> {
        let parts = &section.parts;
        let at = parts.deadlines_at().saturating_add(parts.deadline_positions_len).saturating_add(number.saturating_mul(8));
        let sample = self.table(parts, at, 8)?.first_chunk().map(|sample| u64::from_le_bytes(*sample));
        sample.ok_or_else(|| self.corrupt(parts.tables_at(), DecodeError { at: 0, what: "deadlines" }))
    }

    fn expired_in_block(&self, section: &SectionInfo, now: u64) -> Result<u64> {
        let later = self.deadlines_in_block(section, now)?.len() as u64;
        Ok(section.deadlines.saturating_sub(later))
    }

    /// The deadlines behind `after` of a section of one block, in order, each with its entry's number.
    fn deadlines_in_block(&self, section: &SectionInfo, after: u64) -> Result<Vec<(u64, usize)>> {
        let loaded = self.block(section, 0)?;
        let block = loaded.block();
        let mut later = Vec::new();
        for index in 0..block.count() {
            let meta = block.entry(index).map_err(|error| self.corrupt(loaded.at as u64, error))?.meta;
            if meta.deadline > after {
                later.push((meta.deadline, index));
            }
        }
        later.sort_unstable();
        Ok(later)
    }
}

/// A walk over the entries of a section that have deadlines of their own, in the order of these; of the same deadline in any order.
#[derive(Debug)]
pub(crate) struct Expiring {
    cursor: Cursor,
    segment: Arc<Segment>,
    bucket: BucketId,
    /// The order of a section that has no permutation.
    sorted: Option<Vec<(u64, usize)>>,
    next: u64,
    end: u64,
}

impl Expiring {
    /// The entries of `bucket` with a deadline behind `after`.
    pub(crate) fn new(segment: Arc<Segment>, bucket: BucketId, after: u64) -> Result<Self> {
        let (mut sorted, mut next, mut end) = (None, 0, 0);
        if let Some(section) = segment.section(bucket) {
            if section.parts.block_count == 1 {
                let later = segment.deadlines_in_block(section, after)?;
                end = later.len() as u64;
                sorted = Some(later);
            } else {
                end = section.deadlines;
                next = segment.expired_in_tables(section, after)?;
            }
        }
        Ok(Self { cursor: Cursor::new(Arc::clone(&segment), bucket), segment, bucket, sorted, next, end })
    }

    /// To the next entry; answers whether there is one.
    pub(crate) fn advance(&mut self) -> Result<bool> {
        let Some(section) = self.segment.section(self.bucket).filter(|_| self.next < self.end) else { return Ok(false) };
        let position = match &self.sorted {
            Some(sorted) => Position { block: 0, index: sorted.get(self.next as usize).map_or(0, |(_, index)| *index) },
            None => self.segment.permuted(section, section.parts.deadlines_at(), self.next)?,
        };
        self.cursor.seek_position(position)?;
        self.next = self.next.saturating_add(1);
        Ok(true)
    }

    /// The entry that it is at.
    pub(crate) fn entry(&self) -> Option<CursorEntry<'_>> {
        self.cursor.entry()
    }
}

/// The first number from `low` up to `high` for which `below` does not hold; it holds for all before that.
pub(super) fn partition(mut low: u64, mut high: u64, mut below: impl FnMut(u64) -> Result<bool>) -> Result<u64> {
    while low < high {
        let middle = low.midpoint(high);
        if below(middle)? {
            low = middle.saturating_add(1);
        } else {
            high = middle;
        }
    }
    Ok(low)
}
