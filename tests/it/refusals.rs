//! What is refused, with which kind, and that nothing happens then: arguments, handles, directories, locks.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use annals::{Bucket, BucketConfig, Durability, Error, ErrorKind, Key, KeysOptions, Options, Outcome, Revision, Store};

use crate::files;
use crate::fixture::tiny;

fn kind<T: std::fmt::Debug>(answer: Result<T, Error>) -> ErrorKind {
    let error = answer.unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotApplied);
    error.kind()
}

fn memory() -> (Store, Bucket) {
    let store = Store::in_memory().unwrap();
    let bucket = store.create_bucket(BucketConfig::new("b").history(3)).unwrap();
    (store, bucket)
}

#[test]
fn a_malformed_key_is_refused_with_byte_and_position() {
    let (_store, bucket) = memory();
    for (key, byte, position) in
        [("with space", "0x20", "4"), ("a:b", "0x3a", "1"), ("abc\u{e9}", "0xc3", "3"), ("ab*", "0x2a", "2")]
    {
        for error in [bucket.put(key, "v").unwrap_err(), bucket.get(key).unwrap_err(), Key::new(key).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::InvalidKey);
            let text = error.to_string().to_lowercase();
            assert!(text.contains(byte) && text.contains(&format!("position {position}")), "{key:?}: {text}");
        }
    }
    for (key, position) in [(".a", "0"), ("a.", "1"), ("a..b", "2")] {
        let text = bucket.put(key, "v").unwrap_err().to_string();
        assert!(text.contains(position), "{key:?}: {text}");
    }
}

#[test]
fn a_key_of_4000_bytes_is_taken_and_one_more_is_refused() {
    let (_store, bucket) = memory();
    let longest = "k".repeat(4_000);
    bucket.put(&longest, "v").unwrap();
    assert_eq!(bucket.keys().unwrap().next().unwrap().unwrap().as_str(), longest);
    let error = bucket.put("k".repeat(4_001), "v").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidKey);
    let text = error.to_string().replace(',', "");
    assert!(text.contains("4001") && text.contains("4000"), "{text}");
    assert!(text.len() < 1_000, "the message does not repeat the whole key");
}

#[test]
fn a_bucket_name_of_252_bytes_is_taken_and_one_more_is_refused() {
    let store = Store::in_memory().unwrap();
    let longest = "n".repeat(252);
    assert_eq!(store.create_bucket(BucketConfig::new(&longest)).unwrap().name(), longest);
    assert_eq!(kind(store.create_bucket(BucketConfig::new("n".repeat(253)))), ErrorKind::InvalidBucketName);
    assert_eq!(kind(store.create_bucket(BucketConfig::new("a.b"))), ErrorKind::InvalidBucketName);
    assert_eq!(store.buckets().unwrap(), [longest]);
}

#[test]
fn a_value_over_the_buckets_or_the_stores_limit_is_refused() {
    let store = Options::new().max_value_size(100).in_memory().unwrap();
    let narrow = store.create_bucket(BucketConfig::new("narrow").max_value_size(10)).unwrap();
    let wide = store.create_bucket(BucketConfig::new("wide").max_value_size(1_000)).unwrap();
    let none = store.create_bucket(BucketConfig::new("none")).unwrap();
    for (bucket, limit) in [(&narrow, 10), (&wide, 100), (&none, 100)] {
        let (fits, too_long) = (vec![1; limit], vec![2; limit + 1]);
        let revision = bucket.put("k", &fits).unwrap();
        assert_eq!(kind(bucket.put("k", &too_long)), ErrorKind::ValueTooLarge);
        assert_eq!(kind(bucket.create("new", &too_long)), ErrorKind::ValueTooLarge);
        // The size is judged before the condition.
        assert_eq!(kind(bucket.update("k", &too_long, Revision::from(99))), ErrorKind::ValueTooLarge);
        assert_eq!(kind(bucket.create("k", &too_long)), ErrorKind::ValueTooLarge);
        assert_eq!(bucket.get("k").unwrap().unwrap(), fits);
        assert_eq!(bucket.delete("k").unwrap().get(), revision.get() + 1, "no revision was used, and markers have no size");
    }
}

#[test]
fn by_default_a_value_of_16_mib_is_taken_and_one_more_byte_refused() {
    let (_store, bucket) = memory();
    let value = vec![3; (16 << 20) + 1];
    assert_eq!(kind(bucket.put("k", &value)), ErrorKind::ValueTooLarge);
    bucket.put("k", &value[1..]).unwrap();
    assert_eq!(bucket.get_with("k", |stored| stored == &value[1..]).unwrap(), Some(true));
}

