//! Ranges of entries in the order of bucket and key: what of a file counts, and what a merge takes.

use crate::number::BucketId;

/// A place in the order of a run: bucket, then key.
pub(crate) type Bound = (BucketId, Box<[u8]>);

/// A range of entries: those from `from` on and below `to`, in the order of bucket and key; without one of them it has no end there.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct LiveRange {
    from: Option<Bound>,
    to: Option<Bound>,
}

impl LiveRange {
    /// All of them.
    pub(crate) const ALL: Self = Self { from: None, to: None };

    pub(crate) const fn new(from: Option<Bound>, to: Option<Bound>) -> Self {
        Self { from, to }
    }

    pub(crate) fn from(&self) -> Option<(BucketId, &[u8])> {
        self.from.as_ref().map(|(bucket, key)| (*bucket, &**key))
    }

    pub(crate) fn to(&self) -> Option<(BucketId, &[u8])> {
        self.to.as_ref().map(|(bucket, key)| (*bucket, &**key))
    }

    /// No key can be in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.from().zip(self.to()).is_some_and(|(from, to)| from >= to)
    }

    pub(crate) fn holds(&self, bucket: BucketId, key: &[u8]) -> bool {
        self.from().is_none_or(|from| from <= (bucket, key)) && !self.ends_before(bucket, key)
    }

    /// Nothing from the key on is in it.
    pub(crate) fn ends_before(&self, bucket: BucketId, key: &[u8]) -> bool {
        self.to().is_some_and(|to| to <= (bucket, key))
    }

    /// What is in both; `None` if nothing is.
    pub(crate) fn overlap(&self, other: &Self) -> Option<Self> {
        let from = self.from.as_ref().max(other.from.as_ref());
        let to = match (&self.to, &other.to) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.as_ref().or(two.as_ref()),
        };
        let both = Self { from: from.cloned(), to: to.cloned() };
        (!both.is_empty()).then_some(both)
    }

    /// What of it lies before `other`, and what behind.
    pub(crate) fn around(&self, other: &Self) -> (Option<Self>, Option<Self>) {
        let before = other.from.as_ref().and_then(|from| self.overlap(&Self::new(None, Some(from.clone()))));
        let behind = other.to.as_ref().and_then(|to| self.overlap(&Self::new(Some(to.clone()), None)));
        (before, behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: Option<&str>, to: Option<&str>) -> LiveRange {
        let bound = |key: &str| (BucketId(1), key.as_bytes().into());
        LiveRange::new(from.map(bound), to.map(bound))
    }

    #[test]
    fn overlaps_and_rests_make_up_the_whole() {
        let ends = [None, Some("a"), Some("b"), Some("c"), Some("d")];
        let ranges = || ends.into_iter().flat_map(|from| ends.map(|to| range(from, to))).filter(|range| !range.is_empty());
        let keys = ["", "a", "aa", "b", "bb", "c", "cc", "d", "e"];
        for (one, two) in ranges().flat_map(|one| ranges().map(move |two| (one.clone(), two))) {
            let (before, behind) = one.around(&two);
            let both = one.overlap(&two);
            for key in keys.map(str::as_bytes) {
                let holds = |range: &LiveRange| range.holds(BucketId(1), key);
                let held: Vec<bool> = [&before, &both, &behind].map(|part| part.as_ref().is_some_and(holds)).into();
                assert_eq!(held[1], holds(&one) && holds(&two), "{one:?} {two:?}");
                assert_eq!(held.iter().filter(|held| **held).count(), usize::from(holds(&one)), "{one:?} {two:?} {key:?}");
            }
        }
    }

    #[test]
    fn buckets_come_before_keys() {
        let range = LiveRange::new(Some((BucketId(1), b"x"[..].into())), Some((BucketId(3), b""[..].into())));
        assert!(!range.holds(BucketId(1), b"a") && range.holds(BucketId(2), b"a") && !range.holds(BucketId(3), b""));
    }
}
