//! One run of a script: the disk, the store, the ledger, and what is to go wrong.

use std::sync::Arc;

use annals::testing::disk::{CrashPolicy, Fault, Injection, SimDisk, Snapshot};
use annals::testing::oracle::{Answer, Checked, Commit, KeyWrite, Mismatch, Refusal, Write, check_refusal};
use annals::{BucketConfig, Error, ErrorKind, Outcome, Store};

use crate::ledger::{Ledger, Shown, describe};
use crate::script::{Level, PERIODIC_BYTES, Part, STORE, Step, VALUE_LEN_MAX};

/// In nanoseconds.
const MILLISECOND: u64 = 1_000_000;

/// How a life of the store ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Closed or dropped, or not begun.
    Left,
    Killed,
    PowerCut,
}

/// What goes wrong in a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    None,
    /// At this call, once or for ever.
    Fault(Injection),
    /// Everything stops at this call.
    CrashAt(u64),
}

/// A state of the world at rest, to start runs from.
#[derive(Clone)]
pub(crate) struct Start {
    snapshot: Snapshot,
    ledger: Ledger,
    serial: usize,
    end: End,
}

impl Start {
    pub(crate) fn empty() -> Self {
        Self { snapshot: SimDisk::new(1).snapshot(), ledger: Ledger::default(), serial: 0, end: End::Left }
    }
}

pub(crate) struct World {
    pub(crate) disk: Arc<SimDisk>,
    pub(crate) level: Level,
    pub(crate) store: Option<Store>,
    pub(crate) ledger: Ledger,
    /// Makes every value different.
    serial: usize,
    pub(crate) trouble: Trouble,
    /// Trouble is over: nothing may fail any more.
    is_calm: bool,
    pub(crate) end: End,
    /// How many faults there were when this life began.
    fired_before: u64,
    /// A sync failed below `Sync`: what was acknowledged and not synced may be gone from the cache too.
    pub(crate) sync_failed: bool,
    /// What was done and answered, for messages.
    pub(crate) journal: Vec<String>,
    /// Power cuts so far: each may leave one saved tail.
    pub(crate) cuts: usize,
}

impl World {
    pub(crate) fn new(level: Level, start: &Start, trouble: Trouble) -> Self {
        let disk = SimDisk::new(1);
        disk.restore(&start.snapshot);
        let mut world = Self {
            disk,
            level,
            store: None,
            ledger: start.ledger.clone(),
            serial: start.serial,
            trouble,
            is_calm: false,
            end: start.end,
            fired_before: 0,
            sync_failed: false,
            journal: Vec::new(),
            cuts: 0,
        };
        world.ledger.set_value_len_max(VALUE_LEN_MAX as u64);
        world.arm();
        world
    }

    /// The state of things; the store must be at rest.
    pub(crate) fn start(&self) -> Start {
        Start { snapshot: self.disk.snapshot(), ledger: self.ledger.clone(), serial: self.serial, end: self.end }
    }

    /// Plans the trouble, again after a cut or a kill that cleared the plan.
    fn arm(&mut self) {
        match self.trouble {
            Trouble::Fault(injection) if self.disk.calls() < injection.at => {
                self.disk.clear_faults();
                self.disk.inject(injection);
            }
            Trouble::CrashAt(call) if self.disk.calls() < call => self.disk.crash_at(call),
            _ => {}
        }
    }

    /// Whether the crash of this run has come.
    pub(crate) fn is_down(&self) -> bool {
        matches!(self.trouble, Trouble::CrashAt(call) if self.disk.calls() >= call)
    }

    /// Whether anything went wrong that an error could come from.
    fn is_faulted(&self) -> bool {
        !self.is_calm && self.disk.fired() > 0 || self.disk.crashed()
    }

    fn note(&mut self, what: impl Into<String>) {
        self.journal.push(format!("[{}] {}", self.disk.calls(), what.into()));
    }