#[test]
fn a_stale_revision_is_refused_with_the_actual_one() {
    let (_store, bucket) = memory();
    bucket.put("k", "1").unwrap();
    bucket.put("k", "2").unwrap();
    let stale = Revision::from(1);
    for answer in [
        bucket.update("k", "3", stale),
        bucket.update("k", "3", Revision::NONE),
        bucket.delete_expect_revision("k", stale),
        bucket.purge_expect_revision("k", stale),
    ] {
        let error = answer.unwrap_err();
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::WrongRevision, Outcome::NotApplied));
        assert_eq!(error.actual_revision(), Some(Revision::from(2)));
    }
    let error = bucket.update("missing", "3", stale).unwrap_err();
    assert_eq!((error.kind(), error.actual_revision()), (ErrorKind::WrongRevision, Some(Revision::NONE)));
    let error = bucket.create("k", "3").unwrap_err();
    assert_eq!((error.kind(), error.actual_revision()), (ErrorKind::AlreadyExists, Some(Revision::from(2))));
    assert_eq!(bucket.put("k", "3").unwrap().get(), 3);
}

#[test]
fn configurations_out_of_range_are_refused() {
    let store = Store::in_memory().unwrap();
    for config in [
        BucketConfig::new("b").history(0),
        BucketConfig::new("b").history(65),
        BucketConfig::new("b").description("d".repeat(16 * 1024 + 1)),
        BucketConfig::new("b").metadata(BTreeMap::from([("k".repeat(8 * 1024), "v".repeat(8 * 1024 + 1))])),
    ] {
        assert_eq!(kind(store.create_bucket(config)), ErrorKind::InvalidArgument);
    }
    store.create_bucket(BucketConfig::new("b").history(64).description("d".repeat(16 * 1024))).unwrap();
}

#[test]
fn options_out_of_range_are_refused_before_anything_is_created() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let periodic = |delay, bytes| Options::new().durability(Durability::Periodic { delay, bytes });
    for options in [
        Options::new().memory_budget(65_535),
        Options::new().max_value_size((64 << 20) + 1),
        periodic(Duration::ZERO, 1 << 20),
        periodic(Duration::from_secs(1), 4_095),
    ] {
        assert_eq!(kind(options.clone().open(&path)), ErrorKind::InvalidArgument);
        assert_eq!(kind(options.in_memory()), ErrorKind::InvalidArgument);
    }
    assert!(!path.exists());
}

#[test]
fn creating_a_bucket_again_takes_only_the_same_configuration() {
    let store = Store::in_memory().unwrap();
    let metadata = BTreeMap::from([("team".to_owned(), "blue".to_owned())]);
    let config = BucketConfig::new("b").history(3).max_value_size(100).description("d").metadata(metadata);
    let bucket = store.create_bucket(config.clone()).unwrap();
    bucket.put("k", "v").unwrap();
    let again = store.create_bucket(config.clone()).unwrap();
    assert_eq!(again.get("k").unwrap().unwrap(), *b"v");
    assert_eq!(again.put("k", "w").unwrap().get(), 2);
    for other in [
        config.clone().history(4),
        config.clone().max_value_size(None),
        config.clone().description(""),
        config.clone().metadata(BTreeMap::new()),
    ] {
        assert_eq!(kind(store.create_bucket(other)), ErrorKind::BucketExists);
    }
    assert_eq!(bucket.config().unwrap(), config);
    assert_eq!(bucket.get("k").unwrap().unwrap(), *b"w");
}

/// Asserts that every call through the handle is refused so.
fn every_call_is(expected: ErrorKind, bucket: &Bucket) {
    let one = Revision::from(1);
    assert_eq!(kind(bucket.put("k", "v")), expected);
    assert_eq!(kind(bucket.create("new", "v")), expected);
    assert_eq!(kind(bucket.update("k", "v", one)), expected);
    assert_eq!(kind(bucket.delete("k")), expected);
    assert_eq!(kind(bucket.delete_expect_revision("k", one)), expected);
    assert_eq!(kind(bucket.purge("k")), expected);
    assert_eq!(kind(bucket.purge_expect_revision("k", one)), expected);
    assert_eq!(kind(bucket.get("k")), expected);
    assert_eq!(kind(bucket.get_with("k", <[u8]>::len)), expected);
    assert_eq!(kind(bucket.get_at("k", one)), expected);
    assert_eq!(kind(bucket.entry("k")), expected);
    assert_eq!(kind(bucket.entry_at("k", one)), expected);
    assert_eq!(kind(bucket.history("k")), expected);
    assert_eq!(kind(bucket.history(">")), expected);
    assert_eq!(kind(bucket.keys()), expected);
    assert_eq!(kind(bucket.keys_with(KeysOptions::new().filter("k"))), expected);
    assert_eq!(kind(bucket.status()), expected);
    assert_eq!(kind(bucket.config()), expected);
}

