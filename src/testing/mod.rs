//! What tests, fuzz targets and benchmarks drive: the simulated disk, the oracle, the codecs by name. No stable API.
#![allow(missing_docs, reason = "not part of the public API")]

pub mod calls;
pub mod clock;
pub mod disk;
pub mod edits;
pub mod manifest;
pub mod memtable;
pub mod ops;
pub mod oracle;
pub mod picture;
pub mod random;
pub mod segment;
pub mod subject;
#[cfg(test)]
mod visible_model;
pub mod wal;
pub mod world;
