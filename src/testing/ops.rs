//! Random programs against a store: what one step is, and how it is decoded from bytes.
//!
//! The model test makes programs from random bytes and shrinks them; a fuzz target makes them from its input: both through
//! [`Op::from_bytes`], so one decoder decides how often each step comes. Every decoding reads a bounded number of bytes, and bytes of zero
//! are the plainest step, so that shrinking bytes shrinks programs. [`world`](super::world) runs them.
//!
//! Keys, patterns and buckets are few, so that steps meet; so are spans of time and limits.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{BucketConfig, Compression};

const BUCKETS: [&str; 3] = ["b", "b-2", "C"];
/// Neighbours in byte order that are not neighbours as subjects, and two that differ only after 300 bytes.
const KEYS: [&str; 12] = ["a", "a.b", "a.b.c", "a-b", "a.B", "a/b", "A", "b", "x.b", "x.y.z", "LONG1", "LONG2"];
const PATTERNS: [&str; 12] = [">", "a", "a.*", "a.>", "*", "*.b", "*.*", "*.>", "a.*.c", "none.*", "LONG1", "x.>"];
/// Times to live, limits of age and waits, so that they end at the same moments again and again.
const MILLISECONDS: [u64; 6] = [1, 2, 5, 50, 100, 1_000];
/// The most operations of a batch that is decoded; [`world`](super::world) lets the store refuse the largest.
pub(super) const BATCH_OPS_MAX: u8 = 5;
/// As many bytes as the longest step takes.
pub const STEP_LEN: usize = 3 + 3 * BATCH_OPS_MAX as usize;

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
    /// Only in a batch.
    Check(Expect),
}

/// One operation of a batch, or a write of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub bucket: u8,
    pub key: u8,
    pub change: Change,
    pub ttl: Ttl,
}

/// A time to live, where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl(pub Option<Duration>);

/// How far the clock goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    Span(Duration),
    /// To the next moment at which something expires by itself; if nothing does, not at all.
    ToNextExpiry,
    /// One nanosecond less.
    BeforeNextExpiry,
}

/// A jump of the wall clock alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    None,
    Forward(Duration),
    Back(Duration),
}

