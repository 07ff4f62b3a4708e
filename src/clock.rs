//! Store time.
use crate::spec::ClockPair;
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreClock {
    base: u64,
    monotonic: u64,
}
impl StoreClock {
    pub(crate) fn resume(pair: ClockPair, newest: u64, wall: u64, monotonic: u64) -> Self {
        Self { base: newest.max(pair.store + wall.saturating_sub(pair.wall)), monotonic }
    }
    pub(crate) fn now(&self, monotonic: u64) -> u64 {
        self.base + monotonic.saturating_sub(self.monotonic)
    }
    pub(crate) fn pair(&self, wall: u64, monotonic: u64) -> ClockPair {
        ClockPair { wall, store: self.now(monotonic) }
    }
}
