//! The write-ahead log: what has been committed and is not in segments yet.
//!
//! The commit leader encodes a group as one record ([`RecordWriter`]), appends it to a [`LogFile`] and syncs that as the
//! durability asks; recovery reads all files back through [`replay()`]. [`mod@format`] owns the bytes of a file and of a record's
//! header, [`change`] those of a group's changes, and both pages say what is invalid.
//!
//! The log knows nothing of buckets, keys or retention, and nothing of when to rotate or sync. It promises two things: what
//! replay hands out is a prefix of what was appended, in order; and a prefix that is too short by anything that is proven to
//! have been synced is an error, not an answer.

pub(crate) mod change;
pub(crate) mod format;
pub(crate) mod record;
pub(crate) mod replay;
pub(crate) mod writer;

#[cfg(test)]
mod tests;

pub(crate) use change::{
    Change, EntryFields, encode_clock, encode_create_bucket, encode_delete_bucket, encode_edit_bucket, encode_entry,
    encode_purge_all, encode_sweep_cursor,
};
pub(crate) use format::{DurabilityClass, HEADER_LEN, RecordFields, record_len};
pub(crate) use record::RecordWriter;
pub(crate) use replay::{ReplayEnd, ReplayInput, replay};
pub(crate) use writer::{LogFile, LogFileOptions};
#[cfg(any(test, feature = "testing"))]
pub(crate) use {
    change::Changes,
    format::{RecordHeader, RecordKind, Seed},
    record::seal_record,
    replay::Torn,
};

use crate::number::FileNumber;

/// The name of a log file: its number in decimal, at least 8 digits, and `.wal`.
pub(crate) fn file_name(number: FileNumber) -> String {
    format!("{:08}.wal", number.0)
}

/// The name of a log file that is still being prepared.
pub(crate) fn spare_name(number: FileNumber) -> String {
    format!("{:08}.spare", number.0)
}

/// The number in a log file's name; none for any name that [`file_name`] would not give.
pub(crate) fn parse_file_name(name: &str) -> Option<FileNumber> {
    let number = FileNumber(name.strip_suffix(".wal")?.parse().ok()?);
    (file_name(number) == name).then_some(number)
}

/// How long a file must be to hold one record with `payload_len` bytes, and its end.
pub(crate) const fn file_len_for(payload_len: usize) -> usize {
    HEADER_LEN + record_len(payload_len) + format::RECORD_HEADER_LEN
}
