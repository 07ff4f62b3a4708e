//! One recorded change of one key: its fields, in memory; every format stores these and nothing else of it.
//!
//! Used by every floor above. [`Meta`] is what is decided on (retention, conditions, reads); [`Entry`] is what a user holds.
//! Bits that no version has given a meaning are refused when read, so a later version may use them.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::key::Key;
use crate::number::Revision;

/// What an entry did to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Gave the key a value.
    Put,
    /// Left a marker that hides the value and keeps the history.
    Delete,
    /// Left a marker that removes the whole history before it.
    Purge,
}

/// Why an entry was written, where it was not plainly asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Reason {
    /// A call of the program.
    #[default]
    Written,
    /// The same value with a new time to live.
    Touched,
    /// The key's time ran out.
    Expired,
}

/// The bits of an entry, as every format stores them. See the constants for their meaning.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Flags(u16);

impl Flags {
    /// Bits 0-1: 0 put, 1 delete, 2 purge, 3 dropped.
    const OPERATION: u16 = 0b11;
    const DELETE: u16 = 1;
    const PURGE: u16 = 2;
    /// An entry that `purge_deletes` commits (E7): hides what is below its revision, has no value, no event, no revision of its own.
    const DROPPED: u16 = 3;
    /// Bits 2-5: the reason; 0 written, 1 touched, 2 expired; others are refused.
    const REASON_SHIFT: u16 = 2;
    const REASON: u16 = 0b11_11 << Self::REASON_SHIFT;
    /// Nothing older of this key counts (E6). On a dropped entry: the marker at its own revision goes too.
    pub(crate) const ROLLUP: u16 = 1 << 6;
    /// Something older of this key was removed by retention (E5).
    pub(crate) const TRIMMED: u16 = 1 << 7;
    /// The value is gone; only the position is left (E5).
    pub(crate) const STUB: u16 = 1 << 8;
    /// The bucket's next revision belongs to the same batch (E12).
    pub(crate) const CONTINUES: u16 = 1 << 9;
    const KNOWN: u16 = (1 << 10) - 1;

    pub(crate) const fn put() -> Self {
        Self(0)
    }

    pub(crate) const fn delete() -> Self {
        Self(Self::DELETE)
    }

    pub(crate) const fn purge() -> Self {
        Self(Self::PURGE)
    }

    pub(crate) const fn dropped() -> Self {
        Self(Self::DROPPED)
    }

    #[must_use]
    pub(crate) const fn with(self, bits: u16) -> Self {
        Self(self.0 | bits)
    }

    #[must_use]
    pub(crate) const fn with_reason(self, reason: Reason) -> Self {
        let code = match reason {
            Reason::Written => 0,
            Reason::Touched => 1,
            Reason::Expired => 2,
        };
        Self((self.0 & !Self::REASON) | (code << Self::REASON_SHIFT))
    }

    /// The flags that these bits stand for, unless a bit or reason is set that this version does not know.
    pub(crate) const fn from_bits(bits: u64) -> Option<Self> {
        let known = bits & (Self::KNOWN as u64) == bits;
        let reason = (bits as u16 & Self::REASON) >> Self::REASON_SHIFT;
        if known && reason <= 2 { Some(Self(bits as u16)) } else { None }
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0 as u64
    }

    pub(crate) const fn has(self, bits: u16) -> bool {
        self.0 & bits == bits
    }

    pub(crate) const fn is_put(self) -> bool {
        self.0 & Self::OPERATION == 0
    }

    pub(crate) const fn is_purge(self) -> bool {
        self.0 & Self::OPERATION == Self::PURGE
    }

    pub(crate) const fn is_dropped(self) -> bool {
        self.0 & Self::OPERATION == Self::DROPPED
    }

    /// A dropped entry that takes its marker, too.
    pub(crate) const fn drops_newest(self) -> bool {
        self.is_dropped() && self.has(Self::ROLLUP)
    }

    /// Nothing older of this key counts from here on.
    pub(crate) const fn ends_life(self) -> bool {
        !self.is_dropped() && (self.is_purge() || self.has(Self::ROLLUP))
    }

