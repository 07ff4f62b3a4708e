//! Merges against a sorted list of all entries.
//!
//! Strategy: entries with rising revisions are dealt to up to five sources in the order of age: memtables, and runs of one file or of two
//! with a cut between them, blocks so small that keys end in every place of one. Few keys, so that most are in several sources and have
//! several entries in one. A second bucket lies around the first, so that cursors have neighbours to run into.
//!
//! Invariants: from every key, and from every place between keys, a walk gives exactly what the list has from there on, in order: forward
//! every entry; backward every key, with its entries newest first, and each entry that is chosen.

use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Backward, Group, Merge, Source, Values};
use crate::cache::BlockCache;
use crate::entry::{Flags, Meta};
use crate::env::Env;
use crate::manifest::LiveRange;
use crate::memtable::{self, Memtable};
use crate::number::{BucketId, CommitNumber, FileNumber, Revision};
use crate::run::{self, Part, Run};
use crate::segment::{Builder, Expected, Identity, Segment};

const KEYS: [&str; 9] = ["a", "a.b", "ab", "b", "bb", "c", "common.prefix.1", "common.prefix.2", "d"];
const BUCKET: BucketId = BucketId(2);
/// The buckets before and after have keys, too.
const AROUND: [BucketId; 2] = [BucketId(1), BucketId(3)];

