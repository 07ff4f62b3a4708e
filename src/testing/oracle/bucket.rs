//! What one bucket must hold: the life of each key, with every entry that was ever visible, and which of them are gone.
//!
//! What is gone stays gone: there are no eras, floors or cutoffs here, only a mark on each entry, settled whenever time passes or a limit
//! changes. An entry that is gone while newer ones of its life are not still takes its place in the depth of the history.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::matches;
use super::write::{KeyWrite, Write};
use crate::config::{BucketConfig, nanoseconds};
use crate::entry::{Operation, Reason};

/// What every retained entry counts beside its key and value.
const ENTRY_BYTES: u64 = 32;

/// One entry of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub revision: u64,
    pub operation: Operation,
    pub reason: Reason,
    pub value: Arc<[u8]>,
    /// Store time of its commit, in nanoseconds: exact where the clock stands still, else about.
    pub at: u64,
    /// Store time; 0 = none.
    pub deadline: u64,
    /// As read: known from the beginning where the clock stands still, else learnt at the first read; the same from then on.
    pub created: Option<SystemTime>,
    is_gone: bool,
}

/// What one bucket must hold.
#[derive(Clone, Debug)]
pub struct OracleBucket {
    pub config: BucketConfig,
    pub last_revision: u64,
    /// Whether the next revision may be further on than the one after the last.
    pub gap_allowed: bool,
    lives: BTreeMap<String, Life>,
    /// Something expired, a key lost all it had, or the whole bucket was purged: of any key the past may be unknown.
    has_lost_keys: bool,
    /// The last revision at the last purge of the whole bucket; 0 = none, or it was empty.
    pub purged: u64,
    /// The highest revision of which the store may believe that it went while it was its key's newest, and that nothing tells of that: of
    /// what expires in a file, nobody may know that newer entries had displaced it.
    pub(super) perhaps_lost: u64,
}

#[derive(Clone, Debug, Default)]
struct Life {
    /// Oldest first; empty when all are gone.
    versions: Vec<Version>,
    /// Something went.
    is_trimmed: bool,
    /// The earliest time and the earliest deadline of what newer entries have displaced: it may still lie in a file, and expire there.
    displaced: Option<(u64, u64)>,
    moments: Vec<Moment>,
    /// The revision that was the newest until it went by itself; 0 if something is there, or the whole bucket was purged since.
    lost: u64,
    /// The newest entry has expired and leaves a marker that is not there yet: when that was, and its revision.
    due: Option<(u64, u64)>,
}

/// When a key's value changed: by a write, or by itself.
#[derive(Clone, Debug)]
struct Moment {
    /// The bucket's last revision from then on.
    at: u64,
    is_write: bool,
    /// The revision of the value, or of the marker of the write.
    revision: u64,
    value: Option<Arc<[u8]>>,
}

/// What a read of the past may answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    pub values: Vec<Option<Arc<[u8]>>>,
    pub may_be_compacted: bool,
}

impl Life {
    /// Marks what goes at store time `now` under these limits; answers whether something expired.
    fn settle(&mut self, now: u64, config: &BucketConfig) -> bool {
        let max_age = config.age_limit().map_or(u64::MAX, nanoseconds);
        let is_due = |version: &Version| version.expiry(max_age) <= now;
        let is_over = self.versions.last().is_some_and(is_due);
        if let Some(newest) = self.versions.last()
            && is_over
            && config.marker_lifetime().is_some()
            && newest.operation != Operation::Purge
        {
            self.due = Some((newest.expiry(max_age), newest.revision));
        }
        let has_expired = self.versions.iter().any(|version| !version.is_gone && is_due(version));
        let depth = usize::from(config.history_depth());
        for (position, version) in self.versions.iter_mut().rev().enumerate() {
            version.is_gone |= is_over || position >= depth || is_due(version);
        }
        self.is_trimmed |= self.versions.iter().any(|version| version.is_gone);
        let kept = self.versions.iter().position(|version| !version.is_gone).unwrap_or(self.versions.len());
        self.drop_oldest(kept);
        has_expired
    }

    /// The revision of the newest entry, if it goes by store time `now`.
    fn expired_newest(&self, now: u64, config: &BucketConfig) -> Option<u64> {
        let max_age = config.age_limit().map_or(u64::MAX, nanoseconds);
        self.versions.last().filter(|version| version.expiry(max_age) <= now).map(|version| version.revision)
    }

    fn drop_oldest(&mut self, count: usize) {
        for version in self.versions.drain(..count) {
            let (at, deadline) = self.displaced.unwrap_or((u64::MAX, u64::MAX));
            self.displaced = Some((at.min(version.at), deadline.min(version.expiry(u64::MAX))));
        }
    }

    /// Whether something expires by `now` that newer entries have displaced. Where nothing else of its key lies beside it, nobody can tell
    /// that it had not been the newest.
    fn has_displaced_expired(&self, now: u64, config: &BucketConfig) -> bool {
        let max_age = config.age_limit().map_or(u64::MAX, nanoseconds);
        self.displaced.is_some_and(|(at, deadline)| at.saturating_add(max_age).min(deadline) <= now)
    }

