//! Random programs with many watches, against the validators.
//!
//! Strategy: a few keys, so that they are overwritten often; puts, markers, batches and purges of the whole bucket; flushes and merges in
//! between; memtables of some entries. Watches of different filters and options join at any moment, some keep up, some lag (their lines
//! overflow), some are dropped and resumed from their token. In one test threads do all this at once; in the other one thread decides every
//! step, so that a failure can be repeated. Invariant: each guarantee holds for each watch, whatever it met.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use annals::testing::random::Random;
use annals::{Bucket, BucketConfig, Event, Operation, Options, Store, Watch, WatchOptions};

use super::validators::{Committed, Ledger, Validator};

const FILTERS: [&[&str]; 5] = [&[">"], &["a.*"], &["*.1", "b.2"], &["c.0"], &["a.>", "a.1", ">"]];

fn is_match(filters: &[&str], key: &str) -> bool {
    let fits = |filter: &str| match filter {
        ">" => true,
        "a.*" | "a.>" => key.starts_with("a."),
        "*.1" => key.ends_with(".1"),
        exact => exact == key,
    };
    filters.iter().any(|filter| fits(filter))
}

fn random_key(random: &mut Random) -> String {
    format!("{}.{}", ["a", "b", "c"][random.below(3) as usize], random.below(5))
}

/// Writes something, and notes it.
fn write(random: &mut Random, store: &Store, bucket: &Bucket, ledger: &mut Ledger) {
    let put = |key: &str, value: &[u8], batch| Committed {
        key: key.to_owned(),
        value: value.to_vec(),
        operation: Operation::Put,
        batch,
    };
    let key = random_key(random);
    match random.below(40) {
        0 => ledger.purge(bucket.purge_all().unwrap().get()),
        1..4 => {
            let revision = bucket.delete(&key).unwrap().get();
            ledger.add(revision, Committed { operation: Operation::Delete, ..put(&key, b"", revision) });
        }
        4..6 => {
            let revision = bucket.purge(&key).unwrap().get();
            ledger.add(revision, Committed { operation: Operation::Purge, ..put(&key, b"", revision) });
        }
        6..12 => {
            let keys: Vec<String> = (0..2 + random.below(6)).map(|_| random_key(random)).collect();
            let mut batch = store.batch();
            for (number, key) in keys.iter().enumerate() {
                batch.put(bucket, key, [number as u8; 20]);
            }
            let revisions = batch.commit().unwrap();
            for (number, (key, revision)) in keys.iter().zip(&revisions).enumerate() {
                ledger.add(revision.get(), put(key, &[number as u8; 20], revisions[0].get()));
            }
        }
        other => {
            // Now and then a value that lies by itself.
            let value = vec![other as u8; if other == 39 { 2_000 } else { 30 }];
            let revision = bucket.put(&key, &value).unwrap().get();
            ledger.add(revision, put(&key, &value, revision));
        }
    }
}

/// One watch, and what is known of it.
struct Watched {
    watch: Watch,
    filters: &'static [&'static str],
    validator: Validator,
    from: u64,
}

fn options(filters: &[&str]) -> WatchOptions {
    filters.iter().fold(WatchOptions::new().progress(true), |options, filter| options.filter(*filter))
}

impl Watched {
    fn new(bucket: &Bucket, random: &mut Random) -> Self {
        let filters = FILTERS[random.below(FILTERS.len() as u64) as usize];
        let options = options(filters).history(random.below(2) == 0);
        Self { watch: bucket.watch_with(options).unwrap(), filters, validator: Validator::default(), from: 0 }
    }

    /// Takes up to `count` events that are there.
    fn read(&mut self, count: u64) {
        for _ in 0..count {
            let Some(event) = self.watch.try_next().unwrap() else { return };
            self.validator.see(&event);
        }
    }

    /// Goes on from its token, as after a restart.
    fn resume(&mut self, bucket: &Bucket) {
        let options = options(self.filters).after(self.watch.token());
        self.watch = bucket.watch_with(options).unwrap();
        self.validator.resumed();
    }

