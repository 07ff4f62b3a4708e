//! What a watch was asked for, in all combinations, held against what the documentation says of each option alone; and what cannot be
//! asked for.

use annals::testing::random::Random;
use annals::{Bucket, BucketConfig, Entry, ErrorKind, Event, Operation, Revision, Store, Watch, WatchOptions, WatchToken};

use crate::fixture::{Fixture, on_each_store};

const KEYS: [&str; 7] = ["a", "a.x", "a.y", "b.x", "b.y.z", "c", "a.x.z"];
const PATTERNS: [&str; 12] = [">", "*", "a", "a.*", "a.>", "*.x", "*.*", "b.>", "c", "*.y.*", "nobody", "*.>"];

/// Begins a watch where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    State,
    History,
    Updates,
    From(u64),
    /// With `history` too, which adds nothing.
    HistoryFrom(u64),
    After(WatchToken),
}

#[derive(Clone, Debug)]
struct Wishes {
    filters: Vec<&'static str>,
    start: Start,
    ignore_deletes: bool,
    meta_only: bool,
}

/// What an event is: which entry, with which value and how long that is.
type Shown = (Operation, String, u64, Vec<u8>, usize);

/// What is promised, in words that share nothing with the engine.
fn matches(pattern: &str, key: &str) -> bool {
    let (mut pattern, mut key) = (pattern.split('.'), key.split('.'));
    loop {
        match (pattern.next(), key.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(token), Some(other)) if token == other => {}
            _ => return false,
        }
    }
}

impl Wishes {
    fn random(random: &mut Random, last: u64, tokens: &[WatchToken]) -> Self {
        let filters = (0..random.below(5)).map(|_| PATTERNS[random.below(PATTERNS.len() as u64) as usize]).collect();
        let start = match random.below(8) {
            0 => Start::State,
            1 => Start::History,
            2 => Start::Updates,
            3 | 4 => Start::From(random.below(last + 4)),
            5 => Start::HistoryFrom(random.below(last + 4)),
            _ => Start::After(tokens[random.below(tokens.len() as u64) as usize]),
        };
        Self { filters, start, ignore_deletes: random.below(2) == 0, meta_only: random.below(3) == 0 }
    }

    fn options(&self) -> WatchOptions {
        let options = WatchOptions::new().ignore_deletes(self.ignore_deletes).meta_only(self.meta_only);
        let options = self.filters.iter().fold(options, |options, filter| options.filter(*filter));
        match self.start {
            Start::State => options,
            Start::History => options.history(true),
            Start::Updates => options.updates_only(true),
            Start::From(revision) => options.from_revision(Revision::from(revision)),
            Start::HistoryFrom(revision) => options.history(true).from_revision(Revision::from(revision)),
            Start::After(token) => options.after(token),
        }
    }

    fn wants(&self, entry: &Entry) -> bool {
        let from = match self.start {
            Start::From(revision) | Start::HistoryFrom(revision) => revision,
            Start::After(token) => token.revision().get() + 1,
            Start::State | Start::History | Start::Updates => 0,
        };
        let key = entry.key().as_str();
        entry.revision().get() >= from
            && (self.filters.is_empty() || self.filters.iter().any(|filter| matches(filter, key)))
            && !(self.ignore_deletes && entry.operation() != Operation::Put)
    }

    fn shown(&self, entry: &Entry) -> Shown {
        let value = if self.meta_only { Vec::new() } else { entry.value().to_vec() };
        (entry.operation(), entry.key().as_str().to_owned(), entry.revision().get(), value, entry.value_len())
    }

    /// Of all that is retained, what comes before `UpToDate`.
    fn beginning(&self, retained: &[Entry]) -> Vec<Shown> {
        let newest =
            |entry: &Entry| !retained.iter().any(|other| other.key() == entry.key() && other.revision() > entry.revision());
        let is_part = |entry: &&Entry| match self.start {
            Start::Updates => false,
            Start::State | Start::From(0) => newest(entry),
            Start::History | Start::From(_) | Start::HistoryFrom(_) | Start::After(_) => true,
        };
        retained.iter().filter(is_part).filter(|entry| self.wants(entry)).map(|entry| self.shown(entry)).collect()
    }
}

fn drain(watch: &mut Watch) -> Vec<Event> {
    std::iter::from_fn(|| watch.try_next().unwrap()).collect()
}

fn shown(event: &Event) -> Shown {
    let entry = event.entry().unwrap();
    let (value, len) = (entry.value().to_vec(), entry.value_len());
    (entry.operation(), entry.key().as_str().to_owned(), entry.revision().get(), value, len)
}

fn retained(bucket: &Bucket) -> Vec<Entry> {
    bucket.history(">").unwrap().map(Result::unwrap).collect()
}

