//! Byte strings to values, found by a hash that the caller has already.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// What has the same hash.
type Named<V> = Vec<(Box<[u8]>, V)>;

/// A map by numbers that nobody chooses to do harm: hashes by a key of the store's own, numbers that the store gives out.
pub(super) type Numbers<K, V> = HashMap<K, V, BuildHasherDefault<Spread>>;

/// A table. The hashes must be good ones.
#[derive(Debug)]
pub(super) struct Names<V> {
    map: Numbers<u64, Named<V>>,
}

impl<V> Default for Names<V> {
    fn default() -> Self {
        Self { map: Numbers::default() }
    }
}

impl<V> Names<V> {
    pub(super) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    pub(super) fn get(&self, hash: u64, name: &[u8]) -> Option<&V> {
        let found = self.map.get(&hash)?.iter().find(|(found, _)| **found == *name)?;
        Some(&found.1)
    }

    pub(super) fn get_mut(&mut self, hash: u64, name: &[u8]) -> Option<&mut V> {
        let found = self.map.get_mut(&hash)?.iter_mut().find(|(found, _)| **found == *name)?;
        Some(&mut found.1)
    }

    /// The value of that name; a new one if there is none.
    pub(super) fn get_or_add(&mut self, hash: u64, name: &[u8]) -> &mut V
    where
        V: Default,
    {
        // One name per hash, almost always.
        let named = self.map.entry(hash).or_insert_with(|| Vec::with_capacity(1));
        let at = named.iter().position(|(found, _)| **found == *name).unwrap_or_else(|| {
            named.push((name.into(), V::default()));
            named.len() - 1
        });
        &mut named[at].1
    }

    pub(super) fn remove(&mut self, hash: u64, name: &[u8]) {
        let Some(named) = self.map.get_mut(&hash) else { return };
        named.retain(|(found, _)| **found != *name);
        if named.is_empty() {
            self.map.remove(&hash);
        }
    }
}

/// Hashes a number by multiplication (Fibonacci hashing: Knuth, The Art of Computer Programming 3, 6.4).
#[derive(Debug, Default)]
pub(super) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}