    fn finish(mut self, ledger: &Ledger) -> usize {
        self.read(u64::MAX);
        // With many watches, what was committed may still be on its way.
        while self.validator.reached() < ledger.last() {
            std::thread::yield_now();
            self.read(u64::MAX);
        }
        self.validator.check(ledger, |key| is_match(self.filters, key), self.from);
        self.validator.delivered.len()
    }
}

fn options_of_store() -> Options {
    Options::new().sizes(8 << 10, 1 << 10, 256).durability(annals::Durability::OsCache)
}

fn one_thread(seed: u8, steps: u32) -> usize {
    let mut random = Random::new(u64::from(seed));
    let store = options_of_store().manual_jobs().in_memory().unwrap();
    let depth = [1, 3, 64][random.below(3) as usize];
    let bucket = store.create_bucket(BucketConfig::new("b").history(depth)).unwrap();
    let (mut ledger, mut watches, mut delivered) = (Ledger::default(), Vec::new(), 0);
    for _ in 0..steps {
        match random.below(100) {
            0..70 => write(&mut random, &store, &bucket, &mut ledger),
            70..72 => {
                // More than any line holds.
                for _ in 0..1_100 {
                    write(&mut random, &store, &bucket, &mut ledger);
                }
            }
            72..75 => drop(store.step().unwrap()),
            75..76 => store.merge_all().unwrap(),
            76..79 if watches.len() < 12 => watches.push(Watched::new(&bucket, &mut random)),
            79..80 if !watches.is_empty() => {
                let at = random.below(watches.len() as u64) as usize;
                delivered += watches.swap_remove(at).finish(&ledger);
            }
            80..82 if !watches.is_empty() => {
                let at = random.below(watches.len() as u64) as usize;
                watches[at].resume(&bucket);
            }
            82.. if !watches.is_empty() => {
                let at = random.below(watches.len() as u64) as usize;
                let count = random.below(300);
                watches[at].read(count);
            }
            _ => {}
        }
    }
    watches.into_iter().map(|watch| watch.finish(&ledger)).sum::<usize>() + delivered
}

#[test]
fn every_guarantee_holds_in_every_program_of_one_thread() {
    for seed in 0..8 {
        println!("seed {seed}");
        assert!(one_thread(seed, 300) > 0);
    }
}

/// Several threads that write, each to keys of its own order of things; the ledger is filled from the answers.
fn threads(seed: u8, writes: u64) -> usize {
    let store = options_of_store().in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b").history(2)).unwrap();
    let (ledger, done) = (Mutex::new(Ledger::default()), AtomicBool::new(false));
    let (left, delivered) = (AtomicU64::new(2), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for writer in 0..2_u8 {
            let (store, bucket, ledger, left, done) = (&store, &bucket, &ledger, &left, &done);
            scope.spawn(move || {
                let mut random = Random::new(u64::from(seed.wrapping_mul(7).wrapping_add(writer)));
                let mut own = Ledger::default();
                for _ in 0..writes {
                    write(&mut random, store, bucket, &mut own);
                }
                ledger.lock().unwrap().append(own);
                if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                    done.store(true, Ordering::SeqCst);
                }
            });
        }
        let ledger = &ledger;
        let (bucket, done, delivered) = (&bucket, &done, &delivered);
        for reader in 0..6_u8 {
            scope.spawn(move || {
                let mut random = Random::new(u64::from(seed.wrapping_mul(11).wrapping_add(100 + reader)));
                let mut finished = Vec::new();
                while !done.load(Ordering::SeqCst) {
                    let mut watch = Watched::new(bucket, &mut random);
                    for _ in 0..random.below(40) {
                        // One in three dawdles until it lags.
                        let pauses = if reader % 3 == 0 { random.below(2_000) } else { 0 };
                        for _ in 0..pauses {
                            std::thread::yield_now();
                        }
                        watch.read(1 + random.below(200));
                        if random.below(30) == 0 {
                            watch.resume(bucket);
                        }
                    }
                    if finished.len() < 40 {
                        finished.push(watch);
                    }
                }
                // By now everything has been committed, and noted.
                while ledger.lock().unwrap().last() == 0 {
                    std::thread::yield_now();
                }
                for watch in finished {
                    let count = watch.finish(&ledger.lock().unwrap());
                    delivered.fetch_add(count as u64, Ordering::SeqCst);
                }
            });
        }
    });
    delivered.into_inner() as usize
}

