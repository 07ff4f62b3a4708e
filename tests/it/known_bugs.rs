//! What has happened to other stores, tried on this one. Each test carries the number of the story that it tries.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use annals::testing::random::Random;
use annals::{BucketConfig, Durability, ErrorKind, Operation, Options, PutOptions, Reason, Revision, Store};

use crate::fixture::{ms, on_each_store, on_every_schedule, tiny, ttl};
use crate::machine::{End, Machine, assert_gone, history};

/// Expiry told nobody, or told of the wrong operation; and a key that had expired could not be created.
#[test]
fn k43_expiry_is_told_as_a_purge_of_its_own_and_the_key_may_be_created() {
    for end in End::all() {
        for swept in [false, true] {
            let mut machine = Machine::new();
            let bucket = machine.create(BucketConfig::new("b").history(5).max_age(ms(60_000)).limit_markers(ms(600_000)));
            bucket.put_with("leased", "value", ttl(1000)).unwrap();
            bucket.put("aged", "value").unwrap();
            machine.pass(ms(60_000));
            if swept {
                machine.store().sweep().unwrap();
                assert_eq!(history(&bucket, ">"), "Purge 3, Purge 4", "{end:?}");
            }
            drop(bucket);
            machine.end(end);
            let bucket = machine.bucket();
            let mut watch = bucket.watch(">").unwrap();
            machine.store().sweep().unwrap();
            for revision in [3, 4] {
                let event =
                    std::iter::from_fn(|| watch.next()).map(Result::unwrap).find(|event| event.entry().is_some()).unwrap();
                let entry = event.entry().unwrap();
                assert_eq!((entry.revision().get(), entry.operation()), (revision, Operation::Purge), "{end:?}, swept {swept}");
            }
            drop(watch);
            let entries: Vec<_> = bucket.history(">").unwrap().map(Result::unwrap).collect();
            let told: Vec<_> = entries.iter().map(|entry| (entry.key().as_str(), entry.operation(), entry.reason())).collect();
            let told_of = |key| (key, Operation::Purge, Reason::Expired);
            assert_eq!(told, [told_of("leased"), told_of("aged")], "{end:?}, swept {swept}");
            for key in ["leased", "aged"] {
                assert_gone(&bucket, key, "expired");
                bucket.create(key, "new").unwrap();
            }
            machine.store().sweep().unwrap();
            assert_eq!(history(&bucket, ">"), "Purge 3, Purge 4, Put 5, Put 6", "{end:?}, swept {swept}");
        }
    }
}

/// A delete or purge marker was dropped, or went below the value that it hides: the key came back.
#[test]
fn k38_a_deleted_key_stays_away_through_every_schedule_of_flushes_and_merges() {
    for purge in [false, true] {
        for depth in [1, 3] {
            on_every_schedule(5, |store| {
                let bucket = store.depth(depth);
                bucket.put("k", "old");
                bucket.put("k", "newer");
                if purge {
                    bucket.purge("k")
                } else {
                    bucket.delete("k")
                };
                assert_eq!(bucket.get("k"), None);
                bucket.put("other", "value");
                assert_eq!((bucket.get("k"), bucket.keys().as_str()), (None, "other"));
                if purge {
                    assert_eq!(bucket.history("k"), "PURGE 3");
                }
                store.settle();
                assert_eq!((bucket.get("k"), bucket.keys().as_str()), (None, "other"));
                assert_eq!(bucket.revision("k"), 3);
            });
        }
    }
}

/// The same with hundreds of keys and runs of many ages, merged as the store itself sees fit.
#[test]
fn k38_markers_hide_what_is_below_them_in_runs_of_any_age() {
    for seed in 1..=3 {
        let store = Options::new().sizes(4 << 10, 600, 128).manual_jobs().in_memory().unwrap();
        let bucket = store.create_bucket(BucketConfig::new("b").history(1 + seed as u8)).unwrap();
        let (mut random, mut expected) = (Random::new(seed), BTreeMap::new());
        for step in 0..3_000_u32 {
            let key = format!("k{:02}", random.below(60));
            match random.below(5) {
                0 => drop((bucket.delete(&key).unwrap(), expected.remove(&key))),
                1 => drop((bucket.purge(&key).unwrap(), expected.remove(&key))),
                _ => drop((bucket.put(&key, step.to_le_bytes()).unwrap(), expected.insert(key, step))),
            }
            // Merges fall behind now and then, so that there are many runs at once.
            for _ in 0..random.below(3) {
                store.step().unwrap();
            }
            if step % 250 == 249 {
                let keys: Vec<_> = bucket.keys().unwrap().map(|key| key.unwrap().as_str().to_owned()).collect();
                assert!(keys.iter().eq(expected.keys()), "seed {seed}, step {step}");
                for number in 0..60 {
                    let key = format!("k{number:02}");
                    let value = bucket.get(&key).unwrap().map(|value| value.to_vec());
                    assert_eq!(
                        value,
                        expected.get(&key).map(|step| step.to_le_bytes().to_vec()),
                        "seed {seed}, step {step}, {key}"
                    );
                }
            }
        }
    }
}

