//! Going on where somebody was: positions in a bucket, and the verdicts on them as errors.

use std::sync::Arc;

use super::Moment;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::BucketState;
use crate::number::{CommitNumber, Revision};
use crate::resume::{Position, Refusal, Resumption};

/// What a position in a bucket is told by; the same as long as the store is open.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    state: Arc<BucketState>,
    incarnation: u64,
}

impl Origin {
    /// The position of whoever has seen everything up to `revision`, and no purge of the whole bucket after the commit `purged`.
    pub(crate) fn position(&self, purged: CommitNumber, revision: Revision) -> Position {
        Position::new(&self.state, self.incarnation, purged, revision)
    }

    /// The bucket's last revision when the store was opened; everything up to there is durable.
    pub(crate) fn start(&self) -> Revision {
        self.state.start
    }
}

impl Moment {
    pub(crate) fn origin(&self) -> Origin {
        Origin { state: Arc::clone(&self.state), incarnation: self.view.incarnation }
    }

    /// How whoever has seen everything up to `revision`, and the purges of the whole bucket up to the commit `purged`, goes on in the same
    /// life of the store.
    pub(crate) fn resumption(&self, purged: CommitNumber, revision: Revision) -> Resumption {
        Resumption::new(&self.state, purged, revision)
    }

    /// How whoever was there goes on.
    ///
    /// # Errors
    /// `BucketNotFound` for a position in another bucket, `Diverged`, `Compacted`.
    pub(crate) fn resume(&self, position: &Position) -> Result<Resumption> {
        let resumption = position.resume(&self.state, self.view.incarnation, self.last_revision);
        resumption.map_err(|refusal| match refusal {
            Refusal::Compacted(floor) => {
                self.floor_from(floor).map_or_else(|error| error, |floor| refused(position, Refusal::Compacted(floor)))
            }
            refusal => refused(position, refusal),
        })
    }
}

#[cold]
fn refused(position: &Position, refusal: Refusal) -> Error {
    let seen = position.revision;
    match refusal {
        Refusal::OtherBucket => Error::new(
            ErrorKind::BucketNotFound,
            "the token is of another bucket, or of one of this name that was deleted; watch this one from the beginning",
        ),
        Refusal::Diverged => Error::new(
            ErrorKind::Diverged,
            format!(
                "the token has seen revision {seen} of a past that this store does not have: a crash took it back, or a copy was put in \
                 its place; watch from the beginning, and forget what was seen"
            ),
        ),
        Refusal::Compacted(floor) => Error::new(
            ErrorKind::Compacted,
            format!(
                "what changed after revision {seen} is not known any more, up to revision {floor}; watch from the beginning, and forget what \
                 is not told again"
            ),
        )
        .with_floor(floor),
    }
}
