use std::time::Duration;

use super::*;
use crate::config::BucketConfig;

const SECOND: u64 = 1_000_000_000;

fn put(key: &str, text: &str) -> Commit {
    Commit::Write(KeyWrite::new("b", key, Write::Put(text.into())))
}

fn write(write: Write) -> Commit {
    Commit::Write(KeyWrite::new("b", "k", write))
}

fn with_bucket(config: BucketConfig) -> Oracle {
    let mut oracle = Oracle::new();
    oracle.apply(&Commit::Create(config));
    oracle
}

fn revisions(oracle: &Oracle) -> Vec<u64> {
    oracle.buckets["b"].history("k").iter().map(|(_, one)| one.revision).collect()
}

#[test]
fn the_matcher_follows_the_definition() {
    let cases = [("a", "a", true), ("a", "a.b", false), ("a.*", "a.b", true), ("a.*", "a", false), ("a.*", "a.b.c", false)];
    let more = [("a.>", "a.b.c", true), ("a.>", "a", false), (">", "a", true), ("*.>", "a", false), ("*.b", "x.b", true)];
    for (pattern, key, expected) in cases.into_iter().chain(more) {
        assert_eq!(matches(pattern, key), expected, "{pattern} on {key}");
    }
}

#[test]
fn history_is_trimmed_and_a_purge_leaves_itself_alone() {
    let mut oracle = with_bucket(BucketConfig::new("b").history(2));
    for text in ["1", "2", "3"] {
        oracle.apply(&put("k", text));
    }
    assert_eq!(revisions(&oracle), [2, 3]);
    oracle.apply(&write(Write::Purge));
    assert_eq!(revisions(&oracle), [4]);
    oracle.apply(&put("k", "5"));
    assert_eq!(revisions(&oracle), [4, 5]);
}

#[test]
fn conditions_are_judged_by_the_newest_entry_marker_or_not() {
    let mut oracle = with_bucket(BucketConfig::new("b"));
    let wrong = |actual| Err(Refusal { kind: ErrorKind::WrongRevision, actual_revision: Some(actual) });
    assert_eq!(oracle.expected(&write(Write::Update(vec![], 5))), wrong(0));
    assert_eq!(oracle.expected(&write(Write::Update(vec![], 0))), Ok(()));
    oracle.apply(&put("k", "1"));
    let exists = Refusal { kind: ErrorKind::AlreadyExists, actual_revision: Some(1) };
    assert_eq!(oracle.expected(&write(Write::Create(vec![]))), Err(exists));
    oracle.apply(&write(Write::Delete));
    assert_eq!(oracle.expected(&write(Write::Create(vec![]))), Ok(()));
    assert_eq!(oracle.expected(&write(Write::DeleteExpecting(0))), Ok(()));
    assert_eq!(oracle.expected(&write(Write::PurgeExpecting(1))), wrong(2));
}

#[test]
fn an_answer_that_differs_is_a_mismatch() {
    let mut oracle = with_bucket(BucketConfig::new("b"));
    let revision = |revision| Ok(Answer::Revisions(vec![revision]));
    let refused = Err(Error::new(ErrorKind::WrongRevision, "stale"));
    assert!(oracle.observe(&put("k", "1"), &refused).is_err());
    assert!(oracle.clone().observe(&put("k", "1"), &revision(2)).is_err());
    assert!(oracle.observe(&put("k", "1"), &revision(1)).is_ok());
    assert!(oracle.observe(&write(Write::Create(vec![])), &revision(2)).is_err());
    oracle.allow_gap();
    assert!(oracle.observe(&put("k", "2"), &revision(1 << 20)).is_ok());
}

