//! Several that write and several that watch, in programs of which the scheduler's chance decides every step.

use annals::{Bucket, Store, WatchOptions};
use shuttle::thread;

use crate::check;
use crate::program::{self, Watched, below};
use crate::validators::Ledger;

#[test]
fn several_watches_each_get_what_several_writers_write_once_and_in_order() {
    check(|| {
        let (_store, bucket) = program::store(16);
        let writers = ["a.1", "b.1"].map(|key| {
            let bucket = bucket.clone();
            thread::spawn(move || {
                let mut ledger = Ledger::default();
                (0..3).for_each(|_| program::put(&bucket, key, &mut ledger));
                ledger
            })
        });
        let readers = ["", "a", "b"].map(|prefix| {
            let bucket = bucket.clone();
            thread::spawn(move || Watched::new(&bucket, prefix, WatchOptions::new().history(true)).to_end())
        });
        let mut ledger = Ledger::default();
        for writer in writers {
            ledger.append(writer.join().unwrap());
        }
        program::end(&bucket, &mut ledger);
        for (reader, count) in readers.into_iter().zip([7, 4, 4]) {
            let watched = reader.join().unwrap();
            watched.check(&ledger);
            assert_eq!(watched.revisions().len(), count, "{:?}", watched.revisions());
        }
    });
}

/// Some writes of any kind.
fn write(store: &Store, bucket: &Bucket, ledger: &mut Ledger) {
    const KEYS: [&str; 4] = ["a.1", "a.2", "b.1", "b.2"];
    for _ in 0..4 {
        let key = KEYS[below(4) as usize];
        match below(10) {
            0 => program::purge_all(bucket, ledger),
            1 => program::delete(bucket, key, ledger),
            2 | 3 => {
                let first = below(3) as usize;
                let len = 2 + below(3 - first as u64) as usize;
                program::batch(store, bucket, &KEYS[first..(first + len).min(4)], ledger);
            }
            _ => program::put(bucket, key, ledger),
        }
    }
}

/// Watches until the end; now and then it goes on from its token, or looks without waiting.
fn watch(bucket: &Bucket, prefix: &'static str) -> Watched {
    let options = WatchOptions::new().history(below(2) == 0).progress(below(2) == 0);
    let mut watched = Watched::new(bucket, prefix, options);
    while match below(8) {
        0 => {
            watched.resume(bucket);
            true
        }
        1 | 2 => watched.try_next().unwrap(),
        _ => watched.next(),
    } {}
    watched
}

#[test]
fn every_guarantee_holds_in_random_programs() {
    check(|| {
        let (store, bucket) = program::store([1, 2, 16][below(3) as usize]);
        let writers = [0, 1].map(|_| {
            let (store, bucket) = (store.clone(), bucket.clone());
            thread::spawn(move || {
                let mut ledger = Ledger::default();
                write(&store, &bucket, &mut ledger);
                ledger
            })
        });
        let readers = ["", "a", "b"].map(|prefix| {
            let bucket = bucket.clone();
            thread::spawn(move || watch(&bucket, prefix))
        });
        let mut ledger = Ledger::default();
        for writer in writers {
            ledger.append(writer.join().unwrap());
        }
        program::end(&bucket, &mut ledger);
        for reader in readers {
            reader.join().unwrap().check(&ledger);
        }
    });
}
