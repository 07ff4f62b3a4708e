//! What only the leader of a commit group touches: the log file, the next numbers, the buckets as they will be after the group.
//!
//! It lives behind one lock that is held for a whole group; who holds it, leads. Readers see nothing of it: what becomes visible goes
//! through the view.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::request::{Answer, Request, SweptTo};
use crate::entry::Flags;
use crate::error::Result;
use crate::manifest::BucketState;
use crate::memtable::Memtable;
use crate::number::{BucketId, CommitNumber, Revision};
use crate::view::{Revisions, Table};
use crate::wal::{self, LogFile, RecordWriter};

/// Changes of a group whose decisions are kept in memory between groups.
const DRAFT_CHANGES_MAX: usize = 4096;
/// Up to so many buckets of one group are found by looking at each.
const SCANNED_ROWS_MAX: usize = 8;

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
    /// The buckets as they were when a memtable was sealed last, and which of them have changed since.
    pub(super) sealed: Table<BucketId, Arc<BucketState>>,
    pub(super) changed: Vec<BucketId>,
    /// The memtable that is being filled, which is the view's.
    pub(super) active: Arc<Memtable>,
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
    /// Shared with what was sealed since it last changed. Changed through [`Live::change`].
    pub(super) state: Arc<BucketState>,
    /// It has changed since a memtable was sealed last.
    pub(super) is_changed: bool,
    pub(super) revisions: Arc<Revisions>,
    /// The newest commit that touched it.
    pub(super) last_commit: CommitNumber,
    /// Not before this store time does any entry expire that its size counts.
    pub(super) next_expiry: u64,
}

/// What a group is going to be, as far as it was judged.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) rows: Rows,
    /// One per operation that is written, in order.
    pub(super) changes: Vec<Numbered>,
    /// Which members take part.
    pub(super) accepted: Vec<usize>,
    /// Bytes of log, about.
    pub(super) len: usize,
    /// How far expiry has been swept in a bucket: a change of its own, behind all others.
    pub(super) swept: Option<SweptTo>,
}

/// What a group does to each of its buckets, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: Vec<Row>,
    /// Where each bucket's row is, once there are more than a look at each would find at once.
    index: HashMap<BucketId, usize>,
    /// The row that was asked for last.
    last: usize,
}

/// What a group does to one bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) bucket: BucketId,
    /// Its first revision in this group, and how many it takes.
    pub(super) first: Revision,
    pub(super) count: u64,
    /// By how much its size changes.
    pub(super) growth: i64,
}

/// What the leader decided of one operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbered {
    /// The member, and its operation.
    pub(super) member: usize,
    pub(super) op: usize,
    pub(super) revision: Revision,
    pub(super) flags: Flags,
    /// The key's newest revision before, where somebody had to look; `NONE` = it had none.
    pub(super) previous: Option<Revision>,
}

impl Draft {
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.changes.clear();
        self.accepted.clear();
        self.len = 0;
        self.swept = None;
    }

    /// How many commits it takes.
    pub(super) fn commits(&self) -> u64 {
        self.changes.len() as u64 + u64::from(self.swept.is_some())
    }

    /// Gives memory back that one large group has taken.
    pub(super) fn shrink(&mut self) {
        self.clear();
        self.changes.shrink_to(DRAFT_CHANGES_MAX);
        self.accepted.shrink_to(DRAFT_CHANGES_MAX);
    }
}

impl Rows {
    fn clear(&mut self) {
        if self.rows.len() > SCANNED_ROWS_MAX {
            self.index = HashMap::new();
            self.rows.shrink_to(SCANNED_ROWS_MAX);
        }
        self.rows.clear();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter()
    }

    fn find(&self, bucket: BucketId) -> Option<usize> {
        if self.rows.get(self.last).is_some_and(|row| row.bucket == bucket) {
            return Some(self.last);
        }
        if self.rows.len() > SCANNED_ROWS_MAX {
            return self.index.get(&bucket).copied();
        }
        self.rows.iter().position(|row| row.bucket == bucket)
    }

