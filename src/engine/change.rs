//! How a bucket changes by what is not an entry: the same in a commit and in the replay of its record.

use crate::manifest::{BucketSize, BucketState};
use crate::number::{CommitNumber, Revision};
use crate::spec::{BucketSpec, Era};

impl BucketState {
    /// Another configuration from `commit` on, made at store time `now`. Lower limits hold at once; a raised one brings nothing back,
    /// because an era remembers what the old ones had taken by then (E4).
    pub(super) fn edit(&mut self, spec: BucketSpec, commit: CommitNumber, now: u64) {
        let old = &self.spec;
        let is_deeper = spec.history > old.history;
        let is_longer = old.max_age != 0 && (spec.max_age == 0 || spec.max_age > old.max_age);
        if (is_deeper || is_longer) && self.last_revision > self.floor {
            let era = Era::at_raise(commit, self.last_revision, old.history, old.max_age, now);
            match self.eras.last_mut() {
                // Nothing was written in between: one era with the tighter of both limits says the same.
                Some(last) if last.through == era.through => {
                    *last = Era { depth: last.depth.min(era.depth), cutoff: last.cutoff.max(era.cutoff), ..era };
                }
                _ => self.eras.push(era),
            }
        }
        if (spec.history, spec.max_age, spec.max_bytes) != (old.history, old.max_age, old.max_bytes) {
            self.size = None;
        }
        if spec.max_age != old.max_age {
            // Entries may be due now below where the sweep had got to.
            self.cursor = (0, Revision::NONE);
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

    /// A dropped entry has taken the newest marker of a key: whoever watched from below it would miss that (E8).
    pub(super) fn note_dropped(&mut self, marker: Revision) {
        self.watch_floor = self.watch_floor.max(marker);
    }
}
