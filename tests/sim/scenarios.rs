//! The scenarios: what a store does in its life, in about forty short scripts.

use annals::testing::disk::CrashPolicy;

use crate::script::Step::{
    Bucket, Close, Compact, Create, Cut, CutInPut, Delete, DeleteStale, Drop, DropBucket, Flush, Jobs, Kill, Look, MergeAll,
    Open, OpenAgain, Purge, Put, Sync, Update, UpdateStale, Verify,
};
use crate::script::{ALL, CROWDED, ONE, SLICED, Scenario, Step, TWO, VALUE_LEN_MAX, WEAK, scenario};
use crate::sweep::sweep;

/// So many puts of that size over three keys.
fn puts(count: usize, len: usize) -> Vec<Step> {
    let keys = ["a", "a.b", "c"];
    (0..count).map(|index| Put("b", keys[index % keys.len()], len)).collect()
}

fn steps(parts: &[&[Step]]) -> Vec<Step> {
    parts.concat()
}

macro_rules! scenarios {
    ($($name:ident: $levels:expr, $make:expr;)+) => { $(
        #[test]
        fn $name() {
            let make: fn(&'static str, &'static [crate::script::Level]) -> Scenario = $make;
            sweep(&make(stringify!($name), $levels));
        }
    )+ };
}

/// A new store with bucket `b` of that depth.
fn fresh(depth: u8) -> Vec<Step> {
    vec![Open, Bucket("b", depth)]
}

// Creation and single commits.
scenarios! {
    create_a_store: ONE, |name, levels| scenario(name, levels, vec![Open, Close]);
    create_a_store_and_drop_it: TWO, |name, levels| scenario(name, levels, vec![Open, Drop, Open]);
    open_an_empty_store_again: ONE, |name, levels| {
        scenario(name, levels, vec![Open, Close, Open]).after(vec![Open, Close])
    };
    create_buckets: TWO, |name, levels| {
        scenario(name, levels, vec![Open, Bucket("b", 1), Bucket("c", 5), Bucket("b", 1), Bucket("b", 2), Look])
            .after(vec![Open, Close])
    };
    first_commit: ALL, |name, levels| scenario(name, levels, vec![Open, Bucket("b", 1), Put("b", "a", 20), Look, Close]);
    several_puts: ALL, |name, levels| {
        scenario(name, levels, steps(&[&[Open], &puts(6, 40), &[Look]])).after(steps(&[&fresh(3), &[Close]]))
    };
    conditions_that_fail: ONE, |name, levels| {
        let losers = [Create("b", "a"), Create("b", "a"), UpdateStale("b", "a"), Update("b", "a"), DeleteStale("b", "a"), Look];
        scenario(name, levels, steps(&[&[Open], &losers])).after(steps(&[&fresh(2), &[Close]]))
    };
    conditions_on_what_is_in_a_segment: ONE, |name, levels| {
        let setup = steps(&[&fresh(2), &[Put("b", "a", 20), Delete("b", "x"), Close]]);
        scenario(name, levels, vec![Open, Create("b", "a"), Update("b", "a"), Create("b", "x"), UpdateStale("b", "a")])
            .after(setup)
    };
    delete_a_key: TWO, |name, levels| {
        let setup = steps(&[&fresh(3), &puts(4, 20), &[Close]]);
        scenario(name, levels, vec![Open, Delete("b", "a"), Delete("b", "none"), Look, Put("b", "a", 5)]).after(setup)
    };
    purge_a_key: TWO, |name, levels| {
        let setup = steps(&[&fresh(3), &puts(4, 20), &[Close]]);
        scenario(name, levels, vec![Open, Purge("b", "a"), Look, Put("b", "a", 5), Purge("b", "c"), Flush]).after(setup)
    };
    values_at_their_limits: TWO, |name, levels| {
        let sizes = [Put("b", "a", 0), Put("b", "a", VALUE_LEN_MAX), Put("b", "c", VALUE_LEN_MAX + 1), Look];
        scenario(name, levels, steps(&[&[Open], &sizes])).after(steps(&[&fresh(2), &[Close]]))
    };
}

