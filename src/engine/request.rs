//! What a caller asks of the leader, ready for it: checked, encoded, with what was read beforehand.
//!
//! Callers build a [`Request`] outside any lock. A write is one or several [`Op`]s in one buffer; the record that the leader makes of them is
//! a copy of that buffer's parts, so the commit path encodes nothing.

use std::ops::Range;

use super::leader::Numbered;
use crate::acceptance::{Found, PreRead};
use crate::entry::{Flags, Meta, Reason};
use crate::env::sync::AtomicBool;
use crate::manifest::BucketSize;
use crate::number::{BucketId, CommitNumber, Revision};
use crate::spec::{BucketSpec, ClockPair};
use crate::wal::{self, EntryFields};

/// What a bucket takes in the table of a record, at most: three varints, and its share of the count.
const TABLE_ROW_LEN_MAX: usize = 32;

/// What must hold of a key for a write to take place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Nothing.
    None,
    /// It holds no value.
    NoValue,
    /// It holds a value.
    Value,
    /// Its newest entry has this revision; 0 = it has none.
    Revision(Revision),
    /// Its newest entry has this revision and has expired, and the marker that is written is still to come.
    Due(Revision),
}

impl Condition {
    /// Of `delete` and `purge`, where 0 asks for no check, as in the model.
    pub(crate) fn expecting(revision: Revision) -> Self {
        if revision == Revision::NONE { Self::None } else { Self::Revision(revision) }
    }
}

/// What a member of a group wants.
#[derive(Debug)]
pub(super) enum Request {
    Write(Write),
    CreateBucket(BucketSpec),
    EditBucket(BucketId, BucketSpec),
    DeleteBucket(String),
    PurgeAll(BucketId),
    /// What a bucket's entries take, as they were counted at a visible commit. Nothing is logged.
    Settle(Settlement),
    /// The pair of clocks, so that the next open knows how long the store was shut.
    Clock(ClockPair),
}

/// What a caller counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settlement {
    pub(super) bucket: BucketId,
    /// Up to which commit; `None` if the leader is to count itself, because commits kept coming in between.
    pub(super) at: Option<CommitNumber>,
    pub(super) size: BucketSize,
    /// When the first of the counted entries expires; `u64::MAX` = never.
    pub(super) next_expiry: u64,
}

impl Settlement {
    /// The leader is to count.
    pub(super) const fn by_leader(bucket: BucketId) -> Self {
        Self { bucket, at: None, size: BucketSize { bytes: 0, as_of: 0 }, next_expiry: 0 }
    }
}

/// What a member gets back.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// A write of one operation took this revision.
    Written(Revision),
    /// One per operation; `NONE` for a check, and for an operation that was skipped.
    Batch(Vec<Revision>),
    Bucket(BucketId),
    /// Everything up to here went.
    Purged(Revision),
    Done,
    /// What it had read may be out of date: read again and come back.
    ReadAgain,
    /// Whether the bucket is full cannot be told before its entries have been counted.
    Count(BucketId),
    /// The key of this operation has expired with this revision: its marker first.
    Due {
        op: usize,
        revision: Revision,
    },
}

/// How far expiry has been swept in a bucket, to be logged behind the markers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SweptTo {
    pub(crate) bucket: BucketId,
    /// Of deadlines that entries have themselves.
    pub(crate) deadline: u64,
    /// Of the revisions that `max_age` takes.
    pub(crate) revision: Revision,
    /// The commit as of which that was found: it holds only if the bucket was not changed since by what is no entry.
    pub(crate) at: CommitNumber,
}

/// One or several operations, all or none.
#[derive(Debug)]
pub(super) struct Write {
    /// What the operations point into.
    pub(super) bytes: Vec<u8>,
    pub(super) ops: Ops,
    /// Skip an operation whose condition fails, instead of failing.
    pub(super) lenient: bool,
    /// Synced before it is answered, whatever the store's level.
    pub(super) synced: bool,
    /// Nobody else in its group.
    pub(super) alone: bool,
    /// Where nothing was read beforehand, the leader reads.
    pub(super) leader_reads: bool,
    /// The bucket's size was counted for it: if it is full, it is full.
    pub(super) counted: AtomicBool,
    /// Boxed, because few writes have it and all are moved.
    pub(super) swept: Option<Box<SweptTo>>,
}

/// The operations of a write. Almost always there is one, which needs no memory of its own.
#[derive(Debug)]
pub(super) enum Ops {
    One(Op),
    Many(Vec<Op>),
}

/// One change of one key, or a check of it.
#[derive(Debug)]
pub(super) struct Op {
    pub(super) bucket: BucketId,
    pub(super) hash: u64,
    pub(super) flags: Flags,
    pub(super) condition: Condition,
    /// Nanoseconds; 0 = none.
    pub(super) ttl: u64,
    /// The marker that a dropped entry takes or leaves; else 0.
    pub(super) revision: Revision,
    key: Range<usize>,
    value: Range<usize>,
    /// The entry as the log takes it; empty for a check.
    record: Range<usize>,
    pub(super) pre_read: Option<PreRead>,
    /// All stored entries of the key as of the pre-read, newest first, with the lengths of their values; for buckets with `max_bytes`.
    pub(super) stored: Option<Vec<(Meta, u64)>>,
}

