//! Scenarios of every change that the log knows beyond single writes: limits that move, purges of many keys, batches over buckets, entries
//! that expire by themselves, loads, tickets, sizes. What each must leave after a crash or fault is the oracle's business.
//!
//! Spans of time are far longer than what a run takes on the simulated clock, so it never matters when exactly a call came.

use std::time::Duration;

use annals::BucketConfig;
use annals::testing::disk::CrashPolicy;

use crate::script::Step::{
    Batch, Bucket, Close, Create, Cut, Delete, DeleteMatching, Drop, DropBucket, Edit, Flush, Jobs, Kill, Load, Look, Make,
    MergeAll, Open, Purge, PurgeAll, PurgeDeletes, PurgeMatching, Put, PutFor, Submit, Sweep, Touch, Update, UpdateStale, Wait,
};
use crate::script::{ALL, ONE, Part, Step, TWO, WEAK, scenario};
use crate::sweep::sweep;

const SECOND: u64 = 1_000;
const DAY: u64 = 86_400 * SECOND;

fn b() -> BucketConfig {
    BucketConfig::new("b")
}

fn steps(parts: &[&[Step]]) -> Vec<Step> {
    parts.concat()
}

/// Three keys with three entries each, some of them in a segment.
fn filled() -> Vec<Step> {
    let round = [Put("b", "a", 20), Put("b", "a.b", 30), Put("b", "c", 40)];
    steps(&[&[Open, Bucket("b", 3)], &round, &round, &[Flush], &round])
}

macro_rules! scenarios {
    ($($name:ident: $levels:expr, $setup:expr, $steps:expr;)+) => { $(
        #[test]
        fn $name() {
            sweep(&scenario(stringify!($name), $levels, $steps).after($setup).brief());
        }
    )+ };
}

// Limits.
scenarios! {
    lower_and_raise_the_history: TWO, steps(&[&filled(), &[Close]]), vec![
        Open, Edit(b().history(1)), Edit(b().history(5)), Put("b", "a", 9), Flush, MergeAll, Look,
    ];
    raise_the_history_without_a_flush: TWO, steps(&[&filled(), &[Close]]), vec![
        Open, Edit(b().history(2)), Put("b", "a", 9), Edit(b().history(4)), Put("b", "a", 9), Kill, Open, Put("b", "a", 9), Look,
    ];
    lower_and_raise_the_age: TWO, steps(&[&filled(), &[Close]]), vec![
        Open, Wait(SECOND), Put("b", "a", 7), Edit(b().history(3).max_age(Duration::from_millis(500))),
        Edit(b().history(3)), Kill, Open, Look, Wait(SECOND), Flush, MergeAll, Look,
    ];
    age_over_a_crash: TWO, vec![Open, Make(b().max_age(Duration::from_secs(3_600))), Put("b", "a", 9), Close], vec![
        Open, Put("b", "c", 9), Wait(DAY), Cut(CrashPolicy::KeepAll), Open, Look, Create("b", "c"), Flush, MergeAll, Look,
    ];
    edit_everything_else: TWO, steps(&[&filled(), &[Close]]), vec![
        Open, Edit(b().history(3).max_value_size(30).description("new")), Put("b", "a", 31), Put("b", "a", 30), Kill, Open,
        Put("b", "a", 31), Close, Open, Look,
    ];
}

// Sizes.
scenarios! {
    a_size_is_exact_after_recovery: TWO, steps(&[&filled(), &[Close]]), vec![
        Open, Edit(b().history(3).max_bytes(700)), Put("b", "d", 20), Put("b", "a", 20), Kill, Open, Put("b", "e", 100), Put("b", "d", 1),
        Put("b", "f", 200), Delete("b", "f"), Look,
    ];
    a_size_over_flush_and_merge: TWO, steps(&[&filled(), &[Edit(b().history(3).max_bytes(600)), Put("b", "a", 9), Close]]), vec![
        Open, Put("b", "a", 9), Flush, Put("b", "d", 60), MergeAll, Put("b", "d", 70), Purge("b", "a"), Put("b", "d", 70), Look,
    ];
    a_size_that_time_shrinks: TWO, vec![Open, Make(b().max_bytes(120)), PutFor("b", "a", 30, SECOND), Close], vec![
        Open, Put("b", "c", 30), Wait(DAY), Cut(CrashPolicy::KeepAll), Open, Put("b", "c", 30), Put("b", "d", 16), Put("b", "e", 16), Look,
    ];
}