/// Markers were lost when an index was rebuilt after an unclean stop.
#[test]
fn k39_markers_are_there_after_any_end() {
    for end in End::all() {
        // Where the markers lie when the store ends: in the log, in a segment above, merged with what they hide.
        for settled in 0..3 {
            let mut machine = Machine::new();
            let bucket = machine.create(BucketConfig::new("b").history(2));
            for key in ["deleted", "purged", "left"] {
                bucket.put(key, "value").unwrap();
            }
            machine.store().flush().unwrap();
            bucket.delete("deleted").unwrap();
            bucket.purge("purged").unwrap();
            if settled > 0 {
                machine.store().flush().unwrap();
            }
            if settled > 1 {
                machine.store().merge_all().unwrap();
            }
            drop(bucket);
            machine.end(end);
            for _ in 0..2 {
                let bucket = machine.bucket();
                let what = format!("{end:?}, settled {settled}");
                assert_eq!(history(&bucket, "deleted"), "Put 1, Delete 4", "{what}");
                assert_eq!(history(&bucket, "purged"), "Purge 5", "{what}");
                assert_eq!(bucket.get("deleted").unwrap(), None, "{what}");
                assert_gone(&bucket, "purged", &what);
                assert_eq!(bucket.get("left").unwrap().unwrap(), *b"value");
                drop(bucket);
                machine.settle();
                machine.end(End::Kill);
            }
        }
    }
}

/// The marker's time to live ran out, and with the kill that followed the purged value came back.
#[test]
fn k40_an_expired_marker_brings_nothing_back_after_any_end() {
    for end in End::all() {
        for settled in [false, true] {
            for expires_while_shut in [false, true] {
                let mut machine = Machine::new();
                let bucket = machine.create(BucketConfig::new("b").history(5));
                for value in ["1", "2"] {
                    bucket.put("k", value).unwrap();
                }
                machine.store().flush().unwrap();
                bucket.purge_with("k", Revision::NONE, ttl(1000)).unwrap();
                if settled {
                    machine.store().flush().unwrap();
                }
                drop(bucket);
                if !expires_while_shut {
                    machine.pass(ms(2000));
                    assert_gone(&machine.bucket(), "k", "before the end");
                }
                let span = if expires_while_shut { 2_000_000_000 } else { 0 };
                machine.end_and(end, |disk| disk.clock().advance(span));
                for _ in 0..2 {
                    let what = format!("{end:?}, settled {settled}, while shut {expires_while_shut}");
                    let bucket = machine.bucket();
                    assert_gone(&bucket, "k", &what);
                    assert_eq!(history(&bucket, "k"), "", "{what}");
                    drop(bucket);
                    machine.settle();
                    machine.end(End::Kill);
                }
                assert_eq!(machine.bucket().update("k", "new", Revision::NONE).unwrap().get(), 4);
            }
        }
    }
}

