//! What reads of many keys hand out: iterators over keys, entries and history, and the ranges that they are asked for.
//!
//! All of them own what they need, so they may be kept, sent to another thread and read after a close; each shows the bucket as of the
//! call that made it, whatever happens meanwhile. They read as they are iterated, yield `Result`, and end after an error.

use std::ops::{Bound, ControlFlow, Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};
use std::time::{Duration, SystemTime};

use crate::engine::{EntryScan, Item, Scan, Span};
use crate::entry::{Entry, Meta, Operation, Reason};
use crate::error::Result;
use crate::key::Key;
use crate::number::Revision;

/// Which keys [`Bucket::keys_with`](crate::Bucket::keys_with) lists.
#[derive(Clone, Debug, Default)]
pub struct KeysOptions {
    pub(crate) filters: Vec<String>,
    pub(crate) markers: bool,
}

impl KeysOptions {
    /// All keys that hold a value.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a pattern: a key is listed if any of the patterns matches it.
    #[must_use]
    pub fn filter(mut self, pattern: impl Into<String>) -> Self {
        self.filters.push(pattern.into());
        self
    }

    /// Whether to list keys whose newest entry is a marker, too.
    #[must_use]
    pub const fn markers(mut self, include: bool) -> Self {
        self.markers = include;
        self
    }
}

/// A range of keys: `"a".."m"`, `"a"..="m"`, `"a"..`, `..`, and so on, or a pair of [`Bound`]s.
///
/// The ends need not be keys that exist, nor texts that could be keys; the order is that of the bytes. A range whose end lies before its
/// start is empty.
pub trait KeyRange: sealed::Sealed {
    /// The two ends.
    #[doc(hidden)]
    fn bounds(&self) -> (Bound<&str>, Bound<&str>);
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! key_range {
    ($($range:ty, $this:ident => $start:expr, $end:expr;)+) => {$(
        impl<S: AsRef<str>> sealed::Sealed for $range {}

        impl<S: AsRef<str>> KeyRange for $range {
            fn bounds(&self) -> (Bound<&str>, Bound<&str>) {
                let $this = self;
                ($start, $end)
            }
        }
    )+};
}

key_range! {
    Range<S>, range => Bound::Included(range.start.as_ref()), Bound::Excluded(range.end.as_ref());
    RangeInclusive<S>, range => Bound::Included(range.start().as_ref()), Bound::Included(range.end().as_ref());
    RangeFrom<S>, range => Bound::Included(range.start.as_ref()), Bound::Unbounded;
    RangeTo<S>, range => Bound::Unbounded, Bound::Excluded(range.end.as_ref());
    RangeToInclusive<S>, range => Bound::Unbounded, Bound::Included(range.end.as_ref());
    (Bound<S>, Bound<S>), range => range.0.as_ref().map(AsRef::as_ref), range.1.as_ref().map(AsRef::as_ref);
}

impl sealed::Sealed for RangeFull {}

impl KeyRange for RangeFull {
    fn bounds(&self) -> (Bound<&str>, Bound<&str>) {
        (Bound::Unbounded, Bound::Unbounded)
    }
}

/// The same as bytes, from the first that is in it to the first that is not any more.
pub(crate) fn span_of(range: &impl KeyRange) -> Span {
    // Nothing stands between a text and the same with a zero byte behind it.
    let after = |text: &str| [text.as_bytes(), &[0]].concat();
    let (start, end) = range.bounds();
    let start = match start {
        Bound::Included(start) => start.as_bytes().to_vec(),
        Bound::Excluded(start) => after(start),
        Bound::Unbounded => Vec::new(),
    };
    let end = match end {
        Bound::Included(end) => Some(after(end)),
        Bound::Excluded(end) => Some(end.as_bytes().to_vec()),
        Bound::Unbounded => None,
    };
    Span { start, end }
}

/// Entries in the order of their keys, from either end; see [`Bucket::range`](crate::Bucket::range).
///
/// For each key its newest entry. As an iterator it copies each; [`visit`](Entries::visit) lends them instead, several times as fast.
///
/// ```
/// # let store = annals::Store::in_memory()?;
/// # let bucket = store.create_bucket(annals::BucketConfig::new("b"))?;
/// for key in ["a", "b", "c", "d"] {
///     bucket.put(key, key.to_uppercase())?;
/// }
/// let mut entries = bucket.range("a".."d")?;
/// assert_eq!(entries.next().unwrap()?.key().as_str(), "a");
/// assert_eq!(entries.next_back().unwrap()?.key().as_str(), "c");
/// assert_eq!(entries.next().unwrap()?.into_value(), *b"B");
/// assert!(entries.next().is_none() && entries.next_back().is_none());
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "it reads nothing before it is iterated"]
pub struct Entries {
    scan: Box<Scan>,
}

impl Entries {
    pub(crate) fn new(scan: Scan) -> Self {
        Self { scan: Box::new(scan) }
    }

    /// Whether keys whose newest entry is a marker come, too; they do not if this is not called.
    ///
    /// ```
    /// # let store = annals::Store::in_memory()?;
    /// # let bucket = store.create_bucket(annals::BucketConfig::new("b"))?;
    /// bucket.put("a", "1")?;
    /// bucket.delete("a")?;
    /// assert_eq!(bucket.range(..)?.count(), 0);
    /// assert_eq!(bucket.range(..)?.markers(true).count(), 1);
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn markers(mut self, include: bool) -> Self {
        self.scan.wanted_mut().markers = include;
        self
    }

