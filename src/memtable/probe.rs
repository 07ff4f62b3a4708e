//! A key as the order sees it: its bucket and its bytes as one string, of which eight bytes at a time are compared as a number.
//!
//! The string is the number of bytes of the bucket's identity, these bytes from the highest on, the key. Its order is that of bucket, then
//! key.

use std::cmp::Ordering;

use super::arena::At;
use super::entries::Entries;
use crate::number::BucketId;

const BUCKET_LEN_MAX: usize = 9;

/// A key to compare with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe<'a> {
    bucket: BucketId,
    start: [u8; BUCKET_LEN_MAX],
    start_len: usize,
    key: &'a [u8],
}

impl<'a> Probe<'a> {
    pub(super) fn new(bucket: BucketId, key: &'a [u8]) -> Self {
        let bytes = bucket.0.to_be_bytes();
        let len = 8 - bucket.0.leading_zeros() as usize / 8;
        let mut start = [0; BUCKET_LEN_MAX];
        start[0] = len as u8;
        start[1..=len].copy_from_slice(&bytes[8 - len..]);
        Self { bucket, start, start_len: len + 1, key }
    }

    /// The key that lies at this place.
    pub(super) fn at(entries: &'a Entries, at: At) -> Self {
        let key = entries.key(at);
        Self::new(key.bucket(), key.bytes())
    }

    /// Bytes of the whole string.
    pub(super) fn len(&self) -> usize {
        self.start_len + self.key.len()
    }

    /// Eight bytes from `skip` on, with zeroes where it ends, as a number. Of two strings that are the same up to `skip`, the one with the
    /// smaller number comes first; with the same number they have to be compared.
    pub(super) fn head(&self, skip: usize) -> u64 {
        if skip >= self.start_len {
            return be(self.key.get(skip - self.start_len..).unwrap_or_default());
        }
        let start = &self.start[skip..self.start_len];
        be(start) | be(self.key).unbounded_shr(8 * start.len() as u32)
    }

    /// How many bytes both begin with.
    pub(super) fn common_len(&self, other: &Self) -> usize {
        let common = |one: &[u8], other: &[u8]| one.iter().zip(other).take_while(|(one, other)| one == other).count();
        if self.bucket != other.bucket {
            return common(&self.start[..self.start_len], &other.start[..other.start_len]);
        }
        self.start_len + common(self.key, other.key)
    }

    pub(super) fn compare(&self, other: &Self) -> Ordering {
        (self.bucket, self.key).cmp(&(other.bucket, other.key))
    }
}

fn be(bytes: &[u8]) -> u64 {
    let head = bytes.first_chunk::<8>().copied();
    u64::from_be_bytes(head.unwrap_or_else(|| {
        let mut head = [0; 8];
        head[..bytes.len()].copy_from_slice(bytes);
        head
    }))
}