/// One step of a program. Numbers choose from short fixed lists, modulo their length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Write {
        target: Target,
        synced: bool,
    },
    /// A put whose ticket is looked at afterwards.
    Submit {
        bucket: u8,
        key: u8,
        payload: Payload,
        ttl: Ttl,
    },
    Touch {
        bucket: u8,
        key: u8,
        ttl: Ttl,
    },
    Batch {
        targets: Vec<Target>,
        synced: bool,
    },
    /// Puts to so many keys from one on.
    Load {
        bucket: u8,
        key: u8,
        count: u8,
        payload: Payload,
    },
    Matching {
        bucket: u8,
        pattern: u8,
        purge: bool,
    },
    PurgeAll {
        bucket: u8,
    },
    PurgeDeletes {
        bucket: u8,
        age: Duration,
    },
    Wait(Wait),
    SetWall(Jump),
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
    /// What has changed since a revision, named as in [`Op::ReadAt`].
    Changes {
        bucket: u8,
        back: u8,
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
    HoldChanges {
        bucket: u8,
        back: u8,
    },
    HoldSnapshot {
        bucket: u8,
    },
    HoldStoreSnapshot,
    /// Reads the oldest held iterator to its end, or all of a snapshot: it must show what there was when it was started.
    DrainHeld,
    /// The newest entries of a range of keys, from both ends in turns; ends beyond the list of keys are open.
    Range {
        bucket: u8,
        from: u8,
        to: u8,
        shape: u8,
        turns: u8,
    },
    CreateBucket {
        bucket: u8,
        config: (u8, u8),
    },
    EditBucket {
        bucket: u8,
        config: (u8, u8),
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
    /// Commits the markers of what has expired.
    Sweep,
    Sync,
    /// Close or drop every handle, let time pass and the wall clock be set, and open.
    Reopen {
        clean: bool,
        pause: Wait,
        jump: Jump,
    },
}

impl Op {
    /// The next step that the bytes stand for; `None` at their end. Takes at most [`STEP_LEN`] bytes.
    pub fn from_bytes(bytes: &mut impl Iterator<Item = u8>) -> Option<Self> {
        let kind = bytes.next()?;
        Some(match kind {
            0..=87 => {
                let (bucket, key) = (bytes.next()?, bytes.next()?);
                let (change, ttl) = (Change::from_bytes(kind, bytes)?, Ttl::from_bytes(bytes)?);
                Self::Write { target: Target { bucket, key, change, ttl }, synced: kind == 87 }
            }
            88..=91 => {
                let (bucket, key) = (bytes.next()?, bytes.next()?);
                Self::Submit { bucket, key, payload: Payload::from_bytes(bytes)?, ttl: Ttl::from_bytes(bytes)? }
            }
            92..=96 => Self::Touch { bucket: bytes.next()?, key: bytes.next()?, ttl: Ttl::from_bytes(bytes)? },
            97..=110 => Self::batch_from_bytes(bytes)?,
            111..=113 => {
                let (bucket, key, count) = (bytes.next()?, bytes.next()?, bytes.next()?);
                Self::Load { bucket, key, count: count % 8, payload: Payload::from_bytes(bytes)? }
            }
            114..=116 => Self::Matching { bucket: bytes.next()?, pattern: bytes.next()?, purge: kind == 116 },
            117..=119 => Self::PurgeAll { bucket: bytes.next()? },
            120..=124 => Self::PurgeDeletes { bucket: bytes.next()?, age: age(bytes.next()?) },
            125..=140 => Self::Wait(Wait::from_bytes(bytes)?),
            141..=142 => Self::SetWall(Jump::from_bytes(bytes)?),
            143..=155 => Self::EditBucket { bucket: bytes.next()?, config: (bytes.next()?, bytes.next()?) },
            156..=171 => Self::Read { bucket: bytes.next()?, key: bytes.next()? },
            172..=177 => Self::ReadAt { bucket: bytes.next()?, key: bytes.next()?, back: bytes.next()? },
            178..=179 => Self::Changes { bucket: bytes.next()?, back: bytes.next()? },
            180..=183 => Self::History { bucket: bytes.next()?, pattern: bytes.next()? },
            184..=188 => {
                let (bucket, choice) = (bytes.next()?, bytes.next()?);
                let patterns = (0..choice % 4).map(|_| bytes.next()).collect::<Option<_>>()?;
                Self::Keys { bucket, patterns, markers: choice & 0x80 != 0 }
            }
            189..=191 => Self::Range {
                bucket: bytes.next()?,
                from: bytes.next()?,
                to: bytes.next()?,
                shape: bytes.next()?,
                turns: bytes.next()?,
            },
            192..=193 => Self::HoldKeys { bucket: bytes.next()?, pattern: bytes.next()?, take: bytes.next()? },
            194 => Self::HoldHistory { bucket: bytes.next()?, pattern: bytes.next()?, take: bytes.next()? },
            195 => Self::HoldChanges { bucket: bytes.next()?, back: bytes.next()? },
            196 => Self::HoldSnapshot { bucket: bytes.next()? },
            197 => Self::HoldStoreSnapshot,
            198..=201 => Self::DrainHeld,
            202..=208 => Self::CreateBucket { bucket: bytes.next()?, config: (bytes.next()?, bytes.next()?) },
            209..=211 => Self::DeleteBucket { bucket: bytes.next()? },
            212..=214 => Self::UseDeadHandle { call: bytes.next()? },
            215..=218 => Self::Status { bucket: bytes.next()? },
            219..=229 => Self::Flush,
            230..=233 => Self::MergeAll,
            234..=241 => Self::Step,
            242..=244 => Self::Sweep,
            245..=246 => Self::Sync,
            _ => Self::Reopen { clean: kind < 251, pause: Wait::from_bytes(bytes)?, jump: Jump::from_bytes(bytes)? },
        })
    }

    /// Three bytes for each operation, so that lengths and conditions are fewer here.
    fn batch_from_bytes(bytes: &mut impl Iterator<Item = u8>) -> Option<Self> {
        let header = bytes.next()?;
        let target = |_| {
            let (place, kind, detail) = (bytes.next()?, bytes.next()?, bytes.next()?);
            let (bucket, key) = (place / 16, place % 16);
            let payload = Payload { len: u16::from(detail % 64), tag: detail };
            let expect = Expect::of(detail / 32);
            let change = match kind % 16 {
                0..=5 => Change::Put(payload),
                6..=7 => Change::Create(payload),
                8..=9 => Change::Update(payload, expect),
                10 => Change::Delete,
                11 => Change::DeleteExpecting(expect),
                12 => Change::Purge,
                13 => Change::PurgeExpecting(expect),
                _ => Change::Check(expect),
            };
            let may_expire = matches!(change, Change::Put(_) | Change::Create(_) | Change::Update(..));
            Some(Target { bucket, key, change, ttl: Ttl::of(if may_expire { kind & 0xf0 } else { 0 }) })
        };
        let targets = (0..header % (BATCH_OPS_MAX + 1)).map(target).collect::<Option<_>>()?;
        Some(Self::Batch { targets, synced: header >= 240 })
    }

    /// All the steps that the bytes stand for.
    #[must_use]
    pub fn program(bytes: &[u8]) -> Vec<Self> {
        let mut bytes = bytes.iter().copied();
        std::iter::from_fn(|| Self::from_bytes(&mut bytes)).collect()
    }
}

impl Change {
    fn from_bytes(kind: u8, bytes: &mut impl Iterator<Item = u8>) -> Option<Self> {
        Some(match kind {
            0..=38 | 87 => Self::Put(Payload::from_bytes(bytes)?),
            39..=48 => Self::Create(Payload::from_bytes(bytes)?),
            49..=62 => Self::Update(Payload::from_bytes(bytes)?, Expect::from_bytes(bytes)?),
            63..=72 => Self::Delete,
            73..=77 => Self::DeleteExpecting(Expect::from_bytes(bytes)?),
            78..=82 => Self::Purge,
            _ => Self::PurgeExpecting(Expect::from_bytes(bytes)?),
        })
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
        bytes.next().map(Self::of)
    }

    const fn of(byte: u8) -> Self {
        match byte % 8 {
            0..=3 => Self::Current,
            4 => Self::None,
            5 => Self::Before,
            6 => Self::Future,
            _ => Self::LastOfBucket,
        }
    }
}

impl Ttl {
    fn from_bytes(bytes: &mut impl Iterator<Item = u8>) -> Option<Self> {
        bytes.next().map(Self::of)
    }

    fn of(byte: u8) -> Self {
        Self((byte >= 160).then(|| milliseconds(byte / 16)))
    }
}

impl Wait {
    fn from_bytes(bytes: &mut impl Iterator<Item = u8>) -> Option<Self> {
        let byte = bytes.next()?;
        Some(match byte {
            0..=127 => Self::Span(milliseconds(byte)),
            128..=143 => Self::Span(Duration::from_nanos(1)),
            144..=159 => Self::Span(Duration::ZERO),
            160..=223 => Self::ToNextExpiry,
            _ => Self::BeforeNextExpiry,
        })
    }
}

impl Jump {
    fn from_bytes(bytes: &mut impl Iterator<Item = u8>) -> Option<Self> {
        let byte = bytes.next()?;
        Some(match byte {
            0..=179 => Self::None,
            180..=215 => Self::Forward(milliseconds(byte)),
            _ => Self::Back(milliseconds(byte)),
        })
    }
}

fn milliseconds(choice: u8) -> Duration {
    Duration::from_millis(MILLISECONDS[usize::from(choice) % MILLISECONDS.len()])
}

/// Half of the time none at all.
fn age(byte: u8) -> Duration {
    if byte < 128 { Duration::ZERO } else { milliseconds(byte) }
}

pub(super) fn bucket_name(number: u8) -> &'static str {
    BUCKETS[usize::from(number) % BUCKETS.len()]
}

