//! Writes a segment from entries in order. Called by flush, recovery and compaction, each with a new file under a temporary name.
//!
//! Memory: one block, one write buffer, and the tables of the section being written (module `tables`): about 28 bytes per entry, so a
//! file that ends when [`Builder::is_full`] says so takes less than 128 MiB. Of a value that is larger than the buffer, whole pieces go from
//! the caller's slice into the file. It syncs as it goes, so that the last sync is short and the log's syncs beside it are not held up.
//! After an error the file is worth nothing: a failed sync may have dropped what was written before, so every later call answers the same
//! error, and the caller starts again with another file. Renaming and naming the file in the manifest are the caller's.

use std::path::PathBuf;

use super::compression::Compressor;
use super::directory::{Before, SectionInfo, encode_directory};
use super::draft::BlockDraft;
use super::format::{BLOCK_LEN_MAX, COMPRESSED_BLOCK_LEN_MAX, FOOTER_LEN, Footer, Identity, KEY_LEN_MAX, encode_header, follows};
use super::tables::TablesDraft;
use crate::checksum::checksum;
use crate::entry::{Flags, Meta};
use crate::env::{File, write_all_at};
use crate::error::{Error, ErrorKind, Result};
use crate::hash::KeyHasher;
use crate::number::{BucketId, FileNumber, Revision};

/// Files are written in pieces of this length, from multiples of it on. Where the file system keeps what one write brings in one large page
/// of its cache, the map of the file has huge pages then, and a random read walks no page tables; smaller pieces are never put together.
const PIECE_LEN: u64 = 2 * 1024 * 1024;
/// A value that is longer goes past the block that is being gathered, where blocks are not compressed.
const BLOCK_VALUE_LEN_MAX: usize = 256 * 1024;
/// Bytes between two syncs.
const SYNC_EVERY: u64 = 4 * 1024 * 1024;
/// Some numbers per entry are kept in memory until a section ends.
const ENTRIES_FULL: u64 = 4 << 20;
/// A block's length has 32 bits, and around its value there must be room for key and fields. The store's own limit is far below.
const VALUE_LEN_MAX: usize = 1 << 31;

/// A segment while it is written.
#[derive(Debug)]
pub(crate) struct Builder {
    out: Output,
    identity: Identity,
    hasher: KeyHasher,
    block_len: usize,
    block: BlockDraft,
    section: Option<SectionDraft>,
    sections: Vec<SectionInfo>,
    before: Before,
    entries: u64,
    /// About how long the directory will be.
    directory_len: usize,
    compression: u8,
    compressor: Option<Compressor>,
}

/// What a finished segment is, for the manifest.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    pub(crate) number: FileNumber,
    pub(crate) len: u64,
    /// The footer's checksum; it covers everything, through the checksums below it.
    pub(crate) checksum: u32,
    /// One per bucket, ascending.
    #[allow(dead_code, reason = "tests compare it with what a reader finds")]
    pub(crate) sections: Vec<SectionInfo>,
}

/// A section while it is written.
#[derive(Debug)]
struct SectionDraft {
    bucket: BucketId,
    compressed: bool,
    first_key: Box<[u8]>,
    tables: TablesDraft,
    /// The last key of the finished blocks, for the next separator.
    block_end: Vec<u8>,
    last_key: Vec<u8>,
    last_revision: Revision,
    last_flags: Flags,
}

impl Builder {
    /// `file` is new and empty; `path` is only for errors. `block_len` is what blocks grow to, with their header: at most 16 KiB, and twice
    /// as much in compressed buckets.
    pub(crate) fn new(file: Box<dyn File>, path: PathBuf, identity: Identity, block_len: u32) -> Self {
        let buffer = encode_header(&identity);
        Self {
            out: Output { file, path, buffer, written: 0, unsynced: 0, failed: None },
            identity,
            hasher: KeyHasher::new(identity.store),
            block_len: block_len as usize,
            block: BlockDraft::default(),
            section: None,
            sections: Vec::new(),
            before: Before::START,
            entries: 0,
            directory_len: 0,
            compression: 0,
            compressor: None,
        }
    }

