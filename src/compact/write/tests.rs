use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Inputs, write};
use crate::cache::BlockCache;
use crate::entry::{Flags, Meta};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::hash::KeyHasher;
use crate::manifest::{BucketState, LiveRange};
use crate::memtable::Memtable;
use crate::number::{BucketId, CommitNumber, FileNumber, Revision};
use crate::run::{self, Part, Run};
use crate::segment::{Builder, Expected, Identity, Segment, Summary};
use crate::spec::BucketSpec;

fn states(buckets: &[u64]) -> Vec<Arc<BucketState>> {
    let state = |id: &u64| BucketState::new(BucketId(*id), BucketSpec::new(format!("b{id}")), CommitNumber(*id));
    buckets.iter().map(state).map(Arc::new).collect()
}

/// A memtable with entries of (bucket, key), revisions rising.
fn memtable(entries: &[(u64, &str)]) -> Arc<Memtable> {
    let memtable = Memtable::new(CommitNumber(1), CommitNumber(0), 1 << 20);
    for (number, (bucket, key)) in (1..).zip(entries) {
        let meta = Meta { revision: Revision(number), flags: Flags::put(), created: number, deadline: 0, origin: Revision::NONE };
        let hash = KeyHasher::new(7).hash(BucketId(*bucket), key.as_bytes());
        memtable.insert(BucketId(*bucket), key.as_bytes(), hash, CommitNumber(number), meta, key.as_bytes());
    }
    Arc::new(memtable)
}

fn builder(env: &Env, number: u64) -> Result<Builder> {
    let path = PathBuf::from(format!("/{number}"));
    let file = env.fs.create_new(&path).unwrap();
    Ok(Builder::new(file, path, Identity { store: 7, number: FileNumber(number) }, 64))
}

fn inputs<'a>(memtable: Option<&'a Arc<Memtable>>, runs: &'a [Arc<Run>], buckets: &'a [Arc<BucketState>]) -> Inputs<'a> {
    Inputs { pace: &|_| Ok(()), memtable, runs, hold_oldest: true, hold_newest: true, buckets, now: &|_| 1, file_len: u64::MAX }
}

/// Writes and opens the segments, which get numbers from `number` on.
fn build(env: &Env, number: u64, inputs: &Inputs<'_>) -> Result<Vec<Arc<Segment>>> {
    let mut next = number;
    let output = write(inputs, &mut || {
        next += 1;
        builder(env, next - 1)
    })?;
    let open = |summary: &Summary| {
        let identity = Identity { store: 7, number: summary.number };
        let expected = Expected { identity, len: summary.len, checksum: summary.checksum };
        Segment::open(&*env.fs, &PathBuf::from(format!("/{}", summary.number.0)), &expected, &Arc::new(BlockCache::new(0)))
    };
    output.files.iter().map(open).collect()
}

fn flush(env: &Env, number: u64, memtable: &Arc<Memtable>, buckets: &[Arc<BucketState>]) -> Option<Arc<Segment>> {
    build(env, number, &inputs(Some(memtable), &[], buckets)).unwrap().pop()
}

#[test]
fn entries_of_deleted_buckets_and_trimmed_ones_stay_behind() {
    let env = Env::memory();
    let memtable = memtable(&[(1, "a"), (2, "a"), (1, "a"), (1, "b")]);
    let segment = flush(&env, 1, &memtable, &states(&[1])).unwrap();
    assert_eq!(segment.entries(), 2, "one entry of a, at depth 1, and one of b; bucket 2 is gone");
    assert!(flush(&env, 2, &memtable, &states(&[3])).is_none(), "no file is made for nothing");
}

#[test]
fn a_merge_gives_up_when_it_is_told_to() {
    let env = Env::memory();
    let buckets = states(&[1]);
    let segment = flush(&env, 1, &memtable(&[(1, "a"), (1, "b"), (1, "c"), (1, "d")]), &buckets).unwrap();
    let keys = Cell::new(0);
    let pace = |_| {
        keys.set(keys.get() + 1);
        if keys.get() > 2 { Err(Error::new(ErrorKind::Closed, "enough")) } else { Ok(()) }
    };
    let runs = [Arc::new(Run::of_files([segment]))];
    let error = build(&env, 2, &Inputs { pace: &pace, ..inputs(None, &runs, &buckets) }).unwrap_err();
    assert_eq!((error.kind(), keys.get()), (ErrorKind::Closed, 3));
}

#[test]
fn newer_entries_come_from_newer_segments() {
    let env = Env::memory();
    let buckets = states(&[1]);
    let old = flush(&env, 1, &memtable(&[(1, "a"), (1, "b")]), &buckets).unwrap();
    let new = flush(&env, 2, &memtable(&[(1, "x"), (1, "x"), (1, "x"), (1, "a")]), &buckets).unwrap();
    let runs = [new, old].map(|segment| Arc::new(Run::of_files([segment])));
    let merged = build(&env, 3, &inputs(None, &runs, &buckets)).unwrap();
    assert_eq!(merged[0].entries(), 3, "a, b and x");
    let wrong = [Arc::clone(&runs[1]), Arc::clone(&runs[0])];
    let error = build(&env, 4, &inputs(None, &wrong, &buckets)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "the revisions of a rise: {error:?}");
}

