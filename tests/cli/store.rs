//! The store as a whole: missing, locked, damaged; status and verify.

use std::path::PathBuf;

use annals::Store;
use serde_json::{Value as Json, json};

use crate::Bench;

#[test]
fn only_bucket_add_and_import_create_a_store() {
    let bench = Bench::empty();
    for line in ["put b k v", "create b k v", "get b k", "keys b", "status", "verify", "bucket ls", "bucket info b"] {
        bench.run(line).fails(4, "no store");
        assert!(!bench.store().exists(), "{line}");
    }
    bench.run("bucket add b").ok();
    assert!(bench.store().exists());
}

#[test]
fn an_empty_directory_holds_no_store_and_stays_empty() {
    let bench = Bench::empty();
    std::fs::create_dir(bench.store()).unwrap();
    bench.run("status").fails(4, "no store");
    assert_eq!(std::fs::read_dir(bench.store()).unwrap().count(), 0);
}

#[test]
fn a_store_that_another_program_has_open_cannot_be_used() {
    let bench = Bench::with_bucket();
    let store = Store::open(bench.store()).unwrap();
    let answer = bench.run("put b k v").fails(4, "open the store");
    assert!(answer.stderr.contains("another program has the store open"), "{}", answer.stderr);
    let error: Json = serde_json::from_str(&bench.run("get b k --json").stderr).unwrap();
    assert_eq!(error["error"]["kind"], "Locked");
    store.close().unwrap();
    bench.run("put b k v").ok();
}

#[test]
fn what_the_program_wrote_the_library_reads() {
    let bench = Bench::with_bucket();
    bench.run("put b k v").ok();
    let store = Store::open(bench.store()).unwrap();
    assert_eq!(store.bucket("b").unwrap().get("k").unwrap().unwrap(), *b"v");
}

#[test]
fn status_tells_where_the_store_is_and_what_it_holds() {
    let bench = Bench::with_bucket();
    bench.run("put b k v").ok();
    let status = bench.run("status --json").ok().json();
    assert_eq!(status["directory"], bench.store().to_str().unwrap());
    assert_eq!((&status["buckets"], &status["poisoned"]), (&json!(1), &json!(false)));
    assert!(status["durable_commit"].as_u64().unwrap() >= 2);
    assert!(status["recovery"]["replayed"].is_u64());
    let text = bench.run("status").ok().text().to_owned();
    assert!(text.contains(bench.store().to_str().unwrap()) && text.contains("opening"), "{text}");
}

#[test]
fn flush_and_compact_say_what_segments_hold_then() {
    let bench = Bench::with_bucket();
    for value in ["one", "two"] {
        bench.run(&format!("put b k {value}")).ok();
    }
    let flushed = bench.run("flush --json").ok().json();
    assert!(flushed["segments"].as_u64().unwrap() >= 1 && flushed["segment_entries"] == 2, "{flushed}");
    bench.run("purge b k").ok();
    let compacted = bench.run("compact --json").ok().json();
    assert!(compacted["segment_entries"].as_u64().unwrap() <= 1, "{compacted}");
    assert!(bench.run("flush").ok().text().starts_with("flushed: "));
    assert!(bench.run("compact").ok().text().starts_with("compacted: "));
    assert!(bench.run("status --json").ok().json()["recovery"]["clean"] == true);
    bench.run("get b k").fails(1, "k has no value in bucket b");
}

#[test]
fn verify_counts_what_it_read() {
    let bench = Bench::empty();
    bench.file("tree/a", "x".repeat(10_000));
    bench.import(&bench.path("tree"), "--bucket b").ok();
    let report = bench.run("verify --json").ok().json();
    assert_eq!((&report["ok"], &report["entries"]), (&json!(true), &json!(1)));
    assert!(report["bytes"].as_u64().unwrap() >= 10_000);
    assert!(bench.run("verify").ok().text().starts_with("ok: "));
}

#[test]
fn a_damaged_file_is_named_with_its_own_exit_code() {
    let bench = Bench::empty();
    for number in 0..20 {
        bench.file(&format!("tree/{number}"), format!("{number} ").repeat(5_000));
    }
    bench.import(&bench.path("tree"), "--bucket b").ok();
    let damaged = largest_file(&bench);
    let mut bytes = std::fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    let name = damaged.file_name().unwrap().to_str().unwrap();
    bench.run("verify").fails(5, name);
    let error: Json = serde_json::from_str(&bench.run("verify --json").stderr).unwrap();
    assert_eq!((&error["error"]["kind"], &error["error"]["exit_code"]), (&json!("Corrupt"), &json!(5)));
    assert!(error["error"]["file"].as_str().unwrap().ends_with(name) && error["error"]["offset"].is_u64(), "{error}");
}

/// After a close the values are in a segment, which is the largest file by far.
fn largest_file(bench: &Bench) -> PathBuf {
    let files = std::fs::read_dir(bench.store()).unwrap().map(|entry| entry.unwrap().path());
    let used = |path: &PathBuf| std::fs::read(path).unwrap().iter().filter(|byte| **byte != 0).count();
    files.filter(|path| path.is_file()).max_by_key(used).unwrap()
}