// Log files, memtables, segments.
scenarios! {
    rotate_the_log: ALL, |name, levels| {
        scenario(name, levels, steps(&[&[Open], &puts(6, 2500), &[Look, Drop]])).after(steps(&[&fresh(3), &[Close]]))
    };
    rotate_with_background_work: ALL, |name, levels| {
        scenario(name, levels, steps(&[&[Open], &puts(3, 2500), &[Jobs], &puts(2, 2500), &[Jobs]]))
            .after(steps(&[&fresh(3), &[Close]]))
    };
    fill_the_memtable_before_the_log: CROWDED, |name, levels| {
        scenario(name, levels, steps(&[&[Open], &puts(7, 300), &[Look, Drop]])).after(steps(&[&fresh(3), &[Close]]))
    };
    fill_the_memtable_with_background_work: CROWDED, |name, levels| {
        let some = puts(4, 300);
        scenario(name, levels, steps(&[&[Open], &some, &[Jobs], &some, &[Jobs, Sync, Close]])).after(steps(&[&fresh(3), &[Close]]))
    };
    rotate_and_close: TWO, |name, levels| {
        scenario(name, levels, steps(&[&[Open], &puts(4, 2500), &[Close]])).after(steps(&[&fresh(3), &[Close]]))
    };
    a_value_over_several_log_files: ALL, |name, levels| {
        scenario(name, levels, vec![Open, Put("b", "a", 50), Put("b", "big", 19_000), Put("b", "c", 50), Jobs, Look])
            .after(steps(&[&fresh(3), &[Close]]))
    };
    flush_once: ALL, |name, levels| {
        scenario(name, levels, steps(&[&[Open], &puts(3, 30), &[Flush, Look, Put("b", "a", 7)]]))
            .after(steps(&[&fresh(2), &[Close]]))
    };
    flush_until_a_merge: TWO, |name, levels| {
        let again = |key| vec![Put("b", key, 30), Flush];
        let setup = steps(&[&fresh(2), &again("a"), &again("c"), &again("a"), &[Close]]);
        scenario(name, levels, steps(&[&[Open], &again("a"), &again("d"), &[Jobs, Look]])).after(setup)
    };
    flush_nothing: ONE, |name, levels| {
        scenario(name, levels, vec![Open, Flush, Flush, MergeAll, Jobs, Close]).after(steps(&[&fresh(2), &[Close]]))
    };
    merge_all: TWO, |name, levels| {
        let setup = steps(&[&fresh(2), &puts(3, 30), &[Flush], &puts(4, 30), &[Flush, Delete("b", "a"), Close]]);
        scenario(name, levels, vec![Open, MergeAll, Look, Put("b", "a", 9), Jobs]).after(setup)
    };
    merge_with_a_dirty_log: TWO, |name, levels| {
        let setup = steps(&[&fresh(1), &puts(3, 30), &[Flush], &puts(4, 30), &[Close]]);
        scenario(name, levels, vec![Open, Put("b", "a", 9), MergeAll, Delete("b", "c"), Flush, MergeAll, Look]).after(setup)
    };
    trim_history_over_flush_and_merge: TWO, |name, levels| {
        let one = |count| steps(&[&vec![Put("b", "a", 20); count], &[Flush]]);
        let setup = steps(&[&fresh(2), &one(3), &one(1), &[Close]]);
        scenario(name, levels, steps(&[&[Open], &one(3), &[MergeAll, Look, Put("b", "a", 1)]])).after(setup)
    };
    purge_over_flush_and_merge: TWO, |name, levels| {
        let setup = steps(&[&fresh(4), &puts(5, 20), &[Flush], &puts(3, 20), &[Close]]);
        scenario(name, levels, vec![Open, Purge("b", "a"), Flush, MergeAll, Look, Create("b", "a")]).after(setup)
    };
    delete_everything_and_merge: TWO, |name, levels| {
        let setup = steps(&[&fresh(1), &puts(3, 20), &[Close]]);
        let gone = [Purge("b", "a"), Delete("b", "a.b"), Purge("b", "c"), Flush, MergeAll, Close, Open, Look, Put("b", "a", 9)];
        scenario(name, levels, steps(&[&[Open], &gone])).after(setup)
    };
    two_buckets: TWO, |name, levels| {
        let mixed = [Put("b", "a", 30), Put("c", "a", 30), Flush, Put("b", "a", 30), Delete("c", "a"),
            Put("c", "x", 5), Flush, Look];
        scenario(name, levels, steps(&[&[Open], &mixed])).after(vec![Open, Bucket("b", 2), Bucket("c", 1), Close])
    };
}

