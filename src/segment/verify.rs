//! Reads a whole segment and checks everything that can be checked: `Store::verify`, and a compaction that trusts nothing.
//!
//! Goes beyond what reads check on their way (`SEG-8`): order, prefixes, heads, separators, zone maps and counts must be those that a
//! builder would have written for the entries that are there. Believes no bit of an earlier check.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use super::block::{Block, RawEntry};
use super::fences::{Fences, Zone};
use super::format::{HEADER_LEN, SectionInfo, follows, head_of, shared_len};
use super::reader::{Segment, check_frame};
use crate::checksum::checksum;
use crate::codec::DecodeError;
use crate::entry::Flags;
use crate::error::{Error, Result};
use crate::number::Revision;

impl Segment {
    /// Reads and checks everything. `progress` gets the bytes, blocks and entries since its last call; the bytes add up to the length.
    pub(crate) fn verify(&self, progress: &mut dyn FnMut(u64, u64, u64)) -> Result<()> {
        let part = |offset: u64, len: usize| {
            let start = offset as usize;
            Ok(self.bytes(start..start.saturating_add(len)).to_vec())
        };
        let (_, sections) = check_frame(self.path(), &self.expected, self.len(), part)?;
        if sections != self.sections() {
            return Err(
                self.corrupt(0, DecodeError { at: HEADER_LEN, what: "directory: it changed since the segment was opened" })
            );
        }
        let mut frame = self.len();
        for (index, section) in sections.iter().enumerate() {
            self.verify_section(index, section, progress)?;
            frame = frame.saturating_sub(section.bytes);
        }
        progress(frame, 0, 0);
        Ok(())
    }

    fn verify_section(&self, index: usize, section: &SectionInfo, progress: &mut dyn FnMut(u64, u64, u64)) -> Result<()> {
        let base = section.fences_offset();
        let wrong = |what| self.corrupt(base, DecodeError { at: 0, what });
        let bytes = self.bytes(base as usize..section.end() as usize);
        if checksum(self.expected.identity.seed(base), &[bytes]) != section.fences_checksum {
            return Err(wrong("checksum of the fences"));
        }
        let fences = self.fences(index)?;
        if !fences.separators_fit() {
            return Err(wrong("end of the separators"));
        }
        let mut walk = Walk::new(section);
        for number in 0..fences.count() {
            let fence = self.place(section, &fences, number)?;
            if fence.offset != walk.offset {
                return Err(wrong("offset of a block"));
            }
            let start = fence.offset as usize;
            let bytes = self.bytes(start..start.saturating_add(fence.len as usize));
            self.check_block(&fence, bytes)?;
            let block = Block::decode(bytes).map_err(|refusal| self.refuse(fence.offset, refusal))?;
            walk.start_block(&fences, number, &block).map_err(|error| self.corrupt(base, error))?;
            let zone = walk.block(&block).map_err(|error| self.corrupt(fence.offset, error))?;
            if zone != fence.zone {
                return Err(wrong("zone map of a block"));
            }
            walk.offset = fence.offset.saturating_add(u64::from(fence.len));
            progress(u64::from(fence.len), 1, u64::from(zone.entries));
        }
        walk.finish(section).map_err(|what| self.section_error(section, what))?;
        progress(section.fences_len, 0, 0);
        Ok(())
    }

    #[cold]
    fn section_error(&self, section: &SectionInfo, what: &'static str) -> Error {
        self.corrupt(section.offset, DecodeError { at: 0, what })
    }
}

/// What a walk over a section has seen so far.
struct Walk {
    /// Where the next block must start.
    offset: u64,
    any: bool,
    key: Vec<u8>,
    revision: Revision,
    flags: Flags,
    entries: u64,
    markers: u64,
    first_revision: Revision,
    last_revision: Revision,
    first_key: Vec<u8>,
    first_created: u64,
    last_created: u64,
    deadlines: u64,
    first_deadline: u64,
}

impl Walk {
    const fn new(section: &SectionInfo) -> Self {
        Self {
            offset: section.offset,
            any: false,
            key: Vec::new(),
            revision: Revision::NONE,
            flags: Flags::put(),
            entries: 0,
            markers: 0,
            first_revision: Revision(u64::MAX),
            last_revision: Revision::NONE,
            first_key: Vec::new(),
            first_created: u64::MAX,
            last_created: 0,
            deadlines: 0,
            first_deadline: u64::MAX,
        }
    }

