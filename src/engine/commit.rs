//! The commit path: judge, make room, number, write, sync, insert, publish.
//!
//! Callers validate, read what their condition needs and encode before they join the queue, outside any lock (`write`). The leader of a
//! group then goes through named steps, in this order and no other:
//!
//! 1. one store time for the group;
//! 2. conditions, in order, against the visible state and the earlier members (E2);
//! 3. room: the record fits in the log file, or the next one is taken and the memtable sealed, so that nothing after this can fail for
//!    lack of space (E11);
//! 4. commit numbers and revisions; from here on a failure burns them;
//! 5. one record, one write; 6. one sync, at `Sync` or where a member asks for it;
//! 7. entries into the memtable; 8. publish: one number makes all of it visible (E3).
//!
//! What fails before 7 was never visible. A leader does no I/O but the log's (save for E2's third round) and waits for no job.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::core::Core;
use super::leader::{Draft, Leader, Live};
use super::queue::{Entered, Member, Waited};
use super::request::{Answer, Request, Settlement, SweptTo};
use super::size::expiry_of;
use super::write::give_buffer_back;
use crate::durability::Durability;
use crate::env::sync::Ordering;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{BucketSize, BucketState};
use crate::number::{BucketId, CommitNumber, Revision};
use crate::view::View;
use crate::wal::RecordFields;

/// After an unclean end below `Sync`, numbers go on this far beyond what was recovered; so no more may be unsynced at any time.
pub(super) const UNSYNCED_COMMITS_MAX: u64 = 1 << 20;
/// Below `Sync`, a job syncs whenever this many bytes have gathered, so that no file waits for a long sync at its end.
pub(super) const SYNC_STEP_LEN: u64 = 8 << 20;

/// Memory for records that is kept between groups; a larger record gives its memory back.
const RECORD_BUFFER_LEN_MAX: usize = 2 << 20;
/// No leader has announced a time.
pub(super) const NO_TIME: u64 = u64::MAX;

impl Core {
    /// Joins the queue with `request` and returns with its answer.
    pub(super) fn submit(&self, request: Request) -> Result<Answer> {
        let answer = match self.queue.enter(request) {
            Entered::Alone(request) => {
                let answer = self.lead_one(&request);
                self.queue.hand_on();
                give_buffer_back(request);
                answer
            }
            Entered::Queued(member) => match member.wait() {
                Waited::Answered(answer) => return answer,
                Waited::Lead => self.lead_group(Some(&member)).expect("the leader is the first of its group"),
            },
        };
        self.answer_calls();
        self.wake_watchers();
        answer
    }

    /// Where the store has no threads of its own, whoever has led does the committer's work.
    pub(super) fn answer_calls(&self) {
        while !self.settings.threads && self.queue.take_call() {
            self.lead_group(None);
        }
    }

    /// Commits what is in line; answers with what `own` gets, if it is in it.
    pub(super) fn lead_group(&self, own: Option<&Arc<Member>>) -> Option<Result<Answer>> {
        let group = self.queue.take_group();
        let requests: Vec<&Request> = group.iter().map(|member| &member.request).collect();
        let mut answers = Vec::new();
        self.lead(&requests, |from| answers.append(from));
        for (member, answer) in group.iter().zip(&mut answers).filter(|(member, _)| member.is_detached()) {
            self.lead_again(&member.request, answer);
        }
        self.queue.finish(own, group, answers)
    }

    /// Nobody is there to read or count for a member that no thread waits for: the leader does it, before anything that is behind it in line.
    fn lead_again(&self, request: &Request, answer: &mut Result<Answer>) {
        let Request::Write(write) = request else { return };
        loop {
            match answer {
                Ok(Answer::Count(bucket)) => {
                    write.counted.store(true, Ordering::Relaxed);
                    if let Err(error) = self.lead_one(&Request::Settle(Settlement::by_leader(*bucket))) {
                        *answer = Err(error);
                        return;
                    }
                }
                Ok(Answer::Due { op, revision }) => {
                    let op = &write.ops.as_slice()[*op];
                    let marker = self.marker_by_leader(op.bucket, op.key(write), *revision);
                    let mut marked = self.lead_one(&marker);
                    self.lead_again(&marker, &mut marked);
                    if let Err(error) = marked {
                        *answer = Err(error.not_applied());
                        return;
                    }
                }
                Ok(Answer::ReadAgain) => {}
                _ => return,
            }
            *answer = self.lead_one(request);
        }
    }

