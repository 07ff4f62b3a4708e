//! Who watches what: the filters of all watchers, and the way of a change to the lines of those that it matches.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use super::dispatch::Word;
use super::line::{Line, Told};
use crate::env::sync::Arc;
use crate::hash::KeyHasher;
use crate::matcher::Matcher;
use crate::number::BucketId;
use crate::subject::Filters;

/// Events of one group that a watcher's place keeps memory for.
const PENDING_MAX: usize = 16;

/// The name of a watcher, until it is removed: its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct WatcherId(u32);

/// All watchers.
#[derive(Debug)]
pub(super) struct Registry {
    matcher: Matcher<u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Those of each bucket, those that lag included.
    buckets: HashMap<BucketId, HashSet<u32>>,
    /// Counts events, so that a watcher with several filters that match gets each once.
    event: u64,
    touched: Vec<u32>,
}

/// A watcher, or a place for one.
#[derive(Debug, Default)]
struct Slot {
    watcher: Option<Listed>,
    /// The newest event that it was found for.
    event: u64,
    /// What the group that is being told says to it.
    pending: Vec<Told>,
}

#[derive(Debug)]
struct Listed {
    line: Arc<Line>,
    bucket: BucketId,
    filters: Filters,
    /// Its filters are in the matcher: it does not lag.
    is_in: bool,
}

impl Registry {
    pub(super) fn new(hasher: KeyHasher) -> Self {
        Self {
            matcher: Matcher::new(hasher),
            slots: Vec::new(),
            free: Vec::new(),
            buckets: HashMap::new(),
            event: 0,
            touched: Vec::new(),
        }
    }

    /// Adds a watcher, whose filters are in from now on.
    pub(super) fn add(&mut self, bucket: BucketId, filters: Filters, line: Arc<Line>) -> WatcherId {
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        for filter in filters.patterns() {
            self.matcher.add(bucket, filter, place);
        }
        let slot = &mut self.slots[place as usize];
        slot.watcher = Some(Listed { line, bucket, filters, is_in: true });
        self.buckets.entry(bucket).or_default().insert(place);
        WatcherId(place)
    }

    /// Takes a watcher out.
    pub(super) fn remove(&mut self, id: WatcherId) {
        self.leave(id.0);
        let slot = &mut self.slots[id.0 as usize];
        let Some(listed) = slot.watcher.take() else { return };
        slot.pending = Vec::new();
        self.free.push(id.0);
        if let Some(of_bucket) = self.buckets.get_mut(&listed.bucket) {
            of_bucket.remove(&id.0);
            if of_bucket.is_empty() {
                self.buckets.remove(&listed.bucket);
            }
        }
    }

    /// Puts the filters of a watcher that has lagged back in, with nothing in its line.
    pub(super) fn rejoin(&mut self, id: WatcherId) {
        let Self { matcher, slots, .. } = self;
        let Some(listed) = slots.get_mut(id.0 as usize).and_then(|slot| slot.watcher.as_mut()) else { return };
        listed.line.restart();
        if !std::mem::replace(&mut listed.is_in, true) {
            for filter in listed.filters.patterns() {
                matcher.add(listed.bucket, filter, id.0);
            }
        }
    }

    /// Takes the filters of a watcher out: until it is back, it costs a commit nothing.
    fn leave(&mut self, place: u32) {
        let Self { matcher, slots, .. } = self;
        let Some(listed) = slots.get_mut(place as usize).and_then(|slot| slot.watcher.as_mut()) else { return };
        if std::mem::replace(&mut listed.is_in, false) {
            for filter in listed.filters.patterns() {
                matcher.remove(listed.bucket, filter, place);
            }
        }
    }

