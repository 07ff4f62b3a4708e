//! annals beside other embedded stores: the same keys, values and durability, in one run on one machine.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- --work watch
//! ```
//!
//! Each round runs every store after the other, in an order that rotates, each in a new directory: load in random order, settle, read,
//! close and open, write, write synced. The table has the medians over the rounds and by how much annals is ahead (above 1) or behind.
//! `--json` prints a line for each figure instead; `--from FILES` makes the table of lines that were printed before, so that rounds can
//! be run one at a time (`--rounds 1 --round 0 --json`, then 1, then 2).
//!
//! What is equal: keys of 25 bytes, values that do not compress, their order, and what is read of each value. Reads may keep what a
//! program would keep: a read transaction with its table in redb and LMDB; `get hit, alone` begins one for each get. Sizes of caches
//! and buffers are each store's defaults; everything fits in memory. A checksum of what was read has to be the same for all stores.
//!
//! `--work watch` races in something else, in the same rounds: subscribers, which only annals and sled have.
//!
//! A package of its own, with its own lock file: annals depends on none of the other stores, in no way.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the seams guard the engine of annals; this is a program"
)]

mod annals;
#[path = "../../workload/data.rs"]
#[allow(dead_code, reason = "shared with the benchmarks of the crate, which use more of it")]
mod data;
mod engine;
mod fjall;
mod lmdb;
mod redb;
mod sled;
mod table;
mod watch;
mod work;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::engine::{Peer, Result};
use crate::table::Record;
use crate::work::Load;

const PEERS: [Peer; 5] = [annals::PEER, fjall::PEER, redb::PEER, sled::PEER, lmdb::PEER];

/// What is raced in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Work {
    /// Writing, reading, opening and closing: all stores
    Race,
    /// Subscribers to what is written: the stores that have them
    Watch,
}

/// Runs annals and other embedded stores side by side.
#[derive(Debug, Parser)]
struct Args {
    /// What to do
    #[arg(long, value_enum, default_value_t = Work::Race)]
    work: Work,
    /// How many keys
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Bytes of each value
    #[arg(long, default_value_t = 100)]
    value_bytes: u64,
    /// How many rounds
    #[arg(long, default_value_t = 3)]
    rounds: u64,
    /// The number of the first round, which decides who begins
    #[arg(long, default_value_t = 0)]
    round: u64,
    /// Milliseconds for each row of synced puts
    #[arg(long, default_value_t = 1000)]
    synced_ms: u64,
    /// Only these stores
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Where to make the directories of the stores [default: that for temporary files]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A line for each figure instead of the table
    #[arg(long)]
    json: bool,
    /// Run nothing: make the table of lines that were printed before
    #[arg(long, num_args = 1..)]
    from: Vec<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut records = Vec::new();
    if args.from.is_empty() {
        for round in args.round..args.round + args.rounds {
            records.extend(run(&args, round)?);
        }
    }
    for file in &args.from {
        for line in std::fs::read_to_string(file)?.lines() {
            records.push(Record::parse(line)?);
        }
    }
    let odd = table::disagreements(&records);
    if !odd.is_empty() {
        return Err(format!("not all stores read the same:\n{}", odd.join("\n")).into());
    }
    if !args.json {
        report(&records);
    }
    Ok(())
}

