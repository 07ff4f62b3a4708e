//! The watch bus: from a commit to whoever watches the keys that it changed.
//!
//! The leader of a commit group tells it after the group is visible ([`tell`]); the filters of all watchers are in the [`registry`]; each
//! watcher has a [`line`], a bounded queue that no commit ever waits for. Whoever reads a watch is a [`Watcher`]: it reads what there was
//! before ([`catch_up`]), then takes what comes in its line, and goes back to reading when its line overflowed; how far
//! it is, and how much of that is durable, is kept in [`reached`].
//!
//! # Registration (E9)
//!
//! No change may be missed between reading and watching. A watcher first joins ([`Bus::add`], [`Bus::rejoin`]) and then pins a view that
//! shows everything up to some commit; what its line says of commits up to there it drops, since it has read them. A leader first makes a
//! group visible and then tells it. Both sides of the second step are separated from the first by the registry's lock or by a fence:
//!
//! - A leader that finds watchers takes the lock. If it had it before the watcher joined, the group was visible before, and the watcher's
//!   view shows it. If it had it after, the group is in the watcher's line.
//! - A leader that finds no watchers does not take the lock. It looks at their number after it made the group visible, with a
//!   sequentially consistent fence in between; a watcher looks at what is visible after it raised the number, with such a fence in between.
//!   So of the two at least one sees what the other did: the leader the watcher, or the watcher the group.
//!
//! A watcher that lags leaves the registry and joins again in the same way, so both cases are one.
//!
//! # Wide fan-out
//!
//! A leader serves [`INLINE_MAX`] watchers of a group itself; a group that concerns more goes to the [`dispatch`]er, and so does every group
//! behind it while that holds anything. A leader alone makes it hold something, and it says that it holds nothing only when all is in the
//! lines; so a leader that finds it empty may go on by itself without changing any watcher's order. A number of each bucket, `told`, says
//! up to where all is in the lines, stored by whoever put it there: a watcher rests at what was `told` before it found its line empty. What
//! it has read from a view is the last revision of that.
//!
//! The dispatcher may hold what is older than a watcher; that drops it, as it does what its line says of what it has read.
//!
//! # Waking
//!
//! Whoever waits is woken once per group. A waker is the program's own code, which may call the store; so the leader only notes whom to wake,
//! and does it when it holds no lock and no longer leads ([`Core::wake_watchers`]). A reader of its own thread looks for news by itself for a
//! while before it needs to be woken ([`spin`]).
//!
//! # The end
//!
//! A closed or poisoned store ends its watches: each looks at the store's health before its line, and ends once the line is empty and the
//! dispatcher holds nothing. Whoever waits then is woken, and once more when the dispatcher has come to rest.

mod catch_up;
mod dispatch;
mod gate;
mod line;
mod reached;
mod registry;
mod spin;
mod tell;
mod watcher;

pub(crate) use watcher::{Next, Notice, Start, Stopper, Watcher, Wishes};

use std::panic::{AssertUnwindSafe, catch_unwind};

use self::dispatch::{Dispatcher, INLINE_MAX, Parcel};
use self::gate::Gate;
use self::line::Line;
use self::registry::{Registry, WatcherId};
use self::spin::Spare;
use super::core::Core;
use crate::env::sync::{Arc, AtomicBool, Mutex, MutexGuard, Ordering, spawn};
use crate::hash::KeyHasher;
use crate::number::BucketId;
use crate::subject::Filters;

/// One per store.
#[derive(Debug)]
pub(super) struct Bus {
    gate: Gate,
    registry: Mutex<Registry>,
    dispatcher: Dispatcher,
    spare: Spare,
    /// Whom to wake.
    wakes: Mutex<Vec<Arc<Line>>>,
    has_wakes: AtomicBool,
    /// Everybody was told that the store is closed or poisoned.
    end_told: AtomicBool,
}

impl Bus {
    pub(super) fn new(hasher: KeyHasher) -> Self {
        Self {
            gate: Gate::new(),
            registry: Mutex::new(Registry::new(hasher)),
            dispatcher: Dispatcher::default(),
            spare: Spare::new(),
            wakes: Mutex::default(),
            has_wakes: AtomicBool::new(false),
            end_told: AtomicBool::new(false),
        }
    }

