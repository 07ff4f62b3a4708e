//! Watches that read what there is while all of it moves on: between two chunks nothing is pinned, and nothing is missed by that.
//!
//! Chunks have four entries here.

use std::collections::{BTreeMap, HashMap};

use annals::testing::random::Random;
use annals::{Bucket, BucketConfig, ErrorKind, Event, Operation, Options, Revision, Store, Watch, WatchOptions};

use crate::fixture::{ms, on_each_store, tiny, ttl};

/// A store that does nothing by itself.
pub(crate) fn store(history: u8) -> (Store, Bucket) {
    let store = tiny().manual_jobs().in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b").history(history)).unwrap();
    (store, bucket)
}

/// Everything to one file, and what nobody holds is let go of.
pub(crate) fn settle(store: &Store) {
    store.flush().unwrap();
    store.merge_all().unwrap();
    while store.step().unwrap() {}
}

pub(crate) fn fill(bucket: &Bucket, keys: u64) {
    for number in 0..keys {
        bucket.put(format!("k{number}"), vec![7; 50]).unwrap();
    }
}

pub(crate) fn take(watch: &mut Watch, count: usize) -> Vec<Event> {
    std::iter::from_fn(|| watch.try_next().unwrap()).take(count).collect()
}

pub(crate) fn revisions(events: &[Event]) -> Vec<u64> {
    events.iter().filter_map(Event::entry).map(|entry| entry.revision().get()).collect()
}

/// What a watcher knows, and what it has been told.
struct Knowing {
    watch: Watch,
    known: BTreeMap<String, u64>,
    last: u64,
    /// Revisions of the state when it began, by key; gone through once it is up to date.
    begun: Option<BTreeMap<String, u64>>,
    /// Its token is worth something before it is up to date.
    history: bool,
}

impl Knowing {
    fn new(watch: Watch, known: BTreeMap<String, u64>, last: u64, begun: Option<BTreeMap<String, u64>>, history: bool) -> Self {
        Self { watch, known, last, begun, history }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Entry(entry) => {
                assert!(entry.revision().get() > self.last, "{} after {}", entry.revision(), self.last);
                self.last = entry.revision().get();
                self.known.insert(entry.key().to_string(), self.last);
            }
            Event::Purged { through } => {
                self.known.retain(|_, revision| *revision > through.get());
                self.last = self.last.max(through.get());
            }
            Event::UpToDate => {
                for (key, revision) in self.begun.take().expect("once") {
                    assert!(
                        self.known.get(&key).is_some_and(|known| *known >= revision),
                        "{key} lacks {revision} or a newer one"
                    );
                }
            }
            Event::Skipped { from, to } => assert!(self.begun.is_none() && from <= to && to.get() > self.last),
            other => panic!("{other:?}"),
        }
    }
}

