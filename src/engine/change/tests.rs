use super::*;
use crate::entry::{Flags, Meta};
use crate::retention::{Judge, Rules, Sight};

/// Limits change at random, entries of one key come at random. What counts must be the same as with every era that was ever logged.
#[test]
fn eras_that_were_forgotten_say_nothing_that_the_others_do_not() {
    for seed in 1..=300_u64 {
        let mut number = seed;
        let mut random = move || {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            number >> 33
        };
        let mut state = BucketState::new(crate::number::BucketId(1), BucketSpec::new("b".to_owned()), CommitNumber(1));
        let mut all_eras: Vec<Era> = Vec::new();
        let mut entries: Vec<Meta> = Vec::new();
        let mut now = 1000;
        for commit in 2..200 {
            now += random() % 5;
            if random().is_multiple_of(2) {
                let revision = Revision(state.last_revision.0 + 1);
                state.last_revision = revision;
                entries.insert(0, Meta { revision, flags: Flags::put(), created: now, ..Meta::default() });
                continue;
            }
            let old = state.spec.clone();
            let spec = BucketSpec { history: 1 + (random() % 6) as u8, max_age: random() % 4 * 20, ..old.clone() };
            let is_raised = spec.history > old.history || (old.max_age != 0 && (spec.max_age == 0 || spec.max_age > old.max_age));
            if is_raised && state.last_revision > state.floor {
                all_eras.push(Era::at_raise(CommitNumber(commit), state.last_revision, old.history, old.max_age, now));
            }
            state.edit(spec, CommitNumber(commit), now);
            assert!(state.eras.len() <= 6, "no more eras than depths");
            assert!(state.eras.is_sorted_by(|left, right| left.depth < right.depth && left.commit < right.commit));
            let sights = |eras: &[Era]| {
                let (depth, max_age) = (state.spec.history, state.spec.max_age);
                let rules = Rules { depth, max_age, floor: state.floor, eras, now, cursor: None };
                let mut judge = Judge::new(&rules);
                entries.iter().map_while(|meta| Some(judge.see(meta)).filter(|sight| *sight != Sight::End)).count()
            };
            assert_eq!(sights(&state.eras), sights(&all_eras), "seed {seed}, commit {commit}");
        }
    }
}

#[test]
fn limits_that_go_up_and_down_for_ever_leave_a_bounded_state() {
    let mut state = BucketState::new(crate::number::BucketId(1), BucketSpec::new("b".to_owned()), CommitNumber(1));
    for commit in 2..100_000 {
        state.last_revision.0 += 1;
        let spec = BucketSpec { history: 1 + (commit % 64) as u8, max_age: commit % 3 * 1_000_000_000, ..state.spec.clone() };
        state.edit(spec, CommitNumber(commit), commit * 1000);
    }
    assert!(state.eras.len() <= 64, "{} eras", state.eras.len());
}
