//! Files that live in memory.
use super::{File, Fs, Lock, LockMode};
use std::io;
use std::path::Path;
#[derive(Debug, Default)]
pub(crate) struct MemoryFs;
impl Fs for MemoryFs {
    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        todo!()
    }
    fn list(&self, _dir: &Path) -> io::Result<Vec<String>> {
        todo!()
    }
    fn open(&self, _path: &Path) -> io::Result<Box<dyn File>> {
        todo!()
    }
    fn create_new(&self, _path: &Path) -> io::Result<Box<dyn File>> {
        todo!()
    }
    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        todo!()
    }
    fn remove(&self, _path: &Path) -> io::Result<()> {
        todo!()
    }
    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        todo!()
    }
    fn lock(&self, _path: &Path, _mode: LockMode) -> io::Result<Box<dyn Lock>> {
        todo!()
    }
}