    /// The bucket's row; `last` tells its last revision before the group.
    pub(super) fn of(&mut self, bucket: BucketId, last: impl FnOnce() -> Revision) -> &mut Row {
        self.last = self.find(bucket).unwrap_or_else(|| {
            self.rows.push(Row { bucket, first: Revision(last().0 + 1), count: 0, growth: 0 });
            let at = self.rows.len() - 1;
            if at == SCANNED_ROWS_MAX {
                self.index.extend(self.rows.iter().enumerate().map(|(at, row)| (row.bucket, at)));
            } else if at > SCANNED_ROWS_MAX {
                self.index.insert(bucket, at);
            }
            at
        });
        &mut self.rows[self.last]
    }

    pub(super) fn growth_of(&self, bucket: BucketId) -> i64 {
        self.find(bucket).map_or(0, |at| self.rows[at].growth)
    }

    /// For the record: (id, first revision, count) by id.
    fn table(&self) -> Vec<(BucketId, Revision, u64)> {
        let mut table: Vec<_> = self.rows.iter().map(|row| (row.bucket, row.first, row.count)).collect();
        table.sort_unstable_by_key(|row| row.0);
        table
    }
}

impl Live {
    pub(super) const fn new(
        state: Arc<BucketState>,
        revisions: Arc<Revisions>,
        last_commit: CommitNumber,
        next_expiry: u64,
    ) -> Self {
        Self { state, is_changed: false, revisions, last_commit, next_expiry }
    }

    /// Puts the bucket on the list of those that have changed.
    pub(super) fn note_change(&mut self, changed: &mut Vec<BucketId>) {
        if !std::mem::replace(&mut self.is_changed, true) {
            changed.push(self.state.id);
        }
    }

    /// The state, to be changed; `changed` lists the buckets that have.
    pub(super) fn change(&mut self, changed: &mut Vec<BucketId>) -> &mut BucketState {
        self.note_change(changed);
        Arc::make_mut(&mut self.state)
    }
}

impl Row {
    /// Gives out the bucket's next revision.
    pub(super) fn take_revision(&mut self) -> Revision {
        self.count += 1;
        Revision(self.first.0 + self.count - 1)
    }
}

impl Leader {
    pub(super) fn find(&self, name: &str) -> Option<BucketId> {
        self.names.get(name).copied()
    }

    /// The buckets as they are now, for a memtable that is sealed (E17).
    pub(super) fn seal_buckets(&mut self) -> Table<BucketId, Arc<BucketState>> {
        for id in self.changed.drain(..) {
            match self.buckets.get_mut(&id) {
                Some(live) => {
                    live.is_changed = false;
                    self.sealed.insert(id, Arc::clone(&live.state));
                }
                None => self.sealed.remove(&id),
            }
        }
        self.sealed.clone()
    }

    /// Step 4 for writes: the revisions of the draft are given out, and the group's entries are collected in `record`.
    pub(super) fn number(&mut self, group: &[&Request]) {
        let Self { draft, record, buckets, changed, .. } = self;
        for row in draft.rows.iter() {
            let live = buckets.get_mut(&row.bucket).expect("judged in this group");
            live.change(changed).last_revision = Revision(row.first.0 + row.count - 1);
        }
        record.begin();
        match draft.rows.rows.as_slice() {
            // Most groups are of one bucket.
            [row] => record.push_table(&[(row.bucket, row.first, row.count)]),
            _ => record.push_table(&draft.rows.table()),
        }
        for change in &draft.changes {
            let Request::Write(write) = group[change.member] else { unreachable!("only writes have operations") };
            let op = &write.ops.as_slice()[change.op];
            record.push_entry(op.record(write), change.flags);
        }
        if let Some(SweptTo { bucket, deadline, revision, .. }) = draft.swept {
            let mut encoded = Vec::new();
            wal::encode_sweep_cursor(&mut encoded, bucket, deadline, revision);
            record.push(&encoded);
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
