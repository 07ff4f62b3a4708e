//! `bench`: a tiny run of each workload, for people and for programs.

use serde_json::Value as Json;

use crate::{Answer, Bench, program};

/// Runs it with temporary files beside the store.
fn bench(place: &Bench, line: &str) -> Answer {
    let temporary = place.path("tmp");
    std::fs::create_dir_all(&temporary).unwrap();
    let words = line.split(' ').filter(|word| !word.is_empty());
    Answer::from(
        program().env("TMPDIR", &temporary).args(["bench", "--keys", "500", "--time", "10ms"]).args(words).output().unwrap(),
    )
}

#[test]
fn every_workload_gives_a_figure_with_what_it_was_measured_under() {
    let place = Bench::empty();
    let answer = bench(&place, "--json --value-bytes 64 --key-bytes 30 --threads 2").ok();
    let mut lines = answer.json_lines();
    let summary = lines.pop().unwrap()["summary"].clone();
    let names: Vec<&str> = lines.iter().map(|line| line["workload"].as_str().unwrap()).collect();
    let all = [
        "load",
        "get",
        "get-miss",
        "scan",
        "seek-10",
        "seek-100",
        "overwrite",
        "cas",
        "mixed-50",
        "mixed-95",
        "batch",
        "synced",
        "reopen-close",
        "reopen-kill",
    ];
    assert_eq!(names, all);
    for line in &lines {
        let number = |field: &str| line[field].as_f64().unwrap_or_else(|| panic!("no {field} in {line}"));
        assert_eq!((number("keys"), number("value_bytes"), number("key_bytes")), (500.0, 64.0, 30.0));
        assert!(number("ops_per_s") > 0.0 && number("p50_ns") > 0.0 && number("p99_ns") >= number("p50_ns"), "{line}");
        assert_eq!(line["durability"], if line["workload"] == "synced" { "sync" } else { "os" });
        let alone = line["workload"].as_str().unwrap().starts_with("reopen");
        assert_eq!(line["threads"], if alone { 1 } else { 2 }, "{line}");
    }
    let settled: Vec<&Json> = lines.iter().filter(|line| line["settled"] == true).map(|line| &line["workload"]).collect();
    assert_eq!(settled, ["get", "get-miss", "scan", "seek-10", "seek-100", "overwrite"]);
    assert_eq!(summary["raw_bytes"], 500 * 94);
    assert!(summary["disk_peak_bytes"].as_u64() >= summary["disk_bytes"].as_u64() && summary["heap_peak_bytes"].is_u64());
    assert_eq!(std::fs::read_dir(place.path("tmp")).unwrap().count(), 0);
}

#[test]
fn a_table_says_what_was_measured_and_a_histogram_how_it_is_spread() {
    let place = Bench::empty();
    let answer =
        bench(&place, "--workload under-load,expire,overwrite --passes 2 --durability sync --histogram --unsettled").ok();
    let text = answer.text();
    for part in [
        "500 keys of 25 bytes",
        "Durability: sync",
        "Not settled",
        "p99.9",
        "put-under-load",
        "at its end",
        "up to",
        "###",
        "Memory:",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert_eq!(answer.lines().iter().filter(|line| line.starts_with("overwrite") && !line.contains(':')).count(), 2);
    assert!(!text.contains("cas") && !text.contains("Settled in"), "{text}");
}

#[test]
fn a_store_that_is_kept_can_be_looked_into_and_is_never_written_to_again() {
    let place = Bench::empty();
    let kept = place.path("kept");
    let line = format!("--workload load --keep {}", kept.to_str().unwrap());
    bench(&place, &line).ok();
    let info = program().arg("--store").arg(kept.join("store")).args(["bucket", "info", "bench", "--json"]).output().unwrap();
    assert_eq!(Answer::from(info).ok().json()["live_keys"], 500);
    bench(&place, &line).fails(2, "not empty");
}

#[test]
fn arguments_that_make_no_sense_are_usage_errors() {
    let place = Bench::empty();
    for line in ["--workload fly", "--keys 0", "--key-bytes 17", "--threads 0", "--value-bytes x", "--time 5"] {
        assert_eq!(bench(&place, line).code, 2, "{line}");
    }
}
