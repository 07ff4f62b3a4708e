//! What a step compares: reads of a bucket, iterators that are held while everything moves on, calls that must fail.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use super::{Checked, Mismatch, Refusal, World, back_from, bucket_name, check_failed, pattern_name};
use crate::bucket::Bucket;
use crate::config::PutOptions;
use crate::entry::Entry;
use crate::error::{Error, ErrorKind};
use crate::key::Key;
use crate::number::Revision;
use crate::scan::{History, Keys, KeysOptions};
use crate::snapshot::{BucketSnapshot, Snapshot};
use crate::testing::ops::bound_name;
use crate::testing::oracle::{OracleBucket, Version, check_entry, same};
use crate::watch::Changes;

const HELD_MAX: usize = 3;

/// An iterator that was begun, and what it must still yield.
#[derive(Debug)]
pub(super) enum Held {
    Keys(Keys, Vec<String>),
    History(History, Vec<(String, Version)>),
    /// With the revision that it starts after, and the bucket as it was.
    Changes(Changes, u64, Box<OracleBucket>),
    Snapshot(BucketSnapshot, Box<OracleBucket>),
    StoreSnapshot(Snapshot, BTreeMap<String, OracleBucket>),
}

impl World {
    pub(super) fn read(&self, bucket: u8, read: impl FnOnce(&OracleBucket, &Bucket) -> Checked) -> Checked {
        let name = bucket_name(bucket);
        match (self.oracle.buckets.get(name), self.handles.get(name)) {
            (Some(oracle), Some(handle)) => read(oracle, handle),
            _ => self.check_missing(name),
        }
    }

    pub(super) fn keys(&self, bucket: u8, patterns: &[u8], markers: bool) -> Checked {
        let patterns: Vec<String> = patterns.iter().map(|pattern| pattern_name(*pattern)).collect();
        self.read(bucket, |oracle, bucket| {
            let options = patterns.iter().fold(KeysOptions::new().markers(markers), |options, one| options.filter(one));
            compare_keys(bucket.keys_with(options)?, &oracle.keys(&patterns, markers))
        })
    }

    pub(super) fn hold_keys(&mut self, bucket: u8, pattern: u8, take: u8) -> Checked {
        let (name, pattern) = (bucket_name(bucket), pattern_name(pattern));
        let (Some(oracle), Some(handle)) = (self.oracle.buckets.get(name), self.handles.get(name)) else { return Ok(()) };
        let mut expected = oracle.keys(std::slice::from_ref(&pattern), false);
        let mut keys = handle.keys_with(KeysOptions::new().filter(pattern))?;
        let taken = usize::from(take % 4).min(expected.len());
        compare_keys(keys.by_ref().take(taken), &expected[..taken])?;
        self.hold(Held::Keys(keys, expected.split_off(taken)));
        Ok(())
    }

    pub(super) fn hold_history(&mut self, bucket: u8, pattern: u8, take: u8) -> Checked {
        let (name, pattern) = (bucket_name(bucket), pattern_name(pattern));
        let (Some(oracle), Some(handle)) = (self.oracle.buckets.get(name), self.handles.get(name)) else { return Ok(()) };
        let found = oracle.history(&pattern).into_iter();
        let mut expected: Vec<_> = found.map(|(key, version)| (key.to_owned(), version.clone())).collect();
        let mut history = handle.history(pattern)?;
        let taken = usize::from(take % 4).min(expected.len());
        compare_history(history.by_ref().take(taken), &expected[..taken])?;
        self.hold(Held::History(history, expected.split_off(taken)));
        Ok(())
    }

    pub(super) fn hold_changes(&mut self, bucket: u8, back: u8) -> Checked {
        let name = bucket_name(bucket);
        let (Some(oracle), Some(handle)) = (self.oracle.buckets.get(name), self.handles.get(name)) else { return Ok(()) };
        let since = back_from(oracle.last_revision, back);
        match handle.changes_since(Revision::from(since)) {
            Ok(changes) => {
                let held = Held::Changes(changes, since, Box::new(oracle.clone()));
                self.hold(held);
                Ok(())
            }
            error => oracle.compare_changes(error, since).map(|_| ()),
        }
    }

    pub(super) fn hold_snapshot(&mut self, bucket: u8) -> Checked {
        let name = bucket_name(bucket);
        let (Some(oracle), Some(handle)) = (self.oracle.buckets.get(name), self.handles.get(name)) else { return Ok(()) };
        let held = Held::Snapshot(handle.snapshot()?, Box::new(oracle.clone()));
        self.hold(held);
        Ok(())
    }

    pub(super) fn hold_store_snapshot(&mut self) -> Checked {
        let mut expected = self.oracle.buckets.clone();
        // It learns the last revision of a bucket only when it is asked for the bucket, and answers as of that one less surely.
        expected.values_mut().for_each(|bucket| bucket.gap_allowed = true);
        let held = Held::StoreSnapshot(self.store().snapshot()?, expected);
        self.hold(held);
        Ok(())
    }

