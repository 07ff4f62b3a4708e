//! Which entries of one key count, and which may leave the disk: pure decisions, no clock of their own, no I/O.
//!
//! Reads ask a [`Judge`], entry by entry, newest first; flushes and merges ask [`retain`] about all entries of a key that their
//! inputs hold. Both follow one walk, and the promise between them is: *no answer ever depends on which merges have run*. The
//! tests hold that against a plain simulation that knows neither eras nor stubs.
//!
//! **What counts.** From the newest entry of a key to older ones, until the first line that removes:
//! 1. revisions up to the floor (purge of the whole bucket) are gone;
//! 2. a purge or a rolled-up entry counts itself, nothing older does;
//! 3. a dropped entry (`purge_deletes`) hides what lies below its revision, with `ROLLUP` the marker at its revision too; it is
//!    never seen and takes no position;
//! 4. only the newest `depth` entries count, by position: hidden ones fill positions as well. An [`Era`] says the same of the
//!    entries up to its revision, among themselves, and removes those created before its cutoff;
//! 5. entries of `max_age` or older are gone;
//! 6. an entry whose own deadline has passed is gone: if it is the key's newest, with everything older, else alone.
//!
//! Lines 1 to 5 remove an entry *together with everything older of its key*, and for ever (a raised limit leaves an era behind;
//! created never decreases). Such an entry may vanish in any merge whose inputs hold the reason. Line 6 removes an entry alone,
//! and what lies under it may still count: there it shrinks to a stub, which keeps position, deadline and flags, so that the next
//! merge and the next write judge the older ones exactly as before.
//!
//! | situation, as far as the inputs of the merge tell | inputs do not hold the oldest | inputs hold the oldest |
//! |---|---|---|
//! | counts | keep | keep |
//! | removed by floor, era, depth, age, or something above that ends its life | drop | drop |
//! | own deadline passed, an older entry survives | stub | stub |
//! | own deadline passed, nothing older survives | stub | drop |
//! | ... and key's newest or rolled up since (see [`Inputs::newer_from`]) | stub, older ones: drop | drop, older ones: drop |
//! | dropped entry | keep | drop, as all that it hides |
//!
//! **Trimmed.** Whoever asks for the past must not be told "absent" where there was something. The oldest survivor says that
//! something older was removed: by its `TRIMMED` bit, set here, or by being a purge or rollup, which always means that (so these
//! do not get the bit). Where no survivor is left to say it, [`Removed::leaves_nothing`] tells the engine to raise the bucket's
//! floor for such reads. What a purge of the whole bucket removed sets neither: below that floor no past is answered anyway, and
//! above it "absent" is the truth.

use crate::entry::{Flags, Meta};
use crate::number::{CommitNumber, Revision};
use crate::spec::Era;

impl Era {
    /// The era to log when `depth` or `max_age` (0 = off) is raised from these values at store time `now`, and when expiry markers are
    /// switched on. In a bucket that has them all that is due must have been swept before, since what the cutoff removes leaves none.
    pub(crate) const fn at_raise(commit: CommitNumber, through: Revision, depth: u8, max_age: u64, now: u64) -> Self {
        // An entry is gone at exactly its deadline, hence "created before" the moment after.
        let cutoff = if max_age == 0 { 0 } else { now.saturating_add(1).saturating_sub(max_age) };
        Self { commit, through, depth, cutoff }
    }
}

/// The limits of a bucket at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    /// So many newest entries of a key count; 0 = no limit.
    pub(crate) depth: u8,
    /// Nanoseconds; 0 = off.
    pub(crate) max_age: u64,
    /// Every revision up to this one is gone.
    pub(crate) floor: Revision,
    /// In the order in which they were logged, so that `through` never decreases.
    pub(crate) eras: &'a [Era],
    /// Store time. In [`retain`] it must not lie after the first change of the limits that these rules do not include yet: a
    /// limit that was raised since counts age from that change on.
    pub(crate) now: u64,
    /// In buckets with expiry markers: how far expiry has been swept. [`retain`] counts as expired only what lies below it, so that
    /// nothing goes before its marker is there; reads use `now` alone. The first number is of deadlines that entries have
    /// themselves: all of them up to there have been swept. The second is of `max_age`, which takes entries in the order of their
    /// revisions: all up to there were too old, and have been swept. So neither ever has to go back, however `max_age` changes.
    pub(crate) cursor: Option<(u64, Revision)>,
}

