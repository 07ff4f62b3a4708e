//! One validator per guarantee of a watch. What can be judged from the events alone is judged as they come; everything else in one walk over
//! what was told and what was committed, once both are known.
//!
//! - *ordered*, *unique*: revisions rise from entry to entry, over `Purged` and across resumes too ([`Validator::see`]);
//! - *bookmarkable*: the position of the token after any event is that of the event: nothing at or below it comes later, nothing at or
//!   below it is still due, and after an entry it is the entry's ([`Validator::see`], [`Walk::claim`]); a progress is new each time;
//! - *resumable*: what a token goes on with is checked as the same watch, so nothing is told twice or left out, and no more may be missing
//!   than retention has taken ([`Phase::Resumed`]);
//! - *complete*: of what was committed an entry may be missing only if retention has taken it by the time when the watch read the
//!   store, which a newer entry of its key is the reason for; once the watch was up to date, only inside of a span that `Skipped` has told
//!   before; and if the watch cannot have fallen behind, not at all ([`Walk::miss`]);
//! - *atomic*: nothing that a program could stop at stands between two entries of a batch: no mark, no end, no "nothing more for now"
//!   ([`Walk::mark`]);
//! - *true*: every field of every entry is what was committed ([`Walk::entry`]).

use annals::Event;

use super::ledger::{Content, Ledger, NEVER, Record};
use super::traffic::Interest;

/// What a line holds (1,024 events, 256 KiB): who has fallen behind has missed more than that.
const LINE_EVENTS: usize = 1024;
const LINE_BYTES: usize = 256 << 10;

/// How a watch began, until it is up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    State,
    History,
    Updates,
    /// From a token or a revision.
    Resumed,
    Live,
}

impl Phase {
    /// Whoever goes on from nothing has seen no value of a key that is gone, so nothing need be told of that.
    pub(crate) const fn resumed(position: u64) -> Self {
        if position == 0 { Self::History } else { Self::Resumed }
    }
}

/// What was told, and when.
#[derive(Clone, Copy, Debug)]
enum Item {
    Entry {
        revision: u64,
        content: Content,
        created: u64,
        previous: Option<u64>,
    },
    /// It begins, or begins anew: the last revision that the bucket surely had then, and up to where nothing is due.
    Begins(Phase, u64, u64),
    /// Up to here it was read from the store.
    UpToDate(u64),
    Skipped(u64, u64),
    Purged(u64),
    /// Everything up to here was given, it says.
    Claim(u64),
    /// Nothing was there.
    Nothing,
    /// Nothing was there, though everything up to here was committed: with no thread at work everything has been told by then.
    Rest(u64),
    /// The end, when the bucket's last revision was this: nothing that waited for the watch is lost, but what it had still to read is.
    End(u64),
    /// What was told since the last bound was read from the store before the bucket had a last revision above this, at this time at most.
    Bound(u64, u64),
}

/// Checks the events of one watch, and of those that go on from its tokens.
#[derive(Clone, Debug)]
pub(crate) struct Validator {
    pub(crate) interest: Interest,
    meta_only: bool,
    ignores_deletes: bool,
    /// Nobody but the thread of the test is at work, so it is known when the watch has fallen behind.
    is_alone: bool,
    last: u64,
    /// The position of the token.
    pub(crate) position: u64,
    pub(crate) is_up_to_date: bool,
    progress: Option<(u64, u64)>,
    /// The purge that was told last, and the one that had been told when it began.
    pub(crate) purged: Option<u64>,
    knew: Option<u64>,
    log: Vec<Item>,
    pub(crate) entries: u64,
    pub(crate) skips: u64,
    /// The highest revision that was called durable.
    pub(crate) durable: u64,
}

impl Validator {
    /// Of a watch made with this token, when the bucket's last revision was `last` or above.
    pub(crate) fn new(interest: Interest, phase: Phase, last: u64, position: u64) -> Self {
        assert!(phase != Phase::Updates || position >= last, "what was committed before is given");
        let log = vec![Item::Begins(phase, last, position)];
        Self {
            interest,
            meta_only: false,
            ignores_deletes: false,
            is_alone: false,
            last: position,
            position,
            is_up_to_date: false,
            progress: None,
            purged: None,
            knew: None,
            log,
            entries: 0,
            skips: 0,
            durable: 0,
        }
    }