/// The sequence was forgotten when everything was deleted, or rolled back by a power cut.
#[test]
fn k41_revisions_go_on_after_everything_went() {
    type Clear = fn(&annals::Bucket);
    let ways: [(&str, u64, Clear); 4] = [
        ("purge_all", 5, |bucket| {
            bucket.purge_all().unwrap();
        }),
        ("delete_matching", 8, |bucket| {
            bucket.delete_matching(">").unwrap();
            bucket.purge_deletes(Duration::ZERO).unwrap();
        }),
        ("purge_matching", 8, |bucket| {
            bucket.purge_matching(">").unwrap();
            bucket.purge_deletes(Duration::ZERO).unwrap();
        }),
        ("purge_deletes and purge_all", 8, |bucket| {
            bucket.delete_matching(">").unwrap();
            bucket.purge_deletes(Duration::ZERO).unwrap();
            bucket.purge_all().unwrap();
        }),
    ];
    for (way, last, clear) in ways {
        for end in End::all() {
            for settled in 0..3 {
                let mut machine = Machine::new();
                let bucket = machine.create(BucketConfig::new("b").history(5));
                for key in ["a", "b", "a", "c", "a"] {
                    bucket.put(key, "value").unwrap();
                }
                if settled > 1 {
                    machine.store().flush().unwrap();
                }
                clear(&bucket);
                drop(bucket);
                if settled > 0 {
                    machine.settle();
                }
                machine.end(end);
                machine.settle();
                machine.end(end);
                let (bucket, what) = (machine.bucket(), format!("{way}, {end:?}, settled {settled}"));
                let status = bucket.status().unwrap();
                assert_eq!((status.last_revision.get(), status.values), (last, 0), "{what}");
                assert_eq!(bucket.put("a", "new").unwrap().get(), last + 1, "{what}");
                assert_eq!(history(&bucket, ">"), format!("Put {}", last + 1), "{what}");
            }
        }
    }
}

/// The highest sequence that a recovery found was too low, so synced data was invisible.
#[test]
fn k42_all_of_a_bulk_load_is_visible_after_any_end() {
    for end in End::all() {
        for durability in [Durability::Sync, Durability::OsCache] {
            let mut machine = Machine::with(tiny().durability(durability));
            let bucket = machine.create(BucketConfig::new("b"));
            let values = (0..3_000_u32).map(|number| (format!("k{:04}", number * 7 % 3_000), number.to_le_bytes()));
            assert_eq!(bucket.load(values).unwrap().last_revision.get(), 3_000);
            machine.store().sync().unwrap();
            drop(bucket);
            machine.end(end);
            let bucket = machine.bucket();
            for number in 0..3_000_u32 {
                let key = format!("k{:04}", number * 7 % 3_000);
                assert_eq!(bucket.get(&key).unwrap().unwrap(), number.to_le_bytes(), "{key}, {end:?}, {durability:?}");
            }
            let status = bucket.status().unwrap();
            assert_eq!(status.live_keys, 3_000);
            assert!(bucket.put("next", "value").unwrap().get() > 3_000);
        }
    }
}

/// `create` failed on a key that had expired. (That expiry is told to watchers is a matter of watches, which are not here yet.)
#[test]
fn k43_create_takes_an_expired_key_wherever_it_lies() {
    for aged in [false, true] {
        on_every_schedule(5, |store| {
            let config = BucketConfig::new("b").history(3);
            let bucket = store.bucket(if aged { config.max_age(ms(1000)) } else { config });
            bucket.create_with("k", "1", ttl(1000));
            bucket.put("other", "value");
            store.pass(ms(999));
            assert_eq!(bucket.refusal(|bucket| bucket.create("k", "too early")).kind, ErrorKind::AlreadyExists);
            store.pass(ms(1));
            assert_eq!(bucket.create_with("k", "2", ttl(1000)), 3);
            assert_eq!(bucket.history("k"), "PUT 3");
            store.pass(ms(1000));
            assert_eq!(bucket.create("k", "3"), 4);
            assert_eq!(bucket.history("k"), "PUT 4");
        });
    }
}

/// Of many who create an expired key one wins, as with a key that never was.
#[test]
fn k43_of_eight_threads_that_create_an_expired_key_one_wins() {
    on_each_store(|store| {
        let bucket = store.depth(2);
        for round in 0..10 {
            let winner = bucket.put_with("k", "lease", ttl(100)) + 1;
            store.pass(ms(100));
            let (handle, start) = (bucket.handle(), Barrier::new(8));
            let answers: Vec<_> = thread::scope(|scope| {
                let racer = |number: u32| {
                    let (handle, start) = (&handle, &start);
                    scope.spawn(move || {
                        start.wait();
                        handle.create("k", number.to_string())
                    })
                };
                let racers: Vec<_> = (0..8).map(racer).collect();
                racers.into_iter().map(|racer| racer.join().unwrap()).collect()
            });
            drop(handle);
            store.checkpoint();
            let won: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
            assert_eq!(won, [&Revision::from(winner)], "round {round}");
            assert_eq!(bucket.history("k"), format!("PUT {winner}"));
        }
    });
}

