//! The verdicts, line by line.

use super::*;
use crate::spec::BucketSpec;

const PRESENT: u64 = 1000;

/// A bucket with these ends, whose last revision was `start` when the present incarnation began.
fn bucket(ends: &[(u64, u64)], start: u64, last: u64) -> BucketState {
    let mut state = BucketState::new(BucketId(7), BucketSpec::new("b".to_owned()), CommitNumber(1));
    state.ends = ends.iter().map(|(incarnation, revision)| (*incarnation, Revision(*revision))).collect();
    (state.start, state.last_revision) = (Revision(start), Revision(last));
    state
}

fn position(incarnation: u64, revision: u64) -> Position {
    Position { bucket: BucketId(7), incarnation, purged: CommitNumber(0), revision: Revision(revision) }
}

fn resume(state: &BucketState, position: Position) -> Result<Resumption, Refusal> {
    position.resume(state, PRESENT, state.last_revision)
}

fn goes_on(after: u64) -> Result<Resumption, Refusal> {
    Ok(Resumption { purged: None, after: Revision(after) })
}

#[test]
fn a_position_up_to_the_end_of_its_incarnation_goes_on_and_one_beyond_diverges() {
    let state = bucket(&[(1, 10), (2, 20)], 120, 125);
    for (incarnation, revision, expected) in [
        (1, 9, goes_on(9)),
        (1, 10, goes_on(10)),
        (1, 11, Err(Refusal::Diverged)),
        (2, 20, goes_on(20)),
        (2, 21, Err(Refusal::Diverged)),
        (PRESENT, 125, goes_on(125)),
        (PRESENT, 126, Err(Refusal::Diverged)),
        // No change of this one has survived.
        (3, 5, Err(Refusal::Diverged)),
        (3, 0, goes_on(0)),
    ] {
        assert_eq!(resume(&state, position(incarnation, revision)), expected, "{revision} of {incarnation}");
    }
}

#[test]
fn a_position_names_the_incarnation_in_which_its_revision_was_committed() {
    let state = bucket(&[(1, 10), (2, 20)], 120, 125);
    let home = |revision| {
        let position = Position::new(&state, PRESENT, CommitNumber(0), Revision(revision));
        (position.incarnation, position.revision.0)
    };
    let homes = [0, 1, 10, 11, 20, 21, 120, 121, 125].map(home);
    // What lies between 20 and 121 was never given out.
    assert_eq!(homes, [(1, 0), (1, 1), (1, 10), (2, 11), (2, 20), (2, 20), (2, 20), (PRESENT, 121), (PRESENT, 125)]);
    let idle = bucket(&[], 100, 100);
    assert_eq!(Position::new(&idle, PRESENT, CommitNumber(0), Revision(100)).revision, Revision::NONE);
}

#[test]
fn of_an_incarnation_that_may_be_forgotten_only_what_lies_beyond_the_oldest_end_is_known_to_have_diverged() {
    let ends: Vec<(u64, u64)> = (1..=64).map(|number| (number, number * 10)).collect();
    let state = bucket(&ends, 640, 645);
    assert_eq!(resume(&state, position(0, 10)), Err(Refusal::Compacted(Revision(10))));
    assert_eq!(resume(&state, position(0, 11)), Err(Refusal::Diverged));
    assert_eq!(resume(&bucket(&ends[1..], 640, 645), position(0, 10)), Err(Refusal::Diverged));
    assert_eq!(resume(&state, position(64, 640)), goes_on(640));
}

#[test]
fn below_the_floor_nothing_goes_on_and_at_it_everything_does() {
    let mut state = bucket(&[], 0, 20);
    state.watch_floor = Revision(10);
    assert_eq!(resume(&state, position(PRESENT, 9)), Err(Refusal::Compacted(Revision(10))));
    assert_eq!(resume(&state, position(PRESENT, 10)), goes_on(10));
    assert_eq!(resume(&state, position(PRESENT, 11)), goes_on(11));
    // Who has seen nothing misses nothing.
    assert_eq!(resume(&state, position(PRESENT, 0)), goes_on(0));
}

#[test]
fn a_purge_that_is_not_known_is_told_first_and_one_that_was_taken_back_diverges() {
    let mut state = bucket(&[], 0, 20);
    (state.floor, state.purged, state.watch_floor) = (Revision(15), CommitNumber(30), Revision(12));
    let knowing = |purged, revision| Position { purged: CommitNumber(purged), ..position(PRESENT, revision) };
    let told = |after| Ok(Resumption { purged: Some(Revision(15)), after: Revision(after) });
    // What was removed before the purge is of no interest after it.
    assert_eq!(resume(&state, knowing(0, 9)), told(15));
    assert_eq!(resume(&state, knowing(29, 17)), told(17));
    assert_eq!(resume(&state, knowing(30, 17)), goes_on(17));
    assert_eq!(resume(&state, knowing(30, 3)), goes_on(15));
    assert_eq!(resume(&state, knowing(31, 17)), Err(Refusal::Diverged));
}

#[test]
fn another_bucket_is_not_found() {
    let other = Position { bucket: BucketId(8), ..position(PRESENT, 0) };
    assert_eq!(resume(&bucket(&[], 0, 1), other), Err(Refusal::OtherBucket));
}

#[test]
fn only_incarnations_with_a_change_leave_an_end_and_64_stay() {
    let mut state = bucket(&[], 0, 0);
    state.note_end(1);
    assert!(state.ends.is_empty());
    state.last_revision = Revision(3);
    state.note_end(1);
    state.last_revision = Revision(4);
    state.note_end(1);
    assert_eq!(state.ends, [(1, Revision(4))]);
    for incarnation in 2..200 {
        state.begin(100);
        state.note_end(incarnation);
    }
    assert_eq!(state.ends, [(1, Revision(4))], "revisions that were skipped are no change");
    for incarnation in 200..300 {
        state.begin(0);
        state.last_revision.0 += 1;
        state.note_end(incarnation);
    }
    assert_eq!((state.ends.len(), state.ends[0].0, state.ends[63].0), (64, 236, 299));
}
