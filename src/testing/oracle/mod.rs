//! What a store must answer, as plainly as it can be said: a map of histories.
//!
//! Shared by the model test, the fuzz targets and the crash tests. [`Oracle::expected`] says whether a commit must be refused before it is
//! tried, [`Oracle::observe`] compares that with what it did answer and takes the commit over, [`Oracle::check`] compares everything that a
//! store shows with what is known. A difference is a [`Mismatch`], not a panic, so that a crash test can ask which prefix of the commits
//! fits. An oracle is cheap to clone for the same reason.
//!
//! - `bucket`: what one bucket holds and loses; `changes`: what has changed since a revision; `write`: what can be asked, and the answers; `check`: the comparison with a store;
//!   `reads`: what is asked for it.
//!
//! Nothing here is shared with the engine but the types of the public API: keys are matched by a matcher of its own, sizes and counts
//! are counted anew. Time is told to it: [`Oracle::pass_to`] says what time it is in the store. It knows no files and no threads: one
//! caller, one commit after another.
//!
//! After an unclean end below `Sync` revisions may leave a gap (numbers that somebody may have seen are not given out twice);
//! [`Oracle::allow_gap`] says so to the oracle.

mod bucket;
mod changes;
mod check;
mod reads;
#[cfg(test)]
mod tests;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, SystemTime};

pub use self::bucket::{OracleBucket, Past, Version};
pub use self::check::{check_entry, check_refusal, same, same_bytes};
pub use self::reads::{Bounds, Reads};
pub use self::write::{Answer, Commit, KeyWrite, Write};
use crate::entry::Operation;
use crate::error::{Error, ErrorKind, Result as StoreResult};

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

/// Why a commit must be refused.
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

/// What a store must hold.
#[derive(Clone, Debug)]
pub struct Oracle {
    pub buckets: BTreeMap<String, OracleBucket>,
    /// The largest value that the store takes, in bytes.
    pub value_len_max: u64,
    /// The most operations of a batch.
    pub batch_ops_max: usize,
    /// How many values of a load are one commit.
    pub load_values: usize,
    now: u64,
    /// The store's clock stands still between two calls of [`pass_to`](Oracle::pass_to), so times are compared to the nanosecond.
    pub is_time_exact: bool,
}

impl Default for Oracle {
    fn default() -> Self {
        Self {
            buckets: BTreeMap::new(),
            value_len_max: 16 << 20,
            batch_ops_max: 1_000,
            load_values: 1_000,
            now: 0,
            is_time_exact: false,
        }
    }
}

impl Oracle {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// It is `now` in the store, in nanoseconds since 1970: what is due by then goes.
    pub fn pass_to(&mut self, now: u64) {
        self.now = self.now.max(now);
        self.buckets.values_mut().for_each(|bucket| bucket.settle(self.now));
    }

    #[must_use]
    pub const fn now(&self) -> u64 {
        self.now
    }

    /// When something goes by itself next.
    #[must_use]
    pub fn next_expiry(&self) -> Option<u64> {
        self.buckets.values().filter_map(OracleBucket::next_expiry).min()
    }

    /// Whether the commit must be refused now, and why. Configurations and keys must be valid. Changes nothing.
    ///
    /// # Errors
    /// The refusal that the store must give.
    pub fn expected(&self, commit: &Commit) -> Result<(), Refusal> {
        let refuse = |kind| Err(Refusal::of(kind));
        match commit {
            Commit::Create(config) => match self.buckets.get(config.name()) {
                Some(bucket) if bucket.config != *config => return refuse(ErrorKind::BucketExists),
                _ => return Ok(()),
            },
            _ if commit.buckets().iter().any(|name| !self.buckets.contains_key(*name)) => {
                return refuse(ErrorKind::BucketNotFound);
            }
            Commit::Edit(_)
            | Commit::Remove(_)
            | Commit::Matching { .. }
            | Commit::PurgeAll(_)
            | Commit::PurgeDeletes(..)
            | Commit::Expiry(_) => return Ok(()),
            Commit::Write(_) | Commit::Submit(_) | Commit::Touch { .. } | Commit::Batch(_) | Commit::Load { .. } => {}
        }
        let writes = self.writes_of(commit);
        if !matches!(commit, Commit::Touch { .. }) {
            self.check_values(&writes)?;
        }
        if let Commit::Batch(writes) = commit
            && (writes.len() > self.batch_ops_max || has_condition_on_own_write(writes))
        {
            return refuse(ErrorKind::InvalidArgument);
        }
        writes.iter().try_for_each(|write| self.check_condition(write))?;
        self.check_sizes(&writes)
    }

