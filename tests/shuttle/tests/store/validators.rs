//! The guarantees of a watch, checked with its events and a record of what was committed. A smaller relative of the validators of
//! `tests/it`, for a few dozen events, and without knowledge of how much a line holds.
//!
//! - *ordered*, *unique*: revisions rise from entry to entry, over `Purged` and across resumes too;
//! - *complete*: an entry is left out only if a newer one of its key, or a purge that takes it, comes later, and after `UpToDate` only inside
//!   of a span that `Skipped` has told;
//! - *atomic*: nothing but entries of one batch stands between two of its entries, so no mark falls inside;
//! - *bookmarkable*: after a mark or a progress nothing at or below it comes; what is durable is not beyond it.

use std::collections::{BTreeMap, HashMap};

use annals::{Entry, Event, Operation};

/// What was committed: every entry of one bucket by revision, and the purges of the whole bucket.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: BTreeMap<u64, Committed>,
    purges: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    pub(crate) operation: Operation,
    /// The batch that it belongs to, by the revision of its first entry.
    pub(crate) batch: u64,
}

impl Ledger {
    pub(crate) fn add(&mut self, revision: u64, committed: Committed) {
        assert!(self.entries.insert(revision, committed).is_none(), "revision {revision} was given twice");
    }

    pub(crate) fn append(&mut self, other: Self) {
        for (revision, committed) in other.entries {
            self.add(revision, committed);
        }
        self.purges.extend(other.purges);
    }

    pub(crate) fn purge(&mut self, through: u64) {
        self.purges.push(through);
    }

    /// The newest entry of each key that matches and is not gone with a purge of the whole bucket.
    pub(crate) fn state(&self, matches: impl Fn(&str) -> bool) -> BTreeMap<String, u64> {
        let floor = self.purges.iter().max().copied().unwrap_or(0);
        let live = self.entries.range(floor + 1..).filter(|(_, entry)| matches(&entry.key));
        live.map(|(revision, entry)| (entry.key.clone(), *revision)).collect()
    }
}

/// Checks the events of one watch as they come.
#[derive(Debug, Default)]
pub(crate) struct Validator {
    last: u64,
    mark: u64,
    up_to_date: bool,
    pub(crate) delivered: Vec<(u64, String, Vec<u8>, Operation)>,
    skipped: Vec<(u64, u64)>,
    purged: Vec<u64>,
    /// What stands between entries: how many of them came before.
    marks: Vec<usize>,
    /// The newest revision that was given before the watch was up to date, and the first one after.
    initial: u64,
    first_live: Option<u64>,
}

impl Validator {
    pub(crate) fn see(&mut self, event: &Event) {
        match event {
            Event::Entry(entry) => self.see_entry(entry),
            Event::UpToDate => {
                assert!(!std::mem::replace(&mut self.up_to_date, true), "up to date twice");
                self.initial = self.initial.max(self.last);
                self.marks.push(self.delivered.len());
            }
            Event::Progress { revision, durable } => {
                assert!(durable <= revision, "{event:?}");
                assert!(
                    self.mark <= revision.get() && self.last <= revision.get(),
                    "{event:?} behind {} and {}",
                    self.mark,
                    self.last
                );
                self.mark = revision.get();
                self.marks.push(self.delivered.len());
            }
            Event::Skipped { from, to } => {
                assert!(self.up_to_date, "skipped before it was up to date");
                assert!(from <= to, "{event:?}");
                self.skipped.push((from.get(), to.get()));
            }
            Event::Purged { through } => {
                self.purged.push(through.get());
                self.mark = self.mark.max(through.get());
                self.marks.push(self.delivered.len());
            }
            other => panic!("{other:?}"),
        }
    }

    fn see_entry(&mut self, entry: &Entry) {
        let revision = entry.revision().get();
        assert!(self.last < revision, "ordered and unique: {revision} after {}", self.last);
        assert!(self.mark < revision, "bookmarkable: {revision} after a mark at {}", self.mark);
        self.last = revision;
        if self.up_to_date {
            self.first_live.get_or_insert(revision);
        }
        self.delivered.push((revision, entry.key().to_string(), entry.value().to_vec(), entry.operation()));
    }

    /// Checks the whole against what was committed, for a watch of the keys that match. `exact` says that nothing may have been left out.
    pub(crate) fn check(&self, ledger: &Ledger, matches: impl Fn(&str) -> bool, from: u64) {
        self.check_truth(ledger, &matches);
        self.check_complete(ledger, &matches, from);
        self.check_atomic(ledger);
        // The state that a program keeps is the bucket's.
        let mut state = BTreeMap::new();
        let floor = self.purged.iter().max().copied().unwrap_or(0);
        for (revision, key, ..) in self.delivered.iter().filter(|delivered| delivered.0 > floor) {
            state.insert(key.clone(), *revision);
        }
        let expected = ledger.state(&matches);
        let expected: BTreeMap<String, u64> = expected.into_iter().filter(|(_, revision)| *revision > from).collect();
        assert_eq!(state, expected, "the state that a watch leads to");
    }

    /// What was delivered is what was committed.
    fn check_truth(&self, ledger: &Ledger, matches: &impl Fn(&str) -> bool) {
        for (revision, key, value, operation) in &self.delivered {
            let committed = &ledger.entries[revision];
            assert!(matches(key), "{key} was not asked for");
            assert_eq!((key, value, operation), (&committed.key, &committed.value, &committed.operation), "revision {revision}");
        }
        for through in &self.purged {
            assert!(ledger.purges.contains(through), "no purge through {through}");
        }
    }

    fn check_complete(&self, ledger: &Ledger, matches: &impl Fn(&str) -> bool, from: u64) {
        let mut newest_given: HashMap<&str, u64> = HashMap::new();
        for (revision, key, ..) in &self.delivered {
            newest_given.insert(key, *revision);
        }
        let given: std::collections::HashSet<u64> = self.delivered.iter().map(|delivered| delivered.0).collect();
        let floor = self.purged.iter().max().copied().unwrap_or(0);
        for (revision, entry) in ledger.entries.range(from + 1..).filter(|(_, entry)| matches(&entry.key)) {
            if given.contains(revision) {
                continue;
            }
            let is_replaced = newest_given.get(entry.key.as_str()).is_some_and(|newest| newest > revision);
            // A purge from before the watch is not told.
            let is_before = self.first_live.is_none_or(|first| *revision < first);
            let is_purged = *revision <= floor || (is_before && ledger.purges.iter().any(|through| through >= revision));
            assert!(is_replaced || is_purged, "revision {revision} of {} was lost", entry.key);
            if *revision > self.initial && !is_purged {
                let is_told = self.skipped.iter().any(|(from, to)| from <= revision && revision <= to);
                assert!(is_told, "revision {revision} of {} was skipped without a word", entry.key);
            }
        }
    }

    fn check_atomic(&self, ledger: &Ledger) {
        for at in self.marks.iter().filter(|at| **at > 0 && **at < self.delivered.len()) {
            let batch = |at: usize| ledger.entries[&self.delivered[at].0].batch;
            assert_ne!(batch(at - 1), batch(*at), "a mark inside a batch, before revision {}", self.delivered[*at].0);
        }
    }

    /// The watch goes on from its token. Until it is up to date again, nothing is told of what is missing.
    pub(crate) fn resumed(&mut self) {
        self.up_to_date = false;
    }
}
