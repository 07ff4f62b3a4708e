//! Acceptance.
use crate::number::{CommitNumber, Revision};
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) revision: Revision,
    pub(crate) is_value: bool,
    pub(crate) deadline: u64,
}
#[derive(Clone, Copy, Debug)]
pub(crate) struct PreRead {
    pub(crate) at: CommitNumber,
    pub(crate) found: Option<Found>,
}
pub(crate) fn accept(
    pre_read: &PreRead,
    bucket_last_change: CommitNumber,
    oldest_memtable_first: CommitNumber,
    now: u64,
) -> bool {
    bucket_last_change <= pre_read.at
        && pre_read.found.is_none_or(|found| found.deadline == 0 || found.deadline > now)
        && oldest_memtable_first <= pre_read.at.next()
}
