//! Disks that fill up, and what happens when there is space again.

use annals::testing::disk::CrashPolicy;
use annals::testing::oracle::{Answer, Commit, KeyWrite, Write};
use annals::{ErrorKind, Outcome};

use crate::script::Level::{OsCache, Periodic, Sync};
use crate::script::Step::{Bucket, Close, CutInPut, Flush, Kill, Look, Open, Put};
use crate::script::{STORE, Step};
use crate::world::{Start, Trouble, World};

const PAGE: u64 = 4096;

/// K32, K33: refused writes are not applied, reads go on, and freed space is enough to go on, without an open.
#[test]
fn a_full_disk_refuses_writes_until_there_is_space_again() {
    let mut refusals = 0;
    for level in [Sync, Periodic, OsCache] {
        for spare_pages in 0..24 {
            for jobs in [false, true] {
                let what = format!("{level:?}, {spare_pages} pages left, jobs: {jobs}");
                let mut world = World::new(level, &Start::empty(), Trouble::None);
                world.run(&[Open, Bucket("b", 2), Put("b", "a", 1000)]).unwrap();
                let store = world.store.clone().unwrap();
                world.disk.set_capacity(Some(world.disk.used() + spare_pages * PAGE));
                let mut refused = 0;
                for round in 0..60 {
                    let (key, value) = (["a", "c", "d"][round % 3], world.value(1500));
                    match store.bucket("b").unwrap().put(key, &value) {
                        Ok(revision) => {
                            let action = Commit::Write(KeyWrite::new("b", key, Write::Put(value)));
                            let answer = Answer::Revisions(vec![revision.get()]);
                            world.ledger.gaps = true;
                            world.ledger.acked(action, &answer, store.status().unwrap().last_commit.get()).unwrap();
                        }
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::NoSpace, "{what}, round {round}: {error:?}");
                            assert_eq!(error.outcome(), Outcome::NotApplied, "{what}, round {round}: {error:?}");
                            refused += 1;
                        }
                    }
                    if jobs && let Err(error) = drain(&store) {
                        assert_eq!(error.kind(), ErrorKind::NoSpace, "{what}, round {round}: {error:?}");
                    }
                    if refused > 3 {
                        break;
                    }
                }
                refusals += refused;
                assert!(!store.status().unwrap().poisoned, "{what}");
                world.ledger.gaps = true;
                world.ledger.check(&store).unwrap_or_else(|mismatch| panic!("{what}: {mismatch}"));
                drop(store);
                world.disk.set_capacity(None);
                world.ledger.gaps = true;
                // No error is forgiven from here on.
                let rest = [Put("b", "a", 1500), Look, Flush, Put("b", "c", 10), Close, Open, Look];
                world.run(&rest).unwrap_or_else(|mismatch| panic!("{what}: {mismatch}"));
            }
        }
    }
    println!("sim full disk: refusals={refusals}");
    assert!(refusals > 0);
}

fn drain(store: &annals::Store) -> annals::Result<()> {
    while store.step()? {}
    Ok(())
}

/// K34: opening again and again on a full disk leaves no file per try.
#[test]
fn opening_on_a_full_disk_again_and_again_leaves_no_files_behind() {
    let mut refusals = 0;
    for level in [Sync, OsCache] {
        let mut made = World::new(level, &Start::empty(), Trouble::None);
        let steps = [Open, Bucket("b", 2), Put("b", "a", 3000), Put("b", "c", 3000), CutInPut(CrashPolicy::KeepAll, 0, 900)];
        made.run(&steps).unwrap();
        let start = made.start();
        for spare_pages in 0..12 {
            let what = format!("{level:?}, {spare_pages} pages left");
            let mut world = World::new(level, &start, Trouble::None);
            // The reserve is space that recovery may use up; it is not what this is about.
            if world.disk.files().iter().any(|(path, _)| path.ends_with("RESERVE")) {
                world.disk.remove_file(&std::path::Path::new(STORE).join("RESERVE"));
            }
            world.disk.set_capacity(Some(world.disk.used() + spare_pages * PAGE));
            let mut counts = Vec::new();
            for _ in 0..8 {
                match level.options(&world.disk).open(STORE) {
                    Ok(_) => break,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::NoSpace, "{what}: {error:?}"),
                }
                refusals += 1;
                counts.push(world.disk.files().len());
                assert_eq!(world.disk.open_handles() + world.disk.open_maps(), 0, "{what}");
            }
            assert!(counts.last() <= counts.get(1).or(counts.first()), "{what}: files after each try: {counts:?}");
            world.disk.set_capacity(None);
            let steps: &[Step] = &[Kill, Open, Look, Put("b", "a", 10), Close];
            world.run(steps).unwrap_or_else(|mismatch| panic!("{what}: {mismatch}"));
        }
    }
    println!("sim full disk: refused opens={refusals}");
    assert!(refusals > 0);
}

/// A store whose reserve is gone, with `pages` free beside what it takes now.
fn crowd(world: &World, pages: u64) {
    if world.disk.files().iter().any(|(path, _)| path.ends_with("RESERVE")) {
        world.disk.remove_file(&std::path::Path::new(STORE).join("RESERVE"));
    }
    world.disk.set_capacity(Some(world.disk.used() + pages * PAGE));
}

/// The log files of a flush wait to be removed; on a full disk they are the space for the next one.
#[test]
fn what_waits_to_be_removed_makes_room_for_the_next_log() {
    for level in [Sync, OsCache] {
        let mut world = World::new(level, &Start::empty(), Trouble::None);
        let steps = [Open, Bucket("b", 1), Put("b", "a", 3000), Put("b", "a", 3000), Put("b", "a", 3000), Flush];
        world.run(&steps).unwrap();
        let store = world.store.clone().unwrap();
        crowd(&world, 1);
        for round in 0..4 {
            let value = world.value(3000);
            store.bucket("b").unwrap().put("a", value).unwrap_or_else(|error| panic!("{level:?}, put {round}: {error:?}"));
        }
    }
}

/// Recovery makes a segment of the log, lets the log go, and only then needs space for a new one.
#[test]
fn a_full_disk_opens_with_the_space_of_its_own_dead_log() {
    for level in [Sync, OsCache] {
        let mut world = World::new(level, &Start::empty(), Trouble::None);
        world.run(&[Open, Bucket("b", 1), Put("b", "a", 3000), Kill]).unwrap();
        // One for the segment of 3,000 bytes, one for the manifest's copy; none for another log.
        crowd(&world, 2);
        let store = level.options(&world.disk).open(STORE).unwrap_or_else(|error| panic!("{level:?}: {error:?}"));
        assert_eq!(store.bucket("b").unwrap().get("a").unwrap().map(|value| value.len()), Some(3000));
    }
}
