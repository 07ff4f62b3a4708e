//! What tests, fuzz targets and benchmarks drive: the simulated disk, the oracle, the codecs by name. No stable API.
#![allow(missing_docs, reason = "not part of the public API")]

pub mod calls;
pub mod disk;
pub mod edits;
pub mod manifest;
pub mod ops;
pub mod world;
pub mod oracle;
pub mod segment;
pub mod subject;
#[cfg(test)]
mod visible_model;
pub mod wal;

/// Makes the first `len` bytes of a file a header of another version that verifies: all formats keep the version behind eight bytes of
/// magic, and the checksum of the header as its last four bytes.
pub fn set_header_version(file: &mut [u8], version: u32, len: usize) {
    file[8..12].copy_from_slice(&version.to_le_bytes());
    let sum = crate::checksum::checksum(0, &[&file[..len - 4]]);
    file[len - 4..len].copy_from_slice(&sum.to_le_bytes());
}
