//! What a bucket's retained entries take, kept exactly where `max_bytes` asks for it (E13).
//!
//! The size is what a reader at store time `as_of` would count: key + value + 32 bytes for each entry that it sees. It is counted once, by
//! reading the bucket; from then on every write says by how much it changes that count, which depends on what it pushes out. Entries that
//! expire after `as_of` stay counted until the bucket is counted again, and that happens only when a write would otherwise be refused.
//! Merges change nothing that counts, so they change no size.

use super::core::Core;
use super::leader::Leader;
use super::request::{Answer, Request, Settlement};
use crate::entry::Meta;
use crate::error::Result;
use crate::manifest::{BucketSize, BucketState};
use crate::merge::{Group, Values};
use crate::number::{BucketId, CommitNumber};
use crate::retention::{Judge, Sight};
use crate::view::{View, rules};

/// What every retained entry counts beside its key and value.
pub(super) const ENTRY_BYTES: u64 = 32;
/// How often a caller counts before the leader does.
const COUNTS_BY_CALLER_MAX: u32 = 2;

/// By how much `new` entries (newest first, with the lengths of their values) change the size of a bucket, over what is `stored` of their key.
pub(super) fn growth(state: &BucketState, as_of: u64, key_len: u64, new: &[(Meta, u64)], stored: &[(Meta, u64)]) -> i64 {
    let rules = rules(state, as_of);
    let bytes = |entries: &mut dyn Iterator<Item = &(Meta, u64)>| {
        let mut judge = Judge::new(&rules);
        let mut sum = 0;
        for (meta, value_len) in entries {
            match judge.see(meta) {
                Sight::Visible => sum += key_len + value_len + ENTRY_BYTES,
                Sight::Hidden => {}
                Sight::End => break,
            }
        }
        sum as i64
    };
    bytes(&mut new.iter().chain(stored)) - bytes(&mut stored.iter())
}

impl Core {
    /// All stored entries of a key up to `visible`, newest first, whether they count or not, with the lengths of their values.
    pub(super) fn stored_of(&self, view: &View, visible: CommitNumber, id: BucketId, key: &[u8]) -> Result<Vec<(Meta, u64)>> {
        let mut merge = view.merge(id, visible);
        let mut group = Group::default();
        merge.seek_key(key, self.hasher.hash(id, key))?;
        if !merge.next_key(&mut group, Values::Skip)? || group.key != key {
            return Ok(Vec::new());
        }
        Ok(group.metas.iter().copied().zip(group.lens.iter().copied()).collect())
    }

    /// Counts a bucket as of a visible commit and brings the count to the leader, again if commits came in between.
    pub(super) fn count_size(&self, bucket: BucketId) -> Result<()> {
        for round in 0.. {
            let settlement = if round < COUNTS_BY_CALLER_MAX {
                let (view, at) = self.pin();
                let state = view.buckets.get(bucket, at).ok_or_else(|| self.bucket_gone())?;
                let (size, next_expiry) = self.measure(&view, at, state, self.now())?;
                Settlement { bucket, at: Some(at), size, next_expiry }
            } else {
                Settlement::by_leader(bucket)
            };
            if !matches!(self.submit(Request::Settle(settlement))?, Answer::ReadAgain) {
                break;
            }
        }
        Ok(())
    }

    /// The leader's part of it.
    pub(super) fn settle_size(&self, leader: &mut Leader, settlement: &Settlement, now: u64) -> Result<Answer> {
        let Leader { buckets, changed, .. } = leader;
        let live = buckets.get_mut(&settlement.bucket).ok_or_else(|| self.bucket_gone())?;
        let (size, next_expiry) = match settlement.at {
            Some(at) if at < live.last_commit => return Ok(Answer::ReadAgain),
            Some(_) => (settlement.size, settlement.next_expiry),
            None => {
                let view = self.view.load();
                self.measure(&view, CommitNumber(u64::MAX), &live.state, now)?
            }
        };
        live.next_expiry = next_expiry;
        live.change(changed).size = Some(size);
        Ok(Answer::Done)
    }

    /// What the bucket takes at store time `now`, and when the first of what counts expires.
    fn measure(&self, view: &View, visible: CommitNumber, state: &BucketState, now: u64) -> Result<(BucketSize, u64)> {
        let (mut bytes, mut next_expiry) = (0, u64::MAX);
        let rules = rules(state, now);
        let mut merge = view.merge(state.id, visible);
        let mut group = Group::default();
        merge.seek(&[])?;
        while merge.next_key(&mut group, Values::Skip)? {
            let mut judge = Judge::new(&rules);
            for (meta, value_len) in group.metas.iter().zip(&group.lens) {
                match judge.see(meta) {
                    Sight::Visible => {
                        bytes += group.key.len() as u64 + value_len + ENTRY_BYTES;
                        next_expiry = next_expiry.min(expiry_of(state, meta));
                    }
                    Sight::Hidden => {}
                    Sight::End => break,
                }
            }
        }
        Ok((BucketSize { bytes, as_of: now }, next_expiry))
    }
}

/// When an entry stops counting by itself; `u64::MAX` = never.
pub(super) fn expiry_of(state: &BucketState, meta: &Meta) -> u64 {
    let by_age = if state.spec.max_age == 0 { u64::MAX } else { meta.created.saturating_add(state.spec.max_age) };
    if meta.deadline == 0 { by_age } else { by_age.min(meta.deadline) }
}
