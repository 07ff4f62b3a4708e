//! The habits of real disks that broke real stores, one by one, and what the module promises about itself.

mod faults;
mod properties;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::env::{File, Fs, LockMode, write_all_at};

/// Enough seeds for a choice among a few outcomes to show all of them.
const SEEDS: u64 = 200;

pub(super) fn path(name: &str) -> PathBuf {
    Path::new("/db").join(name)
}

/// A disk with an empty directory `/db` that survives crashes.
pub(super) fn disk(seed: u64) -> (Arc<SimDisk>, Arc<dyn Fs>) {
    let disk = SimDisk::new(seed);
    let fs = disk.env().fs;
    fs.create_dir(Path::new("/db")).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    (disk, fs)
}

pub(super) fn create(fs: &dyn Fs, name: &str, bytes: &[u8]) -> Box<dyn File> {
    let file = fs.create_new(&path(name)).unwrap();
    write_all_at(&*file, bytes, 0).unwrap();
    file
}

/// A file that is on the disk in every respect.
pub(super) fn create_synced(fs: &dyn Fs, name: &str, bytes: &[u8]) -> Box<dyn File> {
    let file = create(fs, name, bytes);
    file.sync_data().unwrap();
    sync_dir(fs);
    file
}

pub(super) fn sync_dir(fs: &dyn Fs) {
    fs.sync_dir(Path::new("/db")).unwrap();
}

/// Everything that comes out of `run` and a crash with `policy`, over many seeds.
fn outcomes<T: Ord>(policy: CrashPolicy, run: impl Fn(&SimDisk, &dyn Fs), look: impl Fn(&Arc<SimDisk>) -> T) -> Vec<T> {
    let outcome = |seed| {
        let (disk, fs) = disk(seed);
        run(&disk, &*fs);
        disk.crash(policy);
        look(&disk)
    };
    let mut all: Vec<T> = (0..SEEDS).map(outcome).collect();
    all.sort();
    all.dedup();
    all
}

#[test]
fn a_synced_file_whose_directory_was_not_synced_may_be_gone() {
    let run = |_: &SimDisk, fs: &dyn Fs| create(fs, "a", b"x").sync_all().unwrap();
    let look = |disk: &Arc<SimDisk>| disk.read_file(&path("a"));
    assert_eq!(outcomes(CrashPolicy::LoseAll, run, look), [None]);
    assert_eq!(outcomes(CrashPolicy::DataNoNames, run, look), [None]);
    assert_eq!(outcomes(CrashPolicy::Subset, run, look), [None, Some(b"x".to_vec())]);
    assert_eq!(outcomes(CrashPolicy::KeepAll, run, look), [Some(b"x".to_vec())]);
}

#[test]
fn a_rename_may_be_durable_before_the_data_of_its_file() {
    let run = |_: &SimDisk, fs: &dyn Fs| {
        create_synced(fs, "manifest", b"old");
        create(fs, "manifest.tmp", b"new");
        fs.rename(&path("manifest.tmp"), &path("manifest")).unwrap();
    };
    let look = |disk: &Arc<SimDisk>| disk.read_file(&path("manifest"));
    let found = outcomes(CrashPolicy::Subset, run, look);
    let expected = [&b""[..], b"\0\0\0", b"new", b"old"].map(|bytes| Some(bytes.to_vec()));
    assert_eq!(found, expected, "the name is never missing, but it may name an empty file or one of zeros");
    assert_eq!(outcomes(CrashPolicy::LengthBeforeData, run, look), [Some(b"\0\0\0".to_vec())]);
    assert_eq!(outcomes(CrashPolicy::DataNoNames, run, look), [Some(b"old".to_vec())]);
}

