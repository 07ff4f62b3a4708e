//! Values that lie in allocations of their own, so that who keeps one keeps nothing else.
//!
//! A list that only grows: added to by one thread, read by any that has learnt an index by an acquire.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Lengths of the pieces double, from this one on.
const FIRST_PIECE_LEN: usize = 16;
/// 2^32 values of more than 1 KiB are more than any memory.
const PIECES_MAX: usize = 28;
/// Counts and the allocator's own, beside a value.
const OVERHEAD: u64 = 32;

type Piece = Box<[OnceLock<Arc<[u8]>>]>;

/// Values by index.
#[derive(Default)]
pub(super) struct Large {
    pieces: [OnceLock<Piece>; PIECES_MAX],
    len: AtomicUsize,
    bytes: AtomicU64,
}

impl Large {
    /// Memory taken.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Keeps a copy of `value`; answers its index.
    pub(super) fn push(&self, value: &[u8]) -> usize {
        let index = self.len.fetch_add(1, Ordering::Relaxed);
        let (piece, offset) = place(index);
        let new_piece = || (0..FIRST_PIECE_LEN << piece).map(|_| OnceLock::new()).collect();
        let piece = self.pieces[piece].get_or_init(new_piece);
        piece[offset].get_or_init(|| value.into());
        let taken = value.len() as u64 + OVERHEAD + size_of::<OnceLock<Arc<[u8]>>>() as u64;
        self.bytes.fetch_add(taken, Ordering::Relaxed);
        index
    }

    /// The value that `push` gave this index.
    pub(super) fn get(&self, index: usize) -> &Arc<[u8]> {
        let (piece, offset) = place(index);
        let piece = self.pieces[piece].get().expect("an index is given out after its piece was made");
        piece[offset].get().expect("an index is given out after its value was kept")
    }
}

impl fmt::Debug for Large {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Large").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

fn place(index: usize) -> (usize, usize) {
    let piece = (index / FIRST_PIECE_LEN + 1).ilog2() as usize;
    (piece, index - FIRST_PIECE_LEN * ((1 << piece) - 1))
}