impl Rules<'_> {
    fn is_aged(&self, meta: &Meta) -> bool {
        let is_past = self.max_age != 0 && meta.created.saturating_add(self.max_age) <= self.now;
        is_past && self.cursor.is_none_or(|(_, revision)| meta.revision <= revision)
    }

    /// Whether a key's newest entry counts for no more reason than that it is there. What this does not say of it, a [`Judge`] does.
    #[inline]
    pub(crate) fn is_plain(&self, newest: &Meta) -> bool {
        let is_judged = self.max_age != 0 || !self.eras.is_empty() || newest.deadline != 0;
        let is_shown = self.floor < newest.revision && !newest.flags.is_dropped() && !newest.flags.has(Flags::STUB);
        !is_judged && is_shown
    }

    /// Whether nothing is committed when a key expires whose newest entry this is. Where expiry commits markers, only markers leave so.
    pub(crate) fn expires_silently(&self, newest: &Meta) -> bool {
        self.cursor.is_none() || newest.flags.is_purge()
    }

    /// Whether the entry's own deadline has passed.
    fn is_expired(&self, meta: &Meta) -> bool {
        let is_past = meta.deadline != 0 && meta.deadline <= self.now;
        is_past && self.cursor.is_none_or(|(deadline, _)| meta.deadline <= deadline)
    }

    /// Whether a newest entry that nothing else removes has expired since the last sweep, so that its marker is due. What had expired by
    /// itself when the markers began is below the cursor, and what was too old by then is behind an era.
    fn is_unswept(&self, newest: &Meta) -> bool {
        let Some((deadline, revision)) = self.cursor else { return false };
        let all = Rules { cursor: None, ..*self };
        let (is_aged, is_expired) = (all.is_aged(newest), all.is_expired(newest));
        let is_swept = (is_aged && newest.revision <= revision) || (is_expired && newest.deadline <= deadline);
        (is_aged || is_expired) && !is_swept && !newest.flags.is_purge() && !newest.flags.has(Flags::STUB)
    }
}

/// What a reader is to do with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// It counts.
    Visible,
    /// It does not count; older ones may.
    Hidden,
    /// Neither it nor anything older counts: stop.
    End,
}

/// Judges the entries of one key for a read, newest first, all from the key's newest on. Allocates nothing.
#[derive(Clone, Debug)]
pub(crate) struct Judge<'a> {
    walk: Walk<'a>,
    is_trimmed: bool,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(rules: &Rules<'a>) -> Self {
        Self { walk: Walk::new(Rules { cursor: None, ..*rules }), is_trimmed: false }
    }

    /// Judges the next older entry.
    pub(crate) fn see(&mut self, meta: &Meta) -> Sight {
        match self.walk.step(meta) {
            Step::Gone(cause) => {
                self.is_trimmed |= cause != Cause::Floor;
                Sight::End
            }
            // What it hides follows, or has left the `TRIMMED` bit behind.
            Step::Dropped => Sight::Hidden,
            Step::Stands { is_newest } if meta.flags.has(Flags::STUB) || self.walk.rules.is_expired(meta) => {
                self.is_trimmed = true;
                if is_newest {
                    self.walk.is_over = true;
                    return Sight::End;
                }
                Sight::Hidden
            }
            Step::Stands { .. } => {
                self.is_trimmed = meta.flags.has(Flags::TRIMMED) || meta.flags.ends_life();
                Sight::Visible
            }
        }
    }

    /// Whether something older than the last visible entry was, or may have been, removed other than by a purge of the whole
    /// bucket. Final once all entries of the key have been judged, or one was [`Sight::End`].
    pub(crate) fn is_trimmed(&self) -> bool {
        self.is_trimmed
    }
}

/// The newest entry of a key, in a bucket with expiry markers, if it has expired and its marker is still to be committed. `entries` are
/// the key's, newest first and from its newest on. Purges, and markers of expiry among them, leave none.
pub(crate) fn awaits_marker<'m>(rules: &Rules<'_>, entries: impl IntoIterator<Item = &'m Meta>) -> Option<Revision> {
    // What age takes is asked about below; what an era has taken is gone without a word.
    let mut walk = Walk::new(Rules { max_age: 0, ..*rules });
    for meta in entries {
        match walk.step(meta) {
            Step::Gone(_) => return None,
            Step::Dropped => {}
            Step::Stands { .. } => return rules.is_unswept(meta).then_some(meta.revision),
        }
    }
    None
}

/// The answer to "what was this key when that revision was the bucket's newest".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// The entry at this index of what was asked about: a value or a marker.
    Entry(usize),
    /// There was no value.
    Absent,
    /// It has been removed.
    Compacted,
}

