//! What of a section has expired by its entries' own deadlines: what makes a merge worth it.
//!
//! The permutation by deadline answers that with a binary search: first over the stored deadlines, one for every 64 entries, then over the
//! entries between two of them, at most six of which are read. A section of one block is read as a whole.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use super::directory::SectionInfo;
use super::format::DEADLINE_STEP;
use super::position::{Position, packed_range, unpack};
use super::reader::Segment;
use crate::codec::DecodeError;
use crate::entry::Meta;
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
            let samples = section.deadlines.div_ceil(DEADLINE_STEP);
            let sample = partition(0, samples, |number| Ok(self.deadline_sample(section, number)? <= now))?;
            let from = sample.saturating_sub(1).saturating_mul(DEADLINE_STEP);
            let to = sample.saturating_mul(DEADLINE_STEP).min(section.deadlines);
            partition(from, to, |number| Ok(self.by_deadline(section, number)?.deadline <= now))?
        };
        let share = u128::from(section.bytes).saturating_mul(u128::from(entries)).checked_div(u128::from(section.entries));
        Ok(Expired { entries, bytes: share.unwrap_or(0) as u64 })
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
        let loaded = self.block(section, 0)?;
        let block = loaded.block();
        let mut expired = 0_u64;
        for index in 0..block.count() {
            let meta = block.entry(index).map_err(|error| self.corrupt(loaded.at as u64, error))?.meta;
            expired = expired.saturating_add(u64::from(meta.deadline != 0 && meta.deadline <= now));
        }
        Ok(expired)
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
