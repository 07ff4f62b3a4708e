//! The bytes of headers, records and changes: pinned, round trips, refusals.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

use super::change::patch_flags;
use super::format::{FileHeader, FormatError, RECORD_HEADER_LEN, read_record};
use super::*;
use crate::checksum::checksum;
use crate::entry::{Flags, Meta, Reason};
use crate::error::{Error, ErrorKind};
use crate::number::{BucketId, CommitNumber, Revision};
use crate::spec::{BucketSpec, ClockPair};
use crate::testing::wal::EMPTY;

const HEADER: FileHeader = FileHeader {
    class: DurabilityClass::Weaker,
    store: 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100,
    number: FileNumber(0x0102),
    salt: 0x1122_3344_5566_7788,
    previous: FileNumber(0x0101),
    len: 0x0400_0000,
};

const FIELDS: RecordFields = RecordFields {
    change_count: 1,
    first_commit: CommitNumber(0x0a0b),
    durable_mark: CommitNumber(0x0a0a),
    now: 1_000,
    chain: 0xdead_beef,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_file_header_has_these_bytes() {
    let (bytes, crc) = HEADER.encode();
    assert_eq!(bytes.len(), 4096);
    assert_eq!(
        hex(&bytes[..64]),
        concat!(
            "414e4e414c53574c01000000",
            "01000000",
            "000102030405060708090a0b0c0d0e0f",
            "0201000000000000",
            "8877665544332211",
            "0101000000000000",
            "0000000400000000"
        )
    );
    assert!(bytes[64..4092].iter().all(|byte| *byte == 0));
    assert_eq!(bytes[4092..], crc.to_le_bytes());
    assert_eq!(crc, GOLDEN_HEADER_CRC);
    assert_eq!(FileHeader::decode(&bytes), Ok((HEADER, crc)));
}

/// All three computed by another implementation of CRC-32 from the tables in `format`.
const GOLDEN_HEADER_CRC: u32 = 0x42db_eef6;

#[test]
fn a_group_has_these_bytes() {
    let mut encoded = Vec::new();
    let fields = EntryFields { bucket: BucketId(2), key: b"k", value: b"vw", ttl: Some(300), ..EMPTY };
    encode_entry(&mut encoded, &fields);
    let mut writer = RecordWriter::new();
    writer.begin();
    writer.push_table(&[(BucketId(2), Revision(7), 1)]);
    writer.push(&encoded);
    assert_eq!(writer.len(), 64);
    let (record, _) = writer.finish(HEADER.seed(), &FIELDS);
    assert_eq!(hex(record), GOLDEN_GROUP);
}

const GOLDEN_GROUP: &str = concat!(
    "50d82830100000000100000001000000",
    "0b0a0000000000000a0a000000000000e803000000000000efbeaddefb7fcc6f",
    "01020701",
    "01010000020102ac02",
    "6b7677"
);

#[test]
fn a_seal_has_these_bytes() {
    let (record, chain) = seal_record(HEADER.seed(), &RecordFields { change_count: 0, ..FIELDS });
    assert_eq!(hex(&record), GOLDEN_SEAL);
    assert_eq!(record[..4], chain.to_le_bytes());
}

const GOLDEN_SEAL: &str =
    concat!("4cd770a10000000002000000000000000b0a0000000000000a0a000000000000", "e803000000000000efbeaddefd5e0f7f");

#[test]
fn names_hold_the_number_and_only_those_are_read_back() {
    assert_eq!(file_name(FileNumber(7)), "00000007.wal");
    assert_eq!(spare_name(FileNumber(123_456_789)), "123456789.spare");
    assert_eq!(parse_file_name("00000007.wal"), Some(FileNumber(7)));
    for name in ["7.wal", "+0000007.wal", "000000007.wal", "00000007.wal2", "00000007.spare", ".wal", "0000000a.wal"] {
        assert_eq!(parse_file_name(name), None, "{name}");
    }
}

#[test]
fn a_flipped_bit_anywhere_in_a_file_header_is_noticed() {
    let (bytes, _) = HEADER.encode();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(FileHeader::decode(&flipped), Err(FormatError::Malformed(_))), "bit {bit}");
    }
    for len in 0..bytes.len() {
        assert!(FileHeader::decode(&bytes[..len]).is_err());
    }
    assert!(FileHeader::decode(&[0; 4096]).is_err());
}

