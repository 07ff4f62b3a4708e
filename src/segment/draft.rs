//! A block while it is filled. What entries share (prefix, lowest revision and time, widths) is known only at its end, so it keeps them
//! apart until then. The one encoder of what `block` decodes.

use super::block::zigzag;
use super::compression::Compressor;
use super::fences::Zone;
use super::format::{
    BLOCK_CHECKSUM_LEN, BLOCK_HEADER_LEN, COMPRESSED_BLOCK_LEN_MAX, FLAGS_SHIFT, HAS_DEADLINE, HAS_ORIGIN, HEAD_LEN,
    PREFIX_LEN_MAX, RECORD_LEN, head_of, shared_len,
};
use crate::checksum::Running;
use crate::codec::put_varint;
use crate::entry::Meta;
use crate::number::Revision;
use crate::spec::COMPRESSION_ZSTD;

/// About what the length, flags, revision and time of an entry take.
const FIELDS_LEN: usize = 12;

/// Entries that become one block.
#[derive(Debug, Default)]
pub(super) struct BlockDraft {
    keys: Vec<u8>,
    key_ends: Vec<usize>,
    metas: Vec<Meta>,
    values: Vec<u8>,
    value_ends: Vec<usize>,
    /// How much the keys so far share, as far as a prefix may go; only ever shrinks.
    shared_len: usize,
}