/// Puts of 100 bytes over these keys.
fn spread(keys: &[&'static str]) -> Vec<Step> {
    keys.iter().map(|key| Put("b", key, 100)).collect()
}

// Merges by slices, in files of about an entry each.
scenarios! {
    flush_into_several_files: SLICED, |name, levels| {
        let keys = spread(&["a", "b", "c", "d", "e", "f"]);
        scenario(name, levels, steps(&[&[Open], &keys, &[Flush, Look, Put("b", "c", 9)]])).after(steps(&[&fresh(2), &[Close]]))
    };
    merge_slice_by_slice: SLICED, |name, levels| {
        let (all, some) = (spread(&["a", "b", "c", "d", "e", "f", "g", "h"]), spread(&["b", "d", "f", "h"]));
        let setup = steps(&[&fresh(2), &all, &[Flush], &some, &[Flush], &some, &[Delete("b", "d"), Close]]);
        scenario(name, levels, vec![Open, Jobs, Look, Put("b", "a", 9)]).after(setup)
    };
    compact_slice_by_slice: SLICED, |name, levels| {
        let (all, some) = (spread(&["a", "b", "c", "d", "e", "f"]), spread(&["b", "d"]));
        let setup = steps(&[&fresh(1), &all, &[Flush], &some, &[Purge("b", "c"), Close]]);
        scenario(name, levels, vec![Open, Put("b", "x", 9), Compact, Look, Delete("b", "a"), Compact, Close]).after(setup)
    };
    move_what_lies_over_nothing: SLICED, |name, levels| {
        let (low, high) = (spread(&["a", "b", "c"]), spread(&["d", "e", "f"]));
        let setup = steps(&[&fresh(2), &low, &[Flush], &[Close]]);
        scenario(name, levels, steps(&[&[Open], &high, &[Flush, Jobs, Look, Put("b", "e", 9), Flush, Jobs]])).after(setup)
    };
    // Of a file that both share a slice takes a piece: what is left of it ends or begins in the other bucket.
    merge_slices_across_two_buckets: SLICED, |name, levels| {
        let in_both = |keys: &[&'static str]| -> Vec<Step> {
            ["b", "c"].iter().flat_map(|bucket| keys.iter().map(|key| Put(bucket, key, 20))).collect()
        };
        let setup = steps(&[&fresh(2), &[Bucket("c", 1)], &in_both(&["a", "b", "c", "d", "e", "f"]), &[Flush],
            &in_both(&["b", "d", "f"]), &[Purge("b", "c"), Delete("c", "a"), Flush], &in_both(&["a", "e"]),
            &[Purge("c", "c"), Close]]);
        scenario(name, levels, vec![Open, Jobs, Look, Put("c", "c", 9)]).after(setup).brief()
    };
    drop_what_is_dead_unread: SLICED, |name, levels| {
        let keys = spread(&["a", "b", "c", "d"]);
        let setup = steps(&[&fresh(2), &[Bucket("c", 1), Put("c", "k", 100)], &keys, &[Flush], &keys, &[Close]]);
        scenario(name, levels, vec![Open, DropBucket("b"), Flush, Jobs, Look, Put("c", "k", 5), Close]).after(setup)
    };
}

// Buckets that go.
scenarios! {
    delete_a_bucket: TWO, |name, levels| {
        let setup = steps(&[&fresh(2), &puts(4, 30), &[Bucket("c", 1), Put("c", "k", 10), Close]]);
        scenario(name, levels, vec![Open, DropBucket("b"), Look, DropBucket("b"), Put("b", "a", 3), Flush, Look]).after(setup)
    };
    delete_a_bucket_and_merge: ONE, |name, levels| {
        let setup = steps(&[&fresh(2), &puts(4, 30), &[Flush], &puts(2, 20), &[Flush, Close]]);
        scenario(name, levels, vec![Open, DropBucket("b"), MergeAll, Flush, MergeAll, Look, Close]).after(setup)
    };
    create_a_bucket_again: ALL, |name, levels| {
        let setup = steps(&[&fresh(2), &puts(4, 30), &[Close]]);
        let again = vec![Open, DropBucket("b"), Bucket("b", 3), Put("b", "a", 10), Look, Close, Open, Put("b", "a", 10)];
        scenario(name, levels, again).after(setup)
    };
    delete_a_bucket_that_is_only_in_the_log: TWO, |name, levels| {
        scenario(name, levels, vec![Open, Bucket("b", 1), Put("b", "a", 10), DropBucket("b"), Bucket("b", 1),
            Kill, Open, Put("b", "a", 4)])
            .after(vec![Open, Close])
    };
}

// Ends and beginnings.
scenarios! {
    sync_now: ALL, |name, levels| {
        scenario(name, levels, steps(&[&[Open, Sync], &puts(2, 30), &[Sync], &puts(1, 30)])).after(steps(&[&fresh(1), &[Close]]))
    };
    sync_by_bytes: WEAK, |name, levels| {
        scenario(name, levels, steps(&[&[Open], &puts(5, 1500), &[Sync], &puts(1, 30)])).after(steps(&[&fresh(3), &[Close]]))
    };
    close_with_data: TWO, |name, levels| {
        scenario(name, levels, steps(&[&[Open], &puts(2, 30), &[Close, Open, Look, Close]])).after(steps(&[&fresh(1), &[Close]]))
    };
    drop_with_data: ALL, |name, levels| {
        scenario(name, levels, steps(&[&[Open], &puts(2, 30), &[Drop, Open, Look, Drop]])).after(steps(&[&fresh(1), &[Close]]))
    };
    reopen_after_a_close: ONE, |name, levels| {
        let setup = steps(&[&fresh(2), &puts(3, 30), &[Close]]);
        scenario(name, levels, vec![Open, Look, Put("b", "a", 5), Close, Open, Put("b", "a", 5)]).after(setup)
    };
    reopen_after_a_kill: ALL, |name, levels| {
        scenario(name, levels, steps(&[&[Open], &puts(3, 30), &[Kill, Open, Look, Put("b", "a", 5), Kill, Open]]))
            .after(steps(&[&fresh(2), &[Close]]))
    };
    reopen_after_a_power_cut: ALL, |name, levels| {
        let cuts = [Cut(CrashPolicy::LoseAll), Open, Put("b", "a", 5), Cut(CrashPolicy::Subset), Open];
        scenario(name, levels, steps(&[&[Open], &puts(2, 30), &cuts])).after(steps(&[&fresh(2), &[Close]]))
    };
    verify_and_a_second_handle: ONE, |name, levels| {
        let setup = steps(&[&fresh(2), &puts(3, 30), &[Flush], &puts(3, 30), &[Close]]);
        scenario(name, levels, vec![Open, Verify, OpenAgain, Put("b", "a", 4), Verify]).after(setup)
    };
}

// Recovery.
scenarios! {
    recover_a_dirty_log: ALL, |name, levels| {
        let setup = steps(&[&fresh(2), &puts(4, 50), &[Cut(CrashPolicy::KeepAll)]]);
        scenario(name, levels, vec![Open, Look, Put("b", "c", 10)]).after(setup).deep()
    };
    recover_a_torn_tail: ALL, |name, levels| {
        let setup = steps(&[&fresh(2), &puts(2, 50), &[CutInPut(CrashPolicy::KeepAll, 0, 1500)]]);
        scenario(name, levels, vec![Open, Put("b", "c", 10), Look]).after(setup).deep()
    };
    recover_a_tail_of_garbage: WEAK, |name, levels| {
        let setup = steps(&[&fresh(2), &puts(5, 700), &[CutInPut(CrashPolicy::TornGarbage, 0, 1500)]]);
        scenario(name, levels, vec![Open, Put("b", "c", 10), Look]).after(setup).deep()
    };
    recover_a_tail_of_zeros: ALL, |name, levels| {
        let setup = steps(&[&fresh(2), &puts(5, 700), &[CutInPut(CrashPolicy::ZeroTail, 1, 1500)]]);
        scenario(name, levels, vec![Open, Put("b", "c", 10), Look]).after(setup)
    };
    recover_several_log_files: ALL, |name, levels| {
        let setup = steps(&[&fresh(3), &puts(9, 2500), &[Cut(CrashPolicy::KeepAll)]]);
        scenario(name, levels, vec![Open, Look, Put("b", "c", 10)]).after(setup).deep()
    };
    recover_a_hole_between_log_files: WEAK, |name, levels| {
        let setup = steps(&[&fresh(3), &puts(9, 2500), &[Cut(CrashPolicy::Subset)]]);
        scenario(name, levels, vec![Open, Look, Put("b", "c", 10)]).after(setup)
    };
    recover_over_segments: TWO, |name, levels| {
        let setup = steps(&[&fresh(2), &puts(3, 30), &[Flush], &puts(3, 30), &[Delete("b", "a"), Purge("b",
            "c"), Cut(CrashPolicy::KeepAll)]]);
        scenario(name, levels, vec![Open, MergeAll, Look, Put("b", "c", 10)]).after(setup)
    };
    recover_after_a_drop: ALL, |name, levels| {
        let setup = steps(&[&fresh(2), &puts(3, 30), &[Drop]]);
        scenario(name, levels, vec![Open, Put("b", "c", 10), Drop, Open, Put("b", "c", 10)]).after(setup)
    };
    recover_twice: TWO, |name, levels| {
        let setup = steps(&[&fresh(2), &puts(3, 30), &[CutInPut(CrashPolicy::KeepAll, 0, 900)]]);
        let torn = CutInPut(CrashPolicy::KeepAll, 0, 900);
        scenario(name, levels, vec![Open, Put("b", "a", 30), torn, Open, Kill, Open, Look]).after(setup)
    };
    recover_a_bucket_from_the_log: TWO, |name, levels| {
        let setup = vec![Open, Bucket("b", 2), Put("b", "a", 5), Bucket("c", 1), Put("c", "x", 5),
            DropBucket("b"), Cut(CrashPolicy::KeepAll)];
        scenario(name, levels, vec![Open, Bucket("b", 1), Put("b", "a", 5), Look]).after(setup)
    };
}
