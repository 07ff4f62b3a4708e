//! Reads a whole segment and checks everything that can be checked: `Store::verify`, and a compaction that trusts nothing.
//!
//! Goes beyond what reads check on their way (`SEG-8`): order, prefixes, heads, widths and counts must be those that a builder would have
//! written for the entries that are there, and the tables are made again from the entries and compared byte for byte. Believes no bit of an
//! earlier check, and no cache. Memory: what a builder takes for one section.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use super::block::{Block, RawEntry, decompressed, is_compressed};
use super::directory::{Before, SectionInfo};
use super::fences::{Fences, Zone};
use super::format::PREFIX_LEN_MAX;
use super::format::{GRANULE_LEN, HEADER_LEN, follows, head_of, shared_len};
use super::reader::{Segment, check_frame};
use super::tables::TablesDraft;
use crate::checksum::checksum;
use crate::codec::DecodeError;
use crate::entry::Flags;
use crate::error::{Error, Result};
use crate::hash::KeyHasher;
use crate::number::{BucketId, Revision};

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
        for section in &sections {
            self.verify_tables(section)?;
            self.verify_section(section, progress)?;
            frame = frame.saturating_sub(section.bytes);
        }
        progress(frame, 0, 0);
        Ok(())
    }

    /// All checksums behind the blocks of a section, and the zeros there.
    fn verify_tables(&self, section: &SectionInfo) -> Result<()> {
        let parts = &section.parts;
        let wrong = |at, what| self.corrupt(at, DecodeError { at: 0, what });
        let sums = self.bytes(parts.sums_at() as usize..parts.end() as usize);
        let padding = self.bytes(parts.blocks_end() as usize..parts.tables_at() as usize);
        if padding.iter().any(|byte| *byte != 0) {
            return Err(wrong(parts.blocks_end(), "zeros behind the blocks"));
        }
        let sums_are_right = checksum(self.expected.identity.seed(parts.sums_at()), &[sums]) == parts.sums_checksum;
        let tables = self.bytes(parts.tables_at() as usize..parts.sums_at() as usize);
        let mut at = parts.tables_at();
        for (granule, sum) in tables.chunks(GRANULE_LEN as usize).zip(sums.as_chunks().0) {
            // Where the sums themselves are wrong, theirs is the place to name.
            if sums_are_right && checksum(self.expected.identity.seed(at), &[granule]) != u32::from_le_bytes(*sum) {
                return Err(wrong(at, "checksum of a table"));
            }
            at = at.saturating_add(GRANULE_LEN);
        }
        if sums_are_right { Ok(()) } else { Err(wrong(parts.sums_at(), "checksum of the sums")) }
    }

    fn verify_section(&self, section: &SectionInfo, progress: &mut dyn FnMut(u64, u64, u64)) -> Result<()> {
        let parts = &section.parts;
        let wrong = |at, what| self.corrupt(at, DecodeError { at: 0, what });
        let fences = Fences::new(self, section);
        let mut walk = Walk::new(KeyHasher::new(self.expected.identity.store), section.bucket);
        let mut offset = parts.offset;
        for number in 0..parts.block_count as usize {
            let (start, end) = fences.place(number)?;
            if start as u64 != offset {
                return Err(wrong(parts.tables_at(), "offset of a block"));
            }
            let stored = self.bytes(start..end);
            let sum = fences.fence(number)?.checksum;
            self.check_block(sum, start, stored)?;
            let plain = if is_compressed(stored) { Some(decompressed(stored)) } else { None };
            let plain = plain.transpose().map_err(|refusal| self.refuse(offset, refusal))?;
            let block = Block::decode(plain.as_deref().unwrap_or(stored)).map_err(|refusal| self.refuse(offset, refusal))?;
            walk.block(&block, offset, sum).map_err(|error| self.corrupt(offset, error))?;
            offset = end as u64;
            progress(end.saturating_sub(start) as u64, 1, block.count() as u64);
        }
        if offset != parts.blocks_end() {
            return Err(wrong(parts.tables_at(), "end of the blocks"));
        }
        self.compare(section, &walk)?;
        progress(section.bytes.saturating_sub(parts.blocks_len), 0, 0);
        Ok(())
    }

    /// Directory and tables say the same of the section as its entries.
    fn compare(&self, section: &SectionInfo, walk: &Walk) -> Result<()> {
        let parts = &section.parts;
        let wrong = |what| -> Error { self.corrupt(parts.offset, DecodeError { at: 0, what }) };
        let totals = walk.tables.totals();
        let counts = (section.entries, section.keys, section.puts, section.markers);
        if counts != (totals.entries, totals.keys, totals.puts, totals.markers) {
            return Err(wrong("counts of a section"));
        }
        if (section.first_revision, section.last_revision) != totals.revisions {
            return Err(wrong("revisions of a section"));
        }
        if (section.first_created, section.last_created) != totals.created {
            return Err(wrong("times of a section"));
        }
        if (section.deadlines, section.first_deadline) != (totals.deadlines, totals.first_deadline) {
            return Err(wrong("deadlines of a section"));
        }
        if (&*section.first_key, &*section.last_key) != (&*walk.first_key, &*walk.key) {
            return Err(wrong("first or last key of a section"));
        }
        let before =
            Before { offset: parts.offset, blocks: parts.first_block, granules: parts.first_granule, sections: parts.number };
        let tables = walk.tables.encode(&self.expected.identity, &before, parts.blocks_len);
        let stored = self.bytes(parts.blocks_end() as usize..parts.end() as usize);
        if tables.parts == *parts && tables.bytes == stored { Ok(()) } else { Err(wrong("tables of a section")) }
    }
}

