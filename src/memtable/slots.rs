//! From the hash of a key to its place: open addressing, filled by one thread, read by any.
//!
//! A slot is one word: the low half of the hash, and the place of the key. Slots are filled once and never change, so a lookup is a walk
//! over neighbours until one matches or is empty; for a key that is not there it reads nothing but slots. Equal hashes are two slots:
//! who looks compares the keys.
//!
//! The table is as large as the memtable needs at most by the capacity that it was meant for. A group that overshoots it may fill the
//! table further; before it is crowded, a larger copy takes its place. The old one stays for readers that are in it: it has all keys that
//! were visible when they came.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::arena::{At, zeroed};

/// The least memory that a key takes elsewhere: there are never more keys in a memtable than its capacity by this.
const KEY_BYTES_MIN: u64 = 64;
const LEN_MIN: usize = 16;
const LEN_MAX: usize = 1 << 28;
/// Places are below 2^32, so larger tables than these are never needed.
const TABLES_MAX: usize = 30;
/// A table is replaced before it is fuller than this.
const FULL_NUMERATOR: usize = 7;
const FULL_DENOMINATOR: usize = 8;
/// Memory comes from the operating system in pages.
const PAGE_LEN: u64 = 4096;

/// From hashes to places.
pub(super) struct Slots {
    tables: [OnceLock<Box<[AtomicU64]>>; TABLES_MAX],
    current: AtomicUsize,
    filled: AtomicUsize,
}

/// Where a key that is not there belongs.
#[derive(Debug)]
pub(super) struct Vacant {
    index: usize,
    low_hash: u32,
}

impl Slots {
    /// For a memtable of `capacity` bytes.
    pub(super) fn new(capacity: u64) -> Self {
        let wanted = usize::try_from(capacity / KEY_BYTES_MIN).unwrap_or(LEN_MAX).clamp(LEN_MIN, LEN_MAX);
        let slots =
            Self { tables: [const { OnceLock::new() }; TABLES_MAX], current: AtomicUsize::new(0), filled: AtomicUsize::new(0) };
        slots.tables[0].get_or_init(|| zeroed(wanted.next_power_of_two()));
        slots
    }

    /// How many keys there are.
    pub(super) fn filled(&self) -> usize {
        self.filled.load(Ordering::Relaxed)
    }

    /// Bytes of memory that were touched, at most: a large table takes none until keys come.
    pub(super) fn bytes(&self) -> u64 {
        let table_bytes = |table: &[AtomicU64]| 8 * table.len() as u64;
        let tables: u64 = self.tables.iter().map_while(OnceLock::get).map(|table| table_bytes(table)).sum();
        tables.min((self.filled() as u64).saturating_mul(PAGE_LEN))
    }

    /// The place of the key with this hash for which `is_key` holds, or where it belongs.
    pub(super) fn find(&self, hash: u64, is_key: impl Fn(At) -> bool) -> Result<At, Vacant> {
        let table = self.table(self.current.load(Ordering::Acquire));
        let low_hash = hash as u32;
        let mut index = low_hash as usize & (table.len() - 1);
        loop {
            // Acquires what was written at the place before it was put here.
            let slot = table[index].load(Ordering::Acquire);
            if slot == 0 {
                return Err(Vacant { index, low_hash });
            }
            if (slot >> 32) as u32 == low_hash && is_key(slot as At) {
                return Ok(slot as At);
            }
            index = (index + 1) & (table.len() - 1);
        }
    }

    /// Puts the key that lies at `at` where `find` has just said; everything at `at` must have been written.
    pub(super) fn fill(&self, vacant: &Vacant, at: At) {
        let current = self.current.load(Ordering::Relaxed);
        let table = self.table(current);
        table[vacant.index].store(slot(vacant.low_hash, at), Ordering::Release);
        let filled = self.filled() + 1;
        self.filled.store(filled, Ordering::Relaxed);
        if filled * FULL_DENOMINATOR >= table.len() * FULL_NUMERATOR {
            self.grow(current);
        }
    }

    fn grow(&self, current: usize) {
        let table = self.table(current);
        let larger = zeroed(2 * table.len());
        for slot in table {
            let slot = slot.load(Ordering::Relaxed);
            if slot != 0 {
                let mut index = (slot >> 32) as usize & (larger.len() - 1);
                while larger[index].load(Ordering::Relaxed) != 0 {
                    index = (index + 1) & (larger.len() - 1);
                }
                larger[index].store(slot, Ordering::Relaxed);
            }
        }
        self.tables[current + 1].get_or_init(|| larger);
        self.current.store(current + 1, Ordering::Release);
    }

    fn table(&self, index: usize) -> &[AtomicU64] {
        self.tables[index].get().expect("a table is there before its index is")
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Slots").field("filled", &self.filled()).finish_non_exhaustive()
    }
}

fn slot(low_hash: u32, at: At) -> u64 {
    u64::from(low_hash) << 32 | u64::from(at)
}
