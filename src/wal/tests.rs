//! A quick check that the parts fit.

use std::path::{Path, PathBuf};

use super::*;
use crate::entry::Flags;
use crate::env::Env;
use crate::number::{BucketId, CommitNumber, Revision};
use crate::wal::writer::LogFileOptions;

#[test]
fn what_is_appended_to_a_real_file_is_replayed() {
    let directory = tempfile::tempdir().unwrap();
    let options =
        LogFileOptions { store: 7, number: FileNumber(3), previous: FileNumber(0), class: DurabilityClass::Sync, len: 1 << 16 };
    let mut log = LogFile::prepare(&Env::os(), directory.path(), &options).unwrap();
    let mut encoded = Vec::new();
    let entry = EntryFields {
        bucket: BucketId(1),
        flags: Flags::put(),
        key: b"key",
        value: b"value",
        ttl: Some(5),
        origin: Revision::NONE,
        revision: Revision::NONE,
    };
    encode_entry(&mut encoded, &entry);
    let mut writer = RecordWriter::new();
    writer.begin();
    writer.push_table(&[(BucketId(1), Revision(9), 1)]);
    writer.push(&encoded);
    let fields = RecordFields {
        change_count: 1,
        first_commit: CommitNumber(4),
        durable_mark: CommitNumber(3),
        now: 100,
        chain: log.initial_chain(),
    };
    let (record, _) = writer.finish(log.seed(), &fields);
    log.append(record).unwrap();
    log.sync().unwrap();
    let path_of = |number| PathBuf::from(file_name(number));
    let input =
        ReplayInput { store: 7, files: &[FileNumber(3)], floor: FileNumber(1), flushed: CommitNumber(3), path_of: &path_of };
    let mut seen = Vec::new();
    let end = replay(&input, &mut |_| Ok(std::fs::read(log.path()).unwrap()), &mut |_, changes| {
        for change in changes {
            seen.push(format!("{:?}", change?));
        }
        Ok(())
    })
    .unwrap();
    assert_eq!((end.last_commit, end.records, end.torn), (CommitNumber(4), 1, None));
    assert_eq!(seen.len(), 1);
    assert!(seen[0].contains("Revision(9)") && seen[0].contains("deadline: 105"), "{seen:?}");
    assert!(Path::new(log.path()).exists());
}
