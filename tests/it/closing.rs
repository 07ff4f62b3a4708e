//! How a store ends, what it leaves to others, and what happens behind its writers.

use std::any::Any;
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use annals::testing::disk::{Fault, Injection, SimDisk};
use annals::{BucketConfig, Durability, ErrorKind, Options, PutOptions, Store};
use futures_core::Stream;

#[test]
fn a_second_close_answers_what_the_first_did_and_waits_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Options::new().durability(Durability::OsCache).open(&path).unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    for number in 0..20_000 {
        bucket.put(format!("k{number}"), [7; 100]).unwrap();
    }
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                store.close().unwrap();
                // Whoever has been answered finds the lock free.
                drop(path.read_dir().unwrap());
            });
        }
    });
    assert_eq!(bucket.put("k", "v").unwrap_err().kind(), ErrorKind::Closed);
    let again = Store::open(&path).unwrap();
    assert!(again.recovery().clean, "{:?}", again.recovery());
    assert_eq!(again.bucket("b").unwrap().status().unwrap().live_keys, 20_000);
}

#[test]
fn files_that_only_look_like_the_stores_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    Store::open(&path).unwrap().close().unwrap();
    let names = ["000000012.seg", "12.wal", "00000012.seg.bak", "00000012.SEG", "+0000012.wal", "notes.txt"];
    for name in names {
        std::fs::write(path.join(name), "somebody's").unwrap();
    }
    // This one is named as ours are, and nothing refers to it.
    std::fs::write(path.join("00000012.seg"), "an orphan").unwrap();
    let store = Store::open(&path).unwrap();
    let mut foreign = store.recovery().foreign.clone();
    foreign.sort();
    let mut expected: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    expected.sort();
    assert_eq!(foreign, expected);
    assert_eq!(store.recovery().removed, ["00000012.seg"]);
    for name in names {
        assert_eq!(std::fs::read(path.join(name)).unwrap(), b"somebody's");
    }
    assert!(!path.join("00000012.seg").exists());
}