#[test]
fn a_file_header_of_a_newer_version_is_told_from_a_damaged_one() {
    // Version, class, zeros behind it, zeros of the rest.
    for at in [8, 12, 14, 64, 4091] {
        let (mut bytes, _) = HEADER.encode();
        bytes[at] = 9;
        let crc = checksum(0, &[&bytes[..4092]]);
        bytes[4092..].copy_from_slice(&crc.to_le_bytes());
        assert!(matches!(FileHeader::decode(&bytes), Err(FormatError::Unknown(_))), "byte {at}");
    }
}

/// A record around any header fields and payload, with right checksums.
fn framed(kind: u32, fields: &RecordFields, payload: &[u8]) -> Vec<u8> {
    let seed = HEADER.seed();
    let (mut head, _) = RecordHeader::encode(seed, RecordKind::Group, fields, payload.len() as u32, seed.checksum(payload));
    head[8..12].copy_from_slice(&kind.to_le_bytes());
    let crc = seed.checksum(&head[4..]);
    head[..4].copy_from_slice(&crc.to_le_bytes());
    [&head, payload].concat()
}

#[test]
fn a_record_that_verifies_and_makes_no_sense_is_malformed_and_one_of_an_unknown_kind_is_newer() {
    let seed = HEADER.seed();
    let is_newer = |record: &[u8]| matches!(read_record(record, 0, seed), Err(FormatError::Unknown(_)));
    let is_malformed = |record: &[u8]| matches!(read_record(record, 0, seed), Err(FormatError::Malformed(_)));
    assert!(read_record(&framed(1, &FIELDS, b"x"), 0, seed).unwrap().is_some());
    assert_eq!(read_record(&framed(0, &FIELDS, b"x"), 0, seed), Ok(None), "kind 0 is never valid");
    assert!(is_newer(&framed(3, &FIELDS, b"x")));
    assert!(is_newer(&framed(0x0100_0001, &FIELDS, b"x")), "something in the zeros");
    assert!(is_malformed(&framed(1, &RecordFields { change_count: 0, ..FIELDS }, b"x")));
    assert!(is_malformed(&framed(1, &RecordFields { durable_mark: FIELDS.first_commit, ..FIELDS }, b"x")));
    assert!(is_malformed(&framed(1, &RecordFields { first_commit: CommitNumber(u64::MAX), ..FIELDS }, b"x")));
    assert!(is_malformed(&framed(2, &FIELDS, b"")), "a seal that counts changes");
    assert!(is_malformed(&framed(2, &RecordFields { change_count: 0, ..FIELDS }, b"x")), "a seal with a payload");
    assert!(is_malformed(&framed(
        1,
        &RecordFields { first_commit: CommitNumber(0), durable_mark: CommitNumber(0), ..FIELDS },
        b"x"
    )));
}

#[test]
fn zeros_and_records_of_another_file_do_not_verify() {
    let record = framed(1, &FIELDS, b"x");
    assert_eq!(read_record(&[0; 100], 0, HEADER.seed()), Ok(None));
    for other in
        [FileHeader { number: FileNumber(3), ..HEADER }, FileHeader { salt: 1, ..HEADER }, FileHeader { store: 1, ..HEADER }]
    {
        assert_eq!(read_record(&record, 0, other.seed()), Ok(None));
    }
    assert_eq!(read_record(&record[..record.len() - 1], 0, HEADER.seed()), Ok(None), "longer than the file");
    assert_eq!(read_record(&record, usize::MAX, HEADER.seed()), Ok(None));
}

fn decode(fields: &RecordFields, payload: &[u8]) -> Result<Vec<String>, Error> {
    let record = framed(1, fields, payload);
    let (header, payload) = read_record(&record, 0, HEADER.seed()).unwrap().unwrap();
    Changes::new(&header, payload, Path::new("file"), 100)?.map(|change| change.map(|change| format!("{change:?}"))).collect()
}

