//! Logs in memory for tests and fuzz targets: one that is known to the byte, what replay must make of any edit of it, and entry
//! points that take arbitrary bytes. Nothing here touches a file.
//!
//! `SampleLog::verdict` is the oracle: it compares bytes and knows where each record lies, and shares no code with replay but
//! the layout.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::entry::Flags;
use crate::error::{Error, ErrorKind, Result};
use crate::number::{BucketId, CommitNumber, FileNumber, Revision};
use crate::spec::{BucketSpec, ClockPair};
use crate::wal::format::{FileHeader, read_record};
use crate::wal::{
    Changes, DurabilityClass, EntryFields, HEADER_LEN, RecordFields, RecordHeader, RecordKind, RecordWriter, ReplayEnd,
    ReplayInput, Seed, Torn, encode_clock, encode_create_bucket, encode_delete_bucket, encode_edit_bucket, encode_entry,
    encode_purge_all, encode_sweep_cursor, file_name, record_len, replay, seal_record,
};

/// The identity of the store that the logs here belong to.
pub(crate) const STORE: u128 = 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff;

/// The content of the files of a log.
pub(crate) type Files = BTreeMap<FileNumber, Vec<u8>>;

/// Where a record lies, and what it was.
#[derive(Clone, Debug)]
pub(crate) struct Spot {
    pub(crate) file: FileNumber,
    pub(crate) start: usize,
    /// Behind the payload; the padding does not count.
    pub(crate) end: usize,
    pub(crate) kind: RecordKind,
    pub(crate) fields: RecordFields,
}

/// A log under construction, with a note of each record.
#[derive(Clone, Debug, Default)]
pub(crate) struct SampleLog {
    pub(crate) files: Files,
    pub(crate) spots: Vec<Spot>,
    /// What the log says, one line per change, and how many lines had been said before each spot.
    pub(crate) lines: Vec<String>,
    lines_before: Vec<usize>,
    current: Option<(FileHeader, usize)>,
    chain: u32,
    next: u64,
    revisions: BTreeMap<BucketId, u64>,
}

/// What replay must make of an edited log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Corrupt,
    /// The first so many lines, and what was cut.
    Prefix(usize, Option<Torn>),
}

impl SampleLog {
    pub(crate) fn new() -> Self {
        Self { next: 1, ..Self::default() }
    }

    /// Starts the next file. The one before must be sealed.
    pub(crate) fn file(&mut self, number: u64, previous: u64, class: DurabilityClass, len: usize) {
        let header = FileHeader {
            class,
            store: STORE,
            number: FileNumber(number),
            salt: number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            previous: FileNumber(previous),
            len: len as u64,
        };
        let (mut bytes, crc) = header.encode();
        bytes.resize(len, 0);
        self.files.insert(header.number, bytes);
        self.current = Some((header, HEADER_LEN));
        if previous == 0 {
            self.chain = crc;
        }
    }

    /// The next commit number.
    pub(crate) const fn next_commit(&self) -> u64 {
        self.next
    }

    /// Gives numbers up, as a failed write does.
    pub(crate) fn burn(&mut self, count: u64) {
        self.next += count;
    }

    /// Forgets the record before the next one.
    #[cfg(test)]
    pub(crate) fn break_chain(&mut self) {
        self.chain ^= 1;
    }

    /// Gives a number out a second time, as no writer may.
    #[cfg(test)]
    pub(crate) fn go_back(&mut self) {
        self.next -= 1;
    }

    fn fields(&self, change_count: u32, durable_mark: u64) -> RecordFields {
        RecordFields {
            change_count,
            first_commit: CommitNumber(self.next),
            durable_mark: CommitNumber(durable_mark),
            now: 1_000 * self.next,
            chain: self.chain,
        }
    }

    fn seed(&self) -> Seed {
        self.current.expect("a file was started").0.seed()
    }

    /// Puts of `values` into one bucket, as one group.
    pub(crate) fn puts(&mut self, bucket: u64, values: &[&[u8]], durable_mark: u64) {
        let bucket = BucketId(bucket);
        let revision = self.revisions.entry(bucket).or_default();
        let first = *revision + 1;
        *revision += values.len() as u64;
        let mut encoded = Vec::new();
        for value in values {
            let entry = EntryFields { bucket, flags: Flags::put(), key: b"key", value, ..EMPTY };
            encode_entry(&mut encoded, &entry);
        }
        self.group(&[(bucket, Revision(first), values.len() as u64)], &encoded, values.len() as u32, durable_mark);
    }

