//! The seams: everything that the engine takes from outside itself: files, time, randomness.
//!
//! Engine code reaches the operating system only through [`Env`]. Three of them exist: `Env::os` (the real one), `Env::memory` (no
//! files at all, for [`Store::in_memory`](crate::Store::in_memory)) and the simulated disk of `testing`, which loses, tears and refuses
//! as real disks do. `.clippy.toml` keeps `std::fs` and the clocks out of every other module.
//!
//! The contract of [`Fs`] and [`File`] is that of a POSIX file system, no more: data is durable after `sync_data` or `sync_all` of the same
//! handle, a name after `sync_dir` of its directory; until then a crash may keep or lose any part of it.

#![cfg_attr(
    not(any(test, feature = "testing")),
    allow(unreachable_pub, reason = "public for the simulated disk of `testing`, which lives outside the engine")
)]

pub(crate) mod memory;
mod os;
pub(crate) mod sync;

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A place to run in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Env {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

impl Env {
    /// The operating system's files, clocks and random numbers.
    pub(crate) fn os() -> Self {
        Self { fs: Arc::new(os::OsFs), clock: Arc::new(os::OsClock), random: Arc::new(os::OsRandom) }
    }

    /// Files that live in this value and go with its last clone; the real clock and random numbers.
    pub(crate) fn memory() -> Self {
        Self { fs: Arc::new(memory::MemoryFs::default()), clock: Arc::new(os::OsClock), random: Arc::new(os::OsRandom) }
    }
}

/// How a directory is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// One holder, nobody else.
    Exclusive,
    /// Any number of holders, none exclusive.
    #[allow(dead_code, reason = "no store is opened read-only yet")]
    Shared,
}

/// A file system.
pub trait Fs: Debug + Send + Sync {
    /// Creates one directory; its parent must exist. `AlreadyExists` if there is something of that name.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, in no particular order, without `.` and `..`. A name that is not UTF-8 comes lossily converted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Opens an existing file for reading.
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Creates a file for reading and writing; `AlreadyExists` if the name is taken.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Renames a file within one directory, replacing the target if there is one, atomically.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name; open handles and maps stay valid.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes every create, rename and remove in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Creates the file if missing and locks it until the answer is dropped; `WouldBlock` if somebody else holds it.
    fn lock(&self, path: &Path, mode: LockMode) -> io::Result<Box<dyn Lock>>;
}

/// A held lock; dropping it releases it.
pub trait Lock: Debug + Send + Sync {}

/// An open file. Offsets are absolute; there is no cursor.
#[allow(
    clippy::len_without_is_empty,
    reason = "the length is asked of the operating system, and nobody asks only whether it is 0"
)]
pub trait File: Debug + Send + Sync {
    /// Reads up to `buffer.len()` bytes; 0 only at the end of the file. May read fewer.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes up to `bytes.len()` bytes. May write fewer.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Reserves real blocks up to `len` and extends the file to it; what was not written reads as zeros.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Cuts or extends the file to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Makes data and length durable (fdatasync).
    fn sync_data(&self) -> io::Result<()>;
    /// Makes data and all metadata of the file durable (fsync).
    fn sync_all(&self) -> io::Result<()>;
    /// The whole file, read-only. The file must be finished: nothing writes to it any more.
    fn map(&self) -> io::Result<Arc<dyn AsRef<[u8]> + Send + Sync>>;
}

/// Time.
pub trait Clock: Debug + Send + Sync {
    /// The wall clock: nanoseconds since 1970 UTC; may jump either way.
    fn wall(&self) -> u64;
    /// Nanoseconds since some moment; counts suspend, never jumps, never runs backwards.
    fn monotonic(&self) -> u64;
}

/// Randomness.
pub trait Random: Debug + Send + Sync {
    /// 128 random bits.
    fn u128(&self) -> io::Result<u128>;
}

/// Reads until `buffer` is full or the file ends; answers how much was read. Interrupted calls are repeated.
pub(crate) fn read_full_at(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all of `bytes`. A write of nothing is an error, not a reason to try for ever.
pub(crate) fn write_all_at(file: &dyn File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::WriteZero, "the file took no bytes")),
            Ok(count) => {
                bytes = &bytes[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reserves blocks up to `len`. Interrupted calls are repeated.
pub(crate) fn allocate_full(file: &dyn File, len: u64) -> io::Result<()> {
    loop {
        match file.allocate(len) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            allocated => return allocated,
        }
    }
}

/// Reads a whole file of at most `len_max` bytes; a longer one is `FileTooLarge` before anything is allocated for it.
pub(crate) fn read_whole(fs: &dyn Fs, path: &Path, len_max: u64) -> io::Result<Vec<u8>> {
    let file = fs.open(path)?;
    let len = file.len()?;
    if len > len_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{len} bytes, more than the {len_max} that it may have")));
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    let read = read_full_at(&*file, &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}
