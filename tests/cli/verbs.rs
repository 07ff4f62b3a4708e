//! The verbs on keys and buckets: answers, JSON, exit codes.

use serde_json::json;

use crate::{Bench, program};

#[test]
fn a_put_answers_its_revision_and_get_the_bytes_alone() {
    let bench = Bench::with_bucket();
    assert_eq!(bench.run("put b greeting hello").ok().text(), "1\n");
    assert_eq!(bench.run("put b greeting world").ok().text(), "2\n");
    assert_eq!(bench.run("get b greeting").ok().text(), "world");
    assert_eq!(bench.run("get b greeting --revision 1").ok().text(), "hello");
}

#[test]
fn a_value_comes_from_an_argument_a_file_or_stdin() {
    let bench = Bench::with_bucket();
    let bytes = [0, 255, 10, 13];
    bench.file("value", bytes);
    let file = bench.path("value");
    bench.run_words(["put", "b", "from.file", "--file", file.to_str().unwrap()]).ok();
    bench.feed(["create", "b", "from.stdin", "-"], &bytes).ok();
    bench.run_words(["put", "b", "empty", ""]).ok();
    bench.run("put b dash -- -x").ok();
    assert_eq!(bench.run("get b from.file").ok().stdout, bytes);
    assert_eq!(bench.run("get b from.stdin").ok().stdout, bytes);
    assert_eq!(bench.run("get b empty").ok().stdout, b"");
    assert_eq!(bench.run("get b dash").ok().text(), "-x");
}

#[test]
fn a_file_that_is_not_there_is_an_io_error_and_nothing_is_written() {
    let bench = Bench::with_bucket();
    bench.run("put b k --file /no/such/file").fails(6, "/no/such/file");
    assert_eq!(bench.run("keys b").ok().text(), "");
}

#[test]
fn create_fails_on_a_value_and_succeeds_on_a_marker() {
    let bench = Bench::with_bucket();
    bench.run("create b k one").ok();
    bench.run("create b k two").fails(3, "update --revision 1");
    bench.run("del b k").ok();
    assert_eq!(bench.run("create b k two").ok().text(), "3\n");
}

#[test]
fn a_losing_update_says_the_actual_revision_and_changes_nothing() {
    let bench = Bench::with_bucket();
    bench.run("put b k one").ok();
    bench.run("put b k two").ok();
    bench.run("update b k three --revision 1").fails(3, "--revision 2");
    assert_eq!(bench.run("get b k").ok().text(), "two");
    assert_eq!(bench.run("update b k three --revision 2").ok().text(), "3\n");
    assert_eq!(bench.run("update b new one --revision 0").ok().text(), "4\n");
    bench.run("update b k four --revision 0").fails(3, "--revision 3");
}

#[test]
fn del_and_purge_check_the_revision_that_is_asked_for() {
    let bench = Bench::with_bucket();
    bench.run("put b k one").ok();
    for verb in ["del", "purge"] {
        bench.run(&format!("{verb} b k --revision 9")).fails(3, "k in bucket b");
    }
    assert_eq!(bench.run("del b k --revision 1").ok().text(), "2\n");
    assert_eq!(bench.run("purge b k --revision 2").ok().text(), "3\n");
    assert_eq!(bench.run("purge b never").ok().text(), "4\n");
}

#[test]
fn a_key_without_a_value_is_not_found_and_it_is_said_why() {
    let bench = Bench::with_bucket();
    bench.run("get b never").fails(1, "never has no value in bucket b");
    bench.run("put b k one").ok();
    bench.run("del b k").ok();
    bench.run("get b k").fails(1, "deleted at revision 2");
    bench.run("purge b k").ok();
    bench.run("get b k").fails(1, "purged at revision 3");
    bench.run("get b k --revision 1").fails(1, "revision 1");
}

