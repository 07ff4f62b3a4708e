//! What every store has to offer here, and nothing else: the calls that the workloads make.

use std::path::Path;
use std::time::Duration;

/// Whatever went wrong; a race that cannot be finished is thrown away.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What an acknowledged write has survived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Handed to the operating system, or what comes nearest: survives the end of the process.
    Os,
    /// On the disk.
    Sync,
}

/// What [`Reader::scan`] and [`Subscriber::next`] hand a key and its value to.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]);

/// Makes the new value of what is there; the second argument is empty at first.
pub type Change<'a> = &'a dyn Fn(&[u8], &mut Vec<u8>);

/// A store, open in a directory.
pub trait Engine: Send + Sync {
    /// One write, atomic, as durable as the store was opened for.
    fn put(&self, key: &str, value: &[u8]) -> Result<()>;

    /// All or nothing.
    fn put_all(&self, pairs: &[(String, Vec<u8>)]) -> Result<()>;

    /// Reads a key and writes it anew, atomic against every other writer.
    fn update(&self, key: &str, change: Change<'_>) -> Result<()>;

    /// Runs `work` with a reader of this thread, which may keep what it can use again: a transaction, a table.
    fn read(&self, work: &mut dyn FnMut(&mut dyn Reader) -> Result<()>) -> Result<()>;

    /// Reads one key with nothing kept from before; answers whether it is there.
    fn get_alone(&self, key: &str, visit: &mut dyn FnMut(&[u8])) -> Result<bool>;

    /// Subscribes to what is written from now on under a prefix that ends with a token, or under all keys, if it is empty.
    fn subscribe(&self, _prefix: &str) -> Result<Box<dyn Subscriber>> {
        Err("this store has no subscribers".into())
    }

    /// Everything where it stays: flushed, merged, compacted, as far as the store offers it.
    fn settle(&mut self) -> Result<()>;

    fn close(self: Box<Self>) -> Result<()>;
}

/// Reads of one thread.
pub trait Reader {
    /// Hands the value to `visit`, without a copy where the store can; answers whether there is one.
    fn get(&mut self, key: &str, visit: &mut dyn FnMut(&[u8])) -> Result<bool>;

    /// Up to `limit` entries in order, from `from` on; answers how many there were.
    fn scan(&mut self, from: Option<&str>, limit: usize, visit: Visit<'_>) -> Result<usize>;
}

/// Who is told of what others write.
pub trait Subscriber: Send {
    /// Hands the next change to `visit`; answers whether there was one within `timeout`.
    fn next(&mut self, timeout: Duration, visit: Visit<'_>) -> Result<bool>;
}

/// A store that can take part.
pub struct Peer {
    /// Its name in the table.
    pub name: &'static str,
    /// The package that it comes from, whose version is told.
    pub package: &'static str,
    /// How it is set up, in a line.
    pub setup: &'static str,
    pub open: fn(&Path, Level) -> Result<Box<dyn Engine>>,
    /// Whether [`Engine::subscribe`] does anything.
    pub has_subscribers: bool,
}
