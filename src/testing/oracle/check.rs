//! The comparison of what a store shows with what the oracle knows.

use std::fmt;
use std::ops::Bound;
use std::time::SystemTime;

use super::{Bounds, Checked, Mismatch, Oracle, OracleBucket, Reads, Refusal, Version};
use crate::entry::{Entry, Operation};
use crate::error::{Error, ErrorKind, Outcome, Result as StoreResult};
use crate::number::Revision;
use crate::scan::{Entries, KeysOptions};
use crate::store::Store;

impl Oracle {
    /// Compares all that the store shows with what it must: names, configurations, counts, and in each bucket every key's entry, value,
    /// history and single revisions, the lists of keys, and the history of the whole bucket.
    ///
    /// # Errors
    /// What differs first.
    pub fn check(&mut self, store: &Store) -> Checked {
        self.check_buckets(store, OracleBucket::check)
    }

    /// Compares every entry that the store shows, but each in few ways: in each bucket counts, lists and the whole history, and of one key,
    /// chosen by `turn`, everything.
    ///
    /// # Errors
    /// What differs first.
    pub fn check_in_turn(&mut self, store: &Store, turn: usize) -> Checked {
        self.check_buckets(store, |expected, bucket| expected.check_in_turn(bucket, turn))
    }

    fn check_buckets(&mut self, store: &Store, check: impl Fn(&mut OracleBucket, &dyn Reads) -> Checked) -> Checked {
        let names: Vec<String> = self.buckets.keys().cloned().collect();
        same("bucket names", &store.buckets()?, &names)?;
        same("count of buckets", &store.status()?.buckets, &names.len())?;
        for (name, expected) in &mut self.buckets {
            let bucket = store.bucket(name).map_err(|error| Mismatch::from(error).context(format!("bucket {name}")))?;
            check(expected, &bucket).map_err(|mismatch| mismatch.context(format!("bucket {name}")))?;
        }
        Ok(())
    }
}

impl OracleBucket {
    /// Compares one bucket with what it must be.
    ///
    /// # Errors
    /// What differs first.
    pub fn check(&mut self, bucket: &dyn Reads) -> Checked {
        self.check_counts(bucket)?;
        self.check_lists(bucket)?;
        for key in self.known_keys() {
            self.check_key(bucket, key).map_err(|mismatch| mismatch.context(format!("key {key}")))?;
        }
        self.learn_created(bucket)
    }

    /// Compares every entry once or twice, and everything about one key, chosen by `turn`.
    fn check_in_turn(&self, bucket: &dyn Reads, turn: usize) -> Checked {
        self.check_counts(bucket)?;
        self.check_keys(bucket, turn.is_multiple_of(2))?;
        self.check_range(bucket, (Bound::Unbounded, Bound::Unbounded), !turn.is_multiple_of(2), turn as u8)?;
        self.check_history(bucket, ">")?;
        let count = self.known_keys().count().max(1);
        self.known_keys()
            .nth(turn % count)
            .map_or(Ok(()), |key| self.check_key(bucket, key).map_err(|mismatch| mismatch.context(format!("key {key}"))))
    }

    /// Compares configuration, counts and the last revision.
    ///
    /// # Errors
    /// What differs.
    pub fn check_counts(&self, bucket: &dyn Reads) -> Checked {
        same("configuration", &bucket.config()?, &self.config)?;
        let status = bucket.status()?;
        same("configuration in status", &status.config, &self.config)?;
        same("live_keys", &status.live_keys, &(self.keys(&[], false).len() as u64))?;
        let (values, bytes) = self.size();
        same("values", &status.values, &values)?;
        same("bytes", &status.bytes, &bytes)?;
        let first = self.history(">").first().map_or(0, |(_, version)| version.revision);
        same("first_revision", &status.first_revision.get(), &first)?;
        if self.gap_allowed && status.last_revision.get() > self.last_revision {
            return Ok(());
        }
        same("last_revision", &status.last_revision.get(), &self.last_revision)
    }

    fn check_lists(&self, bucket: &dyn Reads) -> Checked {
        self.check_keys(bucket, false)?;
        self.check_keys(bucket, true)?;
        for (markers, turns) in [(false, 0), (true, 0xff), (true, 0b1001_0110)] {
            self.check_range(bucket, (Bound::Unbounded, Bound::Unbounded), markers, turns)?;
        }
        let keys: Vec<String> = self.known_keys().rev().map(str::to_owned).collect();
        for (key, found) in keys.iter().zip(bucket.get_many(&keys)?) {
            same_bytes("get_many", found.as_deref(), self.value(key).map(|version| &*version.value))?;
        }
        let last = self.last_revision;
        [0, last / 2, last.saturating_sub(1), last + 1].into_iter().try_for_each(|since| self.check_changes(bucket, since))?;
        self.check_history(bucket, ">")
    }

    fn check_keys(&self, bucket: &dyn Reads, markers: bool) -> Checked {
        let found = bucket.keys_with(KeysOptions::new().markers(markers))?.map(|key| Ok(key?.as_str().to_owned()));
        let found: Vec<String> = found.collect::<StoreResult<_>>()?;
        same(if markers { "keys with markers" } else { "keys" }, &found, &self.keys(&[], markers))
    }

