//! A sorted run: parts of segment files, one after the other in the order of bucket and key, none overlapping another.
//!
//! A run is what a flush or merge wrote, minus what later merges have taken out of it: of each file only the *live range* counts. Files
//! are not changed by that; the manifest says what is live, and a file goes when nothing of it is. For one key, everything in an earlier
//! run of a view is newer than everything in a later one.
//!
//! Used by `merge` and `view`. Decides nothing about entries and opens no files.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::Result;
use crate::manifest::{Bound, LiveRange, PartRef};
use crate::number::BucketId;
use crate::segment::{self, Segment};

/// The live range of one segment file.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) segment: Arc<Segment>,
    pub(crate) live: LiveRange,
}

/// Parts in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    parts: Vec<Part>,
    /// What each part ends at or before, in short: a point read finds its part among numbers that lie together.
    ends: Vec<Short>,
}

/// A bucket, and the first eight bytes of a key. Of two keys with different ones the order is that of these.
type Short = (BucketId, u64);

fn short((bucket, key): (BucketId, &[u8])) -> Short {
    let head = key.first_chunk().copied().unwrap_or_else(|| {
        let mut head = [0; 8];
        head[..key.len()].copy_from_slice(key);
        head
    });
    (bucket, u64::from_be_bytes(head))
}

impl Run {
    /// Of parts that ascend and do not overlap.
    pub(crate) fn new(parts: Vec<Part>) -> Self {
        let run = Self::unchecked(parts);
        debug_assert!(run.is_sound(), "parts out of order: {:?}", run.refs());
        run
    }

    /// As a manifest that was read says, which may be wrong: to be checked with [`Run::is_sound`].
    pub(crate) fn unchecked(parts: Vec<Part>) -> Self {
        let end = |part: &Part| match part.last() {
            End::At(end) | End::Before(end) => short(end),
        };
        let ends = parts.iter().map(end).collect();
        Self { parts, ends }
    }

