//! What a list of changes must be: every retained entry above a revision, and whether something is gone without a trace.

use super::{Checked, Mismatch, OracleBucket, Reads, Version, check_entry, same};
use crate::error::{ErrorKind, Result as StoreResult};
use crate::number::Revision;
use crate::watch::{Changes, Event};

impl OracleBucket {
    /// Compares what has changed since a revision.
    ///
    /// # Errors
    /// What differs.
    pub fn check_changes(&self, bucket: &dyn Reads, since: u64) -> Checked {
        let found = bucket.changes_since(Revision::from(since));
        let floor = self.compare_changes(found, since)?;
        if let Some(floor) = floor {
            // What it was told to do helps.
            let again = bucket.changes_since(Revision::from(floor)).and_then(Iterator::collect::<StoreResult<Vec<_>>>);
            if floor <= since || again.is_err() {
                return Err(Mismatch(format!("changes since {since} are compacted up to {floor}, and since then {again:?}")));
            }
        }
        Ok(())
    }

    /// The same for one that was asked for earlier, of what was there then; answers the floor if there is one that forbids it.
    ///
    /// # Errors
    /// What differs.
    pub fn compare_changes(&self, found: StoreResult<Changes>, since: u64) -> Checked<Option<u64>> {
        let from = since.max(self.purged);
        let mut events = match found {
            Ok(changes) => changes,
            Err(error) if error.kind() == ErrorKind::Compacted => return self.compacted(error.floor(), since, from),
            Err(error) => return Err(error.into()),
        };
        if self.purged > 0 && since <= self.purged {
            let through = Event::Purged { through: Revision::from(self.purged) };
            same("first change", &events.next().transpose()?, &Some(through))?;
        }
        let mut expected = self.history(">").into_iter().filter(|(_, version)| version.revision > from);
        loop {
            let due: Option<(&str, &Version)> = expected.next();
            match events.next() {
                None if due.is_none() => break,
                found => {
                    let found = found.transpose()?;
                    let (key, version) = due.map_or(("none", None), |(key, version)| (key, Some(version)));
                    let entry = found.as_ref().and_then(Event::entry);
                    check_entry(entry, key, version).map_err(|mismatch| mismatch.context(format!("changes since {since}")))?;
                }
            }
        }
        if since > 0 && from < self.lost() {
            return Err(Mismatch(format!("changes since {since} say nothing of revision {}, which is gone", self.lost())));
        }
        Ok(None)
    }

    fn compacted(&self, floor: Option<Revision>, since: u64, from: u64) -> Checked<Option<u64>> {
        let floor = floor.map(Revision::get);
        let is_sound = floor.is_some_and(|floor| self.lost() <= floor && floor <= self.perhaps_lost);
        if since > 0 && from < self.perhaps_lost && is_sound {
            return Ok(floor);
        }
        let (lost, perhaps) = (self.lost(), self.perhaps_lost);
        Err(Mismatch(format!("changes since {since} are compacted up to {floor:?}, where {lost} is lost and perhaps {perhaps}")))
    }
}
