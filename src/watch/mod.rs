//! The bucket as a stream of changes: what its items are, what has changed since a revision, and what changes from now on.
//!
//! Everything that tells of changes in the order in which they were made yields the same [`Event`]s.

mod changes;
mod event;
mod live;
mod options;
mod stream;
mod token;

pub use changes::Changes;
pub use event::Event;
pub use live::{Watch, WatchStopper};
pub use options::WatchOptions;
pub use stream::WatchStream;
pub use token::WatchToken;
