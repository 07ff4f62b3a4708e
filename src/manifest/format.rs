//! The bytes of the file `MANIFEST`: a header, then one body with the whole state. Little-endian; varints as in
//! [`codec`](crate::codec).
//!
//! | offset | size | field | meaning |
//! |---|---|---|---|
//! | 0 | 8 | magic | `ANNALSMF` |
//! | 8 | 4 | version | 1 |
//! | 12 | 4 | body length | at most 1 GiB less the header |
//! | 16 | 4 | body checksum | over the body, seeded with the magic |
//! | 20 | 4 | header checksum | over the 20 bytes before it |
//!
//! The body: store u128; incarnation u64; clean u8 (0 or 1); varints file ceiling, flushed commit, last commit, log floor;
//! varint count of log files and a varint number for each; varints next bucket id, wall time, store time; varint count of
//! buckets and the buckets; varint count of segments, by number, and for each: varint number, varint length, u32 checksum, varint
//! entries; varint count of runs, newest first, and for each: varint count of its parts and for each, in the order of bucket and key:
//! varint number of a segment, u8 which ends its live range has (1 = where it begins, 2 = where it ends, 3 = both, 0 = none), and those
//! ends, each of them: varint bucket id, varint length of a key, the key.
//!
//! A bucket: varint id; specification; varints commit of its creation, commit of its last change, last revision, last revision when the
//! incarnation began, floor, commit of the last purge-all, as-of floor, watch floor; varint count of eras and for each: varint commit,
//! varint through, u8 depth, varint cutoff; u8 deadlines seen (0 or 1); varints deadline and revision of the cursor; varint count of ends and for each:
//! u64 incarnation, varint revision; u8 whether its size is known (0 or 1), and if so varint bytes and varint store time as of which.
//!
//! The file is replaced as a whole and never torn. A reader refuses it
//! - MANIFEST-1: as corrupt, if the header does not verify, the length of the file is not that of header and body, or the body
//!   does not verify;
//! - MANIFEST-2: as newer, if the header verifies and names another version. The header is the same in every version;
//! - MANIFEST-3: as corrupt, if the body does not decode to its last byte, or breaks a rule of [`Manifest::check`]: order,
//!   duplicates, numbers that were never given out. Equal states have equal bytes.
//!
//! There is no reading of a part, and no older manifest to fall back to.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use crate::checksum::checksum;
use crate::codec::{DecodeError, Reader, put_prefixed, put_varint};
use crate::manifest::{Bound, BucketSize, BucketState, ENDS_MAX, LiveRange, Manifest, PartRef, SegmentRef};
use crate::number::{BucketId, CommitNumber, FileNumber, Revision};
use crate::spec::{BucketSpec, ClockPair, Era};

/// What the file starts with.
pub(crate) const MAGIC: [u8; 8] = *b"ANNALSMF";
/// The layout that this page describes.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// Length of the header.
pub(crate) const HEADER_LEN: usize = 8 + 4 + 4 + 4 + 4;
/// The longest key at the end of a live range; segments know none that is longer.
const BOUND_LEN_MAX: usize = u16::MAX as usize;
/// The longest manifest.
pub(crate) const FILE_LEN_MAX: u64 = 1 << 30;

const _: () = assert!(HEADER_LEN == 24, "change the table above and the golden bytes too");
const _: () = assert!(FILE_LEN_MAX <= u32::MAX as u64, "the body's length has 32 bits");

/// Why bytes are not a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ManifestError {
    /// Not what any version writes; where, from the start of the file.
    Corrupt(DecodeError),
    /// Written by this version of the format, which is not ours.
    OtherVersion(u32),
}

impl From<DecodeError> for ManifestError {
    fn from(error: DecodeError) -> Self {
        Self::Corrupt(error)
    }
}

