//! Random programs against a store: what one step is, and how it is decoded from bytes.
//!
//! The model test makes programs from random bytes and shrinks them; a fuzz target makes them from its input: both through
//! [`Op::from_bytes`], so one decoder decides how often each step comes. Every decoding reads a bounded number of bytes, and bytes of zero
//! are the plainest step, so that shrinking bytes shrinks programs. [`world`](super::world) runs them.
//!
//! Keys, patterns and buckets are few, so that steps meet.

use std::collections::BTreeMap;

use crate::config::BucketConfig;

const BUCKETS: [&str; 3] = ["b", "b-2", "C"];
/// Neighbours in byte order that are not neighbours as subjects, and two that differ only after 300 bytes.
const KEYS: [&str; 12] = ["a", "a.b", "a.b.c", "a-b", "a.B", "a/b", "A", "b", "x.b", "x.y.z", "LONG1", "LONG2"];
const PATTERNS: [&str; 12] = [">", "a", "a.*", "a.>", "*", "*.b", "*.*", "*.>", "a.*.c", "none.*", "LONG1", "x.>"];

/// Which revision a condition names, as of when the step runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Current,
    None,
    Before,
    Future,
    /// The newest of the bucket, whichever key has it.
    LastOfBucket,
}

/// A value: its length, and a byte that tells it from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    pub len: u16,
    pub tag: u8,
}

impl Payload {
    /// The bytes, different for every step of a program.
    #[must_use]
    pub fn bytes(self, step: usize) -> Vec<u8> {
        let text = format!("{step}:{}:", self.tag);
        text.bytes().chain((0..=u8::MAX).map(|byte| byte ^ self.tag).cycle()).take(usize::from(self.len)).collect()
    }
}

/// A write whose condition is still to be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Put(Payload),
    Create(Payload),
    Update(Payload, Expect),
    Delete,
    DeleteExpecting(Expect),
    Purge,
    PurgeExpecting(Expect),
}

/// One step of a program. Numbers choose from short fixed lists, modulo their length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Write {
        bucket: u8,
        key: u8,
        change: Change,
    },
    /// Everything about one key.
    Read {
        bucket: u8,
        key: u8,
    },
    /// One revision of one key, counted back from the bucket's newest; 255 = 0, 254 = one not written yet.
    ReadAt {
        bucket: u8,
        key: u8,
        back: u8,
    },
    History {
        bucket: u8,
        pattern: u8,
    },
    Keys {
        bucket: u8,
        patterns: Vec<u8>,
        markers: bool,
    },
    /// Starts an iterator, takes some items and keeps it.
    HoldKeys {
        bucket: u8,
        pattern: u8,
        take: u8,
    },
    HoldHistory {
        bucket: u8,
        pattern: u8,
        take: u8,
    },
    /// Reads the oldest held iterator to its end: it must show what there was when it was started.
    DrainHeld,
    CreateBucket {
        bucket: u8,
        config: u8,
    },
    DeleteBucket {
        bucket: u8,
    },
    /// A call through a handle of a deleted bucket.
    UseDeadHandle {
        call: u8,
    },
    Status {
        bucket: u8,
    },
    Flush,
    MergeAll,
    Step,
    Sync,
    /// Close and open.
    Reopen,
    /// Drop every handle without closing, and open.
    DropAndReopen,
}

impl Op {
    /// The next step that the bytes stand for; `None` at their end. Takes at most 7 bytes.
    pub fn from_bytes(bytes: &mut impl Iterator<Item = u8>) -> Option<Self> {
        let kind = bytes.next()? % 64;
        Some(match kind {
            0..=31 => Self::write_from_bytes(kind, bytes)?,
            32..=36 => Self::Read { bucket: bytes.next()?, key: bytes.next()? },
            37..=39 => Self::ReadAt { bucket: bytes.next()?, key: bytes.next()?, back: bytes.next()? },
            40..=42 => Self::History { bucket: bytes.next()?, pattern: bytes.next()? },
            43..=45 => {
                let (bucket, choice) = (bytes.next()?, bytes.next()?);
                let patterns = (0..choice % 4).map(|_| bytes.next()).collect::<Option<_>>()?;
                Self::Keys { bucket, patterns, markers: choice & 0x80 != 0 }
            }
            46 => Self::HoldKeys { bucket: bytes.next()?, pattern: bytes.next()?, take: bytes.next()? },
            47 => Self::HoldHistory { bucket: bytes.next()?, pattern: bytes.next()?, take: bytes.next()? },
            48 => Self::DrainHeld,
            49..=50 => Self::CreateBucket { bucket: bytes.next()?, config: bytes.next()? },
            51 => Self::DeleteBucket { bucket: bytes.next()? },
            52 => Self::UseDeadHandle { call: bytes.next()? },
            53 => Self::Status { bucket: bytes.next()? },
            54..=56 => Self::Flush,
            57 => Self::MergeAll,
            58..=60 => Self::Step,
            61 => Self::Sync,
            62 => Self::Reopen,
            _ => Self::DropAndReopen,
        })
    }

