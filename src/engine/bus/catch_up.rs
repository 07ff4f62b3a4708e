//! What a watch reads of what there is: a chunk at a time, each from a view of its own, so that a reader who takes hours pins no memtable and
//! no file for longer than the store takes to read a chunk.
//!
//! A chunk holds as much as a line may. What it holds is in memory, by itself; the view is let go of when the chunk is full, and taken anew when
//! somebody has taken all of it. No chunk ends inside a commit (E12): what follows of one is read entry by entry, and the view kept for so long.
//!
//! It is over when a view has been read to its end: then everything up to there was given, or something newer. Where writers are as fast as the
//! reader, that may never be. So a watch that is still to be told that it is up to date first reads up to the moment at which it began; then
//! up to where the bucket is by then, as long as each such stretch is at most half as long as the one before; and what is left from one
//! view. One that was told goes on as long as it takes: it is behind, and hears so.

use std::collections::VecDeque;

use super::line::{BYTES_MAX, EVENTS_MAX};
use crate::engine::core::Core;
use crate::engine::read::{ChangeScan, Delivery, Missing, Moment, Paused};
use crate::error::{Error, Result};
use crate::number::{BucketId, CommitNumber, Revision};
use crate::resume::Resumption;

/// Entries that are looked at for one chunk, at most, once something was found.
const LOOKED_AT_MAX: usize = 16 * EVENTS_MAX;

/// A reader of what there is.
#[derive(Debug)]
pub(super) struct CatchUp {
    bucket: BucketId,
    chunk: VecDeque<Delivery>,
    next: Next,
    /// The bucket's last revision in the view that was read last: that shows everything up to there.
    last: Revision,
    /// The newest commit that it shows.
    through: CommitNumber,
    /// The last purge of the whole bucket that was told, or need not be.
    purged: CommitNumber,
    told: Option<Caught>,
    /// The chunk was full, and waits for the end of a commit.
    is_overdue: bool,
    goal: Goal,
}

/// Up to where the view is changed between chunks.
#[derive(Clone, Copy, Debug)]
enum Goal {
    /// To where the bucket is when reading begins.
    Unset,
    /// To a revision; how far that was from where the stretch began.
    Until(Revision, u64),
    /// As far as it goes.
    Endless,
}

/// Where it goes on when the chunk was given.
#[derive(Debug)]
enum Next {
    /// With a new view.
    Later(Box<Paused>),
    /// With the same view.
    Now(Box<ChangeScan>),
    Fail(Error),
    End(Missing),
}

/// What it has read.
#[derive(Debug)]
pub(super) enum Caught {
    Entry(Delivery),
    Purged {
        commit: CommitNumber,
        through: Revision,
    },
    /// Everything up to a revision was given, which includes all up to a commit; what is missing behind the last entry.
    End {
        last: Revision,
        through: CommitNumber,
        missing: Missing,
    },
}

impl CatchUp {
    /// Reads what `scan` gives.
    pub(super) fn new(bucket: BucketId, scan: ChangeScan) -> Self {
        Self {
            bucket,
            chunk: VecDeque::new(),
            last: scan.moment().last_revision(),
            through: scan.moment().visible(),
            purged: scan.moment().state().purged,
            told: None,
            is_overdue: false,
            goal: Goal::Unset,
            next: Next::Now(Box::new(scan)),
        }
    }

    /// The same for who knows more or less than the state of the bucket: a purge of it as a whole is told first.
    pub(super) fn telling(mut self, resumption: Resumption) -> Self {
        let commit = self.purged;
        self.told = resumption.purged.map(|through| Caught::Purged { commit, through });
        self
    }

    /// The same for who is live already: it need not come to an end.
    pub(super) fn endless(self) -> Self {
        Self { goal: Goal::Endless, ..self }
    }

    /// The same, without a view until somebody reads it.
    pub(super) fn paused(mut self) -> Self {
        if let Next::Now(scan) = self.next {
            self.next = if scan.may_pause() { Next::Later(Box::new(scan.pause())) } else { Next::Now(scan) };
        }
        self
    }

