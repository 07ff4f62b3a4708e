//! The reader's side: one watch, from what there was to what comes.
//!
//! It reads the store in the thread of whoever asks for the next item, first for the beginning, later whenever its line overflowed; in
//! between it takes what is in its line. Everything up to `position` has been delivered, or is excused by something newer.
//!
//! While it reads the beginning or what it missed, it does so in chunks ([`CatchUp`]), each as large as what its line may hold. So what waits for
//! whoever asks is bounded by two lines; in between it holds on to nothing else but a list of keys and revisions, where few are to be read.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

use super::catch_up::{CatchUp, Caught};
use super::line::{Change, Line, Taken, Told};
use super::reached::Reached;
use super::registry::WatcherId;
use super::spin::Spin;
use crate::engine::core::Core;
use crate::engine::read::{ChangeScan, Moment, Origin};
use crate::entry::{Entry, Operation};
use crate::env::sync::Arc;
use crate::error::{Error, ErrorKind, Result};
use crate::number::{BucketId, CommitNumber, Revision};
use crate::resume::{Position, Resumption};
use crate::subject::Filters;

/// A thread that waits looks after so long whether there is progress to tell.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// With what a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// The newest entry of each key.
    State,
    /// All that is retained.
    History,
    /// Nothing.
    Updates,
    /// What is retained after a revision.
    After(Revision),
    /// What an earlier watch did not see.
    Resumed(Position),
}

/// What is to be watched.
#[derive(Clone, Debug)]
pub(crate) struct Wishes {
    /// At least one.
    pub(crate) filters: Filters,
    pub(crate) start: Start,
    pub(crate) ignore_deletes: bool,
    pub(crate) without_values: bool,
    /// Tell how far it is when there is nothing else to tell.
    pub(crate) progress: bool,
}

impl Wishes {
    /// Nothing up to here is wanted. It may be far ahead of the bucket.
    const fn after(&self) -> Revision {
        match self.start {
            Start::After(after) => after,
            _ => Revision::NONE,
        }
    }
}

/// An item of a watch.
#[derive(Debug)]
pub(crate) enum Notice {
    Entry(Entry),
    UpToDate,
    Progress { revision: Revision, durable: Revision },
    Skipped { from: Revision, to: Revision },
    Purged { through: Revision },
}

/// One watch.
#[derive(Debug)]
pub(crate) struct Watcher {
    core: Arc<Core>,
    bucket: BucketId,
    wishes: Wishes,
    /// `None` once it is over.
    id: Option<WatcherId>,
    line: Arc<Line>,
    stage: Stage,
    position: Revision,
    /// What the line says of commits up to here has been read.
    through: CommitNumber,
    /// The purge of the whole bucket that was told last, or need not be.
    purged: CommitNumber,
    is_up_to_date: bool,
    /// Taken from the line.
    taken: VecDeque<Told>,
    /// To be given before anything else.
    owed: VecDeque<Notice>,
    origin: Origin,
    /// What `purged` and `position` were when all that was owed had been given.
    given: (CommitNumber, Revision),
    reached: Reached,
    spin: Spin,
}

/// What is read before a watch is live.
#[derive(Clone, Copy, Debug)]
enum Beginning {
    /// The newest entry of each key.
    State,
    /// All that is retained.
    History,
    /// What is retained behind what was given.
    Missed,
}

/// Where the next item comes from.
#[derive(Debug)]
enum Stage {
    Begin(Beginning),
    /// What there is.
    Reading(Box<CatchUp>),
    Live,
    Over,
}

/// What asking for the next item came to.
#[derive(Debug)]
pub(crate) enum Next {
    Notice(Notice),
    /// There is none yet.
    Wait,
    Over,
}