    /// The separator of the block is the one that its first key and the key before it call for.
    fn start_block(&self, fences: &Fences<'_>, number: usize, block: &Block<'_>) -> std::result::Result<(), DecodeError> {
        let wrong = DecodeError { at: 0, what: "separator of a block" };
        let first = first_key(block)?;
        let len = if number == 0 { first.len() } else { shared_len(&self.key, &first).saturating_add(1) };
        let separator = first.get(..len).unwrap_or(&first);
        let rest = separator.strip_prefix(fences.prefix()).ok_or(wrong)?;
        let head = fences.heads().get(number).ok_or(wrong)?;
        if fences.separator(number)? == rest && u64::from_le_bytes(*head) == head_of(rest) { Ok(()) } else { Err(wrong) }
    }

    /// Every entry of a block, and what its zone map must say.
    fn block(&mut self, block: &Block<'_>) -> std::result::Result<Zone, DecodeError> {
        let wrong = |what| DecodeError { at: 0, what };
        let prefix = block.prefix();
        let mut key = prefix.to_vec();
        let (mut puts, mut markers, mut end) = (0_u32, 0_u32, 0_usize);
        let mut lowest = (Revision(u64::MAX), u64::MAX);
        let mut highest = Revision::NONE;
        for index in 0..block.count() {
            let entry = block.entry(index)?;
            if block.start(index) != Some(end) {
                return Err(wrong("start of an entry"));
            }
            end = entry.value_at.saturating_add(entry.value.len()).saturating_sub(block.layout.entries_at());
            entry.write_key(prefix.len(), &mut key);
            if head_of(key.get(prefix.len()..).unwrap_or_default()) != u64::from_be_bytes(entry.head) {
                return Err(wrong("head of a key"));
            }
            self.entry(&key, &entry)?;
            puts = puts.saturating_add(u32::from(entry.meta.flags.is_put()));
            markers = markers.saturating_add(u32::from(!entry.meta.flags.is_put() && !entry.meta.flags.is_dropped()));
            lowest = (lowest.0.min(entry.meta.revision), lowest.1.min(entry.meta.created));
            highest = highest.max(entry.meta.revision);
        }
        // Keys ascend, so what the first and the last share, all share.
        let shares_prefix = shared_len(&first_key(block)?, &key) == prefix.len();
        if lowest != (block.layout.base_revision(), block.layout.base_created()) || !shares_prefix {
            return Err(wrong("what the entries of a block share"));
        }
        Ok(Zone { first_revision: lowest.0, last_revision: highest, entries: block.count() as u32, puts, markers })
    }

    fn entry(&mut self, key: &[u8], entry: &RawEntry<'_>) -> std::result::Result<(), DecodeError> {
        let meta = &entry.meta;
        if self.any && !follows((&self.key, self.revision, self.flags), (key, meta.revision, meta.flags)) {
            return Err(DecodeError { at: entry.value_at, what: "order of entries" });
        }
        if !self.any {
            self.first_key = key.to_vec();
        }
        self.any = true;
        self.key.clear();
        self.key.extend_from_slice(key);
        (self.revision, self.flags) = (meta.revision, meta.flags);
        self.entries = self.entries.saturating_add(1);
        self.markers = self.markers.saturating_add(u64::from(!meta.flags.is_put() && !meta.flags.is_dropped()));
        self.first_revision = self.first_revision.min(meta.revision);
        self.last_revision = self.last_revision.max(meta.revision);
        self.first_created = self.first_created.min(meta.created);
        self.last_created = self.last_created.max(meta.created);
        if meta.deadline != 0 {
            self.deadlines = self.deadlines.saturating_add(1);
            self.first_deadline = self.first_deadline.min(meta.deadline);
        }
        Ok(())
    }

    /// The directory says the same of the section as its entries.
    fn finish(&self, section: &SectionInfo) -> std::result::Result<(), &'static str> {
        if self.offset != section.fences_offset() {
            return Err("end of the blocks");
        }
        if (self.entries, self.markers) != (section.entries, section.markers) {
            return Err("counts of a section");
        }
        if (self.first_revision, self.last_revision) != (section.first_revision, section.last_revision) {
            return Err("revisions of a section");
        }
        if (self.first_created, self.last_created) != (section.first_created, section.last_created) {
            return Err("times of a section");
        }
        let first_deadline = if self.deadlines == 0 { 0 } else { self.first_deadline };
        if (self.deadlines, first_deadline) != (section.deadlines, section.first_deadline) {
            return Err("deadlines of a section");
        }
        if (&*self.first_key, &*self.key) != (&*section.first_key, &*section.last_key) {
            return Err("first or last key of a section");
        }
        Ok(())
    }
}

fn first_key(block: &Block<'_>) -> std::result::Result<Vec<u8>, DecodeError> {
    let mut key = block.prefix().to_vec();
    block.entry(0)?.write_key(block.prefix().len(), &mut key);
    Ok(key)
}
