//! What replay makes of whole logs: intact, cut, flipped, zeroed, mixed up.
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::panic,
    reason = "the parent forbids these for what reads files; tests may panic"
)]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;
use crate::testing::wal::{Files, STORE, SampleLog, check_verdict, edited, replay_files, sample};

const CLASSES: [DurabilityClass; 2] = [DurabilityClass::Sync, DurabilityClass::Weaker];

fn content(files: &mut Files, number: u64) -> &mut Vec<u8> {
    files.get_mut(&FileNumber(number)).unwrap()
}

/// The error of a replay that must be refused as corrupt; nothing but what was written may have been handed out.
fn refused(log: &SampleLog, files: &Files, floor: u64) -> String {
    let (end, lines) = replay_files(files, floor, 0);
    let error = end.expect_err("it must be refused");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(log.lines.starts_with(&lines));
    error.to_string()
}

#[test]
fn an_intact_log_is_replayed_in_the_order_of_its_numbers_whatever_the_order_of_the_list() {
    for class in CLASSES {
        let log = sample(class);
        // The list is handed over newest first.
        let (end, lines) = replay_files(&log.files, 0, 0);
        assert_eq!(lines, log.lines);
        let expected = ReplayEnd {
            last_commit: CommitNumber(log.next_commit() - 1),
            last_now: 1_000 * (log.next_commit() - 2),
            records: 8,
            changes: log.lines.len() as u64,
            torn: None,
            weaker_than_sync: class == DurabilityClass::Weaker,
            last_file_sealed: false,
        };
        assert_eq!(end.unwrap(), expected);
    }
}

#[test]
fn commit_numbers_start_where_the_record_says_and_burned_ones_are_gaps() {
    let mut log = SampleLog::new();
    log.burn(41);
    log.file(1, 0, DurabilityClass::Sync, 8192);
    log.puts(1, &[b"a", b"b"], 41);
    log.burn(5);
    log.puts(1, &[b"c"], 43);
    let (end, lines) = replay_files(&log.files, 0, 41);
    assert_eq!(end.unwrap().last_commit, CommitNumber(49));
    assert!(lines[0].starts_with("(CommitNumber(42)") && lines[1].starts_with("(CommitNumber(43)"));
    assert!(lines[2].starts_with("(CommitNumber(49)"), "{lines:?}");
}

#[test]
fn no_files_and_ready_files_are_a_clean_end() {
    assert_eq!(replay_files(&Files::new(), 3, 9).0.unwrap(), ReplayEnd::default());
    let mut log = SampleLog::new();
    log.file(1, 0, DurabilityClass::Sync, 4096);
    log.file(2, 1, DurabilityClass::Sync, 8192);
    log.file(3, 2, DurabilityClass::Weaker, 8192);
    let end = replay_files(&log.files, 0, 0).0.unwrap();
    // A file below `Sync` counts without any record: records may be what a power cut took.
    assert_eq!(end, ReplayEnd { weaker_than_sync: true, ..ReplayEnd::default() });
}

#[test]
fn every_flipped_bit_gets_the_right_verdict() {
    for class in CLASSES {
        let log = sample(class);
        for number in [4, 5, 7] {
            for bit in HEADER_LEN * 8..(HEADER_LEN + 512) * 8 {
                let mut files = log.files.clone();
                content(&mut files, number)[bit / 8] ^= 1 << (bit % 8);
                check_verdict(&log, &files);
            }
        }
    }
}

#[test]
fn every_length_of_zeros_at_the_end_of_a_file_gets_the_right_verdict() {
    for class in CLASSES {
        let log = sample(class);
        for number in [4, 5, 7] {
            for from in HEADER_LEN..HEADER_LEN + 512 {
                let mut files = log.files.clone();
                content(&mut files, number)[from..].fill(0);
                check_verdict(&log, &files);
            }
        }
    }
}

