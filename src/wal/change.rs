//! The payload of a group: which buckets took which revisions, then the changes in commit order.
//!
//! Callers encode their changes before they join the commit queue, outside any lock; so nothing in a change depends on what
//! only the leader knows. Commit numbers, revisions and the time of commit are implied by the record's header and table, a time
//! to live is kept as a span, and the flags, which the leader may still change, lie at a fixed place ([`patch_flags`]).
//!
//! The table: varint count of buckets; for each, ids ascending: varint id, varint first revision, varint how many it took (at
//! least 1). Then as many changes as the header counts, each taking one commit number. A change is a byte that says what it is,
//! and
//!
//! | kind | what | fields |
//! |---|---|---|
//! | 1 | entry | u8 fields, u16 flags, varints bucket, key length, value length, those that `fields` names; key, value |
//! | 2 | create bucket | varint id, specification |
//! | 3 | edit bucket | varint id, specification |
//! | 4 | delete bucket | varint id |
//! | 5 | purge all | varint id, varint last revision that goes |
//! | 6 | sweep cursor | varint id, varint deadline, varint revision |
//! | 7 | clock | varint wall time, varint store time |
//!
//! `fields` says which varints follow the lengths, in this order: bit 0 time to live (not 0), bit 1 origin (not 0), bit 2
//! revision. An entry's revision is its bucket's first one in this record and one more for each entry of that bucket before it;
//! only dropped entries carry theirs, and take none. Markers and dropped entries have no value. The bits of `flags` that only
//! compaction sets (trimmed, stub) are not valid here.
//!
//! Counts agree exactly: with the table, with the header, and with the length of the payload. Everything has one encoding only.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use std::path::Path;

use crate::codec::{DecodeError, Reader, put_varint};
use crate::entry::{Flags, Meta};
use crate::error::Result;
use crate::key::KEY_LEN_MAX;
use crate::number::{BucketId, CommitNumber, Revision};
use crate::spec::{BucketSpec, ClockPair};
use crate::wal::format::{FormatError, RecordHeader};

const KIND_ENTRY: u8 = 1;
const KIND_CREATE_BUCKET: u8 = 2;
const KIND_EDIT_BUCKET: u8 = 3;
const KIND_DELETE_BUCKET: u8 = 4;
const KIND_PURGE_ALL: u8 = 5;
const KIND_SWEEP_CURSOR: u8 = 6;
const KIND_CLOCK: u8 = 7;

const FIELD_TTL: u8 = 1;
const FIELD_ORIGIN: u8 = 1 << 1;
const FIELD_REVISION: u8 = 1 << 2;
const FIELDS_KNOWN: u8 = FIELD_TTL | FIELD_ORIGIN | FIELD_REVISION;

/// One change of a group, as replay hands it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    Entry { bucket: BucketId, key: &'a [u8], meta: Meta, value: &'a [u8] },
    CreateBucket { id: BucketId, spec: BucketSpec },
    EditBucket { id: BucketId, spec: BucketSpec, now: u64 },
    DeleteBucket { id: BucketId },
    PurgeAll { id: BucketId, through: Revision },
    SweepCursor { id: BucketId, deadline: u64, revision: Revision },
    Clock(ClockPair),
}

/// An entry as it goes into the log, before it has numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryFields<'a> {
    pub(crate) bucket: BucketId,
    pub(crate) flags: Flags,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    /// Nanoseconds from its commit. A time to live of 0 is kept as 1: over at once either way.
    pub(crate) ttl: Option<u64>,
    /// `Revision::NONE` for an entry that was written here.
    pub(crate) origin: Revision,
    /// Only of a dropped entry; ignored in others.
    pub(crate) revision: Revision,
}

/// Appends an entry to `out`, which needs no more than that the changes of one caller lie one after the other.
#[inline]
pub(crate) fn encode_entry(out: &mut Vec<u8>, entry: &EntryFields<'_>) {
    let dropped = entry.flags.is_dropped();
    debug_assert!(entry.flags.is_put() || entry.value.is_empty(), "only a put has a value");
    debug_assert!(!entry.flags.has(Flags::TRIMMED) && !entry.flags.has(Flags::STUB), "only compaction sets these");
    debug_assert!(!dropped || (entry.ttl.is_none() && entry.origin == Revision::NONE), "a dropped entry has neither");
    let mut fields = 0;
    if entry.ttl.is_some() {
        fields |= FIELD_TTL;
    }
    if entry.origin != Revision::NONE {
        fields |= FIELD_ORIGIN;
    }
    if dropped {
        fields |= FIELD_REVISION;
    }
    out.extend_from_slice(&[KIND_ENTRY, fields]);
    out.extend_from_slice(&flag_bytes(entry.flags));
    put_varint(out, entry.bucket.0);
    put_varint(out, entry.key.len() as u64);
    put_varint(out, entry.value.len() as u64);
    if let Some(ttl) = entry.ttl {
        put_varint(out, ttl.max(1));
    }
    if entry.origin != Revision::NONE {
        put_varint(out, entry.origin.0);
    }
    if dropped {
        put_varint(out, entry.revision.0);
    }
    out.extend_from_slice(entry.key);
    out.extend_from_slice(entry.value);
}

