//! One item of a stream of changes.

use crate::entry::Entry;
use crate::number::Revision;

/// One item of a stream of changes of a bucket, in the order in which they were made.
///
/// The end of a stream is no event but an error that says why, after which nothing comes.
///
/// ```
/// use annals::Event;
/// fn describe(event: &Event) -> String {
///     match event {
///         Event::Entry(entry) => format!("{} {:?} at {}", entry.key(), entry.operation(), entry.revision()),
///         Event::UpToDate => "that was the state".to_owned(),
///         Event::Purged { through } => format!("nothing up to {through} is left"),
///         other => format!("{other:?}"),
///     }
/// }
/// assert_eq!(describe(&Event::UpToDate), "that was the state");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A change of a key: a value or a marker. Its value is empty too where only what describes it was asked for;
    /// [`Entry::value_len`] is true in any case.
    Entry(Entry),
    /// The state as of the beginning has been given whole: of each key that entry or a newer one. What follows is live.
    UpToDate,
    /// Everything that was asked for up to `revision` has been given, although the last of it may lie below.
    Progress {
        /// Where to go on.
        revision: Revision,
        /// Up to here everything would survive a power cut now. May lie below `revision`, by writes that did not ask for that.
        durable: Revision,
    },
    /// Changes in this range of revisions, ends included, may be missing. Of each key of which one is missing a newer one is given.
    Skipped {
        /// The first revision that may be missing.
        from: Revision,
        /// The last one.
        to: Revision,
    },
    /// The whole bucket was purged: no key has anything up to this revision.
    Purged {
        /// The bucket's last revision at the purge.
        through: Revision,
    },
}

impl Event {
    /// The entry, if it is one.
    #[must_use]
    pub const fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Entry(entry) => Some(entry),
            _ => None,
        }
    }
}
