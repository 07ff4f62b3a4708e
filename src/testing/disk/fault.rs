//! What can go wrong at a call, and the plan of when it does.
//!
//! Calls are numbered from 1 over the whole life of a disk. An injection names the call at which its fault fires; one that cannot
//! happen there (no space while reading) is spent without firing, so that a runner that tries every fault at every call can see
//! which runs were plain ones and skip them.

use std::io;

/// A call that touches the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    CreateDir,
    List,
    Open,
    CreateNew,
    Rename,
    Remove,
    SyncDir,
    Lock,
    ReadAt,
    WriteAt,
    Allocate,
    SetLen,
    Len,
    SyncData,
    SyncAll,
    Map,
}

/// What a sticky fault spreads over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Read,
    Write,
    Sync,
    Dir,
}

/// A failure of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A medium error. A write leaves its first half in the cache. (Syncs have flavours of their own, below.)
    Eio,
    /// A medium error at a write that took all of its bytes: the cache has them, and a later sync makes them durable.
    EioAfterWrite,
    /// No space. At a sync: found out only there, as on thin volumes; the data is lost as in `SyncFailKeepsCache`.
    Enospc,
    /// The quota is used up; otherwise as `Enospc`.
    Edquot,
    /// Over the limit of a file's size.
    Efbig,
    /// Out of descriptors, at the calls that open something.
    Emfile,
    /// No room for a map.
    Enomem,
    /// Interrupted by a signal, at the calls that the operating system's `Fs` does not repeat itself. Sticky: three times.
    Eintr,
    /// Half of the bytes, but at least one.
    ShortIo,
    /// A write that takes nothing and does not complain.
    ZeroWrite,
    /// The sync fails and the pages count as clean: readable, but no later sync, though it says ok, makes them durable.
    SyncFailKeepsCache,
    /// The sync fails and the pages are dropped: what is read next is what the disk has. Later syncs say ok.
    SyncFailReverts,
    /// The sync fails and nothing is lost: the next one works.
    SyncFailOnce,
    /// A write that says ok and reaches nothing.
    LostWrite,
    /// A write that says ok and lands a sector further.
    MisplacedWrite,
    /// A write of which one sector, the last, keeps what was there before.
    StaleSector,
    /// One bit of what is read is wrong; the disk is not.
    FlippedRead,
    /// One bit of a map is wrong; the disk is not.
    FlippedMap,
}

impl Call {
    /// The kind of work that the call does.
    #[must_use]
    pub fn class(self) -> Class {
        match self {
            Self::ReadAt | Self::Len | Self::Map => Class::Read,
            Self::WriteAt | Self::Allocate | Self::SetLen => Class::Write,
            Self::SyncDir | Self::SyncData | Self::SyncAll => Class::Sync,
            Self::CreateDir | Self::List | Self::Open | Self::CreateNew | Self::Rename | Self::Remove | Self::Lock => Class::Dir,
        }
    }
}

impl Fault {
    /// What no call complains of: to be found by checksums, or to be harmless.
    pub const SILENT: [Self; 5] = [Self::LostWrite, Self::MisplacedWrite, Self::StaleSector, Self::FlippedRead, Self::FlippedMap];

    /// What a call answers, or is seen to do.
    pub const ALL: [Self; 13] = [
        Self::Eio,
        Self::EioAfterWrite,
        Self::Enospc,
        Self::Edquot,
        Self::Efbig,
        Self::Emfile,
        Self::Enomem,
        Self::Eintr,
        Self::ShortIo,
        Self::ZeroWrite,
        Self::SyncFailKeepsCache,
        Self::SyncFailReverts,
        Self::SyncFailOnce,
    ];

    /// Whether a real disk could answer `call` like this.
    #[must_use]
    pub fn applies_to(self, call: Call) -> bool {
        match self {
            Self::Eio => call.class() != Class::Sync && call != Call::Map,
            Self::Enospc | Self::Edquot => {
                let takes_space = matches!(call, Call::CreateDir | Call::CreateNew | Call::Rename | Call::Lock);
                takes_space || matches!(call, Call::WriteAt | Call::Allocate) || call.class() == Class::Sync
            }
            Self::Efbig => call.class() == Class::Write,
            Self::Emfile => matches!(call, Call::Open | Call::CreateNew | Call::List | Call::Lock | Call::SyncDir),
            Self::Enomem => call == Call::Map,
            Self::Eintr => matches!(call, Call::ReadAt | Call::WriteAt | Call::Allocate),
            Self::ShortIo => matches!(call, Call::ReadAt | Call::WriteAt),
            Self::ZeroWrite | Self::EioAfterWrite => call == Call::WriteAt,
            Self::SyncFailKeepsCache | Self::SyncFailReverts | Self::SyncFailOnce => call.class() == Class::Sync,
            Self::LostWrite | Self::MisplacedWrite | Self::StaleSector => call == Call::WriteAt,
            Self::FlippedRead => call == Call::ReadAt,
            Self::FlippedMap => call == Call::Map,
        }
    }

