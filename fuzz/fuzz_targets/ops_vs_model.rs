//! A program of calls, waits, flushes, merges and reopenings against a store with tiny files, beside a plain map of histories: every answer
//! and every error must be the same.
#![no_main]

use std::path::PathBuf;

use annals::Durability;
use annals::testing::disk::SimDisk;
use annals::testing::ops::Op;
use annals::testing::world::{Setup, run};
use libfuzzer_sys::fuzz_target;

/// Programs longer than this find nothing that shorter ones do not, and are slow.
const STEPS_MAX: usize = 150;
/// To read everything in every way took three quarters of the time. Each program ends with such a check too.
const FULL_CHECK_EVERY: usize = 8;

fuzz_target!(|data: &[u8]| {
    let Some((&mode, rest)) = data.split_first() else { return };
    let mut program = Op::program(rest);
    program.truncate(STEPS_MAX);
    let disk = SimDisk::new(u64::from(mode));
    let setup = Setup {
        directory: PathBuf::from("/db"),
        env: disk.env(),
        durability: if mode & 1 == 0 { Durability::Sync } else { Durability::OsCache },
        sizes: if mode & 2 == 0 { (4 << 10, 2 << 10, 128) } else { (64 << 10, 32 << 10, 1 << 10) },
        full_check_every: FULL_CHECK_EVERY,
        compressed: mode & 4 != 0,
    };
    if let Err(mismatch) = run(&program, setup) {
        panic!("{mismatch:?}");
    }
});