/// Looks up the past of a key among all its entries, newest first. `revision` must lie below the bucket's last one (else it is
/// the present that is asked for); `floor` is the bucket's floor for such reads, see [`Removed::leaves_nothing`].
pub(crate) fn as_of(rules: &Rules<'_>, entries: impl IntoIterator<Item = Meta>, revision: Revision, floor: Revision) -> Past {
    let mut judge = Judge::new(rules);
    let is_compacted = |is_trimmed| is_trimmed || revision <= rules.floor.max(floor);
    for (index, meta) in entries.into_iter().enumerate() {
        let was_trimmed = judge.is_trimmed();
        let sight = judge.see(&meta);
        if meta.revision > revision {
            continue;
        }
        if meta.flags.is_dropped() {
            if !meta.flags.has(Flags::ROLLUP) {
                continue;
            }
            // It was a marker that went: there was no value. But a dropped entry can outlive entries that were newer.
            return if is_compacted(was_trimmed) { Past::Compacted } else { Past::Absent };
        }
        match sight {
            Sight::Visible => return Past::Entry(index),
            Sight::Hidden => return Past::Compacted,
            Sight::End if meta.revision > rules.floor => return Past::Compacted,
            Sight::End => break,
        }
    }
    if is_compacted(judge.is_trimmed()) { Past::Compacted } else { Past::Absent }
}

/// What is known of the inputs of a flush or merge, for one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inputs {
    /// Nothing older of the key exists below the inputs. False if that is not known.
    pub(crate) holds_oldest: bool,
    /// Nothing newer of the bucket than the inputs was or will be committed at a store time before this; 0 if nothing is known.
    /// The time at which the newest input was sealed, or the `created` of its last entry, will do.
    ///
    /// The newest entry *of the inputs* need not be the key's newest. If it has expired, its elders are gone only if nothing
    /// newer was written while it still lived; what is written later rolls it up. That is known if its deadline lies at or before
    /// this.
    pub(crate) newer_from: u64,
}

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Written as it is.
    Keep,
    /// Written with the `TRIMMED` bit.
    KeepTrimmed,
    /// Written without its value, with the `STUB` bit.
    Stub,
    /// Written without its value, with both bits.
    StubTrimmed,
    /// Not written.
    Drop,
}

impl Fate {
    /// The entry as it is to be written.
    pub(crate) fn apply(self, meta: &Meta) -> Option<Meta> {
        let bits = match self {
            Self::Keep => 0,
            Self::KeepTrimmed => Flags::TRIMMED,
            Self::Stub => Flags::STUB,
            Self::StubTrimmed => Flags::STUB | Flags::TRIMMED,
            Self::Drop => return None,
        };
        Some(Meta { flags: meta.flags.with(bits), ..*meta })
    }

    /// The same, and something older was removed.
    fn trimmed(self) -> Self {
        match self {
            Self::Keep => Self::KeepTrimmed,
            Self::Stub => Self::StubTrimmed,
            same => same,
        }
    }
}

/// What the engine must note, durably, before the inputs go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Removed {
    /// The newest entry of the inputs, if it was removed by expiry or `purge_deletes`; else `NONE`. Unless something newer of the
    /// key exists above the inputs, the floor of resumed watches must rise to it.
    pub(crate) newest: Revision,
    /// Something was removed and no entry of the inputs is left to say so: the floor for reads of the past must rise to the
    /// bucket's last revision as of the rules.
    pub(crate) leaves_nothing: bool,
}

/// Decides about all entries of one key in the inputs of a flush or merge, newest first, the dropped entry before the marker of
/// the same revision. `fates` is replaced by one fate for each.
pub(crate) fn retain(rules: &Rules<'_>, entries: &[Meta], inputs: Inputs, fates: &mut Vec<Fate>) -> Removed {
    let mut removed = Removed::default();
    let mut walk = Walk::new(*rules);
    fates.clear();
    for meta in entries {
        let fate = match walk.step(meta) {
            // What a dropped entry hides may lie below the inputs, and it is the reason for its absence: the second pass decides.
            Step::Gone(_) if meta.flags.is_dropped() => Fate::Keep,
            Step::Dropped => {
                if walk.is_first && meta.flags.has(Flags::ROLLUP) {
                    removed.newest = removed.newest.max(meta.revision);
                }
                Fate::Keep
            }
            Step::Gone(cause) => {
                if cause == Cause::AgedNewest {
                    removed.newest = removed.newest.max(silent_revision(rules, meta));
                }
                Fate::Drop
            }
            Step::Stands { is_newest } if meta.flags.has(Flags::STUB) || rules.is_expired(meta) => {
                if is_newest {
                    removed.newest = removed.newest.max(silent_revision(rules, meta));
                    walk.is_over |= meta.deadline != 0 && meta.deadline <= inputs.newer_from;
                }
                Fate::Stub
            }
            Step::Stands { .. } => Fate::Keep,
        };
        fates.push(fate);
    }
    if inputs.holds_oldest {
        drop_what_hides_nothing(entries, fates);
    }
    // Dropped entries that go tell nothing: what they hid was counted when it went.
    let is_trimmed = |meta: &Meta, fate: Fate| fate == Fate::Drop && meta.revision > rules.floor && !meta.flags.is_dropped();
    let is_trimmed = entries.iter().zip(&*fates).any(|(meta, fate)| is_trimmed(meta, *fate));
    let survivor = entries.iter().zip(&mut *fates).rfind(|(meta, fate)| !meta.flags.is_dropped() && **fate != Fate::Drop);
    match survivor {
        Some((meta, fate)) if is_trimmed && !meta.flags.ends_life() => *fate = fate.trimmed(),
        Some(_) => {}
        None => removed.leaves_nothing = is_trimmed,
    }
    removed
}

