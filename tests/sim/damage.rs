//! Damage that no crash makes: bits that flip, files that end early, vanish or are something else. Detected or harmless,
//! never believed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals::testing::disk::{CrashPolicy, SimDisk};
use annals::testing::edits;
use annals::{ErrorKind, Result, Store};

use crate::ledger::Shown;
use crate::script::Level::{self, OsCache, Sync};
use crate::script::Step::{Bucket, Close, Cut, Delete, Flush, Kill, Open, Purge, Put};
use crate::script::{STORE, Step};
use crate::world::{Start, Trouble, World};

/// What log files begin with: their header's block.
const LOG_HEADER_LEN: usize = 4096;

fn made(level: Level, steps: &[Step]) -> Start {
    let mut world = World::new(level, &Start::empty(), Trouble::None);
    world.run(steps).unwrap();
    world.start()
}

/// Names and bytes of everything but the lock.
fn contents(disk: &SimDisk) -> Vec<(PathBuf, Vec<u8>)> {
    let files = disk.files().into_iter().filter(|(path, _)| !path.ends_with("LOCK"));
    files.map(|(path, _)| (path.clone(), disk.read_file(&path).unwrap())).collect()
}

fn path_with(disk: &SimDisk, extension: &str) -> PathBuf {
    let path = disk.files().into_iter().map(|(path, _)| path).rfind(|path| path.extension().is_some_and(|one| one == extension));
    path.unwrap_or_else(|| panic!("no .{extension} in {:?}", disk.files()))
}

fn open(world: &World) -> Result<Store> {
    world.level.options(&world.disk).open(STORE)
}

/// Opens a store whose log was damaged: refused as corrupt, or what a prefix explains that misses at most the attempts from
/// `floor` on. Answers whether it was refused.
fn refused_or_a_prefix(start: &Start, level: Level, path: &Path, bytes: &[u8], floor: usize, what: &str) -> bool {
    let mut world = World::new(level, start, Trouble::None);
    world.disk.overwrite(path, bytes);
    let before = contents(&world.disk);
    match open(&world) {
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error:?}");
            assert!(error.file().is_some(), "{what}: names no file: {error:?}");
            assert_eq!(before, contents(&world.disk), "{what}: a refused open changed the directory");
            true
        }
        Ok(store) => {
            let shown = Shown::read(&store).unwrap();
            world.ledger.gaps = level != Sync;
            world.ledger.forget_handed();
            world.ledger.resolve(&shown, floor, store.store_time()).unwrap_or_else(|mismatch| panic!("{what}: {mismatch}"));
            store.verify().unwrap_or_else(|error| panic!("{what}: {error:?}"));
            false
        }
    }
}

/// K7: damage before the proven durable mark is corruption, not the end of the log.
#[test]
fn a_bit_flipped_in_the_log_before_its_last_record_refuses_to_open() {
    let mut world = World::new(Sync, &Start::empty(), Trouble::None);
    world.run(&[Open, Bucket("b", 2), Put("b", "a", 30), Put("b", "c", 30), Delete("b", "a")]).unwrap();
    let path = path_with(&world.disk, "wal");
    let before = world.disk.read_file(&path).unwrap();
    world.run(&[Put("b", "d", 30), Cut(CrashPolicy::LoseAll)]).unwrap();
    let bytes = world.disk.read_file(&path).unwrap();
    let last = (0..bytes.len()).find(|at| before[*at] != bytes[*at]).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let (start, attempts) = (world.start(), world.ledger.attempts.len());
    let mut refused = 0;
    for at in LOG_HEADER_LEN..end {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            // Padding that nobody reads does no harm.
            let floor = if at < last { attempts } else { attempts - 1 };
            let is_refused = refused_or_a_prefix(&start, Sync, &path, &damaged, floor, &format!("bit {bit} of byte {at}"));
            refused += usize::from(is_refused);
        }
    }
    println!("sim damage: flipped bits of the log={} refused={refused}", (end - LOG_HEADER_LEN) * 8);
    assert!(refused > 0);
}

/// K9: an ordinary torn last record never keeps a store from opening.
#[test]
fn a_log_that_ends_anywhere_opens_with_a_prefix() {
    let steps = [
        Open,
        Bucket("b", 2),
        Put("b", "a", 30),
        Put("b", "c", 30),
        Delete("b", "a"),
        Put("b", "d", 30),
        Cut(CrashPolicy::KeepAll),
    ];
    let start = made(OsCache, &steps);
    let disk = World::new(OsCache, &start, Trouble::None).disk;
    let path = path_with(&disk, "wal");
    let bytes = disk.read_file(&path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for len in LOG_HEADER_LEN..=end {
        let mut torn = bytes.clone();
        torn[len..].fill(0);
        let refused = refused_or_a_prefix(&start, OsCache, &path, &torn, 0, &format!("zeros from {len} on"));
        assert!(!refused, "a log with zeros from {len} on is refused");
    }
    // The length itself was durable before the first record: a shorter file is no crash's work, and may be refused.
    for len in (0..=end + 1).filter(|len| *len >= LOG_HEADER_LEN || len % 97 == 0) {
        refused_or_a_prefix(&start, OsCache, &path, &bytes[..len], 0, &format!("{len} bytes"));
    }
}

/// K25: a store that lost its manifest, or has a damaged one, is left as it is.
#[test]
fn a_manifest_that_is_missing_or_damaged_refuses_to_open_and_nothing_is_touched() {
    let start = made(
        Sync,
        &[
            Open,
            Bucket("b", 2),
            Put("b", "a", 30),
            Flush,
            Put("b", "c", 30),
            Kill,
            Open,
            Put("b", "c", 3),
            Cut(CrashPolicy::LoseAll),
        ],
    );
    let manifest = PathBuf::from(STORE).join("MANIFEST");
    let refused = |edit: &dyn Fn(&Arc<SimDisk>), what: &str| {
        let world = World::new(Sync, &start, Trouble::None);
        edit(&world.disk);
        let before = contents(&world.disk);
        let error = open(&world).expect_err(what);
        assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::UnsupportedFormat), "{what}: {error:?}");
        assert_eq!(before, contents(&world.disk), "{what}");
    };
    refused(&|disk| disk.remove_file(&manifest), "no manifest");
    let bytes = World::new(Sync, &start, Trouble::None).disk.read_file(&manifest).unwrap();
    for len in 0..bytes.len() {
        refused(&|disk| disk.overwrite(&manifest, &bytes[..len]), &format!("manifest of {len} bytes"));
    }
    for at in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[at / 8] ^= 1 << (at % 8);
        refused(&|disk| disk.overwrite(&manifest, &damaged), &format!("bit {at} of the manifest"));
    }
}

