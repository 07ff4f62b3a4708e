//! One log file that is written: prepared ahead, appended to, sealed.
//!
//! The file tracks where the next record goes and nothing else: what is in a record, when to sync and when to rotate is the
//! commit leader's. A failed append leaves the offset where it was, and the bytes of the attempt behind it; before anything
//! else may be acknowledged they are covered by [`LogFile::seal_after_failure`], and the file takes no more.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::env::{Env, File, allocate_full, write_all_at};
use crate::error::{Error, ErrorKind, Result};
use crate::number::FileNumber;
use crate::wal::format::{DurabilityClass, FileHeader, HEADER_LEN, RECORD_ALIGNMENT, RECORD_HEADER_LEN, RecordFields, Seed};
use crate::wal::record::seal_record;
use crate::wal::{file_name, spare_name};

/// What a log file is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogFileOptions {
    /// The store's identity.
    pub(crate) store: u128,
    pub(crate) number: FileNumber,
    /// The log file before it; 0 = the first since the store was opened.
    pub(crate) previous: FileNumber,
    pub(crate) class: DurabilityClass,
    /// How many bytes to reserve, at least room for the header and a seal.
    pub(crate) len: u64,
}

/// A log file that is ready to take records, or was.
#[derive(Debug)]
pub(crate) struct LogFile {
    file: Arc<dyn File>,
    path: PathBuf,
    number: FileNumber,
    seed: Seed,
    initial_chain: u32,
    len: u64,
    offset: u64,
}

impl LogFile {
    /// Makes a file with header, blocks and name, all durable. Nothing of it is known to the rest of the log before this returns.
    ///
    /// An error whose outcome is [`Indeterminate`](crate::error::Outcome::Indeterminate) came at or after the rename: the file
    /// may be there for the next open under its final name, so no other file may take its place as the successor of `previous`;
    /// the store must take no more writes (A7). After any other error nothing is left but perhaps a spare, and another number
    /// may be tried.
    pub(crate) fn prepare(env: &Env, dir: &Path, options: &LogFileOptions) -> Result<Self> {
        let spare = dir.join(spare_name(options.number));
        let file = env.fs.create_new(&spare).map_err(|error| Error::io("create a log file", &spare, error))?;
        match Self::fill(env, &*file, options) {
            Ok((header, initial_chain)) => {
                let path = dir.join(file_name(options.number));
                // From here on an error is not a full disk that space would mend, whatever its number: the name may be there.
                let ambiguous = |error: Error| error.with_kind(ErrorKind::Io).indeterminate();
                env.fs
                    .rename(&spare, &path)
                    .map_err(|error| ambiguous(Error::io("rename a prepared log file", &spare, error)))?;
                env.fs.sync_dir(dir).map_err(|error| ambiguous(Error::io("sync the directory of the log", dir, error)))?;
                Ok(Self {
                    file: Arc::from(file),
                    path,
                    number: options.number,
                    seed: header.seed(),
                    initial_chain,
                    len: header.len,
                    offset: HEADER_LEN as u64,
                })
            }
            Err((action, error)) => {
                // The first error is the one that counts; a spare that stays is an orphan for the next open.
                let _ = env.fs.remove(&spare);
                Err(Error::io(action, &spare, error))
            }
        }
    }

    fn fill(
        env: &Env,
        file: &dyn File,
        options: &LogFileOptions,
    ) -> std::result::Result<(FileHeader, u32), (&'static str, io::Error)> {
        let salt = env.random.u128().map_err(|error| ("draw a salt for a log file", error))? as u64;
        let LogFileOptions { store, number, previous, class, len } = *options;
        let len = len.max((HEADER_LEN + RECORD_HEADER_LEN) as u64);
        let header = FileHeader { class, store, number, salt, previous, len };
        let (bytes, crc) = header.encode();
        write_all_at(file, &bytes, 0).map_err(|error| ("write the header of a log file", error))?;
        allocate_full(file, len).map_err(|error| ("reserve space for a log file", error))?;
        file.sync_all().map_err(|error| ("sync a new log file", error))?;
        Ok((header, crc))
    }

    /// Appends a whole record. After an error nothing counts as written, and only
    /// [`seal_after_failure`](Self::seal_after_failure) is allowed.
    pub(crate) fn append(&mut self, record: &[u8]) -> io::Result<()> {
        debug_assert!(record.len().is_multiple_of(RECORD_ALIGNMENT), "records end where the next one may start");
        let end = self.offset.saturating_add(record.len() as u64);
        if end > self.len {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a record longer than the log file has room for"));
        }
        write_all_at(&*self.file, record, self.offset)?;
        self.offset = end;
        Ok(())
    }

    /// Ends the file; answers the chain value for the first record of the next one. It is durable after the file's next sync.
    pub(crate) fn seal(&mut self, fields: &RecordFields) -> io::Result<u32> {
        let (seal, chain) = seal_record(self.seed, fields);
        self.append(&seal)?;
        Ok(chain)
    }

    /// Ends the file after a failed append: puts the seal over whatever the attempt left, durably, then cuts the rest. After an
    /// error the bytes of the attempt may come back, so the store must take no more writes.
    ///
    /// The seal first, because a cut that a crash takes back would show the bytes again; behind a seal they no longer count.
    pub(crate) fn seal_after_failure(&mut self, fields: &RecordFields) -> io::Result<u32> {
        let chain = self.seal(fields)?;
        self.file.sync_data()?;
        self.file.set_len(self.offset)?;
        self.len = self.offset;
        self.file.sync_data()?;
        Ok(chain)
    }

    /// Makes everything appended so far durable.
    #[cfg(test)]
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// The file, for a job that syncs it while the leader appends.
    pub(crate) fn file(&self) -> Arc<dyn File> {
        Arc::clone(&self.file)
    }

    /// How many bytes of records fit in; room for the seal is kept.
    pub(crate) fn remaining(&self) -> u64 {
        self.len.saturating_sub(self.offset).saturating_sub(RECORD_HEADER_LEN as u64)
    }

    /// Where the next record goes.
    #[cfg(test)]
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// What the checksums of its records start from.
    pub(crate) fn seed(&self) -> Seed {
        self.seed
    }

    /// The chain value of its first record if there is no file before it; else it is that of the seal before it.
    pub(crate) fn initial_chain(&self) -> u32 {
        self.initial_chain
    }

    pub(crate) fn number(&self) -> FileNumber {
        self.number
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests;