    /// A group of encoded changes.
    pub(crate) fn group(&mut self, table: &[(BucketId, Revision, u64)], encoded: &[u8], change_count: u32, durable_mark: u64) {
        let mut writer = RecordWriter::new();
        writer.begin();
        writer.push_table(table);
        writer.push(encoded);
        let fields = self.fields(change_count, durable_mark);
        let (record, chain) = writer.finish(self.seed(), &fields);
        let payload_len = read_record(record, 0, self.seed()).ok().flatten().map_or(0, |(_, payload)| payload.len());
        self.place(record, 48 + payload_len, RecordKind::Group, fields);
        self.chain = chain;
        self.next += u64::from(change_count);
    }

    /// Ends the file.
    pub(crate) fn seal(&mut self, durable_mark: u64) {
        let fields = self.fields(0, durable_mark);
        let (record, chain) = seal_record(self.seed(), &fields);
        self.place(&record, 48, RecordKind::Seal, fields);
        self.chain = chain;
    }

    fn place(&mut self, record: &[u8], used: usize, kind: RecordKind, fields: RecordFields) {
        let seed = self.seed();
        let (header, start) = self.current.as_mut().expect("a file was started");
        let bytes = self.files.get_mut(&header.number).expect("it was made when the file was started");
        bytes[*start..*start + record.len()].copy_from_slice(record);
        self.lines_before.push(self.lines.len());
        self.spots.push(Spot { file: header.number, start: *start, end: *start + used, kind, fields });
        if let Ok(Some((header, payload))) = read_record(record, 0, seed).map(|read| read.filter(|_| kind == RecordKind::Group)) {
            let changes = Changes::new(&header, payload, Path::new(""), 0).expect("it was just written");
            self.lines.extend(changes.map(|change| format!("{:?}", change.expect("it was just written"))));
        }
        *start += record.len();
    }

    /// What replay must make of `edited`, which has the files of this log at their length, with other bytes; no record is
    /// copied elsewhere.
    pub(crate) fn verdict(&self, edited: &Files) -> Verdict {
        for (number, bytes) in &self.files {
            if edited[number][..HEADER_LEN] != bytes[..HEADER_LEN] {
                return Verdict::Corrupt;
            }
        }
        let intact =
            |spot: &Spot, end: usize| edited[&spot.file].get(spot.start..end) == self.files[&spot.file].get(spot.start..end);
        let stop = self.spots.iter().position(|spot| !intact(spot, spot.end));
        let (x, lines) = match stop {
            Some(at) => (&self.spots[at], self.lines_before[at]),
            None => {
                let last = self.spots.last().expect("a sample has records");
                let offset = last.start + record_len(last.end - last.start - 48);
                let tail = &edited[&last.file][offset..];
                let bytes = used(tail);
                let sealed = last.kind == RecordKind::Seal;
                let torn = Torn { file: last.file, offset: offset as u64, bytes, records_after: 0 };
                return Verdict::Prefix(self.lines.len(), (!sealed && bytes > 0).then_some(torn));
            }
        };
        // What had been expected at the stop: the number after the last one before it, or after a seal, the seal's own.
        let before = self.spots.iter().take_while(|spot| spot.start != x.start || spot.file != x.file).last();
        let expected = before.map_or(1, |spot| spot.fields.first_commit.0 + u64::from(spot.fields.change_count));
        let later: Vec<&Spot> =
            self.spots[stop.unwrap_or_default()..].iter().filter(|spot| intact(spot, spot.start + 48)).collect();
        if later.iter().any(|spot| spot.fields.durable_mark.0 >= expected) {
            return Verdict::Corrupt;
        }
        let here = used(&edited[&x.file][x.start..]);
        let newer: u64 = edited.range(FileNumber(x.file.0 + 1)..).map(|(_, bytes)| used(&bytes[HEADER_LEN..])).sum();
        let records_after =
            later.iter().filter(|spot| spot.kind == RecordKind::Group && (spot.file, spot.start) != (x.file, x.start));
        let torn =
            Torn { file: x.file, offset: x.start as u64, bytes: here + newer, records_after: records_after.count() as u64 };
        Verdict::Prefix(lines, (torn.bytes > 0).then_some(torn))
    }
}