#[test]
fn below_sync_a_job_syncs_every_few_megabytes() {
    let directory = tempfile::tempdir().unwrap();
    let store = Options::new().durability(Durability::OsCache).open(directory.path().join("store")).unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    for number in 0..40 {
        bucket.put(format!("k{number}"), vec![7; 256 << 10]).unwrap();
    }
    // Ten megabytes were written and nobody called `sync`. The job has no deadline, so this waits for it, but not for ever.
    for _ in 0..1_000 {
        if store.durable_commit().get() > 20 {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("{:?}", store.status().unwrap());
}

#[test]
fn thousands_of_buckets_are_flushed_into_one_file_and_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Options::new().durability(Durability::OsCache).open(&path).unwrap();
    for number in 0..2_000 {
        let bucket = store.create_bucket(BucketConfig::new(format!("b{number}"))).unwrap();
        for key in ["x", "y", "z"] {
            bucket.put(key, number.to_string()).unwrap();
        }
    }
    store.flush().unwrap();
    assert_eq!(store.status().unwrap().segments, 1);
    store.delete_bucket("b7").unwrap();
    store.close().unwrap();
    let store = Store::open(&path).unwrap();
    assert_eq!(store.buckets().unwrap().len(), 1_999);
    assert_eq!(store.bucket("b7").unwrap_err().kind(), ErrorKind::BucketNotFound);
    assert_eq!(store.bucket("b1999").unwrap().get("z").unwrap().unwrap(), "1999");
    assert_eq!(store.verify().unwrap().entries, 6_000);
}

/// A task that was cancelled: whoever wakes it drops what it owns.
struct Cancelled {
    owned: Mutex<Option<Box<dyn Any + Send>>>,
    may_go: Mutex<mpsc::Receiver<()>>,
    /// Before and after.
    says: mpsc::Sender<String>,
}

impl Cancelled {
    fn new() -> (Arc<Self>, mpsc::Sender<()>, mpsc::Receiver<String>) {
        let (go, may_go) = mpsc::channel();
        let (says, said) = mpsc::channel();
        (Arc::new(Self { owned: Mutex::new(None), may_go: Mutex::new(may_go), says }), go, said)
    }

    fn owns(&self, owned: impl Any + Send) {
        *self.owned.lock().unwrap() = Some(Box::new(owned));
    }
}

impl Wake for Cancelled {
    fn wake(self: Arc<Self>) {
        self.says.send(thread::current().name().unwrap_or("?").to_owned()).unwrap();
        let may_go = self.may_go.lock().unwrap();
        may_go.recv().unwrap();
        drop(self.owned.lock().unwrap().take());
        self.says.send("done".to_owned()).unwrap();
    }
}

/// E10. By what commits tickets, and by a job.
#[test]
fn the_last_handle_may_be_dropped_on_a_thread_of_the_store() {
    for expires in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let options = || Options::new().durability(Durability::OsCache);
        let store = options().open(&path).unwrap();
        let bucket = store.create_bucket(BucketConfig::new("b").limit_markers(Some(Duration::from_secs(600)))).unwrap();
        if expires {
            bucket.put_with("k", "value", PutOptions::new().ttl(Duration::from_millis(1_500))).unwrap();
        }
        let mut stream = Box::pin(bucket.watch("k").unwrap().into_stream());
        let (task, go, said) = Cancelled::new();
        let waker = Waker::from(Arc::clone(&task));
        while Pin::new(&mut stream).poll_next(&mut Context::from_waker(&waker)).is_ready() {}
        let ticket = (!expires).then(|| bucket.submit("k", "value", PutOptions::new()).unwrap());
        task.owns((store, bucket, ticket, stream));
        go.send(()).unwrap();
        let hear = || said.recv_timeout(Duration::from_secs(20)).unwrap();
        let name = hear();
        hear();
        // Whichever of them comes first to what is to be woken.
        assert!(name.starts_with("annals-"), "{name}");
        // The directory is let go of by then, and what was acknowledged is there.
        let again = options().open(&path).unwrap();
        let newest = again.bucket("b").unwrap().entry("k").unwrap().unwrap();
        assert_eq!(newest.revision().get(), if expires { 2 } else { 1 });
    }
}

/// A ticket that is dropped leaves its write in line, and the last handle has what is in line committed, on whichever thread it goes.
#[test]
fn what_is_in_line_is_committed_when_the_last_handle_goes_on_the_thread_that_commits() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let options = || Options::new().durability(Durability::OsCache);
    let store = options().open(&path).unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
    let (task, go, said) = Cancelled::new();
    let waker = Waker::from(Arc::clone(&task));
    let mut stream = Box::pin(bucket.watch("a").unwrap().into_stream());
    while Pin::new(&mut stream).poll_next(&mut Context::from_waker(&waker)).is_ready() {}
    let submit = |key: String| drop(bucket.submit(key, "value", PutOptions::new()).unwrap());
    submit("a".to_owned());
    let hear = || said.recv_timeout(Duration::from_secs(20)).unwrap();
    hear();
    // Behind the group whose watches are being woken.
    (0..10).for_each(|number| submit(format!("late.{number}")));
    task.owns((store, bucket, stream));
    go.send(()).unwrap();
    hear();
    let again = options().open(&path).unwrap();
    assert_eq!(again.bucket("b").unwrap().keys().unwrap().count(), 11);
}

#[test]
fn a_poisoned_store_finds_no_damage_in_a_manifest_whose_replacement_may_have_failed() {
    let mut poisoned = 0;
    for ahead in 1..60 {
        let disk = SimDisk::new(1);
        let store = Options::new().env(disk.env()).sizes(8 << 10, 64 << 10, 512).manual_jobs().open("/store").unwrap();
        let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
        bucket.put("a", "1").unwrap();
        disk.inject(Injection { at: disk.calls() + ahead, fault: Fault::SyncFailKeepsCache, sticky: false });
        if store.flush().is_err() {
            poisoned += u32::from(store.status().unwrap().poisoned);
            store.verify().unwrap();
        }
    }
    assert!(poisoned > 0);
}
