//! The options of a store as the engine uses them: checked by `config`, plain values.

use crate::durability::Durability;

/// How the engine runs.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) durability: Durability,
    /// Bytes that memtables may take before writers wait for a flush.
    pub(crate) memory_budget: u64,
    /// The largest value of any bucket.
    pub(crate) value_len_max: u64,
    /// The most operations of one batch.
    pub(crate) batch_ops_max: u32,
    /// Values of one commit of a load.
    pub(crate) load_values: usize,
    /// Keys of one commit of a write to all keys that match.
    pub(crate) sweep_keys: usize,
    /// Entries that a watch reads at once, at most.
    pub(crate) chunk_entries: usize,
    pub(crate) create_if_missing: bool,
    /// Refuse a torn tail instead of cutting it.
    pub(crate) strict: bool,
    /// Run jobs on threads; if not, on whoever calls `step` or would wait for them.
    pub(crate) threads: bool,
    pub(crate) log_file_len: u64,
    /// Bytes at which the active memtable is sealed.
    pub(crate) memtable_len: u64,
    pub(crate) block_len: u32,
    /// Bytes of decompressed blocks that are kept.
    pub(crate) cache_len: u64,
    /// Bytes at which a segment file ends and the next begins.
    pub(crate) segment_len: u64,
    /// Bytes kept aside for the manifest and a merge on a full disk; 0 = none.
    pub(crate) reserve_len: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            durability: Durability::Sync,
            memory_budget: 256 << 20,
            value_len_max: 16 << 20,
            batch_ops_max: 1000,
            load_values: 1000,
            sweep_keys: 512,
            chunk_entries: 1024,
            create_if_missing: true,
            strict: false,
            threads: true,
            // What fills a memtable takes less in the log.
            log_file_len: 48 << 20,
            memtable_len: 64 << 20,
            block_len: 8 << 10,
            cache_len: 64 << 20,
            segment_len: 64 << 20,
            reserve_len: 4 << 20,
        }
    }
}

impl Settings {
    /// Sizes that fit each other: four generations fit in the budget.
    #[must_use]
    pub(crate) fn fitted(mut self) -> Self {
        self.memtable_len = self.memtable_len.min(self.memory_budget / 4);
        // One log file serves one memtable: reserving much more than that would only take disk.
        self.log_file_len = self.log_file_len.min((2 * self.memtable_len).max(1 << 20));
        self
    }
}