#[test]
fn at_answers_what_a_key_held_when_a_revision_was_the_newest() {
    let bench = Bench::with_bucket();
    for line in ["put b k one", "put b other x", "put b k two", "del b k", "put b other y"] {
        bench.run(line).ok();
    }
    for (revision, value) in [(1, "one"), (2, "one"), (3, "two")] {
        assert_eq!(bench.run(&format!("at b k --revision {revision}")).ok().text(), value);
    }
    bench.run("at b k --revision 4").fails(1, "k had no value");
    assert_eq!(bench.run("at b other --revision 99 --json").ok().json()["revision"], 5);
    bench.run("at b other --revision 1").fails(1, "other had no value");
    bench.run("bucket edit b --history 1").ok();
    bench.run("at b other --revision 3").fails(1, "next that can be asked for");
}

#[test]
fn a_missing_bucket_is_not_found_by_every_verb() {
    let bench = Bench::with_bucket();
    for line in ["get x k", "put x k v", "del x k", "keys x", "history x k", "bucket info x", "bucket rm x"] {
        let answer = bench.run(line).fails(1, "bucket x");
        assert_eq!(answer.stdout, b"", "{line}");
    }
}

#[test]
fn malformed_arguments_are_usage_errors() {
    let bench = Bench::with_bucket();
    for (line, named) in [("put b a..b v", "a..b"), ("bucket add b.c", "b.c"), ("bucket add c --history 65", "65")] {
        bench.run(line).fails(2, named);
    }
    for line in ["", "frobnicate", "put b k", "update b k v", "get b k --revision x", "bucket add c --metadata x", "keys"] {
        assert_eq!(bench.run(line).code, 2, "{line}");
    }
    let answer = crate::Answer::from(program().arg("status").output().unwrap());
    answer.fails(2, "--store");
}

#[test]
fn a_value_over_the_limit_of_the_bucket_is_refused() {
    let bench = Bench::with_bucket();
    bench.run("bucket add small --max-value-size 4").ok();
    bench.run("put small k 1234").ok();
    bench.run("put small k 12345").fails(2, "k in bucket small");
}

#[test]
fn keys_come_one_a_line_in_order_and_filters_choose() {
    let bench = Bench::with_bucket();
    for key in ["eu.b", "us.a", "eu.a", "eu.a.x"] {
        bench.run(&format!("put b {key} v")).ok();
    }
    bench.run("del b eu.b").ok();
    let keys = |line: &str| bench.run(line).ok().text().to_owned();
    assert_eq!(keys("keys b"), "eu.a\neu.a.x\nus.a\n");
    assert_eq!(keys("keys b eu.*"), "eu.a\n");
    assert_eq!(keys("keys b eu.a.> us.*"), "eu.a.x\nus.a\n");
    assert_eq!(keys("keys b --markers eu.*"), "eu.a\neu.b\n");
    let objects = bench.run("keys b us.> --json").ok().json_lines();
    assert_eq!(objects, [json!({ "key": "us.a" })]);
}

#[test]
fn history_shows_every_retained_entry_oldest_first() {
    let bench = Bench::with_bucket();
    for line in ["put b k one", "put b other x", "put b k two", "del b k"] {
        bench.run(line).ok();
    }
    let objects = bench.run("history b k --json").ok().json_lines();
    let told: Vec<_> = objects.iter().map(|entry| (entry["revision"].as_u64().unwrap(), &entry["operation"])).collect();
    assert_eq!(told, [(1, &json!("put")), (3, &json!("put")), (4, &json!("delete"))]);
    assert_eq!(objects[1]["value"], "two");
    assert_eq!(objects[2].get("value"), None);
    let answer = bench.run("history b >").ok();
    assert_eq!(answer.lines().len(), 5);
    assert!(answer.lines()[0].trim_start().starts_with("revision"), "{}", answer.text());
    assert_eq!(bench.run("history b never").ok().lines().len(), 1);
}