    /// Whether the bucket's next revision belongs to the same batch.
    pub(crate) const fn continues(self) -> bool {
        self.has(Self::CONTINUES)
    }

    /// Operation and reason alone.
    const fn shown(self) -> Self {
        Self(self.0 & (Self::OPERATION | Self::REASON))
    }

    /// What the entry did, as a user sees it; a dropped entry is never shown and answers `Delete`.
    pub(crate) const fn operation(self) -> Operation {
        match self.0 & Self::OPERATION {
            0 => Operation::Put,
            Self::PURGE => Operation::Purge,
            _ => Operation::Delete,
        }
    }

    pub(crate) const fn reason(self) -> Reason {
        match (self.0 & Self::REASON) >> Self::REASON_SHIFT {
            1 => Reason::Touched,
            2 => Reason::Expired,
            _ => Reason::Written,
        }
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", if self.is_dropped() { None } else { Some(self.operation()) })?;
        if self.reason() != Reason::Written {
            write!(formatter, "({:?})", self.reason())?;
        }
        for (bit, name) in
            [(Self::ROLLUP, "rollup"), (Self::TRIMMED, "trimmed"), (Self::STUB, "stub"), (Self::CONTINUES, "continues")]
        {
            if self.has(bit) {
                write!(formatter, "+{name}")?;
            }
        }
        Ok(())
    }
}

/// Everything of an entry but its key and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Meta {
    pub(crate) revision: Revision,
    pub(crate) flags: Flags,
    /// Store time of its commit, nanoseconds since 1970 UTC; never decreases along a bucket's revisions.
    pub(crate) created: u64,
    /// Store time from which on it is expired, by its own time to live; 0 = none. A bucket's `max_age` is not folded in.
    pub(crate) deadline: u64,
    /// The revision it had in the bucket that it was copied from; 0 = written here. Room for mirrors: nothing sets it yet.
    pub(crate) origin: Revision,
}

/// The bytes of a value. Derefs to `[u8]`; cheap to clone and to hold.
///
/// Small values own their bytes; large ones share the memory or the mapped file that they were read from, which stays until the last
/// holder is gone.
///
/// ```
/// # let store = annals::Store::in_memory()?;
/// # let bucket = store.create_bucket(annals::BucketConfig::new("b"))?;
/// bucket.put("greeting", "hello")?;
/// let value = bucket.get("greeting")?.expect("it was just put");
/// assert_eq!(value, *b"hello");
/// assert_eq!(value.len(), 5);
/// # Ok::<(), annals::Error>(())
/// ```
///
/// What was read cannot be changed.
///
/// ```compile_fail,E0594
/// # let store = annals::Store::in_memory()?;
/// # let bucket = store.create_bucket(annals::BucketConfig::new("b"))?;
/// # bucket.put("greeting", "hello")?;
/// let mut value = bucket.get("greeting")?.expect("it was just put");
/// value[0] = b'j';
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone)]
pub struct Value(Repr);

/// Memory that outlives its readers by being shared.
pub(crate) type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

#[derive(Clone)]
enum Repr {
    Owned(Arc<[u8]>),
    Pinned { owner: SharedBytes, start: usize, len: usize },
}

/// Values up to this length are copied out of a mapped file or a memtable: cheaper than a shared count, and it pins nothing.
pub(crate) const COPIED_VALUE_LEN_MAX: usize = 1024;

impl Value {
    /// A value of its own.
    pub(crate) fn copy_of(bytes: &[u8]) -> Self {
        Self(Repr::Owned(bytes.into()))
    }

    /// The same bytes as others hold.
    pub(crate) fn shared(bytes: &Arc<[u8]>) -> Self {
        Self(Repr::Owned(Arc::clone(bytes)))
    }

    /// `len` bytes from `start` of `owner`, copied if small, shared if large. The range must lie inside `owner`.
    pub(crate) fn pinned(owner: &SharedBytes, start: usize, len: usize) -> Self {
        if len <= COPIED_VALUE_LEN_MAX {
            let bytes = (**owner).as_ref();
            return Self::copy_of(bytes.get(start..start.saturating_add(len)).unwrap_or_default());
        }
        Self(Repr::Pinned { owner: Arc::clone(owner), start, len })
    }

