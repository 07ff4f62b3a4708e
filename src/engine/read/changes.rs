//! What changed after a revision, in the order in which it did: for whoever resumes, falls behind, or wants a list.
//!
//! A scan walks by revision ([`Changes`]) over one moment, so it is complete and has no duplicate; it keeps one entry at a time, however
//! much there is. Whether an entry counts is a matter of [`verdict`](super::verdict). Where few keys are asked for, or the newest entries
//! of not too many, these are looked up first, listed, and sorted: a list of at most 64 Ki keys and revisions, without values.
//!
//! A key that was removed while nothing was written, by expiry or `purge_deletes`, leaves no change: who knew an older value of it would
//! keep that. So there is no scan from below such a removal, but `Compacted` (E8). From revision 0 on nothing is older, and nothing is
//! missed; except by who was told that there was nothing, and that every change would come.

use super::gone::find_gone;
use super::paused::Begun;
use super::verdict::{Listed, Verdict, Which, list_key, verdict};
use super::{Moment, Reader, Scan, Wanted, stored_key};
use crate::entry::{Entry, Meta};
use crate::error::{Error, ErrorKind, Result};
use crate::merge::{Change, Changes, Merge};
use crate::number::Revision;
use crate::subject::Filters;

/// Up to so many entries, with so many bytes of keys, are listed by key and sorted rather than met on a walk: 64 Ki, 8 MiB.
const LISTED_MAX: usize = 64 << 10;
const LISTED_BYTES_MAX: usize = 8 << 20;
/// Looking up a key takes about as long as so many steps of a walk.
const STEPS_PER_LOOKUP: u64 = 32;

/// A walk over what changed; owns what it needs.
#[derive(Debug)]
pub(crate) struct ChangeScan {
    pub(super) moment: Moment,
    pub(super) filters: Filters,
    pub(super) which: Which,
    pub(super) values: bool,
    pub(super) source: Source,
    /// To judge entries that are not their key's newest; made when the first one comes.
    pub(super) merge: Option<Merge>,
    pub(super) after: Revision,
    /// Whoever reads has had everything up to `after`: no key may go without a trace.
    pub(super) goes_on: bool,
    /// Every revision up to this one has been looked at.
    pub(super) seen: Revision,
    pub(super) missing: Missing,
    /// How the scan began, if it was interrupted since.
    pub(super) begun: Option<Begun>,
    /// Up to here it does not matter that a key has gone without a trace: nobody was told of an older value.
    pub(super) spared: Revision,
    /// How many entries were looked at.
    pub(super) looked_at: usize,
    /// The walk is at an entry that was not looked at yet.
    pub(super) is_ahead: bool,
    /// Store time as of which it is judged what counts; a later moment may be read by then.
    pub(super) as_of: u64,
}

/// First and last of the revisions that are not delivered and may have been of a wanted key.
pub(crate) type Missing = Option<(Revision, Revision)>;

/// Where entries come from.
#[derive(Debug)]
pub(super) enum Source {
    /// All of the bucket, one after the other.
    Walk(Changes),
    /// Those that were known to count when the scan began, in order.
    List(std::vec::IntoIter<Listed>),
}

/// One change that counts.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) entry: Entry,
    /// What is missing since the delivery before.
    pub(crate) missing: Missing,
    /// When its commit was made, if more of that may follow.
    pub(crate) unfinished: Option<u64>,
}

impl ChangeScan {
    /// All retained changes after `after` of the keys that `filters` ask for; from revision 0 on, without a word of keys that have gone.
    ///
    /// # Errors
    /// `Compacted` if some are missing that no newer change of their keys makes up for.
    pub(crate) fn since(moment: Moment, after: Revision, filters: Filters) -> Result<Self> {
        Self::retained(moment, after, filters, after > Revision::NONE)
    }

