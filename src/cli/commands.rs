//! The verbs but `import` and `tour`: each opens the store, makes the calls of the library, and prints the answer.
//!
//! A verb that reads or writes a key ends without `close`: what it wrote is durable as asked when the call returns, and the next
//! open replays the log. That costs less than to write a segment for each key. `bucket add`, `bucket rm` and `import` close.

use std::io::Read;
use std::path::Path;

use annals::{
    Bucket, BucketConfig, BucketStatus, ErrorKind, KeysOptions, Operation, Options, RecoveryReport, Revision, Store, VerifyReport,
};
use serde_json::json;

use crate::args::{Args, BucketVerb, Input, Level, Target, Verb};
use crate::failure::{Context, Exit, Failure, Result};
use crate::import;
use crate::output::{BYTES_BAR, ENTRY_HEADINGS, ENTRY_NUMBERS, Output, entry_json, entry_row, progress};
use crate::text::{self, counted, grouped};
use crate::tour;

/// Does what the arguments say.
pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Exit> {
    match &args.verb {
        Verb::Tour(tour_args) => return tour::tour(tour_args, output),
        Verb::Import(import_args) => import::check_source(&import_args.source)?,
        _ => {}
    }
    let Some(directory) = args.store.as_deref() else {
        let next = "say where the store is: --store DIR".to_owned();
        return Err(Failure::Usage { what: "--store is missing".to_owned(), next });
    };
    let creates = matches!(args.verb, Verb::Import(_) | Verb::Bucket(BucketVerb::Add { .. }));
    let store = open(directory, args.durability, creates)?;
    warn(store.recovery(), output)?;
    let exit = answer(args, &store, directory, output)?;
    if creates || matches!(args.verb, Verb::Bucket(BucketVerb::Rm { .. })) {
        store.close().trying(|| format!("close the store in {}", directory.display()))?;
    }
    Ok(exit)
}

/// Opens the store of a directory; only verbs that say so create one.
pub(crate) fn open(directory: &Path, durability: Level, create: bool) -> Result<Store> {
    let opened = Options::new().durability(durability.durability()).create_if_missing(create).open(directory);
    match opened {
        Err(error) if !create && is_missing(&error) => Err(Failure::NoStore(directory.to_owned())),
        opened => opened.trying(|| format!("open the store in {}", directory.display())),
    }
}

fn is_missing(error: &annals::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    error.kind() == ErrorKind::Io && source.is_some_and(|source| source.kind() == std::io::ErrorKind::NotFound)
}

fn warn(recovery: &RecoveryReport, output: &mut Output) -> Result<()> {
    match tour::torn_words(recovery) {
        Some(words) => output.note(words),
        None => Ok(()),
    }
}

fn answer(args: &Args, store: &Store, directory: &Path, output: &mut Output) -> Result<Exit> {
    match &args.verb {
        Verb::Bucket(verb) => bucket(verb, store, output)?,
        Verb::Put { target, input } => {
            let value = value(input)?;
            written("put", store, target, output, |bucket| bucket.put(&target.key, &value))?;
        }
        Verb::Create { target, input } => {
            let value = value(input)?;
            written("create", store, target, output, |bucket| bucket.create(&target.key, &value))?;
        }
        Verb::Update { target, input, revision } => {
            let value = value(input)?;
            written("update", store, target, output, |bucket| bucket.update(&target.key, &value, Revision::from(*revision)))?;
        }
        Verb::Del { target, revision } => {
            let expected = Revision::from(revision.unwrap_or_default());
            written("delete", store, target, output, |bucket| bucket.delete_expect_revision(&target.key, expected))?;
        }
        Verb::Purge { target, revision } => {
            let expected = Revision::from(revision.unwrap_or_default());
            written("purge", store, target, output, |bucket| bucket.purge_expect_revision(&target.key, expected))?;
        }
        Verb::Get { target, revision } => get(store, target, *revision, output)?,
        Verb::Keys { bucket, filters, markers } => keys(store, bucket, filters, *markers, output)?,
        Verb::History { bucket, pattern } => history(store, bucket, pattern, output)?,
        Verb::Import(import_args) => return import::import(import_args, store, directory, output),
        Verb::Status => status(store, output)?,
        Verb::Verify => verify(store, output)?,
        Verb::TourWriter { threads } => tour::write_until_killed(store, *threads)?,
        Verb::Tour(_) => {}
    }
    Ok(Exit::Done)
}

