//! Two faults close to each other: the second one meets the code that deals with the first.
//!
//! Seven puts of seven keys, with memtables that are full long before their log file is, so that logs end with room left in them. For every
//! call, every fault of a few there, and every one of them at one of the next calls. Nothing is lost at the end but the process, so the
//! check is plain: what was acknowledged is there, and what was answered "not applied" is not.

use annals::testing::disk::{Fault, Injection, SimDisk};
use annals::{BucketConfig, Durability, Options, Outcome, Store};
use std::sync::Arc;

const FAULTS: [Fault; 5] = [Fault::Eio, Fault::EioAfterWrite, Fault::Enospc, Fault::SyncFailKeepsCache, Fault::SyncFailOnce];
/// How many calls after the first fault the second one may lie.
const APART_MAX: u64 = 6;
const KEYS: [&str; 7] = ["k1", "k2", "k3", "k4", "k5", "k6", "k7"];

fn open(disk: &Arc<SimDisk>, durability: Durability) -> annals::Result<Store> {
    let options = Options::new().env(disk.env()).durability(durability).manual_jobs().memory_budget(64 << 10);
    options.sizes(8 << 10, 600, 64).open("/store")
}

fn value(key: &str) -> Vec<u8> {
    key.as_bytes().repeat(150)
}

/// What each put answered: none if it was acknowledged.
fn puts(store: &Store) -> Vec<Option<Outcome>> {
    let bucket = store.bucket("b").unwrap();
    KEYS.iter().map(|key| bucket.put(key, value(key)).err().map(|error| error.outcome())).collect()
}

fn check(disk: &Arc<SimDisk>, durability: Durability, answers: &[Option<Outcome>], case: &str) {
    disk.clear_faults();
    disk.restart();
    let store = open(disk, durability).unwrap_or_else(|error| panic!("{case}: {error:?}"));
    let bucket = store.bucket("b").unwrap();
    for (key, answer) in KEYS.iter().zip(answers) {
        let found = bucket.get(key).unwrap();
        let right = found.as_ref().is_none_or(|found| *found == value(key));
        assert!(right, "{case}: {key} holds what nobody wrote");
        match answer {
            None => assert!(found.is_some(), "{case}: {key} was acknowledged and is gone"),
            Some(Outcome::NotApplied) => assert!(found.is_none(), "{case}: {key} was answered NotApplied and is there"),
            Some(Outcome::Indeterminate) => {}
        }
    }
}

fn sweep(durability: Durability) {
    let disk = SimDisk::new(1);
    let store = open(&disk, durability).unwrap();
    store.create_bucket(BucketConfig::new("b")).unwrap();
    store.close().unwrap();
    drop(store);
    let start = disk.snapshot();

    let store = open(&disk, durability).unwrap();
    let first = disk.calls() + 1;
    assert!(puts(&store).iter().all(Option::is_none));
    let last = disk.calls();
    drop(store);

    let mut cases = 0;
    for at in first..=last {
        for one in FAULTS {
            for (other, apart) in FAULTS.into_iter().flat_map(|other| (1..=APART_MAX).map(move |apart| (other, apart))) {
                disk.restore(&start);
                let store = open(&disk, durability).unwrap();
                // Calls are counted over the disk's whole life.
                let shift = disk.calls() + 1 - first;
                for (fault, at) in [(one, at), (other, at + apart)] {
                    disk.inject(Injection { at: at + shift, fault, sticky: false });
                }
                let fired = disk.fired();
                let answers = puts(&store);
                if disk.fired() < fired + 2 && apart > 1 {
                    // One fault alone is the business of the scenarios; once is enough here.
                    continue;
                }
                let case = format!("{durability:?}, {one:?} at {at}, {other:?} {apart} later: {answers:?}");
                let _ = store.close();
                drop(store);
                check(&disk, durability, &answers, &case);
                cases += 1;
            }
        }
    }
    println!("sim pairs of faults: {durability:?} cases={cases}");
    assert!(cases > 100, "{cases} cases");
}

#[test]
fn two_faults_at_sync_lose_nothing_and_say_nothing_untrue() {
    sweep(Durability::Sync);
}

#[test]
fn two_faults_below_sync_lose_nothing_and_say_nothing_untrue() {
    sweep(Durability::OsCache);
}
