//! The bucket as a stream of changes: what its items are.
//!
//! Everything that tells of changes in the order in which they were made yields the same [`Event`]s.

mod event;

pub use event::Event;
