//! All that a store shows at one moment, in lines of text, so that two stores can be compared word by word. It knows nothing of what is
//! right.

use std::fmt::Write as _;

use crate::bucket::Bucket;
use crate::config::Compression;
use crate::entry::Entry;
use crate::error::Result;
use crate::number::Revision;
use crate::scan::KeysOptions;
use crate::store::Store;

/// What a store shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    lines: Vec<String>,
}

impl Picture {
    /// Reads everything in every way there is.
    ///
    /// # Errors
    /// Those of the reads.
    pub fn of(store: &Store) -> Result<Self> {
        let mut lines = Vec::new();
        for name in store.buckets()? {
            let bucket = store.bucket(&name)?;
            let status = bucket.status()?;
            let counts = (status.first_revision, status.last_revision, status.live_keys, status.values, status.bytes);
            // How values are stored is no answer.
            let config = status.config.compression(Compression::None);
            lines.push(format!("bucket {name}: {config:?} {counts:?}"));
            lines_of(&bucket, &mut lines)?;
        }
        Ok(Self { lines })
    }

    /// The first line that is another one in `found`.
    #[must_use]
    pub fn difference(&self, found: &Self) -> Option<String> {
        let len = self.lines.len().max(found.lines.len());
        let line = |picture: &Self, at: usize| picture.lines.get(at).map_or("nothing", String::as_str).to_owned();
        let at = (0..len).find(|at| self.lines.get(*at) != found.lines.get(*at))?;
        Some(format!("shows\n  {}\ninstead of\n  {}", line(found, at), line(self, at)))
    }
}

fn lines_of(bucket: &Bucket, lines: &mut Vec<String>) -> Result<()> {
    for entry in bucket.history(">")? {
        lines.push(format!("history: {}", shown(&entry?)));
    }
    for entry in bucket.range(..)?.markers(true).rev() {
        lines.push(format!("from the end: {}", shown(&entry?)));
    }
    let holding = bucket.keys()?.collect::<Result<Vec<_>>>()?;
    for key in bucket.keys_with(KeysOptions::new().markers(true))? {
        let key = key?;
        let mut line = format!("key {key}: holds a value: {};", holding.contains(&key));
        let _ = write!(line, " get {:?};", bucket.get(&key)?.map(|value| value.len()));
        if let Some(entry) = bucket.entry(&key)? {
            let _ = write!(line, " entry {};", shown(&entry));
            for back in 0..4 {
                let revision = Revision::from(entry.revision().get().saturating_sub(back).max(1));
                let at = bucket.entry_at(&key, revision)?;
                let _ = write!(line, " at {revision} {:?};", at.as_ref().map(shown));
            }
        }
        lines.push(line);
    }
    Ok(())
}

fn shown(entry: &Entry) -> String {
    let (key, revision, operation, reason) = (entry.key(), entry.revision(), entry.operation(), entry.reason());
    let head = entry.value()[..entry.value().len().min(16)].escape_ascii();
    format!("{key} {revision} {operation:?} {reason:?} {:?} {}+{head}", entry.created(), entry.value().len())
}