    pub(crate) fn empty() -> Self {
        Self::copy_of(&[])
    }

    /// Lets go of what it shares with others.
    fn detach(&mut self) {
        if let Repr::Pinned { .. } = self.0 {
            *self = Self::copy_of(self);
        }
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Owned(bytes) => bytes,
            Repr::Pinned { owner, start, len } => (**owner).as_ref().get(*start..start.saturating_add(*len)).unwrap_or_default(),
        }
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Value(b\"{}\")", self.escape_ascii())
    }
}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Value {
    fn eq(&self, other: &T) -> bool {
        **self == *other.as_ref()
    }
}

impl Eq for Value {}

/// One recorded change of a key, as history and reads show it.
///
/// ```
/// use annals::{BucketConfig, Operation, Store};
/// let store = Store::in_memory()?;
/// let bucket = store.create_bucket(BucketConfig::new("jobs").history(5))?;
/// bucket.put("nightly", "queued")?;
/// bucket.delete("nightly")?;
/// let entry = bucket.entry("nightly")?.expect("the marker is there");
/// assert_eq!((entry.operation(), entry.revision().get()), (Operation::Delete, 2));
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Entry {
    key: Key,
    meta: Meta,
    value: Value,
    value_len: usize,
    previous: Option<Revision>,
}

impl Entry {
    /// What the store notes for itself is left out: two entries are equal whatever merges have run.
    pub(crate) fn new(key: Key, meta: Meta, value: Value) -> Self {
        let value_len = value.len();
        Self { key, meta: Meta { flags: meta.flags.shown(), ..meta }, value, value_len, previous: None }
    }

    /// The same without the bytes of its value, of which there are `value_len`.
    pub(crate) fn without_value(key: Key, meta: Meta, value_len: usize) -> Self {
        Self { value_len, ..Self::new(key, meta, Value::empty()) }
    }

    /// The same without the bytes of its value; it still tells their number.
    #[must_use]
    pub(crate) fn stripped(self) -> Self {
        Self { value: Value::empty(), ..self }
    }

    /// Lets go of the memory and files that its value shares with others.
    pub(crate) fn detach(&mut self) {
        self.value.detach();
    }

    /// Notes what the key's newest revision had been; [`Revision::NONE`] = it had none.
    #[must_use]
    pub(crate) fn with_previous(self, previous: Revision) -> Self {
        Self { previous: Some(previous), ..self }
    }

    /// The key that was changed.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// The value; empty for a marker, and where values were not asked for.
    #[must_use]
    pub const fn value(&self) -> &Value {
        &self.value
    }

    /// The length of the value in bytes, even where its bytes were not asked for.
    #[must_use]
    pub const fn value_len(&self) -> usize {
        self.value_len
    }

    /// The value, taken out of the entry.
    #[must_use]
    pub fn into_value(self) -> Value {
        self.value
    }

    /// The number of this change in its bucket.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.meta.revision
    }

    /// The revision that was the key's newest before this change, [`Revision::NONE`] if it had none; `None` where that is not known.
    ///
    /// Known only in live events of writes that had to look: conditional ones, and all of a bucket that must know what it holds. Not in what a
    /// watch reads from the store: what the key held then may have been removed since, and nothing is left that tells.
    /// Not part of what makes two entries equal.
    #[must_use]
    pub const fn previous(&self) -> Option<Revision> {
        self.previous
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

    /// When it was committed, by the store's clock, which never runs backwards; nanosecond resolution.
    #[must_use]
    pub fn created(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.meta.created)
    }

    /// When it expires by its own time to live, by the store's clock; `None` if it has none. A bucket's `max_age` may take it earlier.
    #[must_use]
    pub fn deadline(&self) -> Option<SystemTime> {
        Some(self.meta.deadline).filter(|nanos| *nanos > 0).map(|nanos| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        let shape = |entry: &Self| (entry.meta, entry.value_len);
        shape(self) == shape(other) && self.key == other.key && self.value == other.value
    }
}

impl Eq for Entry {}
