//! The order of calls that a log file makes, and what is left when one fails.

use super::*;
use crate::env::read_whole;
use crate::error::Outcome;
use crate::number::CommitNumber;
use crate::testing::calls::{CallFs, Fault};
use crate::testing::wal::{Files, STORE, replay_files};
use crate::wal::RecordWriter;
use crate::wal::encode_clock;

const OPTIONS: LogFileOptions =
    LogFileOptions { store: STORE, number: FileNumber(3), previous: FileNumber(0), class: DurabilityClass::Sync, len: 8192 };

fn clock_record(log: &LogFile, first: u64, chain: u32) -> (Vec<u8>, u32) {
    let mut writer = RecordWriter::new();
    let mut encoded = Vec::new();
    encode_clock(&mut encoded, crate::spec::ClockPair { wall: first, store: 1 });
    writer.begin();
    writer.push_table(&[]);
    writer.push(&encoded);
    let (record, chain) = writer.finish(log.seed(), &fields(1, first, chain));
    (record.to_vec(), chain)
}

fn fields(change_count: u32, first: u64, chain: u32) -> RecordFields {
    let durable_mark = CommitNumber(first - 1);
    RecordFields { change_count, first_commit: CommitNumber(first), durable_mark, now: 9, chain }
}

fn content(env: &Env, log: &LogFile) -> Vec<u8> {
    read_whole(&*env.fs, log.path(), 1 << 20).unwrap()
}

#[test]
fn a_file_is_complete_and_durable_before_it_is_ready() {
    let dir = tempfile::tempdir().unwrap();
    let (env, calls) = CallFs::wrap(&Env::os());
    let log = LogFile::prepare(&env, dir.path(), &OPTIONS).unwrap();
    let expected = [
        "create_new 00000003.spare",
        "write 4096 at 0 00000003.spare",
        "allocate 8192 00000003.spare",
        "sync_all 00000003.spare",
        "rename 00000003.spare 00000003.wal",
        "sync_dir",
    ];
    assert_eq!(calls.take(), expected);
    assert_eq!((log.offset(), log.remaining(), log.number()), (4096, 4096 - 48, FileNumber(3)));
    let bytes = content(&env, &log);
    let (header, crc) = FileHeader::decode(&bytes).unwrap();
    assert_eq!((bytes.len(), header.len, crc, header.seed()), (8192, 8192, log.initial_chain(), log.seed()));
}

