//! One program, many stores: whatever the sizes of memtables, log files and blocks are, wherever the files lie, whether
//! they are compressed, and whenever the store is flushed, merged or opened again between two steps, it answers the same.
//!
//! Strategy: a program of steps is run once on a plain store, which writes down all that it shows after every few steps; then under other
//! options and with disturbances between the steps, at the same store times, and must show the same, word by word. The oracle runs beside
//! each of them; the comparison of runs with each other shows what it does not know: that nothing else decides either.
//!
//! Invariant: *no answer ever depends on which merges have run* (`retention`).
//!
//! `ANNALS_METAMORPHIC_PROGRAMS` sets how many programs are run (default 60), each under every variant.

use annals::Durability;
use annals::testing::ops::{Op, STEP_LEN};
use annals::testing::picture::Picture;
use annals::testing::world::{Disturbance, Setup, World};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};

use crate::{directory, number_from_environment};

const STEPS: usize = 70;
/// Steps between two pictures.
const PICTURE_EVERY: usize = 7;

/// What happens between two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Schedule {
    Nothing,
    StepAfterEach,
    MergeAfterEach,
    FlushAfterEach,
    /// Of everything, now and then.
    Random(u64),
    ReopenNowAndThen(u64),
}

/// Where the files lie, and what is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// In memory.
    Plain,
    OnFiles,
    /// In memory; every bucket is compressed, whatever the program says.
    Compressed,
}

use Kind::{Compressed, OnFiles, Plain};

impl Schedule {
    fn at(self, step: usize) -> Option<Disturbance> {
        let chance = |seed: u64| {
            let mixed = (seed ^ step as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed >> 32
        };
        match self {
            Self::Nothing => None,
            Self::StepAfterEach => Some(Disturbance::Step),
            Self::FlushAfterEach => Some(Disturbance::Flush),
            Self::MergeAfterEach => Some(Disturbance::FlushAndMerge),
            Self::ReopenNowAndThen(seed) => {
                chance(seed).is_multiple_of(6).then(|| Disturbance::Reopen { clean: chance(seed + 1).is_multiple_of(2) })
            }
            Self::Random(seed) => match chance(seed) % 12 {
                0..=2 => Some(Disturbance::Step),
                3..=4 => Some(Disturbance::Flush),
                5 => Some(Disturbance::FlushAndMerge),
                6 => Some(Disturbance::Reopen { clean: chance(seed + 1).is_multiple_of(2) }),
                _ => None,
            },
        }
    }
}

/// Steps that are left out: what happens to the files is the schedule's business; and what the wall clock says when it is set in an open
/// store counts as time that has passed only if the store ends uncleanly before anything writes both clocks down.
fn is_of_the_schedule(op: &Op) -> bool {
    matches!(op, Op::Flush | Op::MergeAll | Op::Step | Op::SetWall(_))
}

fn pictures(program: &[Op], setup: Setup, schedule: Schedule) -> Result<Vec<Picture>, String> {
    let told = |step: usize, op: &Op, what: String| format!("{schedule:?}, step {step} {op:?}: {what}");
    let mut world = World::create(setup).map_err(|mismatch| mismatch.0)?;
    let mut pictures = Vec::new();
    for (step, op) in program.iter().enumerate() {
        world.apply(op).map_err(|mismatch| told(step, op, mismatch.0))?;
        if let Some(disturbance) = schedule.at(step) {
            world.disturb(disturbance).map_err(|mismatch| told(step, op, mismatch.0))?;
        }
        if step % PICTURE_EVERY == 0 {
            pictures.push(Picture::of(world.store()).map_err(|error| told(step, op, format!("{error:?}")))?);
        }
    }
    pictures.push(Picture::of(world.store()).map_err(|error| format!("{error:?}"))?);
    world.finish().map_err(|mismatch| mismatch.0)?;
    Ok(pictures)
}

#[test]
fn answers_do_not_depend_on_sizes_files_and_the_moments_of_merges() {
    let programs = number_from_environment("ANNALS_METAMORPHIC_PROGRAMS", 60);
    let tiny = (4 << 10, 1 << 10, 128);
    let large = (1 << 20, 1 << 20, 16 << 10);
    let variants = [
        (tiny, Schedule::Nothing, Plain),
        (tiny, Schedule::StepAfterEach, Plain),
        (large, Schedule::MergeAfterEach, Plain),
        (large, Schedule::FlushAfterEach, Plain),
        ((64 << 10, 2 << 10, 512), Schedule::Random(1), OnFiles),
        ((8 << 10, 4 << 10, 4 << 10), Schedule::Random(2), Plain),
        (tiny, Schedule::ReopenNowAndThen(3), Plain),
        (large, Schedule::ReopenNowAndThen(4), Plain),
        (tiny, Schedule::Random(5), Compressed),
        (large, Schedule::FlushAfterEach, Compressed),
    ];
    for number in 0..programs {
        let mut seed = [0xa5; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        let mut bytes = [0; STEPS * STEP_LEN];
        TestRng::from_seed(RngAlgorithm::ChaCha, &seed).fill_bytes(&mut bytes);
        let steps = bytes.chunks(STEP_LEN).filter_map(|bytes| Op::from_bytes(&mut bytes.iter().copied()));
        let program: Vec<Op> = steps.filter(|op| !is_of_the_schedule(op)).collect();
        let plain = Setup::in_memory(Durability::Sync, large);
        let expected = pictures(&program, plain, Schedule::Nothing).unwrap_or_else(|text| panic!("program {number}: {text}"));
        for (sizes, schedule, kind) in variants {
            let directory = directory();
            let setup = match kind {
                Plain => Setup::in_memory(Durability::Sync, sizes),
                OnFiles => Setup::on_files(directory.path().join("store"), Durability::Sync, sizes),
                Compressed => Setup { compressed: true, ..Setup::in_memory(Durability::Sync, sizes) },
            };
            let what = format!("program {number}, {kind:?}, sizes {sizes:?}, {schedule:?}");
            let found = pictures(&program, setup, schedule).unwrap_or_else(|text| panic!("{what}: {text}"));
            for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
                if let Some(difference) = expected.difference(found) {
                    panic!("{what}, after step {}: {difference}", at * PICTURE_EVERY);
                }
            }
        }
    }
}
