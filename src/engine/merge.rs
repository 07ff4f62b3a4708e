//! Merges: a slice of neighbouring runs goes into the oldest of them; `compact` says which.
//!
//! What is written takes the place of the oldest run's part of the slice; of the newer runs the slice is taken out, in the same edit of the
//! manifest. So after every job the store is whole, whatever comes next. Only one job runs at a time; flushes may put runs in front
//! meanwhile, which is why runs are counted from the oldest on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::build::Built;
use super::core::Core;
use super::flush::{raise_floors, retention_now};
use crate::compact::{Extent, Floors, Inputs, Job, Picture, judge, pick};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{BucketState, LiveRange};
use crate::number::FileNumber;
use crate::run::{Part, Run};
use crate::segment::Segment;
use crate::view::View;

/// What is known from one merge to the next; a store that is opened again does without.
#[derive(Debug, Default)]
pub(super) struct Merging {
    /// Files of a merge of several slices above the bottom.
    begun: BTreeSet<FileNumber>,
    /// What seemed dead in files when they were written, and so cannot be got rid of by writing them again.
    kept: BTreeMap<FileNumber, u64>,
}

/// What a job goes by: the runs of a view, the buckets of the flushed commit (E17), a time.
struct Basis {
    view: Arc<View>,
    buckets: Vec<Arc<BucketState>>,
    now: u64,
}

impl Basis {
    fn now(&self, state: &BucketState) -> u64 {
        retention_now(&self.view, state, self.now)
    }

    /// The files of the runs down to number `last` (0 = the newest).
    fn files_above(&self, last: usize) -> BTreeSet<FileNumber> {
        files(&self.view.runs[..last]).map(|segment| segment.number()).collect()
    }
}

impl Core {
    /// Merges where it is worth it; answers whether it did. Less is worth it when there is nothing else to do.
    pub(super) fn merge_step(&self, is_idle: bool) -> Result<bool> {
        let mut merging = self.merging.lock();
        self.health.check_sound()?;
        let basis = self.basis();
        let segment_len = self.settings.segment_len;
        let rough = pick(&picture(&basis, &merging, segment_len, is_idle, Extent::rough)?);
        let job = match rough {
            Some(Job::Merge { .. }) => {
                pick(&picture(&basis, &merging, segment_len, is_idle, |run| Extent::of(run, segment_len))?)
            }
            job => job,
        };
        match job {
            None => return Ok(false),
            Some(Job::Drop(numbers)) => self.drop_files(&basis, &numbers)?,
            Some(Job::Move(parts)) => self.move_down(&basis, &parts)?,
            Some(Job::Merge { last, slice }) => {
                if last + 1 < basis.view.runs.len() && merging.begun.is_empty() {
                    merging.begun = basis.files_above(last);
                }
                self.merge_slice(&basis, &mut merging, last, &slice)?;
            }
        }
        merging.forget(&self.view.load().runs);
        self.let_go(basis);
        Ok(true)
    }

    /// Gives back the files that the merge has emptied, once it does not hold them itself: a flush that would do it may be long away.
    fn let_go(&self, basis: Basis) {
        drop(basis);
        self.retired.lock().reap(&*self.env.fs);
    }

    /// Merges everything into one run, slice by slice. What is flushed meanwhile may stay above it.
    pub(super) fn merge_all(&self) -> Result<()> {
        let mut from = None;
        loop {
            let mut merging = self.merging.lock();
            self.health.check_sound()?;
            self.check_going_on()?;
            let basis = self.basis();
            let Some(last) = basis.view.runs.len().checked_sub(1) else { return Ok(()) };
            let segment_len = self.settings.segment_len;
            let slice = picture(&basis, &merging, segment_len, false, |run| Extent::of(run, segment_len))?.slice(from);
            self.merge_slice(&basis, &mut merging, last, &slice)?;
            merging.forget(&self.view.load().runs);
            self.let_go(basis);
            match slice.to() {
                Some((bucket, key)) => from = Some((bucket, key.into())),
                None => return Ok(()),
            }
        }
    }

    /// Waits until nobody merges, once jobs were told to stop: whoever is at it for itself gives up at the next key, and nobody begins anew.
    pub(super) fn wait_for_merge(&self) {
        drop(self.merging.lock());
    }

    fn basis(&self) -> Basis {
        let now = self.now_for_readers();
        let view = self.view.load_full();
        let buckets = self.keeper.lock().manifest().buckets.iter().cloned().map(Arc::new).collect();
        Basis { view, buckets, now }
    }

