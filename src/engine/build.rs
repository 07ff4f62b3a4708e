//! Making a segment file: what a flush, a merge and a recovery do with what `compact` decides (P4).
//!
//! Under a temporary name, synced, then renamed, then the directory synced, then opened: what this answers may be named by a manifest.
//! After a failure neither name is left, unless it cannot be removed; then the next open finds it below the ceiling and named by nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::core::segment_name;
use crate::cache::BlockCache;
use crate::compact::{Inputs, Output, write};
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

impl Site<'_> {
    /// Writes what survives of `inputs`; no file if nothing does.
    pub(super) fn build(&mut self, inputs: &Inputs<'_>) -> Result<(Option<Arc<Segment>>, Output)> {
        let mut started: Option<(FileNumber, PathBuf)> = None;
        let built = write(inputs, &mut || {
            let number = (self.next_number)()?;
            let path = self.directory.join(format!("{:08}.tmp", number.0));
            let file = self.env.fs.create_new(&path).map_err(|error| Error::io("create a segment", &path, error))?;
            started = Some((number, path.clone()));
            Ok(Builder::new(file, path, Identity { store: self.store, number }, self.block_len))
        });
        let finished = built.and_then(|output| Ok((self.finish(&output, started.as_ref())?, output)));
        if finished.is_err()
            && let Some((number, tmp)) = started
        {
            let _ = self.env.fs.remove(&tmp);
            let _ = self.env.fs.remove(&self.directory.join(segment_name(number)));
        }
        finished
    }

    fn finish(&mut self, output: &Output, started: Option<&(FileNumber, PathBuf)>) -> Result<Option<Arc<Segment>>> {
        let (Some(summary), Some((number, tmp))) = (&output.summary, started) else { return Ok(None) };
        let path = self.directory.join(segment_name(*number));
        self.env.fs.rename(tmp, &path).map_err(|error| Error::io("name a finished segment", &path, error))?;
        (self.sync_directory)()?;
        let identity = Identity { store: self.store, number: *number };
        let expected = Expected { identity, len: summary.len, checksum: summary.checksum };
        Segment::open(&*self.env.fs, &path, &expected, self.cache).map(Some)
    }
}

impl SegmentRef {
    /// How a manifest names what was built.
    pub(super) fn of(output: &Output) -> Option<Self> {
        output.summary.as_ref().map(|summary| Self {
            number: summary.number,
            len: summary.len,
            checksum: summary.checksum,
            entries: summary.entries,
        })
    }
}
