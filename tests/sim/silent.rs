//! Disks that lie: writes that are lost, misplaced or half old, and reads with a wrong bit, none of which any call complains of.
//!
//! One life of a store, with every such fault at every call that it can meet. What comes of it is an error that names a file, or right
//! answers; where the disk lied about the newest commits, what is left may end earlier, but never has a hole and never a wrong value.

use std::sync::Arc;

use annals::testing::disk::{Fault, Injection, SimDisk};
use annals::{BucketConfig, Durability, Error, ErrorKind, Options, Result, Store};

const KEYS: [&str; 8] = ["k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8"];

#[derive(Debug, Default)]
struct Counts {
    tried: u64,
    detected: u64,
    shortened: u64,
    harmless: u64,
}

fn open(disk: &Arc<SimDisk>, durability: Durability) -> Result<Store> {
    let options = Options::new().env(disk.env()).durability(durability).manual_jobs().memory_budget(64 << 10);
    options.sizes(8 << 10, 16 << 10, 64).open("/store")
}

fn value(key: &str) -> Vec<u8> {
    key.as_bytes().repeat(300)
}

/// Eight puts with two flushes and a merge between them, over several log files; then a drop, or a kill that leaves no seal.
fn live(disk: &Arc<SimDisk>, durability: Durability, killed: bool, acknowledged: &mut usize) -> Result<()> {
    let store = open(disk, durability)?;
    let lived = write(&store, acknowledged);
    if killed {
        // What a killed process does not do.
        std::mem::forget(store);
    }
    lived
}

fn write(store: &Store, acknowledged: &mut usize) -> Result<()> {
    let bucket = store.bucket("b")?;
    for (number, key) in KEYS.iter().enumerate() {
        bucket.put(key, value(key))?;
        *acknowledged += 1;
        match number {
            1 | 3 => store.flush()?,
            4 => store.merge_all()?,
            _ => while store.step()? {},
        }
    }
    store.sync().map(|_| ())
}

fn is_detected(error: &Error) -> bool {
    // What a wrong bit of a read hits may also look like another format, or a key that is none.
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::UnsupportedFormat | ErrorKind::Poisoned)
}

/// How many of the keys are there, in order and with the right values; or that the damage was found.
fn look(disk: &Arc<SimDisk>, durability: Durability, case: &str) -> Option<usize> {
    let store = match open(disk, durability) {
        Ok(store) => store,
        Err(error) => {
            assert!(is_detected(&error), "{case}: {error:?}");
            assert!(error.file().is_some(), "{case}: no file is named: {error:?}");
            return None;
        }
    };
    let bucket = store.bucket("b").unwrap_or_else(|error| panic!("{case}: {error:?}"));
    let (mut found, mut detected, mut ended) = (0, false, false);
    for key in KEYS {
        match bucket.get(key) {
            Ok(Some(got)) => {
                assert!(got == value(key), "{case}: {key} holds what nobody wrote");
                assert!(!ended, "{case}: {key} is there and one before it is not");
                found += 1;
            }
            Ok(None) => ended = true,
            Err(error) => {
                assert!(is_detected(&error), "{case}: {error:?}");
                detected = true;
            }
        }
    }
    match store.verify() {
        Ok(_) => assert!(!detected, "{case}: verify finds nothing, but a read did"),
        Err(error) => {
            assert!(is_detected(&error), "{case}: {error:?}");
            detected = true;
        }
    }
    (!detected).then_some(found)
}

fn sweep(durability: Durability, killed: bool) {
    let disk = SimDisk::new(1);
    let store = open(&disk, durability).unwrap();
    store.create_bucket(BucketConfig::new("b")).unwrap();
    store.close().unwrap();
    drop(store);
    let start = disk.snapshot();
    let first = disk.calls() + 1;
    live(&disk, durability, killed, &mut 0).unwrap();
    let last = disk.calls();

    let mut counts = Counts::default();
    for at in first..=last {
        for fault in Fault::SILENT {
            disk.restore(&start);
            let shift = disk.calls() + 1 - first;
            disk.inject(Injection { at: at + shift, fault, sticky: false });
            let fired = disk.fired();
            let mut acknowledged = 0;
            let lived = live(&disk, durability, killed, &mut acknowledged);
            if disk.fired() == fired {
                continue;
            }
            let case = format!("{durability:?}, killed: {killed}, {fault:?} at {at}: {lived:?}, {acknowledged} acknowledged");
            counts.tried += 1;
            if let Err(error) = &lived {
                assert!(is_detected(error), "{case}");
            }
            disk.clear_faults();
            disk.restart();
            match look(&disk, durability, &case) {
                None => counts.detected += 1,
                Some(found) if found < acknowledged => {
                    let wrote = [Fault::LostWrite, Fault::MisplacedWrite, Fault::StaleSector].contains(&fault);
                    assert!(wrote, "{case}: a wrong read cost {found} of {acknowledged}");
                    counts.shortened += 1;
                }
                Some(_) => counts.harmless += 1,
            }
        }
    }
    println!("sim silent faults: {durability:?} killed={killed} {counts:?} wrong=0");
    assert!(counts.tried > 50 && counts.detected > 5, "{counts:?}");
}

#[test]
fn a_disk_that_lies_at_sync_is_found_out_or_harmless() {
    sweep(Durability::Sync, false);
    sweep(Durability::Sync, true);
}

#[test]
fn a_disk_that_lies_below_sync_is_found_out_or_harmless() {
    sweep(Durability::OsCache, false);
    sweep(Durability::OsCache, true);
}
