//! The grammar of `annals bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ArgGroup, ValueEnum};

use super::quantity::{size, span};

#[derive(Debug, ArgGroup)]
#[command(after_help = "\
Every key is loaded once, in random order, and the store is settled: all in segments, and merged as far as merges go. Then the
workloads run one after the other, in the order of the list above, on what the ones before them left. Values do not compress.
--durability is that of the store in all of them [default here: os]; `synced` is always synced.

A latency is that of one call (of both calls for cas); of reads one in eight is timed, of writes every one. TMPDIR says where the
temporary directory is made: measure on the disk that you mean. With --json each figure is an object on a line, with workload,
threads, value_bytes, keys, durability, ops_per_s, p50_ns, p99_ns and more in it; the last line is a summary of space.

Examples:
  annals bench
  annals bench --workload get,scan --threads 1,2 --json
  annals bench --keys 10000000 --workload load,reopen,scan
  annals bench --keys 8000000 --workload overwrite --passes 10 --histogram
  annals bench --keys 1000000 --workload expire --time 10s")]
pub(crate) struct BenchArgs {
    /// What to run, separated by commas [default: all but under-load and expire]
    #[arg(long, value_name = "NAMES", value_enum, value_delimiter = ',', hide_default_value = true)]
    pub(crate) workload: Vec<Workload>,
    /// How many keys
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    pub(crate) keys: u64,
    /// Bytes of each value
    #[arg(long, value_name = "SIZE", default_value = "100", value_parser = size)]
    pub(crate) value_bytes: u64,
    /// Bytes of each key, 18 to 4000
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u16).range(18..=4000))]
    pub(crate) key_bytes: u16,
    /// How many threads, for each of these counts anew [default: 1; for synced 1,8,32]
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Vec<u16>,
    /// How long each workload runs that has no end of its own
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = span)]
    pub(crate) time: Duration,
    /// How often overwrite writes every key
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) passes: u32,
    /// Another seed, another order
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Memory of the store for entries that are in no segment yet [default: the library's]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) memory: Option<u64>,
    /// Leave out settling, which then happens behind the workloads
    #[arg(long)]
    pub(crate) unsettled: bool,
    /// Show how the latencies of each workload are distributed
    #[arg(long)]
    pub(crate) histogram: bool,
    /// Make the store here and keep it [default: a temporary directory, removed at the end]
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}

/// What can be measured, in the order in which it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Workload {
    /// Put every key once, in random order
    Load,
    /// Read the value of a random key that is there
    Get,
    /// Look for a key that is not there
    GetMiss,
    /// Read all entries in order
    Scan,
    /// Go to a random key and read 10 entries
    #[value(name = "seek-10")]
    Seek10,
    /// Go to a random key and read 100 entries
    #[value(name = "seek-100")]
    Seek100,
    /// Put every key again, in another order
    Overwrite,
    /// Read a random key, and update it if nobody else did
    Cas,
    /// Half gets, half puts, of random keys
    #[value(name = "mixed-50")]
    Mixed50,
    /// 95 gets to 5 puts, of random keys
    #[value(name = "mixed-95")]
    Mixed95,
    /// Gets beside a thread that puts without pause
    UnderLoad,
    /// Atomic batches of 1000 puts
    Batch,
    /// Puts that are on the disk when they return
    Synced,
    /// Put ten times as many keys as there are, which expire after --time; at any moment as many live as there are
    Expire,
    /// Close the store and open it; kill a writer and open what it left
    Reopen,
}

impl Workload {
    /// What runs if nothing is asked for.
    pub(crate) fn defaults() -> Vec<Self> {
        let asked_for = |workload: &Self| !matches!(workload, Self::UnderLoad | Self::Expire);
        Self::value_variants().iter().copied().filter(asked_for).collect()
    }
}