#[test]
fn a_removal_may_overtake_a_rename_that_came_before_it() {
    let run = |_: &SimDisk, fs: &dyn Fs| {
        create_synced(fs, "log.1", b"1");
        create_synced(fs, "spare", b"2");
        fs.rename(&path("spare"), &path("log.2")).unwrap();
        fs.remove(&path("log.1")).unwrap();
    };
    let look = |disk: &Arc<SimDisk>| {
        let names: Vec<_> =
            disk.files().into_iter().map(|(path, _)| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        names.join(" ")
    };
    for policy in [CrashPolicy::Subset, CrashPolicy::NamesReversed] {
        assert!(outcomes(policy, run, look).contains(&"spare".to_owned()), "{policy:?}");
    }
    assert_eq!(outcomes(CrashPolicy::Prefix, run, look), ["log.1 log.2", "log.1 spare", "log.2"]);
    assert_eq!(outcomes(CrashPolicy::NamesReversed, run, look), ["log.1 spare", "log.2", "spare"]);
}

#[test]
fn a_removed_file_comes_back_with_what_was_durable_in_it() {
    let run = |_: &SimDisk, fs: &dyn Fs| {
        let file = create_synced(fs, "a", b"old");
        write_all_at(&*file, b"new", 0).unwrap();
        fs.remove(&path("a")).unwrap();
    };
    let look = |disk: &Arc<SimDisk>| disk.read_file(&path("a"));
    assert_eq!(outcomes(CrashPolicy::LoseAll, run, look), [Some(b"old".to_vec())]);
    assert_eq!(outcomes(CrashPolicy::KeepAll, run, look), [None]);
    let removed = |disk: &SimDisk, fs: &dyn Fs| {
        run(disk, fs);
        sync_dir(fs);
    };
    assert_eq!(outcomes(CrashPolicy::LoseAll, removed, look), [None]);
}

#[test]
fn a_file_never_has_two_names_after_a_lost_rename_between_two() {
    let run = |_: &SimDisk, fs: &dyn Fs| {
        create_synced(fs, "a", b"x");
        fs.rename(&path("a"), &path("b")).unwrap();
        fs.rename(&path("b"), &path("c")).unwrap();
    };
    let look = |disk: &Arc<SimDisk>| disk.files().len();
    assert_eq!(outcomes(CrashPolicy::Subset, run, look), [1]);
}

#[test]
fn a_directory_that_was_not_synced_into_its_parent_goes_with_its_files() {
    let run = |_: &SimDisk, fs: &dyn Fs| {
        fs.create_dir(&path("sub")).unwrap();
        fs.create_new(&path("sub/a")).unwrap().sync_all().unwrap();
        fs.sync_dir(&path("sub")).unwrap();
    };
    let look = |disk: &Arc<SimDisk>| (disk.files().len(), disk.env().fs.list(&path("sub")).is_ok());
    assert_eq!(outcomes(CrashPolicy::LoseAll, run, look), [(0, false)]);
    assert_eq!(outcomes(CrashPolicy::Subset, run, look), [(0, false), (1, true)]);
}

#[test]
fn an_append_is_torn_at_any_sector() {
    let run = |_: &SimDisk, fs: &dyn Fs| {
        let file = create_synced(fs, "log", &[1; 700]);
        write_all_at(&*file, &[2; 1000], 700).unwrap();
    };
    let lengths = outcomes(CrashPolicy::Prefix, run, |disk| disk.files()[0].1);
    assert_eq!(lengths, [700, 1024, 1536, 1700], "cut at the bounds of sectors of the file, not of the write");
    let contents = outcomes(CrashPolicy::Subset, run, |disk| {
        let bytes = disk.read_file(&path("log")).unwrap();
        assert!(bytes[..700].iter().all(|byte| *byte == 1), "what was synced stays, in the same sector too");
        [700, 1024, 1536].map(|start| bytes.get(start).copied())
    });
    for first in [Some(0), Some(2)] {
        for second in [Some(0), Some(2)] {
            assert!(contents.contains(&[first, second, Some(2)]), "a hole before the last piece: {first:?} {second:?}");
        }
    }
    assert!(contents.contains(&[None, None, None]));
}

#[test]
fn a_torn_piece_is_old_or_half_or_zeros_or_garbage() {
    let run = |_: &SimDisk, fs: &dyn Fs| {
        let file = create_synced(fs, "a", &[1; 512]);
        write_all_at(&*file, &[2; 100], 200).unwrap();
    };
    let pieces = outcomes(CrashPolicy::TornGarbage, run, |disk| {
        let bytes = disk.read_file(&path("a")).unwrap();
        assert_eq!(
            (&bytes[..200], &bytes[300..]),
            (&[1; 200][..], &[1; 212][..]),
            "outside of the written range nothing changes"
        );
        bytes[200..300].to_vec()
    });
    let halves = [[[1; 50], [2; 50]].concat(), [[2; 50], [1; 50]].concat()];
    for expected in [vec![1; 100], vec![2; 100], vec![0; 100]].iter().chain(&halves) {
        assert!(pieces.contains(expected), "{expected:?}");
    }
    assert!(pieces.len() > 10, "garbage differs from seed to seed");
}

#[test]
fn a_length_may_persist_without_its_data() {
    let run = |_: &SimDisk, fs: &dyn Fs| {
        let file = create_synced(fs, "a", &[1; 10]);
        write_all_at(&*file, &[2; 10], 5).unwrap();
    };
    let look = |disk: &Arc<SimDisk>| disk.read_file(&path("a")).unwrap();
    let old_then_zeros = [[1; 10].to_vec(), vec![0; 5]].concat();
    assert_eq!(outcomes(CrashPolicy::LengthBeforeData, run, look), [old_then_zeros]);
    let zeros = [[1; 5].to_vec(), vec![0; 10]].concat();
    assert!(outcomes(CrashPolicy::ZeroTail, run, look).contains(&zeros));
}

#[test]
fn an_unsynced_cut_may_be_lost_or_be_all_that_persists() {
    let run = |_: &SimDisk, fs: &dyn Fs| {
        let file = create_synced(fs, "a", &[1; 10]);
        file.set_len(4).unwrap();
        write_all_at(&*file, &[2; 2], 6).unwrap();
    };
    let found = outcomes(CrashPolicy::Subset, run, |disk| disk.read_file(&path("a")).unwrap());
    for expected in [&[1; 10][..], &[1; 4], &[1, 1, 1, 1, 0, 0, 2, 2], &[1, 1, 1, 1, 1, 1, 2, 2, 1, 1]] {
        assert!(found.contains(&expected.to_vec()), "{expected:?}");
    }
}

#[test]
fn allocated_space_reads_as_zeros_and_its_length_needs_a_sync() {
    let (disk, fs) = disk(1);
    let file = create_synced(&*fs, "log", b"");
    file.allocate(64 << 20).unwrap();
    let mut bytes = [7; 16];
    assert_eq!(file.read_at(&mut bytes, (64 << 20) - 8).unwrap(), 8);
    assert_eq!(bytes[..8], [0; 8]);
    file.sync_data().unwrap();
    file.allocate(65 << 20).unwrap();
    disk.crash(CrashPolicy::LoseAll);
    assert_eq!(disk.files(), [(path("log"), 64 << 20)]);
}

#[test]
fn handles_and_maps_outlive_their_names() {
    let (disk, fs) = disk(1);
    let file = create_synced(&*fs, "a", b"first");
    let map = file.map().unwrap();
    create(&*fs, "b", b"second");
    fs.rename(&path("b"), &path("a")).unwrap();
    sync_dir(&*fs);
    let mut bytes = [0; 5];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 5);
    assert_eq!((&bytes, (*map).as_ref()), (b"first", &b"first"[..]));
    fs.remove(&path("a")).unwrap();
    sync_dir(&*fs);
    write_all_at(&*file, b"third", 0).unwrap();
    assert_eq!((disk.files().len(), disk.open_handles(), disk.open_maps()), (0, 1, 1));
    drop((file, map));
    assert_eq!((disk.open_handles(), disk.open_maps(), disk.used()), (0, 0, 0));
}

