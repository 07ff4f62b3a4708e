//! The bytes of a segment: an immutable file of sorted entries, one section per bucket. The one description of them.
//!
//! ```text
//! file    = header, section*, directory, footer          nothing lies between the parts
//! section = block*, zeros, tables, sums                  zeros: up to a multiple of 64, if there is an index; else none
//! tables  = index, fences, revisions, deadlines          a section of one block has only fences
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
//! varints: bucket id; counts of entries, keys, puts, markers; lowest and highest revision; earliest and latest created;
//!          count of entries with a deadline, and the earliest deadline or 0; count n of blocks, the most entries m of any,
//!          length of all blocks; lines of the index; length of the fences, length p of the prefix of all separators
//! u32 checksum of the sums; first key and last key, each behind its length as a varint
//! ```
//! The first section starts at 64, the next where the sums before it end; the last sums end where the directory begins.
//!
//! ```text
//! block: 33 bytes, then its body                fences of a section with n blocks
//! offset size field                             size   field
//!      0    4 checksum of all that follows      8 * n  heads of the separators
//!      4    4 length stored, with this header   8 * n  offsets of the blocks
//!      8    4 length when not compressed       30 * n  u32 checksum of the block; u64 lowest, u64 highest revision;
//!     12    2 count of entries, at least 1             u16 counts of entries, puts, markers;
//!     14    1 compression: 0 none, 1 zstd              u32 end of its separator in what follows
//!     15    1 low 4 bits: width r of revisions,   *    the separators without the prefix, one after the other
//!             high 4 bits: width c of times
//!     16    8 lowest revision                   entry (its value ends where the next entry starts, or the block)
//!     24    8 lowest created                    varint length of the key behind the prefix
//!     32    1 length of the shared prefix       varint flags << 2 | has an origin << 1 | has a deadline
//!     33 10*n per entry: u64 head of its key,     r    revision - lowest revision
//!             u16 its start in the block          c    created - lowest created
//!           * the prefix that all keys share,   varint deadline - created, zigzag, modulo 2^64, if it has a deadline
//!             255 bytes at most                 varint origin, if it has one
//!           * the entries                       bytes  the key behind prefix and head: its length - 8, or none
//!                                               bytes  value
//! ```
//! A *head* is the 8 bytes after the prefix, filled up with zeros, as the number that they are in big-endian order: comparing two
//! heads compares the keys, and only equal heads ask for the rest. The records of heads and starts lie at a place that depends on nothing but
//! the number of the entry, so whoever knows block and entry reads header, record and entry without a search. The widths r and c are
//! the fewest bytes that hold all differences of the block, 0 to 8.
//!
//! Of a compressed block the body is one Zstandard frame of what the body would be; `length when not compressed` bounds it, and is at most
//! 4,325,376. It is compressed only if that saves more than an eighth (12.5 %).
//!
//! Order of entries: bucket, then key as unsigned bytes, then revision from high to low. A dropped entry stands before the marker of
//! its revision. The revisions of a key may go on in the next block.
//!
//! The *separator* of a block is the shortest string above the last key of the block before and not above its own first key; that first
//! key itself if both are equal, or if there is no block before. The prefix that all share is that of the first key, by its length.
//!
//! A *position* names an entry of a section: block << e | number in its block, e bits for m - 1, as few as hold it; with the
//! bits for n - 1 that makes b bits, at most 32.
//!
//! ```text
//! line of the index: 64 bytes; w = (b + 2) / 8 rounded up, s = 60 / (1 + w)
//! offset size field
//!      0    1 used slots
//!      1    1 reach: how many lines further the keys of this line went, 255 if one of them found no place
//!      2    2 zero
//!      4    s tags: bits 0-7 of the hash
//!    4+s  s*w positions; the bits above b are bits 8 and up of the hash
//! ```
//! The *index* has one slot for each key, for its newest entry. A key's home is line (hash >> 32) * lines >> 32, by the hash of module
//! `hash`. Keys are entered in order, each into the first line from its home on that has a free slot, at most 15 further, after the last
//! line the first. Slots are filled from the front; what is not used is zero. The keys of a line with reach 255 are looked for by the fences.
//!
//! *Revisions* are the positions of all entries, ordered by revision and then position; *deadlines* those of the entries with a deadline,
//! by deadline and then position. Both are b bits each, the lowest bit first, filled up with zeros to a byte. Behind the positions of
//! deadlines stands the deadline of every 64th entry in that order, beginning with the first, as a u64.
//!
//! **Checksums** are CRC-32 (module `checksum`), seeded with uuid, file number and the offset of what they cover, so that right bytes in a
//! wrong place or of an earlier file do not verify. Each block's stands in the block and in its fence. The *sums* are those of every 4,096
//! bytes of the tables, u32 each, the last of what is left; the sums' own stands in the directory, the directory's in the footer, the
//! footer's in the manifest: who knows that one number knows every byte (the header is compared with the manifest's uuid and file number
//! field by field, and zeros are zeros).
//!
//! **A reader calls it invalid** when
//! - `SEG-1` its length is not the one of the manifest, or below header and footer;
//! - `SEG-2` magic, checksum or a zero of the header is wrong, or uuid or file number is not the expected one;
//! - `SEG-3` magic or checksum of the footer is wrong or not the manifest's, or it disagrees with length, number or the directory's place;
//! - `SEG-4` the directory's checksum is wrong, a field does not decode, buckets do not ascend, the parts do not fill the file, a count
//!   exceeds what its bytes can hold, a range is upside down, or the sums are not those of the footer;
//! - `SEG-5` the checksum of the sums or of a piece of the tables is wrong, or a separator, block or position reaches outside what there is;
//! - `SEG-6` a block's checksum is wrong or not that of its fence, its lengths disagree, it has no entry, a width is above 8, or it does
//!   not decompress to its length;
//! - `SEG-7` an entry reaches outside its block, a varint is longer than it needs to be or beyond its range, or unknown flag bits are set;
//! - `SEG-8` (`verify` only, as it takes reading everything) order, heads, prefixes, widths or counts are not what the entries say, or the
//!   tables are not, byte for byte, those that the entries call for.
//!
//! SEG-1 to SEG-4 are checked at open, the others at the first use of their bytes. A failed check is never remembered as a good one.
//!
//! A segment has no torn tail: it is synced before anything names it, so one that is cut short is corrupt.
//!
//! **Versions.** Magic, version and checksum of the header stay where they are in all versions; a version above 1 in a header that verifies
//! is `UnsupportedFormat`, and so is a compression that this build does not know. What stands as zero may get a meaning only under a
//! new version.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use std::path::Path;

