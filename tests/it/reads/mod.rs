//! Reads of many keys, of the past and of a moment that was kept, each against a plain model of what a bucket is.

mod past;
mod ranges;
mod snapshots;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use annals::{BucketConfig, Entry, ErrorKind, Operation, Result, Store};

use crate::files::fast_directory;
use crate::fixture::{Fixture, on_each_store, tiny};

/// Neighbours in byte order that are not neighbours as subjects.
pub(super) const KEYS: [&str; 9] = ["A", "a", "a-b", "a.b", "a.b.c", "a/b", "ab", "b", "b.c"];

/// Numbers that look like chance and are the same in every run.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

/// What a bucket held as of each revision: key to (revision, value; `None` for a marker).
pub(super) type State = BTreeMap<&'static str, (u64, Option<String>)>;

/// Writes something somewhere and answers what there is then.
pub(super) fn write(store: &Fixture, dice: &mut Dice, state: &State) -> State {
    let (bucket, mut state) = (store.store().bucket("b").unwrap(), state.clone());
    let key = KEYS[dice.roll(KEYS.len())];
    let (revision, value) = match dice.roll(6) {
        0 => (bucket.delete(key).unwrap(), None),
        1 => (bucket.purge(key).unwrap(), None),
        _ => {
            // Some are so long that they stay where they are.
            let value = format!("{key}{}", "x".repeat(dice.roll(3) * 700));
            (bucket.put(key, &value).unwrap(), Some(value))
        }
    };
    state.insert(key, (revision.get(), value));
    drop(bucket);
    store.checkpoint();
    state
}

pub(super) fn shown(entry: &Entry) -> (String, u64, Option<String>) {
    let value = String::from_utf8(entry.value().to_vec()).unwrap();
    (entry.key().to_string(), entry.revision().get(), (entry.operation() == Operation::Put).then_some(value))
}

#[test]
fn get_many_answers_in_the_order_of_the_request() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        bucket.put("a", "1");
        bucket.put("b", "2");
        bucket.delete("b");
        bucket.put("c", "3");
        let values = bucket.handle().get_many(["c", "missing", "a", "b", "c"]).unwrap();
        let texts: Vec<_> = values.iter().map(|value| value.as_ref().map(|value| String::from_utf8_lossy(value))).collect();
        assert_eq!(texts, [Some("3".into()), None, Some("1".into()), None, Some("3".into())]);
        assert!(bucket.handle().get_many([""; 0]).unwrap().is_empty());
        assert_eq!(bucket.handle().get_many(["a", "not a key"]).unwrap_err().kind(), ErrorKind::InvalidKey);
    });
}

#[test]
fn estimates_know_the_files_and_status_the_entries() {
    on_each_store(|store| {
        let bucket = store.depth(1);
        for number in 0..20 {
            bucket.put(&format!("key.{number}"), "value");
        }
        bucket.put("key.0", "value");
        store.settle();
        let estimate = bucket.handle().estimate().unwrap();
        assert_eq!((estimate.entries, estimate.last_revision.get()), (20, 21));
        assert!(estimate.file_bytes > 0);
        let status = bucket.status();
        assert_eq!((status.first_revision.get(), status.last_revision.get(), status.values), (2, 21, 20));
        assert_eq!(status.as_of, store.store().status().unwrap().last_commit);
    });
}

/// K59: what comes after an error is nothing, from either end.
#[test]
fn an_iterator_ends_after_an_error() {
    let directory = fast_directory();
    let path = directory.path().join("store");
    let store = tiny().open(&path).unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    for number in 0..100 {
        bucket.put(format!("key.{number:03}"), "a value that fills some blocks").unwrap();
    }
    store.close().unwrap();
    let segment = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.max_by_key(|path| path.extension().is_some_and(|extension| extension == "seg")).unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let store: Store = tiny().open(&path).unwrap();
    let bucket = store.bucket("b").unwrap();
    let check = |mut entries: Box<dyn Iterator<Item = Result<Entry>>>| {
        let error = entries.find_map(Result::err).expect("a block in the middle is damaged");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!((0..3).all(|_| entries.next().is_none()));
    };
    check(Box::new(bucket.range(..).unwrap()));
    check(Box::new(bucket.range(..).unwrap().rev()));
    let mut entries = bucket.range(..).unwrap();
    assert!(entries.by_ref().any(|entry| entry.is_err()));
    assert!(entries.next_back().is_none(), "the other end, too");
    assert!(bucket.keys().unwrap().any(|key| key.is_err()));
    let mut entries = bucket.range(..).unwrap();
    assert!(entries.visit(|_| ControlFlow::<()>::Continue(())).is_err());
    assert!(entries.visit(|_| ControlFlow::Break(())).unwrap().is_none());
}
