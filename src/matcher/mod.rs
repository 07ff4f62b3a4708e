//! Which filters a key matches, among many: what a commit asks for every entry while anybody watches.
//!
//! A filter is a pattern of one bucket and somebody who is named by it. Filters without a wildcard lie in a table that is asked with the
//! hash of the key, which a commit has already; the others in a trie of their tokens. So an entry that nobody watches costs one lookup, and a
//! second one per token while there are patterns, however many filters there are. The same somebody may be found several times: that filters
//! overlap is not known here.
//!
//! Used by the watch bus, under its lock. What it finds must be what [`Pattern::matches`] says; the tests hold it against that.

mod names;
#[cfg(test)]
mod tests;
mod trie;

use std::ops::ControlFlow;

use self::names::{Names, Numbers};
use self::trie::Trie;
use crate::hash::KeyHasher;
use crate::number::BucketId;
use crate::subject::Pattern;

/// Filters of all buckets.
#[derive(Debug)]
pub(crate) struct Matcher<T> {
    buckets: Numbers<BucketId, OfBucket<T>>,
    hasher: KeyHasher,
    /// Memory for the walks through tries.
    stack: Vec<(u32, usize)>,
}

/// Filters of one bucket.
#[derive(Debug)]
struct OfBucket<T> {
    exact: Names<Vec<T>>,
    patterns: Trie<T>,
}

impl<T> Default for OfBucket<T> {
    fn default() -> Self {
        Self { exact: Names::default(), patterns: Trie::new() }
    }
}

impl<T: Copy + Eq> Matcher<T> {
    pub(crate) fn new(hasher: KeyHasher) -> Self {
        Self { buckets: Numbers::default(), hasher, stack: Vec::new() }
    }

    /// Adds a filter.
    pub(crate) fn add(&mut self, bucket: BucketId, pattern: &Pattern, who: T) {
        let hasher = self.hasher;
        let hash = |token: &[u8]| hasher.hash(bucket, token);
        let filters = self.buckets.entry(bucket).or_default();
        match pattern.exact() {
            Some(key) => filters.exact.get_or_add(hash(key.as_bytes()), key.as_bytes()).push(who),
            None => filters.patterns.add(pattern.as_bytes(), hash, who),
        }
    }

    /// Removes one filter that is equal to this one, if there is any.
    pub(crate) fn remove(&mut self, bucket: BucketId, pattern: &Pattern, who: T) {
        let hasher = self.hasher;
        let hash = |token: &[u8]| hasher.hash(bucket, token);
        let Some(filters) = self.buckets.get_mut(&bucket) else { return };
        match pattern.exact() {
            Some(key) => {
                let (hash, key) = (hash(key.as_bytes()), key.as_bytes());
                if let Some(found) = filters.exact.get_mut(hash, key) {
                    remove_one(found, who);
                    if found.is_empty() {
                        filters.exact.remove(hash, key);
                    }
                }
            }
            None => filters.patterns.remove(pattern.as_bytes(), hash, who),
        }
        if filters.exact.is_empty() && filters.patterns.is_empty() {
            self.buckets.remove(&bucket);
        }
    }

    /// Hands whoever has a filter that matches the key to `each`, once per filter, until it breaks. `hash` is the key's, by the same hasher.
    pub(crate) fn find(
        &mut self,
        bucket: BucketId,
        key: &[u8],
        hash: u64,
        mut each: impl FnMut(T) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some(filters) = self.buckets.get(&bucket) else { return ControlFlow::Continue(()) };
        filters.exact.get(hash, key).into_iter().flatten().try_for_each(|who| each(*who))?;
        if filters.patterns.is_empty() {
            return ControlFlow::Continue(());
        }
        let hasher = self.hasher;
        let hash = |token: &[u8]| if token.len() == key.len() { hash } else { hasher.hash(bucket, token) };
        filters.patterns.find(key, hash, &mut self.stack, &mut each)
    }
}

/// Removes one of them that is equal to `who`.
fn remove_one<T: Copy + Eq>(list: &mut Vec<T>, who: T) {
    if let Some(at) = list.iter().position(|found| *found == who) {
        list.swap_remove(at);
    }
}
