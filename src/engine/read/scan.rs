//! Ranges of keys in order, from both ends: the newest entry of each key that counts and is wanted.
//!
//! A scan reads as it is asked. Each end has cursors of its own, which are placed when that end is first used; they never turn round, and
//! where they meet the scan ends. What is found is lent where it lies: the caller copies what it wants to keep.

use super::{Moment, not_a_key, settle};
use crate::entry::Meta;
use crate::error::Result;
use crate::merge::{Backward, Lent, Merge};
use crate::retention::{Judge, Rules, Sight};
use crate::subject::Filters;
use crate::view::rules;

/// Keys from `start` on and below `end`, as bytes; need not be keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Span {
    pub(crate) start: Vec<u8>,
    /// `None` = to the last key.
    pub(crate) end: Option<Vec<u8>>,
}

impl Span {
    /// What begins with `prefix`.
    pub(crate) fn prefix(prefix: &[u8]) -> Self {
        let mut end = prefix.to_vec();
        while end.last() == Some(&u8::MAX) {
            end.pop();
        }
        let end = end.last_mut().map(|last| *last += 1).map(|()| end);
        Self { start: prefix.to_vec(), end }
    }

    fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }
}

/// Which keys of a span.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) filters: Filters,
    /// Also those whose newest entry is a marker.
    pub(crate) markers: bool,
}

/// One entry, lent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'a> {
    pub(crate) key: &'a str,
    pub(crate) lent: Lent<'a>,
}

/// A walk over a span of keys that owns what it needs.
#[derive(Debug)]
pub(crate) struct Scan {
    moment: Moment,
    span: Span,
    wanted: Wanted,
    front: Option<Front>,
    back: Option<Back>,
    ended: bool,
}

#[derive(Debug)]
struct Front {
    merge: Merge,
    /// The key that was given last; empty before the first.
    key: Vec<u8>,
}

#[derive(Debug)]
struct Back {
    merge: Backward,
    /// Whether it has given a key.
    begun: bool,
}

impl Scan {
    pub(crate) fn new(moment: Moment, span: Span, wanted: Wanted) -> Self {
        let ended = span.is_empty();
        Self { moment, span, wanted, front: None, back: None, ended }
    }

    /// Over the keys that any of the filters of `wanted` can match.
    pub(crate) fn matching(moment: Moment, wanted: Wanted) -> Self {
        let span = Span::prefix(wanted.filters.common_prefix());
        Self::new(moment, span, wanted)
    }

    /// Which keys are wanted may be changed until the first is given.
    pub(crate) const fn wanted_mut(&mut self) -> &mut Wanted {
        &mut self.wanted
    }

    /// Hands the next entry from the front to `take`.
    #[inline]
    pub(crate) fn next_with<T>(&mut self, take: impl FnOnce(Item<'_>) -> Result<T>) -> Option<Result<T>> {
        if self.ended {
            return None;
        }
        let found = self.advance();
        let taken = match found {
            Ok(false) => None,
            Ok(true) => self.front.as_ref().and_then(|front| front.merge.entry()).map(|lent| item(lent).and_then(take)),
            Err(error) => Some(Err(error)),
        };
        self.ended = !matches!(taken, Some(Ok(_)));
        taken
    }

    /// Hands the next entry from the back to `take`.
    pub(crate) fn next_back_with<T>(&mut self, take: impl FnOnce(Item<'_>) -> Result<T>) -> Option<Result<T>> {
        if self.ended {
            return None;
        }
        let found = self.retreat();
        let taken = match found {
            Ok(false) => None,
            Ok(true) => self.back.as_ref().and_then(|back| back.merge.entry()).map(|lent| item(lent).and_then(take)),
            Err(error) => Some(Err(error)),
        };
        self.ended = !matches!(taken, Some(Ok(_)));
        taken
    }

    /// To the next wanted entry; answers whether there is one.
    #[inline]
    fn advance(&mut self) -> Result<bool> {
        let Self { moment, span, wanted, front, back, .. } = self;
        let front = match front {
            Some(front) => front,
            none => {
                let mut merge = moment.reader().merge();
                merge.seek(&span.start)?;
                none.insert(Front { merge, key: Vec::new() })
            }
        };
        let end = match back {
            Some(back) if back.begun => Some(back.merge.key()),
            _ => span.end.as_deref(),
        };
        front.advance(end, moment, wanted)
    }

    /// To the next wanted entry from the back; answers whether there is one.
    fn retreat(&mut self) -> Result<bool> {
        let Self { moment, span, wanted, front, back, .. } = self;
        let back = match back {
            Some(back) => back,
            none => {
                let mut merge = moment.reader().backward();
                merge.seek_before(span.end.as_deref())?;
                none.insert(Back { merge, begun: false })
            }
        };
        let given = front.as_ref().map_or(&[][..], |front| &front.key);
        back.begun = true;
        back.retreat(&span.start, given, moment, wanted)
    }
}

impl Front {
    #[inline]
    fn advance(&mut self, end: Option<&[u8]>, moment: &Moment, wanted: &Wanted) -> Result<bool> {
        let rules = rules(&moment.state, moment.now);
        loop {
            while self.merge.key().is_some_and(|key| key == self.key) {
                self.merge.next()?;
            }
            let Some(key) = self.merge.key() else { return Ok(false) };
            if end.is_some_and(|end| end <= key) {
                return Ok(false);
            }
            self.key.clear();
            self.key.extend_from_slice(key);
            if !wanted.filters.matches(&self.key) {
                continue;
            }
            let newest = self.merge.entry().map(|entry| entry.meta);
            match newest {
                Some(newest) if rules.is_plain(&newest) => {
                    if wanted.markers || newest.flags.is_put() {
                        return Ok(true);
                    }
                }
                _ => {
                    let counts = settle(&mut self.merge, &self.key, &rules)?;
                    if counts && (wanted.markers || self.merge.entry().is_some_and(|entry| entry.meta.flags.is_put())) {
                        return Ok(true);
                    }
                }
            }
        }
    }
}

impl Back {
    fn retreat(&mut self, start: &[u8], given: &[u8], moment: &Moment, wanted: &Wanted) -> Result<bool> {
        let rules = rules(&moment.state, moment.now);
        while self.merge.prev_key()? {
            let key = self.merge.key();
            if key < start || key <= given {
                return Ok(false);
            }
            if !wanted.filters.matches(key) {
                continue;
            }
            let metas = self.merge.metas();
            if let Some(index) = newest_of(metas, &rules)
                && (wanted.markers || metas[index].flags.is_put())
            {
                self.merge.choose(index)?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Of all entries of a key the newest that counts.
fn newest_of(metas: &[Meta], rules: &Rules<'_>) -> Option<usize> {
    let mut judge = Judge::new(rules);
    for (index, meta) in metas.iter().enumerate() {
        match judge.see(meta) {
            Sight::Visible => return Some(index),
            Sight::Hidden => {}
            Sight::End => break,
        }
    }
    None
}

#[inline]
fn item(lent: Lent<'_>) -> Result<Item<'_>> {
    let key = std::str::from_utf8(lent.key).map_err(|_| not_a_key(lent.key))?;
    Ok(Item { key, lent })
}
