//! The directory of a segment: what each section holds and where its parts lie. See `format` for the bytes.
//!
//! It is read and checked when a segment is opened; everything that is read later is found through it, so nothing in it may point outside
//! the file. Its first half is what the floors above ask of a section without reading it.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use super::format::{
    BLOCK_LEN_MIN, DEADLINE_STEP, FENCE_LEN, Footer, GRANULE_LEN, HEAD_LEN, HEADER_LEN, KEY_LEN_MAX, LINE_LEN, PREFIX_LEN_MAX,
};
use super::position::PositionBits;
use crate::codec::{DecodeError, Reader, put_prefixed, put_varint};
use crate::number::{BucketId, Revision};

/// What the directory says of one bucket's section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SectionInfo {
    pub(crate) bucket: BucketId,
    /// All entries: puts, markers and dropped ones.
    pub(crate) entries: u64,
    /// Different keys.
    #[allow(dead_code, reason = "what a merge or a count can know without reading; they do not ask yet")]
    pub(crate) keys: u64,
    #[allow(dead_code, reason = "what a merge or a count can know without reading; they do not ask yet")]
    pub(crate) puts: u64,
    /// Deletes and purges.
    pub(crate) markers: u64,
    /// The lowest revision.
    pub(crate) first_revision: Revision,
    /// The highest revision.
    pub(crate) last_revision: Revision,
    /// The earliest time of an entry.
    pub(crate) first_created: u64,
    /// The latest time of an entry.
    pub(crate) last_created: u64,
    /// Entries with a deadline of their own.
    pub(crate) deadlines: u64,
    /// The earliest of these deadlines; 0 if there is none.
    pub(crate) first_deadline: u64,
    pub(crate) first_key: Box<[u8]>,
    pub(crate) last_key: Box<[u8]>,
    /// All that it takes in the file.
    pub(crate) bytes: u64,
    pub(super) parts: Parts,
}

/// Where the parts of a section lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// Where the first block starts.
    pub(super) offset: u64,
    pub(super) block_count: u64,
    pub(super) blocks_len: u64,
    pub(super) bits: PositionBits,
    pub(super) lines: u64,
    pub(super) fences_len: u64,
    /// How much of the first key all separators share.
    pub(super) prefix_len: usize,
    /// Lengths that follow from the counts.
    pub(super) revisions_len: u64,
    pub(super) deadline_positions_len: u64,
    pub(super) deadline_samples_len: u64,
    pub(super) sums_checksum: u32,
    /// The number of its first block, counted through the file, and of its first granule, and its own.
    pub(super) first_block: u64,
    pub(super) first_granule: u64,
    pub(super) number: u64,
}

/// What is counted through a file, up to a section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    pub(super) offset: u64,
    pub(super) blocks: u64,
    pub(super) granules: u64,
    pub(super) sections: u64,
}

/// What of [`Parts`] stands in the directory, or follows from what does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub(super) entries: u64,
    pub(super) deadlines: u64,
    pub(super) block_count: u64,
    /// The most entries of a block.
    pub(super) entries_max: u64,
    pub(super) blocks_len: u64,
    pub(super) lines: u64,
    pub(super) fences_len: u64,
    pub(super) prefix_len: usize,
    pub(super) sums_checksum: u32,
}

impl Parts {
    /// `None` if the counts cannot be.
    pub(super) fn new(before: &Before, counts: &Counts) -> Option<Self> {
        let bits = PositionBits::new(counts.block_count, counts.entries_max)?;
        let packed = |count: u64| count.checked_mul(u64::from(bits.all())).map(|bits| bits.div_ceil(8));
        let many = counts.block_count > 1;
        Some(Self {
            offset: before.offset,
            block_count: counts.block_count,
            blocks_len: counts.blocks_len,
            bits,
            lines: counts.lines,
            fences_len: counts.fences_len,
            prefix_len: counts.prefix_len,
            revisions_len: if many { packed(counts.entries)? } else { 0 },
            deadline_positions_len: if many { packed(counts.deadlines)? } else { 0 },
            deadline_samples_len: if many { counts.deadlines.div_ceil(DEADLINE_STEP).checked_mul(8)? } else { 0 },
            sums_checksum: counts.sums_checksum,
            first_block: before.blocks,
            first_granule: before.granules,
            number: before.sections,
        })
    }

    pub(super) const fn blocks_end(&self) -> u64 {
        self.offset.saturating_add(self.blocks_len)
    }

    /// Where the tables start.
    pub(super) const fn tables_at(&self) -> u64 {
        let end = self.blocks_end();
        if self.lines == 0 { end } else { end.next_multiple_of(LINE_LEN as u64) }
    }

    pub(super) const fn tables_len(&self) -> u64 {
        self.deadlines_at().saturating_add(self.deadline_positions_len).saturating_add(self.deadline_samples_len)
    }

    /// Where the fences start, in the tables.
    pub(super) const fn fences_at(&self) -> u64 {
        self.lines.saturating_mul(LINE_LEN as u64)
    }

    pub(super) const fn revisions_at(&self) -> u64 {
        self.fences_at().saturating_add(self.fences_len)
    }

    pub(super) const fn deadlines_at(&self) -> u64 {
        self.revisions_at().saturating_add(self.revisions_len)
    }

    pub(super) const fn granules(&self) -> u64 {
        self.tables_len().div_ceil(GRANULE_LEN)
    }

    pub(super) const fn sums_at(&self) -> u64 {
        self.tables_at().saturating_add(self.tables_len())
    }

    pub(super) const fn end(&self) -> u64 {
        self.sums_at().saturating_add(self.granules().saturating_mul(4))
    }

