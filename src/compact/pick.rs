//! Which merge to do next, so that runs stay few, the disk stays near what is live, and little is written twice.
//!
//! The oldest run is the *bottom*, with most of what there is; above it stand flush runs and what was merged of them. In this order:
//! 1. Parts in which nothing counts any more go unread.
//! 2. Parts of the run above the bottom that lie over nothing in it become parts of it, unread: so loads in key order are written once.
//! 3. If the files above the bottom take more than a fifth of it, the lowest slice of what the oldest of them still holds is merged, of all
//!    runs, into the bottom. So their slices go round the keys, a run is used up after one round, and what it takes from the disk until then
//!    counts in full: the disk holds what is live and a fifth, and a fifth is what makes each byte be rewritten about six times.
//! 4. A merge of runs above the bottom that has been begun goes on.
//! 5. If there are many runs above it, neighbours from the newest on are merged, the oldest of them not larger than all the others together.
//!    So there are O(log n) of them, and each entry is rewritten O(log n) times (size-tiered merging: Chang et al., Bigtable, OSDI 2006,
//!    section 5.4).
//! 6. Parts of the bottom of which a fifth is dead are written anew, with what lies above them.
//!
//! When there is nothing else to do, the fifths become tenths.
//!
//! Every merge takes all runs from the newest on, so nothing that it leaves above its output is older than anything in it. A slice begins
//! and ends where parts of the run that it goes to do, if that does not make it much larger than it should be.

use std::collections::{BTreeMap, BTreeSet};

use super::extent::Extent;
use crate::manifest::{Bound, LiveRange};
use crate::number::FileNumber;

/// Fewer runs above the bottom than this are not worth a merge, as long as they are small.
pub(crate) const RUNS_MIN: usize = 4;
/// A merge takes about so many files of full length.
pub(crate) const FILES_PER_MERGE: u64 = 4;
/// What is above the bottom, or dead, is merged when it is one part in so many of the bottom.
const BUSY_PARTS: u64 = 5;
const IDLE_PARTS: u64 = 10;

/// What is picked from.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    /// Newest first; none is empty.
    pub(crate) runs: Vec<Vec<Extent>>,
    pub(crate) segment_len: u64,
    /// Nothing else is to be done.
    pub(crate) is_idle: bool,
    /// Files of a merge above the bottom that has been begun.
    pub(crate) begun: BTreeSet<FileNumber>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// These files go.
    Drop(BTreeSet<FileNumber>),
    /// The parts with these numbers of the run before the last become parts of the last.
    Move(Vec<usize>),
    /// What the runs up to `last` (0 = the newest) have in the slice goes into that one.
    Merge { last: usize, slice: LiveRange },
}

/// The next job; `None` if there is nothing to do.
pub(crate) fn pick(picture: &Picture) -> Option<Job> {
    picture
        .dead()
        .or_else(|| picture.moves())
        .or_else(|| picture.down())
        .or_else(|| picture.go_on())
        .or_else(|| picture.tier())
        .or_else(|| picture.garbage())
}

impl Picture {
    pub(crate) fn new(mut runs: Vec<Vec<Extent>>, segment_len: u64, is_idle: bool, begun: BTreeSet<FileNumber>) -> Self {
        if let Some(bottom) = runs.last_mut() {
            count_dead_space(bottom);
        }
        Self { runs, segment_len, is_idle, begun }
    }

    /// Bottom, and what is above it.
    fn split(&self) -> Option<(&Vec<Extent>, &[Vec<Extent>])> {
        self.runs.split_last()
    }