#[test]
fn every_guarantee_holds_among_threads() {
    for seed in 0..3 {
        assert!(threads(seed, 2_000) > 0);
    }
}

/// The same for as long as `ANNALS_STRESS_SECONDS` says; without it, a moment.
#[test]
fn every_guarantee_holds_for_as_long_as_asked() {
    let seconds: u64 = std::env::var("ANNALS_STRESS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let (started, mut rounds, mut delivered) = (std::time::Instant::now(), 0_u64, 0);
    while rounds == 0 || started.elapsed().as_secs() < seconds {
        delivered += threads(rounds as u8, if seconds == 0 { 500 } else { 50_000 });
        delivered += one_thread(rounds as u8, if seconds == 0 { 100 } else { 2_000 });
        rounds += 1;
    }
    println!("{rounds} rounds, {delivered} deliveries, no gap, duplicate or reordering");
}

#[test]
fn an_ended_store_is_heard_of_after_what_was_committed() {
    let store = options_of_store().in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    let mut watch = bucket.watch(">").unwrap();
    assert_eq!(watch.next().unwrap().unwrap(), Event::UpToDate);
    let waiting = bucket.watch("nobody").unwrap();
    let reader = std::thread::spawn(move || waiting.last());
    bucket.put("a", "1").unwrap();
    store.close().unwrap();
    assert!(watch.next().unwrap().unwrap().entry().is_some());
    assert_eq!(watch.next().unwrap().unwrap_err().kind(), annals::ErrorKind::Closed);
    assert!(watch.next().is_none());
    let last = reader.join().unwrap().unwrap();
    assert_eq!(last.unwrap_err().kind(), annals::ErrorKind::Closed);
}

#[test]
fn a_watch_does_not_keep_a_store_open() {
    let directory = tempfile::tempdir().unwrap();
    let store = options_of_store().open(directory.path().join("s")).unwrap();
    let watch = store.create_bucket(BucketConfig::new("b")).unwrap().watch(">").unwrap();
    let reader = std::thread::spawn(move || watch.last());
    drop(store);
    assert_eq!(reader.join().unwrap().unwrap().unwrap_err().kind(), annals::ErrorKind::Closed);
    options_of_store().open(directory.path().join("s")).unwrap();
}

#[test]
fn a_waker_may_write() {
    struct Writer(Bucket, AtomicU64);
    impl std::task::Wake for Writer {
        fn wake(self: Arc<Self>) {
            self.1.fetch_add(1, Ordering::SeqCst);
            self.0.put("other", "from a waker").unwrap();
        }
    }
    let store = options_of_store().in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    let writer = Arc::new(Writer(bucket.clone(), AtomicU64::new(0)));
    let waker = std::task::Waker::from(Arc::clone(&writer));
    let mut context = std::task::Context::from_waker(&waker);
    let mut stream = std::pin::pin!(bucket.watch("a").unwrap().into_stream());
    let poll = |stream: std::pin::Pin<&mut annals::WatchStream>, context: &mut std::task::Context<'_>| {
        futures_core::Stream::poll_next(stream, context).is_ready()
    };
    assert!(poll(stream.as_mut(), &mut context));
    assert!(!poll(stream.as_mut(), &mut context));
    bucket.put("a", "1").unwrap();
    bucket.put("a", "2").unwrap();
    assert_eq!(writer.1.load(Ordering::SeqCst), 1, "woken once until it is polled again");
    assert!(poll(stream.as_mut(), &mut context) && poll(stream.as_mut(), &mut context));
    assert!(!poll(stream.as_mut(), &mut context));
    assert_eq!(*bucket.get("other").unwrap().unwrap(), *b"from a waker");
}
