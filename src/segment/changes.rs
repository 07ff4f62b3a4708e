//! The entries of one bucket's section in the order of their revisions, from a revision on.
//!
//! Walks the permutation by revision, one entry at a time, so it takes no memory however much there is; a section of one block is sorted
//! when the walk begins. What is to be seen of the entries is not decided here.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use super::cursor::{Cursor, CursorEntry};
use super::deadlines::partition;
use super::directory::SectionInfo;
use super::position::{Position, order_of};
use super::reader::Segment;
use crate::env::sync::Arc;
use crate::error::Result;
use crate::number::{BucketId, Revision};

/// A walk by revision.
#[derive(Debug)]
pub(crate) struct Changes {
    cursor: Cursor,
    segment: Arc<Segment>,
    bucket: BucketId,
    /// The order of a section that has no permutation.
    sorted: Option<Vec<u32>>,
    next: u64,
    end: u64,
}

impl Changes {
    /// The entries of `bucket` with a revision above `after`.
    pub(crate) fn new(segment: Arc<Segment>, bucket: BucketId, after: Revision) -> Result<Self> {
        let (mut sorted, mut next, mut end) = (None, 0, 0);
        if let Some(section) = segment.section(bucket) {
            end = section.entries;
            if section.parts.block_count == 1 {
                sorted = Some(order_of(&revisions(&segment, section)?));
            }
            if section.first_revision <= after {
                next = partition(0, end, |number| {
                    let position = position(&segment, section, sorted.as_deref(), number)?;
                    let block = segment.block(section, position.block)?;
                    let entry = block.block().entry(position.index).map_err(|error| segment.corrupt(block.at as u64, error))?;
                    Ok(entry.meta.revision <= after)
                })?;
            }
        }
        Ok(Self { cursor: Cursor::new(Arc::clone(&segment), bucket), segment, bucket, sorted, next, end })
    }

    /// To the next entry; answers whether there is one.
    pub(crate) fn advance(&mut self) -> Result<bool> {
        let Some(section) = self.segment.section(self.bucket).filter(|_| self.next < self.end) else { return Ok(false) };
        let position = position(&self.segment, section, self.sorted.as_deref(), self.next)?;
        self.cursor.seek_position(position)?;
        self.next = self.next.saturating_add(1);
        Ok(true)
    }

    /// The entry that it is at.
    pub(crate) fn entry(&self) -> Option<CursorEntry<'_>> {
        self.cursor.entry()
    }
}

fn position(segment: &Segment, section: &SectionInfo, sorted: Option<&[u32]>, number: u64) -> Result<Position> {
    match sorted {
        Some(sorted) => Ok(Position { block: 0, index: sorted.get(number as usize).copied().unwrap_or(0) as usize }),
        None => segment.permuted(section, section.parts.revisions_at(), number),
    }
}

/// Of the entries of a section's only block.
fn revisions(segment: &Segment, section: &SectionInfo) -> Result<Vec<u64>> {
    let loaded = segment.block(section, 0)?;
    let block = loaded.block();
    let revision = |index| block.entry(index).map(|entry| entry.meta.revision.0);
    (0..block.count())
        .map(revision)
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| segment.corrupt(loaded.at as u64, error))
}