    /// An error that is not the answer of a condition: there must be a cause, and it must be named for what it is.
    fn tolerate(&mut self, what: &str, error: &Error) -> Checked {
        self.note(format!("{what} -> {error:?}"));
        if !self.is_faulted() {
            return Err(Mismatch::new(format!("{what} failed without a fault: {error:?}")));
        }
        let kind = error.kind();
        let fault = match self.trouble {
            Trouble::Fault(injection) => Some(injection.fault),
            _ => None,
        };
        let full = matches!(fault, Some(Fault::Enospc | Fault::Edquot | Fault::Efbig));
        let typed = match kind {
            ErrorKind::Io | ErrorKind::Poisoned => true,
            ErrorKind::NoSpace => full,
            _ => false,
        };
        // These two are how calls answer on a good day.
        let typed = typed && (self.disk.crashed() || !matches!(fault, Some(Fault::ShortIo | Fault::Eintr)));
        if !typed {
            return Err(Mismatch::new(format!("{what} blames the wrong thing for {fault:?}: {error:?}")));
        }
        Ok(())
    }

    pub(crate) fn run(&mut self, steps: &[Step]) -> Checked {
        for step in steps {
            self.step(step).map_err(|mismatch| mismatch.context(format!("{step:?}")))?;
            self.learn_durable()?;
            if self.is_down() {
                return Ok(());
            }
        }
        Ok(())
    }

    pub(crate) fn learn_durable(&mut self) -> Checked {
        if let Trouble::Fault(Injection { fault, .. }) = self.trouble {
            let loses = matches!(fault, Fault::SyncFailKeepsCache | Fault::SyncFailReverts | Fault::Enospc | Fault::Edquot);
            self.sync_failed |= loses && self.disk.fired() > 0 && self.level != Level::Sync;
        }
        if let Some(store) = &self.store {
            self.ledger.durable_through(store.durable_commit().get());
        }
        if self.level == Level::Periodic && self.store.is_some() && !self.is_faulted() {
            let unsynced = self.ledger.unsynced_bytes();
            if unsynced > PERIODIC_BYTES {
                return Err(Mismatch::new(format!("{unsynced} bytes of values are unsynced, {PERIODIC_BYTES} are allowed")));
            }
        }
        if self.level == Level::Sync {
            if self.store.is_some() && self.ledger.attempts.iter().skip(self.ledger.durable).any(|attempt| attempt.acked) {
                return Err(Mismatch::new("a commit that was acknowledged at Sync is not called durable"));
            }
            self.ledger.all_durable();
        }
        Ok(())
    }

    /// The store, opened if an earlier open failed.
    fn store(&mut self) -> Checked<Option<Store>> {
        if self.store.is_none() {
            self.open()?;
        }
        Ok(self.store.clone())
    }

