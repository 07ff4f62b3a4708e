//! The two ends of a store: a close, which leaves everything in segments, and a drop, which leaves a log that says where it ends.
//!
//! The lock of the directory goes last: from then on it may be another store's. Jobs have ended by then; a program's own call may be under way
//! still. Writes and flushes are behind the leader's lock, where they find the store closed; a merge is given up and waited for, and no edit
//! of the manifest goes on without the directory's lock.

use super::core::Core;
use super::leader::Leader;
use super::request::Request;
use crate::error::Result;

/// Clocks that are slewed drift apart by less than this between two notes of them.
const SET_CLOCK_NS: u128 = 1_000_000_000;

impl Core {
    /// The work of a clean close: everything into segments, a manifest that says so, no log left.
    pub(super) fn settle_for_good(&self) -> Result<()> {
        let mut leader = self.leader.lock();
        self.health.check_sound()?;
        if leader.has_changes() {
            let log = leader.log.number();
            self.seal(&mut leader, log);
        }
        while self.flush_oldest()? {}
        self.edit_manifest(|keeper| keeper.close(self.clock_pair()))?;
        let spare = self.spare.lock().file.take();
        let mut retired = self.retired.lock();
        retired.file(leader.log.path().to_owned());
        if let Some(spare) = spare {
            retired.file(spare.path().to_owned());
        }
        retired.reap(&*self.env.fs);
        Ok(())
    }

    /// Before a drop without a close: notes both clocks if the wall clock was set meanwhile, or else the next open would take the difference
    /// for time during which the store was shut.
    pub(super) fn note_set_clock(&self) {
        let (noted, present) = (self.keeper.lock().manifest().clock, self.clock_pair());
        let passed = |from: u64, to: u64| i128::from(to) - i128::from(from);
        let difference = passed(noted.wall, present.wall) - passed(noted.store, present.store);
        if difference.unsigned_abs() > SET_CLOCK_NS {
            // A store that cannot write any more has nothing to lose but this.
            let _ = self.submit(Request::Clock(present));
        }
    }

    /// The work of a drop without a close: what was acknowledged is synced, and the log says that nothing came after it.
    pub(super) fn leave(&self) {
        let mut leader = self.leader.lock();
        if self.health.check_sound().is_err() {
            return;
        }
        // The newest log file must be the one that ends with the seal, or the next open would have to assume lost commits.
        if let Some(spare) = self.spare.lock().file.take() {
            let _ = self.env.fs.remove(spare.path());
        }
        let sealed = leader.log_ended || self.end_log(&mut leader).is_ok();
        if sealed {
            // Errors have nobody left to go to; the next open finds what is there and reports it.
            let _ = self.tail.sync(&self.health);
        }
    }
}

impl Leader {
    /// Whether a commit went to the active memtable.
    pub(super) fn has_changes(&self) -> bool {
        self.active.first() < self.next
    }
}