#[test]
fn locks_exclude_each_other_until_they_are_dropped_or_the_process_dies() {
    let (disk, fs) = disk(1);
    let would_block = |fs: &dyn Fs, mode| fs.lock(&path("LOCK"), mode).unwrap_err().kind() == io::ErrorKind::WouldBlock;
    let shared = [LockMode::Shared; 2].map(|mode| fs.lock(&path("LOCK"), mode).unwrap());
    assert!(would_block(&*fs, LockMode::Exclusive));
    drop(shared);
    let exclusive = fs.lock(&path("LOCK"), LockMode::Exclusive).unwrap();
    assert!(would_block(&*fs, LockMode::Shared));
    disk.restart();
    let fs = disk.env().fs;
    let _next = fs.lock(&path("LOCK"), LockMode::Exclusive).unwrap();
    drop(exclusive);
    assert!(would_block(&*fs, LockMode::Exclusive), "the lock of the dead process is no longer the lock");
}

#[test]
fn after_a_crash_old_handles_and_environments_are_dead_and_uncounted() {
    let (disk, fs) = disk(1);
    let file = create_synced(&*fs, "a", b"x");
    disk.crash(CrashPolicy::KeepAll);
    let calls = disk.calls();
    assert!(file.write_at(b"y", 0).is_err());
    assert!(file.read_at(&mut [0], 0).is_err());
    assert!(fs.remove(&path("a")).is_err());
    assert_eq!((disk.calls(), disk.open_handles()), (calls, 0));
    assert_eq!(disk.read_file(&path("a")).unwrap(), b"x");
}

