//! What the machine knows about its files: the cache, which the running program sees, and the disk, which a crash leaves.
//!
//! The two are separate. An operation changes the cache at once and is put on the list of what is pending, of its file or of its
//! directory; a sync applies that list to the durable side, in order. `seq` is the order over all files and directories. Every
//! function here does what a healthy POSIX system would do; refusals come from `fault`, losses from `crash`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::content::Content;
use super::names::{Dir, NameOp, Names, split};

pub(super) type FileId = u64;

/// As on Linux: offsets are signed there.
const FILE_LEN_MAX: u64 = i64::MAX as u64;

/// A change of a file's bytes or length.
#[derive(Clone, Debug)]
pub(super) enum FileOp {
    Write {
        offset: u64,
        bytes: Arc<[u8]>,
    },
    /// What is left of a write whose bytes were lost: the length.
    Grow(u64),
    SetLen(u64),
    Allocate(u64),
}

#[derive(Debug, Default)]
pub(super) struct Inode {
    pub(super) cache: Content,
    pub(super) durable: Content,
    pub(super) pending: Vec<(u64, FileOp)>,
    /// Whether there is a name for it in the cache. (There are no hard links.)
    pub(super) named: bool,
    /// Open handles, maps and locks.
    pub(super) holds: usize,
    pub(super) exclusive: bool,
    pub(super) shared: usize,
}

/// What a disk holds durably.
#[derive(Clone, Debug)]
pub(super) struct Durable {
    files: BTreeMap<FileId, Content>,
    dirs: BTreeMap<PathBuf, Names>,
}

/// How a sync fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SyncLoss {
    KeepsCache,
    Reverts,
    Nothing,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) inodes: BTreeMap<FileId, Inode>,
    pub(super) dirs: BTreeMap<PathBuf, Dir>,
    /// Open files and locks.
    pub(super) handles: usize,
    pub(super) maps: usize,
    pub(super) file_next: FileId,
    pub(super) seq: u64,
    /// In pages.
    pub(super) capacity: Option<u64>,
}

impl FileOp {
    pub(super) fn apply(&self, content: &mut Content) {
        match self {
            Self::Write { offset, bytes } => content.write(bytes, *offset),
            Self::Grow(len) => content.grow(*len),
            Self::SetLen(len) => content.set_len(*len),
            Self::Allocate(len) => content.allocate(*len),
        }
    }

    /// The operation without its bytes.
    fn length_only(self) -> Self {
        match self {
            Self::Write { offset, bytes } => Self::Grow(offset + bytes.len() as u64),
            other => other,
        }
    }
}

impl State {
    pub(super) fn new() -> Self {
        let dirs = ["", "/"].into_iter().map(|path| (PathBuf::from(path), Dir::default())).collect();
        Self { inodes: BTreeMap::new(), dirs, handles: 0, maps: 0, file_next: 1, seq: 0, capacity: None }
    }

    /// A handle, a map or a lock begins: the file stays without a name too.
    pub(super) fn hold(&mut self, id: FileId) {
        self.inode(id).holds += 1;
    }

    pub(super) fn release(&mut self, id: FileId) {
        self.inode(id).holds -= 1;
    }

    // Contents.

    pub(super) fn inode(&mut self, id: FileId) -> &mut Inode {
        self.inodes.get_mut(&id).expect("whoever has the id has a name or a hold, and either keeps the inode")
    }

    /// As much of `bytes` as there is space for; no space at all is an error.
    pub(super) fn write(&mut self, id: FileId, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if bytes.len() as u64 > FILE_LEN_MAX.saturating_sub(offset) {
            return Err(ErrorKind::FileTooLarge.into());
        }
        let count = match self.free() {
            None => bytes.len(),
            Some(free) => self.inode(id).cache.fitting(offset, bytes.len(), free),
        };
        if count == 0 && !bytes.is_empty() {
            return Err(no_space());
        }
        if count > 0 {
            self.change_file(id, FileOp::Write { offset, bytes: bytes[..count].into() });
        }
        Ok(count)
    }

    pub(super) fn allocate(&mut self, id: FileId, len: u64) -> io::Result<()> {
        if len == 0 {
            return Err(ErrorKind::InvalidInput.into());
        }
        check_len(len)?;
        if let Some(free) = self.free()
            && free < self.inode(id).cache.allocation(len)
        {
            return Err(no_space());
        }
        self.change_file(id, FileOp::Allocate(len));
        Ok(())
    }

    pub(super) fn set_len(&mut self, id: FileId, len: u64) -> io::Result<()> {
        check_len(len)?;
        self.change_file(id, FileOp::SetLen(len));
        Ok(())
    }

    pub(super) fn sync_file(&mut self, id: FileId) {
        let inode = self.inode(id);
        for (_, op) in inode.pending.drain(..) {
            op.apply(&mut inode.durable);
        }
    }

