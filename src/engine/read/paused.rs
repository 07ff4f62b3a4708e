//! Changes read in pieces: between two of them nothing is pinned, however long that takes.
//!
//! A scan that is paused keeps where it was, and goes on over a later moment. It misses nothing by that: an entry that went in between went
//! because something newer of its key has come, which is still ahead, or it went without a trace, which the floor of the new moment tells,
//! or the scan, when it meets what is left of it. Whether the latter matters depends on what was delivered:
//!
//! - The state: of each key one entry comes, its newest. Of a key whose newest was there at the beginning, none had come before it, so it may
//!   go. What was written since may replace what was delivered, so it must not.
//! - Changes after a revision: whoever asks for them knows older values. Nothing may go.
//! - Everything that is retained: older entries of a key come before its newest. What had gone at the beginning was not delivered, and does
//!   not matter; all else does. The floor tells the one from the other only above where it was at the beginning: up to there no pause
//!   is made.
//!
//! Time stands still: what counts is judged as of the beginning, so that nothing goes only because the reader is slow. What a merge has
//! removed meanwhile is gone all the same.

use std::sync::Arc;
use std::vec::IntoIter;

use super::Moment;
use super::changes::{ChangeScan, Missing, Source, refuse};
use super::verdict::{Listed, Which};
use crate::error::Result;
use crate::manifest::BucketState;
use crate::number::Revision;
use crate::subject::Filters;

/// How a scan that was interrupted began.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    /// The bucket as it was.
    state: Arc<BucketState>,
    /// Store time.
    now: u64,
    /// The bucket's last revision.
    pub(super) last: Revision,
}

/// A scan that pins nothing.
#[derive(Debug)]
pub(crate) struct Paused {
    begun: Begun,
    filters: Filters,
    which: Which,
    values: bool,
    after: Revision,
    goes_on: bool,
    seen: Revision,
    missing: Missing,
    /// What is left of a list.
    list: Option<IntoIter<Listed>>,
}

impl ChangeScan {
    /// Whether nothing would be lost by a pause.
    pub(crate) fn may_pause(&self) -> bool {
        let floor = self.begun.as_ref().map_or(self.moment.state.watch_floor, |begun| begun.state.watch_floor);
        self.which == Which::Newest || self.goes_on || self.seen >= floor
    }

    /// Lets go of everything.
    pub(crate) fn pause(self) -> Paused {
        let Self { moment, filters, which, values, source, after, goes_on, seen, missing, begun, .. } = self;
        let begun = begun.unwrap_or(Begun { state: moment.state, now: moment.now, last: moment.last_revision });
        let list = match source {
            Source::List(list) => Some(list),
            Source::Walk(_) => None,
        };
        Paused { begun, filters, which, values, after, goes_on, seen, missing, list }
    }
}

impl Paused {
    /// Everything up to here was delivered, or something newer is, or is still to be.
    pub(crate) const fn seen(&self) -> Revision {
        self.seen
    }

    /// Goes on over a later moment of the same bucket.
    ///
    /// # Errors
    /// `Compacted` if something has gone that may have replaced what was delivered.
    pub(crate) fn resume(self, moment: Moment) -> Result<ChangeScan> {
        let Self { begun, filters, which, values, after, goes_on, seen, missing, list } = self;
        let (state, then) = (&moment.state, &begun.state);
        // What a purge of the whole bucket took is not missing any more.
        let missing = missing.map(|(from, to)| (from.max(Revision(state.floor.0 + 1)), to)).filter(|(from, to)| from <= to);
        let seen = seen.max(state.floor);
        let had_all = begun.last.max(then.watch_floor);
        let may_go = if which == Which::Newest { had_all } else { Revision::NONE };
        if state.watch_floor > seen.max(may_go) {
            return Err(refuse(&moment, seen, Revision::NONE));
        }
        let ages_as_then =
            (then.spec.max_age, then.spec.marker_ttl, &then.eras) == (state.spec.max_age, state.spec.marker_ttl, &state.eras);
        let spared = match which {
            Which::Newest => had_all,
            // What is met now, and is not above the floor, had gone by then: by age, which is judged as it was.
            Which::Retained if !goes_on && ages_as_then => Revision(u64::MAX),
            Which::Retained => Revision::NONE,
        };
        let source = match list {
            Some(list) => Source::List(list),
            None => Source::Walk(moment.view.changes(state.id, moment.visible, seen)),
        };
        let as_of = begun.now;
        let scan = ChangeScan::new(moment, after, filters, which, source);
        Ok(ChangeScan { values, goes_on, seen, missing, begun: Some(begun), spared, as_of, ..scan })
    }
}
