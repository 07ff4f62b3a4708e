//! The manifest's bytes, what is refused, and the order of calls of a replacement.

use std::collections::BTreeMap;
use std::io;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::env::{Env, write_all_at};
use crate::error::{ErrorKind, Outcome};
use crate::manifest::format::{FILE_LEN_MAX, HEADER_LEN, ManifestError};
use crate::testing::calls::{CallFs, Fault};
use crate::testing::manifest::sealed;

fn spec(name: &str) -> BucketSpec {
    BucketSpec::new(name.to_owned())
}

fn bucket(id: u64, name: &str) -> BucketState {
    BucketState {
        id: BucketId(id),
        spec: spec(name),
        created: CommitNumber(3),
        changed: CommitNumber(4),
        last_revision: Revision(5),
        start: Revision(2),
        floor: Revision(6),
        purged: CommitNumber(7),
        as_of_floor: Revision(8),
        watch_floor: Revision(9),
        eras: vec![Era { commit: CommitNumber(10), through: Revision(11), depth: 12, cutoff: 13 }],
        deadlines_seen: true,
        cursor: (14, Revision(15)),
        ends: vec![(0x1716_1514_1312_1110, Revision(16))],
        size: None,
    }
}

fn bound(bucket: u64, key: &str) -> Option<Bound> {
    Some((BucketId(bucket), key.as_bytes().into()))
}

fn sample() -> Manifest {
    Manifest {
        store: 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100,
        incarnation: 0x2726_2524_2322_2120,
        clean: false,
        file_ceiling: FileNumber(64),
        flushed: CommitNumber(30),
        last_commit: CommitNumber(31),
        log_floor: FileNumber(32),
        logs: vec![FileNumber(33), FileNumber(34)],
        next_bucket: BucketId(3),
        clock: ClockPair { wall: 40, store: 41 },
        buckets: vec![bucket(1, "a"), bucket(2, "b")],
        segments: vec![
            SegmentRef { number: FileNumber(12), len: 4, checksum: 0, entries: 1 },
            SegmentRef { number: FileNumber(50), len: 300, checksum: 0x6362_6160, entries: 51 },
        ],
        runs: vec![
            vec![PartRef { number: FileNumber(12), live: LiveRange::new(None, bound(1, "a")) }],
            vec![
                PartRef { number: FileNumber(50), live: LiveRange::new(bound(1, ""), bound(1, "a")) },
                PartRef { number: FileNumber(50), live: LiveRange::new(bound(1, "bc"), None) },
                PartRef { number: FileNumber(12), live: LiveRange::ALL },
            ],
        ],
    }
}

#[test]
fn a_manifest_has_these_bytes() {
    let hex: String = sample().encode().iter().map(|byte| format!("{byte:02x}")).collect();
    // The checksums were computed by another implementation of CRC-32 from the table in `format`.
    let expected = concat!(
        "414e4e414c534d46",
        "01000000",
        "97000000",
        "a8ffe3fc",
        "6452b6c4",
        "000102030405060708090a0b0c0d0e0f",
        "2021222324252627",
        "00401e1f20",
        "022122",
        "032829",
        "02",
        "0101610100000000000000",
        "0304050206070809",
        "010a0b0c0d",
        "010e0f",
        "0110111213141516171000",
        "0201620100000000000000",
        "0304050206070809",
        "010a0b0c0d",
        "010e0f",
        "0110111213141516171000",
        "02",
        "0c040000000001",
        "32ac026061626333",
        "02",
        "01",
        "0c02010161",
        "03",
        "32030100010161",
        "320101026263",
        "0c00",
    );
    assert_eq!(hex, expected);
}

#[test]
fn every_flipped_bit_every_shorter_and_every_longer_file_is_refused() {
    let bytes = sample().encode();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(Manifest::decode(&flipped), Err(ManifestError::Corrupt(_))), "bit {bit}");
    }
    for len in 0..bytes.len() {
        assert!(matches!(Manifest::decode(&bytes[..len]), Err(ManifestError::Corrupt(_))), "length {len}");
        let mut zeroed = bytes.clone();
        zeroed[len..].fill(0);
        assert!(zeroed == bytes || Manifest::decode(&zeroed).is_err(), "zeros from {len}");
    }
    assert!(Manifest::decode(&[&bytes[..], &[0]].concat()).is_err());
    assert!(Manifest::decode(&[0; 4096]).is_err());
}

#[test]
fn another_version_is_told_from_damage() {
    let bytes = sample().encode();
    assert_eq!(sealed(1, &bytes[HEADER_LEN..]), bytes);
    for version in [0, 2, u32::MAX] {
        assert_eq!(Manifest::decode(&sealed(version, b"anything")), Err(ManifestError::OtherVersion(version)));
    }
}