    fn lead_one(&self, request: &Request) -> Result<Answer> {
        let mut answer = None;
        self.lead(&[request], |answers| answer = answers.pop());
        answer.expect("one answer per member")
    }

    /// Commits one group; `take` gets one answer per member.
    fn lead(&self, group: &[&Request], mut take: impl FnMut(&mut Vec<Result<Answer>>)) {
        let commit = || {
            let mut leader = self.leader.lock();
            let mut answers = std::mem::take(&mut leader.answers);
            answers.clear();
            self.commit(&mut leader, group, &mut answers);
            take(&mut answers);
            leader.answers = answers;
        };
        if catch_unwind(AssertUnwindSafe(commit)).is_err() {
            // Nobody may wait for ever for a leader that is gone, nor build on what it left.
            let error = self.poison(Error::new(ErrorKind::Poisoned, "a commit panicked; this is a bug of annals"));
            self.announced_now.store(NO_TIME, Ordering::SeqCst);
            take(&mut group.iter().map(|_| Err(error.clone())).collect());
        }
    }

    /// Commits one group; one answer per member.
    pub(super) fn commit(&self, leader: &mut Leader, group: &[&Request], answers: &mut Vec<Result<Answer>>) {
        if let Err(error) = self.health.check_writable() {
            answers.extend(group.iter().map(|_| Err(error.clone())));
            return;
        }
        let now = self.announce_now(leader);
        match group[0] {
            Request::Write(_) => self.commit_writes(leader, group, now, answers),
            Request::Settle(settlement) => answers.push(self.settle_size(leader, settlement, now)),
            change => answers.push(self.judge_bucket_change(leader, change).and_then(|answer| match answer {
                Answer::Done => {
                    if let Request::EditBucket(id, _) = change {
                        self.sweep_before_edit(leader, *id, now).map_err(Error::not_applied)?;
                    }
                    self.commit_bucket_change(leader, change, now)
                }
                // What is asked for is there already.
                same => Ok(same),
            })),
        }
        self.announced_now.store(NO_TIME, Ordering::SeqCst);
    }

    /// Step 1. Where readers ask what time it is, they must not be ahead of a commit that is under way: what they have seen expire must not
    /// be found alive by it (E16). So a lower bound of the group's time is announced before that time is taken.
    fn announce_now(&self, leader: &Leader) -> u64 {
        if leader.time_matters {
            self.announced_now.store(self.now(), Ordering::SeqCst);
        }
        self.now()
    }

    pub(super) fn commit_writes(&self, leader: &mut Leader, group: &[&Request], now: u64, answers: &mut Vec<Result<Answer>>) {
        let mut draft = std::mem::take(&mut leader.draft);
        draft.clear();
        self.judge(leader, &mut draft, group, now, answers);
        leader.draft = draft;
        let committed = if leader.draft.commits() == 0 { Ok(()) } else { self.commit_draft(leader, group, now) };
        let draft = &leader.draft;
        if let Err(error) = committed {
            // A condition that failed because of a write which now did not happen says nothing about the key: that is answered too,
            // but such a member has certainly not been applied.
            let mut accepted = draft.accepted.iter().peekable();
            for (at, answer) in answers.iter_mut().enumerate() {
                let took_part = accepted.next_if(|member| **member == at).is_some();
                *answer = Err(if took_part { error.clone() } else { error.clone().not_applied() });
            }
        } else {
            answer_accepted(draft, group, answers);
        }
        leader.draft.shrink();
    }

    /// Steps 3 to 8 for writes. On an error nothing was inserted.
    fn commit_draft(&self, leader: &mut Leader, group: &[&Request], now: u64) -> Result<()> {
        // Whatever keeps the log from going on, the record is not in it.
        self.make_room(leader, leader.draft.len).map_err(Error::not_applied)?;
        let first = leader.next;
        let count = leader.draft.commits();
        let last = CommitNumber(first.0 + count - 1);
        leader.number(group);
        let synced = leader.draft.accepted.iter().any(|at| matches!(group[*at], Request::Write(write) if write.synced));
        self.log(leader, first, count as u32, now, synced)?;
        let expires_first = self.insert(leader, group, first, now);
        self.note_swept(leader, last);
        // First, so that whoever sees a commit finds no lower last revision than it gave.
        for row in leader.draft.rows.iter() {
            if let Some(live) = leader.buckets.get(&row.bucket) {
                live.revisions.published.store(live.state.last_revision.0, Ordering::Release);
            }
        }
        leader.active.publish(last);
        self.expires_at(expires_first);
        self.tell_entries(leader, group, first, now);
        Ok(())
    }

