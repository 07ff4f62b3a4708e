//! The caller's side of a write: from checked arguments to its revisions, outside any lock but the queue's.
//!
//! Reads what the write depends on, encodes, joins the queue; comes back if what it had read was out of date. In the third round it asks for
//! a group of its own in which the leader reads, so that it ends whatever others do.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::Guard;

use super::core::Core;
use super::health::Health;
use super::newest::newest_of;
use super::queue::Member;
use super::request::{Answer, Condition, Op, OpFields, Ops, Request, SweptTo, Write};
use crate::acceptance::PreRead;
use crate::entry::{Flags, Operation, Reason};
use crate::env::sync::AtomicBool;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::BucketState;
use crate::number::{BucketId, CommitNumber, Revision};
use crate::view::View;

/// How often a writer reads again for its condition before the leader reads for it.
const READS_BY_CALLER_MAX: u32 = 2;
/// About what an entry takes in the log beside key and value.
const ENTRY_OVERHEAD: usize = 32;

/// Memory that a thread keeps between its writes, at most.
const BUFFER_LEN_MAX: usize = 64 << 10;

/// The moment of which a caller reads.
struct Sight {
    now: u64,
    view: Guard<Arc<View>>,
    at: CommitNumber,
}

/// How operations that belong together are written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WriteOptions {
    /// Synced before it is answered, whatever the store's level.
    pub(crate) synced: bool,
    /// Skip an operation whose condition fails, instead of failing.
    pub(crate) lenient: bool,
    /// It is the markers of a sweep that has got so far.
    pub(crate) swept: Option<SweptTo>,
}

/// Who reads what a write depends on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    ByCaller,
    ByLeader,
    /// By the leader, in a group without others.
    Alone,
}

/// A write that was put in line.
#[derive(Debug)]
pub(crate) struct Submitted(Line);

#[derive(Debug)]
enum Line {
    Member(Arc<Member>),
    Done(Result<Revision>),
}

impl Submitted {
    /// What became of the write, once it has been committed.
    pub(super) fn wait(&self) -> Result<Revision> {
        match &self.0 {
            Line::Done(result) => result.clone(),
            Line::Member(member) => member.wait_answer().map(one_revision),
        }
    }

    /// The same, if it has been committed.
    pub(super) fn poll(&self) -> Option<Result<Revision>> {
        match &self.0 {
            Line::Done(result) => Some(result.clone()),
            Line::Member(member) => member.answer_now().map(|answer| answer.map(one_revision)),
        }
    }
}

fn one_revision(answer: Answer) -> Revision {
    match answer {
        Answer::Written(revision) => revision,
        other => unreachable!("one operation is answered with its revision, not {other:?}"),
    }
}

impl Core {
    /// One operation, from checked arguments to its revision.
    pub(super) fn write(&self, fields: &OpFields<'_>, options: WriteOptions) -> Result<Revision> {
        self.write_all(std::slice::from_ref(fields), options).map(one_revision)
    }

