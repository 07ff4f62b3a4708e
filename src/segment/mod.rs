//! Segments: immutable files of sorted entries, written once by a flush or a compaction and then only read, through a read-only map.
//!
//! [`Builder`] takes entries in order and writes the file; [`Segment`] opens one and answers point reads; [`Cursor`] walks one bucket's
//! section both ways. The engine decides which files exist and what of them is visible; a segment knows its own bytes and nothing of
//! its neighbours: it has no idea of expiry, of what hides what, or of names and directories.
//!
//! Invariants: a finished file never changes, so readers need no lock; every byte is covered by a checksum that is checked before it is
//! believed, at open (header, footer, directory) or at first use (tables, by pieces of 4 KiB, and blocks); a reader gives the right answer
//! or an error.
//!
//! `format` has the bytes. `draft`, `tables` and `builder` write them; `directory`, `block`, `fences`, `index` and `position` decode them,
//! each with its encoder where that is small. `reader` checks and remembers that it checked, and looks keys up; `cursor` walks by key and
//! `changes` by revision; `deadlines` tells what has expired, `place` where keys lie; `verify` reads everything.

mod block;
mod builder;
mod changes;
mod compression;
mod cursor;
mod deadlines;
mod directory;
mod draft;
mod fences;
mod format;
mod index;
mod place;
mod position;
mod reader;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod reseal;
mod tables;
mod verify;

pub(crate) use builder::{Builder, Summary};
pub(crate) use changes::Changes;
pub(crate) use cursor::{Cursor, CursorEntry};
pub(crate) use deadlines::Expiring;
pub(crate) use directory::SectionInfo;
pub(crate) use format::Identity;
pub(crate) use reader::{Expected, Segment};

#[cfg(test)]
mod tests;
