//! Merges: a slice of neighbouring runs goes into the oldest of them.
//!
//! What is written takes the place of the oldest run's part of the slice; of the newer runs the slice is taken out, in the same edit of the
//! manifest. So after every job the store is whole, whatever comes next. Only one merge runs at a time; flushes may put runs in front
//! meanwhile, which is why runs are counted from the oldest on.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::build::Built;
use super::core::Core;
use super::flush::{raise_floors, retention_now};
use crate::compact::{Inputs, pick};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::LiveRange;
use crate::number::FileNumber;
use crate::run::{Part, Run};
use crate::segment::Segment;

impl Core {
    /// Merges segments if there are many; answers whether it did.
    pub(super) fn merge_step(&self) -> Result<bool> {
        let sizes: Vec<u64> = self.view.load().runs.iter().map(|run| run.len()).collect();
        match pick(&sizes) {
            Some(count) => self.merge(count),
            None => Ok(false),
        }
    }

    /// Merges the `count` newest runs into one.
    pub(super) fn merge(&self, count: usize) -> Result<bool> {
        let _turn = self.merging.lock();
        self.health.check_sound()?;
        if count == 0 {
            return Ok(false);
        }
        self.merge_slice(count - 1, &LiveRange::ALL)
    }

    /// Merges what the runs up to number `last` (0 = the newest) have in `slice` into that one; the caller has the turn.
    fn merge_slice(&self, last: usize, slice: &LiveRange) -> Result<bool> {
        let now = self.now_for_readers();
        let view = self.view.load_full();
        let Some(inputs) = view.runs.get(..=last) else { return Ok(false) };
        let cut: Vec<Arc<Run>> = inputs.iter().map(|run| Arc::new(run.cut(slice))).collect();
        let buckets: Vec<_> = self.keeper.lock().manifest().buckets.iter().cloned().map(Arc::new).collect();
        let built = self.build(&Inputs {
            pace: &|_| self.check_going_on(),
            memtable: None,
            runs: &cut,
            hold_oldest: last + 1 == view.runs.len(),
            hold_newest: true,
            buckets: &buckets,
            now: &|state| retention_now(&view, state, now),
            file_len: self.settings.segment_len,
        })?;
        let parts: Vec<Part> = built.segments.iter().cloned().map(Part::of).collect();
        let merged = view.runs.iter().enumerate().map(|(at, run)| match at {
            _ if at < last => Arc::new(run.replace(slice, &[])),
            _ if at == last => Arc::new(run.replace(slice, &parts)),
            _ => Arc::clone(run),
        });
        let merged: Vec<Arc<Run>> = merged.filter(|run| !run.is_empty()).collect();
        self.replace_runs(&view.runs, &merged, &built)?;
        Ok(true)
    }

    /// Puts `merged` in the place of `runs`, which are the oldest that there are, in the manifest and in the view.
    fn replace_runs(&self, runs: &[Arc<Run>], merged: &[Arc<Run>], built: &Built) -> Result<()> {
        let count = runs.len();
        self.install(built, |manifest| manifest.merge(count, merged.iter().map(|run| &**run), &built.floors))?;
        self.edit_view(|view| {
            view.runs.truncate(view.runs.len() - count);
            view.runs.extend(merged.iter().cloned());
            raise_floors(view, built);
        });
        let left: BTreeSet<FileNumber> = files(merged).map(|segment| segment.number()).collect();
        let mut seen = left;
        let mut retired = self.retired.lock();
        for segment in files(runs).filter(|segment| seen.insert(segment.number())) {
            retired.segment(Arc::clone(segment));
        }
        Ok(())
    }

    /// A merge is given up when the store is being closed.
    fn check_going_on(&self) -> Result<()> {
        if self.board.is_stopping() {
            return Err(Error::new(ErrorKind::Closed, "the store is being closed"));
        }
        Ok(())
    }
}

fn files(runs: &[Arc<Run>]) -> impl Iterator<Item = &Arc<Segment>> {
    runs.iter().flat_map(|run| run.parts()).map(|part| &part.segment)
}