#[test]
fn a_payload_that_breaks_a_rule_is_corrupt_and_one_with_new_meanings_is_newer() {
    let put = |fields: u8, flags: u16, rest: &[u8]| [&[1, 2, 7, 1, 1, fields][..], &flags.to_le_bytes(), rest].concat();
    let good = put(0, 0, &[2, 1, 1, b'k', b'v']);
    assert_eq!(decode(&FIELDS, &good).unwrap().len(), 1);
    let two = RecordFields { change_count: 2, ..FIELDS };
    let corrupt: &[(&str, &RecordFields, Vec<u8>)] = &[
        ("fewer changes than counted", &two, good.clone()),
        ("bytes after the last change", &FIELDS, [&good[..], &[0]].concat()),
        ("more entries than the table says", &two, [&good[..], &good[4..]].concat()),
        ("fewer entries than the table says", &FIELDS, [&[1, 2, 7, 2], &good[4..]].concat()),
        ("a bucket that took none", &FIELDS, vec![1, 2, 7, 0, 4, 1]),
        ("revision 0", &FIELDS, [&[1, 2, 0, 1], &good[4..]].concat()),
        ("buckets out of order", &FIELDS, [&[2, 3, 1, 1, 2, 7, 1], &good[4..]].concat()),
        ("a bucket that is not in the table", &FIELDS, put(0, 0, &[3, 1, 1, b'k', b'v'])),
        ("no key", &FIELDS, put(0, 0, &[2, 0, 1, b'v'])),
        ("a key of 4001 bytes", &FIELDS, put(0, 0, &[&[2, 0xa1, 0x1f, 0][..], &[b'k'; 4001]].concat())),
        ("a value longer than the record", &FIELDS, put(0, 0, &[2, 1, 9, b'k', b'v'])),
        ("a marker with a value", &FIELDS, put(0, 1, &[2, 1, 1, b'k', b'v'])),
        ("a time to live of 0", &FIELDS, put(1, 0, &[2, 1, 1, 0, b'k', b'v'])),
        ("an origin of 0", &FIELDS, put(2, 0, &[2, 1, 1, 0, b'k', b'v'])),
        ("a revision in a put", &FIELDS, put(4, 0, &[2, 1, 1, 5, b'k', b'v'])),
        ("a dropped entry without revision", &FIELDS, [&[0, 1, 0, 3, 0][..], &[2, 1, 0, b'k']].concat()),
        ("a dropped entry that ends by itself", &FIELDS, [&[0, 1, 5, 3, 0][..], &[2, 1, 0, 5, 5, b'k']].concat()),
        ("a flag of compaction: trimmed", &FIELDS, put(0, Flags::TRIMMED, &[2, 1, 1, b'k', b'v'])),
        ("a flag of compaction: stub", &FIELDS, put(0, Flags::STUB, &[2, 1, 1, b'k', b'v'])),
        ("change 0", &FIELDS, vec![0, 0]),
        ("a longer varint than needed", &FIELDS, vec![0, 4, 0x81, 0]),
        ("nothing", &FIELDS, vec![]),
        ("a count of buckets without end", &FIELDS, vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
    ];
    for (what, fields, payload) in corrupt {
        let error = decode(fields, payload).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error}");
        assert_eq!(error.file(), Some(Path::new("file")));
        assert!((100..=100 + payload.len() as u64).contains(&error.offset().unwrap()), "{what}: {error}");
    }
    for (what, payload) in [
        ("a kind of change", vec![0, 8, 1]),
        ("a field", put(8, 0, &[2, 1, 1, b'k', b'v'])),
        ("a flag", put(0, 1 << 10, &[2, 1, 1, b'k', b'v'])),
        ("a reason", put(0, 3 << 2, &[2, 1, 1, b'k', b'v'])),
    ] {
        assert_eq!(decode(&FIELDS, &payload).expect_err(what).kind(), ErrorKind::UnsupportedFormat, "{what}");
    }
}

#[test]
fn after_an_error_there_are_no_more_changes() {
    let payload = [0, 4, 1, 9, 9];
    let record = framed(1, &RecordFields { change_count: 3, ..FIELDS }, &payload);
    let (header, payload) = read_record(&record, 0, HEADER.seed()).unwrap().unwrap();
    let mut changes = Changes::new(&header, payload, Path::new(""), 0).unwrap();
    assert!(changes.next().unwrap().is_ok());
    assert!(changes.next().unwrap().is_err());
    assert!(changes.next().is_none());
}

