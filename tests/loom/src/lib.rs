//! The hand-over from commits to watches under [loom](https://docs.rs/loom), which runs each test for every interleaving of its threads.
//!
//! What is checked is the code of the bus itself: its files are part of this package, with loom's primitives in place of the standard
//! library's, and with entries reduced to a key. Run with `cargo test --release --manifest-path tests/loom/Cargo.toml`.
//!
//! Each of these makes a test fail, by itself: one of the fences of the gate is left out; a group is made visible after it is told; a watch
//! looks at what is visible before it joins again; what has been read is not dropped; nobody is woken, or the dispatcher is not called; a
//! revision is called told before it is in the line; the dispatcher says that it holds nothing before it has spread it. The whole store is
//! tried in `tests/shuttle`, in many orders but not all, and without stale loads.
#![cfg(test)]
#![allow(dead_code, unused_imports, reason = "the files of the bus have more in them than is checked here")]

#[path = "../../../src/engine/bus/dispatch.rs"]
mod dispatch;
#[path = "../../../src/engine/bus/gate.rs"]
mod gate;
#[path = "../../../src/engine/bus/line.rs"]
mod line;

mod entry {
    /// As much of an entry as a line looks at.
    #[derive(Clone, Debug)]
    pub(crate) struct Entry;

    impl Entry {
        pub(crate) fn key(&self) -> &str {
            "k"
        }

        pub(crate) fn value(&self) -> &[u8] {
            b"v"
        }
    }
}

mod number {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) struct BucketId(pub(crate) u64);

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) struct CommitNumber(pub(crate) u64);

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) struct Revision(pub(crate) u64);
}

mod view {
    use crate::env::sync::AtomicU64;

    /// As much of a bucket's revisions as the dispatcher's caller looks at.
    #[derive(Debug)]
    pub(crate) struct Revisions {
        pub(crate) told: AtomicU64,
    }
}

mod env {
    pub(crate) mod sync {
        pub(crate) use std::sync::Arc;
        use std::time::Duration;

        pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
        pub(crate) use loom::thread::{JoinHandle, current as current_thread};

        pub(crate) type MutexGuard<'a, T> = loom::sync::MutexGuard<'a, T>;

        #[derive(Debug, Default)]
        pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

        impl<T> Mutex<T> {
            pub(crate) fn new(value: T) -> Self {
                Self(loom::sync::Mutex::new(value))
            }

            pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
                self.0.lock().unwrap()
            }
        }

        #[derive(Debug, Default)]
        pub(crate) struct Condvar(loom::sync::Condvar);

        impl Condvar {
            pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
                self.0.wait(guard).unwrap()
            }

            pub(crate) fn wait_for<'a, T>(&self, guard: MutexGuard<'a, T>, _: Duration) -> (MutexGuard<'a, T>, bool) {
                (self.wait(guard), false)
            }

            pub(crate) fn notify_one(&self) {
                self.0.notify_one();
            }

            pub(crate) fn notify_all(&self) {
                self.0.notify_all();
            }
        }
    }
}

use std::collections::VecDeque;
use std::sync::Arc;

use dispatch::{Dispatcher, Parcel, Word};
use env::sync::{AtomicU64, Mutex, Ordering};
use gate::Gate;
use line::{Change, EVENTS_MAX, Line, Taken, Told};
use loom::thread;
use number::{BucketId, CommitNumber, Revision};
use view::Revisions;

/// A store with one bucket and room for one watcher. Every commit is one change.
struct Store {
    visible: AtomicU64,
    gate: Gate,
    /// The watcher's line, if it is there; whether it takes part.
    registry: Mutex<(Option<Arc<Line>>, bool)>,
}

impl Store {
    fn new() -> Arc<Self> {
        Arc::new(Self { visible: AtomicU64::new(0), gate: Gate::new(), registry: Mutex::new((None, false)) })
    }

    /// Commits `commit`; with `overflows` the line has no room for it.
    fn commit(&self, commit: u64, overflows: bool) {
        self.visible.store(commit, Ordering::Release);
        let mut wakes = None;
        if self.gate.is_watched() {
            let mut registry = self.registry.lock();
            let (line, is_in) = &mut *registry;
            if let (Some(line), true) = (line.clone(), *is_in) {
                let told = Told::Entry(Arc::new(Change { commit: CommitNumber(commit), entry: entry::Entry }));
                let count = if overflows { EVENTS_MAX + 1 } else { 1 };
                let offered = line.offer(&mut vec![told; count]);
                *is_in = !offered.lags;
                wakes = offered.wakes.then_some(line);
            }
        }
        if let Some(line) = wakes {
            line.wake();
        }
    }

    fn join(&self, line: &Arc<Line>) {
        *self.registry.lock() = (Some(Arc::clone(line)), true);
        self.gate.enter();
    }

    fn rejoin(&self, line: &Line) {
        let mut registry = self.registry.lock();
        line.restart();
        registry.1 = true;
    }
}

