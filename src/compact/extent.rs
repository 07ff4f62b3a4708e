//! What picking sees of a run: how many bytes lie where, and how much of that is dead.

use crate::error::Result;
use crate::manifest::{Bound, LiveRange};
use crate::number::FileNumber;
use crate::run::{End, Part, Run};

/// Into how many pieces a file of full length is cut for the eye.
const PIECES: u64 = 8;

/// A part of a run, from where its first piece begins to `to`.
#[derive(Clone, Debug)]
pub(crate) struct Extent {
    pub(crate) number: FileNumber,
    /// The whole file.
    pub(crate) file_len: u64,
    /// Where pieces begin, ascending, and about how many live bytes they have; at least one.
    pub(crate) pieces: Vec<(Bound, u64)>,
    /// Nothing of it is at or above this.
    pub(crate) to: Bound,
    /// About how many of its live bytes a merge would leave behind, even without anything newer.
    pub(crate) garbage: u64,
    /// Nothing in it counts any more: it may go unread.
    pub(crate) is_dead: bool,
}

impl Extent {
    /// The extents of a run's parts, whose files are meant to be `segment_len` long, in pieces of an eighth of that. What is dead is for others
    /// to find out. Reads the fences of all files.
    pub(crate) fn of(run: &Run, segment_len: u64) -> Result<Vec<Self>> {
        let step = (segment_len / PIECES).max(1);
        run.parts().iter().map(|part| Self::of_part(part, step)).collect()
    }

    /// The same in one piece each: enough to know whether something is to be done. Reads the fences of files that count in part.
    pub(crate) fn rough(run: &Run) -> Result<Vec<Self>> {
        run.parts().iter().map(|part| Self::of_part(part, u64::MAX)).collect()
    }

    fn of_part(part: &Part, step: u64) -> Result<Self> {
        let segment = &part.segment;
        let owned = |(bucket, key): (crate::number::BucketId, &[u8])| -> Bound { (bucket, key.into()) };
        let to = match part.last() {
            // The least key above it.
            End::At((bucket, key)) => (bucket, [key, &[0]].concat().into()),
            End::Before(to) => owned(to),
        };
        let start = if part.live.from().is_some() { offset_of(part, part.first())? } else { 0 };
        let end = if part.live.to().is_some() { segment.offset_of(to.0, &to.1)? } else { segment.len() };
        let mut pieces = vec![(owned(part.first()), 0)];
        // Every byte is counted once, in one piece or its neighbour: what seems to be missing would be taken for dead.
        let (mut counted, mut probe) = (start, start);
        while probe.saturating_add(step) < end {
            probe += step;
            let Some(bound) = segment.key_at(probe)? else { break };
            if bound >= to {
                break;
            }
            if pieces.last().is_some_and(|last| last.0 < bound) {
                let at = segment.offset_of(bound.0, &bound.1)?.clamp(counted, end);
                last(&mut pieces).1 += at - counted;
                pieces.push((bound, 0));
                counted = at;
            }
        }
        last(&mut pieces).1 += end.saturating_sub(counted);
        Ok(Self { number: segment.number(), file_len: segment.len(), pieces, to, garbage: 0, is_dead: false })
    }

    pub(crate) fn from(&self) -> &Bound {
        &self.pieces[0].0
    }

    /// Live bytes, about.
    pub(crate) fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.1).sum()
    }

    /// Live bytes in a range, about: pieces that lie in it in part count as a whole.
    pub(crate) fn bytes_in(&self, range: &LiveRange) -> u64 {
        let ends = self.pieces.iter().skip(1).map(|piece| &piece.0).chain([&self.to]);
        let overlaps = |from: &Bound, to: &Bound| {
            range.from().is_none_or(|start| start < (to.0, &to.1)) && range.to().is_none_or(|end| (from.0, &*from.1) < end)
        };
        self.pieces.iter().zip(ends).filter(|((from, _), to)| overlaps(from, to)).map(|((_, bytes), _)| bytes).sum()
    }

    /// Whether a key can be in both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        *self.from() < other.to && *other.from() < self.to
    }
}

fn offset_of(part: &Part, place: (crate::number::BucketId, &[u8])) -> Result<u64> {
    part.segment.offset_of(place.0, place.1)
}

fn last(pieces: &mut [(Bound, u64)]) -> &mut (Bound, u64) {
    pieces.last_mut().expect("there is one from the start")
}
