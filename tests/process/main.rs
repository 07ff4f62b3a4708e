//! Real processes that are killed: whatever was acknowledged before a `kill -9` is there after it, on real files, round after round on one
//! directory.
//!
//! The test starts its own binary again as the writer. That opens the store, writes with several threads and reports every acknowledged
//! write through a pipe, so that what was promised survives in the parent's memory. The parent kills it after a random time, often while it
//! is still recovering from the kill before, opens the store itself and checks:
//! - every acknowledged write of a key is there, or superseded by a greater revision; the history holds each that its depth retains;
//! - nothing is there that the writer cannot have written: every value names its key and checks itself;
//! - revisions rise along the history and none was ever given out twice, over all rounds;
//! - what was seen once is never taken back: everything that an open shows counts as acknowledged from then on.
//!
//! `watchers` does the same with a thousand watchers, which go on from their tokens.
//!
//! `ANNALS_KILL_ROUNDS` sets the number of kills (default 200), `ANNALS_KILL_SEED` the delays.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::disallowed_methods, reason = "real threads, real time")]

mod ledger;
mod watchers;
mod writer;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use annals::{Durability, ErrorKind, Options, Store};

use crate::ledger::Ledger;

const ROUNDS_DEFAULT: u64 = 200;

/// Small structures, so that a few milliseconds of writing rotate, flush and merge.
fn options(durability: Durability) -> Options {
    Options::new().durability(durability).sizes(32 << 10, 16 << 10, 512)
}

fn number_from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// Not a test of its own: the writer that the others start and kill.
#[test]
fn child_process_that_writes_until_it_is_killed() {
    if let Some(order) = writer::Order::from_environment() {
        writer::run(&order);
    }
}

fn start_writer(order: &writer::Order) -> (Child, BufReader<ChildStdout>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child_process_that_writes_until_it_is_killed", "--nocapture"]);
    let mut child = order.pass_to(&mut command).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

/// All complete lines until the pipe ends; a line that the kill cut off promises nothing. Tells when the first promise has come.
fn read_lines(mut output: BufReader<ChildStdout>, first: &Sender<()>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).unwrap() > 0 {
        if line.pop() == Some(b'\n') {
            if line.starts_with(b"ack ") {
                // Nobody listens any more once it was told.
                let _ = first.send(());
            }
            lines.push(String::from_utf8(line).unwrap());
        }
        line = Vec::new();
    }
    lines
}

/// Runs a writer and kills it: in even rounds so long after its start, be it still recovering; in odd ones after its first write.
fn write_and_kill(order: &writer::Order, delay: Duration) -> (ExitStatus, Vec<String>) {
    let (mut child, output) = start_writer(order);
    let (first, told) = mpsc::channel();
    let reader = thread::spawn(move || read_lines(output, &first));
    if order.round % 2 == 1 {
        // An error ends the wait too: the writer has failed, which its lines say.
        let _ = told.recv_timeout(Duration::from_secs(60));
    }
    thread::sleep(delay);
    child.kill().unwrap();
    (child.wait().unwrap(), reader.join().unwrap())
}

fn kill_again_and_again(durability: Durability, rounds: u64, seed: u64) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let mut ledger = Ledger::default();
    let (mut acknowledged, mut rounds_with_writes, mut unclean) = (0, 0, 0);
    let mut chance = seed | 1;
    for round in 0..rounds {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let delay = Duration::from_millis(1 + (chance >> 33) % 200 / (1 + round % 2));
        let place = format!("{durability:?}, seed {seed}, round {round}, killed after {delay:?}");
        let order = writer::Order { directory: path.clone(), durability, round };
        let (status, lines) = write_and_kill(&order, delay);
        if let Some(line) = lines.iter().find(|line| line.starts_with("failed ")) {
            panic!("{place}: the writer {line}");
        }
        assert!(!status.success(), "{place}: the writer ended by itself");
        let count = ledger.acknowledge(lines.iter().filter_map(|line| line.strip_prefix("ack ")), &place);
        acknowledged += count;
        rounds_with_writes += u64::from(count > 0);
        let store = open_after_kill(&path, durability, &place);
        unclean += u64::from(!store.recovery().clean);
        ledger.check(&store, &place);
        if round % 16 == 15 {
            store.verify().unwrap_or_else(|error| panic!("{place}: {error:?}"));
        }
        // Half of the rounds go on from a clean close, half from the replay of a dropped store.
        if round / 2 % 2 == 0 {
            store.close().unwrap_or_else(|error| panic!("{place}: {error:?}"));
        }
    }
    println!(
        "{durability:?}: {rounds} kills, {acknowledged} acknowledged writes in {rounds_with_writes} rounds, {unclean} replays"
    );
    assert!(rounds_with_writes >= rounds / 2, "every second kill waits for a write");
}

fn open_after_kill(path: &Path, durability: Durability, place: &str) -> Store {
    match options(durability).open(path) {
        Ok(store) => store,
        // The lock goes with the killed process, which is gone once it was waited for.
        Err(error) if error.kind() == ErrorKind::Locked => panic!("{place}: the lock of a killed process stays"),
        Err(error) => panic!("{place}: {error:?}"),
    }
}

#[test]
fn a_killed_writer_loses_nothing_that_was_acknowledged_at_sync() {
    let rounds = number_from_environment("ANNALS_KILL_ROUNDS", ROUNDS_DEFAULT);
    let seed = number_from_environment("ANNALS_KILL_SEED", 1);
    kill_again_and_again(Durability::Sync, rounds.div_ceil(2), seed);
}

#[test]
fn a_killed_writer_loses_nothing_that_was_acknowledged_below_sync() {
    let rounds = number_from_environment("ANNALS_KILL_ROUNDS", ROUNDS_DEFAULT);
    let seed = number_from_environment("ANNALS_KILL_SEED", 2);
    kill_again_and_again(Durability::OsCache, rounds.div_ceil(4), seed);
    let periodic = Durability::Periodic { delay: Duration::from_millis(20), bytes: 64 << 10 };
    kill_again_and_again(periodic, rounds.div_ceil(4), seed);
}
