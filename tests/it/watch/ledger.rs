//! What was committed to one bucket, and from when on each entry need not be given any more: the other side of the validators.
//!
//! It knows the rules of retention by itself (depth, purges, removed markers), and asks the store for nothing.

use std::collections::VecDeque;

use annals::{Entry, Operation, Reason};

use super::traffic::{KEYS, key_number, stamp_of};

/// It has not happened.
pub(crate) const NEVER: u64 = u64::MAX;

/// What an entry says, whoever tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) key: u8,
    pub(crate) operation: Operation,
    pub(crate) reason: Reason,
    /// Of the value, which is made from this and its length; 0 for a marker.
    pub(crate) stamp: u64,
    pub(crate) len: usize,
    /// From its commit to its deadline, in nanoseconds; 0 = it has none.
    pub(crate) ttl: u64,
}

/// One entry that was committed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) revision: u64,
    pub(crate) content: Content,
    /// The batch that it belongs to, by the revision of its first entry.
    pub(crate) batch: u64,
    /// When it was committed; 0 until somebody was told.
    pub(crate) created: u64,
    /// The key's newest revision before; 0 = none. It may be gone since without a trace.
    pub(crate) previous: u64,
    /// From which last revision of the bucket on: it is not its key's newest, it is not retained, it is gone without a trace.
    pub(crate) superseded: u64,
    pub(crate) trimmed: u64,
    pub(crate) gone: u64,
    /// From which last revision of the bucket on a marker that nobody has seen may have taken it.
    pub(crate) doubtful: u64,
}

/// Everything that was committed to one bucket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) depth: usize,
    /// There may be markers of expired keys that nobody has told of.
    pub(crate) is_partial: bool,
    /// By revision.
    pub(crate) records: Vec<Record>,
    /// Up to which revision the whole bucket was purged, each time.
    pub(crate) purges: Vec<u64>,
    /// The last revisions before and after each removal of markers.
    removals: Vec<(u64, u64)>,
}

impl Content {
    pub(crate) const fn put(key: u8, stamp: u64, len: usize) -> Self {
        Self { key, operation: Operation::Put, reason: Reason::Written, stamp, len, ttl: 0 }
    }

    pub(crate) const fn marker(key: u8, operation: Operation) -> Self {
        Self { operation, len: 0, ..Self::put(key, 0, 0) }
    }

    /// What an entry says, with the time of its commit. The value must be one of ours, every byte of it.
    pub(crate) fn of(entry: &Entry, has_value: bool) -> (Self, u64) {
        let created = nanoseconds(entry.created());
        let ttl = entry.deadline().map_or(0, |deadline| nanoseconds(deadline) - created);
        let stamp = if has_value { stamp_of(entry.value()) } else { 0 };
        assert!(!has_value || entry.value().len() == entry.value_len(), "{entry:?}");
        let (operation, reason, len) = (entry.operation(), entry.reason(), entry.value_len());
        (Self { key: key_number(entry.key().as_str()), operation, reason, stamp, len, ttl }, created)
    }
}

fn nanoseconds(time: std::time::SystemTime) -> u64 {
    time.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
}

impl Record {
    pub(crate) const fn new(revision: u64, batch: u64, content: Content) -> Self {
        let never = (NEVER, NEVER, NEVER);
        let (superseded, trimmed, gone) = never;
        Self { revision, content, batch, created: 0, previous: 0, superseded, trimmed, gone, doubtful: NEVER }
    }

    /// The store itself has written it, because a key's time was over.
    pub(crate) fn is_expiry(&self) -> bool {
        self.content.reason == Reason::Expired
    }
}

impl Ledger {
    pub(crate) fn new(depth: usize) -> Self {
        Self { depth, ..Self::default() }
    }

    pub(crate) fn add(&mut self, record: Record) {
        self.records.push(record);
    }

    /// The whole bucket was purged.
    pub(crate) fn purge(&mut self, through: u64) {
        self.purges.push(through);
    }

    /// `purge_deletes` ran, between these two last revisions of the bucket.
    pub(crate) fn remove_markers(&mut self, before: u64, after: u64) {
        self.removals.push((before, after));
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.records.extend(other.records);
        self.purges.extend(other.purges);
        self.removals.extend(other.removals);
    }

    /// The last revision that an entry had, or a purge.
    pub(crate) fn last(&self) -> u64 {
        self.last_entry().max(self.purges.last().copied().unwrap_or(0))
    }

    pub(crate) fn last_entry(&self) -> u64 {
        self.records.last().map_or(0, |record| record.revision)
    }