fn find(store: &Store, name: &str) -> Result<Bucket> {
    store.bucket(name).trying(|| format!("open bucket {name}"))
}

fn value(input: &Input) -> Result<Vec<u8>> {
    match (&input.file, &input.value) {
        (Some(path), _) => std::fs::read(path).map_err(|error| Failure::system("read", path, error)),
        (None, Some(value)) if value == "-" => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).map_err(|error| Failure::system("read", Path::new("stdin"), error))?;
            Ok(bytes)
        }
        (None, value) => Ok(value.clone().unwrap_or_default().into_encoded_bytes()),
    }
}

fn written(
    verb: &str,
    store: &Store,
    target: &Target,
    output: &mut Output,
    write: impl FnOnce(&Bucket) -> annals::Result<Revision>,
) -> Result<()> {
    let bucket = find(store, &target.bucket)?;
    let revision = write(&bucket).trying(|| format!("{verb} {} in bucket {}", target.key, target.bucket))?;
    if output.is_json() {
        output.line(json!({ "bucket": target.bucket, "key": target.key, "revision": revision.get() }))
    } else {
        output.line(revision)
    }
}

fn get(store: &Store, target: &Target, revision: Option<u64>, output: &mut Output) -> Result<()> {
    let Target { bucket: name, key } = target;
    let bucket = find(store, name)?;
    let found = bucket.entry_at(key, Revision::from(revision.unwrap_or_default()));
    let next = format!("`history {name} {key}` shows what is retained of it");
    let nothing = |what| Err(Failure::NotFound { what, next });
    match (found.trying(|| format!("get {key} from bucket {name}"))?, revision) {
        (Some(entry), _) if entry.operation() == Operation::Put => {
            if output.is_json() {
                output.line(entry_json(name, &entry))
            } else {
                output.bytes(entry.value())
            }
        }
        (Some(marker), _) => {
            let done = if marker.operation() == Operation::Purge { "purged" } else { "deleted" };
            nothing(format!("{key} has no value in bucket {name}: it was {done} at revision {}", marker.revision()))
        }
        (None, None | Some(0)) => nothing(format!("{key} has no value in bucket {name}")),
        (None, Some(revision)) => nothing(format!("revision {revision} of bucket {name} is not retained, or not of {key}")),
    }
}

fn keys(store: &Store, name: &str, filters: &[String], markers: bool, output: &mut Output) -> Result<()> {
    let options = filters.iter().fold(KeysOptions::new().markers(markers), |options, filter| options.filter(filter));
    let mut count = 0;
    for key in find(store, name)?.keys_with(options).trying(|| format!("list the keys of bucket {name}"))? {
        let key = key.trying(|| format!("list the keys of bucket {name}"))?;
        count += 1;
        if output.is_json() {
            output.line(json!({ "key": key.as_str() }))?;
        } else {
            output.line(key)?;
        }
    }
    if output.is_terminal() && !output.is_json() {
        output.note(counted(count, "key"))?;
    }
    Ok(())
}

fn history(store: &Store, name: &str, pattern: &str, output: &mut Output) -> Result<()> {
    let mut rows = Vec::new();
    for entry in find(store, name)?.history(pattern).trying(|| format!("read the history of {pattern} in bucket {name}"))? {
        let entry = entry.trying(|| format!("read the history of {pattern} in bucket {name}"))?;
        if output.is_json() {
            output.line(entry_json(name, &entry))?;
        } else {
            rows.push(entry_row(&entry));
        }
    }
    if output.is_json() { Ok(()) } else { output.table(&ENTRY_HEADINGS, rows, &ENTRY_NUMBERS) }
}

