//! The bytes of a segment: an immutable file of sorted entries, one section per bucket. The one description of them.
//!
//! ```text
//! file      = header, section*, directory, footer        section = block*, fences        nothing lies between the parts
//! ```
//! Integers are little-endian; `varint` is that of `codec`. Offsets count from the start of the file unless said otherwise.
//!
//! ```text
//! header: 64 bytes at 0                         footer: the last 64 bytes
//! offset size field                             offset size field
//!      0    8 magic "ANNALSSG"                       0    8 magic "ANNALSSF"
//!      8    4 format version = 1                     8    4 format version = 1
//!     12    4 zero                                  12    4 count of sections
//!     16   16 uuid of the store                     16    8 offset of the directory
//!     32    8 file number                           24    8 length of the file
//!     40   20 zero                                  32    8 count of entries
//!     60    4 checksum of bytes 0..60, seed 0       40    8 count of blocks
//!                                                   48    8 file number
//!                                                   56    4 checksum of the directory
//!                                                   60    4 checksum of bytes 0..60
//! ```
//! The directory reaches from its offset to the footer. Per section, buckets ascending:
//! ```text
//! varints: bucket id, count of entries, of markers, lowest revision, highest revision, earliest created, latest created,
//!          count of entries with a deadline, earliest deadline or 0, count of blocks, length of all blocks, length of the fences;
//!          u32 checksum of the fences; first key and last key, each behind its length as a varint
//! ```
//! The first section starts at 64, the next where the fences before it end; the last fences end where the directory begins.
//!
//! ```text
//! block: 36 bytes, then its body                fences of a section with n blocks
//! offset size field                             size   field
//!      0    4 checksum of all that follows         2   length p of the prefix that all separators share
//!      4    4 length stored, with this header      p   that prefix
//!      8    4 length when not compressed        8 * n  heads of the separators
//!     12    4 count n of entries, at least 1   52 * n  fence: u64 offset, u32 length, u32 checksum of the block; u64 lowest,
//!     16    1 compression: 0 none                      u64 highest revision; u32 counts of entries, puts, markers;
//!     17    1 flags: 0                                 u64 end of its separator in what follows
//!     18    2 length p of the shared prefix       *   the separators without the prefix, one after the other
//!     20    8 lowest revision
//!     28    8 lowest created                   entry (its value ends where the next entry starts, or the block)
//!     36    p prefix that all keys share       varint  length r of the key behind the prefix
//!         8*n heads of the keys                 bytes  the key behind prefix and head: r - 8 bytes, or none
//!         4*n where each entry starts,         varint  flags << 2 | has an origin << 1 | has a deadline
//!             counted from the first one       varint  revision - lowest revision;  varint  created - lowest created
//!           * the entries                      varint  deadline - created, zigzag, modulo 2^64, if it has a deadline
//!                                              varint  origin, if it has one;  bytes  value
//! ```
//! A *head* is the 8 bytes after the prefix, filled up with zeros, as the number that they are in big-endian order: comparing two
//! heads compares the keys, and only equal heads ask for the rest. Heads lie together, so a search touches few cache lines, and the
//! arrays make entry k as cheap as its neighbour before as after.
//!
//! Order of entries: bucket, then key as unsigned bytes, then revision from high to low. A dropped entry stands before the marker of
//! its revision. The revisions of a key may go on in the next block.
//!
//! The *separator* of a block is the shortest string above the last key of the block before and not above its own first key; that first
//! key itself if both are equal, or if there is no block before.
//!
//! **Checksums** are CRC-32 (module `checksum`), seeded with uuid, file number and the offset of what they cover, so that right bytes in a
//! wrong place or of an earlier file do not verify. Each block's stands in the block and in its fence, the fences' in the directory, the
//! directory's in the footer, the footer's in the manifest: who knows that one number knows every byte (the header is compared with the
//! manifest's uuid and file number field by field).
//!
//! **A reader calls it invalid** when
//! - `SEG-1` its length is not the one of the manifest, or below header and footer;
//! - `SEG-2` magic, checksum or a zero of the header is wrong, or uuid or file number is not the expected one;
//! - `SEG-3` magic or checksum of the footer is wrong or not the manifest's, or it disagrees with length, number or the directory's place;
//! - `SEG-4` the directory's checksum is wrong, a field does not decode, buckets do not ascend, the parts do not fill the file, a count
//!   exceeds what its bytes can hold, a range is upside down, or the sums are not those of the footer;
//! - `SEG-5` the checksum of fences is wrong, or a prefix, separator or block reaches outside the bytes that there are;
//! - `SEG-6` a block's checksum is wrong or not that of its fence, its lengths disagree, it has no entry, or its flags are not 0;
//! - `SEG-7` an entry reaches outside its block, a varint is longer than it needs to be or beyond its range, or unknown flag bits are set;
//! - `SEG-8` (`verify` only, as it takes reading everything) order, heads, prefixes, separators, zone maps or counts are not what the
//!   entries say.
//!
//! SEG-1 to SEG-4 are checked at open, the others at the first use of their bytes. A failed check is never remembered as a good one.
//!
//! A segment has no torn tail: it is synced before anything names it, so one that is cut short is corrupt.
//!
//! **Versions.** Magic, version and checksum of the header stay where they are in all versions; a version above 1 in a header that verifies
//! is `UnsupportedFormat`, and so is a compression other than 0. What stands as zero may get a meaning only under a new version.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use std::path::Path;

