use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::engine::{Condition, Engine, OpFields, Settings, WriteOptions};
use crate::env::Env;
use crate::number::BucketId;
use crate::spec::BucketSpec;
use crate::subject::Pattern;
use crate::testing::random::Random;

/// A bucket with tiny structures, and all that was ever written to it: key, revision, and the last revision of its commit.
struct Bench {
    engine: Arc<Engine>,
    id: BucketId,
    written: Vec<(String, u64, u64)>,
}

impl Bench {
    fn new(history: u8) -> Self {
        let settings = Settings {
            threads: false,
            memtable_len: 600,
            log_file_len: 4 << 10,
            block_len: 128,
            segment_len: 1 << 10,
            ..Settings::default()
        };
        let engine = Engine::open(Env::memory(), Path::new("/store"), settings).unwrap();
        let id = engine.create_bucket(BucketSpec { history, ..BucketSpec::new("b".to_owned()) }).unwrap();
        Self { engine, id, written: Vec::new() }
    }

    fn put(&mut self, keys: &[&str]) {
        let put = |key: &&'_ str| key.to_string();
        let keys: Vec<String> = keys.iter().map(put).collect();
        let fields: Vec<_> = keys.iter().map(|key| OpFields::put(self.id, key.as_bytes(), b"value", Condition::None)).collect();
        let revisions = match fields.as_slice() {
            [one] => vec![self.engine.write(one, WriteOptions::default()).unwrap()],
            many => self.engine.write_batch(many, WriteOptions::default()).unwrap(),
        };
        let last = revisions.last().unwrap().0;
        self.written.extend(keys.into_iter().zip(&revisions).map(|(key, revision)| (key, revision.0, last)));
    }

    /// Writes of one to four keys, and steps of background work.
    fn fill(&mut self, random: &mut Random, steps: u64) {
        for _ in 0..steps {
            let count = if random.below(3) == 0 { 2 + random.below(3) } else { 1 };
            let keys: Vec<String> =
                (0..count).map(|_| format!("{}.{}", ["a", "b"][random.below(2) as usize], random.below(12))).collect();
            self.put(&keys.iter().map(String::as_str).collect::<Vec<_>>());
            if random.below(4) == 0 {
                self.engine.step().unwrap();
            }
        }
    }

    fn moment(&self) -> Moment {
        self.engine.moment(self.id).unwrap()
    }

    fn last(&self) -> u64 {
        self.written.last().unwrap().1
    }

    /// The newest `depth` revisions of each wanted key above `after`, in order.
    fn expected(&self, depth: usize, after: u64, filters: &Filters) -> Vec<(u64, String)> {
        let mut keys: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for (key, revision, _) in &self.written {
            keys.entry(key).or_default().push(*revision);
        }
        let kept = keys.iter().filter(|(key, _)| filters.matches(key.as_bytes()));
        let kept = kept.flat_map(|(key, all)| all.iter().rev().take(depth).map(|revision| (*revision, (*key).to_owned())));
        let mut kept: Vec<_> = kept.filter(|(revision, _)| *revision > after).collect();
        kept.sort_unstable();
        kept
    }
}

fn filters(patterns: &[&str]) -> Filters {
    Filters::new(patterns.iter().map(|pattern| Pattern::parse(pattern).unwrap()).collect())
}

fn shown(entry: &Entry) -> (u64, String) {
    (entry.revision().0, entry.key().as_str().to_owned())
}

fn all(mut scan: ChangeScan) -> Vec<(u64, String)> {
    std::iter::from_fn(|| scan.next().unwrap()).map(|delivery| shown(&delivery.entry)).collect()
}