/// What a walk over a section has seen so far.
struct Walk {
    hasher: KeyHasher,
    bucket: BucketId,
    tables: TablesDraft,
    any: bool,
    first_key: Vec<u8>,
    key: Vec<u8>,
    revision: Revision,
    flags: Flags,
}

impl Walk {
    fn new(hasher: KeyHasher, bucket: BucketId) -> Self {
        Self {
            hasher,
            bucket,
            tables: TablesDraft::default(),
            any: false,
            first_key: Vec::new(),
            key: Vec::new(),
            revision: Revision::NONE,
            flags: Flags::put(),
        }
    }

    /// Every entry of a block, and what its header must say.
    fn block(&mut self, block: &Block<'_>, offset: u64, checksum: u32) -> std::result::Result<(), DecodeError> {
        let wrong = |what| DecodeError { at: 0, what };
        if !self.tables.has_room(block.count()) {
            return Err(wrong("number of blocks or entries"));
        }
        let prefix = block.prefix();
        let before = self.key.clone();
        let mut key = prefix.to_vec();
        let mut zone = Zone {
            first_revision: Revision(u64::MAX),
            last_revision: Revision::NONE,
            entries: block.count() as u16,
            puts: 0,
            markers: 0,
        };
        let (mut first_key, mut created, mut end) = (Vec::new(), (u64::MAX, 0), block.layout.entries_at());
        for index in 0..block.count() {
            let entry = block.entry(index)?;
            if block.start(index) != Some(end) {
                return Err(wrong("start of an entry"));
            }
            end = entry.value_at.saturating_add(entry.value.len());
            entry.write_key(prefix.len(), &mut key);
            if head_of(key.get(prefix.len()..).unwrap_or_default()) != u64::from_be_bytes(entry.head) {
                return Err(wrong("head of a key"));
            }
            if index == 0 {
                first_key.clone_from(&key);
            }
            self.entry(&key, &entry)?;
            let meta = &entry.meta;
            zone.puts = zone.puts.saturating_add(u16::from(meta.flags.is_put()));
            zone.markers = zone.markers.saturating_add(u16::from(!meta.flags.is_put() && !meta.flags.is_dropped()));
            zone.first_revision = zone.first_revision.min(meta.revision);
            zone.last_revision = zone.last_revision.max(meta.revision);
            created = (created.0.min(meta.created), created.1.max(meta.created));
        }
        // Keys ascend, so what the first and the last share, all share.
        let shares_prefix = shared_len(&first_key, &key).min(PREFIX_LEN_MAX) == prefix.len();
        let width = |low: u64, high: u64| u64::BITS.saturating_sub(high.saturating_sub(low).leading_zeros()).div_ceil(8) as u8;
        let widths = (width(zone.first_revision.0, zone.last_revision.0), width(created.0, created.1));
        let bases = (zone.first_revision, created.0);
        let layout = &block.layout;
        if bases != (layout.base_revision(), layout.base_created()) || widths != layout.widths() || !shares_prefix {
            return Err(wrong("what the entries of a block share"));
        }
        self.tables.push_block(offset, checksum, zone, &before, &first_key);
        Ok(())
    }

    fn entry(&mut self, key: &[u8], entry: &RawEntry<'_>) -> std::result::Result<(), DecodeError> {
        let meta = &entry.meta;
        if self.any && !follows((&self.key, self.revision, self.flags), (key, meta.revision, meta.flags)) {
            return Err(DecodeError { at: entry.value_at, what: "order of entries" });
        }
        if !self.any {
            self.first_key = key.to_vec();
        }
        let new_key = !self.any || self.key != key;
        self.tables.push_entry(new_key.then(|| self.hasher.hash(self.bucket, key)), meta);
        self.any = true;
        self.key.clear();
        self.key.extend_from_slice(key);
        (self.revision, self.flags) = (meta.revision, meta.flags);
        Ok(())
    }
}
