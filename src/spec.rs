//! What a bucket is configured to be, as plain values: the form that the log and the manifest store.
//!
//! [`BucketConfig`](crate::BucketConfig) checks and explains; this module only holds, encodes and decodes.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use crate::codec::{DecodeError, Reader, put_prefixed, put_varint};
use crate::key::BUCKET_NAME_LEN_MAX;
use crate::number::{CommitNumber, Revision};

/// The deepest history that a bucket can keep, as in the model.
pub(crate) const HISTORY_MAX: u8 = 64;
/// Blocks are compressed with Zstandard.
pub(crate) const COMPRESSION_ZSTD: u8 = 1;
/// Descriptions and metadata are kept in memory and in every manifest, so they are bounded: bytes of all keys and values together.
pub(crate) const ANNOTATION_BYTES_MAX: usize = 16 * 1024;

/// A bucket's configuration. Times in nanoseconds; 0 = off, where a limit can be off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BucketSpec {
    pub(crate) name: String,
    pub(crate) history: u8,
    pub(crate) max_age: u64,
    pub(crate) max_bytes: u64,
    pub(crate) max_value_size: u64,
    pub(crate) marker_ttl: u64,
    /// 0 none, 1 zstd; others are reserved.
    pub(crate) compression: u8,
    pub(crate) description: String,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// A time when a bucket's limits were raised: what was there already stays under the limits of before, so that nothing comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Era {
    /// The commit that raised them.
    pub(crate) commit: CommitNumber,
    /// The bucket's last revision then: entries up to here are judged by this era.
    pub(crate) through: Revision,
    /// At most so many of them per key, counted among themselves.
    pub(crate) depth: u8,
    /// None of them created before this store time; 0 = any age.
    pub(crate) cutoff: u64,
}

/// One moment by both clocks: nanoseconds since 1970 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct ClockPair {
    pub(crate) wall: u64,
    pub(crate) store: u64,
}

impl BucketSpec {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            history: 1,
            max_age: 0,
            max_bytes: 0,
            max_value_size: 0,
            marker_ttl: 0,
            compression: 0,
            description: String::new(),
            metadata: BTreeMap::new(),
        }
    }

    /// An upper bound of the length that [`encode`](Self::encode) appends.
    pub(crate) fn encoded_len_max(&self) -> usize {
        let pairs: usize =
            self.metadata.iter().map(|(key, value)| key.len().saturating_add(value.len()).saturating_add(20)).sum();
        self.name.len().saturating_add(self.description.len()).saturating_add(pairs).saturating_add(100)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_prefixed(out, self.name.as_bytes());
        out.push(self.history);
        for number in [self.max_age, self.max_bytes, self.max_value_size, self.marker_ttl] {
            put_varint(out, number);
        }
        out.push(self.compression);
        put_prefixed(out, self.description.as_bytes());
        put_varint(out, self.metadata.len() as u64);
        for (key, value) in &self.metadata {
            put_prefixed(out, key.as_bytes());
            put_prefixed(out, value.as_bytes());
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut spec = Self::new(text(reader, BUCKET_NAME_LEN_MAX, "bucket name")?);
        spec.history = reader.u8("history depth")?;
        if !(1..=HISTORY_MAX).contains(&spec.history) {
            return Err(reader.error("history depth outside 1..=64"));
        }
        spec.max_age = reader.varint("max_age")?;
        spec.max_bytes = reader.varint("max_bytes")?;
        spec.max_value_size = reader.varint("max_value_size")?;
        spec.marker_ttl = reader.varint("marker time to live")?;
        spec.compression = reader.u8("compression")?;
        if spec.compression > COMPRESSION_ZSTD {
            return Err(reader.error("unknown compression"));
        }
        spec.description = text(reader, ANNOTATION_BYTES_MAX, "description")?;
        let count = reader.varint_max(ANNOTATION_BYTES_MAX as u64, "count of metadata")?;
        for _ in 0..count {
            let key = text(reader, ANNOTATION_BYTES_MAX, "metadata key")?;
            let value = text(reader, ANNOTATION_BYTES_MAX, "metadata value")?;
            if spec.metadata.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(reader.error("metadata keys in order"));
            }
            spec.metadata.insert(key, value);
        }
        Ok(spec)
    }
}

fn text(reader: &mut Reader<'_>, max: usize, what: &'static str) -> Result<String, DecodeError> {
    let error = reader.error(what);
    std::str::from_utf8(reader.prefixed(max, what)?).map(str::to_owned).map_err(|_| error)
}
