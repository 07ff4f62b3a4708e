//! The read path: pin a view, load its visible number, look from the newest source to the oldest.
//!
//! A point read takes no lock and touches no counter that another reader writes: the view is pinned by `arc-swap`'s guard for one call.
//! Walks hold the view by `Arc` for as long as they live, so they see one commit number from beginning to end.

use std::sync::Arc;

use arc_swap::Guard;

use super::core::Core;
use crate::entry::{Entry, Meta, Value};
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::manifest::BucketState;
use crate::merge::{Group, Merge, Values};
use crate::number::{BucketId, CommitNumber, Revision};
use crate::retention::{Judge, Sight};
use crate::spec::BucketSpec;
use crate::subject::Pattern;
use crate::view::{View, rules};

/// What `count` found.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) spec: BucketSpec,
    pub(crate) last_revision: Revision,
    pub(crate) live_keys: u64,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

/// What every retained entry counts beside its key and value.
const ENTRY_BYTES: u64 = 32;

impl Core {
    /// What a reader of the bucket sees: a view, how much of it, as of which store time (0 where time does not matter). The time is taken
    /// before the view that goes with it (E16): the other way round, an entry that was renewed in between would be found expired.
    fn pin(&self, id: BucketId) -> Result<(Guard<Arc<View>>, CommitNumber, u64)> {
        let view = self.view.load();
        let visible = view.visible();
        let state = self.bucket_in(&view, id, visible)?;
        if state.spec.max_age == 0 && !state.deadlines_seen {
            return Ok((view, visible, 0));
        }
        let now = self.now_for_readers();
        let view = self.view.load();
        let visible = view.visible();
        Ok((view, visible, now))
    }

    /// The same, to be kept.
    fn pin_for_long(&self, id: BucketId) -> Result<(Arc<View>, CommitNumber, u64)> {
        let (view, visible, now) = self.pin(id)?;
        Ok((Guard::into_inner(view), visible, now))
    }

