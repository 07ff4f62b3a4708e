//! Random programs of many threads: writers, maintenance, and readers of every kind, each with several watches, so that most writes concern
//! more watches than a leader serves by itself. What was written is known when all is over; then the validators have their say.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use annals::testing::disk::{Fault, Injection, SimDisk};
use annals::testing::random::Random;
use annals::{
    Bucket, BucketConfig, Durability, ErrorKind, Event, Options, Store, Watch, WatchOptions, WatchStopper, WatchStream,
};
use futures_core::Stream;

use super::ledger::Ledger;
use super::program::is_over;
use super::traffic::{Interest, Writer};
use super::validators::{Phase, Validator};
use super::{Done, Tally, options_of};

const WRITERS: u64 = 2;
/// Whoever waits that long for what has been committed has missed it.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a round ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Everybody gets everything.
    Whole,
    /// The same, and keys expire, markers too.
    Expiring,
    Deleted,
    Closed,
    Poisoned,
}

const ENDINGS: [Ending; 8] = [
    Ending::Whole,
    Ending::Expiring,
    Ending::Whole,
    Ending::Deleted,
    Ending::Whole,
    Ending::Closed,
    Ending::Whole,
    Ending::Poisoned,
];

/// How a reader reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// Looks at all of its watches in turn.
    Polls,
    /// The same, with pauses in which it falls behind.
    Dawdles,
    /// Waits for one.
    Waits,
    /// Async tasks on one thread.
    Tasks,
}

const READERS: [(Style, usize); 5] =
    [(Style::Polls, 10), (Style::Dawdles, 6), (Style::Waits, 1), (Style::Waits, 1), (Style::Tasks, 8)];

/// What all threads of a round share.
struct Round {
    seed: u64,
    ending: Ending,
    store: Store,
    bucket: Bucket,
    depth: u8,
    /// The highest revision that was acknowledged.
    acked: AtomicU64,
    /// The writers are done; what is told after this is the last.
    is_done: AtomicBool,
    /// And that was written.
    is_final: AtomicBool,
    ledger: Mutex<Ledger>,
    finished: Mutex<Vec<Finished>>,
    stoppers: Mutex<Vec<WatchStopper>>,
    resumes: AtomicU64,
}

/// What a watch came to.
struct Finished {
    validator: Validator,
    end: Option<ErrorKind>,
    /// When it ended.
    now: u64,
    was_stopped: bool,
}

struct Watched {
    watch: Watch,
    options: WatchOptions,
    validator: Validator,
}

/// Runs the round of a number.
pub(crate) fn run(seed: u64, writes: u64) -> Tally {
    let ending = ENDINGS[seed as usize % ENDINGS.len()];
    let sizes = Options::new().sizes(64 << 10, 16 << 10, 512);
    let disk = SimDisk::new(seed);
    let store = match ending {
        Ending::Poisoned => sizes.env(disk.env()).durability(Durability::Sync).open("/store").unwrap(),
        _ => sizes.durability(Durability::OsCache).in_memory().unwrap(),
    };
    let depth = [2, 1, 64][seed as usize / 3 % 3];
    let marker_life = (ending == Ending::Expiring).then_some(Duration::from_millis(100));
    let config = BucketConfig::new("b").history(depth).limit_markers(marker_life);
    let round = Round {
        seed,
        ending,
        bucket: store.create_bucket(config.clone()).unwrap(),
        store,
        depth,
        acked: AtomicU64::new(0),
        is_done: AtomicBool::new(false),
        is_final: AtomicBool::new(false),
        ledger: Mutex::new(Ledger::new(usize::from(depth))),
        finished: Mutex::default(),
        stoppers: Mutex::default(),
        resumes: AtomicU64::new(0),
    };
    std::thread::scope(|scope| {
        let round = &round;
        let _done = Done(&round.is_done);
        let writers: Vec<_> = (0..WRITERS).map(|number| scope.spawn(move || round.write(number, writes / WRITERS))).collect();
        for (number, (style, count)) in READERS.into_iter().enumerate() {
            scope.spawn(move || Reader::new(round, number as u64, style).run(count));
        }
        round.maintain(&disk, writes);
        for writer in writers {
            writer.join().unwrap();
        }
        round.finish();
    });
    if ending == Ending::Deleted {
        round.look_at_another(&config);
    }
    round.check()
}

