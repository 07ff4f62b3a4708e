use proptest::prelude::*;

use super::*;

const MINUTE: u64 = 60;

#[test]
fn a_new_store_starts_at_the_wall_clock_and_runs_on_the_monotonic_one() {
    let clock = StoreClock::start(1_000, 7);
    assert_eq!(clock.now(7), 1_000);
    assert_eq!(clock.now(17), 1_010);
    assert_eq!(clock.now(3), 1_000, "a late reading does not turn time back");
    assert_eq!(clock.pair(5, 17), ClockPair { wall: 5, store: 1_010 });
}

#[test]
fn downtime_adds_what_the_wall_clock_says_has_passed() {
    let pair = ClockPair { wall: 5_000, store: 1_000 };
    assert_eq!(StoreClock::resume(pair, 0, 5_300, 0).now(0), 1_300);
}

#[test]
fn a_wall_clock_set_back_while_closed_adds_nothing() {
    let pair = ClockPair { wall: 5_000, store: 1_000 };
    assert_eq!(StoreClock::resume(pair, 0, 10, 0).now(0), 1_000);
    assert_eq!(StoreClock::resume(pair, 1_050, 10, 0).now(0), 1_050, "a record was written after the pair");
}

#[test]
fn downtime_counts_from_the_pair_and_is_not_added_to_the_newest_record() {
    let pair = ClockPair { wall: 5_000, store: 1_000 };
    assert_eq!(StoreClock::resume(pair, 1_050, 5_060, 0).now(0), 1_060);
}

#[test]
fn adopting_moves_forward_only() {
    let mut clock = StoreClock::start(1_000, 0);
    assert_eq!(clock.adopt(1_500, 100), 400);
    assert_eq!(clock.now(110), 1_510);
    assert_eq!(clock.adopt(20, 110), 0);
    assert_eq!(clock.now(120), 1_520);
}

#[test]
fn times_at_the_end_of_their_range_saturate() {
    let pair = ClockPair { wall: 0, store: u64::MAX - 1 };
    let mut clock = StoreClock::resume(pair, 0, u64::MAX, 0);
    assert_eq!(clock.now(u64::MAX), u64::MAX);
    assert_eq!(clock.adopt(u64::MAX, u64::MAX), 0);
    assert_eq!(clock.now(0), u64::MAX);
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Run(u64),
    SetWall(u64),
    Commit,
    LogPair,
    Adopt,
    Close { for_: u64, wall: Option<u64> },
    Crash { for_: u64, wall: Option<u64> },
}

fn op() -> impl Strategy<Value = Op> {
    let down = || (0_u64..200, prop::option::of(0_u64..3_000));
    prop_oneof![
        4 => (0_u64..MINUTE).prop_map(Op::Run),
        1 => (0_u64..3_000).prop_map(Op::SetWall),
        3 => Just(Op::Commit),
        1 => Just(Op::LogPair),
        1 => Just(Op::Adopt),
        1 => down().prop_map(|(for_, wall)| Op::Close { for_, wall }),
        1 => down().prop_map(|(for_, wall)| Op::Crash { for_, wall }),
    ]
}

/// The computer: a wall clock that anybody may set, and a monotonic one that starts anywhere at each opening.
struct World {
    wall: u64,
    monotonic: u64,
    clock: StoreClock,
    pair: ClockPair,
    newest_record_now: u64,
    /// The latest time that must never be passed below again.
    reached: u64,
    /// Nobody has set the wall clock back since the last pair.
    is_wall_honest: bool,
}

impl World {
    fn pass(&mut self, time: u64) {
        self.wall += time;
        self.monotonic += time;
    }

    fn now(&self) -> u64 {
        self.clock.now(self.monotonic)
    }

    fn set_wall(&mut self, wall: u64) {
        self.is_wall_honest &= wall >= self.wall;
        self.wall = wall;
    }

    fn log_pair(&mut self) {
        self.pair = self.clock.pair(self.wall, self.monotonic);
        self.is_wall_honest = true;
    }

    fn open(&mut self, for_: u64, wall: Option<u64>) {
        self.pass(for_);
        if let Some(wall) = wall {
            self.set_wall(wall);
        }
        self.monotonic = self.monotonic.wrapping_mul(31) % 1_000;
        self.clock = StoreClock::resume(self.pair, self.newest_record_now, self.wall, self.monotonic);
    }

    fn step(&mut self, op: Op) {
        let before = self.now();
        match op {
            Op::Run(time) => {
                self.pass(time);
                assert_eq!(self.now(), before + time, "while open, time is what has passed");
            }
            Op::SetWall(wall) => {
                self.set_wall(wall);
                assert_eq!(self.now(), before, "a jump of the wall clock does nothing");
            }
            Op::Commit => self.newest_record_now = before,
            Op::LogPair => self.log_pair(),
            Op::Adopt => {
                let moved = self.clock.adopt(self.wall, self.monotonic);
                assert_eq!((self.now(), moved), (before.max(self.wall), self.wall.saturating_sub(before)));
                self.log_pair();
            }
            Op::Close { for_, wall } => {
                self.log_pair();
                self.open(for_, wall);
                assert!(self.now() - before <= for_.max(self.wall.saturating_sub(self.pair.wall)), "no more than passed");
            }
            Op::Crash { for_, wall } => {
                self.open(for_, wall);
                if !self.is_wall_honest {
                    self.reached = self.pair.store.max(self.newest_record_now);
                }
            }
        }
        assert!(self.now() >= self.newest_record_now, "no record lies in the future");
        assert!(self.now() >= self.pair.store, "no pair lies in the future");
        assert!(self.now() >= self.reached, "time ran backwards from {} to {} at {op:?}", self.reached, self.now());
        self.reached = self.now();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn time_never_runs_backwards_over_closes_crashes_and_jumps(wall in 0_u64..2_000, ops in prop::collection::vec(op(), 1..40)) {
        let clock = StoreClock::start(wall, 0);
        let pair = clock.pair(wall, 0);
        let mut world =
            World { wall, monotonic: 0, clock, pair, newest_record_now: 0, reached: wall, is_wall_honest: true };
        for op in ops {
            world.step(op);
        }
    }
}
