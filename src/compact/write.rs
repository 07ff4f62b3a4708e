//! Merges sources into segments.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::manifest::BucketState;
use crate::memtable::{self, Memtable};
use crate::merge::{Group, Merge, Source, Values};
use crate::number::{BucketId, CommitNumber, Revision};
use crate::retention::{self, Fate, Removed, retain};
use crate::run::{self, Run};
use crate::segment::{Builder, Summary};
use crate::view::rules;

/// What is merged.
pub(crate) struct Inputs<'a> {
    /// Asked once per key, with about how many bytes have been written so far: an error gives the merge up.
    pub(crate) pace: &'a dyn Fn(u64) -> Result<()>,
    /// Newer than all of `runs`.
    pub(crate) memtable: Option<&'a Arc<Memtable>>,
    /// Newest first, neighbours in age, cut to what is merged.
    pub(crate) runs: &'a [Arc<Run>],
    /// Nothing older of any key exists outside these inputs.
    pub(crate) hold_oldest: bool,
    /// Nothing newer exists outside these inputs but what was committed after everything in them.
    pub(crate) hold_newest: bool,
    /// By id, as of a flushed commit. Entries of buckets that are not here belong to deleted ones and go.
    pub(crate) buckets: &'a [Arc<BucketState>],
    /// Store time, for a bucket.
    pub(crate) now: &'a dyn Fn(&BucketState) -> u64,
    /// A file ends with the key that makes it so long, in bytes.
    pub(crate) file_len: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// The files that were made, in order; none if nothing survived.
    pub(crate) files: Vec<Summary>,
    pub(crate) floors: Floors,
}

/// Per bucket: (as-of floor, watch floor) that removing whole keys raised.
pub(crate) type Floors = BTreeMap<BucketId, (Revision, Revision)>;

/// Merges `inputs` into segments, each of which `create` starts; it is called only for what survives.
pub(crate) fn write(inputs: &Inputs<'_>, create: &mut dyn FnMut() -> Result<Builder>) -> Result<Output> {
    let mut files = Files { create, open: None, done: Vec::new(), len: inputs.file_len, written: 0 };
    let mut floors = Floors::new();
    let (mut group, mut fates) = (Group::default(), Vec::new());
    let (mut last_key, mut read) = (Vec::new(), 0);
    let times = times(inputs);
    for state in inputs.buckets {
        // What is in a memtable is not known before it is read, nor what was committed when.
        let time = times.get(&state.id).copied().or(inputs.memtable.map(|_| 0));
        let Some(newer_from) = time else { continue };
        let known = retention::Inputs { holds_oldest: inputs.hold_oldest, newer_from };
        let rules = rules(state, (inputs.now)(state));
        let mut merge = sources(inputs, state.id);
        merge.seek(&[])?;
        last_key.clear();
        while merge.next_key(&mut group, Values::Take)? {
            (inputs.pace)(files.len())?;
            check_order(&group, &last_key, inputs)?;
            last_key.clone_from(&group.key);
            read += group.metas.len() as u64;
            let removed = retain(&rules, &group.metas, known, &mut fates);
            assert!(fates.len() == group.metas.len(), "retention judged {} of {} entries", fates.len(), group.metas.len());
            note_removed(&mut floors, state, &removed);
            files.add_key(state, &group, &fates)?;
        }
    }
    check_count(inputs, read)?;
    Ok(Output { files: files.finish()?, floors })
}

/// The buckets of the runs, each with a store time before which nothing newer than the inputs was or will be committed; see
/// [`retention::Inputs::newer_from`].
///
/// What lies above a file, of any key in its live range, was committed after everything in the file: files come from memtables, or from a
/// slice of all runs down to some age. So each file tells such a time; and if nothing lies above the inputs, the latest holds for all.
fn times(inputs: &Inputs<'_>) -> BTreeMap<BucketId, u64> {
    let mut times = BTreeMap::new();
    for section in inputs.runs.iter().flat_map(|run| run.parts()).flat_map(|part| part.segment.sections()) {
        let time = times.entry(section.bucket).or_insert(section.last_created);
        *time = if inputs.hold_newest { section.last_created.max(*time) } else { section.last_created.min(*time) };
    }
    times
}

/// Files as they fill up. All entries of a key go to one of them.
struct Files<'a> {
    create: &'a mut dyn FnMut() -> Result<Builder>,
    open: Option<Builder>,
    done: Vec<Summary>,
    /// When a file is full.
    len: u64,
    /// Bytes of the files that are done.
    written: u64,
}

impl Files<'_> {
    fn len(&self) -> u64 {
        self.written + self.open.as_ref().map_or(0, Builder::len)
    }

    fn add_key(&mut self, state: &BucketState, group: &Group, fates: &[Fate]) -> Result<()> {
        for (at, (meta, fate)) in group.metas.iter().zip(fates).enumerate() {
            let Some(meta) = fate.apply(meta) else { continue };
            let value = if *fate == Fate::Keep || *fate == Fate::KeepTrimmed { group.value(at) } else { &[] };
            let builder = match &mut self.open {
                Some(builder) => builder,
                none => none.insert((self.create)()?),
            };
            builder.set_compression(state.spec.compression);
            builder.add(state.id, &group.key, &meta, value)?;
        }
        if self.open.as_ref().is_some_and(|builder| builder.len() >= self.len || builder.is_full()) {
            self.end_file()?;
        }
        Ok(())
    }

    fn end_file(&mut self) -> Result<()> {
        if let Some(builder) = self.open.take() {
            let summary = builder.finish()?;
            self.written += summary.len;
            self.done.push(summary);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Summary>> {
        self.end_file()?;
        Ok(self.done)
    }
}

fn note_removed(floors: &mut Floors, state: &BucketState, removed: &Removed) {
    if removed.leaves_nothing || removed.newest > Revision::NONE {
        let raised: &mut (Revision, Revision) = floors.entry(state.id).or_default();
        if removed.leaves_nothing {
            // What was asked "as of" any revision until now can no longer be answered for the key.
            raised.0 = raised.0.max(state.last_revision);
        }
        raised.1 = raised.1.max(removed.newest);
    }
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

/// Entries in = entries judged (P4): all of the sections that are merged as a whole, and no more than there are.
fn check_count(inputs: &Inputs<'_>, read: u64) -> Result<()> {
    if inputs.memtable.is_some() {
        return Ok(());
    }
    let live = |bucket: BucketId| inputs.buckets.binary_search_by_key(&bucket, |state| state.id).is_ok();
    let (mut least, mut most) = (0, 0);
    for part in inputs.runs.iter().flat_map(|run| run.parts()) {
        for section in part.segment.sections().iter().filter(|section| live(section.bucket)) {
            let holds = |key: &[u8]| part.live.holds(section.bucket, key);
            let whole = holds(&section.first_key) && holds(&section.last_key);
            least += if whole { section.entries } else { 0 };
            most += section.entries;
        }
    }
    if least <= read && read <= most {
        return Ok(());
    }
    Err(corrupt(inputs, format!("read {read} entries instead of {least} to {most}")))
}

fn corrupt(inputs: &Inputs<'_>, what: String) -> Error {
    match inputs.runs.iter().find_map(|run| run.parts().first()) {
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
