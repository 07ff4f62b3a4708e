//! The leader's side: what a group that has just become visible says to watchers.
//!
//! It looks whether anybody watches, serves those whom the group concerns if they are few, and leaves everything else to the dispatcher.

use super::dispatch::Word;
use super::line::{Change, Told};
use crate::engine::core::Core;
use crate::engine::leader::{Leader, Numbered};
use crate::engine::request::{Op, Request, Write};
use crate::entry::{COPIED_VALUE_LEN_MAX, Entry, Value};
use crate::env::sync::{Arc, Ordering};
use crate::key::Key;
use crate::number::{BucketId, CommitNumber, Revision};
use crate::view::Revisions;

/// What a leader tells of.
#[derive(Clone, Copy)]
struct Group<'g> {
    leader: &'g Leader,
    members: &'g [&'g Request],
    first: CommitNumber,
    now: u64,
}

/// An operation that was committed.
#[derive(Clone, Copy)]
struct Written<'g> {
    commit: CommitNumber,
    change: &'g Numbered,
    write: &'g Write,
    op: &'g Op,
}

impl Core {
    /// Tells the entries of a group, from commit `first` on.
    pub(in crate::engine) fn tell_entries(&self, leader: &Leader, members: &[&Request], first: CommitNumber, now: u64) {
        let group = Group { leader, members, first, now };
        if self.is_told(group) {
            // Last, so that whoever finds a revision here has been told of it.
            for (revisions, revision) in group.marks() {
                revisions.told.store(revision.0, Ordering::Release);
            }
        } else {
            let word =
                Word::Entries(group.written().map(|written| (written.op.bucket, written.op.hash, group.told(written))).collect());
            self.bus.dispatcher.push(word, group.marks().map(|(revisions, revision)| (Arc::clone(revisions), revision)));
        }
    }

    /// Tells a group to those whom it concerns, if they are few and wait for nothing older.
    fn is_told(&self, group: Group<'_>) -> bool {
        let bus = &self.bus;
        if !bus.gate.is_watched() {
            return true;
        }
        if bus.is_behind() {
            return false;
        }
        let watchers_max = bus.dispatcher.inline_max();
        let mut registry = bus.registry.lock();
        let is_told = group.written().all(|written| {
            let Written { write, op, .. } = written;
            registry.tell((op.bucket, op.key(write), op.hash), watchers_max, || group.told(written))
        });
        if is_told {
            bus.hand_on(registry);
        }
        is_told
    }

    /// Tells that a bucket was purged as a whole.
    pub(in crate::engine) fn tell_purged(&self, bucket: BucketId, commit: CommitNumber, through: Revision) {
        self.tell_bucket(bucket, Word::Purged(bucket, Told::Purged { commit, through }));
    }

    /// Tells that a bucket was deleted.
    pub(in crate::engine) fn tell_deleted(&self, bucket: BucketId) {
        self.tell_bucket(bucket, Word::Deleted(bucket));
    }

    /// Tells all watchers of a bucket something.
    fn tell_bucket(&self, bucket: BucketId, word: Word) {
        let bus = &self.bus;
        if !bus.gate.is_watched() {
            return;
        }
        if !bus.is_behind() {
            let mut registry = bus.registry.lock();
            if registry.count(bucket) <= bus.dispatcher.inline_max() {
                let mut lines = Vec::new();
                registry.spread(word, &mut lines);
                drop(registry);
                bus.note_wakes(&mut lines);
                return;
            }
        }
        bus.dispatcher.push(word, std::iter::empty());
    }
}

impl<'g> Group<'g> {
    /// How far each of its buckets is with it.
    fn marks(self) -> impl Iterator<Item = (&'g Arc<Revisions>, Revision)> {
        let live = |bucket| self.leader.buckets.get(&bucket);
        self.leader
            .draft
            .rows
            .iter()
            .filter_map(move |row| live(row.bucket))
            .map(|live| (&live.revisions, live.state.last_revision))
    }

    /// What it wrote and watchers see.
    fn written(self) -> impl Iterator<Item = Written<'g>> {
        let changes = (self.first.0..).map(CommitNumber).zip(&self.leader.draft.changes);
        changes.filter(|(_, change)| !change.flags.is_dropped()).map(move |(commit, change)| {
            let Request::Write(write) = self.members[change.member] else { unreachable!("only writes have operations") };
            Written { commit, change, write, op: &write.ops.as_slice()[change.op] }
        })
    }

    fn told(self, Written { commit, change, write, op }: Written<'_>) -> Told {
        let (key, value) = (op.key(write), op.value(write));
        let value = if value.len() <= COPIED_VALUE_LEN_MAX {
            Value::copy_of(value)
        } else {
            // It lies in an allocation of its own there.
            let found = self.leader.active.with_newest(op.bucket, key, op.hash, commit, |found| found.to_value());
            found.unwrap_or_else(|| Value::copy_of(value))
        };
        let key = Key::from_stored(key).expect("it was checked before it was written");
        let entry = Entry::new(key, op.meta(change, self.now), value);
        let entry = match change.previous {
            Some(previous) => entry.with_previous(previous),
            None => entry,
        };
        Told::Entry(Arc::new(Change { commit, entry }))
    }
}