#[test]
fn every_zeroed_or_lost_piece_gets_the_right_verdict() {
    for class in CLASSES {
        let log = sample(class);
        for number in [4, 5, 7] {
            for len in [8, 16, 64, 256] {
                for from in (HEADER_LEN..HEADER_LEN + 512).step_by(8) {
                    for garbage in [0, 0xff] {
                        let mut files = log.files.clone();
                        let end = (from + len).min(HEADER_LEN + 512);
                        content(&mut files, number)[from..end].fill(garbage);
                        check_verdict(&log, &files);
                    }
                }
            }
        }
    }
}

#[test]
fn every_shorter_file_is_refused_unless_it_ends_with_its_seal() {
    let log = sample(DurabilityClass::Sync);
    for number in [4, 5, 7] {
        let seal = log.spots.iter().rfind(|spot| spot.file.0 == number && spot.kind == RecordKind::Seal).map(|spot| spot.end);
        for len in 0..HEADER_LEN + 512 {
            let mut files = log.files.clone();
            content(&mut files, number).truncate(len);
            if seal.is_some_and(|seal| len >= seal) {
                let (end, lines) = replay_files(&files, 0, 0);
                assert_eq!((end.unwrap().torn, lines.len()), (None, log.lines.len()));
            } else {
                refused(&log, &files, 0);
            }
        }
    }
}

#[test]
fn damage_below_a_durable_mark_is_corruption_and_in_the_last_group_a_torn_end() {
    let log = sample(DurabilityClass::Sync);
    let groups: Vec<_> = log.spots.iter().filter(|spot| spot.kind == RecordKind::Group).collect();
    let (last, others) = groups.split_last().unwrap();
    for spot in others {
        let mut files = log.files.clone();
        content(&mut files, spot.file.0)[spot.end - 1] ^= 1;
        let error = refused(&log, &files, 0);
        assert!(error.contains("had been synced") && error.contains(&format!("offset={}", spot.start)), "{error}");
    }
    let mut files = log.files.clone();
    content(&mut files, last.file.0)[last.end - 1] ^= 1;
    let end = replay_files(&files, 0, 0).0.unwrap();
    let len = (last.end - last.start) as u64;
    assert_eq!(end.torn, Some(Torn { file: last.file, offset: last.start as u64, bytes: len, records_after: 0 }));
    assert_eq!(end.last_commit.next(), last.fields.first_commit);
}

#[test]
fn below_sync_intact_records_after_an_unsynced_hole_are_cut_and_counted() {
    let mut log = SampleLog::new();
    log.file(1, 0, DurabilityClass::Weaker, 8192);
    log.puts(1, &[b"a"], 0);
    log.puts(1, &[b"b"], 0);
    log.puts(1, &[b"c"], 1);
    log.seal(1);
    log.file(2, 1, DurabilityClass::Weaker, 8192);
    log.puts(1, &[b"d"], 1);
    let mut files = log.files.clone();
    let hole = log.spots[1].start;
    content(&mut files, 1)[hole] ^= 1;
    let (end, lines) = replay_files(&files, 0, 0);
    assert_eq!(lines.len(), 1);
    assert_eq!(end.unwrap().torn.map(|torn| torn.records_after), Some(2));
    // The same hole, and a later group that knows of it as durable.
    let mut proven = log.clone();
    proven.puts(1, &[b"e"], 2);
    let mut files = proven.files.clone();
    content(&mut files, 1)[hole] ^= 1;
    assert!(refused(&proven, &files, 0).contains("00000002.wal"));
}

#[test]
fn a_seal_that_proves_what_is_missing_is_enough() {
    let mut log = SampleLog::new();
    log.file(1, 0, DurabilityClass::Sync, 8192);
    log.puts(1, &[b"a"], 0);
    log.seal(1);
    let mut files = log.files.clone();
    content(&mut files, 1)[HEADER_LEN + 60] ^= 1;
    assert!(refused(&log, &files, 0).contains("commit 1 is missing"));
}

