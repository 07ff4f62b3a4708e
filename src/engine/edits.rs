//! What flushes and merges change in the manifest, with everything as of the flushed commit and never later (E17).

use std::collections::BTreeSet;

use super::build::Built;
use crate::compact::Floors;
use crate::manifest::{BucketState, Manifest, SegmentRef};
use crate::number::FileNumber;
use crate::run::Run;
use crate::spec::ClockPair;
use crate::view::Sealed;

impl Manifest {
    /// What a flush changes, with everything as of the flushed commit (E17).
    pub(super) fn flush(&mut self, sealed: &Sealed, logs: &[FileNumber], built: &Built, clock: ClockPair) {
        let raised = std::mem::take(&mut self.buckets);
        self.flushed = sealed.through;
        self.last_commit = sealed.through;
        self.next_bucket = sealed.next_bucket;
        self.buckets = sealed.buckets.values().map(|state| BucketState::clone(state)).collect();
        for state in &mut self.buckets {
            // A merge may have raised floors that the leader's copy does not have.
            if let Ok(at) = raised.binary_search_by_key(&state.id, |before| before.id) {
                let before = &raised[at];
                state.as_of_floor = state.as_of_floor.max(before.as_of_floor);
                state.watch_floor = state.watch_floor.max(before.watch_floor);
            }
            state.note_end(self.incarnation);
        }
        self.add_run(built);
        self.log_floor = logs.first().copied().unwrap_or(self.log_floor);
        self.logs = logs.to_vec();
        self.clock = clock;
        self.clean = false;
    }

    /// Puts a run of these files in front of the others.
    pub(super) fn add_run(&mut self, built: &Built) {
        self.raise_floors(&built.floors);
        if built.segments.is_empty() {
            return;
        }
        self.runs.insert(0, Run::of_files(built.segments.iter().cloned()).refs());
        self.segments.extend(built.segments.iter().map(|segment| SegmentRef::of(segment)));
        self.segments.sort_unstable_by_key(|segment| segment.number);
    }

    /// What a merge changes: in place of the `count` oldest runs there are these.
    pub(super) fn merge<'r>(&mut self, count: usize, runs: impl IntoIterator<Item = &'r Run> + Clone, floors: &Floors) {
        self.runs.truncate(self.runs.len().saturating_sub(count));
        self.runs.extend(runs.clone().into_iter().map(Run::refs));
        let files = runs.into_iter().flat_map(Run::parts).map(|part| SegmentRef::of(&part.segment));
        self.segments.extend(files);
        let named: BTreeSet<FileNumber> = self.runs.iter().flatten().map(|part| part.number).collect();
        self.segments.retain(|segment| named.contains(&segment.number));
        self.segments.sort_unstable_by_key(|segment| segment.number);
        self.segments.dedup_by_key(|segment| segment.number);
        self.raise_floors(floors);
    }

    fn raise_floors(&mut self, floors: &Floors) {
        for state in &mut self.buckets {
            if let Some((as_of, watch)) = floors.get(&state.id) {
                state.as_of_floor = state.as_of_floor.max(*as_of);
                state.watch_floor = state.watch_floor.max(*watch);
            }
        }
    }
}