    fn step(&mut self, step: &Step) -> Checked {
        if !matches!(step, Step::Open | Step::Drop | Step::Kill | Step::Cut(_)) && self.store()?.is_none() {
            return Ok(());
        }
        match *step {
            Step::Open => {
                if self.store.is_some() {
                    return Ok(());
                }
                self.open()
            }
            Step::Bucket(name, depth) => self.create_bucket(&BucketConfig::new(name).history(depth)),
            Step::Put(bucket, key, len) => {
                let value = self.value(len);
                self.write(bucket, key, Write::Put(value))
            }
            Step::Create(bucket, key) => {
                let value = self.value(12);
                self.write(bucket, key, Write::Create(value))
            }
            Step::Update(bucket, key) => {
                let (value, revision) = (self.value(12), self.newest(bucket, key));
                self.write(bucket, key, Write::Update(value, revision))
            }
            Step::UpdateStale(bucket, key) => {
                let (value, revision) = (self.value(12), self.newest(bucket, key) + 1);
                self.write(bucket, key, Write::Update(value, revision))
            }
            Step::Delete(bucket, key) => self.write(bucket, key, Write::Delete),
            Step::DeleteStale(bucket, key) => {
                let revision = self.newest(bucket, key) + 1;
                self.write(bucket, key, Write::DeleteExpecting(revision))
            }
            Step::Purge(bucket, key) => self.write(bucket, key, Write::Purge),
            Step::DropBucket(name) => self.commit(Commit::Remove(name.to_owned())),
            Step::Make(ref config) => self.commit(Commit::Create(config.clone())),
            Step::Edit(ref config) => self.commit(Commit::Edit(config.clone())),
            Step::PutFor(bucket, key, len, ttl) => {
                let value = self.value(len);
                self.commit(Commit::Write(lasting(ttl, KeyWrite::new(bucket, key, Write::Put(value)))))
            }
            Step::Touch(bucket, key, ttl) => {
                self.commit(Commit::Touch { bucket: bucket.to_owned(), key: key.to_owned(), ttl: ttl * MILLISECOND })
            }
            Step::Submit(bucket, key, len) => {
                let value = self.value(len);
                self.commit(Commit::Submit(KeyWrite::new(bucket, key, Write::Put(value))))
            }
            Step::Batch(ref parts) => {
                let writes = parts.iter().map(|(bucket, key, part)| self.part(bucket, key, *part)).collect();
                self.commit(Commit::Batch(writes))
            }
            Step::Load(bucket, count, len) => {
                let values = (0..count).map(|number| (format!("load.{number}"), self.value(len))).collect();
                self.commit(Commit::Load { bucket: bucket.to_owned(), values })
            }
            Step::DeleteMatching(bucket, pattern) => self.matching(bucket, pattern, false),
            Step::PurgeMatching(bucket, pattern) => self.matching(bucket, pattern, true),
            Step::PurgeAll(bucket) => self.commit(Commit::PurgeAll(bucket.to_owned())),
            Step::PurgeDeletes(bucket, age) => self.commit(Commit::PurgeDeletes(bucket.to_owned(), age * MILLISECOND)),
            Step::Wait(span) => {
                self.disk.clock().advance(span * MILLISECOND);
                Ok(())
            }
            Step::Sweep => self.sweep(),
            Step::Flush => self.call("flush", |store| store.flush()),
            Step::MergeAll => self.call("merge_all", |store| store.merge_all()),
            Step::Compact => self.call("compact", |store| store.compact()),
            Step::Jobs => self.call("jobs", |store| {
                while store.step()? {}
                Ok(())
            }),
            Step::Sync => {
                let before = self.ledger.attempts.last().map_or(0, |attempt| attempt.commit);
                let mut through = 0;
                self.call("sync", |store| {
                    through = store.sync()?.get();
                    Ok(())
                })?;
                if through > 0 && through < before {
                    return Err(Mismatch::new(format!("sync answers {through} after commit {before}")));
                }
                Ok(())
            }
            Step::Verify => self.call("verify", |store| store.verify().map(|_| ())),
            Step::OpenAgain => self.open_again(),
            Step::Look => self.look(),
            Step::Close => self.close(),
            Step::Drop => {
                self.leave();
                Ok(())
            }
            Step::Kill => {
                self.kill();
                Ok(())
            }
            Step::Cut(policy) => {
                self.cut(policy);
                Ok(())
            }
            Step::CutInPut(policy, after, len) => {
                let at = self.disk.calls() + 1 + after;
                let at = if let Trouble::CrashAt(call) = self.trouble { at.min(call) } else { at };
                self.disk.crash_at(at);
                let value = self.value(len);
                self.write("b", "torn", Write::Put(value))?;
                if !self.is_down() {
                    self.cut(policy);
                }
                Ok(())
            }
        }
    }

    pub(crate) fn value(&mut self, len: usize) -> Vec<u8> {
        self.serial += 1;
        let text = format!("{:03}:", self.serial);
        text.bytes().chain((0..=u8::MAX).cycle()).take(len).collect()
    }

    fn matching(&mut self, bucket: &str, pattern: &str, purge: bool) -> Checked {
        self.commit(Commit::Matching { bucket: bucket.to_owned(), pattern: pattern.to_owned(), purge })
    }

    fn part(&mut self, bucket: &str, key: &str, part: Part) -> KeyWrite {
        let newest = self.newest(bucket, key);
        let write = match part {
            Part::Put(len) | Part::PutFor(len, _) => Write::Put(self.value(len)),
            Part::Create(len) => Write::Create(self.value(len)),
            Part::Update(len) => Write::Update(self.value(len), newest),
            Part::Delete => Write::Delete,
            Part::Purge => Write::Purge,
            Part::Check => Write::Check(newest),
            Part::CheckStale => Write::Check(newest + 1),
        };
        let ttl = if let Part::PutFor(_, ttl) = part { ttl } else { 0 };
        lasting(ttl, KeyWrite::new(bucket, key, write))
    }

    fn newest(&self, bucket: &str, key: &str) -> u64 {
        let bucket = self.ledger.live.oracle.buckets.get(bucket);
        bucket.and_then(|bucket| bucket.newest(key)).map_or(0, |version| version.revision)
    }

    /// An error of a commit: refused, or unknown from now on.
    fn failed(&mut self, what: &str, error: &Error, action: Commit) -> Checked {
        self.tolerate(what, error)?;
        // Who would have heard "not applied" is gone with the machine.
        if error.outcome() == Outcome::Indeterminate || self.disk.crashed() {
            self.ledger.unknown(action);
        }
        Ok(())
    }

