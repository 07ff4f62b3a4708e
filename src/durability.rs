//! What an acknowledgement promises.

use std::time::Duration;

/// What has happened to a write when it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Written and synced: survives a crash of the program, the operating system and a power cut. The default. Writers that commit at
    /// the same time share one sync.
    Sync,
    /// Handed to the operating system: survives a crash or kill of the program. An operating system crash or power cut loses at most
    /// the commits of the last `delay`, and at most `bytes` of them.
    Periodic {
        /// How long a commit may stay unsynced; at least 1 ms.
        delay: Duration,
        /// How many bytes of log may stay unsynced; at least 4 KiB.
        bytes: u64,
    },
    /// Handed to the operating system, synced when it or [`Store::sync`](crate::Store::sync) does: an operating system crash or power cut loses what came
    /// after the last sync. Never a hole: what is left is what had been committed up to some moment.
    OsCache,
}
