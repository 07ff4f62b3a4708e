//! Decompressed blocks, shared by all segments of a store and bounded in bytes.
//!
//! `segment` asks it for blocks of compressed buckets only; what is stored as it is is read from the map and never comes here. What a
//! reader holds lives on by its own count when the cache lets go of it. Files are immutable and their numbers are never given out
//! twice, so a block never goes stale; blocks of removed files are pushed out by others.

use std::fmt;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::env::sync::Arc;
use crate::number::FileNumber;

/// What an entry takes beside its bytes, about: its place, its count and the cache's own lists.
const ENTRY_LEN: u64 = 128;
/// What the cache expects blocks to be like; only its first allocation depends on it.
const BLOCK_LEN: u64 = 16 << 10;

/// A block as it is without compression.
pub(crate) type Decompressed = Arc<Vec<u8>>;

/// Where a block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BlockPlace {
    pub(crate) file: FileNumber,
    pub(crate) offset: u64,
}

/// See the module.
pub(crate) struct BlockCache {
    blocks: Cache<BlockPlace, Decompressed, ByLen>,
}

#[derive(Clone, Copy, Debug)]
struct ByLen;

impl Weighter<BlockPlace, Decompressed> for ByLen {
    fn weight(&self, _: &BlockPlace, block: &Decompressed) -> u64 {
        ENTRY_LEN.saturating_add(block.capacity() as u64)
    }
}

impl BlockCache {
    /// Of at most `bytes` bytes; 0 keeps nothing.
    pub(crate) fn new(bytes: u64) -> Self {
        let expected = usize::try_from(bytes.div_ceil(BLOCK_LEN)).unwrap_or(usize::MAX).clamp(1, 1 << 16);
        Self { blocks: Cache::with_weighter(expected, bytes, ByLen) }
    }

    pub(crate) fn get(&self, place: BlockPlace) -> Option<Decompressed> {
        self.blocks.get(&place)
    }

    pub(crate) fn insert(&self, place: BlockPlace, block: &Decompressed) {
        self.blocks.insert(place, Arc::clone(block));
    }

    /// What it holds now, in bytes.
    #[cfg_attr(not(test), allow(dead_code, reason = "tests hold the bound against it"))]
    pub(crate) fn bytes(&self) -> u64 {
        self.blocks.weight()
    }
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("BlockCache").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: u64) -> BlockPlace {
        BlockPlace { file: FileNumber(1), offset }
    }

    #[test]
    fn what_it_holds_stays_below_its_bound() {
        let cache = BlockCache::new(1 << 20);
        let held = Arc::new(vec![7; 10_000]);
        cache.insert(place(0), &held);
        for offset in 1..1_000 {
            cache.insert(place(offset), &Arc::new(vec![0; 10_000]));
            assert!(cache.bytes() <= 1 << 20);
        }
        assert!(cache.bytes() > 1 << 19, "it is used");
        assert_eq!(cache.get(place(0)).unwrap_or(Arc::clone(&held)), held);
    }

    #[test]
    fn a_cache_of_nothing_keeps_nothing_and_a_block_that_is_too_large_stays_out() {
        for bytes in [0, 1_000] {
            let cache = BlockCache::new(bytes);
            cache.insert(place(1), &Arc::new(vec![0; 10_000]));
            assert!(cache.get(place(1)).is_none());
            assert_eq!(cache.bytes(), 0);
        }
    }
}
