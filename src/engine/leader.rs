//! What only the leader of a commit group touches: the log file, the next numbers, the buckets as they will be after the group.
//!
//! It lives behind one lock that is held for a whole group; who holds it, leads. Readers see nothing of it: what becomes visible goes
//! through the view.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::commit::{Answer, Request};
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
}

/// A bucket as the leader knows it: `last_revision` of its state is the newest that was given out.
#[derive(Debug)]
pub(super) struct Live {
    /// Shared with what was sealed since it last changed.
    pub(super) state: Arc<BucketState>,
    pub(super) published: Arc<AtomicU64>,
}

impl Leader {
    pub(super) fn find(&self, name: &str) -> Option<BucketId> {
        self.names.get(name).copied()
    }

    /// Step 4: gives out revisions, and collects the changes of the group in `record`.
    pub(super) fn number(&mut self, accepted: &[(usize, &Request)], answers: &mut [Result<Answer>]) {
        let mut table: BTreeMap<BucketId, (Revision, u64)> = BTreeMap::new();
        for (at, request) in accepted {
            let Request::Write(write) = request else { continue };
            let live = self.buckets.get_mut(&write.bucket).expect("judged in this group");
            let revision = Revision(live.state.last_revision.0 + 1);
            Arc::make_mut(&mut live.state).last_revision = revision;
            table.entry(write.bucket).or_insert((revision, 0)).1 += 1;
            answers[*at] = Ok(Answer::Written(revision));
        }
        let table: Vec<_> = table.into_iter().map(|(bucket, (revision, count))| (bucket, revision, count)).collect();
        self.record.begin();
        self.record.push_table(&table);
        for (_, request) in accepted {
            match request {
                Request::Write(write) => self.record.push(&write.encoded),
                other => self.record.push(&self.encode(other)),
            }
        }
    }

    /// A change that is not an entry; rare, so it is encoded here.
    fn encode(&self, request: &Request) -> Vec<u8> {
        let mut encoded = Vec::new();
        match request {
            Request::CreateBucket(spec) => wal::encode_create_bucket(&mut encoded, self.next_bucket, spec),
            Request::DeleteBucket(name) => {
                wal::encode_delete_bucket(&mut encoded, self.find(name).expect("judged in this group"));
            }
            Request::Clock(pair) => wal::encode_clock(&mut encoded, *pair),
            Request::Write(write) => encoded.extend_from_slice(&write.encoded),
        }
        encoded
    }
}