    /// Merges what the runs up to number `last` (0 = the newest) have in `slice` into that one.
    fn merge_slice(&self, basis: &Basis, merging: &mut Merging, last: usize, slice: &LiveRange) -> Result<()> {
        let runs = &basis.view.runs;
        let cut: Vec<Arc<Run>> = runs[..=last].iter().map(|run| Arc::new(run.cut(slice))).collect();
        let holds_oldest = last + 1 == runs.len();
        let started = self.env.clock.monotonic();
        let built = self.build(&Inputs {
            pace: &|written| {
                self.keep_rate(started, written);
                self.check_going_on()
            },
            memtable: None,
            runs: &cut,
            hold_oldest: holds_oldest,
            hold_newest: true,
            buckets: &basis.buckets,
            now: &|state| basis.now(state),
            file_len: self.settings.segment_len,
        })?;
        let parts: Vec<Part> = built.segments.iter().cloned().map(Part::of).collect();
        let merged = runs.iter().enumerate().map(|(at, run)| match at {
            _ if at < last => Arc::new(run.replace(slice, &[])),
            _ if at == last => Arc::new(run.replace(slice, &parts)),
            _ => Arc::clone(run),
        });
        self.replace_runs(runs, merged.collect(), &built)?;
        for part in parts.iter().filter(|_| holds_oldest) {
            let verdict = judge(part, true, &basis.buckets, &|state| basis.now(state))?;
            merging.kept.insert(part.segment.number(), verdict.garbage);
        }
        Ok(())
    }

    /// Takes files out in which nothing counts any more.
    fn drop_files(&self, basis: &Basis, numbers: &BTreeSet<FileNumber>) -> Result<()> {
        let is_dropped = |part: &&Part| numbers.contains(&part.segment.number());
        let mut floors = Floors::new();
        let runs = &basis.view.runs;
        for (at, run) in runs.iter().enumerate() {
            for part in run.parts().iter().filter(is_dropped) {
                let verdict = judge(part, at + 1 == runs.len(), &basis.buckets, &|state| basis.now(state))?;
                for (bucket, (as_of, watch)) in verdict.floors {
                    let raised = floors.entry(bucket).or_default();
                    *raised = (raised.0.max(as_of), raised.1.max(watch));
                }
            }
        }
        self.raise_to_present(&mut floors);
        let left = |run: &Arc<Run>| Arc::new(Run::new(run.parts().iter().filter(|part| !is_dropped(part)).cloned().collect()));
        self.replace_runs(runs, runs.iter().map(left).collect(), &Built { segments: Vec::new(), floors })
    }

    /// Makes parts of the run above the bottom, which lie over nothing in it, parts of the bottom.
    fn move_down(&self, basis: &Basis, parts: &[usize]) -> Result<()> {
        let Some((bottom, above)) = basis.view.runs.split_last() else { return Ok(()) };
        let Some((oldest, above)) = above.split_last() else { return Ok(()) };
        let (mut left, mut moved) = (Vec::new(), bottom.parts().to_vec());
        for (at, part) in oldest.parts().iter().enumerate() {
            if parts.contains(&at) { moved.push(part.clone()) } else { left.push(part.clone()) }
        }
        moved.sort_by(|one, other| one.first().cmp(&other.first()));
        let merged = above.iter().cloned().chain([Arc::new(Run::new(left)), Arc::new(Run::new(moved))]).collect();
        self.replace_runs(&basis.view.runs, merged, &Built::default())
    }

    /// Puts `merged` in the place of `runs`, which are the oldest that there are, in the manifest and in the view.
    fn replace_runs(&self, runs: &[Arc<Run>], mut merged: Vec<Arc<Run>>, built: &Built) -> Result<()> {
        merged.retain(|run| !run.is_empty());
        let count = runs.len();
        self.install(built, |manifest| manifest.merge(count, merged.iter().map(|run| &**run), &built.floors))?;
        self.edit_view(|view| {
            view.runs.truncate(view.runs.len() - count);
            view.runs.extend(merged.iter().cloned());
            raise_floors(view, built);
        });
        self.note_pressure();
        let mut seen: BTreeSet<FileNumber> = files(&merged).map(|segment| segment.number()).collect();
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

impl Merging {
    /// Lets go of what files that are gone were remembered for.
    fn forget(&mut self, runs: &[Arc<Run>]) {
        let (bottom, above) = runs.split_last().map_or((&[][..], runs), |(bottom, above)| (std::slice::from_ref(bottom), above));
        let above: BTreeSet<FileNumber> = files(above).map(|segment| segment.number()).collect();
        let bottom: BTreeSet<FileNumber> = files(bottom).map(|segment| segment.number()).collect();
        self.begun.retain(|number| above.contains(number));
        self.kept.retain(|number, _| bottom.contains(number));
    }
}

/// What `pick` decides from.
fn picture(
    basis: &Basis,
    merging: &Merging,
    segment_len: u64,
    is_idle: bool,
    extents_of: impl Fn(&Run) -> Result<Vec<Extent>>,
) -> Result<Picture> {
    let mut runs = Vec::with_capacity(basis.view.runs.len());
    for (at, run) in basis.view.runs.iter().enumerate() {
        let mut extents = extents_of(run)?;
        for (extent, part) in extents.iter_mut().zip(run.parts()) {
            let verdict = judge(part, at + 1 == basis.view.runs.len(), &basis.buckets, &|state| basis.now(state))?;
            extent.is_dead = verdict.is_dead;
            extent.garbage = verdict.garbage.saturating_sub(merging.kept.get(&extent.number).copied().unwrap_or(0));
        }
        runs.push(extents);
    }
    Ok(Picture::new(runs, segment_len, is_idle, merging.begun.clone()))
}

fn files(runs: &[Arc<Run>]) -> impl Iterator<Item = &Arc<Segment>> {
    runs.iter().flat_map(|run| run.parts()).map(|part| &part.segment)
}