/// Keys of two buckets, some of them several times, in files that end as soon as they can.
fn small_files(env: &Env, number: u64) -> Vec<Arc<Segment>> {
    let keys = ["a", "b", "b", "c", "d", "d", "d", "e"];
    let entries: Vec<(u64, &str)> = [1, 2].iter().flat_map(|bucket| keys.map(|key| (*bucket, key))).collect();
    let memtable = memtable(&entries);
    let mut buckets = states(&[1, 2]);
    buckets.iter_mut().for_each(|state| Arc::make_mut(state).spec.history = 8);
    build(env, number, &Inputs { file_len: 1, ..inputs(Some(&memtable), &[], &buckets) }).unwrap()
}

#[test]
fn files_end_between_two_keys() {
    let env = Env::memory();
    let files = small_files(&env, 1);
    let counts: Vec<u64> = files.iter().map(|file| file.entries()).collect();
    assert_eq!(counts, [1, 2, 1, 3, 1, 1, 2, 1, 3, 1]);
    Run::of_files(files);
}

#[test]
fn a_key_is_looked_for_in_the_file_that_has_it_whatever_it_shares_with_others() {
    let env = Env::memory();
    let keys = ["a", "long.key", "long.key.1", "long.key.2", "long.key.3", "long.kez.1", "z"];
    let pairs: Vec<(u64, &str)> = [1, 2].iter().flat_map(|bucket| keys.map(|key| (*bucket, key))).collect();
    let memtable = memtable(&pairs);
    let files = build(&env, 1, &Inputs { file_len: 1, ..inputs(Some(&memtable), &[], &states(&[1, 2])) }).unwrap();
    assert!(files.len() > keys.len());
    let run = Run::of_files(files);
    for cut in [LiveRange::ALL, LiveRange::new(None, Some((BucketId(2), b"long.key.2"[..].into())))] {
        let run = run.cut(&cut);
        for (bucket, key) in &pairs {
            let (bucket, key) = (BucketId(*bucket), key.as_bytes());
            let hash = KeyHasher::new(7).hash(bucket, key);
            let found = run.find(bucket, key).is_some_and(|segment| segment.newest(bucket, key, hash).unwrap().is_some());
            assert_eq!(found, cut.holds(bucket, key), "{bucket:?} {}", key.escape_ascii());
        }
    }
}

/// The entries of a run, as (bucket, key, revision).
fn entries(run: &Arc<Run>) -> Vec<(u64, String, u64)> {
    let mut all = Vec::new();
    for bucket in [1, 2] {
        let mut cursor = run::Cursor::new(Arc::clone(run), BucketId(bucket));
        cursor.seek(&[]).unwrap();
        while let Some(entry) = cursor.entry() {
            all.push((bucket, String::from_utf8(entry.key.to_vec()).unwrap(), entry.meta.revision.0));
            cursor.next().unwrap();
        }
    }
    all
}

#[test]
fn a_run_without_a_slice_and_the_slice_are_the_run() {
    let env = Env::memory();
    let mut buckets = states(&[1, 2]);
    buckets.iter_mut().for_each(|state| Arc::make_mut(state).spec.history = 8);
    let files = Arc::new(Run::of_files(small_files(&env, 100)));
    let whole = build(&env, 200, &inputs(None, &[Arc::clone(&files)], &buckets)).unwrap();
    assert_eq!(whole.len(), 1);
    let bounds = || {
        let keys = ["", "a", "b", "bb", "d", "e", "z"];
        let at = |bucket| keys.map(|key| Some((BucketId(bucket), key.as_bytes().into())));
        std::iter::once(None).chain(at(1)).chain(at(2))
    };
    let mut number = 1_000;
    for run in [Arc::new(Run::of_files(whole)), files] {
        let all = entries(&run);
        for (from, to) in bounds().flat_map(|from| bounds().map(move |to| (from.clone(), to))) {
            let slice = LiveRange::new(from, to);
            if slice.is_empty() {
                continue;
            }
            let inside = Arc::new(run.cut(&slice));
            let (held, left): (Vec<_>, Vec<_>) =
                all.iter().cloned().partition(|(bucket, key, _)| slice.holds(BucketId(*bucket), key.as_bytes()));
            assert_eq!(entries(&inside), held, "{slice:?}");
            assert_eq!(entries(&Arc::new(run.replace(&slice, &[]))), left, "{slice:?}");
            number += 100;
            let parts: Vec<Part> =
                build(&env, number, &inputs(None, &[inside], &buckets)).unwrap().into_iter().map(Part::of).collect();
            let back = Arc::new(run.replace(&slice, &parts));
            assert!(back.is_sound() && entries(&back) == all, "{slice:?}");
        }
    }
}