/// Random programs in which watches of every kind read a few events at a time, between writes, purges, flushes and merges; in the end each
/// knows the state of the bucket, whatever it met.
#[test]
fn who_reads_in_chunks_ends_with_the_state_of_the_bucket() {
    let mut finished = 0;
    for seed in 1..=60 {
        let mut random = Random::new(seed);
        let (store, bucket) = store([1, 2, 5][random.below(3) as usize]);
        let mut state: BTreeMap<String, u64> = BTreeMap::new();
        let mut watches: Vec<Knowing> = Vec::new();
        let mut tokens = Vec::new();
        for _ in 0..1_500 {
            let key = format!("{}{}", ["a", "b"][random.below(2) as usize], random.below(30));
            match random.below(30) {
                0..12 => drop(state.insert(key.clone(), bucket.put(&key, vec![1; random.below(60) as usize]).unwrap().get())),
                12 => drop(state.insert(key.clone(), bucket.delete(&key).unwrap().get())),
                13 => drop(state.insert(key.clone(), bucket.purge(&key).unwrap().get())),
                14..16 => {
                    let mut batch = store.batch();
                    let keys: Vec<String> = (0..2 + random.below(9)).map(|number| format!("b{number}")).collect();
                    for key in &keys {
                        batch.put(&bucket, key, "batch");
                    }
                    let revisions = batch.commit().unwrap();
                    state.extend(keys.into_iter().zip(revisions.iter().map(|revision| revision.get())));
                }
                16 if random.below(10) == 0 => {
                    bucket.purge_all().unwrap();
                    state.clear();
                    // Nothing of it is there any more when it has not been read by now.
                    watches.iter_mut().filter_map(|watch| watch.begun.as_mut()).for_each(BTreeMap::clear);
                }
                17 => store.flush().unwrap(),
                18 => settle(&store),
                19..21 => drop(store.step().unwrap()),
                21 if watches.len() < 8 => {
                    let options = WatchOptions::new();
                    let (options, history) = match random.below(3) {
                        0 => (options.history(true), true),
                        _ => (options, false),
                    };
                    let watch = bucket.watch_with(options).unwrap();
                    watches.push(Knowing::new(watch, BTreeMap::new(), 0, Some(state.clone()), history));
                }
                22 if !tokens.is_empty() => {
                    let (token, known, last): (annals::WatchToken, BTreeMap<String, u64>, u64) =
                        tokens.swap_remove(random.below(tokens.len() as u64) as usize);
                    let watch = bucket.watch_with(WatchOptions::new().after(token)).unwrap();
                    watches.push(Knowing::new(watch, known, last, Some(state.clone()), true));
                }
                23 if watches.len() > 2 => {
                    let gone = watches.swap_remove(random.below(watches.len() as u64) as usize);
                    if gone.history || gone.begun.is_none() {
                        tokens.push((gone.watch.token(), gone.known, gone.last));
                    }
                }
                _ if !watches.is_empty() => {
                    let place = random.below(watches.len() as u64) as usize;
                    for _ in 0..random.below(7) {
                        let Some(event) = watches[place].watch.try_next().unwrap() else { break };
                        watches[place].hear(event);
                    }
                }
                _ => {}
            }
        }
        for mut watch in watches {
            while let Some(event) = watch.watch.try_next().unwrap() {
                watch.hear(event);
            }
            assert!(watch.begun.is_none(), "it is up to date");
            assert_eq!(watch.known, state, "seed {seed}");
            finished += 1;
        }
    }
    assert!(finished > 100, "{finished}");
}

#[test]
fn a_purge_of_the_whole_bucket_between_two_chunks_is_told() {
    for history in [false, true] {
        let (store, bucket) = store(3);
        fill(&bucket, 50);
        let mut watch = bucket.watch_with(WatchOptions::new().history(history)).unwrap();
        assert_eq!(revisions(&take(&mut watch, 3)), [1, 2, 3]);
        bucket.purge_all().unwrap();
        settle(&store);
        bucket.put("new", "value").unwrap();
        let rest = take(&mut watch, usize::MAX);
        assert_eq!(revisions(&rest), [4, 51], "one was read before");
        let through = Revision::from(50);
        assert_eq!((&rest[1], &rest[3]), (&Event::Purged { through }, &Event::UpToDate));
    }
}

#[test]
fn a_marker_that_goes_between_two_chunks_ends_a_watch_that_may_need_it() {
    let is_compacted = |watch: &mut Watch| loop {
        match watch.try_next() {
            Ok(Some(Event::UpToDate)) => return false,
            Ok(Some(_)) => {}
            Ok(None) => panic!("neither an end nor up to date"),
            Err(error) => {
                assert_eq!((error.kind(), watch.try_next().unwrap()), (ErrorKind::Compacted, None));
                return true;
            }
        }
    };
    for merged in [false, true] {
        for (options, before, expected) in [
            // Nobody was told of a value of a key whose marker was there at the beginning.
            (WatchOptions::new(), true, false),
            (WatchOptions::new(), false, true),
            (WatchOptions::new().history(true), true, true),
            (WatchOptions::new().history(true), false, true),
            (WatchOptions::new().from_revision(Revision::from(1)), true, true),
            (WatchOptions::new().from_revision(Revision::from(3)), true, true),
        ] {
            let (store, bucket) = store(5);
            fill(&bucket, 50);
            if before {
                bucket.delete("k3").unwrap();
            }
            let mut watch = bucket.watch_with(options.clone()).unwrap();
            assert_eq!(revisions(&take(&mut watch, 3)).len(), 3);
            if !before {
                bucket.delete("k1").unwrap();
            }
            bucket.purge_deletes(ms(0)).unwrap();
            if merged {
                settle(&store);
            }
            assert_eq!(is_compacted(&mut watch), expected, "{options:?}, before: {before}, merged: {merged}");
        }
    }
}

