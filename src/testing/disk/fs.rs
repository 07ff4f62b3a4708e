//! The simulated disk as the engine sees it: `Fs`, `File`, `Lock` and maps.
//!
//! Each belongs to one life of the machine. After a crash or a restart every call on it fails, uncounted, so that an engine that
//! was not dropped (or a thread of it) cannot touch the world after its end.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::SimDisk;
use super::fault::{Call, Fault, Verdict};
use super::state::{FileId, State, SyncLoss};
use crate::env::{File, Fs, Lock, LockMode};

/// `EBADF`, which has no `ErrorKind`.
const BAD_FILE: i32 = 9;

/// One call, for the counter, the plan of faults and the trace.
/// What a disk writes as a whole.
const SECTOR_LEN: usize = 512;

/// Turns one bit, which one depends on `salt` alone.
fn flip(bytes: &mut [u8], salt: u64) {
    let at = std::hash::BuildHasher::hash_one(&ORDER, (salt, bytes.len())) as usize;
    if let Some(byte) = bytes.len().checked_sub(1).and_then(|last| bytes.get_mut(at / 8 % (last + 1))) {
        *byte ^= 1 << (at % 8);
    }
}

/// Shuffles listings, in the same way in every run.
const ORDER: std::hash::BuildHasherDefault<std::collections::hash_map::DefaultHasher> = std::hash::BuildHasherDefault::new();

#[derive(Debug)]
pub(super) struct Site<'a> {
    pub(super) call: Call,
    pub(super) path: &'a Arc<Path>,
    pub(super) offset: u64,
    pub(super) size: usize,
}

#[derive(Debug)]
pub(super) struct SimFs {
    pub(super) disk: Arc<SimDisk>,
    pub(super) epoch: u64,
}

/// Keeps a file alive without a name.
#[derive(Debug)]
struct Hold {
    disk: Arc<SimDisk>,
    epoch: u64,
    id: FileId,
    kind: HoldKind,
}

#[derive(Clone, Copy, Debug)]
enum HoldKind {
    Handle,
    Map,
    Lock(LockMode),
}

#[derive(Debug)]
struct SimFile {
    hold: Hold,
    path: Arc<Path>,
    writable: bool,
}

#[derive(Debug)]
struct SimLock {
    _hold: Hold,
}

#[derive(Debug)]
struct SimMap {
    bytes: Vec<u8>,
    _hold: Hold,
}

impl SimFs {
    /// For calls that either happen or do not.
    fn call<T>(&self, call: Call, path: &Path, run: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let site = Site { call, path: &path.into(), offset: 0, size: 0 };
        self.disk.call(self.epoch, &site, |state, verdict| {
            verdict.check()?;
            run(state)
        })
    }

    fn open_handle(
        &self,
        call: Call,
        path: &Path,
        open: impl FnOnce(&mut State) -> io::Result<FileId>,
    ) -> io::Result<Box<dyn File>> {
        let id = self.call(call, path, |state| {
            let id = open(state)?;
            state.hold(id);
            state.handles += 1;
            Ok(id)
        })?;
        let hold = Hold { disk: Arc::clone(&self.disk), epoch: self.epoch, id, kind: HoldKind::Handle };
        Ok(Box::new(SimFile { hold, path: path.into(), writable: call == Call::CreateNew }))
    }
}

