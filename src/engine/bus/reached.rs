//! How far a watch is, and how much of that would survive a power cut: what it tells as progress.
//!
//! Revisions count in a bucket, durability in commits of the whole store. So a watch notes, whenever it rests, which commit was the newest
//! then: once that is durable, everything up to where it was is. It notes a bounded number of them, and between two notes durability is
//! told a little late, never early.

use std::collections::VecDeque;

use crate::number::{CommitNumber, Revision};

/// How many notes are kept, at most.
const MARKS_MAX: usize = 64;

/// How far a watch is, and how much of that is durable.
#[derive(Debug, Default)]
pub(super) struct Reached {
    durable: Revision,
    /// Where it was since: once this commit is durable, everything up to this revision is.
    marks: VecDeque<(CommitNumber, Revision)>,
    told: Option<(Revision, Revision)>,
}

impl Reached {
    /// Of a watch that begins when everything up to `durable` is.
    pub(super) fn new(durable: Revision) -> Self {
        Self { durable, ..Self::default() }
    }

    /// It is at `position`, of which nothing was committed after `visible`; the log is durable up to `durable`. What is new in that?
    pub(super) fn advance(
        &mut self,
        position: Revision,
        visible: CommitNumber,
        durable: CommitNumber,
    ) -> Option<(Revision, Revision)> {
        if self.marks.back().map_or(self.durable, |mark| mark.1) < position {
            self.marks.push_back((visible, position));
        }
        while let Some((_, revision)) = self.marks.pop_front_if(|mark| mark.0 <= durable) {
            self.durable = revision;
        }
        if self.marks.len() > MARKS_MAX {
            // What is told between two of them is told a little later.
            self.marks.remove(MARKS_MAX / 2);
        }
        let reached = (position, self.durable.min(position));
        (self.told.replace(reached) != Some(reached)).then_some(reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advance(reached: &mut Reached, position: u64, visible: u64, durable: u64) -> Option<(u64, u64)> {
        let told = reached.advance(Revision(position), CommitNumber(visible), CommitNumber(durable));
        told.map(|(revision, durable)| (revision.0, durable.0))
    }

    #[test]
    fn what_is_durable_is_told_once_and_never_before_it_is() {
        let mut reached = Reached::new(Revision(2));
        assert_eq!(advance(&mut reached, 2, 10, 10), Some((2, 2)));
        assert_eq!(advance(&mut reached, 2, 12, 12), None);
        assert_eq!(advance(&mut reached, 5, 20, 12), Some((5, 2)));
        assert_eq!(advance(&mut reached, 5, 25, 19), None, "the commits up to 20 are not all durable");
        assert_eq!(advance(&mut reached, 7, 30, 20), Some((7, 5)));
        assert_eq!(advance(&mut reached, 7, 30, 30), Some((7, 7)));
    }

    #[test]
    fn a_watch_that_is_not_as_far_as_what_is_durable_tells_no_more_than_it_has_seen() {
        assert_eq!(advance(&mut Reached::new(Revision(9)), 4, 1, 1), Some((4, 4)));
    }

    #[test]
    fn however_long_nothing_becomes_durable_few_notes_are_kept_and_the_newest_is_among_them() {
        let mut reached = Reached::default();
        for commit in 1..=1000 {
            advance(&mut reached, commit, commit, 0);
            assert!(reached.marks.len() <= MARKS_MAX);
        }
        let told = advance(&mut reached, 1000, 1000, 999).unwrap();
        assert!(told.1 < 1000);
        assert_eq!(advance(&mut reached, 1000, 1000, 1000), Some((1000, 1000)));
    }
}
