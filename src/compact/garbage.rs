//! How much of a part a merge would leave behind, and whether anything in it still counts.
//!
//! Told from the directory of its file and from deadlines, without a look at the entries: an estimate, but for what is called dead. That is
//! only what `retention` would drop in any merge, whatever else is merged with it.

use std::sync::Arc;

use super::write::Floors;
use crate::error::Result;
use crate::manifest::BucketState;
use crate::run::Part;
use crate::segment::SectionInfo;

/// What of a part does not count any more.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Bytes, about.
    pub(crate) garbage: u64,
    pub(crate) is_dead: bool,
    /// What must be raised before a dead part goes.
    pub(crate) floors: Floors,
}

/// A section's state: bytes that are dead, or all of it, with whether floors rise for it.
enum Dead {
    Bytes(u64),
    All { is_told: bool },
}

/// Judges a part by buckets as of a flushed commit, at a store time for each. `is_oldest`: nothing older exists of any key.
pub(crate) fn judge(
    part: &Part,
    is_oldest: bool,
    buckets: &[Arc<BucketState>],
    now: &dyn Fn(&BucketState) -> u64,
) -> Result<Verdict> {
    let mut verdict = Verdict { is_dead: true, ..Verdict::default() };
    for section in part.segment.sections() {
        let starts_behind = part.live.ends_before(section.bucket, &section.first_key);
        let ends_before = part.live.from().is_some_and(|from| (section.bucket, &*section.last_key) < from);
        if starts_behind || ends_before {
            continue;
        }
        let state = buckets.binary_search_by_key(&section.bucket, |state| state.id).ok().and_then(|at| buckets.get(at));
        let dead = match state {
            // Its bucket was deleted.
            None => Dead::All { is_told: false },
            Some(state) => judge_section(part, section, state, is_oldest, now(state))?,
        };
        match (dead, state) {
            (Dead::Bytes(bytes), _) => {
                verdict.garbage += bytes;
                verdict.is_dead = false;
            }
            (Dead::All { is_told }, state) => {
                verdict.garbage += section.bytes;
                if let Some(state) = state.filter(|_| is_told) {
                    let floors = verdict.floors.entry(state.id).or_default();
                    *floors = (floors.0.max(state.last_revision), floors.1.max(section.last_revision));
                }
            }
        }
    }
    Ok(verdict)
}

fn judge_section(part: &Part, section: &SectionInfo, state: &BucketState, is_oldest: bool, now: u64) -> Result<Dead> {
    let by_floor = share(section.first_revision.0, section.last_revision.0, state.floor.0);
    // Where expiry commits markers, what has expired stays until it was swept.
    let swept = (state.spec.marker_ttl > 0).then_some(state.cursor);
    let aged = now.checked_sub(state.spec.max_age).filter(|_| state.spec.max_age > 0);
    let by_age = aged.map_or(0.0, |through| {
        let by_sweep = swept.map_or(1.0, |(_, through)| share(section.first_revision.0, section.last_revision.0, through.0));
        share(section.first_created, section.last_created, through).min(by_sweep)
    });
    let mut garbage = (section.bytes as f64 * f64::max(by_floor, by_age)) as u64;
    if section.last_revision <= state.floor {
        return Ok(Dead::All { is_told: false });
    }
    // A share is rounded.
    let is_swept = swept.is_none_or(|(_, through)| section.last_revision <= through);
    if is_swept && aged.is_some_and(|through| section.last_created <= through) {
        return Ok(Dead::All { is_told: true });
    }
    if is_oldest {
        let expired = part.segment.expired(section.bucket, swept.map_or(now, |(deadline, _)| deadline.min(now)))?;
        if expired.entries == section.entries {
            return Ok(Dead::All { is_told: true });
        }
        garbage = garbage.max(expired.bytes);
    }
    Ok(Dead::Bytes(garbage))
}

/// How much of `first..=last`, evenly spread, is at or below `through`.
fn share(first: u64, last: u64, through: u64) -> f64 {
    let below = through.saturating_add(1).saturating_sub(first);
    (below as f64 / (last.saturating_sub(first) + 1) as f64).min(1.0)
}