impl Watcher {
    /// Begins a watch: whatever becomes visible after this returns is part of it.
    pub(in crate::engine) fn new(core: &Arc<Core>, bucket: BucketId, wishes: Wishes) -> Result<Self> {
        let line = Arc::new(Line::default());
        let origin = core.moment(bucket)?.origin();
        let id = core.bus.add(bucket, wishes.filters.clone(), Arc::clone(&line));
        let is_wide = core.settings.threads && core.bus.is_wide();
        let mut watcher = Self {
            core: Arc::clone(core),
            bucket,
            stage: Stage::Begin(Beginning::State),
            wishes,
            id: Some(id),
            line,
            position: Revision::NONE,
            through: CommitNumber(0),
            purged: CommitNumber(0),
            is_up_to_date: false,
            taken: VecDeque::new(),
            owed: VecDeque::new(),
            given: (CommitNumber(0), Revision::NONE),
            // What was there when the store was opened had been made durable by then.
            reached: Reached::new(origin.start()),
            origin,
            spin: Spin::default(),
        };
        if is_wide {
            let started = core.bus.start_dispatcher();
            started.map_err(|error| Error::io("start a thread for watches of", &core.directory, error))?;
        }
        watcher.check()?;
        Ok(watcher)
    }

    /// Finds out what can be refused at once, and from where on a watch of updates is one.
    fn check(&mut self) -> Result<()> {
        match self.wishes.start {
            Start::State => self.stage = Stage::Begin(Beginning::State),
            Start::History => self.stage = Stage::Begin(Beginning::History),
            // Whoever knows nothing can always begin: it need not be tried before.
            Start::After(Revision::NONE) => self.stage = Stage::Begin(Beginning::Missed),
            Start::Updates => {
                let moment = self.core.moment(self.bucket)?;
                self.position = moment.last_revision();
                self.purged = moment.state().purged;
                self.stage = Stage::Live;
                self.is_up_to_date = true;
                self.owed.push_back(Notice::UpToDate);
            }
            Start::After(after) => {
                let moment = self.core.moment(self.bucket)?;
                // What is not there yet has not been seen, though it is not wanted.
                self.position = after.min(moment.last_revision());
                if after > moment.state().floor {
                    self.purged = moment.state().purged;
                }
                let resumption = moment.resumption(self.purged, after);
                self.stage = self.resume(moment, after, resumption)?;
            }
            Start::Resumed(before) => {
                (self.purged, self.position) = (before.purged, before.revision);
                let moment = self.core.moment(self.bucket)?;
                let resumption = moment.resume(&before)?;
                // Whoever has seen nothing can begin when it is read, too.
                self.stage = if before.revision == Revision::NONE {
                    Stage::Begin(Beginning::Missed)
                } else {
                    self.resume(moment, before.revision, resumption)?
                };
            }
        }
        self.given = (self.purged, self.position);
        Ok(())
    }

    /// Begins to go on: finds out whether it can, and pins nothing until somebody asks for more.
    fn resume(&self, moment: Moment, after: Revision, resumption: Resumption) -> Result<Stage> {
        // What has expired since is in no floor yet.
        let scan = self.shaped(ChangeScan::since(moment, after, self.wishes.filters.clone())?);
        Ok(Stage::Reading(Box::new(CatchUp::new(self.bucket, scan).telling(resumption).paused())))
    }

    fn shaped(&self, scan: ChangeScan) -> ChangeScan {
        if self.wishes.without_values { scan.without_values() } else { scan }
    }

    /// The next item, if there is one without waiting for a commit.
    pub(crate) fn next_now(&mut self) -> Result<Next> {
        // Looked at each time: there may be much to read, and some was taken from the line already.
        let next = if self.line.is_stopped() { Ok(Next::Over) } else { self.step() };
        if !matches!(next, Ok(Next::Notice(_) | Next::Wait)) {
            self.end();
        }
        next
    }