impl Round {
    fn write(&self, number: u64, writes: u64) {
        let ttl = (self.ending == Ending::Expiring).then_some(Duration::from_millis(1));
        let mut writer = Writer::new(self.seed, number, ttl);
        let mut own = Ledger::new(usize::from(self.depth));
        for _ in 0..writes {
            let answer = match writer.random.below(2_000) {
                0 => self.bucket.purge_all().map(|through| own.purge(through.get())),
                1 if self.ending == Ending::Expiring => {
                    let before = self.acked.load(Ordering::SeqCst);
                    let answer = self.bucket.purge_deletes(Duration::ZERO);
                    answer.map(|_| own.remove_markers(before, self.last()))
                }
                _ => writer.write(&self.store, &self.bucket, &mut own),
            };
            self.acked.fetch_max(own.records.last().map_or(0, |record| record.revision), Ordering::SeqCst);
            match answer.map_err(|error| error.kind()) {
                Ok(()) => {}
                Err(ErrorKind::BucketNotFound) if self.ending == Ending::Deleted => break,
                Err(ErrorKind::Closed) if self.ending == Ending::Closed => break,
                Err(ErrorKind::Poisoned | ErrorKind::Io) if self.ending == Ending::Poisoned => break,
                Err(kind) => panic!("a write fails with {kind:?}"),
            }
        }
        self.ledger.lock().unwrap().append(own);
    }

    /// An upper bound of what anybody can have read.
    fn last(&self) -> u64 {
        self.bucket.estimate().map_or(u64::MAX, |estimate| estimate.last_revision.get())
    }

    /// Flushes and merges beside the writers; then the end comes, in the middle.
    fn maintain(&self, disk: &SimDisk, writes: u64) {
        let started = Instant::now();
        let wait_for = |revision| {
            while self.acked.load(Ordering::SeqCst) < revision {
                assert!(started.elapsed() < PATIENCE, "the writers do not get to revision {revision}");
                std::thread::yield_now();
            }
        };
        for part in 1..4 {
            wait_for(writes * part / 8);
            self.store.flush().unwrap();
            if part == 2 {
                self.store.compact().unwrap();
            }
        }
        match self.ending {
            Ending::Whole | Ending::Expiring => {}
            Ending::Deleted => self.store.delete_bucket("b").unwrap(),
            Ending::Closed => self.store.close().unwrap(),
            Ending::Poisoned => self.poison(disk),
        }
    }

    /// A sync fails, of whoever is the next to write.
    fn poison(&self, disk: &SimDisk) {
        let mut own = Ledger::new(usize::from(self.depth));
        let mut writer = Writer::new(self.seed, WRITERS, None);
        let started = Instant::now();
        let is_poisoned = || {
            assert!(started.elapsed() < PATIENCE, "no sync of the log fails");
            self.store.status().unwrap().poisoned
        };
        while !is_poisoned() {
            for next in 1..100 {
                disk.inject(Injection { at: disk.calls() + next, fault: Fault::SyncFailOnce, sticky: false });
            }
            let mut answer = writer.write(&self.store, &self.bucket, &mut own);
            disk.clear_faults();
            // It may have been a flush's sync: that is repeated, and no write gets as far as the log until it is done.
            while answer.is_err() && !is_poisoned() {
                std::thread::yield_now();
                answer = writer.write(&self.store, &self.bucket, &mut own);
            }
        }
        self.acked.fetch_max(own.last(), Ordering::SeqCst);
        self.ledger.lock().unwrap().append(own);
    }

    /// The writers are done: a last word to everybody, which wakes whoever waits.
    fn finish(&self) {
        self.is_done.store(true, Ordering::SeqCst);
        let mut own = Ledger::new(usize::from(self.depth));
        if matches!(self.ending, Ending::Whole | Ending::Expiring) {
            let mut writer = Writer::new(self.seed, WRITERS, None);
            writer.write_all(&self.store, &self.bucket, &mut own).unwrap();
            self.acked.fetch_max(own.last(), Ordering::SeqCst);
        }
        self.ledger.lock().unwrap().append(own);
        self.is_final.store(true, Ordering::SeqCst);
        for stopper in self.stoppers.lock().unwrap().iter() {
            stopper.stop();
        }
    }

