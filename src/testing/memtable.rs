//! A memtable by itself, for benchmarks: one bucket, commits that count up, each published at once.

use std::hint::black_box;
use std::sync::Arc;

use crate::entry::{Flags, Meta};
use crate::hash::KeyHasher;
use crate::memtable::{Cursor, Memtable};
use crate::number::{BucketId, CommitNumber, Revision};

const BUCKET: BucketId = BucketId(1);
const HASHER: KeyHasher = KeyHasher::new(7);

/// One generation of entries in memory, with its writer.
#[derive(Debug)]
pub struct Generation {
    memtable: Arc<Memtable>,
    last: u64,
}

impl Generation {
    /// An empty one that is meant for so many bytes.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        Self { memtable: Arc::new(Memtable::new(CommitNumber(1), CommitNumber(0), capacity)), last: 0 }
    }

    /// The one after this one, empty; it keeps order from the start if this one was walked through.
    #[must_use]
    pub fn successor(&self) -> Self {
        Self { memtable: Arc::new(self.memtable.successor(CommitNumber(self.last + 1))), last: self.last }
    }

    /// Inserts and publishes; hashes the key, as a caller of the engine does.
    pub fn insert(&mut self, key: &[u8], value: &[u8]) {
        self.last += 1;
        let (commit, revision) = (CommitNumber(self.last), Revision(self.last));
        let meta = Meta { revision, flags: Flags::put(), created: self.last, deadline: 0, origin: Revision::NONE };
        self.memtable.insert(BUCKET, key, HASHER.hash(BUCKET, key), commit, meta, value);
        self.memtable.publish(commit);
    }

    /// The length of the key's newest value; its first byte and its revision are read.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<usize> {
        self.memtable.with_newest(BUCKET, key, HASHER.hash(BUCKET, key), self.memtable.visible(), |found| {
            black_box((found.meta.revision, found.value.first()));
            found.value.len()
        })
    }

    /// Walks over at most `count` entries from `key` on, reading the beginning of each; answers how many there were.
    #[must_use]
    pub fn scan(&self, key: &[u8], count: usize) -> usize {
        let mut cursor = Cursor::new(Arc::clone(&self.memtable), BUCKET, self.memtable.visible());
        cursor.seek(key);
        for walked in 0..count {
            let Some(entry) = cursor.entry() else { return walked };
            black_box((entry.key.first(), entry.meta.revision, entry.value.first()));
            cursor.next();
        }
        count
    }

    /// Memory that it says it takes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.memtable.bytes()
    }
}
