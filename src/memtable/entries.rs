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

/// One entry, in place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored<'a> {
    entries: &'a Entries,
    at: At,
    words: &'a [AtomicU64; ENTRY_WORDS],
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
        let at = self.arena.take(KEY_WORDS + (2 + key.len()).div_ceil(8));
        let words = self.arena.words(at);
        words[1].store(bucket.0, Ordering::Relaxed);
        let len = u16::try_from(key.len()).expect("keys are at most 4,000 bytes long");
        let (first, rest) = key.split_at(key.len().min(6));
        let mut start = [0; 8];
        start[..2].copy_from_slice(&len.to_le_bytes());
        start[2..2 + first.len()].copy_from_slice(first);
        arena::write(&words[KEY_WORDS..], &start);
        arena::write(&words[KEY_WORDS + 1..], rest);
        let entry = self.write(commit, meta, value, None);
        words[0].store(halves(entry, self.last_born.load(Ordering::Relaxed)), Ordering::Relaxed);
        at
    }

    /// Makes a key part of the list of all keys.
    pub(super) fn announce(&self, key: At) {
        self.last_born.store(key, Ordering::Release);
    }

    /// A newer entry of a key, which is there for readers on return.
    pub(super) fn add_entry(&self, key: At, commit: CommitNumber, meta: &Meta, value: &[u8]) {
        let newest = self.newest(key);
        assert!(newest.commit() < commit, "commits of a key rise");
        let entry = self.write(commit, meta, value, Some(newest));
        let word = &self.arena.words(key)[0];
        word.store(halves(entry, high(word.load(Ordering::Relaxed))), Ordering::Release);
    }

    fn write(&self, commit: CommitNumber, meta: &Meta, value: &[u8], older: Option<Stored<'_>>) -> At {
        let large = value.len() > COPIED_VALUE_LEN_MAX;
        let optional = [(DEADLINE, meta.deadline), (ORIGIN, meta.origin.0)];
        let optional = optional.iter().filter(|(_, field)| *field != 0);
        let value_words = if large { 1 } else { value.len().div_ceil(8) };
        let at = self.arena.take(ENTRY_WORDS + optional.clone().count() + value_words);
        let words = self.arena.words(at);
        words[0].store(commit.0, Ordering::Relaxed);
        words[1].store(meta.revision.0, Ordering::Relaxed);
        words[2].store(meta.created, Ordering::Relaxed);
        let (links, count) = older.map_or((0, 1), |older| (halves(older.at, older.jump_of_next()), older.count() + 1));
        words[3].store(links, Ordering::Relaxed);
        let mut kind = if large { LARGE } else { value.len() as u16 };
        let mut next = ENTRY_WORDS;
        for (bit, field) in optional {
            kind |= bit;
            words[next].store(*field, Ordering::Relaxed);
            next += 1;
        }
        words[4].store(u64::from(count) | u64::from(kind) << 32 | meta.flags.bits() << 48, Ordering::Relaxed);
        if large {
            words[next].store(self.large.push(value) as u64, Ordering::Relaxed);
        } else {
            arena::write(&words[next..], value);
        }
        at
    }

    pub(super) fn bucket(&self, key: At) -> BucketId {
        BucketId(self.arena.words(key)[1].load(Ordering::Relaxed))
    }

    /// The bucket and the bytes of a key.
    pub(super) fn key(&self, key: At) -> (BucketId, &[u8]) {
        let words = self.arena.words(key);
        let len = 2 + usize::from(u64::from_le(words[KEY_WORDS].load(Ordering::Relaxed)) as u16);
        let bucket = BucketId(words[1].load(Ordering::Relaxed));
        (bucket, &self.arena.bytes(key + KEY_WORDS as At, len)[2..])
    }

    /// Whether the key at this place is this one.
    pub(super) fn is_key(&self, at: At, bucket: BucketId, key: &[u8]) -> bool {
        self.key(at) == (bucket, key)
    }

    /// The key's newest entry.
    pub(super) fn newest(&self, key: At) -> Stored<'_> {
        let newest = low(self.arena.words(key)[0].load(Ordering::Acquire));
        self.entry(newest).expect("a key has an entry before anybody can find it")
    }

    /// The key's newest entry at or below `visible`.
    pub(super) fn newest_visible(&self, key: At, visible: CommitNumber) -> Option<Stored<'_>> {
        let newest = self.newest(key);
        if newest.commit() <= visible {
            return Some(newest);
        }
        newest.last_above(visible).older()
    }

    /// The key's oldest entry, if it is at or below `visible`.
    pub(super) fn oldest_visible(&self, key: At, visible: CommitNumber) -> Option<Stored<'_>> {
        let mut entry = self.newest(key);
        while let Some(further) = entry.jump().or_else(|| entry.older()) {
            entry = further;
        }
        (entry.commit() <= visible).then_some(entry)
    }

    /// The entry of the key that is next newer than `commit`, if it is at or below `visible`.
    pub(super) fn newer_visible(&self, key: At, commit: CommitNumber, visible: CommitNumber) -> Option<Stored<'_>> {
        let newest = self.newest(key);
        if newest.commit() <= commit {
            return None;
        }
        let newer = newest.last_above(commit);
        (newer.commit() <= visible).then_some(newer)
    }

    /// The entry at a place; none at 0.
    pub(super) fn entry(&self, at: At) -> Option<Stored<'_>> {
        (at != 0).then(|| Stored { entries: self, at, words: self.arena.array(at) })
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
            self.entries.arena.words(self.at)[next - 1].load(Ordering::Relaxed)
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
        let at = self.at + ENTRY_WORDS as At + At::from(kind & DEADLINE != 0) + At::from(kind & ORIGIN != 0);
        if kind & LARGE == 0 {
            return Kept::Small(self.entries.arena.bytes(at, usize::from(kind & LEN)));
        }
        let index = self.entries.arena.words(at)[0].load(Ordering::Relaxed);
        Kept::Large(self.entries.large.get(index as usize))
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

fn halves(low: At, high: At) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

fn low(word: u64) -> At {
    word as At
}

fn high(word: u64) -> At {
    (word >> 32) as At
}
