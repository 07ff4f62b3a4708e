//! One hash of a key for everything that looks keys up by hash: memtables, and the index of a segment, which stores it on disk.
//!
//! XXH3 (64 bits, <https://github.com/Cyan4973/xxHash>, `doc/xxhash_spec.md`), seeded with the identity of the store and of the bucket: the same
//! key hashes differently in every store, so nobody can prepare keys that collide. It is computed once per call, before any lookup. The
//! function and its seed are part of the segment format.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::number::BucketId;

/// Hashes the keys of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyHasher {
    seed: u64,
}

impl KeyHasher {
    /// Of the store with this identity.
    pub(crate) const fn new(store: u128) -> Self {
        Self { seed: (store as u64) ^ ((store >> 64) as u64).rotate_left(32) }
    }

    /// The hash of a bucket's key.
    pub(crate) fn hash(self, bucket: BucketId, key: &[u8]) -> u64 {
        // An odd factor spreads neighbouring ids over all bits of the seed.
        xxh3_64_with_seed(key, self.seed ^ bucket.0.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_that_is_on_disk() {
        let hasher = KeyHasher::new(0x0123_4567_89ab_cdef_0f1e_2d3c_4b5a_6978);
        assert_eq!(hasher.hash(BucketId(1), b"eu.42.email"), 0x097c_3095_dd1d_6827);
        assert_eq!(hasher.hash(BucketId(2), b"eu.42.email"), 0xc1f5_4579_fc51_8b87);
    }

    #[test]
    fn stores_and_buckets_hash_differently() {
        let hash = |store, bucket| KeyHasher::new(store).hash(BucketId(bucket), b"key");
        assert_ne!(hash(1, 1), hash(2, 1));
        assert_ne!(hash(1, 1), hash(1, 2));
    }
}