/// Watches until `last` has been delivered or read; answers all that was, in order.
fn watch(store: &Store, line: &Arc<Line>, last: u64) -> Vec<u64> {
    store.join(line);
    let mut through = store.visible.load(Ordering::Acquire);
    let mut seen: Vec<u64> = (1..=through).collect();
    let mut taken = VecDeque::new();
    while seen.last() != Some(&last) {
        match line.take(&mut taken) {
            Taken::Events => {
                for told in taken.drain(..) {
                    let Told::Entry(change) = told else { unreachable!() };
                    if change.commit.0 > through {
                        seen.push(change.commit.0);
                    }
                }
            }
            Taken::Nothing => {
                line.wait(None, || false);
            }
            Taken::Lags => {
                store.rejoin(line);
                through = store.visible.load(Ordering::Acquire);
                seen.extend(seen.last().copied().unwrap_or(0) + 1..=through);
            }
            Taken::Gone | Taken::Stopped => break,
        }
    }
    seen
}

fn check(overflowing: &'static [u64], last: u64) {
    loom::model(move || {
        let store = Store::new();
        let leader = thread::spawn({
            let store = Arc::clone(&store);
            move || {
                for commit in 1..=last {
                    store.commit(commit, overflowing.contains(&commit));
                }
            }
        });
        let seen = watch(&store, &Arc::new(Line::default()), last);
        assert_eq!(seen, (1..=last).collect::<Vec<_>>());
        leader.join().unwrap();
    });
}

#[test]
fn a_watcher_that_joins_beside_commits_gets_each_once_and_is_always_woken() {
    check(&[], 1);
    check(&[], 2);
}

#[test]
fn a_watcher_that_overflows_reads_what_it_missed_and_joins_again_without_gap_or_duplicate() {
    check(&[1], 2);
    check(&[2], 2);
}

#[test]
fn a_stop_from_elsewhere_always_ends_the_wait() {
    loom::model(|| {
        let store = Store::new();
        let line = Arc::new(Line::default());
        let stopper = thread::spawn({
            let line = Arc::clone(&line);
            move || line.stop()
        });
        let leader = thread::spawn({
            let store = Arc::clone(&store);
            move || store.commit(1, false)
        });
        let seen = watch(&store, &line, 2);
        assert!(seen.is_empty() || seen == [1]);
        stopper.join().unwrap();
        leader.join().unwrap();
    });
}

/// A store whose dispatcher tells what concerns many. What `Bus::dispatch` and `Core::is_told` do is written here once more, for one watcher.
struct Wide {
    store: Arc<Store>,
    dispatcher: Dispatcher,
    revisions: Arc<Revisions>,
}

impl Wide {
    fn commit(&self, commit: u64, is_wide: bool) {
        let Self { store, dispatcher, revisions } = self;
        if dispatcher.is_behind() || is_wide {
            store.visible.store(commit, Ordering::Release);
            let told = Told::Entry(Arc::new(Change { commit: CommitNumber(commit), entry: entry::Entry }));
            let word = Word::Entries(vec![(BucketId(1), 0, told)]);
            dispatcher.push(word, std::iter::once((Arc::clone(revisions), Revision(commit))));
        } else {
            store.commit(commit, false);
            revisions.told.store(commit, Ordering::Release);
        }
    }

    /// The dispatcher's thread.
    fn dispatch(&self) {
        while let Some(Parcel { words, marks, .. }) = self.dispatcher.take(|| {}) {
            for word in words {
                let Word::Entries(entries) = word else { unreachable!() };
                let line = self.store.registry.lock().0.clone().unwrap();
                line.offer(&mut entries.into_iter().map(|(_, _, told)| told).collect());
                line.wake();
            }
            for (revisions, revision) in marks {
                revisions.told.store(revision.0, Ordering::Release);
            }
        }
    }
}

/// Two commits to a watcher that is live, which are told by the dispatcher or by their leader.
fn check_order(are_wide: [bool; 2]) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(move || {
        let revisions = Arc::new(Revisions { told: AtomicU64::new(0) });
        let wide = Arc::new(Wide { store: Store::new(), dispatcher: Dispatcher::default(), revisions });
        let line = Arc::new(Line::default());
        wide.store.join(&line);
        let bus = Arc::clone(&wide);
        wide.dispatcher.start(|| Ok(thread::spawn(move || bus.dispatch()))).unwrap();
        let leader = thread::spawn({
            let wide = Arc::clone(&wide);
            move || (1..).zip(are_wide).for_each(|(commit, is_wide)| wide.commit(commit, is_wide))
        });
        let (mut seen, mut taken) = (Vec::new(), VecDeque::new());
        while seen.len() < 2 {
            // Looked at first: whatever was told by then is in the line.
            let told = wide.revisions.told.load(Ordering::Acquire);
            match line.take(&mut taken) {
                Taken::Events => seen.extend(taken.drain(..).map(|told| match told {
                    Told::Entry(change) => change.commit.0,
                    Told::Purged { .. } => unreachable!(),
                })),
                Taken::Nothing => {
                    assert!(seen.last().copied().unwrap_or(0) >= told, "told up to {told}, and seen {seen:?}");
                    line.wait(None, || false);
                }
                _ => unreachable!(),
            }
        }
        assert_eq!(seen, [1, 2]);
        leader.join().unwrap();
        wide.dispatcher.stop();
    });
}

#[test]
fn what_the_dispatcher_and_leaders_tell_comes_in_order_and_nothing_is_called_told_before_it_is() {
    for are_wide in [[true, false], [false, true], [true, true]] {
        check_order(are_wide);
    }
}
