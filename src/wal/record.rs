//! Building records in a buffer that is kept from group to group: no allocation on the commit path once it has grown.

use crate::codec::put_varint;
use crate::entry::Flags;
use crate::number::{BucketId, Revision};
use crate::wal::change::patch_flags;
use crate::wal::format::{
    PAYLOAD_LEN_MAX, RECORD_ALIGNMENT, RECORD_HEADER_LEN, RecordFields, RecordHeader, RecordKind, Seed, record_len,
};

/// Builds one group after the other: `begin`, `push_table`, `push` for each caller's changes, `finish`.
#[derive(Debug, Default)]
pub(crate) struct RecordWriter {
    buffer: Vec<u8>,
}

impl RecordWriter {
    pub(crate) const fn new() -> Self {
        Self { buffer: Vec::new() }
    }

    /// Starts a group; one that was begun and not finished is forgotten.
    pub(crate) fn begin(&mut self) {
        // What is in the place of the header is overwritten by `finish`.
        self.buffer.resize(RECORD_HEADER_LEN, 0);
    }

    /// Appends the table: per bucket, ids ascending, its first revision in this group and how many it takes. Buckets that take
    /// none are left out.
    pub(crate) fn push_table(&mut self, rows: &[(BucketId, Revision, u64)]) {
        assert!(rows.is_sorted_by(|left, right| left.0 < right.0), "the table is in the order of bucket ids");
        let taking = || rows.iter().filter(|row| row.2 != 0);
        put_varint(&mut self.buffer, taking().count() as u64);
        for (id, first, count) in taking() {
            put_varint(&mut self.buffer, id.0);
            put_varint(&mut self.buffer, first.0);
            put_varint(&mut self.buffer, *count);
        }
    }

    /// Appends encoded changes.
    pub(crate) fn push(&mut self, encoded: &[u8]) {
        self.buffer.extend_from_slice(encoded);
    }

    /// Appends one encoded entry with these flags.
    pub(crate) fn push_entry(&mut self, encoded: &[u8], flags: Flags) {
        let at = self.buffer.len();
        self.buffer.extend_from_slice(encoded);
        let is_entry = patch_flags(&mut self.buffer, at, flags);
        debug_assert!(is_entry, "only entries have flags");
    }

    /// The length that the record has so far, padding included.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        record_len(self.payload_len())
    }

    /// Completes the group: header, payload, padding, ready to be appended; and the chain value for the record after it.
    pub(crate) fn finish(&mut self, seed: Seed, fields: &RecordFields) -> (&[u8], u32) {
        let payload_len = self.payload_len();
        assert!(payload_len <= PAYLOAD_LEN_MAX, "a group is bounded before it is encoded");
        assert!(fields.durable_mark < fields.first_commit, "what is not written yet is not durable");
        assert!(fields.change_count > 0, "a group has changes");
        let payload_crc = seed.checksum(&self.buffer[RECORD_HEADER_LEN..]);
        let (header, crc) = RecordHeader::encode(seed, RecordKind::Group, fields, payload_len as u32, payload_crc);
        self.buffer[..RECORD_HEADER_LEN].copy_from_slice(&header);
        self.buffer.resize(record_len(payload_len), 0);
        debug_assert!(self.buffer.len().is_multiple_of(RECORD_ALIGNMENT));
        (&self.buffer, crc)
    }

    /// Gives memory back if one large group has made the buffer longer than `capacity`.
    pub(crate) fn shrink(&mut self, capacity: usize) {
        self.buffer.clear();
        self.buffer.shrink_to(capacity);
    }

    fn payload_len(&self) -> usize {
        self.buffer.len().saturating_sub(RECORD_HEADER_LEN)
    }
}

/// The record that ends a file, and the chain value for the first record of the file after it.
pub(crate) fn seal_record(seed: Seed, fields: &RecordFields) -> ([u8; RECORD_HEADER_LEN], u32) {
    assert!(fields.durable_mark < fields.first_commit, "what is not written yet is not durable");
    assert!(fields.change_count == 0, "a seal has no changes");
    RecordHeader::encode(seed, RecordKind::Seal, fields, 0, seed.checksum(&[]))
}