#[test]
fn lists_and_walks_find_the_same_whatever_is_asked_for() {
    for (seed, depth) in [(1, 1), (2, 2), (3, 5)] {
        let mut bench = Bench::new(depth);
        let mut random = Random::new(seed);
        for _ in 0..8 {
            bench.fill(&mut random, 60);
            for wanted in [&[][..], &["a.*"], &["a.1"], &["a.1", "b.2", "b.2", "nobody"], &["b.3", "a.>"]] {
                let (moment, wanted) = (bench.moment(), filters(wanted));
                let after = random.below(bench.last() + 2);
                let expected = bench.expected(usize::from(depth), after, &wanted);
                let since = ChangeScan::since(moment.clone(), Revision(after), wanted.clone()).unwrap();
                assert_eq!(all(since), expected);
                assert_eq!(all(ChangeScan::walk(moment.clone(), Revision(after), wanted.clone(), Which::Retained)), expected);
                let newest = bench.expected(1, 0, &wanted);
                assert_eq!(all(ChangeScan::initial(moment.clone(), wanted.clone()).unwrap()), newest);
                assert_eq!(all(ChangeScan::newest(moment, wanted, newest.len().saturating_sub(1)).unwrap()), newest);
            }
        }
    }
}

#[test]
fn few_keys_are_looked_up_and_many_entries_are_walked() {
    let mut bench = Bench::new(1);
    bench.fill(&mut Random::new(1), 300);
    let is_list = |scan: ChangeScan| matches!(scan.source, Source::List(_));
    assert!(is_list(ChangeScan::since(bench.moment(), Revision(1), filters(&["a.1"])).unwrap()));
    assert!(!is_list(ChangeScan::since(bench.moment(), Revision(1), filters(&["a.*"])).unwrap()));
    let keys: Vec<String> = (0..100).map(|number| format!("a.{number}")).collect();
    let keys = filters(&keys.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(!is_list(ChangeScan::since(bench.moment(), Revision(1), keys).unwrap()));
    assert!(is_list(ChangeScan::initial(bench.moment(), filters(&[])).unwrap()));
    assert!(!is_list(ChangeScan::newest(bench.moment(), filters(&[]), 3).unwrap()));
}

#[test]
fn whatever_is_not_delivered_is_said_to_be_missing_before_something_newer_is() {
    for (seed, depth) in [(1, 1), (2, 3)] {
        let mut bench = Bench::new(depth);
        let mut random = Random::new(seed);
        bench.fill(&mut random, 400);
        for wanted in [&[][..], &["a.*"], &["b.2"]] {
            let wanted = filters(wanted);
            for after in [0, 10, bench.last() - 40, bench.last() - 3, bench.last()] {
                let mut scan = ChangeScan::since(bench.moment(), Revision(after), wanted.clone()).unwrap();
                let (mut delivered, mut missing) = (Vec::new(), Vec::new());
                while let Some(delivery) = scan.next().unwrap() {
                    missing.extend(delivery.missing);
                    delivered.push(delivery.entry.revision().0);
                }
                missing.extend(scan.take_missing());
                let is_missing = |revision: u64| missing.iter().any(|(from, to)| from.0 <= revision && revision <= to.0);
                for (key, revision, _) in &bench.written {
                    if *revision > after && wanted.matches(key.as_bytes()) {
                        assert!(delivered.contains(revision) || is_missing(*revision), "{key} {revision} since {after}");
                    }
                }
                assert!(missing.iter().all(|(from, to)| after < from.0 && from <= to && to.0 <= bench.last()), "{missing:?}");
            }
        }
    }
}

#[test]
fn who_keeps_up_is_told_of_nothing_missing() {
    let mut bench = Bench::new(1);
    for number in 0..100 {
        bench.put(&[&format!("a.{number}")]);
        let mut scan = ChangeScan::since(bench.moment(), Revision(number), filters(&[])).unwrap();
        assert_eq!(scan.next().unwrap().unwrap().missing, None);
        assert!(scan.next().unwrap().is_none() && scan.take_missing().is_none());
    }
}

#[test]
fn without_values_their_lengths_are_told() {
    let mut bench = Bench::new(1);
    bench.put(&["a.1"]);
    for scan in [
        ChangeScan::walk(bench.moment(), Revision::NONE, filters(&[]), Which::Retained),
        ChangeScan::initial(bench.moment(), filters(&[])).unwrap(),
    ] {
        let entry = scan.without_values().next().unwrap().unwrap().entry;
        assert_eq!((entry.value().len(), entry.value_len()), (0, 5));
    }
}
