//! Files that live in memory, for [`Store::in_memory`](crate::Store::in_memory).
//!
//! The store above does not know the difference: it writes its log, its segments and its manifest here as it would on a disk,
//! which keeps one code path for both. What a disk does for durability (`sync_data`, `sync_all`, `sync_dir`) is nothing here,
//! because the files go with the process anyway.
//!
//! - A file is sparse: what was never written takes no memory, so that a log file of 64 MiB costs what is in it.
//! - A map is the file in one piece. The file itself then keeps only that piece, not a second copy in chunks; a later write
//!   (which no caller does) would take it apart again and leave the map as it was.
//! - Handles and maps stay valid when the name is removed or replaced, as on POSIX systems.
//! - The directories `/` and `` exist from the beginning; every other one needs `create_dir`.
//!
//! It does not simulate failures: that is what the disk of `testing` is for. The only errors that are not the caller's are those
//! of memory.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::sync::{Arc, Mutex};
use super::{File, Fs, Lock, LockMode};

const CHUNK_LEN: usize = 1 << 16;
/// As on Linux: offsets are signed there.
const FILE_LEN_MAX: u64 = i64::MAX as u64;
/// `EBADF`, which has no `ErrorKind`.
const BAD_FILE: i32 = 9;

#[derive(Debug)]
pub(crate) struct MemoryFs(Mutex<Names>);

#[derive(Debug)]
struct Names {
    dirs: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, Arc<Inode>>,
}

/// What a name and its handles share.
#[derive(Debug, Default)]
struct Inode {
    content: Mutex<Content>,
    holders: Mutex<Holders>,
}

/// The locks that are held on a file. Never `shared > 0` and `exclusive` at once.
#[derive(Debug, Default)]
struct Holders {
    exclusive: bool,
    shared: usize,
}

#[derive(Debug, Default)]
struct Content {
    len: u64,
    chunks: BTreeMap<u64, Box<[u8]>>,
    /// The whole file in one piece, once it was mapped; `chunks` is empty then.
    whole: Option<Arc<Vec<u8>>>,
}

#[derive(Debug)]
struct MemoryFile {
    inode: Arc<Inode>,
    writable: bool,
}

#[derive(Debug)]
struct MemoryLock {
    inode: Arc<Inode>,
    mode: LockMode,
}

impl Default for MemoryFs {
    fn default() -> Self {
        let dirs = ["", "/"].into_iter().map(PathBuf::from).collect();
        Self(Mutex::new(Names { dirs, files: BTreeMap::new() }))
    }
}

impl Fs for MemoryFs {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut names = self.0.lock();
        names.check_free(path)?;
        names.dirs.insert(path.to_path_buf());
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let names = self.0.lock();
        names.check_dir(dir)?;
        let children = names.dirs.iter().chain(names.files.keys()).filter(|path| path.parent() == Some(dir));
        Ok(children.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let inode = Arc::clone(self.0.lock().file(path)?);
        Ok(Box::new(MemoryFile { inode, writable: false }))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut names = self.0.lock();
        names.check_free(path)?;
        let inode = Arc::<Inode>::default();
        names.files.insert(path.to_path_buf(), Arc::clone(&inode));
        Ok(Box::new(MemoryFile { inode, writable: true }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut names = self.0.lock();
        let inode = Arc::clone(names.file(from)?);
        if from.parent() != to.parent() {
            return Err(ErrorKind::InvalidInput.into());
        }
        if names.dirs.contains(to) {
            return Err(ErrorKind::IsADirectory.into());
        }
        names.files.remove(from);
        names.files.insert(to.to_path_buf(), inode);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut names = self.0.lock();
        names.file(path)?;
        names.files.remove(path);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.lock().check_dir(dir)
    }

    fn lock(&self, path: &Path, mode: LockMode) -> io::Result<Box<dyn Lock>> {
        let mut names = self.0.lock();
        if !names.files.contains_key(path) && !names.dirs.contains(path) {
            names.check_free(path)?;
            names.files.insert(path.to_path_buf(), Arc::default());
        }
        let inode = Arc::clone(names.file(path)?);
        let mut holders = inode.holders.lock();
        match mode {
            LockMode::Exclusive if !holders.exclusive && holders.shared == 0 => holders.exclusive = true,
            LockMode::Shared if !holders.exclusive => holders.shared += 1,
            LockMode::Exclusive | LockMode::Shared => return Err(ErrorKind::WouldBlock.into()),
        }
        drop(holders);
        Ok(Box::new(MemoryLock { inode, mode }))
    }
}

impl Names {
    /// A path that can be created: nothing is there yet, and its directory exists.
    fn check_free(&self, path: &Path) -> io::Result<()> {
        if self.dirs.contains(path) || self.files.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.check_dir(path.parent().ok_or(ErrorKind::InvalidInput)?)
    }

    fn check_dir(&self, dir: &Path) -> io::Result<()> {
        if self.dirs.contains(dir) {
            return Ok(());
        }
        Err(if self.files.contains_key(dir) { ErrorKind::NotADirectory } else { ErrorKind::NotFound }.into())
    }

    fn file(&self, path: &Path) -> io::Result<&Arc<Inode>> {
        let missing = if self.dirs.contains(path) { ErrorKind::IsADirectory } else { ErrorKind::NotFound };
        self.files.get(path).ok_or_else(|| missing.into())
    }
}

impl Lock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        let mut holders = self.inode.holders.lock();
        match self.mode {
            LockMode::Exclusive => holders.exclusive = false,
            LockMode::Shared => holders.shared -= 1,
        }
    }
}