/// Gives another number to the last segment, wherever it is named.
fn rename(state: &mut Manifest, number: FileNumber) {
    let old = std::mem::replace(&mut state.segments.last_mut().unwrap().number, number);
    state.runs.iter_mut().flatten().filter(|part| part.number == old).for_each(|part| part.number = number);
}

#[test]
fn a_state_that_breaks_a_rule_is_refused_when_read_and_when_stored() {
    let dir = tempfile::tempdir().unwrap();
    let env = Env::os();
    type Break = fn(&mut Manifest);
    let break_one: [(&str, Break); 22] = [
        ("log order", |state| state.logs.reverse()),
        ("log twice", |state| state.logs = vec![FileNumber(33); 2]),
        ("log below the floor", |state| state.log_floor = FileNumber(34)),
        ("log at the ceiling", |state| state.logs = vec![FileNumber(64)]),
        ("floor above the ceiling", |state| (state.logs, state.log_floor) = (Vec::new(), FileNumber(65))),
        ("flushed what was not committed", |state| state.flushed = CommitNumber(32)),
        ("segment at the ceiling", |state| rename(state, FileNumber(64))),
        ("segment twice", |state| rename(state, FileNumber(12))),
        ("segment and log of one number", |state| rename(state, FileNumber(33))),
        ("segment order", |state| state.segments.reverse()),
        ("segment in no run", |state| state.segments.push(SegmentRef { number: FileNumber(51), ..state.segments[0] })),
        ("part of no segment", |state| state.runs[1][0].number = FileNumber(49)),
        ("empty run", |state| state.runs.insert(1, Vec::new())),
        ("empty live range", |state| state.runs[1][0].live = LiveRange::new(bound(1, "a"), bound(1, "a"))),
        ("live range upside down", |state| state.runs[1][0].live = LiveRange::new(bound(2, "a"), bound(1, "b"))),
        ("parts over one another", |state| state.runs[1][0].live = LiveRange::new(None, bound(1, "c"))),
        ("a file twice in a run", |state| state.runs[1][1].live = LiveRange::ALL),
        ("bucket order", |state| state.buckets.reverse()),
        ("bucket id twice", |state| state.buckets[0].id = BucketId(2)),
        ("bucket name twice", |state| state.buckets[0].spec = spec("b")),
        ("bucket id from the future", |state| state.next_bucket = BucketId(2)),
        ("era order", |state| {
            let era = state.buckets[0].eras[0];
            state.buckets[0].eras.push(era);
        }),
    ];
    for (what, change) in break_one {
        let mut state = sample();
        change(&mut state);
        assert!(matches!(Manifest::decode(&state.encode()), Err(ManifestError::Corrupt(_))), "{what}");
        assert!(matches!(store(&*env.fs, dir.path(), &state), Err(StoreError::Before(_))), "{what}");
    }
    let mut state = sample();
    state.buckets[0].ends = vec![(1, Revision(1)); 64];
    assert_eq!(Manifest::decode(&state.encode()), Ok(state.clone()));
    state.buckets[0].ends.push((1, Revision(1)));
    assert!(Manifest::decode(&state.encode()).is_err());
    assert!(env.fs.list(dir.path()).unwrap().is_empty());
}

#[test]
fn truths_other_than_0_and_1_are_refused() {
    let mut body = sample().encode()[HEADER_LEN..].to_vec();
    body[24] = 2;
    assert!(Manifest::decode(&sealed(1, &body)).is_err());
}

#[test]
fn a_stored_manifest_is_loaded_and_no_file_is_no_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let env = Env::os();
    assert_eq!(load(&*env.fs, dir.path()).unwrap(), None);
    assert!(load(&*env.fs, &dir.path().join("missing")).unwrap().is_none());
    store(&*env.fs, dir.path(), &sample()).unwrap();
    assert_eq!(load(&*env.fs, dir.path()).unwrap(), Some(sample()));
    let newer = Manifest { clean: true, ..sample() };
    store(&*env.fs, dir.path(), &newer).unwrap();
    assert_eq!(load(&*env.fs, dir.path()).unwrap(), Some(newer));
    assert_eq!(env.fs.list(dir.path()).unwrap(), [MANIFEST_NAME]);
}

