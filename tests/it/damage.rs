//! Files that are not what was written: each is refused with a typed error that names the file, or does no harm. Never a wrong value, never
//! an older state without a word, never a panic; and a refused open changes nothing in the directory.
//!
//! A closed store has only manifest and segments; the log is damaged in a copy that was taken of a running store, as a kill leaves it.

use std::path::Path;

use annals::testing::oracle::{Commit, KeyWrite, Oracle, Write, matches};
use annals::{BucketConfig, Error, ErrorKind, Operation, Options, Revision, Store};
use tempfile::TempDir;

use crate::files::{self, Files, fast_directory};

const COMMITS: usize = 30;
/// Where the records of a log file begin.
const LOG_HEADER_LEN: usize = 4096;

/// No threads, so that the files are the same in every run; log and memtable large enough to hold all.
fn options() -> Options {
    Options::new().sizes(64 << 10, 64 << 10, 512).manual_jobs()
}

/// One change of a fixed history.
fn change(number: usize) -> Commit {
    let key = format!("key.{}", number % 7);
    let write = match number % 10 {
        8 => Write::Delete,
        9 => Write::Purge,
        _ => Write::Put(format!("value {number} {}", "x".repeat(number * 3)).into_bytes()),
    };
    Commit::Write(KeyWrite::new("b", key, write))
}

fn config() -> BucketConfig {
    BucketConfig::new("b").history(3)
}

/// What the store holds after so many changes.
fn oracle_after(changes: usize) -> Oracle {
    let mut oracle = Oracle::new();
    oracle.apply(&Commit::Create(config()));
    for number in 0..changes {
        oracle.apply(&change(number));
    }
    oracle
}

/// The files of a store that was closed with two segments.
fn closed_store() -> Files {
    let directory = fast_directory();
    let store = options().open(directory.path().join("store")).unwrap();
    let bucket = store.create_bucket(config()).unwrap();
    for number in 0..COMMITS {
        change(number).send(&store, &|_| Ok(bucket.clone()), None).unwrap();
        if number == COMMITS / 2 {
            store.flush().unwrap();
        }
    }
    store.close().unwrap();
    files::read(&directory.path().join("store"))
}

/// The files of a store in use, with everything in its log; log files of that many bytes.
fn running_store(log_file_len: u64) -> Files {
    let directory = fast_directory();
    let path = directory.path().join("store");
    let store = options().sizes(log_file_len, 64 << 10, 512).open(&path).unwrap();
    let bucket = store.create_bucket(config()).unwrap();
    for number in 0..COMMITS {
        change(number).send(&store, &|_| Ok(bucket.clone()), None).unwrap();
    }
    files::read(&path)
}

/// A place where damaged copies are opened, one after the other.
struct Bench {
    directory: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { directory: fast_directory() }
    }

    /// Opens these files; if that is refused, the error must name a file, and nothing may have been changed.
    fn open(&self, files: &Files, what: &str) -> Result<Store, Error> {
        let path = self.directory.path().join("store");
        files::write(&path, files);
        let answer = options().open(&path);
        if let Err(error) = &answer {
            files::assert_same(files, &files::read(&path), what);
            assert!(error.file().is_some_and(|file| file.starts_with(&path)), "{what}: {error:?} names no file of the store");
        }
        answer
    }

    /// Opens these files, which must be refused because of `name`.
    fn refused(&self, files: &Files, name: &str, what: &str) -> Error {
        let error = self.open(files, what).expect_err(what);
        assert_eq!(error.file().and_then(Path::file_name).and_then(|name| name.to_str()), Some(name), "{what}: {error:?}");
        error
    }
}

/// Every offset at the edges of a file, samples between: where to damage it.
fn offsets(len: usize, samples: usize) -> impl Iterator<Item = usize> {
    let step = (len / samples).max(1);
    (0..len).filter(move |offset| *offset < 72 || *offset + 48 >= len || offset % step == 0)
}

fn with_bit_flipped(files: &Files, name: &str, offset: usize) -> Files {
    let mut files = files.clone();
    files.get_mut(name).unwrap()[offset] ^= 1 << (offset % 8);
    files
}

fn cut(files: &Files, name: &str, len: usize) -> Files {
    let mut files = files.clone();
    files.get_mut(name).unwrap().truncate(len);
    files
}