    /// The keys of what is still to come. Values are not touched.
    ///
    /// ```
    /// # let store = annals::Store::in_memory()?;
    /// # let bucket = store.create_bucket(annals::BucketConfig::new("b"))?;
    /// bucket.put("eu.1", "...")?;
    /// bucket.put("us.1", "...")?;
    /// let keys: Vec<_> = bucket.prefix("eu.")?.keys().collect::<annals::Result<_>>()?;
    /// assert_eq!(keys, [annals::Key::new("eu.1")?]);
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn keys(self) -> Keys {
        Keys { scan: self.scan }
    }

    /// Hands each entry to `visit`, where it lies, until that breaks off; answers what it broke off with, or `None` at the end. The
    /// scan can be taken up again behind the last entry that was handed out. Allocates nothing per entry.
    ///
    /// `visit` must not write to the store in a way that waits for it.
    ///
    /// # Errors
    /// `Corrupt`, `Io`. The scan ends with it.
    ///
    /// ```
    /// # let store = annals::Store::in_memory()?;
    /// # let bucket = store.create_bucket(annals::BucketConfig::new("b"))?;
    /// use std::ops::ControlFlow;
    ///
    /// bucket.put("a", "12345")?;
    /// bucket.put("b", "123")?;
    /// let mut bytes = 0;
    /// let found = bucket.range(..)?.visit(|entry| {
    ///     bytes += entry.value().len();
    ///     if entry.key() == "b" { ControlFlow::Break(entry.revision()) } else { ControlFlow::Continue(()) }
    /// })?;
    /// assert_eq!((bytes, found.map(|revision| revision.get())), (8, Some(2)));
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn visit<B>(&mut self, mut visit: impl FnMut(EntryRef<'_>) -> ControlFlow<B>) -> Result<Option<B>> {
        while let Some(flow) = self.scan.next_with(|item| Ok(visit(EntryRef::new(&item)))) {
            if let ControlFlow::Break(value) = flow? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// [`visit`](Entries::visit) from the other end.
    ///
    /// # Errors
    /// As [`visit`](Entries::visit).
    pub fn visit_back<B>(&mut self, mut visit: impl FnMut(EntryRef<'_>) -> ControlFlow<B>) -> Result<Option<B>> {
        while let Some(flow) = self.scan.next_back_with(|item| Ok(visit(EntryRef::new(&item)))) {
            if let ControlFlow::Break(value) = flow? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

fn kept(item: Item<'_>) -> Result<Entry> {
    Ok(Entry::new(Key::new(item.key)?, item.lent.meta, item.lent.to_value()))
}

impl Iterator for Entries {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.scan.next_with(kept)
    }
}

impl DoubleEndedIterator for Entries {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.scan.next_back_with(kept)
    }
}

impl std::iter::FusedIterator for Entries {}

/// An entry where it lies, for the length of a call; see [`Entries::visit`].
#[derive(Clone, Copy, Debug)]
pub struct EntryRef<'a> {
    key: &'a str,
    meta: Meta,
    value: &'a [u8],
}

impl<'a> EntryRef<'a> {
    #[inline]
    fn new(item: &Item<'a>) -> Self {
        Self { key: item.key, meta: item.lent.meta, value: item.lent.value }
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &'a str {
        self.key
    }

    /// The value; empty for a marker.
    #[must_use]
    pub const fn value(&self) -> &'a [u8] {
        self.value
    }

    /// The number of this change in its bucket.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.meta.revision
    }

    /// What was done to the key.
    #[must_use]
    pub const fn operation(&self) -> Operation {
        self.meta.flags.operation()
    }

    /// Why it was done.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.meta.flags.reason()
    }

    /// When it was committed, by the store's clock; see [`Entry::created`].
    #[must_use]
    pub fn created(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.meta.created)
    }
}

/// Keys in byte order, from either end; see [`Bucket::keys`](crate::Bucket::keys). Owns what it needs; after an error it ends.
#[derive(Debug)]
#[must_use = "it reads nothing before it is iterated"]
pub struct Keys {
    scan: Box<Scan>,
}

impl Keys {
    pub(crate) fn new(scan: Scan) -> Self {
        Self { scan: Box::new(scan) }
    }
}

impl Iterator for Keys {
    type Item = Result<Key>;

    fn next(&mut self) -> Option<Self::Item> {
        self.scan.next_with(|item| Key::new(item.key))
    }
}

impl DoubleEndedIterator for Keys {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.scan.next_back_with(|item| Key::new(item.key))
    }
}

impl std::iter::FusedIterator for Keys {}

/// The retained entries of one key or pattern; see [`Bucket::history`](crate::Bucket::history). Owns what it needs; `len` tells how many
/// are still to come.
#[derive(Debug)]
pub struct History {
    scan: EntryScan,
}

impl History {
    pub(crate) const fn new(scan: EntryScan) -> Self {
        Self { scan }
    }
}

impl Iterator for History {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.scan.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.scan.len(), Some(self.scan.len()))
    }
}

impl ExactSizeIterator for History {}

impl std::iter::FusedIterator for History {}
