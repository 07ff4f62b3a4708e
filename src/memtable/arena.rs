//! Memory that only grows: words of 8 bytes in chunks, given out once each and freed together.
//!
//! Used by [`Entries`](super::entries::Entries) for keys and values and by [`Tree`](super::tree::Tree) for its nodes. A place in it is a
//! number, which takes half the room of a pointer and lets two of them be replaced by one store. Zero is no place.
//!
//! Every word is an atomic, so whatever a caller does with words, no read of one can race with a write. Only [`bytes`] hands
//! out plain memory, and with [`zeroed`] it is all the unsafe code that the memtable has.
//!
//! Chunks double in size after every four, so that a store with tiny memtables takes little and a group that overshoots takes few. They
//! come zeroed from the allocator, which gets large ones from the operating system page by page as they are touched.
#![expect(unsafe_code, reason = "values are handed out in place, from memory that is still being added to")]

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A place in an arena: its number in words, from the first word of the first chunk, which has a number above zero.
pub(super) type At = u32;

/// Chunks of one size.
const CHUNKS_PER_SIZE_LOG: u32 = 2;
/// The smallest first chunk: 4 KiB.
const FIRST_CHUNK_LOG_MIN: u32 = 9;
/// The largest first chunk: 1 MiB.
const FIRST_CHUNK_LOG_MAX: u32 = 17;
/// Sizes until places run out of 32 bits, at 32 GiB.
const CHUNKS_MAX: usize = ((32 - FIRST_CHUNK_LOG_MIN - CHUNKS_PER_SIZE_LOG) as usize) << CHUNKS_PER_SIZE_LOG;

const _: () = assert!(size_of::<AtomicU64>() == size_of::<u64>(), "`zeroed` takes one for the other");
const _: () = assert!(align_of::<AtomicU64>() == align_of::<u64>(), "`zeroed` takes one for the other");

/// Words that are given out once each.
pub(super) struct Arena {
    chunks: [OnceLock<Box<[AtomicU64]>>; CHUNKS_MAX],
    first_chunk_log: u32,
    next: AtomicU32,
    taken: AtomicU64,
}

impl Arena {
    /// An arena that is meant for about `capacity` bytes; nothing is allocated yet.
    pub(super) fn new(capacity: u64) -> Self {
        let wanted = (capacity / 64 / 8).max(1).ilog2();
        let first_chunk_log = wanted.clamp(FIRST_CHUNK_LOG_MIN, FIRST_CHUNK_LOG_MAX);
        Self {
            chunks: [const { OnceLock::new() }; CHUNKS_MAX],
            first_chunk_log,
            next: AtomicU32::new(1 << (first_chunk_log + CHUNKS_PER_SIZE_LOG)),
            taken: AtomicU64::new(0),
        }
    }

    /// Bytes that were given out.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// So many words in a row, zeroed, for whoever calls and for nobody else, ever.
    pub(super) fn take(&self, count: usize) -> At {
        let mut next = self.next.load(Ordering::Relaxed);
        loop {
            let place = self.place(next);
            if place.chunk_len - place.offset < count {
                // The rest of the chunk stays empty.
                next = advance(next, place.chunk_len - place.offset);
                continue;
            }
            // Exchanged and not just stored: no two callers ever get the same words, which `bytes` stands on.
            let found = self.next.load(Ordering::Relaxed);
            if next < found {
                next = found;
                continue;
            }
            if self.next.compare_exchange(found, advance(next, count), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                self.chunks[place.chunk].get_or_init(|| zeroed(place.chunk_len));
                // For people and budgets; only the one writer adds.
                self.taken.store(self.taken() + 8 * count as u64, Ordering::Relaxed);
                return next;
            }
        }
    }

    /// The words from `at` on, to the end of its chunk.
    #[inline]
    pub(super) fn words(&self, at: At) -> &[AtomicU64] {
        let place = self.place(at);
        let chunk = self.chunks[place.chunk].get().expect("a place names words that were given out");
        &chunk[place.offset..]
    }

    /// So many words from `at` on.
    pub(super) fn array<const COUNT: usize>(&self, at: At) -> &[AtomicU64; COUNT] {
        self.words(at).first_chunk().expect("what was given out together lies in one chunk")
    }

    fn place(&self, at: At) -> Place {
        // Chunks of one size have places with the same highest bit.
        let size = (At::BITS - 1).saturating_sub(at.leading_zeros());
        let len_log = size - CHUNKS_PER_SIZE_LOG;
        // The lower two of these three bits number the chunk among those of its size, the third one moves on to the next size.
        let chunk = (at >> len_log) + ((len_log - self.first_chunk_log) << CHUNKS_PER_SIZE_LOG) - (1 << CHUNKS_PER_SIZE_LOG);
        let chunk_len = 1 << len_log;
        Place { chunk: chunk as usize, chunk_len, offset: at as usize & (chunk_len - 1) }
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Arena").field("taken", &self.taken()).finish_non_exhaustive()
    }
}

struct Place {
    chunk: usize,
    chunk_len: usize,
    offset: usize,
}

fn advance(at: At, count: usize) -> At {
    let count = At::try_from(count).expect("no entry is longer than 4 GiB");
    at.checked_add(count).expect("keys and small values of a memtable stay below 32 GiB")
}

/// The bytes that [`write`] put at the beginning of `words`, which must be some of an arena.
///
/// They must be complete before the place of `words` becomes known to another thread by a release, and must not be written again. The
/// memtable is the only caller: keys and values are written by whoever took their words, before the entry is linked, and nothing stores
/// to them after.
pub(super) fn bytes(words: &[AtomicU64], len: usize) -> &[u8] {
    let words = &words[..len.div_ceil(8)];
    // SAFETY: `words` are at least `len` initialized bytes, and live as long as the result. No two calls of `take` give out the same
    // words, and who took these ones stores nothing in them from here on: the duty in the documentation, upheld by `Entries`.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast::<u8>(), len) }
}

/// Puts `bytes` in `words`, so that they lie in memory as they are.
pub(super) fn write(words: &[AtomicU64], bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks::<8>();
    for (word, bytes) in words.iter().zip(whole) {
        word.store(u64::from_le_bytes(*bytes).to_le(), Ordering::Relaxed);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        words[whole.len()].store(u64::from_le_bytes(last).to_le(), Ordering::Relaxed);
    }
}

/// So many zeroes, which cost nothing until they are touched if they are many.
pub(super) fn zeroed(len: usize) -> Box<[AtomicU64]> {
    let words: *mut [u64] = Box::into_raw(vec![0_u64; len].into_boxed_slice());
    // SAFETY: `words` comes from a box that nobody else has, and an `AtomicU64` has the size, the alignment and the valid values of a
    // `u64`, the first two of which are asserted above and the last promised by std.
    unsafe { Box::from_raw(words as *mut [AtomicU64]) }
}
