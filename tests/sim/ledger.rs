//! What was tried and what was answered, and whether what a store shows afterwards can have come from it.
//!
//! The rule is that of every durability level: the visible state is that after some prefix of the commit order; the prefix
//! holds every commit that was acknowledged as durable; a commit of unknown outcome may be there or not, once, at its
//! place; a refused one is not there. Refused writes are simply not in the list, and as every value is different, one that
//! turns up fits no candidate.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use annals::testing::oracle::{Answer, Checked, Commit, Mismatch, Oracle, same};
use annals::{BucketConfig, Event, Operation, Revision, Store};

#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) action: Commit,
    /// By bucket: the first revision that it was answered, or that it burned.
    firsts: Vec<(String, u64)>,
    /// Store time, about.
    at: u64,
    /// Else the outcome is unknown.
    pub(crate) acked: bool,
    /// The commit number, if it was acknowledged.
    pub(crate) commit: u64,
}

/// A model with the identity of each bucket: a bucket that is created again under the same name is another one.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) oracle: Oracle,
    ids: BTreeMap<String, u64>,
    next_id: u64,
    /// The last revision that an entry has, by name of bucket: the bucket's may lie far ahead.
    last_entries: BTreeMap<String, u64>,
}

impl State {
    fn apply(&mut self, attempt: &Attempt, id: u64) -> Answer {
        self.oracle.pass_to(attempt.at);
        for (name, first) in &attempt.firsts {
            if let Some(bucket) = self.oracle.buckets.get_mut(name) {
                bucket.last_revision = first - 1;
            }
        }
        match &attempt.action {
            Commit::Create(config) => {
                self.ids.entry(config.name().to_owned()).or_insert(id);
            }
            Commit::Remove(name) => {
                self.ids.remove(name);
                self.last_entries.remove(name);
            }
            _ => {}
        }
        let answer = self.oracle.apply(&attempt.action);
        for (name, first) in &attempt.firsts {
            let last = self.oracle.buckets.get(name).map_or(0, |bucket| bucket.last_revision);
            if last >= *first {
                self.last_entries.insert(name.clone(), last);
            }
        }
        answer
    }

    /// Tells a bucket from others of its name.
    pub(crate) fn identity(&self, bucket: &str) -> u64 {
        self.ids.get(bucket).copied().unwrap_or(0)
    }

    pub(crate) fn last_entry(&self, bucket: &str) -> u64 {
        self.last_entries.get(bucket).copied().unwrap_or(0)
    }
}

/// What a store shows, read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    buckets: BTreeMap<String, ShownBucket>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ShownBucket {
    config: BucketConfig,
    last_revision: u64,
    /// Up to where the whole bucket was purged.
    purged: u64,
    entries: Vec<(String, u64, Operation, Vec<u8>)>,
}

impl Shown {
    pub(crate) fn read(store: &Store) -> annals::Result<Self> {
        let mut buckets = BTreeMap::new();
        for name in store.buckets()? {
            let bucket = store.bucket(&name)?;
            let mut entries = Vec::new();
            for entry in bucket.history(">")? {
                let entry = entry?;
                entries.push((
                    entry.key().as_str().to_owned(),
                    entry.revision().get(),
                    entry.operation(),
                    entry.value().to_vec(),
                ));
            }
            let status = bucket.status()?;
            let purged = match bucket.changes_since(Revision::NONE)?.next().transpose()? {
                Some(Event::Purged { through }) => through.get(),
                _ => 0,
            };
            let last_revision = status.last_revision.get();
            buckets.insert(name, ShownBucket { config: status.config, last_revision, purged, entries });
        }
        Ok(Self { buckets })
    }

    /// Whether this is what the state says; numbers may have gone on further if `gaps`.
    fn fits(&self, state: &State, gaps: bool) -> bool {
        let model = &state.oracle.buckets;
        self.buckets.len() == model.len()
            && self.buckets.iter().zip(model).all(|((name, shown), (expected_name, expected))| {
                let number_fits =
                    shown.last_revision == expected.last_revision || gaps && shown.last_revision > expected.last_revision;
                name == expected_name && shown.config == expected.config && number_fits && shown.purged == expected.purged && {
                    let history = expected.history(">");
                    history.len() == shown.entries.len()
                        && history.iter().zip(&shown.entries).all(|((key, version), (shown_key, revision, operation, value))| {
                            key == shown_key
                                && version.revision == *revision
                                && version.operation == *operation
                                && *version.value == **value
                        })
                }
            })
    }

    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        for (name, bucket) in &self.buckets {
            let _ = write!(text, "{name} at {}:", bucket.last_revision);
            for (key, revision, operation, value) in &bucket.entries {
                let _ = write!(text, " {key}@{revision} {operation:?}({})", head(value));
            }
            text.push_str("; ");
        }
        text
    }
}

fn head(value: &[u8]) -> String {
    format!("{}+{}", value[..value.len().min(4)].escape_ascii(), value.len())
}