#[test]
fn the_leader_may_change_flags_in_what_a_caller_has_encoded() {
    let mut encoded = Vec::new();
    encode_clock(&mut encoded, ClockPair { wall: 1, store: 2 });
    let at = encoded.len();
    encode_entry(&mut encoded, &EntryFields { bucket: BucketId(2), key: b"k", value: b"v", ..EMPTY });
    let mut expected = encoded[..at].to_vec();
    let flags = Flags::put().with(Flags::ROLLUP | Flags::CONTINUES).with_reason(Reason::Touched);
    encode_entry(&mut expected, &EntryFields { bucket: BucketId(2), key: b"k", value: b"v", flags, ..EMPTY });
    assert!(patch_flags(&mut encoded, at, flags));
    assert_eq!(encoded, expected);
    assert!(!patch_flags(&mut encoded, 0, flags) && !patch_flags(&mut [1, 0, 0], 0, flags) && !patch_flags(&mut [], 9, flags));
}

#[test]
fn a_time_to_live_ends_at_the_end_of_time_at_the_latest() {
    let mut encoded = vec![1, 2, 7, 1];
    encode_entry(&mut encoded, &EntryFields { bucket: BucketId(2), key: b"k", ttl: Some(u64::MAX), ..EMPTY });
    assert!(decode(&FIELDS, &encoded).unwrap()[0].contains(&format!("deadline: {}", u64::MAX)));
}

/// A change with its own bytes.
#[derive(Clone, Debug)]
enum Op {
    Entry { bucket: u64, key: Vec<u8>, value: Vec<u8>, flags: Flags, ttl: u64, origin: u64, revision: u64 },
    Create(u64, String),
    Edit(u64, String),
    Delete(u64),
    Purge(u64, u64),
    Sweep(u64, u64, u64),
    Clock(u64, u64),
}

fn op() -> impl Strategy<Value = Op> {
    let flags = (0..4_u64, 0..3_u64, any::<bool>(), any::<bool>()).prop_map(|(operation, reason, rollup, continues)| {
        let bits = operation | (reason << 2) | (u64::from(rollup) << 6) | (u64::from(continues) << 9);
        Flags::from_bits(bits).unwrap()
    });
    let key = prop_oneof![9 => vec(any::<u8>(), 1..20), 1 => vec(any::<u8>(), 4000)];
    let value = prop_oneof![9 => vec(any::<u8>(), 0..50), 1 => vec(any::<u8>(), 9000)];
    let entry = (0..4_u64, key, value, flags, 0..3_u64, 0..3_u64, any::<u64>()).prop_map(
        |(bucket, key, value, flags, ttl, origin, revision)| {
            let value = if flags.is_put() { value } else { Vec::new() };
            let plain = if flags.is_dropped() { 0 } else { u64::MAX };
            Op::Entry { bucket, key, value, flags, ttl: ttl & plain, origin: origin & plain, revision }
        },
    );
    let number = any::<u64>();
    prop_oneof![
        6 => entry,
        1 => (number, "[a-z]{1,9}").prop_map(|(id, name)| Op::Create(id, name)),
        1 => (number, "[a-z]{1,9}").prop_map(|(id, name)| Op::Edit(id, name)),
        1 => number.prop_map(Op::Delete),
        1 => (number, number).prop_map(|(id, through)| Op::Purge(id, through)),
        1 => (number, number, number).prop_map(|(id, deadline, revision)| Op::Sweep(id, deadline, revision)),
        1 => (number, number).prop_map(|(wall, store)| Op::Clock(wall, store)),
    ]
}

fn encode(op: &Op, out: &mut Vec<u8>) {
    match op {
        Op::Entry { bucket, key, value, flags, ttl, origin, revision } => {
            let fields = EntryFields {
                bucket: BucketId(*bucket),
                flags: *flags,
                key,
                value,
                ttl: (*ttl != 0).then_some(*ttl),
                origin: Revision(*origin),
                revision: Revision(*revision),
            };
            encode_entry(out, &fields);
        }
        Op::Create(id, name) => encode_create_bucket(out, BucketId(*id), &BucketSpec::new(name.clone())),
        Op::Edit(id, name) => encode_edit_bucket(out, BucketId(*id), &BucketSpec::new(name.clone())),
        Op::Delete(id) => encode_delete_bucket(out, BucketId(*id)),
        Op::Purge(id, through) => encode_purge_all(out, BucketId(*id), Revision(*through)),
        Op::Sweep(id, deadline, revision) => encode_sweep_cursor(out, BucketId(*id), *deadline, Revision(*revision)),
        Op::Clock(wall, store) => encode_clock(out, ClockPair { wall: *wall, store: *store }),
    }
}