#[test]
fn an_unknown_bucket_is_not_found() {
    let (store, _bucket) = memory();
    for name in ["other", "B", "", "b ", "not a name"] {
        assert_eq!(kind(store.bucket(name)), ErrorKind::BucketNotFound, "{name:?}");
        assert_eq!(kind(store.delete_bucket(name)), ErrorKind::BucketNotFound, "{name:?}");
    }
}

#[test]
fn a_deleted_buckets_handle_finds_nothing_also_when_the_name_is_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let store = tiny().open(path).unwrap();
    let old = store.create_bucket(BucketConfig::new("b")).unwrap();
    old.put("k", "old").unwrap();
    store.delete_bucket("b").unwrap();
    every_call_is(ErrorKind::BucketNotFound, &old);
    assert_eq!(kind(store.bucket("b")), ErrorKind::BucketNotFound);
    let new = store.create_bucket(BucketConfig::new("b")).unwrap();
    every_call_is(ErrorKind::BucketNotFound, &old);
    assert_eq!(new.get("k").unwrap(), None);
    assert_eq!((new.put("k", "new").unwrap().get(), new.history(">").unwrap().len()), (1, 1));
    drop((store, old, new));
    let store = tiny().open(path).unwrap();
    assert_eq!(store.bucket("b").unwrap().get("k").unwrap().unwrap(), *b"new");
    assert_eq!(store.buckets().unwrap(), ["b"]);
}

#[test]
fn a_closed_store_answers_closed() {
    let directory = tempfile::tempdir().unwrap();
    for store in [Store::in_memory().unwrap(), tiny().open(directory.path()).unwrap()] {
        let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
        bucket.put("k", "v").unwrap();
        store.close().unwrap();
        every_call_is(ErrorKind::Closed, &bucket);
        assert_eq!(kind(store.bucket("b")), ErrorKind::Closed);
        assert_eq!(kind(store.buckets()), ErrorKind::Closed);
        assert_eq!(kind(store.create_bucket(BucketConfig::new("c"))), ErrorKind::Closed);
        assert_eq!(kind(store.delete_bucket("b")), ErrorKind::Closed);
        assert_eq!(kind(store.sync()), ErrorKind::Closed);
        assert_eq!(kind(store.status()), ErrorKind::Closed);
        assert_eq!(kind(store.verify()), ErrorKind::Closed);
        assert_eq!(kind(store.flush()), ErrorKind::Closed);
        assert_eq!(kind(store.merge_all()), ErrorKind::Closed);
        // Whether a second close is an error is left open; it does no harm.
        if let Err(error) = store.close() {
            assert_eq!(error.kind(), ErrorKind::Closed);
        }
    }
    tiny().open(directory.path()).unwrap();
}

#[test]
fn a_second_open_in_the_process_is_locked_out_until_the_first_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    for _ in 0..2 {
        let error = Store::open(directory.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Locked);
        assert!(error.file().is_some(), "{error}");
    }
    store.create_bucket(BucketConfig::new("b")).unwrap();
    store.close().unwrap();
    let second = Store::open(directory.path()).unwrap();
    assert_eq!(Store::open(directory.path()).unwrap_err().kind(), ErrorKind::Locked);
    drop(store);
    assert_eq!(Store::open(directory.path()).unwrap_err().kind(), ErrorKind::Locked, "the lock is the second's now");
    drop(second);
    assert_eq!(Store::open(directory.path()).unwrap().buckets().unwrap(), ["b"]);
}

const CHILD_DIRECTORY: &str = "ANNALS_TEST_CHILD_DIRECTORY";

