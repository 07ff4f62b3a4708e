//! The last calls, for messages: what a failing run did before it failed.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::fault::{Call, Verdict};
use super::fs::Site;

const RECORDS_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Trace {
    records: VecDeque<Record>,
    /// How many records there were in all; calls are numbered from 1.
    count: u64,
}

/// Kept small and unformatted: most are never looked at.
#[derive(Debug)]
struct Record {
    call: Call,
    path: Arc<Path>,
    offset: u64,
    size: usize,
    verdict: Verdict,
    failed: Option<io::ErrorKind>,
}

impl Trace {
    pub(super) fn push(&mut self, site: &Site<'_>, verdict: Verdict, error: Option<&io::Error>) {
        if self.records.len() == RECORDS_MAX {
            self.records.pop_front();
        }
        let Site { call, path, offset, size } = *site;
        self.records.push_back(Record {
            call,
            path: Arc::clone(path),
            offset,
            size,
            verdict,
            failed: error.map(io::Error::kind),
        });
        self.count += 1;
    }

    pub(super) fn describe(&self, number: u64) -> String {
        let first = self.count - self.records.len() as u64 + 1;
        let record = number.checked_sub(first).and_then(|index| self.records.get(usize::try_from(index).ok()?));
        let Some(Record { call, path, offset, size, verdict, failed }) = record else {
            return format!("{number}: not known");
        };
        let mut text = format!("{number}: {call:?} {}", path.display());
        match call {
            Call::ReadAt | Call::WriteAt => text += &format!(" {offset}+{size}"),
            Call::Allocate | Call::SetLen => text += &format!(" {offset}"),
            _ => {}
        }
        match verdict {
            Verdict::Go => {}
            Verdict::Fail(fault) => text += &format!(" [{fault:?}]"),
            Verdict::Down { .. } => text += " [down]",
        }
        if let Some(kind) = failed {
            text += &format!(" -> {kind:?}");
        }
        text
    }
}