    /// The same for a watch that leaves something out.
    pub(crate) fn leaves_out(self, values: bool, deletes: bool) -> Self {
        Self { meta_only: values, ignores_deletes: deletes, ..self }
    }

    /// The same where nobody but this thread is at work.
    pub(crate) fn alone(self) -> Self {
        Self { is_alone: true, ..self }
    }

    /// Of a watch that goes on from the token that this one has now.
    pub(crate) fn fork(&self, last: u64) -> Self {
        let log = vec![Item::Begins(Phase::resumed(self.position), last, self.position)];
        Self { log, knew: self.purged, is_up_to_date: false, progress: None, entries: 0, skips: 0, durable: 0, ..*self }
    }

    /// The watch goes on from its token, as after a restart.
    pub(crate) fn resume(&mut self, last: u64) {
        self.log.push(Item::Begins(Phase::resumed(self.position), last, self.position));
        (self.is_up_to_date, self.progress) = (false, None);
    }

    /// An event, and the position of the token after it.
    pub(crate) fn see(&mut self, event: &Event, position: u64) {
        assert!(self.position <= position, "bookmarkable: the token goes back from {} to {position}: {event:?}", self.position);
        match event {
            Event::Entry(entry) => {
                let revision = entry.revision().get();
                assert!(self.last < revision, "ordered and unique: {revision} after {}", self.last);
                assert!(self.position < revision, "bookmarkable: {revision} after a token at {}", self.position);
                assert_eq!(position, revision, "bookmarkable: the token after an entry");
                self.last = revision;
                self.entries += 1;
                let (content, created) = Content::of(entry, !self.meta_only);
                self.log.push(Item::Entry { revision, content, created, previous: entry.previous().map(annals::Revision::get) });
            }
            Event::UpToDate => {
                assert!(!std::mem::replace(&mut self.is_up_to_date, true), "up to date twice");
                self.log.push(Item::UpToDate(position));
            }
            Event::Progress { revision, durable } => {
                let (revision, durable) = (revision.get(), durable.get());
                assert!(self.is_up_to_date, "{event:?} before it was up to date");
                assert!(durable <= revision && self.last <= revision, "{event:?} behind {}", self.last);
                // Numbers that a crash left out are given to nothing, and a token stands before them.
                assert!(position <= revision, "bookmarkable: the token after {event:?} is {position}");
                self.log.push(Item::Claim(revision));
                let before = self.progress.replace((revision, durable));
                let is_new = before.is_none_or(|old| old.0 <= revision && old.1 <= durable && old != (revision, durable));
                assert!(is_new, "{event:?} after {before:?}");
                self.durable = self.durable.max(durable);
            }
            Event::Skipped { from, to } => {
                assert!(self.is_up_to_date, "skipped before it was up to date");
                assert!(self.last < from.get() && from <= to, "{event:?} after {}", self.last);
                self.skips += 1;
                self.log.push(Item::Skipped(from.get(), to.get()));
            }
            Event::Purged { through } => {
                let through = through.get();
                assert!(self.last <= through, "ordered: {event:?} after {}", self.last);
                self.last = through;
                self.purged = Some(through);
                self.log.push(Item::Purged(through));
            }
            other => panic!("{other:?}"),
        }
        if position != self.position || !matches!(event, Event::Entry(_)) {
            self.claim(position);
        }
    }

    fn claim(&mut self, position: u64) {
        self.position = position;
        self.log.push(Item::Claim(position));
    }

    /// There was no event; `position` is that of the token then.
    pub(crate) fn see_nothing(&mut self, position: u64) {
        assert!(self.position <= position, "bookmarkable: the token goes back from {} to {position}", self.position);
        if !matches!(self.log.last(), Some(Item::Nothing)) {
            self.claim(position);
            self.log.push(Item::Nothing);
        }
    }

