//! Segments: immutable files of sorted entries, written once by a flush or a compaction and then only read, through a read-only map.
//!
//! [`Builder`] takes entries in order and writes the file; [`Segment`] opens one and answers point reads; [`Cursor`] walks one bucket's
//! section both ways. The engine decides which files exist and what of them is visible; a segment knows its own bytes and nothing of
//! its neighbours: it has no idea of expiry, of what hides what, or of names and directories.
//!
//! Invariants: a finished file never changes, so readers need no lock; every byte is covered by a checksum that is checked before it is
//! believed, at open (header, footer, directory) or at first use (fences, blocks); a reader gives the right answer or an error.
//!
//! `format` has the bytes, `draft` and `builder` write them, `block` and `fences` decode them, `reader` checks and caches that it
//! checked, `place` tells where keys lie, `verify` reads everything.

mod block;
mod builder;
mod cursor;
mod deadlines;
mod draft;
mod fences;
mod format;
mod place;
mod reader;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod reseal;
mod verify;

pub(crate) use builder::{Builder, Summary};
pub(crate) use cursor::{Cursor, CursorEntry};
pub(crate) use format::Identity;
pub(crate) use reader::{Expected, Segment};

#[cfg(test)]
mod tests;
