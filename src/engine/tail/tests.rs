use std::path::Path;
use std::sync::Arc;

use super::{Tail, TailFile};
use crate::engine::health::Health;
use crate::error::{ErrorKind, Outcome};
use crate::number::{CommitNumber, FileNumber};
use crate::testing::disk::{Fault, Injection, SimDisk};

fn file(disk: &Arc<SimDisk>, number: u64) -> TailFile {
    let path = Path::new("/").join(number.to_string());
    let file = Arc::from(disk.env().fs.create_new(&path).unwrap());
    TailFile { number: FileNumber(number), path, file, start: 0 }
}

#[test]
fn a_sync_covers_what_was_written_before_it_over_all_files() {
    let (disk, health) = (SimDisk::new(1), Health::default());
    let tail = Tail::new(file(&disk, 1), CommitNumber(10));
    assert_eq!(tail.durable(), CommitNumber(10));
    assert_eq!(tail.wrote(CommitNumber(11), 100), 100);
    tail.rotated(file(&disk, 2));
    assert_eq!(tail.wrote(CommitNumber(12), 50), 150);
    assert!(tail.has_sealed());
    assert_eq!(tail.durable(), CommitNumber(10), "nothing is durable before a sync");
    assert_eq!(tail.sync(&health).unwrap(), CommitNumber(12));
    assert!(!tail.has_sealed());
    assert_eq!(tail.unsynced_bytes(), 0);
    assert_eq!(tail.wrote(CommitNumber(13), 7), 7);
}

#[test]
fn what_a_segment_holds_is_durable_and_its_log_counts_no_more() {
    let disk = SimDisk::new(1);
    let tail = Tail::new(file(&disk, 1), CommitNumber(0));
    tail.wrote(CommitNumber(3), 100);
    tail.rotated(file(&disk, 2));
    tail.wrote(CommitNumber(4), 30);
    tail.settled(CommitNumber(3), FileNumber(1));
    assert_eq!((tail.durable(), tail.unsynced_bytes()), (CommitNumber(3), 30));
    assert!(!tail.has_sealed());
}

#[test]
fn a_sync_that_failed_poisons_and_is_never_followed_by_one_that_says_ok() {
    let (disk, health) = (SimDisk::new(1), Health::default());
    let tail = Tail::new(file(&disk, 1), CommitNumber(5));
    tail.wrote(CommitNumber(6), 100);
    disk.inject(Injection { at: disk.calls() + 1, fault: Fault::Enospc, sticky: false });
    let error = tail.sync(&health).unwrap_err();
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::Io, Outcome::Indeterminate), "{error:?}");
    assert_eq!(error.durable_commit(), Some(CommitNumber(5)));
    assert!(health.is_poisoned());
    assert_eq!(tail.sync(&health).unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(tail.durable(), CommitNumber(5));
}
