//! A simulated disk: an `Fs` that loses, tears, refuses and forgets as real ones do, at the call and in the way that a test asks
//! for.
//!
//! Per file it keeps what is durable and what is pending (writes, changes of length); per directory the same for names. The
//! running program sees the cache, which has everything. `sync_data` and `sync_all` make the bytes and the length of one file
//! durable and say nothing about its name; `sync_dir` makes names durable and says nothing about bytes. A crash applies a
//! [`CrashPolicy`] to all that is pending and drops the cache. So it has the habits that break stores: a renamed file without its
//! content, a removal that overtakes a creation, a length without data, a sync that fails once and then says ok.
//!
//! A test takes [`SimDisk::env`], runs the store on it, and then:
//! - counts [`SimDisk::calls`] and runs again with a fault or a crash at each of them (call numbers are absolute, over the disk's
//!   life);
//! - cuts the power with [`SimDisk::crash`], or kills only the process with [`SimDisk::restart`]; both end every handle, and also
//!   the `Env`: the next life takes a new one;
//! - goes back to a [`SimDisk::snapshot`] for the next run.
//!
//! Same seed and same calls give the same results. It is meant for one thread at a time; more are safe, but then their order
//! decides. It does not model media that lose what was synced: [`SimDisk::overwrite`] is for that.

mod content;
mod crash;
mod fault;
mod fs;
mod names;
mod state;
#[cfg(test)]
mod tests;
mod trace;
mod world;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::crash::CrashPolicy;
pub use self::fault::{Call, Class, Fault, Injection};
pub use self::world::SimClock;

use self::content::{Content, PAGE_LEN};
use self::fault::{Plan, Verdict};
use self::fs::{SimFs, Site};
use self::state::{Durable, State};
use self::trace::Trace;
use self::world::{Rng, SimRandom};
use crate::env::Env;
use crate::env::sync::Mutex;

/// How many calls `trace` shows.
const TRACE_LEN: u64 = 64;

/// The machine: a disk, its cache, a clock and a source of chance. See the module.
pub struct SimDisk {
    inner: Mutex<Inner>,
    clock: Arc<SimClock>,
    random: Arc<SimRandom>,
}

struct Inner {
    /// Counts the lives: a crash or a restart ends one.
    epoch: u64,
    state: State,
    plan: Plan,
    trace: Trace,
    /// Chooses what a crash leaves; apart from the engine's randomness.
    rng: Rng,
}

/// What a disk held durably at some moment, with the clock and the randomness of that moment. Cheap: contents are shared.
#[derive(Clone, Debug)]
pub struct Snapshot {
    durable: Durable,
    clock: (u64, u64),
    random: Rng,
}

impl SimDisk {
    /// An empty disk; the directories `/` and `` exist.
    #[must_use]
    pub fn new(seed: u64) -> Arc<Self> {
        let inner = Inner { epoch: 0, state: State::new(), plan: Plan::default(), trace: Trace::default(), rng: Rng::new(seed) };
        // The two streams must not be the same numbers.
        let random = SimRandom::new(Rng::new(seed).next());
        Arc::new(Self { inner: Mutex::new(inner), clock: Arc::new(SimClock::new()), random: Arc::new(random) })
    }

    /// An environment that lasts until the next crash, restart or restore.
    #[must_use]
    pub fn env(self: &Arc<Self>) -> Env {
        let epoch = self.inner.lock().epoch;
        let fs = Arc::new(SimFs { disk: Arc::clone(self), epoch });
        Env { fs, clock: Arc::<SimClock>::clone(&self.clock), random: Arc::<SimRandom>::clone(&self.random) }
    }

    /// The clock of all environments.
    #[must_use]
    pub fn clock(&self) -> &Arc<SimClock> {
        &self.clock
    }

    // Calls and faults.

