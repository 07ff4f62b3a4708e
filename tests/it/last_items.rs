//! The calls of a watch at their edges: spans of no time and of all time, after the end, from several threads, as a stream, and on stores
//! and buckets that go away meanwhile.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use annals::{Bucket, BucketConfig, ErrorKind, Event, Revision, Store, Watch, WatchOptions, WatchStream, WatchToken};
use futures_core::Stream;
use futures_core::stream::FusedStream;

use crate::fixture::on_each_store;

fn bucket() -> (Store, Bucket) {
    let store = Store::in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    (store, bucket)
}

fn live(bucket: &Bucket) -> Watch {
    let mut watch = bucket.watch(">").unwrap();
    while watch.next().unwrap().unwrap() != Event::UpToDate {}
    watch
}

fn revision(event: &Event) -> u64 {
    event.entry().unwrap().revision().get()
}

/// Nothing comes, whichever way is taken.
fn assert_over(mut watch: Watch) {
    for _ in 0..2 {
        assert_eq!(watch.try_next().unwrap(), None);
        assert_eq!(watch.next_timeout(Duration::MAX).unwrap(), None, "at once");
        assert!(watch.next().is_none());
    }
    watch.stop();
    let stopper = watch.stopper();
    stopper.stop();
    let token = watch.token();
    let mut stream = pin!(watch.into_stream());
    assert!(!stream.is_terminated(), "not known before it was polled");
    assert!(matches!(stream.as_mut().poll_next(&mut Context::from_waker(Waker::noop())), Poll::Ready(None)));
    assert!(stream.is_terminated());
    assert_eq!(token.to_string().parse::<WatchToken>().unwrap(), token);
}

