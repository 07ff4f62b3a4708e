//! Whether what a member asks for may happen: step 2 of a commit.
//!
//! Members are judged in order, each against what is visible and what the members before it will have written. A caller has read
//! its key before it joined the queue; the leader believes that where `acceptance` says so, and reads itself only in the third round (E2).
//! What a key holds matters to a condition; in buckets with entries that expire by themselves to every write, because one that comes after
//! an expired entry starts a new life (E6); and in buckets with `max_bytes` to every write, because of what it pushes out (E13).

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::Guard;

use super::core::Core;
use super::leader::{Draft, Leader, Live, Numbered};
use super::newest::newest_of;
use super::request::{Answer, Condition, Op, Request, SweptTo, Write};
use super::size::growth;
use crate::acceptance::{Found, Present, accept};
use crate::entry::{Flags, Meta};
use crate::env::sync::Ordering;
use crate::error::{Error, ErrorKind, Result};
use crate::number::{BucketId, CommitNumber, Revision};
use crate::view::View;

/// What all members of a group are judged by.
struct Bench<'a> {
    core: &'a Core,
    /// Pinned when somebody first asks: most groups are of writes that depend on nothing.
    pinned: OnceCell<Guard<Arc<View>>>,
    leader: &'a Leader,
    group: &'a [&'a Request],
    now: u64,
}