    fn write_from_bytes(kind: u8, bytes: &mut impl Iterator<Item = u8>) -> Option<Self> {
        let (bucket, key) = (bytes.next()?, bytes.next()?);
        let change = match kind {
            0..=13 => Change::Put(Payload::from_bytes(bytes)?),
            14..=17 => Change::Create(Payload::from_bytes(bytes)?),
            18..=22 => Change::Update(Payload::from_bytes(bytes)?, Expect::from_bytes(bytes)?),
            23..=26 => Change::Delete,
            27..=28 => Change::DeleteExpecting(Expect::from_bytes(bytes)?),
            29..=30 => Change::Purge,
            _ => Change::PurgeExpecting(Expect::from_bytes(bytes)?),
        };
        Some(Self::Write { bucket, key, change })
    }

    /// All the steps that the bytes stand for.
    #[must_use]
    pub fn program(bytes: &[u8]) -> Vec<Self> {
        let mut bytes = bytes.iter().copied();
        std::iter::from_fn(|| Self::from_bytes(&mut bytes)).collect()
    }
}

impl Payload {
    /// Mostly short; some around the limit of a bucket, some larger than a block, few larger than a memtable.
    fn from_bytes(bytes: &mut impl Iterator<Item = u8>) -> Option<Self> {
        let (tag, size) = (bytes.next()?, bytes.next()?);
        let size = u16::from(size);
        let len = match size {
            0..=159 => size % 16,
            160..=199 => size - 160 + 16,
            200..=239 => (size - 200) * 20 + 200,
            240..=252 => (size - 240) * 100 + 1_200,
            _ => (size - 252) * 5_000,
        };
        Some(Self { len, tag })
    }
}

impl Expect {
    fn from_bytes(bytes: &mut impl Iterator<Item = u8>) -> Option<Self> {
        Some(match bytes.next()? % 8 {
            0..=3 => Self::Current,
            4 => Self::None,
            5 => Self::Before,
            6 => Self::Future,
            _ => Self::LastOfBucket,
        })
    }
}

pub(super) fn bucket_name(number: u8) -> &'static str {
    BUCKETS[usize::from(number) % BUCKETS.len()]
}

pub(super) fn bucket_config(bucket: u8, number: u8) -> BucketConfig {
    let depth = [1, 2, 5, 64][usize::from(number) % 4];
    let config = BucketConfig::new(bucket_name(bucket)).history(depth);
    match number / 4 % 4 {
        0 => config,
        1 => config.max_value_size(40),
        2 => config.description("number two"),
        _ => config.metadata(BTreeMap::from([("team".to_owned(), "blue".to_owned())])),
    }
}

pub(super) fn key_name(number: u8) -> String {
    spelled(KEYS[usize::from(number) % KEYS.len()])
}

pub(super) fn pattern_name(number: u8) -> String {
    spelled(PATTERNS[usize::from(number) % PATTERNS.len()])
}

fn spelled(name: &str) -> String {
    name.replace("LONG", &format!("{}.", "long-and-equal".repeat(21)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// xorshift64 by Marsaglia, "Xorshift RNGs", 2003.
    fn random_bytes(count: usize) -> Vec<u8> {
        let step = |state: &u64| {
            let state = state ^ state << 13;
            let state = state ^ state >> 7;
            Some(state ^ state << 17)
        };
        std::iter::successors(Some(0x9e37_79b9_7f4a_7c15_u64), step).map(|state| (state >> 32) as u8).take(count).collect()
    }

    #[test]
    fn any_bytes_make_a_program_and_every_step_is_reached() {
        let program = Op::program(&random_bytes(60_000));
        let reached = |wanted: fn(&Op) -> bool| assert!(program.iter().any(wanted));
        reached(|op| matches!(op, Op::Write { change: Change::PurgeExpecting(Expect::Before), .. }));
        reached(|op| matches!(op, Op::Keys { patterns, markers: true, .. } if patterns.len() == 3));
        reached(|op| matches!(op, Op::HoldKeys { .. }));
        reached(|op| matches!(op, Op::HoldHistory { .. }));
        reached(|op| matches!(op, Op::UseDeadHandle { .. }));
        reached(|op| matches!(op, Op::MergeAll));
        reached(|op| matches!(op, Op::DropAndReopen));
        reached(|op| matches!(op, Op::Write { change: Change::Put(Payload { len: 5_000.., .. }), .. }));
    }

    #[test]
    fn zero_bytes_are_the_plainest_write_and_half_a_step_is_none() {
        let put = Op::Write { bucket: 0, key: 0, change: Change::Put(Payload { len: 0, tag: 0 }) };
        assert_eq!(Op::program(&[0; 5]), [put]);
        assert_eq!(Op::program(&[0; 4]), []);
    }

    #[test]
    fn values_of_two_steps_differ() {
        let payload = Payload { len: 20, tag: 1 };
        assert_ne!(payload.bytes(1), payload.bytes(2));
        assert_eq!(payload.bytes(1).len(), 20);
    }
}