    /// Commits the expiry markers that come in front of this commit, whether it succeeds or not: of the keys that it writes or asks
    /// about, and before a change of a bucket all of that bucket. Answers for each its bucket and key.
    pub fn mark_before(&mut self, commit: &Commit) -> Vec<(String, String)> {
        let writes = self.writes_of(commit);
        let is_invalid = match commit {
            Commit::Batch(writes) => writes.len() > self.batch_ops_max || has_condition_on_own_write(writes),
            _ => false,
        };
        let is_unknown = commit.buckets().iter().any(|name| !self.buckets.contains_key(*name));
        if is_invalid || is_unknown || self.check_values(&writes).is_err() {
            return Vec::new();
        }
        if let Commit::Edit(config) = commit {
            return self.sweep_bucket(config.name());
        }
        let places = writes.into_iter().map(|write| (write.bucket, write.key));
        places.filter(|(bucket, key)| self.mark(bucket, key)).collect()
    }

    /// Commits all expiry markers that are due; answers for each its bucket and key.
    pub fn sweep(&mut self) -> Vec<(String, String)> {
        let names: Vec<String> = self.buckets.keys().cloned().collect();
        names.iter().flat_map(|name| self.sweep_bucket(name)).collect()
    }

    fn sweep_bucket(&mut self, name: &str) -> Vec<(String, String)> {
        let due = self.buckets.get(name).map(OracleBucket::due).unwrap_or_default();
        due.into_iter().map(|key| (name.to_owned(), key)).filter(|(bucket, key)| self.mark(bucket, key)).collect()
    }

    /// Commits the expiry marker of a key, if it is due; answers whether it was.
    pub fn mark(&mut self, bucket: &str, key: &str) -> bool {
        let (now, created) = (self.now, self.created());
        self.buckets.get_mut(bucket).is_some_and(|bucket| bucket.mark(key, now, created))
    }

    fn created(&self) -> Option<SystemTime> {
        self.is_time_exact.then(|| SystemTime::UNIX_EPOCH + Duration::from_nanos(self.now))
    }

    /// The writes that the commit comes down to, in order.
    fn writes_of(&self, commit: &Commit) -> Vec<KeyWrite> {
        match commit {
            Commit::Touch { bucket, key, ttl } => {
                let value = self.buckets.get(bucket).and_then(|bucket| bucket.value(key));
                let touch =
                    |value: &Version| KeyWrite { ttl: *ttl, ..KeyWrite::new(bucket, key, Write::Touch(value.value.to_vec())) };
                value.map(touch).into_iter().collect()
            }
            Commit::Matching { bucket, pattern, purge } => {
                let keys = self.buckets.get(bucket).map(|bucket| bucket.keys(std::slice::from_ref(pattern), false));
                let write = if *purge { Write::Purge } else { Write::Delete };
                keys.unwrap_or_default().into_iter().map(|key| KeyWrite::new(bucket, key, write.clone())).collect()
            }
            _ => commit.key_writes(),
        }
    }

    fn check_values(&self, writes: &[KeyWrite]) -> Result<(), Refusal> {
        let fits = |write: &KeyWrite| {
            let own = self.buckets.get(&write.bucket).and_then(|bucket| bucket.config.value_size_limit());
            let limit = own.unwrap_or(u64::MAX).min(self.value_len_max);
            write.write.value().is_none_or(|value| value.len() as u64 <= limit)
        };
        if writes.iter().all(fits) { Ok(()) } else { Err(Refusal::of(ErrorKind::ValueTooLarge)) }
    }

    fn check_condition(&self, write: &KeyWrite) -> Result<(), Refusal> {
        let newest = self.buckets.get(&write.bucket).and_then(|bucket| bucket.newest(&write.key));
        let current = newest.map_or(0, |version| version.revision);
        let refused = match &write.write {
            Write::Create(_) => newest.filter(|version| version.operation == Operation::Put).map(|_| ErrorKind::AlreadyExists),
            Write::Update(_, expected) | Write::Check(expected) => (*expected != current).then_some(ErrorKind::WrongRevision),
            Write::DeleteExpecting(expected) | Write::PurgeExpecting(expected) => {
                (*expected != 0 && *expected != current).then_some(ErrorKind::WrongRevision)
            }
            Write::Put(_) | Write::Delete | Write::Purge | Write::Touch(_) => None,
        };
        refused.map_or(Ok(()), |kind| Err(Refusal { kind, actual_revision: Some(current) }))
    }

    /// A bucket takes no more than its limit by what has a value; what shrinks it, or only leaves markers, always passes.
    fn check_sizes(&self, writes: &[KeyWrite]) -> Result<(), Refusal> {
        let names: BTreeSet<&String> = writes.iter().map(|write| &write.bucket).collect();
        for name in names {
            let Some(bucket) = self.buckets.get(name) else { continue };
            let Some(limit) = bucket.config.byte_limit() else { continue };
            let own = || writes.iter().filter(|write| write.bucket == *name);
            let mut after = bucket.clone();
            own().for_each(|write| after.apply(write, self.now, None));
            let (before, after) = (bucket.size().1, after.size().1);
            if own().any(|write| write.write.value().is_some()) && after > before && after > limit {
                return Err(Refusal::of(ErrorKind::BucketFull));
            }
        }
        Ok(())
    }