    /// Whether an error is the refusal that was due.
    fn is_due(&mut self, what: &str, refusal: Refusal, error: &Error) -> Checked<bool> {
        if error.kind() == refusal.kind {
            check_refusal(refusal, error)?;
            self.note(format!("{what} refused: {:?}", error.kind()));
            return Ok(true);
        }
        self.tolerate(what, error)?;
        Ok(false)
    }

    pub(crate) fn write(&mut self, bucket: &str, key: &str, write: Write) -> Checked {
        self.commit(Commit::Write(KeyWrite::new(bucket, key, write)))
    }

    pub(crate) fn create_bucket(&mut self, config: &BucketConfig) -> Checked {
        self.commit(Commit::Create(config.clone()))
    }

    /// Does it, and takes over what came of it.
    pub(crate) fn commit(&mut self, commit: Commit) -> Checked {
        let Some(store) = self.store.clone() else { return Ok(()) };
        self.ledger.pass_to(store.store_time());
        let places = self.ledger.live.oracle.clone().mark_before(&commit);
        let what = describe(&commit);
        let before = last_revision(&store, &places);
        let answer = commit.send(&store, &|name| store.bucket(name), None);
        let own = answer.as_ref().map(|answer| commit.first_revisions(answer)).unwrap_or_default();
        let next = own.first().map(|(_, first)| *first);
        if !self.marked(&store, places, before, next, answer.as_ref().err())? {
            return Ok(());
        }
        match (self.ledger.live.oracle.expected(&commit), answer) {
            (Ok(()), Ok(answer)) => {
                self.note(format!("{what} -> {answer:?}"));
                self.ledger.gaps |= self.is_faulted();
                self.ledger.acked(commit, &answer, store.status()?.last_commit.get())
            }
            (Ok(()), Err(error)) => self.failed(&what, &error, commit),
            (Err(refusal), Err(error)) => self.is_due(&what, refusal, &error).map(|_| ()),
            (Err(refusal), Ok(answer)) => Err(Mismatch::new(format!("{what} answered {answer:?} where {refusal:?} was due"))),
        }
    }

    /// The markers of all that has expired.
    fn sweep(&mut self) -> Checked {
        let Some(store) = self.store.clone() else { return Ok(()) };
        self.ledger.pass_to(store.store_time());
        let places = self.ledger.live.oracle.clone().sweep();
        let before = last_revision(&store, &places);
        let answer = store.sweep();
        if self.marked(&store, places, before, None, answer.as_ref().err())?
            && let Err(error) = answer
        {
            self.tolerate("sweep", &error)?;
        }
        Ok(())
    }

    /// Takes over the markers of these keys of one bucket, which had this last revision before; `next` is the first revision that is not
    /// a marker's, if there is one. Answers whether what comes behind them was tried.
    fn marked(
        &mut self,
        store: &Store,
        places: Vec<(String, String)>,
        before: Option<u64>,
        next: Option<u64>,
        error: Option<&Error>,
    ) -> Checked<bool> {
        let Some((bucket, _)) = places.first() else { return Ok(true) };
        assert!(places.iter().all(|(other, _)| other == bucket), "a script has markers in one bucket at a time");
        let last = last_revision(store, &places);
        let count = places.len() as u64;
        let action = Commit::Expiry(places);
        if last > before {
            let end = next.unwrap_or_else(|| last.map_or(0, |last| last + 1));
            let answer = Answer::Revisions((end - count..end).collect());
            self.note(format!("{} -> {answer:?}", describe(&action)));
            self.ledger.gaps |= self.is_faulted();
            self.ledger.acked(action, &answer, store.status()?.last_commit.get())?;
            return Ok(true);
        }
        match error {
            // The error is of what was asked for, which was not tried. Of the markers it says nothing.
            Some(error) => {
                self.tolerate(&describe(&action), error)?;
                self.ledger.unknown(action);
                Ok(false)
            }
            None => Err(Mismatch::new(format!("{} are missing", describe(&action)))),
        }
    }

    /// A call that commits nothing.
    fn call(&mut self, what: &str, call: impl FnOnce(&Store) -> annals::Result<()>) -> Checked {
        let Some(store) = self.store.clone() else { return Ok(()) };
        match call(&store) {
            Ok(()) => {
                self.note(format!("{what} -> ok"));
                Ok(())
            }
            Err(error) => self.tolerate(what, &error),
        }
    }

