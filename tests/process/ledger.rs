//! What the parent remembers: every write that was acknowledged or seen, over all rounds.

use std::collections::BTreeMap;

use annals::{Bucket, Entry, ErrorKind, Operation, Result, Store};

use crate::writer::{BUCKETS, checksum, is_own_value, letter};

/// How many of a key's newest writes are remembered: more than any history holds.
const REMEMBERED: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    operation: char,
    /// Of the value; 0 for a marker.
    sum: u64,
}

/// One bucket's writes.
#[derive(Debug, Default)]
struct Page {
    keys: BTreeMap<String, BTreeMap<u64, Known>>,
    /// The greatest revision that an open has shown: all that are given out later are greater.
    last_seen: u64,
}

/// All writes that must not get lost.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pages: BTreeMap<String, Page>,
}

impl Ledger {
    /// Takes over the reports of one round; answers how many.
    pub(crate) fn acknowledge<'a>(&mut self, reports: impl Iterator<Item = &'a str>, place: &str) -> u64 {
        let mut seen = BTreeMap::new();
        let mut count = 0;
        for report in reports {
            let fields: Vec<&str> = report.split(' ').collect();
            let [bucket, key, revision, operation, sum] = fields[..] else { panic!("{place}: report {report:?}") };
            let revision: u64 = revision.parse().unwrap();
            let known = Known { operation: operation.parse().unwrap(), sum: sum.parse().unwrap() };
            let page = self.pages.entry(bucket.to_owned()).or_default();
            assert!(revision > page.last_seen, "{place}: {report:?} uses a revision again; {} was seen before", page.last_seen);
            if let Some(other) = seen.insert((bucket, revision), report) {
                panic!("{place}: one revision for {other:?} and {report:?}");
            }
            page.remember(key, revision, known);
            count += 1;
        }
        count
    }

    /// Compares what the store shows with what it must hold, and takes over what it shows.
    pub(crate) fn check(&mut self, store: &Store, place: &str) {
        for (name, depth) in BUCKETS {
            let bucket = match store.bucket(name) {
                Ok(bucket) => bucket,
                Err(error) if error.kind() == ErrorKind::BucketNotFound && !self.pages.contains_key(name) => continue,
                Err(error) => panic!("{place}: bucket {name}: {error:?}"),
            };
            let page = self.pages.entry(name.to_owned()).or_default();
            page.check(&bucket, usize::from(depth), &format!("{place}, bucket {name}"));
        }
    }
}

impl Page {
    fn remember(&mut self, key: &str, revision: u64, known: Known) {
        let writes = self.keys.entry(key.to_owned()).or_default();
        writes.insert(revision, known);
        while writes.len() > REMEMBERED {
            writes.pop_first();
        }
    }

    fn check(&mut self, bucket: &Bucket, depth: usize, place: &str) {
        let entries: Vec<Entry> =
            bucket.history(">").and_then(Iterator::collect).unwrap_or_else(|error| panic!("{place}: {error:?}"));
        assert!(entries.is_sorted_by(|one, next| one.revision() < next.revision()), "{place}: revisions of the history");
        let mut histories: BTreeMap<String, BTreeMap<u64, Known>> = BTreeMap::new();
        for entry in &entries {
            let known = known(bucket.name(), entry, place);
            histories.entry(entry.key().as_str().to_owned()).or_default().insert(entry.revision().get(), known);
        }
        for (key, writes) in &self.keys {
            let place = format!("{place}, key {key}");
            let found = histories.get(key).unwrap_or_else(|| panic!("{place}: all of its history is lost"));
            check_key(writes, found, depth, &place);
            check_point_reads(bucket, key, found, &place);
        }
        let last = bucket.status().unwrap_or_else(|error| panic!("{place}: {error:?}")).last_revision.get();
        let newest = entries.last().map_or(0, |entry| entry.revision().get());
        assert!(newest <= last && self.last_seen <= last, "{place}: last revision {last} after {newest} and {}", self.last_seen);
        self.last_seen = last;
        for (key, found) in histories {
            for (revision, known) in found {
                self.remember(&key, revision, known);
            }
        }
    }
}

