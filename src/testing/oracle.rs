//! What a store must answer, as plainly as it can be said: a map of histories.
//!
//! Shared by the model test, the fuzz targets and the crash tests. [`Oracle::expected`] says what a write must answer before it is
//! tried, [`Oracle::observe`] compares that with what it did answer and takes the write over, [`Oracle::check`] compares everything that a
//! store shows with what is known. A difference is a [`Mismatch`], not a panic, so that a crash test can ask which prefix of the commits
//! fits. An oracle is cheap to clone for the same reason.
//!
//! Nothing here is shared with the engine but the types of the public API: keys are matched by a matcher of its own, sizes and counts
//! are counted anew. It knows no time, no files and no threads: one caller, one write after another.
//!
//! After an unclean end below `Sync` revisions may leave a gap (numbers that somebody may have seen are not given out twice);
//! [`Oracle::allow_gap`] says so to the oracle.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use crate::bucket::Bucket;
use crate::config::BucketConfig;
use crate::entry::{Entry, Operation};
use crate::error::{Error, ErrorKind, Outcome, Result as StoreResult};
use crate::number::Revision;
use crate::scan::KeysOptions;
use crate::store::Store;

/// What the store showed and what it should have.
#[derive(Clone, PartialEq, Eq)]
pub struct Mismatch(pub String);

impl Mismatch {
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    #[must_use]
    pub fn context(self, place: impl fmt::Display) -> Self {
        Self(format!("{place}: {}", self.0))
    }
}

impl fmt::Debug for Mismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Mismatch {}

/// An error that the oracle did not foresee is a mismatch, so that `?` serves on every call of the store.
impl From<Error> for Mismatch {
    fn from(error: Error) -> Self {
        Self(format!("unexpected error {error:?}"))
    }
}

/// `Ok`, or what differs.
pub type Checked<T = ()> = Result<T, Mismatch>;

/// One retained entry of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub revision: u64,
    pub operation: Operation,
    pub value: Vec<u8>,
    /// Learnt when it is first read; it must stay the same from then on.
    pub created: Option<SystemTime>,
}

/// A write to one key, as the API offers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    Put(Vec<u8>),
    Create(Vec<u8>),
    Update(Vec<u8>, u64),
    Delete,
    DeleteExpecting(u64),
    Purge,
    PurgeExpecting(u64),
}

impl Write {
    fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Put(value) | Self::Create(value) | Self::Update(value, _) => Some(value),
            _ => None,
        }
    }

    #[must_use]
    pub fn operation(&self) -> Operation {
        match self {
            Self::Put(_) | Self::Create(_) | Self::Update(..) => Operation::Put,
            Self::Delete | Self::DeleteExpecting(_) => Operation::Delete,
            Self::Purge | Self::PurgeExpecting(_) => Operation::Purge,
        }
    }

    /// Does it to a real bucket.
    ///
    /// # Errors
    /// Those of the write.
    pub fn send(&self, bucket: &Bucket, key: &str) -> StoreResult<Revision> {
        match self {
            Self::Put(value) => bucket.put(key, value),
            Self::Create(value) => bucket.create(key, value),
            Self::Update(value, revision) => bucket.update(key, value, Revision::from(*revision)),
            Self::Delete => bucket.delete(key),
            Self::DeleteExpecting(revision) => bucket.delete_expect_revision(key, Revision::from(*revision)),
            Self::Purge => bucket.purge(key),
            Self::PurgeExpecting(revision) => bucket.purge_expect_revision(key, Revision::from(*revision)),
        }
    }
}

/// Why a write must be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub kind: ErrorKind,
    pub actual_revision: Option<u64>,
}

impl Refusal {
    #[must_use]
    pub const fn of(kind: ErrorKind) -> Self {
        Self { kind, actual_revision: None }
    }
}

/// What one bucket must hold.
#[derive(Clone, Debug)]
pub struct OracleBucket {
    pub config: BucketConfig,
    pub last_revision: u64,
    /// Whether the next revision may be further on than the one after the last.
    pub gap_allowed: bool,
    /// Only keys that retain something.
    pub keys: BTreeMap<String, Vec<Version>>,
}

