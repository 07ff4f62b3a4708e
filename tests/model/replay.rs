//! Every kind of change that the log knows, killed right after it: what is replayed is what was there, and it is the same again when a
//! flush and a merge have judged it.

use std::time::Duration;

use annals::Durability;
use annals::testing::ops::{Change, Expect, Op, Payload, Target, Ttl, Wait};
use annals::testing::world::{Disturbance, Setup, World};

const MOMENT: Duration = Duration::from_millis(100);

fn target(key: u8, change: Change, ttl: Option<Duration>) -> Target {
    Target { bucket: 0, key, change, ttl: Ttl(ttl) }
}

fn write(key: u8, change: Change, ttl: Option<Duration>) -> Op {
    Op::Write { target: target(key, change, ttl), synced: false }
}

fn payload(tag: u8) -> Payload {
    Payload { len: 30, tag }
}

/// A put to one of three keys.
fn put(key: u8) -> Op {
    write(key, Change::Put(payload(key)), None)
}

/// Depth 5, no limits; then by these shapes and limits of the list of configurations.
fn edit(shape: u8, limits: u8) -> Op {
    Op::EditBucket { bucket: 0, config: (shape, limits) }
}

fn changes() -> Vec<Vec<Op>> {
    let wait = || Op::Wait(Wait::Span(MOMENT));
    let short = |key| write(key, Change::Put(payload(9)), Some(MOMENT));
    let batch = |targets: Vec<Target>| Op::Batch { targets, synced: false };
    vec![
        vec![put(0)],
        vec![write(1, Change::Delete, None)],
        vec![write(1, Change::Purge, None)],
        vec![write(1, Change::Purge, Some(MOMENT)), wait()],
        vec![write(1, Change::Update(payload(8), Expect::Current), None)],
        vec![short(1), wait()],
        vec![short(1), put(1), wait()],
        vec![short(1), wait(), put(1)],
        vec![short(1), Op::Touch { bucket: 0, key: 1, ttl: Ttl(None) }, wait()],
        vec![Op::Touch { bucket: 0, key: 1, ttl: Ttl(Some(MOMENT)) }, wait(), put(1)],
        vec![Op::PurgeAll { bucket: 0 }],
        vec![Op::PurgeAll { bucket: 0 }, put(1), Op::PurgeAll { bucket: 0 }],
        vec![write(1, Change::Delete, None), Op::PurgeDeletes { bucket: 0, age: Duration::ZERO }],
        vec![write(1, Change::Delete, None), Op::PurgeDeletes { bucket: 0, age: MOMENT }, put(1)],
        vec![Op::Matching { bucket: 0, pattern: 0, purge: false }],
        vec![Op::Matching { bucket: 0, pattern: 3, purge: true }],
        vec![Op::Load { bucket: 0, key: 0, count: 7, payload: payload(3) }],
        vec![Op::Submit { bucket: 0, key: 1, payload: payload(4), ttl: Ttl(Some(MOMENT)) }],
        vec![batch(vec![target(0, Change::Put(payload(5)), Some(MOMENT)), target(0, Change::Delete, None)])],
        vec![batch(vec![target(1, Change::Check(Expect::Current), None), target(2, Change::Purge, None)])],
        vec![edit(0, 0)],
        vec![edit(0, 0), edit(3, 0)],
        vec![edit(1, 0), put(1), edit(2, 0), put(1), edit(3, 0)],
        vec![edit(2, 3), wait()],
        vec![edit(2, 3), wait(), edit(2, 0)],
        vec![edit(2, 5), wait(), edit(2, 3)],
        vec![edit(2, 18), put(1), put(2)],
        vec![edit(2, 24), put(1), edit(2, 30), put(2)],
        vec![edit(18, 0), edit(22, 0), edit(26, 0)],
        // Markers of expiry that live for 100 ms; in some, with an age limit of as much.
        vec![edit(2, 72), short(1), wait()],
        vec![edit(2, 72), short(1), wait(), Op::Sweep],
        vec![edit(2, 72), short(1), wait(), Op::Sweep, wait(), Op::Sweep],
        vec![edit(2, 72), short(1), wait(), put(1)],
        vec![edit(2, 72), short(1), wait(), write(1, Change::Update(payload(8), Expect::Before), None)],
        vec![edit(2, 72), short(1), wait(), edit(2, 0)],
        vec![edit(2, 75), wait(), Op::Sweep],
        vec![edit(2, 75), wait(), edit(2, 72)],
        vec![edit(2, 72), wait(), edit(2, 75), Op::Sweep],
        vec![short(1), wait(), edit(2, 72), wait(), Op::Sweep],
        vec![edit(2, 3), wait(), edit(2, 75), Op::Sweep, put(1), wait(), Op::Sweep],
        vec![edit(2, 72), short(1), wait(), Op::PurgeAll { bucket: 0 }, Op::Sweep],
        vec![Op::DeleteBucket { bucket: 0 }],
        vec![Op::DeleteBucket { bucket: 0 }, Op::CreateBucket { bucket: 0, config: (1, 18) }, put(1), put(2)],
    ]
}

/// The same change on what is only in the log, and on what is in a segment under it.
#[test]
fn what_is_replayed_is_what_was_there_after_every_kind_of_change() {
    for (number, change) in changes().into_iter().enumerate() {
        for is_flushed in [false, true] {
            let mut world = World::create(Setup::in_memory(Durability::Sync, (1 << 20, 1 << 20, 256))).unwrap();
            for key in [0, 1, 2, 0, 1, 2] {
                world.apply(&put(key)).unwrap();
            }
            if is_flushed {
                world.disturb(Disturbance::Flush).unwrap();
            }
            let ends = [Disturbance::Reopen { clean: false }, Disturbance::FlushAndMerge, Disturbance::Reopen { clean: true }];
            for op in &change {
                world.apply(op).unwrap_or_else(|mismatch| panic!("change {number} {op:?}: {mismatch}"));
            }
            for end in ends {
                world.disturb(end).unwrap_or_else(|mismatch| panic!("change {number} {change:?}, {end:?}: {mismatch}"));
                world.check().unwrap_or_else(|mismatch| panic!("change {number} {change:?}, {end:?}: {mismatch}"));
            }
            // And it goes on as if nothing had been.
            world.apply(&Op::Wait(Wait::Span(MOMENT))).unwrap();
            world.check().unwrap();
            world.apply(&put(1)).unwrap();
            world.finish().unwrap_or_else(|mismatch| panic!("change {number} {change:?}, at the end: {mismatch}"));
        }
    }
}