fn known(bucket: &str, entry: &Entry, place: &str) -> Known {
    let is_put = entry.operation() == Operation::Put;
    let is_own = if is_put { is_own_value(bucket, entry.key(), entry.value()) } else { entry.value().is_empty() };
    assert!(is_own, "{place}: nobody wrote {entry:?}");
    Known { operation: letter(entry.operation()), sum: if is_put { checksum(entry.value()) } else { 0 } }
}

/// `found` is what history shows of the key: everything remembered that the depth and the last purge leave, and nothing that differs.
fn check_key(writes: &BTreeMap<u64, Known>, found: &BTreeMap<u64, Known>, depth: usize, place: &str) {
    assert!(found.len() <= depth, "{place}: {} entries of history at depth {depth}", found.len());
    let (oldest, first) = found.first_key_value().expect("a history that is there has an entry");
    let is_complete_below = found.len() == depth || first.operation == 'p';
    for (revision, known) in writes {
        match found.get(revision) {
            Some(found) => assert_eq!(found, known, "{place}: revision {revision}"),
            None => assert!(revision < oldest && is_complete_below, "{place}: revision {revision} is lost; history {found:?}"),
        }
    }
    let purges = found.iter().skip(1).filter(|(_, known)| known.operation == 'p').count();
    assert_eq!(purges, 0, "{place}: something before a purge is left");
}

/// Point reads agree with history.
fn check_point_reads(bucket: &Bucket, key: &str, found: &BTreeMap<u64, Known>, place: &str) {
    let read = || -> Result<()> {
        let (revision, newest) = found.last_key_value().expect("a history that is there has an entry");
        let entry = bucket.entry(key)?.unwrap_or_else(|| panic!("{place}: entry is lost"));
        assert_eq!((entry.revision().get(), letter(entry.operation())), (*revision, newest.operation), "{place}: entry");
        let value = bucket.get(key)?.map_or(0, |value| checksum(&value));
        assert_eq!(value, newest.sum, "{place}: get");
        Ok(())
    };
    read().unwrap_or_else(|error| panic!("{place}: {error:?}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: Known = Known { operation: 'v', sum: 1 };
    const PURGE: Known = Known { operation: 'p', sum: 0 };

    fn check(writes: &[(u64, Known)], found: &[(u64, Known)], depth: usize) -> bool {
        let (writes, found) = (writes.iter().copied().collect(), found.iter().copied().collect());
        std::panic::catch_unwind(|| check_key(&writes, &found, depth, "here")).is_ok()
    }

    #[test]
    fn a_lost_or_changed_write_is_noticed() {
        assert!(check(&[(1, VALUE), (4, VALUE)], &[(1, VALUE), (4, VALUE), (5, VALUE)], 3));
        assert!(check(&[(1, VALUE), (4, VALUE)], &[(4, VALUE), (5, VALUE)], 2), "trimmed");
        assert!(check(&[(1, VALUE)], &[(4, PURGE)], 3), "purged");
        assert!(!check(&[(4, VALUE)], &[(1, VALUE)], 3), "the newest is lost");
        assert!(!check(&[(1, VALUE), (4, VALUE)], &[(4, VALUE)], 3), "an older one is lost");
        assert!(!check(&[(2, VALUE)], &[(1, VALUE), (4, VALUE)], 2), "one between is lost");
        assert!(!check(&[(4, PURGE)], &[(4, VALUE)], 3), "another operation");
        assert!(!check(&[], &[(1, VALUE), (2, PURGE)], 3), "a purge that left something");
    }

    #[test]
    fn a_revision_given_out_twice_is_noticed() {
        let twice = ["deep key.1 1 v 5", "deep key.2 1 v 6"];
        assert!(std::panic::catch_unwind(|| Ledger::default().acknowledge(twice.into_iter(), "here")).is_err());
        let mut ledger = Ledger::default();
        assert_eq!(ledger.acknowledge(["deep key.1 1 v 5", "flat key.1 1 d 0"].into_iter(), "here"), 2);
        ledger.pages.get_mut("deep").unwrap().last_seen = 3;
        let again = std::panic::AssertUnwindSafe(|| ledger.acknowledge(["deep key.1 3 v 5"].into_iter(), "here"));
        assert!(std::panic::catch_unwind(again).is_err());
    }
}