    /// A bucket of the same name is another one.
    fn look_at_another(&self, config: &BucketConfig) {
        let error = self.bucket.watch(">").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BucketNotFound);
        let bucket = self.store.create_bucket(config.clone()).unwrap();
        let mut watch = bucket.watch(">").unwrap();
        assert_eq!(watch.next().unwrap().unwrap(), Event::UpToDate);
        let revision = bucket.put("a.0", "of another bucket").unwrap();
        assert_eq!(watch.next().unwrap().unwrap().entry().unwrap().revision(), revision);
        assert_eq!(revision.get(), 1);
    }

    fn check(self) -> Tally {
        let (mut ledger, finished) = (self.ledger.into_inner().unwrap(), self.finished.into_inner().unwrap());
        ledger.is_partial = self.ending == Ending::Expiring;
        ledger.index();
        for Finished { validator, .. } in &finished {
            ledger.learn(validator.seen());
        }
        ledger.index();
        let mut tally = Tally { resumes: self.resumes.into_inner(), ..Tally::default() };
        let acked = self.acked.into_inner();
        for Finished { mut validator, end, now, was_stopped } in finished {
            tally.count(&validator);
            match end {
                None if was_stopped => validator.check(&ledger),
                None => {
                    validator.clone().check_whole(&ledger, acked);
                    continue;
                }
                Some(ErrorKind::Lagged | ErrorKind::Compacted) => {
                    assert!(ledger.may_refuse(validator.position, now), "refused at {}, and nothing is gone", validator.position);
                    tally.refusals += 1;
                    validator.check(&ledger);
                }
                Some(kind) => {
                    let due = match self.ending {
                        Ending::Deleted => ErrorKind::BucketNotFound,
                        Ending::Closed => ErrorKind::Closed,
                        Ending::Poisoned => ErrorKind::Poisoned,
                        Ending::Whole | Ending::Expiring => panic!("ends with {kind:?}"),
                    };
                    assert_eq!(kind, due);
                    validator.end(acked, kind == ErrorKind::Poisoned);
                    validator.check(&ledger);
                }
            }
            let name = end.map_or_else(|| "Stopped".to_owned(), |kind| format!("{kind:?}"));
            *tally.ends.entry(name).or_default() += 1;
        }
        tally
    }
}

struct Reader<'r> {
    round: &'r Round,
    style: Style,
    random: Random,
}

impl<'r> Reader<'r> {
    fn new(round: &'r Round, number: u64, style: Style) -> Self {
        Self { round, style, random: Random::new(round.seed.wrapping_mul(97).wrapping_add(number)) }
    }

    fn run(mut self, count: usize) {
        match self.style {
            Style::Polls | Style::Dawdles => self.poll(count),
            Style::Waits => self.wait(),
            Style::Tasks => self.run_tasks(count),
        }
    }

    /// A new watch; `None` if the bucket is not there any more.
    fn join(&mut self) -> Option<Watched> {
        let round = self.round;
        let interest = Interest::random(&mut self.random, if self.style == Style::Waits { 10 } else { 8 });
        let options = options_of(interest);
        let last = round.acked.load(Ordering::SeqCst);
        let (phase, first) = match self.random.below(3) {
            0 => (Phase::State, options.clone()),
            1 => (Phase::History, options.clone().history(true)),
            _ => (Phase::Updates, options.clone().updates_only(true)),
        };
        let watch = self.or_gone(round.bucket.watch_with(first))?;
        let position = if phase == Phase::Updates { watch.token().revision().get() } else { 0 };
        assert!(position <= round.last(), "a token from the future");
        Some(Watched { watch, options, validator: Validator::new(interest, phase, last, position) })
    }

    /// What was answered, unless that there is nothing to watch any more; then `None`.
    fn or_gone(&self, answer: annals::Result<Watch>) -> Option<Watch> {
        answer.map_err(|error| self.tolerate(error.kind())).ok()
    }