    /// How many calls there were so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.inner.lock().plan.calls
    }

    /// What call number `number` was, as long as it is among the last few thousand.
    #[must_use]
    pub fn call_name(&self, number: u64) -> String {
        self.inner.lock().trace.describe(number)
    }

    /// The last calls, oldest first, for messages.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        let inner = self.inner.lock();
        let last = inner.plan.calls;
        (last.saturating_sub(TRACE_LEN) + 1..=last).map(|number| inner.trace.describe(number)).collect()
    }

    /// Plans a fault.
    pub fn inject(&self, injection: Injection) {
        self.inner.lock().plan.add(injection);
    }

    /// Forgets faults that have not happened yet and ends sticky ones.
    pub fn clear_faults(&self) {
        self.inner.lock().plan.clear_faults();
    }

    /// How many calls were answered with a fault, crashes apart.
    #[must_use]
    pub fn fired(&self) -> u64 {
        self.inner.lock().plan.fired
    }

    // The ends of a life.

    /// From call number `call` on every call fails. That call does nothing, or half of it if it is a write.
    pub fn crash_at(&self, call: u64) {
        self.inner.lock().plan.crash_at = Some(call);
    }

    /// Whether a call has reached the crash point.
    #[must_use]
    pub fn crashed(&self) -> bool {
        self.inner.lock().plan.crashed
    }

    /// Cuts the power, now or (if the crash point was reached) then: only what is durable and what the policy grants is left.
    /// Ends all handles and locks, and clears faults and crash point.
    pub fn crash(&self, policy: CrashPolicy) {
        let mut inner = self.inner.lock();
        let Inner { state, rng, .. } = &mut *inner;
        crash::crash(state, policy, rng);
        inner.plan.clear_faults();
        inner.plan.clear_crash();
        inner.epoch += 1;
    }

    /// Kills the process, now or (if the crash point was reached) then: handles and locks end, the cache and what is pending
    /// stay. Clears the crash point, but not the faults, which are the disk's and not the process's.
    pub fn restart(&self) {
        let mut inner = self.inner.lock();
        inner.state.end_programs();
        inner.plan.clear_crash();
        inner.epoch += 1;
    }

    /// Sets what the next crashes choose from.
    pub fn reseed(&self, seed: u64) {
        self.inner.lock().rng = Rng::new(seed);
    }

    /// Memory gets tight: clean pages go and come back as the disk has them. Shows what a failed sync lost.
    pub fn evict(&self) {
        self.inner.lock().state.evict();
    }

    // Space and leaks.

    /// Limits the bytes that files may take, in blocks of 4 KiB; files without a name count until they are closed.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.inner.lock().state.capacity = bytes.map(|bytes| bytes / PAGE_LEN as u64);
    }

    /// The bytes that files take, in whole blocks.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.look(|state| state.used()) * PAGE_LEN as u64
    }

    /// Open files and held locks of this life.
    #[must_use]
    pub fn open_handles(&self) -> usize {
        self.look(|state| state.handles)
    }

    /// Maps of this life.
    #[must_use]
    pub fn open_maps(&self) -> usize {
        self.look(|state| state.maps)
    }

    // From outside: nothing of this counts as a call.

    /// All files with their lengths, by path.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        self.look(|state| state.files())
    }

    /// A file's bytes, as a program would read them.
    #[must_use]
    pub fn read_file(&self, path: &Path) -> Option<Vec<u8>> {
        self.look(|state| {
            let id = state.open(path).ok()?;
            Some(state.inode(id).cache.to_vec())
        })
    }

    /// Replaces a file's bytes, in the cache and on the disk, or creates it. Meant for a store at rest: what is pending in the
    /// directory becomes durable.
    ///
    /// # Panics
    ///
    /// If there is no such directory.
    pub fn overwrite(&self, path: &Path, bytes: impl AsRef<[u8]>) {
        let content = Content::from_bytes(bytes.as_ref());
        if let Err(error) = self.look(|state| state.tamper(path, Some(content))) {
            panic!("{} cannot be overwritten: {error}", path.display());
        }
    }

    /// Removes a file, in the cache and on the disk; otherwise as `overwrite`.
    ///
    /// # Panics
    ///
    /// If there is no such file.
    pub fn remove_file(&self, path: &Path) {
        if let Err(error) = self.look(|state| state.tamper(path, None)) {
            panic!("{} cannot be removed: {error}", path.display());
        }
    }

    /// What is durable now. What is not is not in it.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let durable = self.look(|state| state.durable());
        Snapshot { durable, clock: self.clock.state(), random: self.random.state() }
    }

    /// Goes back to a snapshot: its files, durable and nothing pending, its clock and its randomness. Ends handles and locks,
    /// clears faults and the crash point. Calls go on being counted, and the choices of crashes go on too (see `reseed`).
    pub fn restore(&self, snapshot: &Snapshot) {
        let mut inner = self.inner.lock();
        inner.state.set_durable(&snapshot.durable);
        inner.plan.clear_faults();
        inner.plan.clear_crash();
        inner.epoch += 1;
        self.clock.set_state(snapshot.clock);
        self.random.set_state(snapshot.random.clone());
    }

    /// One call of the life `epoch`: counts it, decides its fate, runs it and notes it.
    fn call<T>(&self, epoch: u64, site: &Site<'_>, run: impl FnOnce(&mut State, Verdict) -> io::Result<T>) -> io::Result<T> {
        let mut inner = self.inner.lock();
        if inner.epoch != epoch {
            return Err(io::Error::other("a handle from before the crash, the restart or the restore"));
        }
        let verdict = inner.plan.next(site.call, site.size);
        let result = run(&mut inner.state, verdict);
        inner.trace.push(site, verdict, result.as_ref().err());
        result
    }

    /// Not a call; only in the life `epoch`.
    fn in_epoch(&self, epoch: u64, run: impl FnOnce(&mut State)) {
        let mut inner = self.inner.lock();
        if inner.epoch == epoch {
            run(&mut inner.state);
        }
    }

    /// Not a call.
    fn look<T>(&self, run: impl FnOnce(&mut State) -> T) -> T {
        run(&mut self.inner.lock().state)
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the files: an `Env` is printed with whatever holds it.
        formatter.debug_struct("SimDisk").finish_non_exhaustive()
    }
}