    /// Several operations, all or none; one revision for each.
    pub(super) fn write_batch(&self, fields: &[OpFields<'_>], options: WriteOptions) -> Result<Vec<Revision>> {
        match self.write_all(fields, options)? {
            Answer::Written(revision) => Ok(vec![revision]),
            Answer::Batch(revisions) => Ok(revisions),
            other => unreachable!("a batch is answered with its revisions, not {other:?}"),
        }
    }

    fn write_all(&self, fields: &[OpFields<'_>], options: WriteOptions) -> Result<Answer> {
        let (mut rounds, mut counted, mut is_counted) = (0, Vec::new(), false);
        loop {
            let reads = if rounds < READS_BY_CALLER_MAX { Reads::ByCaller } else { Reads::Alone };
            let write = self.prepare(fields, options, reads, is_counted)?;
            let due: Vec<_> = fields.iter().zip(write.ops.as_slice()).filter_map(|(op, read)| Some((op, read.due()?))).collect();
            if !due.is_empty() {
                self.commit_markers(due.into_iter().map(|(op, revision)| (op.bucket, op.key, revision)))?;
                continue;
            }
            match self.submit(Request::Write(write))? {
                Answer::ReadAgain => rounds += 1,
                Answer::Count(bucket) => {
                    self.count_size(bucket)?;
                    // Other buckets of a batch may have to be counted too; the same one only once.
                    is_counted = counted.contains(&bucket);
                    counted.push(bucket);
                }
                Answer::Due { op, revision } => {
                    self.commit_markers([(fields[op].bucket, fields[op].key, revision)])?;
                    rounds = 0;
                }
                answer => return Ok(answer),
            }
        }
    }

    /// Puts a write in line without waiting for it. Without threads of the store's own it is committed before this returns.
    pub(super) fn submit_detached(&self, fields: &OpFields<'_>, options: WriteOptions) -> Result<Submitted> {
        // Whether there is room cannot be told without counting, which takes a thread; so this one does it.
        let limited = {
            let view = self.view.load();
            let state = view.buckets.get(fields.bucket, view.visible());
            state.is_some_and(|state| state.spec.max_bytes > 0)
        };
        if limited {
            self.health.check_writable()?;
            self.check_values(std::slice::from_ref(fields))?;
            return Ok(Submitted(Line::Done(self.write(fields, options))));
        }
        // The leader reads for it: were it sent back to read again, later writes of the same thread would overtake it.
        let write = self.prepare(std::slice::from_ref(fields), options, Reads::ByLeader, false)?;
        let member = self.queue.enter_detached(Request::Write(write)).ok_or_else(Health::closed)?;
        self.answer_calls();
        self.wake_watchers();
        Ok(Submitted(Line::Member(member)))
    }

    /// The committer's thread.
    pub(super) fn run_committer(&self) {
        while self.queue.wait_for_call() {
            self.lead_group(None);
            self.wake_watchers();
        }
    }

    /// Everything that can be done before the queue.
    fn prepare(&self, fields: &[OpFields<'_>], options: WriteOptions, reads: Reads, counted: bool) -> Result<Write> {
        self.health.check_writable()?;
        self.check_values(fields)?;
        let len: usize = fields.iter().map(|op| op.key.len() + op.value.len() + ENTRY_OVERHEAD).sum();
        self.wait_for_room(len as u64).map_err(Error::not_applied)?;
        let mut bytes = take_buffer(len);
        let mut sight = None;
        let mut encode = |fields: &OpFields<'_>| {
            let mut op = Op::encode(&mut bytes, fields, self.hasher.hash(fields.bucket, fields.key));
            if reads == Reads::ByCaller {
                self.read_for(&mut op, fields, &mut sight)?;
            }
            Ok(op)
        };
        let ops = match fields {
            [one] => Ops::One(encode(one)?),
            // Operations that may be skipped are no batch: each stands for itself.
            many if options.lenient => Ops::Many(many.iter().map(encode).collect::<Result<_>>()?),
            many => {
                Ops::Many(many.iter().zip(continues(many)).map(|(op, bits)| encode(&op.with_flags(bits))).collect::<Result<_>>()?)
            }
        };
        let WriteOptions { synced, lenient, swept } = options;
        let (alone, leader_reads) = (reads == Reads::Alone || swept.is_some(), reads != Reads::ByCaller);
        Ok(Write {
            bytes,
            ops,
            lenient,
            synced,
            alone,
            leader_reads,
            counted: AtomicBool::new(counted),
            swept: swept.map(Box::new),
        })
    }

    /// Refuses a value over the limits of the store or of its bucket. One that is only touched was let in before.
    pub(super) fn check_values(&self, fields: &[OpFields<'_>]) -> Result<()> {
        let view = self.view.load();
        let visible = view.visible();
        let mut last: Option<&BucketState> = None;
        for op in fields.iter().filter(|op| !op.is_check && op.flags.is_put()) {
            let state = match last {
                Some(state) if state.id == op.bucket => state,
                _ => view.buckets.get(op.bucket, visible).ok_or_else(|| self.bucket_gone())?,
            };
            last = Some(state);
            self.check_value(state, op.flags, op.value.len() as u64)?;
        }
        Ok(())
    }

    /// Whether the bucket takes a value of `len` bytes, as it is now.
    pub(super) fn check_value(&self, state: &BucketState, flags: Flags, len: u64) -> Result<()> {
        let limit = match state.spec.max_value_size {
            0 => self.settings.value_len_max,
            own => own.min(self.settings.value_len_max),
        };
        if len > limit && flags.is_put() && flags.reason() != Reason::Touched {
            let message = format!("value of {len} bytes; bucket {} takes at most {limit}", state.spec.name);
            return Err(Error::new(ErrorKind::ValueTooLarge, message));
        }
        Ok(())
    }

    /// What the operation depends on, as of a visible commit. `sight` is what the operations before it were read in.
    fn read_for(&self, op: &mut Op, fields: &OpFields<'_>, sight: &mut Option<Sight>) -> Result<()> {
        if sight.is_none() {
            let view = self.view.load();
            let state = view.buckets.get(fields.bucket, view.visible()).ok_or_else(|| self.bucket_gone())?;
            if !depends(fields, state) {
                return Ok(());
            }
        }
        let Sight { now, view, at } = sight.get_or_insert_with(|| {
            // In this order (E16).
            let now = self.now_for_readers();
            let (view, at) = self.pin();
            Sight { now, view, at }
        });
        let (now, at) = (*now, *at);
        let state = view.buckets.get(fields.bucket, at).ok_or_else(|| self.bucket_gone())?;
        if state.spec.max_bytes > 0 && !fields.is_check {
            let stored = self.stored_of(view, at, fields.bucket, fields.key)?;
            op.pre_read = Some(PreRead { at, found: newest_of(state, stored.iter().map(|(meta, _)| meta), now) });
            op.stored = Some(stored);
        } else if depends(fields, state) {
            op.pre_read = Some(PreRead { at, found: self.find_newest(view, at, state, (fields.key, op.hash), now)? });
        }
        Ok(())
    }

    /// The key's newest value again, with another time to live (nanoseconds; 0 = none). `None` if it has no value.
    pub(super) fn touch(&self, bucket: BucketId, key: &[u8], ttl: u64, options: WriteOptions) -> Result<Option<Revision>> {
        loop {
            let Some(entry) =
                self.read_newest(bucket, |reader| reader.entry(key))?.filter(|entry| entry.operation() == Operation::Put)
            else {
                return Ok(None);
            };
            let flags = Flags::put().with_reason(Reason::Touched);
            let condition = Condition::Revision(entry.revision());
            let value = entry.value();
            let fields = OpFields { bucket, flags, key, value, condition, ttl, revision: Revision::NONE, is_check: false };
            match self.write(&fields, options) {
                // Somebody wrote in between: what is to live longer is what is there now.
                Err(error) if error.kind() == ErrorKind::WrongRevision => {}
                written => return written.map(Some),
            }
        }
    }

    pub(super) fn purge_all(&self, bucket: BucketId) -> Result<Revision> {
        self.health.check_writable()?;
        match self.submit(Request::PurgeAll(bucket))? {
            Answer::Purged(through) => Ok(through),
            other => unreachable!("a purge answers through what, not {other:?}"),
        }
    }
}

/// Whether what becomes of an operation depends on what its key holds.
fn depends(fields: &OpFields<'_>, state: &BucketState) -> bool {
    fields.condition != Condition::None || state.is_read_before_writes() || state.spec.max_bytes > 0
}

thread_local! {
    /// The memory of the thread's last write, for its next one.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

fn take_buffer(len: usize) -> Vec<u8> {
    let mut bytes = BUFFER.take();
    bytes.clear();
    bytes.reserve(len);
    bytes
}

/// Keeps the memory of a write that has been answered.
pub(super) fn give_buffer_back(request: Request) {
    if let Request::Write(Write { bytes, .. }) = request
        && bytes.capacity() <= BUFFER_LEN_MAX
    {
        BUFFER.set(bytes);
    }
}

/// For each operation the flag that says that its bucket's next revision belongs to the same batch, or none (E12).
fn continues(batch: &[OpFields<'_>]) -> Vec<u16> {
    let mut followed = HashSet::new();
    // Most batches are of one bucket, and those of several often come bucket by bucket.
    let mut last = None;
    let mut bits: Vec<u16> = batch
        .iter()
        .rev()
        .map(|op| match op.is_check {
            true => 0,
            false if last == Some(op.bucket) => Flags::CONTINUES,
            false => {
                last = Some(op.bucket);
                if followed.insert(op.bucket) { 0 } else { Flags::CONTINUES }
            }
        })
        .collect();
    bits.reverse();
    bits
}

#[cfg(test)]
mod tests;