/// What a store must hold.
#[derive(Clone, Debug)]
pub struct Oracle {
    pub buckets: BTreeMap<String, OracleBucket>,
    /// The largest value that the store takes, in bytes.
    pub value_len_max: u64,
}

impl Default for Oracle {
    fn default() -> Self {
        Self { buckets: BTreeMap::new(), value_len_max: 16 << 20 }
    }
}

impl Oracle {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over a bucket creation, unless it must be refused. The configuration itself must be valid.
    ///
    /// # Errors
    /// The refusal that the store must give.
    pub fn create_bucket(&mut self, config: &BucketConfig) -> Result<(), Refusal> {
        match self.buckets.get(config.name()) {
            Some(bucket) if bucket.config == *config => Ok(()),
            Some(_) => Err(Refusal::of(ErrorKind::BucketExists)),
            None => {
                self.buckets.insert(config.name().to_owned(), OracleBucket::new(config.clone()));
                Ok(())
            }
        }
    }

    /// Takes over a bucket's deletion, unless it must be refused.
    ///
    /// # Errors
    /// The refusal that the store must give.
    pub fn delete_bucket(&mut self, name: &str) -> Result<(), Refusal> {
        self.buckets.remove(name).map(|_| ()).ok_or(Refusal::of(ErrorKind::BucketNotFound))
    }

    /// What the write must answer now: the revision, or why not. Changes nothing.
    ///
    /// # Errors
    /// The refusal that the store must give.
    pub fn expected(&self, bucket: &str, key: &str, write: &Write) -> Result<u64, Refusal> {
        let bucket = self.buckets.get(bucket).ok_or(Refusal::of(ErrorKind::BucketNotFound))?;
        let limit = bucket.config.value_size_limit().unwrap_or(u64::MAX).min(self.value_len_max);
        if write.value().is_some_and(|value| value.len() as u64 > limit) {
            return Err(Refusal::of(ErrorKind::ValueTooLarge));
        }
        let newest = bucket.newest(key);
        let current = newest.map_or(0, |version| version.revision);
        let refused = match write {
            Write::Put(_) | Write::Delete | Write::Purge => None,
            Write::Create(_) => newest.filter(|version| version.operation == Operation::Put).map(|_| ErrorKind::AlreadyExists),
            Write::Update(_, expected) => (*expected != current).then_some(ErrorKind::WrongRevision),
            Write::DeleteExpecting(expected) | Write::PurgeExpecting(expected) => {
                (*expected != 0 && *expected != current).then_some(ErrorKind::WrongRevision)
            }
        };
        match refused {
            Some(kind) => Err(Refusal { kind, actual_revision: Some(current) }),
            None => Ok(bucket.last_revision + 1),
        }
    }

    /// Compares what the write answered with what it had to, and takes it over if it was applied.
    ///
    /// # Errors
    /// What differs.
    pub fn observe(&mut self, bucket: &str, key: &str, write: &Write, answer: &StoreResult<Revision>) -> Checked {
        let expected = self.expected(bucket, key, write);
        match (expected, answer) {
            (Ok(least), Ok(revision)) => {
                let gap_allowed = self.buckets.get(bucket).is_some_and(|bucket| bucket.gap_allowed);
                let revision = revision.get();
                if revision == least || gap_allowed && revision > least {
                    self.apply(bucket, key, write, revision);
                    return Ok(());
                }
                Err(Mismatch(format!("revision {revision} instead of {least}")))
            }
            (Err(refusal), Err(error)) => check_refusal(refusal, error),
            (expected, answer) => Err(Mismatch(format!("answered {answer:?} instead of {expected:?}"))),
        }
    }

