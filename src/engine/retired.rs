//! What no new reader can reach but an old one may still hold: segments, memtables and files whose time has come.
//!
//! Kept here until nobody else holds them, so that no reader ever pays for an unmap, an unlink or the freeing of a memtable. A file goes
//! only after the manifest that no longer names it is durable (P6); one that cannot be removed is tried again, and found by the next
//! open if it stays.

use std::path::PathBuf;
use std::sync::Arc;

use crate::env::Fs;
use crate::memtable::Memtable;
use crate::segment::Segment;

/// One per store.
#[derive(Debug, Default)]
pub(super) struct Retired {
    segments: Vec<Arc<Segment>>,
    memtables: Vec<Arc<Memtable>>,
    files: Vec<PathBuf>,
}

impl Retired {
    pub(super) fn segment(&mut self, segment: Arc<Segment>) {
        self.segments.push(segment);
    }

    pub(super) fn memtable(&mut self, memtable: Arc<Memtable>) {
        self.memtables.push(memtable);
    }

    pub(super) fn file(&mut self, path: PathBuf) {
        self.files.push(path);
    }

    /// What is still held, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        let segments = self.segments.iter().map(|segment| segment.len());
        segments.chain(self.memtables.iter().map(|memtable| memtable.bytes())).sum()
    }

    /// Lets go of what nobody holds any more; answers whether there was anything.
    pub(super) fn reap(&mut self, fs: &dyn Fs) -> bool {
        let before = self.segments.len() + self.memtables.len() + self.files.len();
        self.memtables.retain(|memtable| Arc::strong_count(memtable) > 1);
        let (held, free): (Vec<_>, Vec<_>) = self.segments.drain(..).partition(|segment| Arc::strong_count(segment) > 1);
        self.segments = held;
        self.files.extend(free.iter().map(|segment| segment.path().to_owned()));
        drop(free);
        self.files.retain(|path| fs.remove(path).is_err_and(|error| error.kind() != std::io::ErrorKind::NotFound));
        self.segments.len() + self.memtables.len() + self.files.len() < before
    }
}
