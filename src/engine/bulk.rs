//! Writes to all keys that a scan finds: in chunks, each of them one commit, all of them as of the moment when the scan began.

use arc_swap::Guard;

use super::core::Core;
use super::request::{Condition, OpFields};
use super::write::WriteOptions;
use crate::entry::{Flags, Meta};
use crate::error::Result;
use crate::merge::{Group, Values};
use crate::number::{BucketId, Revision};
use crate::retention::{Judge, Sight};
use crate::subject::Pattern;
use crate::view::rules;

/// Bytes of keys of one commit, whatever their number may be, so that a chunk of long keys is no longer a commit than one of short ones.
const CHUNK_BYTES: usize = 256 << 10;

/// What a write to many keys did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    pub(crate) count: u64,
    /// The highest revision that it took.
    pub(crate) last: Revision,
}

/// One key that is to be written.
struct Target {
    key: Vec<u8>,
    flags: Flags,
    condition: Condition,
    revision: Revision,
}

impl Core {
    /// Writes a marker with `flags` to every key that matches and holds a value.
    pub(super) fn mark_matching(&self, bucket: BucketId, pattern: &Pattern, flags: Flags) -> Result<Swept> {
        let target = |key: &[u8], newest: &Meta, _now| {
            let condition = Condition::Value;
            let target = || Target { key: key.to_vec(), flags, condition, revision: Revision::NONE };
            (newest.flags.is_put() && pattern.matches(key)).then(target)
        };
        self.walk(bucket, pattern.literal_prefix(), target)
    }

    /// Drops what lies under the newest entry of each key that is a marker, and the marker too if it is `age` nanoseconds old or older.
    pub(super) fn purge_deletes(&self, bucket: BucketId, age: u64) -> Result<Swept> {
        let target = |key: &[u8], newest: &Meta, now: u64| {
            let flags =
                if newest.created.saturating_add(age) <= now { Flags::dropped().with(Flags::ROLLUP) } else { Flags::dropped() };
            let condition = Condition::Revision(newest.revision);
            let target = || Target { key: key.to_vec(), flags, condition, revision: newest.revision };
            (!newest.flags.is_put()).then(target)
        };
        self.walk(bucket, &[], target)
    }

    /// Walks the keys with `prefix` and writes what `target` makes of each that a reader sees.
    fn walk(&self, id: BucketId, prefix: &[u8], target: impl Fn(&[u8], &Meta, u64) -> Option<Target>) -> Result<Swept> {
        self.health.check_writable()?;
        let now = self.now_for_readers();
        let (view, visible) = self.pin();
        // It is held for many commits.
        let view = Guard::into_inner(view);
        let state = view.buckets.get(id, visible).ok_or_else(|| self.bucket_gone())?;
        let rules = rules(state, now);
        let (mut merge, mut group) = (view.merge(id, visible), Group::default());
        let (mut chunk, mut bytes, mut swept) = (Vec::new(), 0, Swept::default());
        merge.seek(prefix)?;
        while merge.next_key(&mut group, Values::Skip)? && group.key.starts_with(prefix) {
            let Some(newest) = newest_visible(&group, Judge::new(&rules)) else { continue };
            let Some(target) = target(&group.key, newest, now) else { continue };
            bytes += target.key.len();
            chunk.push(target);
            if chunk.len() == self.settings.sweep_keys || bytes >= CHUNK_BYTES {
                self.write_chunk(id, &mut chunk, &mut swept)?;
                bytes = 0;
            }
        }
        self.write_chunk(id, &mut chunk, &mut swept)?;
        Ok(swept)
    }

    /// Commits a chunk; a key that has changed since it was seen, so that its condition fails, is left as it is.
    fn write_chunk(&self, bucket: BucketId, chunk: &mut Vec<Target>, swept: &mut Swept) -> Result<()> {
        if chunk.is_empty() {
            return Ok(());
        }
        let fields = |target: &'_ Target| OpFields {
            bucket,
            flags: target.flags,
            key: &[],
            value: &[],
            condition: target.condition,
            ttl: 0,
            revision: target.revision,
            is_check: false,
        };
        let ops: Vec<_> = chunk.iter().map(|target| OpFields { key: &target.key, ..fields(target) }).collect();
        let revisions = self.write_batch(&ops, WriteOptions { lenient: true, ..WriteOptions::default() })?;
        swept.count += revisions.iter().filter(|revision| **revision != Revision::NONE).count() as u64;
        swept.last = swept.last.max(revisions.into_iter().max().unwrap_or_default());
        chunk.clear();
        Ok(())
    }
}

fn newest_visible<'g>(group: &'g Group, mut judge: Judge<'_>) -> Option<&'g Meta> {
    for meta in &group.metas {
        match judge.see(meta) {
            Sight::Visible => return Some(meta),
            Sight::Hidden => {}
            Sight::End => return None,
        }
    }
    None
}
