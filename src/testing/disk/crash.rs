//! What a power cut leaves.
//!
//! Everything that was not synced is one list, in the order in which it happened: sector pieces of writes, changes of length,
//! changes of directories. A policy says of each whether the disk got it. What got there is applied to the durable side in its
//! order; that something later got there and something earlier did not is the point.
//!
//! Whatever the policy, bytes outside the range of an unsynced write stay as they were (power-safe overwrite): of a sector that
//! was written in part, only that part is at risk.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::names::NameOp;
use super::state::{FileId, FileOp, State};
use super::world::Rng;

/// What a disk writes at once.
const SECTOR_LEN: u64 = 512;

/// Which of the pending operations survive a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPolicy {
    /// Nothing that was not synced.
    LoseAll,
    /// Everything.
    KeepAll,
    /// Everything up to some moment.
    Prefix,
    /// Any piece and any change of a name, or not; a lost piece may leave its length behind.
    Subset,
    /// As `Subset`, but a lost piece may also be half there, zeros or garbage.
    TornGarbage,
    /// All names and lengths; zeros where something was written. In every other file some first pieces of the data too.
    ZeroTail,
    /// All names and lengths, no data: what was overwritten is as it was.
    LengthBeforeData,
    /// All data and lengths, no names.
    DataNoNames,
    /// The last changes of names, without the ones before them; of the data all or none.
    NamesReversed,
}

impl CrashPolicy {
    pub const ALL: [Self; 9] = [
        Self::LoseAll,
        Self::KeepAll,
        Self::Prefix,
        Self::Subset,
        Self::TornGarbage,
        Self::ZeroTail,
        Self::LengthBeforeData,
        Self::DataNoNames,
        Self::NamesReversed,
    ];
}

/// A pending operation: a piece within one sector if it is a write.
enum Change {
    File(FileId, FileOp),
    Name(PathBuf, NameOp),
}

/// What became of one piece.
enum Fate {
    Kept,
    Lost,
    /// Only the length.
    Length,
    Zeros,
    Torn,
    Garbage,
}

/// The choices of one crash.
struct Choice<'a> {
    policy: CrashPolicy,
    rng: &'a mut Rng,
    /// How many changes survive, for `Prefix`.
    kept: usize,
    /// How many changes of names do not, for `NamesReversed`, and whether data does.
    names_lost: usize,
    data_kept: bool,
    /// Whether the data of a file is still being written, for `ZeroTail`.
    writing: BTreeMap<FileId, bool>,
}

/// Applies `policy` to all that is pending, then drops the cache.
pub(super) fn crash(state: &mut State, policy: CrashPolicy, rng: &mut Rng) {
    let changes = pending(state);
    let names = changes.iter().filter(|change| matches!(change, Change::Name(..))).count();
    let (kept, names_lost, data_kept) = (rng.below(changes.len() + 1), rng.below(names + 1), rng.coin());
    let mut choice = Choice { policy, rng, kept, names_lost, data_kept, writing: BTreeMap::new() };
    let mut names_seen = 0;
    for (index, change) in changes.into_iter().enumerate() {
        match change {
            Change::Name(dir, op) => {
                if choice.keeps_name(index, names_seen)
                    && let Some(dir) = state.dirs.get_mut(&dir)
                {
                    op.apply(&mut dir.durable);
                }
                names_seen += 1;
            }
            Change::File(id, op) => {
                let fate = choice.fate(index, id);
                apply(state, id, op, fate, choice.rng);
            }
        }
    }
    state.drop_cache();
}

