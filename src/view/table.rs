//! A sorted map that is cheap to copy: copies share what neither has changed since.
//!
//! Two levels: a list of chunks, each a sorted list of entries. A copy is one count; the first change after it copies the list of chunks and
//! the one chunk that changes, so with n entries a change costs about n / 128 + 128 counts, and looking up two binary searches in memory
//! that lies together. That is what a table of buckets needs, which every view holds and every new bucket changes.

use std::borrow::Borrow;
use std::sync::Arc;

/// Entries of a chunk, at most.
const CHUNK_LEN_MAX: usize = 128;

type Chunk<K, V> = Arc<Vec<(K, V)>>;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Table<K, V> {
    /// None of them empty.
    chunks: Arc<Vec<Chunk<K, V>>>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { chunks: Arc::default() }
    }
}

impl<K: Ord + Clone, V: Clone> Table<K, V> {
    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let chunk = self.chunks.get(self.chunk_of(key)?)?;
        let at = chunk.binary_search_by(|entry| entry.0.borrow().cmp(key)).ok()?;
        Some(&chunk[at].1)
    }

    /// The value of the key, to be changed.
    pub(crate) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let chunk = self.chunk_of(key)?;
        let at = self.chunks[chunk].binary_search_by(|entry| entry.0.borrow().cmp(key)).ok()?;
        Some(&mut Arc::make_mut(&mut Arc::make_mut(&mut self.chunks)[chunk])[at].1)
    }

    /// Gives the key this value, in place of the one that it had.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        let chunks = &mut *Arc::make_mut(&mut self.chunks);
        let Some(index) = chunk_at(chunks, &key) else {
            // Below all others, or the first of all.
            match chunks.first_mut() {
                Some(first) if first.len() < CHUNK_LEN_MAX => Arc::make_mut(first).insert(0, (key, value)),
                _ => chunks.insert(0, Arc::new(vec![(key, value)])),
            }
            return;
        };
        let is_last = index + 1 == chunks.len();
        let chunk = Arc::make_mut(&mut chunks[index]);
        let at = match chunk.binary_search_by(|entry| entry.0.cmp(&key)) {
            Ok(at) => {
                chunk[at].1 = value;
                return;
            }
            Err(at) => at,
        };
        if chunk.len() < CHUNK_LEN_MAX {
            chunk.insert(at, (key, value));
        } else if is_last && at == chunk.len() {
            // Keys that rise leave full chunks behind.
            chunks.push(Arc::new(vec![(key, value)]));
        } else {
            let mut upper = chunk.split_off(CHUNK_LEN_MAX / 2);
            match at.checked_sub(CHUNK_LEN_MAX / 2) {
                Some(at) if at > 0 => upper.insert(at, (key, value)),
                _ => chunk.insert(at, (key, value)),
            }
            chunks.insert(index + 1, Arc::new(upper));
        }
    }

    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        let Some(index) = self.chunk_of(key) else { return };
        let Ok(at) = self.chunks[index].binary_search_by(|entry| entry.0.borrow().cmp(key)) else { return };
        let chunks = Arc::make_mut(&mut self.chunks);
        Arc::make_mut(&mut chunks[index]).remove(at);
        if chunks[index].is_empty() {
            chunks.remove(index);
        }
    }

    /// All values in the order of their keys.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().map(|entry| &entry.1))
    }

    fn chunk_of<Q: Ord + ?Sized>(&self, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
    {
        chunk_at(&self.chunks, key)
    }
}

/// The chunk in which the key is, if it is anywhere; `None` if it stands below all.
fn chunk_at<K: Borrow<Q>, V, Q: Ord + ?Sized>(chunks: &[Chunk<K, V>], key: &Q) -> Option<usize> {
    let starts_at_or_below = |chunk: &Chunk<K, V>| chunk.first().is_some_and(|first| first.0.borrow() <= key);
    chunks.partition_point(starts_at_or_below).checked_sub(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Keys in every order, against the standard map; copies that were kept stay as they were.
    #[test]
    fn a_table_is_a_sorted_map_and_its_copies_stand_still() {
        for seed in 1..=20_u64 {
            let mut number = seed;
            let mut random = move || {
                number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                number >> 33
            };
            let (mut table, mut model) = (Table::default(), BTreeMap::new());
            let mut kept = Vec::new();
            for step in 0..4000 {
                let key = if seed.is_multiple_of(2) && step < 2000 { step } else { random() % 3000 };
                match random() % 8 {
                    0 | 1 => {
                        table.remove(&key);
                        model.remove(&key);
                    }
                    2 => {
                        if let Some(value) = table.get_mut(&key) {
                            *value += 1;
                        }
                        model.entry(key).and_modify(|value| *value += 1);
                    }
                    _ => {
                        table.insert(key, step);
                        model.insert(key, step);
                    }
                }
                assert_eq!(table.get(&key), model.get(&key));
                if step.is_multiple_of(500) {
                    kept.push((table.clone(), model.clone()));
                }
            }
            kept.push((table, model));
            for (table, model) in &kept {
                assert!(table.values().eq(model.values()), "seed {seed}");
                assert!((0..3000).all(|key| table.get(&key) == model.get(&key)));
                assert!(table.chunks.iter().all(|chunk| (1..=CHUNK_LEN_MAX).contains(&chunk.len())));
            }
        }
    }

    #[test]
    fn keys_that_rise_leave_full_chunks() {
        let mut table = Table::default();
        (0..1000_u64).for_each(|key| table.insert(key, ()));
        assert_eq!(table.chunks.len(), 8);
    }
}