#[test]
fn markers_that_had_gone_at_the_beginning_do_not_matter_to_a_watch_of_history() {
    for merged in [false, true] {
        let (store, bucket) = store(5);
        fill(&bucket, 50);
        bucket.delete("k20").unwrap();
        bucket.purge_deletes(ms(0)).unwrap();
        fill(&bucket, 10);
        if merged {
            settle(&store);
        }
        let mut watch = bucket.watch_with(WatchOptions::new().history(true)).unwrap();
        let mut seen = 0;
        while let Some(event) = watch.try_next().unwrap() {
            seen += u32::from(event.entry().is_some());
            settle(&store);
        }
        assert_eq!(seen, 59);
    }
}

#[test]
fn what_expires_while_a_slow_reader_reads_is_given_or_its_loss_is_told() {
    on_each_store(|store| {
        let bucket = store.depth(2);
        for number in 0..300 {
            bucket.handle().put(format!("k{number}"), "value").unwrap();
        }
        bucket.handle().put_with("brief", "value", ttl(1_000)).unwrap();
        let handle = bucket.handle();
        let mut state = handle.watch(">").unwrap();
        let mut resumed = handle.watch_with(WatchOptions::new().from_revision(Revision::from(2))).unwrap();
        assert_eq!((take(&mut state, 2).len(), take(&mut resumed, 2).len()), (2, 2));
        store.clock().advance(ms(2_000));
        let seen = revisions(&take(&mut state, usize::MAX));
        assert_eq!(seen.iter().filter(|revision| **revision <= 301).count(), seen.len(), "{seen:?}");
        let rest: Result<Vec<u64>, ErrorKind> = std::iter::from_fn(|| resumed.try_next().transpose())
            .filter_map(|event| event.map(|event| event.entry().map(|entry| entry.revision().get())).transpose())
            .map(|revision| revision.map_err(|error| error.kind()))
            .collect();
        // The second and the third were taken.
        assert!(rest == Ok((4..=301).collect()) || rest == Err(ErrorKind::Compacted), "{rest:?}");
    });
}

#[test]
fn no_chunk_ends_inside_a_commit() {
    let (store, bucket) = store(1);
    let mut batch = store.batch();
    for number in 0..30 {
        batch.put(&bucket, format!("k{number}"), "one commit");
    }
    batch.commit().unwrap();
    bucket.put("k30", "another").unwrap();
    bucket.put("k31", "another").unwrap();
    let mut watches = [WatchOptions::new(), WatchOptions::new().from_revision(Revision::from(1))]
        .map(|options| bucket.watch_with(options).unwrap());
    let firsts = watches.each_mut().map(|watch| revisions(&take(watch, 2)));
    fill(&bucket, 32);
    settle(&store);
    for (watch, mut seen) in watches.iter_mut().zip(firsts) {
        let first = seen[0];
        seen.extend(revisions(&take(watch, 30 - seen.len())));
        seen.extend(revisions(&take(watch, 1)));
        let whole: Vec<u64> = (first..=30).collect();
        assert_eq!(seen[..whole.len()], whole, "the commit as it was, whole");
        assert!(seen[whole.len()] > 32, "what came after it was overwritten");
    }
}

/// For each event that it takes, every key is written again.
#[test]
fn a_watch_comes_up_to_date_however_fast_others_write() {
    for history in [1, 3] {
        for with_history in [false, true] {
            let (store, bucket) = store(history);
            fill(&bucket, 100);
            let mut watch = bucket.watch_with(WatchOptions::new().history(with_history)).unwrap();
            let mut given = 0;
            let mut known: HashMap<String, Operation> = HashMap::new();
            loop {
                match watch.try_next().unwrap().unwrap() {
                    Event::UpToDate => break,
                    event => {
                        let entry = event.entry().unwrap().clone();
                        known.insert(entry.key().to_string(), entry.operation());
                    }
                }
                given += 1;
                assert!(given < 1_000, "it has an end");
                fill(&bucket, 100);
                while store.step().unwrap() {}
            }
            assert_eq!(known.len(), 100);
        }
    }
}

