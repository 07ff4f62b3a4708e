//! Whether a key has gone by itself so that no change tells of it, as far as the bucket's floor does not say so yet.
//!
//! What a merge or `purge_deletes` has removed is in the floor. What has expired since is still there: behind a limit of age it is the
//! oldest of the bucket, and entries with deadlines of their own are found in files by these, so that looking costs what has expired. In
//! memory it costs a look at all that was written since.

use std::sync::Arc;

use super::Moment;
use crate::engine::read::verdict::{Verdict, Which, verdict};
use crate::entry::Meta;
use crate::error::Result;
use crate::memtable;
use crate::merge::{Change, Merge};
use crate::number::Revision;
use crate::segment::Expiring;
use crate::subject::Filters;

/// Looks for entries that are gone.
struct Search<'a> {
    moment: &'a Moment,
    filters: &'a Filters,
    from: Revision,
    merge: Option<Merge>,
}

/// A revision above `from` that was the newest of a key that is asked for and has gone without a trace; any, if there are several.
pub(super) fn find_gone(moment: &Moment, from: Revision, filters: &Filters) -> Result<Option<Revision>> {
    let mut search = Search { moment, filters, from, merge: None };
    let state = &moment.state;
    if (state.spec.max_age > 0 || !state.eras.is_empty())
        && let Some(gone) = search.among_the_oldest()?
    {
        return Ok(Some(gone));
    }
    if !state.deadlines_seen {
        return Ok(None);
    }
    if let Some(gone) = search.in_memory()? {
        return Ok(Some(gone));
    }
    search.in_files()
}

impl Moment {
    /// From where on no key of the bucket has gone without a trace: `floor`, or above it.
    pub(super) fn floor_from(&self, floor: Revision) -> Result<Revision> {
        let mut search = Search { moment: self, filters: &Filters::default(), from: floor, merge: None };
        let mut changes = self.view.changes(self.state.id, self.visible, floor.max(self.state.floor));
        let mut highest = floor;
        while changes.advance()? {
            let Some(change) = changes.entry() else { break };
            if search.is_gone(&change)? {
                highest = change.meta().revision;
            }
        }
        Ok(highest)
    }
}

impl Search<'_> {
    /// Of the entries that are too old, which come first.
    fn among_the_oldest(&mut self) -> Result<Option<Revision>> {
        let state = &self.moment.state;
        let max_age = state.spec.max_age;
        let is_aged = |meta: &Meta| {
            let by_limit = max_age > 0 && meta.created.saturating_add(max_age) <= self.moment.now;
            by_limit || state.eras.iter().any(|era| meta.created < era.cutoff)
        };
        let mut changes = self.moment.view.changes(state.id, self.moment.visible, self.from);
        while changes.advance()? {
            let Some(change) = changes.entry().filter(|change| is_aged(change.meta())) else { break };
            if self.is_gone(&change)? {
                return Ok(Some(change.meta().revision));
            }
        }
        Ok(None)
    }

    fn in_memory(&mut self) -> Result<Option<Revision>> {
        for memtable in self.moment.view.memtables() {
            let mut changes = memtable::Changes::new(Arc::clone(memtable), self.moment.state.id, self.moment.visible);
            let is_last = changes.seek_after(self.from);
            while changes.advance() {
                let Some(entry) = changes.entry() else { break };
                if self.is_due(&entry.meta) && self.is_gone(&Change::Memory(entry))? {
                    return Ok(Some(entry.meta.revision));
                }
            }
            if is_last {
                break;
            }
        }
        Ok(None)
    }

    fn in_files(&mut self) -> Result<Option<Revision>> {
        let bucket = self.moment.state.id;
        for part in self.moment.view.runs.iter().flat_map(|run| run.parts()) {
            let sections = part.segment.sections();
            let Ok(at) = sections.binary_search_by_key(&bucket, |section| section.bucket) else { continue };
            let is_worth_it = sections.get(at).is_some_and(|section| {
                section.last_revision > self.from && section.deadlines > 0 && section.first_deadline <= self.moment.now
            });
            if !is_worth_it {
                continue;
            }
            let mut expiring = Expiring::new(Arc::clone(&part.segment), bucket, 0)?;
            while expiring.advance()? {
                let Some(entry) = expiring.entry().filter(|entry| self.is_due(&entry.meta)) else { break };
                let counts = entry.meta.revision > self.from && part.live.holds(bucket, entry.key);
                if counts && self.is_gone(&Change::File(entry))? {
                    return Ok(Some(entry.meta.revision));
                }
            }
        }
        Ok(None)
    }

    const fn is_due(&self, meta: &Meta) -> bool {
        meta.deadline != 0 && meta.deadline <= self.moment.now
    }

    fn is_gone(&mut self, change: &Change<'_>) -> Result<bool> {
        if change.meta().flags.is_dropped() || !self.filters.matches(change.key()) {
            return Ok(false);
        }
        Ok(verdict(&self.moment.reader(), &mut self.merge, change, None, Which::Newest)? == Verdict::Gone)
    }
}
