//! A watch begins beside commits: from what there is to what comes, without gap or duplicate, and no wake-up is lost.

use annals::{Bucket, Event, WatchOptions};
use shuttle::thread;

use crate::check;
use crate::program::{self, Watched};
use crate::validators::Ledger;

/// Three commits of one key beside a watch that begins; answers with what it got.
fn join_beside_commits(history: u8, options: WatchOptions) -> (Watched, Ledger) {
    let (_store, bucket) = program::store(history);
    let writer = thread::spawn({
        let bucket = bucket.clone();
        move || {
            let mut ledger = Ledger::default();
            (0..3).for_each(|_| program::put(&bucket, "a.1", &mut ledger));
            ledger
        }
    });
    let reader = thread::spawn({
        let bucket = bucket.clone();
        move || Watched::new(&bucket, "a", options).to_end()
    });
    let mut ledger = writer.join().unwrap();
    program::end(&bucket, &mut ledger);
    let watched = reader.join().unwrap();
    watched.check(&ledger);
    (watched, ledger)
}

#[test]
fn a_watch_with_history_that_begins_beside_commits_gets_each_once() {
    check(|| {
        let (watched, _) = join_beside_commits(16, WatchOptions::new().history(true));
        assert_eq!(watched.revisions(), [1, 2, 3, 4]);
    });
}

#[test]
fn a_watch_of_the_state_that_begins_beside_commits_ends_with_the_state() {
    check(|| {
        join_beside_commits(1, WatchOptions::new());
    });
}

#[test]
fn a_watch_from_a_revision_that_begins_beside_commits_gets_each_from_there_on() {
    check(|| {
        let (_store, bucket) = program::store(16);
        bucket.put("a.1", "").unwrap();
        let writer = thread::spawn({
            let bucket = bucket.clone();
            move || (0..3).for_each(|_| _ = bucket.put("a.1", "").unwrap())
        });
        let watch = bucket.watch_with(WatchOptions::new().from_revision(2.into())).unwrap();
        let entries = watch.map(Result::unwrap).filter_map(|event| event.entry().map(|entry| entry.revision().get()));
        assert_eq!(entries.take(3).collect::<Vec<_>>(), [2, 3, 4]);
        writer.join().unwrap();
    });
}

/// Everything from the first commit that it got on.
#[test]
fn a_watch_of_updates_that_begins_beside_commits_has_no_gap() {
    check(|| {
        let (_store, bucket) = program::store(16);
        let writer = thread::spawn({
            let bucket = bucket.clone();
            move || (0..3).for_each(|_| _ = bucket.put("a.1", "").unwrap())
        });
        let mut watch = bucket.watch_with(WatchOptions::new().updates_only(true)).unwrap();
        assert_eq!(watch.next().unwrap().unwrap(), Event::UpToDate);
        let own = bucket.put("a.1", "").unwrap().get();
        let entries = watch.map(Result::unwrap).filter_map(|event| event.entry().map(|entry| entry.revision().get()));
        let mut seen = Vec::new();
        for revision in entries {
            seen.push(revision);
            if revision == 4 {
                break;
            }
        }
        assert!(seen[0] <= own, "{seen:?}, and {own} was put after it began");
        assert_eq!(seen, (seen[0]..=4).collect::<Vec<_>>());
        writer.join().unwrap();
    });
}

#[test]
fn a_stream_that_is_polled_beside_commits_gets_each_once_and_is_always_woken() {
    check(|| {
        let (_store, bucket) = program::store(16);
        let writer = thread::spawn({
            let bucket = bucket.clone();
            move || (0..3).for_each(|_| _ = bucket.put("a.1", "").unwrap())
        });
        let seen = shuttle::future::block_on(stream(&bucket, 3));
        assert_eq!(seen, [1, 2, 3]);
        writer.join().unwrap();
    });
}

/// The revisions of the first `count` entries.
async fn stream(bucket: &Bucket, count: usize) -> Vec<u64> {
    let watch = bucket.watch_with(WatchOptions::new().history(true)).unwrap();
    let (mut stream, mut seen) = (std::pin::pin!(watch.into_stream()), Vec::new());
    while seen.len() < count {
        let next = std::future::poll_fn(|context| futures_core::Stream::poll_next(stream.as_mut(), context)).await;
        seen.extend(next.unwrap().unwrap().entry().map(|entry| entry.revision().get()));
    }
    seen
}