#[test]
fn json_of_an_entry_carries_text_or_base64() {
    let bench = Bench::with_bucket();
    bench.run("put b text hi").ok();
    bench.feed(["put", "b", "binary", "-"], &[0xff, 0x00]).ok();
    let text = bench.run("get b text --json").ok().json();
    assert_eq!((&text["bucket"], &text["key"], &text["value"]), (&json!("b"), &json!("text"), &json!("hi")));
    assert_eq!((&text["revision"], &text["operation"]), (&json!(1), &json!("put")));
    assert!(text["created"].as_str().unwrap().ends_with('Z'));
    let binary = bench.run("get b binary --json").ok().json();
    assert_eq!((binary.get("value"), &binary["value_base64"]), (None, &json!("/wA=")));
}

#[test]
fn json_of_a_write_and_of_an_error() {
    let bench = Bench::with_bucket();
    let written = bench.run("put b k v --json").ok().json();
    assert_eq!(written, json!({ "bucket": "b", "key": "k", "revision": 1 }));
    let refused = bench.run("--json update b k w --revision 7");
    assert_eq!((refused.code, refused.text()), (3, ""));
    let error = serde_json::from_str::<serde_json::Value>(&refused.stderr).unwrap()["error"].clone();
    assert_eq!(error["kind"], "WrongRevision");
    assert_eq!((&error["exit_code"], &error["actual_revision"], &error["applied"]), (&json!(3), &json!(1), &json!(false)));
    assert!(error["message"].as_str().unwrap().contains("k in bucket b") && error["next"].is_string());
}

#[test]
fn buckets_are_added_listed_described_and_removed() {
    let bench = Bench::empty();
    let add = "bucket add settings --history 3 --max-value-size 100 --metadata owner=ada --metadata site=eu";
    let words: Vec<&str> = add.split(' ').chain(["--description", "what is set"]).collect();
    bench.run_words(&words).ok();
    bench.run_words(&words).ok();
    bench.run("bucket add settings --history 4").fails(3, "settings");
    bench.run("bucket add other").ok();
    assert_eq!(bench.run("bucket ls").ok().text(), "other\nsettings\n");
    bench.run("put settings k value").ok();
    bench.run("put settings k value").ok();
    let info = bench.run("bucket info settings --json").ok().json();
    assert_eq!((&info["bucket"], &info["history"], &info["max_value_size"]), (&json!("settings"), &json!(3), &json!(100)));
    assert_eq!((&info["description"], &info["metadata"]), (&json!("what is set"), &json!({ "owner": "ada", "site": "eu" })));
    assert_eq!((&info["last_revision"], &info["live_keys"], &info["entries"]), (&json!(2), &json!(1), &json!(2)));
    assert!(bench.run("bucket info settings").ok().text().contains("owner=ada"));
    let listed = bench.run("bucket ls --json").ok().json_lines();
    assert_eq!(listed.iter().map(|bucket| bucket["bucket"].as_str().unwrap()).collect::<Vec<_>>(), ["other", "settings"]);
    assert_eq!((&listed[0]["max_value_size"], &listed[1]), (&json!(null), &info));
    bench.run("bucket rm other").ok();
    assert_eq!(bench.run("bucket ls").ok().text(), "settings\n");
}

