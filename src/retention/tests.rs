//! The lines of the module's table, one by one; what they do together is the model's business.

use super::*;

const DEPTH: u8 = 3;

fn rules(now: u64) -> Rules<'static> {
    Rules { depth: DEPTH, max_age: 0, floor: Revision::NONE, eras: &[], now, cursor: None }
}

/// Created at the time that equals its revision.
fn entry(revision: u64, flags: Flags, deadline: u64) -> Meta {
    Meta { revision: Revision(revision), flags, created: revision, deadline, origin: Revision::NONE }
}

fn put(revision: u64) -> Meta {
    entry(revision, Flags::put(), 0)
}

fn dying(revision: u64, deadline: u64) -> Meta {
    entry(revision, Flags::put(), deadline)
}

fn purge(revision: u64) -> Meta {
    entry(revision, Flags::purge(), 0)
}

fn delete(revision: u64) -> Meta {
    entry(revision, Flags::delete(), 0)
}

fn dropped(revision: u64, takes_marker: bool) -> Meta {
    let flags = if takes_marker { Flags::dropped().with(Flags::ROLLUP) } else { Flags::dropped() };
    entry(revision, flags, 0)
}

const UPPER: Inputs = Inputs { holds_oldest: false, newer_from: 0 };
const ALL: Inputs = Inputs { holds_oldest: true, newer_from: u64::MAX };

fn fates(rules: &Rules<'_>, entries: &[Meta], inputs: Inputs) -> Vec<Fate> {
    let mut fates = Vec::new();
    retain(rules, entries, inputs, &mut fates);
    fates
}

fn removed(rules: &Rules<'_>, entries: &[Meta], inputs: Inputs) -> (u64, bool) {
    let removed = retain(rules, entries, inputs, &mut Vec::new());
    (removed.newest.get(), removed.leaves_nothing)
}

fn sights(rules: &Rules<'_>, entries: &[Meta]) -> Vec<Sight> {
    let mut judge = Judge::new(rules);
    entries.iter().map(|meta| judge.see(meta)).collect()
}

use Fate::{Drop, Keep, KeepTrimmed, Stub, StubTrimmed};
use Sight::{End, Hidden, Visible};

#[test]
fn what_counts_is_kept_wherever_it_lies() {
    let entries = [put(5), delete(3), put(1)];
    for inputs in [UPPER, ALL] {
        assert_eq!(fates(&rules(9), &entries, inputs), [Keep, Keep, Keep]);
        assert_eq!(removed(&rules(9), &entries, inputs), (0, false));
    }
}

#[test]
fn what_depth_removes_is_dropped_and_the_oldest_survivor_says_so() {
    let entries = [put(5), put(4), put(3), put(2), put(1)];
    for inputs in [UPPER, ALL] {
        assert_eq!(fates(&rules(9), &entries, inputs), [Keep, Keep, KeepTrimmed, Drop, Drop]);
    }
    assert_eq!(removed(&rules(9), &entries, ALL), (0, false), "superseded revisions raise no floor");
}

#[test]
fn nothing_under_a_purge_is_kept_and_the_purge_itself_says_so() {
    let rolled = entry(5, Flags::put().with(Flags::ROLLUP), 0);
    for newest in [purge(5), rolled] {
        assert_eq!(fates(&rules(9), &[newest, put(4)], UPPER), [Keep, Drop]);
        assert_eq!(sights(&rules(9), &[newest, put(4)]), [Visible, End]);
    }
}

#[test]
fn a_superseded_entry_that_expired_holds_its_place_while_an_older_one_survives() {
    let entries = [put(5), dying(4, 8), put(3), put(2)];
    assert_eq!(sights(&rules(8), &entries), [Visible, Hidden, Visible, End]);
    assert_eq!(fates(&rules(8), &entries, ALL), [Keep, Stub, KeepTrimmed, Drop]);
    assert_eq!(fates(&rules(7), &entries, ALL), [Keep, Keep, KeepTrimmed, Drop], "not before its deadline");
}

#[test]
fn an_expired_entry_under_which_nothing_is_left_goes_only_with_the_oldest() {
    let entries = [put(5), dying(4, 8)];
    assert_eq!(fates(&rules(8), &entries, UPPER), [Keep, Stub]);
    assert_eq!(fates(&rules(8), &entries, ALL), [KeepTrimmed, Drop]);
    let stub = Stub.apply(&dying(4, 8)).expect("a stub is written");
    assert_eq!(fates(&rules(8), &[put(5), stub], ALL), [KeepTrimmed, Drop]);
}