/// Reads everything; each answer must be the right one or a `Corrupt` that names a file.
fn right_or_corrupt(store: &Store, oracle: &Oracle, what: &str) {
    let is_typed = |error: &Error| {
        assert!(error.kind() == ErrorKind::Corrupt && error.file().is_some(), "{what}: {error:?}");
    };
    let bucket = match store.bucket("b") {
        Ok(bucket) => bucket,
        Err(error) => panic!("{what}: the bucket is lost: {error:?}"),
    };
    let expected = &oracle.buckets["b"];
    for number in 0..7 {
        let key = format!("key.{number}");
        let newest = expected.newest(&key).filter(|version| version.operation == Operation::Put);
        match bucket.get(&key) {
            Ok(value) => assert_eq!(value.as_deref(), newest.map(|version| &version.value[..]), "{what}: {key}"),
            Err(error) => is_typed(&error),
        }
    }
    match bucket.history(">") {
        Ok(history) => {
            let mut expected = expected.history(">").into_iter();
            for entry in history {
                match (entry, expected.next()) {
                    (Ok(entry), Some((key, version))) => {
                        assert_eq!((entry.key().as_str(), entry.revision().get()), (key, version.revision), "{what}");
                        assert_eq!(**entry.value(), *version.value, "{what}");
                    }
                    (Ok(entry), None) => panic!("{what}: {entry:?} too many"),
                    (Err(error), _) => return is_typed(&error),
                }
            }
            assert!(expected.next().is_none(), "{what}: history ends early without an error");
        }
        Err(error) => is_typed(&error),
    }
    let keys: Result<Vec<_>, _> = bucket.keys().and_then(Iterator::collect);
    match keys {
        Ok(keys) => assert_eq!(keys.iter().map(|key| key.to_string()).collect::<Vec<_>>(), expected.keys(&[], false), "{what}"),
        Err(error) => is_typed(&error),
    }
}

#[test]
fn undamaged_copies_hold_everything() {
    let bench = Bench::new();
    for files in [closed_store(), running_store(64 << 10), running_store(4 << 10)] {
        let store = bench.open(&files, "an undamaged copy").unwrap();
        assert_eq!(store.recovery().torn, None);
        oracle_after(COMMITS).check(&store).unwrap();
        store.verify().unwrap();
    }
    assert!(files::named(&closed_store(), ".seg").len() >= 2);
    assert!(!files::named(&running_store(64 << 10), ".wal").is_empty());
}

#[test]
fn any_bit_flipped_in_the_manifest_is_refused() {
    let (bench, files) = (Bench::new(), closed_store());
    for offset in offsets(files["MANIFEST"].len(), 300) {
        let what = format!("bit flipped in MANIFEST at {offset}");
        let error = bench.refused(&with_bit_flipped(&files, "MANIFEST", offset), "MANIFEST", &what);
        assert!([ErrorKind::Corrupt, ErrorKind::UnsupportedFormat].contains(&error.kind()), "{what}: {error:?}");
    }
}

#[test]
fn a_manifest_cut_or_lengthened_anywhere_or_missing_is_refused() {
    let (bench, files) = (Bench::new(), closed_store());
    for len in offsets(files["MANIFEST"].len(), 100) {
        let what = format!("MANIFEST cut to {len}");
        let error = bench.refused(&cut(&files, "MANIFEST", len), "MANIFEST", &what);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}");
    }
    let mut longer = files.clone();
    longer.get_mut("MANIFEST").unwrap().push(0);
    assert_eq!(bench.refused(&longer, "MANIFEST", "MANIFEST with a byte too many").kind(), ErrorKind::Corrupt);
    let mut without = files;
    without.remove("MANIFEST");
    bench.open(&without, "MANIFEST missing").expect_err("a store without its manifest is not a new one");
}