    /// The same for whoever has had everything up to `after`, even if that was nothing.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn going_on(moment: Moment, after: Revision, filters: Filters) -> Result<Self> {
        Self::retained(moment, after, filters, true)
    }

    fn retained(moment: Moment, after: Revision, filters: Filters, goes_on: bool) -> Result<Self> {
        let state = moment.state();
        let from = after.max(state.floor);
        if goes_on && from < state.watch_floor {
            return Err(refuse(&moment, after, Revision::NONE));
        }
        let steps = moment.last_revision.0.saturating_sub(from.0);
        let keys = filters.exact().filter(|keys| keys.len() as u64 <= (steps / STEPS_PER_LOOKUP).max(1));
        let (mut listed, mut bytes, mut missing, mut gone) = (Vec::new(), 0, None, None);
        let mut is_listed = keys.is_some();
        for key in keys.iter().flatten() {
            let before = listed.len();
            gone = gone.max(list_key(&moment.reader(), key.as_bytes(), from, &mut listed, &mut missing)?);
            bytes += (listed.len() - before) * key.len();
            if listed.len() > LISTED_MAX || bytes > LISTED_BYTES_MAX {
                is_listed = false;
                break;
            }
        }
        if !is_listed && goes_on {
            gone = find_gone(&moment, from, &filters)?;
        }
        if let Some(gone) = gone.filter(|_| goes_on) {
            return Err(refuse(&moment, after, gone));
        }
        let scan = match is_listed {
            true => Self { missing, ..Self::list(moment, after, filters, Which::Retained, listed) },
            false => Self::walk(moment, after, filters, Which::Retained),
        };
        // From the beginning on, nobody was told of an older value of anything.
        let spared = if goes_on { Revision::NONE } else { Revision(u64::MAX) };
        Ok(Self { goes_on, spared, ..scan })
    }

    /// The newest entry of each key that `filters` ask for, markers included, in the order of revisions.
    pub(crate) fn initial(moment: Moment, filters: Filters) -> Result<Self> {
        Self::newest(moment, filters, LISTED_MAX)
    }

    /// The same; `listed_max` is how many may be listed.
    fn newest(moment: Moment, filters: Filters, listed_max: usize) -> Result<Self> {
        let (mut listed, mut bytes, mut fits) = (Vec::new(), 0, true);
        let mut add = |key: &[u8], meta: &Meta| {
            bytes += key.len();
            listed.push(Listed::new(key, meta));
            listed.len() <= listed_max && bytes <= LISTED_BYTES_MAX
        };
        if let Some(keys) = filters.exact() {
            for key in keys.into_iter().map(str::as_bytes) {
                let found = moment.reader().meta(key)?;
                fits = fits && found.is_none_or(|meta| add(key, &meta));
            }
        } else {
            let mut scan = Scan::matching(moment.clone(), Wanted { filters: filters.clone(), markers: true });
            while fits && let Some(found) = scan.next_with(|item| Ok(add(item.key.as_bytes(), &item.lent.meta))) {
                fits = found?;
            }
        }
        let after = Revision::NONE;
        Ok(match fits {
            true => Self::list(moment, after, filters, Which::Newest, listed),
            false => Self::walk(moment, after, filters, Which::Newest),
        })
    }

    fn walk(moment: Moment, after: Revision, filters: Filters, which: Which) -> Self {
        let from = after.max(moment.state.floor);
        let changes = moment.view.changes(moment.state.id, moment.visible, from);
        Self::new(moment, after, filters, which, Source::Walk(changes))
    }

    fn list(moment: Moment, after: Revision, filters: Filters, which: Which, mut listed: Vec<Listed>) -> Self {
        listed.sort_unstable();
        Self::new(moment, after, filters, which, Source::List(listed.into_iter()))
    }

    /// Over a moment, for whoever knows nothing.
    pub(super) fn new(moment: Moment, after: Revision, filters: Filters, which: Which, source: Source) -> Self {
        let seen = after.max(moment.state.floor);
        let (merge, missing, begun) = (None, None, None);
        let (values, goes_on, looked_at, is_ahead) = (true, false, 0, false);
        let (as_of, spared) = (moment.now, Revision(u64::MAX));
        Self {
            moment,
            filters,
            which,
            values,
            source,
            merge,
            after,
            goes_on,
            seen,
            missing,
            begun,
            spared,
            looked_at,
            is_ahead,
            as_of,
        }
    }

    /// The same without values: entries tell their lengths.
    #[must_use]
    pub(crate) fn without_values(self) -> Self {
        Self { values: false, ..self }
    }

    /// The revision up to which the whole bucket was purged, if that was not before `after`.
    pub(crate) fn purged(&self) -> Option<Revision> {
        Some(self.moment.state.floor).filter(|floor| *floor > Revision::NONE && self.after <= *floor)
    }

    /// What is missing behind the last delivery.
    pub(crate) const fn take_missing(&mut self) -> Missing {
        self.missing.take()
    }

    /// How many entries were looked at so far.
    pub(crate) const fn looked_at(&self) -> usize {
        self.looked_at
    }

    pub(crate) const fn moment(&self) -> &Moment {
        &self.moment
    }

    /// Everything up to here was delivered, or something newer is, or is still to be.
    pub(crate) const fn seen(&self) -> Revision {
        self.seen
    }

    /// The next change that counts.
    pub(crate) fn next(&mut self) -> Result<Option<Delivery>> {
        while let Source::List(list) = &mut self.source {
            match list.next() {
                Some(listed) => {
                    self.looked_at += 1;
                    if let Some(entry) = self.look_up(&listed)? {
                        let unfinished = listed.continues.then_some(listed.created);
                        return Ok(Some(Delivery { entry, missing: self.missing.take(), unfinished }));
                    }
                }
                None => match &self.begun {
                    // What came since the list was made is in none.
                    Some(begun) => {
                        let seen = self.seen.max(begun.last);
                        self.source = Source::Walk(self.moment.view.changes(self.moment.state.id, self.moment.visible, seen));
                        self.seen = seen;
                    }
                    None => {
                        self.seen = self.moment.last_revision.max(self.seen);
                        return Ok(None);
                    }
                },
            }
        }
        self.step()
    }

    /// Whether nothing follows of the commit of the last delivery, which was made at that time. (Commits that share a time are taken for one.)
    pub(crate) fn ends(&mut self, commit: u64) -> Result<bool> {
        if let Source::List(list) = &self.source {
            return Ok(list.as_slice().first().is_none_or(|next| next.created != commit));
        }
        while self.advance()? {
            let Source::Walk(changes) = &self.source else { break };
            let Some(meta) = changes.entry().map(|change| *change.meta()) else { break };
            if meta.created != commit {
                self.is_ahead = true;
                break;
            }
            if self.look()? == Some(Verdict::Counts) {
                self.is_ahead = true;
                return Ok(false);
            }
            if !meta.flags.continues() {
                break;
            }
        }
        Ok(true)
    }

    /// An entry of the list, unless it has gone since that was made.
    fn look_up(&mut self, listed: &Listed) -> Result<Option<Entry>> {
        let reader = Reader { now: self.as_of, ..self.moment.reader() };
        let found = match self.which {
            Which::Newest => reader.entry(&listed.key)?,
            Which::Retained => reader.entry_at(&listed.key, listed.revision)?,
        };
        self.seen = self.seen.max(listed.revision);
        if let Some(entry) = found.filter(|entry| entry.revision() == listed.revision) {
            return Ok(Some(if self.values { entry } else { entry.stripped() }));
        }
        if self.begun.is_none() {
            let key = listed.key.escape_ascii();
            let message = format!("revision {} of key {key} was found, and then it was not", listed.revision);
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        let newest = reader.meta(&listed.key)?.map_or(Revision::NONE, |meta| meta.revision);
        if newest < listed.revision && listed.revision > self.spared.max(self.moment.state.floor) {
            return Err(refuse(&self.moment, self.after, listed.revision));
        }
        // What a purge of the whole bucket took is told by that.
        if listed.revision > self.moment.state.floor {
            miss(&mut self.missing, Revision(listed.revision.0.saturating_sub(1)), listed.revision);
        }
        Ok(None)
    }

    /// To the next entry of a walk that counts.
    fn step(&mut self) -> Result<Option<Delivery>> {
        while self.advance()? {
            if self.look()? == Some(Verdict::Counts)
                && let Source::Walk(changes) = &self.source
                && let Some(change) = changes.entry()
            {
                let (entry, meta) = (entry_of(&change, self.values)?, change.meta());
                let unfinished = meta.flags.continues().then_some(meta.created);
                return Ok(Some(Delivery { entry, missing: self.missing.take(), unfinished }));
            }
        }
        // What lies behind the last entry is gone, and the floors have told whether that matters.
        let last = self.moment.last_revision.max(self.seen);
        miss(&mut self.missing, self.seen, last);
        self.seen = last;
        Ok(None)
    }

    /// To the next entry of a walk; answers whether there is one.
    fn advance(&mut self) -> Result<bool> {
        let Source::Walk(changes) = &mut self.source else { return Ok(false) };
        Ok(std::mem::take(&mut self.is_ahead) || changes.advance()?)
    }

    /// What is to be said of the entry at which a walk is, if it is asked for. Looking twice does no harm.
    fn look(&mut self) -> Result<Option<Verdict>> {
        let Self { moment, filters, source: Source::Walk(changes), merge, .. } = self else { return Ok(None) };
        let Some(change) = changes.entry() else { return Ok(None) };
        let revision = change.meta().revision;
        self.looked_at += 1;
        miss(&mut self.missing, self.seen, Revision(revision.0.saturating_sub(1)));
        self.seen = revision;
        if !filters.matches(change.key()) {
            return Ok(None);
        }
        let reader = Reader { now: self.as_of, ..moment.reader() };
        let verdict = verdict(&reader, merge, &change, changes.is_newest(), self.which)?;
        match verdict {
            Verdict::Counts => {}
            Verdict::Gone if revision > self.spared => return Err(refuse(moment, self.after, revision)),
            Verdict::Superseded | Verdict::Gone => {
                miss(&mut self.missing, Revision(revision.0.saturating_sub(1)), revision);
            }
        }
        Ok(Some(verdict))
    }
}