    fn bottom_bytes(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.iter().map(Extent::bytes).sum())
    }

    const fn parts(&self) -> u64 {
        if self.is_idle { IDLE_PARTS } else { BUSY_PARTS }
    }

    fn dead(&self) -> Option<Job> {
        let all = || self.runs.iter().flatten();
        let alive: BTreeSet<FileNumber> = all().filter(|extent| !extent.is_dead).map(|extent| extent.number).collect();
        let dead: BTreeSet<FileNumber> = all().map(|extent| extent.number).filter(|number| !alive.contains(number)).collect();
        (!dead.is_empty()).then_some(Job::Drop(dead))
    }

    fn moves(&self) -> Option<Job> {
        let (bottom, above) = self.split()?;
        let oldest = above.last()?;
        let fits = |extent: &Extent| {
            let bytes = extent.bytes();
            // Small files are better merged, and dead parts of large ones are not to be kept.
            let is_worth_it = 2 * bytes >= self.segment_len && 4 * bytes >= 3 * extent.file_len;
            is_worth_it && !bottom.iter().any(|other| other.overlaps(extent))
        };
        let parts: Vec<usize> = oldest.iter().enumerate().filter(|(_, extent)| fits(extent)).map(|(at, _)| at).collect();
        (!parts.is_empty()).then_some(Job::Move(parts))
    }

    fn down(&self) -> Option<Job> {
        let (_, above) = self.split()?;
        let taken = file_bytes(above);
        let is_much = taken * self.parts() > self.bottom_bytes();
        let is_worth_it = self.is_idle || above.len() >= RUNS_MIN || taken >= self.segment_len;
        if above.is_empty() || !is_much || !is_worth_it {
            return None;
        }
        Some(self.merge(above.len(), above.last()?.first()?.from()))
    }

    fn go_on(&self) -> Option<Job> {
        let (_, above) = self.split()?;
        let has_begun = |run: &Vec<Extent>| run.iter().any(|extent| self.begun.contains(&extent.number));
        let oldest = above.iter().rposition(has_begun)?;
        Some(self.merge(oldest + 1, above.get(oldest)?.first()?.from()))
    }

    fn tier(&self) -> Option<Job> {
        let (_, above) = self.split()?;
        let sizes: Vec<u64> = above.iter().map(|run| run.iter().map(Extent::bytes).sum()).collect();
        let last = tier(&sizes)? - 1;
        Some(self.merge(last, above.get(last - 1)?.first()?.from()))
    }

    fn garbage(&self) -> Option<Job> {
        let (bottom, above) = self.split()?;
        let is_due = |extent: &Extent| extent.garbage > 0 && extent.garbage * self.parts() >= extent.bytes();
        let first = bottom.iter().position(is_due)?;
        // Neighbours come along if they are as bad, or so small that one file does for both.
        let mut bytes = 0;
        let goes_along = |extent: &&Extent| {
            let range = LiveRange::new(Some(extent.from().clone()), Some(extent.to.clone()));
            bytes += extent.bytes() + above.iter().flatten().map(|extent| extent.bytes_in(&range)).sum::<u64>();
            (is_due(extent) || 2 * extent.bytes() < self.segment_len) && bytes <= self.budget()
        };
        let more = bottom[first + 1..].iter().take_while(goes_along).count();
        let (last, from) = (self.runs.len() - 1, bottom[first].from());
        let end = &bottom[first + more].to;
        let is_too_much = more == 0 && self.taken(last, from, Some(end)) > self.budget();
        let to = if is_too_much { self.inner_end(last, from) } else { Some(end.clone()) };
        Some(Job::Merge { last, slice: LiveRange::new(Some(from.clone()), to) })
    }

    /// A merge into run `last` of a slice of about the right size that begins with `start`, or with the part of that run that has it, or
    /// with a small one before it.
    fn merge(&self, last: usize, start: &Bound) -> Job {
        let target = &self.runs[last];
        let goes_along = |extent: &&Extent| *start < extent.to || 2 * extent.bytes() < self.segment_len;
        let before = target.iter().take_while(|extent| extent.from() <= start).last();
        let from = before.filter(goes_along).map_or(start, Extent::from);
        let slice = match self.end(last, from, start, true) {
            Some(end) => LiveRange::new(Some(from.clone()), end),
            None => LiveRange::new(Some(start.clone()), self.inner_end(last, start)),
        };
        Job::Merge { last, slice }
    }

    /// The slice from `from` on (`None` = from the first key) of a merge of everything.
    pub(crate) fn slice(&self, from: Option<Bound>) -> LiveRange {
        let Some(last) = self.runs.len().checked_sub(1) else { return LiveRange::ALL };
        let start = from.clone().unwrap_or_default();
        LiveRange::new(from, self.end(last, &start, &start, false).unwrap_or_else(|| self.inner_end(last, &start)))
    }

    /// Where a slice from `from` on ends, which is to hold `start`: as far as possible, where a part of the target ends; `Some(None)` = with
    /// everything. `None` if even one part is too much. Where nothing is above the target, a slice `stops` if that is asked for.
    fn end(&self, last: usize, from: &Bound, start: &Bound, stops: bool) -> Option<Option<Bound>> {
        let target = &self.runs[last];
        let mut ends: Vec<&Bound> = target.iter().map(Extent::from).chain(target.last().map(|last| &last.to)).collect();
        ends.retain(|end| *end > start);
        let (mut found, mut before) = (None, from);
        for end in ends.into_iter().map(Some).chain([None]) {
            let stretch = LiveRange::new(Some(before.clone()), end.cloned());
            let is_covered = self.runs[..last].iter().flatten().any(|extent| extent.bytes_in(&stretch) > 0);
            if found.is_some() && stops && !is_covered || self.taken(last, from, end) > self.budget() {
                break;
            }
            found = Some(end.cloned());
            before = end.unwrap_or(before);
        }
        found
    }

    /// Where a slice from `from` on ends that is too large for one part of the target: within it.
    fn inner_end(&self, last: usize, from: &Bound) -> Option<Bound> {
        let pieces = self.runs[..=last].iter().flatten().flat_map(|extent| &extent.pieces).map(|piece| &piece.0);
        let ends: BTreeSet<&Bound> = pieces.filter(|bound| *bound > from).collect();
        let fitting = ends.iter().take_while(|end| self.taken(last, from, Some(end)) <= self.budget()).last();
        fitting.or_else(|| ends.first()).map(|end| (*end).clone())
    }

    /// What a merge of that slice reads.
    fn taken(&self, last: usize, from: &Bound, to: Option<&Bound>) -> u64 {
        let slice = LiveRange::new(Some(from.clone()), to.cloned());
        self.runs[..=last].iter().flatten().map(|extent| extent.bytes_in(&slice)).sum()
    }

    const fn budget(&self) -> u64 {
        FILES_PER_MERGE * self.segment_len
    }
}

/// What of a file is in no part of the bottom any more is garbage of one that is.
fn count_dead_space(bottom: &mut [Extent]) {
    let mut live: BTreeMap<FileNumber, u64> = BTreeMap::new();
    for extent in &*bottom {
        *live.entry(extent.number).or_default() += extent.bytes();
    }
    for extent in bottom {
        if let Some(live) = live.remove(&extent.number) {
            extent.garbage += extent.file_len.saturating_sub(live);
        }
    }
}

/// Bytes of the files of some runs.
fn file_bytes(runs: &[Vec<Extent>]) -> u64 {
    let mut seen = BTreeSet::new();
    runs.iter().flatten().filter(|extent| seen.insert(extent.number)).map(|extent| extent.file_len).sum()
}

/// How many of the newest runs to merge; `sizes` newest first.
fn tier(sizes: &[u64]) -> Option<usize> {
    let (mut newer, mut found) = (0_u64, None);
    for (at, size) in sizes.iter().enumerate() {
        if at + 1 >= RUNS_MIN && *size <= newer {
            found = Some(at + 1);
        }
        newer = newer.saturating_add(*size);
    }
    found
}

#[cfg(test)]
mod tests;