    pub(crate) fn find(&self, revision: u64) -> Option<&Record> {
        self.records.binary_search_by_key(&revision, |record| record.revision).ok().map(|at| &self.records[at])
    }

    /// The first record above a revision, as a place.
    pub(crate) fn place_after(&self, revision: u64) -> usize {
        self.records.partition_point(|record| record.revision <= revision)
    }

    /// Takes over what nobody but watches can tell: when an entry was committed, and the markers of keys whose time was over.
    pub(crate) fn learn(&mut self, seen: impl Iterator<Item = (u64, Content, u64)>) {
        let (mut found, mut at) = (Vec::new(), 0);
        for (revision, content, created) in seen {
            while self.records.get(at).is_some_and(|record| record.revision < revision) {
                at += 1;
            }
            match self.records.get_mut(at).filter(|record| record.revision == revision) {
                Some(record) if record.created == 0 => record.created = created,
                Some(_) => {}
                None if content.reason == Reason::Expired => {
                    found.push(Record { created, ..Record::new(revision, revision, content) });
                }
                None => panic!("revision {revision} is given, and was never committed: {content:?}"),
            }
        }
        if !found.is_empty() {
            self.records.extend(found);
            self.records.sort_unstable_by_key(|record| record.revision);
        }
    }

    /// Finds out from when on each entry need not be given. To be called before anything is checked.
    pub(crate) fn index(&mut self) {
        self.records.sort_unstable_by_key(|record| record.revision);
        self.purges.sort_unstable();
        let mut retained: [VecDeque<usize>; KEYS] = Default::default();
        let mut purges = self.purges.iter().copied().peekable();
        let mut before = 0;
        for at in 0..self.records.len() {
            let Record { revision, content, .. } = self.records[at];
            assert!(before < revision, "revision {revision} was given twice");
            before = revision;
            while purges.next_if(|through| *through < revision).is_some() {
                retained.iter_mut().for_each(VecDeque::clear);
            }
            let of_key = &mut retained[usize::from(content.key)];
            let previous = of_key.back().copied();
            if let Some(previous) = previous {
                self.records[previous].superseded = revision;
                // What has a time to live may have expired in between, at a revision that nobody has seen; that takes all before it.
                let Record { revision: from, content: Content { ttl, .. }, .. } = self.records[previous];
                if self.is_partial && ttl > 0 && revision - from > (at - previous) as u64 {
                    for old in of_key.iter() {
                        self.records[*old].doubtful = self.records[*old].doubtful.min(from + 1);
                    }
                }
            }
            let out =
                if content.operation == Operation::Purge { of_key.len() } else { (of_key.len() + 1).saturating_sub(self.depth) };
            for old in of_key.drain(..out) {
                self.records[old].trimmed = revision;
            }
            of_key.push_back(at);
            let previous = previous.map_or(0, |previous| self.records[previous].revision);
            self.records[at] =
                Record { previous, superseded: NEVER, trimmed: NEVER, gone: NEVER, doubtful: NEVER, ..self.records[at] };
        }
        for (before, after) in self.removals.clone() {
            self.index_removal(before, after);
        }
    }

    /// Of each key that had a marker as its newest entry at some moment between the two, nothing up to there may be left.
    fn index_removal(&mut self, before: u64, after: u64) {
        let mut markers = [0; KEYS];
        let end = self.place_after(after);
        for record in &self.records[..end] {
            if record.content.operation != Operation::Put && record.superseded > before {
                markers[usize::from(record.content.key)] = record.revision;
            }
        }
        for record in self.records[..end].iter_mut().filter(|record| record.revision <= markers[usize::from(record.content.key)])
        {
            record.gone = record.gone.min(before);
        }
    }

    /// Whether a watch that has seen everything up to `position` may be refused: something went without a trace after that, and the floor
    /// may be rounded up to the bucket's last revision at that time (E8).
    pub(crate) fn may_refuse(&self, position: u64, now: u64) -> bool {
        let has_removed = |before: &u64| self.records.iter().any(|record| record.gone <= *before && record.gone != NEVER);
        self.removals.iter().any(|(before, after)| *after > position && has_removed(before))
            || self.records.iter().any(|record| record.is_expiry() && record.created + record.content.ttl <= now)
    }

    /// Forgets what a power cut took: what lies above a revision. Answers whether there was anything.
    pub(crate) fn cut(&mut self, last: u64, floor: u64) {
        self.records.retain(|record| record.revision <= last);
        self.purges.retain(|through| *through < last || *through <= floor);
    }
}