impl MemoryFile {
    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::Error::from_raw_os_error(BAD_FILE)) }
    }
}

impl File for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(self.inode.content.lock().read(buffer, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.check_writable()?;
        if bytes.len() as u64 > FILE_LEN_MAX.saturating_sub(offset) {
            return Err(ErrorKind::FileTooLarge.into());
        }
        self.inode.content.lock().write(bytes, offset);
        Ok(bytes.len())
    }

    /// Extends the file; memory is taken when bytes are written, and there is no telling beforehand whether it will be there.
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        if len == 0 {
            return Err(ErrorKind::InvalidInput.into());
        }
        let len_now = self.len()?;
        self.set_len(len.max(len_now))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        if len > FILE_LEN_MAX {
            return Err(ErrorKind::FileTooLarge.into());
        }
        self.inode.content.lock().set_len(len);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.inode.content.lock().len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }

    fn map(&self) -> io::Result<Arc<dyn AsRef<[u8]> + Send + Sync>> {
        Ok(self.inode.content.lock().whole()?)
    }
}

impl Content {
    fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let count = buffer.len().min(usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..count];
        if let Some(whole) = &self.whole
            && count > 0
        {
            // There is something to read at `offset`, so it is below the length of a vector.
            let start = offset as usize;
            buffer.copy_from_slice(&whole[start..start + count]);
            return count;
        }
        let mut done = 0;
        while done < count {
            let (chunk, start) = place(offset + done as u64);
            let part = (count - done).min(CHUNK_LEN - start);
            match self.chunks.get(&chunk) {
                Some(chunk) => buffer[done..done + part].copy_from_slice(&chunk[start..start + part]),
                None => buffer[done..done + part].fill(0),
            }
            done += part;
        }
        count
    }

    fn write(&mut self, bytes: &[u8], offset: u64) {
        self.take_apart();
        let mut done = 0;
        while done < bytes.len() {
            let (chunk, start) = place(offset + done as u64);
            let part = (bytes.len() - done).min(CHUNK_LEN - start);
            let target = match self.chunks.entry(chunk) {
                Slot::Occupied(slot) => slot.into_mut(),
                Slot::Vacant(slot) => slot.insert(vec![0; CHUNK_LEN].into_boxed_slice()),
            };
            target[start..start + part].copy_from_slice(&bytes[done..done + part]);
            done += part;
        }
        if !bytes.is_empty() {
            self.len = self.len.max(offset + bytes.len() as u64);
        }
    }

    /// Chunks never hold anything but zeros beyond the length, so that extending shows zeros.
    fn set_len(&mut self, len: u64) {
        self.take_apart();
        if len < self.len {
            let (chunk, start) = place(len);
            let mut gone = self.chunks.split_off(&chunk);
            if let Some(mut cut) = gone.remove(&chunk).filter(|_| start > 0) {
                cut[start..].fill(0);
                self.chunks.insert(chunk, cut);
            }
        }
        self.len = len;
    }

    fn whole(&mut self) -> io::Result<Arc<Vec<u8>>> {
        if let Some(whole) = &self.whole {
            return Ok(Arc::clone(whole));
        }
        let len = usize::try_from(self.len).map_err(|_| ErrorKind::OutOfMemory)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).map_err(|_| ErrorKind::OutOfMemory)?;
        bytes.resize(len, 0);
        self.read(&mut bytes, 0);
        let whole = Arc::new(bytes);
        self.chunks.clear();
        self.whole = Some(Arc::clone(&whole));
        Ok(whole)
    }

    /// Back into chunks, because the file changes after all. The one piece belongs to its maps from here on.
    fn take_apart(&mut self) {
        if let Some(whole) = self.whole.take() {
            for (index, chunk) in whole.chunks(CHUNK_LEN).enumerate() {
                let mut bytes = vec![0; CHUNK_LEN];
                bytes[..chunk.len()].copy_from_slice(chunk);
                self.chunks.insert(index as u64, bytes.into_boxed_slice());
            }
        }
    }
}

/// The chunk that holds `offset`, and where in it.
fn place(offset: u64) -> (u64, usize) {
    (offset / CHUNK_LEN as u64, (offset % CHUNK_LEN as u64) as usize)
}

#[cfg(test)]
mod tests;
