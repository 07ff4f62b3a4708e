//! Merges sources into one segment.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::entry::Value;
use crate::error::Result;
use crate::manifest::BucketState;
use crate::memtable::{self, Memtable};
use crate::merge::{Group, Merge, Source, Values};
use crate::number::{BucketId, CommitNumber, Revision};
use crate::retention::{self, Fate, retain};
use crate::segment::{self, Builder, Segment, Summary};
use crate::view::rules;

/// What is merged.
#[derive(Debug)]
pub(crate) struct Inputs<'a> {
    /// Newer than all of `segments`.
    pub(crate) memtable: Option<&'a Arc<Memtable>>,
    /// Newest first, neighbours in age.
    pub(crate) segments: &'a [Arc<Segment>],
    /// Nothing older of any key exists outside these inputs.
    pub(crate) hold_oldest: bool,
    /// As of a flushed commit. Entries of buckets that are not here belong to deleted ones and go.
    pub(crate) buckets: &'a [BucketState],
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
    let no_value = Value::empty();
    for state in inputs.buckets {
        let rules = rules(state, inputs.now);
        let mut merge = sources(inputs, state.id);
        merge.seek(&[])?;
        while merge.next_key(&mut group, Values::Take)? {
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
                builder.add(state.id, &group.key, &meta, value)?;
            }
        }
    }
    Ok(Output { summary: builder.map(Builder::finish).transpose()?, floors })
}

fn sources(inputs: &Inputs<'_>, bucket: BucketId) -> Merge {
    let everything = CommitNumber(u64::MAX);
    let memtable =
        inputs.memtable.map(|memtable| Source::Memtable(memtable::Cursor::new(Arc::clone(memtable), bucket, everything)));
    let segments = inputs.segments.iter().map(|segment| Source::Segment(segment::Cursor::new(Arc::clone(segment), bucket)));
    Merge::new(memtable.into_iter().chain(segments).collect())
}
