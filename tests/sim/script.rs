//! What a scenario is made of: steps in words, the level of durability, and options small enough that every path is short.

use std::sync::Arc;
use std::time::Duration;

use annals::testing::disk::{CrashPolicy, SimDisk};
use annals::{BucketConfig, Durability, Options};

/// Where the store lives on every simulated disk.
pub(crate) const STORE: &str = "/store";
/// The largest value: two and a half log files.
pub(crate) const VALUE_LEN_MAX: usize = 20_000;
pub(crate) const LOG_LEN: u64 = 8 << 10;
/// Large enough that memtables are sealed by a step or a full log, not behind the script's back.
const MEMTABLE_LEN: u64 = 16 << 10;
const CROWDED_MEMTABLE_LEN: u64 = 600;
const BLOCK_LEN: u32 = 64;
const SEGMENT_LEN: u64 = 64 << 20;
/// About one entry of a hundred bytes with what a file has beside it.
const SLICED_SEGMENT_LEN: u64 = 400;
/// The limit of unsynced bytes at `Periodic`.
pub(crate) const PERIODIC_BYTES: u64 = 4096;

/// A level of durability, as a word in the name of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Sync,
    Periodic,
    OsCache,
    /// `OsCache` with memtables that are full long before their log file is: the log is ended with room left in it.
    Crowded,
    /// `OsCache` with files so short that a flush makes several and a merge takes one slice after the other.
    Sliced,
}

use Level::{Crowded, OsCache, Periodic, Sliced, Sync};

/// Where the level makes no difference.
pub(crate) const ONE: &[Level] = &[Sync];
pub(crate) const TWO: &[Level] = &[Sync, OsCache];
pub(crate) const ALL: &[Level] = &[Sync, Periodic, OsCache];
/// Where it is the memtable that ends a generation.
pub(crate) const CROWDED: &[Level] = &[Crowded];
/// Where it is about merges by slices.
pub(crate) const SLICED: &[Level] = &[Sliced];
/// Where it is only of interest below `Sync`.
pub(crate) const WEAK: &[Level] = &[Periodic, OsCache];

impl Level {
    pub(crate) fn options(self, disk: &Arc<SimDisk>) -> Options {
        let durability = match self {
            Sync => Durability::Sync,
            Periodic => Durability::Periodic { delay: Duration::from_millis(100), bytes: PERIODIC_BYTES },
            OsCache | Crowded | Sliced => Durability::OsCache,
        };
        let memtable_len = if self == Crowded { CROWDED_MEMTABLE_LEN } else { MEMTABLE_LEN };
        let segment_len = if self == Sliced { SLICED_SEGMENT_LEN } else { SEGMENT_LEN };
        Options::new()
            .env(disk.env())
            .durability(durability)
            .manual_jobs()
            .memory_budget(64 << 10)
            .max_value_size(VALUE_LEN_MAX as u64)
            .sizes(LOG_LEN, memtable_len, BLOCK_LEN)
            .segment_size(segment_len)
    }
}

/// One step of a scenario: at most one commit each, so that a crash falls between commits or inside one.
///
/// Conditions and refusals are not written down here: what a step must answer is the oracle's business.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Open,
    /// A bucket and its depth of history.
    Bucket(&'static str, u8),
    /// Bucket, key, length of the value.
    Put(&'static str, &'static str, usize),
    Create(&'static str, &'static str),
    /// With the right revision.
    Update(&'static str, &'static str),
    /// With a wrong one.
    UpdateStale(&'static str, &'static str),
    Delete(&'static str, &'static str),
    DeleteStale(&'static str, &'static str),
    Purge(&'static str, &'static str),
    DropBucket(&'static str),
    Make(BucketConfig),
    Edit(BucketConfig),
    /// A put with a time to live in milliseconds.
    PutFor(&'static str, &'static str, usize, u64),
    Touch(&'static str, &'static str, u64),
    /// A put whose ticket nobody waits for.
    Submit(&'static str, &'static str, usize),
    /// Bucket, key, what.
    Batch(Vec<(&'static str, &'static str, Part)>),
    /// So many values of so many bytes.
    Load(&'static str, usize, usize),
    DeleteMatching(&'static str, &'static str),
    PurgeMatching(&'static str, &'static str),
    PurgeAll(&'static str),
    /// With the age in milliseconds.
    PurgeDeletes(&'static str, u64),
    /// So many milliseconds pass.
    Wait(u64),
    /// The markers of what has expired.
    Sweep,
    Flush,
    MergeAll,
    Compact,
    /// Background work until there is none.
    Jobs,
    Sync,
    Verify,
    /// A second handle while the first one is open.
    OpenAgain,
    /// The whole visible state, as often as wanted.
    Look,
    Close,
    Drop,
    /// The process is killed; the operating system goes on.
    Kill,
    /// The power is cut.
    Cut(CrashPolicy),
    /// The power is cut in the next call but so many of a put of so many bytes.
    CutInPut(CrashPolicy, u64, usize),
}

/// One operation of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Put(usize),
    /// With a time to live in milliseconds.
    PutFor(usize, u64),
    Create(usize),
    /// With the right revision.
    Update(usize),
    Delete,
    Purge,
    /// With the right revision.
    Check,
    /// With a wrong one.
    CheckStale,
}

/// A script and where it is run.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) levels: &'static [Level],
    /// Run once, without faults: its calls are another scenario's business. Ends with the store at rest.
    pub(crate) setup: Vec<Step>,
    /// What is swept.
    pub(crate) steps: Vec<Step>,
    /// Every second crash inside every recovery, not a sample: for the scenarios that are about recovery.
    pub(crate) deep: bool,
    /// After each fault the store is left in one of three ways, in turn, and not in each, and of
    /// the recovery after a crash one call is crashed in: where neighbouring calls do the same things.
    pub(crate) brief: bool,
}

pub(crate) fn scenario(name: &'static str, levels: &'static [Level], steps: Vec<Step>) -> Scenario {
    Scenario { name, levels, setup: Vec::new(), steps, deep: false, brief: false }
}

impl Scenario {
    pub(crate) fn after(mut self, setup: Vec<Step>) -> Self {
        self.setup = setup;
        self
    }

    pub(crate) fn deep(mut self) -> Self {
        self.deep = true;
        self
    }

    pub(crate) fn brief(mut self) -> Self {
        self.brief = true;
        self
    }
}
