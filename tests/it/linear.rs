//! A checker of linearizability for one bucket, linear in its cost because every write answers a unique revision.
//!
//! Threads log each call with a ticket taken before it and one taken after it from a shared counter. The history is right if:
//! 1. revisions are unique, and their order agrees with real time: a write that had returned before another was called has the smaller;
//! 2. a read sees an entry at least as new as every write of the key that had returned before the read was called; that entry's write was
//!    called before the read returned; reads in real-time order never go back; the value is the one that this revision wrote;
//! 3. a conditional write that succeeded replaced exactly the revision that it expected; one that failed names another revision, which was
//!    the key's newest at some moment of the call.

use std::collections::BTreeMap;

/// One finished call on one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) key: usize,
    /// Ticket before the call, and after it.
    pub(crate) called: u64,
    pub(crate) returned: u64,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// An unconditional write: put, delete, purge.
    Wrote {
        revision: u64,
        value: u64,
    },
    Swapped {
        expected: u64,
        revision: u64,
        value: u64,
    },
    Refused {
        expected: u64,
        actual: u64,
    },
    /// The newest entry; revision 0 for none.
    Read {
        revision: u64,
        value: u64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Write {
    revision: u64,
    key: usize,
    value: u64,
    called: u64,
    returned: u64,
}

/// Checks a history that starts with an empty bucket.
pub(crate) fn check(calls: &[Call]) -> Result<(), String> {
    let writes = writes_by_revision(calls)?;
    check_real_time(&writes)?;
    for key in calls.iter().map(|call| call.key).collect::<std::collections::BTreeSet<_>>() {
        let calls: Vec<Call> = calls.iter().filter(|call| call.key == key).copied().collect();
        let writes: Vec<Write> = writes.values().filter(|write| write.key == key).copied().collect();
        check_key(&calls, &writes).map_err(|error| format!("key {key}: {error}"))?;
    }
    Ok(())
}

fn writes_by_revision(calls: &[Call]) -> Result<BTreeMap<u64, Write>, String> {
    let mut writes = BTreeMap::new();
    for call in calls {
        let (Outcome::Wrote { revision, value } | Outcome::Swapped { revision, value, .. }) = call.outcome else { continue };
        let write = Write { revision, key: call.key, value, called: call.called, returned: call.returned };
        if let Some(other) = writes.insert(revision, write) {
            return Err(format!("revision {revision} was given out twice: {write:?} and {other:?}"));
        }
    }
    Ok(writes)
}

fn check_real_time(writes: &BTreeMap<u64, Write>) -> Result<(), String> {
    let mut earliest_return: Option<Write> = None;
    for write in writes.values().rev() {
        if let Some(later) = earliest_return.filter(|later| later.returned < write.called) {
            return Err(format!("{later:?} had returned before {write:?} was called, but has the greater revision"));
        }
        if earliest_return.is_none_or(|earliest| write.returned < earliest.returned) {
            earliest_return = Some(*write);
        }
    }
    Ok(())
}

/// `writes` in revision order, all of the key.
fn check_key(calls: &[Call], writes: &[Write]) -> Result<(), String> {
    let mut reads: Vec<(Call, u64)> = Vec::new();
    for call in calls {
        match call.outcome {
            Outcome::Read { revision, value } => {
                was_newest_during(call, revision, writes)?;
                if let Some(write) = writes.iter().find(|write| write.revision == revision && write.value != value) {
                    return Err(format!("{call:?} shows another value than {write:?}"));
                }
                reads.push((*call, revision));
            }
            Outcome::Refused { expected, actual } if expected == actual => {
                return Err(format!("{call:?} was refused for the revision that it expected"));
            }
            Outcome::Refused { actual, .. } => was_newest_during(call, actual, writes)?,
            Outcome::Swapped { expected, revision, .. } => {
                let before = writes.iter().rev().find(|write| write.revision < revision).map_or(0, |write| write.revision);
                if before != expected {
                    return Err(format!("{call:?} replaced {before}"));
                }
            }
            Outcome::Wrote { .. } => {}
        }
    }
    never_back(reads)
}

/// Whether `revision` may have been the key's newest at some moment between call and return.
fn was_newest_during(call: &Call, revision: u64, writes: &[Write]) -> Result<(), String> {
    if revision != 0 {
        match writes.iter().find(|write| write.revision == revision) {
            None => return Err(format!("{call:?} saw a revision that nobody wrote to the key")),
            Some(write) if write.called > call.returned => return Err(format!("{call:?} saw {write:?}, called only later")),
            Some(_) => {}
        }
    }
    let missed = writes.iter().find(|write| write.revision > revision && write.returned < call.called);
    missed.map_or(Ok(()), |write| Err(format!("{call:?} missed {write:?}")))
}

fn never_back(mut reads: Vec<(Call, u64)>) -> Result<(), String> {
    let mut finished = reads.clone();
    reads.sort_by_key(|(call, _)| call.called);
    finished.sort_by_key(|(call, _)| call.returned);
    let mut finished = finished.into_iter().peekable();
    let mut newest_seen = 0;
    for (call, revision) in reads {
        while let Some((_, seen)) = finished.next_if(|(other, _)| other.returned < call.called) {
            newest_seen = newest_seen.max(seen);
        }
        if revision < newest_seen {
            return Err(format!("{call:?} went back behind {newest_seen}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Outcome::{Read, Refused, Swapped, Wrote};
    use super::*;

    fn call(called: u64, returned: u64, outcome: Outcome) -> Call {
        Call { key: 0, called, returned, outcome }
    }

    fn put(called: u64, returned: u64, revision: u64) -> Call {
        call(called, returned, Wrote { revision, value: revision })
    }

    fn read(called: u64, returned: u64, revision: u64) -> Call {
        call(called, returned, Read { revision, value: revision })
    }

    #[test]
    fn right_histories_pass() {
        check(&[]).unwrap();
        check(&[put(1, 2, 1), read(3, 4, 1), put(5, 6, 2), read(7, 8, 2)]).unwrap();
        // Two writes at the same time may have either order, and a read beside them either result.
        check(&[put(1, 10, 2), put(2, 9, 1), read(3, 4, 0), read(5, 6, 2)]).unwrap();
        let refused = call(3, 6, Refused { expected: 7, actual: 1 });
        let swapped = call(4, 5, Swapped { expected: 1, revision: 2, value: 2 });
        check(&[put(1, 2, 1), refused, swapped]).unwrap();
    }

    #[test]
    fn broken_histories_are_found() {
        let value = |revision, value| call(3, 4, Read { revision, value });
        let swapped = |expected| call(5, 6, Swapped { expected, revision: 3, value: 3 });
        let refused = |expected, actual| call(5, 6, Refused { expected, actual });
        for (what, history) in [
            ("a revision given out twice", vec![put(1, 2, 1), put(3, 4, 1)]),
            ("revisions against real time", vec![put(1, 2, 2), put(3, 4, 1)]),
            ("a stale read", vec![put(1, 2, 1), put(3, 4, 2), read(5, 6, 1)]),
            ("a read of nothing after a write", vec![put(1, 2, 1), read(3, 4, 0)]),
            ("a read from the future", vec![read(1, 2, 1), put(3, 4, 1)]),
            ("a read of what nobody wrote", vec![put(1, 2, 1), read(3, 4, 5)]),
            ("a value that is not the revision's", vec![put(1, 2, 1), value(1, 9)]),
            ("reads that go back", vec![put(1, 20, 1), put(2, 19, 2), read(3, 4, 2), read(5, 6, 1)]),
            ("a swap of a stale revision", vec![put(1, 2, 1), put(3, 4, 2), swapped(1)]),
            ("a refusal without reason", vec![put(1, 2, 1), refused(1, 1)]),
            ("a refusal for a stale revision", vec![put(1, 2, 1), put(3, 4, 2), refused(2, 1)]),
        ] {
            assert!(check(&history).is_err(), "{what} was not found");
        }
    }
}
