//! Entries in the order in which they came, which is that of their commits: what is read by who wants to know what changed.
//!
//! A list that only grows, one word per entry: its key's place and its own. Added to by one thread, read by any.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::arena::{At, zeroed};

/// Lengths of the pieces double, from this one on.
const FIRST_PIECE_LEN: usize = 256;
/// More than the places of an arena can name.
const PIECES_MAX: usize = 24;

/// Places by arrival.
#[derive(Default)]
pub(super) struct Arrivals {
    pieces: [OnceLock<Box<[AtomicU64]>>; PIECES_MAX],
    len: AtomicUsize,
}

impl Arrivals {
    /// Memory taken, as far as it was touched.
    pub(super) fn bytes(&self) -> u64 {
        8 * self.len.load(Ordering::Relaxed) as u64
    }

    /// How many there are; whoever asks finds all that belongs to so many.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Adds an entry that is there for readers already.
    pub(super) fn push(&self, key: At, entry: At) {
        let index = self.len.load(Ordering::Relaxed);
        let (piece, offset) = place(index);
        let piece = self.pieces[piece].get_or_init(|| zeroed(FIRST_PIECE_LEN << piece));
        piece[offset].store(u64::from(key) << 32 | u64::from(entry), Ordering::Relaxed);
        self.len.store(index + 1, Ordering::Release);
    }

    /// Key and entry of one below a length that was asked for.
    pub(super) fn get(&self, index: usize) -> (At, At) {
        let (piece, offset) = place(index);
        let piece = self.pieces[piece].get().expect("a length is raised after its piece was made");
        let word = piece[offset].load(Ordering::Relaxed);
        ((word >> 32) as At, word as At)
    }
}

impl fmt::Debug for Arrivals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Arrivals").field("len", &self.len()).finish_non_exhaustive()
    }
}

fn place(index: usize) -> (usize, usize) {
    let piece = (index / FIRST_PIECE_LEN + 1).ilog2() as usize;
    (piece, index - FIRST_PIECE_LEN * ((1 << piece) - 1))
}
