//! `export` and `load`: what goes out comes in again, and nothing is passed over.

use serde_json::{Value as Json, json};

use crate::{Answer, Bench};

/// A bucket `b` with text, bytes, an overwritten and a deleted key, and an empty bucket `c`.
fn bench_with_entries() -> Bench {
    let bench = Bench::with_bucket();
    bench.run("bucket add c --history 5").ok();
    for line in ["put b text one", "put b text two", "put b gone x", "del b gone", "put b eu.a 1"] {
        bench.run(line).ok();
    }
    bench.feed(["put", "b", "bytes", "-"], &[0xff, 0, 10]).ok();
    bench.run_words(["put", "b", "empty", ""]).ok();
    bench
}

fn load(bench: &Bench, lines: &str) -> Answer {
    bench.feed(["load", "c"], lines.as_bytes())
}

/// Entries without what a load gives anew.
fn without_numbers(answer: &Answer) -> Vec<Json> {
    let mut entries = answer.json_lines();
    for entry in &mut entries {
        let fields = entry.as_object_mut().unwrap();
        for field in ["bucket", "revision", "created", "expires"] {
            fields.remove(field);
        }
    }
    entries
}

#[test]
fn an_export_has_a_line_for_each_key_that_holds_a_value_in_key_order() {
    let bench = bench_with_entries();
    let lines = bench.run("export b").ok().json_lines();
    let keys: Vec<&str> = lines.iter().map(|line| line["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["bytes", "empty", "eu.a", "text"]);
    assert_eq!((&lines[0]["value_base64"], lines[0].get("value")), (&json!("/wAK"), None));
    assert_eq!((&lines[3]["value"], &lines[3]["revision"]), (&json!("two"), &json!(2)));
    assert_eq!(bench.run("export b eu.> text").ok().lines().len(), 2);
}

#[test]
fn a_history_is_exported_in_the_order_of_revisions() {
    let bench = bench_with_entries();
    let lines = bench.run("export b --history").ok().json_lines();
    let revisions: Vec<u64> = lines.iter().map(|line| line["revision"].as_u64().unwrap()).collect();
    assert_eq!(revisions, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!((&lines[3]["operation"], lines[3].get("value")), (&json!("delete"), None));
    assert_eq!(bench.run("export b gone --history").ok().lines().len(), 2);
    bench.run("export b a b --history").fails(2, "2 filters");
}

#[test]
fn what_was_exported_is_loaded_as_it_was() {
    let bench = bench_with_entries();
    for verb in ["export b", "export b --history"] {
        let exported = bench.run(verb).ok();
        let report = bench.feed(["load", "c", "--json"], &exported.stdout).ok().json();
        assert_eq!((&report["loaded"], &report["expired"]), (&json!(exported.lines().len()), &json!(0)));
        let again = bench.run(&verb.replace(" b", " c")).ok();
        assert_eq!(without_numbers(&again), without_numbers(&exported), "{verb}");
        bench.run("purge c --all").ok();
    }
}

#[test]
fn what_history_prints_is_loaded_too_and_a_file_is_read() {
    let bench = bench_with_entries();
    let history = bench.run("history b text --json").ok();
    bench.file("lines", &history.stdout);
    let answer = bench.run_words(["load", "c", bench.path("lines").to_str().unwrap()]).ok();
    assert!(answer.text().starts_with("loaded 2 lines"), "{}", answer.text());
    assert_eq!(bench.run("get c text").ok().text(), "two");
    bench.run("load c /no/such/file").fails(6, "/no/such/file");
    bench.run("load nowhere").fails(1, "bucket nowhere");
}

#[test]
fn a_bad_line_is_named_and_ends_the_load() {
    let bench = bench_with_entries();
    for (line, reason) in [("{", "EOF"), (r#"{"key":"a..b","value":"x"}"#, "a..b"), (r#"{"key":"a"}"#, "value")] {
        let answer = load(&bench, &format!("{{\"key\":\"k\",\"value\":\"v\"}}\n\n{line}\n")).fails(2, "line 3 of -");
        assert!(answer.stderr.contains(reason), "{}", answer.stderr);
        assert_eq!(answer.stdout, b"");
        // The batch that the bad line would have been in.
        bench.run("get c k").fails(1, "k");
    }
}

#[test]
fn batches_before_a_bad_line_stay_and_it_is_said_how_many() {
    let bench = bench_with_entries();
    let mut lines: String = (0..2500).map(|number| format!("{{\"key\":\"k.{number}\",\"value\":\"v\"}}\n")).collect();
    lines.push_str("no entry");
    let answer = load(&bench, &lines).fails(2, "line 2501 of -");
    assert!(answer.stderr.contains("loaded 2,000 before") && answer.stderr.contains("up to line 2000"), "{}", answer.stderr);
    assert_eq!(bench.run("bucket info c --json").ok().json()["live_keys"], 2000);
}

#[test]
fn a_value_that_the_bucket_refuses_names_the_lines() {
    let bench = bench_with_entries();
    bench.run("bucket edit c --max-value-size 3").ok();
    load(&bench, "{\"key\":\"k\",\"value\":\"1234\"}").fails(2, "lines 1 to 1 of -");
}

#[test]
fn a_deadline_goes_along_and_one_that_has_passed_is_counted() {
    let bench = bench_with_entries();
    bench.run("put b session token --ttl 1h").ok();
    let exported = bench.run("export b session").ok();
    assert!(exported.json()["expires"].is_string());
    let past = r#"{"key":"old","value":"x","expires":"2001-01-01T00:00:00Z"}"#;
    let report = bench.feed(["load", "c", "--json"], format!("{}{past}\n", exported.text()).as_bytes()).ok().json();
    assert_eq!((&report["loaded"], &report["expired"]), (&json!(1), &json!(1)));
    assert!(bench.run("export c").ok().json()["expires"].is_string());
    assert!(load(&bench, past).ok().text().contains("left out 1 line"));
}
