//! The guarantees under random programs, against the validators.
//!
//! Strategy: a few keys, so that they are overwritten often; puts, markers, batches, conditions, purges of the whole bucket, removed and
//! expired markers; flushes and merges in between; memtables of some entries. Watches of different filters and options join at any moment,
//! some keep up, some lag (their lines overflow), some are dropped and resumed from their token, or from one that they had after some
//! event long ago, in another life of the store too. In `threads` all this happens at once; in `program` one thread decides every step, so
//! that a failure can be repeated. Invariant: each guarantee holds for each watch, whatever it met.

use std::time::{Duration, Instant};

use super::{Tally, program, threads};

/// Names the run if it fails.
struct Named(String);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed: {}", self.0);
        }
    }
}

fn one_thread(seed: u64, steps: u32) -> Tally {
    let _name = Named(format!("a program of one thread, seed {seed}, {steps} steps"));
    program::run(seed, steps)
}

fn many_threads(seed: u64, writes: u64) -> Tally {
    let _name = Named(format!("a program of many threads, seed {seed}, {writes} writes"));
    threads::run(seed, writes)
}

#[test]
fn every_guarantee_holds_in_every_program_of_one_thread() {
    let mut tally = Tally::default();
    for seed in 0..12 {
        tally.add(one_thread(seed, 300));
    }
    println!("{tally:?}");
    assert!(tally.deliveries > 10_000 && tally.skips > 0 && tally.resumes > 0 && tally.refusals > 0 && tally.diverged > 0);
    for end in ["Cut", "Kill", "Poisoned", "BucketNotFound", "Closed"] {
        assert!(tally.ends.contains_key(end), "no {end} in {tally:?}");
    }
}

#[test]
fn every_guarantee_holds_among_threads() {
    let mut tally = Tally::default();
    for seed in 0..8 {
        tally.add(many_threads(seed, 3_000));
    }
    println!("{tally:?}");
    for end in ["Stopped", "Poisoned", "BucketNotFound", "Closed"] {
        assert!(tally.ends.contains_key(end), "no {end} in {tally:?}");
    }
}

/// The same for as long as `ANNALS_STRESS_SECONDS` says; without it, a moment. `ANNALS_STRESS_SEED` says with which seed it begins.
#[test]
fn every_guarantee_holds_for_as_long_as_asked() {
    let variable = |name| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(0_u64);
    let (seconds, first) = (variable("ANNALS_STRESS_SECONDS"), variable("ANNALS_STRESS_SEED"));
    let (writes, steps) = if seconds == 0 { (500, 100) } else { (20_000, 300) };
    let (started, mut rounds, mut tally) = (Instant::now(), 0_u64, Tally::default());
    let mut told = Duration::ZERO;
    while rounds == 0 || started.elapsed().as_secs() < seconds {
        tally.add(many_threads(first + rounds, writes));
        // These take longer, and deliver less.
        if rounds % 8 == 0 {
            tally.add(one_thread(first + rounds, steps));
        }
        rounds += 1;
        if started.elapsed() > told + Duration::from_secs(10) {
            told = started.elapsed();
            println!("{} s, {rounds} rounds, {} deliveries", told.as_secs(), tally.deliveries);
        }
    }
    println!("{rounds} rounds, {:.1} s: {tally:?}", started.elapsed().as_secs_f64());
    println!("{} deliveries, no gap, duplicate or reordering", tally.deliveries);
}