/// Keys that had been inserted were missing after a bulk load: every one is looked for, in every way.
#[test]
fn k45_no_key_is_missing_after_a_bulk_load() {
    let sizes = [(4 << 10, 600, 128), (16 << 10, 4 << 10, 512), (64 << 10, 32 << 10, 256), (1 << 20, 1 << 20, 8 << 10)];
    for (seed, (log, memtable, block)) in (1_u64..).zip(sizes) {
        for load in [false, true] {
            let directory = crate::files::fast_directory();
            let options = || Options::new().sizes(log, memtable, block).durability(Durability::OsCache);
            let store = options().open(directory.path().join("store")).unwrap();
            let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
            let (mut random, mut expected) = (Random::new(seed), BTreeMap::new());
            let pairs: Vec<_> = (0..4_000_u32).map(|number| (random_key(&mut random), number.to_le_bytes())).collect();
            expected.extend(pairs.iter().cloned());
            if load {
                bucket.load(pairs.iter().map(|(key, value)| (key, value))).unwrap();
            } else {
                for (key, value) in &pairs {
                    bucket.put(key, value).unwrap();
                }
            }
            let what = format!("seed {seed}, load {load}");
            all_there(&bucket, &expected, &what);
            store.flush().unwrap();
            all_there(&bucket, &expected, &what);
            store.merge_all().unwrap();
            all_there(&bucket, &expected, &what);
            drop((bucket, store));
            let store = options().open(directory.path().join("store")).unwrap();
            all_there(&store.bucket("b").unwrap(), &expected, &what);
        }
    }
}

/// Keys that share long beginnings with others, or none.
fn random_key(random: &mut Random) -> String {
    let depth = random.below(4);
    let mut key = format!("{:x}", random.below(1 << 20));
    for _ in 0..depth {
        key = format!("{}.{key}", ["a", "aa", "aaaaaaaaaaaaaaaa", "tenant-with-a-long-name"][random.below(4) as usize]);
    }
    key
}

fn all_there(bucket: &annals::Bucket, expected: &BTreeMap<String, [u8; 4]>, what: &str) {
    for (key, value) in expected {
        assert_eq!(bucket.get_with(key, |found| found == value).unwrap(), Some(true), "{key}, {what}");
    }
    assert!(bucket.keys().unwrap().map(|key| key.unwrap().as_str().to_owned()).eq(expected.keys().cloned()), "{what}");
    assert_eq!(bucket.history(">").unwrap().len(), expected.len(), "{what}");
    assert_eq!(bucket.get("a.key.that.nobody.wrote").unwrap(), None);
}

/// A history limit that was lowered broke lookups.
#[test]
fn k46_every_lookup_works_after_the_history_was_lowered() {
    on_each_store(|store| {
        let config = |depth| BucketConfig::new("b").history(depth);
        let bucket = store.bucket(config(5));
        for round in 0..5 {
            for number in 0..20 {
                bucket.handle().put(format!("k{number:02}"), format!("{round}")).unwrap();
            }
            store.checkpoint();
        }
        bucket.delete("k07");
        for depth in [3, 1] {
            store.update(config(depth));
            let kept = u64::from(depth);
            for number in 0..20_u64 {
                let key = format!("k{number:02}");
                let newest = if number == 7 { 101 } else { 80 + number + 1 };
                assert_eq!(bucket.text(&key).as_deref(), if number == 7 { None } else { Some("4") }, "{key} at {depth}");
                assert_eq!(bucket.revision(&key), newest, "{key} at {depth}");
                assert_eq!(bucket.entries(&key).len() as u64, kept, "{key} at {depth}");
            }
            let status = bucket.status();
            assert_eq!((status.live_keys, status.values), (19, 20 * kept));
            assert_eq!(bucket.keys().split(' ').count(), 19);
        }
        assert_eq!(bucket.update("k03", "new", 84), 102);
        assert_eq!(bucket.create("k07", "back"), 103);
        store.update(config(5));
        assert_eq!(bucket.history("k03"), "PUT 102");
        assert_eq!(bucket.put("k03", "next"), 104);
        assert_eq!(bucket.history("k03"), "PUT 102, PUT 104");
    });
}