/// The newest entries of the keys that earlier members of the group write. Filled when somebody first asks: most groups are of writes that
/// depend on nothing.
#[derive(Default)]
struct Overlay<'a> {
    keys: HashMap<(BucketId, &'a [u8]), Found>,
    /// How many changes of the draft are in it.
    noted: usize,
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

type Judged<T> = std::result::Result<T, Refused>;

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
        let bench = Bench { core: self, pinned: OnceCell::new(), leader, group, now };
        let mut overlay = Overlay::default();
        for (member, request) in group.iter().enumerate() {
            let Request::Write(write) = request else { unreachable!("a bucket change goes alone") };
            let changes = draft.changes.len();
            answers.push(match self.judge_write(&bench, draft, member, write, &mut overlay) {
                Ok(()) => {
                    draft.accepted.push(member);
                    draft.len += request.len();
                    draft.swept = draft.swept.or_else(|| bench.swept(write));
                    Ok(Answer::Done)
                }
                Err(refused) => {
                    draft.changes.truncate(changes);
                    match refused {
                        Refused::Error(error) => Err(error),
                        Refused::Answer(answer) => Ok(answer),
                    }
                }
            });
        }
    }

    /// One member, all of its operations or none. What it is refused for leaves the draft as it was, but for `changes`.
    fn judge_write<'a>(
        &self,
        bench: &Bench<'a>,
        draft: &mut Draft,
        member: usize,
        write: &Write,
        overlay: &mut Overlay<'a>,
    ) -> Judged<()> {
        let ops = write.ops.as_slice();
        let first = draft.changes.len();
        // Keys that its own earlier operations write, where that matters.
        let mut own: HashSet<(BucketId, &[u8])> = HashSet::new();
        let mut sized = false;
        let mut last_live: Option<&Live> = None;
        for (at, op) in ops.iter().enumerate() {
            let live = match last_live {
                Some(live) if live.state.id == op.bucket => live,
                _ => bench.live(op.bucket).ok_or_else(|| self.bucket_gone())?,
            };
            last_live = Some(live);
            if !op.is_check() {
                // The limit may have been lowered since the caller looked.
                self.check_value(&live.state, op.flags, op.value_len())?;
            }
            let (mut flags, mut previous) = (op.flags, None);
            if op.condition != Condition::None || live.state.is_read_before_writes() {
                let key = (op.bucket, op.key(write));
                let found = if own.contains(&key) {
                    // Its own earlier operation is the newest, and has not expired.
                    Found::Nothing
                } else {
                    match overlay.find(bench, &draft.changes[..first], key) {
                        Some(found) => found,
                        None => self.settle(bench, live, op, write)?,
                    }
                };
                if let Found::Due { revision } = found
                    && !matches!(op.condition, Condition::Due(_))
                {
                    return Err(Refused::Answer(Answer::Due { op: at, revision }));
                }
                if let Err(error) = check(op, write, found) {
                    if write.lenient {
                        continue;
                    }
                    return Err(error.into());
                }
                if !op.is_check() {
                    previous = if own.contains(&key) { None } else { Some(found.revision()) };
                    if matches!(found, Found::Expired | Found::Due { .. }) && !flags.is_dropped() {
                        flags = flags.with(Flags::ROLLUP);
                    }
                    if ops.len() > 1 && live.state.is_read_before_writes() {
                        own.insert(key);
                    }
                }
            }
            if !op.is_check() {
                sized |= live.state.spec.max_bytes > 0;
                // Numbers come below, once nothing can refuse the member any more.
                draft.changes.push(Numbered { member, op: at, revision: op.revision, flags, previous });
            }
        }
        if sized {
            self.judge_size(bench, draft, first, write, overlay)?;
        }
        for at in first..draft.changes.len() {
            let op = &ops[draft.changes[at].op];
            if op.takes_revision() {
                let last = || bench.live(op.bucket).map_or_else(Default::default, |live| live.state.last_revision);
                draft.changes[at].revision = draft.rows.of(op.bucket, last).take_revision();
            }
        }
        Ok(())
    }

    /// The key's newest entry as of this group, from what the caller read and what the memtables got since (E2).
    fn settle(&self, bench: &Bench<'_>, live: &Live, op: &Op, write: &Write) -> Judged<Found> {
        let Some(pre_read) = &op.pre_read else {
            if !write.leader_reads {
                // A bucket that had no deadlines when the caller looked.
                return Err(Refused::Answer(Answer::ReadAgain));
            }
            // The third round: the leader reads itself.
            let everything = CommitNumber(u64::MAX);
            return Ok(self.find_newest(bench.view(), everything, &live.state, (op.key(write), op.hash), bench.now)?);
        };
        let oldest_memtable_first = bench.view().memory_starts_at();
        let present = Present { bucket_last_change: live.state.changed, oldest_memtable_first, now: bench.now };
        if !accept(pre_read, &present) {
            return Err(Refused::Answer(Answer::ReadAgain));
        }
        match newest_in_memory(bench.view(), op, write) {
            Some((commit, meta)) if commit > pre_read.at => {
                if meta.flags.is_dropped() {
                    // Not a state of its own: whoever reads again sees what it left.
                    return Err(Refused::Answer(Answer::ReadAgain));
                }
                Ok(newest_of(&live.state, [&meta], bench.now))
            }
            _ => Ok(pre_read.found),
        }
    }

    /// Whether what the member writes fits in its buckets: by the net of all its operations (E13).
    fn judge_size<'a>(
        &self,
        bench: &Bench<'a>,
        draft: &mut Draft,
        first: usize,
        write: &Write,
        overlay: &mut Overlay<'a>,
    ) -> Judged<()> {
        let ops = write.ops.as_slice();
        let (earlier, changes) = draft.changes.split_at(first);
        let place = |change: &Numbered| (ops[change.op].bucket, ops[change.op].key(write));
        let limited = |bucket| bench.live(bucket).is_some_and(|live| live.state.spec.max_bytes > 0);
        // By bucket and key; those of one key in their order.
        let mut sorted: Vec<&Numbered> = changes.iter().filter(|change| limited(ops[change.op].bucket)).collect();
        sorted.sort_by_key(|change| place(change));
        let mut growths: Vec<(BucketId, i64)> = Vec::new();
        for of_bucket in sorted.chunk_by(|left, right| place(left).0 == place(right).0) {
            let bucket = place(of_bucket[0]).0;
            let live = bench.live(bucket).ok_or_else(|| self.bucket_gone())?;
            let Some(size) = live.state.size else { return Err(Refused::Answer(Answer::Count(bucket))) };
            // What has expired since the count is in it still, but to push it out makes no room any more.
            let (mut by, mut by_now) = (0, 0);
            for of_key in of_bucket.chunk_by(|left, right| place(left) == place(right)) {
                let key = place(of_key[0]);
                if overlay.find(bench, earlier, key).is_some() {
                    return Err(Refused::Answer(Answer::ReadAgain));
                }
                let op = &ops[of_key[0].op];
                let read;
                let stored = match &op.stored {
                    Some(stored) if is_still_all(bench, live, op, write) => stored,
                    None if write.leader_reads => {
                        read = self.stored_of(bench.view(), CommitNumber(u64::MAX), bucket, key.1)?;
                        &read
                    }
                    _ => return Err(Refused::Answer(Answer::ReadAgain)),
                };
                let new: Vec<(Meta, u64)> =
                    of_key.iter().rev().map(|change| unnumbered(&ops[change.op], change, live, bench.now)).collect();
                by += growth(&live.state, size.as_of, key.1.len() as u64, &new, stored);
                by_now += growth(&live.state, bench.now, key.1.len() as u64, &new, stored);
            }
            let before = size.bytes.saturating_add_signed(draft.rows.growth_of(bucket));
            let after = before.saturating_add_signed(by);
            let has_put = of_bucket.iter().any(|change| change.flags.is_put());
            if by_now > 0 && has_put && after > live.state.spec.max_bytes {
                if !write.counted.load(Ordering::Relaxed) && live.next_expiry <= bench.now {
                    return Err(Refused::Answer(Answer::Count(bucket)));
                }
                return Err(full(live, before, after).into());
            }
            growths.push((bucket, by));
        }
        for (bucket, by) in growths {
            let last = || bench.live(bucket).map_or_else(Default::default, |live| live.state.last_revision);
            draft.rows.of(bucket, last).growth += by;
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

/// Whether nothing of the key came or went since the caller read all its entries.
fn is_still_all(bench: &Bench<'_>, live: &Live, op: &Op, write: &Write) -> bool {
    let Some(pre_read) = &op.pre_read else { return false };
    let oldest_memtable_first = bench.view().memory_starts_at();
    let present = Present { bucket_last_change: live.state.changed, oldest_memtable_first, now: bench.now };
    accept(pre_read, &present) && newest_in_memory(bench.view(), op, write).is_none_or(|(commit, _)| commit <= pre_read.at)
}

/// An entry that is to be, with the length of its value. Of its revision only that it is new, and rises, matters.
fn unnumbered(op: &Op, change: &Numbered, live: &Live, now: u64) -> (Meta, u64) {
    let revision = if op.takes_revision() { Revision(live.state.last_revision.0 + 1 + change.op as u64) } else { op.revision };
    let deadline = if op.ttl == 0 { 0 } else { now.saturating_add(op.ttl) };
    (Meta { revision, flags: change.flags, created: now, deadline, ..Meta::default() }, op.value_len())
}

fn full(live: &Live, before: u64, after: u64) -> Error {
    let (name, limit) = (&live.state.spec.name, live.state.spec.max_bytes);
    let message = format!(
        "bucket {name} is full: it takes {before} bytes, the write would make it {after}, its limit is {limit}; delete or purge keys, \
         or raise max_bytes"
    );
    Error::new(ErrorKind::BucketFull, message)
}

impl<'a> Bench<'a> {
    fn view(&self) -> &View {
        self.pinned.get_or_init(|| self.core.view.load())
    }

    fn live(&self, bucket: BucketId) -> Option<&'a Live> {
        self.leader.buckets.get(&bucket)
    }

    /// How far expiry was swept, if that still holds.
    fn swept(&self, write: &Write) -> Option<SweptTo> {
        let unchanged = |swept: &SweptTo| self.live(swept.bucket).is_some_and(|live| live.state.changed <= swept.at);
        write.swept.as_deref().copied().filter(unchanged)
    }
}

impl<'a> Overlay<'a> {
    /// What the members with these changes will have made of the key.
    fn find(&mut self, bench: &Bench<'a>, earlier: &[Numbered], key: (BucketId, &[u8])) -> Option<Found> {
        for change in &earlier[self.noted..] {
            let Request::Write(write) = bench.group[change.member] else { unreachable!("only writes have operations") };
            self.note(write, change, bench.now);
        }
        self.noted = earlier.len();
        self.keys.get(&key).copied()
    }

    fn note(&mut self, write: &'a Write, change: &Numbered, now: u64) {
        let op = &write.ops.as_slice()[change.op];
        let found = if op.flags.is_dropped() {
            // The marker goes, or stays as the newest entry.
            let stays = Found::Entry { revision: op.revision, is_value: false, deadline: 0 };
            if op.flags.has(Flags::ROLLUP) { Found::Nothing } else { stays }
        } else {
            let deadline = if op.ttl == 0 { 0 } else { now.saturating_add(op.ttl) };
            Found::Entry { revision: change.revision, is_value: op.flags.is_put(), deadline }
        };
        self.keys.insert((op.bucket, op.key(write)), found);
    }
}

/// Whether the condition of `op` holds of the key's newest entry.
fn check(op: &Op, write: &Write, found: Found) -> Result<()> {
    let (actual, holds_value) = match found {
        Found::Entry { revision, is_value, .. } => (revision, is_value),
        Found::Nothing | Found::Expired | Found::Due { .. } => (Default::default(), false),
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
        Condition::Due(expected) if found != (Found::Due { revision: expected }) => {
            let message = format!("key {} was written since revision {expected} expired", key());
            Err(Error::new(ErrorKind::WrongRevision, message).with_actual_revision(actual))
        }
        _ => Ok(()),
    }
}