#[test]
fn errors_of_loading_name_file_and_place_and_are_never_an_absent_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let (env, calls) = CallFs::wrap(&Env::os());
    let path = dir.path().join(MANIFEST_NAME);
    let file = env.fs.create_new(&path).unwrap();
    let error = load(&*env.fs, dir.path()).unwrap_err();
    assert_eq!((error.kind(), error.file(), error.offset()), (ErrorKind::Corrupt, Some(&*path), Some(0)));
    let mut bytes = sample().encode();
    bytes[100] ^= 1;
    write_all_at(&*file, &bytes, 0).unwrap();
    let error = load(&*env.fs, dir.path()).unwrap_err();
    assert_eq!((error.kind(), error.offset()), (ErrorKind::Corrupt, Some(HEADER_LEN as u64)));
    write_all_at(&*file, &sealed(7, b""), 0).unwrap();
    let error = load(&*env.fs, dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedFormat);
    assert!(error.to_string().contains("version 7") && error.to_string().contains("knows 1"), "{error}");
    // Longer than any manifest: refused before memory is taken for it. The file is sparse.
    file.set_len(FILE_LEN_MAX + 1).unwrap();
    assert_eq!(load(&*env.fs, dir.path()).unwrap_err().kind(), ErrorKind::Corrupt);
    file.set_len(0).unwrap();
    write_all_at(&*file, &sample().encode(), 0).unwrap();
    for at in 0..3 {
        calls.fail_after(at, Fault::Before(io::ErrorKind::Other));
        assert_eq!(load(&*env.fs, dir.path()).unwrap_err().kind(), ErrorKind::Io, "call {at}");
    }
    calls.fail_after(2, Fault::Before(io::ErrorKind::Interrupted));
    assert_eq!(load(&*env.fs, dir.path()).unwrap(), Some(sample()));
}

#[test]
fn a_replacement_makes_these_calls_in_this_order() {
    let dir = tempfile::tempdir().unwrap();
    let (env, calls) = CallFs::wrap(&Env::os());
    let len = sample().encode().len();
    for leftover in [false, true] {
        if leftover {
            env.fs.create_new(&dir.path().join(MANIFEST_TMP_NAME)).unwrap();
            calls.take();
        }
        store(&*env.fs, dir.path(), &sample()).unwrap();
        let expected = [
            "remove MANIFEST.tmp".to_owned(),
            "create_new MANIFEST.tmp".to_owned(),
            format!("write {len} at 0 MANIFEST.tmp"),
            "sync_all MANIFEST.tmp".to_owned(),
            "rename MANIFEST.tmp MANIFEST".to_owned(),
            "sync_dir".to_owned(),
        ];
        assert_eq!(calls.take(), expected);
    }
}

#[test]
fn a_failure_before_the_rename_leaves_the_old_state_and_one_after_it_is_ambiguous() {
    for at in 0..6 {
        for fault in [Fault::Before(io::ErrorKind::StorageFull), Fault::After(io::ErrorKind::StorageFull), Fault::Half] {
            if fault == Fault::Half && at != 2 {
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            let (env, calls) = CallFs::wrap(&Env::os());
            store(&*env.fs, dir.path(), &sample()).unwrap();
            let newer = Manifest { clean: true, ..sample() };
            env.fs.create_new(&dir.path().join(MANIFEST_TMP_NAME)).unwrap();
            calls.fail_after(at, fault);
            let error = store(&*env.fs, dir.path(), &newer).unwrap_err();
            calls.heal();
            let ambiguous = matches!(error, StoreError::Ambiguous(_));
            assert_eq!(ambiguous, at >= 4, "call {at}, {fault:?}");
            let error = error.into_error();
            let kind = if ambiguous { ErrorKind::Io } else { ErrorKind::NoSpace };
            assert_eq!((error.kind(), error.outcome() == Outcome::Indeterminate), (kind, ambiguous));
            // Not the first call: it is the removal itself that fails. Not a creation whose answer was lost.
            let tmp_stays = !(2..4).contains(&at);
            assert!(tmp_stays || env.fs.list(dir.path()).unwrap() == [MANIFEST_NAME], "call {at}, {fault:?}");
            let after = load(&*env.fs, dir.path()).unwrap().unwrap();
            assert!(after == sample() || (ambiguous && after == newer), "call {at}, {fault:?}");
            // It goes on without a new open once the fault is over.
            store(&*env.fs, dir.path(), &newer).unwrap();
            assert_eq!(load(&*env.fs, dir.path()).unwrap(), Some(newer));
        }
    }
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..200_u64, any::<u64>()]
}

fn any_spec() -> impl Strategy<Value = BucketSpec> {
    let metadata = btree_map("[a-z]{0,5}", ".{0,5}", 0..3);
    (1..=64_u8, number(), number(), number(), number(), ".{0,10}", metadata).prop_map(
        |(history, max_age, max_bytes, max_value_size, marker_ttl, description, metadata): (_, _, _, _, _, _, BTreeMap<_, _>)| {
            BucketSpec { history, max_age, max_bytes, max_value_size, marker_ttl, description, metadata, ..spec("") }
        },
    )
}

