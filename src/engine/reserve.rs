//! Space kept aside for a full disk, so that a flush and the manifest can still be written and space be given back.

use super::core::Core;
use super::keeper::RESERVE_NAME;
use crate::env::allocate_full;
use crate::env::sync::Ordering;

impl Core {
    /// Frees the space that was kept aside; answers whether there was any.
    pub(super) fn release_reserve(&self) -> bool {
        let released = self.env.fs.remove(&self.path(RESERVE_NAME)).is_ok();
        if released {
            self.reserve_missing.store(true, Ordering::Relaxed);
        }
        released
    }

    /// Sets space aside, if it is not and the disk has it.
    pub(super) fn keep_reserve(&self) {
        let (path, len) = (self.path(RESERVE_NAME), self.settings.reserve_len);
        if len == 0 || self.health.is_poisoned() || !self.reserve_missing.load(Ordering::Relaxed) {
            return;
        }
        // Whatever fails here leaves a smaller reserve or none; the store works without.
        let there = self.env.fs.open(&path).and_then(|file| file.len()).is_ok_and(|found| found >= len);
        if !there {
            let _ = self.env.fs.remove(&path);
            let made = self.env.fs.create_new(&path).and_then(|file| {
                allocate_full(&*file, len)?;
                file.sync_all()
            });
            if made.is_err() {
                let _ = self.env.fs.remove(&path);
                return;
            }
        }
        self.reserve_missing.store(false, Ordering::Relaxed);
    }
}