    /// Everything but the newest `count` goes.
    fn keep_newest(&mut self, count: usize) {
        let excess = self.versions.len().saturating_sub(count);
        self.is_trimmed |= excess > 0;
        self.drop_oldest(excess);
    }

    fn note(&mut self, last_revision: u64, is_write: bool) {
        let newest = self.versions.last();
        let value = newest.filter(|version| version.operation == Operation::Put).map(|version| Arc::clone(&version.value));
        let revision = if is_write || value.is_some() { newest.map_or(0, |version| version.revision) } else { 0 };
        let is_new = |last: &Moment| is_write || last.value.is_some() != value.is_some();
        if self.moments.last().map_or(is_write, is_new) {
            self.moments.push(Moment { at: last_revision, is_write, revision, value });
        }
    }
}

impl Version {
    /// When it goes by itself.
    fn expiry(&self, max_age: u64) -> u64 {
        let by_age = self.at.saturating_add(max_age);
        if self.deadline == 0 { by_age } else { by_age.min(self.deadline) }
    }
}

impl OracleBucket {
    #[must_use]
    pub const fn new(config: BucketConfig) -> Self {
        Self {
            config,
            last_revision: 0,
            gap_allowed: false,
            lives: BTreeMap::new(),
            has_lost_keys: false,
            purged: 0,
            perhaps_lost: 0,
        }
    }

    /// The retained entries of a key, oldest first.
    pub fn retained(&self, key: &str) -> impl DoubleEndedIterator<Item = &Version> + Clone {
        self.lives.get(key).into_iter().flat_map(|life| &life.versions).filter(|version| !version.is_gone)
    }

    /// All keys that retain something, with what they retain.
    pub(super) fn retained_keys(&self) -> impl Iterator<Item = &str> {
        self.lives.iter().filter(|(_, life)| !life.versions.is_empty()).map(|(key, _)| key.as_str())
    }

    /// All keys that ever retained something.
    pub(super) fn known_keys(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.lives.keys().map(String::as_str)
    }

    pub(super) fn version_mut(&mut self, key: &str, revision: u64) -> Option<&mut Version> {
        self.lives.get_mut(key)?.versions.iter_mut().find(|version| version.revision == revision)
    }

    #[must_use]
    pub fn newest(&self, key: &str) -> Option<&Version> {
        self.lives.get(key)?.versions.last()
    }