    /// Compares the history of a key or pattern, and that the iterator knows its length.
    ///
    /// # Errors
    /// What differs.
    pub fn check_history(&self, bucket: &dyn Reads, pattern: &str) -> Checked {
        let expected = self.history(pattern);
        let mut found = bucket.history(pattern)?;
        for (index, (key, version)) in expected.iter().enumerate() {
            let place = || format!("history of {pattern}, item {index}");
            same("length left of the history", &found.len(), &(expected.len() - index))?;
            let entry = found.next().ok_or_else(|| Mismatch::new("missing").context(place()))??;
            check_entry(Some(&entry), key, Some(version)).map_err(|mismatch| mismatch.context(place()))?;
        }
        match found.next() {
            None => Ok(()),
            Some(entry) => Err(Mismatch(format!("history of {pattern} goes on with {:?}", entry?))),
        }
    }

    /// Compares one key, present or not: entry, value, history, and each revision near and in its history.
    ///
    /// # Errors
    /// What differs.
    pub fn check_key(&self, bucket: &dyn Reads, key: &str) -> Checked {
        let newest = self.newest(key);
        check_entry(bucket.entry(key)?.as_ref(), key, newest).map_err(|mismatch| mismatch.context("entry"))?;
        let value = self.value(key).map(|version| &*version.value);
        same_bytes("get", bucket.get(key)?.as_deref(), value)?;
        same_bytes("get_with", bucket.get_with(key)?.as_deref(), value)?;
        self.check_history(bucket, key)?;
        let first = self.retained(key).next().map_or(1, |version| version.revision.saturating_sub(1).max(1));
        let last = newest.map_or(2, |version| version.revision + 1);
        let (near_first, near_last) = (first..=first + 2, last.saturating_sub(2).max(1)..=last);
        let retained = self.retained(key).map(|version| version.revision);
        let mut revisions: Vec<u64> = retained.chain(near_first).chain(near_last).collect();
        revisions.sort_unstable();
        revisions.dedup();
        revisions.into_iter().try_for_each(|revision| {
            self.check_key_at(bucket, key, revision)?;
            self.check_as_of(bucket, key, revision)
        })
    }

