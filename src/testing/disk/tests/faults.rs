//! Faults: that each does what it says, only where it can happen, once or until cleared.

use super::*;
use crate::env::read_full_at;

/// Plans a fault for the next call.
fn next_call(disk: &SimDisk, fault: Fault, sticky: bool) {
    disk.inject(Injection { at: disk.calls() + 1, fault, sticky });
}

/// A file that holds `old` on the disk and `new` in the cache, and the failure of its sync.
fn failed_sync(fault: Fault) -> (Arc<SimDisk>, Arc<dyn Fs>, Box<dyn File>) {
    let (disk, fs) = disk(1);
    let file = create_synced(&*fs, "a", b"old");
    write_all_at(&*file, b"new!", 0).unwrap();
    next_call(&disk, fault, false);
    file.sync_data().unwrap_err();
    (disk, fs, file)
}

fn content(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![0; 10];
    let count = read_full_at(file, &mut bytes, 0).unwrap();
    bytes.truncate(count);
    bytes
}

#[test]
fn a_sync_that_fails_and_keeps_the_cache_never_writes_those_bytes_although_the_next_one_says_ok() {
    for fault in [Fault::SyncFailKeepsCache, Fault::Enospc, Fault::Edquot] {
        let (disk, _fs, file) = failed_sync(fault);
        assert_eq!(content(&*file), b"new!");
        file.sync_data().unwrap();
        assert_eq!(content(&*file), b"new!");
        disk.crash(CrashPolicy::KeepAll);
        assert_eq!(disk.read_file(&path("a")).unwrap(), b"old\0", "{fault:?}: only the length");
    }
}

#[test]
fn bytes_that_a_failed_sync_lost_are_durable_once_they_are_written_again() {
    let (disk, _fs, file) = failed_sync(Fault::SyncFailKeepsCache);
    write_all_at(&*file, b"new!", 0).unwrap();
    file.sync_data().unwrap();
    disk.crash(CrashPolicy::LoseAll);
    assert_eq!(disk.read_file(&path("a")).unwrap(), b"new!");
}

#[test]
fn a_lost_page_shows_what_the_disk_has_once_it_is_evicted() {
    let (disk, _fs, file) = failed_sync(Fault::SyncFailKeepsCache);
    write_all_at(&*file, b"X", 1).unwrap();
    disk.evict();
    assert_eq!(content(&*file), b"oXd\0", "what is still dirty is not evicted");
}

#[test]
fn a_sync_that_fails_and_reverts_shows_what_the_disk_has() {
    let (disk, _fs, file) = failed_sync(Fault::SyncFailReverts);
    assert_eq!(content(&*file), b"old\0");
    file.sync_data().unwrap();
    disk.crash(CrashPolicy::LoseAll);
    assert_eq!(disk.read_file(&path("a")).unwrap(), b"old\0");
}

#[test]
fn a_sync_that_fails_once_works_the_next_time() {
    let (disk, _fs, file) = failed_sync(Fault::SyncFailOnce);
    file.sync_data().unwrap();
    disk.crash(CrashPolicy::LoseAll);
    assert_eq!(disk.read_file(&path("a")).unwrap(), b"new!");
}

#[test]
fn a_sync_of_a_directory_fails_in_the_same_three_ways() {
    let names = |disk: &SimDisk| disk.files().len();
    for (fault, cached, durable) in
        [(Fault::SyncFailKeepsCache, 1, 0), (Fault::SyncFailReverts, 0, 0), (Fault::SyncFailOnce, 1, 1), (Fault::Emfile, 1, 1)]
    {
        let (disk, fs) = disk(1);
        create(&*fs, "a", b"").sync_all().unwrap();
        next_call(&disk, fault, false);
        fs.sync_dir(Path::new("/db")).unwrap_err();
        assert_eq!(names(&disk), cached, "{fault:?}");
        sync_dir(&*fs);
        disk.crash(CrashPolicy::KeepAll);
        assert_eq!(names(&disk), durable, "{fault:?}");
    }
}

#[test]
fn interrupted_calls_succeed_when_they_are_repeated() {
    for (sticky, times) in [(false, 1), (true, 3)] {
        let (disk, fs) = disk(1);
        let file = create(&*fs, "a", b"");
        next_call(&disk, Fault::Eintr, sticky);
        let calls = disk.calls();
        write_all_at(&*file, b"1234", 0).unwrap();
        assert_eq!((disk.fired(), disk.calls() - calls), (times, times + 1));
        assert_eq!(content(&*file), b"1234");
    }
}

#[test]
fn short_calls_do_half_and_loops_do_the_rest() {
    let (disk, fs) = disk(1);
    let file = create(&*fs, "a", b"");
    next_call(&disk, Fault::ShortIo, false);
    assert_eq!(file.write_at(b"123456", 0).unwrap(), 3);
    next_call(&disk, Fault::ShortIo, true);
    write_all_at(&*file, b"456", 3).unwrap();
    next_call(&disk, Fault::ShortIo, true);
    assert_eq!(content(&*file), b"123456");
    let mut one = [0];
    let fired = disk.fired();
    assert_eq!(file.read_at(&mut one, 0).unwrap(), 1);
    assert_eq!(disk.fired(), fired, "one byte has no half");
}