#[test]
fn a_failure_before_the_rename_leaves_no_file_and_one_after_it_is_indeterminate() {
    for at in 0..6 {
        for fault in [Fault::Before(io::ErrorKind::StorageFull), Fault::After(io::ErrorKind::StorageFull), Fault::Half] {
            if fault == Fault::Half && at != 1 {
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            let (env, calls) = CallFs::wrap(&Env::os());
            calls.fail_after(at, fault);
            let error = LogFile::prepare(&env, dir.path(), &OPTIONS).unwrap_err();
            let kind = if at >= 4 { crate::error::ErrorKind::Io } else { crate::error::ErrorKind::NoSpace };
            assert_eq!(error.kind(), kind);
            assert_eq!(error.outcome() == Outcome::Indeterminate, at >= 4, "call {at}");
            calls.heal();
            let names = env.fs.list(dir.path()).unwrap();
            assert!(at >= 4 || !names.contains(&"00000003.wal".to_owned()), "{names:?}");
            // A created file whose creation was reported as failed is nobody's.
            assert!(!(1..4).contains(&at) || names.is_empty(), "call {at}: {names:?}");
        }
    }
}

#[test]
fn taken_numbers_and_lengths_without_room_are_handled() {
    let dir = tempfile::tempdir().unwrap();
    let env = Env::os();
    let log = LogFile::prepare(&env, dir.path(), &LogFileOptions { len: 0, ..OPTIONS }).unwrap();
    assert_eq!((log.remaining(), content(&env, &log).len()), (0, 4096 + 48));
    std::mem::drop(env.fs.create_new(&dir.path().join("00000004.spare")).unwrap());
    let error = LogFile::prepare(&env, dir.path(), &LogFileOptions { number: FileNumber(4), ..OPTIONS }).unwrap_err();
    assert_eq!(error.kind(), crate::error::ErrorKind::Io);
    assert!(env.fs.open(&dir.path().join("00000004.spare")).is_ok(), "it was not ours to remove");
}

#[test]
fn records_go_one_behind_the_other_and_the_seal_always_fits() {
    let dir = tempfile::tempdir().unwrap();
    let env = Env::os();
    let mut log = LogFile::prepare(&env, dir.path(), &OPTIONS).unwrap();
    let mut chain = log.initial_chain();
    let mut first = 1;
    loop {
        let (record, next) = clock_record(&log, first, chain);
        if record.len() as u64 > log.remaining() {
            break;
        }
        log.append(&record).unwrap();
        (chain, first) = (next, first + 1);
    }
    log.seal(&fields(0, first, chain)).unwrap();
    log.sync().unwrap();
    log.file().sync_data().unwrap();
    let bytes = content(&env, &log);
    assert_eq!(bytes.len(), 8192);
    let (record, _) = clock_record(&log, first, chain);
    assert_eq!(log.append(&record).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    let end = replay_files(&Files::from([(FileNumber(3), bytes)]), 0, 0).0.unwrap();
    assert_eq!((end.last_commit.0, end.torn, end.last_file_sealed), (first - 1, None, true));
}

#[test]
fn a_failed_append_moves_nothing_and_the_seal_covers_what_it_left() {
    let dir = tempfile::tempdir().unwrap();
    let (env, calls) = CallFs::wrap(&Env::os());
    let mut log = LogFile::prepare(&env, dir.path(), &OPTIONS).unwrap();
    let (record, chain) = clock_record(&log, 1, log.initial_chain());
    log.append(&record).unwrap();
    let offset = log.offset();
    let (record, _) = clock_record(&log, 2, chain);
    // The whole record reaches the file, and the call fails all the same.
    for fault in [Fault::Half, Fault::Before(io::ErrorKind::StorageFull), Fault::After(io::ErrorKind::StorageFull)] {
        calls.fail_after(0, fault);
        assert!(log.append(&record).is_err());
        assert_eq!(log.offset(), offset);
    }
    calls.heal();
    calls.take();
    log.seal_after_failure(&fields(0, 3, chain)).unwrap();
    let expected = ["write 48 at 4152", "sync_data", "set_len 4200", "sync_data"];
    assert_eq!(calls.take(), expected.map(|call| format!("{call} 00000003.spare")));
    assert_eq!(log.remaining(), 0);
    let bytes = content(&env, &log);
    let (end, lines) = replay_files(&Files::from([(FileNumber(3), bytes)]), 0, 0);
    let end = end.unwrap();
    assert_eq!((end.last_commit.0, end.torn, end.last_file_sealed, lines.len()), (1, None, true, 1));
}

#[test]
fn an_interrupted_or_short_write_is_continued_and_each_failing_step_of_the_seal_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (env, calls) = CallFs::wrap(&Env::os());
    let mut log = LogFile::prepare(&env, dir.path(), &OPTIONS).unwrap();
    let (record, chain) = clock_record(&log, 1, log.initial_chain());
    for fault in [Fault::Before(io::ErrorKind::Interrupted), Fault::Short] {
        let before = log.offset();
        calls.fail_after(0, fault);
        log.append(&record).unwrap();
        assert_eq!((calls.take().len(), log.offset()), (2, before + record.len() as u64));
        calls.heal();
        assert_eq!(content(&env, &log)[before as usize..][..record.len()], record);
    }
    for at in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogFile::prepare(&env, dir.path(), &OPTIONS).unwrap();
        calls.fail_after(at, Fault::Before(io::ErrorKind::Other));
        assert!(log.seal_after_failure(&fields(0, 2, chain)).is_err(), "call {at}");
        calls.heal();
    }
}