#[test]
fn any_bit_flipped_in_a_segment_is_found_by_open_read_or_verify() {
    let (bench, files, oracle) = (Bench::new(), closed_store(), oracle_after(COMMITS));
    for name in files::named(&files, ".seg") {
        for offset in offsets(files[&name].len(), 200) {
            let what = format!("bit flipped in {name} at {offset}");
            match bench.open(&with_bit_flipped(&files, &name, offset), &what) {
                Err(error) => {
                    assert!([ErrorKind::Corrupt, ErrorKind::UnsupportedFormat].contains(&error.kind()), "{what}: {error:?}");
                }
                Ok(store) => {
                    right_or_corrupt(&store, &oracle, &what);
                    let error = store.verify().expect_err(&what);
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}");
                    assert!(error.file().is_some_and(|file| file.ends_with(&name)), "{what}: {error:?}");
                }
            }
        }
    }
}

#[test]
fn a_merge_never_spreads_damage() {
    let (bench, files, oracle) = (Bench::new(), closed_store(), oracle_after(COMMITS));
    for name in files::named(&files, ".seg") {
        for offset in offsets(files[&name].len(), 40) {
            let what = format!("merge with a bit flipped in {name} at {offset}");
            let Ok(store) = bench.open(&with_bit_flipped(&files, &name, offset), &what) else { continue };
            if let Err(error) = store.merge_all() {
                assert!(error.kind() == ErrorKind::Corrupt && error.file().is_some(), "{what}: {error:?}");
            }
            right_or_corrupt(&store, &oracle, &what);
        }
    }
}

