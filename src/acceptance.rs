//! Whether the leader may decide a condition on what a caller has read before it joined the queue (E2).
//!
//! Reading under the commit lock would make every conditional write wait for a file. So the caller reads first, and the leader
//! only asks whether what was read, together with what the memtables hold of later commits, is still the truth. If not, the
//! member goes back to its caller and reads again.
//!
//! Pure, and about one key. After an accepted pre-read the leader probes the memtables of the current view for the key's newest
//! entry with a commit number above [`PreRead::at`]: that entry is the state if there is one, else [`PreRead::found`] is. A
//! dropped entry met by the probe is no state of its own: it takes the marker that was found, or leaves it.

use crate::number::{CommitNumber, Revision};

/// What a caller read of a key, and as of when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PreRead {
    /// The `visible` that the reader took from its view.
    pub(crate) at: CommitNumber,
    pub(crate) found: Found,
}

/// The newest entry of a key as a reader found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// None that counts, and none that has expired.
    Nothing,
    /// The newest one has expired. Time does not run backwards, so it stays so; what is written next rolls it up (E6).
    Expired,
    /// The newest one has this revision and has expired, and its marker is still to be committed. So it stays until that is done.
    Due { revision: Revision },
    /// One that counted when it was read.
    Entry {
        revision: Revision,
        is_value: bool,
        /// Store time from which on it is expired, by its own time to live or the bucket's, whichever is first; 0 = none.
        deadline: u64,
    },
}

impl Found {
    /// The revision of the newest entry that is there; `NONE` if there is none.
    pub(crate) const fn revision(self) -> Revision {
        match self {
            Self::Nothing | Self::Expired => Revision::NONE,
            Self::Due { revision } | Self::Entry { revision, .. } => revision,
        }
    }
}

/// What the leader knows when it decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Present {
    /// The bucket's last change without an entry: configuration, era, purge of all.
    pub(crate) bucket_last_change: CommitNumber,
    /// The first commit number that the oldest memtable of the current view may hold.
    pub(crate) oldest_memtable_first: CommitNumber,
    /// The group's store time.
    pub(crate) now: u64,
}

/// Whether the pre-read together with a probe of the memtables is the truth at `present`.
pub(crate) fn accept(pre_read: &PreRead, present: &Present) -> bool {
    is_bucket_unchanged(pre_read, present)
        && is_still_unexpired(pre_read, present)
        && are_later_commits_in_memtables(pre_read, present)
}

/// What the probe cannot see because it is no entry.
fn is_bucket_unchanged(pre_read: &PreRead, present: &Present) -> bool {
    present.bucket_last_change <= pre_read.at
}

/// What no commit announces. At its exact deadline an entry is gone.
fn is_still_unexpired(pre_read: &PreRead, present: &Present) -> bool {
    match pre_read.found {
        Found::Entry { deadline, .. } => deadline == 0 || present.now < deadline,
        Found::Nothing | Found::Expired | Found::Due { .. } => true,
    }
}

/// What a flush has taken out of the probe's reach. Commit numbers may have gaps, so the first memtable need not hold the very
/// next one.
fn are_later_commits_in_memtables(pre_read: &PreRead, present: &Present) -> bool {
    present.oldest_memtable_first <= pre_read.at.next()
}

#[cfg(test)]
mod tests;
