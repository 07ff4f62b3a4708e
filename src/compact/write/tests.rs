use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Inputs, write};
use crate::cache::BlockCache;
use crate::entry::{Flags, Meta};
use crate::env::Env;
use crate::error::{ErrorKind, Result};
use crate::hash::KeyHasher;
use crate::manifest::BucketState;
use crate::memtable::Memtable;
use crate::number::{BucketId, CommitNumber, FileNumber, Revision};
use crate::run::Run;
use crate::segment::{Builder, Expected, Identity, Segment};
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

fn flush(env: &Env, number: u64, memtable: &Arc<Memtable>, buckets: &[Arc<BucketState>]) -> Option<Arc<Segment>> {
    let inputs = Inputs { stop: &|| false, memtable: Some(memtable), runs: &[], hold_oldest: true, buckets, now: 1 };
    let summary = write(&inputs, &mut || builder(env, number)).unwrap().summary?;
    let identity = Identity { store: 7, number: FileNumber(number) };
    let expected = Expected { identity, len: summary.len, checksum: summary.checksum };
    Some(Segment::open(&*env.fs, &PathBuf::from(format!("/{number}")), &expected, &Arc::new(BlockCache::new(0))).unwrap())
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
    let stop = || {
        keys.set(keys.get() + 1);
        keys.get() > 2
    };
    let runs = [Arc::new(Run::of(segment))];
    let inputs = Inputs { stop: &stop, memtable: None, runs: &runs, hold_oldest: true, buckets: &buckets, now: 1 };
    let error = write(&inputs, &mut || builder(&env, 2)).unwrap_err();
    assert_eq!((error.kind(), keys.get()), (ErrorKind::Closed, 3));
}

#[test]
fn newer_entries_come_from_newer_segments() {
    let env = Env::memory();
    let buckets = states(&[1]);
    let old = flush(&env, 1, &memtable(&[(1, "a"), (1, "b")]), &buckets).unwrap();
    let new = flush(&env, 2, &memtable(&[(1, "x"), (1, "x"), (1, "x"), (1, "a")]), &buckets).unwrap();
    let runs = [new, old].map(|segment| Arc::new(Run::of(segment)));
    let inputs = Inputs { stop: &|| false, memtable: None, runs: &runs, hold_oldest: true, buckets: &buckets, now: 1 };
    let output = write(&inputs, &mut || builder(&env, 3)).unwrap();
    assert_eq!(output.summary.unwrap().entries, 3, "a, b and x");
    let wrong = [Arc::clone(&runs[1]), Arc::clone(&runs[0])];
    let inputs = Inputs { runs: &wrong, ..inputs };
    let error = write(&inputs, &mut || builder(&env, 4)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "the revisions of a rise: {error:?}");
}
