//! Reading everything and checking it: manifest on disk against the one in memory, every segment in full.
//!
//! Log files are not read: what they hold is in memory, and recovery checks them whenever they are needed.

use super::core::Core;
use crate::error::{Error, Result};
use crate::manifest;
use crate::report::VerifyReport;

impl Core {
    pub(super) fn verify(&self, progress: &mut dyn FnMut(&VerifyReport)) -> Result<VerifyReport> {
        self.health.check_open()?;
        let mut report = VerifyReport::default();
        let view = {
            // Held so that no edit comes between the two.
            let keeper = self.keeper.lock();
            let path = self.path(manifest::MANIFEST_NAME);
            let stored = manifest::load(&*self.env.fs, &self.directory)?
                .ok_or_else(|| Error::corrupt(&path, 0, "the manifest is missing"))?;
            // Where the sync behind a replacement failed, either may be there; and after a close another store's.
            if stored != *keeper.manifest() && !self.health.is_poisoned() {
                self.health.check_open()?;
                return Err(Error::corrupt(&path, 0, "the manifest is not the one that was written last"));
            }
            self.view.load_full()
        };
        report.files += 1;
        for segment in view.segments() {
            segment.verify(&mut |bytes, blocks, entries| {
                report.bytes += bytes;
                report.blocks += blocks;
                report.entries += entries;
                progress(&report);
            })?;
            report.files += 1;
        }
        Ok(report)
    }
}