use crate::checksum::checksum;
use crate::codec::{DecodeError, Reader};
use crate::entry::Flags;
use crate::error::{Error, ErrorKind};
use crate::number::{FileNumber, Revision};

/// The version that this build writes, and the newest that it reads.
pub(super) const VERSION: u32 = 1;
pub(super) const HEADER_LEN: usize = 64;
pub(super) const FOOTER_LEN: usize = 64;
pub(super) const BLOCK_HEADER_LEN: usize = 33;
/// What the checksum at the start of a block covers begins here.
pub(super) const BLOCK_CHECKSUM_LEN: usize = 4;
/// The 8 bytes that searches compare first.
pub(super) const HEAD_LEN: usize = 8;
/// Head and start of an entry.
pub(super) const RECORD_LEN: usize = 10;
/// The most that a block's shared prefix has: with it, every first entry starts where 16 bits can say.
pub(super) const PREFIX_LEN_MAX: usize = 255;
/// The most that several entries fill; any one entry may have a block of its own, whatever its length. Its entries, written as
/// wide as they can be, still start where 16 bits can say: each takes at least 22 bytes by the builder's count and 30 more at most.
pub(super) const BLOCK_LEN_MAX: usize = 16 << 10;
/// The longest block that is compressed: 4 MiB of value, and room for a key and fields.
pub(super) const COMPRESSED_BLOCK_LEN_MAX: usize = (4 << 20) + (128 << 10);
/// Header, one record, and the two shortest fields of an entry.
pub(super) const BLOCK_LEN_MIN: u64 = (BLOCK_HEADER_LEN + RECORD_LEN + 2) as u64;
/// What is below an entry's flags.
pub(super) const HAS_DEADLINE: u64 = 1;
pub(super) const HAS_ORIGIN: u64 = 2;
pub(super) const FLAGS_SHIFT: u32 = 2;
/// What a fence has behind head and offset.
pub(super) const FENCE_LEN: usize = 30;
/// A line of the index.
pub(super) const LINE_LEN: usize = 64;
/// What of the tables has a checksum of its own.
pub(super) const GRANULE_LEN: u64 = 4096;
/// Entries from one stored deadline to the next.
pub(super) const DEADLINE_STEP: u64 = 64;
/// The most bits of a position.
pub(super) const POSITION_BITS_MAX: u32 = 32;
/// The most bytes of a key: what the 16-bit lengths can say.
pub(super) const KEY_LEN_MAX: usize = u16::MAX as usize;

const HEADER_MAGIC: [u8; 8] = *b"ANNALSSG";
const FOOTER_MAGIC: [u8; 8] = *b"ANNALSSF";
/// Where header and footer have their checksum, which covers what is before it.
const FRAME_CHECKSUM_AT: usize = 60;

const _: () = assert!(HEADER_LEN == 8 + 4 + 4 + 16 + 8 + 20 + 4, "change the table above and the golden bytes too");
const _: () = assert!(FOOTER_LEN == 8 + 4 + 4 + 8 + 8 + 8 + 8 + 8 + 4 + 4, "change the table above and the golden bytes too");
const _: () = assert!(BLOCK_HEADER_LEN == 4 + 4 + 4 + 2 + 1 + 1 + 8 + 8 + 1, "change the table above and the golden bytes too");
const _: () = assert!(FENCE_LEN == 4 + 8 + 8 + 2 + 2 + 2 + 4, "change the table above and the golden bytes too");
const _: () = assert!(BLOCK_LEN_MAX / 22 * 52 + PREFIX_LEN_MAX + BLOCK_HEADER_LEN < 1 << 16);
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