    fn step(&mut self) -> Result<Next> {
        loop {
            if let Some(notice) = self.owed.pop_front() {
                if self.owed.is_empty() {
                    self.given = (self.purged, self.position);
                }
                return Ok(Next::Notice(notice));
            }
            match &mut self.stage {
                Stage::Begin(beginning) => {
                    let beginning = *beginning;
                    self.begin(beginning).map_err(|error| self.fallen_behind(error))?;
                }
                Stage::Reading(catch_up) => {
                    if catch_up.is_at_a_pause() {
                        // What has been told by now, the next view shows.
                        self.line.take(&mut self.taken);
                        self.taken.clear();
                    }
                    let caught = catch_up.next(&self.core);
                    self.catch(caught.map_err(|error| self.fallen_behind(error))?);
                }
                Stage::Live => match self.taken.pop_front() {
                    Some(told) => self.hear(told),
                    None => {
                        // Looked at first: whatever had been told by then is in the line.
                        let health = self.health();
                        let told = self.core.told_revision(self.bucket);
                        match self.line.take(&mut self.taken) {
                            Taken::Events => {}
                            Taken::Lags => self.stage = Stage::Begin(Beginning::Missed),
                            Taken::Nothing => return health.map(|()| self.rest(told)),
                            Taken::Gone => return Err(self.core.bucket_gone()),
                            Taken::Stopped => return Ok(Next::Over),
                        }
                    }
                },
                Stage::Over => return Ok(Next::Over),
            }
        }
    }

    /// There is nothing to give, and was not when everything up to `told` had been told: so it has seen all of that.
    fn rest(&mut self, told: Revision) -> Next {
        self.position = self.position.max(told);
        self.given = (self.purged, self.position);
        if !self.wishes.progress {
            return Next::Wait;
        }
        // Looked at now: it shows whatever had been told.
        let visible = self.core.view.load().visible();
        match self.reached.advance(self.position, visible, self.core.tail.durable()) {
            Some((revision, durable)) => Next::Notice(Notice::Progress { revision, durable }),
            None => Next::Wait,
        }
    }

    /// Where whoever has taken all that was given goes on.
    pub(crate) fn position(&self) -> Position {
        self.origin.position(self.given.0, self.given.1)
    }

    /// Joins, or joins again, and begins to read what there is.
    fn begin(&mut self, beginning: Beginning) -> Result<()> {
        if let Some(id) = self.id {
            self.core.bus.rejoin(id);
        }
        let moment = self.core.moment(self.bucket)?;
        let filters = self.wishes.filters.clone();
        let catch_up = match beginning {
            Beginning::State => CatchUp::new(self.bucket, self.shaped(ChangeScan::initial(moment, filters)?)),
            Beginning::History => {
                let scan = ChangeScan::since(moment, Revision::NONE, filters)?;
                CatchUp::new(self.bucket, self.shaped(scan))
            }
            Beginning::Missed => {
                let after = self.position.max(self.wishes.after());
                let resumption = moment.resumption(self.purged, after);
                let since = if self.is_up_to_date { ChangeScan::going_on } else { ChangeScan::since };
                let catch_up = CatchUp::new(self.bucket, self.shaped(since(moment, after, filters)?)).telling(resumption);
                if self.is_up_to_date { catch_up.endless() } else { catch_up }
            }
        };
        if !matches!(beginning, Beginning::Missed) {
            // Of what went before the beginning nothing was given.
            self.purged = catch_up.purged();
        }
        self.stage = Stage::Reading(Box::new(catch_up));
        Ok(())
    }

    /// Something was read.
    fn catch(&mut self, caught: Caught) {
        match caught {
            Caught::Entry(delivery) => {
                self.skip(delivery.missing);
                self.owe(delivery.entry);
            }
            Caught::Purged { commit, through } => self.hear_purge(commit, through),
            Caught::End { last, through, missing } => {
                self.through = through;
                self.position = self.position.max(last);
                self.skip(missing);
                self.go_live();
            }
        }
    }

    /// Everything that there was has been read.
    fn go_live(&mut self) {
        self.stage = Stage::Live;
        if !std::mem::replace(&mut self.is_up_to_date, true) {
            self.owed.push_back(Notice::UpToDate);
        }
    }

