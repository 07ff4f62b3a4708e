//! The leader's side: what a group that has just become visible says to watchers.

use super::line::{Change, Line, Told};
use super::registry::Registry;
use crate::engine::core::Core;
use crate::engine::leader::Leader;
use crate::engine::request::Request;
use crate::entry::{COPIED_VALUE_LEN_MAX, Entry, Value};
use crate::env::sync::{Arc, Ordering};
use crate::key::Key;
use crate::number::{BucketId, CommitNumber, Revision};

impl Core {
    /// Tells the entries of a group, from commit `first` on.
    pub(in crate::engine) fn tell_entries(&self, leader: &Leader, group: &[&Request], first: CommitNumber, now: u64) {
        self.offer(leader, group, first, now);
        // Last, so that whoever finds a revision here has been told of it.
        for row in leader.draft.rows.iter() {
            if let Some(live) = leader.buckets.get(&row.bucket) {
                live.revisions.settled.store(live.state.last_revision.0, Ordering::Release);
            }
        }
    }

    fn offer(&self, leader: &Leader, group: &[&Request], first: CommitNumber, now: u64) {
        self.tell(|registry, _| {
            for (commit, change) in (first.0..).map(CommitNumber).zip(&leader.draft.changes) {
                if change.flags.is_dropped() {
                    continue;
                }
                let Request::Write(write) = group[change.member] else { unreachable!("only writes have operations") };
                let op = &write.ops.as_slice()[change.op];
                let key = op.key(write);
                registry.tell(op.bucket, key, op.hash, || {
                    let meta = op.meta(change, now);
                    let value = op.value(write);
                    let value = if value.len() <= COPIED_VALUE_LEN_MAX {
                        Value::copy_of(value)
                    } else {
                        // It lies in an allocation of its own there.
                        let found = leader.active.with_newest(op.bucket, key, op.hash, commit, |found| found.to_value());
                        found.unwrap_or_else(|| Value::copy_of(value))
                    };
                    let key = Key::from_stored(key).expect("it was checked before it was written");
                    let entry = Entry::new(key, meta, value);
                    let entry = match change.previous {
                        Some(previous) => entry.with_previous(previous),
                        None => entry,
                    };
                    Told::Entry(Arc::new(Change { commit, entry }))
                });
            }
        });
    }

    /// Tells that a bucket was purged as a whole.
    pub(in crate::engine) fn tell_purged(&self, bucket: BucketId, commit: CommitNumber, through: Revision) {
        self.tell(|registry, _| registry.tell_bucket(bucket, &Told::Purged { commit, through }));
    }

    /// Tells that a bucket was deleted.
    pub(in crate::engine) fn tell_deleted(&self, bucket: BucketId) {
        self.tell(|registry, wakes| registry.end_bucket(bucket, wakes));
    }

    /// Lets `say` say something to the registry, if anybody watches; what it noted is handed on.
    fn tell(&self, say: impl FnOnce(&mut Registry, &mut Vec<Arc<Line>>)) {
        let Some(mut registry) = self.bus.if_watched() else { return };
        let mut wakes = Vec::new();
        say(&mut registry, &mut wakes);
        registry.hand_on(&mut wakes);
        drop(registry);
        self.bus.note_wakes(&mut wakes);
    }
}
