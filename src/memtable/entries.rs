//! Keys and their entries in an arena: how they lie there, and the chain of one key's entries from newest to oldest.
//!
//! Words of a key:
//!
//! | word | what |
//! |---|---|
//! | 0 | low half: its newest entry, the only thing that ever changes; high half: the key that came before it, of any bucket |
//! | 1 | bucket |
//! | 2.. | length, 2 bytes; the key's bytes |
//!
//! Words of an entry, of which none changes:
//!
//! | word | what |
//! |---|---|
//! | 0, 1, 2 | commit number, revision, created |
//! | 3 | low half: the entry before it of the same key; high half: one further back, see below |
//! | 4 | bits 0-31: how many entries of the key there are up to this one; 32-47: length and [`LARGE`], [`DEADLINE`], [`ORIGIN`]; 48-63: flags |
//! | | deadline, if it has one; origin, if it has one |
//! | .. | the value's bytes; for a large one its index in [`Large`] |
//!
//! The second link makes every search in a chain logarithmic, however often a key was overwritten: it jumps as far as the one of the
//! entry before it did twice, whenever two such jumps are equally long (skew-binary numbers; E. W. Myers, "An applicative random-access
//! stack", 1983).
//!
//! **Publication.** An entry is written completely before its place is released: into the newest-entry half of its key if there is one,
//! else, with the key, into a slot and into [`Entries::last_born`]. A reader acquires the word that it takes a place from. Everything
//! behind that place was written before, by the thread that released it or by one whose release that thread had acquired.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::arena::{self, Arena, At};
use super::large::Large;
use crate::entry::{COPIED_VALUE_LEN_MAX, Flags, Meta, Value};
use crate::number::{BucketId, CommitNumber, Revision};

const KEY_WORDS: usize = 2;
const ENTRY_WORDS: usize = 5;
/// The value lies in an allocation of its own.
const LARGE: u16 = 1 << 15;
/// A deadline is stored.
const DEADLINE: u16 = 1 << 14;
/// An origin is stored.
const ORIGIN: u16 = 1 << 13;
const LEN: u16 = ORIGIN - 1;

const _: () = assert!(COPIED_VALUE_LEN_MAX <= LEN as usize, "the length of a small value shares its bits with nothing");

/// Keys and entries.
#[derive(Debug)]
pub(super) struct Entries {
    arena: Arena,
    large: Large,
    last_born: AtomicU32,
}

/// One key, in place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key<'a> {
    entries: &'a Entries,
    words: &'a [AtomicU64],
}

/// One entry, in place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored<'a> {
    entries: &'a Entries,
    at: At,
    /// To the end of the chunk, because the value's length is in the first of them.
    words: &'a [AtomicU64],
}

