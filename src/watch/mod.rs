//! The bucket as a stream of changes: what its items are, and what has changed since a revision.
//!
//! Everything that tells of changes in the order in which they were made yields the same [`Event`]s.

mod changes;
mod event;
mod token;

pub use changes::Changes;
pub use event::Event;
pub use token::WatchToken;
