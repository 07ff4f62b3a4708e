//! A node of the tree: up to fifteen keys, in the order in which they came, and one word that says how they are sorted.
//!
//! | word | what |
//! |---|---|
//! | 0 | the order: how many keys in the lowest four bits, then four bits for each key, sorted: in which slot it is |
//! | 1 | bits 0-15: how many bytes all keys of this node's range begin with; 16-31: level, 0 for a leaf; 32-63: the first child |
//! | 2..17 | per slot: eight bytes of the key behind those, as a number |
//! | 17..32 | per slot: low half: the place of the key; high half: the child that begins with that key |
//!
//! A slot is written once, before the order names it. So one store of the order adds a key, and a reader that has loaded an order can use
//! it as long as it likes: all that it names stays. Only children are replaced, see [`Tree`](super::tree::Tree).

use std::cmp::Ordering::{Equal, Greater, Less};
use std::sync::atomic::{AtomicU64, Ordering};

use super::arena::At;
use super::entries::Entries;
use super::probe::Probe;

/// Keys of a node.
pub(super) const KEYS_MAX: usize = 15;
pub(super) const WORDS: usize = 2 + 2 * KEYS_MAX;
const HEADS: usize = 2;
const SLOTS: usize = HEADS + KEYS_MAX;

/// A node, in place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a>(pub(super) &'a [AtomicU64; WORDS]);

/// Which keys a node had at one moment, sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order(u64);

/// A key of a node, with the child that begins with it; by value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) head: u64,
    pub(super) key: At,
    pub(super) child: At,
}

/// Where a key is among those of a node, or would be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rank {
    pub(super) below: usize,
    pub(super) is_there: bool,
}

impl Order {
    pub(super) const EMPTY: Self = Self(0);

    pub(super) const fn len(self) -> usize {
        (self.0 & 15) as usize
    }

    const fn slot(self, rank: usize) -> usize {
        (self.0 >> (4 * (rank + 1)) & 15) as usize
    }

    /// With the next free slot at `rank`.
    const fn insert(self, rank: usize) -> Self {
        let below = self.0 & ((1 << (4 * (rank + 1))) - 1);
        let above = (self.0 & !((1 << (4 * (rank + 1))) - 1)) << 4;
        Self(above | (self.len() as u64) << (4 * (rank + 1)) | (below + 1))
    }
}

impl<'a> Node<'a> {
    /// Fills a node that nobody can reach yet; `slots` are sorted.
    pub(super) fn fill(self, level: usize, skip: usize, first_child: At, slots: &[Slot]) {
        self.0[1].store(u64::from(first_child) << 32 | (level as u64) << 16 | skip as u64, Ordering::Relaxed);
        for slot in slots {
            self.insert(self.order().len(), *slot);
        }
    }

    pub(super) fn order(self) -> Order {
        Order(self.0[0].load(Ordering::Acquire))
    }

    pub(super) fn level(self) -> usize {
        usize::from((self.0[1].load(Ordering::Relaxed) >> 16) as u16)
    }

    /// How many bytes all keys of its range begin with.
    pub(super) fn skip(self) -> usize {
        usize::from(self.0[1].load(Ordering::Relaxed) as u16)
    }

    pub(super) fn key(self, order: Order, rank: usize) -> At {
        self.0[SLOTS + order.slot(rank)].load(Ordering::Relaxed) as At
    }

    /// The child before all keys (0), or the one that begins with the key of rank `index - 1`.
    pub(super) fn child(self, order: Order, index: usize) -> At {
        (self.child_word(order, index).load(Ordering::Acquire) >> 32) as At
    }

    /// All keys of an order, sorted.
    pub(super) fn slots(self, order: Order) -> impl Iterator<Item = Slot> + 'a {
        (0..order.len()).map(move |rank| {
            let slot = order.slot(rank);
            let word = self.0[SLOTS + slot].load(Ordering::Relaxed);
            Slot { head: self.0[HEADS + slot].load(Ordering::Relaxed), key: word as At, child: (word >> 32) as At }
        })
    }

    /// Adds a key at `rank`; there must be room.
    pub(super) fn insert(self, rank: usize, slot: Slot) {
        let order = self.order();
        let free = order.len();
        self.0[HEADS + free].store(slot.head, Ordering::Relaxed);
        self.0[SLOTS + free].store(u64::from(slot.child) << 32 | u64::from(slot.key), Ordering::Relaxed);
        self.0[0].store(order.insert(rank).0, Ordering::Release);
    }

    pub(super) fn set_child(self, order: Order, index: usize, child: At) {
        let word = self.child_word(order, index);
        word.store(u64::from(child) << 32 | u64::from(word.load(Ordering::Relaxed) as u32), Ordering::Release);
    }

    /// Where `probe` is. Equal heads are few, and only for them the keys are looked at.
    pub(super) fn rank(self, order: Order, entries: &Entries, probe: &Probe<'_>) -> Rank {
        let head = probe.head(self.skip());
        let (mut below, mut end) = (0, 0);
        for other in &self.0[HEADS..HEADS + order.len()] {
            let other = other.load(Ordering::Relaxed);
            below += usize::from(other < head);
            end += usize::from(other <= head);
        }
        while below < end {
            let middle = usize::midpoint(below, end);
            match Probe::at(entries, self.key(order, middle)).compare(probe) {
                Less => below = middle + 1,
                Equal => return Rank { below: middle, is_there: true },
                Greater => end = middle,
            }
        }
        Rank { below, is_there: false }
    }

    fn child_word(self, order: Order, index: usize) -> &'a AtomicU64 {
        index.checked_sub(1).map_or(&self.0[1], |rank| &self.0[SLOTS + order.slot(rank)])
    }
}
