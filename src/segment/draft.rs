//! A block while it is filled. What entries share (prefix, lowest revision and time) is known only at its end, so it keeps them apart
//! until then. The one encoder of what `block` decodes.

use super::block::zigzag;
use super::fences::Zone;
use super::format::{
    BLOCK_CHECKSUM_LEN, BLOCK_HEADER_LEN, FLAGS_SHIFT, HAS_DEADLINE, HAS_ORIGIN, HEAD_LEN, START_LEN, head_of, shared_len,
};
use crate::checksum::Running;
use crate::codec::put_varint;
use crate::entry::Meta;
use crate::number::Revision;

/// About what the lengths, flags, revision and time of an entry take.
const FIELDS_LEN: usize = 8;

/// Entries that become one block.
#[derive(Debug, Default)]
pub(super) struct BlockDraft {
    keys: Vec<u8>,
    key_ends: Vec<usize>,
    metas: Vec<Meta>,
    values: Vec<u8>,
    value_ends: Vec<usize>,
    /// How much the keys so far share; only ever shrinks.
    shared_len: usize,
}

impl BlockDraft {
    pub(super) fn is_empty(&self) -> bool {
        self.metas.is_empty()
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

    /// About how long the block is, with one more entry if there is one.
    pub(super) fn len_with(&self, more: Option<(&[u8], &[u8])>) -> usize {
        let (key, value) = more.unwrap_or_default();
        let shared_len = if more.is_some() { self.shared_len_with(key) } else { self.shared_len };
        let count = self.metas.len() + usize::from(more.is_some());
        let tails = (self.keys.len() + key.len()).saturating_sub(count * (shared_len + HEAD_LEN));
        BLOCK_HEADER_LEN + shared_len + count * (HEAD_LEN + START_LEN + FIELDS_LEN) + tails + self.values.len() + value.len()
    }

    /// The zone map of the entries so far.
    pub(super) fn zone(&self) -> Zone {
        let revisions = || self.metas.iter().map(|meta| meta.revision);
        let markers = self.metas.iter().filter(|meta| !meta.flags.is_put() && !meta.flags.is_dropped()).count();
        Zone {
            first_revision: revisions().min().unwrap_or_default(),
            last_revision: revisions().max().unwrap_or_default(),
            entries: self.metas.len() as u32,
            puts: self.metas.iter().filter(|meta| meta.flags.is_put()).count() as u32,
            markers: markers as u32,
        }
    }

    /// Appends the block to `out`, without `rest`, which is the end of the last entry's value and follows in the file. Answers the
    /// length of all and the checksum.
    pub(super) fn encode(&self, seed: u64, rest: &[u8], out: &mut Vec<u8>) -> (u32, u32) {
        assert!(!self.is_empty(), "a block has an entry");
        let at = out.len();
        let count = self.metas.len();
        let prefix_len = self.shared_len;
        let base_revision = self.metas.iter().map(|meta| meta.revision).min().unwrap_or(Revision::NONE);
        let base_created = self.metas.iter().map(|meta| meta.created).min().unwrap_or_default();
        out.resize(at + BLOCK_HEADER_LEN, 0);
        out.extend_from_slice(&self.first_key()[..prefix_len]);
        for index in 0..count {
            out.extend_from_slice(&head_of(&self.key(index)[prefix_len..]).to_le_bytes());
        }
        let starts_at = out.len();
        let entries_at = starts_at + count * START_LEN;
        out.resize(entries_at, 0);
        for index in 0..count {
            let start = (out.len() - entries_at) as u32;
            out[starts_at + index * START_LEN..][..START_LEN].copy_from_slice(&start.to_le_bytes());
            let key = &self.key(index)[prefix_len..];
            put_varint(out, key.len() as u64);
            out.extend_from_slice(key.get(HEAD_LEN..).unwrap_or_default());
            encode_meta(&self.metas[index], base_revision, base_created, out);
            out.extend_from_slice(self.value(index));
        }
        // The builder refuses values that could make a block longer than its 32-bit length says.
        let len = u32::try_from(out.len() - at + rest.len()).expect("a value is at most VALUE_LEN_MAX");
        let header = &mut out[at..at + BLOCK_HEADER_LEN];
        header[4..8].copy_from_slice(&len.to_le_bytes());
        header[8..12].copy_from_slice(&len.to_le_bytes());
        header[12..16].copy_from_slice(&(count as u32).to_le_bytes());
        header[18..20].copy_from_slice(&(prefix_len as u16).to_le_bytes());
        header[20..28].copy_from_slice(&base_revision.0.to_le_bytes());
        header[28..36].copy_from_slice(&base_created.to_le_bytes());
        let mut running = Running::new(seed);
        running.update(&out[at + BLOCK_CHECKSUM_LEN..]);
        running.update(rest);
        let sum = running.finish();
        out[at..at + BLOCK_CHECKSUM_LEN].copy_from_slice(&sum.to_le_bytes());
        (len, sum)
    }

    fn shared_len_with(&self, key: &[u8]) -> usize {
        if self.is_empty() { key.len() } else { shared_len(&self.first_key()[..self.shared_len], key) }
    }

    fn key(&self, index: usize) -> &[u8] {
        range(&self.keys, &self.key_ends, index)
    }

    fn value(&self, index: usize) -> &[u8] {
        range(&self.values, &self.value_ends, index)
    }
}

fn range<'a>(bytes: &'a [u8], ends: &[usize], index: usize) -> &'a [u8] {
    let start = if index == 0 { 0 } else { ends[index - 1] };
    &bytes[start..ends[index]]
}

fn encode_meta(meta: &Meta, base_revision: Revision, base_created: u64, out: &mut Vec<u8>) {
    let has_deadline = if meta.deadline == 0 { 0 } else { HAS_DEADLINE };
    let has_origin = if meta.origin == Revision::NONE { 0 } else { HAS_ORIGIN };
    put_varint(out, meta.flags.bits() << FLAGS_SHIFT | has_origin | has_deadline);
    put_varint(out, meta.revision.0 - base_revision.0);
    put_varint(out, meta.created - base_created);
    if has_deadline != 0 {
        put_varint(out, zigzag(meta.deadline.wrapping_sub(meta.created)));
    }
    if has_origin != 0 {
        put_varint(out, meta.origin.0);
    }
}
