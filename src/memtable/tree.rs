//! The keys of a memtable in order: a B-tree that only grows, changed by one thread at a time, read by any without a lock.
//!
//! A full node is never changed again: its keys go to two new ones. The parent first gets the upper one as a new child, then the lower one
//! in place of the full one. A reader that loads the order of a parent, then a child, and finds the order as before has a child that holds
//! all of its range; else it looks again. Nodes that were replaced stay, as they were then, for readers that are in them: about as many as
//! are alive.
//!
//! **What a reader may rely on.** A node holds every key of its range that was added before the reader began to descend: it was alive
//! at some moment after that, or hangs below one that was, and nothing is ever taken out of a node. It may hold more. As a reader only
//! wants the keys up to a visible commit number, which were added before, it never has to begin again: it walks through a leaf by the
//! order that it loaded, and for the next leaf descends by its last key.
//!
//! Since a node's range only gets smaller by being replaced, all keys that ever come to it begin with what its bounds have in common. So
//! each node keeps eight bytes of its keys behind that, and hardly ever has to look at a key itself.

use std::sync::atomic::{AtomicU32, Ordering};

use super::arena::{Arena, At};
use super::entries::Entries;
use super::node::{KEYS_MAX, Node, Order, Rank, Slot, WORDS};
use super::probe::Probe;

/// At seven children a node and more, 32-bit places are used up before.
const LEVELS_MAX: usize = 12;
/// A prefix that got longer by less is not worth looking at all keys of a node again.
const SKIP_STEP_MIN: usize = 3;

/// Keys in order.
#[derive(Debug)]
pub(super) struct Tree {
    arena: Arena,
    root: AtomicU32,
}

/// A key in a leaf, as the leaf was at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    leaf: At,
    order: Order,
    rank: usize,
}

/// A node on the way down, which of its children was taken, and the keys that bound its range; 0 = none.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    node: At,
    index: usize,
    lower: At,
    upper: At,
}

/// Two nodes in place of one, and the key that parts them.
#[derive(Clone, Copy, Debug)]
struct Halves {
    lower: At,
    separator: At,
    upper: At,
}

impl Tree {
    /// An empty one, whose memory comes in chunks that fit a memtable of `capacity` bytes.
    pub(super) fn new(capacity: u64) -> Self {
        Self { arena: Arena::new(capacity / 8), root: AtomicU32::new(0) }
    }

    /// Memory taken.
    pub(super) fn bytes(&self) -> u64 {
        self.arena.taken()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.root.load(Ordering::Relaxed) == 0
    }

    /// The first key at or above `probe`, or above it.
    pub(super) fn first_from(&self, entries: &Entries, probe: &Probe<'_>, with_equal: bool) -> Option<Position> {
        let mut at = self.root.load(Ordering::Acquire);
        if at == 0 {
            return None;
        }
        let mut next = None;
        loop {
            let node = self.node(at);
            let order = node.order();
            let rank = node.rank(order, entries, probe);
            if node.level() == 0 {
                let first = rank.below + usize::from(rank.is_there && !with_equal);
                if first < order.len() {
                    return Some(Position { leaf: at, order, rank: first });
                }
                return next.map(|next| self.first_below(next));
            }
            let index = child_index(rank);
            let child = node.child(order, index);
            let following = (index < order.len()).then(|| node.child(order, index + 1));
            if node.order() == order {
                at = child;
                next = following.or(next);
            }
        }
    }

    /// The last key below `probe`.
    pub(super) fn last_before(&self, entries: &Entries, probe: &Probe<'_>) -> Option<Position> {
        let mut at = self.root.load(Ordering::Acquire);
        if at == 0 {
            return None;
        }
        let mut before = None;
        loop {
            let node = self.node(at);
            let order = node.order();
            let rank = node.rank(order, entries, probe);
            if node.level() == 0 {
                if let Some(last) = rank.below.checked_sub(1) {
                    return Some(Position { leaf: at, order, rank: last });
                }
                // Searched, and not taken at its end: it may have been split meanwhile, and then it holds what lies behind `probe`, too.
                at = before.take()?;
                continue;
            }
            let index = child_index(rank);
            let child = node.child(order, index);
            let preceding = index.checked_sub(1).map(|index| node.child(order, index));
            if node.order() == order {
                at = child;
                before = preceding.or(before);
            }
        }
    }