#[test]
fn a_restart_keeps_the_cache_and_what_is_pending() {
    let (disk, fs) = disk(1);
    create(&*fs, "a", b"x");
    disk.restart();
    assert_eq!(disk.read_file(&path("a")).unwrap(), b"x");
    disk.crash(CrashPolicy::LoseAll);
    assert_eq!(disk.read_file(&path("a")), None);
}

#[test]
fn a_crash_point_stops_everything_and_halves_the_write_that_it_hits() {
    let (disk, fs) = disk(1);
    let file = create_synced(&*fs, "a", b"");
    disk.crash_at(disk.calls() + 2);
    write_all_at(&*file, b"1234", 0).unwrap();
    assert!(!disk.crashed());
    assert!(file.write_at(b"5678", 4).is_err());
    assert!(disk.crashed());
    assert!(file.write_at(b"5678", 4).is_err());
    assert!(fs.list(Path::new("/db")).is_err());
    disk.crash(CrashPolicy::KeepAll);
    assert!(!disk.crashed());
    assert_eq!(disk.read_file(&path("a")).unwrap(), b"123456");
    disk.env().fs.create_new(&path("b")).unwrap();
}

#[test]
fn a_crash_point_at_a_sync_leaves_it_undone() {
    let (disk, fs) = disk(1);
    let file = create_synced(&*fs, "a", b"");
    write_all_at(&*file, b"1234", 0).unwrap();
    disk.crash_at(disk.calls() + 1);
    assert!(file.sync_data().is_err());
    disk.crash(CrashPolicy::LoseAll);
    assert_eq!(disk.read_file(&path("a")).unwrap(), b"");
}

