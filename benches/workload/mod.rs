//! What the benchmarks have in common: keys, values, stores, and a line that says what was measured.
//!
//! Under `cargo bench` the inputs are as large as the numbers below say; in test mode (`cargo test --benches`) they are tiny, so that
//! every benchmark runs once in a moment and none rots. Numbers and texts depend on nothing but their index.

#![allow(dead_code, reason = "each benchmark is a program of its own and uses some of it")]
#![allow(unreachable_pub, reason = "a module shared by programs, none of which exports anything")]

mod data;

use std::path::Path;
use std::time::Duration;

use annals::{Bucket, BucketConfig, Durability, Options, Store};
use criterion::Criterion;
use tempfile::TempDir;

#[allow(unused_imports, reason = "each benchmark is a program of its own and uses some of them")]
pub use data::{Numbers, absent_key, key, value};

/// Bytes of a value, where a benchmark does not say otherwise.
pub const VALUE_LEN: usize = 100;

/// Whether this is a measurement, and not one run to see that it still works.
pub fn is_measuring() -> bool {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    has("--bench") && !has("--test")
}

/// `full` when measuring, else a number small enough for a moment.
pub fn size(full: u64) -> u64 {
    if is_measuring() { full } else { full.min(50) }
}

/// A `Criterion` that takes seconds for each benchmark, not minutes.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args()
}

/// A store on the disk that holds the target directory, gone with the returned directory. That disk is measured, not a temporary one
/// in memory.
pub fn store_on_disk(durability: Durability) -> (TempDir, Store) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let store = open(&directory.path().join("store"), durability);
    (directory, store)
}

fn open(path: &Path, durability: Durability) -> Store {
    Options::new().durability(durability).open(path).unwrap()
}

/// A bucket that keeps `history` entries of each key.
pub fn bucket(store: &Store, history: u8) -> Bucket {
    store.create_bucket(BucketConfig::new(format!("bench-{history}")).history(history)).unwrap()
}

/// Puts keys 0 to `keys`, each `times` times, in scrambled order.
pub fn fill(bucket: &Bucket, keys: u64, times: u64, value_len: usize) {
    for round in 0..times {
        for number in 0..keys {
            bucket.put(key(number), value(number ^ (round << 32), value_len)).unwrap();
        }
    }
}

/// One line that says what the numbers after it are numbers of.
pub fn announce(what: &str, keys: u64, value_len: usize, durability: &str) {
    let mode = if is_measuring() { "measured" } else { "test mode, no measurement" };
    println!("\n{what}: {keys} keys of 25 bytes, values of {value_len} bytes, durability {durability}; {mode}");
}

/// A hash of what was read, so that a run can be seen to have read the same as another.
#[derive(Debug)]
pub struct Digest(u64);

impl Digest {
    pub fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    pub fn print(&self, of: &str) {
        println!("digest of {of}: {:016x}", self.0);
    }
}