impl Fs for SimFs {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.call(Call::CreateDir, path, |state| state.create_dir(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let number = self.disk.calls();
        let mut names = self.call(Call::List, dir, |state| state.list(dir))?;
        // The order of a directory means nothing, so it is another one at each call.
        names.sort_unstable_by_key(|name| std::hash::BuildHasher::hash_one(&ORDER, (number, name)));
        Ok(names)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.open_handle(Call::Open, path, |state| state.open(path))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.open_handle(Call::CreateNew, path, |state| state.create_new(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Call::Rename, to, |state| state.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(Call::Remove, path, |state| state.remove(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let site = Site { call: Call::SyncDir, path: &dir.into(), offset: 0, size: 0 };
        self.disk.call(self.epoch, &site, |state, verdict| {
            if let Some(loss) = sync_loss(verdict) {
                state.fail_sync_dir(dir, loss)?;
            }
            verdict.check()?;
            state.sync_dir(dir)
        })
    }

    fn lock(&self, path: &Path, mode: LockMode) -> io::Result<Box<dyn Lock>> {
        let creates = self.disk.look(|state| !state.exists(path));
        let site = Site { call: Call::Lock, path: &path.into(), offset: 0, size: usize::from(creates) };
        let id = self.disk.call(self.epoch, &site, |state, verdict| {
            verdict.check()?;
            let id = state.lock(path, mode)?;
            state.hold(id);
            state.handles += 1;
            Ok(id)
        })?;
        Ok(Box::new(SimLock { _hold: Hold { disk: Arc::clone(&self.disk), epoch: self.epoch, id, kind: HoldKind::Lock(mode) } }))
    }
}

impl Lock for SimLock {}

impl Drop for Hold {
    fn drop(&mut self) {
        let (id, kind) = (self.id, self.kind);
        self.disk.in_epoch(self.epoch, |state| {
            state.release(id);
            match kind {
                HoldKind::Handle => state.handles -= 1,
                HoldKind::Map => state.maps -= 1,
                HoldKind::Lock(mode) => {
                    state.handles -= 1;
                    state.unlock(id, mode);
                }
            }
        });
    }
}

impl SimFile {
    fn call<T>(
        &self,
        call: Call,
        offset: u64,
        size: usize,
        run: impl FnOnce(&mut State, Verdict) -> io::Result<T>,
    ) -> io::Result<T> {
        let site = Site { call, path: &self.path, offset, size };
        self.hold.disk.call(self.hold.epoch, &site, run)
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::Error::from_raw_os_error(BAD_FILE)) }
    }

    fn sync(&self, call: Call) -> io::Result<()> {
        self.call(call, 0, 0, |state, verdict| {
            if let Some(loss) = sync_loss(verdict) {
                state.fail_sync_file(self.hold.id, loss);
            }
            verdict.check()?;
            state.sync_file(self.hold.id);
            Ok(())
        })
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.call(Call::ReadAt, offset, buffer.len(), |state, verdict| {
            let content = &state.inode(self.hold.id).cache;
            if let Verdict::Fail(Fault::ShortIo) = verdict {
                let there = usize::try_from(content.len().saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
                let half = there.div_ceil(2);
                return Ok(content.read(&mut buffer[..half], offset));
            }
            if verdict != Verdict::Fail(Fault::FlippedRead) {
                verdict.check()?;
            }
            let count = content.read(buffer, offset);
            if verdict == Verdict::Fail(Fault::FlippedRead) {
                flip(&mut buffer[..count], offset);
            }
            Ok(count)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.call(Call::WriteAt, offset, bytes.len(), |state, verdict| {
            self.check_writable()?;
            let half = bytes.len() / 2;
            match verdict {
                Verdict::Fail(Fault::ZeroWrite) => Ok(0),
                Verdict::Fail(Fault::ShortIo) => state.write(self.hold.id, &bytes[..half], offset),
                Verdict::Fail(Fault::Eio) | Verdict::Down { first: true } => {
                    // That there may be no space for the half either changes nothing: the call fails already.
                    let _ = state.write(self.hold.id, &bytes[..half], offset);
                    verdict.check().map(|()| half)
                }
                Verdict::Fail(Fault::LostWrite) => Ok(bytes.len()),
                Verdict::Fail(Fault::MisplacedWrite) => state.write(self.hold.id, bytes, offset + SECTOR_LEN as u64),
                Verdict::Fail(Fault::StaleSector) => {
                    let kept = bytes.len().saturating_sub(1) / SECTOR_LEN * SECTOR_LEN;
                    state.write(self.hold.id, &bytes[..kept], offset).map(|_| bytes.len())
                }
                Verdict::Fail(Fault::EioAfterWrite) => {
                    let _ = state.write(self.hold.id, bytes, offset);
                    verdict.check().map(|()| bytes.len())
                }
                Verdict::Go | Verdict::Fail(_) | Verdict::Down { .. } => {
                    verdict.check()?;
                    state.write(self.hold.id, bytes, offset)
                }
            }
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.call(Call::Allocate, len, 0, |state, verdict| {
            self.check_writable()?;
            verdict.check()?;
            state.allocate(self.hold.id, len)
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.call(Call::SetLen, len, 0, |state, verdict| {
            self.check_writable()?;
            verdict.check()?;
            state.set_len(self.hold.id, len)
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.call(Call::Len, 0, 0, |state, verdict| {
            verdict.check()?;
            Ok(state.inode(self.hold.id).cache.len())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync(Call::SyncData)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync(Call::SyncAll)
    }

    fn map(&self) -> io::Result<Arc<dyn AsRef<[u8]> + Send + Sync>> {
        let (id, number) = (self.hold.id, self.hold.disk.calls());
        let bytes = self.call(Call::Map, 0, 0, |state, verdict| {
            let mut bytes = state.inode(id).cache.to_vec();
            if verdict == Verdict::Fail(Fault::FlippedMap) {
                flip(&mut bytes, number);
            } else {
                verdict.check()?;
            }
            state.hold(id);
            state.maps += 1;
            Ok(bytes)
        })?;
        let hold = Hold { disk: Arc::clone(&self.hold.disk), epoch: self.hold.epoch, id, kind: HoldKind::Map };
        Ok(Arc::new(SimMap { bytes, _hold: hold }))
    }
}

impl AsRef<[u8]> for SimMap {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What is lost when a sync is answered with `verdict`, if it is a failure of the sync itself.
fn sync_loss(verdict: Verdict) -> Option<SyncLoss> {
    match verdict {
        Verdict::Fail(Fault::SyncFailOnce) => Some(SyncLoss::Nothing),
        Verdict::Fail(Fault::SyncFailReverts) => Some(SyncLoss::Reverts),
        Verdict::Fail(Fault::SyncFailKeepsCache | Fault::Enospc | Fault::Edquot) => Some(SyncLoss::KeepsCache),
        Verdict::Go | Verdict::Fail(_) | Verdict::Down { .. } => None,
    }
}