/// Not a test of its own: the other process of the next one. Opens the directory, says how that went, and waits for its input to end.
#[test]
fn child_process_that_opens_a_store() {
    let Some(directory) = std::env::var_os(CHILD_DIRECTORY) else { return };
    let store = Store::open(Path::new(&directory));
    let answer = store.as_ref().map_or_else(|error| format!("{:?}", error.kind()), |_| "opened".to_owned());
    println!("\nchild: {answer}");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// The other process, and what it said. Its output must stay open while it runs.
struct Other {
    process: Child,
    output: BufReader<ChildStdout>,
    said: String,
}

impl Other {
    fn start(directory: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "refusals::child_process_that_opens_a_store", "--nocapture"])
            .env(CHILD_DIRECTORY, directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let lines = output.by_ref().lines().map_while(Result::ok);
        let said = lines.filter_map(|line| line.strip_prefix("child: ").map(str::to_owned)).next().unwrap();
        Self { process, output, said }
    }

    /// Lets it go on to its end.
    fn finish(mut self) {
        drop(self.process.stdin.take());
        self.output.read_to_end(&mut Vec::new()).unwrap();
        assert!(self.process.wait().unwrap().success());
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
fn a_second_open_in_another_process_is_locked_out_until_the_first_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let other = Other::start(directory.path());
    assert_eq!(other.said, "Locked");
    other.finish();
    drop(store);
    for killed in [false, true] {
        let other = Other::start(directory.path());
        assert_eq!(other.said, "opened");
        assert_eq!(Store::open(directory.path()).unwrap_err().kind(), ErrorKind::Locked);
        if killed {
            other.kill()
        } else {
            other.finish()
        }
        Store::open(directory.path()).unwrap();
    }
}

/// Refuses to open, and leaves the directory as it was.
fn refused_untouched(directory: &Path, options: Options) -> Error {
    let before = files::read(directory);
    let error = options.open(directory).unwrap_err();
    files::assert_same(&before, &files::read(directory), &error.to_string());
    error
}

#[test]
fn a_directory_with_foreign_files_is_no_store_and_stays_as_it_is() {
    let foreign: [&[(&str, &[u8])]; 4] = [
        &[("notes.txt", b"mine")],
        &[("data/", b"")],
        &[("000001.log", b""), ("CURRENT", b"MANIFEST-000001\n")],
        &[("lost+found/", b""), ("photo.jpg", b"jpg")],
    ];
    for foreign in foreign {
        let directory = tempfile::tempdir().unwrap();
        files::write(directory.path(), &foreign.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect());
        let error = refused_untouched(directory.path(), Options::new());
        let kinds = [ErrorKind::Corrupt, ErrorKind::InvalidArgument, ErrorKind::Io];
        assert!(kinds.contains(&error.kind()), "{error:?}");
        assert!(error.file().is_some(), "{error:?}");
    }
}

#[test]
fn an_empty_directory_and_one_with_lost_and_found_become_stores() {
    for names in [&[][..], &["lost+found"]] {
        let directory = tempfile::tempdir().unwrap();
        for name in names {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        for turn in 1..3 {
            let store = Store::open(directory.path()).unwrap();
            let bucket = store.create_bucket(BucketConfig::new("b")).unwrap();
            assert_eq!(bucket.put("k", "v").unwrap().get(), turn);
        }
        assert!(names.iter().all(|name| directory.path().join(name).is_dir()));
    }
}

#[test]
fn a_store_leaves_foreign_files_beside_its_own_alone_and_reports_them() {
    let directory = tempfile::tempdir().unwrap();
    Store::open(directory.path()).unwrap().close().unwrap();
    fs::write(directory.path().join("README.txt"), "mine").unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.recovery().foreign, ["README.txt"]);
    store.close().unwrap();
    assert_eq!(fs::read(directory.path().join("README.txt")).unwrap(), b"mine");
}

#[test]
fn a_missing_store_is_created_only_if_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let strict = || Options::new().create_if_missing(false);
    let is_not_found = |error: &Error| {
        let source = error.source().unwrap_or_else(|| panic!("{error:?} has a source"));
        assert_eq!(error.kind(), ErrorKind::Io);
        assert_eq!(source.downcast_ref::<std::io::Error>().unwrap().kind(), std::io::ErrorKind::NotFound);
    };
    is_not_found(&strict().open(&missing).unwrap_err());
    assert!(!missing.exists());
    is_not_found(&refused_untouched(directory.path(), strict()));
    Store::open(&missing).unwrap().close().unwrap();
    strict().open(&missing).unwrap();
}

#[test]
fn a_store_cannot_be_created_where_there_is_no_parent_or_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let error = Store::open(directory.path().join("no/parent")).unwrap_err();
    assert_eq!((error.kind(), files::read(directory.path()).len()), (ErrorKind::Io, 0), "{error:?}");
    let file = directory.path().join("file");
    fs::write(&file, "text").unwrap();
    let error = Store::open(&file).unwrap_err();
    assert_eq!((error.kind(), fs::read(&file).unwrap()), (ErrorKind::Io, b"text".to_vec()), "{error:?}");
}
