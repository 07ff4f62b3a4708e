//! The names: directories, what is pending in them, and the calls that change them.
//!
//! A directory is known by its path, because nothing here renames or removes one. There are no hard links.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::state::{FileId, Inode, State, SyncLoss};
use crate::env::LockMode;

pub(super) type Names = BTreeMap<Arc<str>, Entry>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    File(FileId),
    Dir,
}

/// A change of a directory.
#[derive(Clone, Debug)]
pub(super) enum NameOp {
    Create { name: Arc<str>, entry: Entry },
    Remove { name: Arc<str> },
    Rename { from: Arc<str>, to: Arc<str>, entry: Entry },
}

#[derive(Debug, Default)]
pub(super) struct Dir {
    pub(super) cache: Names,
    pub(super) durable: Names,
    pub(super) pending: Vec<(u64, NameOp)>,
}

impl NameOp {
    pub(super) fn apply(&self, names: &mut Names) {
        match self {
            Self::Create { name, entry } => {
                names.insert(Arc::clone(name), *entry);
            }
            Self::Remove { name } => {
                names.remove(name);
            }
            Self::Rename { from, to, entry } => {
                if names.get(from) == Some(entry) {
                    names.remove(from);
                } else {
                    // What came before was lost. The old name may be another file's, and this file may still have an older name.
                    names.retain(|_, other| other != entry);
                }
                names.insert(Arc::clone(to), *entry);
            }
        }
    }
}

impl State {
    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        self.create(path, Entry::Dir)?;
        self.dirs.insert(path.to_path_buf(), Dir::default());
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        Ok(self.dir(path)?.cache.keys().map(|name| name.to_string()).collect())
    }

    pub(super) fn open(&mut self, path: &Path) -> io::Result<FileId> {
        match self.entry(path)? {
            Some(Entry::File(id)) => Ok(id),
            Some(Entry::Dir) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn create_new(&mut self, path: &Path) -> io::Result<FileId> {
        let id = self.file_next;
        self.create(path, Entry::File(id))?;
        self.file_next += 1;
        self.inodes.insert(id, Inode { named: true, ..Inode::default() });
        Ok(id)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let id = self.open(from)?;
        let (parent, from_name) = split(from)?;
        let (parent_to, to_name) = split(to)?;
        if parent != parent_to {
            return Err(ErrorKind::InvalidInput.into());
        }
        match self.entry(to)? {
            Some(Entry::Dir) => return Err(ErrorKind::IsADirectory.into()),
            Some(Entry::File(replaced)) if replaced == id => return Ok(()),
            Some(Entry::File(replaced)) => self.inode(replaced).named = false,
            None => {}
        }
        self.change_names(parent, NameOp::Rename { from: from_name, to: to_name, entry: Entry::File(id) })
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let id = self.open(path)?;
        let (parent, name) = split(path)?;
        self.inode(id).named = false;
        self.change_names(parent, NameOp::Remove { name })
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let dir = self.dir_mut(path)?;
        let mut frees = false;
        for (_, op) in dir.pending.drain(..) {
            op.apply(&mut dir.durable);
            frees |= !matches!(op, NameOp::Create { .. });
        }
        if frees {
            self.forget_unreachable();
        }
        Ok(())
    }

    pub(super) fn fail_sync_dir(&mut self, path: &Path, loss: SyncLoss) -> io::Result<()> {
        let dir = self.dir_mut(path)?;
        if loss != SyncLoss::Nothing {
            dir.pending.clear();
        }
        if loss == SyncLoss::Reverts {
            dir.cache = dir.durable.clone();
            self.forget_lost_dirs();
            self.name_inodes();
        }
        Ok(())
    }

    /// Creates the file if it is missing.
    pub(super) fn lock(&mut self, path: &Path, mode: LockMode) -> io::Result<FileId> {
        let id = match self.entry(path)? {
            None => self.create_new(path)?,
            Some(_) => self.open(path)?,
        };
        let inode = self.inode(id);
        match mode {
            LockMode::Exclusive if !inode.exclusive && inode.shared == 0 => inode.exclusive = true,
            LockMode::Shared if !inode.exclusive => inode.shared += 1,
            LockMode::Exclusive | LockMode::Shared => return Err(ErrorKind::WouldBlock.into()),
        }
        Ok(id)
    }

    pub(super) fn unlock(&mut self, id: FileId, mode: LockMode) {
        let inode = self.inode(id);
        match mode {
            LockMode::Exclusive => inode.exclusive = false,
            LockMode::Shared => inode.shared -= 1,
        }
    }

    pub(super) fn exists(&self, path: &Path) -> bool {
        matches!(self.entry(path), Ok(Some(_)))
    }

    fn entry(&self, path: &Path) -> io::Result<Option<Entry>> {
        if self.dirs.contains_key(path) {
            return Ok(Some(Entry::Dir));
        }
        let (parent, name) = split(path)?;
        Ok(self.dirs.get(parent).and_then(|dir| dir.cache.get(&name).copied()))
    }

    fn dir(&self, path: &Path) -> io::Result<&Dir> {
        let missing = if self.exists(path) { ErrorKind::NotADirectory } else { ErrorKind::NotFound };
        self.dirs.get(path).ok_or_else(|| missing.into())
    }

    fn dir_mut(&mut self, path: &Path) -> io::Result<&mut Dir> {
        self.dir(path)?;
        Ok(self.dirs.get_mut(path).expect("it was there a line ago"))
    }

    fn create(&mut self, path: &Path, entry: Entry) -> io::Result<()> {
        if self.exists(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let (parent, name) = split(path)?;
        self.change_names(parent, NameOp::Create { name, entry })
    }

    fn change_names(&mut self, parent: &Path, op: NameOp) -> io::Result<()> {
        self.seq += 1;
        let seq = self.seq;
        let dir = self.dir_mut(parent)?;
        op.apply(&mut dir.cache);
        dir.pending.push((seq, op));
        Ok(())
    }

    /// A directory goes with its entry, and what is in it with the directory.
    pub(super) fn forget_lost_dirs(&mut self) {
        let mut kept: BTreeMap<PathBuf, Dir> = BTreeMap::new();
        // Parents come before what is in them.
        for (path, dir) in std::mem::take(&mut self.dirs) {
            let reachable = match split(&path) {
                Err(_) => true,
                Ok((parent, name)) => kept.get(parent).is_some_and(|dir| dir.cache.get(&name) == Some(&Entry::Dir)),
            };
            if reachable {
                kept.insert(path, dir);
            }
        }
        self.dirs = kept;
    }

    pub(super) fn name_inodes(&mut self) {
        let named: BTreeSet<FileId> =
            self.dirs.values().flat_map(|dir| dir.cache.values()).filter_map(|entry| entry.file()).collect();
        for (id, inode) in &mut self.inodes {
            inode.named = named.contains(id);
        }
    }
}

impl Entry {
    pub(super) fn file(self) -> Option<FileId> {
        match self {
            Self::File(id) => Some(id),
            Self::Dir => None,
        }
    }
}

/// The directory of a path and the name in it; the roots have neither.
pub(super) fn split(path: &Path) -> io::Result<(&Path, Arc<str>)> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((parent, name.to_string_lossy().into())),
        _ => Err(ErrorKind::InvalidInput.into()),
    }
}