    /// Compares what the commit answered with what it had to, and takes it over if it was applied.
    ///
    /// # Errors
    /// What differs.
    pub fn observe(&mut self, commit: &Commit, answer: &StoreResult<Answer>) -> Checked {
        if let Commit::Load { bucket, values } = commit
            && values.len() > self.load_values
        {
            return self.observe_load(bucket, values, answer);
        }
        self.mark_before(commit);
        match (self.expected(commit), answer) {
            (Ok(()), Ok(answer)) => {
                self.align(commit, answer);
                let due = self.apply(commit);
                same("answer", answer, &due)
            }
            (Err(refusal), Err(error)) => check_refusal(refusal, error),
            (expected, answer) => Err(Mismatch(format!("answered {answer:?} instead of {expected:?}"))),
        }
    }

    /// A load of several commits: one that is refused leaves those before it in place.
    fn observe_load(&mut self, bucket: &str, values: &[(String, Vec<u8>)], answer: &StoreResult<Answer>) -> Checked {
        let chunk = |values: &[(String, Vec<u8>)]| Commit::Load { bucket: bucket.to_owned(), values: values.to_vec() };
        if let Ok(answer) = answer {
            self.align(&chunk(values), answer);
        }
        let (mut total, mut newest) = (0, 0);
        for values in values.chunks(self.load_values) {
            let commit = chunk(values);
            self.mark_before(&commit);
            match (self.expected(&commit), answer) {
                (Ok(()), _) => {
                    if let Answer::Many { count, last } = self.apply(&commit) {
                        (total, newest) = (total + count, last);
                    }
                }
                (Err(refusal), Err(error)) => return check_refusal(refusal, error),
                (Err(refusal), Ok(answer)) => return Err(Mismatch(format!("answered {answer:?} instead of {refusal:?}"))),
            }
        }
        match answer {
            Ok(answer) => same("answer", answer, &Answer::Many { count: total, last: newest }),
            Err(error) => Err(Mismatch(format!("answered {error:?} to a load that fits"))),
        }
    }

    /// Where numbers may have a gap, goes on where the answer does.
    fn align(&mut self, commit: &Commit, answer: &Answer) {
        for (name, revision) in commit.first_revisions(answer) {
            if let Some(bucket) = self.buckets.get_mut(&name).filter(|bucket| bucket.gap_allowed) {
                bucket.last_revision = bucket.last_revision.max(revision - 1);
            }
        }
    }

    /// Takes over a commit that is known to have been applied; answers what it answers then.
    pub fn apply(&mut self, commit: &Commit) -> Answer {
        let created = self.created();
        let writes = self.writes_of(commit);
        let mut revisions = Vec::new();
        for write in &writes {
            let Some(bucket) = self.buckets.get_mut(&write.bucket) else { continue };
            bucket.apply(write, self.now, created);
            revisions.push(if write.write.operation().is_some() { bucket.last_revision } else { 0 });
        }
        let (now, last) = (self.now, revisions.last().copied());
        match commit {
            Commit::Create(config) => {
                self.buckets.entry(config.name().to_owned()).or_insert_with(|| OracleBucket::new(config.clone()));
                Answer::Done
            }
            Commit::Edit(config) => {
                self.buckets.get_mut(config.name()).into_iter().for_each(|bucket| bucket.edit(config, now));
                Answer::Done
            }
            Commit::Remove(name) => {
                self.buckets.remove(name);
                Answer::Done
            }
            Commit::Write(_) | Commit::Submit(_) | Commit::Batch(_) => Answer::Revisions(revisions),
            Commit::Expiry(places) => {
                let mut mark = |(bucket, key): &(String, String)| {
                    let is_marked = self.mark(bucket, key);
                    self.buckets.get(bucket).filter(|_| is_marked).map_or(0, |bucket| bucket.last_revision)
                };
                Answer::Revisions(places.iter().map(&mut mark).collect())
            }
            Commit::Touch { .. } => Answer::Touched(last),
            Commit::Load { .. } | Commit::Matching { .. } => {
                Answer::Many { count: revisions.len() as u64, last: last.unwrap_or(0) }
            }
            Commit::PurgeAll(name) => Answer::Through(self.buckets.get_mut(name).map_or(0, |bucket| {
                bucket.purge_all();
                bucket.last_revision
            })),
            Commit::PurgeDeletes(name, age) => {
                Answer::Dropped(self.buckets.get_mut(name).map_or(0, |bucket| bucket.purge_deletes(*age, now)))
            }
        }
    }

    /// The store ended uncleanly below `Sync`: numbers may go on further than where they were.
    pub fn allow_gap(&mut self) {
        for bucket in self.buckets.values_mut() {
            bucket.gap_allowed = true;
        }
    }
}

/// Whether an operation asks something of a key that one before it writes.
fn has_condition_on_own_write(writes: &[KeyWrite]) -> bool {
    let is_written_before = |at: usize| {
        let place = (&writes[at].bucket, &writes[at].key);
        writes[..at].iter().any(|write| (&write.bucket, &write.key) == place && write.write.operation().is_some())
    };
    (0..writes.len()).any(|at| writes[at].write.is_conditional() && is_written_before(at))
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