impl BlockDraft {
    pub(super) fn is_empty(&self) -> bool {
        self.metas.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.metas.len()
    }

    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.key_ends.clear();
        self.metas.clear();
        self.values.clear();
        self.value_ends.clear();
    }

    pub(super) fn push(&mut self, key: &[u8], meta: &Meta, value: &[u8]) {
        self.shared_len = self.shared_len_with(key);
        self.keys.extend_from_slice(key);
        self.key_ends.push(self.keys.len());
        self.metas.push(*meta);
        self.values.extend_from_slice(value);
        self.value_ends.push(self.values.len());
    }

    pub(super) fn first_key(&self) -> &[u8] {
        self.key(0)
    }

    /// The key of the last entry.
    pub(super) fn last_key(&self) -> &[u8] {
        self.key(self.metas.len() - 1)
    }

    /// About how long the block is, with one more entry if there is one.
    pub(super) fn len_with(&self, more: Option<(&[u8], &[u8])>) -> usize {
        let (key, value) = more.unwrap_or_default();
        let shared_len = if more.is_some() { self.shared_len_with(key) } else { self.shared_len };
        let count = self.metas.len() + usize::from(more.is_some());
        let tails = (self.keys.len() + key.len()).saturating_sub(count * (shared_len + HEAD_LEN));
        BLOCK_HEADER_LEN + shared_len + count * (RECORD_LEN + FIELDS_LEN) + tails + self.values.len() + value.len()
    }

    /// The zone map of the entries so far.
    pub(super) fn zone(&self) -> Zone {
        let revisions = || self.metas.iter().map(|meta| meta.revision);
        let markers = self.metas.iter().filter(|meta| !meta.flags.is_put() && !meta.flags.is_dropped()).count();
        Zone {
            first_revision: revisions().min().unwrap_or_default(),
            last_revision: revisions().max().unwrap_or_default(),
            entries: self.metas.len() as u16,
            puts: self.metas.iter().filter(|meta| meta.flags.is_put()).count() as u16,
            markers: markers as u16,
        }
    }

    /// Appends the block to `out`, without `rest`, which is the end of the last entry's value and follows in the file. Answers its checksum.
    pub(super) fn encode(&self, seed: u64, rest: &[u8], compressor: Option<&mut Compressor>, out: &mut Vec<u8>) -> u32 {
        assert!(!self.is_empty(), "a block has an entry");
        let at = out.len();
        out.resize(at + BLOCK_HEADER_LEN, 0);
        let widths = self.encode_body(at, out);
        // The builder refuses values that could make a block longer than its 32-bit length says.
        let len = u32::try_from(out.len() - at + rest.len()).expect("a value is at most VALUE_LEN_MAX");
        let compressed = compressor.filter(|_| rest.is_empty()).is_some_and(|compressor| compress(compressor, at, out));
        let stored_len = if compressed { (out.len() - at) as u32 } else { len };
        let header = &mut out[at..at + BLOCK_HEADER_LEN];
        header[4..8].copy_from_slice(&stored_len.to_le_bytes());
        header[8..12].copy_from_slice(&len.to_le_bytes());
        header[12..14].copy_from_slice(&(self.metas.len() as u16).to_le_bytes());
        header[14] = if compressed { COMPRESSION_ZSTD } else { 0 };
        header[15] = widths.0 | widths.1 << 4;
        header[16..24].copy_from_slice(&self.base_revision().to_le_bytes());
        header[24..32].copy_from_slice(&self.base_created().to_le_bytes());
        header[32] = self.shared_len as u8;
        let mut running = Running::new(seed);
        running.update(&out[at + BLOCK_CHECKSUM_LEN..]);
        running.update(rest);
        let sum = running.finish();
        out[at..at + BLOCK_CHECKSUM_LEN].copy_from_slice(&sum.to_le_bytes());
        sum
    }

    /// Appends what stands behind the header that starts at `at`; answers the widths of revisions and times.
    fn encode_body(&self, at: usize, out: &mut Vec<u8>) -> (u8, u8) {
        let (base_revision, base_created) = (self.base_revision(), self.base_created());
        let widest = |number: fn(&Meta) -> u64, base: u64| {
            let most = self.metas.iter().map(|meta| number(meta) - base).max().unwrap_or(0);
            (u64::BITS - most.leading_zeros()).div_ceil(8) as u8
        };
        let widths = (widest(|meta| meta.revision.0, base_revision), widest(|meta| meta.created, base_created));
        let prefix_len = self.shared_len;
        let records_at = out.len();
        out.resize(records_at + self.metas.len() * RECORD_LEN, 0);
        out.extend_from_slice(&self.first_key()[..prefix_len]);
        for (index, meta) in self.metas.iter().enumerate() {
            let start = u16::try_from(out.len() - at).expect("BLOCK_LEN_MAX bounds where an entry that is not the first starts");
            let key = &self.key(index)[prefix_len..];
            let record = &mut out[records_at + index * RECORD_LEN..][..RECORD_LEN];
            record[..HEAD_LEN].copy_from_slice(&head_of(key).to_le_bytes());
            record[HEAD_LEN..].copy_from_slice(&start.to_le_bytes());
            put_varint(out, key.len() as u64);
            let has_deadline = if meta.deadline == 0 { 0 } else { HAS_DEADLINE };
            let has_origin = if meta.origin == Revision::NONE { 0 } else { HAS_ORIGIN };
            put_varint(out, meta.flags.bits() << FLAGS_SHIFT | has_origin | has_deadline);
            out.extend_from_slice(&(meta.revision.0 - base_revision).to_le_bytes()[..usize::from(widths.0)]);
            out.extend_from_slice(&(meta.created - base_created).to_le_bytes()[..usize::from(widths.1)]);
            if has_deadline != 0 {
                put_varint(out, zigzag(meta.deadline.wrapping_sub(meta.created)));
            }
            if has_origin != 0 {
                put_varint(out, meta.origin.0);
            }
            out.extend_from_slice(key.get(HEAD_LEN..).unwrap_or_default());
            out.extend_from_slice(self.value(index));
        }
        widths
    }

    fn base_revision(&self) -> u64 {
        self.metas.iter().map(|meta| meta.revision.0).min().unwrap_or_default()
    }

    fn base_created(&self) -> u64 {
        self.metas.iter().map(|meta| meta.created).min().unwrap_or_default()
    }

    fn shared_len_with(&self, key: &[u8]) -> usize {
        if self.is_empty() { key.len().min(PREFIX_LEN_MAX) } else { shared_len(&self.first_key()[..self.shared_len], key) }
    }

    fn key(&self, index: usize) -> &[u8] {
        range(&self.keys, &self.key_ends, index)
    }

    fn value(&self, index: usize) -> &[u8] {
        range(&self.values, &self.value_ends, index)
    }
}

/// Puts the compressed body in the place of the body of the block at `at`, if it saves enough.
fn compress(compressor: &mut Compressor, at: usize, out: &mut Vec<u8>) -> bool {
    let len = out.len() - at;
    if len > COMPRESSED_BLOCK_LEN_MAX {
        return false;
    }
    let limit = (len - len / 8).saturating_sub(BLOCK_HEADER_LEN);
    let Some(body) = compressor.compress(&out[at + BLOCK_HEADER_LEN..], limit) else { return false };
    out.truncate(at + BLOCK_HEADER_LEN);
    out.extend_from_slice(body);
    true
}

fn range<'a>(bytes: &'a [u8], ends: &[usize], index: usize) -> &'a [u8] {
    let start = if index == 0 { 0 } else { ends[index - 1] };
    &bytes[start..ends[index]]
}