    /// Takes the next entry: bucket ascending, key ascending, revision descending, a dropped entry before the marker of its revision.
    pub(crate) fn add(&mut self, bucket: BucketId, key: &[u8], meta: &Meta, value: &[u8]) -> Result<()> {
        assert!(key.len() <= KEY_LEN_MAX, "keys are checked when they come in");
        assert!(value.len() <= VALUE_LEN_MAX, "values are checked when they come in");
        self.out.check()?;
        let same_section = self.section.as_ref().is_some_and(|section| section.bucket == bucket);
        if !same_section {
            assert!(self.section.as_ref().is_none_or(|section| section.bucket < bucket), "buckets come in order");
            self.finish_section()?;
            self.start_section(bucket, key);
        }
        let section = self.section.as_mut().expect("it was set above");
        let same_key = same_section && section.last_key == key;
        let last = (&*section.last_key, section.last_revision, section.last_flags);
        assert!(!same_section || follows(last, (key, meta.revision, meta.flags)), "entries come in order");
        let compressed = section.compressed;
        let block_len = (self.block_len * if compressed { 2 } else { 1 }).min(BLOCK_LEN_MAX);
        if !self.block.is_empty() && self.block.len_with(Some((key, value))) > block_len {
            self.finish_block(&[])?;
        }
        let section = self.section.as_mut().expect("it was set above");
        if !section.tables.has_room(self.block.count() + 1) {
            return Err(Error::new(ErrorKind::InvalidArgument, "more entries than one section of a segment can have"));
        }
        section.tables.push_entry((!same_key).then(|| self.hasher.hash(bucket, key)), meta);
        section.last_key.clear();
        section.last_key.extend_from_slice(key);
        section.last_revision = meta.revision;
        section.last_flags = meta.flags;
        self.entries += 1;
        let in_one_piece = if compressed { COMPRESSED_BLOCK_LEN_MAX } else { BLOCK_VALUE_LEN_MAX };
        if value.len() > in_one_piece && self.block.is_empty() {
            self.block.push(key, meta, &[]);
            return self.finish_block(value);
        }
        self.block.push(key, meta, value);
        Ok(())
    }

    /// How the blocks of buckets that begin from now on are stored: 0 as they are, 1 with Zstandard where that makes them smaller, as in
    /// [`BucketSpec::compression`](crate::spec::BucketSpec::compression).
    pub(crate) fn set_compression(&mut self, code: u8) {
        self.compression = code;
    }

    /// The file holds as many entries as one should: whoever goes on adds to another. There is room for those of one key beyond it.
    pub(crate) fn is_full(&self) -> bool {
        self.entries >= ENTRIES_FULL
    }

    /// About how long the file would be if it were finished now.
    pub(crate) fn len(&self) -> u64 {
        let open = self.section.as_ref().map_or(0, |section| section.tables.len() + self.block.len_with(None));
        self.out.len() + (open + self.directory_len + FOOTER_LEN) as u64
    }

    /// Writes what is left, directory and footer, and syncs the file. At least one entry must have been added.
    pub(crate) fn finish(mut self) -> Result<Summary> {
        assert!(self.entries > 0, "an empty segment is never built");
        self.out.check()?;
        self.finish_section()?;
        let directory = encode_directory(&self.sections);
        let directory_offset = self.out.len();
        let file_len = directory_offset + (directory.len() + FOOTER_LEN) as u64;
        let footer = Footer {
            section_count: u32::try_from(self.sections.len()).expect("buckets are counted in 32 bits"),
            directory_offset,
            file_len,
            entries: self.entries,
            blocks: self.before.blocks,
            directory_checksum: checksum(self.identity.seed(directory_offset), &[&directory]),
        }
        .encode(&self.identity);
        self.out.write(&directory)?;
        self.out.write(&footer)?;
        self.out.finish()?;
        assert_eq!(self.out.written, file_len, "every part went where the footer says");
        let checksum = u32::from_le_bytes(*footer.last_chunk().expect("a footer is longer than its checksum"));
        Ok(Summary { number: self.identity.number, len: file_len, checksum, sections: self.sections })
    }

    /// Writes the block, if there is one; `rest` is what is left of the last entry's value.
    fn finish_block(&mut self, rest: &[u8]) -> Result<()> {
        let Some(section) = self.section.as_mut().filter(|_| !self.block.is_empty()) else { return Ok(()) };
        let offset = self.out.len();
        let compressor = self.compressor.as_mut().filter(|_| section.compressed);
        let sum = self.block.encode(self.identity.seed(offset), rest, compressor, &mut self.out.buffer);
        section.tables.push_block(offset, sum, self.block.zone(), &section.block_end, self.block.first_key());
        section.block_end.clear();
        section.block_end.extend_from_slice(self.block.last_key());
        self.block.clear();
        self.out.write(rest)
    }

