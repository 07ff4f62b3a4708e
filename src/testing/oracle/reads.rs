//! The questions that a bucket and a snapshot of it both answer, so that one comparison serves for both.

use std::ops::Bound;

use crate::bucket::Bucket;
use crate::config::BucketConfig;
use crate::entry::{Entry, Value};
use crate::error::Result;
use crate::number::Revision;
use crate::scan::{Entries, History, Keys, KeysOptions};
use crate::snapshot::BucketSnapshot;
use crate::status::BucketStatus;
use crate::watch::Changes;

/// The ends of a range of keys.
pub type Bounds<'a> = (Bound<&'a str>, Bound<&'a str>);

/// What can be asked of a bucket at one moment.
pub trait Reads {
    fn config(&self) -> Result<BucketConfig>;
    fn status(&self) -> Result<BucketStatus>;
    fn get(&self, key: &str) -> Result<Option<Value>>;
    fn get_with(&self, key: &str) -> Result<Option<Vec<u8>>>;
    fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Value>>>;
    fn entry(&self, key: &str) -> Result<Option<Entry>>;
    fn entry_at(&self, key: &str, revision: Revision) -> Result<Option<Entry>>;
    fn get_at(&self, key: &str, revision: Revision) -> Result<Option<Value>>;
    fn get_as_of(&self, key: &str, revision: Revision) -> Result<Option<Value>>;
    fn history(&self, pattern: &str) -> Result<History>;
    fn keys_with(&self, options: KeysOptions) -> Result<Keys>;
    fn range(&self, bounds: Bounds<'_>) -> Result<Entries>;
    fn prefix(&self, prefix: &str) -> Result<Entries>;
    fn changes_since(&self, revision: Revision) -> Result<Changes>;
}

macro_rules! reads {
    ($($bucket:ty: $sure:ident;)+) => {$(
        impl Reads for $bucket {
            fn config(&self) -> Result<BucketConfig> {
                $sure!(self.config())
            }

            fn status(&self) -> Result<BucketStatus> {
                self.status()
            }

            fn get(&self, key: &str) -> Result<Option<Value>> {
                self.get(key)
            }

            fn get_with(&self, key: &str) -> Result<Option<Vec<u8>>> {
                self.get_with(key, <[u8]>::to_vec)
            }

            fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Value>>> {
                self.get_many(keys)
            }

            fn entry(&self, key: &str) -> Result<Option<Entry>> {
                self.entry(key)
            }

            fn entry_at(&self, key: &str, revision: Revision) -> Result<Option<Entry>> {
                self.entry_at(key, revision)
            }

            fn get_at(&self, key: &str, revision: Revision) -> Result<Option<Value>> {
                self.get_at(key, revision)
            }

            fn get_as_of(&self, key: &str, revision: Revision) -> Result<Option<Value>> {
                self.get_as_of(key, revision)
            }

            fn history(&self, pattern: &str) -> Result<History> {
                self.history(pattern)
            }

            fn keys_with(&self, options: KeysOptions) -> Result<Keys> {
                self.keys_with(options)
            }

            fn range(&self, bounds: Bounds<'_>) -> Result<Entries> {
                $sure!(self.range(bounds))
            }

            fn prefix(&self, prefix: &str) -> Result<Entries> {
                $sure!(self.prefix(prefix))
            }

            fn changes_since(&self, revision: Revision) -> Result<Changes> {
                self.changes_since(revision)
            }
        }
    )+};
}

/// A handle may be refused where a snapshot cannot.
macro_rules! as_it_is {
    ($answer:expr) => {
        $answer
    };
}

macro_rules! always {
    ($answer:expr) => {
        Ok($answer)
    };
}

reads! {
    Bucket: as_it_is;
    BucketSnapshot: always;
}