/// A file that the manifest names and that is not there.
#[test]
fn a_missing_segment_or_log_is_corruption() {
    let start = made(Sync, &[Open, Bucket("b", 1), Put("b", "a", 30), Flush, Put("b", "a", 40), Cut(CrashPolicy::LoseAll)]);
    for extension in ["seg", "wal"] {
        let world = World::new(Sync, &start, Trouble::None);
        world.disk.remove_file(&path_with(&world.disk, extension));
        let before = contents(&world.disk);
        assert_eq!(open(&world).expect_err(extension).kind(), ErrorKind::Corrupt, "{extension}");
        assert_eq!(before, contents(&world.disk), "{extension}");
    }
}

/// How many edited directories are tried.
const EDITS: u64 = 1500;

/// K57, K58: any file edited, the right answer or `Corrupt`.
#[test]
fn a_directory_edited_at_random_never_answers_wrong() {
    let mut steps = vec![
        Open,
        Bucket("b", 2),
        Put("b", "a", 30),
        Put("b", "c", 3000),
        Put("b", "a.b", 30),
        Flush,
        Put("b", "x", 10),
        Purge("b", "a.b"),
    ];
    steps.extend([Close, Open, Put("b", "a", 60), Put("b", "y", 60), Delete("b", "x"), Cut(CrashPolicy::LoseAll)]);
    let start = made(Sync, &steps);
    let (mut refused, mut harmless) = (0, 0);
    for seed in 0..EDITS {
        let mut world = World::new(Sync, &start, Trouble::None);
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let files: Vec<_> = contents(&world.disk).into_iter().filter(|(path, _)| !path.ends_with("RESERVE")).collect();
        let (path, mut bytes) = files[next() as usize % files.len()].clone();
        let original = bytes.clone();
        let edit: Vec<u8> = (0..5 * (1 + next() % 2)).map(|_| next() as u8).collect();
        edits::apply(&mut bytes, &edit);
        if bytes == original {
            continue;
        }
        world.disk.overwrite(&path, &bytes);
        let what = format!("seed {seed}: {} edited by {edit:?}", path.display());
        let read = open(&world).and_then(|store| {
            let shown = Shown::read(&store);
            match &shown {
                Ok(_) => {}
                Err(_) => readable_is_right(&world, &store, &what),
            }
            shown
        });
        match read {
            Ok(shown) => {
                harmless += 1;
                // What the log held may be cut where nothing proves that it was durable; what is in segments may not.
                world.ledger.forget_handed();
                world.ledger.resolve(&shown, 0, 0).unwrap_or_else(|mismatch| panic!("{what}: {mismatch}"));
            }
            Err(error) => {
                refused += 1;
                assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::UnsupportedFormat), "{what}: {error:?}");
            }
        }
    }
    println!("sim damage: edited directories={EDITS} refused={refused} harmless={harmless}");
    assert!(refused > 0 && harmless > 0);
}

/// Where some reads fail, the others answer what was written.
fn readable_is_right(world: &World, store: &Store, what: &str) {
    let Ok(bucket) = store.bucket("b") else { return };
    for key in ["a", "c", "y"] {
        let Ok(found) = bucket.get(key) else { continue };
        let expected = world.ledger.values_of("b", key);
        assert!(expected.contains(&found.as_deref().map(<[u8]>::to_vec)), "{what}: {key} answers what was never there");
    }
}

/// K42, K3: what was recovered goes on where it was, however often.
#[test]
fn many_reopens_after_a_bulk_load_lose_nothing() {
    for level in [Sync, OsCache] {
        let mut world = World::new(level, &Start::empty(), Trouble::None);
        world.run(&[Open, Bucket("b", 3)]).unwrap();
        let keys = ["a", "b", "c", "d", "e", "f", "g"];
        for round in 0..300 {
            world.run(&[Put("b", keys[round % keys.len()], 90)]).unwrap();
        }
        for round in 0..12 {
            world
                .run(&[
                    [Kill, Close, Step::Drop, Step::Jobs][round % 4].clone(),
                    Open,
                    Put("b", keys[round % keys.len()], 20),
                    Step::Look,
                ])
                .unwrap();
        }
    }
}