/// Stubs and dropped entries are there for what is older. All that a dropped entry hides is in the inputs, and goes; stubs go
/// from the oldest on, as long as nothing is left under them.
fn drop_what_hides_nothing(entries: &[Meta], fates: &mut [Fate]) {
    let mut is_bottom = true;
    for (meta, fate) in entries.iter().zip(fates).rev() {
        if meta.flags.is_dropped() || (is_bottom && *fate == Fate::Stub) {
            *fate = Fate::Drop;
        }
        is_bottom &= *fate == Fate::Drop;
    }
}

/// The revision of an expired newest entry that left without an event.
fn silent_revision(rules: &Rules<'_>, meta: &Meta) -> Revision {
    if rules.expires_silently(meta) { meta.revision } else { Revision::NONE }
}

/// One pass over the entries of a key, newest first: lines 1 to 5 of the module's list.
#[derive(Clone, Debug)]
struct Walk<'a> {
    rules: Rules<'a>,
    /// Those whose `through` lies below all entries so far.
    eras: &'a [Era],
    /// Of the eras that have been reached, the latest.
    cutoff: u64,
    /// How many more entries count. Every limit that has been reached loses one per entry, so the least of them is all there is
    /// to know.
    left: u32,
    /// What dropped entries hide.
    dropped_through: Revision,
    /// No entry but dropped ones so far.
    is_first: bool,
    /// Nothing older counts.
    is_over: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Removed with everything older.
    Gone(Cause),
    /// It is a dropped entry.
    Dropped,
    /// Its place counts; whether it does itself is up to its own deadline.
    Stands { is_newest: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Floor,
    /// The newest entry of the walk is too old.
    AgedNewest,
    /// Anything else.
    Other,
}

impl<'a> Walk<'a> {
    fn new(rules: Rules<'a>) -> Self {
        debug_assert!(rules.eras.is_sorted_by_key(|era| era.through), "eras in the order of their commits");
        let left = limit(rules.depth);
        Self { rules, eras: rules.eras, cutoff: 0, left, dropped_through: Revision::NONE, is_first: true, is_over: false }
    }

    fn step(&mut self, meta: &Meta) -> Step {
        if meta.revision <= self.rules.floor {
            self.is_over = true;
            return Step::Gone(Cause::Floor);
        }
        if self.is_over || meta.revision <= self.dropped_through {
            self.is_over = true;
            return Step::Gone(Cause::Other);
        }
        if meta.flags.is_dropped() {
            let below = if meta.flags.has(Flags::ROLLUP) { 0 } else { 1 };
            self.dropped_through = self.dropped_through.max(Revision(meta.revision.get().saturating_sub(below)));
            return Step::Dropped;
        }
        let is_newest = std::mem::replace(&mut self.is_first, false);
        while let Some((era, earlier)) = self.eras.split_last() {
            if meta.revision > era.through {
                break;
            }
            self.left = self.left.min(limit(era.depth));
            self.cutoff = self.cutoff.max(era.cutoff);
            self.eras = earlier;
        }
        if meta.created < self.cutoff || self.rules.is_aged(meta) {
            self.is_over = true;
            return Step::Gone(if is_newest { Cause::AgedNewest } else { Cause::Other });
        }
        let Some(left) = self.left.checked_sub(1) else {
            self.is_over = true;
            return Step::Gone(Cause::Other);
        };
        self.left = left;
        self.is_over = meta.flags.ends_life();
        Step::Stands { is_newest }
    }
}

/// A depth as a count, where 0 stands for "no limit".
fn limit(depth: u8) -> u32 {
    if depth == 0 { u32::MAX } else { u32::from(depth) }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