    /// The place of the key.
    pub(super) fn key(&self, position: &Position) -> At {
        self.node(position.leaf).key(position.order, position.rank)
    }

    pub(super) fn next(&self, entries: &Entries, position: &Position) -> Option<Position> {
        if position.rank + 1 < position.order.len() {
            return Some(Position { rank: position.rank + 1, ..*position });
        }
        self.first_from(entries, &Probe::at(entries, self.key(position)), false)
    }

    pub(super) fn prev(&self, entries: &Entries, position: &Position) -> Option<Position> {
        if let Some(rank) = position.rank.checked_sub(1) {
            return Some(Position { rank, ..*position });
        }
        self.last_before(entries, &Probe::at(entries, self.key(position)))
    }

    /// The first key below a node.
    fn first_below(&self, mut at: At) -> Position {
        loop {
            let node = self.node(at);
            if node.level() == 0 {
                return Position { leaf: at, order: node.order(), rank: 0 };
            }
            at = node.child(Order::EMPTY, 0);
        }
    }

    fn node(&self, at: At) -> Node<'_> {
        Node(self.arena.array(at))
    }

    /// Adds a key that is not in it. Only by the one thread that changes the tree.
    pub(super) fn insert(&self, entries: &Entries, key: At) {
        let probe = Probe::at(entries, key);
        if self.is_empty() {
            let slot = Slot { head: probe.head(0), key, child: 0 };
            return self.root.store(self.new_node(0, 0, 0, &[slot]), Ordering::Release);
        }
        let (path, depth) = self.path_to(entries, &probe);
        let (leaf, inner) = path[..depth].split_last().expect("a tree has a leaf");
        let node = self.node(leaf.node);
        let order = node.order();
        let slot = Slot { head: probe.head(node.skip()), key, child: 0 };
        if order.len() < KEYS_MAX {
            return node.insert(leaf.index, slot);
        }
        let mut slots = [slot; KEYS_MAX + 1];
        fill_with(&mut slots, node.slots(order), leaf.index, slot);
        let mut halves = self.split(entries, leaf, 0, &slots);
        let mut path = inner;
        while let Some((parent, above)) = path.split_last() {
            match self.replace_child(entries, parent, &halves) {
                None => return,
                Some(of_parent) => halves = of_parent,
            }
            path = above;
        }
        let level = self.node(halves.lower).level() + 1;
        let slot = Slot { head: Probe::at(entries, halves.separator).head(0), key: halves.separator, child: halves.upper };
        self.root.store(self.new_node(level, 0, halves.lower, &[slot]), Ordering::Release);
    }

    /// The nodes from the root to the leaf where `probe` belongs; the leaf's index is the rank.
    fn path_to(&self, entries: &Entries, probe: &Probe<'_>) -> ([Step; LEVELS_MAX], usize) {
        let mut path = [Step::default(); LEVELS_MAX];
        let mut step = Step { node: self.root.load(Ordering::Relaxed), ..Step::default() };
        for depth in 0..LEVELS_MAX {
            let node = self.node(step.node);
            let order = node.order();
            let rank = node.rank(order, entries, probe);
            if node.level() == 0 {
                assert!(!rank.is_there, "a key is added once");
                path[depth] = Step { index: rank.below, ..step };
                return (path, depth + 1);
            }
            let index = child_index(rank);
            path[depth] = Step { index, ..step };
            step = Step {
                node: node.child(order, index),
                index: 0,
                lower: index.checked_sub(1).map_or(step.lower, |rank| node.key(order, rank)),
                upper: if index < order.len() { node.key(order, index) } else { step.upper },
            };
        }
        unreachable!("a tree of {LEVELS_MAX} levels has more nodes than there are places")
    }

    /// Two nodes for the one at `step`, which had no room for the last of `slots`.
    fn split(&self, entries: &Entries, step: &Step, first_child: At, slots: &[Slot; KEYS_MAX + 1]) -> Halves {
        let (level, old_skip) = (self.node(step.node).level(), self.node(step.node).skip());
        // Keys that come in order leave full nodes behind.
        let cut = if step.index == KEYS_MAX { KEYS_MAX - 1 } else { slots.len() / 2 };
        let separator = slots[cut].key;
        // What parts two inner nodes goes up, and stays in neither.
        let (upper_child, upper) = if level == 0 { (0, &slots[cut..]) } else { (slots[cut].child, &slots[cut + 1..]) };
        let make = |lower_bound, upper_bound, first_child, slots: &[Slot]| {
            let skip = common_len(entries, lower_bound, upper_bound);
            if skip < old_skip + SKIP_STEP_MIN {
                return self.new_node(level, old_skip, first_child, slots);
            }
            self.new_node(level, skip, first_child, &with_heads(entries, slots, skip))
        };
        Halves {
            lower: make(step.lower, separator, first_child, &slots[..cut]),
            separator,
            upper: make(separator, step.upper, upper_child, upper),
        }
    }

    /// Puts two nodes in place of the child that was taken at `parent`; answers with two for the parent if it had no room.
    fn replace_child(&self, entries: &Entries, parent: &Step, halves: &Halves) -> Option<Halves> {
        let node = self.node(parent.node);
        let order = node.order();
        let head = Probe::at(entries, halves.separator).head(node.skip());
        let slot = Slot { head, key: halves.separator, child: halves.upper };
        if order.len() < KEYS_MAX {
            // In this order: a reader that finds the lower node finds that the order has changed.
            node.insert(parent.index, slot);
            node.set_child(order, parent.index, halves.lower);
            return None;
        }
        let mut slots = [slot; KEYS_MAX + 1];
        fill_with(&mut slots, node.slots(order), parent.index, slot);
        let mut first_child = node.child(order, 0);
        match parent.index.checked_sub(1) {
            Some(rank) => slots[rank].child = halves.lower,
            None => first_child = halves.lower,
        }
        Some(self.split(entries, parent, first_child, &slots))
    }

    fn new_node(&self, level: usize, skip: usize, first_child: At, slots: &[Slot]) -> At {
        let at = self.arena.take(WORDS);
        self.node(at).fill(level, skip, first_child, slots);
        at
    }

    /// Fills an empty tree with sorted keys.
    pub(super) fn build(&self, entries: &Entries, sorted: &[At]) {
        // Of the level that is being built: the key with which each node begins, and the node.
        let mut level: Vec<(At, At)> = Vec::with_capacity(sorted.len() / KEYS_MAX + 1);
        let mut keys = sorted.chunks(KEYS_MAX).peekable();
        while let Some(chunk) = keys.next() {
            let lower = if level.is_empty() { 0 } else { chunk[0] };
            let skip = common_len(entries, lower, keys.peek().map_or(0, |next| next[0]));
            let slots: Vec<Slot> = chunk.iter().map(|key| Slot { head: 0, key: *key, child: 0 }).collect();
            level.push((chunk[0], self.new_node(0, skip, 0, &with_heads(entries, &slots, skip))));
        }
        let mut height = 0;
        while level.len() > 1 {
            height += 1;
            let mut above = Vec::with_capacity(level.len() / KEYS_MAX + 1);
            let mut children = level.chunks(KEYS_MAX + 1).peekable();
            while let Some(chunk) = children.next() {
                let lower = if above.is_empty() { 0 } else { chunk[0].0 };
                let skip = common_len(entries, lower, children.peek().map_or(0, |next| next[0].0));
                let slots: Vec<Slot> = chunk[1..].iter().map(|(key, child)| Slot { head: 0, key: *key, child: *child }).collect();
                above.push((chunk[0].0, self.new_node(height, skip, chunk[0].1, &with_heads(entries, &slots, skip))));
            }
            level = above;
        }
        if let Some((_, root)) = level.first() {
            self.root.store(*root, Ordering::Release);
        }
    }
}

