//! The verbs on a store as a whole: what it is, and whether it is sound.

use annals::{Store, VerifyReport};
use serde_json::json;

use crate::failure::{Context, Result};
use crate::output::{BYTES_BAR, Output, progress, stopwatch};
use crate::text::{self, counted, grouped};
use crate::tour;

pub(crate) fn status(store: &Store, output: &mut Output) -> Result<()> {
    let status = store.status().trying(|| "read the status of the store".to_owned())?;
    let recovery = store.recovery();
    if output.is_json() {
        return output.line(json!({
            "directory": status.directory.to_string_lossy(),
            "buckets": status.buckets,
            "last_commit": status.last_commit.get(),
            "durable_commit": status.durable_commit.get(),
            "memtable_bytes": status.memtable_bytes,
            "sealed_memtables": status.sealed_memtables,
            "segments": status.segments,
            "segment_bytes": status.segment_bytes,
            "segment_entries": status.segment_entries,
            "poisoned": status.poisoned,
            "recovery": {
                "clean": recovery.clean,
                "log_files": recovery.log_files,
                "replayed": recovery.replayed,
                "torn": recovery.torn.is_some(),
                "removed": recovery.removed,
                "foreign": recovery.foreign,
                "seconds": recovery.elapsed.as_secs_f64(),
            },
        }));
    }
    let row = |what: &str, text: String| vec![what.to_owned(), text];
    let mut rows = vec![
        row("directory", status.directory.display().to_string()),
        row("buckets", grouped(status.buckets as u64)),
        row("last commit", format!("{}, durable up to {}", status.last_commit, status.durable_commit)),
        row("in memory", text::bytes(status.memtable_bytes)),
        row("in segments", format!("{}, {}", text::bytes(status.segment_bytes), counted(status.segments as u64, "file"))),
        row("segment entries", grouped(status.segment_entries)),
    ];
    rows.extend(tour::recovery_words(recovery).into_iter().map(|words| row("opening", words)));
    output.table(&[], rows, &[])
}

pub(crate) fn flush(store: &Store, output: &mut Output) -> Result<()> {
    store.flush().trying(|| "flush the store".to_owned())?;
    segments("flushed", store, output)
}

pub(crate) fn compact(store: &Store, output: &mut Output) -> Result<()> {
    let bar = stopwatch().with_message("compact");
    let compacted = store.compact();
    bar.finish_and_clear();
    compacted.trying(|| "compact the store".to_owned())?;
    segments("compacted", store, output)
}

/// What segments hold after something was done to them.
fn segments(done: &str, store: &Store, output: &mut Output) -> Result<()> {
    let status = store.status().trying(|| "read the status of the store".to_owned())?;
    let (files, bytes, entries) = (status.segments as u64, status.segment_bytes, status.segment_entries);
    if output.is_json() {
        return output.line(json!({ "segments": files, "segment_bytes": bytes, "segment_entries": entries }));
    }
    let held = format!("{} in {}", text::bytes(bytes), counted(files, "file"));
    output.line(format_args!("{done}: {held}, {entries} entries", entries = grouped(entries)))
}

pub(crate) fn verify(store: &Store, output: &mut Output) -> Result<()> {
    let status = store.status().trying(|| "read the status of the store".to_owned())?;
    let bar = progress(status.segment_bytes, BYTES_BAR).with_message("verify");
    let verified = store.verify_with(|report| bar.set_position(report.bytes));
    bar.finish_and_clear();
    let VerifyReport { files, bytes, blocks, entries, .. } = verified.trying(|| "verify the store".to_owned())?;
    if output.is_json() {
        return output.line(json!({ "ok": true, "files": files, "bytes": bytes, "blocks": blocks, "entries": entries }));
    }
    let read = format!("{} in {}", text::bytes(bytes), counted(files as u64, "file"));
    output.line(format_args!("ok: {read}, {}, {} decoded", counted(blocks, "block"), grouped(entries)))
}