    /// There was no event, nobody else is at work, and the bucket's last revision is this.
    pub(crate) fn see_rest(&mut self, position: u64, last: u64) {
        assert!(self.is_up_to_date, "it rests, and was never up to date");
        self.see_nothing(position);
        self.log.push(Item::Rest(last));
    }

    /// Whatever was read until now was read before the bucket had a later revision, or it was later.
    pub(crate) fn bound(&mut self, last: u64, now: u64) {
        match self.log.last_mut() {
            Some(Item::Bound(..)) => {}
            _ => self.log.push(Item::Bound(last, now)),
        }
    }

    /// The watch has ended, when the bucket's last revision was this. `is_readable`: what it had still to read could be read.
    pub(crate) fn end(&mut self, last: u64, is_readable: bool) {
        self.log.push(if is_readable { Item::Claim(last) } else { Item::End(last) });
    }

    /// For [`Ledger::learn`].
    pub(crate) fn seen(&self) -> impl Iterator<Item = (u64, Content, u64)> {
        self.log.iter().filter_map(|item| match item {
            Item::Entry { revision, content, created, .. } => Some((*revision, *content, *created)),
            _ => None,
        })
    }

    /// Checks all that was told against what was committed. The ledger must be indexed.
    pub(crate) fn check(&self, ledger: &Ledger) {
        let mut walk = Walk::new(self, ledger);
        let mut bounds = self.log.iter().enumerate().filter_map(|(at, item)| match item {
            Item::Bound(last, now) => Some((at, *last, *now)),
            _ => None,
        });
        let mut bound = (0, 0, 0);
        for (at, item) in self.log.iter().enumerate() {
            while bound.0 < at {
                bound = bounds.next().unwrap_or((usize::MAX, NEVER, NEVER));
            }
            walk.bound = (bound.1, bound.2);
            walk.item(item);
        }
    }

    /// The same, of a watch that has been given everything up to the bucket's last revision `last`.
    pub(crate) fn check_whole(mut self, ledger: &Ledger, last: u64) {
        assert!(self.is_up_to_date, "never up to date");
        self.log.push(Item::Claim(last));
        self.check(ledger);
        let newest = ledger.purges.last().copied().filter(|through| self.must_tell(*through));
        assert!(newest.is_none_or(|through| self.purged == Some(through)), "the purge through {newest:?} was not told");
    }

    /// Whether a purge is not from before everything that the watch has given.
    fn must_tell(&self, through: u64) -> bool {
        let Some(Item::Begins(phase, began, _)) = self.log.first() else { unreachable!("it begins") };
        let read_at = self.log.iter().find_map(|item| if let Item::Bound(last, _) = item { Some(*last) } else { None });
        let first = self.log.iter().find_map(|item| if let Item::Entry { revision, .. } = item { Some(*revision) } else { None });
        let is_silent = match phase {
            Phase::State | Phase::History | Phase::Updates => {
                first.is_none_or(|first| through < first) && read_at.is_none_or(|last| through <= last)
            }
            Phase::Resumed | Phase::Live => false,
        };
        *began < through && !is_silent
    }
}

/// A walk over what was told and what was committed, side by side.
struct Walk<'a> {
    validator: &'a Validator,
    ledger: &'a Ledger,
    /// The first record that is not settled, and the revision up to which everything is.
    at: usize,
    position: u64,
    phase: Phase,
    /// The bucket's last revision when it began, and when nothing waited for it.
    began: u64,
    rested: u64,
    /// See [`Item::Bound`].
    bound: (u64, u64),
    /// Told as skipped, since the last entry.
    skipped: Vec<(u64, u64)>,
    has_begun: bool,
    /// A purge from before it began, which is not told, as what is missing at the beginning says: what was missing, and the purge.
    silent_purge: (u64, u64),
    /// Purges in the ledger that need not be told any more.
    purges: usize,
    /// The batch of the last entry, and whether something stands behind that.
    batch: u64,
    is_marked: bool,
    created: u64,
}