/// Which child holds keys of this rank: a child begins with its key.
fn child_index(rank: Rank) -> usize {
    rank.below + usize::from(rank.is_there)
}

/// How many bytes all keys between two bounds begin with.
fn common_len(entries: &Entries, lower: At, upper: At) -> usize {
    if lower == 0 || upper == 0 { 0 } else { Probe::at(entries, lower).common_len(&Probe::at(entries, upper)) }
}

fn with_heads(entries: &Entries, slots: &[Slot], skip: usize) -> Vec<Slot> {
    slots.iter().map(|slot| Slot { head: Probe::at(entries, slot.key).head(skip), ..*slot }).collect()
}

/// All of `from`, with `slot` at `rank`.
fn fill_with(slots: &mut [Slot; KEYS_MAX + 1], from: impl Iterator<Item = Slot>, rank: usize, slot: Slot) {
    for (at, from) in from.enumerate() {
        slots[at + usize::from(at >= rank)] = from;
    }
    slots[rank] = slot;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Meta;
    use crate::number::{BucketId, CommitNumber};

    /// A full leaf that was split stands in its parent until the next store, beside its own upper half.
    #[test]
    fn the_last_key_below_another_is_that_one_also_while_a_leaf_is_being_split() {
        for step in [1, 7, 199] {
            let (entries, tree) = (Entries::new(1 << 20), Tree::new(1 << 20));
            let mut keys: Vec<(u64, At)> = Vec::new();
            let mut halved = 0;
            for number in 0..200_u64 {
                let number = number * step % 200;
                let name = number.to_be_bytes();
                let key = entries.add_key(BucketId(1), &name, CommitNumber(1), &Meta::default(), b"");
                keys.push((number, key));
                keys.sort_unstable();
                let half = if tree.is_empty() { None } else { split_in_half(&tree, &entries, key) };
                if half.is_none() {
                    tree.insert(&entries, key);
                }
                let added: Vec<_> = keys.iter().filter(|(other, _)| *other != number || half.is_none()).collect();
                for pair in added.windows(2) {
                    let last_before =
                        |key| tree.last_before(&entries, &Probe::at(&entries, key)).map(|position| tree.key(&position));
                    let found = last_before(pair[1].1);
                    // The new one may be there already.
                    let found = if half.is_some() && found == Some(key) { last_before(key) } else { found };
                    assert_eq!(found, Some(pair[0].1), "below {}, step {step}", pair[1].0);
                }
                if let Some((parent, order, lower)) = half {
                    halved += 1;
                    tree.node(parent.node).set_child(order, parent.index, lower);
                }
            }
            assert!(halved > 0);
        }
    }

    /// The first half of an insert into a full leaf whose parent has room.
    fn split_in_half(tree: &Tree, entries: &Entries, key: At) -> Option<(Step, Order, At)> {
        let probe = Probe::at(entries, key);
        let (path, depth) = tree.path_to(entries, &probe);
        let (parent, leaf) = (path[depth.checked_sub(2)?], path[depth - 1]);
        let (node, above) = (tree.node(leaf.node), tree.node(parent.node));
        let (order, above_order) = (node.order(), above.order());
        if order.len() < KEYS_MAX || above_order.len() == KEYS_MAX {
            return None;
        }
        let slot = Slot { head: probe.head(node.skip()), key, child: 0 };
        let mut slots = [slot; KEYS_MAX + 1];
        fill_with(&mut slots, node.slots(order), leaf.index, slot);
        let halves = tree.split(entries, &leaf, 0, &slots);
        let head = Probe::at(entries, halves.separator).head(above.skip());
        above.insert(parent.index, Slot { head, key: halves.separator, child: halves.upper });
        Some((parent, above_order, halves.lower))
    }
}