fn poll(stream: &mut WatchStream) -> Poll<Option<annals::Result<Event>>> {
    pin!(stream).poll_next(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn no_time_at_all_gives_what_is_there_and_does_not_wait() {
    on_each_store(|store| {
        let bucket = store.depth(1).handle();
        bucket.put("a", "1").unwrap();
        let mut watch = bucket.watch(">").unwrap();
        let mut next = || watch.next_timeout(Duration::ZERO).unwrap();
        assert_eq!(next().as_ref().map(revision), Some(1));
        assert_eq!(next(), Some(Event::UpToDate));
        assert_eq!((next(), next()), (None, None));
        bucket.put("a", "2").unwrap();
        assert_eq!(next().as_ref().map(revision), Some(2));
        assert_eq!(next(), None);
    });
}

#[test]
fn all_the_time_there_is_ends_with_the_next_change() {
    let (_store, bucket) = bucket();
    for span in [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_nanos(u64::MAX), Duration::from_secs(1 << 40)] {
        let mut watch = live(&bucket);
        thread::scope(|scope| {
            let reader = scope.spawn(move || watch.next_timeout(span).unwrap());
            bucket.put("a", "value").unwrap();
            assert!(reader.join().unwrap().is_some(), "{span:?}");
        });
    }
}

#[test]
fn after_any_end_nothing_comes_whichever_way_is_taken() {
    // Stopped, before and after the first look, with changes waiting.
    let (_store, bucket) = bucket();
    for looked in [false, true] {
        let mut watch = if looked { live(&bucket) } else { bucket.watch(">").unwrap() };
        bucket.put("a", "value").unwrap();
        watch.stop();
        assert_over(watch);
        let watch = if looked { live(&bucket) } else { bucket.watch(">").unwrap() };
        bucket.put("a", "value").unwrap();
        watch.stopper().stop();
        assert_over(watch);
    }
    // Ended by the store, whichever call is told of it.
    for call in 0..4 {
        let store = Store::in_memory().unwrap();
        let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
        let mut watch = live(&bucket);
        bucket.put("a", "value").unwrap();
        store.close().unwrap();
        assert_eq!(
            watch.next().map(|event| revision(&event.unwrap())),
            Some(1),
            "what was committed before comes before the end"
        );
        let error = match call {
            0 => watch.next().unwrap().unwrap_err(),
            1 => watch.try_next().unwrap_err(),
            2 => watch.next_timeout(Duration::MAX).unwrap_err(),
            _ => {
                let mut stream = watch.into_stream();
                let Poll::Ready(Some(Err(error))) = poll(&mut stream) else { panic!("an end") };
                watch = stream.into_watch();
                error
            }
        };
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert_over(watch);
    }
}

#[test]
fn a_stop_from_another_thread_ends_whoever_waits_in_any_way() {
    let (_store, bucket) = bucket();
    for way in 0..3 {
        let mut watch = live(&bucket);
        let stopper = watch.stopper();
        thread::scope(|scope| {
            let reader = scope.spawn(move || {
                match way {
                    0 => assert!(watch.next().is_none()),
                    1 => assert_eq!(watch.next_timeout(Duration::MAX).unwrap(), None),
                    _ => assert_eq!(watch.by_ref().count(), 0),
                }
                watch
            });
            stopper.clone().stop();
            stopper.stop();
            assert_over(reader.join().unwrap());
        });
    }
}

#[test]
fn a_stop_while_much_is_being_read_or_waits_gives_no_more() {
    on_each_store(|store| {
        let bucket = store.depth(3);
        for by_stopper in [false, true] {
            for is_live in [false, true] {
                let updates = || WatchOptions::new().updates_only(true);
                let before = bucket.handle().watch_with(updates()).unwrap().token();
                let options = if is_live { updates() } else { WatchOptions::new().after(before) };
                let mut watch = bucket.handle().watch_with(options).unwrap();
                if is_live {
                    assert_eq!(watch.next().unwrap().unwrap(), Event::UpToDate);
                }
                for number in 0..300 {
                    bucket.handle().put(format!("k{}", number % 100), "value").unwrap();
                }
                let first = before.revision().get() + 1;
                for expected in first..first + 10 {
                    assert_eq!(watch.next().map(|event| revision(&event.unwrap())), Some(expected));
                }
                let token = watch.token();
                if by_stopper {
                    watch.stopper().stop()
                } else {
                    watch.stop()
                }
                assert_eq!(watch.token(), token);
                assert_over(watch);
                let again = bucket.handle().watch_with(WatchOptions::new().after(token)).unwrap().next();
                assert_eq!(again.map(|event| revision(&event.unwrap())), Some(first + 10));
            }
        }
    });
}

/// Counts how often it was woken.
struct Bell(AtomicU32);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_stream_is_woken_by_a_change_a_stop_a_close_and_a_deleted_bucket() {
    for cause in 0..5 {
        let (store, bucket) = bucket();
        let watch = live(&bucket);
        let stopper = watch.stopper();
        let mut stream = watch.into_stream();
        let bell = Arc::new(Bell(AtomicU32::new(0)));
        let waker = Waker::from(Arc::clone(&bell));
        let mut context = Context::from_waker(&waker);
        assert!(pin!(&mut stream).poll_next(&mut context).is_pending());
        // What does not concern it rings nothing.
        store.create_bucket(BucketConfig::new("other")).unwrap().put("a", "value").unwrap();
        assert_eq!(bell.0.load(Ordering::SeqCst), 0);
        match cause {
            0 => drop(bucket.put("a", "value").unwrap()),
            1 => stopper.stop(),
            2 => store.close().unwrap(),
            3 => store.delete_bucket("b").unwrap(),
            _ => drop((store, bucket)),
        }
        assert!(bell.0.load(Ordering::SeqCst) >= 1, "cause {cause}");
        let next = pin!(&mut stream).poll_next(&mut context);
        match (cause, next) {
            (0, Poll::Ready(Some(Ok(event)))) => assert_eq!(revision(&event), 1),
            (1, Poll::Ready(None)) => {}
            (2 | 4, Poll::Ready(Some(Err(error)))) => assert_eq!(error.kind(), ErrorKind::Closed),
            (3, Poll::Ready(Some(Err(error)))) => assert_eq!(error.kind(), ErrorKind::BucketNotFound),
            (_, next) => panic!("cause {cause}: {next:?}"),
        }
    }
}

#[test]
fn only_the_last_waker_is_rung() {
    let (_store, bucket) = bucket();
    let mut stream = live(&bucket).into_stream();
    let bells = [(); 3].map(|()| Arc::new(Bell(AtomicU32::new(0))));
    for bell in &bells {
        let waker = Waker::from(Arc::clone(bell));
        assert!(pin!(&mut stream).poll_next(&mut Context::from_waker(&waker)).is_pending());
    }
    bucket.put("a", "value").unwrap();
    assert_eq!(bells.map(|bell| bell.0.load(Ordering::SeqCst)), [0, 0, 1]);
}

#[test]
fn a_watch_may_become_a_stream_and_a_watch_again_after_every_event() {
    let (_store, bucket) = bucket();
    bucket.put("a", "0").unwrap();
    let mut watch = bucket.watch(">").unwrap();
    let mut given = Vec::new();
    for number in 0..2_500_u32 {
        bucket.put(format!("k{number}"), "value").unwrap();
        if number < 1_500 {
            // So many that it falls behind in between.
            continue;
        }
        let mut stream = watch.into_stream();
        if let Poll::Ready(Some(event)) = poll(&mut stream) {
            given.push(event.unwrap());
        }
        watch = stream.into_watch();
        given.extend(watch.try_next().unwrap());
    }
    given.extend(std::iter::from_fn(|| watch.try_next().unwrap()));
    let revisions: Vec<u64> = given.iter().filter_map(Event::entry).map(|entry| entry.revision().get()).collect();
    assert!(revisions.into_iter().eq(1..=2_501));
    assert_eq!(given.iter().filter(|event| **event == Event::UpToDate).count(), 1);
}

#[test]
fn a_waiting_thread_does_not_keep_a_store_open() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Store::open(&path).unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    let mut watch = live(&bucket);
    let reader = thread::spawn(move || (watch.next().unwrap().unwrap_err().kind(), watch));
    drop((store, bucket));
    let (kind, watch) = reader.join().unwrap();
    assert_eq!(kind, ErrorKind::Closed);
    // Nor does one that has ended.
    let store = Store::open(&path).unwrap();
    assert!(store.bucket("b").is_ok());
    assert_over(watch);
}

#[test]
fn a_closed_store_and_a_deleted_bucket_cannot_be_watched() {
    let (store, bucket) = bucket();
    let token = live(&bucket).token();
    store.delete_bucket("b").unwrap();
    let all = [
        WatchOptions::new(),
        WatchOptions::new().updates_only(true),
        WatchOptions::new().from_revision(Revision::from(9)),
        WatchOptions::new().after(token),
    ];
    for options in all.clone() {
        assert_eq!(bucket.watch_with(options).unwrap_err().kind(), ErrorKind::BucketNotFound);
    }
    let open = store.create_bucket(BucketConfig::new("c")).unwrap();
    store.close().unwrap();
    for options in all {
        assert_eq!(open.watch_with(options).unwrap_err().kind(), ErrorKind::Closed);
    }
    // What is wrong with the question is said first.
    assert_eq!(open.watch("a..b").unwrap_err().kind(), ErrorKind::InvalidKey);
}

#[test]
fn a_watch_that_was_not_read_before_its_bucket_went_or_its_store_was_closed_is_told_so() {
    let (store, bucket) = bucket();
    bucket.put("a", "value").unwrap();
    let mut watches = [bucket.watch(">").unwrap(), bucket.watch_with(WatchOptions::new().updates_only(true)).unwrap()];
    store.delete_bucket("b").unwrap();
    for watch in &mut watches {
        let end = std::iter::from_fn(|| watch.next()).find_map(Result::err);
        assert_eq!(end.map(|error| error.kind()), Some(ErrorKind::BucketNotFound));
    }
    let bucket = store.create_bucket(BucketConfig::new("c")).unwrap();
    bucket.put("a", "value").unwrap();
    let mut watches = [bucket.watch(">").unwrap(), bucket.watch_with(WatchOptions::new().updates_only(true)).unwrap()];
    store.close().unwrap();
    for watch in &mut watches {
        let end = std::iter::from_fn(|| watch.next()).find_map(Result::err);
        assert_eq!(end.map(|error| error.kind()), Some(ErrorKind::Closed));
    }
}
