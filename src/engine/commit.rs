//! The commit path: judge, make room, number, write, sync, insert, publish.
//!
//! Callers validate, read what their condition needs and encode before they join the queue, outside any lock. The leader of a group then
//! goes through named steps, in this order and no other:
//!
//! 1. one store time for the group;
//! 2. conditions, in order, against the visible state and the earlier members (E2);
//! 3. room: the record fits in the log file, or the next one is taken and the memtable sealed, so that nothing after this can fail for
//!    lack of space (E11);
//! 4. commit numbers and revisions; from here on a failure burns them;
//! 5. one record, one write; 6. one sync, at `Sync`;
//! 7. entries into the memtable; 8. publish: one number makes all of it visible (E3).
//!
//! What fails before 7 was never visible. A leader does no I/O but the log's and waits for no job.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::core::Core;
use super::leader::{Leader, Live};
use super::queue::{Joined, Member};
use crate::acceptance::PreRead;
use crate::durability::Durability;
use crate::entry::{Flags, Meta, Operation, Value};
use crate::env::sync::Ordering;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::BucketState;
use crate::number::{BucketId, CommitNumber, Revision};
use crate::spec::{BucketSpec, ClockPair};
use crate::view::View;
use crate::wal::{self, EntryFields, RecordFields};

/// How often a writer reads again for its condition before the leader reads for it.
const READS_BY_CALLER_MAX: u32 = 2;
/// After an unclean end below `Sync`, numbers go on this far beyond what was recovered; so no more may be unsynced at any time.
pub(super) const UNSYNCED_COMMITS_MAX: u64 = 1 << 20;
/// Below `Sync`, a job syncs whenever this many bytes have gathered, so that no file waits for a long sync at its end.
pub(super) const SYNC_STEP_LEN: u64 = 8 << 20;

/// Memory for records that is kept between groups; a larger record gives its memory back.
const RECORD_BUFFER_LEN_MAX: usize = 2 << 20;
/// What a bucket takes in the table of a record, at most: three varints, and its share of the count.
const TABLE_ROW_LEN_MAX: usize = 32;

/// What must hold of a key for a write to take place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Nothing.
    None,
    /// It holds no value.
    NoValue,
    /// Its newest entry has this revision; 0 = it has none.
    Revision(Revision),
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
    DeleteBucket(String),
    /// The pair of clocks, so that the next open knows how long the store was shut.
    Clock(ClockPair),
}

/// One change of one key, ready for the log.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) bucket: BucketId,
    pub(super) key: Box<[u8]>,
    pub(super) flags: Flags,
    pub(super) value: Value,
    pub(super) condition: Condition,
    pub(super) pre_read: Option<PreRead>,
    pub(super) encoded: Vec<u8>,
}

/// What a member gets back.
#[derive(Debug)]
pub(super) enum Answer {
    Written(Revision),
    Bucket(BucketId),
    Done,
    /// What it had read may be out of date: read again and come back.
    ReadAgain,
}

impl Request {
    /// Bytes of log that it takes, about.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Write(write) => write.encoded.len() + TABLE_ROW_LEN_MAX,
            Self::CreateBucket(spec) => spec.encoded_len_max() + TABLE_ROW_LEN_MAX,
            Self::DeleteBucket(_) | Self::Clock(_) => 2 * TABLE_ROW_LEN_MAX,
        }
    }

    /// Whether it is committed in a group of its own.
    pub(super) const fn is_alone(&self) -> bool {
        !matches!(self, Self::Write(_))
    }
}

impl Core {
    /// A write of one key, from validated arguments to its revision.
    pub(super) fn write(
        &self,
        bucket: BucketId,
        key: &[u8],
        operation: Operation,
        value: &[u8],
        condition: Condition,
    ) -> Result<Revision> {
        self.health.check_writable()?;
        self.check_value(bucket, value)?;
        self.wait_for_room()?;
        let flags = Flags::of(operation);
        let mut rounds = 0;
        loop {
            let mut encoded = Vec::with_capacity(key.len() + value.len() + 32);
            let (origin, revision) = (Revision::NONE, Revision::NONE);
            wal::encode_entry(&mut encoded, &EntryFields { bucket, flags, key, value, ttl: None, origin, revision });
            let pre_read = if condition == Condition::None || rounds >= READS_BY_CALLER_MAX {
                None
            } else {
                Some(self.pre_read(bucket, key)?)
            };
            let member = Member::new(Request::Write(Write {
                bucket,
                key: key.into(),
                flags,
                value: Value::copy_of(value),
                condition,
                pre_read,
                encoded,
            }));
            match self.submit(&member)? {
                Answer::Written(revision) => return Ok(revision),
                _ => rounds += 1,
            }
        }
    }

    /// Joins the queue with `member` and returns with its answer.
    pub(super) fn submit(&self, member: &Arc<Member>) -> Result<Answer> {
        match self.queue.join(member) {
            Joined::Answered(answer) => answer,
            Joined::Lead => {
                let group = self.queue.take_group();
                let commit = || self.commit(&mut self.leader.lock(), &group);
                let answers = catch_unwind(AssertUnwindSafe(commit)).unwrap_or_else(|_| {
                    // Nobody may wait for ever for a leader that is gone, nor build on what it left.
                    let error = self.poison(Error::new(ErrorKind::Poisoned, "a commit panicked; this is a bug of annals"));
                    group.iter().map(|_| Err(error.clone())).collect()
                });
                self.queue.finish(member, group, answers)
            }
        }
    }