/// How many states the attempts of unknown outcome may fan out to.
const CANDIDATES_MAX: usize = 512;

#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// As of the last open that was checked.
    base: State,
    /// That and everything acknowledged since: what reads must show.
    pub(crate) live: State,
    pub(crate) attempts: Vec<Attempt>,
    /// Of the acknowledged ones among the first so many, none may be missing after a power cut.
    pub(crate) durable: usize,
    /// The highest revision that this life can have used, by name of bucket.
    used: BTreeMap<String, u64>,
    /// The highest revision that anybody has seen, by identity of bucket.
    handed: BTreeMap<u64, u64>,
    /// Numbers may have been burned: a fault, or an unclean end below `Sync`.
    pub(crate) gaps: bool,
    /// The shortest prefix that explains what the last open showed; `live` began with the longest.
    shortest: State,
}

impl Ledger {
    /// The option of the store.
    pub(crate) fn set_value_len_max(&mut self, bytes: u64) {
        for state in [&mut self.base, &mut self.live] {
            state.oracle.value_len_max = bytes;
        }
    }

    /// The revision that the next write to the bucket gets or, if it fails, burns.
    fn next_revision(&self, bucket: &str) -> u64 {
        let last = self.live.oracle.buckets.get(bucket).map_or(0, |bucket| bucket.last_revision);
        last.max(self.used.get(bucket).copied().unwrap_or(0)) + 1
    }

    /// It is `now` in the store.
    pub(crate) fn pass_to(&mut self, now: u64) {
        self.live.oracle.pass_to(now);
    }

    /// A commit was acknowledged, with this answer.
    pub(crate) fn acked(&mut self, action: Commit, answer: &Answer, commit: u64) -> Checked {
        let id = self.live.next_id;
        self.live.next_id += 1;
        let firsts = action.first_revisions(answer);
        for (bucket, first) in &firsts {
            let due = self.next_revision(bucket);
            if *first != due && !(self.gaps && *first > due) {
                return Err(Mismatch::new(format!("revision {first} where {due} was next")));
            }
            let identity = self.live.ids.get(bucket).copied().unwrap_or(0);
            let handed = self.handed.get(&identity).copied().unwrap_or(0);
            if *first <= handed {
                return Err(Mismatch::new(format!("revision {first} was given out again: {handed} was seen before")));
            }
        }
        self.forget_numbers(&action);
        let attempt = Attempt { action, firsts, at: self.live.oracle.now(), acked: true, commit };
        let due = self.live.apply(&attempt, id);
        same("answer", answer, &due)?;
        for (bucket, _) in &attempt.firsts {
            let last = self.live.oracle.buckets.get(bucket).map_or(0, |bucket| bucket.last_revision);
            let identity = self.live.ids.get(bucket).copied().unwrap_or(0);
            self.handed.insert(identity, last);
            let used = self.used.entry(bucket.clone()).or_default();
            *used = (*used).max(last);
        }
        self.attempts.push(attempt);
        Ok(())
    }

    /// A commit failed and may be there after the next open.
    pub(crate) fn unknown(&mut self, action: Commit) {
        let mut after = self.live.oracle.clone();
        after.apply(&action);
        let mut firsts = Vec::new();
        for (name, bucket) in &self.live.oracle.buckets {
            let taken = after.buckets.get(name).map_or(0, |after| after.last_revision - bucket.last_revision);
            if taken > 0 {
                let first = self.next_revision(name);
                firsts.push((name.clone(), first));
                self.used.insert(name.clone(), first + taken - 1);
            }
        }
        self.live.next_id += 1;
        self.attempts.push(Attempt { action, firsts, at: self.live.oracle.now(), acked: false, commit: 0 });
        self.gaps = true;
    }

    fn forget_numbers(&mut self, action: &Commit) {
        if let Commit::Create(config) = action
            && !self.live.oracle.buckets.contains_key(config.name())
        {
            self.used.remove(config.name());
        }
    }

    /// Of the acknowledged ones that are not known to be durable.
    pub(crate) fn unsynced_bytes(&self) -> u64 {
        let unsynced = self.attempts.iter().skip(self.durable).filter(|attempt| attempt.acked);
        let writes = unsynced.flat_map(|attempt| attempt.action.key_writes());
        writes.map(|write| write.write.value().map_or(0, |value| value.len() as u64)).sum()
    }

    /// Everything acknowledged so far is durable.
    pub(crate) fn all_durable(&mut self) {
        self.durable = self.attempts.len();
    }

    /// Everything acknowledged up to that commit is.
    pub(crate) fn durable_through(&mut self, commit: u64) {
        let covered = self.attempts.iter().rposition(|attempt| attempt.acked && attempt.commit <= commit);
        self.durable = self.durable.max(covered.map_or(0, |last| last + 1));
    }