#[test]
fn a_watch_that_is_stopped_in_between_gives_no_more_than_it_has_read() {
    let (_store, bucket) = store(1);
    fill(&bucket, 100);
    let mut watch = bucket.watch(">").unwrap();
    assert_eq!(take(&mut watch, 2).len(), 2);
    watch.stopper().stop();
    assert!(take(&mut watch, usize::MAX).len() <= 2);
}

#[test]
fn a_bucket_that_is_deleted_or_closed_in_between_is_told() {
    for close in [false, true] {
        let (store, bucket) = store(1);
        fill(&bucket, 100);
        let mut watch = bucket.watch(">").unwrap();
        assert_eq!(take(&mut watch, 2).len(), 2);
        if close {
            store.close().unwrap();
        } else {
            store.delete_bucket("b").unwrap();
        }
        let ends: Vec<ErrorKind> = (0..10).filter_map(|_| watch.try_next().err()).map(|error| error.kind()).collect();
        assert_eq!(ends, [if close { ErrorKind::Closed } else { ErrorKind::BucketNotFound }]);
    }
}

/// A chunk's reader looks for where it was in memory by halves, also where other buckets lie in between.
#[test]
fn many_buckets_in_one_memtable_are_told_apart() {
    let store = Options::new().sizes(1 << 20, 900 << 10, 512).manual_jobs().in_memory().unwrap();
    let buckets: Vec<Bucket> =
        (0..4).map(|number| store.create_bucket(BucketConfig::new(format!("b{number}"))).unwrap()).collect();
    let mut random = Random::new(1);
    let mut last = [0; 4];
    for number in 0..3_000 {
        // The last one only at the beginning and at the end.
        let place = if (100..2_900).contains(&number) { random.below(3) } else { random.below(4) } as usize;
        last[place] = buckets[place].put(format!("k{number}"), "value").unwrap().get();
    }
    for (bucket, last) in buckets.iter().zip(last) {
        for after in (0..=last + 1).step_by(7).chain([last - 1, last]) {
            let changes = bucket.changes_since(Revision::from(after)).unwrap();
            let found: Vec<u64> = changes.map(|event| event.unwrap().entry().unwrap().revision().get()).collect();
            assert_eq!(found, (after + 1..=last).collect::<Vec<u64>>());
        }
    }
}

#[test]
fn what_a_purge_took_between_two_chunks_is_not_told_as_skipped() {
    let (_store, bucket) = store(64);
    let mut watch = bucket.watch_with(WatchOptions::new().filter("a").updates_only(true)).unwrap();
    assert_eq!(take(&mut watch, 1), [Event::UpToDate]);
    for number in 0..2_000_u32 {
        bucket.put("a", number.to_be_bytes()).unwrap();
    }
    assert!(matches!(take(&mut watch, 2)[..], [Event::Skipped { .. }, Event::Entry(_)]));
    let through = bucket.purge_all().unwrap();
    bucket.put("a", "next").unwrap();
    let rest = take(&mut watch, 100);
    let purged = rest.iter().position(|event| *event == Event::Purged { through }).unwrap();
    assert_eq!(revisions(&rest[purged..]), [through.get() + 1]);
    assert_eq!(rest.len(), purged + 2, "{:?}", &rest[purged..]);
}

#[test]
fn a_key_that_comes_and_goes_between_two_chunks_ends_a_live_watch_that_had_seen_nothing() {
    let (_store, bucket) = store(1);
    let mut live = bucket.watch_with(WatchOptions::new().updates_only(true)).unwrap();
    assert_eq!(take(&mut live, 1), [Event::UpToDate]);
    fill(&bucket, 5_000);
    assert_eq!(revisions(&take(&mut live, 2)), [1, 2]);
    // It has not heard of this one.
    bucket.put("gone", "value").unwrap();
    bucket.delete("gone").unwrap();
    bucket.purge_deletes(ms(0)).unwrap();
    let end = live.find_map(Result::err).unwrap();
    assert_eq!((end.kind(), end.floor()), (ErrorKind::Lagged, Some(Revision::from(5_002))));
}
