//! From one generation to the next: the end of a log file, the sealing of its memtable, and how a file ends after a write that failed.
//!
//! One log file belongs to one memtable. Both end together, because one is full, or because a write failed and nothing more may go into
//! the file. Called by the leader, who holds everything that changes here.

use std::sync::Arc;

use super::core::Core;
use super::leader::Leader;
use super::tail::TailFile;
use crate::durability::Durability;
use crate::error::{Error, ErrorKind, Result};
use crate::number::{CommitNumber, FileNumber};
use crate::view::Sealed;
use crate::wal::{self, RecordFields};

impl Core {
    /// Step 3: the record fits in the active log file and the memtable is not full; else the next generation begins.
    pub(super) fn make_room(&self, leader: &mut Leader, payload_len: usize) -> Result<()> {
        loop {
            let fits = !leader.log_ended && leader.log.remaining() >= wal::record_len(payload_len) as u64;
            if fits && leader.active.bytes() < self.settings.memtable_len {
                return Ok(());
            }
            match self.rotate(leader, payload_len) {
                // A full disk refuses the next file; what fits in this one is still taken.
                Err(error) if fits && error.kind() == ErrorKind::NoSpace && !leader.log_ended => {
                    return self.health.check_sound();
                }
                rotated => rotated?,
            }
        }
    }

    /// Ends the active log file and seals the memtable with it: one generation, one file.
    pub(super) fn rotate(&self, leader: &mut Leader, payload_len: usize) -> Result<()> {
        let next = self.take_log(payload_len)?;
        if !leader.log_ended {
            self.end_log(leader)?;
        }
        if self.settings.durability == Durability::Sync {
            // Durable before the new file acknowledges anything.
            self.tail.sync(&self.health)?;
        }
        self.tail.rotated(TailFile::of(&next));
        let ended = std::mem::replace(&mut leader.log, next);
        leader.log_ended = false;
        self.seal(leader, ended.number());
        self.board.wake();
        Ok(())
    }

    /// Writes the seal behind the last record of the active log file.
    pub(super) fn end_log(&self, leader: &mut Leader) -> Result<()> {
        let fields = self.seal_fields(leader);
        match leader.log.seal(&fields) {
            Ok(chain) => {
                leader.chain = chain;
                Ok(())
            }
            // The second try is a seal too, and durable at once.
            Err(_) => self.cut_off(leader),
        }
    }

    /// Makes the active memtable a sealed one, with a new one in its place (E1, E17).
    pub(super) fn seal(&self, leader: &mut Leader, log: FileNumber) {
        let buckets = leader.seal_buckets();
        let through = CommitNumber(leader.next.0 - 1);
        let active = Arc::new(leader.active.successor(leader.next));
        let memtable = std::mem::replace(&mut leader.active, Arc::clone(&active));
        let sealed = Arc::new(Sealed { memtable, log, through, buckets, next_bucket: leader.next_bucket });
        self.edit_view(|view| {
            view.active = active;
            view.active_log = leader.log.number();
            view.sealed.insert(0, sealed);
        });
        self.note_pressure();
    }

    /// Ends the file behind its last good record after a write that failed. If that fails too, the bytes may come back: poisoned.
    pub(super) fn cut_off(&self, leader: &mut Leader) -> Result<()> {
        let fields = self.seal_fields(leader);
        self.tail.alone(|| match leader.log.seal_after_failure(&fields) {
            Ok(chain) => {
                leader.chain = chain;
                leader.log_ended = true;
                Ok(())
            }
            Err(error) => Err(self.poison(Error::io("cut a failed write off the log", leader.log.path(), error))),
        })
    }

    fn seal_fields(&self, leader: &Leader) -> RecordFields {
        RecordFields {
            change_count: 0,
            first_commit: leader.next,
            durable_mark: self.tail.durable(),
            now: self.now(),
            chain: leader.chain,
        }
    }
}
