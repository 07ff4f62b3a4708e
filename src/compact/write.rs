//! Merges sources into one segment.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::entry::Value;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::BucketState;
use crate::memtable::{self, Memtable};
use crate::merge::{Group, Merge, Source, Values};
use crate::number::{BucketId, CommitNumber, Revision};
use crate::retention::{self, Fate, retain};
use crate::run::{self, Run};
use crate::segment::{Builder, Summary};
use crate::view::rules;

/// What is merged.
pub(crate) struct Inputs<'a> {
    /// Asked once per key: whether to give up.
    pub(crate) stop: &'a dyn Fn() -> bool,
    /// Newer than all of `runs`.
    pub(crate) memtable: Option<&'a Arc<Memtable>>,
    /// Newest first, neighbours in age.
    pub(crate) runs: &'a [Arc<Run>],
    /// Nothing older of any key exists outside these inputs.
    pub(crate) hold_oldest: bool,
    /// By id, as of a flushed commit. Entries of buckets that are not here belong to deleted ones and go.
    pub(crate) buckets: &'a [Arc<BucketState>],
    /// Store time.
    pub(crate) now: u64,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Output {
    /// `None` if nothing survived: no file was made.
    pub(crate) summary: Option<Summary>,
    /// Per bucket: (as-of floor, watch floor) that removing whole keys raised.
    pub(crate) floors: BTreeMap<BucketId, (Revision, Revision)>,
}

/// Merges `inputs` into the segment that `create` starts; it is called once, and only if something survives.
pub(crate) fn write(inputs: &Inputs<'_>, create: &mut dyn FnMut() -> Result<Builder>) -> Result<Output> {
    let mut builder: Option<Builder> = None;
    let mut floors = BTreeMap::new();
    let (mut group, mut fates) = (Group::default(), Vec::new());
    let (mut last_key, mut read) = (Vec::new(), 0);
    let no_value = Value::empty();
    for state in inputs.buckets {
        let rules = rules(state, inputs.now);
        let mut merge = sources(inputs, state.id);
        merge.seek(&[])?;
        last_key.clear();
        while merge.next_key(&mut group, Values::Take)? {
            if (inputs.stop)() {
                return Err(Error::new(ErrorKind::Closed, "the store is being closed"));
            }
            check_order(&group, &last_key, inputs)?;
            last_key.clone_from(&group.key);
            read += group.metas.len() as u64;
            // That nothing newer of the key was written while an expired entry lived is not known here, so nothing is said of it.
            let known = retention::Inputs { holds_oldest: inputs.hold_oldest, newer_from: 0 };
            let removed = retain(&rules, &group.metas, known, &mut fates);
            assert!(fates.len() == group.metas.len(), "retention judged {} of {} entries", fates.len(), group.metas.len());
            if removed.leaves_nothing || removed.newest > Revision::NONE {
                let raised: &mut (Revision, Revision) = floors.entry(state.id).or_default();
                if removed.leaves_nothing {
                    // What was asked "as of" any revision until now can no longer be answered for the key.
                    raised.0 = raised.0.max(state.last_revision);
                }
                raised.1 = raised.1.max(removed.newest);
            }
            for ((meta, value), fate) in group.metas.iter().zip(&group.values).zip(&fates) {
                let Some(meta) = fate.apply(meta) else { continue };
                let value = if *fate == Fate::Keep || *fate == Fate::KeepTrimmed { value } else { &no_value };
                let builder = match &mut builder {
                    Some(builder) => builder,
                    none => none.insert(create()?),
                };
                builder.set_compression(state.spec.compression);
                builder.add(state.id, &group.key, &meta, value)?;
            }
        }
    }
    check_count(inputs, read)?;
    Ok(Output { summary: builder.map(Builder::finish).transpose()?, floors })
}

/// Keys rise and revisions fall: else a segment is not what its checksums say, and nothing of it is spread.
fn check_order(group: &Group, last_key: &[u8], inputs: &Inputs<'_>) -> Result<()> {
    let keys_rise = last_key < &group.key[..];
    let revisions_fall = group.metas.is_sorted_by(|newer, older| {
        newer.revision > older.revision || (newer.revision == older.revision && newer.flags.is_dropped())
    });
    if keys_rise && revisions_fall {
        return Ok(());
    }
    Err(corrupt(inputs, format!("entries out of order at key {}", group.key.escape_ascii())))
}

/// Entries in = entries judged (P4).
fn check_count(inputs: &Inputs<'_>, read: u64) -> Result<()> {
    if inputs.memtable.is_some() {
        return Ok(());
    }
    let live = |bucket: BucketId| inputs.buckets.binary_search_by_key(&bucket, |state| state.id).is_ok();
    let parts = inputs.runs.iter().flat_map(|run| run.parts());
    let sections = parts.flat_map(|part| part.segment.sections());
    let expected: u64 = sections.filter(|section| live(section.bucket)).map(|section| section.entries).sum();
    if read == expected { Ok(()) } else { Err(corrupt(inputs, format!("read {read} of {expected} entries"))) }
}

fn corrupt(inputs: &Inputs<'_>, what: String) -> Error {
    match inputs.runs.first().and_then(|run| run.parts().first()) {
        Some(newest) => {
            Error::corrupt(newest.segment.path(), 0, format!("{what}, in this segment or one that is merged with it"))
        }
        None => Error::new(ErrorKind::Corrupt, what),
    }
}

fn sources(inputs: &Inputs<'_>, bucket: BucketId) -> Merge {
    let everything = CommitNumber(u64::MAX);
    let memtable =
        inputs.memtable.map(|memtable| Source::Memtable(memtable::Cursor::new(Arc::clone(memtable), bucket, everything)));
    let runs = inputs.runs.iter().map(|run| Source::Run(run::Cursor::new(Arc::clone(run), bucket)));
    Merge::new(memtable.into_iter().chain(runs).collect())
}

#[cfg(test)]
mod tests;