/// A value where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kept<'a> {
    Small(&'a [u8]),
    Large(&'a Arc<[u8]>),
}

impl Entries {
    pub(super) fn new(capacity: u64) -> Self {
        Self { arena: Arena::new(capacity), large: Large::default(), last_born: AtomicU32::new(0) }
    }

    /// Memory taken.
    pub(super) fn bytes(&self) -> u64 {
        self.arena.taken() + self.large.bytes()
    }

    /// The key that came last, and with it, by [`born_before`](Self::born_before), all that came before it; 0 if there is none.
    pub(super) fn last_born(&self) -> At {
        self.last_born.load(Ordering::Acquire)
    }

    /// The key that came before this one.
    pub(super) fn born_before(&self, key: At) -> At {
        high(self.arena.words(key)[0].load(Ordering::Relaxed))
    }

    /// A key that is not there yet, with its first entry. Nobody can find it until it is announced.
    pub(super) fn add_key(&self, bucket: BucketId, key: &[u8], commit: CommitNumber, meta: &Meta, value: &[u8]) -> At {
        let key_words = KEY_WORDS + (2 + key.len()).div_ceil(8);
        let at = self.arena.take(key_words + entry_words(meta, value));
        let words = self.arena.words(at);
        let entry = at + key_words as At;
        self.write(&words[key_words..], commit, meta, value, None);
        words[0].store(halves(entry, self.last_born.load(Ordering::Relaxed)), Ordering::Relaxed);
        words[1].store(bucket.0, Ordering::Relaxed);
        let len = u16::try_from(key.len()).expect("keys are at most 4,000 bytes long");
        let (first, rest) = key.split_at(key.len().min(6));
        let mut start = [0; 8];
        start[..2].copy_from_slice(&len.to_le_bytes());
        start[2..2 + first.len()].copy_from_slice(first);
        arena::write(&words[KEY_WORDS..], &start);
        arena::write(&words[KEY_WORDS + 1..], rest);
        at
    }

    /// Makes a key part of the list of all keys.
    pub(super) fn announce(&self, key: At) {
        self.last_born.store(key, Ordering::Release);
    }

    /// A newer entry of a key, which is there for readers on return.
    pub(super) fn add_entry(&self, key: At, commit: CommitNumber, meta: &Meta, value: &[u8]) -> At {
        let key = self.key(key);
        let newest = key.newest();
        assert!(newest.commit() < commit, "commits of a key rise");
        let at = self.arena.take(entry_words(meta, value));
        self.write(self.arena.words(at), commit, meta, value, Some(newest));
        key.words[0].store(halves(at, high(key.words[0].load(Ordering::Relaxed))), Ordering::Release);
        at
    }

    fn write(&self, words: &[AtomicU64], commit: CommitNumber, meta: &Meta, value: &[u8], older: Option<Stored<'_>>) {
        words[0].store(commit.0, Ordering::Relaxed);
        words[1].store(meta.revision.0, Ordering::Relaxed);
        words[2].store(meta.created, Ordering::Relaxed);
        let (links, count) = older.map_or((0, 1), |older| (halves(older.at, older.jump_of_next()), older.count() + 1));
        words[3].store(links, Ordering::Relaxed);
        let large = is_large(value);
        let mut kind = if large { LARGE } else { value.len() as u16 };
        let mut next = ENTRY_WORDS;
        for (bit, field) in [(DEADLINE, meta.deadline), (ORIGIN, meta.origin.0)] {
            if field != 0 {
                kind |= bit;
                words[next].store(field, Ordering::Relaxed);
                next += 1;
            }
        }
        words[4].store(u64::from(count) | u64::from(kind) << 32 | meta.flags.bits() << 48, Ordering::Relaxed);
        if large {
            words[next].store(self.large.push(value) as u64, Ordering::Relaxed);
        } else {
            arena::write(&words[next..], value);
        }
    }

    /// The key at a place.
    pub(super) fn key(&self, at: At) -> Key<'_> {
        Key { entries: self, words: self.arena.words(at) }
    }

    /// The entry at a place; none at 0.
    pub(super) fn entry(&self, at: At) -> Option<Stored<'_>> {
        (at != 0).then(|| Stored { entries: self, at, words: self.arena.words(at) })
    }
}

impl<'a> Key<'a> {
    pub(super) fn bucket(self) -> BucketId {
        BucketId(self.words[1].load(Ordering::Relaxed))
    }

    pub(super) fn bytes(self) -> &'a [u8] {
        let words = &self.words[KEY_WORDS..];
        let len = usize::from(u64::from_le(words[0].load(Ordering::Relaxed)) as u16);
        &arena::bytes(words, 2 + len)[2..]
    }

    /// Whether it is this one.
    pub(super) fn is(self, bucket: BucketId, key: &[u8]) -> bool {
        self.bucket() == bucket && self.bytes() == key
    }

    /// Its newest entry.
    pub(super) fn newest(self) -> Stored<'a> {
        let newest = low(self.words[0].load(Ordering::Acquire));
        self.entries.entry(newest).expect("a key has an entry before anybody can find it")
    }

    /// Its newest entry at or below `visible`.
    pub(super) fn newest_visible(self, visible: CommitNumber) -> Option<Stored<'a>> {
        let newest = self.newest();
        if newest.commit() <= visible {
            return Some(newest);
        }
        newest.last_above(visible).older()
    }

    /// Its oldest entry, if it is at or below `visible`.
    pub(super) fn oldest_visible(self, visible: CommitNumber) -> Option<Stored<'a>> {
        let mut entry = self.newest();
        while let Some(further) = entry.jump().or_else(|| entry.older()) {
            entry = further;
        }
        (entry.commit() <= visible).then_some(entry)
    }

    /// The entry that is next newer than `commit`, if it is at or below `visible`.
    pub(super) fn newer_visible(self, commit: CommitNumber, visible: CommitNumber) -> Option<Stored<'a>> {
        let newest = self.newest();
        if newest.commit() <= commit {
            return None;
        }
        let newer = newest.last_above(commit);
        (newer.commit() <= visible).then_some(newer)
    }
}