// Many keys at once.
scenarios! {
    purge_everything: TWO, steps(&[&filled(), &[Close]]), vec![
        Open, PurgeAll("b"), Look, Put("b", "a", 9), PurgeAll("b"), PurgeAll("b"), Put("b", "c", 9), Look,
    ];
    purge_everything_and_merge: TWO, steps(&[&filled(), &[Close]]), vec![
        Open, Put("b", "d", 8), PurgeAll("b"), Put("b", "a", 9), Kill, Open, Flush, MergeAll, Look, Put("b", "c", 9),
    ];
    purge_markers: TWO, steps(&[&filled(), &[Delete("b", "a"), Flush, Purge("b", "c"), Close]]), vec![
        Open, PurgeDeletes("b", DAY), Look, Put("b", "a", 9), Delete("b", "a.b"), PurgeDeletes("b", 0), Look, Create("b", "c"),
    ];
    purge_markers_and_merge: TWO, steps(&[&filled(), &[Delete("b", "a"), Delete("b", "c"), Close]]), vec![
        Open, PurgeDeletes("b", 0), Kill, Open, Look, Flush, MergeAll, Look, Put("b", "a", 9), MergeAll, Look,
    ];
    delete_and_purge_matching: TWO, steps(&[&filled(), &[Close]]), vec![
        Open, DeleteMatching("b", "a.>"), PurgeMatching("b", ">"), Put("b", "a", 9), DeleteMatching("b", "*"), Kill, Open, Look,
    ];
    load_values: ALL, steps(&[&filled(), &[Close]]), vec![Open, Load("b", 30, 100), Load("b", 3, 10), Kill, Open, Look];
    submit_and_do_not_wait: ALL, steps(&[&filled(), &[Close]]), vec![
        Open, Submit("b", "a", 20), Submit("b", "d", 20), Submit("b", "a", 20), Drop, Open, Look,
    ];
}

// Batches.
scenarios! {
    a_batch_over_two_buckets: ALL, steps(&[&filled(), &[Bucket("c", 1), Put("c", "x", 10), Close]]), vec![
        Open,
        Batch(vec![("b", "a", Part::Put(600)), ("c", "x", Part::Delete), ("b", "a", Part::Put(500)), ("c", "y", Part::Create(9))]),
        Look, Kill, Open, Put("c", "x", 3), Look,
    ];
    batches_with_conditions: TWO, steps(&[&filled(), &[Bucket("c", 2), Close]]), vec![
        Open,
        Batch(vec![("b", "a", Part::Check), ("c", "x", Part::Put(9)), ("b", "a", Part::Update(9))]),
        Batch(vec![("c", "x", Part::Put(9)), ("b", "c", Part::CheckStale)]),
        Batch(vec![("b", "a.b", Part::Check)]),
        Batch(vec![("b", "c", Part::Purge), ("c", "x", Part::Delete), ("b", "c", Part::PutFor(5, DAY))]),
        Flush, Look,
    ];
    a_batch_longer_than_a_log_file: WEAK, vec![Open, Bucket("b", 2), Bucket("c", 1), Close], vec![
        Open, Put("b", "a", 9), Batch(vec![("b", "a", Part::Put(6_000)), ("c", "x", Part::Put(6_000))]), Put("c", "x", 9), Look,
    ];
}

// Time to live.
scenarios! {
    entries_that_expire_over_a_crash: TWO, steps(&[&filled(), &[Close]]), vec![
        Open, PutFor("b", "a", 9, SECOND), PutFor("b", "c", 9, 30 * DAY), Wait(DAY), Cut(CrashPolicy::KeepAll), Open, Look,
        Put("b", "a", 9), Look,
    ];
    a_new_life_over_an_expired_entry: TWO, steps(&[&filled(), &[PutFor("b", "a", 9, SECOND), Close]]), vec![
        Open, Wait(DAY), Put("b", "a", 9), Kill, Open, Look, Flush, MergeAll, Look, Put("b", "a", 9),
    ];
    an_expired_entry_under_a_newer_one: TWO, steps(&[&filled(), &[PutFor("b", "a", 9, SECOND), Put("b", "a", 8), Flush, Close]]), vec![
        Open, Wait(DAY), Look, Put("b", "a", 9), Flush, MergeAll, Look, Put("b", "a", 9), Look,
    ];
    touch_before_and_after_the_end: TWO, steps(&[&filled(), &[Close]]), vec![
        Open, PutFor("b", "a", 9, SECOND), Touch("b", "a", 30 * DAY), Touch("b", "c", SECOND), Wait(DAY), Touch("b", "c", DAY), Look,
        Kill, Open, Touch("b", "a", 0), Wait(60 * DAY), Look,
    ];
    the_first_deadline_of_a_bucket: TWO, steps(&[&filled(), &[Close]]), vec![
        Open, Flush, PutFor("b", "a", 9, SECOND), Kill, Open, Wait(DAY), Update("b", "c"), Put("b", "a", 9), Look,
    ];
}

