//! What a step asks the store for, with its conditions looked up, and the comparison of the answer.

use super::{Checked, Commit, DEAD_HANDLES_MAX, Mismatch, Op, World, bucket_config, bucket_name, key_name, pattern_name};
use crate::Durability;
use crate::config::{BucketConfig, Compression, nanoseconds};
use crate::testing::ops::{Change, Expect, Payload, Target, Ttl};
use crate::testing::oracle::{Answer, KeyWrite, Write, check_entry};

impl World {
    /// What the step commits, if it is one that does, and whether it asks for a sync.
    pub(super) fn commit_of(&self, op: &Op) -> Option<(Commit, bool)> {
        let name = |bucket: u8| bucket_name(bucket).to_owned();
        let commit = match op {
            Op::Write { target, synced } => return Some((Commit::Write(self.resolve(target, 0)), *synced)),
            Op::Batch { targets, synced } => {
                let writes = targets.iter().enumerate().map(|(at, target)| self.resolve(target, at)).collect();
                return Some((Commit::Batch(writes), *synced));
            }
            Op::Submit { bucket, key, payload, ttl } => {
                let target = Target { bucket: *bucket, key: *key, change: Change::Put(*payload), ttl: *ttl };
                Commit::Submit(self.resolve(&target, 0))
            }
            Op::Touch { bucket, key, ttl } => Commit::Touch { bucket: name(*bucket), key: key_name(*key), ttl: span(*ttl) },
            Op::Load { bucket, key, count, payload } => {
                let value = |at: u8| (key_name(key.wrapping_add(at)), payload.bytes(self.steps * 10 + usize::from(at)));
                Commit::Load { bucket: name(*bucket), values: (0..*count).map(value).collect() }
            }
            Op::Matching { bucket, pattern, purge } => {
                Commit::Matching { bucket: name(*bucket), pattern: pattern_name(*pattern), purge: *purge }
            }
            Op::PurgeAll { bucket } => Commit::PurgeAll(name(*bucket)),
            Op::PurgeDeletes { bucket, age } => Commit::PurgeDeletes(name(*bucket), nanoseconds(*age)),
            Op::CreateBucket { bucket, config } => Commit::Create(self.config(*bucket, *config)),
            Op::EditBucket { bucket, config } => Commit::Edit(self.config(*bucket, *config)),
            Op::DeleteBucket { bucket } => Commit::Remove(name(*bucket)),
            _ => return None,
        };
        Some((commit, false))
    }

    fn config(&self, bucket: u8, choice: (u8, u8)) -> BucketConfig {
        let config = bucket_config(bucket, choice);
        if self.setup.compressed { config.compression(Compression::Zstd) } else { config }
    }

    fn resolve(&self, target: &Target, at: usize) -> KeyWrite {
        let (bucket, key) = (bucket_name(target.bucket), key_name(target.key));
        let oracle = self.oracle.buckets.get(bucket);
        let current = oracle.and_then(|bucket| bucket.newest(&key)).map_or(0, |version| version.revision);
        let last = oracle.map_or(0, |bucket| bucket.last_revision);
        let revision = |expect| match expect {
            Expect::Current => current,
            Expect::None => 0,
            Expect::Before => current.saturating_sub(1),
            Expect::Future => last + 1,
            Expect::LastOfBucket => last,
        };
        let bytes = |payload: Payload| payload.bytes(self.steps * 10 + at);
        let write = match target.change {
            Change::Put(payload) => Write::Put(bytes(payload)),
            Change::Create(payload) => Write::Create(bytes(payload)),
            Change::Update(payload, expect) => Write::Update(bytes(payload), revision(expect)),
            Change::Delete => Write::Delete,
            Change::DeleteExpecting(expect) => Write::DeleteExpecting(revision(expect)),
            Change::Purge => Write::Purge,
            Change::PurgeExpecting(expect) => Write::PurgeExpecting(revision(expect)),
            Change::Check(expect) => Write::Check(revision(expect)),
        };
        // A delete has none.
        let ttl = if matches!(write, Write::Delete | Write::DeleteExpecting(_)) { 0 } else { span(target.ttl) };
        KeyWrite { bucket: bucket.to_owned(), key, write, ttl }
    }

    /// Does it, compares the answer, and looks at what was just written.
    pub(super) fn commit(&mut self, commit: &Commit, synced: bool) -> Checked {
        if let Commit::Load { bucket, .. } = commit {
            self.learn_gap(bucket)?;
        }
        let find = |name: &str| self.handles.get(name).cloned().map_or_else(|| self.store().bucket(name), Ok);
        let answer = commit.send(self.store(), &find, synced.then_some(Durability::Sync));
        self.oracle.observe(commit, &answer)?;
        let Ok(answer) = answer else {
            // Of a load that is refused, commits before that one may be in place.
            return if matches!(commit, Commit::Load { .. }) { self.follow(commit) } else { Ok(()) };
        };
        self.follow(commit)?;
        let status = self.store().status()?;
        let wrote = matches!(answer, Answer::Revisions(revisions) if revisions.iter().any(|revision| *revision > 0));
        if (self.setup.durability == Durability::Sync || synced && wrote) && status.durable_commit != status.last_commit {
            return Err(Mismatch(format!("visible {} but durable {}", status.last_commit, status.durable_commit)));
        }
        Ok(())
    }

    /// Where numbers go on in a bucket that may have a gap: a load that is refused on its way does not tell its revisions.
    fn learn_gap(&mut self, name: &str) -> Checked {
        let (Some(oracle), Some(handle)) = (self.oracle.buckets.get_mut(name), self.handles.get(name)) else { return Ok(()) };
        if oracle.gap_allowed {
            oracle.last_revision = oracle.last_revision.max(handle.status()?.last_revision.get());
        }
        Ok(())
    }

    /// What else must be true right after a commit that was taken over.
    fn follow(&mut self, commit: &Commit) -> Checked {
        match commit {
            Commit::Create(config) => {
                let bucket = self.store().bucket(config.name())?;
                self.handles.entry(config.name().to_owned()).or_insert(bucket);
                Ok(())
            }
            Commit::Remove(name) => {
                if self.dead.len() == DEAD_HANDLES_MAX {
                    self.dead.remove(0);
                }
                self.dead.extend(self.handles.remove(name));
                self.check_missing(name)
            }
            Commit::Edit(_) | Commit::PurgeAll(_) | Commit::PurgeDeletes(..) | Commit::Matching { .. } => {
                self.check_now_and_then()
            }
            Commit::Write(write) | Commit::Submit(write) => self.check_newest(&write.bucket, &write.key),
            Commit::Batch(writes) => writes.iter().try_for_each(|write| self.check_newest(&write.bucket, &write.key)),
            Commit::Touch { bucket, key, .. } => self.check_newest(bucket, key),
            Commit::Expiry(places) => places.iter().try_for_each(|(bucket, key)| self.check_newest(bucket, key)),
            Commit::Load { bucket, values } => values.iter().try_for_each(|(key, _)| self.check_newest(bucket, key)),
        }
    }

    fn check_newest(&self, bucket: &str, key: &str) -> Checked {
        let (Some(oracle), Some(handle)) = (self.oracle.buckets.get(bucket), self.handles.get(bucket)) else { return Ok(()) };
        let entry = handle.entry(key)?;
        check_entry(entry.as_ref(), key, oracle.newest(key)).map_err(|mismatch| mismatch.context("just written"))
    }
}

fn span(ttl: Ttl) -> u64 {
    ttl.0.map_or(0, nanoseconds)
}
