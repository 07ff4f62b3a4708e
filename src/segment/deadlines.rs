//! What of a section has expired by its entries' own deadlines: what makes a merge worth it.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use super::cursor::Cursor;
use super::reader::Segment;
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
    /// Of the entries of `bucket`, those with a deadline of their own at or before `now`.
    #[allow(dead_code, reason = "merges that pick by expiry ask for it")]
    pub(crate) fn expired(self: &Arc<Self>, bucket: BucketId, now: u64) -> Result<Expired> {
        let section = self.section_index(bucket).and_then(|index| self.sections().get(index));
        let Some(section) = section.filter(|section| section.deadlines > 0 && section.first_deadline <= now) else {
            return Ok(Expired::default());
        };
        let mut entries = 0_u64;
        let mut cursor = Cursor::new(Arc::clone(self), bucket);
        cursor.seek_first()?;
        while let Some(entry) = cursor.entry() {
            entries = entries.saturating_add(u64::from(entry.meta.deadline != 0 && entry.meta.deadline <= now));
            cursor.next()?;
        }
        let share = u128::from(section.bytes).saturating_mul(u128::from(entries)).checked_div(u128::from(section.entries));
        Ok(Expired { entries, bytes: share.unwrap_or(0) as u64 })
    }
}