/// What a caller wants of one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpFields<'a> {
    pub(crate) bucket: BucketId,
    pub(crate) flags: Flags,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) condition: Condition,
    /// Nanoseconds; 0 = none.
    pub(crate) ttl: u64,
    /// Only of a dropped entry.
    pub(crate) revision: Revision,
    /// Only the condition counts; nothing is written.
    pub(crate) is_check: bool,
}

impl<'a> OpFields<'a> {
    pub(crate) const fn put(bucket: BucketId, key: &'a [u8], value: &'a [u8], condition: Condition) -> Self {
        Self { bucket, flags: Flags::put(), key, value, condition, ttl: 0, revision: Revision::NONE, is_check: false }
    }

    /// The same with more flags.
    #[must_use]
    pub(crate) const fn with_flags(mut self, bits: u16) -> Self {
        self.flags = self.flags.with(bits);
        self
    }

    /// The marker of a key that has expired with this revision.
    pub(crate) const fn expiry_marker(bucket: BucketId, key: &'a [u8], revision: Revision, ttl: u64) -> Self {
        Self { ttl, ..Self::marker(bucket, key, Flags::purge().with_reason(Reason::Expired), Condition::Due(revision)) }
    }

    /// A delete or purge.
    pub(crate) const fn marker(bucket: BucketId, key: &'a [u8], flags: Flags, condition: Condition) -> Self {
        Self { flags, ..Self::put(bucket, key, &[], condition) }
    }
}

impl Ops {
    pub(super) fn as_slice(&self) -> &[Op] {
        match self {
            Self::One(op) => std::slice::from_ref(op),
            Self::Many(ops) => ops,
        }
    }
}

impl Op {
    /// Appends the operation's bytes to `bytes`.
    pub(super) fn encode(bytes: &mut Vec<u8>, fields: &OpFields<'_>, hash: u64) -> Self {
        let start = bytes.len();
        let OpFields { bucket, flags, key, value, condition, ttl, revision, is_check } = *fields;
        if is_check {
            bytes.extend_from_slice(key);
        } else {
            let ttl = (ttl > 0).then_some(ttl);
            wal::encode_entry(bytes, &EntryFields { bucket, flags, key, value, ttl, origin: Revision::NONE, revision });
        }
        let end = bytes.len();
        let value_at = end - if is_check { 0 } else { value.len() };
        Self {
            bucket,
            hash,
            flags,
            condition,
            ttl,
            revision,
            key: value_at - key.len()..value_at,
            value: value_at..end,
            record: if is_check { start..start } else { start..end },
            pre_read: None,
            stored: None,
        }
    }

    /// What its entry is, committed at store time `now` as the leader decided.
    pub(super) fn meta(&self, change: &Numbered, now: u64) -> Meta {
        let deadline = if self.ttl == 0 { 0 } else { now.saturating_add(self.ttl) };
        Meta { revision: change.revision, flags: change.flags, created: now, deadline, origin: Revision::NONE }
    }

    pub(super) fn is_check(&self) -> bool {
        self.record.is_empty()
    }

    pub(super) fn key<'w>(&self, write: &'w Write) -> &'w [u8] {
        &write.bytes[self.key.clone()]
    }

    pub(super) fn value<'w>(&self, write: &'w Write) -> &'w [u8] {
        &write.bytes[self.value.clone()]
    }

    pub(super) fn record<'w>(&self, write: &'w Write) -> &'w [u8] {
        &write.bytes[self.record.clone()]
    }

    /// The revision with which its key has expired, where that was found beforehand and a marker must come first.
    pub(super) fn due(&self) -> Option<Revision> {
        match (self.condition, self.pre_read) {
            (Condition::Due(_), _) => None,
            (_, Some(PreRead { found: Found::Due { revision }, .. })) => Some(revision),
            _ => None,
        }
    }

    pub(super) fn value_len(&self) -> u64 {
        self.value.len() as u64
    }

    /// Whether it takes a revision.
    pub(super) fn takes_revision(&self) -> bool {
        !self.is_check() && !self.flags.is_dropped()
    }
}

impl Request {
    /// Bytes of log that it takes, about.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Write(write) => write.bytes.len() + (write.ops.as_slice().len() + 1) * TABLE_ROW_LEN_MAX,
            Self::CreateBucket(spec) | Self::EditBucket(_, spec) => spec.encoded_len_max() + TABLE_ROW_LEN_MAX,
            Self::DeleteBucket(_) | Self::PurgeAll(_) | Self::Settle(_) | Self::Clock(_) => 2 * TABLE_ROW_LEN_MAX,
        }
    }

    /// Whether it is committed in a group of its own.
    pub(super) const fn is_alone(&self) -> bool {
        match self {
            Self::Write(write) => write.alone,
            _ => true,
        }
    }
}