#[test]
fn a_seal_that_is_damaged_is_told_by_a_single_record_behind_it_unless_it_need_not_be_there() {
    for class in CLASSES {
        let mut log = SampleLog::new();
        log.file(1, 0, class, 8192);
        log.puts(1, &[b"a"], 0);
        log.seal(1);
        let seal = log.spots[1].start;
        log.file(2, 1, class, 8192);
        let mut files = log.files.clone();
        content(&mut files, 1)[seal] ^= 1;
        // Nothing is in the next file yet.
        assert!(replay_files(&files, 0, 0).0.unwrap().torn.is_some());
        log.puts(1, &[b"b"], 0);
        let mut files = log.files.clone();
        content(&mut files, 1)[seal] ^= 1;
        let (end, _) = replay_files(&files, 0, 0);
        assert_eq!(end.is_err(), class == DurabilityClass::Sync, "{end:?}");
    }
}

#[test]
fn marks_below_what_is_flushed_prove_nothing_about_a_first_record() {
    let mut log = SampleLog::new();
    log.burn(100);
    log.file(8, 7, DurabilityClass::Weaker, 8192);
    log.puts(1, &[b"a"], 100);
    log.puts(1, &[b"b"], 100);
    let mut files = log.files.clone();
    content(&mut files, 8)[HEADER_LEN] ^= 1;
    let (end, lines) = replay_files(&files, 8, 100);
    assert_eq!((end.unwrap().torn.map(|torn| torn.records_after), lines.len()), (Some(1), 0));
    // Where less is flushed, the same marks say that something is gone.
    assert!(replay_files(&files, 8, 99).0.is_err());
}

#[test]
fn missing_files_are_named() {
    let log = sample(DurabilityClass::Sync);
    let mut files = log.files.clone();
    files.remove(&FileNumber(5));
    assert!(refused(&log, &files, 0).contains("00000005.wal, is missing"));
    let mut files = log.files.clone();
    files.remove(&FileNumber(4));
    assert!(replay_files(&files, 4, 0).0.unwrap_err().to_string().contains("00000004.wal, is missing"));
    // Below the floor it is not needed.
    let (end, lines) = replay_files(&files, 5, 0);
    assert_eq!((end.unwrap().torn, lines.len()), (None, log.lines.len() - 6 + 1));
    let (end, lines) = replay_files(&log.files, 5, 0);
    assert_eq!((end.unwrap().torn, lines.len()), (None, log.lines.len() - 6 + 1));
}

#[test]
fn files_under_another_name_of_another_store_or_chain_are_refused() {
    let log = sample(DurabilityClass::Sync);
    let mut files = log.files.clone();
    let (left, right) = (files[&FileNumber(4)].clone(), files[&FileNumber(5)].clone());
    files.insert(FileNumber(4), right);
    files.insert(FileNumber(5), left);
    assert!(refused(&log, &files, 0).contains("is number 5, not 4"));
    let path_of = |number| PathBuf::from(file_name(number));
    let files = [FileNumber(4)];
    let input =
        ReplayInput { store: STORE + 1, files: &files, floor: FileNumber(0), flushed: CommitNumber(0), path_of: &path_of };
    let end = replay(&input, &mut |number| Ok(log.files[&number].clone()), &mut |_, _| Ok(()));
    assert!(end.unwrap_err().to_string().contains("another store"));
    // A second beginning behind the first is no continuation.
    let mut log = SampleLog::new();
    log.file(1, 0, DurabilityClass::Sync, 8192);
    log.file(2, 0, DurabilityClass::Sync, 8192);
    assert!(replay_files(&log.files, 0, 0).0.is_err());
}

#[test]
fn a_file_of_another_history_with_the_right_links_is_not_taken_for_a_continuation() {
    let log = sample(DurabilityClass::Sync);
    let mut other = SampleLog::new();
    other.burn(100);
    other.file(4, 0, DurabilityClass::Sync, 8192);
    other.puts(1, &[b"x"], 100);
    other.seal(101);
    other.file(5, 4, DurabilityClass::Sync, 8192);
    other.puts(1, &[b"y"], 101);
    let mut files = log.files.clone();
    files.remove(&FileNumber(7));
    files.insert(FileNumber(5), other.files[&FileNumber(5)].clone());
    assert!(refused(&log, &files, 0).contains("had been synced"));
}

