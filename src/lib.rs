//! An embedded key-value store that keeps the history of every key and changes a value only if nobody else did.
//!
//! One directory, one process, many buckets; the model is that of NATS JetStream key-value buckets. Every write of a bucket gets the next
//! *revision*; a bucket keeps the last 1 to 64 entries of each key; writes can depend on the revision that they replace.
//!
//! ```
//! use annals::{BucketConfig, ErrorKind, Store};
//!
//! let directory = tempfile::tempdir()?;
//! let store = Store::open(directory.path().join("data"))?;
//! let users = store.create_bucket(BucketConfig::new("users").history(8))?;
//!
//! let first = users.put("eu.42.email", "ada@example.org")?;
//! users.put("eu.42.email", "countess@example.org")?;
//! let error = users.update("eu.42.email", "lovelace@example.org", first).unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::WrongRevision);
//!
//! let values: Vec<_> = users.history("eu.*.email")?.map(|entry| Ok(entry?.into_value())).collect::<annals::Result<_>>()?;
//! assert_eq!(values, ["ada@example.org", "countess@example.org"]);
//! store.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What to rely on
//! - A call that returned is visible to every call that begins after it, in any thread.
//! - At [`Durability::Sync`], the default, a write that returned survives a power cut. At the weaker levels it survives the end of the
//!   process, however that comes.
//! - After any crash the store holds what had been committed up to some moment, never a later write without an earlier one.
//! - An error tells by [`Error::outcome`] whether the write may still take effect. Damage on disk is an error that names file and offset.
//!
//! # What to know
//! - Finished segment files are mapped into memory, read-only. A program that writes or cuts files in the store's directory breaks
//!   the assumption that makes this sound; a disk that fails under a mapped page ends the process (SIGBUS).
//! - The directory must be on a local file system. One process opens it at a time. A store must not be used in a child after `fork`.
//! - Linux only, for now.
//!
//! # How to read the source
//! From the ground up, as the modules stand in `lib.rs`: numbers and bytes, formats, pure decisions, the engine, the handles.
//! `ARCHITECTURE.md` has the drawing.

pub(crate) mod checksum;
pub(crate) mod codec;
pub(crate) mod durability;
pub(crate) mod entry;
#[cfg(not(any(test, feature = "testing")))]
pub(crate) mod env;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod env;
pub(crate) mod error;
pub(crate) mod hash;
pub(crate) mod key;
pub(crate) mod number;
pub(crate) mod report;
pub(crate) mod spec;
pub(crate) mod subject;

pub(crate) mod cache;
pub(crate) mod manifest;
pub(crate) mod memtable;
pub(crate) mod segment;
pub(crate) mod wal;

pub(crate) mod acceptance;
pub(crate) mod clock;
pub(crate) mod compact;
pub(crate) mod matcher;
pub(crate) mod merge;
pub(crate) mod resume;
pub(crate) mod retention;
pub(crate) mod run;
pub(crate) mod view;

pub(crate) mod engine;

pub(crate) mod batch;
pub(crate) mod bucket;
pub(crate) mod config;
pub(crate) mod scan;
pub(crate) mod snapshot;
pub(crate) mod status;
pub(crate) mod store;
pub(crate) mod ticket;
pub(crate) mod watch;

#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod testing;

pub use batch::Batch;
pub use bucket::{Bucket, Loaded, Matched};
pub use config::{BucketConfig, Compression, Options, PutOptions};
pub use durability::Durability;
pub use entry::{Entry, Operation, Reason, Value};
pub use error::{Error, ErrorKind, Outcome, Result};
pub use key::Key;
pub use number::{CommitNumber, Revision};
pub use report::{RecoveryReport, StoreStatus, TornTail, VerifyReport};
pub use scan::{Entries, EntryRef, History, KeyRange, Keys, KeysOptions};
pub use snapshot::{BucketSnapshot, Snapshot};
pub use status::{BucketEstimate, BucketStatus};
pub use store::Store;
pub use ticket::Ticket;
pub use watch::{Changes, Event, Watch, WatchOptions, WatchStopper, WatchStream, WatchToken};

/// The examples of the guides are tests, too.
#[cfg(doctest)]
#[doc = include_str!("../docs/watching.md")]
struct Guides;