/// (key, revision), key ascending, newest first.
type Sorted = Vec<(&'static str, u64)>;

#[derive(Clone, Debug)]
struct Layer {
    /// Keys of the entries, oldest first.
    keys: Vec<usize>,
    /// Memtable, one file, or two with a cut before this key.
    form: Option<Option<usize>>,
}

fn layer() -> impl Strategy<Value = Layer> {
    let form = prop_oneof![Just(None), Just(Some(None)), (0..KEYS.len()).prop_map(|cut| Some(Some(cut)))];
    (prop::collection::vec(0..KEYS.len(), 0..14), form).prop_map(|(keys, form)| Layer { keys, form })
}

fn meta(revision: u64) -> Meta {
    Meta { revision: Revision(revision), flags: Flags::put(), created: revision, ..Meta::default() }
}

/// Short, long enough to be shared instead of copied, or none.
fn value(revision: u64) -> Vec<u8> {
    vec![revision as u8; [3, 2_000, 0][revision as usize % 3]]
}

fn sorted(keys: &[usize], first: u64) -> Sorted {
    let mut entries: Sorted = keys.iter().zip(first..).map(|(key, revision)| (KEYS[*key], revision)).collect();
    entries.sort_unstable_by_key(|(key, revision)| (*key, std::cmp::Reverse(*revision)));
    entries
}

fn segment(env: &Env, number: u64, entries: &[(&'static str, u64)]) -> Arc<Segment> {
    let path = PathBuf::from(format!("/{number}"));
    let identity = Identity { store: 7, number: FileNumber(number) };
    let file = env.fs.create_new(&path).unwrap();
    let mut builder = Builder::new(file, path.clone(), identity, 64);
    for bucket in [AROUND[0], BUCKET, AROUND[1]] {
        for (key, revision) in entries {
            builder.add(bucket, key.as_bytes(), &meta(*revision), &value(*revision)).unwrap();
        }
    }
    let summary = builder.finish().unwrap();
    let expected = Expected { identity, len: summary.len, checksum: summary.checksum };
    Segment::open(&*env.fs, &path, &expected, &Arc::new(BlockCache::new(0))).unwrap()
}

fn source(env: &Env, layer: &Layer, first: u64) -> Option<Source> {
    let entries = sorted(&layer.keys, first);
    let run = match layer.form {
        None => {
            let memtable = Memtable::new(CommitNumber(1), CommitNumber(0), 1 << 16);
            for (key, revision) in layer.keys.iter().zip(first..) {
                for bucket in [AROUND[0], BUCKET, AROUND[1]] {
                    memtable.insert(bucket, KEYS[*key].as_bytes(), 0, CommitNumber(revision), meta(revision), &value(revision));
                }
            }
            let last = CommitNumber(first + layer.keys.len() as u64);
            return Some(Source::Memtable(memtable::Cursor::new(Arc::new(memtable), BUCKET, last)));
        }
        // A file without entries is not made.
        Some(_) if entries.is_empty() => return None,
        Some(None) => Run::of_files([segment(env, first, &entries)]),
        Some(Some(cut)) => {
            // Both files have everything; what lies on the wrong side of the cut is dead.
            let cut: Option<(BucketId, Box<[u8]>)> = Some((BUCKET, KEYS[cut].as_bytes().into()));
            let (low, high) = (segment(env, first, &entries), segment(env, first + 1_000, &entries));
            let low = Part { segment: low, live: LiveRange::new(None, cut.clone()) };
            let high = Part { segment: high, live: LiveRange::new(cut, None) };
            Run::new(vec![low, high])
        }
    };
    Some(Source::Run(run::Cursor::new(Arc::new(run), BUCKET)))
}

/// The sources, newest first, and what is in them.
fn build(layers: &[Layer]) -> (impl Fn() -> Vec<Source>, Sorted) {
    let mut all = Vec::new();
    let mut firsts = Vec::new();
    let mut next = 1;
    for layer in layers {
        firsts.push(next);
        all.extend(sorted(&layer.keys, next));
        next += layer.keys.len() as u64;
    }
    all.sort_unstable_by_key(|(key, revision)| (*key, std::cmp::Reverse(*revision)));
    let layers = layers.to_vec();
    let sources = move || {
        let env = Env::memory();
        layers.iter().zip(&firsts).rev().filter_map(|(layer, first)| source(&env, layer, *first)).collect()
    };
    (sources, all)
}

/// Every key, every place just behind one, and both ends.
fn places() -> Vec<String> {
    let behind = KEYS.iter().map(|key| format!("{key}-"));
    ["".to_owned(), "zz".to_owned()].into_iter().chain(KEYS.iter().map(ToString::to_string)).chain(behind).collect()
}

fn check_forward(merge: &mut Merge, from: &str, all: &Sorted) {
    merge.seek(from.as_bytes()).unwrap();
    for (key, revision) in all.iter().filter(|(key, _)| *key >= from) {
        let entry = merge.entry().unwrap();
        assert_eq!((entry.key, entry.meta), (key.as_bytes(), meta(*revision)), "from {from:?}");
        assert_eq!(entry.value, value(*revision));
        assert_eq!(entry.to_value(), value(*revision));
        merge.next().unwrap();
    }
    assert!(merge.entry().is_none(), "from {from:?}");
    merge.next().unwrap();
    assert!(merge.entry().is_none(), "behind the end there is nothing");
}

fn check_groups(merge: &mut Merge, from: &str, all: &Sorted) {
    let mut group = Group::default();
    merge.seek(from.as_bytes()).unwrap();
    for chunk in all.chunk_by(|left, right| left.0 == right.0).filter(|chunk| chunk[0].0 >= from) {
        assert!(merge.next_key(&mut group, Values::Take).unwrap());
        assert_eq!(group.key, chunk[0].0.as_bytes());
        assert_eq!(group.metas, chunk.iter().map(|(_, revision)| meta(*revision)).collect::<Vec<_>>());
        for (at, (_, revision)) in chunk.iter().enumerate() {
            assert_eq!((group.value(at), group.lens[at]), (&*value(*revision), value(*revision).len() as u64));
        }
    }
    assert!(!merge.next_key(&mut group, Values::Take).unwrap());
}

/// `choose` says which entry of each key to go to, if any.
fn check_backward(merge: &mut Backward, to: Option<&str>, all: &Sorted, choose: impl Fn(usize) -> Option<usize>) {
    merge.seek_before(to.map(str::as_bytes)).unwrap();
    let chunks: Vec<_> = all.chunk_by(|left, right| left.0 == right.0).collect();
    for chunk in chunks.into_iter().rev().filter(|chunk| to.is_none_or(|to| chunk[0].0 < to)) {
        assert!(merge.prev_key().unwrap(), "before {to:?}");
        assert_eq!(merge.key(), chunk[0].0.as_bytes(), "before {to:?}");
        assert_eq!(merge.metas(), chunk.iter().map(|(_, revision)| meta(*revision)).collect::<Vec<_>>());
        if let Some(index) = choose(chunk.len()) {
            merge.choose(index).unwrap();
            let (entry, revision) = (merge.entry().unwrap(), chunk[index].1);
            assert_eq!((entry.key, entry.meta), (chunk[0].0.as_bytes(), meta(revision)));
            assert_eq!(entry.value, value(revision));
        }
    }
    assert!(!merge.prev_key().unwrap(), "before {to:?}");
    assert!(merge.entry().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_merge_is_the_sorted_union_of_its_sources(layers in prop::collection::vec(layer(), 0..6)) {
        let (sources, all) = build(&layers);
        let (mut merge, mut backward) = (Merge::new(sources()), Backward::new(sources()));
        for place in places() {
            check_forward(&mut merge, &place, &all);
            check_groups(&mut merge, &place, &all);
            check_backward(&mut backward, Some(&place), &all, |_| None);
            check_backward(&mut backward, Some(&place), &all, |_| Some(0));
            check_backward(&mut backward, Some(&place), &all, |len| Some(len - 1));
        }
        check_backward(&mut backward, None, &all, |len| (len % 2 == 1).then_some(len / 2));
    }
}

#[test]
fn sources_without_entries_are_an_empty_merge() {
    let empty = || vec![source(&Env::memory(), &Layer { keys: Vec::new(), form: None }, 1).unwrap()];
    check_forward(&mut Merge::new(empty()), "", &Vec::new());
    check_forward(&mut Merge::new(Vec::new()), "", &Vec::new());
    check_backward(&mut Backward::new(empty()), None, &Vec::new(), |_| None);
}
