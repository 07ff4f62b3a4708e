//! What a bucket is and holds, as handles tell it.

use crate::config::BucketConfig;
use crate::engine::{Counts, Estimate};
use crate::number::{CommitNumber, Revision};

/// What a bucket is and holds at one commit, exactly; see [`Bucket::status`](crate::Bucket::status).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BucketStatus {
    /// Its configuration.
    pub config: BucketConfig,
    /// The newest commit that is counted.
    pub as_of: CommitNumber,
    /// The revision of its newest entry, or of the last one that it ever had; [`Revision::NONE`] if it never had any.
    pub last_revision: Revision,
    /// The lowest revision that is retained; [`Revision::NONE`] if none is.
    pub first_revision: Revision,
    /// How many keys hold a value.
    pub live_keys: u64,
    /// How many entries are retained: values and markers, history included.
    pub values: u64,
    /// Bytes of what is retained: key + value + 32 for each entry.
    pub bytes: u64,
}

/// What a bucket holds, as far as that is known without reading it; see [`Bucket::estimate`](crate::Bucket::estimate).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BucketEstimate {
    /// The revision of its newest entry, or of the last one that it ever had; [`Revision::NONE`] if it never had any.
    pub last_revision: Revision,
    /// Everything up to this revision went with the last purge of the whole bucket.
    pub floor: Revision,
    /// How many entries of it the segment files hold: what retention has removed and no merge has dropped yet is counted, what is still
    /// in memory is not.
    pub entries: u64,
    /// Bytes that they take in the files, after compression and with indexes.
    pub file_bytes: u64,
}

impl BucketStatus {
    pub(crate) fn new(counts: Counts) -> Self {
        let Counts { spec, as_of, last_revision, first_revision, live_keys, entries, bytes } = counts;
        let config = BucketConfig::from_spec(spec);
        Self { config, as_of, last_revision, first_revision, live_keys, values: entries, bytes }
    }
}

impl BucketEstimate {
    pub(crate) const fn new(estimate: Estimate) -> Self {
        let Estimate { last_revision, floor, entries, file_bytes } = estimate;
        Self { last_revision, floor, entries, file_bytes }
    }
}