#[test]
fn a_bucket_takes_every_limit_when_it_is_added_and_edit_changes_only_what_is_given() {
    let bench = Bench::empty();
    let add = "bucket add b --history 4 --max-age 1h --limit-markers 90s --max-bytes 1MiB --max-value-size 64kB --compression zstd \
               --metadata a=1";
    bench.run(add).ok();
    let info = || bench.run("bucket info b --json").ok().json();
    let before = info();
    assert_eq!((&before["max_age_seconds"], &before["max_bytes"]), (&json!(3600.0), &json!(1_048_576)));
    assert_eq!(before["limit_markers_seconds"], json!(90.0));
    assert_eq!((&before["max_value_size"], &before["compression"]), (&json!(64_000), &json!("zstd")));
    bench.run_words(["bucket", "edit", "b", "--history", "2", "--max-age", "none", "--description", "new"]).ok();
    let mut expected = before;
    expected["history"] = json!(2);
    expected["max_age_seconds"] = json!(null);
    expected["description"] = json!("new");
    assert_eq!(info(), expected);
    bench.run("bucket edit b --max-bytes none --max-value-size none --compression none --metadata c=2 --drop-metadata a").ok();
    bench.run("bucket edit b --limit-markers none").ok();
    let after = info();
    assert_eq!(after["limit_markers_seconds"], json!(null));
    assert_eq!(
        (&after["max_bytes"], &after["max_value_size"], &after["compression"]),
        (&json!(null), &json!(null), &json!("none"))
    );
    assert_eq!((&after["metadata"], &after["history"]), (&json!({ "c": "2" }), &json!(2)));
    let text = bench.run("bucket info b").ok().text().to_owned();
    assert!(
        text.contains("age limit")
            && text.contains("markers of expiry")
            && text.contains("byte limit")
            && text.contains("compression"),
        "{text}"
    );
}

#[test]
fn an_edit_of_nothing_or_of_what_is_not_there_is_refused() {
    let bench = Bench::with_bucket();
    bench.run("bucket edit b").fails(2, "nothing to change");
    bench.run("bucket edit b --drop-metadata x").fails(2, "no metadata x");
    bench.run("bucket edit x --history 2").fails(1, "bucket x");
    bench.run("bucket edit b --max-age 99ms").fails(2, "100 ms");
    assert_eq!(bench.run("bucket edit b --max-age 5").code, 2);
    assert_eq!(bench.run("bucket info b --json").ok().json()["history"], 5);
}

#[test]
fn a_lower_history_holds_at_once() {
    let bench = Bench::with_bucket();
    for value in ["one", "two", "three"] {
        bench.run(&format!("put b k {value}")).ok();
    }
    bench.run("bucket edit b --history 1").ok();
    bench.run("bucket edit b --history 5").ok();
    assert_eq!(bench.run("history b k --json").ok().json()["value"], "three");
}

#[test]
fn changes_are_listed_from_a_revision_on() {
    let bench = Bench::with_bucket();
    for line in ["put b k one", "put b other x", "put b k two", "del b other"] {
        bench.run(line).ok();
    }
    let lines = bench.run("changes b --since 2 --json").ok().json_lines();
    let shown: Vec<_> = lines.iter().map(|line| (&line["revision"], &line["key"], &line["operation"])).collect();
    assert_eq!(shown, [(&json!(3), &json!("k"), &json!("put")), (&json!(4), &json!("other"), &json!("delete"))]);
    assert_eq!(bench.run("changes b --since 0").ok().lines().len(), 5, "a heading and four rows");
    assert_eq!(bench.run("changes b --since 4 --json").ok().text(), "");
    assert_eq!(bench.run("changes b").code, 2);
    bench.run("purge b --markers 0s").ok();
    bench.run("changes b --since 3").fails(1, "revision 4 is the next that can be asked for");
    bench.run("purge b --all").ok();
    bench.run("put b k three").ok();
    let lines = bench.run("changes b --since 3 --json").ok().json_lines();
    assert_eq!((&lines[0], &lines[1]["revision"]), (&json!({ "bucket": "b", "purged_through": 4 }), &json!(5)));
}

#[test]
fn a_long_list_of_changes_comes_in_tables() {
    let bench = Bench::with_bucket();
    let lines: String = (0..2_100).map(|number| format!("{{\"key\":\"k{number}\",\"value\":\"v\"}}\n")).collect();
    bench.feed(["load", "b"], lines.as_bytes()).ok();
    let answer = bench.run("changes b --since 100").ok();
    let rows = answer.lines();
    assert_eq!(rows.len(), 1 + 2_000);
    assert!(rows[2_000].contains("k2099") && rows[1].contains("k100"));
}

