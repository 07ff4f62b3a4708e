//! How watches end, and what else they do to whoever holds them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use annals::testing::disk::{Fault, Injection, SimDisk};
use annals::{Bucket, BucketConfig, Durability, ErrorKind, Event, Options, Watch};

use super::Done;
use super::program::is_over;

fn options_of_store() -> Options {
    Options::new().sizes(8 << 10, 1 << 10, 256).durability(Durability::OsCache)
}

fn revisions(watch: &mut Watch) -> (Vec<u64>, Option<ErrorKind>) {
    let mut revisions = Vec::new();
    loop {
        match watch.try_next() {
            Ok(Some(event)) => revisions.extend(event.entry().map(|entry| entry.revision().get())),
            Ok(None) => return (revisions, None),
            Err(error) => return (revisions, Some(error.kind())),
        }
    }
}

#[test]
fn a_poisoned_store_ends_every_watch_once_after_what_was_committed() {
    let disk = SimDisk::new(1);
    // A log that holds all of it, so that the next sync is that of a write.
    let store = options_of_store().sizes(1 << 20, 1 << 20, 256).env(disk.env()).manual_jobs().durability(Durability::Sync);
    let store = store.open("/store").unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b").history(64)).unwrap();
    let all = || bucket.watch_with(annals::WatchOptions::new().history(true)).unwrap();
    let early = all();
    let mut lagging = bucket.watch("many.*").unwrap();
    let waiting = bucket.watch("nobody").unwrap();
    let reader = std::thread::spawn(move || waiting.collect::<Vec<_>>());
    assert_eq!(revisions(&mut lagging), (Vec::new(), None));
    for number in 0..1_500_u64 {
        bucket.put(format!("many.{}", number % 50), "value").unwrap();
    }
    for next in 1..4 {
        disk.inject(Injection { at: disk.calls() + next, fault: Fault::SyncFailOnce, sticky: false });
    }
    bucket.put("many.0", "fails").unwrap_err();
    assert_eq!(bucket.put("many.0", "fails too").unwrap_err().kind(), ErrorKind::Poisoned);
    // Also those that still have to read, which a poisoned store lets them.
    for mut watch in [early, lagging, all()] {
        assert_eq!(revisions(&mut watch), ((1..=1_500).collect(), Some(ErrorKind::Poisoned)));
        is_over(&mut watch);
    }
    let given = reader.join().unwrap();
    assert_eq!(*given[0].as_ref().unwrap(), Event::UpToDate);
    assert_eq!(given.len(), 2, "{given:?}");
    assert_eq!(given[1].as_ref().unwrap_err().kind(), ErrorKind::Poisoned);
}

/// A purge that came while the watch was being made was neither told nor heeded.
#[test]
fn a_purge_while_a_watch_of_updates_is_made_has_taken_what_it_does_not_tell() {
    let store = options_of_store().in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::SeqCst) {
                bucket.put("a", "value").unwrap();
                bucket.purge_all().unwrap();
            }
        });
        let _done = Done(&is_done);
        for _ in 0..2_000 {
            let watch = bucket.watch_with(annals::WatchOptions::new().updates_only(true)).unwrap();
            let (mut given, mut purged) = (0, 0);
            for event in watch.take(5) {
                match event.unwrap() {
                    Event::Entry(entry) => {
                        assert_eq!(purged, given, "the purge that took revision {given} was not told");
                        given = entry.revision().get();
                    }
                    Event::Purged { through } => (given, purged) = (through.get(), through.get()),
                    event => assert!(matches!(event, Event::UpToDate | Event::Skipped { .. }), "{event:?}"),
                }
            }
        }
    });
}

#[test]
fn a_deleted_bucket_ends_its_watches_after_what_waits_and_those_of_one_of_its_name_are_others() {
    let store = options_of_store().manual_jobs().in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    let other = store.create_bucket(BucketConfig::new("other")).unwrap();
    let (mut watch, mut stranger) = (bucket.watch(">").unwrap(), other.watch(">").unwrap());
    assert_eq!(revisions(&mut watch), (Vec::new(), None));
    bucket.put("a", "1").unwrap();
    let token = watch.token();
    store.delete_bucket("b").unwrap();
    let again = store.create_bucket(BucketConfig::new("b")).unwrap();
    again.put("a", "2").unwrap();
    other.put("a", "3").unwrap();
    assert_eq!(revisions(&mut watch), (vec![1], Some(ErrorKind::BucketNotFound)));
    is_over(&mut watch);
    assert_eq!(bucket.watch(">").unwrap_err().kind(), ErrorKind::BucketNotFound);
    let options = annals::WatchOptions::new().after(token);
    assert_eq!(again.watch_with(options).unwrap_err().kind(), ErrorKind::BucketNotFound);
    assert_eq!(revisions(&mut again.watch(">").unwrap()), (vec![1], None));
    assert_eq!(revisions(&mut stranger), (vec![1], None));
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
    assert_eq!(watch.next().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert!(watch.next().is_none());
    let last = reader.join().unwrap().unwrap();
    assert_eq!(last.unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn a_watch_does_not_keep_a_store_open() {
    let directory = tempfile::tempdir().unwrap();
    let store = options_of_store().open(directory.path().join("s")).unwrap();
    let watch = store.create_bucket(BucketConfig::new("b")).unwrap().watch(">").unwrap();
    let reader = std::thread::spawn(move || watch.last());
    drop(store);
    assert_eq!(reader.join().unwrap().unwrap().unwrap_err().kind(), ErrorKind::Closed);
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
