//! Import: what goes in, what changes, what is skipped and said.

use std::os::unix::fs::symlink;

use serde_json::{Value as Json, json};

use crate::{Answer, Bench};

/// A tree of three files beside an empty store.
fn bench_with_tree() -> Bench {
    let bench = Bench::empty();
    bench.file("tree/src/main.rs", "fn main() {}");
    bench.file("tree/README", "read me");
    bench.file("tree/empty", "");
    bench
}

fn import(bench: &Bench, more: &str) -> Answer {
    bench.import(&bench.path("tree"), &format!("--bucket b {more}"))
}

/// The counts of an import in JSON: new, changed, unchanged, skipped.
fn counts(answer: &Answer) -> [u64; 4] {
    let report = answer.json();
    ["new", "changed", "unchanged", "skipped_count"].map(|field| report[field].as_u64().unwrap())
}

#[test]
fn every_file_becomes_an_entry_under_its_path() {
    let bench = bench_with_tree();
    let answer = import(&bench, "").ok();
    assert!(answer.text().contains("files seen") && answer.text().contains("entries/s"), "{}", answer.text());
    assert_eq!(bench.run("keys b").ok().lines(), ["README", "empty", "src.main=2Ers"]);
    assert_eq!(bench.run("get b src.main=2Ers").ok().text(), "fn main() {}");
    assert_eq!(bench.run("get b empty").ok().text(), "");
    assert_eq!(bench.run("bucket info b --json").ok().json()["history"], 5);
}

#[test]
fn the_same_import_again_writes_nothing() {
    let bench = bench_with_tree();
    assert_eq!(counts(&import(&bench, "--json").ok()), [3, 0, 0, 0]);
    let before = bench.run("bucket info b --json").ok().json();
    assert_eq!(counts(&import(&bench, "--json").ok()), [0, 0, 3, 0]);
    assert_eq!(bench.run("bucket info b --json").ok().json(), before);
}

#[test]
fn a_changed_file_makes_history() {
    let bench = bench_with_tree();
    import(&bench, "").ok();
    bench.file("tree/README", "read me again");
    let report = import(&bench, "--json").ok();
    assert_eq!(counts(&report), [0, 1, 2, 0]);
    assert_eq!((&report.json()["bytes_written"], &report.json()["files"]), (&json!(13), &json!(3)));
    let history = bench.run("history b README --json").ok().json_lines();
    let values: Vec<&str> = history.iter().map(|entry| entry["value"].as_str().unwrap()).collect();
    assert_eq!(values, ["read me", "read me again"]);
}

#[test]
fn a_deleted_key_whose_file_is_there_comes_back_as_new() {
    let bench = bench_with_tree();
    import(&bench, "").ok();
    bench.run("del b README").ok();
    assert_eq!(counts(&import(&bench, "--json").ok()), [1, 0, 2, 0]);
    assert_eq!(bench.run("get b README").ok().text(), "read me");
}

#[test]
fn a_file_that_is_gone_keeps_its_key_until_asked_otherwise() {
    let bench = bench_with_tree();
    import(&bench, "").ok();
    bench.run("put b not.a.path.of.the.tree%".replace('%', "=00 x").as_str()).ok();
    std::fs::remove_file(bench.path("tree/README")).unwrap();
    let answer = import(&bench, "").ok();
    assert!(answer.text().contains("--delete-missing"), "{}", answer.text());
    bench.run("get b README").ok();
    let report = import(&bench, "--delete-missing --json").ok().json();
    assert_eq!((&report["gone_deleted"], &report["gone_kept"]), (&json!(1), &json!(0)));
    bench.run("get b README").fails(1, "deleted");
    // A key that no import can have made is not the import's to delete.
    bench.run("get b not.a.path.of.the.tree=00").ok();
}