    /// Of whole files, which ascend.
    pub(crate) fn of_files(segments: impl IntoIterator<Item = Arc<Segment>>) -> Self {
        Self::new(segments.into_iter().map(Part::of).collect())
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Bytes of the files that it is made of, dead parts included.
    pub(crate) fn len(&self) -> u64 {
        let mut seen = BTreeSet::new();
        let files = self.parts.iter().map(|part| &part.segment).filter(|segment| seen.insert(segment.number()));
        files.map(|segment| segment.len()).sum()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// What of it lies in `range`.
    pub(crate) fn cut(&self, range: &LiveRange) -> Self {
        Self::new(self.parts.iter().filter_map(|part| part.cut(range)).collect())
    }

    /// It with `parts`, which ascend, in place of what it has in `range`.
    pub(crate) fn replace(&self, range: &LiveRange, parts: &[Part]) -> Self {
        let (mut before, mut behind) = (Vec::new(), Vec::new());
        for part in &self.parts {
            let (left, right) = part.live.around(range);
            before.extend(left.and_then(|live| part.cut(&live)));
            behind.extend(right.and_then(|live| part.cut(&live)));
        }
        before.extend_from_slice(parts);
        before.append(&mut behind);
        Self::new(before)
    }

    /// How the manifest names it.
    pub(crate) fn refs(&self) -> Vec<PartRef> {
        self.parts.iter().map(|part| PartRef { number: part.segment.number(), live: part.live.clone() }).collect()
    }

    /// Whether its parts have something in them and stand in order, none over another: what a manifest must have got right.
    pub(crate) fn is_sound(&self) -> bool {
        let ends_before = |pair: &[Part]| match (pair[0].last(), pair[1].first()) {
            (End::At(last), first) => last < first,
            (End::Before(to), first) => to <= first,
        };
        let has_something = |part: &Part| match part.last() {
            End::At(last) => part.first() <= last,
            End::Before(to) => part.first() < to,
        };
        self.parts.iter().all(has_something) && self.parts.windows(2).all(ends_before)
    }

    /// The one segment that can hold the key.
    pub(crate) fn find(&self, bucket: BucketId, key: &[u8]) -> Option<&Segment> {
        let index = self.first_at(bucket, key);
        let part = self.parts.get(index)?;
        part.live.holds(bucket, key).then_some(&*part.segment)
    }

    /// The first part that has not ended before the key.
    fn first_at(&self, bucket: BucketId, key: &[u8]) -> usize {
        // Almost every run of a small store is one file.
        if self.parts.len() == 1 {
            return 0;
        }
        let key_short = short((bucket, key));
        let below = self.ends.partition_point(|end| *end < key_short);
        let same = self.ends[below..].partition_point(|end| *end == key_short);
        below + self.parts[below..below + same].partition_point(|part| part.ends_before(bucket, key))
    }
}

/// Where something ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End<'a> {
    /// With this.
    At((BucketId, &'a [u8])),
    /// Somewhere before this.
    Before((BucketId, &'a [u8])),
}

impl Part {
    /// All of a file.
    pub(crate) const fn of(segment: Arc<Segment>) -> Self {
        Self { segment, live: LiveRange::ALL }
    }

    /// What of it lies in `range`; `None` if that is nothing, as far as the ends of the file tell.
    pub(crate) fn cut(&self, range: &LiveRange) -> Option<Self> {
        let live = self.live.overlap(range)?;
        let sections = self.segment.sections();
        let (first, last) = (sections.first()?, sections.last()?);
        let (first, last) = ((first.bucket, &*first.first_key), (last.bucket, &*last.last_key));
        if live.from().is_some_and(|from| last < from) || live.to().is_some_and(|to| to <= first) {
            return None;
        }
        // Ends that cut nothing off are not kept: who sees none knows that the whole file counts.
        let owned = |(bucket, key): (BucketId, &[u8])| -> Bound { (bucket, key.into()) };
        let from = live.from().filter(|from| first < *from).map(owned);
        let to = live.to().filter(|to| *to <= last).map(owned);
        Some(Self { segment: Arc::clone(&self.segment), live: LiveRange::new(from, to) })
    }

    /// Nothing of it is before this.
    pub(crate) fn first(&self) -> (BucketId, &[u8]) {
        let first = self.segment.sections().first().map_or((BucketId(0), &[][..]), |first| (first.bucket, &first.first_key));
        self.live.from().map_or(first, |from| from.max(first))
    }

    /// Nothing of it is behind this.
    pub(crate) fn last(&self) -> End<'_> {
        let last = self.segment.sections().last().map_or((BucketId(0), &[][..]), |last| (last.bucket, &last.last_key));
        match self.live.to() {
            Some(to) if to <= last => End::Before(to),
            _ => End::At(last),
        }
    }

    fn ends_before(&self, bucket: BucketId, key: &[u8]) -> bool {
        let last = self.segment.sections().last();
        self.live.ends_before(bucket, key) || last.is_some_and(|last| (last.bucket, &*last.last_key) < (bucket, key))
    }

    fn starts_after(&self, bucket: BucketId, key: Option<&[u8]>) -> bool {
        let first = self.segment.sections().first();
        let below = |first: (BucketId, &[u8])| match key {
            Some(key) => first >= (bucket, key),
            None => first.0 > bucket,
        };
        first.is_some_and(|first| below((first.bucket, &first.first_key))) || self.live.from().is_some_and(below)
    }
}

/// A position among the live entries of one bucket in a run. Owns what it needs.
#[derive(Debug)]
pub(crate) struct Cursor {
    run: Arc<Run>,
    bucket: BucketId,
    /// Which part `inner` walks.
    at: usize,
    inner: Option<segment::Cursor>,
    /// Whether the part that `inner` walks ends, to either side, among the entries of the bucket.
    is_cut: bool,
}

impl Cursor {
    /// Positioned nowhere.
    pub(crate) const fn new(run: Arc<Run>, bucket: BucketId) -> Self {
        Self { run, bucket, at: 0, inner: None, is_cut: false }
    }

    /// To the first entry whose key is at or above `key`.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.inner = None;
        self.enter_forward(self.run.first_at(self.bucket, key), key)
    }

    /// To the last entry whose key is below `key`, or to the last of all.
    pub(crate) fn seek_before(&mut self, key: Option<&[u8]>) -> Result<()> {
        self.inner = None;
        let after = self.run.parts.partition_point(|part| !part.starts_after(self.bucket, key));
        self.enter_backward(after, key)
    }

    /// To the next entry, which may be an older one of the same key.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<()> {
        let Some(inner) = &mut self.inner else { return Ok(()) };
        inner.next()?;
        if self.key().is_some() {
            return Ok(());
        }
        self.inner = None;
        self.enter_forward(self.at + 1, &[])
    }

    /// To the entry before, which may be a newer one of the same key.
    pub(crate) fn prev(&mut self) -> Result<()> {
        let Some(inner) = &mut self.inner else { return Ok(()) };
        inner.prev()?;
        if self.key().is_some() {
            return Ok(());
        }
        self.inner = None;
        self.enter_backward(self.at, None)
    }

    /// Where it stands, or `None` past either end.
    #[inline]
    pub(crate) fn entry(&self) -> Option<segment::CursorEntry<'_>> {
        self.key()?;
        self.inner.as_ref()?.entry()
    }

    /// The key of the entry where it stands.
    #[inline]
    pub(crate) fn key(&self) -> Option<&[u8]> {
        let key = self.inner.as_ref()?.key()?;
        (!self.is_cut || self.run.parts.get(self.at)?.live.holds(self.bucket, key)).then_some(key)
    }

    /// Into the first part from `index` on that has an entry at or above `key`.
    fn enter_forward(&mut self, index: usize, key: &[u8]) -> Result<()> {
        for at in index..self.run.parts.len() {
            let part = &self.run.parts[at];
            if part.segment.sections().first().is_some_and(|first| first.bucket > self.bucket) {
                break;
            }
            let from = part.live.from().filter(|from| *from > (self.bucket, key));
            let mut cursor = segment::Cursor::new(Arc::clone(&part.segment), self.bucket);
            match from {
                Some((bucket, _)) if bucket > self.bucket => break,
                Some((_, from)) => cursor.seek(from)?,
                None => cursor.seek(key)?,
            }
            self.stand_in(at, cursor);
            if self.key().is_some() {
                return Ok(());
            }
        }
        self.inner = None;
        Ok(())
    }

    fn stand_in(&mut self, at: usize, cursor: segment::Cursor) {
        let live = &self.run.parts[at].live;
        // An end in another bucket can lie before or behind all of this one.
        self.is_cut = live.from().is_some_and(|from| self.bucket <= from.0) || live.to().is_some_and(|to| to.0 <= self.bucket);
        (self.at, self.inner) = (at, Some(cursor));
    }

    /// Into the last part before `end` that has an entry below `key`.
    fn enter_backward(&mut self, end: usize, key: Option<&[u8]>) -> Result<()> {
        for at in (0..end).rev() {
            let part = &self.run.parts[at];
            if part.segment.sections().last().is_some_and(|last| last.bucket < self.bucket) {
                break;
            }
            let mut cursor = segment::Cursor::new(Arc::clone(&part.segment), self.bucket);
            let to = part.live.to().filter(|to| to.0 <= self.bucket);
            match (to, key) {
                (Some((bucket, _)), _) if bucket < self.bucket => break,
                (Some((_, to)), Some(key)) => cursor.seek_before(Some(key.min(to)))?,
                (Some((_, to)), None) => cursor.seek_before(Some(to))?,
                (None, key) => cursor.seek_before(key)?,
            }
            self.stand_in(at, cursor);
            if self.key().is_some() {
                return Ok(());
            }
        }
        self.inner = None;
        Ok(())
    }
}
