//! About where in a segment a key lies, and the other way round: what a merge asks that takes a slice of a file.
//!
//! Answers come from the directory and the fences, without a look into a block; so they are right to a block, and cost a binary search.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use super::deadlines::partition;
use super::fences::Fences;
use super::reader::Segment;
use crate::error::Result;
use crate::number::BucketId;

impl Segment {
    /// How many bytes of the file lie before the first entry at or above (bucket, key), about.
    pub(crate) fn offset_of(&self, bucket: BucketId, key: &[u8]) -> Result<u64> {
        let index = self.sections().partition_point(|section| (section.bucket, &*section.last_key) < (bucket, key));
        let Some(section) = self.sections().get(index) else {
            return Ok(self.sections().last().map_or(0, |last| last.parts.end()));
        };
        if (bucket, key) <= (section.bucket, &section.first_key) {
            return Ok(section.parts.offset);
        }
        let fences = Fences::new(self, section);
        let after = fences.lower_bound(key)?;
        Ok(fences.place(after.saturating_sub(1))?.0 as u64)
    }

    /// A key so that about `offset` bytes of the file lie before it: where a block begins, or a section.
    pub(crate) fn key_at(&self, offset: u64) -> Result<Option<(BucketId, Box<[u8]>)>> {
        let index = self.sections().partition_point(|section| section.parts.end() <= offset);
        let Some(section) = self.sections().get(index) else { return Ok(None) };
        let fences = Fences::new(self, section);
        let count = section.parts.block_count;
        let number = partition(0, count, |number| Ok((fences.place(number as usize)?.0 as u64) < offset))?;
        if number == 0 {
            return Ok(Some((section.bucket, section.first_key.clone())));
        }
        if number >= count {
            let next = self.sections().get(index.saturating_add(1));
            return Ok(next.map(|next| (next.bucket, next.first_key.clone())));
        }
        let separator = [fences.prefix(), fences.separator(number as usize)?].concat();
        Ok(Some((section.bucket, separator.into())))
    }
}