use crate::checksum::checksum;
use crate::codec::{DecodeError, Reader, put_prefixed, put_varint};
use crate::entry::Flags;
use crate::error::{Error, ErrorKind};
use crate::number::{BucketId, FileNumber, Revision};

/// The version that this build writes, and the newest that it reads.
pub(super) const VERSION: u32 = 1;
pub(super) const HEADER_LEN: usize = 64;
pub(super) const FOOTER_LEN: usize = 64;
pub(super) const BLOCK_HEADER_LEN: usize = 36;
/// What the checksum at the start of a block covers begins here.
pub(super) const BLOCK_CHECKSUM_LEN: usize = 4;
/// The 8 bytes that searches compare first.
pub(super) const HEAD_LEN: usize = 8;
/// Where an entry of a block starts.
pub(super) const START_LEN: usize = 4;
/// Header, one head, one start, and the four shortest fields of an entry.
const BLOCK_LEN_MIN: u64 = (BLOCK_HEADER_LEN + HEAD_LEN + START_LEN + 4) as u64;
/// What is below an entry's flags.
pub(super) const HAS_DEADLINE: u64 = 1;
pub(super) const HAS_ORIGIN: u64 = 2;
pub(super) const FLAGS_SHIFT: u32 = 2;
pub(super) const FENCE_LEN: usize = 52;
/// Where a fence has its block's checksum.
#[cfg(any(test, feature = "testing"))]
pub(super) const FENCE_CHECKSUM_AT: usize = 12;
/// The most bytes of a key: what the 16-bit lengths can say.
pub(super) const KEY_LEN_MAX: usize = u16::MAX as usize;

const HEADER_MAGIC: [u8; 8] = *b"ANNALSSG";
const FOOTER_MAGIC: [u8; 8] = *b"ANNALSSF";
/// Where header and footer have their checksum, which covers what is before it.
const FRAME_CHECKSUM_AT: usize = 60;

const _: () = assert!(HEADER_LEN == 8 + 4 + 4 + 16 + 8 + 20 + 4, "change the table above and the golden bytes too");
const _: () = assert!(FOOTER_LEN == 8 + 4 + 4 + 8 + 8 + 8 + 8 + 8 + 4 + 4, "change the table above and the golden bytes too");
const _: () = assert!(BLOCK_HEADER_LEN == 4 + 4 + 4 + 4 + 1 + 1 + 2 + 8 + 8, "change the table above and the golden bytes too");
const _: () = assert!(FENCE_LEN == 8 + 4 + 4 + 8 + 8 + 4 + 4 + 4 + 8, "change the table above and the golden bytes too");
const _: () = assert!(FRAME_CHECKSUM_AT + 4 == HEADER_LEN && FRAME_CHECKSUM_AT + 4 == FOOTER_LEN);

/// Which file of which store: what seeds its checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The store's uuid.
    pub(crate) store: u128,
    pub(crate) number: FileNumber,
}

impl Identity {
    /// The seed of the checksum over what lies at `offset`.
    pub(super) const fn seed(&self, offset: u64) -> u64 {
        let mut seed = scramble(self.store as u64);
        seed = scramble(seed ^ (self.store >> 64) as u64);
        seed = scramble(seed ^ self.number.0);
        scramble(seed ^ offset)
    }
}

/// Spreads every bit over all (the finaliser of splitmix64), so that neighbouring numbers and offsets do not cancel out.
const fn scramble(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Why bytes are not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Invalid(DecodeError),
    /// A format version above ours.
    Version(u32),
    /// A compression that this build lacks.
    Compression(u8),
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self::Invalid(error)
    }
}

impl Refusal {
    /// The error for bytes that start at `base` of `path`.
    #[cold]
    pub(super) fn into_error(self, path: &Path, base: u64) -> Error {
        match self {
            Self::Invalid(error) => Error::corrupt(path, base.saturating_add(error.at as u64), format!("invalid {}", error.what)),
            Self::Version(version) => Error::new(
                ErrorKind::UnsupportedFormat,
                format!("segment of a newer format version, found={version} known={VERSION}"),
            )
            .with_file(path),
            Self::Compression(code) => {
                Error::new(ErrorKind::UnsupportedFormat, format!("block with a compression that this build lacks, found={code}"))
                    .with_file(path)
                    .with_offset(base)
            }
        }
    }
}

