//! Zstandard, for the blocks of buckets that ask for it; or the refusal of a build without it.
//!
//! Contexts are large and slow to make, so each builder keeps one, and each thread that reads.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

#[cfg(feature = "zstd")]
pub(super) use with::{Compressor, decompress};
#[cfg(not(feature = "zstd"))]
pub(super) use without::{Compressor, decompress};

#[cfg(feature = "zstd")]
mod with {
    use std::cell::RefCell;

    use super::super::format::{BLOCK_HEADER_LEN, Refusal};
    use crate::codec::DecodeError;

    /// The level that is fast and comes to most of what higher ones do on blocks of some KiB.
    const LEVEL: i32 = 1;

    thread_local! {
        static CONTEXT: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
    }

    /// Compresses the bodies of blocks.
    pub(in super::super) struct Compressor {
        context: zstd::bulk::Compressor<'static>,
        buffer: Vec<u8>,
    }

    impl Compressor {
        /// `None` if there is no memory for it; then blocks are stored as they are.
        pub(in super::super) fn new() -> Option<Self> {
            let context = zstd::bulk::Compressor::new(LEVEL).ok()?;
            Some(Self { context, buffer: Vec::new() })
        }

        /// The compressed form of `bytes`, if it is below `limit` bytes.
        pub(in super::super) fn compress(&mut self, bytes: &[u8], limit: usize) -> Option<&[u8]> {
            self.buffer.clear();
            self.buffer.reserve(zstd::zstd_safe::compress_bound(bytes.len()));
            let len = self.context.compress_to_buffer(bytes, &mut self.buffer).ok()?;
            (len < limit).then_some(&self.buffer)
        }
    }

    impl std::fmt::Debug for Compressor {
        fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("Compressor")
        }
    }

    /// Fills `out` with what `bytes` were before they were compressed; they must come to exactly that.
    pub(in super::super) fn decompress(bytes: &[u8], out: &mut [u8]) -> Result<(), Refusal> {
        let wrong = || Refusal::Invalid(DecodeError { at: BLOCK_HEADER_LEN, what: "compressed block" });
        CONTEXT.with(|context| {
            let mut context = context.try_borrow_mut().map_err(|_| wrong())?;
            if context.is_none() {
                *context = zstd::bulk::Decompressor::new().ok();
            }
            let context = context.as_mut().ok_or_else(wrong)?;
            let len = context.decompress_to_buffer(bytes, out).map_err(|_| wrong())?;
            if len == out.len() { Ok(()) } else { Err(wrong()) }
        })
    }
}

#[cfg(not(feature = "zstd"))]
mod without {
    use super::super::format::Refusal;

    /// Nothing, as nothing is compressed.
    #[derive(Debug)]
    pub(in super::super) struct Compressor;

    impl Compressor {
        pub(in super::super) const fn new() -> Option<Self> {
            None
        }

        pub(in super::super) const fn compress(&mut self, _: &[u8], _: usize) -> Option<&[u8]> {
            None
        }
    }

    pub(in super::super) const fn decompress(_: &[u8], _: &mut [u8]) -> Result<(), Refusal> {
        Err(Refusal::Compression(crate::spec::COMPRESSION_ZSTD))
    }
}