fn any_bucket() -> impl Strategy<Value = BucketState> {
    let eras = btree_map(number(), (number(), any::<u8>(), number()), 0..4);
    let ends = vec((any::<u64>(), number()), 0..5);
    (any_spec(), vec(number(), 9), eras, any::<bool>(), ends, number()).prop_map(
        |(spec, numbers, eras, deadlines_seen, ends, last)| {
            let era = |(commit, (through, depth, cutoff))| Era {
                commit: CommitNumber(commit),
                through: Revision(through),
                depth,
                cutoff,
            };
            BucketState {
                id: BucketId(0),
                spec,
                created: CommitNumber(numbers[0]),
                changed: CommitNumber(numbers[1]),
                last_revision: Revision(numbers[2]),
                start: Revision(numbers[8]),
                floor: Revision(numbers[3]),
                purged: CommitNumber(numbers[4]),
                as_of_floor: Revision(numbers[5]),
                watch_floor: Revision(numbers[6]),
                eras: eras.into_iter().map(era).collect(),
                deadlines_seen,
                cursor: (numbers[7], Revision(last)),
                ends: ends.into_iter().map(|(incarnation, revision)| (incarnation, Revision(revision))).collect(),
                size: (last % 3 == 0).then_some(BucketSize { bytes: last, as_of: last / 2 }),
            }
        },
    )
}

/// Where each file is cut in two, if it is.
fn cuts() -> impl Strategy<Value = Vec<(bool, Option<(u64, String)>)>> {
    vec((any::<bool>(), option::of((number(), "[a-c]{0,3}"))), 5)
}

/// Runs of these files: each whole, or in two parts in one run, or in two runs.
fn runs_of(segments: &[SegmentRef], cuts: &[(bool, Option<(u64, String)>)]) -> Vec<Vec<PartRef>> {
    let mut runs = Vec::new();
    for (segment, (apart, cut)) in segments.iter().zip(cuts) {
        let part = |from, to| PartRef { number: segment.number, live: LiveRange::new(from, to) };
        let cut = cut.as_ref().map(|(bucket, key)| (BucketId(*bucket), key.as_bytes().into()));
        let parts = match cut {
            None => vec![part(None, None)],
            Some(cut) => vec![part(None, Some(Bound::clone(&cut))), part(Some(cut), None)],
        };
        if *apart { runs.extend(parts.into_iter().map(|part| vec![part])) } else { runs.push(parts) }
    }
    runs
}

fn any_manifest() -> impl Strategy<Value = Manifest> {
    let segments = (vec((number(), any::<u32>(), number()), 0..5), cuts());
    let buckets = (vec(any_bucket(), 0..5), btree_set(1..1_000_u64, 5), btree_set("[a-z]{1,9}", 5));
    let files = (btree_set(1..1_000_u64, 10), 0..5_usize, option::of(1_000..u64::MAX));
    (any::<u128>(), any::<u64>(), any::<bool>(), vec(number(), 4), files, buckets, segments).prop_map(
        |(store, incarnation, clean, numbers, (files, log_count, ceiling), (buckets, ids, names), (segments, cuts))| {
            let mut files = files.into_iter().map(FileNumber);
            let logs: Vec<_> = files.by_ref().take(log_count).collect();
            let mut named = Vec::new();
            for ((mut bucket, id), name) in buckets.into_iter().zip(ids).zip(names) {
                bucket.id = BucketId(id);
                bucket.spec.name = name;
                named.push(bucket);
            }
            let segment = |(number, (len, checksum, entries))| SegmentRef { number, len, checksum, entries };
            let segments: Vec<SegmentRef> = files.zip(segments).map(segment).collect();
            let runs = runs_of(&segments, &cuts);
            Manifest {
                store,
                incarnation,
                clean,
                file_ceiling: FileNumber(ceiling.unwrap_or(1_000)),
                flushed: CommitNumber(numbers[0].min(numbers[1])),
                last_commit: CommitNumber(numbers[1]),
                log_floor: logs.first().copied().unwrap_or_default(),
                logs,
                next_bucket: BucketId(1_000),
                clock: ClockPair { wall: numbers[2], store: numbers[3] },
                buckets: named,
                segments,
                runs,
            }
        },
    )
}

proptest! {
    #[test]
    fn any_state_round_trips(state in any_manifest()) {
        prop_assert_eq!(Manifest::decode(&state.encode()), Ok(state));
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_what_decodes_has_one_encoding(bytes in vec(prop_oneof![0..4_u8, any::<u8>()], 0..300)) {
        crate::testing::manifest::file(&bytes);
        crate::testing::manifest::body(&bytes);
    }

    #[test]
    fn edits_behind_right_checksums_never_panic_and_what_decodes_has_one_encoding(
        edits in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        state in any_manifest(),
    ) {
        let mut body = state.encode()[HEADER_LEN..].to_vec();
        for (at, byte) in edits {
            let at = at.index(body.len());
            body[at] = byte;
        }
        crate::testing::manifest::body(&body);
    }
}