impl Choice<'_> {
    /// Of the change of a name that is number `index` of all changes and number `name_index` of those of names.
    fn keeps_name(&mut self, index: usize, name_index: usize) -> bool {
        match self.policy {
            CrashPolicy::LoseAll | CrashPolicy::DataNoNames => false,
            CrashPolicy::KeepAll | CrashPolicy::ZeroTail | CrashPolicy::LengthBeforeData => true,
            CrashPolicy::Prefix => index < self.kept,
            CrashPolicy::Subset | CrashPolicy::TornGarbage => self.rng.coin(),
            CrashPolicy::NamesReversed => name_index >= self.names_lost,
        }
    }

    /// Of the piece of file `id` that is number `index` of all changes.
    fn fate(&mut self, index: usize, id: FileId) -> Fate {
        match self.policy {
            CrashPolicy::LoseAll => Fate::Lost,
            CrashPolicy::KeepAll | CrashPolicy::DataNoNames => Fate::Kept,
            CrashPolicy::Prefix => kept_or_lost(index < self.kept),
            CrashPolicy::Subset | CrashPolicy::TornGarbage if self.rng.coin() => Fate::Kept,
            CrashPolicy::Subset if self.rng.below(4) == 0 => Fate::Length,
            CrashPolicy::Subset => Fate::Lost,
            CrashPolicy::TornGarbage => match self.rng.below(6) {
                0 | 1 => Fate::Lost,
                2 => Fate::Length,
                3 => Fate::Zeros,
                4 => Fate::Torn,
                _ => Fate::Garbage,
            },
            CrashPolicy::ZeroTail => {
                let writing = self.writing.entry(id).or_insert_with(|| self.rng.coin());
                *writing = *writing && self.rng.below(8) > 0;
                if *writing { Fate::Kept } else { Fate::Zeros }
            }
            CrashPolicy::LengthBeforeData => Fate::Length,
            CrashPolicy::NamesReversed => kept_or_lost(self.data_kept),
        }
    }
}

fn kept_or_lost(kept: bool) -> Fate {
    if kept { Fate::Kept } else { Fate::Lost }
}

/// Everything that is pending, oldest first, writes cut at the bounds of sectors.
fn pending(state: &mut State) -> Vec<Change> {
    let mut changes = Vec::new();
    for (path, dir) in &mut state.dirs {
        changes.extend(dir.pending.drain(..).map(|(seq, op)| (seq, Change::Name(path.clone(), op))));
    }
    for (id, inode) in &mut state.inodes {
        for (seq, op) in inode.pending.drain(..) {
            match op {
                FileOp::Write { offset, bytes } => {
                    changes.extend(pieces(offset, &bytes).map(|piece| (seq, Change::File(*id, piece))));
                }
                other => changes.push((seq, Change::File(*id, other))),
            }
        }
    }
    // Stable: the pieces of one write stay in their order.
    changes.sort_by_key(|(seq, _)| *seq);
    changes.into_iter().map(|(_, change)| change).collect()
}

fn pieces(offset: u64, bytes: &Arc<[u8]>) -> impl Iterator<Item = FileOp> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let at = offset + start as u64;
        let count = (bytes.len() - start).min((SECTOR_LEN - at % SECTOR_LEN) as usize);
        let piece = FileOp::Write { offset: at, bytes: bytes[start..start + count].into() };
        start += count;
        (count > 0).then_some(piece)
    })
}

/// Applies one piece as its fate wants. A change of length has no bytes to tear: only `Lost` loses it.
fn apply(state: &mut State, id: FileId, op: FileOp, fate: Fate, rng: &mut Rng) {
    let durable = &mut state.inode(id).durable;
    let FileOp::Write { offset, bytes } = op else {
        if !matches!(fate, Fate::Lost) {
            op.apply(durable);
        }
        return;
    };
    match fate {
        Fate::Kept => durable.write(&bytes, offset),
        Fate::Lost => {}
        Fate::Length => durable.grow(offset + bytes.len() as u64),
        Fate::Zeros => durable.write(&vec![0; bytes.len()], offset),
        Fate::Garbage => durable.write(&(0..bytes.len()).map(|_| rng.next() as u8).collect::<Vec<_>>(), offset),
        Fate::Torn => {
            let half = bytes.len() / 2;
            durable.grow(offset + bytes.len() as u64);
            if rng.coin() {
                durable.write(&bytes[..half], offset);
            } else {
                durable.write(&bytes[half..], offset + half as u64);
            }
        }
    }
}