    /// Takes over a write that is known to have been applied under `revision`.
    pub fn apply(&mut self, bucket: &str, key: &str, write: &Write, revision: u64) {
        let Some(bucket) = self.buckets.get_mut(bucket) else { return };
        bucket.last_revision = revision;
        bucket.gap_allowed = false;
        let depth = usize::from(bucket.config.history_depth());
        let versions = bucket.keys.entry(key.to_owned()).or_default();
        let operation = write.operation();
        if operation == Operation::Purge {
            versions.clear();
        }
        let value = write.value().unwrap_or_default().to_vec();
        versions.push(Version { revision, operation, value, created: None });
        let excess = versions.len().saturating_sub(depth);
        versions.drain(..excess);
    }

    /// The store ended uncleanly below `Sync`: numbers may go on further than where they were.
    pub fn allow_gap(&mut self) {
        for bucket in self.buckets.values_mut() {
            bucket.gap_allowed = true;
        }
    }

    /// Compares all that the store shows with what it must: names, configurations, counts, and in each bucket every key's entry, value,
    /// history and single revisions, the lists of keys, and the history of the whole bucket.
    ///
    /// # Errors
    /// What differs first.
    pub fn check(&mut self, store: &Store) -> Checked {
        let names: Vec<String> = self.buckets.keys().cloned().collect();
        same("bucket names", &store.buckets()?, &names)?;
        same("count of buckets", &store.status()?.buckets, &names.len())?;
        for (name, expected) in &mut self.buckets {
            let bucket = store.bucket(name).map_err(|error| Mismatch::from(error).context(format!("bucket {name}")))?;
            expected.check(&bucket).map_err(|mismatch| mismatch.context(format!("bucket {name}")))?;
        }
        Ok(())
    }
}

impl OracleBucket {
    #[must_use]
    pub const fn new(config: BucketConfig) -> Self {
        Self { config, last_revision: 0, gap_allowed: false, keys: BTreeMap::new() }
    }

    #[must_use]
    pub fn newest(&self, key: &str) -> Option<&Version> {
        self.keys.get(key)?.last()
    }

