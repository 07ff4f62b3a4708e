use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{LIMIT_MAX, LOOKS, Spare, Spin};
use crate::env::Clock;
use crate::env::sync::AtomicBool;

/// Goes on by its step with each look.
#[derive(Debug)]
struct Ticking {
    now: AtomicU64,
    step: u64,
}

impl Clock for Ticking {
    fn wall(&self) -> u64 {
        0
    }

    fn monotonic(&self) -> u64 {
        self.now.fetch_add(self.step, Ordering::Relaxed)
    }
}

fn ticking(step: u64) -> Ticking {
    Ticking { now: AtomicU64::new(5), step }
}

fn spare() -> Spare {
    Spare { is_free: AtomicBool::new(true) }
}

/// How often a reader with this experience looked for what never came.
fn looks(waits: &[u64], limit: u64) -> u32 {
    let mut spin = Spin::default();
    for wait in waits {
        spin.learn(*wait);
    }
    let looks = Cell::new(0);
    let found = spin.look(&spare(), &ticking(1_000), limit, || {
        looks.set(looks.get() + 1);
        false
    });
    assert!(!found);
    looks.get()
}

#[test]
fn a_reader_looks_twice_as_long_as_the_last_wait_if_that_was_short() {
    assert_eq!(looks(&[], u64::MAX), 0, "nothing is known of it");
    assert_eq!(looks(&[10_000], u64::MAX), 20 * LOOKS);
    assert_eq!(looks(&[LIMIT_MAX], u64::MAX), 200 * LOOKS, "not beyond the bound");
    assert_eq!(looks(&[LIMIT_MAX + 1], u64::MAX), 0, "what comes rarely is not looked for");
    assert_eq!(looks(&[10_000, 1_000_000], u64::MAX), 10 * LOOKS, "one long wait is not a rule yet");
    assert_eq!(looks(&[10_000].into_iter().chain([1_000_000; 5]).collect::<Vec<_>>(), u64::MAX), 0);
    assert_eq!(looks(&[10_000], 3_000), 3 * LOOKS, "not longer than it was asked to wait");
}

#[test]
fn one_reader_of_a_store_looks_at_a_time() {
    let (spare, clock) = (spare(), ticking(1_000));
    let mut spin = Spin::default();
    spin.learn(10_000);
    let other_found = Cell::new(true);
    assert!(spin.look(&spare, &clock, u64::MAX, || {
        other_found.set(spin.look(&spare, &clock, u64::MAX, || true));
        true
    }));
    assert!(!other_found.get());
    assert!(spin.look(&spare, &clock, u64::MAX, || true), "it is free again");
}

#[test]
fn a_clock_that_stands_ends_the_looking() {
    let mut spin = Spin::default();
    spin.learn(10_000);
    assert!(!spin.look(&spare(), &ticking(0), u64::MAX, || false));
}
