//! Making segment files: what a flush, a merge and a recovery do with what `compact` decides (P4).
//!
//! Under temporary names, synced, then renamed, then the directory synced, then opened: what this answers may be named by a manifest.
//! After a failure neither name is left, unless it cannot be removed; then the next open finds it below the ceiling and named by nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::core::segment_name;
use crate::cache::BlockCache;
use crate::compact::{Floors, Inputs, Output, write};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::manifest::SegmentRef;
use crate::number::FileNumber;
use crate::segment::{Builder, Expected, Identity, Segment};

/// Where segments are made.
pub(super) struct Site<'a> {
    pub(super) env: &'a Env,
    pub(super) directory: &'a Path,
    pub(super) store: u128,
    pub(super) block_len: u32,
    pub(super) cache: &'a Arc<BlockCache>,
    /// Gives out a file number.
    pub(super) next_number: &'a mut dyn FnMut() -> Result<FileNumber>,
    /// Makes names durable.
    pub(super) sync_directory: &'a mut dyn FnMut() -> Result<()>,
}

/// Finished, named and opened segments, in order.
#[derive(Debug, Default)]
pub(super) struct Built {
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) floors: Floors,
}

impl Site<'_> {
    /// Writes what survives of `inputs`; no file if nothing does.
    pub(super) fn build(&mut self, inputs: &Inputs<'_>) -> Result<Built> {
        let mut started: Vec<(FileNumber, PathBuf)> = Vec::new();
        let built = write(inputs, &mut || {
            let number = (self.next_number)()?;
            let path = self.directory.join(format!("{:08}.tmp", number.0));
            let file = self.env.fs.create_new(&path).map_err(|error| Error::io("create a segment", &path, error))?;
            started.push((number, path.clone()));
            Ok(Builder::new(file, path, Identity { store: self.store, number }, self.block_len))
        });
        let finished = built.and_then(|output| self.finish(output, &started));
        if finished.is_err() {
            for (number, tmp) in started {
                let _ = self.env.fs.remove(&tmp);
                let _ = self.env.fs.remove(&self.directory.join(segment_name(number)));
            }
        }
        finished
    }

    fn finish(&mut self, output: Output, started: &[(FileNumber, PathBuf)]) -> Result<Built> {
        for (number, tmp) in started {
            let path = self.directory.join(segment_name(*number));
            self.env.fs.rename(tmp, &path).map_err(|error| Error::io("name a finished segment", &path, error))?;
        }
        if !started.is_empty() {
            (self.sync_directory)()?;
        }
        let open = |summary: &crate::segment::Summary| {
            let identity = Identity { store: self.store, number: summary.number };
            let expected = Expected { identity, len: summary.len, checksum: summary.checksum };
            Segment::open(&*self.env.fs, &self.directory.join(segment_name(summary.number)), &expected, self.cache)
        };
        Ok(Built { segments: output.files.iter().map(open).collect::<Result<_>>()?, floors: output.floors })
    }
}

impl Built {
    /// Takes the files away again: no manifest names them. What cannot be removed is found by the next open.
    pub(super) fn discard(&self, env: &Env) {
        for segment in &self.segments {
            let _ = env.fs.remove(segment.path());
        }
    }
}

impl SegmentRef {
    /// How a manifest names a segment.
    pub(super) fn of(segment: &Segment) -> Self {
        Self { number: segment.number(), len: segment.len(), checksum: segment.checksum(), entries: segment.entries() }
    }
}