/// One round: every store once.
fn run(args: &Args, round: u64) -> Result<Vec<Record>> {
    let load =
        Load { keys: args.keys, value_len: usize::try_from(args.value_bytes)?, synced: Duration::from_millis(args.synced_ms) };
    let mut records = Vec::new();
    for at in 0..PEERS.len() {
        let peer = &PEERS[(at + round as usize) % PEERS.len()];
        if args.work == Work::Watch && !peer.has_subscribers {
            continue;
        }
        if !args.only.is_empty() && !args.only.iter().any(|name| name.eq_ignore_ascii_case(peer.name)) {
            continue;
        }
        eprintln!("round {round}: {}", peer.name);
        let directory = match &args.dir {
            Some(parent) => tempfile::tempdir_in(parent)?,
            None => tempfile::tempdir()?,
        };
        let race = match args.work {
            Work::Race => work::race,
            Work::Watch => watch::race,
        };
        for measured in race(peer, &directory.path().join("store"), load)? {
            let record = Record {
                round,
                engine: peer.name.to_owned(),
                version: version(peer.package),
                workload: measured.workload.to_owned(),
                threads: measured.threads,
                keys: args.keys,
                value_bytes: args.value_bytes,
                durability: measured.durability.to_owned(),
                settled: measured.settled,
                figure: measured.figure,
                checksum: measured.checksum,
            };
            if args.json {
                println!("{}", record.json());
            }
            records.push(record);
        }
    }
    Ok(records)
}

fn report(records: &[Record]) {
    let Some(first) = records.first() else { return };
    let rounds: std::collections::BTreeSet<u64> = records.iter().map(|record| record.round).collect();
    let (keys, value_bytes, rounds) = (first.keys, first.value_bytes, rounds.len());
    let is_watch = watch::ROWS.iter().any(|(row, _)| *row == first.workload);
    if is_watch {
        println!(
            "Subscribers; keys of 25 bytes, values of {value_bytes} bytes, nothing synced; medians of {rounds} rounds.\n\
             A subscriber of sled with 1,024 events waiting makes the writer wait; a watch of annals that falls behind reads what it\n\
             missed from the store. `puts done, 1 never reads` is of {}, given up when none was done for a second.",
            work::scaled(watch::PUTS, keys)
        );
    } else {
        println!(
            "{keys} keys of 25 bytes in random order, values of {value_bytes} bytes; medians of {rounds} rounds; reads and `disk` \
             settled, writes on top of that."
        );
    }
    for peer in &PEERS {
        if let Some(record) = records.iter().find(|record| record.engine == peer.name) {
            println!("{} {}: {}", peer.name, record.version, peer.setup);
        }
    }
    let sum = records.iter().filter(|record| record.round == first.round && record.engine == first.engine);
    let sum = sum.fold(0, |sum: u64, record| sum.wrapping_add(record.checksum));
    println!("All stores {} the same: checksum {sum:016x}.", if is_watch { "delivered" } else { "read" });
    println!("x NAME: how many times better annals is; of `disk`, `reopen`, `settle`, `close` and `latency` less is better.\n");
    println!("{}", table::table(records));
}

/// The version of a package that this program was built with.
fn version(package: &str) -> String {
    let lock = include_str!("../Cargo.lock");
    let name = format!("name = \"{package}\"\nversion = \"");
    let found = lock.find(&name).map(|at| &lock[at + name.len()..]).and_then(|rest| rest.split('"').next());
    found.unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_store_has_a_version() {
        for peer in &PEERS {
            assert_ne!(version(peer.package), "unknown", "{}", peer.name);
        }
    }

    #[test]
    fn all_stores_read_the_same() {
        let args = Args::parse_from(["peers", "--keys", "2000", "--synced-ms", "10"]);
        let records = run(&args, 1).unwrap();
        assert_eq!(records.len(), PEERS.len() * work::ROWS.len());
        assert_eq!(table::disagreements(&records), Vec::<String>::new());
        assert_eq!(table::table(&records).lines().count(), work::ROWS.len() + 1);
    }

    #[test]
    fn all_subscribers_are_told_the_same() {
        let args = Args::parse_from(["peers", "--work", "watch", "--keys", "20000"]);
        let records = run(&args, 0).unwrap();
        assert_eq!(table::disagreements(&records), Vec::<String>::new());
        assert_eq!(table::table(&records).lines().count(), watch::ROWS.len() + 1);
        let done = |engine: &str| {
            records.iter().find(|record| record.engine == engine && record.workload.starts_with("puts done")).unwrap()
        };
        assert_eq!(done("annals").figure, 4000.0);
        assert_eq!(done("sled").figure, 1024.0);
    }
}
