//! Turning sources into segments, and deciding which: what a flush, a merge and a recovery have in common.
//!
//! [`pick()`] says what to merge next, from what [`Extent`]s and [`judge()`] tell of the runs; [`write()`] merges sources key by key, asks
//! `retention` what of each key survives, and writes the survivors. Pure with regard to threads and time: the caller brings the store time and
//! the state of the buckets, which must be that of a flushed commit and never newer (E17). `retention` is the only judge of what may go (E5).

mod extent;
mod garbage;
mod pick;
mod write;

pub(crate) use extent::Extent;
pub(crate) use garbage::judge;
pub(crate) use pick::{Job, Picture, pick};
pub(crate) use write::{Floors, Inputs, Output, write};
