//! Reading the log back, and deciding what the place where it stops means: the end, a torn end, or corruption.
//!
//! Pure over bytes: a loader hands in whole files, a visitor gets each group once, in commit order. Used by recovery, the check
//! of a store and the tests. The rules WAL-1 to WAL-8 that it carries out are those of [`format`](super::format).
//!
//! The visitor has seen groups before the verdict falls, so what it has collected counts only if the replay as a whole
//! succeeds. An error of the loader is handed on as it is: a file that cannot be read is never an end.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::number::{CommitNumber, FileNumber};
use crate::wal::change::Changes;
use crate::wal::file_name;
use crate::wal::format::{
    DurabilityClass, FileHeader, HEADER_LEN, RECORD_ALIGNMENT, RECORD_HEADER_LEN, RecordHeader, RecordKind, Seed, read_record,
    record_len,
};

/// Where in a record its kind and the zeros after it lie: what a search looks at before it computes a checksum.
const KIND_AT: usize = 8;

/// What to replay.
#[derive(Clone, Copy)]
pub(crate) struct ReplayInput<'a> {
    /// The store's identity.
    pub(crate) store: u128,
    /// The log files that are there, in any order. Those below `floor` are passed over.
    pub(crate) files: &'a [FileNumber],
    /// Files below this number are not needed any more and may be missing.
    pub(crate) floor: FileNumber,
    /// Commits up to here are in segments: what the log says next is expected to be newer, if it says nothing.
    pub(crate) flushed: CommitNumber,
    /// Where a file lies, for errors.
    pub(crate) path_of: &'a dyn Fn(FileNumber) -> PathBuf,
}

/// What a replay found.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct ReplayEnd {
    /// The newest commit of the log; 0 = none.
    pub(crate) last_commit: CommitNumber,
    /// The latest store time of any record, seals included; 0 = none.
    pub(crate) last_now: u64,
    /// Groups.
    pub(crate) records: u64,
    pub(crate) changes: u64,
    /// What had to be cut off; none after a clean end.
    pub(crate) torn: Option<Torn>,
    /// Some file was written below the level `Sync`: numbers may have been seen that are lost. Files without records count too,
    /// since theirs may be what was lost.
    pub(crate) weaker_than_sync: bool,
    /// The newest file ended with a seal.
    pub(crate) last_file_sealed: bool,
}

/// An end of the log that holds something, but no group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Torn {
    pub(crate) file: FileNumber,
    pub(crate) offset: u64,
    /// From the cut to the last byte that is not zero, here and in newer files.
    pub(crate) bytes: u64,
    /// Groups behind the cut whose headers verify.
    pub(crate) records_after: u64,
}

/// Gets each group with its changes, and may leave changes unread.
pub(crate) type Visit<'v> = dyn FnMut(&RecordHeader, &mut Changes<'_>) -> Result<()> + 'v;

/// Replays all files in the order of their numbers.
pub(crate) fn replay(
    input: &ReplayInput<'_>,
    load: &mut dyn FnMut(FileNumber) -> Result<Vec<u8>>,
    visit: &mut Visit<'_>,
) -> Result<ReplayEnd> {
    let mut files: Vec<FileNumber> = input.files.iter().copied().filter(|number| *number >= input.floor).collect();
    files.sort_unstable();
    let mut walk = Walk::new(input);
    for number in files {
        let bytes = load(number)?;
        walk.file(number, &bytes, visit)?;
    }
    walk.finish()
}

/// Where the log stops, and what lies behind that.
#[derive(Clone, Copy, Debug)]
struct Stop {
    file: FileNumber,
    offset: usize,
    /// The commit that should have been there.
    expected: CommitNumber,
    /// The file was sealed, durably, before a newer one took a record.
    precedes_all: bool,
    bytes: u64,
    records_after: u64,
    /// The first header found that says `expected` had been synced: where it lies.
    proof: Option<(FileNumber, usize)>,
}

