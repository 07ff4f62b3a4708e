//! What a watch is to show, and from where on.

use crate::engine::{Start, Wishes};
use crate::error::{Error, ErrorKind, Result};
use crate::number::Revision;
use crate::subject::{Filters, Pattern};
use crate::watch::WatchToken;

/// Which changes [`Bucket::watch_with`](crate::Bucket::watch_with) gives. By default: of every key its newest entry, markers
/// included, then everything that comes.
///
/// ```
/// use annals::{Event, WatchOptions};
/// # let store = annals::Store::in_memory()?;
/// # let bucket = store.create_bucket(annals::BucketConfig::new("b"))?;
/// let options = WatchOptions::new().filter("eu.>").filter("*.admin").ignore_deletes(true).updates_only(true);
/// let mut watch = bucket.watch_with(options)?;
/// assert_eq!(watch.next().unwrap()?, Event::UpToDate);
/// bucket.put("us.1", "no")?;
/// bucket.put("eu.admin", "once")?;
/// assert_eq!(watch.next().unwrap()?.entry().unwrap().key().as_str(), "eu.admin");
/// assert!(watch.try_next()?.is_none());
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct WatchOptions {
    filters: Vec<String>,
    history: bool,
    updates_only: bool,
    ignore_deletes: bool,
    meta_only: bool,
    from: Revision,
    after: Option<WatchToken>,
    progress: bool,
}

impl WatchOptions {
    /// All keys, from their present state on.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a pattern: changes of a key are given if any of the patterns matches it, once however many do. None = all keys.
    #[must_use]
    pub fn filter(mut self, pattern: impl Into<String>) -> Self {
        self.filters.push(pattern.into());
        self
    }

    /// Whether to begin with everything that is retained, instead of the newest entry of each key.
    #[must_use]
    pub const fn history(mut self, include: bool) -> Self {
        self.history = include;
        self
    }

    /// Whether to begin with nothing: [`Event::UpToDate`](crate::Event::UpToDate) comes at once, then what is committed after the call.
    #[must_use]
    pub const fn updates_only(mut self, only: bool) -> Self {
        self.updates_only = only;
        self
    }

    /// Whether to leave out delete and purge markers. A purge of the whole bucket is told all the same.
    #[must_use]
    pub const fn ignore_deletes(mut self, ignore: bool) -> Self {
        self.ignore_deletes = ignore;
        self
    }

    /// Whether to leave out the bytes of values; [`Entry::value_len`](crate::Entry::value_len) still tells how many there are.
    #[must_use]
    pub const fn meta_only(mut self, only: bool) -> Self {
        self.meta_only = only;
        self
    }

    /// Begins with everything that is retained from this revision on, itself included. A revision that the bucket has not reached yet: what
    /// comes before it is left out, though not by a watch that goes on from the [`token`](crate::Watch::token) of this one.
    /// [`Revision::NONE`] unsets it. 1 asks for all there is and is never too low; else the lowest one that is not is the one behind
    /// [`Error::floor`](crate::Error::floor).
    #[must_use]
    pub const fn from_revision(mut self, revision: Revision) -> Self {
        self.from = revision;
        self
    }

    /// Goes on where a watch with the same filters was: with every change that it has not given and that is still retained, after
    /// [`Event::Purged`](crate::Event::Purged) if the whole bucket was purged meanwhile; then `UpToDate`, then what comes. Whoever kept what that
    /// watch gave, together with its [`token`](crate::Watch::token), has the bucket's state again, exactly: after a restart, a kill, or a power
    /// cut. A token that has seen more than a power cut left is refused with `Diverged`.
    ///
    /// ```
    /// use annals::{BucketConfig, Event, Store, WatchOptions, WatchToken};
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("data");
    /// let store = Store::open(&path)?;
    /// let jobs = store.create_bucket(BucketConfig::new("jobs"))?;
    /// jobs.put("nightly", "queued")?;
    /// let mut watch = jobs.watch(">")?;
    /// let seen = watch.next().unwrap()?;
    /// let noted = watch.token().to_string();
    /// store.close()?;
    ///
    /// let store = Store::open(&path)?;
    /// let jobs = store.bucket("jobs")?;
    /// jobs.put("hourly", "queued")?;
    /// let token: WatchToken = noted.parse()?;
    /// let mut watch = jobs.watch_with(WatchOptions::new().after(token))?;
    /// assert_eq!(watch.next().unwrap()?.entry().unwrap().key().as_str(), "hourly");
    /// assert_eq!(watch.next().unwrap()?, Event::UpToDate);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn after(mut self, token: WatchToken) -> Self {
        self.after = Some(token);
        self
    }

    /// Whether to tell by [`Event::Progress`](crate::Event::Progress) how far the watch is, and how much of that is durable: whenever there is
    /// nothing else to give and one of the two has changed. No commit wakes anybody for that: a watch that waits in `next` or
    /// [`next_timeout`](crate::Watch::next_timeout) looks once a second, a [`WatchStream`](crate::WatchStream) tells it when it is polled.
    #[must_use]
    pub const fn progress(mut self, tell: bool) -> Self {
        self.progress = tell;
        self
    }

    /// What that means to the engine.
    pub(crate) fn wishes(self) -> Result<Wishes> {
        let filters = match &*self.filters {
            [] => Filters::new(vec![Pattern::all()]),
            filters => Filters::parse(filters)?,
        };
        let start = match (self.updates_only, self.history, self.from.get().checked_sub(1), self.after) {
            (true, true, ..) => return Err(contradiction("history", "updates_only")),
            (true, _, Some(_), _) => return Err(contradiction("from_revision", "updates_only")),
            (true, _, _, Some(_)) => return Err(contradiction("after", "updates_only")),
            (_, _, Some(_), Some(_)) => return Err(contradiction("from_revision", "after")),
            (true, false, None, None) => Start::Updates,
            (false, _, None, Some(token)) => Start::Resumed(*token.position()),
            (false, _, Some(after), None) => Start::After(Revision::from(after)),
            (false, true, None, None) => Start::History,
            (false, false, None, None) => Start::State,
        };
        Ok(Wishes {
            filters,
            start,
            ignore_deletes: self.ignore_deletes,
            without_values: self.meta_only,
            progress: self.progress,
        })
    }
}

fn contradiction(one: &str, other: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("{one} asks for what {other} leaves out; choose one of them"))
}
