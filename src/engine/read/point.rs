//! The newest entry of a key: what a point read and a condition ask for.

use super::{Reader, entry_of, settle};
use crate::entry::{Entry, Meta, Value};
use crate::error::Result;
use crate::retention::{Judge, Sight};

/// What the newest source that has the key says.
enum Newest<T> {
    /// It decides.
    Seen(Option<T>),
    /// What is older decides.
    Hidden,
}

impl Reader<'_> {
    /// Hands the key's value to `read`, in place.
    #[inline]
    pub(crate) fn get_with<T>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        let answer = self.with_newest(key, |meta, value, _| meta.flags.is_put().then(|| read(value)))?;
        Ok(answer.flatten())
    }

    /// The key's value, to keep.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        let answer = self.with_newest(key, |meta, _, keep| meta.flags.is_put().then(keep))?;
        Ok(answer.flatten())
    }

    /// The key's newest entry.
    pub(crate) fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        let found = self.with_newest(key, |meta, _, keep| (*meta, keep()))?;
        found.map(|(meta, value)| entry_of(key, meta, value)).transpose()
    }

    /// What describes the key's newest entry, with what the store notes for itself.
    pub(super) fn meta(&self, key: &[u8]) -> Result<Option<Meta>> {
        self.with_newest(key, |meta, _, _| *meta)
    }

    /// Hands the key's newest entry to `read` if it counts: (meta, bytes, how to keep them). Looks from the newest source to the oldest,
    /// and the first that has the key decides, but for an entry which only hides what is under it.
    #[inline]
    fn with_newest<T>(&self, key: &[u8], read: impl FnOnce(&Meta, &[u8], &dyn Fn() -> Value) -> T) -> Result<Option<T>> {
        let bucket = self.state.id;
        let hash = self.hash(key);
        let mut read = Some(read);
        let mut take = |meta: &Meta, value: &[u8], keep: &dyn Fn() -> Value| match self.sight(meta) {
            Sight::Visible => Newest::Seen(read.take().map(|read| read(meta, value, keep))),
            Sight::End => Newest::Seen(None),
            Sight::Hidden => Newest::Hidden,
        };
        for memtable in self.view.memtables() {
            let newest = memtable
                .with_newest(bucket, key, hash, self.visible, |found| take(&found.meta, found.value, &|| found.to_value()));
            match newest {
                None => {}
                Some(Newest::Seen(answer)) => return Ok(answer),
                Some(Newest::Hidden) => return self.with_older(key, read),
            }
        }
        for run in &self.view.runs {
            let Some(segment) = run.find(bucket, key) else { continue };
            let newest =
                segment.with_newest(bucket, key, hash, |found| take(&found.meta, found.value(), &|| found.to_value()))?;
            match newest {
                None => {}
                Some(Newest::Seen(answer)) => return Ok(answer),
                Some(Newest::Hidden) => return self.with_older(key, read),
            }
        }
        Ok(None)
    }

    /// Judges a key's newest entry; almost always there is nothing to judge.
    #[inline]
    fn sight(&self, newest: &Meta) -> Sight {
        let rules = self.rules();
        if rules.is_plain(newest) { Sight::Visible } else { Judge::new(&rules).see(newest) }
    }

    /// The same where the newest entry is no answer: one that was dropped, and may have left the marker under it.
    #[cold]
    fn with_older<T>(&self, key: &[u8], read: Option<impl FnOnce(&Meta, &[u8], &dyn Fn() -> Value) -> T>) -> Result<Option<T>> {
        let mut merge = self.merge();
        merge.seek_key(key, self.hash(key))?;
        if !settle(&mut merge, key, &self.rules())? {
            return Ok(None);
        }
        let entry = merge.entry().zip(read);
        Ok(entry.map(|(entry, read)| read(&entry.meta, entry.value, &|| entry.to_value())))
    }
}