struct Walk<'a> {
    input: &'a ReplayInput<'a>,
    /// The file before, if there was one.
    previous: Option<FileNumber>,
    /// What the next record is chained to; none if that is not known.
    chain: Option<u32>,
    expected: CommitNumber,
    /// Some record has said what to expect. Before that only `flushed` is known, and the log may reach back behind it.
    ordered: bool,
    stop: Option<Stop>,
    end: ReplayEnd,
}

impl<'a> Walk<'a> {
    fn new(input: &'a ReplayInput<'a>) -> Self {
        Self {
            input,
            previous: None,
            chain: None,
            expected: input.flushed.next(),
            ordered: false,
            stop: None,
            end: ReplayEnd::default(),
        }
    }

    fn file(&mut self, number: FileNumber, bytes: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        let path = (self.input.path_of)(number);
        let (header, crc) = FileHeader::decode(bytes).map_err(|error| error.at(&path, 0))?;
        self.check_header(&header, number, &path)?;
        if self.previous.is_none() && header.previous.0 == 0 {
            self.chain = Some(crc);
        }
        self.previous = Some(number);
        self.end.weaker_than_sync |= header.class == DurabilityClass::Weaker;
        self.end.last_file_sealed = false;
        let seed = header.seed();
        if let Some(stop) = &mut self.stop {
            stop.search(number, bytes, HEADER_LEN, seed);
            return Ok(());
        }
        let Some(offset) = self.records(bytes, seed, &path, visit)? else {
            self.end.last_file_sealed = true;
            return Ok(());
        };
        if (bytes.len() as u64) < header.len {
            let text = format!("the log file is {} bytes long, not {}, and has no end of its own", bytes.len(), header.len);
            return Err(Error::corrupt(&path, bytes.len() as u64, text));
        }
        let precedes_all = header.class == DurabilityClass::Sync;
        let mut stop =
            Stop { file: number, offset, expected: self.expected, precedes_all, bytes: 0, records_after: 0, proof: None };
        stop.search(number, bytes, offset, seed);
        self.stop = Some(stop);
        Ok(())
    }

    /// WAL-1 and WAL-3.
    fn check_header(&self, header: &FileHeader, number: FileNumber, path: &Path) -> Result<()> {
        if header.store != self.input.store {
            return Err(Error::corrupt(path, 0, "the log file belongs to another store"));
        }
        if header.number != number {
            return Err(Error::corrupt(path, 0, format!("the log file is number {}, not {number}", header.number)));
        }
        let follows = match self.previous {
            Some(previous) => header.previous == previous,
            None => header.previous < self.input.floor || header.previous.0 == 0,
        };
        if follows {
            return Ok(());
        }
        let text = if header.previous >= self.input.floor && self.previous.is_none_or(|previous| header.previous > previous) {
            format!("the log file before it, {}, is missing", file_name(header.previous))
        } else {
            format!("the log file follows {}, not the one that is before it", file_name(header.previous))
        };
        Err(Error::corrupt(path, 0, text))
    }

    /// Visits the records of one file. Answers where they stop, or none after a seal.
    fn records(&mut self, bytes: &[u8], seed: Seed, path: &Path, visit: &mut Visit<'_>) -> Result<Option<usize>> {
        let mut at = HEADER_LEN;
        loop {
            let read = read_record(bytes, at, seed).map_err(|error| error.at(path, at as u64))?;
            let Some((header, payload)) = read.filter(|(header, _)| self.chain.is_none_or(|chain| chain == header.fields.chain))
            else {
                return Ok(Some(at));
            };
            self.check_order(&header, at, path)?;
            self.chain = Some(header.crc);
            self.ordered = true;
            self.end.last_now = self.end.last_now.max(header.fields.now);
            if header.kind == RecordKind::Seal {
                self.expected = header.fields.first_commit;
                return Ok(None);
            }
            let mut changes = Changes::new(&header, payload, path, at.saturating_add(RECORD_HEADER_LEN) as u64)?;
            visit(&header, &mut changes)?;
            // What the visitor has no use for is checked all the same.
            for change in changes {
                change?;
            }
            self.end.records = self.end.records.saturating_add(1);
            self.end.changes = self.end.changes.saturating_add(u64::from(header.fields.change_count));
            self.end.last_commit = header.last_commit();
            self.expected = header.last_commit().next();
            at = at.saturating_add(record_len(payload.len()));
        }
    }

