//! What flushes and merges change in the manifest, with everything as of the flushed commit and never later (E17).

use crate::compact::Output;
use crate::manifest::{BucketState, Manifest, SegmentRef};
use crate::number::FileNumber;
use crate::spec::ClockPair;
use crate::view::Sealed;

impl Manifest {
    /// What a flush changes, with everything as of the flushed commit (E17).
    pub(super) fn flush(&mut self, sealed: &Sealed, logs: &[FileNumber], output: &Output, clock: ClockPair) {
        let raised = std::mem::take(&mut self.buckets);
        self.flushed = sealed.through;
        self.last_commit = sealed.through;
        self.next_bucket = sealed.next_bucket;
        self.buckets = sealed.buckets.iter().map(|state| BucketState::clone(state)).collect();
        for state in &mut self.buckets {
            // A merge may have raised floors that the leader's copy does not have.
            if let Ok(at) = raised.binary_search_by_key(&state.id, |before| before.id) {
                let before = &raised[at];
                state.as_of_floor = state.as_of_floor.max(before.as_of_floor);
                state.watch_floor = state.watch_floor.max(before.watch_floor);
            }
            state.note_end(self.incarnation);
        }
        self.raise_floors(output);
        self.segments.splice(0..0, SegmentRef::of(output));
        self.log_floor = logs.first().copied().unwrap_or(self.log_floor);
        self.logs = logs.to_vec();
        self.clock = clock;
        self.clean = false;
    }

    /// What a merge changes.
    pub(super) fn merge(&mut self, inputs: &[FileNumber], output: &Output) {
        let at = self.segments.iter().position(|segment| inputs.contains(&segment.number)).unwrap_or(0);
        self.segments.retain(|segment| !inputs.contains(&segment.number));
        self.segments.splice(at..at, SegmentRef::of(output));
        self.raise_floors(output);
    }

    fn raise_floors(&mut self, output: &Output) {
        for state in &mut self.buckets {
            if let Some((as_of, watch)) = output.floors.get(&state.id) {
                state.as_of_floor = state.as_of_floor.max(*as_of);
                state.watch_floor = state.watch_floor.max(*watch);
            }
        }
    }
}

/// How many incarnations a bucket remembers the end of.
const ENDS_MAX: usize = 64;

impl BucketState {
    /// Remembers its last revision as the end of `incarnation`, if it changed in it (E8).
    pub(super) fn note_end(&mut self, incarnation: u64) {
        match self.ends.last_mut() {
            Some((last, revision)) if *last == incarnation => *revision = self.last_revision,
            Some((_, revision)) if *revision == self.last_revision => {}
            _ if self.last_revision.0 == 0 => {}
            _ => self.ends.push((incarnation, self.last_revision)),
        }
        if self.ends.len() > ENDS_MAX {
            self.ends.remove(0);
        }
    }
}
