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

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::core::Core;
use super::queue::{Joined, Member};
use super::tail::TailFile;
use crate::acceptance::{Found, PreRead, Present, accept};
use crate::durability::Durability;
use crate::entry::{Flags, Meta, Operation, Value};
use crate::env::sync::{AtomicU64, Ordering};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::BucketState;
use crate::memtable::Memtable;
use crate::number::{BucketId, CommitNumber, Revision};
use crate::spec::{BucketSpec, ClockPair};
use crate::view::{Sealed, View};
use crate::wal::{self, EntryFields, LogFile, RecordFields, RecordWriter};

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

/// The newest entry of a key that an earlier member of the group wrote.
type Overlay<'a> = HashMap<(BucketId, &'a [u8]), Found>;

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

    /// Step 2 for writes. Accepted ones get a provisional answer.
    fn judge(&self, leader: &Leader, group: &[Arc<Member>], now: u64) -> Vec<Result<Answer>> {
        let view = self.view.load();
        let conditional =
            |member: &Arc<Member>| matches!(&member.request, Request::Write(write) if write.condition != Condition::None);
        let overlaid = group.len() > 1 && group.iter().any(conditional);
        let mut overlay = Overlay::new();
        let mut answers = Vec::with_capacity(group.len());
        for (at, member) in group.iter().enumerate() {
            let Request::Write(write) = &member.request else { unreachable!("a bucket change goes alone") };
            let answer = self.judge_write(leader, &view, write, &overlay, now);
            if overlaid && answer.is_ok() && !matches!(answer, Ok(Answer::ReadAgain)) {
                // The revision that step 4 will give it: members of one group see each other in order.
                let last = leader.buckets.get(&write.bucket).map_or(0, |live| live.state.last_revision.0);
                let ahead = accepted_in(&answers, group, write.bucket);
                let found = Found::Entry { revision: Revision(last + 1 + ahead), is_value: write.flags.is_put(), deadline: 0 };
                overlay.insert((write.bucket, &write.key), found);
            }
            debug_assert_eq!(answers.len(), at, "one answer per member, in order");
            answers.push(answer);
        }
        answers
    }

    fn judge_write(&self, leader: &Leader, view: &View, write: &Write, overlay: &Overlay<'_>, now: u64) -> Result<Answer> {
        let live = leader.buckets.get(&write.bucket).ok_or_else(|| self.bucket_gone())?;
        if write.condition == Condition::None {
            return Ok(Answer::Done);
        }
        let found = match overlay.get(&(write.bucket, &*write.key)) {
            Some(found) => *found,
            None => match self.settle(view, live, write, now)? {
                Settled::Known(found) => found,
                Settled::ReadAgain => return Ok(Answer::ReadAgain),
            },
        };
        check(write, found)
    }

    /// The key's newest entry as of this group, from what the caller read and what the memtables got since (E2).
    fn settle(&self, view: &View, live: &Live, write: &Write, now: u64) -> Result<Settled> {
        let Some(pre_read) = &write.pre_read else {
            // The third round: the leader reads itself.
            return Ok(Settled::Known(self.read_newest(view, CommitNumber(u64::MAX), &live.state, &write.key)?));
        };
        let present = Present { bucket_last_change: live.state.changed, oldest_memtable_first: view.memory_starts_at(), now };
        if !accept(pre_read, &present) {
            return Ok(Settled::ReadAgain);
        }
        let newest = view.memtables().find_map(|memtable| {
            memtable.with_newest(write.bucket, &write.key, CommitNumber(u64::MAX), |commit, meta, _| (commit, *meta))
        });
        Ok(Settled::Known(match newest.filter(|(commit, _)| *commit > pre_read.at) {
            Some((_, meta)) => Found::Entry { revision: meta.revision, is_value: meta.flags.is_put(), deadline: meta.deadline },
            None => pre_read.found,
        }))
    }

    /// Step 2 for a change of a bucket.
    fn judge_bucket_change(&self, leader: &Leader, request: &Request) -> Result<Answer> {
        let named = |name: &str| leader.find(name).and_then(|id| leader.buckets.get(&id));
        match request {
            Request::CreateBucket(spec) => match named(&spec.name) {
                // Marked by its id: nothing is to be written.
                Some(live) if live.state.spec == *spec => Ok(Answer::Bucket(live.state.id)),
                Some(_) => Err(Error::new(
                    ErrorKind::BucketExists,
                    format!("bucket {} exists with another configuration; open it, or delete it first", spec.name),
                )),
                None => Ok(Answer::Done),
            },
            Request::DeleteBucket(name) => named(name).map(|_| Answer::Done).ok_or_else(|| self.no_bucket(name)),
            Request::Clock(_) | Request::Write(_) => Ok(Answer::Done),
        }
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

    /// Ends the file behind its last good record after a write that failed. If that fails too, the bytes may come back: poisoned.
    fn cut_off(&self, leader: &mut Leader) -> Result<()> {
        let fields = self.seal_fields(leader);
        self.tail.alone(|| match leader.log.seal_after_failure(&fields) {
            Ok(chain) => {
                leader.chain = chain;
                leader.log_ended = true;
                Ok(())
            }
            Err(error) => Err(self.poison(Error::io("cut a failed write off the log", leader.log.path(), error))),
        })
    }

    fn seal_fields(&self, leader: &Leader) -> RecordFields {
        RecordFields {
            change_count: 0,
            first_commit: leader.next,
            durable_mark: self.tail.durable(),
            now: self.now(),
            chain: leader.chain,
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
                    view.active.insert(write.bucket, &write.key, number, meta, write.value.clone());
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

    /// Step 3: the record fits in the active log file and the memtable is not full; else the next generation begins.
    fn make_room(&self, leader: &mut Leader, payload_len: usize) -> Result<()> {
        loop {
            let fits = !leader.log_ended && leader.log.remaining() >= wal::record_len(payload_len) as u64;
            if fits && self.view.load().active.bytes() < self.settings.memtable_len {
                return Ok(());
            }
            match self.rotate(leader, payload_len) {
                // A full disk refuses the next file; what fits in this one is still taken.
                Err(error) if fits && error.kind() == ErrorKind::NoSpace && !leader.log_ended => {
                    return self.health.check_sound();
                }
                rotated => rotated?,
            }
        }
    }

    /// Ends the active log file and seals the memtable with it: one generation, one file.
    pub(super) fn rotate(&self, leader: &mut Leader, payload_len: usize) -> Result<()> {
        let next = self.take_log(payload_len)?;
        if !leader.log_ended {
            self.end_log(leader)?;
        }
        if self.settings.durability == Durability::Sync {
            // Durable before the new file acknowledges anything.
            self.tail.sync(&self.health)?;
        }
        self.tail.rotated(TailFile::of(&next));
        let ended = std::mem::replace(&mut leader.log, next);
        leader.log_ended = false;
        self.seal(leader, &ended);
        self.board.wake();
        Ok(())
    }

    /// Writes the seal behind the last record of the active log file.
    pub(super) fn end_log(&self, leader: &mut Leader) -> Result<()> {
        let fields = self.seal_fields(leader);
        match leader.log.seal(&fields) {
            Ok(chain) => {
                leader.chain = chain;
                Ok(())
            }
            // The second try is a seal too, and durable at once.
            Err(_) => self.cut_off(leader),
        }
    }

    /// Makes the active memtable a sealed one, with a new one in its place (E1, E17).
    pub(super) fn seal(&self, leader: &Leader, log: &LogFile) {
        let buckets = leader.buckets.values().map(|live| Arc::clone(&live.state)).collect();
        let through = CommitNumber(leader.next.0 - 1);
        self.edit_view(|view| {
            let memtable = Arc::clone(&view.active);
            view.active = Arc::new(Memtable::new(leader.next, memtable.visible()));
            view.active_log = leader.log.number();
            let sealed = Sealed { memtable, log: log.number(), through, buckets, next_bucket: leader.next_bucket };
            view.sealed.insert(0, Arc::new(sealed));
        });
    }
}

impl Leader {
    pub(super) fn find(&self, name: &str) -> Option<BucketId> {
        self.names.get(name).copied()
    }

    /// Step 4: gives out revisions, and collects the changes of the group in `record`.
    fn number(&mut self, accepted: &[(usize, &Request)], answers: &mut [Result<Answer>]) {
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

/// What the leader knows of a key.
enum Settled {
    Known(Found),
    ReadAgain,
}

/// Whether the condition of `write` holds of the key's newest entry.
fn check(write: &Write, found: Found) -> Result<Answer> {
    let (actual, holds_value) = match found {
        Found::Entry { revision, is_value, .. } => (revision, is_value),
        Found::Nothing | Found::Expired => (Revision::NONE, false),
    };
    let key = || String::from_utf8_lossy(&write.key).into_owned();
    match write.condition {
        Condition::NoValue if holds_value => {
            let message = format!("key {} holds a value at revision {actual}; update it with that revision, or put", key());
            Err(Error::new(ErrorKind::AlreadyExists, message).with_actual_revision(actual))
        }
        Condition::Revision(expected) if expected != actual => {
            let message = format!("key {} is at revision {actual}, not {expected}; read it again and retry", key());
            Err(Error::new(ErrorKind::WrongRevision, message).with_actual_revision(actual))
        }
        _ => Ok(Answer::Done),
    }
}

/// The members that take part in the record: those judged `Done`.
fn accepted<'a>(group: &'a [Arc<Member>], answers: &[Result<Answer>]) -> Vec<(usize, &'a Request)> {
    let members = group.iter().map(|member| &member.request).enumerate();
    members.filter(|(at, _)| matches!(answers[*at], Ok(Answer::Done))).collect()
}

/// How many of the members judged so far write to `bucket`.
fn accepted_in(answers: &[Result<Answer>], group: &[Arc<Member>], bucket: BucketId) -> u64 {
    let writes = answers.iter().zip(group).filter(|(answer, member)| {
        matches!(answer, Ok(Answer::Done)) && matches!(&member.request, Request::Write(write) if write.bucket == bucket)
    });
    writes.count() as u64
}