fn write(bucket: &Bucket, random: &mut Random) {
    let key = KEYS[random.below(KEYS.len() as u64) as usize];
    match random.below(6) {
        0 => bucket.delete(key).unwrap(),
        1 => bucket.purge(key).unwrap(),
        len => bucket.put(key, vec![b'v'; len as usize]).unwrap(),
    };
}

#[test]
fn options_in_any_combination_mean_what_each_says() {
    for depth in [1, 3] {
        on_each_store(|store| combinations(store, depth));
    }
}

fn combinations(store: &Fixture, depth: u8) {
    let bucket = store.depth(depth);
    let mut random = Random::new(u64::from(depth));
    let mut tokens = Vec::new();
    for _ in 0..40 {
        write(&bucket.handle(), &mut random);
        tokens.push(bucket.handle().watch_with(WatchOptions::new().updates_only(true)).unwrap().token());
        store.checkpoint();
    }
    for _ in 0..16 {
        let bucket = bucket.handle();
        let mut watches: Vec<(Wishes, Watch, Vec<Shown>)> = Vec::new();
        // Few, so that the writer itself tells them and nothing has to be waited for.
        for _ in 0..12 {
            let before = retained(&bucket);
            let wishes = Wishes::random(&mut random, before.last().unwrap().revision().get(), &tokens);
            let watch = bucket.watch_with(wishes.options()).unwrap();
            let beginning = wishes.beginning(&before);
            watches.push((wishes, watch, beginning));
        }
        for (wishes, watch, beginning) in &mut watches {
            let events = drain(watch);
            assert_eq!(events.last(), Some(&Event::UpToDate), "{wishes:?}");
            let given: Vec<Shown> = events[..events.len() - 1].iter().map(shown).collect();
            assert_eq!(given, *beginning, "{wishes:?}");
        }
        // Live: each write is looked at before the next may push it out.
        for _ in 0..12 {
            write(&bucket, &mut random);
            let written = retained(&bucket).pop().unwrap();
            for (wishes, watch, _) in &mut watches {
                let expected: Vec<Shown> =
                    Some(&written).filter(|entry| wishes.wants(entry)).map(|entry| wishes.shown(entry)).into_iter().collect();
                let given: Vec<Shown> = drain(watch).iter().map(shown).collect();
                assert_eq!(given, expected, "{wishes:?}");
            }
        }
    }
}

#[test]
fn a_purge_of_the_whole_bucket_is_told_whatever_was_asked_for() {
    on_each_store(|store| {
        let bucket = store.depth(3).handle();
        bucket.put("a", "1").unwrap();
        let token = bucket.watch_with(WatchOptions::new().updates_only(true)).unwrap().token();
        let all = WatchOptions::new;
        let options = [
            all(),
            all().filter("nobody"),
            all().ignore_deletes(true).meta_only(true),
            all().history(true),
            all().updates_only(true),
            all().from_revision(Revision::from(1)),
            all().from_revision(Revision::from(2)),
            all().after(token),
        ];
        let mut watches = options.map(|options| bucket.watch_with(options).unwrap());
        for watch in &mut watches {
            drain(watch);
        }
        bucket.purge_all().unwrap();
        for (number, watch) in watches.iter_mut().enumerate() {
            assert_eq!(drain(watch), [Event::Purged { through: Revision::from(1) }], "watch {number}");
        }
    });
}

#[test]
fn from_a_revision_on_either_side_of_the_last_and_at_the_ends_of_numbers() {
    on_each_store(|store| {
        let bucket = store.depth(5).handle();
        for _ in 0..3 {
            bucket.put("a", "value").unwrap();
        }
        let from = |revision| bucket.watch_with(WatchOptions::new().from_revision(Revision::from(revision))).unwrap();
        let revisions = |watch: &mut Watch| -> Vec<u64> {
            drain(watch).iter().filter_map(Event::entry).map(|entry| entry.revision().get()).collect()
        };
        let mut watches = [0, 1, 2, 3, 4, 5, u64::MAX - 1, u64::MAX].map(from);
        let begun = watches.each_mut().map(revisions);
        assert_eq!(begun, [vec![3], vec![1, 2, 3], vec![2, 3], vec![3], vec![], vec![], vec![], vec![]]);
        bucket.put("a", "value").unwrap();
        bucket.put("a", "value").unwrap();
        let live = watches.each_mut().map(revisions);
        let both = || vec![4, 5];
        assert_eq!(live, [both(), both(), both(), both(), both(), vec![5], vec![], vec![]]);
        // Whoever waits for a revision that is far away has not seen it, and its token says so.
        for watch in &watches[5..] {
            assert!(watch.token().revision() <= Revision::from(5), "{:?}", watch.token());
        }
        bucket.put("b", "value").unwrap();
        for watch in &watches {
            let mut again = bucket.watch_with(WatchOptions::new().after(watch.token())).unwrap();
            assert_eq!(revisions(&mut again), [6]);
        }
    });
}

