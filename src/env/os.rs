//! The operating system's files, clocks and random numbers. The only module that may name them.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is what the seam stands in front of")]

use std::fs::{self, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::FallocateFlags;
use rustix::rand::GetRandomFlags;
use rustix::time::ClockId;

use super::{Clock, File, Fs, Lock, LockMode, Random};

#[derive(Debug)]
pub(super) struct OsFs;

#[derive(Debug)]
struct OsFile(fs::File);

#[derive(Debug)]
struct OsLock {
    file: fs::File,
}

impl Lock for OsLock {}

impl Drop for OsLock {
    /// Closing the descriptor is not enough: a process that another thread is starting at this moment holds a copy of it until it has become
    /// the other program, and the lock belongs to all copies together. Unlocking takes it from all of them.
    fn drop(&mut self) {
        // Nobody is left to tell; closing releases it a moment later all the same.
        let _ = self.file.unlock();
    }
}

impl Fs for OsFs {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(OsFile(fs::File::open(path)?)))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(OsFile(OpenOptions::new().read(true).write(true).create_new(true).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path, mode: LockMode) -> io::Result<Box<dyn Lock>> {
        // A lock of the open file description (flock), not of the process: it survives other descriptors of the file being closed.
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let locked = match mode {
            LockMode::Exclusive => file.try_lock(),
            LockMode::Shared => file.try_lock_shared(),
        };
        match locked {
            Ok(()) => Ok(Box::new(OsLock { file })),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl File for OsFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(()),
            // Some file systems cannot reserve; zeros written in full reserve just as well.
            Err(rustix::io::Errno::OPNOTSUPP) => write_zeros(&self.0, len),
            Err(error) => Err(error.into()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn map(&self) -> io::Result<Arc<dyn AsRef<[u8]> + Send + Sync>> {
        if self.0.metadata()?.len() == 0 {
            return Ok(Arc::new(Vec::new()));
        }
        map_file(&self.0)
    }
}

fn write_zeros(file: &fs::File, len: u64) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut offset = file.metadata()?.len();
    while offset < len {
        let count = (len - offset).min(zeros.len() as u64) as usize;
        file.write_all_at(&zeros[..count], offset)?;
        offset += count as u64;
    }
    Ok(())
}

#[cfg(not(miri))]
#[expect(unsafe_code, reason = "a map is the one way to read a segment without a call and a copy per block")]
fn map_file(file: &fs::File) -> io::Result<Arc<dyn AsRef<[u8]> + Send + Sync>> {
    // SAFETY: the map is read-only, and nothing of ours writes to or shortens a finished file (callers map only those; A10 of
    // ARCHITECTURE.md). That no other program writes in the store's directory is the assumption that the crate's docs state.
    let map = unsafe { memmap2::Mmap::map(file)? };
    Ok(Arc::new(map))
}

/// Miri has no file-backed maps.
#[cfg(miri)]
fn map_file(file: &fs::File) -> io::Result<Arc<dyn AsRef<[u8]> + Send + Sync>> {
    let mut bytes = vec![0; file.metadata()?.len() as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(Arc::new(bytes))
}

#[derive(Debug)]
pub(super) struct OsClock;

impl Clock for OsClock {
    fn wall(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> u64 {
        let time = rustix::time::clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
    }
}

#[derive(Debug)]
pub(super) struct OsRandom;

impl Random for OsRandom {
    fn u128(&self) -> io::Result<u128> {
        let mut bytes = [0; 16];
        let mut done = 0;
        while done < bytes.len() {
            match rustix::rand::getrandom(&mut bytes[done..], GetRandomFlags::empty()) {
                Ok(count) => done += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(u128::from_le_bytes(bytes))
    }
}