#[test]
fn a_record_of_another_file_does_not_verify_at_the_end_of_this_one() {
    let log = sample(DurabilityClass::Sync);
    let stale = log.files[&FileNumber(4)][HEADER_LEN..HEADER_LEN + 200].to_vec();
    let mut files = log.files.clone();
    let last = log.spots.last().unwrap();
    let at = last.end.next_multiple_of(8);
    content(&mut files, 7)[at..at + 200].copy_from_slice(&stale);
    let (end, lines) = replay_files(&files, 0, 0);
    assert_eq!(lines, log.lines);
    assert_eq!(end.unwrap().torn.map(|torn| (torn.offset, torn.records_after)), Some((at as u64, 0)));
}

#[test]
fn a_record_of_this_file_in_another_place_breaks_the_chain() {
    let mut log = SampleLog::new();
    log.file(1, 0, DurabilityClass::Weaker, 8192);
    log.puts(1, &[b"a"], 0);
    log.puts(1, &[b"b"], 0);
    let mut files = log.files.clone();
    let second = files[&FileNumber(1)][log.spots[1].start..log.spots[1].end].to_vec();
    let at = log.spots[1].end.next_multiple_of(8);
    content(&mut files, 1)[at..at + second.len()].copy_from_slice(&second);
    let (end, lines) = replay_files(&files, 0, 0);
    assert_eq!(lines, log.lines, "it is not replayed a second time");
    assert_eq!(end.unwrap().torn.map(|torn| torn.offset), Some(at as u64));
}

#[test]
fn a_first_record_that_is_not_chained_to_its_file_does_not_count() {
    let mut log = SampleLog::new();
    log.file(1, 0, DurabilityClass::Sync, 8192);
    log.break_chain();
    log.puts(1, &[b"a"], 0);
    let (end, lines) = replay_files(&log.files, 0, 0);
    assert_eq!((end.unwrap().torn.map(|torn| torn.offset), lines.len()), (Some(4096), 0));
}

#[test]
fn a_record_that_goes_on_behind_the_end_of_the_file_is_a_torn_end() {
    let mut log = SampleLog::new();
    log.file(1, 0, DurabilityClass::Sync, 6000);
    log.puts(1, &[&[7; 1500]], 0);
    let header = FileHeader::decode(&log.files[&FileNumber(1)]).unwrap().0;
    // The same record in a file whose length says that it always was that short.
    let (mut short, crc) = FileHeader { len: 5000, ..header }.encode();
    let seed = header.seed();
    let spot = &log.spots[0];
    let fields = crate::wal::RecordFields { chain: crc, ..spot.fields };
    let payload = &log.files[&FileNumber(1)][spot.start + 48..spot.end];
    let len = payload.len() as u32;
    let (record, _) = RecordHeader::encode(seed, RecordKind::Group, &fields, len, seed.checksum(payload));
    short.extend_from_slice(&record);
    short.extend_from_slice(&payload[..5000 - HEADER_LEN - 48]);
    let (end, lines) = replay_files(&Files::from([(FileNumber(1), short)]), 0, 0);
    assert_eq!((end.unwrap().torn.map(|torn| torn.offset), lines.len()), (Some(4096), 0));
}

#[test]
fn a_record_that_goes_back_is_corrupt_even_if_everything_verifies() {
    let mut log = SampleLog::new();
    log.burn(5);
    log.file(1, 0, DurabilityClass::Sync, 8192);
    log.puts(1, &[b"a", b"b"], 0);
    let mut back = log.clone();
    back.go_back();
    back.puts(1, &[b"c"], 0);
    assert!(refused(&log, &back.files, 0).contains("starts at commit 7, where 8 was expected"));
}

