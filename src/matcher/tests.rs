//! Strategy: a small alphabet, so that patterns and keys often fit, share tokens and nodes; filters come and go in any order, in two buckets.
//! Invariant: after every step, whom the matcher finds for a key is, as a multiset, whom the plain walk over all filters with
//! `Pattern::matches` finds; and once all filters are gone, nothing is kept.

use std::ops::ControlFlow;

use proptest::prelude::*;

use super::Matcher;
use crate::hash::KeyHasher;
use crate::number::BucketId;
use crate::subject::Pattern;

const HASHER: KeyHasher = KeyHasher::new(7);

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

fn find(matcher: &mut Matcher<u32>, bucket: BucketId, key: &str) -> Vec<u32> {
    let mut found = Vec::new();
    let ended = matcher.find(bucket, key.as_bytes(), HASHER.hash(bucket, key.as_bytes()), |who| {
        found.push(who);
        ControlFlow::Continue(())
    });
    assert!(ended.is_continue());
    found.sort_unstable();
    found
}

/// All filters in a list.
#[derive(Default)]
struct Naive(Vec<(BucketId, Pattern, u32)>);

impl Naive {
    fn find(&self, bucket: BucketId, key: &str) -> Vec<u32> {
        let matching = self.0.iter().filter(|filter| filter.0 == bucket && filter.1.matches(key.as_bytes()));
        let mut found: Vec<u32> = matching.map(|filter| filter.2).collect();
        found.sort_unstable();
        found
    }

    fn remove(&mut self, bucket: BucketId, pattern: &Pattern, who: u32) {
        let position = self.0.iter().position(|filter| (filter.0, &filter.1, filter.2) == (bucket, pattern, who));
        if let Some(at) = position {
            self.0.remove(at);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Add(u64, String, u32),
    Remove(u64, String, u32),
}

fn texts(wildcards: bool) -> impl Strategy<Value = String> {
    let token = if wildcards { "[ab*]|aa" } else { "[abc]|aa" };
    let end = if wildcards { "(\\.>)?" } else { "" };
    (prop::collection::vec(token, 1..4), end).prop_map(|(tokens, end)| tokens.join(".") + &end)
}

fn filters() -> impl Strategy<Value = String> {
    prop_oneof![4 => texts(true), 3 => texts(false), 1 => Just(">".to_owned())]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (any::<bool>(), 1..3_u64, filters(), 0..4_u32).prop_map(|(is_add, bucket, text, who)| match is_add {
        true => Step::Add(bucket, text, who),
        false => Step::Remove(bucket, text, who),
    });
    prop::collection::vec(step, 0..40)
}

proptest! {
    #[test]
    fn the_matcher_finds_whom_the_plain_walk_finds(steps in steps(), keys in prop::collection::vec(texts(false), 1..6)) {
        let (mut matcher, mut naive) = (Matcher::new(HASHER), Naive::default());
        for step in steps {
            match step {
                Step::Add(bucket, text, who) => {
                    matcher.add(BucketId(bucket), &pattern(&text), who);
                    naive.0.push((BucketId(bucket), pattern(&text), who));
                }
                Step::Remove(bucket, text, who) => {
                    matcher.remove(BucketId(bucket), &pattern(&text), who);
                    naive.remove(BucketId(bucket), &pattern(&text), who);
                }
            }
            for (key, bucket) in keys.iter().flat_map(|key| [(key, BucketId(1)), (key, BucketId(2))]) {
                prop_assert_eq!(find(&mut matcher, bucket, key), naive.find(bucket, key), "{} in {:?}", key, bucket);
            }
        }
        for (bucket, pattern, who) in naive.0 {
            matcher.remove(bucket, &pattern, who);
        }
        prop_assert!(matcher.buckets.is_empty());
    }
}

#[test]
fn a_search_ends_where_it_is_told_to() {
    let mut matcher = Matcher::new(HASHER);
    for who in 0..10 {
        matcher.add(BucketId(1), &pattern("a"), who);
        matcher.add(BucketId(1), &pattern("*"), who);
        matcher.add(BucketId(1), &pattern(">"), who);
    }
    for count in 1..30 {
        let mut seen = 0;
        let ended = matcher.find(BucketId(1), b"a", HASHER.hash(BucketId(1), b"a"), |_| {
            seen += 1;
            if seen == count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!((seen, ended), (count, ControlFlow::Break(())));
    }
}

#[test]
fn nodes_that_nothing_needs_are_used_again() {
    let mut matcher = Matcher::new(HASHER);
    matcher.add(BucketId(1), &pattern(">"), 0);
    for round in 0..100 {
        let text = format!("a.{round}.*.c.>");
        matcher.add(BucketId(1), &pattern(&text), round);
        assert_eq!(find(&mut matcher, BucketId(1), &format!("a.{round}.x.c.d.e")), if round == 0 { [0, 0] } else { [0, round] });
        matcher.remove(BucketId(1), &pattern(&text), round);
    }
    let patterns = &matcher.buckets[&BucketId(1)].patterns;
    assert!(patterns.node_count() <= 5, "{} nodes", patterns.node_count());
}

#[test]
fn a_key_of_thousands_of_tokens_is_walked_without_recursion() {
    let mut matcher = Matcher::new(HASHER);
    let (stars, key) = (["*"; 2_000].join("."), ["a"; 2_000].join("."));
    matcher.add(BucketId(1), &pattern(&stars), 1);
    matcher.add(BucketId(1), &pattern("a.>"), 2);
    assert_eq!(find(&mut matcher, BucketId(1), &key), [1, 2]);
}