    pub(super) fn range(&self, bucket: u8, (from, to): (u8, u8), shape: u8, turns: u8) -> Checked {
        let (from, to) = (bound_name(from), bound_name(to));
        let bound = |name: &'_ Option<String>, is_excluded| match name {
            Some(name) if is_excluded => Bound::Excluded(name.clone()),
            Some(name) => Bound::Included(name.clone()),
            None => Bound::Unbounded,
        };
        let (start, end) = (bound(&from, shape & 1 == 1), bound(&to, shape & 2 == 0));
        self.read(bucket, |oracle, bucket| {
            if shape & 0x18 == 0 {
                let text = from.unwrap_or_default();
                let half = &text[..text.len().div_ceil(usize::from(shape / 32) + 1)];
                return oracle.check_prefix(bucket, half, turns);
            }
            oracle.check_range(
                bucket,
                (start.as_ref().map(String::as_str), end.as_ref().map(String::as_str)),
                shape & 4 == 0,
                turns,
            )
        })
    }

    fn hold(&mut self, held: Held) {
        if self.held.len() == HELD_MAX {
            self.held.remove(0);
        }
        self.held.push(held);
    }

    pub(super) fn drain_held(&mut self) -> Checked {
        if self.held.is_empty() {
            return Ok(());
        }
        let mismatch = match self.held.remove(0) {
            Held::Keys(keys, expected) => compare_keys(keys, &expected),
            Held::History(history, expected) => compare_history(history, &expected),
            Held::Changes(changes, since, expected) => expected.compare_changes(Ok(changes), since).map(|_| ()),
            Held::Snapshot(snapshot, mut expected) => expected.check(&snapshot),
            Held::StoreSnapshot(snapshot, mut expected) => {
                let names: Vec<String> = expected.keys().cloned().collect();
                same("buckets of a snapshot", &snapshot.buckets(), &names)?;
                expected.iter_mut().try_for_each(|(name, expected)| expected.check(&snapshot.bucket(name)?))
            }
        };
        mismatch.map_err(|mismatch| mismatch.context("held"))
    }

    pub(super) fn use_dead_handle(&self, call: u8) -> Checked {
        let Some(bucket) = self.dead.get(usize::from(call) % self.dead.len().max(1)) else { return Ok(()) };
        let refusal = Refusal::of(ErrorKind::BucketNotFound);
        match call / 32 {
            0 => check_failed(refusal, bucket.put("a", "1")),
            1 => check_failed(refusal, bucket.get("a")),
            2 => check_failed(refusal, bucket.history(">")),
            3 => check_failed(refusal, bucket.keys()),
            4 => check_failed(refusal, bucket.status()),
            5 if call % 32 < 16 => check_failed(refusal, bucket.config()),
            5 => check_failed(refusal, bucket.entry_at("a", Revision::from(1))),
            6 if call % 32 < 16 => check_failed(refusal, bucket.touch("a", PutOptions::new())),
            6 => check_failed(refusal, bucket.purge_all()),
            _ if call % 32 < 8 => check_failed(refusal, bucket.purge_deletes(Duration::ZERO)),
            _ if call % 32 < 16 => check_failed(refusal, self.store().batch().put(bucket, "a", "1").commit()),
            _ if call % 32 < 24 => check_failed(refusal, bucket.delete_matching(">")),
            _ => check_failed(refusal, bucket.purge("a")),
        }
    }

    pub(super) fn status(&self, bucket: u8) -> Checked {
        let status = self.store().status()?;
        if status.poisoned || status.durable_commit > status.last_commit || status.directory != self.setup.directory {
            return Err(Mismatch(format!("status {status:?}")));
        }
        self.read(bucket, |oracle, bucket| oracle.check_counts(bucket))
    }

    pub(super) fn sync(&self) -> Checked {
        let before = self.store().status()?.last_commit;
        let durable = self.store().sync()?;
        let known = self.store().durable_commit();
        if before <= durable && durable <= known {
            return Ok(());
        }
        Err(Mismatch(format!("sync answers {durable} after commit {before}; durable_commit answers {known}")))
    }
}

fn compare_keys(found: impl Iterator<Item = Result<Key, Error>>, expected: &[String]) -> Checked {
    let found: Vec<String> = found.map(|key| Ok(key?.as_str().to_owned())).collect::<Result<_, Error>>()?;
    if found == expected { Ok(()) } else { Err(Mismatch(format!("keys are {found:?} instead of {expected:?}"))) }
}

fn compare_history(found: impl Iterator<Item = Result<Entry, Error>>, expected: &[(String, Version)]) -> Checked {
    let found = found.collect::<Result<Vec<_>, Error>>()?;
    if found.len() != expected.len() {
        return Err(Mismatch(format!("{} entries of history instead of {}", found.len(), expected.len())));
    }
    found.iter().zip(expected).try_for_each(|(entry, (key, version))| check_entry(Some(entry), key, Some(version)))
}
