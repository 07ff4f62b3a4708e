//! How a bucket changes by what is not an entry: the same in a commit and in the replay of its record.

use crate::manifest::{BucketSize, BucketState};
use crate::number::{CommitNumber, Revision};
use crate::spec::{BucketSpec, Era};

impl BucketState {
    /// Another configuration from `commit` on, made at store time `now`. Lower limits hold at once; a raised one brings nothing back,
    /// because an era remembers what the old ones had taken by then (E4). What has expired before expiry markers are switched on leaves
    /// none (E14).
    pub(super) fn edit(&mut self, spec: BucketSpec, commit: CommitNumber, now: u64) {
        let old = &self.spec;
        let is_deeper = spec.history > old.history;
        let is_longer = old.max_age != 0 && (spec.max_age == 0 || spec.max_age > old.max_age);
        let begins_markers = spec.marker_ttl > 0 && old.marker_ttl == 0;
        let has_aged = begins_markers && old.max_age != 0;
        if (is_deeper || is_longer || has_aged) && self.last_revision > self.floor {
            let era = Era::at_raise(commit, self.last_revision, old.history, old.max_age, now);
            push_era(&mut self.eras, era);
        }
        if (spec.history, spec.max_age, spec.max_bytes) != (old.history, old.max_age, old.max_bytes) {
            self.size = None;
        }
        if begins_markers {
            if self.deadlines_seen || has_aged {
                // From here on nobody can tell any more what went without a word.
                self.watch_floor = self.watch_floor.max(self.last_revision);
            }
            self.note_swept(now, Revision::NONE);
        }
        self.spec = spec;
        self.changed = commit;
    }

    /// Everything up to `through` goes.
    pub(super) fn purge_all(&mut self, through: Revision, commit: CommitNumber, now: u64) {
        self.floor = self.floor.max(through);
        self.purged = commit;
        self.changed = commit;
        self.size = (self.spec.max_bytes > 0).then_some(BucketSize { bytes: 0, as_of: now });
        // They judge only what is gone.
        let floor = self.floor;
        self.eras.retain(|era| era.through > floor);
    }

    /// Expiry has been swept up to there (see `Rules::cursor`).
    pub(super) fn note_swept(&mut self, deadline: u64, revision: Revision) {
        self.cursor = (self.cursor.0.max(deadline), self.cursor.1.max(revision));
    }

    /// Whether entries of the bucket can expire.
    pub(super) fn is_mortal(&self) -> bool {
        self.deadlines_seen || self.spec.max_age > 0
    }

    /// Whether what a key holds matters to every write of it: what comes after an expired entry starts a new life (E6), and its marker
    /// comes first (E14).
    pub(super) fn is_read_before_writes(&self) -> bool {
        self.deadlines_seen || (self.spec.max_age > 0 && self.spec.marker_ttl > 0)
    }

    /// A dropped entry has taken the newest marker of a key: whoever watched from below it would miss that (E8).
    pub(super) fn note_dropped(&mut self, marker: Revision) {
        self.watch_floor = self.watch_floor.max(marker);
    }
}

/// Adds an era, and forgets those that say nothing beside it. As depths then rise from each to the next, there are never more than there
/// are depths, however often limits change.
fn push_era(eras: &mut Vec<Era>, mut era: Era) {
    // What was written after an earlier era was created after its cutoff, so that cutoff may stand for everything since.
    era.cutoff = eras.last().map_or(era.cutoff, |last| era.cutoff.max(last.cutoff));
    // What is among the newest `depth` of all entries up to now, is so among those up to an earlier moment.
    while eras.last().is_some_and(|last| last.depth >= era.depth) {
        eras.pop();
    }
    match eras.last_mut() {
        // Nothing was written in between: the tighter depth holds for all of it.
        Some(last) if last.through == era.through => *last = Era { depth: last.depth, ..era },
        _ => eras.push(era),
    }
}

#[cfg(test)]
mod tests;