    /// Adds a watcher; what becomes visible after this is in its line.
    fn add(&self, bucket: BucketId, filters: Filters, line: Arc<Line>) -> WatcherId {
        let id = self.registry.lock().add(bucket, filters, line);
        self.gate.enter();
        id
    }

    /// The same for a watcher that is known: its line is empty, and what becomes visible after this is in it.
    fn rejoin(&self, id: WatcherId) {
        self.registry.lock().rejoin(id);
    }

    fn remove(&self, id: WatcherId) {
        let mut registry = self.registry.lock();
        registry.remove(id);
        self.gate.leave();
    }

    /// For a leader: hands on what it noted in the registry, and notes whom to wake.
    fn hand_on(&self, mut registry: MutexGuard<'_, Registry>) {
        let mut lines = Vec::new();
        registry.hand_on(&mut lines);
        drop(registry);
        self.note_wakes(&mut lines);
    }

    /// Notes whom to wake.
    fn note_wakes(&self, lines: &mut Vec<Arc<Line>>) {
        if !lines.is_empty() {
            self.wakes.lock().append(lines);
            self.has_wakes.store(true, Ordering::Release);
        }
    }

    /// Whether there are more watchers than a leader serves.
    fn is_wide(&self) -> bool {
        self.registry.lock().len() > INLINE_MAX
    }

    /// Starts the dispatcher, unless it is there.
    fn start_dispatcher(self: &Arc<Self>) -> std::io::Result<()> {
        let bus = Arc::clone(self);
        self.dispatcher.start(|| spawn("annals-watch", move || bus.dispatch()))
    }

    /// The dispatcher's thread.
    fn dispatch(&self) {
        let at_rest = || {
            // Whoever was told before could not end, since something was on its way.
            if self.end_told.load(Ordering::SeqCst) {
                self.wake_all();
            }
        };
        let mut lines = Vec::new();
        while let Some(parcel) = self.dispatcher.take(at_rest) {
            if parcel.is_lossy {
                self.registry.lock().lag_all(&mut lines);
                wake(&mut lines);
            }
            let Parcel { words, marks, .. } = parcel;
            for word in words {
                self.registry.lock().spread(word, &mut lines);
                wake(&mut lines);
            }
            for (revisions, revision) in marks {
                revisions.told.store(revision.0, Ordering::Release);
            }
        }
    }

    fn wake_all(&self) {
        let mut lines = Vec::new();
        self.registry.lock().parked(&mut lines);
        wake(&mut lines);
    }

    /// Whether watchers may lack what has become visible by now, because the dispatcher has it.
    fn is_behind(&self) -> bool {
        self.dispatcher.is_behind()
    }
}

/// No lock may be held: a waker is the program's. One that panics (which is reported where panics are) keeps nobody else from being woken, and
/// harms neither a writer nor the dispatcher.
fn wake(lines: &mut Vec<Arc<Line>>) {
    for line in lines.drain(..) {
        let _ = catch_unwind(AssertUnwindSafe(|| line.wake()));
    }
}

impl Core {
    /// Wakes the watchers that have something to read, or an end to hear of. No lock may be held, nor may the caller lead a group.
    pub(super) fn wake_watchers(&self) {
        if self.bus.has_wakes.load(Ordering::Relaxed) && self.bus.has_wakes.swap(false, Ordering::AcqRel) {
            let mut lines = std::mem::take(&mut *self.bus.wakes.lock());
            wake(&mut lines);
        }
        if self.health.is_poisoned() && !self.bus.end_told.swap(true, Ordering::SeqCst) {
            self.bus.wake_all();
        }
    }

    /// Hands on what the dispatcher holds and wakes all watchers, because the store was closed.
    pub(super) fn end_watches(&self) {
        self.bus.dispatcher.stop();
        self.bus.end_told.store(true, Ordering::SeqCst);
        self.bus.wake_all();
    }
}