fn log_files(machine: &Machine) -> usize {
    let is_log = |path: &std::path::Path| path.extension().is_some_and(|extension| extension == "wal" || extension == "spare");
    machine.disk().files().iter().filter(|(path, _)| is_log(path)).count()
}

/// A bucket that nobody wrote to kept every log file alive, and after a kill and a reopen writers stood still.
#[test]
fn k47_an_idle_bucket_pins_no_log() {
    let mut machine = Machine::new();
    machine.create(BucketConfig::new("idle")).put("k", "value").unwrap();
    machine.create(BucketConfig::new("b"));
    for life in 0..3_u64 {
        let bucket = machine.bucket();
        let mut most = 0;
        for number in 0..600_u64 {
            assert_eq!(bucket.put(format!("k{}", number % 50), [7; 100]).unwrap().get(), life * 600 + number + 1);
            while machine.store().step().unwrap() {}
            most = most.max(log_files(&machine));
        }
        assert!(most <= 3, "{most} log files at once in life {life}");
        drop(bucket);
        machine.end(End::Kill);
        assert_eq!(machine.store().bucket("idle").unwrap().get("k").unwrap().unwrap(), *b"value");
        assert!(log_files(&machine) <= 3, "{} log files after the kill", log_files(&machine));
    }
}

/// With the store's own threads, and below `Sync`, where the log is synced behind the writers.
#[test]
fn k47_with_threads_too_the_log_goes_when_it_is_flushed() {
    let directory = crate::files::fast_directory();
    let store = tiny().durability(Durability::OsCache).open(directory.path().join("store")).unwrap();
    store.create_bucket(BucketConfig::new("idle")).unwrap().put("k", "value").unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    for number in 0..3_000 {
        bucket.put_with(format!("k{}", number % 50), [7; 100], PutOptions::new()).unwrap();
    }
    store.flush().unwrap();
    // Names only: files go while they are looked at.
    let names = || -> Vec<_> {
        let entries = std::fs::read_dir(directory.path().join("store")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".wal")).collect()
    };
    // What was flushed is let go by a job, which needs a moment; it is called by whatever happens next.
    let mut tries = 0;
    while names().len() > 3 && tries < 10_000 {
        bucket.put("one-more", "value").unwrap();
        tries += 1;
    }
    assert!(names().len() <= 3, "{:?}", names());
    let _: &Store = &store;
}

/// A watch that began just at a compaction never heard of the delete that was compacted.
#[test]
fn k48_at_the_floor_nothing_is_missing_and_below_it_that_is_said() {
    on_every_schedule(4, |store| {
        let bucket = store.depth(2);
        bucket.put("kept", "1");
        bucket.put("gone", "2");
        bucket.delete("gone");
        bucket.put("kept", "4");
        assert_eq!(bucket.changes(2), Ok("DEL gone 3, PUT kept 4".to_owned()));
        bucket.purge_deletes(Duration::ZERO);
        for _ in 0..2 {
            assert_eq!([1, 2].map(|since| bucket.changes(since)), [Err(3), Err(3)]);
            assert_eq!(bucket.changes(3), Ok("PUT kept 4".to_owned()));
            assert_eq!(bucket.changes(4), Ok(String::new()));
            assert_eq!(bucket.changes(0), Ok("PUT kept 1, PUT kept 4".to_owned()), "who knew nothing misses nothing");
            store.settle();
        }
    });
}

/// The same where a deadline takes the key.
#[test]
fn k48_what_expired_without_a_change_is_not_passed_over() {
    on_every_schedule(4, |store| {
        let bucket = store.depth(2);
        bucket.put("k", "old");
        bucket.put_with("k", "short", ttl(5));
        bucket.put("other", "3");
        assert_eq!(bucket.changes(1), Ok("PUT k 2, PUT other 3".to_owned()));
        store.pass(ms(5));
        for _ in 0..2 {
            assert_eq!(bucket.changes(1), Err(2));
            assert_eq!(bucket.changes(2), Ok("PUT other 3".to_owned()));
            store.settle();
        }
        // A new life tells of the end of the one before.
        bucket.put("k", "new");
        assert_eq!(bucket.changes(2), Ok("PUT other 3, PUT k 4".to_owned()));
    });
}