    /// What may be missing is told once there is something that it may be missing from.
    fn skip(&mut self, missing: Option<(Revision, Revision)>) {
        if let Some((from, to)) = missing.filter(|_| self.is_up_to_date) {
            self.owed.push_back(Notice::Skipped { from, to });
        }
    }

    fn hear(&mut self, told: Told) {
        match told {
            Told::Entry(change) => {
                if change.commit > self.through && change.entry.revision() > self.position.max(self.wishes.after()) {
                    let entry = Arc::try_unwrap(change).map_or_else(|shared| Change::entry(&shared), |change| change.entry);
                    self.owe(entry);
                }
            }
            Told::Purged { commit, through } => {
                if commit > self.through && commit > self.purged {
                    self.hear_purge(commit, through);
                }
            }
        }
    }

    fn hear_purge(&mut self, commit: CommitNumber, through: Revision) {
        self.purged = commit;
        self.position = self.position.max(through);
        self.owed.push_back(Notice::Purged { through });
    }

    /// An entry is next, unless it is not wanted.
    fn owe(&mut self, entry: Entry) {
        self.position = self.position.max(entry.revision());
        if self.wishes.ignore_deletes && entry.operation() != Operation::Put {
            return;
        }
        let entry = if self.wishes.without_values { entry.stripped() } else { entry };
        self.owed.push_back(Notice::Entry(entry));
    }

    /// Of a watch that was live, the past that is gone is what it fell behind of.
    fn fallen_behind(&self, error: Error) -> Error {
        if self.is_up_to_date && error.kind() == ErrorKind::Compacted { error.with_kind(ErrorKind::Lagged) } else { error }
    }

    /// Whether the store goes on; if not, that is the end once everything that was told before is in the line. A commit that was under way when
    /// the store ended may be too late for that; the watch's token does not cover it.
    fn health(&self) -> Result<()> {
        // In this order: what was told while the store was well is in the line or with the dispatcher by now.
        let health = self.core.health.check_writable();
        if health.is_err() && self.core.bus.is_behind() { Ok(()) } else { health }
    }

    /// Waits until there may be an item, at most `timeout`; answers whether all of it has passed.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> bool {
        if !self.wishes.progress || timeout.is_some_and(|timeout| timeout <= PROGRESS_INTERVAL) {
            return self.wait_once(timeout);
        }
        self.wait_once(Some(PROGRESS_INTERVAL));
        false
    }

    fn wait_once(&mut self, timeout: Option<Duration>) -> bool {
        let (clock, spare) = (&*self.core.env.clock, &self.core.bus.spare);
        let started = clock.monotonic();
        let limit = timeout.map_or(u64::MAX, |timeout| timeout.as_nanos().try_into().unwrap_or(u64::MAX));
        let is_late = !self.spin.look(spare, clock, limit, || self.line.may_have_news())
            && self.line.wait(timeout, || self.health().is_err());
        self.spin.learn(clock.monotonic().saturating_sub(started));
        is_late
    }

    /// Has `waker` woken once there may be an item; answers whether there may be one already.
    pub(crate) fn wait_with(&self, waker: &Waker) -> bool {
        self.line.wait_with(waker, || self.health().is_err())
    }

    /// Nanoseconds of a clock that only goes on.
    pub(crate) fn monotonic(&self) -> u64 {
        self.core.env.clock.monotonic()
    }

    /// What ends it from another thread.
    pub(crate) fn stopper(&self) -> Stopper {
        Stopper { line: Arc::clone(&self.line) }
    }

    /// Nothing comes any more.
    pub(crate) fn end(&mut self) {
        self.stage = Stage::Over;
        (self.taken, self.owed) = Default::default();
        if let Some(id) = self.id.take() {
            self.core.bus.remove(id);
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.end();
    }
}

/// Ends a watch from elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Stopper {
    line: Arc<Line>,
}

impl Stopper {
    pub(crate) fn stop(&self) {
        self.line.stop();
    }
}