#[test]
fn a_time_to_live_is_told_and_touch_sets_it_anew() {
    let bench = Bench::with_bucket();
    for (line, has) in [("put b k v --ttl 1h", true), ("touch b k", false), ("touch b k --ttl 2days", true), ("put b k v", false)]
    {
        bench.run(line).ok();
        assert_eq!(bench.run("get b k --json").ok().json()["expires"].is_string(), has, "{line}");
    }
    assert_eq!(bench.run("history b k --json").ok().json_lines()[1]["reason"], "touched");
    bench.run("create b lock me --ttl 1h").ok();
    bench.run("update b lock me --revision 5 --ttl 1h").ok();
    bench.run("purge b lock --ttl 1h").ok();
    let marker = bench.run("history b lock --json").ok().json();
    assert_eq!((&marker["operation"], marker["expires"].is_string()), (&json!("purge"), true));
    bench.run("put b short v --ttl 1us").fails(2, "1 ms");
    bench.run("touch b nobody --ttl 1h").fails(1, "nobody has no value");
}

#[test]
fn keys_that_match_are_deleted_or_purged_together() {
    let bench = Bench::with_bucket();
    for key in ["eu.a", "eu.b", "us.a"] {
        bench.run(&format!("put b {key} v")).ok();
    }
    assert_eq!(bench.run("del b --matching eu.*").ok().text(), "2 keys, up to revision 5\n");
    assert_eq!(bench.run("keys b").ok().text(), "us.a\n");
    let purged = bench.run("purge b --matching > --json").ok().json();
    assert_eq!(purged, json!({ "bucket": "b", "pattern": ">", "keys": 1, "last_revision": 6 }));
    bench.run("del b --matching eu..a").fails(2, "eu..a");
    assert_eq!(bench.run("purge b --markers 1h").ok().text(), "3 keys\n");
    assert_eq!(bench.run("keys b --markers").ok().lines().len(), 3);
    bench.run("purge b --markers 0s").ok();
    assert_eq!(bench.run("keys b --markers").ok().text(), "");
}

#[test]
fn a_bucket_is_emptied_at_once_and_its_revisions_go_on() {
    let bench = Bench::with_bucket();
    for key in ["a", "b"] {
        bench.run(&format!("put b {key} v")).ok();
    }
    assert_eq!(bench.run("purge b --all").ok().text(), "through revision 2\n");
    assert_eq!(bench.run("history b >").ok().lines().len(), 1);
    assert_eq!(bench.run("put b a v").ok().text(), "3\n");
}

#[test]
fn a_reader_that_stops_early_is_not_told_of_a_broken_pipe() {
    let bench = Bench::with_bucket();
    let value = "x".repeat(100_000);
    bench.file("value", &value);
    bench.run_words(["put", "b", "k", "--file", bench.path("value").to_str().unwrap()]).ok();
    for _ in 0..4 {
        bench.run_words(["put", "b", "k", "--file", bench.path("value").to_str().unwrap()]).ok();
    }
    let mut child = program().arg("--store").arg(bench.store()).args(["--json", "history", "b", "k"]).spawn().unwrap();
    drop(child.stdout.take());
    let answer = crate::Answer::from(child.wait_with_output().unwrap());
    assert_eq!((answer.code, answer.stderr.as_str()), (0, ""));
}

#[test]
fn the_weaker_durability_is_taken() {
    let bench = Bench::with_bucket();
    bench.run("--durability os put b k v").ok();
    assert_eq!(bench.run("get b k").ok().text(), "v");
    assert_eq!(bench.run("put b k v --durability never").code, 2);
}

#[test]
fn help_documents_the_exit_codes() {
    let answer = crate::Answer::from(program().arg("--help").output().unwrap()).ok();
    assert!(answer.text().contains("Exit codes:") && answer.text().contains("value_base64"));
    assert!(!answer.text().contains("tour-writer"));
}
