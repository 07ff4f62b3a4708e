//! The numbers of the store, each a type of its own so that none is passed for another.
//!
//! Used by every floor. This module knows nothing of bytes or files.

use std::fmt;

/// No counter gets there: at a billion a second it would take a hundred years.
pub(crate) const NUMBER_MAX: u64 = 1 << 62;

macro_rules! number {
    ($(#[$doc:meta])* $vis:vis $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        $vis struct $name(pub(crate) u64);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

number! {
    /// The number of an entry in its bucket: consecutive from 1, in commit order, never used twice while the bucket exists.
    ///
    /// [`Revision::NONE`] (0) stands for "no entry".
    ///
    /// ```
    /// use annals::Revision;
    /// let revision = Revision::from(7);
    /// assert_eq!(revision.get(), 7);
    /// assert!(Revision::NONE < revision);
    /// ```
    pub Revision
}

number! {
    /// The number of a change in its store (LSN): orders the log, visibility and durability over all buckets.
    ///
    /// Gaps are possible (numbers that a failed write burned); order is not.
    pub CommitNumber
}

number! {
    /// The identity of a bucket: one that is deleted and created again under the same name has another.
    pub(crate) BucketId
}

number! {
    /// The number of a file: log files and segments share one counter, and none is ever used twice.
    pub(crate) FileNumber
}

impl Revision {
    /// "No entry": what [`update`](crate::Bucket::update) takes to demand that the key has never been written.
    pub const NONE: Self = Self(0);

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl From<u64> for Revision {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl From<Revision> for u64 {
    fn from(revision: Revision) -> Self {
        revision.0
    }
}

impl CommitNumber {
    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number after this one.
    #[must_use]
    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}
