//! A key is written, expires, is purged with its bucket, and moves from memtable to memtable to segment, while callers read it
//! and bring what they read to the leader some time later. The truth is a plain list of the key's entries.

use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestError, TestRunner};

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Put {
        ttl: u64,
    },
    Delete,
    WriteOtherKey,
    /// A write that failed burns its number.
    BurnNumber,
    PurgeBucket,
    Wait(u64),
    Seal,
    /// Of the oldest sealed memtable.
    Flush,
    PreRead,
    /// The caller at this place of those that have read comes to the leader.
    Decide(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        3 => prop_oneof![Just(0), 1_u64..4].prop_map(|ttl| Op::Put { ttl }),
        1 => Just(Op::Delete),
        1 => Just(Op::WriteOtherKey),
        1 => Just(Op::BurnNumber),
        1 => Just(Op::PurgeBucket),
        2 => (1_u64..3).prop_map(Op::Wait),
        2 => Just(Op::Seal),
        2 => Just(Op::Flush),
        4 => Just(Op::PreRead),
        4 => (0_usize..4).prop_map(Op::Decide),
    ];
    prop::collection::vec(op, 1..30)
}

#[derive(Clone, Copy, Debug)]
struct Written {
    commit: CommitNumber,
    revision: Revision,
    is_value: bool,
    deadline: u64,
}

#[derive(Debug)]
struct Memtable {
    first: CommitNumber,
    entries: Vec<Written>,
}

#[derive(Debug)]
struct Model {
    now: u64,
    visible: CommitNumber,
    last_revision: Revision,
    bucket_last_change: CommitNumber,
    /// Every entry of the key since the bucket was last purged, oldest first.
    truth: Vec<Written>,
    /// Oldest first; the last is the active one.
    memtables: Vec<Memtable>,
    pre_reads: Vec<PreRead>,
    accepted: u32,
    decided_by_probe: u32,
}

impl Model {
    fn new() -> Self {
        Self {
            now: 10,
            visible: CommitNumber(0),
            last_revision: Revision::NONE,
            bucket_last_change: CommitNumber(0),
            truth: Vec::new(),
            memtables: vec![Memtable { first: CommitNumber(1), entries: Vec::new() }],
            pre_reads: Vec::new(),
            accepted: 0,
            decided_by_probe: 0,
        }
    }

    fn write(&mut self, is_value: bool, deadline: u64) {
        self.visible = self.visible.next();
        self.last_revision = Revision(self.last_revision.get() + 1);
        let written = Written { commit: self.visible, revision: self.last_revision, is_value, deadline };
        self.truth.push(written);
        self.memtables.last_mut().expect("an active memtable").entries.push(written);
    }

    fn found(&self, newest: Option<&Written>) -> Found {
        match newest {
            None => Found::Nothing,
            Some(newest) if newest.deadline != 0 && newest.deadline <= self.now => Found::Expired,
            Some(&Written { revision, is_value, deadline, .. }) => Found::Entry { revision, is_value, deadline },
        }
    }

    fn probe(&self, above: CommitNumber) -> Option<&Written> {
        self.memtables.iter().flat_map(|memtable| &memtable.entries).rfind(|entry| entry.commit > above)
    }

    fn step(&mut self, op: &Op, accept: impl Fn(&PreRead, &Present) -> bool) -> Result<(), TestCaseError> {
        match *op {
            Op::Put { ttl } => self.write(true, if ttl == 0 { 0 } else { self.now + ttl }),
            Op::Delete => self.write(false, 0),
            Op::WriteOtherKey => {
                self.visible = self.visible.next();
                self.last_revision = Revision(self.last_revision.get() + 1);
            }
            Op::BurnNumber => self.visible = self.visible.next(),
            Op::PurgeBucket => {
                self.visible = self.visible.next();
                self.bucket_last_change = self.visible;
                self.truth.clear();
            }
            Op::Wait(time) => self.now += time,
            Op::Seal => self.memtables.push(Memtable { first: self.visible.next(), entries: Vec::new() }),
            Op::Flush if self.memtables.len() > 1 => drop(self.memtables.remove(0)),
            Op::Flush => {}
            Op::PreRead => self.pre_reads.push(PreRead { at: self.visible, found: self.found(self.truth.last()) }),
            Op::Decide(place) => {
                let Some(pre_read) = self.pre_reads.get(place).copied() else { return Ok(()) };
                let present = Present {
                    bucket_last_change: self.bucket_last_change,
                    oldest_memtable_first: self.memtables[0].first,
                    now: self.now,
                };
                if accept(&pre_read, &present) {
                    let newer = self.probe(pre_read.at).copied();
                    let believed = if newer.is_some() { self.found(newer.as_ref()) } else { pre_read.found };
                    prop_assert_eq!(believed, self.found(self.truth.last()), "{:#?}", self);
                    self.accepted += 1;
                    self.decided_by_probe += u32::from(newer.is_some());
                }
            }
        }
        Ok(())
    }
}

/// Runs random lives under a rule; the number of accepted pre-reads and of those that the probe decided, or what refutes the
/// rule.
fn run(cases: u32, accept: impl Fn(&PreRead, &Present) -> bool) -> Result<(u32, u32), TestError<Vec<Op>>> {
    let counts = std::cell::Cell::new((0, 0));
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config).run(&ops(), |ops| {
        let mut model = Model::new();
        ops.iter().try_for_each(|op| model.step(op, &accept))?;
        let (accepted, decided_by_probe) = counts.get();
        counts.set((accepted + model.accepted, decided_by_probe + model.decided_by_probe));
        Ok(())
    })?;
    Ok(counts.get())
}

#[test]
fn an_accepted_pre_read_with_a_probe_is_the_truth() {
    let (accepted, decided_by_probe) = run(10_000, accept).unwrap();
    assert!(accepted > 5_000, "{accepted} accepted: the model would prove little");
    assert!(decided_by_probe > 1_000, "{decided_by_probe} decided by the probe: the model would prove little");
}

#[test]
fn without_any_one_of_the_three_tests_a_wrong_state_is_believed() {
    let refuted = |rule: fn(&PreRead, &Present) -> bool| matches!(run(20_000, rule), Err(TestError::Fail(..)));
    assert!(refuted(|read, present| is_still_unexpired(read, present) && are_later_commits_in_memtables(read, present)));
    assert!(refuted(|read, present| is_bucket_unchanged(read, present) && are_later_commits_in_memtables(read, present)));
    assert!(refuted(|read, present| is_bucket_unchanged(read, present) && is_still_unexpired(read, present)));
}

#[test]
fn the_limits_of_each_test_are_exact() {
    let pre_read = PreRead { at: CommitNumber(5), found: Found::Entry { revision: Revision(3), is_value: true, deadline: 20 } };
    let present = Present { bucket_last_change: CommitNumber(5), oldest_memtable_first: CommitNumber(6), now: 19 };
    assert!(accept(&pre_read, &present));
    assert!(!accept(&pre_read, &Present { now: 20, ..present }), "gone at its exact deadline");
    assert!(!accept(&pre_read, &Present { bucket_last_change: CommitNumber(6), ..present }));
    assert!(!accept(&pre_read, &Present { oldest_memtable_first: CommitNumber(7), ..present }));
    let expired = PreRead { found: Found::Expired, ..pre_read };
    assert!(accept(&expired, &Present { now: 100, ..present }), "what has expired stays expired");
}