/// Replaces the flags of the encoded entry that starts at `at`; what it did (put, delete, ...) stays. Answers whether there is
/// one.
#[must_use]
pub(crate) fn patch_flags(encoded: &mut [u8], at: usize, flags: Flags) -> bool {
    let Some((head, _)) = encoded.get_mut(at..).and_then(|entry| entry.split_first_chunk_mut::<4>()) else {
        return false;
    };
    let [kind, fields, ..] = *head;
    let [low, high] = flag_bytes(flags);
    *head = [kind, fields, low, high];
    kind == KIND_ENTRY
}

const fn flag_bytes(flags: Flags) -> [u8; 2] {
    (flags.bits() as u16).to_le_bytes()
}

/// Appends the creation of a bucket.
pub(crate) fn encode_create_bucket(out: &mut Vec<u8>, id: BucketId, spec: &BucketSpec) {
    put_numbers(out, KIND_CREATE_BUCKET, &[id.0]);
    spec.encode(out);
}

/// Appends a change of a bucket's configuration.
pub(crate) fn encode_edit_bucket(out: &mut Vec<u8>, id: BucketId, spec: &BucketSpec) {
    put_numbers(out, KIND_EDIT_BUCKET, &[id.0]);
    spec.encode(out);
}

/// Appends the end of a bucket.
pub(crate) fn encode_delete_bucket(out: &mut Vec<u8>, id: BucketId) {
    put_numbers(out, KIND_DELETE_BUCKET, &[id.0]);
}

/// Appends the removal of everything in a bucket up to a revision.
pub(crate) fn encode_purge_all(out: &mut Vec<u8>, id: BucketId, through: Revision) {
    put_numbers(out, KIND_PURGE_ALL, &[id.0, through.0]);
}

/// Appends how far expiry has got in a bucket.
pub(crate) fn encode_sweep_cursor(out: &mut Vec<u8>, id: BucketId, deadline: u64, revision: Revision) {
    put_numbers(out, KIND_SWEEP_CURSOR, &[id.0, deadline, revision.0]);
}

/// Appends a reading of both clocks.
pub(crate) fn encode_clock(out: &mut Vec<u8>, clock: ClockPair) {
    put_numbers(out, KIND_CLOCK, &[clock.wall, clock.store]);
}

fn put_numbers(out: &mut Vec<u8>, kind: u8, numbers: &[u64]) {
    out.push(kind);
    for number in numbers {
        put_varint(out, *number);
    }
}

/// One bucket of a record's table, and how far it has been used up.
#[derive(Clone, Copy, Debug)]
struct Row {
    id: BucketId,
    next: Revision,
    left: u64,
}

/// The changes of one group, with their commit numbers, in order. After an error there are no more.
#[derive(Debug)]
pub(crate) struct Changes<'a> {
    reader: Reader<'a>,
    table: Vec<Row>,
    /// The row of the last entry: most groups are of one bucket.
    row: usize,
    now: u64,
    next_commit: CommitNumber,
    left: u32,
    ended: bool,
    file: &'a Path,
    /// Where in `file` the payload starts.
    offset: u64,
}

impl<'a> Changes<'a> {
    /// Where the changes lie, for errors: the file, and the offset of the payload.
    pub(crate) const fn place(&self) -> (&'a Path, u64) {
        (self.file, self.offset)
    }

    /// Reads the table of a group whose checksums are right. `file` and `offset` say where `payload` lies, for errors.
    pub(crate) fn new(header: &RecordHeader, payload: &'a [u8], file: &'a Path, offset: u64) -> Result<Self> {
        let mut reader = Reader::new(payload);
        let table = read_table(&mut reader).map_err(|error| FormatError::from(error).at(file, offset))?;
        Ok(Self {
            reader,
            table,
            row: 0,
            now: header.fields.now,
            next_commit: header.fields.first_commit,
            left: header.fields.change_count,
            ended: false,
            file,
            offset,
        })
    }

    fn read(&mut self) -> std::result::Result<Option<(CommitNumber, Change<'a>)>, FormatError> {
        let Some(left) = self.left.checked_sub(1) else {
            self.reader.finish("the end of the group after its last change")?;
            if self.table.iter().any(|row| row.left != 0) {
                return Err(self.reader.error("as many entries as the table counts").into());
            }
            return Ok(None);
        };
        let change = self.change()?;
        let commit = self.next_commit;
        self.left = left;
        self.next_commit = commit.next();
        Ok(Some((commit, change)))
    }

