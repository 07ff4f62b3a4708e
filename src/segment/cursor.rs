//! A position in one bucket's section that moves both ways: what merges, scans and history reads are made of.
//!
//! A cursor owns its `Arc<Segment>`, so an iterator over it is `'static`. It keeps the key in a buffer of its own, since a block stores keys
//! in parts; values stay in the map. After an error it stays failed, and says so again, until it is placed anew by a `seek`: a walk must
//! not step over what it could not read.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use std::ops::Range;

use super::block::{Block, Layout};
use super::directory::SectionInfo;
use super::fences::Fences;
use super::position;
use super::reader::{BlockBytes, Segment};
use crate::cache::Decompressed;
use crate::entry::{Meta, Value};
use crate::env::sync::Arc;
use crate::error::{Error, Result};
use crate::number::BucketId;

/// A position in one bucket's section: before the first entry, at one, or after the last.
#[derive(Debug)]
pub(crate) struct Cursor {
    segment: Arc<Segment>,
    /// The section of the bucket, if the segment has one.
    section: Option<usize>,
    position: Position,
    block: Loaded,
    index: usize,
    key: Vec<u8>,
    meta: Meta,
    /// Where the value lies in the block.
    value: Range<usize>,
}

#[derive(Clone, Debug)]
enum Position {
    Before,
    At,
    After,
    Failed(Error),
}

/// The block that the cursor is in.
#[derive(Debug, Default)]
struct Loaded {
    number: usize,
    /// Where it lies in the file.
    range: Range<usize>,
    /// Its bytes, if they are not those in the file.
    decompressed: Option<Decompressed>,
    layout: Layout,
}

impl Loaded {
    #[inline]
    fn block<'a>(&'a self, segment: &'a Segment) -> Block<'a> {
        let bytes = match &self.decompressed {
            None => segment.bytes(self.range.clone()),
            Some(bytes) => bytes,
        };
        Block { bytes, layout: self.layout }
    }
}

/// The entry that a cursor is at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CursorEntry<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) meta: Meta,
    pub(crate) value: &'a [u8],
    cursor: &'a Cursor,
}

impl CursorEntry<'_> {
    /// The value to keep: copied if small, pinning the map or the decompressed block if large.
    pub(crate) fn value(&self) -> Value {
        let cursor = self.cursor;
        cursor.segment.pin(cursor.block.range.start, cursor.block.decompressed.as_ref(), cursor.value.clone())
    }
}

impl Cursor {
    /// A cursor before the first entry of `bucket`; with nothing to walk if the segment has none of it.
    pub(crate) fn new(segment: Arc<Segment>, bucket: BucketId) -> Self {
        let section = segment.sections().binary_search_by_key(&bucket, |section| section.bucket).ok();
        Self {
            segment,
            section,
            position: Position::Before,
            block: Loaded::default(),
            index: 0,
            key: Vec::new(),
            meta: Meta::default(),
            value: 0..0,
        }
    }

