//! The whole store under [shuttle](https://docs.rs/shuttle), which runs each test thousands of times and decides at every lock, condition
//! variable and atomic which thread goes on: at random, and by PCT (few switches, at the worst places).
//!
//! What is checked is the engine itself: this package compiles the sources of `annals` with shuttle's primitives, which come in through
//! `env::sync` alone (`cfg(shuttle)`, set by `build.rs`). A line then holds 3 events instead of 1,024, so that a watch lags often. Run with
//! `cargo test --manifest-path tests/shuttle/Cargo.toml`.
//!
//! # A failure
//!
//! It prints its schedule, lines of hexadecimal digits between two quotes. The same order again, and the same failure, with those lines:
//! `ANNALS_SCHEDULE='91...' cargo test --manifest-path tests/shuttle/Cargo.toml NAME`. (Several watchers of one bucket are told of its end in
//! the order of a `HashSet`, which differs from run to run; a schedule in which that decided says that it cannot be repeated.)
//! `ANNALS_SEED` (a number) takes other orders, `ANNALS_TIMES` more of them than the usual.
//!
//! # What it cannot find
//!
//! - Every atomic access counts as sequentially consistent and a fence as nothing, so orderings and fences are not tried: `tests/loom` is
//!   for those.
//! - No wait times out: a lost wake-up is a deadlock, which is what we want, but what a timeout leads to is not tried.
//! - `arc_swap`, the arenas of memtables and the block cache use the standard library's atomics: no switch happens inside of them. A
//!   thread-local value (the buffer of writes) is one for all threads here.
//!
//! # What it does find
//!
//! Each of these was put into the engine by itself, and at the usual number of runs a test failed:
//!
//! - nobody is woken for what a leader has told (`joining`, `lagging`, `writers`), or for what the committer has (`jobs`), or by a stop, a
//!   close, a deleted bucket (`ends`, `wide`);
//! - a group is told before it is visible (`joining`, `lagging`, `writers`);
//! - a watch that lags takes its view before it joins again, or joins without its filters, or with what was in its line (`lagging`);
//! - what a line says of what has been read is not dropped (`joining`, `lagging`);
//! - a revision is called told before it is in the lines, by a leader or by the dispatcher (`wide`);
//! - a leader tells something while the dispatcher holds something older; the dispatcher says that it holds nothing while it still spreads
//!   (`wide`);
//! - what the inbox did not hold makes nobody lag (`wide`);
//! - a merge goes on after its store was closed, and edits the manifest of the next one (`closing`).
//!
//! Without one of the fences of the gate nothing fails here: that is for `tests/loom`.
#![allow(clippy::unwrap_used, reason = "tests")]

mod closing;
mod ends;
mod expiry;
mod jobs;
mod joining;
mod lagging;
mod program;
mod validators;
mod wide;
mod writers;

use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, Runner};

/// How often a test runs under each scheduler.
const TIMES: usize = 500;
/// How many switches PCT places.
const PCT_DEPTH: usize = 3;

/// Runs `test` in many orders of its threads, or in the one that is to be repeated.
fn check(test: fn()) {
    if let Ok(schedule) = std::env::var("ANNALS_SCHEDULE") {
        return run(ReplayScheduler::new_from_encoded(&schedule), test);
    }
    let (seed, times) = (number("ANNALS_SEED").unwrap_or(1), number("ANNALS_TIMES").map_or(TIMES, |times| times as usize));
    run(RandomScheduler::new_from_seed(seed, times), test);
    run(PctScheduler::new_from_seed(seed, PCT_DEPTH, times), test);
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn run(scheduler: impl Scheduler + 'static, test: fn()) {
    let mut config = Config::new();
    // Code that is not optimised takes more of it than the usual 60 KiB.
    config.stack_size = 512 << 10;
    // What it warns of is written above.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(test);
}