#[test]
fn a_watch_from_far_ahead_falls_behind_and_gives_nothing_from_before() {
    on_each_store(|store| {
        let bucket = store.depth(1).handle();
        let options = WatchOptions::new().from_revision(Revision::from(3_000)).progress(true);
        let mut watch = bucket.watch_with(options).unwrap();
        let mut reader = || -> Vec<(Option<u64>, Option<u64>)> {
            let shown = |event: &Event| match event {
                Event::Entry(entry) => (Some(entry.revision().get()), None),
                Event::Progress { revision, durable } => {
                    assert!(durable <= revision);
                    (None, Some(revision.get()))
                }
                Event::UpToDate => (None, None),
                other => panic!("{other:?}"),
            };
            drain(&mut watch).iter().map(shown).collect()
        };
        assert_eq!(reader(), [(None, None), (None, Some(0))]);
        for number in 0..2_998 {
            bucket.put(format!("k{number}"), "value").unwrap();
        }
        assert_eq!(reader(), [(None, Some(2_998))], "how far it is, not from where it wants something");
        bucket.put("k", "value").unwrap();
        bucket.put("k", "value").unwrap();
        assert_eq!(reader(), [(Some(3_000), None), (None, Some(3_000))]);
    });
}

/// K48: a watch that begins below, at and above where a deleted key was removed.
#[test]
fn k48_from_the_floor_on_a_watch_begins_and_below_it_none() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        bucket.put("gone", "value");
        bucket.put("a", "value");
        bucket.delete("gone");
        bucket.put("b", "value");
        bucket.purge_deletes(std::time::Duration::ZERO);
        store.settle();
        let bucket = bucket.handle();
        for (revision, begins) in [(1, true), (2, false), (3, false), (4, true), (5, true)] {
            let answer = bucket.watch_with(WatchOptions::new().from_revision(Revision::from(revision)));
            match answer {
                Ok(mut watch) => {
                    assert!(begins, "from {revision}");
                    // From 1 on is all there is: whoever has seen nothing need not be told of what went.
                    let events = [0, 3, 0, 0, 2, 1][revision as usize];
                    assert_eq!(drain(&mut watch).len(), events, "from {revision}");
                }
                Err(error) => {
                    assert!(!begins, "from {revision}");
                    assert_eq!((error.kind(), error.floor()), (ErrorKind::Compacted, Some(Revision::from(3))));
                    // What the floor is good for.
                    let floor = error.floor().unwrap();
                    assert_eq!(bucket.changes_since(floor).unwrap().count(), 1);
                    let next = Revision::from(floor.get() + 1);
                    assert!(bucket.watch_with(WatchOptions::new().from_revision(next)).is_ok());
                }
            }
        }
        // State and history are not asked for from anywhere.
        assert_eq!(drain(&mut bucket.watch(">").unwrap()).len(), 3);
        assert_eq!(drain(&mut bucket.watch_with(WatchOptions::new().history(true)).unwrap()).len(), 3);
    });
}

#[test]
fn ten_thousand_filters_are_one_watch_and_each_change_comes_once() {
    let store = Store::in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    bucket.put("k.42", "before").unwrap();
    let mut options = WatchOptions::new();
    for number in 0..10_000 {
        // Each key twice, and a pattern over some of them.
        options = options.filter(format!("k.{}", number / 2)).filter(format!("*.{}", number / 4));
    }
    let mut watch = bucket.watch_with(options).unwrap();
    assert_eq!(drain(&mut watch).len(), 2);
    for (key, times) in [("k.42", 1), ("k.4999", 1), ("k.5000", 0), ("x.2499", 1), ("x.2500", 0), ("k", 0)] {
        bucket.put(key, "value").unwrap();
        assert_eq!(drain(&mut watch).len(), times, "{key}");
    }
    let after = watch.token();
    drop(watch);
    bucket.put("k.42", "nobody is told").unwrap();
    assert_eq!(
        bucket
            .watch_with(WatchOptions::new().after(after))
            .unwrap()
            .try_next()
            .unwrap()
            .unwrap()
            .entry()
            .unwrap()
            .revision()
            .get(),
        8
    );
}

#[test]
fn one_bad_filter_among_good_ones_refuses_the_watch() {
    let store = Store::in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    let long = "k".repeat(4001);
    for bad in ["", ".", "a.", ".a", "a..b", ">.a", "a.>.b", "a b", "a*", "**", ">>", "a.b>", "\u{e9}", "a\0", long.as_str()] {
        let options = WatchOptions::new().filter("a").filter(bad).filter(">");
        let error = bucket.watch_with(options).unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::InvalidKey, annals::Outcome::NotApplied), "{bad:?}");
    }
    assert!(bucket.watch("k".repeat(4000)).is_ok());
}