#[test]
fn at_its_exact_deadline_the_newest_entry_takes_the_key_with_it() {
    let mut oracle = with_bucket(BucketConfig::new("b").history(5));
    oracle.apply(&put("k", "1"));
    oracle.apply(&Commit::Write(KeyWrite { ttl: SECOND, ..KeyWrite::new("b", "k", Write::Put(b"2".to_vec())) }));
    oracle.pass_to(SECOND - 1);
    assert_eq!(revisions(&oracle), [1, 2]);
    assert_eq!(oracle.next_expiry(), Some(SECOND));
    oracle.pass_to(SECOND);
    assert_eq!(revisions(&oracle), []);
    oracle.apply(&put("k", "3"));
    assert_eq!(revisions(&oracle), [3]);
}

#[test]
fn a_superseded_entry_goes_alone_and_its_place_stays_taken() {
    let mut oracle = with_bucket(BucketConfig::new("b").history(3));
    oracle.apply(&put("k", "1"));
    oracle.apply(&Commit::Write(KeyWrite { ttl: SECOND, ..KeyWrite::new("b", "k", Write::Put(b"2".to_vec())) }));
    oracle.apply(&put("k", "3"));
    oracle.pass_to(SECOND);
    assert_eq!(revisions(&oracle), [1, 3]);
    oracle.apply(&put("k", "4"));
    assert_eq!(revisions(&oracle), [3, 4], "the expired one is third");
}

#[test]
fn what_a_lower_limit_took_does_not_come_back_with_a_higher_one() {
    let config = |depth, age: Option<u64>| BucketConfig::new("b").history(depth).max_age(age.map(Duration::from_nanos));
    let mut oracle = with_bucket(config(5, None));
    for text in ["1", "2", "3"] {
        oracle.apply(&put("k", text));
        oracle.pass_to(oracle.now() + SECOND);
    }
    oracle.apply(&Commit::Edit(config(2, None)));
    oracle.apply(&Commit::Edit(config(5, None)));
    assert_eq!(revisions(&oracle), [2, 3]);
    oracle.apply(&Commit::Edit(config(5, Some(SECOND + 1))));
    oracle.apply(&Commit::Edit(config(5, None)));
    assert_eq!(revisions(&oracle), [3]);
}

#[test]
fn a_full_bucket_is_judged_by_the_net_of_a_batch() {
    let mut oracle = with_bucket(BucketConfig::new("b").max_bytes(80));
    oracle.apply(&put("a", "123"));
    oracle.apply(&put("b", "123"));
    assert_eq!(oracle.expected(&put("c", "")), Err(Refusal::of(ErrorKind::BucketFull)));
    assert_eq!(oracle.expected(&put("a", "1234567")), Ok(()));
    assert_eq!(oracle.expected(&Commit::Write(KeyWrite::new("b", "c", Write::Delete))), Ok(()));
    let swap = |text: &str| {
        let smaller = KeyWrite::new("b", "a", Write::Delete);
        Commit::Batch(vec![KeyWrite::new("b", "b", Write::Put(text.into())), smaller])
    };
    assert_eq!(oracle.expected(&swap("1234567890")), Ok(()));
    assert_eq!(oracle.expected(&swap("123456789012345")), Err(Refusal::of(ErrorKind::BucketFull)));
}

#[test]
fn the_past_is_known_where_nothing_went_and_never_guessed() {
    let mut oracle = with_bucket(BucketConfig::new("b").history(2));
    oracle.apply(&put("k", "1"));
    oracle.apply(&put("other", "2"));
    oracle.apply(&put("k", "3"));
    oracle.apply(&put("other", "4"));
    let one = |text: &str| vec![Some(text.as_bytes().into())];
    let past = |oracle: &Oracle, revision| oracle.buckets["b"].as_of("k", revision);
    assert_eq!(past(&oracle, 2), Past { values: one("1"), may_be_compacted: false });
    assert_eq!(oracle.buckets["b"].as_of("other", 1), Past { values: vec![None], may_be_compacted: false });
    oracle.apply(&put("k", "5"));
    oracle.apply(&put("k", "6"));
    assert_eq!(past(&oracle, 2), Past { values: one("1"), may_be_compacted: true });
    assert_eq!(past(&oracle, 5), Past { values: one("5"), may_be_compacted: false });
}