#[test]
fn a_segment_cut_missing_or_swapped_is_refused() {
    let (bench, files) = (Bench::new(), closed_store());
    let names = files::named(&files, ".seg");
    for name in &names {
        for len in offsets(files[name].len(), 60) {
            let what = format!("{name} cut to {len}");
            assert_eq!(bench.refused(&cut(&files, name, len), name, &what).kind(), ErrorKind::Corrupt, "{what}");
        }
        let mut without = files.clone();
        without.remove(name);
        let error = bench.refused(&without, name, &format!("{name} missing"));
        assert!([ErrorKind::Corrupt, ErrorKind::Io].contains(&error.kind()), "{error:?}");
    }
    let mut swapped = files.clone();
    swapped.insert(names[0].clone(), files[&names[1]].clone());
    swapped.insert(names[1].clone(), files[&names[0]].clone());
    let error = bench.open(&swapped, "two segments swapped").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[test]
fn a_segment_of_another_store_is_refused() {
    let (bench, files, other) = (Bench::new(), closed_store(), closed_store());
    for name in files::named(&files, ".seg") {
        let mut mixed = files.clone();
        mixed.insert(name.clone(), other[&name].clone());
        assert_eq!(bench.refused(&mixed, &name, "a segment of another store").kind(), ErrorKind::Corrupt);
    }
}

/// A header of a later version: the version stands after the eight bytes of magic, and the header ends in the CRC-32 of what is before it,
/// behind eight bytes of zero; both in every version.
fn with_version(files: &Files, name: &str, header_len: usize) -> Files {
    let mut files = files.clone();
    let bytes = files.get_mut(name).unwrap();
    bytes[8] = 0x77;
    let mut sum = crc32fast::Hasher::new();
    sum.update(&[0; 8]);
    sum.update(&bytes[..header_len - 4]);
    bytes[header_len - 4..header_len].copy_from_slice(&sum.finalize().to_le_bytes());
    files
}

#[test]
fn a_newer_format_is_refused_as_such() {
    let (bench, files) = (Bench::new(), closed_store());
    let mut headers: Vec<_> = files::named(&files, ".seg").into_iter().map(|name| (name, 64)).collect();
    headers.push(("MANIFEST".to_owned(), 24));
    for (name, header_len) in headers {
        let error = bench.refused(&with_version(&files, &name, header_len), &name, "a newer format");
        assert_eq!(error.kind(), ErrorKind::UnsupportedFormat, "{error:?}");
    }
}

/// How many of the changes a store holds: its state must be that after some number of them.
fn changes_held(store: &Store, what: &str) -> usize {
    let bucket = store.bucket("b").unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let held = bucket.history(">").unwrap().last().map_or(0, |entry| entry.unwrap().revision().get() as usize);
    oracle_after(held).check(store).unwrap_or_else(|mismatch| panic!("{what}: not the state after {held}: {mismatch}"));
    held
}

/// The store takes a write after what it holds, and has it after another open.
fn goes_on(bench: &Bench, store: Store, held: usize, what: &str) {
    let revision = store.bucket("b").unwrap().put("key.0", "after").unwrap();
    assert_eq!(revision, Revision::from(held as u64 + 1), "{what}");
    drop(store);
    let store = options().open(bench.directory.path().join("store")).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    assert_eq!(store.recovery().torn, None, "{what}: a tail that was cut off is gone");
    let mut oracle = oracle_after(held);
    oracle.apply(&Commit::Write(KeyWrite::new("b", "key.0", Write::Put(b"after".to_vec()))));
    oracle.check(&store).unwrap_or_else(|mismatch| panic!("{what}, gone on: {mismatch}"));
}

/// Where the written part of a log ends.
fn written_len(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

#[test]
fn any_bit_flipped_in_the_log_is_refused_or_costs_the_unproven_last_commit_at_most() {
    let bench = Bench::new();
    let mut torn = 0;
    for log_file_len in [64 << 10, 4 << 10] {
        let files = running_store(log_file_len);
        let newest = files::named(&files, ".wal").into_iter().rfind(|name| written_len(&files[name]) > LOG_HEADER_LEN).unwrap();
        for name in files::named(&files, ".wal") {
            let written = written_len(&files[&name]);
            for offset in offsets(written, 250).chain((written..files[&name].len()).step_by(1_009)) {
                let what = format!("bit flipped in {name} at {offset} of {written}");
                match bench.open(&with_bit_flipped(&files, &name, offset), &what) {
                    Err(error) => {
                        assert!([ErrorKind::Corrupt, ErrorKind::UnsupportedFormat].contains(&error.kind()), "{what}: {error:?}");
                    }
                    Ok(store) => {
                        let held = changes_held(&store, &what);
                        let is_torn = store.recovery().torn.is_some();
                        torn += usize::from(is_torn);
                        let may_cost = is_torn && name == newest;
                        assert!(held == COMMITS || may_cost && held == COMMITS - 1, "{what}: {held} changes are left");
                        goes_on(&bench, store, held, &what);
                    }
                }
            }
        }
    }
    assert!(torn > 0, "the last commit cannot be told from a torn one");
}

/// Behind a seal that is damaged lies a single commit, which nothing behind it proves to have been synced.
#[test]
fn damage_to_a_seal_costs_no_commit_of_the_next_file() {
    let (bench, directory) = (Bench::new(), fast_directory());
    let path = directory.path().join("store");
    let store = options().sizes(4 << 10, 64 << 10, 512).open(&path).unwrap();
    let bucket = store.create_bucket(config()).unwrap();
    let (files, sealed) = loop {
        bucket.put("key", "x".repeat(200)).unwrap();
        let files = files::read(&path);
        let logs: Vec<String> =
            files::named(&files, ".wal").into_iter().filter(|name| written_len(&files[name]) > LOG_HEADER_LEN).collect();
        if let [.., sealed, _] = logs.as_slice() {
            break (files.clone(), sealed.clone());
        }
    };
    let written = written_len(&files[&sealed]);
    for offset in written - 48..written {
        let error = bench.refused(&with_bit_flipped(&files, &sealed, offset), &sealed, &format!("at {offset} of {written}"));
        assert!([ErrorKind::Corrupt, ErrorKind::UnsupportedFormat].contains(&error.kind()), "{error:?}");
    }
}

/// A log whose checksums are right and which creates the bucket of the highest number that there is.
#[test]
fn a_log_that_creates_a_bucket_of_any_number_is_refused() {
    let checksum = |seed: u64, bytes: &[u8]| {
        let mut sum = crc32fast::Hasher::new();
        sum.update(&seed.to_le_bytes());
        sum.update(bytes);
        sum.finalize()
    };
    let (bench, directory) = (Bench::new(), fast_directory());
    let path = directory.path().join("store");
    let store = options().open(&path).unwrap();
    store.create_bucket(config()).unwrap();
    let mut files = files::read(&path);
    let name = files::named(&files, ".wal").into_iter().find(|name| written_len(&files[name]) > LOG_HEADER_LEN).unwrap();
    let bytes = files.get_mut(&name).unwrap();
    // Store, number and salt lie side by side in the file's header, as they go into the seed.
    let seed = u64::from(checksum(0, &bytes[16..48]));
    let (record, payload) = bytes[LOG_HEADER_LEN..].split_at(48);
    let len = u32::from_le_bytes(record[4..8].try_into().unwrap()) as usize;
    assert_eq!(payload[..3], [0, 2, 1], "no entries; one change, which creates; bucket 1");
    let payload = [&[0, 2], &[0xff; 9][..], &[1], &payload[3..len]].concat();
    let mut header = record.to_vec();
    header[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    header[44..48].copy_from_slice(&checksum(seed, &payload).to_le_bytes());
    let sum = checksum(seed, &header[4..]);
    header[..4].copy_from_slice(&sum.to_le_bytes());
    bytes[LOG_HEADER_LEN..].fill(0);
    bytes[LOG_HEADER_LEN..LOG_HEADER_LEN + 48].copy_from_slice(&header);
    bytes[LOG_HEADER_LEN + 48..][..payload.len()].copy_from_slice(&payload);
    let error = bench.refused(&files, &name, "the last bucket");
    assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains(&u64::MAX.to_string()), "{error}");
}

#[test]
fn a_log_cut_anywhere_is_refused_or_leaves_a_state_without_holes() {
    let bench = Bench::new();
    let files = running_store(64 << 10);
    let name = files::named(&files, ".wal").pop().unwrap();
    let written = written_len(&files[&name]);
    let mut fewest = COMMITS;
    for len in offsets(written, 150) {
        for zeros in [false, true] {
            let what = format!("{name} cut to {len} of {written}, zeros after it: {zeros}");
            let mut damaged = cut(&files, &name, len);
            if zeros {
                damaged.get_mut(&name).unwrap().resize(files[&name].len(), 0);
            }
            match bench.open(&damaged, &what) {
                Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error:?}"),
                Ok(store) if store.bucket("b").is_ok() => {
                    let held = changes_held(&store, &what);
                    fewest = fewest.min(held);
                    goes_on(&bench, store, held, &what);
                }
                // Cut before the commit that created the bucket.
                Ok(store) => assert_eq!(store.buckets().unwrap(), [""; 0], "{what}"),
            }
        }
    }
    assert!(fewest < COMMITS, "a shorter log holds less");
}

#[test]
fn a_missing_log_between_others_is_refused() {
    let (bench, files) = (Bench::new(), running_store(4 << 10));
    let names = files::named(&files, ".wal");
    let in_use: Vec<_> = names.iter().filter(|name| written_len(&files[*name]) > 0).collect();
    // Flushed logs may be gone by then; with fewer than three there is none between others.
    for name in in_use.iter().take(in_use.len().saturating_sub(1)) {
        let mut without = files.clone();
        without.remove(*name);
        bench.open(&without, &format!("{name} of {names:?} missing")).expect_err("a log is missing");
    }
}

#[test]
fn strict_refuses_a_torn_tail_that_is_cut_off_otherwise() {
    let (bench, mut files) = (Bench::new(), running_store(64 << 10));
    let name = files::named(&files, ".wal").pop().unwrap();
    let last = written_len(&files[&name]) - 1;
    files.get_mut(&name).unwrap()[last] ^= 0xff;
    let path = bench.directory.path().join("store");
    files::write(&path, &files);
    let error = options().strict(true).open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.file().is_some_and(|file| file.ends_with(&name)) && error.offset().is_some(), "{error:?}");
    files::assert_same(&files, &files::read(&path), "strict");
    let store = options().open(&path).unwrap();
    let torn = store.recovery().torn.clone().unwrap();
    assert!(torn.file.ends_with(&name) && torn.offset <= last as u64 && torn.bytes > 0, "{torn:?}");
    assert_eq!(changes_held(&store, "torn"), COMMITS - 1);
}

#[test]
fn the_fixed_history_meets_every_operation() {
    let oracle = oracle_after(COMMITS);
    let versions: Vec<_> = oracle.buckets["b"].history(">").into_iter().map(|(_, version)| version.operation).collect();
    for operation in [Operation::Put, Operation::Delete, Operation::Purge] {
        assert!(versions.contains(&operation), "{versions:?}");
    }
    assert!(matches("key.*", &change(0).key_writes()[0].key));
}
