//! What a watcher knew, and whether it can go on from there: over every kind of end of a store, and with a store that is not the one it
//! was. Pure; the state of a bucket in, a verdict out.
//!
//! Every open of a store is an *incarnation* with a random number. A bucket remembers its last revision at the end of each of the last
//! [`ENDS_MAX`] incarnations in which it changed. A [`Position`] says which revision was seen last and in which incarnation that revision
//! was committed: if it lies at or below the end of that incarnation, everything that the watcher has seen is still there, or was replaced
//! since; if it lies beyond, a crash (or a copy that was put back) took it back, and the watcher has seen what never happened.
//!
//! | incarnation of the position | revision | verdict |
//! |---|---|---|
//! | any | 0 | nothing was seen, so nothing can be wrong |
//! | the present one | up to the last one / beyond | goes on / diverged |
//! | remembered | up to its end / beyond | goes on / diverged |
//! | not remembered, though all are | any | diverged: no change of it has survived |
//! | not remembered, older ones are forgotten | beyond the oldest end that is remembered / up to it | diverged / too old to tell |
//!
//! A purge of the whole bucket takes no revision, so a position has the commit of the last one that was seen. A commit number is never
//! given out twice, so a later purge than the bucket's own is one that was taken back.
//!
//! After an unclean end below `Sync` revisions go on far beyond what was recovered. A position in such a gap is one at its beginning, and
//! a bucket in which nothing else happened has not changed: an idle one keeps its ends, however often its store is killed.
//!
//! Known to be too strict: a position from before the oldest end that is remembered is given the incarnation of that end, since its own is
//! forgotten. The same store takes it, and so does everything that came after; but a copy from before that end, put back in its place, refuses it as
//! diverged although it has all that was seen. No rule over the same bytes can do better: to that copy such a position looks like one of a
//! later life in which its revisions were given out anew. A position that says only "forgotten" could be answered with "too old to tell",
//! but then the same store would refuse it, too, and that is the one that is asked. It takes more than 64 incarnations with changes, an old
//! copy, and a reader who was that far behind; the answer is safe, and the same advice holds: watch from the beginning, nothing is lost.
//!
//! What goes on may still be below the floor: where something was removed that was its key's newest, and no change tells it.

use crate::manifest::{BucketState, ENDS_MAX};
use crate::number::{BucketId, CommitNumber, Revision};

/// What a watcher knows of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Position {
    pub(crate) bucket: BucketId,
    /// The one in which `revision` was committed.
    pub(crate) incarnation: u64,
    /// The commit of the last purge of the whole bucket that it knows of; 0 = none.
    pub(crate) purged: CommitNumber,
    /// Everything up to here was seen, or replaced by something that was.
    pub(crate) revision: Revision,
}

/// How a watcher goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resumption {
    /// The bucket was purged up to this revision, which it does not know yet: to be told before all else.
    pub(crate) purged: Option<Revision>,
    /// Then, every change after this revision.
    pub(crate) after: Revision,
}

/// Why a watcher cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is a position in another bucket, perhaps one that was deleted and had the same name.
    OtherBucket,
    /// Some of what it has seen is not in the store's past.
    Diverged,
    /// Changes that it would have to be told have been removed, up to this revision, or may have been.
    Compacted(Revision),
}

impl Position {
    /// Of who has seen everything up to `revision`, and the purge of the commit `purged`, in a bucket with this state in the incarnation
    /// of that number. Any state of the bucket in that incarnation will do.
    pub(crate) fn new(state: &BucketState, incarnation: u64, purged: CommitNumber, revision: Revision) -> Self {
        let at = |incarnation, revision| Self { bucket: state.id, incarnation, purged, revision };
        if revision > state.start {
            return at(incarnation, revision);
        }
        // What lies between the last end and the start was never given out.
        let end_at = state.ends.partition_point(|end| end.1 < revision);
        match (state.ends.get(end_at), state.ends.last()) {
            (Some(end), _) => at(end.0, revision),
            (None, Some(last)) => at(last.0, last.1),
            (None, None) => at(incarnation, Revision::NONE),
        }
    }

    /// Whether, and from where, changes go on: in a bucket with this state and last revision, in the incarnation of that number.
    pub(crate) fn resume(&self, state: &BucketState, incarnation: u64, last: Revision) -> Result<Resumption, Refusal> {
        if self.bucket != state.id {
            return Err(Refusal::OtherBucket);
        }
        if self.purged > state.purged {
            return Err(Refusal::Diverged);
        }
        self.judge_revision(state, incarnation, last)?;
        let resumption = Resumption::new(state, self.purged, self.revision);
        // Who has seen nothing has no older value of a key that went.
        if self.revision > Revision::NONE && resumption.after < state.watch_floor {
            return Err(Refusal::Compacted(state.watch_floor));
        }
        Ok(resumption)
    }

    fn judge_revision(&self, state: &BucketState, incarnation: u64, last: Revision) -> Result<(), Refusal> {
        let end = if self.incarnation == incarnation {
            Some(last)
        } else {
            state.ends.iter().find(|end| end.0 == self.incarnation).map(|end| end.1)
        };
        let oldest = state.ends.first().filter(|_| state.ends.len() >= ENDS_MAX).map(|end| end.1);
        match (end, oldest) {
            _ if self.revision == Revision::NONE => Ok(()),
            (Some(end), _) if self.revision <= end => Ok(()),
            (None, Some(oldest)) if self.revision <= oldest => Err(Refusal::Compacted(oldest.max(state.watch_floor))),
            _ => Err(Refusal::Diverged),
        }
    }
}

impl Resumption {
    /// Of who has seen everything up to `revision`, in this bucket as it is or was, and its purges as a whole up to the commit `purged`.
    pub(crate) fn new(state: &BucketState, purged: CommitNumber, revision: Revision) -> Self {
        Self { purged: (purged < state.purged).then_some(state.floor), after: revision.max(state.floor) }
    }
}

impl BucketState {
    /// Remembers its last revision as the end of `incarnation`, which began when its last revision was `start`; unless nothing happened.
    pub(crate) fn note_end(&mut self, incarnation: u64) {
        if self.last_revision <= self.start {
            return;
        }
        match self.ends.last_mut() {
            Some((last, revision)) if *last == incarnation => *revision = self.last_revision,
            _ => self.ends.push((incarnation, self.last_revision)),
        }
        if self.ends.len() > ENDS_MAX {
            self.ends.remove(0);
        }
    }

    /// Begins an incarnation, in which revisions go on `ahead` of what was recovered.
    pub(crate) fn begin(&mut self, ahead: u64) {
        self.last_revision = Revision(self.last_revision.0.saturating_add(ahead));
        self.start = self.last_revision;
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
