//! Watches: what they guarantee, under everything that may happen to them; and the known bugs of others that are about that.
//!
//! - `validators`: what is guaranteed, judged against a `ledger` of what was committed; `traffic`: what is written and watched.
//! - `program`: random programs of one thread, with crashes; `threads`: of many; `stress`: both, also for as long as asked.
//! - `ends`: how watches end; `slow`: those that are slow, late or many; `wide`: those that the dispatcher tells.

mod ends;
mod ledger;
mod program;
mod slow;
mod stress;
mod threads;
mod traffic;
mod validators;
mod wide;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use annals::WatchOptions;

use self::traffic::Interest;
use self::validators::Validator;

/// What a run has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) deliveries: u64,
    pub(crate) watches: u64,
    pub(crate) resumes: u64,
    /// Spans that were told as skipped.
    pub(crate) skips: u64,
    /// Watches that were refused, or ended, because something is gone without a trace; and because they had seen what a power cut took.
    pub(crate) refusals: u64,
    pub(crate) diverged: u64,
    /// Of stores and of watches.
    pub(crate) ends: BTreeMap<String, u64>,
}

impl Tally {
    fn count(&mut self, validator: &Validator) {
        self.deliveries += validator.entries;
        self.skips += validator.skips;
        self.watches += 1;
    }

    fn add(&mut self, other: Self) {
        self.deliveries += other.deliveries;
        self.watches += other.watches;
        self.resumes += other.resumes;
        self.skips += other.skips;
        self.refusals += other.refusals;
        self.diverged += other.diverged;
        for (end, count) in other.ends {
            *self.ends.entry(end).or_default() += count;
        }
    }
}

/// Tells the other threads that a test is over, whichever way: a test that fails must not wait for them, nor they for it.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn options_of(interest: Interest) -> WatchOptions {
    interest.filters.iter().fold(WatchOptions::new().progress(true), |options, filter| options.filter(*filter))
}