fn bucket(verb: &BucketVerb, store: &Store, output: &mut Output) -> Result<()> {
    match verb {
        BucketVerb::Add { name, history, max_value_size, description, metadata } => {
            let config = BucketConfig::new(name)
                .history(*history)
                .max_value_size(*max_value_size)
                .description(description)
                .metadata(metadata.iter().cloned().collect());
            store.create_bucket(config).trying(|| format!("create bucket {name}"))?;
            if output.is_json() { output.line(json!({ "bucket": name })) } else { Ok(()) }
        }
        BucketVerb::Ls => list(store, output),
        BucketVerb::Info { name } => {
            let status = describe(&find(store, name)?)?;
            if output.is_json() { output.line(bucket_json(&status)) } else { output.table(&[], bucket_rows(&status), &[]) }
        }
        BucketVerb::Rm { name } => {
            store.delete_bucket(name).trying(|| format!("remove bucket {name}"))?;
            if output.is_json() { output.line(json!({ "bucket": name })) } else { Ok(()) }
        }
    }
}

fn list(store: &Store, output: &mut Output) -> Result<()> {
    let names = store.buckets().trying(|| "list the buckets".to_owned())?;
    if !output.is_json() && !output.is_terminal() {
        return names.iter().try_for_each(|name| output.line(name));
    }
    let mut rows = Vec::new();
    for name in names {
        let status = describe(&find(store, &name)?)?;
        if output.is_json() {
            output.line(bucket_json(&status))?;
        } else {
            let config = &status.config;
            rows.push(vec![
                name,
                config.history_depth().to_string(),
                grouped(status.live_keys),
                grouped(status.values),
                text::bytes(status.bytes),
                status.last_revision.to_string(),
                text::preview(config.description_text().as_bytes(), 40),
            ]);
        }
    }
    if output.is_json() {
        return Ok(());
    }
    output.table(&["bucket", "history", "keys", "entries", "size", "revision", "description"], rows, &[1, 2, 3, 4, 5])
}

fn describe(bucket: &Bucket) -> Result<BucketStatus> {
    bucket.status().trying(|| format!("count what bucket {} holds", bucket.name()))
}

fn bucket_json(status: &BucketStatus) -> serde_json::Value {
    let config = &status.config;
    json!({
        "bucket": config.name(),
        "history": config.history_depth(),
        "max_value_size": config.value_size_limit(),
        "description": config.description_text(),
        "metadata": config.metadata_pairs(),
        "last_revision": status.last_revision.get(),
        "live_keys": status.live_keys,
        "entries": status.values,
        "bytes": status.bytes,
    })
}

fn bucket_rows(status: &BucketStatus) -> Vec<Vec<String>> {
    let config = &status.config;
    let row = |what: &str, text: String| vec![what.to_owned(), text];
    let mut rows = vec![
        row("bucket", config.name().to_owned()),
        row("history", format!("the last {} of each key", config.history_depth())),
        row("value limit", config.value_size_limit().map_or_else(|| "that of the store".to_owned(), text::bytes)),
        row("description", text::preview(config.description_text().as_bytes(), usize::MAX)),
    ];
    for (key, value) in config.metadata_pairs() {
        rows.push(row("metadata", text::preview(format!("{key}={value}").as_bytes(), usize::MAX)));
    }
    rows.push(row("last revision", status.last_revision.to_string()));
    rows.push(row("keys with a value", grouped(status.live_keys)));
    rows.push(row("retained entries", grouped(status.values)));
    rows.push(row("retained size", text::bytes(status.bytes)));
    rows
}

fn status(store: &Store, output: &mut Output) -> Result<()> {
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

fn verify(store: &Store, output: &mut Output) -> Result<()> {
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
