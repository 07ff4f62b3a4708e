//! CRC-32 over what a format wants covered, seeded so that the right bytes in the wrong file do not verify.
//!
//! CRC-32 with the polynomial of IEEE 802.3, as in zlib, from `crc32fast`. The seed goes in as a prefix of 8 bytes.

use crc32fast::Hasher;

/// The checksum of `parts`, one after the other, behind `seed`.
#[inline]
pub(crate) fn checksum(seed: u64, parts: &[&[u8]]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&seed.to_le_bytes());
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

/// A checksum over bytes that come in pieces.
#[derive(Clone, Debug)]
pub(crate) struct Running(Hasher);

impl Running {
    pub(crate) fn new(seed: u64) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(&seed.to_le_bytes());
        Self(hasher)
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> u32 {
        self.0.finalize()
    }
}