impl<'a> Stored<'a> {
    pub(super) fn at(self) -> At {
        self.at
    }

    pub(super) fn commit(self) -> CommitNumber {
        CommitNumber(self.word(0))
    }

    pub(super) fn meta(self) -> Meta {
        let (kind, mut next) = (self.kind(), ENTRY_WORDS);
        let mut optional = |bit| {
            if kind & bit == 0 {
                return 0;
            }
            next += 1;
            self.word(next - 1)
        };
        Meta {
            revision: Revision(self.word(1)),
            flags: Flags::from_bits(self.word(4) >> 48).expect("these are the bits of flags"),
            created: self.word(2),
            deadline: optional(DEADLINE),
            origin: Revision(optional(ORIGIN)),
        }
    }

    pub(super) fn value(self) -> Kept<'a> {
        let kind = self.kind();
        let start = ENTRY_WORDS + usize::from(kind & DEADLINE != 0) + usize::from(kind & ORIGIN != 0);
        if kind & LARGE == 0 {
            return Kept::Small(arena::bytes(&self.words[start..], usize::from(kind & LEN)));
        }
        Kept::Large(self.entries.large.get(self.word(start) as usize))
    }

    /// The next older entry of the key.
    pub(super) fn older(self) -> Option<Self> {
        self.entries.entry(low(self.word(3)))
    }

    fn jump(self) -> Option<Self> {
        self.entries.entry(high(self.word(3)))
    }

    /// The oldest entry of the key above `commit`, of those from this one on, which is above it.
    fn last_above(self, commit: CommitNumber) -> Self {
        let mut entry = self;
        let is_above = |further: &Self| further.commit() > commit;
        while let Some(further) = entry.jump().filter(is_above).or_else(|| entry.older().filter(is_above)) {
            entry = further;
        }
        entry
    }

    /// Where the second link of the entry after this one goes.
    fn jump_of_next(self) -> At {
        let jump = self.jump().filter(|jump| {
            let further = jump.jump().map_or(0, Self::count);
            self.count() - jump.count() == jump.count() - further
        });
        jump.map_or(self.at, |jump| high(jump.word(3)))
    }

    fn count(self) -> u32 {
        self.word(4) as u32
    }

    fn kind(self) -> u16 {
        (self.word(4) >> 32) as u16
    }

    fn word(self, index: usize) -> u64 {
        self.words[index].load(Ordering::Relaxed)
    }
}

impl<'a> Kept<'a> {
    /// The bytes, in place.
    pub(super) fn bytes(self) -> &'a [u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Large(bytes) => bytes,
        }
    }

    /// A value that outlives the memtable: a copy of a small one, a share of a large one.
    pub(super) fn to_value(self) -> Value {
        match self {
            Self::Small(bytes) => Value::copy_of(bytes),
            Self::Large(bytes) => Value::shared(bytes),
        }
    }
}

fn is_large(value: &[u8]) -> bool {
    value.len() > COPIED_VALUE_LEN_MAX
}

fn entry_words(meta: &Meta, value: &[u8]) -> usize {
    let value_words = if is_large(value) { 1 } else { value.len().div_ceil(8) };
    ENTRY_WORDS + usize::from(meta.deadline != 0) + usize::from(meta.origin.0 != 0) + value_words
}

fn halves(low: At, high: At) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

fn low(word: u64) -> At {
    word as At
}

fn high(word: u64) -> At {
    (word >> 32) as At
}
