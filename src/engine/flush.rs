//! Flushes: a sealed memtable becomes a run of its own, newer than all others, and its log file goes.
//!
//! The oldest sealed memtable is flushed first, one at a time, so what the manifest calls flushed has no holes (K10). What a failed flush
//! leaves is taken away, and the memtable and its log stay as they were.

use std::sync::Arc;

use super::build::{Built, Site};
use super::core::Core;
use super::keeper::{Failed, Keeper};
use crate::compact::{Floors, Inputs};
use crate::error::{ErrorKind, Result};
use crate::manifest::{BucketState, Manifest};
use crate::number::{FileNumber, Revision};
use crate::run::Run;
use crate::view::View;

impl Core {
    /// Writes the oldest sealed memtable to segments; answers whether there was one.
    pub(super) fn flush_oldest(&self) -> Result<bool> {
        let _turn = self.flushing.lock();
        self.health.check_sound()?;
        let now = self.now_for_readers();
        let view = self.view.load_full();
        let Some(sealed) = view.sealed.last() else { return Ok(false) };
        let started = self.env.clock.monotonic();
        let is_urgent = view.sealed.len() > 1;
        let states = sealed.states();
        let inputs = Inputs {
            // A flush is finished even if the store is being closed: the close needs it.
            pace: &|written| {
                if !is_urgent {
                    self.keep_rate(started, written);
                }
                Ok(())
            },
            memtable: Some(&sealed.memtable),
            runs: &[],
            hold_oldest: view.runs.is_empty(),
            hold_newest: true,
            buckets: &states,
            now: &|state| retention_now(&view, state, now),
            // A memtable's worth is one file, if it is not much larger than others.
            file_len: 2 * self.settings.segment_len,
        };
        let built = self.build_for_flush(&inputs)?;
        let newer = view.sealed.iter().rev().skip(1).map(|sealed| sealed.log);
        let mut logs: Vec<FileNumber> = newer.chain([view.active_log]).collect();
        // At a close nothing follows the last generation, and its file is still the active one.
        logs.dedup();
        self.install(&built, |manifest| manifest.flush(sealed, &logs, &built, self.clock_pair()))?;
        self.edit_view(|view| {
            view.sealed.retain(|other| !Arc::ptr_eq(other, sealed));
            if !built.segments.is_empty() {
                view.runs.insert(0, Arc::new(Run::of_files(built.segments.iter().cloned())));
            }
            raise_floors(view, &built);
        });
        self.note_pressure();
        let mut retired = self.retired.lock();
        retired.memtable(Arc::clone(&sealed.memtable));
        let done = if logs.contains(&sealed.log) { FileNumber(0) } else { sealed.log };
        self.tail.settled(sealed.through, done);
        if done == sealed.log {
            retired.file(self.path(&crate::wal::file_name(sealed.log)));
        }
        Ok(true)
    }

    /// Writes everything in memory to segments.
    pub(super) fn flush(&self) -> Result<()> {
        {
            let mut leader = self.leader.lock();
            self.health.check_writable()?;
            if leader.has_changes() {
                self.rotate(&mut leader, 0)?;
            }
        }
        while self.flush_oldest()? {}
        Ok(())
    }

    /// A flush must not fail for the lack of a few blocks: on a full disk the reserve is given up for it. A merge can wait.
    fn build_for_flush(&self, inputs: &Inputs<'_>) -> Result<Built> {
        match self.build(inputs) {
            Err(error) if error.kind() == ErrorKind::NoSpace && self.release_reserve() => self.build(inputs),
            built => built,
        }
    }

    /// Writes what survives of `inputs` to finished, named, opened segments (P4).
    pub(super) fn build(&self, inputs: &Inputs<'_>) -> Result<Built> {
        let mut site = Site {
            env: &self.env,
            directory: &self.directory,
            store: self.store,
            block_len: self.settings.block_len,
            cache: &self.cache,
            next_number: &mut || self.next_file_number(),
            sync_directory: &mut || self.sync_directory(),
        };
        let mut built = site.build(inputs)?;
        self.raise_to_present(&mut built.floors);
        Ok(built)
    }

    /// What a deadline has taken was there until then, and that may be later than what is flushed.
    pub(super) fn raise_to_present(&self, floors: &mut Floors) {
        let view = self.view.load();
        for (id, (as_of, _)) in floors.iter_mut().filter(|(_, (as_of, _))| *as_of > Revision::NONE) {
            *as_of = view.buckets.last_revision(*id).max(*as_of);
        }
    }

    /// Makes `change` in the manifest, which names what was built; takes the files away again if the manifest surely does not name them.
    pub(super) fn install(&self, built: &Built, mut change: impl FnMut(&mut Manifest)) -> Result<()> {
        let edited = self.edit_manifest(|keeper| keeper.edit(&mut change));
        if edited.is_err() && !self.health.is_poisoned() {
            built.discard(&self.env);
        }
        edited
    }

    /// An edit that must not fail for the lack of a few blocks: on a full disk the reserve is given up for it.
    pub(super) fn edit_manifest(&self, mut edit: impl FnMut(&mut Keeper) -> std::result::Result<(), Failed>) -> Result<()> {
        match self.keeper_edit(&mut edit) {
            Err(error) if error.kind() == ErrorKind::NoSpace && self.release_reserve() => self.keeper_edit(&mut edit),
            edited => edited,
        }
    }
}

/// Up to which time retention may count for a bucket whose limits are those of `state`, when a reader counts up to `now`: limits that were
/// changed since are not in `state`, and what was removed by the old ones in the new ones' time would be missed. `now` is older than `view`.
pub(super) fn retention_now(view: &View, state: &BucketState, now: u64) -> u64 {
    match view.buckets.newest(state.id) {
        Some(newest) if newest.changed != state.changed => 0,
        _ => now,
    }
}

/// What building has removed for good is known to readers of the view that lacks it.
pub(super) fn raise_floors(view: &mut View, built: &Built) {
    if !built.floors.is_empty() {
        let buckets = Arc::make_mut(&mut view.buckets);
        for (id, (as_of, watch)) in &built.floors {
            buckets.raise_floors(*id, *as_of, *watch);
        }
    }
}
