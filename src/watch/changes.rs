//! The changes of a bucket after a revision, as far as they are retained.

use crate::engine::ChangeScan;
use crate::error::Result;
use crate::number::Revision;
use crate::watch::Event;

/// What changed in a bucket, in the order of revisions; see [`Bucket::changes_since`](crate::Bucket::changes_since).
///
/// Shows the moment at which it was asked for, from beginning to end, whatever is written meanwhile; so until it is dropped it pins that, memory
/// and files (a [`Watch`](crate::Watch) does not). Reads as it is iterated, and keeps one entry in memory, however many there are. After an error
/// it ends.
#[derive(Debug)]
#[must_use = "it reads nothing before it is iterated"]
pub struct Changes {
    scan: Box<ChangeScan>,
    purged: Option<Revision>,
    ended: bool,
}

impl Changes {
    pub(crate) fn new(scan: ChangeScan) -> Self {
        Self { purged: scan.purged(), scan: Box::new(scan), ended: false }
    }
}

impl Iterator for Changes {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if let Some(through) = self.purged.take() {
            return Some(Ok(Event::Purged { through }));
        }
        let found = self.scan.next().transpose().map(|found| found.map(|delivery| Event::Entry(delivery.entry)));
        self.ended = !matches!(found, Some(Ok(_)));
        found
    }
}

impl std::iter::FusedIterator for Changes {}
