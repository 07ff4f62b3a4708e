//! What only the leader of a commit group touches: the log file, the next numbers, the buckets as they will be after the group.
//!
//! It lives behind one lock that is held for a whole group; who holds it, leads. Readers see nothing of it: what becomes visible goes
//! through the view.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::request::{Answer, Request};
use crate::entry::Flags;
use crate::env::sync::AtomicU64;
use crate::error::Result;
use crate::manifest::BucketState;
use crate::number::{BucketId, CommitNumber, Revision};
use crate::wal::{self, LogFile, RecordWriter};

/// What only the leader touches.
#[derive(Debug)]
pub(super) struct Leader {
    pub(super) log: LogFile,
    /// Header checksum of the newest record.
    pub(super) chain: u32,
    /// A write failed and the file was sealed behind its last good record: take another before the next record.
    pub(super) log_ended: bool,
    pub(super) record: RecordWriter,
    /// The next commit number.
    pub(super) next: CommitNumber,
    pub(super) next_bucket: BucketId,
    pub(super) buckets: BTreeMap<BucketId, Live>,
    pub(super) names: HashMap<String, BucketId>,
    /// Some bucket has or had a limit of age or entries with deadlines, so readers ask what time it is (E16).
    pub(super) time_matters: bool,
    /// Memory that is kept from group to group.
    pub(super) draft: Draft,
    pub(super) answers: Vec<Result<Answer>>,
}

/// A bucket as the leader knows it: `last_revision` of its state is the newest that was given out.
#[derive(Debug)]
pub(super) struct Live {
    /// Shared with what was sealed since it last changed.
    pub(super) state: Arc<BucketState>,
    pub(super) published: Arc<AtomicU64>,
    /// The newest commit that touched it.
    pub(super) last_commit: CommitNumber,
    /// Not before this store time does any entry expire that its size counts.
    pub(super) next_expiry: u64,
}

/// What a group is going to be, as far as it was judged.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Per bucket: its first revision in this group, and how many it takes. In the order in which they came.
    pub(super) table: Vec<(BucketId, Revision, u64)>,
    /// One per operation that is written, in order.
    pub(super) changes: Vec<Numbered>,
    /// By how much the size of a bucket changes.
    pub(super) growth: Vec<(BucketId, i64)>,
    /// Which members take part.
    pub(super) accepted: Vec<usize>,
    /// Bytes of log, about.
    pub(super) len: usize,
}

/// What the leader decided of one operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbered {
    /// The member, and its operation.
    pub(super) member: usize,
    pub(super) op: usize,
    pub(super) revision: Revision,
    pub(super) flags: Flags,
}

impl Draft {
    pub(super) fn clear(&mut self) {
        self.table.clear();
        self.changes.clear();
        self.growth.clear();
        self.accepted.clear();
        self.len = 0;
    }

    /// The revision after those that were given out in this group so far; `last` is the bucket's last one before it.
    pub(super) fn next_revision(&self, bucket: BucketId, last: Revision) -> Revision {
        let taken = self.table.iter().find(|row| row.0 == bucket).map_or(0, |row| row.2);
        Revision(last.0 + 1 + taken)
    }

    /// Gives out the bucket's next revision.
    pub(super) fn take_revision(&mut self, bucket: BucketId, last: Revision) -> Revision {
        let next = Revision(last.0 + 1);
        match self.table.iter_mut().find(|row| row.0 == bucket) {
            Some(row) => {
                row.2 += 1;
                Revision(row.1.0 + row.2 - 1)
            }
            None => {
                self.table.push((bucket, next, 1));
                next
            }
        }
    }

    pub(super) fn growth_of(&self, bucket: BucketId) -> i64 {
        self.growth.iter().find(|row| row.0 == bucket).map_or(0, |row| row.1)
    }

    pub(super) fn grow(&mut self, bucket: BucketId, by: i64) {
        match self.growth.iter_mut().find(|row| row.0 == bucket) {
            Some(row) => row.1 += by,
            None => self.growth.push((bucket, by)),
        }
    }
}

impl Leader {
    pub(super) fn find(&self, name: &str) -> Option<BucketId> {
        self.names.get(name).copied()
    }

    /// Step 4 for writes: the revisions of the draft are given out, and the group's entries are collected in `record`.
    pub(super) fn number(&mut self, group: &[&Request]) {
        let Self { draft, record, buckets, .. } = self;
        for (bucket, first, count) in &draft.table {
            let live = buckets.get_mut(bucket).expect("judged in this group");
            Arc::make_mut(&mut live.state).last_revision = Revision(first.0 + count - 1);
        }
        draft.table.sort_unstable_by_key(|row| row.0);
        record.begin();
        record.push_table(&draft.table);
        for change in &draft.changes {
            let Request::Write(write) = group[change.member] else { unreachable!("only writes have operations") };
            let op = &write.ops.as_slice()[change.op];
            record.push_entry(op.record(write), change.flags);
        }
    }

    /// Step 4 for a change that is not an entry; rare, so it is encoded here.
    pub(super) fn number_change(&mut self, request: &Request) {
        let mut encoded = Vec::new();
        match request {
            Request::CreateBucket(spec) => wal::encode_create_bucket(&mut encoded, self.next_bucket, spec),
            Request::EditBucket(id, spec) => wal::encode_edit_bucket(&mut encoded, *id, spec),
            Request::DeleteBucket(name) => {
                wal::encode_delete_bucket(&mut encoded, self.find(name).expect("judged in this group"));
            }
            Request::PurgeAll(id) => {
                let live = self.buckets.get(id).expect("judged in this group");
                wal::encode_purge_all(&mut encoded, *id, live.state.last_revision);
            }
            Request::Clock(pair) => wal::encode_clock(&mut encoded, *pair),
            Request::Write(_) | Request::Settle(_) => unreachable!("a write has entries, and a count is not logged"),
        }
        self.record.begin();
        self.record.push_table(&[]);
        self.record.push(&encoded);
    }
}
