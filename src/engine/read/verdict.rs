//! Whether an entry that is met on a walk by revision counts.
//!
//! It is decided as for every other read, by [`Judge`]. But on such a walk an entry comes without what is newer of its key. Almost always
//! there is nothing newer, which one lookup tells, and nothing to judge; else all entries of the key are judged, from the newest on.

use super::Reader;
use super::changes::{Missing, miss};
use crate::engine::newest::newest_stored;
use crate::entry::Meta;
use crate::error::Result;
use crate::merge::{Change, Merge};
use crate::number::Revision;
use crate::retention::{Judge, Sight};

/// Which entries of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// All that are retained.
    Retained,
    /// The newest, if it counts.
    Newest,
}

/// What is to be said of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It counts.
    Counts,
    /// It does not count, and a newer change of its key is, or will be, delivered.
    Superseded,
    /// It was its key's newest, and nothing will tell that it is gone.
    Gone,
}

/// An entry that counts, without what it says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listed {
    pub(super) revision: Revision,
    pub(super) key: Box<[u8]>,
    /// When its commit was made.
    pub(super) created: u64,
    /// The bucket's next revision belongs to the same commit.
    pub(super) continues: bool,
}

impl Listed {
    pub(super) fn new(key: &[u8], meta: &Meta) -> Self {
        Self { revision: meta.revision, key: key.into(), created: meta.created, continues: meta.flags.continues() }
    }
}

/// Judges an entry, of which may be known whether it is its key's newest. `merge` is kept from one to the next.
pub(super) fn verdict(
    reader: &Reader<'_>,
    merge: &mut Option<Merge>,
    change: &Change<'_>,
    is_newest: Option<bool>,
    which: Which,
) -> Result<Verdict> {
    let rules = reader.rules();
    let (key, meta) = (change.key(), change.meta());
    let only_newest = which == Which::Newest || rules.depth == 1;
    let newest = match is_newest {
        Some(true) => Some(*meta),
        Some(false) if only_newest => return Ok(Verdict::Superseded),
        _ => newest_stored(reader.view, reader.visible, reader.state, key, reader.hash(key))?,
    };
    match newest.filter(|newest| !newest.flags.is_dropped()) {
        Some(newest) if newest.revision == meta.revision => {
            let counts = rules.is_plain(&newest) || Judge::new(&rules).see(&newest) == Sight::Visible;
            let is_silent = rules.expires_silently(&newest);
            return Ok(if counts {
                Verdict::Counts
            } else if is_silent {
                Verdict::Gone
            } else {
                Verdict::Superseded
            });
        }
        Some(_) if only_newest => return Ok(Verdict::Superseded),
        _ => {}
    }
    let merge = merge.get_or_insert_with(|| reader.merge());
    merge.seek_key(key, reader.hash(key))?;
    let mut judge = Judge::new(&rules);
    let mut is_newest = true;
    while let Some(entry) = merge.entry().filter(|entry| entry.key == key && entry.meta.revision >= meta.revision) {
        let sight = judge.see(&entry.meta);
        if !entry.meta.flags.is_dropped() {
            if entry.meta.revision == meta.revision {
                let is_out = which == Which::Newest && !is_newest;
                return Ok(match sight {
                    Sight::Visible if !is_out => Verdict::Counts,
                    // Newest, and not there: only what drops a marker stands above it.
                    Sight::Hidden | Sight::End if is_newest => Verdict::Gone,
                    _ => Verdict::Superseded,
                });
            }
            is_newest = false;
            if sight == Sight::End {
                break;
            }
        }
        merge.next()?;
    }
    Ok(Verdict::Superseded)
}

/// Adds the entries of a key above `from` that count; answers the revision of its newest if that is gone and nothing will tell so.
pub(super) fn list_key(
    reader: &Reader<'_>,
    key: &[u8],
    from: Revision,
    listed: &mut Vec<Listed>,
    missing: &mut Missing,
) -> Result<Option<Revision>> {
    let rules = reader.rules();
    let mut judge = Judge::new(&rules);
    let mut merge = reader.merge();
    merge.seek_key(key, reader.hash(key))?;
    let (mut newest, mut is_dropped, mut is_whole) = (None, false, false);
    while let Some(entry) = merge.entry().filter(|entry| entry.key == key) {
        let meta = entry.meta;
        let sight = judge.see(&meta);
        is_dropped |= meta.flags.is_dropped();
        if !meta.flags.is_dropped() {
            let is_newest = newest.is_none();
            newest = newest.or(Some(meta.revision));
            if sight == Sight::Visible && meta.revision <= from {
                is_whole = true;
                break;
            }
            if sight == Sight::Visible {
                listed.push(Listed::new(key, &meta));
            } else if meta.revision > from {
                if is_newest && (is_dropped || rules.expires_silently(&meta)) {
                    return Ok(Some(meta.revision));
                }
                miss(missing, from, meta.revision);
            }
        }
        if sight == Sight::End {
            break;
        }
        merge.next()?;
    }
    if let Some(newest) = newest.filter(|_| !is_whole && judge.is_trimmed()) {
        miss(missing, from, Revision(newest.0.saturating_sub(1)));
    }
    Ok(None)
}
