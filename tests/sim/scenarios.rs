//! The scenarios: what a store does in its life, in about forty short scripts.

use annals::testing::disk::CrashPolicy;

use crate::script::Step::{
    Bucket, Close, Create, Cut, CutInPut, Delete, DeleteStale, Drop, DropBucket, Flush, Jobs, Kill, Look, MergeAll, Open, OpenAgain,
    Purge, Put, Sync, Update, UpdateStale, Verify,
};
use crate::script::{ALL, ONE, Scenario, Step, TWO, VALUE_LEN_MAX, WEAK, scenario};
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

scenarios! {
    create_a_store: ONE, |name, levels| scenario(name, levels, vec![Open, Close]);
    first_commit: ALL, |name, levels| scenario(name, levels, vec![Open, Bucket("b", 1), Put("b", "a", 20), Look, Close]);
    rotate_the_log: ALL, |name, levels| {
        scenario(name, levels, steps(&[&puts(5, 2000), &[Jobs], &puts(6, 2000), &[Look, Drop]])).after(vec![Open, Bucket("b", 3), Close])
    };
    merge_all: TWO, |name, levels| {
        let setup = steps(&[&[Open, Bucket("b", 2)], &puts(3, 30), &[Flush], &puts(4, 30), &[Flush, Delete("b", "a"), Flush, Close]]);
        scenario(name, levels, vec![Open, MergeAll, Look, Put("b", "a", 9), Jobs]).after(setup)
    };
    recover_a_dirty_log: ALL, |name, levels| {
        let setup = steps(&[&[Open, Bucket("b", 2)], &puts(4, 50), &[Cut(CrashPolicy::KeepAll)]]);
        scenario(name, levels, vec![Open, Look, Put("b", "c", 10)]).after(setup).deep()
    };
}