    /// Finds a prefix that explains what is shown, which then is the state of things. `floor`: of the acknowledged ones
    /// among the first so many attempts none may be missing.
    pub(crate) fn resolve(&mut self, shown: &Shown, floor: usize, now: u64) -> Checked {
        let passed = |state: &State| {
            let mut state = state.clone();
            state.oracle.pass_to(now);
            state
        };
        let required = self.attempts[..floor].iter().rposition(|attempt| attempt.acked).map_or(0, |last| last + 1);
        let first_id = self.live.next_id - self.attempts.len() as u64;
        let mut candidates = vec![self.base.clone()];
        let (mut found, mut shortest) = (None, None);
        for count in 0..=self.attempts.len() {
            if count >= required
                && let Some(state) = candidates.iter().map(passed).find(|state| shown.fits(state, self.gaps))
            {
                shortest.get_or_insert_with(|| state.clone());
                found = Some(state);
            }
            let Some(attempt) = self.attempts.get(count) else { break };
            let without = if attempt.acked { Vec::new() } else { candidates.clone() };
            candidates.iter_mut().for_each(|state| {
                state.apply(attempt, first_id + count as u64);
            });
            candidates.extend(without);
            if candidates.len() > CANDIDATES_MAX {
                return Err(Mismatch::new("the script has too many commits of unknown outcome"));
            }
        }
        let Some(mut state) = found else {
            let (shown, tried) = (shown.describe(), self.describe(floor));
            let text = format!("no prefix explains what is there.\n  shown: {shown}\n  {tried}");
            return Err(Mismatch::new(text));
        };
        state.next_id = self.live.next_id;
        for (name, bucket) in &mut state.oracle.buckets {
            let last = shown.buckets[name].last_revision;
            let handed = state.ids.get(name).and_then(|id| self.handed.get(id)).copied().unwrap_or(0);
            if last < handed {
                return Err(Mismatch::new(format!("bucket {name} goes on after {last}, but {handed} was seen before")));
            }
            bucket.last_revision = last;
            bucket.gap_allowed = false;
        }
        self.shortest = shortest.unwrap_or_default();
        self.base = state.clone();
        self.live = state;
        self.attempts.clear();
        self.used.clear();
        self.durable = 0;
        Ok(())
    }

    /// Whether it is known which of the buckets of this name is there.
    pub(crate) fn is_told_apart(&self, bucket: &str) -> bool {
        self.shortest.identity(bucket) == self.base.identity(bucket)
    }

    /// The last revision of a bucket that an entry surely had at the last open.
    pub(crate) fn least_last_entry(&self, bucket: &str) -> u64 {
        self.shortest.last_entry(bucket)
    }

    /// What reads must show now. Burned numbers may stand in counters.
    pub(crate) fn check(&mut self, store: &Store) -> Checked {
        if self.gaps {
            self.live.oracle.allow_gap();
        }
        self.pass_to(store.store_time());
        self.live.oracle.check(store)
    }

    pub(crate) fn describe(&self, floor: usize) -> String {
        let mut text = format!("required: acknowledged ones among the first {floor}; base:");
        for (name, bucket) in &self.base.oracle.buckets {
            let _ = write!(text, " {name} at {} [", bucket.last_revision);
            for (key, version) in bucket.history(">") {
                let _ = write!(text, " {key}@{} {:?}({})", version.revision, version.operation, head(&version.value));
            }
            text.push_str("];");
        }
        text.push_str("\n  tried:");
        for (index, attempt) in self.attempts.iter().enumerate() {
            let sign = if attempt.acked { "ok" } else { "??" };
            let _ = write!(text, " {index}:{sign} {}{:?}", describe(&attempt.action), attempt.firsts);
        }
        text
    }
}

impl Ledger {
    /// Damage at the end of a log looks like a torn write, and takes numbers with it.
    pub(crate) fn forget_handed(&mut self) {
        self.handed.clear();
    }

    /// Every value that the key may have had since the last checked open, or none.
    pub(crate) fn values_of(&self, bucket: &str, key: &str) -> Vec<Option<Vec<u8>>> {
        let before = self.base.oracle.buckets.get(bucket).and_then(|bucket| bucket.newest(key));
        let mut values = vec![before.filter(|version| version.operation == Operation::Put).map(|version| version.value.to_vec())];
        for write in self.attempts.iter().flat_map(|attempt| attempt.action.key_writes()) {
            if write.bucket == bucket && write.key == key {
                values.push(write.write.value().map(<[u8]>::to_vec));
            }
        }
        values
    }
}

/// A commit in a few words.
pub(crate) fn describe(commit: &Commit) -> String {
    let mut text = match commit {
        Commit::Write(_) => "write".to_owned(),
        Commit::Submit(_) => "submit".to_owned(),
        Commit::Batch(_) => "batch".to_owned(),
        Commit::Load { .. } => "load".to_owned(),
        Commit::Expiry(places) => format!("markers of {places:?}"),
        other => format!("{other:?}"),
    };
    for write in commit.key_writes() {
        let value = write.write.value().map_or_else(String::new, head);
        let _ = write!(text, " {}/{} {:?}({value})", write.bucket, write.key, write.write.operation());
    }
    text
}