/// Bucket `b` with markers of expiry, three keys that are going to expire, two of them in a segment.
fn leased() -> Vec<Step> {
    let lease = |key| PutFor("b", key, 20, SECOND);
    vec![Open, Make(marked()), Put("b", "a", 9), lease("a"), lease("c"), Flush, lease("d"), Close]
}

fn marked() -> BucketConfig {
    b().history(3).limit_markers(Duration::from_secs(30 * 86_400))
}

// Markers of expiry.
scenarios! {
    markers_of_what_has_expired: ALL, leased(), vec![Open, Wait(DAY), Sweep, Look, Sweep, Kill, Open, Sweep, Look];
    markers_over_a_power_cut: TWO, leased(), vec![
        Open, Wait(DAY), Put("b", "e", 9), Sweep, Cut(CrashPolicy::LoseAll), Open, Sweep, Look, Cut(CrashPolicy::Subset), Open, Sweep, Look,
    ];
    markers_that_are_flushed_and_merged: TWO, leased(), vec![
        Open, Wait(DAY), Flush, Sweep, Flush, MergeAll, Look, Wait(60 * DAY), Sweep, Flush, MergeAll, Look, Create("b", "a"),
    ];
    what_has_expired_waits_for_its_marker: TWO, leased(), vec![
        Open, Wait(DAY), Flush, MergeAll, Kill, Open, MergeAll, Sweep, Look, Flush, MergeAll, Look,
    ];
    writes_over_what_has_expired: TWO, leased(), vec![
        Open, Wait(DAY), Put("b", "a", 9), UpdateStale("b", "c"), Submit("b", "d", 9), Look, Sweep, Kill, Open, Look,
    ];
    a_batch_over_what_has_expired: TWO, leased(), vec![
        Open, Wait(DAY), Batch(vec![("b", "a", Part::Put(9)), ("b", "d", Part::CheckStale)]),
        Batch(vec![("b", "c", Part::Create(9)), ("b", "e", Part::Put(9))]), Kill, Open, Look,
    ];
    markers_of_what_is_too_old: TWO, leased(), vec![
        Open, Edit(marked().max_age(Duration::from_secs(3_600))), Put("b", "c", 9), Wait(DAY), Sweep, Look, Put("b", "e", 9), Flush, MergeAll,
        Wait(2 * DAY), Edit(marked()), Look, Sweep, Kill, Open, Look,
    ];
    markers_are_switched_on_and_off: TWO, vec![Open, Make(b()), PutFor("b", "a", 9, SECOND), PutFor("b", "c", 9, DAY), Close], vec![
        Open, Wait(SECOND), Edit(marked()), Sweep, Wait(2 * DAY), Edit(b()), Look, PutFor("b", "d", 9, SECOND), Wait(DAY), Sweep, Kill, Open,
        Put("b", "a", 9), Look,
    ];
    a_purge_of_everything_before_the_markers: TWO, leased(), vec![
        // A key that lives shows whether it went.
        Open, Wait(DAY), Put("b", "e", 9), PurgeAll("b"), Sweep, Look, Put("b", "a", 9), Kill, Open, Sweep, Look,
    ];
}

// Buckets that come again.
scenarios! {
    a_bucket_with_limits_comes_again: TWO, steps(&[&filled(), &[Edit(b().history(3).max_bytes(2_000)), Close]]), vec![
        Open, PurgeDeletes("b", 0), DropBucket("b"), Make(b().max_bytes(100)), Put("b", "a", 60), Put("b", "c", 60), Kill, Open,
        Put("b", "c", 60), Jobs, MergeAll, Look,
    ];
    everything_in_one_log: ONE, vec![Open, Close], vec![
        Open, Bucket("b", 2), PutFor("b", "a", 9, SECOND), Edit(b().history(3).max_bytes(500)), Wait(DAY), Put("b", "a", 9),
        Batch(vec![("b", "c", Part::Put(9)), ("b", "d", Part::PutFor(9, SECOND))]), Delete("b", "c"), PurgeDeletes("b", 0),
        PurgeAll("b"), Edit(b()), Put("b", "a", 9), Look,
    ];
}