#[test]
fn errors_of_loader_and_visitor_pass_through() {
    let log = sample(DurabilityClass::Sync);
    let path_of = |number| PathBuf::from(file_name(number));
    let numbers: Vec<_> = log.files.keys().copied().collect();
    let input = ReplayInput { store: STORE, files: &numbers, floor: FileNumber(0), flushed: CommitNumber(0), path_of: &path_of };
    for failing in &numbers {
        let mut load = |number: FileNumber| match number == *failing {
            true => Err(Error::new(ErrorKind::Io, "the disk")),
            false => Ok(log.files[&number].clone()),
        };
        assert_eq!(replay(&input, &mut load, &mut |_, _| Ok(())).unwrap_err().kind(), ErrorKind::Io);
    }
    let end =
        replay(&input, &mut |number| Ok(log.files[&number].clone()), &mut |_, _| Err(Error::new(ErrorKind::Closed, "enough")));
    assert_eq!(end.unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn changes_that_the_visitor_leaves_unread_are_checked_all_the_same() {
    let mut log = SampleLog::new();
    log.file(1, 0, DurabilityClass::Sync, 8192);
    log.puts(1, &[b"a"], 0);
    let mut files = log.files.clone();
    let header = FileHeader::decode(&files[&FileNumber(1)]).unwrap().0;
    let spot = &log.spots[0];
    let mut payload = files[&FileNumber(1)][spot.start + 48..spot.end].to_vec();
    payload.push(0);
    let seed = header.seed();
    let (record, _) = RecordHeader::encode(seed, RecordKind::Group, &spot.fields, payload.len() as u32, seed.checksum(&payload));
    let record = [&record[..], &payload].concat();
    content(&mut files, 1)[spot.start..spot.start + record.len()].copy_from_slice(&record);
    let path_of = |number| PathBuf::from(file_name(number));
    let input =
        ReplayInput { store: STORE, files: &[FileNumber(1)], floor: FileNumber(0), flushed: CommitNumber(9), path_of: &path_of };
    let end = replay(&input, &mut |_| Ok(files[&FileNumber(1)].clone()), &mut |_, _| Ok(()));
    assert_eq!(end.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn bytes_behind_a_seal_do_not_count() {
    let log = sample(DurabilityClass::Sync);
    let mut files = log.files.clone();
    let end = log.spots.iter().find(|spot| spot.kind == RecordKind::Seal).unwrap().end;
    content(&mut files, 4)[end..].fill(0xaa);
    let (end, lines) = replay_files(&files, 0, 0);
    assert_eq!((end.unwrap().torn, lines.len()), (None, log.lines.len()));
}

#[test]
fn a_tail_that_looks_like_headers_everywhere_is_searched_once() {
    let mut log = SampleLog::new();
    let len = 4 << 20;
    log.file(1, 0, DurabilityClass::Sync, len);
    log.puts(1, &[b"a"], 0);
    let mut files = log.files.clone();
    let from = log.spots[0].end.next_multiple_of(8);
    content(&mut files, 1)[from..].chunks_exact_mut(4).for_each(|word| word.copy_from_slice(&[1, 0, 0, 0]));
    let end = replay_files(&files, 0, 0).0.unwrap();
    assert_eq!((end.records, end.torn.map(|torn| torn.records_after)), (1, Some(0)));
}

#[test]
fn the_length_without_zeros_at_the_end_is_found_across_pages() {
    assert_eq!(used_len(&[]), None);
    assert_eq!(used_len(&[0; 10_000]), None);
    for at in [0, 1, 1807, 1808, 5903, 5904, 9_999] {
        let mut bytes = [0; 10_000];
        bytes[at] = 1;
        assert_eq!(used_len(&bytes), Some(at + 1));
    }
}

proptest! {
    #[test]
    fn any_edits_of_a_log_get_the_right_verdict(edits in vec(any::<u8>(), 0..30)) {
        edited(&edits);
    }
}