    /// Bytes are lost, lengths are not: they are the file system's own, which writes them again.
    pub(super) fn fail_sync_file(&mut self, id: FileId, loss: SyncLoss) {
        let inode = self.inode(id);
        if loss != SyncLoss::Nothing {
            inode.pending = inode.pending.drain(..).map(|(seq, op)| (seq, op.length_only())).collect();
        }
        if loss == SyncLoss::Reverts {
            inode.evict();
        }
    }

    /// Drops every page that counts as clean: what comes back is what the disk has, which after a failed sync is not what was
    /// written.
    pub(super) fn evict(&mut self) {
        self.inodes.values_mut().for_each(Inode::evict);
    }

    pub(super) fn files(&self) -> Vec<(PathBuf, u64)> {
        let names =
            self.dirs.iter().flat_map(|(path, dir)| dir.cache.iter().map(move |(name, entry)| (path.join(&**name), entry)));
        let mut files: Vec<_> = names.filter_map(|(path, entry)| Some((path, self.inodes[&entry.file()?].cache.len()))).collect();
        files.sort();
        files
    }

    // Space.

    /// Pages taken by files that have a name or a holder.
    pub(super) fn used(&self) -> u64 {
        let living = self.inodes.values().filter(|inode| inode.named || inode.holds > 0);
        living.map(|inode| inode.cache.blocks()).sum()
    }

    fn free(&self) -> Option<u64> {
        self.capacity.map(|capacity| capacity.saturating_sub(self.used()))
    }

    // The world's end and the next one.

    /// The programs are gone, and with them their handles and locks.
    pub(super) fn end_programs(&mut self) {
        for inode in self.inodes.values_mut() {
            (inode.holds, inode.exclusive, inode.shared) = (0, false, 0);
        }
        (self.handles, self.maps) = (0, 0);
        self.forget_unreachable();
    }

    /// The cache is gone; the durable side is all there is.
    pub(super) fn drop_cache(&mut self) {
        for dir in self.dirs.values_mut() {
            dir.pending.clear();
            dir.cache = dir.durable.clone();
        }
        for inode in self.inodes.values_mut() {
            inode.pending.clear();
            inode.cache = inode.durable.clone();
        }
        self.forget_lost_dirs();
        self.name_inodes();
        self.end_programs();
    }

    pub(super) fn durable(&self) -> Durable {
        Durable {
            files: self.inodes.iter().map(|(id, inode)| (*id, inode.durable.clone())).collect(),
            dirs: self.dirs.iter().map(|(path, dir)| (path.clone(), dir.durable.clone())).collect(),
        }
    }

    pub(super) fn set_durable(&mut self, durable: &Durable) {
        let inode = |content: &Content| Inode { durable: content.clone(), ..Inode::default() };
        let dir = |names: &Names| Dir { durable: names.clone(), ..Dir::default() };
        self.inodes = durable.files.iter().map(|(id, content)| (*id, inode(content))).collect();
        self.dirs = durable.dirs.iter().map(|(path, names)| (path.clone(), dir(names))).collect();
        // The snapshot may be another disk's: its ids must not be given out again.
        let last = durable.files.keys().next_back().copied().unwrap_or(0);
        self.file_next = self.file_next.max(last + 1);
        self.drop_cache();
    }

    /// What is pending in the directory of `path` becomes durable, and so does `content` under that name, or no file at all.
    pub(super) fn tamper(&mut self, path: &Path, content: Option<Content>) -> io::Result<()> {
        let (parent, _) = split(path)?;
        match content {
            Some(content) => {
                let id = if self.exists(path) { self.open(path)? } else { self.create_new(path)? };
                let inode = self.inode(id);
                inode.pending.clear();
                inode.durable = content.clone();
                inode.cache = content;
            }
            None => self.remove(path)?,
        }
        self.sync_dir(parent)
    }

    fn change_file(&mut self, id: FileId, op: FileOp) {
        self.seq += 1;
        let seq = self.seq;
        let inode = self.inode(id);
        op.apply(&mut inode.cache);
        inode.pending.push((seq, op));
    }

    /// An inode is needed while there is a name in the cache, a holder, or a name that a crash may bring back.
    pub(super) fn forget_unreachable(&mut self) {
        let mut needed = BTreeSet::new();
        for dir in self.dirs.values() {
            needed.extend(dir.durable.values().filter_map(|entry| entry.file()));
            for (_, op) in &dir.pending {
                if let NameOp::Create { entry, .. } | NameOp::Rename { entry, .. } = op {
                    needed.extend(entry.file());
                }
            }
        }
        self.inodes.retain(|id, inode| inode.named || inode.holds > 0 || needed.contains(id));
    }
}

impl Inode {
    fn evict(&mut self) {
        self.cache = self.durable.clone();
        for (_, op) in &self.pending {
            op.apply(&mut self.cache);
        }
    }
}

fn check_len(len: u64) -> io::Result<()> {
    if len <= FILE_LEN_MAX { Ok(()) } else { Err(ErrorKind::FileTooLarge.into()) }
}

fn no_space() -> io::Error {
    io::Error::from_raw_os_error(28)
}
