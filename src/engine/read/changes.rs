//! What changed after a revision, in the order in which it did: for whoever resumes, falls behind, or wants a list.
//!
//! A scan walks by revision ([`Changes`]) over one moment, so it is complete and has no duplicate; it keeps one entry at a time, however
//! much there is. Whether an entry counts is decided as for every other read: almost always it is its key's newest and nothing has to be
//! judged; else all entries of the key are.
//!
//! A key that was removed while nothing was written, by expiry or `purge_deletes`, leaves no change: who knew an older value of it would
//! keep that. So a scan from below such a removal fails with `Compacted`: at once where the bucket's floor says so, as its last item where
//! what was removed is still there to be met (E8). From revision 0 on nothing is older, and nothing is missed.

use super::{Moment, Reader, stored_key};
use crate::engine::newest::newest_stored;
use crate::entry::{Entry, Flags, Meta};
use crate::error::{Error, ErrorKind, Result};
use crate::merge::{Change, Changes, Merge};
use crate::number::Revision;
use crate::retention::{Judge, Sight};
use crate::subject::Pattern;

/// Which entries of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// All that are retained.
    Retained,
    /// The newest, if it counts.
    Newest,
}

/// A walk over what changed; owns what it needs.
#[derive(Debug)]
pub(crate) struct ChangeScan {
    moment: Moment,
    filters: Vec<Pattern>,
    which: Which,
    values: bool,
    changes: Changes,
    /// To judge entries that are not their key's newest; made when the first one comes.
    merge: Option<Merge>,
    /// A removal that leaves no change matters: whoever asks knew something before.
    is_resumed: bool,
    after: Revision,
    purged: Option<Revision>,
    /// Every revision up to this one has been looked at.
    seen: Revision,
    /// The same, but for a commit that has begun and may go on.
    whole: Revision,
    /// When the commit was made that the entry looked at last said goes on.
    continued: Option<u64>,
    missing: Option<(Revision, Revision)>,
}

/// One change that counts.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) entry: Entry,
    /// First and last of the revisions that are not delivered before it and may have been of a wanted key.
    pub(crate) missing: Option<(Revision, Revision)>,
}

/// What is to be said of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Counts,
    /// It does not count, and a newer change of its key is, or will be, delivered.
    Superseded,
    /// It was its key's newest, and nothing will tell that it is gone.
    Gone,
}

impl ChangeScan {
    /// The changes after `after` of keys that any of `filters` matches; of all, if there is none.
    pub(crate) fn new(moment: Moment, after: Revision, filters: Vec<Pattern>, which: Which) -> Result<Self> {
        let state = moment.state();
        let purged = Some(state.floor).filter(|floor| *floor > Revision::NONE && after <= *floor);
        let is_resumed = after > Revision::NONE;
        let from = after.max(state.floor);
        let is_compacted = is_resumed && from < state.watch_floor;
        let changes = moment.view.changes(state.id, moment.visible, if is_compacted { state.watch_floor } else { from });
        let mut scan = Self {
            moment,
            filters,
            which,
            values: true,
            changes,
            merge: None,
            is_resumed,
            after,
            purged,
            seen: from,
            whole: from,
            continued: None,
            missing: None,
        };
        if is_compacted { Err(scan.compacted(Revision::NONE)) } else { Ok(scan) }
    }

    /// The same without values: entries tell their lengths.
    #[must_use]
    pub(crate) const fn without_values(mut self) -> Self {
        self.values = false;
        self
    }

    /// The revision up to which the whole bucket was purged, if that was not before `after`.
    pub(crate) const fn purged(&self) -> Option<Revision> {
        self.purged
    }

    /// Everything up to this revision has been delivered or need not be, and no commit is cut by it. After the last delivery this is the
    /// bucket's last revision.
    pub(crate) fn whole(&self) -> Revision {
        self.whole
    }

    /// The next change that counts.
    pub(crate) fn next(&mut self) -> Result<Option<Delivery>> {
        while self.changes.advance()? {
            let Some(change) = self.changes.entry() else { break };
            let meta = *change.meta();
            if let Some(before) = meta.revision.0.checked_sub(1).map(Revision).filter(|before| *before > self.seen) {
                miss(&mut self.missing, self.seen, before);
            }
            self.pass(&meta);
            let Some(change) = self.changes.entry().filter(|change| self.is_wanted(change.key())) else { continue };
            match verdict(&self.moment.reader(), &mut self.merge, &change, self.which)? {
                Verdict::Counts => {
                    let entry = entry_of(&change, self.values)?;
                    return Ok(Some(Delivery { entry, missing: self.missing.take() }));
                }
                Verdict::Gone if self.is_resumed => return Err(self.compacted(meta.revision)),
                Verdict::Superseded | Verdict::Gone => miss(&mut self.missing, Revision(meta.revision.0 - 1), meta.revision),
            }
        }
        // What is not there any more was not newest of its key, or the floors name it.
        let state = self.moment.state();
        let last = self.seen.max(state.watch_floor);
        if self.seen < last {
            miss(&mut self.missing, self.seen, last);
        }
        (self.seen, self.whole, self.continued) = (last, last, None);
        Ok(None)
    }