    /// A length that is left of the fences once their arrays are taken off, for the separators.
    pub(super) const fn separators_len(&self) -> Option<u64> {
        self.fences_len.checked_sub(self.block_count.saturating_mul((2 * HEAD_LEN + FENCE_LEN) as u64))
    }
}

impl SectionInfo {
    fn encode(&self, out: &mut Vec<u8>) {
        let ranges = [self.first_revision.0, self.last_revision.0, self.first_created, self.last_created];
        let counts = [self.bucket.0, self.entries, self.keys, self.puts, self.markers];
        let parts = &self.parts;
        let places = [
            self.deadlines,
            self.first_deadline,
            parts.block_count,
            parts.bits.entries_max(),
            parts.blocks_len,
            parts.lines,
            parts.fences_len,
            parts.prefix_len as u64,
        ];
        for number in counts.into_iter().chain(ranges).chain(places) {
            put_varint(out, number);
        }
        out.extend_from_slice(&parts.sums_checksum.to_le_bytes());
        put_prefixed(out, &self.first_key);
        put_prefixed(out, &self.last_key);
    }

    fn decode(reader: &mut Reader<'_>, before: &Before) -> Result<Self, DecodeError> {
        let start = *reader;
        let bucket = BucketId(reader.varint("bucket id")?);
        let entries = reader.varint("count of entries")?;
        let keys = reader.varint_max(entries, "count of keys")?;
        let puts = reader.varint_max(entries, "count of puts")?;
        let markers = reader.varint_max(entries.saturating_sub(puts), "count of markers")?;
        let first_revision = Revision(reader.varint("lowest revision")?);
        let last_revision = Revision(reader.varint("highest revision")?);
        let first_created = reader.varint("earliest time")?;
        let last_created = reader.varint("latest time")?;
        let deadlines = reader.varint_max(entries, "count of deadlines")?;
        let first_deadline = reader.varint("earliest deadline")?;
        let counts = Counts {
            entries,
            deadlines,
            block_count: reader.varint_max(entries, "count of blocks")?,
            entries_max: reader.varint_max(entries.min(u64::from(u16::MAX)), "most entries of a block")?,
            blocks_len: reader.varint("length of the blocks")?,
            lines: reader.varint_max(keys, "lines of the index")?,
            fences_len: reader.varint("length of the fences")?,
            prefix_len: reader.varint_max(PREFIX_LEN_MAX as u64, "length of the fences' prefix")? as usize,
            sums_checksum: reader.u32("checksum of the sums")?,
        };
        let first_key: Box<[u8]> = reader.prefixed(KEY_LEN_MAX, "first key")?.into();
        let last_key: Box<[u8]> = reader.prefixed(KEY_LEN_MAX, "last key")?.into();
        let error = start.error("section in the directory");
        let parts = Parts::new(before, &counts).ok_or(error)?;
        // Ends saturate only beyond any file's length, which the sums of the directory do not come to.
        let bytes = parts.end().saturating_sub(before.offset);
        let room_for_blocks = counts.block_count.saturating_mul(BLOCK_LEN_MIN) <= counts.blocks_len;
        let room_for_entries = counts.entries_max.saturating_mul(counts.block_count) >= entries && entries <= counts.blocks_len;
        let ordered = first_key <= last_key && first_revision <= last_revision && first_created <= last_created;
        let agrees = (deadlines == 0) == (first_deadline == 0)
            && (counts.lines == 0) == (counts.block_count == 1)
            && parts.separators_len().is_some()
            && counts.prefix_len <= first_key.len();
        if keys == 0 || !room_for_blocks || !room_for_entries || !ordered || !agrees {
            return Err(error);
        }
        Ok(Self {
            bucket,
            entries,
            keys,
            puts,
            markers,
            first_revision,
            last_revision,
            first_created,
            last_created,
            deadlines,
            first_deadline,
            first_key,
            last_key,
            bytes,
            parts,
        })
    }
}

impl Before {
    /// The first section of a file.
    pub(super) const START: Self = Self { offset: HEADER_LEN as u64, blocks: 0, granules: 0, sections: 0 };

    /// `None` if a file cannot be that long.
    pub(super) fn after(&self, parts: &Parts) -> Option<Self> {
        Some(Self {
            offset: Some(parts.end()).filter(|end| *end < u64::MAX)?,
            blocks: self.blocks.checked_add(parts.block_count)?,
            granules: self.granules.checked_add(parts.granules())?,
            sections: self.sections.checked_add(1)?,
        })
    }
}

pub(super) fn encode_directory(sections: &[SectionInfo]) -> Vec<u8> {
    let mut out = Vec::new();
    for section in sections {
        section.encode(&mut out);
    }
    out
}

/// The sections, by the bytes between the directory's offset and the footer.
pub(super) fn decode_directory(bytes: &[u8], footer: &Footer) -> Result<Vec<SectionInfo>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let mut sections: Vec<SectionInfo> = Vec::new();
    let (mut before, mut entries) = (Before::START, 0_u64);
    while !reader.is_empty() {
        let start = reader;
        let section = SectionInfo::decode(&mut reader, &before)?;
        if sections.last().is_some_and(|last| section.bucket <= last.bucket) {
            return Err(start.error("order of buckets in the directory"));
        }
        before = before.after(&section.parts).ok_or(start.error("length of a section"))?;
        entries = entries.checked_add(section.entries).ok_or(start.error("count of entries"))?;
        sections.push(section);
    }
    let agrees = before.offset == footer.directory_offset && before.blocks == footer.blocks && entries == footer.entries;
    if !agrees || before.sections != u64::from(footer.section_count) || sections.is_empty() {
        return Err(DecodeError { at: 0, what: "sums of the directory" });
    }
    Ok(sections)
}
