//! The rest of a simulated world: time that stands still until it is told to move, and chance that comes from a seed.

use crate::env::sync::{AtomicU64, Mutex, Ordering};
use crate::env::{Clock, Random};
use std::io;

/// What a look at the monotonic clock takes.
const TICK_NS: u64 = 1_000;
const WALL_AT_START_NS: u64 = 1_700_000_000_000_000_000;

/// A clock in the hand of the test. Each look at the monotonic time moves it on by a microsecond, and the wall clock with it.
#[derive(Debug)]
pub struct SimClock {
    monotonic: AtomicU64,
    /// The wall clock less the monotonic one, wrapping.
    offset: AtomicU64,
}

impl SimClock {
    pub(super) fn new() -> Self {
        Self { monotonic: AtomicU64::new(0), offset: AtomicU64::new(WALL_AT_START_NS) }
    }

    /// Lets `ns` nanoseconds pass, on both clocks.
    pub fn advance(&self, ns: u64) {
        self.monotonic.fetch_add(ns, Ordering::Relaxed);
    }

    /// Sets the wall clock, forwards or back; the monotonic one does not notice.
    pub fn set_wall(&self, ns: u64) {
        self.offset.store(ns.wrapping_sub(self.monotonic.load(Ordering::Relaxed)), Ordering::Relaxed);
    }

    pub(super) fn state(&self) -> (u64, u64) {
        (self.monotonic.load(Ordering::Relaxed), self.offset.load(Ordering::Relaxed))
    }

    pub(super) fn set_state(&self, (monotonic, offset): (u64, u64)) {
        self.monotonic.store(monotonic, Ordering::Relaxed);
        self.offset.store(offset, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn wall(&self) -> u64 {
        self.offset.load(Ordering::Relaxed).wrapping_add(self.monotonic.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> u64 {
        self.monotonic.fetch_add(TICK_NS, Ordering::Relaxed) + TICK_NS
    }
}

/// SplitMix64: good enough to choose with, and the same on every machine.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `0..count`; `count` is not 0.
    pub(super) fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    pub(super) fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

/// The engine's random numbers, from the seed of the disk.
#[derive(Debug)]
pub(super) struct SimRandom(Mutex<Rng>);

impl SimRandom {
    pub(super) fn new(seed: u64) -> Self {
        Self(Mutex::new(Rng::new(seed)))
    }

    pub(super) fn state(&self) -> Rng {
        self.0.lock().clone()
    }

    pub(super) fn set_state(&self, rng: Rng) {
        *self.0.lock() = rng;
    }
}

impl Random for SimRandom {
    fn u128(&self) -> io::Result<u128> {
        let mut rng = self.0.lock();
        Ok(u128::from(rng.next()) << 64 | u128::from(rng.next()))
    }
}