impl Manifest {
    /// The whole file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        self.encode_body(&mut body);
        let mut out = encode_header(FORMAT_VERSION, &body);
        out.append(&mut body);
        out
    }

    fn encode_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.store.to_le_bytes());
        out.extend_from_slice(&self.incarnation.to_le_bytes());
        out.push(self.clean.into());
        put_varints(out, &[self.file_ceiling.0, self.flushed.0, self.last_commit.0, self.log_floor.0]);
        put_varint(out, self.logs.len() as u64);
        for number in &self.logs {
            put_varint(out, number.0);
        }
        put_varints(out, &[self.next_bucket.0, self.clock.wall, self.clock.store]);
        put_varint(out, self.buckets.len() as u64);
        for bucket in &self.buckets {
            bucket.encode(out);
        }
        put_varint(out, self.segments.len() as u64);
        for segment in &self.segments {
            put_varints(out, &[segment.number.0, segment.len]);
            out.extend_from_slice(&segment.checksum.to_le_bytes());
            put_varint(out, segment.entries);
        }
        put_varint(out, self.runs.len() as u64);
        for run in &self.runs {
            put_varint(out, run.len() as u64);
            run.iter().for_each(|part| part.encode(out));
        }
    }

    /// Reads a whole file.
    pub(crate) fn decode(file: &[u8]) -> Result<Self, ManifestError> {
        let mut reader = Reader::new(file);
        let body = decode_header(&mut reader)?;
        let base = reader.at().saturating_sub(body.len());
        let mut reader = Reader::new(body);
        let in_file = |error: DecodeError| DecodeError { at: error.at.saturating_add(base), ..error };
        let manifest = Self::decode_body(&mut reader).map_err(in_file)?;
        reader.finish("the end of the manifest").map_err(in_file)?;
        manifest.check().map_err(|what| DecodeError { at: base, what })?;
        Ok(manifest)
    }

    fn decode_body(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            store: reader.u128("the store's identity")?,
            incarnation: reader.u64("the incarnation")?,
            clean: truth(reader, "whether the store was closed")?,
            file_ceiling: FileNumber(reader.varint("the ceiling of file numbers")?),
            flushed: commit(reader, "the flushed commit")?,
            last_commit: commit(reader, "the last commit")?,
            log_floor: FileNumber(reader.varint("the log floor")?),
            logs: list(reader, "log files", |reader| Ok(FileNumber(reader.varint("a log file")?)))?,
            next_bucket: BucketId(reader.varint("the next bucket id")?),
            clock: ClockPair { wall: reader.varint("wall time")?, store: reader.varint("store time")? },
            buckets: list(reader, "buckets", BucketState::decode)?,
            segments: list(reader, "segments", decode_segment)?,
            runs: list(reader, "runs", |reader| list(reader, "parts of a run", PartRef::decode))?,
        })
    }
}

/// Which ends a live range has.
const HAS_FROM: u8 = 1;
const HAS_TO: u8 = 2;

impl PartRef {
    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.number.0);
        let (from, to) = (self.live.from(), self.live.to());
        out.push(if from.is_some() { HAS_FROM } else { 0 } | if to.is_some() { HAS_TO } else { 0 });
        for (bucket, key) in from.into_iter().chain(to) {
            put_varint(out, bucket.0);
            put_prefixed(out, key);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let number = FileNumber(reader.varint("the segment of a part")?);
        let at = *reader;
        let ends = reader.u8("the ends of a live range")?;
        if ends > HAS_FROM | HAS_TO {
            return Err(at.error("the ends of a live range"));
        }
        let from = if ends & HAS_FROM == 0 { None } else { Some(decode_bound(reader)?) };
        let to = if ends & HAS_TO == 0 { None } else { Some(decode_bound(reader)?) };
        Ok(Self { number, live: LiveRange::new(from, to) })
    }
}

fn decode_bound(reader: &mut Reader<'_>) -> Result<Bound, DecodeError> {
    let bucket = BucketId(reader.varint("the bucket of an end")?);
    Ok((bucket, reader.prefixed(BOUND_LEN_MAX, "the key of an end")?.into()))
}

impl BucketState {
    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.id.0);
        self.spec.encode(out);
        put_varints(out, &[self.created.0, self.changed.0, self.last_revision.0, self.start.0, self.floor.0]);
        put_varints(out, &[self.purged.0, self.as_of_floor.0, self.watch_floor.0]);
        put_varint(out, self.eras.len() as u64);
        for era in &self.eras {
            put_varints(out, &[era.commit.0, era.through.0]);
            out.push(era.depth);
            put_varint(out, era.cutoff);
        }
        out.push(self.deadlines_seen.into());
        put_varints(out, &[self.cursor.0, self.cursor.1.0]);
        put_varint(out, self.ends.len() as u64);
        for (incarnation, revision) in &self.ends {
            out.extend_from_slice(&incarnation.to_le_bytes());
            put_varint(out, revision.0);
        }
        out.push(self.size.is_some().into());
        if let Some(size) = self.size {
            put_varints(out, &[size.bytes, size.as_of]);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            id: BucketId(reader.varint("a bucket id")?),
            spec: BucketSpec::decode(reader)?,
            created: commit(reader, "the commit of a creation")?,
            changed: commit(reader, "the commit of a change")?,
            last_revision: revision(reader, "the last revision")?,
            start: revision(reader, "the revision at the start")?,
            floor: revision(reader, "the floor")?,
            purged: commit(reader, "the commit of a purge")?,
            as_of_floor: revision(reader, "the as-of floor")?,
            watch_floor: revision(reader, "the watch floor")?,
            eras: list(reader, "eras", decode_era)?,
            deadlines_seen: truth(reader, "whether deadlines were seen")?,
            cursor: (reader.varint("the cursor's deadline")?, revision(reader, "the cursor's revision")?),
            ends: decode_ends(reader)?,
            size: decode_size(reader)?,
        })
    }
}

