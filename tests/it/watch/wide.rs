//! More watches than a leader serves itself: those that the dispatcher tells.

use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use annals::{Bucket, BucketConfig, ErrorKind, Event, Options, Store, Watch, WatchOptions, WatchStream};
use futures_core::Stream;

/// More than the dispatcher holds for all.
const INBOX_BYTES: usize = 4 << 20;

fn bucket() -> (Store, Bucket) {
    let store = Options::new().in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    (store, bucket)
}

fn options() -> WatchOptions {
    WatchOptions::new().updates_only(true).progress(true)
}

fn watches(bucket: &Bucket, count: usize) -> Vec<Watch> {
    (0..count).map(|_| bucket.watch_with(options()).unwrap()).collect()
}

/// Revisions of entries until everything up to `last` has been given, which progress tells too.
fn until(watch: &mut Watch, last: u64) -> Vec<u64> {
    let (mut given, mut mark) = (Vec::new(), 0);
    while given.last().copied().unwrap_or(0).max(mark) < last {
        match watch.next().unwrap().unwrap() {
            Event::Progress { revision, .. } => mark = revision.get(),
            Event::Entry(entry) => {
                let revision = entry.revision().get();
                assert!(given.last().copied().unwrap_or(0).max(mark) < revision, "{revision} after a mark at {mark}");
                given.push(revision);
            }
            event => assert!(matches!(event, Event::UpToDate | Event::Skipped { .. }), "{event:?}"),
        }
    }
    given
}

/// A waker that does not return before it is let.
#[derive(Default)]
struct Stuck {
    /// Whether it was called; whether it may go on.
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Stuck {
    fn wait_for_call(&self) {
        drop(self.changed.wait_while(self.state.lock().unwrap(), |state| !state.0).unwrap());
    }

    fn let_go(&self) {
        self.state.lock().unwrap().1 = true;
        self.changed.notify_all();
    }
}

impl Wake for Stuck {
    fn wake(self: Arc<Self>) {
        let mut state = self.state.lock().unwrap();
        state.0 = true;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |state| !state.1).unwrap());
    }
}

fn poll(stream: Pin<&mut WatchStream>, waker: &Waker) -> Poll<Option<annals::Result<Event>>> {
    stream.poll_next(&mut Context::from_waker(waker))
}

/// What waits until `stuck` is called by the dispatcher; that then holds what is committed next. The watch that it waits for sees only `key`.
fn hold(bucket: &Bucket, key: &str, stuck: &Arc<Stuck>, writer: impl FnOnce()) -> Pin<Box<WatchStream>> {
    let mut stream = Box::pin(bucket.watch_with(WatchOptions::new().filter(key).updates_only(true)).unwrap().into_stream());
    let waker = Waker::from(Arc::clone(stuck));
    assert!(poll(stream.as_mut(), &waker).is_ready());
    assert!(poll(stream.as_mut(), &waker).is_pending());
    writer();
    stuck.wait_for_call();
    stream
}

#[test]
fn many_watches_of_all_see_everything_in_order() {
    let (_store, bucket) = bucket();
    let mut watches = watches(&bucket, 40);
    let mut one = bucket.watch_with(options().filter("few.>")).unwrap();
    let writes = 2_000_u64;
    for number in 1..=writes {
        // Some concern all and some everybody but one: order stays from the dispatcher to the leader and back.
        let key = if number % 100 == 0 { format!("few.{number}") } else { format!("k.{number}") };
        bucket.put(key, "value").unwrap();
    }
    for watch in &mut watches {
        let given = until(watch, writes);
        assert!(given.is_sorted_by(|left, right| left < right) && given.last() == Some(&writes));
    }
    let few = until(&mut one, writes);
    assert_eq!(few, (1..=20).map(|number| number * 100).collect::<Vec<u64>>());
    bucket.purge_all().unwrap();
    for watch in &mut watches {
        let purged = watch.map(Result::unwrap).find(|event| !matches!(event, Event::Progress { .. }));
        assert_eq!(purged, Some(Event::Purged { through: writes.into() }));
    }
}

#[test]
fn a_few_watches_of_each_key_have_their_events_when_put_returns() {
    let (_store, bucket) = bucket();
    let watch = |number: u64| bucket.watch_with(WatchOptions::new().filter(format!("k.{number}")).updates_only(true)).unwrap();
    let mut watches: Vec<Watch> = (0..100).map(watch).collect();
    for (number, watch) in watches.iter_mut().enumerate() {
        assert_eq!(watch.try_next().unwrap(), Some(Event::UpToDate));
        bucket.put(format!("k.{number}"), "value").unwrap();
        assert!(watch.try_next().unwrap().unwrap().entry().is_some());
    }
}