#[test]
fn what_is_not_stored_is_counted_and_named() {
    let bench = bench_with_tree();
    symlink("README", bench.path("tree/link")).unwrap();
    let long = ["=".repeat(250).as_str(); 6].join("/");
    bench.file(&format!("tree/{long}"), "x");
    bench.file("tree/large", vec![7; (16 << 20) + 1]);
    let _socket = std::os::unix::net::UnixListener::bind(bench.path("tree/socket")).unwrap();

    let answer = import(&bench, "--json");
    assert_eq!((answer.code, answer.stderr.as_str()), (7, ""));
    assert_eq!(counts(&answer), [3, 0, 0, 4]);
    let skipped = answer.json()["skipped"].clone();
    let check = |kind: &str, named: &str| assert_eq!(skipped[kind], json!({ "count": 1, "named": [named] }), "{kind}");
    check("symbolic_link", "link");
    check("key_too_long", &long);
    check("too_large", "large");
    check("not_regular", "socket");

    let answer = import(&bench, "");
    assert_eq!(answer.code, 7);
    for line in ["skipped 1: symbolic links, which are not followed", "  link", "  large", "  socket"] {
        assert!(answer.lines().contains(&line), "{line} is not in {}", answer.text());
    }
}

#[test]
fn a_file_that_nobody_may_read_is_named_with_the_reason() {
    use std::os::unix::fs::PermissionsExt;
    let bench = bench_with_tree();
    let path = bench.path("tree/README");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::read(&path).is_ok() {
        return; // Who may read everything, as root may, cannot see this.
    }
    let answer = import(&bench, "--json");
    assert_eq!(answer.code, 7);
    let named = answer.json()["skipped"]["unreadable"]["named"][0].as_str().unwrap().to_owned();
    assert!(named.starts_with("README (") && named.contains("denied"), "{named}");
}

#[test]
fn the_limit_of_the_bucket_decides_what_is_too_large() {
    let bench = bench_with_tree();
    bench.run("bucket add b --max-value-size 7").ok();
    let answer = import(&bench, "--json");
    assert_eq!((answer.code, counts(&answer)), (7, [2, 0, 0, 1]));
    assert_eq!(answer.json()["skipped"]["too_large"]["named"][0], "src/main.rs");
}

#[test]
fn more_than_twenty_of_a_kind_are_named_only_if_asked() {
    let bench = bench_with_tree();
    for number in 0..25 {
        symlink("README", bench.path(&format!("tree/link-{number:02}"))).unwrap();
    }
    let named = |answer: &Answer| answer.json()["skipped"]["symbolic_link"]["named"].as_array().unwrap().len();
    assert_eq!(named(&import(&bench, "--json")), 20);
    assert_eq!(named(&import(&bench, "--json --verbose")), 25);
}

#[test]
fn names_of_any_bytes_come_in() {
    use std::os::unix::ffi::OsStrExt;
    let bench = bench_with_tree();
    std::fs::write(bench.path("tree").join(std::ffi::OsStr::from_bytes(b"\xff\n.")), "x").unwrap();
    import(&bench, "").ok();
    assert_eq!(bench.run("get b =FF=0A=2E").ok().text(), "x");
}

#[test]
fn many_files_all_arrive_once() {
    let bench = Bench::empty();
    for number in 0..500 {
        bench.file(&format!("tree/{}/{number}", number % 7), number.to_string());
    }
    assert_eq!(counts(&import(&bench, "--json").ok()), [500, 0, 0, 0]);
    for number in [0, 13, 499] {
        assert_eq!(bench.run(&format!("get b {}.{number}", number % 7)).ok().text(), number.to_string());
    }
    assert_eq!(bench.run("bucket info b --json").ok().json()["last_revision"], 500);
}

#[test]
fn a_source_that_is_missing_or_a_file_is_refused_before_a_store_is_made() {
    let bench = bench_with_tree();
    bench.import(&bench.path("nowhere"), "--bucket b").fails(6, "nowhere");
    bench.import(&bench.path("tree/README"), "--bucket b").fails(2, "README");
    assert!(!bench.store().exists());
}

#[test]
fn another_history_than_the_bucket_keeps_is_refused() {
    let bench = bench_with_tree();
    import(&bench, "--history 2").ok();
    import(&bench, "--history 2").ok();
    import(&bench, "--history 3").fails(3, "keeps 2");
}

#[test]
fn a_store_inside_the_tree_does_not_import_itself() {
    let bench = Bench::empty();
    bench.file("other", "x");
    let answer = bench.import(bench.directory.path(), "--bucket b --json");
    assert_eq!(answer.code, 7);
    let report: Json = answer.json();
    assert_eq!((&report["new"], &report["skipped"]["the_store"]["named"]), (&json!(1), &json!(["store"])));
}