    /// WAL-5.
    fn check_order(&self, header: &RecordHeader, at: usize, path: &Path) -> Result<()> {
        let first = header.fields.first_commit;
        if self.ordered && first < self.expected {
            let text = format!("the log is damaged: a record starts at commit {first}, where {} was expected", self.expected);
            return Err(Error::corrupt(path, at as u64, text));
        }
        Ok(())
    }

    /// WAL-7 and WAL-8.
    fn finish(self) -> Result<ReplayEnd> {
        let mut end = self.end;
        let Some(stop) = self.stop else {
            return Ok(end);
        };
        if let Some((file, offset)) = stop.proof {
            let text = format!(
                "the log is damaged: commit {} is missing here, or the seal of the file, and it had been synced, as the record at offset \
                 {offset} of {} shows",
                stop.expected,
                file_name(file)
            );
            return Err(Error::corrupt(&(self.input.path_of)(stop.file), stop.offset as u64, text));
        }
        if stop.bytes > 0 {
            let Stop { file, offset, bytes, records_after, .. } = stop;
            end.torn = Some(Torn { file, offset: offset as u64, bytes, records_after });
        }
        Ok(end)
    }
}

impl Stop {
    /// Looks through the rest of a file, from `from` on, for anything that is not zero and for headers that verify.
    ///
    /// One pass: payloads are not looked at as such, and a checksum, of 48 bytes, is computed only where the kind and the zeros
    /// behind it fit. Verified headers may also be copies inside of values. Those prove no less: a mark was right when the
    /// original was written, and the original was written before its copy. They only must not be counted, so the count steps
    /// over what a record holds.
    fn search(&mut self, file: FileNumber, bytes: &[u8], from: usize, seed: Seed) {
        let Some(used) = used_len(bytes.get(from..).unwrap_or_default()) else {
            return;
        };
        self.bytes = self.bytes.saturating_add(used as u64);
        let end = from.saturating_add(used);
        let mut counted_to = from;
        if self.file == file {
            // What stands at the stop itself, if anything verifies there, is not after it.
            counted_to = from.saturating_add(RECORD_ALIGNMENT);
        }
        for at in (from..end).step_by(RECORD_ALIGNMENT) {
            let Some(candidate) = bytes.get(at..).and_then(|bytes| bytes.first_chunk::<RECORD_HEADER_LEN>()) else {
                break;
            };
            if !may_be_header(candidate) {
                continue;
            }
            let Ok(Some(header)) = RecordHeader::decode(candidate, seed) else {
                continue;
            };
            let proves = header.fields.durable_mark >= self.expected || self.precedes_all && self.file != file;
            if self.proof.is_none() && proves {
                self.proof = Some((file, at));
            }
            if at >= counted_to && header.kind == RecordKind::Group {
                self.records_after = self.records_after.saturating_add(1);
                counted_to = at.saturating_add(record_len(header.payload_len as usize));
            }
        }
    }
}

/// Whether the kind is one that exists and zeros follow it.
fn may_be_header(bytes: &[u8; RECORD_HEADER_LEN]) -> bool {
    let kind = bytes.get(KIND_AT..).and_then(|rest| rest.first_chunk::<4>());
    kind.is_some_and(|kind| matches!(u32::from_le_bytes(*kind), 1 | 2))
}

/// The length without the zeros at the end; none if there is nothing else. Looks at pages first: most of a log file's end is
/// zeros.
fn used_len(bytes: &[u8]) -> Option<usize> {
    const PAGE: usize = 4096;
    let mut rest = bytes;
    while !rest.is_empty() {
        let (before, page) = rest.split_at_checked(rest.len().saturating_sub(PAGE))?;
        if page.iter().fold(0, |all, byte| all | byte) != 0 {
            let last = page.iter().rposition(|byte| *byte != 0)?;
            return Some(before.len().saturating_add(last).saturating_add(1));
        }
        rest = before;
    }
    None
}

#[cfg(test)]
mod tests;