/// Adds the revisions after `after` up to `last`, if there are any, to what is missing.
pub(super) fn miss(missing: &mut Missing, after: Revision, last: Revision) {
    if after < last {
        let (from, to) = missing.unwrap_or((Revision(after.0.saturating_add(1)), last));
        *missing = Some((from.min(Revision(after.0.saturating_add(1))), to.max(last)));
    }
}

fn entry_of(change: &Change<'_>, values: bool) -> Result<Entry> {
    let (key, meta) = (stored_key(change.key())?, *change.meta());
    Ok(if values { Entry::new(key, meta, change.to_value()) } else { Entry::without_value(key, meta, change.value_len()) })
}

/// The end of a walk that is not complete because of `first`, or of what the bucket's floor names: from where on nothing is missing.
#[cold]
pub(super) fn refuse(moment: &Moment, after: Revision, first: Revision) -> Error {
    let floor = match moment.floor_from(first.max(moment.state.watch_floor)) {
        Ok(floor) => floor,
        Err(error) => return error,
    };
    let message = format!(
        "what changed after revision {after} is not known any more: keys have expired or markers were dropped up to revision {floor}; read the \
         present state, and go on from there"
    );
    Error::new(ErrorKind::Compacted, message).with_floor(floor)
}

#[cfg(test)]
mod tests;