    fn bucket_in<'v>(&self, view: &'v View, id: BucketId, visible: CommitNumber) -> Result<&'v Arc<BucketState>> {
        self.health.check_open()?;
        view.buckets.get(id, visible).ok_or_else(|| self.bucket_gone())
    }

    /// Hands the key's value to `read`, in place.
    pub(super) fn get_with<T>(&self, id: BucketId, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        let (view, visible, now) = self.pin(id)?;
        let state = self.bucket_in(&view, id, visible)?;
        let mut read = Some(read);
        let answer = self.with_newest(&view, visible, state, key, now, |meta, value, _| {
            if meta.flags.is_put() { read.take().map(|read| read(value)) } else { None }
        })?;
        Ok(answer.flatten())
    }

    /// The key's value, to keep.
    pub(super) fn get(&self, id: BucketId, key: &[u8]) -> Result<Option<Value>> {
        let (view, visible, now) = self.pin(id)?;
        let state = self.bucket_in(&view, id, visible)?;
        let found = self.with_newest(&view, visible, state, key, now, |meta, _, value| meta.flags.is_put().then(value))?;
        Ok(found.flatten())
    }

    /// The key's newest entry.
    pub(super) fn entry(&self, id: BucketId, key: &[u8]) -> Result<Option<Entry>> {
        let (view, visible, now) = self.pin(id)?;
        let state = self.bucket_in(&view, id, visible)?;
        self.with_newest(&view, visible, state, key, now, |meta, _, value| (*meta, value()))?
            .map(|(meta, value)| self.entry_of(key, meta, value))
            .transpose()
    }

    /// The key's newest entry that a reader may see: (meta, bytes, a value to keep).
    fn with_newest<T>(
        &self,
        view: &View,
        visible: CommitNumber,
        state: &BucketState,
        key: &[u8],
        now: u64,
        read: impl FnOnce(&Meta, &[u8], &dyn Fn() -> Value) -> T,
    ) -> Result<Option<T>> {
        let rules = rules(state, now);
        let mut read = Some(read);
        let hash = self.hasher.hash(state.id, key);
        let mut take = |meta: &Meta, bytes: &[u8], value: &dyn Fn() -> Value| match Judge::new(&rules).see(meta) {
            Sight::Visible => Newest::Seen(read.take().map(|read| read(meta, bytes, value))),
            Sight::Hidden => Newest::Below,
            Sight::End => Newest::Seen(None),
        };
        let mut newest = None;
        for memtable in view.memtables() {
            newest =
                memtable.with_newest(state.id, key, hash, visible, |found| take(&found.meta, found.value, &|| found.to_value()));
            if newest.is_some() {
                break;
            }
        }
        if newest.is_none() {
            for segment in view.runs.iter().filter_map(|run| run.find(state.id, key)) {
                if let Some(found) = segment.newest(state.id, key, hash)? {
                    newest = Some(take(&found.meta, found.value(), &|| found.to_value()));
                    break;
                }
            }
        }
        match newest {
            None => Ok(None),
            Some(Newest::Seen(answer)) => Ok(answer),
            // A dropped entry, which may have left the marker under it.
            Some(Newest::Below) => {
                let group = group_of(view, visible, state.id, key)?;
                let found = group.as_ref().and_then(|group| visible_entries(group, state, now).next());
                Ok(found.zip(read.take()).map(|((meta, value, _), read)| read(&meta, &value, &|| value.clone())))
            }
        }
    }

    fn entry_of(&self, key: &[u8], meta: Meta, value: Value) -> Result<Entry> {
        Ok(Entry::new(stored_key(key)?, meta, value))
    }

    /// The entry of the key that `revision` denotes, if it is still retained.
    pub(super) fn entry_at(&self, id: BucketId, key: &[u8], revision: Revision) -> Result<Option<Entry>> {
        let entries = self.history_of(id, key)?;
        Ok(entries.into_iter().find(|entry| entry.revision() == revision))
    }

    /// The retained entries of one key, newest first.
    fn history_of(&self, id: BucketId, key: &[u8]) -> Result<Vec<Entry>> {
        let (view, visible, now) = self.pin_for_long(id)?;
        let state = self.bucket_in(&view, id, visible)?;
        let Some(group) = group_of(&view, visible, id, key)? else { return Ok(Vec::new()) };
        visible_entries(&group, state, now).map(|(meta, value, _)| self.entry_of(key, meta, value)).collect()
    }

    /// The retained entries of all keys that match, in revision order.
    pub(super) fn history(&self, id: BucketId, pattern: &Pattern) -> Result<EntryScan> {
        if let Some(key) = pattern.exact() {
            let mut entries = self.history_of(id, key.as_bytes())?;
            entries.reverse();
            return Ok(EntryScan { entries: entries.into_iter() });
        }
        let mut entries = Vec::new();
        let (view, visible, now) = self.pin_for_long(id)?;
        self.walk((&view, visible, now), id, pattern.literal_prefix(), Values::Take, |group, state, now| {
            if pattern.matches(&group.key) {
                for (meta, value, _) in visible_entries(group, state, now) {
                    entries.push(self.entry_of(&group.key, meta, value)?);
                }
            }
            Ok(())
        })?;
        entries.sort_unstable_by_key(Entry::revision);
        Ok(EntryScan { entries: entries.into_iter() })
    }

    /// Counts what is retained, reading every entry but no value.
    pub(super) fn count(&self, id: BucketId) -> Result<Counts> {
        let (mut live_keys, mut count, mut bytes) = (0, 0, 0);
        let (view, visible, now) = self.pin_for_long(id)?;
        let spec = self.bucket_in(&view, id, visible)?.spec.clone();
        let last_revision = view.buckets.last_revision(id);
        self.walk((&view, visible, now), id, &[], Values::Skip, |group, state, now| {
            for (at, (meta, _, value_len)) in visible_entries(group, state, now).enumerate() {
                live_keys += u64::from(at == 0 && meta.flags.is_put());
                count += 1;
                bytes += group.key.len() as u64 + value_len + ENTRY_BYTES;
            }
            Ok(())
        })?;
        Ok(Counts { spec, last_revision, live_keys, entries: count, bytes })
    }

    /// Every key with `prefix`, with all its entries.
    fn walk(
        &self,
        (view, visible, now): (&View, CommitNumber, u64),
        id: BucketId,
        prefix: &[u8],
        values: Values,
        mut visit: impl FnMut(&Group, &BucketState, u64) -> Result<()>,
    ) -> Result<()> {
        let state = self.bucket_in(view, id, visible)?;
        let mut merge = view.merge(id, visible);
        let mut group = Group::default();
        merge.seek(prefix)?;
        while merge.next_key(&mut group, values)? && group.key.starts_with(prefix) {
            visit(&group, state, now)?;
        }
        Ok(())
    }

    /// The keys that match any of `filters` (all, if there is none).
    pub(super) fn keys(&self, id: BucketId, filters: Vec<Pattern>, markers: bool) -> Result<KeyScan> {
        let (view, visible, now) = self.pin_for_long(id)?;
        let state = Arc::clone(self.bucket_in(&view, id, visible)?);
        let prefix = common_prefix(&filters).to_vec();
        let mut merge = view.merge(id, visible);
        merge.seek(&prefix)?;
        Ok(KeyScan { merge, group: Group::default(), state, now, filters, prefix, markers, ended: false })
    }
}