    /// What may be missing behind the last delivery.
    pub(crate) fn take_missing(&mut self) -> Option<(Revision, Revision)> {
        self.missing.take()
    }

    /// Takes note of an entry, whoever's it is.
    fn pass(&mut self, meta: &Meta) {
        if self.continued != Some(meta.created) {
            // What was cut short by a removal has ended before this one.
            self.whole = Revision(meta.revision.0 - 1);
        }
        self.seen = meta.revision;
        if meta.flags.has(Flags::CONTINUES) {
            self.continued = Some(meta.created);
        } else {
            self.continued = None;
            self.whole = meta.revision;
        }
    }

    fn is_wanted(&self, key: &[u8]) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| filter.matches(key))
    }

    /// The end of a walk that is not complete because of `first`, or of what the bucket's floor names: from where on nothing is missing.
    #[cold]
    fn compacted(&mut self, first: Revision) -> Error {
        let mut floor = first.max(self.moment.state().watch_floor);
        loop {
            match self.changes.advance() {
                Ok(true) => {}
                Ok(false) => return compacted(self.after, floor),
                Err(error) => return error,
            }
            let Some(change) = self.changes.entry() else { continue };
            match verdict(&self.moment.reader(), &mut self.merge, &change, Which::Newest) {
                Ok(Verdict::Gone) => floor = floor.max(change.meta().revision),
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    }
}

/// Widens what is missing by the revisions after `after` up to `last`.
fn miss(missing: &mut Option<(Revision, Revision)>, after: Revision, last: Revision) {
    let from = missing.map_or(Revision(after.0 + 1), |(from, _)| from);
    *missing = Some((from, last));
}

fn verdict(reader: &Reader<'_>, merge: &mut Option<Merge>, change: &Change<'_>, which: Which) -> Result<Verdict> {
    let rules = reader.rules();
    let (key, meta) = (change.key(), change.meta());
    let hash = reader.hash(key);
    let newest = newest_stored(reader.view, reader.visible, reader.state, key, hash)?;
    match newest.filter(|newest| !newest.flags.is_dropped()) {
        Some(newest) if newest.revision == meta.revision => {
            let counts = rules.is_plain(&newest) || Judge::new(&rules).see(&newest) == Sight::Visible;
            let is_silent = rules.expires_silently(&newest);
            return Ok(if counts {
                Verdict::Counts
            } else if is_silent {
                Verdict::Gone
            } else {
                Verdict::Superseded
            });
        }
        Some(_) if which == Which::Newest || rules.depth == 1 => return Ok(Verdict::Superseded),
        _ => {}
    }
    let merge = merge.get_or_insert_with(|| reader.merge());
    merge.seek_key(key, hash)?;
    let mut judge = Judge::new(&rules);
    let mut is_newest = true;
    while let Some(entry) = merge.entry().filter(|entry| entry.key == key && entry.meta.revision >= meta.revision) {
        let sight = judge.see(&entry.meta);
        if !entry.meta.flags.is_dropped() {
            if entry.meta.revision == meta.revision {
                let is_out = which == Which::Newest && !is_newest;
                return Ok(match sight {
                    Sight::Visible if !is_out => Verdict::Counts,
                    // Newest, and not there: only what drops a marker stands above it.
                    Sight::Hidden | Sight::End if is_newest => Verdict::Gone,
                    _ => Verdict::Superseded,
                });
            }
            is_newest = false;
            if sight == Sight::End {
                break;
            }
        }
        merge.next()?;
    }
    Ok(Verdict::Superseded)
}

fn entry_of(change: &Change<'_>, values: bool) -> Result<Entry> {
    let (key, meta) = (stored_key(change.key())?, *change.meta());
    Ok(if values { Entry::new(key, meta, change.to_value()) } else { Entry::without_value(key, meta, change.value_len()) })
}

#[cold]
fn compacted(after: Revision, floor: Revision) -> Error {
    let message = format!(
        "what changed after revision {after} is not known any more: keys have expired or markers were dropped up to revision {floor}; read the \
         present state, and go on from there"
    );
    Error::new(ErrorKind::Compacted, message).with_floor(floor)
}