#[test]
fn writers_go_on_while_the_dispatcher_is_held_up_and_nothing_is_lost() {
    let (store, bucket) = bucket();
    let mut watches = watches(&bucket, 40);
    let stuck = Arc::new(Stuck::default());
    let _held = hold(&bucket, "k.0", &stuck, || assert!(bucket.put("k.0", "value").is_ok()));
    // More than it keeps: everybody lags, and reads what is in the store.
    let value = vec![7; 64 << 10];
    let writes = 2 * (INBOX_BYTES / value.len()) as u64;
    for number in 1..=writes {
        bucket.put(format!("k.{number}"), &value).unwrap();
    }
    let mut late = bucket.watch_with(options()).unwrap();
    let other = store.create_bucket(BucketConfig::new("other")).unwrap();
    let mut of_other = other.watch(">").unwrap();
    assert_eq!(of_other.try_next().unwrap(), Some(Event::UpToDate));
    bucket.purge("k.3").unwrap();
    other.put("a", "value").unwrap();
    store.delete_bucket("other").unwrap();
    stuck.let_go();
    for watch in &mut watches {
        let given = until(watch, writes + 2);
        let expected = (1..=writes + 2).filter(|revision| *revision != 4);
        assert_eq!(given, expected.collect::<Vec<u64>>(), "all but what was purged");
    }
    assert_eq!(until(&mut late, writes + 2), [writes + 2], "nothing from before it began");
    let end = of_other.find_map(Result::err).unwrap();
    assert_eq!(end.kind(), ErrorKind::BucketNotFound);
}

#[test]
fn a_close_hands_on_what_the_dispatcher_holds_before_it_ends_the_watches() {
    let (store, bucket) = bucket();
    let watches = watches(&bucket, 40);
    let stuck = Arc::new(Stuck::default());
    let held = hold(&bucket, "k.0", &stuck, || assert!(bucket.put("k.0", "value").is_ok()));
    for number in 1..100 {
        bucket.put(format!("k.{number}"), "value").unwrap();
    }
    let readers: Vec<_> = watches
        .into_iter()
        .map(|watch| {
            std::thread::spawn(move || {
                let (mut given, mut end) = (0, None);
                for event in watch {
                    match event {
                        Ok(event) => given += u64::from(event.entry().is_some()),
                        Err(error) => end = Some(error.kind()),
                    }
                }
                (given, end)
            })
        })
        .collect();
    std::thread::scope(|scope| {
        let closing = scope.spawn(|| store.close().unwrap());
        stuck.let_go();
        closing.join().unwrap();
    });
    for reader in readers {
        assert_eq!(reader.join().unwrap(), (100, Some(ErrorKind::Closed)));
    }
    let mut held = held;
    assert!(matches!(poll(held.as_mut(), Waker::noop()), Poll::Ready(Some(Ok(_)))));
}

#[test]
fn a_waker_of_the_dispatcher_may_write_and_drop_the_last_handle_of_the_store() {
    struct Last(Mutex<Option<(Store, Bucket)>>);
    impl Wake for Last {
        fn wake(self: Arc<Self>) {
            if let Some((store, bucket)) = self.0.lock().unwrap().take() {
                bucket.put("from a waker".replace(' ', "."), "value").unwrap();
                drop(bucket);
                drop(store);
            }
        }
    }
    let (store, bucket) = bucket();
    let readers: Vec<_> = watches(&bucket, 40).into_iter().map(|watch| std::thread::spawn(move || watch.collect())).collect();
    let mut stream = pin!(bucket.watch("k").unwrap().into_stream());
    let last = Arc::new(Last(Mutex::default()));
    let waker = Waker::from(Arc::clone(&last));
    assert!(poll(stream.as_mut(), &waker).is_ready() && poll(stream.as_mut(), &waker).is_pending());
    *last.0.lock().unwrap() = Some((store, bucket.clone()));
    bucket.put("k", "value").unwrap();
    drop(bucket);
    for reader in readers {
        let events: Vec<annals::Result<Event>> = reader.join().unwrap();
        let end = events.last().unwrap().as_ref().unwrap_err();
        assert_eq!(end.kind(), ErrorKind::Closed);
        assert!(events.iter().flatten().any(|event| event.entry().is_some_and(|entry| entry.key().as_str() == "k")));
    }
}

#[test]
fn a_waker_that_panics_harms_nobody_else() {
    struct Faulty;
    impl Wake for Faulty {
        fn wake(self: Arc<Self>) {
            panic!("a waker of this test panics");
        }
    }
    let (_store, bucket) = bucket();
    // By the leader first, later by the dispatcher.
    for count in [3, 40] {
        let mut watches = watches(&bucket, count);
        let mut stream = pin!(bucket.watch_with(options()).unwrap().into_stream());
        let waker = Waker::from(Arc::new(Faulty));
        while poll(stream.as_mut(), &waker).is_ready() {}
        let revisions = [(); 3].map(|()| bucket.put("k", "value").unwrap().get());
        let last = revisions[2];
        for watch in &mut watches {
            assert_eq!(until(watch, last).last(), Some(&last));
        }
    }
}
