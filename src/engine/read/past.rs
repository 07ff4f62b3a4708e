//! The past of a key: the entry that a revision denotes, and the value that it had when a revision was the bucket's newest.

use super::{Reader, entry_of};
use crate::entry::{Entry, Meta};
use crate::error::{Error, ErrorKind, Result};
use crate::merge::Merge;
use crate::number::Revision;
use crate::retention::{Judge, Past, Sight, as_of};

/// The entries of one key, newest first. The merge stays at the entry that came last, so that its value can be taken.
struct KeyEntries<'m> {
    merge: &'m mut Merge,
    key: &'m [u8],
    begun: bool,
    failed: Option<Error>,
}

impl<'m> KeyEntries<'m> {
    fn new(merge: &'m mut Merge, key: &'m [u8], hash: u64) -> Result<Self> {
        merge.seek_key(key, hash)?;
        Ok(Self { merge, key, begun: false, failed: None })
    }
}

impl Iterator for KeyEntries<'_> {
    type Item = Meta;

    fn next(&mut self) -> Option<Meta> {
        if self.failed.is_some() {
            return None;
        }
        if std::mem::replace(&mut self.begun, true)
            && let Err(error) = self.merge.next()
        {
            self.failed = Some(error);
            return None;
        }
        self.merge.entry().filter(|entry| entry.key == self.key).map(|entry| entry.meta)
    }
}

impl Reader<'_> {
    /// The entry of the key that `revision` denotes, if it is still retained; 0 denotes the newest.
    pub(crate) fn entry_at(&self, key: &[u8], revision: Revision) -> Result<Option<Entry>> {
        if revision == Revision::NONE {
            return self.entry(key);
        }
        let rules = self.rules();
        let mut judge = Judge::new(&rules);
        let mut merge = self.merge();
        merge.seek_key(key, self.hash(key))?;
        while let Some(entry) = merge.entry().filter(|entry| entry.key == key) {
            let sight = judge.see(&entry.meta);
            if entry.meta.revision < revision || sight == Sight::End {
                break;
            }
            if entry.meta.revision == revision && sight == Sight::Visible {
                return entry_of(key, entry.meta, entry.to_value()).map(Some);
            }
            merge.next()?;
        }
        Ok(None)
    }

    /// The key's newest entry, value or marker, when `revision` was the bucket's newest.
    pub(crate) fn entry_as_of(&self, key: &[u8], revision: Revision) -> Result<Option<Entry>> {
        let last = self.last_revision();
        if revision >= last {
            return self.entry(key);
        }
        if revision == Revision::NONE {
            // Every bucket begins empty.
            return Ok(None);
        }
        let mut merge = self.merge();
        let mut entries = KeyEntries::new(&mut merge, key, self.hash(key))?;
        let past = as_of(&self.rules(), entries.by_ref(), revision, self.state.as_of_floor);
        if let Some(error) = entries.failed {
            return Err(error);
        }
        match past {
            Past::Absent => Ok(None),
            Past::Entry(_) => merge.entry().map(|entry| entry_of(key, entry.meta, entry.to_value())).transpose(),
            Past::Compacted => Err(self.compacted(&mut merge, key, revision, last)?),
        }
    }

    /// What was trimmed, and from which revision on it was not.
    #[cold]
    fn compacted(&self, merge: &mut Merge, key: &[u8], revision: Revision, last: Revision) -> Result<Error> {
        let rules = self.rules();
        let mut judge = Judge::new(&rules);
        let mut floor = last;
        let mut entries = KeyEntries::new(merge, key, self.hash(key))?;
        for meta in entries.by_ref().take_while(|meta| meta.revision > revision) {
            match judge.see(&meta) {
                Sight::Visible => floor = floor.min(meta.revision),
                Sight::Hidden => {}
                Sight::End => break,
            }
        }
        if let Some(error) = entries.failed {
            return Err(error);
        }
        let key = String::from_utf8_lossy(key);
        let message = format!(
            "what key {key} was at revision {revision} has been trimmed; it can be read as of revision {floor} and later ones"
        );
        Ok(Error::new(ErrorKind::Compacted, message).with_floor(floor))
    }
}
