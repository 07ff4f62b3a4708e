//! Which keys are asked for, where several patterns say so.

use std::collections::HashMap;
use std::sync::Arc;

use super::Pattern;
use crate::error::Result;

/// Up to so many patterns are tried one by one.
const TRIED_MAX: usize = 4;

/// Patterns of which one has to match; without any, all keys are asked for. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filters {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    patterns: Vec<Pattern>,
    /// Where there are many, those that begin with the same tokens.
    by_beginning: HashMap<Box<[u8]>, Vec<usize>>,
}

impl Filters {
    pub(crate) fn new(patterns: Vec<Pattern>) -> Self {
        let mut by_beginning: HashMap<Box<[u8]>, Vec<usize>> = HashMap::new();
        if patterns.len() > TRIED_MAX {
            for (at, pattern) in patterns.iter().enumerate() {
                by_beginning.entry(pattern.literal_prefix().into()).or_default().push(at);
            }
        }
        Self { shared: Arc::new(Shared { patterns, by_beginning }) }
    }

    /// Checks the patterns.
    ///
    /// # Errors
    /// `InvalidKey` for the first bad one.
    pub(crate) fn parse(patterns: &[String]) -> Result<Self> {
        patterns.iter().map(|pattern| Pattern::parse(pattern)).collect::<Result<_>>().map(Self::new)
    }

    pub(crate) fn patterns(&self) -> &[Pattern] {
        &self.shared.patterns
    }

    /// The keys that are asked for, each once, where there are no wildcards.
    pub(crate) fn exact(&self) -> Option<Vec<&str>> {
        let patterns = self.patterns();
        let mut keys: Vec<&str> = patterns.iter().map(Pattern::exact).collect::<Option<_>>()?;
        keys.sort_unstable();
        keys.dedup();
        (!keys.is_empty()).then_some(keys)
    }

    #[inline]
    pub(crate) fn matches(&self, key: &[u8]) -> bool {
        let Shared { patterns, by_beginning } = &*self.shared;
        if patterns.len() <= TRIED_MAX {
            return patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(key));
        }
        // What comes before the first wildcard ends with a dot; before none, it is the whole key.
        let ends = key.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at + 1);
        let mut beginnings = [0].into_iter().chain(ends).chain([key.len()]).map(|end| &key[..end]);
        beginnings
            .any(|beginning| by_beginning.get(beginning).is_some_and(|found| found.iter().any(|at| patterns[*at].matches(key))))
    }

    /// The bytes with which every match of every filter begins.
    pub(crate) fn common_prefix(&self) -> &[u8] {
        let mut prefixes = self.patterns().iter().map(Pattern::literal_prefix);
        let Some(first) = prefixes.next() else { return &[] };
        prefixes.fold(first, |common, prefix| {
            let len = common.iter().zip(prefix).take_while(|(a, b)| a == b).count();
            &common[..len]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATTERNS: [&str; 9] = ["a", "a.b", "a.*", "a.*.c", "*.b", "b.>", "x.y.z", "x.y.*", "*.*.*.*"];
    const KEYS: [&str; 14] =
        ["a", "b", "c", "a.b", "a.c", "a.b.c", "a.b.d", "b.a", "b.a.c.d.e", "c.b", "x.y", "x.y.z", "x.y.w", "w.w.w.w"];

    #[test]
    fn many_filters_match_what_each_of_them_does() {
        for subset in 0..1_u32 << PATTERNS.len() {
            let chosen = PATTERNS.iter().enumerate().filter(|(at, _)| subset >> at & 1 == 1);
            let patterns: Vec<Pattern> = chosen.map(|(_, pattern)| Pattern::parse(pattern).unwrap()).collect();
            let filters = Filters::new(patterns.clone());
            for key in KEYS.map(str::as_bytes) {
                let expected = patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(key));
                assert_eq!(filters.matches(key), expected, "{} in {patterns:?}", key.escape_ascii());
                assert!(!expected || key.starts_with(filters.common_prefix()));
            }
        }
    }

    #[test]
    fn keys_are_exact_where_no_wildcard_is() {
        let filters = |patterns: &[&str]| Filters::new(patterns.iter().map(|one| Pattern::parse(one).unwrap()).collect());
        assert_eq!(filters(&["b", "a", "b"]).exact(), Some(vec!["a", "b"]));
        assert_eq!(filters(&["b", "a.*"]).exact(), None);
        assert_eq!(filters(&[]).exact(), None, "all keys");
    }
}
