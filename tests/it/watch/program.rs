//! Random programs of one thread, which decides every step, so that a failure can be repeated: on the simulated disk, with power cuts, kills,
//! failed syncs, closed stores and buckets that are created again.

use std::sync::Arc;
use std::time::Duration;

use annals::testing::disk::{CrashPolicy, Fault, Injection, SimDisk};
use annals::testing::random::Random;
use annals::{
    Bucket, BucketConfig, Durability, Entry, ErrorKind, Event, Options, PutOptions, Revision, Store, Watch, WatchOptions,
    WatchToken,
};

use super::ledger::{Content, Ledger, Record};
use super::traffic::{Interest, Writer};
use super::validators::{Phase, Validator};
use super::{Tally, options_of};

const STORE: &str = "/store";
/// Time passes in such steps, in buckets where that matters.
const TICK: Duration = Duration::from_millis(50);
const SYNC_FAULTS: [Fault; 3] = [Fault::SyncFailOnce, Fault::SyncFailKeepsCache, Fault::SyncFailReverts];

/// A watch under a validator.
struct Watched {
    watch: Watch,
    options: WatchOptions,
    validator: Validator,
}

/// Where a watch was after some event: it goes on from there later, perhaps in another life of the store.
struct Bookmark {
    token: String,
    options: WatchOptions,
    validator: Validator,
    /// It has seen what a power cut took; or perhaps has.
    is_lost: bool,
    may_be_lost: bool,
}

/// How a life of a store ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Cut,
    Kill,
    Drop,
    Close,
}

struct Program {
    random: Random,
    disk: Arc<SimDisk>,
    level: Durability,
    config: BucketConfig,
    /// Keys expire.
    has_ttl: bool,
    store: Store,
    bucket: Bucket,
    writer: Writer,
    ledger: Ledger,
    /// The entries of a write that failed: nobody knows whether they are there.
    unknown: Option<Content>,
    /// Up to this revision everything is on the disk, by what was acknowledged.
    durable: u64,
    /// Up to this revision what is not there has been removed, after it was on the disk.
    removed: u64,
    /// When entries expire.
    deadlines: Vec<u64>,
    watches: Vec<Watched>,
    bookmarks: Vec<Bookmark>,
    tally: Tally,
}

fn options(disk: &Arc<SimDisk>, level: Durability) -> Options {
    Options::new().sizes(8 << 10, 1 << 10, 256).durability(level).manual_jobs().env(disk.env())
}

/// Runs the program of a number.
pub(crate) fn run(seed: u64, steps: u32) -> Tally {
    let mut program = Program::new(seed);
    for _ in 0..steps {
        program.step();
    }
    while let Some(watched) = program.watches.pop() {
        program.finish(watched);
    }
    program.tally
}