    /// The keys that hold a value, or with `markers` all that retain anything, which one of the patterns matches; no pattern = all.
    #[must_use]
    pub fn keys(&self, patterns: &[String], markers: bool) -> Vec<String> {
        let holds_value = |versions: &[Version]| versions.last().is_some_and(|version| version.operation == Operation::Put);
        self.keys
            .iter()
            .filter(|(_, versions)| markers || holds_value(versions))
            .map(|(key, _)| key)
            .filter(|key| patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, key)))
            .cloned()
            .collect()
    }

    /// The retained entries of the keys that `pattern` matches, in revision order.
    #[must_use]
    pub fn history(&self, pattern: &str) -> Vec<(&str, &Version)> {
        let matching = self.keys.iter().filter(|(key, _)| matches(pattern, key));
        let mut found: Vec<_> =
            matching.flat_map(|(key, versions)| versions.iter().map(|version| (key.as_str(), version))).collect();
        found.sort_by_key(|(_, version)| version.revision);
        found
    }

    /// Compares one bucket with what it must be.
    ///
    /// # Errors
    /// What differs first.
    pub fn check(&mut self, bucket: &Bucket) -> Checked {
        self.check_counts(bucket)?;
        self.check_lists(bucket)?;
        for key in self.keys.keys() {
            self.check_key(bucket, key).map_err(|mismatch| mismatch.context(format!("key {key}")))?;
        }
        self.learn_created(bucket)
    }

    /// Compares configuration, counts and the last revision.
    ///
    /// # Errors
    /// What differs.
    pub fn check_counts(&self, bucket: &Bucket) -> Checked {
        same("configuration", &bucket.config()?, &self.config)?;
        let status = bucket.status()?;
        same("configuration in status", &status.config, &self.config)?;
        same("live_keys", &status.live_keys, &(self.keys(&[], false).len() as u64))?;
        let versions = || self.keys.iter().flat_map(|(key, versions)| versions.iter().map(move |version| (key, version)));
        same("values", &status.values, &(versions().count() as u64))?;
        let bytes: usize = versions().map(|(key, version)| key.len() + version.value.len() + 32).sum();
        same("bytes", &status.bytes, &(bytes as u64))?;
        if self.gap_allowed && status.last_revision.get() > self.last_revision {
            return Ok(());
        }
        same("last_revision", &status.last_revision.get(), &self.last_revision)
    }

    fn check_lists(&self, bucket: &Bucket) -> Checked {
        for markers in [false, true] {
            let found = bucket.keys_with(KeysOptions::new().markers(markers))?.map(|key| Ok(key?.as_str().to_owned()));
            let found: Vec<String> = found.collect::<StoreResult<_>>()?;
            same(if markers { "keys with markers" } else { "keys" }, &found, &self.keys(&[], markers))?;
        }
        self.check_history(bucket, ">")
    }

    /// Compares the history of a key or pattern, and that the iterator knows its length.
    ///
    /// # Errors
    /// What differs.
    pub fn check_history(&self, bucket: &Bucket, pattern: &str) -> Checked {
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
    pub fn check_key(&self, bucket: &Bucket, key: &str) -> Checked {
        let newest = self.newest(key);
        check_entry(bucket.entry(key)?.as_ref(), key, newest).map_err(|mismatch| mismatch.context("entry"))?;
        let value = newest.filter(|version| version.operation == Operation::Put).map(|version| version.value.as_slice());
        same_bytes("get", bucket.get(key)?.as_deref(), value)?;
        same_bytes("get_with", bucket.get_with(key, <[u8]>::to_vec)?.as_deref(), value)?;
        self.check_history(bucket, key)?;
        let retained = self.keys.get(key).map(Vec::as_slice).unwrap_or_default();
        let first = retained.first().map_or(1, |version| version.revision.saturating_sub(1).max(1));
        let last = newest.map_or(2, |version| version.revision + 1);
        let (near_first, near_last) = (first..=first + 2, last.saturating_sub(2).max(1)..=last);
        let mut revisions: Vec<u64> =
            retained.iter().map(|version| version.revision).chain(near_first).chain(near_last).collect();
        revisions.sort_unstable();
        revisions.dedup();
        revisions.into_iter().try_for_each(|revision| self.check_key_at(bucket, key, revision))
    }

    /// Compares what one revision of one key denotes.
    ///
    /// # Errors
    /// What differs.
    pub fn check_key_at(&self, bucket: &Bucket, key: &str, revision: u64) -> Checked {
        let retained = self.keys.get(key).map(Vec::as_slice).unwrap_or_default();
        let denoted = if revision == 0 { retained.last() } else { retained.iter().find(|one| one.revision == revision) };
        let entry = bucket.entry_at(key, Revision::from(revision))?;
        check_entry(entry.as_ref(), key, denoted).map_err(|mismatch| mismatch.context(format!("entry_at {revision}")))?;
        let value = denoted.filter(|version| version.operation == Operation::Put).map(|version| version.value.as_slice());
        let found = bucket.get_at(key, Revision::from(revision))?;
        same_bytes("get_at", found.as_deref(), value).map_err(|mismatch| mismatch.context(revision))
    }

    /// Times of creation never decrease along revisions, and none ever changes.
    fn learn_created(&mut self, bucket: &Bucket) -> Checked {
        let mut latest = SystemTime::UNIX_EPOCH;
        for entry in bucket.history(">")? {
            let entry = entry?;
            let (revision, created) = (entry.revision().get(), entry.created());
            if created < latest {
                return Err(Mismatch(format!("revision {revision} was created at {created:?}, before the one before it")));
            }
            latest = created;
            let versions = self.keys.get_mut(entry.key().as_str()).into_iter().flatten();
            for version in versions.filter(|version| version.revision == revision) {
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
        && **entry.value() == version.value[..]
        && version.created.is_none_or(|created| created == entry.created());
    if is_same {
        return Ok(());
    }
    Err(Mismatch(format!("{} instead of {} of {key}", shown_entry(found), shown_version(expected))))
}

/// The matcher of patterns by their definition: token by token, `*` one, `>` one or more at the end.
#[must_use]
pub fn matches(pattern: &str, key: &str) -> bool {
    let mut tokens = key.split('.');
    for part in pattern.split('.') {
        match (part, tokens.next()) {
            (">", token) => return token.is_some(),
            ("*", Some(_)) => {}
            (part, token) if token != Some(part) => return false,
            _ => {}
        }
    }
    tokens.next().is_none()
}

fn same<T: PartialEq + fmt::Debug>(what: &str, found: &T, expected: &T) -> Checked {
    if found == expected { Ok(()) } else { Err(Mismatch(format!("{what} is {found:?} instead of {expected:?}"))) }
}

fn same_bytes(what: &str, found: Option<&[u8]>, expected: Option<&[u8]>) -> Checked {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn put(text: &str) -> Write {
        Write::Put(text.into())
    }

    #[test]
    fn the_matcher_follows_the_definition() {
        let cases = [("a", "a", true), ("a", "a.b", false), ("a.*", "a.b", true), ("a.*", "a", false), ("a.*", "a.b.c", false)];
        let more = [("a.>", "a.b.c", true), ("a.>", "a", false), (">", "a", true), ("*.>", "a", false), ("*.b", "x.b", true)];
        for (pattern, key, expected) in cases.into_iter().chain(more) {
            assert_eq!(matches(pattern, key), expected, "{pattern} on {key}");
        }
    }

    #[test]
    fn history_is_trimmed_and_a_purge_leaves_itself_alone() {
        let mut oracle = Oracle::new();
        oracle.create_bucket(&BucketConfig::new("b").history(2)).unwrap();
        for (number, write) in [put("1"), put("2"), put("3")].into_iter().enumerate() {
            oracle.apply("b", "k", &write, number as u64 + 1);
        }
        let revisions =
            |oracle: &Oracle| oracle.buckets["b"].history("k").iter().map(|(_, one)| one.revision).collect::<Vec<_>>();
        assert_eq!(revisions(&oracle), [2, 3]);
        oracle.apply("b", "k", &Write::Purge, 4);
        assert_eq!(revisions(&oracle), [4]);
        oracle.apply("b", "k", &put("5"), 5);
        assert_eq!(revisions(&oracle), [4, 5]);
    }

    #[test]
    fn conditions_are_judged_by_the_newest_entry_marker_or_not() {
        let mut oracle = Oracle::new();
        oracle.create_bucket(&BucketConfig::new("b")).unwrap();
        let wrong = |actual| Err(Refusal { kind: ErrorKind::WrongRevision, actual_revision: Some(actual) });
        assert_eq!(oracle.expected("b", "k", &Write::Update(vec![], 5)), wrong(0));
        assert_eq!(oracle.expected("b", "k", &Write::Update(vec![], 0)), Ok(1));
        oracle.apply("b", "k", &put("1"), 1);
        let exists = Refusal { kind: ErrorKind::AlreadyExists, actual_revision: Some(1) };
        assert_eq!(oracle.expected("b", "k", &Write::Create(vec![])), Err(exists));
        oracle.apply("b", "k", &Write::Delete, 2);
        assert_eq!(oracle.expected("b", "k", &Write::Create(vec![])), Ok(3));
        assert_eq!(oracle.expected("b", "k", &Write::DeleteExpecting(0)), Ok(3));
        assert_eq!(oracle.expected("b", "k", &Write::PurgeExpecting(1)), wrong(2));
    }

    #[test]
    fn an_answer_that_differs_is_a_mismatch() {
        let mut oracle = Oracle::new();
        oracle.create_bucket(&BucketConfig::new("b")).unwrap();
        let refused = Err(Error::new(ErrorKind::WrongRevision, "stale"));
        assert!(oracle.observe("b", "k", &put("1"), &refused).is_err());
        assert!(oracle.observe("b", "k", &put("1"), &Ok(Revision::from(2))).is_err());
        assert!(oracle.observe("b", "k", &put("1"), &Ok(Revision::from(1))).is_ok());
        assert!(oracle.observe("b", "k", &Write::Create(vec![]), &Ok(Revision::from(2))).is_err());
        oracle.allow_gap();
        assert!(oracle.observe("b", "k", &put("2"), &Ok(Revision::from(1 << 20))).is_ok());
    }
}