    /// Notes a change for everybody whom it concerns, `(bucket, key, hash of the key)`; `change` makes it when the first is found. Answers
    /// whether all that was noted since it was last handed on concerns no more than `watchers_max` watchers; if it does, nothing of it is
    /// noted any more.
    pub(super) fn tell(
        &mut self,
        (bucket, key, hash): (BucketId, &[u8], u64),
        watchers_max: usize,
        change: impl FnOnce() -> Told,
    ) -> bool {
        let Self { matcher, slots, event, touched, .. } = self;
        *event += 1;
        let (mut told, mut change) = (None, Some(change));
        let found = matcher.find(bucket, key, hash, |place| {
            let slot = &mut slots[place as usize];
            if slot.event != *event {
                slot.event = *event;
                if slot.pending.is_empty() {
                    touched.push(place);
                }
                if touched.len() > watchers_max {
                    return ControlFlow::Break(());
                }
                let told = told.get_or_insert_with(|| change.take().expect("made once")());
                slot.pending.push(told.clone());
            }
            ControlFlow::Continue(())
        });
        if found.is_break() {
            for place in touched.drain(..) {
                slots[place as usize].pending.clear();
            }
        }
        found.is_continue()
    }

    /// Says a word to everybody whom it concerns; whoever is to be woken is added to `wakes`.
    pub(super) fn spread(&mut self, word: Word, wakes: &mut Vec<Arc<Line>>) {
        match word {
            Word::Entries(entries) => {
                for (bucket, hash, told) in entries {
                    if let Told::Entry(change) = &told {
                        let change = Arc::clone(change);
                        self.tell((bucket, change.entry.key().as_bytes(), hash), usize::MAX, || told);
                    }
                }
            }
            Word::Purged(bucket, told) => self.tell_bucket(bucket, &told),
            Word::Deleted(bucket) => self.end_bucket(bucket, wakes),
        }
        self.hand_on(wakes);
    }

    /// Notes something for all watchers of a bucket.
    fn tell_bucket(&mut self, bucket: BucketId, told: &Told) {
        let Self { slots, buckets, touched, .. } = self;
        for place in buckets.get(&bucket).into_iter().flatten() {
            let slot = &mut slots[*place as usize];
            if slot.pending.is_empty() {
                touched.push(*place);
            }
            slot.pending.push(told.clone());
        }
    }

    /// Hands on what was noted; whoever is to be woken is added to `wakes`.
    pub(super) fn hand_on(&mut self, wakes: &mut Vec<Arc<Line>>) {
        let mut touched = std::mem::take(&mut self.touched);
        for place in touched.drain(..) {
            let slot = &mut self.slots[place as usize];
            let Some(listed) = &slot.watcher else { continue };
            let offered = listed.line.offer(&mut slot.pending);
            if slot.pending.capacity() > PENDING_MAX {
                slot.pending = Vec::new();
            }
            if offered.wakes {
                wakes.push(Arc::clone(&listed.line));
            }
            if offered.lags {
                self.leave(place);
            }
        }
        self.touched = touched;
    }

    /// Everybody has missed something; whoever is to be woken is added to `wakes`.
    pub(super) fn lag_all(&mut self, wakes: &mut Vec<Arc<Line>>) {
        for place in 0..self.slots.len() as u32 {
            self.leave(place);
            if let Some(listed) = &self.slots[place as usize].watcher
                && listed.line.lag()
            {
                wakes.push(Arc::clone(&listed.line));
            }
        }
    }

    /// How many watchers there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// How many watchers a bucket has.
    pub(super) fn count(&self, bucket: BucketId) -> usize {
        self.buckets.get(&bucket).map_or(0, HashSet::len)
    }

    /// Ends all watchers of a bucket.
    fn end_bucket(&mut self, bucket: BucketId, wakes: &mut Vec<Arc<Line>>) {
        let places: Vec<u32> = self.buckets.get(&bucket).into_iter().flatten().copied().collect();
        for place in places {
            self.leave(place);
            if let Some(listed) = &self.slots[place as usize].watcher
                && listed.line.end()
            {
                wakes.push(Arc::clone(&listed.line));
            }
        }
    }

    /// The lines of everybody who waits.
    pub(super) fn parked(&self, wakes: &mut Vec<Arc<Line>>) {
        let lines = self.slots.iter().filter_map(|slot| slot.watcher.as_ref()).map(|listed| &listed.line);
        wakes.extend(lines.filter(|line| line.take_parked()).cloned());
    }
}