    /// The key's newest entry if it is a value.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&Version> {
        self.newest(key).filter(|version| version.operation == Operation::Put)
    }

    /// The keys that hold a value, or with `markers` all that retain anything, which one of the patterns matches; no pattern = all.
    #[must_use]
    pub fn keys(&self, patterns: &[String], markers: bool) -> Vec<String> {
        self.retained_keys()
            .filter(|key| markers || self.value(key).is_some())
            .filter(|key| patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, key)))
            .map(str::to_owned)
            .collect()
    }

    /// The retained entries of the keys that `pattern` matches, in revision order.
    #[must_use]
    pub fn history(&self, pattern: &str) -> Vec<(&str, &Version)> {
        let matching = self.retained_keys().filter(|key| matches(pattern, key));
        let mut found: Vec<_> = matching.flat_map(|key| self.retained(key).map(move |version| (key, version))).collect();
        found.sort_by_key(|(_, version)| version.revision);
        found
    }

    /// The highest revision that was its key's newest until it went by itself, so that no change tells of it.
    pub(super) fn lost(&self) -> u64 {
        self.lives.values().map(|life| life.lost).max().unwrap_or(0)
    }

    /// How many entries are retained, and how many bytes they count.
    #[must_use]
    pub fn size(&self) -> (u64, u64) {
        let versions = self.retained_keys().flat_map(|key| self.retained(key).map(move |version| (key, version)));
        let lens = versions.map(|(key, version)| (key.len() + version.value.len()) as u64 + ENTRY_BYTES);
        lens.fold((0, 0), |(count, bytes), len| (count + 1, bytes + len))
    }

    /// When something goes by itself next.
    pub(super) fn next_expiry(&self) -> Option<u64> {
        let max_age = self.config.age_limit().map_or(u64::MAX, nanoseconds);
        let versions = self.lives.values().flat_map(|life| &life.versions).filter(|version| !version.is_gone);
        versions.map(|version| version.expiry(max_age)).filter(|expiry| *expiry != u64::MAX).min()
    }

    /// What a read of the key as of when `revision` was the bucket's newest may answer.
    #[must_use]
    pub fn as_of(&self, key: &str, revision: u64) -> Past {
        let now = self.value(key).map(|version| Arc::clone(&version.value));
        if revision >= self.last_revision {
            return Past { values: vec![now], may_be_compacted: false };
        }
        let Some(life) = self.lives.get(key) else {
            return Past { values: vec![None], may_be_compacted: self.has_lost_keys };
        };
        let in_force = life.moments.iter().rev().find(|moment| moment.at <= revision && moment.is_write);
        if let Some(version) = in_force.and_then(|moment| self.retained(key).find(|one| one.revision == moment.revision)) {
            let value = (version.operation == Operation::Put).then(|| Arc::clone(&version.value));
            return Past { values: vec![value], may_be_compacted: false };
        }
        let is_begun_by_write = life.moments.iter().any(|moment| moment.at == revision && moment.is_write);
        let before = life.moments.iter().rev().find(|moment| moment.at < revision);
        let before = before.and_then(|moment| moment.value.clone());
        let mut values = if is_begun_by_write { Vec::new() } else { vec![before] };
        values.extend(life.moments.iter().filter(|moment| moment.at == revision).map(|moment| moment.value.clone()));
        Past { values, may_be_compacted: life.is_trimmed || self.has_lost_keys }
    }

    /// Lets go what goes at store time `now`.
    pub(super) fn settle(&mut self, now: u64) {
        let Self { config, lives, has_lost_keys, last_revision, perhaps_lost, .. } = self;
        let mut has_expired = lives.values().any(|life| life.has_displaced_expired(now, config));
        *has_lost_keys |= has_expired;
        for life in lives.values_mut().filter(|life| !life.versions.is_empty()) {
            let lost = life.expired_newest(now, config);
            // An expired entry may leave a file in which nothing else is of its key.
            let life_expired = life.settle(now, config);
            // A marker that is to come tells of it.
            life.lost = lost.filter(|_| life.due.is_none()).unwrap_or(life.lost);
            has_expired |= life_expired;
            *has_lost_keys |= life_expired || life.versions.is_empty();
            life.note(*last_revision, false);
        }
        if has_expired {
            *perhaps_lost = *last_revision;
        }
    }

    pub(super) fn edit(&mut self, config: &BucketConfig, now: u64) {
        if config.marker_lifetime().is_some() && self.config.marker_lifetime().is_none() {
            // What had expired by then is not told from what has left a marker.
            self.perhaps_lost = self.last_revision;
        }
        self.config = config.clone();
        self.settle(now);
    }

    /// Takes over one write; what the clock takes must have been settled.
    pub(super) fn apply(&mut self, write: &KeyWrite, now: u64, created: Option<SystemTime>) {
        let Some(operation) = write.write.operation() else { return };
        self.last_revision += 1;
        self.gap_allowed = false;
        let reason = if matches!(write.write, Write::Touch(_)) { Reason::Touched } else { Reason::Written };
        let value = write.write.value().unwrap_or_default();
        self.push(&write.key, (operation, reason), value, (now, write.ttl), created);
    }

    fn push(
        &mut self,
        key: &str,
        (operation, reason): (Operation, Reason),
        value: &[u8],
        (now, ttl): (u64, u64),
        created: Option<SystemTime>,
    ) {
        let deadline = if ttl == 0 { 0 } else { now.saturating_add(ttl) };
        let life = self.lives.entry(key.to_owned()).or_default();
        life.due = None;
        if operation == Operation::Purge {
            life.keep_newest(0);
            // Whether there was anything, nobody knows afterwards.
            life.is_trimmed = true;
        }
        life.lost = 0;
        let (revision, value) = (self.last_revision, value.into());
        life.versions.push(Version { revision, operation, reason, value, at: now, deadline, created, is_gone: false });
        life.settle(now, &self.config);
        life.note(revision, true);
    }

    /// Commits the marker of a key that has expired, if it is due; answers whether it was.
    pub(super) fn mark(&mut self, key: &str, now: u64, created: Option<SystemTime>) -> bool {
        let is_due = self.lives.get(key).is_some_and(|life| life.due.is_some());
        if let Some(lifetime) = self.config.marker_lifetime().filter(|_| is_due) {
            self.last_revision += 1;
            self.push(key, (Operation::Purge, Reason::Expired), &[], (now, nanoseconds(lifetime)), created);
        }
        is_due
    }

    /// The keys that have expired and whose markers are due, in the order of their markers.
    #[must_use]
    pub fn due(&self) -> Vec<String> {
        let mut due: Vec<_> = self.lives.iter().filter_map(|(key, life)| Some((life.due?, key))).collect();
        due.sort();
        due.into_iter().map(|(_, key)| key.clone()).collect()
    }

    pub(super) fn purge_all(&mut self) {
        for life in self.lives.values_mut() {
            life.due = None;
            life.keep_newest(0);
            life.lost = 0;
            life.note(self.last_revision, false);
        }
        self.has_lost_keys |= self.last_revision > 0;
        self.purged = self.last_revision;
    }

    /// Answers how many keys had a marker.
    pub(super) fn purge_deletes(&mut self, age: u64, now: u64) -> u64 {
        let mut count = 0;
        for life in self.lives.values_mut() {
            let Some(marker) = life.versions.last().filter(|version| version.operation != Operation::Put) else { continue };
            count += 1;
            let goes = marker.at.saturating_add(age) <= now;
            if goes {
                life.lost = marker.revision;
                self.perhaps_lost = self.perhaps_lost.max(marker.revision);
            }
            life.keep_newest(usize::from(!goes));
            self.has_lost_keys |= goes;
            life.note(self.last_revision, false);
        }
        count
    }
}