/// An entry to fill in.
pub(crate) const EMPTY: EntryFields<'static> = EntryFields {
    bucket: BucketId(0),
    flags: Flags::put(),
    key: b"",
    value: b"",
    ttl: None,
    origin: Revision::NONE,
    revision: Revision::NONE,
};

fn used(bytes: &[u8]) -> u64 {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

/// Replays files in memory; answers the end, and the lines that were visited in any case.
pub(crate) fn replay_files(files: &Files, floor: u64, flushed: u64) -> (Result<ReplayEnd>, Vec<String>) {
    let numbers: Vec<FileNumber> = files.keys().rev().copied().collect();
    let path_of = |number| PathBuf::from(file_name(number));
    let input = ReplayInput {
        store: STORE,
        files: &numbers,
        floor: FileNumber(floor),
        flushed: CommitNumber(flushed),
        path_of: &path_of,
    };
    let mut lines = Vec::new();
    let end = replay(
        &input,
        &mut |number| files.get(&number).cloned().ok_or_else(|| Error::new(ErrorKind::Io, "no such file")),
        &mut |_, changes| {
            for change in changes {
                lines.push(format!("{:?}", change?));
            }
            Ok(())
        },
    );
    (end, lines)
}

/// Three files with every kind of record and change. As `Sync` writes it, each mark is the commit before the record; as a
/// weaker level does, marks stay behind, and the first file was synced when the third was begun.
pub(crate) fn sample(class: DurabilityClass) -> SampleLog {
    let synced = |log: &SampleLog| if class == DurabilityClass::Sync { log.next_commit() - 1 } else { 0 };
    let mut log = SampleLog::new();
    log.file(4, 0, class, 4096 + 512);
    let mut encoded = Vec::new();
    encode_create_bucket(&mut encoded, BucketId(1), &BucketSpec::new("bucket".to_owned()));
    log.group(&[], &encoded, 1, synced(&log));
    log.puts(1, &[b"one", b"two", b""], synced(&log));
    log.puts(1, &[&[0x5a; 40]], synced(&log));
    log.seal(synced(&log));
    log.file(5, 4, class, 4096 + 512);
    let mut encoded = Vec::new();
    encode_edit_bucket(&mut encoded, BucketId(1), &BucketSpec::new("bucket".to_owned()));
    encode_purge_all(&mut encoded, BucketId(1), Revision(2));
    encode_sweep_cursor(&mut encoded, BucketId(1), 5, Revision(3));
    encode_clock(&mut encoded, ClockPair { wall: 8, store: 9 });
    log.group(&[], &encoded, 4, synced(&log));
    let mut encoded = Vec::new();
    let dropped = EntryFields { bucket: BucketId(1), flags: Flags::dropped(), key: b"gone", revision: Revision(2), ..EMPTY };
    encode_entry(&mut encoded, &dropped);
    log.group(&[], &encoded, 1, synced(&log));
    log.burn(3);
    log.seal(synced(&log));
    log.file(7, 5, class, 4096 + 512);
    let first_file = 5;
    let mark = |log: &SampleLog| if class == DurabilityClass::Sync { log.next_commit() - 1 } else { first_file };
    log.puts(1, &[b"three"], mark(&log));
    let mut encoded = Vec::new();
    encode_delete_bucket(&mut encoded, BucketId(1));
    log.group(&[], &encoded, 1, mark(&log));
    log.puts(2, &[b"four", b"five"], mark(&log));
    log
}

/// Fuzz: bytes as they are, as a record.
pub fn record(bytes: &[u8]) {
    let seed = header(FileNumber(1), bytes.len()).seed();
    let _ = read_record(bytes, 0, seed);
}

/// Fuzz: bytes as the changes of a group whose checksums are right.
pub fn record_resealed(bytes: &[u8]) {
    let Some((count, payload)) = bytes.split_first() else {
        return;
    };
    let seed = header(FileNumber(1), 0).seed();
    let fields = RecordFields {
        change_count: u32::from(*count).max(1),
        first_commit: CommitNumber(1),
        durable_mark: CommitNumber(0),
        now: 1,
        chain: 0,
    };
    let (head, _) = RecordHeader::encode(seed, RecordKind::Group, &fields, payload.len() as u32, seed.checksum(payload));
    let file = [&head, payload].concat();
    let (header, payload) = read_record(&file, 0, seed).expect("its fields make sense").expect("its checksums are right");
    if let Ok(changes) = Changes::new(&header, payload, Path::new("record"), 48) {
        let decoded = changes.take_while(Result::is_ok).count();
        assert!(decoded <= payload.len(), "every change takes a byte");
    }
}

/// Fuzz: bytes as what follows the header in a log file.
pub fn file(bytes: &[u8]) {
    let number = FileNumber(1);
    let (mut content, _) = header(number, HEADER_LEN + bytes.len()).encode();
    content.extend_from_slice(bytes);
    check_end(&Files::from([(number, content)]));
}

/// Fuzz: bytes as instructions for a log of up to three files whose checksums, chain and lengths are right, whatever is in them.
pub fn file_resealed(bytes: &[u8]) {
    let mut files = Files::new();
    let mut rest = bytes;
    let mut chain = 0;
    let mut commit = 1_u64;
    for number in 1..=3_u64 {
        let header = FileHeader { previous: FileNumber(number - 1), ..header(FileNumber(number), HEADER_LEN + 2048) };
        let (mut content, crc) = header.encode();
        if number == 1 {
            chain = crc;
        }
        while let Some(([kind, count, mark, skip, len], after)) = rest.split_first_chunk::<5>() {
            rest = after;
            let (payload, after) = rest.split_at(rest.len().min(usize::from(*len)));
            if content.len() + record_len(payload.len()) > HEADER_LEN + 2048 {
                break;
            }
            rest = after;
            let (kind, payload) = if kind % 8 == 7 { (RecordKind::Seal, &payload[..0]) } else { (RecordKind::Group, payload) };
            let fields = RecordFields {
                change_count: if kind == RecordKind::Seal { 0 } else { u32::from(*count) },
                first_commit: CommitNumber(commit.wrapping_add_signed(i64::from(*skip as i8) / 32)),
                durable_mark: CommitNumber(u64::from(*mark)),
                now: 7,
                chain,
            };
            let (head, crc) =
                RecordHeader::encode(header.seed(), kind, &fields, payload.len() as u32, header.seed().checksum(payload));
            content.extend_from_slice(&head);
            content.extend_from_slice(payload);
            content.resize(content.len().next_multiple_of(8), 0);
            chain = crc;
            commit += u64::from(*count);
            if kind == RecordKind::Seal {
                break;
            }
        }
        content.resize(HEADER_LEN + 2048, 0);
        files.insert(header.number, content);
    }
    check_end(&files);
}

/// Fuzz: bytes as edits of a sample log, three for each: the place and what is flipped there. Replay must do what the oracle
/// says.
pub fn edited(bytes: &[u8]) {
    for class in [DurabilityClass::Sync, DurabilityClass::Weaker] {
        let log = sample(class);
        let mut files = log.files.clone();
        for edit in bytes.chunks_exact(3) {
            let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % (3 * 512);
            let content = files.values_mut().nth(at / 512).expect("there are three files");
            content[HEADER_LEN + at % 512] ^= edit[2];
        }
        check_verdict(&log, &files);
    }
}

/// Replays edited files and compares with the oracle.
pub(crate) fn check_verdict(log: &SampleLog, files: &Files) {
    let verdict = log.verdict(files);
    let (end, lines) = replay_files(files, 0, 0);
    assert!(log.lines.starts_with(&lines), "only what was written is ever handed out");
    match (end, &verdict) {
        (Ok(end), Verdict::Prefix(count, torn)) => {
            assert_eq!((lines.len(), &end.torn), (*count, torn));
            assert_eq!(end.changes as usize, *count);
        }
        (Err(error), Verdict::Corrupt) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
        (end, verdict) => panic!("replay says {end:?}, it should be {verdict:?}"),
    }
}

fn header(number: FileNumber, len: usize) -> FileHeader {
    FileHeader { class: DurabilityClass::Sync, store: STORE, number, salt: 5, previous: FileNumber(0), len: len as u64 }
}

fn check_end(files: &Files) {
    let (end, lines) = replay_files(files, 0, 0);
    if let Ok(end) = end {
        assert_eq!(end.changes, lines.len() as u64);
        assert!(end.changes <= end.last_commit.0);
        if let Some(torn) = end.torn {
            let content = &files[&torn.file];
            assert!(torn.offset as usize <= content.len() && torn.bytes > 0);
        }
    }
}
