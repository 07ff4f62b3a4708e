//! A file system that writes down every call, and fails at a chosen one: for tests of the order of calls in one small protocol.
//!
//! It passes everything on to another one. What a crash leaves is not its business; the simulated disk knows that.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::env::sync::Mutex;
use crate::env::{Env, File, Fs, Lock, LockMode};

/// What to do at a chosen call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Fail before the call has done anything.
    Before(io::ErrorKind),
    /// Do it and report a failure all the same.
    After(io::ErrorKind),
    /// Half of a write, and the disk is full at the next call.
    Half,
    /// Half of a write, and nothing else.
    Short,
}

/// Writes down calls, shared by all its clones and files.
#[derive(Clone, Debug)]
pub struct CallFs {
    inner: Arc<dyn Fs>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<String>,
    /// The number of the call, from 0, and what happens there.
    fault: Option<(usize, Fault)>,
}

#[derive(Debug)]
struct CallFile {
    inner: Box<dyn File>,
    name: String,
    state: Arc<Mutex<State>>,
}

impl CallFs {
    /// An environment on `env`'s files that writes calls down.
    pub fn wrap(env: &Env) -> (Env, Self) {
        let fs = Self { inner: Arc::clone(&env.fs), state: Arc::default() };
        (Env { fs: Arc::new(fs.clone()), ..env.clone() }, fs)
    }

    /// The calls since the last time this was asked.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().calls)
    }

    /// Lets the call after the next `calls` ones fail; forgets what was written down.
    pub fn fail_after(&self, calls: usize, fault: Fault) {
        *self.state.lock() = State { calls: Vec::new(), fault: Some((calls, fault)) };
    }

    /// No more faults.
    pub fn heal(&self) {
        self.state.lock().fault = None;
    }
}

/// Writes one call down, and makes it or its failure.
fn call<T>(state: &Mutex<State>, text: String, run: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let fault = {
        let mut state = state.lock();
        let number = state.calls.len();
        state.calls.push(text);
        state.fault.filter(|(at, _)| *at == number).map(|(_, fault)| fault)
    };
    match fault {
        Some(Fault::Before(kind)) => Err(kind.into()),
        Some(Fault::After(kind)) => run().and(Err(kind.into())),
        Some(Fault::Half | Fault::Short) | None => run(),
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl Fs for CallFs {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        call(&self.state, format!("create_dir {}", name(path)), || self.inner.create_dir(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        call(&self.state, "list".to_owned(), || self.inner.list(dir))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let inner = call(&self.state, format!("open {}", name(path)), || self.inner.open(path))?;
        Ok(Box::new(CallFile { inner, name: name(path), state: Arc::clone(&self.state) }))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let inner = call(&self.state, format!("create_new {}", name(path)), || self.inner.create_new(path))?;
        Ok(Box::new(CallFile { inner, name: name(path), state: Arc::clone(&self.state) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        call(&self.state, format!("rename {} {}", name(from), name(to)), || self.inner.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        call(&self.state, format!("remove {}", name(path)), || self.inner.remove(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        call(&self.state, "sync_dir".to_owned(), || self.inner.sync_dir(dir))
    }

    fn lock(&self, path: &Path, mode: LockMode) -> io::Result<Box<dyn Lock>> {
        call(&self.state, format!("lock {}", name(path)), || self.inner.lock(path, mode))
    }
}

impl CallFile {
    fn call<T>(&self, text: &str, run: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        call(&self.state, format!("{text} {}", self.name), run)
    }
}

impl File for CallFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.call("read", || self.inner.read_at(buffer, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let half = {
            let mut state = self.state.lock();
            let number = state.calls.len();
            let fault = state.fault.filter(|(at, _)| *at == number).map(|(_, fault)| fault);
            if fault == Some(Fault::Half) {
                state.fault = Some((number + 1, Fault::Before(io::ErrorKind::StorageFull)));
            }
            matches!(fault, Some(Fault::Half | Fault::Short))
        };
        let bytes = if half { &bytes[..bytes.len().div_ceil(2)] } else { bytes };
        self.call(&format!("write {} at {offset}", bytes.len()), || self.inner.write_at(bytes, offset))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.call(&format!("allocate {len}"), || self.inner.allocate(len))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.call(&format!("set_len {len}"), || self.inner.set_len(len))
    }

    fn len(&self) -> io::Result<u64> {
        self.call("len", || self.inner.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.call("sync_data", || self.inner.sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.call("sync_all", || self.inner.sync_all())
    }

    fn map(&self) -> io::Result<Arc<dyn AsRef<[u8]> + Send + Sync>> {
        self.call("map", || self.inner.map())
    }
}