#[test]
fn a_full_disk_takes_what_fits_then_refuses_and_recovers_when_a_file_goes() {
    let (disk, fs) = disk(1);
    disk.set_capacity(Some(16 << 10));
    let log = create(&*fs, "log", b"");
    log.allocate(8 << 10).unwrap();
    assert_eq!(disk.used(), 8 << 10);
    assert_eq!(log.allocate(17 << 10).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(log.len().unwrap(), 8 << 10, "all or nothing");
    let other = create(&*fs, "other", b"");
    assert_eq!(other.write_at(&[1; 10_000], 0).unwrap(), 8 << 10, "a short write up to the end of the space");
    assert_eq!(other.write_at(&[1; 10], 8 << 10).unwrap_err().kind(), io::ErrorKind::StorageFull);
    log.write_at(&[1; 8 << 10], 0).expect("that space was paid for");
    fs.remove(&path("other")).unwrap();
    assert!(log.allocate(12 << 10).is_err(), "an open file keeps its space");
    drop(other);
    log.allocate(12 << 10).unwrap();
    log.set_len(1).unwrap();
    assert_eq!(disk.used(), 4 << 10);
}

#[test]
fn a_snapshot_brings_back_what_was_durable_and_nothing_else() {
    let (disk, fs) = disk(1);
    let file = create_synced(&*fs, "a", b"synced");
    write_all_at(&*file, b"cached", 0).unwrap();
    let snapshot = disk.snapshot();
    let random = disk.env().random.u128().unwrap();
    let wall = disk.env().clock.wall();
    file.sync_all().unwrap();
    fs.remove(&path("a")).unwrap();
    create_synced(&*fs, "b", b"");
    disk.clock().advance(5);
    for _ in 0..2 {
        disk.restore(&snapshot);
        assert!(file.read_at(&mut [0], 0).is_err());
        assert_eq!(disk.read_file(&path("a")).unwrap(), b"synced");
        assert_eq!(disk.files().len(), 1);
        assert_eq!((disk.env().random.u128().unwrap(), disk.env().clock.wall()), (random, wall));
        let file = disk.env().fs.create_new(&path("c")).unwrap();
        write_all_at(&*file, b"not in the snapshot", 0).unwrap();
    }
}

#[test]
fn tampering_is_durable_and_seen_by_readers() {
    let (disk, fs) = disk(1);
    create_synced(&*fs, "a", b"right");
    let file = fs.open(&path("a")).unwrap();
    disk.overwrite(&path("a"), b"wrong");
    disk.overwrite(&path("new"), [0; 10_000]);
    let mut bytes = [0; 5];
    file.read_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"wrong");
    disk.crash(CrashPolicy::LoseAll);
    assert_eq!(disk.files(), [(path("a"), 5), (path("new"), 10_000)]);
    disk.remove_file(&path("a"));
    disk.crash(CrashPolicy::LoseAll);
    assert_eq!(disk.read_file(&path("a")), None);
}

#[test]
fn time_moves_when_it_is_looked_at_or_told_to() {
    let env = SimDisk::new(1);
    let (clock, env) = (Arc::clone(env.clock()), env.env());
    let start = env.clock.wall();
    assert_eq!(start, 1_700_000_000_000_000_000);
    let first = env.clock.monotonic();
    assert_eq!(env.clock.monotonic() - first, 1_000);
    clock.advance(1_000_000);
    assert_eq!(env.clock.wall() - start, 1_002_000);
    clock.set_wall(7);
    assert_eq!(env.clock.wall(), 7);
    assert_eq!(env.clock.monotonic() - first, 1_002_000, "a jump of the wall clock is none of the other");
}

#[test]
fn the_trace_says_what_happened() {
    let (disk, fs) = disk(1);
    create(&*fs, "a", b"1234");
    disk.inject(Injection { at: disk.calls() + 1, fault: Fault::Eio, sticky: false });
    let _ = fs.remove(&path("a"));
    let last = disk.calls();
    assert_eq!(disk.call_name(last - 1), format!("{}: WriteAt /db/a 0+4", last - 1));
    let trace = disk.trace();
    assert!(trace.last().unwrap().starts_with(&format!("{last}: Remove /db/a [Eio] -> ")), "{trace:?}");
    assert_eq!(trace.len() as u64, last);
}