    /// Steps 3 to 8 for a change that is not an entry.
    fn commit_bucket_change(&self, leader: &mut Leader, request: &Request, now: u64) -> Result<Answer> {
        self.make_room(leader, request.len()).map_err(Error::not_applied)?;
        let commit = leader.next;
        leader.number_change(request);
        self.log(leader, commit, 1, now, false)?;
        // Its name is gone with it.
        let deleted = if let Request::DeleteBucket(name) = request { leader.find(name) } else { None };
        let answer = self.change_bucket(leader, request, commit, now);
        leader.active.publish(commit);
        if matches!(request, Request::EditBucket(..)) {
            // Entries may be due that were not, or need a marker that needed none.
            self.expires_at(0);
        }
        if let (Request::PurgeAll(id), Answer::Purged(through)) = (request, &answer) {
            self.tell_purged(*id, commit, *through);
        }
        if let Some(id) = deleted {
            self.tell_deleted(id);
        }
        Ok(answer)
    }

    /// Steps 4 to 6: the record that was collected, from `first` on, to the log.
    fn log(&self, leader: &mut Leader, first: CommitNumber, count: u32, now: u64, synced: bool) -> Result<()> {
        let last = CommitNumber(first.0 + u64::from(count) - 1);
        let durable_mark = self.tail.durable();
        let fields = RecordFields { change_count: count, first_commit: first, durable_mark, now, chain: leader.chain };
        leader.next = last.next();
        let written = self.append(leader, &fields)?;
        let unsynced = self.tail.wrote(last, written);
        if !self.spare_wanted.load(Ordering::Relaxed) && leader.log.remaining() < self.settings.log_file_len / 4 * 3 {
            self.spare_wanted.store(true, Ordering::Relaxed);
            self.board.wake();
        }
        // The record is written: whatever fails now, it may be there after the next open.
        self.sync_if_due(last, written, unsynced, synced).map_err(Error::indeterminate)
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
    fn sync_if_due(&self, last: CommitNumber, written: u64, unsynced_bytes: u64, asked: bool) -> Result<()> {
        let due = match self.settings.durability {
            Durability::Sync => true,
            Durability::Periodic { bytes, .. } => unsynced_bytes >= bytes,
            Durability::OsCache => false,
        };
        if asked || due || last.0 - self.tail.durable().0 >= UNSYNCED_COMMITS_MAX / 2 {
            self.tail.sync(&self.health)?;
        } else if unsynced_bytes >= SYNC_STEP_LEN && unsynced_bytes - written < SYNC_STEP_LEN {
            self.board.wake();
        }
        Ok(())
    }

    /// Step 7: entries into the memtable, from commit `first` on. Answers when the first of them needs a marker.
    fn insert(&self, leader: &mut Leader, group: &[&Request], first: CommitNumber, now: u64) -> u64 {
        let Leader { draft, buckets, changed, active, time_matters, .. } = leader;
        let mut last_live: Option<&mut Live> = None;
        let mut expires_first = u64::MAX;
        let mut dropped = Vec::new();
        for (commit, change) in (first.0..).map(CommitNumber).zip(&draft.changes) {
            let Request::Write(write) = group[change.member] else { unreachable!("only writes have operations") };
            let op = &write.ops.as_slice()[change.op];
            let meta = op.meta(change, now);
            active.insert(op.bucket, op.key(write), op.hash, commit, meta, op.value(write));
            let live = match last_live {
                Some(live) if live.state.id == op.bucket => live,
                _ => buckets.get_mut(&op.bucket).expect("judged in this group"),
            };
            live.last_commit = commit;
            if live.state.spec.marker_ttl > 0 {
                expires_first = expires_first.min(expiry_of(&live.state, &meta));
            }
            if live.state.size.is_some() {
                live.next_expiry = live.next_expiry.min(expiry_of(&live.state, &meta));
            }
            if meta.deadline > 0 && !live.state.deadlines_seen {
                // Readers must know before they can see the entry.
                *time_matters = true;
                live.change(changed).deadlines_seen = true;
                self.edit_bucket(commit, &live.state);
            }
            if change.flags.drops_newest() {
                live.change(changed).note_dropped(change.revision);
                if dropped.last() != Some(&op.bucket) {
                    dropped.push(op.bucket);
                }
            }
            last_live = Some(live);
        }
        for id in dropped {
            // Who resumes must know before it can miss the marker.
            let live = buckets.get(&id).expect("judged in this group");
            self.edit_bucket(first, &live.state);
        }
        for row in draft.rows.iter().filter(|row| row.growth != 0) {
            let live = buckets.get_mut(&row.bucket).expect("judged in this group");
            if let Some(size) = &mut live.change(changed).size {
                size.bytes = size.bytes.saturating_add_signed(row.growth);
            }
        }
        expires_first
    }

    /// Step 7 for a change of a bucket: into the view.
    fn change_bucket(&self, leader: &mut Leader, request: &Request, commit: CommitNumber, now: u64) -> Answer {
        let Leader { buckets, changed, .. } = leader;
        match request {
            Request::CreateBucket(spec) => {
                let id = leader.next_bucket;
                leader.next_bucket = BucketId(id.0 + 1);
                let mut state = BucketState::new(id, spec.clone(), commit);
                // Nothing is in it, so its size is known.
                state.size = (spec.max_bytes > 0).then_some(BucketSize { bytes: 0, as_of: now });
                let state = Arc::new(state);
                let view = self.edit_bucket(commit, &state);
                let revisions = view.buckets.revisions(id).unwrap_or_default();
                leader.time_matters |= spec.max_age > 0;
                let mut live = Live::new(state, revisions, commit, u64::MAX);
                live.note_change(&mut leader.changed);
                leader.buckets.insert(id, live);
                leader.names.insert(spec.name.clone(), id);
                return Answer::Bucket(id);
            }
            Request::EditBucket(id, spec) => {
                let live = buckets.get_mut(id).expect("judged in this group");
                live.change(changed).edit(spec.clone(), commit, now);
                live.last_commit = commit;
                leader.time_matters |= spec.max_age > 0;
                self.edit_bucket(commit, &live.state);
                return Answer::Bucket(*id);
            }
            Request::PurgeAll(id) => {
                let live = buckets.get_mut(id).expect("judged in this group");
                let through = live.state.last_revision;
                live.change(changed).purge_all(through, commit, now);
                live.last_commit = commit;
                live.next_expiry = u64::MAX;
                self.edit_bucket(commit, &live.state);
                return Answer::Purged(through);
            }
            Request::DeleteBucket(name) => {
                if let Some(id) = leader.find(name) {
                    leader.buckets.remove(&id);
                    leader.names.remove(name);
                    leader.changed.push(id);
                    self.edit_view(|view| {
                        let visible = view.visible();
                        Arc::make_mut(&mut view.buckets).remove(commit, id, visible);
                    });
                }
            }
            Request::Clock(_) | Request::Write(_) | Request::Settle(_) => {}
        }
        Answer::Done
    }

    /// Step 7 for how far expiry has been swept.
    fn note_swept(&self, leader: &mut Leader, commit: CommitNumber) {
        let Leader { draft, buckets, changed, .. } = leader;
        let Some(SweptTo { bucket, deadline, revision, .. }) = draft.swept else { return };
        if let Some(live) = buckets.get_mut(&bucket) {
            live.change(changed).note_swept(deadline, revision);
            // The next sweep starts there.
            self.edit_bucket(commit, &live.state);
        }
    }

    /// Makes `state` what readers that see `commit` find.
    fn edit_bucket(&self, commit: CommitNumber, state: &Arc<BucketState>) -> Arc<View> {
        self.edit_view(|view| {
            let visible = view.visible();
            Arc::make_mut(&mut view.buckets).set(commit, Arc::clone(state), visible);
        })
    }
}

/// The revisions that the members took.
fn answer_accepted(draft: &Draft, group: &[&Request], answers: &mut [Result<Answer>]) {
    let mut changes = draft.changes.iter().peekable();
    for at in &draft.accepted {
        let Request::Write(write) = group[*at] else { unreachable!("only writes are judged") };
        let ops = write.ops.as_slice();
        let mut next = |op: usize| {
            let change = changes.next_if(|change| change.member == *at && change.op == op);
            change.map_or(Revision::NONE, |change| change.revision)
        };
        answers[*at] =
            Ok(if ops.len() == 1 { Answer::Written(next(0)) } else { Answer::Batch((0..ops.len()).map(next).collect()) });
    }
}