impl<'a> Walk<'a> {
    fn new(validator: &'a Validator, ledger: &'a Ledger) -> Self {
        let known = ledger.purges.iter().rposition(|through| Some(*through) == validator.knew);
        Self {
            validator,
            ledger,
            at: 0,
            position: 0,
            phase: Phase::Live,
            began: 0,
            rested: 0,
            bound: (0, 0),
            skipped: Vec::new(),
            has_begun: false,
            silent_purge: (0, 0),
            purges: known.map_or(0, |known| known + 1),
            batch: 0,
            is_marked: true,
            created: 0,
        }
    }

    fn item(&mut self, item: &Item) {
        match *item {
            Item::Entry { revision, content, created, previous } => self.entry(revision, content, created, previous),
            Item::Begins(phase, last, position) => {
                (self.phase, self.began, self.rested, self.has_begun) = (phase, last, last, false);
                (self.position, self.at) = (position, self.ledger.place_after(position));
                self.skipped.clear();
            }
            Item::UpToDate(position) => {
                self.mark();
                self.claim(position.max(self.began));
                self.phase = Phase::Live;
            }
            Item::Skipped(from, to) => {
                assert!(self.may_lag(), "skipped {from}..={to}, and cannot have fallen behind since {}", self.rested);
                assert!(self.position < from, "skipped from {from} on, after {}", self.position);
                self.skipped.push((from, to));
            }
            Item::Purged(through) => self.purge(through),
            Item::Claim(position) => self.claim(position),
            Item::Nothing => self.mark(),
            Item::Rest(last) => {
                self.claim(last);
                self.rested = last;
            }
            Item::End(last) => {
                self.mark();
                if !self.may_lag() {
                    self.claim(last);
                }
            }
            Item::Bound(..) => {}
        }
    }

    fn entry(&mut self, revision: u64, content: Content, created: u64, previous: Option<u64>) {
        self.claim(revision - 1);
        let record = self.ledger.records.get(self.at).filter(|record| record.revision == revision);
        let record = record.unwrap_or_else(|| panic!("true: revision {revision} was never committed: {content:?}"));
        let stamp = if self.validator.meta_only { 0 } else { record.content.stamp };
        assert_eq!(content, Content { stamp, ..record.content }, "true: revision {revision}");
        assert!(self.is_due(record), "revision {revision} of {content:?} was not asked for");
        assert!(record.created == 0 || record.created == created, "true: revision {revision} was committed at another time");
        assert!(self.created <= created, "true: time goes back at revision {revision}");
        let is_known = |previous| {
            let is_unheard_of = self.ledger.is_partial && previous > record.previous && self.ledger.find(previous).is_none();
            previous == record.previous || is_unheard_of || previous == 0 && self.is_gone_at(record.previous)
        };
        assert!(previous.is_none_or(is_known), "true: {previous:?} before revision {revision} is {}", record.previous);
        assert!(!self.is_marked || self.batch != record.batch, "atomic: a mark inside a batch, before revision {revision}");
        let replaced = match self.phase {
            Phase::State => record.superseded,
            Phase::History | Phase::Resumed => record.trimmed,
            Phase::Updates | Phase::Live => NEVER,
        };
        assert!(replaced > self.began, "revision {revision} was not there any more when it began, at {}", self.began);
        let (missed, through) = self.silent_purge;
        assert!(
            through < revision,
            "revision {revision} is given, and not {missed}, as if it had been purged through {through}: {:?}, with the bucket at {:?}",
            self.ledger.find(missed),
            self.bound
        );
        (self.batch, self.is_marked, self.has_begun) = (record.batch, false, true);
        (self.at, self.position, self.created) = (self.at + 1, revision, created);
        self.skipped.retain(|(_, to)| *to > revision);
    }

    fn is_due(&self, record: &Record) -> bool {
        let is_wanted = !self.validator.ignores_deletes || record.content.operation == annals::Operation::Put;
        is_wanted && self.validator.interest.has(record.content.key)
    }

    fn is_gone_at(&self, revision: u64) -> bool {
        self.ledger.find(revision).is_some_and(|record| record.gone != NEVER || record.is_expiry())
    }

