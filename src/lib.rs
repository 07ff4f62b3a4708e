//! An embedded key-value store that remembers and tells.
// (crate docs are written last)

pub(crate) mod checksum;
pub(crate) mod codec;
pub(crate) mod entry;
#[cfg(not(any(test, feature = "testing")))]
pub(crate) mod env;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod env;
pub(crate) mod error;
pub(crate) mod key;
pub(crate) mod number;
pub(crate) mod spec;
pub(crate) mod subject;

pub(crate) mod acceptance;
pub(crate) mod clock;
pub(crate) mod retention;

pub(crate) mod engine;

pub(crate) mod bucket;
pub(crate) mod config;
pub(crate) mod store;

#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod testing;

pub use bucket::{Bucket, BucketStatus, History, Keys, KeysOptions};
pub use config::{BucketConfig, Durability, Options};
pub use entry::{Entry, Operation, Reason, Value};
pub use error::{Error, ErrorKind, Outcome, Result};
pub use key::Key;
pub use number::{CommitNumber, Revision};
pub use store::{RecoveryReport, Store, StoreStatus, VerifyReport};
