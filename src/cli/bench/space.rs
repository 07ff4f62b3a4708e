//! What the store takes on the disk and this process in memory, looked at again and again while the workloads run.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often it looks.
const PERIOD: Duration = Duration::from_millis(50);
/// The unit in which a file's blocks are counted, whatever the file system's own.
const BLOCK: u64 = 512;

/// The thread that looks, until it is dropped.
#[derive(Debug)]
pub(super) struct Watcher {
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Seen {
    directory: PathBuf,
    disk_peak: AtomicU64,
    heap_peak: AtomicU64,
    ended: AtomicBool,
}

impl Watcher {
    pub(super) fn new(directory: &Path) -> Self {
        let seen = Arc::new(Seen::new(directory));
        let watched = Arc::clone(&seen);
        let thread = thread::spawn(move || {
            while !watched.ended.load(Ordering::Relaxed) {
                watched.look();
                thread::sleep(PERIOD);
            }
        });
        Self { seen, thread: Some(thread) }
    }

    /// The most that was on the disk since the last call.
    pub(super) fn take_disk_peak(&self) -> u64 {
        self.seen.take_disk_peak()
    }

    /// The most memory that was the process's own, neither files nor code, in bytes; 0 if the system does not say.
    pub(super) fn heap_peak(&self) -> u64 {
        self.seen.heap_peak.load(Ordering::Relaxed)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.seen.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It ended by a panic, which has been printed.
            let _ended = thread.join();
        }
    }
}

impl Seen {
    fn new(directory: &Path) -> Self {
        let zero = || AtomicU64::new(0);
        Self { directory: directory.to_owned(), disk_peak: zero(), heap_peak: zero(), ended: AtomicBool::new(false) }
    }

    fn take_disk_peak(&self) -> u64 {
        self.look();
        self.disk_peak.swap(0, Ordering::Relaxed)
    }

    fn look(&self) {
        self.disk_peak.fetch_max(on_disk(&self.directory), Ordering::Relaxed);
        self.heap_peak.fetch_max(process("RssAnon"), Ordering::Relaxed);
    }
}

/// What the files of a directory take, in bytes; files that go meanwhile count as nothing.
pub(super) fn on_disk(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.blocks() * BLOCK).sum()
}

/// A field of what Linux tells about this process, in bytes; 0 if it does not.
pub(super) fn process(field: &str) -> u64 {
    std::fs::read_to_string("/proc/self/status").map_or(0, |status| kilobytes(&status, field) * 1024)
}

fn kilobytes(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_process_are_found_by_their_whole_name() {
        let status = "Name:\tannals\nVmHWM:\t  12345 kB\nRssAnon:\t      77 kB\n";
        assert_eq!((kilobytes(status, "VmHWM"), kilobytes(status, "RssAnon"), kilobytes(status, "Rss")), (12345, 77, 0));
        assert!(process("VmHWM") > 0);
    }

    #[test]
    fn a_peak_is_forgotten_once_it_was_told() {
        let directory = tempfile::tempdir().unwrap();
        let seen = Seen::new(directory.path());
        let file = directory.path().join("file");
        std::fs::write(&file, vec![1; 1 << 20]).unwrap();
        seen.look();
        std::fs::remove_file(&file).unwrap();
        assert!(seen.take_disk_peak() >= 1 << 20);
        assert!(seen.take_disk_peak() < 1 << 20);
    }
}