#[test]
fn a_write_of_nothing_and_a_failing_write_leave_what_they_say() {
    let (disk, fs) = disk(1);
    let file = create(&*fs, "a", b"");
    next_call(&disk, Fault::ZeroWrite, false);
    assert_eq!(file.write_at(b"1234", 0).unwrap(), 0);
    next_call(&disk, Fault::Enospc, false);
    assert_eq!(file.write_at(b"1234", 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(content(&*file), b"");
    next_call(&disk, Fault::Eio, false);
    assert_eq!(file.write_at(b"1234", 0).unwrap_err().raw_os_error(), Some(5));
    assert_eq!(content(&*file), b"12");
}

#[test]
fn a_sticky_fault_lasts_for_its_class_until_cleared() {
    let (disk, fs) = disk(1);
    let file = create(&*fs, "a", b"1");
    next_call(&disk, Fault::Eio, true);
    file.write_at(b"2", 0).unwrap_err();
    file.set_len(0).unwrap_err();
    file.allocate(9).unwrap_err();
    file.read_at(&mut [0], 0).unwrap();
    file.sync_all().unwrap();
    fs.list(Path::new("/db")).unwrap();
    disk.clear_faults();
    file.write_at(b"2", 0).unwrap();
    assert_eq!(disk.fired(), 3);
}

#[test]
fn a_fault_that_cannot_happen_at_its_call_is_spent_without_firing() {
    let (disk, fs) = disk(1);
    let file = create(&*fs, "a", b"1");
    for sticky in [false, true] {
        next_call(&disk, Fault::Enospc, sticky);
        file.read_at(&mut [0], 0).unwrap();
        file.write_at(b"2", 0).unwrap();
    }
    assert_eq!(disk.fired(), 0);
}

#[test]
fn a_fault_fires_at_its_own_call_and_at_no_other() {
    let (disk, fs) = disk(1);
    let file = create(&*fs, "a", b"1");
    disk.inject(Injection { at: disk.calls() + 2, fault: Fault::Eio, sticky: false });
    file.write_at(b"2", 0).unwrap();
    file.write_at(b"3", 0).unwrap_err();
    file.write_at(b"4", 0).unwrap();
    assert_eq!(disk.fired(), 1);
}

#[test]
fn every_fault_applies_somewhere_and_has_its_kind() {
    let calls = [
        Call::CreateDir,
        Call::List,
        Call::Open,
        Call::CreateNew,
        Call::Rename,
        Call::Remove,
        Call::SyncDir,
        Call::Lock,
        Call::ReadAt,
        Call::WriteAt,
        Call::Allocate,
        Call::SetLen,
        Call::Len,
        Call::SyncData,
        Call::SyncAll,
        Call::Map,
    ];
    for fault in Fault::ALL {
        assert!(calls.iter().any(|call| fault.applies_to(*call)), "{fault:?}");
    }
    for call in calls {
        assert!(Fault::ALL.iter().any(|fault| fault.applies_to(call)), "{call:?}");
    }
    let kinds = [Fault::Enospc, Fault::Edquot, Fault::Efbig, Fault::Enomem, Fault::Eintr].map(|fault| fault.error().kind());
    use io::ErrorKind::{FileTooLarge, Interrupted, OutOfMemory, QuotaExceeded, StorageFull};
    assert_eq!(kinds, [StorageFull, QuotaExceeded, FileTooLarge, OutOfMemory, Interrupted]);
}

#[test]
fn silent_faults_say_ok() {
    let disk = SimDisk::new(1);
    let file = disk.env().fs.create_new(Path::new("/f")).unwrap();
    file.write_at(&[1; 1024], 0).unwrap();
    let content = || disk.read_file(Path::new("/f")).unwrap();
    let mut expected = vec![1; 1024];
    next_call(&disk, Fault::LostWrite, false);
    assert_eq!(file.write_at(&[2; 600], 0).unwrap(), 600);
    assert_eq!(content(), expected);
    next_call(&disk, Fault::StaleSector, false);
    assert_eq!(file.write_at(&[3; 600], 0).unwrap(), 600);
    expected[..512].fill(3);
    assert_eq!(content(), expected);
    next_call(&disk, Fault::MisplacedWrite, false);
    assert_eq!(file.write_at(&[4; 100], 0).unwrap(), 100);
    expected[512..612].fill(4);
    assert_eq!(content(), expected);
    let mut buffer = vec![0; 1024];
    next_call(&disk, Fault::FlippedRead, false);
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 1024);
    assert_eq!(buffer.iter().zip(&expected).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>(), 1);
    next_call(&disk, Fault::FlippedMap, false);
    let map = file.map().unwrap();
    assert_eq!((*map).as_ref().iter().zip(&expected).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>(), 1);
    assert_eq!(content(), expected, "the disk is right");
}