    /// The last purge of the whole bucket that is known at the beginning.
    pub(super) const fn purged(&self) -> CommitNumber {
        self.purged
    }

    /// Whether it will take a view before it gives something.
    pub(super) fn is_at_a_pause(&self) -> bool {
        self.chunk.is_empty() && self.told.is_none() && matches!(self.next, Next::Later(_))
    }

    /// What comes next. After the end, or an error, it must not be asked again.
    pub(super) fn next(&mut self, core: &Core) -> Result<Caught> {
        loop {
            if let Some(told) = self.told.take() {
                return Ok(told);
            }
            if let Some(delivery) = self.chunk.pop_front() {
                return Ok(Caught::Entry(delivery));
            }
            match std::mem::replace(&mut self.next, Next::End(None)) {
                Next::Later(paused) => self.go_on(core, *paused)?,
                Next::Now(scan) => self.fill(core, *scan),
                Next::Fail(error) => return Err(error),
                Next::End(missing) => return Ok(Caught::End { last: self.last, through: self.through, missing }),
            }
        }
    }

    /// Takes a new view.
    fn go_on(&mut self, core: &Core, paused: Paused) -> Result<()> {
        let moment: Moment = core.moment(self.bucket)?;
        (self.last, self.through) = (moment.last_revision(), moment.visible());
        let commit = moment.state().purged;
        let Resumption { purged, .. } = moment.resumption(self.purged, paused.seen());
        self.told = purged.map(|through| Caught::Purged { commit, through });
        self.purged = commit;
        self.next = Next::Now(Box::new(paused.resume(moment)?));
        Ok(())
    }

    /// Reads a chunk.
    fn fill(&mut self, core: &Core, mut scan: ChangeScan) {
        if matches!(self.goal, Goal::Unset) {
            self.goal = Goal::Until(self.last, self.last.0.saturating_sub(scan.seen().0));
        }
        let (begun_at, mut bytes) = (scan.looked_at(), 0);
        loop {
            let delivery = match scan.next() {
                Ok(Some(delivery)) => delivery,
                Ok(None) => return self.let_go(Next::End(scan.take_missing())),
                Err(error) => return self.let_go(Next::Fail(error)),
            };
            bytes += delivery.entry.key().len() + delivery.entry.value().len();
            let unfinished = delivery.unfinished;
            self.chunk.push_back(delivery);
            self.is_overdue |= self.chunk.len() >= core.settings.chunk_entries.min(EVENTS_MAX)
                || bytes >= BYTES_MAX
                || scan.looked_at() - begun_at >= LOOKED_AT_MAX;
            if !self.is_overdue {
                continue;
            }
            let ends = match unfinished.map_or(Ok(true), |commit| scan.ends(commit)) {
                Ok(ends) => ends,
                Err(error) => return self.let_go(Next::Fail(error)),
            };
            self.is_overdue = !ends;
            if ends && scan.may_pause() && self.may_be_later(core, scan.seen()) {
                return self.let_go(Next::Later(Box::new(scan.pause())));
            }
            return self.next = Next::Now(Box::new(scan));
        }
    }

    /// What comes next needs no view, so what waits must not hold on to it. The first entry is given at once, unless a word comes before it.
    fn let_go(&mut self, next: Next) {
        let at_once = self.chunk.front().is_some_and(|first| first.missing.is_none());
        self.chunk.iter_mut().skip(usize::from(at_once)).for_each(|delivery| delivery.entry.detach());
        self.next = next;
    }

    /// Whether what follows `seen` may be read from another view.
    fn may_be_later(&mut self, core: &Core, seen: Revision) -> bool {
        let Goal::Until(until, last_stretch) = self.goal else { return true };
        if seen < until {
            return true;
        }
        let next = core.last_revision(self.bucket);
        let stretch = next.0.saturating_sub(until.0);
        if stretch > last_stretch / 2 {
            return false;
        }
        self.goal = Goal::Until(next, stretch);
        seen < next
    }
}