/// Whether an entry may come after `previous` of the same bucket.
pub(super) fn follows(previous: (&[u8], Revision, Flags), next: (&[u8], Revision, Flags)) -> bool {
    match previous.0.cmp(next.0) {
        std::cmp::Ordering::Less => true,
        std::cmp::Ordering::Greater => false,
        std::cmp::Ordering::Equal => next.1 < previous.1 || (next.1 == previous.1 && previous.2.is_dropped()),
    }
}

/// The 8 bytes that a key goes on with behind its prefix, as a number that compares like them.
#[inline]
pub(super) fn head_of(rest: &[u8]) -> u64 {
    if let Some(head) = rest.first_chunk::<8>() {
        return u64::from_be_bytes(*head);
    }
    let mut head = [0; 8];
    for (target, source) in head.iter_mut().zip(rest) {
        *target = *source;
    }
    u64::from_be_bytes(head)
}

/// How many bytes both start with.
pub(super) fn shared_len(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

pub(super) fn encode_header(identity: &Identity) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LEN);
    out.extend_from_slice(&HEADER_MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&identity.store.to_le_bytes());
    out.extend_from_slice(&identity.number.0.to_le_bytes());
    out.extend_from_slice(&[0; 20]);
    let sum = checksum(0, &[&out]);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

/// Whose file it is, by its first 64 bytes.
pub(super) fn decode_header(bytes: &[u8]) -> Result<Identity, Refusal> {
    let mut reader = Reader::new(bytes);
    if reader.bytes(8, "segment header")? != HEADER_MAGIC {
        return Err(DecodeError { at: 0, what: "magic of a segment" }.into());
    }
    let version = reader.u32("format version")?;
    let zero = reader.u32("segment header")?;
    let store = reader.u128("uuid of the store")?;
    let number = FileNumber(reader.u64("file number")?);
    let zeros = reader.bytes(20, "segment header")?;
    let sum = reader.u32("checksum of the header")?;
    reader.finish("segment header")?;
    if sum != checksum(0, &[bytes.get(..FRAME_CHECKSUM_AT).unwrap_or_default()]) {
        return Err(DecodeError { at: FRAME_CHECKSUM_AT, what: "checksum of the header" }.into());
    }
    if version > VERSION {
        return Err(Refusal::Version(version));
    }
    if version == 0 || zero != 0 || zeros.iter().any(|byte| *byte != 0) {
        return Err(DecodeError { at: 8, what: "segment header" }.into());
    }
    Ok(Identity { store, number })
}

/// The last 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) section_count: u32,
    pub(super) directory_offset: u64,
    pub(super) file_len: u64,
    pub(super) entries: u64,
    pub(super) blocks: u64,
    pub(super) directory_checksum: u32,
}

impl Footer {
    /// The bytes; the last four are the checksum that pins the whole file.
    pub(super) fn encode(&self, identity: &Identity) -> Vec<u8> {
        let mut out = Vec::with_capacity(FOOTER_LEN);
        out.extend_from_slice(&FOOTER_MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.section_count.to_le_bytes());
        for number in [self.directory_offset, self.file_len, self.entries, self.blocks, identity.number.0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.directory_checksum.to_le_bytes());
        let sum = checksum(Self::seed(identity, self.file_len), &[&out]);
        out.extend_from_slice(&sum.to_le_bytes());
        out
    }

    /// The footer of a file of `file_len` bytes, and its checksum.
    pub(super) fn decode(bytes: &[u8], identity: &Identity, file_len: u64) -> Result<(Self, u32), Refusal> {
        let mut reader = Reader::new(bytes);
        if reader.bytes(8, "segment footer")? != FOOTER_MAGIC {
            return Err(DecodeError { at: 0, what: "magic of a segment footer" }.into());
        }
        let version = reader.u32("format version")?;
        let footer = Self {
            section_count: reader.u32("count of sections")?,
            directory_offset: reader.u64("offset of the directory")?,
            file_len: reader.u64("length of the file")?,
            entries: reader.u64("count of entries")?,
            blocks: reader.u64("count of blocks")?,
            directory_checksum: {
                if reader.u64("file number")? != identity.number.0 {
                    return Err(reader.error("file number in the footer").into());
                }
                reader.u32("checksum of the directory")?
            },
        };
        let sum = reader.u32("checksum of the footer")?;
        reader.finish("segment footer")?;
        if sum != checksum(Self::seed(identity, file_len), &[bytes.get(..FRAME_CHECKSUM_AT).unwrap_or_default()]) {
            return Err(DecodeError { at: FRAME_CHECKSUM_AT, what: "checksum of the footer" }.into());
        }
        if version > VERSION {
            return Err(Refusal::Version(version));
        }
        let directory = HEADER_LEN as u64..=file_len.saturating_sub(FOOTER_LEN as u64);
        if version == 0 || footer.file_len != file_len || !directory.contains(&footer.directory_offset) {
            return Err(DecodeError { at: 8, what: "segment footer" }.into());
        }
        Ok((footer, sum))
    }