    /// As `applies_to`, for one call with its size: bytes to read or write, or for a lock whether it must create its file.
    fn fits(self, call: Call, size: usize) -> bool {
        let enough = match (self, call) {
            (Self::ShortIo, _) => size >= 2,
            (Self::Enospc | Self::Edquot, Call::Lock) | (_, Call::WriteAt) => size >= 1,
            _ => true,
        };
        enough && self.applies_to(call)
    }

    pub(super) fn error(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Self::Eio | Self::EioAfterWrite | Self::SyncFailKeepsCache | Self::SyncFailReverts | Self::SyncFailOnce => 5,
            Self::Enospc => 28,
            Self::Edquot => 122,
            Self::Efbig => 27,
            Self::Emfile => 24,
            Self::Enomem => 12,
            Self::Eintr => 4,
            // These are no errors; a caller that asks for one anyway gets what std makes of a write of nothing.
            Self::ShortIo
            | Self::ZeroWrite
            | Self::LostWrite
            | Self::MisplacedWrite
            | Self::StaleSector
            | Self::FlippedRead
            | Self::FlippedMap => return io::ErrorKind::WriteZero.into(),
        })
    }
}

/// A fault and its moment.
#[derive(Clone, Copy, Debug)]
pub struct Injection {
    /// The number of the call, as [`SimDisk::calls`](super::SimDisk::calls) counts: `calls() + 1` is the next one.
    pub at: u64,
    /// What happens.
    pub fault: Fault,
    /// Every later call of the same class fails too, until the faults are cleared.
    pub sticky: bool,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Go,
    Fail(Fault),
    /// The machine is down. `first`: it went down in this very call.
    Down {
        first: bool,
    },
}

impl Verdict {
    /// For calls that either happen or do not.
    pub(super) fn check(self) -> io::Result<()> {
        match self {
            Self::Go => Ok(()),
            Self::Fail(fault) => Err(fault.error()),
            Self::Down { .. } => Err(io::Error::other("simulated crash")),
        }
    }
}

/// A sticky fault that has begun.
#[derive(Clone, Copy, Debug)]
struct Spell {
    fault: Fault,
    class: Class,
    left: u64,
}

/// The counter of calls and what is to happen at which.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) calls: u64,
    pub(super) fired: u64,
    pub(super) crash_at: Option<u64>,
    pub(super) crashed: bool,
    injections: Vec<Injection>,
    spells: Vec<Spell>,
}

impl Plan {
    pub(super) fn add(&mut self, injection: Injection) {
        self.injections.push(injection);
    }

    pub(super) fn clear_faults(&mut self) {
        self.injections.clear();
        self.spells.clear();
    }

    pub(super) fn clear_crash(&mut self) {
        self.crash_at = None;
        self.crashed = false;
    }

    /// Counts a call and decides it.
    pub(super) fn next(&mut self, call: Call, size: usize) -> Verdict {
        self.calls += 1;
        let number = self.calls;
        if self.crash_at.is_some_and(|at| at <= number) {
            let first = !self.crashed;
            self.crashed = true;
            return Verdict::Down { first };
        }
        if let Some(index) = self.injections.iter().position(|injection| injection.at == number) {
            let Injection { fault, sticky, .. } = self.injections.swap_remove(index);
            if fault.fits(call, size) {
                if sticky {
                    let left = if fault == Fault::Eintr { 2 } else { u64::MAX };
                    self.spells.push(Spell { fault, class: call.class(), left });
                }
                self.fired += 1;
                return Verdict::Fail(fault);
            }
        }
        let spell = self.spells.iter_mut().find(|spell| {
            let due = spell.class == call.class() && spell.left > 0;
            due && spell.fault.fits(call, size)
        });
        match spell {
            Some(spell) => {
                spell.left -= 1;
                self.fired += 1;
                Verdict::Fail(spell.fault)
            }
            None => Verdict::Go,
        }
    }
}
