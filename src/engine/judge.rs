//! Whether what a member asks for may happen: step 2 of a commit.
//!
//! Members are judged in order, each against what is visible and what the members before it will have written. A caller has read
//! its key before it joined the queue; the leader believes that where `acceptance` says so, and reads itself only in the third round (E2).

use std::collections::HashMap;
use std::sync::Arc;

use super::commit::{Answer, Condition, Request, Write};
use super::core::Core;
use super::leader::{Leader, Live};
use super::queue::Member;
use crate::acceptance::{Found, Present, accept};
use crate::error::{Error, ErrorKind, Result};
use crate::number::{BucketId, CommitNumber, Revision};
use crate::view::View;

/// The newest entry of a key that an earlier member of the group wrote.
type Overlay<'a> = HashMap<(BucketId, &'a [u8]), Found>;

impl Core {
    /// Step 2 for writes. Accepted ones get a provisional answer.
    pub(super) fn judge(&self, leader: &Leader, group: &[Arc<Member>], now: u64) -> Vec<Result<Answer>> {
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
        let hash = self.hasher.hash(write.bucket, &write.key);
        let newest = view.memtables().find_map(|memtable| {
            memtable.with_newest(write.bucket, &write.key, hash, CommitNumber(u64::MAX), |found| (found.commit, found.meta))
        });
        Ok(Settled::Known(match newest.filter(|(commit, _)| *commit > pre_read.at) {
            Some((_, meta)) => Found::Entry { revision: meta.revision, is_value: meta.flags.is_put(), deadline: meta.deadline },
            None => pre_read.found,
        }))
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
                    format!("bucket {} exists with another configuration; open it, or delete it first", spec.name),
                )),
                None => Ok(Answer::Done),
            },
            Request::DeleteBucket(name) => named(name).map(|_| Answer::Done).ok_or_else(|| self.no_bucket(name)),
            Request::Clock(_) | Request::Write(_) => Ok(Answer::Done),
        }
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

/// How many of the members judged so far write to `bucket`.
fn accepted_in(answers: &[Result<Answer>], group: &[Arc<Member>], bucket: BucketId) -> u64 {
    let writes = answers.iter().zip(group).filter(|(answer, member)| {
        matches!(answer, Ok(Answer::Done)) && matches!(&member.request, Request::Write(write) if write.bucket == bucket)
    });
    writes.count() as u64
}