impl Program {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let disk = SimDisk::new(seed);
        let periodic = Durability::Periodic { delay: Duration::from_millis(100), bytes: 4096 };
        let level = [Durability::Sync, periodic, Durability::OsCache][random.below(3) as usize];
        let depth = [1, 3, 64][random.below(3) as usize];
        let has_ttl = random.below(4) == 0;
        let config = BucketConfig::new("b").history(depth).limit_markers(has_ttl.then_some(3 * TICK));
        let store = options(&disk, level).open(STORE).unwrap();
        let bucket = store.create_bucket(config.clone()).unwrap();
        store.sync().unwrap();
        Self {
            writer: Writer::new(seed, 0, has_ttl.then_some(TICK)),
            ledger: Ledger::new(usize::from(depth)),
            unknown: None,
            durable: 0,
            removed: 0,
            deadlines: Vec::new(),
            watches: Vec::new(),
            bookmarks: Vec::new(),
            tally: Tally::default(),
            random,
            disk,
            level,
            config,
            has_ttl,
            store,
            bucket,
        }
    }

    fn step(&mut self) {
        match self.random.below(1000) {
            0..640 => self.write(),
            640..655 => {
                // More than any line holds.
                (0..1_100).for_each(|_| self.write());
            }
            655..670 => self.purge_all(),
            670..680 => self.remove_markers(),
            680..710 => drop(self.store.step().unwrap()),
            710..718 => self.store.merge_all().unwrap(),
            718..725 => self.sync(),
            725..765 if self.watches.len() < 24 => self.join(),
            765..775 => {
                if let Some(at) = self.any_watch() {
                    let watched = self.watches.swap_remove(at);
                    self.finish(watched);
                }
            }
            775..790 => self.resume(),
            790..810 => self.go_on(),
            810..814 => self.end(End::Cut),
            814..816 => self.end(End::Kill),
            816..817 => self.end(End::Drop),
            817..818 => self.end(End::Close),
            818..821 => self.poison(),
            821..823 => self.create_again(),
            _ => {
                if let Some(at) = self.any_watch() {
                    let count = self.random.below(300);
                    self.read(at, count);
                }
            }
        }
    }

    fn any_watch(&mut self) -> Option<usize> {
        (!self.watches.is_empty()).then(|| self.random.below(self.watches.len() as u64) as usize)
    }

    fn write(&mut self) {
        self.pass_time();
        // About as often as a memtable is full, or things would lie in more and more of them.
        if self.random.below(8) == 0 {
            self.store.step().unwrap();
        }
        let before = self.ledger.records.len();
        self.writer.write(&self.store, &self.bucket, &mut self.ledger).unwrap();
        for at in before..self.ledger.records.len() {
            let record = &mut self.ledger.records[at];
            if record.content.ttl > 0 && !record.is_expiry() {
                self.deadlines.push(self.store.store_time() + record.content.ttl);
            }
        }
        self.note_durable();
    }

    fn note_durable(&mut self) {
        if self.level == Durability::Sync {
            self.durable = self.ledger.last();
        }
    }

    /// Lets time pass, and has the markers of what expires written: not by a write, which would not tell.
    fn pass_time(&mut self) {
        if !self.has_ttl {
            return;
        }
        if self.random.below(8) == 0 {
            self.disk.clock().advance(TICK.as_nanos() as u64);
        }
        let now = loop {
            let now = self.store.store_time();
            // The clock moves a little with each look at it, and nothing may expire while the next write is under way.
            if !self.deadlines.iter().any(|deadline| (now..now + 1_000_000).contains(&(deadline + 500_000))) {
                break now;
            }
            self.disk.clock().advance(2_000_000);
        };
        if !self.deadlines.iter().any(|deadline| *deadline <= now) {
            return;
        }
        self.deadlines.retain(|deadline| *deadline > now);
        let before = self.bucket.estimate().unwrap().last_revision;
        while self.store.sweep().unwrap() {}
        if self.bucket.estimate().unwrap().last_revision > before {
            let changes = || self.bucket.changes_since(before)?.collect::<annals::Result<Vec<Event>>>();
            let changes = changes().map(|events| events.into_iter().filter_map(|event| event.entry().cloned()).collect());
            // The markers of earlier ones may be gone by now, and then it is not told what has changed.
            let found: Vec<Entry> = changes.unwrap_or_else(|_| {
                let all = self.bucket.history(">").unwrap().map(|entry| entry.unwrap());
                all.filter(|entry| entry.revision() > before).collect()
            });
            self.ledger.learn(found.iter().map(|entry| {
                let (content, created) = Content::of(entry, true);
                (entry.revision().get(), content, created)
            }));
        }
    }

    fn purge_all(&mut self) {
        // Two in a row could not be told apart after a power cut.
        if self.ledger.purges.last().is_none_or(|through| *through < self.ledger.last_entry()) {
            self.pass_time();
            self.ledger.purge(self.bucket.purge_all().unwrap().get());
            self.note_durable();
        }
    }

    fn remove_markers(&mut self) {
        self.pass_time();
        self.bucket.purge_deletes(Duration::ZERO).unwrap();
        self.ledger.remove_markers(self.ledger.last(), self.ledger.last());
        // What is not there any more would be taken for lost after a power cut.
        self.sync();
        self.removed = self.durable;
    }

    fn sync(&mut self) {
        self.store.sync().unwrap();
        self.durable = self.ledger.last();
    }

    fn join(&mut self) {
        let interest = Interest::random(&mut self.random, 4);
        let (is_bare, has_no_deletes) = (self.random.below(8) == 0, self.random.below(8) == 0);
        let options = options_of(interest).meta_only(is_bare).ignore_deletes(has_no_deletes);
        let (phase, first) = match self.random.below(4) {
            0 => (Phase::State, options.clone()),
            1 => (Phase::History, options.clone().history(true)),
            2 => (Phase::Updates, options.clone().updates_only(true)),
            _ => {
                let from = 1 + self.random.below(self.ledger.last() + 1);
                (Phase::resumed(from - 1), options.clone().from_revision(Revision::from(from)))
            }
        };
        match self.bucket.watch_with(first) {
            Ok(watch) => {
                let position = if phase == Phase::State || phase == Phase::History { 0 } else { watch.token().revision().get() };
                let validator = Validator::new(interest, phase, self.ledger.last(), position);
                let validator = validator.leaves_out(is_bare, has_no_deletes).alone();
                self.watches.push(Watched { watch, options, validator });
            }
            Err(error) => {
                assert_eq!((error.kind(), phase), (ErrorKind::Compacted, Phase::Resumed), "{error:?}");
                self.may_refuse(0);
            }
        }
    }

    fn may_refuse(&mut self, position: u64) {
        self.ledger.index();
        assert!(self.ledger.may_refuse(position, self.store.store_time()), "refused at {position}, and nothing is gone");
        self.tally.refusals += 1;
    }

    /// Takes up to `count` events that are there; answers what it ended with, if it did.
    fn take(&mut self, at: usize, count: u64) -> Option<ErrorKind> {
        let last = self.ledger.last();
        let Self { watches, bookmarks, random, store, .. } = self;
        let Watched { watch, options, validator } = &mut watches[at];
        let mut end = None;
        for _ in 0..count {
            match watch.try_next() {
                Ok(Some(event)) => {
                    let token = watch.token();
                    validator.see(&event, token.revision().get());
                    if random.below(100) == 0 && bookmarks.len() < 64 {
                        bookmarks.push(Bookmark::new(token, options, validator));
                    }
                }
                Ok(None) => {
                    validator.see_rest(watch.token().revision().get(), last);
                    break;
                }
                Err(error) => {
                    end = Some(error.kind());
                    break;
                }
            }
        }
        // A watch that was not asked has not begun to read.
        if count > 0 {
            validator.bound(last, store.store_time());
        }
        end
    }

    fn read(&mut self, at: usize, count: u64) {
        let Some(kind) = self.take(at, count) else { return };
        let mut watched = self.watches.swap_remove(at);
        assert!(matches!(kind, ErrorKind::Lagged | ErrorKind::Compacted), "ends with {kind:?}");
        assert_eq!(kind == ErrorKind::Lagged, watched.validator.is_up_to_date, "it had been live, or had not");
        self.may_refuse(watched.validator.position);
        is_over(&mut watched.watch);
        self.check(&watched.validator);
    }

    fn check(&mut self, validator: &Validator) {
        self.ledger.learn(validator.seen());
        self.ledger.index();
        validator.check(&self.ledger);
        self.durable = self.durable.max(validator.durable);
        self.tally.count(validator);
    }

    fn finish(&mut self, watched: Watched) {
        self.watches.push(watched);
        let at = self.watches.len() - 1;
        self.read(at, u64::MAX);
        if let Some(watched) = self.watches.get(at) {
            let validator = watched.validator.clone();
            self.check(&validator);
            validator.check_whole(&self.ledger, self.ledger.last());
            self.watches.truncate(at);
        }
    }

    /// A watch goes on from its own token, whatever waits for it.
    fn resume(&mut self) {
        let Some(at) = self.any_watch() else { return };
        let Watched { watch, options, .. } = &self.watches[at];
        match self.bucket.watch_with(options.clone().after(watch.token())) {
            Ok(watch) => {
                let watched = &mut self.watches[at];
                watched.watch = watch;
                watched.validator.resume(self.ledger.last());
                self.tally.resumes += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Compacted, "{error:?}");
                let watched = self.watches.swap_remove(at);
                self.may_refuse(watched.validator.position);
                self.check(&watched.validator);
            }
        }
    }

    /// Somebody comes back with a bookmark.
    fn go_on(&mut self) {
        if self.bookmarks.is_empty() || self.watches.len() >= 24 {
            return;
        }
        let at = self.random.below(self.bookmarks.len() as u64) as usize;
        let Bookmark { token, options, validator, is_lost, may_be_lost } = self.bookmarks.swap_remove(at);
        let token: WatchToken = token.parse().unwrap();
        match self.bucket.watch_with(options.clone().after(token)) {
            Ok(watch) => {
                assert!(!is_lost, "{token:?} has seen what a power cut took, and goes on");
                let validator = validator.fork(self.ledger.last());
                self.watches.push(Watched { watch, options, validator });
                self.tally.resumes += 1;
            }
            Err(error) if error.kind() == ErrorKind::Diverged => {
                assert!(is_lost || may_be_lost, "{token:?} diverged, and nothing is lost");
                self.tally.diverged += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Compacted, "{error:?}");
                self.may_refuse(token.revision().get());
            }
        }
    }

    /// The store ends in some way, and everybody comes back to the next one later.
    fn end(&mut self, end: End) {
        // What is not on the disk yet has been seen by some, who were told that it is not.
        (0..self.random.below(8)).for_each(|_| self.write());
        for at in (0..self.watches.len()).rev() {
            if self.random.below(2) == 0 {
                self.read(at, u64::MAX);
            }
        }
        if self.has_ttl {
            // A marker whose time is over would be taken for lost.
            self.sync();
            self.removed = self.durable;
        }
        if end == End::Close {
            self.store.close().unwrap();
            self.watches_end(ErrorKind::Closed, false);
        }
        self.reopen(end);
    }

    fn reopen(&mut self, end: End) {
        for Watched { watch, options, validator } in std::mem::take(&mut self.watches) {
            let bookmark = Bookmark::new(watch.token(), &options, &validator);
            self.check(&validator);
            self.bookmarks.push(bookmark);
        }
        let policy = CrashPolicy::ALL[self.random.below(CrashPolicy::ALL.len() as u64) as usize];
        match end {
            End::Cut => self.disk.crash(policy),
            End::Kill => self.disk.restart(),
            End::Drop | End::Close => {}
        }
        // Nothing of the old one may be left before there is a new one.
        let nothing = Options::new().in_memory().unwrap();
        self.bucket = nothing.create_bucket(BucketConfig::new("nothing")).unwrap();
        self.store = nothing;
        self.store = options(&self.disk, self.level).open(STORE).unwrap();
        self.bucket = self.store.bucket("b").unwrap();
        self.survive(end);
        *self.tally.ends.entry(format!("{end:?}")).or_default() += 1;
    }

    /// What is there is what was, up to some commit; whoever has seen more is told so.
    fn survive(&mut self, end: End) {
        let (mut last, mut floor) = (self.removed, 0);
        for event in self.bucket.changes_since(Revision::NONE).unwrap() {
            match event.unwrap() {
                Event::Entry(entry) => {
                    last = last.max(entry.revision().get());
                    if entry.revision().get() > self.ledger.last() {
                        let (content, created) = Content::of(&entry, true);
                        assert_eq!(self.unknown.take(), Some(content), "what nobody wrote is there");
                        let revision = entry.revision().get();
                        self.ledger.add(Record { created, ..Record::new(revision, revision, content) });
                    }
                }
                Event::Purged { through } => floor = through.get(),
                other => panic!("{other:?}"),
            }
        }
        last = last.max(floor);
        assert!(
            end == End::Cut || self.unknown.is_some() || last == self.ledger.last(),
            "{end:?} has lost what was acknowledged"
        );
        self.unknown = None;
        self.ledger.index();
        let lost = self.ledger.place_after(last);
        if let Some(first) = self.ledger.records.get(lost) {
            assert!(first.batch > last, "half of a batch is left: {first:?}");
            assert!(first.revision > self.durable, "{end:?} took {first:?}, and {} was called durable", self.durable);
            let lost = first.revision;
            self.bookmarks.iter_mut().filter(|bookmark| bookmark.validator.position >= lost).for_each(|of| of.is_lost = true);
        }
        let purges = self.ledger.purges.clone();
        self.ledger.cut(last, floor);
        if let Some(lost) = purges.get(self.ledger.purges.len()) {
            for bookmark in &mut self.bookmarks {
                bookmark.is_lost |= bookmark.validator.purged.is_some_and(|known| known >= *lost);
                bookmark.may_be_lost |= bookmark.validator.position <= last;
            }
        }
        self.durable = self.ledger.last();
    }

    /// Every watch has this end, once, after all that was committed.
    fn watches_end(&mut self, expected: ErrorKind, is_readable: bool) {
        for at in 0..self.watches.len() {
            let mut kind = None;
            while kind.is_none() {
                kind = self.take(at, u64::MAX);
            }
            // Whoever had to read may find out that it cannot.
            let is_refused = matches!(kind, Some(ErrorKind::Lagged | ErrorKind::Compacted));
            if is_refused && is_readable {
                self.may_refuse(self.watches[at].validator.position);
            } else {
                assert_eq!(kind, Some(expected));
                let last = self.ledger.last();
                self.watches[at].validator.end(last, is_readable);
                *self.tally.ends.entry(format!("{expected:?}")).or_default() += 1;
            }
            is_over(&mut self.watches[at].watch);
        }
    }

    /// A sync fails, and with it the store.
    fn poison(&mut self) {
        self.pass_time();
        let fault = SYNC_FAULTS[self.random.below(3) as usize];
        for next in 1..50 {
            self.disk.inject(Injection { at: self.disk.calls() + next, fault, sticky: false });
        }
        let (key, value, content) = self.writer.put();
        let answer = self.bucket.put_with(key, value, PutOptions::new().durability(Durability::Sync));
        self.disk.clear_faults();
        match answer {
            Ok(revision) => self.ledger.add(Record::new(revision.get(), revision.get(), content)),
            Err(_) => self.unknown = Some(content),
        }
        if self.store.status().unwrap().poisoned {
            self.watches_end(ErrorKind::Poisoned, true);
            // What was only in the cache may be gone, so the power may as well have been cut.
            self.reopen(End::Cut);
        }
    }

    fn create_again(&mut self) {
        self.store.delete_bucket("b").unwrap();
        self.watches_end(ErrorKind::BucketNotFound, false);
        for Watched { watch, options, validator } in std::mem::take(&mut self.watches) {
            self.bookmarks.push(Bookmark::new(watch.token(), &options, &validator));
            self.check(&validator);
        }
        self.bucket = self.store.create_bucket(self.config.clone()).unwrap();
        self.store.sync().unwrap();
        for Bookmark { token, options, .. } in std::mem::take(&mut self.bookmarks) {
            let refused = self.bucket.watch_with(options.after(token.parse().unwrap())).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::BucketNotFound, "the bucket of the same name is another");
        }
        (self.ledger, self.durable, self.removed) = (Ledger::new(self.ledger.depth), 0, 0);
        self.deadlines.clear();
    }
}

impl Bookmark {
    fn new(token: WatchToken, options: &WatchOptions, validator: &Validator) -> Self {
        let validator = validator.fork(0);
        Self { token: token.to_string(), options: options.clone(), validator, is_lost: false, may_be_lost: false }
    }
}

/// After its end a watch gives nothing, however it is asked.
pub(crate) fn is_over(watch: &mut Watch) {
    assert!(matches!(watch.try_next(), Ok(None)), "after its end");
    assert!(watch.next().is_none(), "after its end");
    assert!(matches!(watch.next_timeout(Duration::from_secs(1)), Ok(None)), "after its end");
}
