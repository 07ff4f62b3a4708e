//! The tour, on a small tree.

use crate::{Answer, Bench, program};

#[test]
fn the_tour_shows_its_five_parts_loses_nothing_and_cleans_up() {
    let bench = Bench::empty();
    for number in 0..10 {
        bench.file(&format!("tree/{number}.txt"), format!("{number} ").repeat(100));
    }
    bench.file("tree/target/left-out", "x");
    let temporary = bench.path("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let tour = program().env("TMPDIR", &temporary).args(["tour", "--source"]).arg(bench.path("tree")).output().unwrap();
    let answer = Answer::from(tour).ok();
    let text = answer.text();
    assert!(text.contains("Stored 10 files") && text.contains("compared 10 files") && text.contains("wrote 0"), "{text}");
    assert!(text.contains("refused, it is at revision 2") && text.contains("keys 'us.>': us.ca.theme, us.theme"), "{text}");
    assert!(text.contains("eu.report = queued at revision 4") && text.contains("the newest of every key among them"), "{text}");
    assert!(text.contains("none twice, none left out") && text.contains("SIGKILL") && text.contains("lost 0."), "{text}");
    assert!(text.contains("put, synced") && text.contains("keys in order") && text.contains("is removed"), "{text}");
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
}

#[test]
fn a_tour_that_is_cut_says_so_and_what_is_kept_can_be_used() {
    let bench = Bench::empty();
    for number in 0..10 {
        bench.file(&format!("tree/{number}"), "x");
    }
    let mut tour = program();
    tour.arg("tour").arg("--source").arg(bench.path("tree")).arg("--keep").arg(bench.store()).args(["--limit-files", "4"]);
    let answer = Answer::from(tour.output().unwrap()).ok();
    assert!(answer.text().contains("4 files") && answer.text().contains("--limit-files"), "{}", answer.text());
    assert_eq!(bench.run("keys tree").ok().lines().len(), 4);
    assert_eq!(bench.run("bucket ls").ok().lines(), ["crash", "jobs", "rates", "settings", "tree"]);
    Answer::from(tour.output().unwrap()).fails(2, "not empty");
}

#[test]
fn the_tour_has_no_json() {
    Answer::from(program().args(["tour", "--json"]).output().unwrap()).stderr.contains("no JSON").then_some(()).unwrap();
}