    fn tolerate(&self, kind: ErrorKind) {
        let is_due = match kind {
            ErrorKind::BucketNotFound => self.round.ending == Ending::Deleted,
            ErrorKind::Closed => self.round.ending == Ending::Closed,
            ErrorKind::Compacted | ErrorKind::Lagged => self.round.ending == Ending::Expiring,
            ErrorKind::Poisoned => self.round.ending == Ending::Poisoned,
            _ => false,
        };
        assert!(is_due, "{kind:?} in a round that ends {:?}", self.round.ending);
    }

    /// Takes up to `count` events; answers how it ended, if it did.
    fn read(&self, watched: &mut Watched, count: u64) -> Option<ErrorKind> {
        let Watched { watch, validator, .. } = watched;
        let mut end = None;
        for _ in 0..count {
            match watch.try_next() {
                Ok(Some(event)) => validator.see(&event, watch.token().revision().get()),
                Ok(None) => {
                    validator.see_nothing(watch.token().revision().get());
                    break;
                }
                Err(error) => {
                    end = Some(error.kind());
                    break;
                }
            }
        }
        self.bound(validator);
        end
    }

    fn bound(&self, validator: &mut Validator) {
        validator.bound(self.round.last(), self.round.store.store_time());
    }

    /// It is over with a watch.
    fn leave(&self, mut watched: Watched, end: Option<ErrorKind>, was_stopped: bool) {
        if let Some(kind) = end {
            self.tolerate(kind);
            is_over(&mut watched.watch);
        }
        let now = self.round.store.store_time();
        self.round.finished.lock().unwrap().push(Finished { validator: watched.validator, end, now, was_stopped });
    }

    /// To the end: everything that was committed is given without waiting for more.
    fn finish(&self, mut watched: Watched) {
        let started = Instant::now();
        loop {
            if let Some(end) = self.read(&mut watched, u64::MAX) {
                return self.leave(watched, Some(end), false);
            }
            let is_to_end = !matches!(self.round.ending, Ending::Whole | Ending::Expiring);
            let is_final = self.round.is_final.load(Ordering::SeqCst);
            if !is_to_end && is_final && watched.validator.position >= self.round.acked.load(Ordering::SeqCst) {
                return self.leave(watched, None, false);
            }
            assert!(started.elapsed() < PATIENCE, "nothing more comes after {}", watched.validator.position);
            std::thread::yield_now();
        }
    }

    fn poll(&mut self, count: usize) {
        let mut watches: Vec<Watched> = Vec::new();
        while !self.round.is_done.load(Ordering::SeqCst) {
            while watches.len() < count {
                let Some(watched) = self.join() else { break };
                watches.push(watched);
            }
            for at in (0..watches.len()).rev() {
                if self.style == Style::Dawdles {
                    (0..self.random.below(500)).for_each(|_| std::thread::yield_now());
                }
                let number = 1 + self.random.below(400);
                if let Some(end) = self.read(&mut watches[at], number) {
                    let watched = watches.swap_remove(at);
                    self.leave(watched, Some(end), false);
                    continue;
                }
                match self.random.below(400) {
                    0..4 => self.resume(&mut watches, at),
                    4 => self.leave(watches.swap_remove(at), None, true),
                    5 => self.fork(&mut watches, at),
                    _ => {}
                }
            }
        }
        for watched in watches {
            self.finish(watched);
        }
    }

    /// Goes on from its token, whatever waits for it.
    fn resume(&mut self, watches: &mut Vec<Watched>, at: usize) {
        let last = self.round.acked.load(Ordering::SeqCst);
        let Watched { watch, options, validator } = &mut watches[at];
        match self.round.bucket.watch_with(options.clone().after(watch.token())) {
            Ok(next) => {
                *watch = next;
                validator.resume(last);
                self.round.resumes.fetch_add(1, Ordering::SeqCst);
            }
            Err(error) => {
                watches[at].watch.stop();
                self.leave(watches.swap_remove(at), Some(error.kind()), false);
            }
        }
    }

    /// A second one goes on from its token, and both go their ways.
    fn fork(&self, watches: &mut Vec<Watched>, at: usize) {
        let last = self.round.acked.load(Ordering::SeqCst);
        let Watched { watch, options, validator } = &watches[at];
        let Some(watch) = self.or_gone(self.round.bucket.watch_with(options.clone().after(watch.token()))) else { return };
        self.round.resumes.fetch_add(1, Ordering::SeqCst);
        let (options, validator) = (options.clone(), validator.fork(last));
        watches.push(Watched { watch, options, validator });
    }