    const fn seed(identity: &Identity, file_len: u64) -> u64 {
        identity.seed(file_len.saturating_sub(FOOTER_LEN as u64))
    }
}

/// What the directory says of one bucket's section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SectionInfo {
    pub(crate) bucket: BucketId,
    /// All entries: puts, markers and dropped ones.
    pub(crate) entries: u64,
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
    /// Blocks and fences together.
    pub(crate) bytes: u64,
    /// Where the first block starts.
    pub(super) offset: u64,
    /// The number of its first block, counted through the file.
    pub(super) first_block: u64,
    pub(super) block_count: u64,
    pub(super) fences_len: u64,
    pub(super) fences_checksum: u32,
}

impl SectionInfo {
    pub(super) const fn blocks_len(&self) -> u64 {
        self.bytes.saturating_sub(self.fences_len)
    }

    pub(super) const fn fences_offset(&self) -> u64 {
        self.offset.saturating_add(self.blocks_len())
    }

    pub(super) const fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let ranges = [self.first_revision.0, self.last_revision.0, self.first_created, self.last_created];
        let deadlines = [self.deadlines, self.first_deadline];
        for number in [self.bucket.0, self.entries, self.markers].into_iter().chain(ranges).chain(deadlines) {
            put_varint(out, number);
        }
        for number in [self.block_count, self.blocks_len(), self.fences_len] {
            put_varint(out, number);
        }
        out.extend_from_slice(&self.fences_checksum.to_le_bytes());
        put_prefixed(out, &self.first_key);
        put_prefixed(out, &self.last_key);
    }

    fn decode(reader: &mut Reader<'_>, offset: u64, first_block: u64) -> Result<Self, DecodeError> {
        let start = *reader;
        let bucket = BucketId(reader.varint("bucket id")?);
        let entries = reader.varint("count of entries")?;
        let markers = reader.varint_max(entries, "count of markers")?;
        let first_revision = Revision(reader.varint("lowest revision")?);
        let last_revision = Revision(reader.varint("highest revision")?);
        let first_created = reader.varint("earliest time")?;
        let last_created = reader.varint("latest time")?;
        let deadlines = reader.varint_max(entries, "count of deadlines")?;
        let first_deadline = reader.varint("earliest deadline")?;
        let block_count = reader.varint_max(entries, "count of blocks")?;
        let blocks_len = reader.varint("length of the blocks")?;
        let fences_len = reader.varint("length of the fences")?;
        let fences_checksum = reader.u32("checksum of the fences")?;
        let first_key = reader.prefixed(KEY_LEN_MAX, "first key")?.into();
        let last_key = reader.prefixed(KEY_LEN_MAX, "last key")?.into();
        let bytes = blocks_len.checked_add(fences_len).ok_or(start.error("length of a section"))?;
        let section = Self {
            bucket,
            entries,
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
            offset,
            first_block,
            block_count,
            fences_len,
            fences_checksum,
        };
        let room_for_blocks = block_count.saturating_mul(BLOCK_LEN_MIN) <= blocks_len;
        let room_for_fences = block_count.saturating_mul((HEAD_LEN + FENCE_LEN) as u64) <= fences_len;
        let ascending = section.first_key <= section.last_key && first_revision <= last_revision && first_created <= last_created;
        if block_count == 0 || !room_for_blocks || !room_for_fences || !ascending || (deadlines == 0) != (first_deadline == 0) {
            return Err(start.error("section in the directory"));
        }
        Ok(section)
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
    let (mut offset, mut blocks, mut entries) = (HEADER_LEN as u64, 0_u64, 0_u64);
    while !reader.is_empty() {
        let start = reader;
        let section = SectionInfo::decode(&mut reader, offset, blocks)?;
        if sections.last().is_some_and(|last| section.bucket <= last.bucket) {
            return Err(start.error("order of buckets in the directory"));
        }
        offset = offset.checked_add(section.bytes).ok_or(start.error("length of a section"))?;
        blocks = blocks.checked_add(section.block_count).ok_or(start.error("count of blocks"))?;
        entries = entries.checked_add(section.entries).ok_or(start.error("count of entries"))?;
        sections.push(section);
    }
    let agrees = offset == footer.directory_offset && blocks == footer.blocks && entries == footer.entries;
    if !agrees || sections.len() as u64 != u64::from(footer.section_count) || sections.is_empty() {
        return Err(DecodeError { at: 0, what: "sums of the directory" });
    }
    Ok(sections)
}
