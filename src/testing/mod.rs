//! What tests, fuzz targets and benchmarks drive: the simulated disk, the oracle, the codecs by name. No stable API.
#![allow(missing_docs, reason = "not part of the public API")]

pub mod ops;
pub mod oracle;
pub mod world;
