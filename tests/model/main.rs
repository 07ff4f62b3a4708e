//! Random programs against a plain model of what a store is.
//!
//! Strategy: a program is some 60 steps decoded from random bytes ([`Op::from_bytes`]): writes with and without conditions that hold or fail,
//! with and without times to live; batches, loads, tickets, touches; deletes and purges of patterns, markers and whole buckets; limits that
//! are raised and lowered; a clock that goes on by exact spans, to deadlines and just short of them; reads of the present and the past, lists,
//! iterators that are kept while everything moves on, buckets that come and go, flushes, merges, single steps of background work, syncs,
//! closes and drops with a reopen. Few keys and tiny structures make steps meet and rare paths common: loads and
//! sweeps of more than three keys are several commits. Durability, sizes and the place of
//! the files vary from program to program.
//!
//! Invariant: after every step the store's answer, and at every reopen, merge and end all that it shows, equals the oracle's.
//!
//! A failure shrinks to few steps and prints them. `ANNALS_MODEL_PROGRAMS` sets how many programs are run (default 2,000),
//! `ANNALS_MODEL_SEED` chooses others.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod found;
mod metamorphic;
mod replay;

use std::path::Path;
use std::time::Duration;

use annals::Durability;
use annals::testing::ops::{Change, Op, Payload, STEP_LEN, Target, Ttl};
use annals::testing::world::{Setup, World, run};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

const PROGRAMS_DEFAULT: u32 = 2_000;
const STEPS_MAX: usize = 90;

fn number_from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// A directory of its own for each program, in memory where the system has such a place: what the disk does is not this test's matter.
fn directory() -> tempfile::TempDir {
    let shared_memory = Path::new("/dev/shm");
    if shared_memory.is_dir() { tempfile::tempdir_in(shared_memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn durabilities() -> impl Strategy<Value = Durability> {
    let periodic = Durability::Periodic { delay: Duration::from_secs(3_600), bytes: 4_096 };
    prop_oneof![Just(Durability::Sync), Just(Durability::OsCache), Just(periodic)]
}

fn sizes() -> impl Strategy<Value = (u64, u64, u32)> {
    prop_oneof![Just((8 << 10, 2 << 10, 256)), Just((4 << 10, 16 << 10, 512)), Just((64 << 10, 1 << 10, 4 << 10))]
}

fn steps() -> impl Strategy<Value = Vec<Op>> {
    let step = any::<[u8; STEP_LEN]>().prop_map(|bytes| Op::from_bytes(&mut bytes.into_iter()).unwrap());
    vec(step, 30..=STEPS_MAX)
}

#[test]
fn random_programs_answer_as_the_model_does() {
    let programs = number_from_environment("ANNALS_MODEL_PROGRAMS", PROGRAMS_DEFAULT.into());
    let seed = number_from_environment("ANNALS_MODEL_SEED", 1);
    let mut seed_bytes = [0; 32];
    seed_bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: u32::try_from(programs).unwrap(),
        failure_persistence: None,
        max_shrink_iters: 4_000,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed_bytes));
    let programs = (steps(), durabilities(), sizes(), prop::bool::weighted(0.25));
    let outcome = runner.run(&programs, |(ops, durability, sizes, on_files)| {
        let directory = directory();
        let setup = if on_files {
            Setup::on_files(directory.path().join("store"), durability, sizes)
        } else {
            Setup::in_memory(durability, sizes)
        };
        run(&ops, setup).map_err(|mismatch| TestCaseError::fail(mismatch.0))
    });
    outcome.unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
}

/// Thousands of steps, so that levels fill, files come and go, and numbers outgrow what one manifest sets aside.
#[test]
fn a_long_program_runs_on_one_store() {
    let mut bytes = [0; 12_000];
    TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]).fill_bytes(&mut bytes);
    let ops = Op::program(&bytes);
    assert!(ops.len() > 2_000);
    let directory = directory();
    run(&ops, Setup::on_files(directory.path().join("store"), Durability::Sync, (8 << 10, 4 << 10, 512))).unwrap();
}

/// A model that never objects proves nothing: a store whose content was changed behind its back must be told apart.
#[test]
fn the_model_notices_a_write_that_it_was_not_told_of() {
    let mut world = World::create(Setup::in_memory(Durability::OsCache, (8 << 10, 4 << 10, 512))).unwrap();
    let put = |tag| {
        let change = Change::Put(Payload { len: 8, tag });
        Op::Write { target: Target { bucket: 0, key: 1, change, ttl: Ttl(None) }, synced: false }
    };
    world.apply(&put(1)).unwrap();
    world.check().unwrap();
    world.store().bucket("b").unwrap().put("a.b", "behind its back").unwrap();
    assert!(world.check().is_err());
    assert!(world.apply(&put(2)).is_err(), "the revision is one further on");
}