fn expected<'a>(op: &'a Op, now: u64, taken: &mut [u64; 4]) -> Change<'a> {
    match op {
        Op::Entry { bucket, key, value, flags, ttl, origin, revision } => {
            let revision = if flags.is_dropped() {
                *revision
            } else {
                taken[*bucket as usize] += 1;
                10 * bucket + taken[*bucket as usize]
            };
            let meta = Meta {
                revision: Revision(revision),
                flags: *flags,
                created: now,
                deadline: if *ttl == 0 { 0 } else { now + ttl },
                origin: Revision(*origin),
            };
            Change::Entry { bucket: BucketId(*bucket), key, meta, value }
        }
        Op::Create(id, name) => Change::CreateBucket { id: BucketId(*id), spec: BucketSpec::new(name.clone()) },
        Op::Edit(id, name) => Change::EditBucket { id: BucketId(*id), spec: BucketSpec::new(name.clone()), now },
        Op::Delete(id) => Change::DeleteBucket { id: BucketId(*id) },
        Op::Purge(id, through) => Change::PurgeAll { id: BucketId(*id), through: Revision(*through) },
        Op::Sweep(id, deadline, revision) => {
            Change::SweepCursor { id: BucketId(*id), deadline: *deadline, revision: Revision(*revision) }
        }
        Op::Clock(wall, store) => Change::Clock(ClockPair { wall: *wall, store: *store }),
    }
}

proptest! {
    #[test]
    fn groups_of_all_kinds_of_changes_round_trip(ops in vec(op(), 1..20), first in 1..u64::MAX / 2, now in 0..u64::MAX / 2) {
        let mut taken = [0; 4];
        let expected: Vec<_> = ops.iter().enumerate()
            .map(|(index, op)| (CommitNumber(first + index as u64), expected(op, now, &mut taken))).collect();
        let table: Vec<_> = (0..4).map(|id| (BucketId(id), Revision(10 * id + 1), taken[id as usize])).collect();
        let mut writer = RecordWriter::new();
        // What is left of a group that was given up does not come back.
        writer.begin();
        writer.push(b"garbage");
        writer.begin();
        writer.push_table(&table);
        for op in &ops {
            let mut encoded = Vec::new();
            encode(op, &mut encoded);
            writer.push(&encoded);
        }
        let len = writer.len();
        let fields = RecordFields { change_count: ops.len() as u32, first_commit: CommitNumber(first), now, ..FIELDS };
        let fields = RecordFields { durable_mark: CommitNumber(first - 1), ..fields };
        let (record, chain) = writer.finish(HEADER.seed(), &fields);
        prop_assert_eq!(record.len(), len);
        let (header, payload) = read_record(record, 0, HEADER.seed()).unwrap().unwrap();
        prop_assert_eq!((header.fields, header.crc, header.kind), (fields, chain, RecordKind::Group));
        prop_assert_eq!(record_len(payload.len()), record.len());
        prop_assert!(record[RECORD_HEADER_LEN + payload.len()..].iter().all(|byte| *byte == 0));
        prop_assert_eq!(header.last_commit(), CommitNumber(first + ops.len() as u64 - 1));
        let decoded: Result<Vec<_>, Error> = Changes::new(&header, payload, Path::new(""), 0).unwrap().collect();
        prop_assert_eq!(decoded.unwrap(), expected);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        crate::testing::wal::record(&bytes);
        crate::testing::wal::file(&bytes);
    }

    #[test]
    fn arbitrary_bytes_behind_right_checksums_never_panic(bytes in vec(prop_oneof![0..8_u8, any::<u8>()], 0..300)) {
        crate::testing::wal::record_resealed(&bytes);
        crate::testing::wal::file_resealed(&bytes);
    }
}
