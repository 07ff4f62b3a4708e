//! What a key's newest entry is, to whoever is about to write it: the leader of a group, or a caller before it joins the queue.
//!
//! Unlike a read it tells a key whose time is over from one that has nothing, because what is written next must say so (E6), and it names
//! the moment from which on the answer may be another one, because time passes between a caller's read and its commit (E2).

use super::core::Core;
use super::size::expiry_of;
use crate::acceptance::Found;
use crate::entry::{Flags, Meta};
use crate::error::Result;
use crate::manifest::BucketState;
use crate::number::CommitNumber;
use crate::retention::{Judge, Sight, awaits_marker};
use crate::view::{View, rules};

impl Core {
    /// The key's newest entry among those up to `visible`, at store time `now`.
    pub(super) fn find_newest(
        &self,
        view: &View,
        visible: CommitNumber,
        state: &BucketState,
        (key, hash): (&[u8], u64),
        now: u64,
    ) -> Result<Found> {
        match newest_stored(view, visible, state, key, hash)? {
            None => Ok(Found::Nothing),
            // What it took of the entries below it is told by all of them together.
            Some(meta) if meta.flags.is_dropped() => {
                let stored = self.stored_of(view, visible, state.id, key)?;
                Ok(newest_of(state, stored.iter().map(|(meta, _)| meta), now))
            }
            Some(meta) => Ok(newest_of(state, [&meta], now)),
        }
    }
}

/// The first entry of the key from the newest source on, whether it counts or not.
pub(super) fn newest_stored(
    view: &View,
    visible: CommitNumber,
    state: &BucketState,
    key: &[u8],
    hash: u64,
) -> Result<Option<Meta>> {
    for memtable in view.memtables() {
        if let Some(meta) = memtable.with_newest(state.id, key, hash, visible, |found| found.meta) {
            return Ok(Some(meta));
        }
    }
    for segment in view.runs.iter().filter_map(|run| run.find(state.id, key)) {
        if let Some(meta) = segment.with_newest(state.id, key, hash, |found| found.meta)? {
            return Ok(Some(meta));
        }
    }
    Ok(None)
}

/// The newest of a key's entries, which come newest first and from the key's newest on.
pub(super) fn newest_of<'m>(state: &BucketState, metas: impl IntoIterator<Item = &'m Meta, IntoIter: Clone>, now: u64) -> Found {
    let rules = rules(state, now);
    let mut judge = Judge::new(&rules);
    let metas = metas.into_iter();
    for meta in metas.clone() {
        match judge.see(meta) {
            Sight::Visible => {
                let expires = expiry_of(state, meta);
                let deadline = if expires == u64::MAX { 0 } else { expires };
                return Found::Entry { revision: meta.revision, is_value: meta.flags.is_put(), deadline };
            }
            // A dropped entry.
            Sight::Hidden => {}
            // Only a deadline of its own takes a key so that older entries would come back: all else removes them for ever.
            Sight::End => {
                if let Some(revision) = awaits_marker(&rules, metas) {
                    return Found::Due { revision };
                }
                // A merge whose clock was ahead of this one's may have found it over before.
                let has_passed = meta.deadline <= now || meta.flags.has(Flags::STUB);
                let is_over = meta.deadline != 0 && has_passed && meta.revision > state.floor;
                return if is_over { Found::Expired } else { Found::Nothing };
            }
        }
    }
    Found::Nothing
}