/// Zeros are a bucket without limits.
pub(super) fn bucket_config(bucket: u8, (shape, limits): (u8, u8)) -> BucketConfig {
    let depth = [1, 2, 5, 64][usize::from(shape) % 4];
    let age = [None, None, None, Some(100), Some(150), Some(1_000)][usize::from(limits) % 6].map(Duration::from_millis);
    let bytes = [None, None, None, Some(100), Some(400), Some(4_000)][usize::from(limits) / 6 % 6];
    let markers = [None, None, Some(100), None, Some(1_000), Some(150), Some(100)][usize::from(limits) / 36 % 7];
    let markers = markers.map(Duration::from_millis);
    let config = BucketConfig::new(bucket_name(bucket)).history(depth).max_age(age).max_bytes(bytes).limit_markers(markers);
    match shape / 4 % 8 {
        0..=3 => config,
        4 => config.max_value_size(40),
        5 => config.description("number two"),
        6 => config.compression(Compression::Zstd),
        _ => config.metadata(BTreeMap::from([("team".to_owned(), "blue".to_owned())])),
    }
}

pub(super) fn key_name(number: u8) -> String {
    spelled(KEYS[usize::from(number) % KEYS.len()])
}

/// A key, or the end of all keys.
pub(super) fn bound_name(number: u8) -> Option<String> {
    KEYS.get(usize::from(number) % (KEYS.len() + 2)).map(|key| spelled(key))
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
        let program = Op::program(&random_bytes(200_000));
        let reached = |wanted: fn(&Op) -> bool| assert!(program.iter().any(wanted));
        let expiring = |target: &Target| matches!(target, Target { change: Change::Create(_), ttl: Ttl(Some(_)), .. });
        assert!(program.iter().any(|op| matches!(op, Op::Write { target, .. } if expiring(target))));
        reached(|op| matches!(op, Op::Write { target: Target { change: Change::PurgeExpecting(Expect::Before), .. }, .. }));
        reached(|op| matches!(op, Op::Batch { targets, .. } if targets.len() == usize::from(BATCH_OPS_MAX)));
        reached(|op| matches!(op, Op::Keys { patterns, markers: true, .. } if patterns.len() == 3));
        reached(|op| matches!(op, Op::HoldKeys { .. }));
        reached(|op| matches!(op, Op::HoldHistory { .. }));
        reached(|op| matches!(op, Op::Changes { .. }));
        reached(|op| matches!(op, Op::HoldChanges { .. }));
        reached(|op| matches!(op, Op::HoldSnapshot { .. }));
        reached(|op| matches!(op, Op::HoldStoreSnapshot));
        reached(|op| matches!(op, Op::Range { .. }));
        reached(|op| matches!(op, Op::UseDeadHandle { .. }));
        reached(|op| matches!(op, Op::MergeAll));
        reached(|op| matches!(op, Op::Sweep));
        reached(|op| matches!(op, Op::Wait(Wait::BeforeNextExpiry)));
        reached(|op| matches!(op, Op::Reopen { clean: false, jump: Jump::Back(_), .. }));
        reached(|op| matches!(op, Op::Write { target: Target { change: Change::Put(Payload { len: 5_000.., .. }), .. }, .. }));
    }

    #[test]
    fn zero_bytes_are_the_plainest_write_and_half_a_step_is_none() {
        let change = Change::Put(Payload { len: 0, tag: 0 });
        let put = Op::Write { target: Target { bucket: 0, key: 0, change, ttl: Ttl(None) }, synced: false };
        assert_eq!(Op::program(&[0; 6]), [put]);
        assert_eq!(Op::program(&[0; 5]), []);
    }

    #[test]
    fn values_of_two_steps_differ() {
        let payload = Payload { len: 20, tag: 1 };
        assert_ne!(payload.bytes(1), payload.bytes(2));
        assert_eq!(payload.bytes(1).len(), 20);
    }
}
