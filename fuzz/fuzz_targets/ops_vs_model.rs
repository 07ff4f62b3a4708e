//! A program of calls, waits, flushes, merges and reopenings against a store with tiny files, beside a plain map of histories: every answer
//! and every error must be the same.
//!
//! The time goes into instrumentation. What compares are made says little of a program, and to build with
//! `cargo fuzz run --no-trace-compares` makes it faster by a third.
#![no_main]

use std::path::PathBuf;

use annals::Durability;
use annals::testing::disk::SimDisk;
use annals::testing::ops::Op;
use annals::testing::world::{Setup, run};
use libfuzzer_sys::fuzz_target;

/// Programs longer than this find nothing that shorter ones do not, and are slow.
const STEPS_MAX: usize = 150;
/// To read everything in every way took half of the time. Each program ends with such a check too.
const FULL_CHECK_EVERY: usize = 8;

/// What the address sanitizer does without: stacks of allocations (a finding is run again with `ASAN_OPTIONS=malloc_context_size=30`), a long
/// memory of what was freed, and stack frames that are kept for references to them, which no code that compiles without `unsafe` has.
#[unsafe(no_mangle)]
extern "C" fn __asan_default_options() -> *const std::ffi::c_char {
    c"malloc_context_size=1:quarantine_size_mb=8:detect_stack_use_after_return=0".as_ptr()
}

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