    /// Commits one group; one answer per member.
    pub(super) fn commit(&self, leader: &mut Leader, group: &[Arc<Member>]) -> Vec<Result<Answer>> {
        if let Err(error) = self.health.check_writable() {
            return group.iter().map(|_| Err(error.clone())).collect();
        }
        let now = self.now();
        let mut answers = match &group[0].request {
            Request::Write(_) => self.judge(leader, group, now),
            _ => vec![self.judge_bucket_change(leader, &group[0].request)],
        };
        let accepted = accepted(group, &answers);
        if accepted.is_empty() {
            return answers;
        }
        if let Err(error) = self.commit_accepted(leader, &accepted, &mut answers, now) {
            // A condition that failed because of a write which now did not happen says nothing about the key: that is answered too,
            // but such a member has certainly not been applied.
            for (at, answer) in answers.iter_mut().enumerate() {
                let took_part = accepted.iter().any(|(accepted, _)| *accepted == at);
                *answer = Err(if took_part { error.clone() } else { error.clone().not_applied() });
            }
        }
        answers
    }

    /// Steps 3 to 8. On an error nothing was inserted.
    fn commit_accepted(
        &self,
        leader: &mut Leader,
        accepted: &[(usize, &Request)],
        answers: &mut [Result<Answer>],
        now: u64,
    ) -> Result<()> {
        let len: usize = accepted.iter().map(|(_, request)| request.len()).sum();
        self.make_room(leader, len)?;
        let first = leader.next;
        let last = CommitNumber(first.0 + accepted.len() as u64 - 1);
        let fields = RecordFields {
            change_count: accepted.len() as u32,
            first_commit: first,
            durable_mark: self.tail.durable(),
            now,
            chain: leader.chain,
        };
        leader.number(accepted, answers);
        leader.next = last.next();
        let written = self.append(leader, &fields)?;
        let unsynced = self.tail.wrote(last, written);
        // The record is written: whatever fails now, it may be there after the next open.
        self.sync_if_due(last, written, unsynced).map_err(Error::indeterminate)?;
        let view = self.apply(leader, accepted, answers, first, now);
        view.active.publish(last);
        for (_, request) in accepted {
            if let Request::Write(write) = request
                && let Some(live) = leader.buckets.get(&write.bucket)
            {
                live.published.store(live.state.last_revision.0, Ordering::Release);
            }
        }
        Ok(())
    }

    /// Step 5. A failed write is cut off and the file ended, so that nothing may follow what it left (P3).
    fn append(&self, leader: &mut Leader, fields: &RecordFields) -> Result<u64> {
        let (record, chain) = leader.record.finish(leader.log.seed(), fields);
        let len = record.len() as u64;
        match leader.log.append(record) {
            Ok(()) => {
                leader.chain = chain;
                leader.record.shrink(RECORD_BUFFER_LEN_MAX);
                Ok(len)
            }
            Err(error) => {
                let cause = Error::io("write to the log", leader.log.path(), error);
                self.cut_off(leader)?;
                Err(cause)
            }
        }
    }

    /// Step 6.
    fn sync_if_due(&self, last: CommitNumber, written: u64, unsynced_bytes: u64) -> Result<()> {
        let due = match self.settings.durability {
            Durability::Sync => true,
            Durability::Periodic { bytes, .. } => unsynced_bytes >= bytes,
            Durability::OsCache => false,
        };
        if due || last.0 - self.tail.durable().0 >= UNSYNCED_COMMITS_MAX / 2 {
            self.tail.sync(&self.health)?;
        } else if unsynced_bytes >= SYNC_STEP_LEN && unsynced_bytes - written < SYNC_STEP_LEN {
            self.board.wake();
        }
        Ok(())
    }

    /// Step 7: entries into the memtable, bucket changes into the view.
    fn apply(
        &self,
        leader: &mut Leader,
        accepted: &[(usize, &Request)],
        answers: &mut [Result<Answer>],
        first: CommitNumber,
        now: u64,
    ) -> Arc<View> {
        let mut view = self.view.load_full();
        for (number, (at, request)) in (first.0..).map(CommitNumber).zip(accepted) {
            match request {
                Request::Write(write) => {
                    let Ok(Answer::Written(revision)) = answers[*at] else { unreachable!("an accepted write has its revision") };
                    let meta = Meta { revision, flags: write.flags, created: now, deadline: 0, origin: Revision::NONE };
                    let hash = self.hasher.hash(write.bucket, &write.key);
                    view.active.insert(write.bucket, &write.key, hash, number, meta, &write.value);
                }
                Request::CreateBucket(spec) => {
                    let id = leader.next_bucket;
                    leader.next_bucket = BucketId(id.0 + 1);
                    let state = Arc::new(BucketState::new(id, spec.clone(), number));
                    view = self.edit_view(|view| {
                        let visible = view.visible();
                        Arc::make_mut(&mut view.buckets).set(number, Arc::clone(&state), visible);
                    });
                    let published = view.buckets.revision_counter(id).unwrap_or_default();
                    leader.buckets.insert(id, Live { state, published });
                    leader.names.insert(spec.name.clone(), id);
                    answers[*at] = Ok(Answer::Bucket(id));
                }
                Request::DeleteBucket(name) => {
                    if let Some(id) = leader.find(name) {
                        leader.buckets.remove(&id);
                        leader.names.remove(name);
                        view = self.edit_view(|view| {
                            let visible = view.visible();
                            Arc::make_mut(&mut view.buckets).remove(number, id, visible);
                        });
                    }
                }
                Request::Clock(_) => {}
            }
        }
        view
    }
}

/// The members that take part in the record: those judged `Done`.
fn accepted<'a>(group: &'a [Arc<Member>], answers: &[Result<Answer>]) -> Vec<(usize, &'a Request)> {
    let members = group.iter().map(|member| &member.request).enumerate();
    members.filter(|(at, _)| matches!(answers[*at], Ok(Answer::Done))).collect()
}