    /// To the first entry whose key is at least `key`, which is the newest of its key.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<()> {
        let moved = self.try_seek(key);
        self.settle(moved, Position::After)
    }

    /// To the last entry whose key is below `key`, or to the last of all.
    pub(crate) fn seek_before(&mut self, key: Option<&[u8]>) -> Result<()> {
        match key {
            Some(key) => {
                self.seek(key)?;
                self.prev()
            }
            None => self.seek_last(),
        }
    }

    /// To the first entry.
    #[allow(dead_code, reason = "tests and benchmarks walk whole sections")]
    pub(crate) fn seek_first(&mut self) -> Result<()> {
        let moved = self.try_first();
        self.settle(moved, Position::After)
    }

    /// To the last entry.
    pub(crate) fn seek_last(&mut self) -> Result<()> {
        let moved = self.try_last();
        self.settle(moved, Position::Before)
    }

    /// To the entry at a position.
    pub(super) fn seek_position(&mut self, to: position::Position) -> Result<()> {
        let moved = self.try_position(to);
        self.settle(moved, Position::After)
    }

    /// To the entry after; from before the first to the first.
    pub(crate) fn next(&mut self) -> Result<()> {
        let moved = match &self.position {
            Position::Before => self.try_first(),
            Position::At => self.try_next(),
            Position::After => return Ok(()),
            Position::Failed(error) => return Err(error.clone()),
        };
        self.settle(moved, Position::After)
    }

    /// To the entry before; from after the last to the last.
    pub(crate) fn prev(&mut self) -> Result<()> {
        let moved = match &self.position {
            Position::Before => return Ok(()),
            Position::At => self.try_prev(),
            Position::After => self.try_last(),
            Position::Failed(error) => return Err(error.clone()),
        };
        self.settle(moved, Position::Before)
    }

    /// The entry here; none past either end, or after an error.
    #[inline]
    pub(crate) fn entry(&self) -> Option<CursorEntry<'_>> {
        if !matches!(self.position, Position::At) {
            return None;
        }
        let value = self.block.block(&self.segment).bytes.get(self.value.clone()).unwrap_or_default();
        Some(CursorEntry { key: &self.key, meta: self.meta, value, cursor: self })
    }

    /// The key of the entry here.
    #[inline]
    pub(crate) fn key(&self) -> Option<&[u8]> {
        matches!(self.position, Position::At).then_some(&*self.key)
    }

    /// Takes over what a move came to: at an entry, past the end that it went towards, or nowhere for good.
    #[inline]
    fn settle(&mut self, moved: Result<bool>, end: Position) -> Result<()> {
        match moved {
            Ok(true) => self.position = Position::At,
            Ok(false) => self.position = end,
            Err(error) => {
                self.position = Position::Failed(error.clone());
                return Err(error);
            }
        }
        Ok(())
    }

    fn try_seek(&mut self, key: &[u8]) -> Result<bool> {
        let segment = Arc::clone(&self.segment);
        let Some(section) = self.section_of(&segment) else { return Ok(false) };
        let count = section.parts.block_count as usize;
        let after = if count == 1 { 1 } else { Fences::new(&segment, section).lower_bound(key)? };
        if let Some(number) = after.checked_sub(1) {
            self.load_block(number)?;
            let index = self.block.block(&segment).lower_bound(key);
            let index = index.map_err(|error| segment.corrupt(self.block.range.start as u64, error))?;
            if index < self.block.layout.count() {
                return self.load_entry(index);
            }
        }
        if after >= count {
            return Ok(false);
        }
        self.load_block(after)?;
        self.load_entry(0)
    }

    fn try_position(&mut self, to: position::Position) -> Result<bool> {
        if self.section.is_none() {
            return Ok(false);
        }
        let is_loaded = matches!(self.position, Position::At) && self.block.number == to.block;
        if !is_loaded {
            self.load_block(to.block)?;
        }
        self.load_entry(to.index)
    }

    fn try_first(&mut self) -> Result<bool> {
        if self.section.is_none() {
            return Ok(false);
        }
        self.load_block(0)?;
        self.load_entry(0)
    }

    fn try_last(&mut self) -> Result<bool> {
        let Some(last) = self.block_count().checked_sub(1) else { return Ok(false) };
        self.load_block(last)?;
        self.load_last()
    }

    #[inline]
    fn try_next(&mut self) -> Result<bool> {
        let next = self.index.saturating_add(1);
        if next < self.block.layout.count() {
            return self.load_entry(next);
        }
        let number = self.block.number.saturating_add(1);
        if number >= self.block_count() {
            return Ok(false);
        }
        self.load_block(number)?;
        self.load_entry(0)
    }

    #[inline]
    fn try_prev(&mut self) -> Result<bool> {
        if let Some(index) = self.index.checked_sub(1) {
            return self.load_entry(index);
        }
        let Some(number) = self.block.number.checked_sub(1) else { return Ok(false) };
        self.load_block(number)?;
        self.load_last()
    }

    fn load_last(&mut self) -> Result<bool> {
        self.load_entry(self.block.layout.count().saturating_sub(1))
    }

    fn load_block(&mut self, number: usize) -> Result<()> {
        let Some(section) = self.section_of(&self.segment) else { return Ok(()) };
        let loaded = self.segment.block(section, number)?;
        self.key.clear();
        self.key.extend_from_slice(loaded.block().prefix());
        let (layout, at) = (loaded.layout, loaded.at);
        let (len, decompressed) = match loaded.bytes {
            BlockBytes::Mapped(bytes) => (bytes.len(), None),
            BlockBytes::Cached(bytes) => (bytes.len(), Some(bytes)),
        };
        self.block = Loaded { number, range: at..at.saturating_add(len), decompressed, layout };
        Ok(())
    }

    /// Makes entry `index` of the loaded block the one that the cursor is at.
    #[inline]
    fn load_entry(&mut self, index: usize) -> Result<bool> {
        let block = self.block.block(&self.segment);
        let entry = block.entry(index).map_err(|error| self.segment.corrupt(self.block.range.start as u64, error))?;
        entry.write_key(self.block.layout.prefix_len(), &mut self.key);
        self.index = index;
        self.meta = entry.meta;
        self.value = entry.value_at..entry.value_at.saturating_add(entry.value.len());
        Ok(true)
    }

    fn block_count(&self) -> usize {
        self.section_of(&self.segment).map_or(0, |section| section.parts.block_count as usize)
    }

    fn section_of<'a>(&self, segment: &'a Segment) -> Option<&'a SectionInfo> {
        segment.sections().get(self.section?)
    }
}