/// What the newest source that holds a key says of it.
enum Newest<T> {
    Seen(T),
    /// Only what is below may answer.
    Below,
}

/// All entries of a key, if it has any.
fn group_of(view: &View, visible: CommitNumber, id: BucketId, key: &[u8]) -> Result<Option<Group>> {
    let mut merge = view.merge(id, visible);
    let mut group = Group::default();
    merge.seek(key)?;
    Ok((merge.next_key(&mut group, Values::Take)? && group.key == key).then_some(group))
}

/// What of a key's entries a reader sees, newest first: (meta, value, length of the value).
fn visible_entries<'g>(group: &'g Group, state: &'g BucketState, now: u64) -> impl Iterator<Item = (Meta, Value, u64)> + 'g {
    let mut judge = Judge::new(&rules(state, now));
    let entries = group.metas.iter().zip(&group.values).zip(&group.lens);
    let judged = entries.map_while(move |((meta, value), len)| match judge.see(meta) {
        Sight::End => None,
        sight => Some((sight, *meta, value, *len)),
    });
    judged.filter(|(sight, ..)| *sight == Sight::Visible).map(|(_, meta, value, len)| (meta, value.clone(), len))
}

fn stored_key(key: &[u8]) -> Result<Key> {
    Key::from_stored(key).ok_or_else(|| {
        let message = format!("stored key is not a key: {}", key.escape_ascii());
        Error::new(ErrorKind::Corrupt, message)
    })
}

/// The bytes with which every match of every filter begins.
fn common_prefix(filters: &[Pattern]) -> &[u8] {
    let mut prefixes = filters.iter().map(Pattern::literal_prefix);
    let Some(first) = prefixes.next() else { return &[] };
    prefixes.fold(first, |common, prefix| {
        let len = common.iter().zip(prefix).take_while(|(a, b)| a == b).count();
        &common[..len]
    })
}

/// Entries in order; see [`Bucket::history`](crate::Bucket::history).
#[derive(Debug)]
pub(crate) struct EntryScan {
    entries: std::vec::IntoIter<Entry>,
}

impl EntryScan {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl Iterator for EntryScan {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.entries.next().map(Ok)
    }
}

/// Keys in byte order, read as they are asked for; see [`Bucket::keys`](crate::Bucket::keys).
#[derive(Debug)]
pub(crate) struct KeyScan {
    merge: Merge,
    group: Group,
    state: Arc<BucketState>,
    now: u64,
    filters: Vec<Pattern>,
    prefix: Vec<u8>,
    markers: bool,
    ended: bool,
}

impl KeyScan {
    fn advance(&mut self) -> Result<Option<Key>> {
        while self.merge.next_key(&mut self.group, Values::Skip)? && self.group.key.starts_with(&self.prefix) {
            let matches = self.filters.is_empty() || self.filters.iter().any(|filter| filter.matches(&self.group.key));
            let newest = visible_entries(&self.group, &self.state, self.now).next();
            if matches && newest.is_some_and(|(meta, ..)| self.markers || meta.flags.is_put()) {
                return stored_key(&self.group.key).map(Some);
            }
        }
        Ok(None)
    }
}

impl Iterator for KeyScan {
    type Item = Result<Key>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.advance().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}