    fn start_section(&mut self, bucket: BucketId, first_key: &[u8]) {
        let compressed = self.compression != 0;
        if compressed && self.compressor.is_none() {
            self.compressor = Compressor::new();
        }
        self.section = Some(SectionDraft {
            bucket,
            compressed,
            first_key: first_key.into(),
            tables: TablesDraft::default(),
            block_end: Vec::new(),
            last_key: Vec::new(),
            last_revision: Revision::NONE,
            last_flags: Flags::put(),
        });
    }

    fn finish_section(&mut self) -> Result<()> {
        self.finish_block(&[])?;
        let Some(section) = self.section.take() else { return Ok(()) };
        let tables = section.tables.encode(&self.identity, &self.before, self.out.len() - self.before.offset);
        let totals = tables.totals;
        self.directory_len += 64 + section.first_key.len() + section.last_key.len();
        self.sections.push(SectionInfo {
            bucket: section.bucket,
            entries: totals.entries,
            keys: totals.keys,
            puts: totals.puts,
            markers: totals.markers,
            first_revision: totals.revisions.0,
            last_revision: totals.revisions.1,
            first_created: totals.created.0,
            last_created: totals.created.1,
            deadlines: totals.deadlines,
            first_deadline: totals.first_deadline,
            first_key: section.first_key,
            last_key: section.last_key.into(),
            bytes: tables.parts.end() - self.before.offset,
            parts: tables.parts,
        });
        self.before = self.before.after(&tables.parts).expect("a file ends before 2^64");
        self.out.write(&tables.bytes)
    }
}

/// The end of the file: gathers small writes, cuts large ones, syncs in between.
#[derive(Debug)]
struct Output {
    file: Box<dyn File>,
    path: PathBuf,
    buffer: Vec<u8>,
    written: u64,
    unsynced: u64,
    /// The first error: what came before it may be lost, so nothing may follow it.
    failed: Option<Error>,
}

impl Output {
    /// Where the next byte goes.
    fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn check(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Appends `bytes`, and writes out what fills a piece; whole pieces of large values go from where they are.
    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.write_whole_pieces()?;
        loop {
            let room = (PIECE_LEN - self.len() % PIECE_LEN) as usize;
            let Some((piece, rest)) = bytes.split_at_checked(room) else { break };
            if self.buffer.is_empty() {
                self.write_through(piece)?;
            } else {
                self.buffer.extend_from_slice(piece);
                self.write_whole_pieces()?;
            }
            bytes = rest;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes out the pieces that the buffer fills. It can be over the end of one by a block, which is encoded into it.
    fn write_whole_pieces(&mut self) -> Result<()> {
        let whole = self.len() - self.len() % PIECE_LEN;
        if whole > self.written {
            let mut buffer = std::mem::take(&mut self.buffer);
            let len = (whole - self.written) as usize;
            self.write_through(&buffer[..len])?;
            buffer.drain(..len);
            self.buffer = buffer;
        }
        Ok(())
    }

    fn write_through(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = (PIECE_LEN - self.written % PIECE_LEN) as usize;
            let (piece, rest) = bytes.split_at(room.min(bytes.len()));
            if self.unsynced > 0 && self.unsynced + piece.len() as u64 > SYNC_EVERY {
                self.sync(|file| file.sync_data())?;
            }
            if let Err(error) = write_all_at(&*self.file, piece, self.written) {
                return Err(self.fail("write a segment", error));
            }
            self.written += piece.len() as u64;
            self.unsynced += piece.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        self.write_through(&buffer)?;
        self.sync(|file| file.sync_all())
    }

    fn sync(&mut self, call: impl Fn(&dyn File) -> std::io::Result<()>) -> Result<()> {
        if let Err(error) = call(&*self.file) {
            return Err(self.fail("sync a segment", error));
        }
        self.unsynced = 0;
        Ok(())
    }

    fn fail(&mut self, action: &str, error: std::io::Error) -> Error {
        let error = Error::io(action, &self.path, error);
        self.failed = Some(error.clone());
        error
    }
}
