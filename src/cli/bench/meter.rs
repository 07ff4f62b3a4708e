//! Threads that do something again and again, and how long each time took.

use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::ProgressBar;

use super::data::Random;
use crate::failure::{Failure, Result};

/// Longer than anything takes; what takes longer counts as this.
const LATENCY_MAX: Duration = Duration::from_secs(3600);
/// How much a histogram rounds: three digits are right.
const DIGITS: u8 = 3;
/// A shorter sleep is not worth its call.
const SLEEP_MIN: Duration = Duration::from_millis(1);
/// How many turns lie between two steps of the bar.
const TURNS_PER_STEP: u64 = 256;

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    /// After this long, and one turn of each thread at least.
    Time(Duration),
    /// When the turns 0 to this number have been taken, shared out among the threads.
    Turns(u64),
}

/// How to run: the number of threads, until when, which turns are timed (one in `every`), and how much time a turn has at least.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) threads: u64,
    pub(super) until: Until,
    pub(super) every: u64,
    pub(super) pace: Duration,
}

/// What a thread has at hand.
#[derive(Debug)]
pub(super) struct Hand {
    pub(super) key: String,
    pub(super) value: Vec<u8>,
    pub(super) random: Random,
    /// Something of all that was read, so that nothing is read in vain.
    pub(super) sum: u64,
}

/// What a run measured.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) ops: u64,
    pub(super) elapsed: Duration,
    pub(super) latencies: Histogram<u64>,
    pub(super) sum: u64,
}

impl Measured {
    pub(super) fn new() -> Result<Self> {
        let latencies = Histogram::new_with_bounds(1, LATENCY_MAX.as_nanos() as u64, DIGITS);
        let latencies = latencies.map_err(|error| Failure::Broken(format!("no histogram: {error}")))?;
        Ok(Self { ops: 0, elapsed: Duration::ZERO, latencies, sum: 0 })
    }

    pub(super) fn record(&mut self, latency: Duration) {
        self.latencies.saturating_record(latency.as_nanos() as u64);
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        self.ops += other.ops;
        self.sum = self.sum.wrapping_add(other.sum);
        self.latencies.add(&other.latencies).map_err(|error| Failure::Broken(format!("histograms do not add up: {error}")))
    }
}

impl Run {
    /// Lets the threads take turns at `work`, which gets the number of its turn and answers how many operations it did.
    pub(super) fn measure(self, bar: &ProgressBar, work: impl Fn(&mut Hand, u64) -> Result<u64> + Sync) -> Result<Measured> {
        let start = Instant::now();
        let work = &work;
        let parts: Result<Vec<Measured>> = thread::scope(|scope| {
            let threads: Vec<_> =
                (0..self.threads).map(|thread| scope.spawn(move || self.take_turns(thread, start, bar, work))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        let mut sum = Measured::new()?;
        parts?.iter().try_for_each(|part| sum.merge(part))?;
        sum.elapsed = start.elapsed();
        bar.finish_and_clear();
        Ok(sum)
    }

    fn wait_for(self, turn: u64, start: Instant) {
        if self.pace.is_zero() {
            return;
        }
        let due = Duration::from_nanos((self.pace.as_nanos() as u64).saturating_mul(turn));
        let early = due.saturating_sub(start.elapsed());
        // A sleep takes longer than it is asked to: what is lost is made up for by the turns that follow.
        if early > SLEEP_MIN {
            thread::sleep(early);
        }
    }

    fn take_turns(
        self,
        thread: u64,
        start: Instant,
        bar: &ProgressBar,
        work: &impl Fn(&mut Hand, u64) -> Result<u64>,
    ) -> Result<Measured> {
        let mut hand = Hand { key: String::new(), value: Vec::new(), random: Random::new(thread << 32), sum: 0 };
        let mut measured = Measured::new()?;
        for round in 0.. {
            let turn = round * self.threads + thread;
            if matches!(self.until, Until::Turns(turns) if turn >= turns) {
                break;
            }
            self.wait_for(turn, start);
            if round % self.every == 0 {
                let begin = Instant::now();
                measured.ops += work(&mut hand, turn)?;
                let end = Instant::now();
                measured.record(end - begin);
                if matches!(self.until, Until::Time(time) if end - start >= time) {
                    break;
                }
            } else {
                measured.ops += work(&mut hand, turn)?;
            }
            if round % TURNS_PER_STEP == TURNS_PER_STEP - 1 {
                bar.inc(TURNS_PER_STEP);
            }
        }
        measured.sum = hand.sum;
        Ok(measured)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn every_turn_is_taken_once() {
        let taken = Mutex::new(Vec::new());
        let run = Run { threads: 3, until: Until::Turns(100), every: 1, pace: Duration::ZERO };
        let measured = run.measure(&ProgressBar::hidden(), |_, turn| {
            taken.lock().unwrap().push(turn);
            Ok(2)
        });
        let measured = measured.unwrap();
        let mut taken = taken.into_inner().unwrap();
        taken.sort_unstable();
        assert_eq!(taken, (0..100).collect::<Vec<_>>());
        assert_eq!((measured.ops, measured.latencies.len()), (200, 100));
    }

    #[test]
    fn one_turn_in_so_many_is_timed() {
        let run = Run { threads: 1, until: Until::Turns(17), every: 8, pace: Duration::ZERO };
        assert_eq!(run.measure(&ProgressBar::hidden(), |_, _| Ok(1)).unwrap().latencies.len(), 3);
    }

    #[test]
    fn an_error_ends_the_run() {
        let run = Run { threads: 2, until: Until::Turns(10), every: 1, pace: Duration::ZERO };
        let broken = || Failure::Broken("as wanted".to_owned());
        assert!(run.measure(&ProgressBar::hidden(), |_, turn| if turn == 7 { Err(broken()) } else { Ok(1) }).is_err());
    }
}