    fn open_again(&mut self) -> Checked {
        match self.level.options(&self.disk).open(STORE) {
            Ok(_) => Err(Mismatch::new("a second handle was given out")),
            Err(error) if error.kind() == ErrorKind::Locked => Ok(()),
            Err(error) => self.tolerate("open again", &error),
        }
    }

    /// Everything that reads show, faults or not: they may fail a read, not change its answer.
    fn look(&mut self) -> Checked {
        let Some(store) = self.store.clone() else { return Ok(()) };
        self.ledger.gaps |= self.is_faulted();
        match Shown::read(&store) {
            Ok(_) => self.ledger.check(&store),
            Err(error) => self.tolerate("reads", &error),
        }
    }

    /// Opens the store and looks at what is there.
    pub(crate) fn open(&mut self) -> Checked {
        match self.level.options(&self.disk).open(STORE) {
            Ok(store) => {
                self.note(format!("open -> {:?}", store.recovery()));
                self.store = Some(store);
                self.fired_before = self.disk.fired();
                self.settle()
            }
            Err(error) => {
                if error.kind() == ErrorKind::Locked {
                    return Err(Mismatch::new(format!("the lock was not released: {error:?}")));
                }
                self.tolerate("open", &error)
            }
        }
    }

    /// After an open: what is there must come from what was tried.
    fn settle(&mut self) -> Checked {
        let Some(store) = self.store.clone() else { return Ok(()) };
        let shown = match Shown::read(&store) {
            Err(error) if self.disk.fired() > 0 => {
                self.tolerate("reads", &error)?;
                self.disk.clear_faults();
                Shown::read(&store)?
            }
            shown => shown?,
        };
        let floor = match self.end {
            End::PowerCut => self.ledger.durable,
            _ if self.sync_failed => self.ledger.durable,
            End::Left | End::Killed => self.ledger.attempts.len(),
        };
        self.ledger.gaps |= self.disk.fired() > 0 || self.end != End::Left && self.level != Level::Sync;
        self.ledger.resolve(&shown, floor, store.store_time())?;
        // From here on this process's own number is what counts.
        self.ledger.gaps = false;
        self.sync_failed = false;
        self.ledger.check(&store)
    }

    /// Closes and checks that the error, if there is one, is of the right kind.
    pub(crate) fn close(&mut self) -> Checked {
        let Some(store) = self.store.take() else { return Ok(()) };
        let closed = store.close();
        let again = store.close();
        drop(store);
        self.end = End::Left;
        match closed {
            Ok(()) => {
                self.note("close -> ok");
                self.ledger.all_durable();
                self.sync_failed = false;
                if let Err(error) = again {
                    return Err(Mismatch::new(format!("the second close failed: {error:?}")));
                }
                Ok(())
            }
            Err(error) => self.tolerate("close", &error),
        }
    }

    pub(crate) fn leave(&mut self) {
        if self.store.take().is_none() {
            return;
        }
        self.note("drop");
        self.end = End::Left;
        if self.disk.fired() == self.fired_before && !self.disk.crashed() {
            self.ledger.all_durable();
        } else if self.level != Level::Sync {
            // Whether it could sync and seal is not known: to the next open it may look like a kill.
            self.end = End::Killed;
        }
    }

    pub(crate) fn kill(&mut self) {
        self.note("kill");
        self.disk.restart();
        // A process that never got the store open leaves it as it found it.
        if self.store.take().is_some() {
            self.end = End::Killed;
        }
        self.arm();
    }

    pub(crate) fn cut(&mut self, policy: CrashPolicy) {
        self.note(format!("power cut, {policy:?}"));
        self.disk.crash(policy);
        self.store = None;
        self.end = End::PowerCut;
        self.cuts += 1;
        self.arm();
    }

    /// No more trouble from here on.
    pub(crate) fn calm(&mut self) {
        self.trouble = Trouble::None;
        self.is_calm = true;
        self.disk.clear_faults();
    }
}

fn lasting(milliseconds: u64, write: KeyWrite) -> KeyWrite {
    KeyWrite { ttl: milliseconds * MILLISECOND, ..write }
}

/// The last revision of the bucket of these keys.
fn last_revision(store: &Store, places: &[(String, String)]) -> Option<u64> {
    let bucket = store.bucket(&places.first()?.0).ok()?;
    bucket.estimate().ok().map(|estimate| estimate.last_revision.get())
}