    /// Compares what the key's value was when that revision was the bucket's newest.
    ///
    /// # Errors
    /// What differs.
    pub fn check_as_of(&self, bucket: &dyn Reads, key: &str, revision: u64) -> Checked {
        if revision == 0 || self.gap_allowed && revision >= self.last_revision {
            return Ok(());
        }
        let past = self.as_of(key, revision);
        match bucket.get_as_of(key, Revision::from(revision)) {
            Ok(found) if past.values.iter().any(|value| value.as_deref() == found.as_deref()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Compacted && past.may_be_compacted => {
                let floor = error.floor().map_or(0, Revision::get);
                let again = bucket.get_as_of(key, Revision::from(floor));
                let is_answered = !matches!(&again, Err(error) if error.kind() == ErrorKind::Compacted);
                if revision < floor && is_answered {
                    return Ok(());
                }
                Err(Mismatch(format!("as of {revision}: compacted up to {floor}, where it answers {again:?}")))
            }
            found => Err(Mismatch(format!("as of {revision}: {found:?} instead of {past:?}"))),
        }
    }

    /// The keys in the range that hold a value, or with `markers` all that retain anything.
    fn keys_in(&self, bounds: Bounds<'_>, markers: bool) -> Vec<String> {
        let is_after_start = |key: &str| match bounds.0 {
            Bound::Included(start) => start <= key,
            Bound::Excluded(start) => start < key,
            Bound::Unbounded => true,
        };
        let is_before_end = |key: &str| match bounds.1 {
            Bound::Included(end) => key <= end,
            Bound::Excluded(end) => key < end,
            Bound::Unbounded => true,
        };
        let keys = self.keys(&[], markers);
        keys.into_iter().filter(|key| is_after_start(key) && is_before_end(key)).collect()
    }

    /// Compares a scan of a range of keys. Each bit of `turns` says which end the next entry is taken from, again and again.
    ///
    /// # Errors
    /// What differs.
    pub fn check_range(&self, bucket: &dyn Reads, bounds: Bounds<'_>, markers: bool, turns: u8) -> Checked {
        let scan = bucket.range(bounds)?.markers(markers);
        self.check_scan(scan, self.keys_in(bounds, markers), turns).map_err(|mismatch| mismatch.context(format!("{bounds:?}")))
    }

    /// The same of the keys that begin with a text.
    ///
    /// # Errors
    /// What differs.
    pub fn check_prefix(&self, bucket: &dyn Reads, prefix: &str, turns: u8) -> Checked {
        let keys = self.keys(&[], false).into_iter().filter(|key| key.starts_with(prefix)).collect();
        self.check_scan(bucket.prefix(prefix)?, keys, turns).map_err(|mismatch| mismatch.context(format!("prefix {prefix}")))
    }

    fn check_scan(&self, mut scan: Entries, expected: Vec<String>, turns: u8) -> Checked {
        let mut expected = std::collections::VecDeque::from(expected);
        for turn in 0.. {
            let is_back = turns >> (turn % 8) & 1 == 1;
            let (found, due) =
                if is_back { (scan.next_back(), expected.pop_back()) } else { (scan.next(), expected.pop_front()) };
            let found = found.transpose()?;
            let Some(due) = due else {
                let beyond = found.or(scan.next_back().transpose()?).or(scan.next().transpose()?);
                return check_entry(beyond.as_ref(), "none", None);
            };
            check_entry(found.as_ref(), &due, self.newest(&due))?;
        }
        Ok(())
    }

    /// Compares what one revision of one key denotes.
    ///
    /// # Errors
    /// What differs.
    pub fn check_key_at(&self, bucket: &dyn Reads, key: &str, revision: u64) -> Checked {
        let denoted =
            if revision == 0 { self.newest(key) } else { self.retained(key).find(|version| version.revision == revision) };
        let entry = bucket.entry_at(key, Revision::from(revision))?;
        check_entry(entry.as_ref(), key, denoted).map_err(|mismatch| mismatch.context(format!("entry_at {revision}")))?;
        let value = denoted.filter(|version| version.operation == Operation::Put).map(|version| &*version.value);
        let found = bucket.get_at(key, Revision::from(revision))?;
        same_bytes("get_at", found.as_deref(), value).map_err(|mismatch| mismatch.context(revision))
    }

    /// Times of creation never decrease along revisions, and none ever changes.
    fn learn_created(&mut self, bucket: &dyn Reads) -> Checked {
        let mut latest = SystemTime::UNIX_EPOCH;
        for entry in bucket.history(">")? {
            let entry = entry?;
            let (revision, created) = (entry.revision().get(), entry.created());
            if created < latest {
                return Err(Mismatch(format!("revision {revision} was created at {created:?}, before the one before it")));
            }
            latest = created;
            if let Some(version) = self.version_mut(entry.key().as_str(), revision) {
                same("created", &created, version.created.get_or_insert(created))?;
            }
        }
        Ok(())
    }
}

/// Whether an error is the refusal that was due: kind, actual revision, and that nothing was applied.
///
/// # Errors
/// What differs.
pub fn check_refusal(refusal: Refusal, error: &Error) -> Checked {
    same("error kind", &error.kind(), &refusal.kind)?;
    same("outcome", &error.outcome(), &Outcome::NotApplied)?;
    same("actual_revision", &error.actual_revision().map(Revision::get), &refusal.actual_revision)
}

/// Whether an entry, or its absence, is what it must be.
///
/// # Errors
/// What differs.
pub fn check_entry(found: Option<&Entry>, key: &str, expected: Option<&Version>) -> Checked {
    let (entry, version) = match (found, expected) {
        (None, None) => return Ok(()),
        (Some(entry), Some(version)) => (entry, version),
        _ => return Err(Mismatch(format!("{} instead of {}", shown_entry(found), shown_version(expected)))),
    };
    let is_same = entry.key().as_str() == key
        && entry.revision().get() == version.revision
        && entry.operation() == version.operation
        && entry.reason() == version.reason
        && **entry.value() == version.value[..]
        && version.created.is_none_or(|created| created == entry.created());
    if is_same {
        return Ok(());
    }
    Err(Mismatch(format!("{} instead of {} of {key}", shown_entry(found), shown_version(expected))))
}

/// Whether two things are equal, and which is what if not.
///
/// # Errors
/// What differs.
pub fn same<T: PartialEq + fmt::Debug>(what: &str, found: &T, expected: &T) -> Checked {
    if found == expected { Ok(()) } else { Err(Mismatch(format!("{what} is {found:?} instead of {expected:?}"))) }
}

/// The same for bytes, shown in short.
///
/// # Errors
/// What differs.
pub fn same_bytes(what: &str, found: Option<&[u8]>, expected: Option<&[u8]>) -> Checked {
    if found == expected {
        return Ok(());
    }
    Err(Mismatch(format!("{what} answers {} instead of {}", shown_bytes(found), shown_bytes(expected))))
}

fn shown_bytes(bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(
        || "nothing".to_owned(),
        |bytes| format!("{} bytes \"{}\"", bytes.len(), bytes[..bytes.len().min(24)].escape_ascii()),
    )
}

fn shown_entry(entry: Option<&Entry>) -> String {
    entry.map_or_else(
        || "nothing".to_owned(),
        |entry| {
            let (key, value) = (entry.key(), shown_bytes(Some(entry.value())));
            format!("{:?} {} of {key} with {value} of {:?}", entry.operation(), entry.revision(), entry.created())
        },
    )
}

fn shown_version(version: Option<&Version>) -> String {
    version.map_or_else(
        || "nothing".to_owned(),
        |version| {
            let value = shown_bytes(Some(&version.value));
            format!("{:?} {} with {value} of {:?}", version.operation, version.revision, version.created)
        },
    )
}
