//! Fuzz entry points of the manifest.

use crate::checksum::checksum;
use crate::manifest::Manifest;
use crate::manifest::format::{HEADER_LEN, MAGIC};

/// Bytes as a file: what decodes encodes to the same bytes.
pub fn file(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::decode(bytes) {
        assert_eq!(manifest.encode(), bytes, "one state, one encoding");
    }
}

/// Bytes as the body of a file whose header is right.
pub fn body(bytes: &[u8]) {
    file(&sealed(1, bytes));
}

/// A file of that version around `body`.
pub(crate) fn sealed(version: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LEN + body.len());
    out.extend_from_slice(&MAGIC);
    for number in [version, body.len() as u32, checksum(u64::from_le_bytes(MAGIC), &[body])] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    let crc = checksum(0, &[&out]);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(body);
    out
}