#[test]
fn a_newest_entry_that_expired_takes_its_elders_along_once_no_younger_can_have_saved_them() {
    let entries = [dying(4, 8), put(3)];
    assert_eq!(sights(&rules(8), &entries), [End, End]);
    // A younger entry, written at 7, may lie above these inputs: then 3 still counts.
    assert_eq!(sights(&rules(8), &[put(7), dying(4, 8), put(3)]), [Visible, Hidden, Visible]);
    for newer_from in [0, 7] {
        assert_eq!(fates(&rules(8), &entries, Inputs { holds_oldest: true, newer_from }), [Stub, Keep], "{newer_from}");
    }
    assert_eq!(fates(&rules(8), &entries, Inputs { holds_oldest: false, newer_from: 8 }), [StubTrimmed, Drop]);
    assert_eq!(fates(&rules(8), &entries, Inputs { holds_oldest: true, newer_from: 8 }), [Drop, Drop]);
    assert_eq!(removed(&rules(8), &entries, Inputs { holds_oldest: true, newer_from: 8 }), (4, true));
}

#[test]
fn age_removes_the_key_in_any_merge() {
    let aged = Rules { max_age: 4, ..rules(8) };
    assert_eq!(fates(&aged, &[put(5), put(4), put(3)], UPPER), [KeepTrimmed, Drop, Drop]);
    assert_eq!(fates(&aged, &[put(4), put(3)], UPPER), [Drop, Drop]);
    assert_eq!(removed(&aged, &[put(4), put(3)], UPPER), (4, true));
}

#[test]
fn what_a_purge_of_the_bucket_removed_leaves_no_trace() {
    let purged = Rules { floor: Revision(4), ..rules(9) };
    assert_eq!(fates(&purged, &[put(5), put(4), put(3)], UPPER), [Keep, Drop, Drop]);
    assert_eq!(removed(&purged, &[put(4), put(3)], UPPER), (0, false));
    let mut judge = Judge::new(&purged);
    assert_eq!((judge.see(&put(5)), judge.see(&put(4)), judge.is_trimmed()), (Visible, End, false));
}

#[test]
fn a_raised_depth_brings_nothing_back() {
    let eras = [Era::at_raise(CommitNumber(9), Revision(4), 2, 0, 5)];
    let raised = Rules { depth: 5, eras: &eras, ..rules(9) };
    let entries = [put(6), put(5), put(4), put(3), put(2)];
    assert_eq!(sights(&raised, &entries), [Visible, Visible, Visible, Visible, End]);
    assert_eq!(fates(&raised, &entries, UPPER), [Keep, Keep, Keep, KeepTrimmed, Drop]);
}

#[test]
fn a_raised_max_age_brings_nothing_back_not_even_what_went_at_that_moment() {
    // At 7, with a max_age of 4, an entry created at 3 was just gone.
    let eras = [Era::at_raise(CommitNumber(9), Revision(4), DEPTH, 4, 7)];
    let raised = Rules { max_age: 100, eras: &eras, ..rules(9) };
    assert_eq!(sights(&raised, &[put(5), put(4), put(3)]), [Visible, Visible, End]);
    assert_eq!(Era::at_raise(CommitNumber(9), Revision(4), DEPTH, 0, 7).cutoff, 0, "off means off");
}

#[test]
fn a_dropped_entry_hides_what_is_below_and_the_marker_if_it_says_so() {
    let below = [dropped(3, false), delete(3), put(2)];
    assert_eq!(sights(&rules(9), &below), [Hidden, Visible, End]);
    assert_eq!(fates(&rules(9), &below, UPPER), [Keep, KeepTrimmed, Drop]);
    assert_eq!(fates(&rules(9), &below, ALL), [Drop, KeepTrimmed, Drop]);
    assert_eq!(removed(&rules(9), &below, ALL), (0, false), "the marker is still there");
    let all = [dropped(3, true), delete(3), put(2)];
    assert_eq!(sights(&rules(9), &all), [Hidden, End, End]);
    assert_eq!(fates(&rules(9), &all, UPPER), [Keep, Drop, Drop]);
    assert_eq!(fates(&rules(9), &all, ALL), [Drop, Drop, Drop]);
    assert_eq!(removed(&rules(9), &all, ALL), (3, true));
}

#[test]
fn a_stub_is_not_seen_even_by_a_reader_whose_clock_is_behind_the_merge() {
    let stub = Stub.apply(&dying(4, 8)).expect("a stub is written");
    assert_eq!(sights(&rules(7), &[put(5), stub, put(3)]), [Visible, Hidden, Visible]);
    assert_eq!(sights(&rules(7), &[stub, put(3)]), [End, End]);
}

#[test]
fn a_dropped_entry_takes_no_position() {
    let entries = [put(5), dropped(3, false), delete(3), dropped(3, false)];
    assert_eq!(sights(&Rules { depth: 2, ..rules(9) }, &entries), [Visible, Hidden, Visible, Hidden]);
}