    fn change(&mut self) -> std::result::Result<Change<'a>, FormatError> {
        let at = self.reader;
        let kind = self.reader.u8("a change")?;
        if kind == KIND_ENTRY {
            return self.entry();
        }
        if !(KIND_CREATE_BUCKET..=KIND_CLOCK).contains(&kind) {
            return Err(match kind {
                0 => FormatError::Malformed(at.error("a kind of change other than 0")),
                _ => FormatError::Unknown(at.error("kind of change")),
            });
        }
        let first = self.reader.varint("a bucket id or time")?;
        let id = BucketId(first);
        Ok(match kind {
            KIND_CREATE_BUCKET => Change::CreateBucket { id, spec: BucketSpec::decode(&mut self.reader)? },
            KIND_EDIT_BUCKET => Change::EditBucket { id, spec: BucketSpec::decode(&mut self.reader)?, now: self.now },
            KIND_DELETE_BUCKET => Change::DeleteBucket { id },
            KIND_PURGE_ALL => Change::PurgeAll { id, through: self.revision()? },
            KIND_SWEEP_CURSOR => {
                Change::SweepCursor { id, deadline: self.reader.varint("a deadline")?, revision: self.revision()? }
            }
            _ => Change::Clock(ClockPair { wall: first, store: self.reader.varint("store time")? }),
        })
    }

    fn revision(&mut self) -> std::result::Result<Revision, DecodeError> {
        Ok(Revision(self.reader.varint("a revision")?))
    }

    fn entry(&mut self) -> std::result::Result<Change<'a>, FormatError> {
        let at = self.reader;
        let fields = self.reader.u8("fields of an entry")?;
        if fields & !FIELDS_KNOWN != 0 {
            return Err(FormatError::Unknown(at.error("field of an entry")));
        }
        let at = self.reader;
        let Some(flags) = Flags::from_bits(u64::from(self.reader.u16("flags of an entry")?)) else {
            return Err(FormatError::Unknown(at.error("flag of an entry")));
        };
        if flags.has(Flags::TRIMMED) || flags.has(Flags::STUB) {
            return Err(at.error("flags without those of compaction").into());
        }
        let dropped = flags.is_dropped();
        if dropped != (fields & FIELD_REVISION != 0) || (dropped && fields != FIELD_REVISION) {
            return Err(at.error("a revision in a dropped entry and in no other").into());
        }
        let bucket = BucketId(self.reader.varint("a bucket id")?);
        let key_len = self.reader.varint_max(KEY_LEN_MAX as u64, "a key of at most 4000 bytes")?;
        let value_len = self.reader.varint_max(self.reader.remaining() as u64, "a value inside the record")?;
        if key_len == 0 || (value_len != 0 && !flags.is_put()) {
            return Err(at.error("a key, and a value only in a put").into());
        }
        let ttl = self.optional(fields, FIELD_TTL)?;
        let origin = Revision(self.optional(fields, FIELD_ORIGIN)?);
        let revision = if dropped { self.revision()? } else { self.take_revision(bucket)? };
        let deadline = if ttl == 0 { 0 } else { self.now.saturating_add(ttl) };
        // Both lengths are at most that of the payload, which is in memory, so they fit.
        let key = self.reader.bytes(key_len as usize, "a key")?;
        let value = self.reader.bytes(value_len as usize, "a value")?;
        Ok(Change::Entry { bucket, key, meta: Meta { revision, flags, created: self.now, deadline, origin }, value })
    }

    /// A number that is there if its bit is set, and then is not 0.
    fn optional(&mut self, fields: u8, bit: u8) -> std::result::Result<u64, DecodeError> {
        if fields & bit == 0 {
            return Ok(0);
        }
        let at = self.reader;
        match self.reader.varint("a time to live or origin")? {
            0 => Err(at.error("a time to live or origin other than 0")),
            number => Ok(number),
        }
    }

    fn take_revision(&mut self, bucket: BucketId) -> std::result::Result<Revision, DecodeError> {
        if self.table.get(self.row).is_none_or(|row| row.id != bucket) {
            let found = self.table.binary_search_by_key(&bucket, |row| row.id);
            self.row = found.map_err(|_| self.reader.error("a bucket of the table"))?;
        }
        let error = self.reader.error("no more entries of a bucket than the table counts");
        let row = self.table.get_mut(self.row).filter(|row| row.left != 0).ok_or(error)?;
        let revision = row.next;
        row.next = Revision(revision.0.saturating_add(1));
        row.left = row.left.saturating_sub(1);
        Ok(revision)
    }
}

impl<'a> Iterator for Changes<'a> {
    type Item = Result<(CommitNumber, Change<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let read = self.read().map_err(|error| error.at(self.file, self.offset)).transpose();
        self.ended = !matches!(read, Some(Ok(_)));
        read
    }
}

fn read_table(reader: &mut Reader<'_>) -> std::result::Result<Vec<Row>, DecodeError> {
    let count = reader.varint_max(reader.remaining() as u64, "a count of buckets inside the record")?;
    // A row takes at least three bytes, so the table never grows past the payload's length in rows, whatever the count says.
    let mut table: Vec<Row> = Vec::new();
    for _ in 0..count {
        let at = *reader;
        let id = BucketId(reader.varint("a bucket id")?);
        let next = Revision(reader.varint("a first revision")?);
        let left = reader.varint("a count of revisions")?;
        if table.last().is_some_and(|row| row.id >= id) {
            return Err(at.error("bucket ids in ascending order"));
        }
        if next == Revision::NONE || left == 0 || next.0.checked_add(left).is_none() {
            return Err(at.error("a range of revisions from 1 on"));
        }
        table.push(Row { id, next, left });
    }
    Ok(table)
}
