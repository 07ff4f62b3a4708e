//! The engine: parts, threads, locks. (Stub of the interface while the parts are written.)
#![allow(unused, missing_debug_implementations, reason = "stub")]

use std::path::Path;
use std::sync::Arc;

use crate::durability::Durability;
use crate::entry::{Entry, Operation};
use crate::env::Env;
use crate::error::Result;
use crate::key::Key;
use crate::number::{BucketId, CommitNumber, Revision};
use crate::spec::BucketSpec;
use crate::report::{RecoveryReport, StoreStatus, VerifyReport};
use crate::subject::Pattern;

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) durability: Durability,
    pub(crate) memory_budget: u64,
    pub(crate) value_len_max: u64,
    pub(crate) create_if_missing: bool,
    pub(crate) strict: bool,
    pub(crate) threads: bool,
    pub(crate) log_file_len: u64,
    pub(crate) memtable_len: u64,
    pub(crate) block_len: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            durability: Durability::Sync,
            memory_budget: 256 << 20,
            value_len_max: 16 << 20,
            create_if_missing: true,
            strict: false,
            threads: true,
            log_file_len: 64 << 20,
            memtable_len: 64 << 20,
            block_len: 8 << 10,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    None,
    NoValue,
    Revision(Revision),
}

impl Condition {
    pub(crate) fn expecting(revision: Revision) -> Self {
        if revision == Revision::NONE { Self::None } else { Self::Revision(revision) }
    }
}

pub(crate) struct Counts {
    pub(crate) spec: BucketSpec,
    pub(crate) last_revision: Revision,
    pub(crate) live_keys: u64,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

#[derive(Debug)]
pub(crate) struct EntryScan;
impl EntryScan {
    pub(crate) fn next(&mut self) -> Option<Result<Entry>> {
        todo!()
    }
    pub(crate) fn len(&self) -> usize {
        todo!()
    }
}
#[derive(Debug)]
pub(crate) struct KeyScan;
impl KeyScan {
    pub(crate) fn next(&mut self) -> Option<Result<Key>> {
        todo!()
    }
}

#[derive(Debug)]
pub(crate) struct Engine;

impl Engine {
    pub(crate) fn open(env: Env, directory: &Path, settings: Settings) -> Result<Arc<Self>> {
        todo!()
    }
    pub(crate) fn create_bucket(&self, spec: BucketSpec) -> Result<BucketId> {
        todo!()
    }
    pub(crate) fn find_bucket(&self, name: &str) -> Result<BucketId> {
        todo!()
    }
    pub(crate) fn bucket_names(&self) -> Result<Vec<String>> {
        todo!()
    }
    pub(crate) fn delete_bucket(&self, name: &str) -> Result<()> {
        todo!()
    }
    pub(crate) fn bucket_spec(&self, id: BucketId) -> Result<BucketSpec> {
        todo!()
    }
    pub(crate) fn count(&self, id: BucketId) -> Result<Counts> {
        todo!()
    }
    pub(crate) fn write(
        &self,
        id: BucketId,
        key: &[u8],
        operation: Operation,
        value: &[u8],
        condition: Condition,
    ) -> Result<Revision> {
        todo!()
    }
    pub(crate) fn get_with<T>(&self, id: BucketId, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        todo!()
    }
    pub(crate) fn entry(&self, id: BucketId, key: &[u8]) -> Result<Option<Entry>> {
        todo!()
    }
    pub(crate) fn entry_at(&self, id: BucketId, key: &[u8], revision: Revision) -> Result<Option<Entry>> {
        todo!()
    }
    pub(crate) fn history(&self, id: BucketId, pattern: &Pattern) -> Result<EntryScan> {
        todo!()
    }
    pub(crate) fn keys(&self, id: BucketId, filters: Vec<Pattern>, markers: bool) -> Result<KeyScan> {
        todo!()
    }
    pub(crate) fn sync(&self) -> Result<CommitNumber> {
        todo!()
    }
    pub(crate) fn durable_commit(&self) -> CommitNumber {
        todo!()
    }
    pub(crate) fn status(&self) -> Result<StoreStatus> {
        todo!()
    }
    pub(crate) fn recovery(&self) -> &RecoveryReport {
        todo!()
    }
    pub(crate) fn verify(&self, progress: &mut dyn FnMut(&VerifyReport)) -> Result<VerifyReport> {
        todo!()
    }
    pub(crate) fn close(&self) -> Result<()> {
        todo!()
    }
    pub(crate) fn step(&self) -> Result<bool> {
        todo!()
    }
    pub(crate) fn flush(&self) -> Result<()> {
        todo!()
    }
    pub(crate) fn merge_all(&self) -> Result<()> {
        todo!()
    }
}