    /// Nothing that stands between entries may stand inside a batch.
    fn mark(&mut self) {
        self.is_marked = true;
    }

    /// Everything up to there has been given, or need not be.
    fn claim(&mut self, position: u64) {
        let ledger = self.ledger;
        while let Some(record) = ledger.records.get(self.at).filter(|record| record.revision <= position) {
            if self.is_due(record) {
                self.miss(record);
            }
            self.at += 1;
        }
        self.position = self.position.max(position);
    }

    /// An entry was not given.
    fn miss(&mut self, record: &Record) {
        let Record { revision, superseded, trimmed, gone, doubtful, .. } = *record;
        let (last, now) = self.bound;
        let is_late = record.content.ttl > 0 && record.created + record.content.ttl <= now;
        let is_gone = || gone <= last || record.is_expiry() && is_late;
        // An entry whose time is over goes silently if it is not its key's newest.
        let is_trimmed = trimmed.min(doubtful) <= last || is_late && superseded <= last;
        let is_out = match self.phase {
            Phase::State => superseded <= last || is_gone(),
            Phase::History => is_trimmed || is_gone(),
            Phase::Resumed | Phase::Updates | Phase::Live => is_trimmed,
        };
        // A purge is supposed only where nothing else can have been the reason.
        let begins = matches!(self.phase, Phase::State | Phase::History);
        let is_excused = is_out || self.is_over(record) || begins && self.is_purged(revision);
        assert!(is_excused, "complete: lost in {:?}: {record:?}, with the bucket at {last}", self.phase);
        if self.phase == Phase::Live || self.phase == Phase::Updates {
            let is_told = self.skipped.iter().any(|(from, to)| (*from..=*to).contains(&revision));
            assert!(is_told, "complete: skipped without a word: {record:?}");
        }
    }

    /// Whether the time of its key was over, and the marker that tells so was not written yet: it comes, as a change of its own.
    fn is_over(&self, record: &Record) -> bool {
        let (last, now) = self.bound;
        let newer = |record: &Record| self.ledger.find(record.superseded).filter(|newer| newer.revision <= last);
        let mut newest = record;
        while let Some(newer) = newer(newest) {
            newest = newer;
        }
        let is_told = self.ledger.is_partial || self.ledger.find(newest.superseded).is_none_or(Record::is_expiry);
        !newest.is_expiry() && newest.content.ttl > 0 && newest.created + newest.content.ttl <= now && is_told
    }

    /// Whether a purge from before the beginning took it: then it took everything up to there, and nothing of that has been given.
    fn is_purged(&mut self, revision: u64) -> bool {
        let purge = self.ledger.purges.iter().find(|through| **through >= revision && **through <= self.bound.0);
        if let Some(through) = purge.filter(|through| **through > self.silent_purge.1) {
            self.silent_purge = (revision, *through);
        }
        purge.is_some() && !self.has_begun
    }

    /// What is missing up to there is gone with the purge, if the watch may have fallen behind; else it had been told.
    fn purge(&mut self, through: u64) {
        let found = self.ledger.purges[self.purges..].iter().position(|purge| *purge == through);
        self.purges += found.unwrap_or_else(|| panic!("there was no purge through {through}, or it was told before")) + 1;
        self.mark();
        if self.phase == Phase::Live && !self.may_lag() {
            self.claim(through);
        }
        self.position = self.position.max(through);
        self.at = self.at.max(self.ledger.place_after(through));
    }

    /// Whether more than a line holds was committed since nothing waited for the watch.
    fn may_lag(&self) -> bool {
        if !self.validator.is_alone {
            return true;
        }
        let from = self.ledger.place_after(self.rested);
        let records = self.ledger.records[from..].iter().take_while(|record| record.revision <= self.bound.0);
        let records = records.filter(|record| self.validator.interest.has(record.content.key));
        let (events, bytes) = records.fold((0, 0), |(events, bytes), record| (events + 1, bytes + 3 + record.content.len));
        let purges = self.ledger.purges.iter().filter(|through| **through >= self.rested).count();
        events + purges > LINE_EVENTS || bytes > LINE_BYTES
    }
}