fn decode_size(reader: &mut Reader<'_>) -> Result<Option<BucketSize>, DecodeError> {
    if !truth(reader, "whether a bucket's size is known")? {
        return Ok(None);
    }
    Ok(Some(BucketSize { bytes: reader.varint("bytes of a bucket")?, as_of: reader.varint("store time of a bucket's size")? }))
}

fn encode_header(version: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LEN.saturating_add(body.len()));
    out.extend_from_slice(&MAGIC);
    // A body past 32 bits is refused before it is written, by its length.
    let body_len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    for number in [version, body_len, body_checksum(body)] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    let crc = checksum(0, &[&out]);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// Takes header and body, and answers the body.
fn decode_header<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], ManifestError> {
    let start = *reader;
    let mut covered = start;
    let covered = covered.bytes(HEADER_LEN.saturating_sub(4), "a manifest's header of 24 bytes")?;
    if reader.bytes(MAGIC.len(), "the magic of a manifest")? != MAGIC {
        return Err(start.error("the magic of a manifest").into());
    }
    let version = reader.u32("the version")?;
    let body_len = reader.u32("the body's length")?;
    let body_crc = reader.u32("the body's checksum")?;
    if reader.u32("the header's checksum")? != checksum(0, &[covered]) {
        return Err(start.error("a header that its checksum fits").into());
    }
    if version != FORMAT_VERSION {
        return Err(ManifestError::OtherVersion(version));
    }
    let at = *reader;
    let body = reader.bytes(body_len as usize, "a body as long as the header says")?;
    reader.finish("the end of the file")?;
    if body_checksum(body) != body_crc {
        return Err(at.error("a body that its checksum fits").into());
    }
    Ok(body)
}

fn body_checksum(body: &[u8]) -> u32 {
    checksum(u64::from_le_bytes(MAGIC), &[body])
}

fn put_varints(out: &mut Vec<u8>, numbers: &[u64]) {
    for number in numbers {
        put_varint(out, *number);
    }
}

/// Each element takes at least one byte of input, so neither count nor memory can run away from it.
fn list<'a, T>(
    reader: &mut Reader<'a>,
    what: &'static str,
    decode: impl Fn(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = reader.varint_max(reader.remaining() as u64, what)?;
    (0..count).map(|_| decode(reader)).collect()
}

fn truth(reader: &mut Reader<'_>, what: &'static str) -> Result<bool, DecodeError> {
    let at = *reader;
    match reader.u8(what)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(at.error(what)),
    }
}

fn commit(reader: &mut Reader<'_>, what: &'static str) -> Result<CommitNumber, DecodeError> {
    Ok(CommitNumber(reader.varint(what)?))
}

fn revision(reader: &mut Reader<'_>, what: &'static str) -> Result<Revision, DecodeError> {
    Ok(Revision(reader.varint(what)?))
}

fn decode_era(reader: &mut Reader<'_>) -> Result<Era, DecodeError> {
    Ok(Era {
        commit: commit(reader, "the commit of an era")?,
        through: revision(reader, "the last revision of an era")?,
        depth: reader.u8("the depth of an era")?,
        cutoff: reader.varint("the cutoff of an era")?,
    })
}

fn decode_ends(reader: &mut Reader<'_>) -> Result<Vec<(u64, Revision)>, DecodeError> {
    let at = *reader;
    let ends = list(reader, "ends of incarnations", |reader| {
        Ok((reader.u64("an incarnation")?, revision(reader, "the last revision of an incarnation")?))
    })?;
    if ends.len() > ENDS_MAX { Err(at.error("at most 64 ends of incarnations")) } else { Ok(ends) }
}

fn decode_segment(reader: &mut Reader<'_>) -> Result<SegmentRef, DecodeError> {
    Ok(SegmentRef {
        number: FileNumber(reader.varint("a segment")?),
        len: reader.varint("the length of a segment")?,
        checksum: reader.u32("the checksum of a segment")?,
        entries: reader.varint("the entries of a segment")?,
    })
}