#[test]
fn with_expiry_markers_only_what_has_been_swept_is_removed_from_disk() {
    let entries = [put(5), dying(4, 8), put(3)];
    let upto = |deadline, revision| Rules { cursor: Some((deadline, Revision(revision))), ..rules(9) };
    assert_eq!(fates(&upto(7, 9), &entries, ALL), [Keep, Keep, Keep], "not swept yet");
    assert_eq!(fates(&upto(8, 0), &entries, ALL), [Keep, Stub, Keep]);
    let aged = |revision| Rules { max_age: 4, cursor: Some((9, Revision(revision))), ..rules(9) };
    assert_eq!(fates(&aged(2), &entries, ALL), [Keep, Stub, Keep], "age goes by revisions");
    assert_eq!(sights(&upto(0, 0), &entries), [Visible, Hidden, Visible], "reads do not wait for the sweep");
}

#[test]
fn a_marker_is_due_where_the_newest_entry_has_expired_behind_the_cursor() {
    let due = |rules: &Rules<'_>, entries: &[Meta]| awaits_marker(rules, entries).map(Revision::get);
    let unswept = Rules { cursor: Some((0, Revision(0))), ..rules(9) };
    assert_eq!(due(&unswept, &[dying(4, 8), put(3)]), Some(4));
    assert_eq!(due(&rules(9), &[dying(4, 8)]), None, "no markers");
    assert_eq!(due(&unswept, &[dying(4, 10)]), None, "not yet");
    assert_eq!(due(&unswept, &[put(5), dying(4, 8)]), None, "superseded");
    assert_eq!(due(&unswept, &[entry(4, Flags::purge(), 8)]), None, "a purge");
    assert_eq!(due(&Rules { cursor: Some((8, Revision(0))), ..rules(9) }, &[dying(4, 8)]), None, "swept");
    assert_eq!(due(&Rules { floor: Revision(4), ..unswept }, &[dying(4, 8)]), None, "purged with the bucket");
    assert_eq!(due(&unswept, &[dropped(4, true), entry(4, Flags::delete(), 8)]), None, "dropped");
    assert_eq!(due(&unswept, &[dropped(4, false), entry(4, Flags::delete(), 8)]), Some(4), "what was under it is dropped");
    let aged = Rules { max_age: 4, ..unswept };
    assert_eq!([due(&aged, &[put(5)]), due(&aged, &[put(6)])], [Some(5), None]);
    assert_eq!(due(&Rules { cursor: Some((0, Revision(5))), ..aged }, &[put(5)]), None, "swept");
    let era = [Era { commit: CommitNumber(1), through: Revision(9), depth: 0, cutoff: 6 }];
    assert_eq!(due(&Rules { eras: &era, ..aged }, &[put(5)]), None, "too old before there were markers");
}

#[test]
fn with_expiry_markers_only_markers_leave_without_a_word() {
    let swept = Rules { cursor: Some((9, Revision(0))), ..rules(9) };
    let marker = entry(4, Flags::purge(), 8);
    assert_eq!(removed(&swept, &[dying(4, 8)], ALL).0, 0, "a marker lies above");
    assert_eq!(removed(&swept, &[marker], ALL).0, 4);
    assert_eq!(removed(&rules(9), &[dying(4, 8)], ALL).0, 4);
}

#[test]
fn the_past_is_told_only_where_it_is_known() {
    let ask = |entries: &[Meta], revision| as_of(&rules(9), entries.iter().copied(), Revision(revision), Revision::NONE);
    let untouched = [put(6), delete(4), put(2)];
    assert_eq!(
        [1, 2, 3, 4, 5].map(|at| ask(&untouched, at)),
        [Past::Absent, Past::Entry(2), Past::Entry(2), Past::Entry(1), Past::Entry(1)]
    );
    assert_eq!([2, 5].map(|at| ask(&[put(6), purge(4)], at)), [Past::Compacted, Past::Entry(1)]);
    let trimmed = KeepTrimmed.apply(&put(6)).expect("it is kept");
    assert_eq!(ask(&[trimmed], 5), Past::Compacted);
    let cleared = [put(6), dropped(4, true), delete(4)];
    assert_eq!([2, 4, 5].map(|at| ask(&cleared, at)), [Past::Compacted, Past::Absent, Past::Absent]);
    assert_eq!([2, 4].map(|at| ask(&[put(6), dropped(4, false), delete(4)], at)), [Past::Absent, Past::Entry(2)]);
    assert_eq!(as_of(&rules(9), [put(6)], Revision(4), Revision(4)), Past::Compacted, "the bucket's floor");
}
