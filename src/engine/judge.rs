//! Whether what a member asks for may happen: step 2 of a commit.
//!
//! Members are judged in order, each against what is visible and what the members before it will have written. A caller has read
//! its key before it joined the queue; the leader believes that where `acceptance` says so, and reads itself only in the third round (E2).
//! What a key holds matters to a condition; in buckets with entries that expire by themselves to every write, because one that comes after
//! an expired entry starts a new life (E6); and in buckets with `max_bytes` to every write, because of what it pushes out (E13).

use std::collections::{HashMap, HashSet};

use super::core::Core;
use super::leader::{Draft, Leader, Live, Numbered};
use super::request::{Answer, Condition, Op, Request, Write};
use super::size::growth;
use crate::acceptance::{Found, Present, accept};
use crate::entry::{Flags, Meta};
use crate::error::{Error, ErrorKind, Result};
use crate::number::{BucketId, CommitNumber};
use crate::view::View;

/// The newest entry of a key that an earlier member of the group wrote.
type Overlay<'a> = HashMap<(BucketId, &'a [u8]), Found>;

/// What one member needs to be judged by.
struct Bench<'a> {
    view: &'a View,
    leader: &'a Leader,
    now: u64,
}

/// Why a member does not take part.
enum Refused {
    Error(Error),
    /// Read again, or count, and come back.
    Answer(Answer),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Core {
    /// Step 2 for writes: fills the draft, and answers who does not take part. Those who do get a provisional answer.
    pub(super) fn judge(
        &self,
        leader: &Leader,
        draft: &mut Draft,
        group: &[&Request],
        now: u64,
        answers: &mut Vec<Result<Answer>>,
    ) {
        let view = self.view.load();
        let bench = Bench { view: &view, leader, now };
        // Without a second operation there is nobody to see.
        let mut overlay = (group.len() > 1).then(Overlay::new);
        for (member, request) in group.iter().enumerate() {
            let Request::Write(write) = request else { unreachable!("a bucket change goes alone") };
            let changes = draft.changes.len();
            match self.judge_write(&bench, draft, member, write, overlay.as_ref()) {
                Ok(()) => {
                    if let Some(overlay) = &mut overlay {
                        for change in &draft.changes[changes..] {
                            note(overlay, write, change, now);
                        }
                    }
                    draft.accepted.push(member);
                    draft.len += request.len();
                    answers.push(Ok(Answer::Done));
                }
                Err(refused) => {
                    draft.changes.truncate(changes);
                    answers.push(match refused {
                        Refused::Error(error) => Err(error),
                        Refused::Answer(answer) => Ok(answer),
                    });
                }
            }
        }
    }

    /// One member, all of its operations or none. What it is refused for leaves the draft as it was, but for `changes`.
    fn judge_write(
        &self,
        bench: &Bench<'_>,
        draft: &mut Draft,
        member: usize,
        write: &Write,
        overlay: Option<&Overlay<'_>>,
    ) -> std::result::Result<(), Refused> {
        let ops = write.ops.as_slice();
        let first = draft.changes.len();
        let mut own: HashSet<(BucketId, &[u8])> = HashSet::new();
        let mut sized = false;
        for (at, op) in ops.iter().enumerate() {
            let live = bench.leader.buckets.get(&op.bucket).ok_or_else(|| self.bucket_gone())?;
            let written_before = ops.len() > 1 && !own.insert((op.bucket, op.key(write)));
            sized |= live.state.spec.max_bytes > 0 && !op.is_check();
            let mut flags = op.flags;
            if op.condition != Condition::None || live.state.deadlines_seen {
                let key = (op.bucket, op.key(write));
                let found = match overlay.and_then(|overlay| overlay.get(&key)) {
                    // Its own earlier operation is the newest, and has not expired.
                    _ if written_before => Found::Nothing,
                    Some(found) => *found,
                    None => self.settle(bench, live, op, write)?,
                };
                if op.condition != Condition::None
                    && let Err(error) = check(op, write, found)
                {
                    if write.lenient {
                        continue;
                    }
                    return Err(error.into());
                }
                if found == Found::Expired && !op.is_check() && !flags.is_dropped() {
                    flags = flags.with(Flags::ROLLUP);
                }
            }
            if !op.is_check() {
                // Numbers come below, once nothing can refuse the member any more.
                draft.changes.push(Numbered { member, op: at, revision: op.revision, flags });
            }
        }
        if sized {
            self.judge_size(bench, draft, first, write, overlay)?;
        }
        for at in first..draft.changes.len() {
            let op = &ops[draft.changes[at].op];
            if op.takes_revision() {
                let last = bench.leader.buckets.get(&op.bucket).map_or_else(Default::default, |live| live.state.last_revision);
                draft.changes[at].revision = draft.take_revision(op.bucket, last);
            }
        }
        Ok(())
    }

    /// The key's newest entry as of this group, from what the caller read and what the memtables got since (E2).
    fn settle(&self, bench: &Bench<'_>, live: &Live, op: &Op, write: &Write) -> std::result::Result<Found, Refused> {
        let Some(pre_read) = &op.pre_read else {
            if !write.leader_reads {
                // A bucket that had no deadlines when the caller looked.
                return Err(Refused::Answer(Answer::ReadAgain));
            }
            // The third round: the leader reads itself.
            let everything = CommitNumber(u64::MAX);
            return Ok(self.read_newest(bench.view, everything, &live.state, op.key(write), bench.now)?);
        };
        let oldest_memtable_first = bench.view.memory_starts_at();
        let present = Present { bucket_last_change: live.state.changed, oldest_memtable_first, now: bench.now };
        if !accept(pre_read, &present) {
            return Err(Refused::Answer(Answer::ReadAgain));
        }
        let newest = newest_in_memory(bench.view, op, write);
        let Some((_, meta)) = newest.filter(|(commit, _)| *commit > pre_read.at) else {
            return Ok(pre_read.found);
        };
        let expires = if live.state.spec.max_age > 0 { meta.created.saturating_add(live.state.spec.max_age) } else { u64::MAX };
        let is_over = expires <= bench.now || (meta.deadline > 0 && meta.deadline <= bench.now);
        if meta.flags.is_dropped() || is_over {
            // Not a state of its own: whoever reads again sees what it left.
            return Err(Refused::Answer(Answer::ReadAgain));
        }
        Ok(Found::Entry { revision: meta.revision, is_value: meta.flags.is_put(), deadline: meta.deadline })
    }

    /// Whether what the member writes fits in its buckets: by the net of all its operations (E13).
    fn judge_size(
        &self,
        bench: &Bench<'_>,
        draft: &mut Draft,
        first: usize,
        write: &Write,
        overlay: Option<&Overlay<'_>>,
    ) -> std::result::Result<(), Refused> {
        let ops = write.ops.as_slice();
        let mut growths: Vec<(BucketId, i64, bool)> = Vec::new();
        let mut keys: Vec<(BucketId, &[u8])> = Vec::new();
        for at in first..draft.changes.len() {
            let op = &ops[draft.changes[at].op];
            let live = bench.leader.buckets.get(&op.bucket).ok_or_else(|| self.bucket_gone())?;
            let key = (op.bucket, op.key(write));
            if live.state.spec.max_bytes == 0 || keys.contains(&key) {
                continue;
            }
            keys.push(key);
            let Some(size) = live.state.size else { return Err(Refused::Answer(Answer::Count(op.bucket))) };
            if overlay.is_some_and(|overlay| overlay.contains_key(&key)) {
                return Err(Refused::Answer(Answer::ReadAgain));
            }
            let read;
            let stored = match &op.stored {
                Some(stored) => {
                    // What was found is checked as a condition is; here only that nothing newer is there.
                    self.settle(bench, live, op, write)?;
                    let newest = newest_in_memory(bench.view, op, write);
                    if newest.is_some_and(|(commit, _)| op.pre_read.as_ref().is_none_or(|pre_read| commit > pre_read.at)) {
                        return Err(Refused::Answer(Answer::ReadAgain));
                    }
                    stored
                }
                None if write.leader_reads => {
                    read = self.stored_of(bench.view, CommitNumber(u64::MAX), op.bucket, op.key(write))?;
                    &read
                }
                None => return Err(Refused::Answer(Answer::ReadAgain)),
            };
            let last = live.state.last_revision;
            let mut next = draft.next_revision(op.bucket, last);
            let mut new = Vec::new();
            let mut has_put = false;
            for change in &draft.changes[first..] {
                let other = &ops[change.op];
                if other.bucket != op.bucket || other.key(write) != key.1 {
                    continue;
                }
                // Of the order of revisions only that they rise matters here.
                let revision = if other.takes_revision() { next } else { other.revision };
                next.0 += 1;
                has_put |= change.flags.is_put();
                let deadline = if other.ttl == 0 { 0 } else { bench.now.saturating_add(other.ttl) };
                let meta = Meta { revision, flags: change.flags, created: bench.now, deadline, ..Meta::default() };
                new.insert(0, (meta, other.value_len()));
            }
            let by = growth(&live.state, size.as_of, key.1.len() as u64, &new, stored);
            match growths.iter_mut().find(|row| row.0 == op.bucket) {
                Some(row) => (row.1, row.2) = (row.1 + by, row.2 | has_put),
                None => growths.push((op.bucket, by, has_put)),
            }
        }
        for (bucket, by, has_put) in &growths {
            let Some(live) = bench.leader.buckets.get(bucket) else { continue };
            let (Some(size), limit) = (live.state.size, live.state.spec.max_bytes) else { continue };
            let before = size.bytes.saturating_add_signed(draft.growth_of(*bucket));
            let after = before.saturating_add_signed(*by);
            if *by > 0 && *has_put && after > limit {
                if !write.counted && live.next_expiry <= bench.now {
                    return Err(Refused::Answer(Answer::Count(*bucket)));
                }
                let message = format!(
                    "bucket {} is full: it takes {before} bytes, the write would make it {after}, its limit is {limit}; delete or \
                     purge keys, or raise max_bytes",
                    live.state.spec.name
                );
                return Err(Error::new(ErrorKind::BucketFull, message).into());
            }
        }
        for (bucket, by, _) in growths {
            draft.grow(bucket, by);
        }
        Ok(())
    }

    /// Step 2 for a change of a bucket.
    pub(super) fn judge_bucket_change(&self, leader: &Leader, request: &Request) -> Result<Answer> {
        let named = |name: &str| leader.find(name).and_then(|id| leader.buckets.get(&id));
        match request {
            Request::CreateBucket(spec) => match named(&spec.name) {
                // Marked by its id: nothing is to be written.
                Some(live) if live.state.spec == *spec => Ok(Answer::Bucket(live.state.id)),
                Some(_) => Err(Error::new(
                    ErrorKind::BucketExists,
                    format!("bucket {} exists with another configuration; open it, update it, or delete it first", spec.name),
                )),
                None => Ok(Answer::Done),
            },
            Request::EditBucket(id, spec) => match leader.buckets.get(id) {
                Some(live) if live.state.spec == *spec => Ok(Answer::Bucket(*id)),
                Some(_) => Ok(Answer::Done),
                None => Err(self.bucket_gone()),
            },
            Request::PurgeAll(id) if !leader.buckets.contains_key(id) => Err(self.bucket_gone()),
            Request::DeleteBucket(name) => named(name).map(|_| Answer::Done).ok_or_else(|| self.no_bucket(name)),
            Request::PurgeAll(_) | Request::Clock(_) | Request::Write(_) | Request::Settle(_) => Ok(Answer::Done),
        }
    }
}

fn newest_in_memory(view: &View, op: &Op, write: &Write) -> Option<(CommitNumber, Meta)> {
    view.memtables().find_map(|memtable| {
        memtable.with_newest(op.bucket, op.key(write), op.hash, CommitNumber(u64::MAX), |found| (found.commit, found.meta))
    })
}

/// What later members of the group see of this operation.
fn note<'a>(overlay: &mut Overlay<'a>, write: &'a Write, change: &Numbered, now: u64) {
    let op = &write.ops.as_slice()[change.op];
    let key = (op.bucket, op.key(write));
    let found = if op.flags.is_dropped() {
        // The marker goes, or stays as the newest entry.
        let stays = Found::Entry { revision: op.revision, is_value: false, deadline: 0 };
        if op.flags.has(Flags::ROLLUP) { Found::Nothing } else { stays }
    } else {
        let deadline = if op.ttl == 0 { 0 } else { now.saturating_add(op.ttl) };
        Found::Entry { revision: change.revision, is_value: op.flags.is_put(), deadline }
    };
    overlay.insert(key, found);
}

/// Whether the condition of `op` holds of the key's newest entry.
fn check(op: &Op, write: &Write, found: Found) -> Result<()> {
    let (actual, holds_value) = match found {
        Found::Entry { revision, is_value, .. } => (revision, is_value),
        Found::Nothing | Found::Expired => (Default::default(), false),
    };
    let key = || String::from_utf8_lossy(op.key(write)).into_owned();
    match op.condition {
        Condition::NoValue if holds_value => {
            let message = format!("key {} holds a value at revision {actual}; update it with that revision, or put", key());
            Err(Error::new(ErrorKind::AlreadyExists, message).with_actual_revision(actual))
        }
        Condition::Value if !holds_value => {
            let message = format!("key {} holds no value; read it again", key());
            Err(Error::new(ErrorKind::WrongRevision, message).with_actual_revision(actual))
        }
        Condition::Revision(expected) if expected != actual => {
            let message = format!("key {} is at revision {actual}, not {expected}; read it again and retry", key());
            Err(Error::new(ErrorKind::WrongRevision, message).with_actual_revision(actual))
        }
        _ => Ok(()),
    }
}