    /// Waits for each event, with or without a limit; one that waits without is stopped from another thread.
    fn wait(&mut self) {
        while let Some(mut watched) = (!self.round.is_done.load(Ordering::SeqCst)).then(|| self.join()).flatten() {
            let is_limited = self.random.below(2) == 0;
            if !is_limited {
                self.round.stoppers.lock().unwrap().push(watched.watch.stopper());
                if self.round.is_done.load(Ordering::SeqCst) {
                    // The stoppers may have been used already.
                    watched.watch.stop();
                }
            }
            let (mut end, mut is_stopped) = (None, false);
            for number in 1.. {
                let next = if is_limited { watched.watch.next_timeout(PATIENCE).transpose() } else { watched.watch.next() };
                match next {
                    Some(Ok(event)) => watched.validator.see(&event, watched.watch.token().revision().get()),
                    Some(Err(error)) => end = Some(error.kind()),
                    None => is_stopped = true,
                }
                if number % 64 == 0 || end.is_some() || is_stopped {
                    self.bound(&mut watched.validator);
                }
                let is_done = self.round.is_done.load(Ordering::SeqCst);
                if end.is_some() || is_stopped || is_limited && is_done {
                    break;
                }
            }
            assert!(!is_stopped || !is_limited, "nothing comes after {}", watched.validator.position);
            if end.is_some() || is_stopped {
                self.leave(watched, end, is_stopped);
            } else {
                self.finish(watched);
            }
        }
    }

    fn run_tasks(&mut self, count: usize) {
        let mut tasks: Vec<Task> = std::iter::from_fn(|| self.join()).take(count).map(Task::new).collect();
        while !self.round.is_done.load(Ordering::SeqCst) && !tasks.is_empty() {
            let mut has_run = false;
            for at in (0..tasks.len()).rev() {
                let task = &mut tasks[at];
                if !task.ready.is_ready.swap(false, Ordering::SeqCst) {
                    continue;
                }
                has_run = true;
                let end = task.run();
                self.bound(&mut task.validator);
                if let Some(kind) = end {
                    let watched = tasks.swap_remove(at).into_watched();
                    self.leave(watched, Some(kind), false);
                    tasks.extend(self.join().map(Task::new));
                }
            }
            if !has_run {
                // Some task is woken at last by the last word.
                let started = Instant::now();
                std::thread::park_timeout(PATIENCE);
                assert!(started.elapsed() < PATIENCE, "no task was woken");
            }
        }
        for task in tasks {
            self.finish(task.into_watched());
        }
    }
}

/// A watch as a stream, with its waker.
struct Task {
    stream: WatchStream,
    options: WatchOptions,
    validator: Validator,
    ready: Arc<Ready>,
}

struct Ready {
    is_ready: AtomicBool,
    thread: std::thread::Thread,
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.is_ready.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Task {
    fn new(watched: Watched) -> Self {
        let ready = Ready { is_ready: AtomicBool::new(true), thread: std::thread::current() };
        let Watched { watch, options, validator } = watched;
        Self { stream: watch.into_stream(), options, validator, ready: Arc::new(ready) }
    }

    fn into_watched(self) -> Watched {
        Watched { watch: self.stream.into_watch(), options: self.options, validator: self.validator }
    }

    /// Polls until it has nothing more, or for long enough; answers how it ended, if it did.
    fn run(&mut self) -> Option<ErrorKind> {
        let waker = Waker::from(Arc::clone(&self.ready));
        let mut context = Context::from_waker(&waker);
        for _ in 0..500 {
            match std::pin::Pin::new(&mut self.stream).poll_next(&mut context) {
                Poll::Ready(Some(Ok(event))) => self.validator.see(&event, self.stream.token().revision().get()),
                Poll::Ready(Some(Err(error))) => return Some(error.kind()),
                Poll::Ready(None) => panic!("a stream ends without a word"),
                Poll::Pending => {
                    self.validator.see_nothing(self.stream.token().revision().get());
                    return None;
                }
            }
        }
        self.ready.is_ready.store(true, Ordering::SeqCst);
        None
    }
}
