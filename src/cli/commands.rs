//! From a verb to its answer: opens the store, and does the verbs on keys itself. The others have modules of their own.
//!
//! A verb that reads or writes a key ends without `close`: what it wrote is durable as asked when the call returns, and the next
//! open replays the log. That costs less than to write a segment for each key. Verbs that write much, or that ask for it, close.

use std::io::Read;
use std::path::Path;

use annals::{Bucket, ErrorKind, Event, KeysOptions, Matched, Operation, Options, PutOptions, RecoveryReport, Revision, Store};
use serde_json::json;

use crate::args::{Args, BucketVerb, DelArgs, Expiry, Input, Level, PurgeArgs, Target, Verb};
use crate::buckets;
use crate::failure::{Context, Exit, Failure, Result};
use crate::output::{ENTRY_HEADINGS, ENTRY_NUMBERS, Output, entry_json, entry_row};
use crate::text::counted;
use crate::{bench, export, import, load, tour, upkeep};

/// Does what the arguments say.
pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Exit> {
    match &args.verb {
        Verb::Tour(tour_args) => return tour::tour(tour_args, output),
        Verb::Bench(bench_args) => return bench::bench(bench_args, args.durability.unwrap_or(Level::Os), output),
        Verb::Import(import_args) => import::check_source(&import_args.source)?,
        _ => {}
    }
    let Some(directory) = args.store.as_deref() else {
        let next = "say where the store is: --store DIR".to_owned();
        return Err(Failure::Usage { what: "--store is missing".to_owned(), next });
    };
    let creates = matches!(args.verb, Verb::Import(_) | Verb::Bucket(BucketVerb::Add { .. }));
    let store = open(directory, args.durability.unwrap_or(Level::Sync), creates)?;
    warn(store.recovery(), output)?;
    let exit = answer(args, &store, directory, output)?;
    if creates || matches!(args.verb, Verb::Load(_) | Verb::Flush | Verb::Compact | Verb::Bucket(BucketVerb::Rm { .. })) {
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
        Verb::Bucket(verb) => buckets::bucket(verb, store, output)?,
        Verb::Put { target, input, expiry } => {
            let value = value(input)?;
            written("put", store, target, output, |bucket| bucket.put_with(&target.key, &value, options(*expiry)))?;
        }
        Verb::Create { target, input, expiry } => {
            let value = value(input)?;
            written("create", store, target, output, |bucket| bucket.create_with(&target.key, &value, options(*expiry)))?;
        }
        Verb::Update { target, input, revision, expiry } => {
            let (value, revision) = (value(input)?, Revision::from(*revision));
            written("update", store, target, output, |bucket| {
                bucket.update_with(&target.key, &value, revision, options(*expiry))
            })?;
        }
        Verb::Touch { target, expiry } => touch(store, target, *expiry, output)?,
        Verb::Del(del_args) => del(store, del_args, output)?,
        Verb::Purge(purge_args) => purge(store, purge_args, output)?,
        Verb::Get { target, revision } => get(store, target, *revision, output)?,
        Verb::At { target, revision } => at(store, target, *revision, output)?,
        Verb::Keys { bucket, filters, markers } => keys(store, bucket, filters, *markers, output)?,
        Verb::History { bucket, pattern } => history(store, bucket, pattern, output)?,
        Verb::Changes { bucket, since } => changes(store, bucket, *since, output)?,
        Verb::Import(import_args) => return import::import(import_args, store, directory, output),
        Verb::Export(export_args) => export::export(export_args, store, output)?,
        Verb::Load(load_args) => load::load(load_args, store, output)?,
        Verb::Flush => upkeep::flush(store, output)?,
        Verb::Compact => upkeep::compact(store, output)?,
        Verb::Status => upkeep::status(store, output)?,
        Verb::Verify => upkeep::verify(store, output)?,
        Verb::TourWriter { threads } => tour::write_until_killed(store, *threads)?,
        Verb::BenchWriter(bench_args) => bench::write_until_killed(bench_args, store)?,
        Verb::Tour(_) | Verb::Bench(_) => {}
    }
    Ok(Exit::Done)
}

pub(crate) fn find(store: &Store, name: &str) -> Result<Bucket> {
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

fn options(expiry: Expiry) -> PutOptions {
    PutOptions::new().ttl(expiry.ttl)
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
    at_revision(target, revision, output)
}

fn at_revision(target: &Target, revision: Revision, output: &mut Output) -> Result<()> {
    if output.is_json() {
        output.line(json!({ "bucket": target.bucket, "key": target.key, "revision": revision.get() }))
    } else {
        output.line(revision)
    }
}

fn touch(store: &Store, target: &Target, expiry: Expiry, output: &mut Output) -> Result<()> {
    let Target { bucket: name, key } = target;
    let touched = find(store, name)?.touch(key, options(expiry)).trying(|| format!("touch {key} in bucket {name}"))?;
    match touched {
        Some(revision) => at_revision(target, revision, output),
        None => Err(Failure::NotFound {
            what: format!("{key} has no value in bucket {name}"),
            next: format!("`history {name} {key}` shows what is retained of it; `put` gives it a value"),
        }),
    }
}

fn del(store: &Store, args: &DelArgs, output: &mut Output) -> Result<()> {
    if let Some(pattern) = &args.matching {
        let name = &args.bucket;
        let matched = find(store, name)?.delete_matching(pattern);
        return matching(name, pattern, matched.trying(|| format!("delete {pattern} in bucket {name}"))?, output);
    }
    let target = Target { bucket: args.bucket.clone(), key: args.key.clone().unwrap_or_default() };
    let expected = Revision::from(args.revision.unwrap_or_default());
    written("delete", store, &target, output, |bucket| bucket.delete_expect_revision(&target.key, expected))
}

fn purge(store: &Store, args: &PurgeArgs, output: &mut Output) -> Result<()> {
    let name = &args.bucket;
    let bucket = find(store, name)?;
    if let Some(pattern) = &args.matching {
        let matched = bucket.purge_matching(pattern).trying(|| format!("purge {pattern} in bucket {name}"))?;
        return matching(name, pattern, matched, output);
    }
    if args.all {
        let through = bucket.purge_all().trying(|| format!("purge all of bucket {name}"))?;
        let object = json!({ "bucket": name, "through": through.get() });
        return if output.is_json() { output.line(object) } else { output.line(format_args!("through revision {through}")) };
    }
    if let Some(age) = args.markers {
        let count = bucket.purge_deletes(age).trying(|| format!("purge the markers of bucket {name}"))?;
        let object = json!({ "bucket": name, "keys": count });
        return if output.is_json() { output.line(object) } else { output.line(counted(count, "key")) };
    }
    let target = Target { bucket: name.clone(), key: args.key.clone().unwrap_or_default() };
    let expected = Revision::from(args.revision.unwrap_or_default());
    let options = PutOptions::new().ttl(args.ttl);
    written("purge", store, &target, output, |bucket| bucket.purge_with(&target.key, expected, options))
}

fn matching(name: &str, pattern: &str, matched: Matched, output: &mut Output) -> Result<()> {
    let Matched { count, last_revision, .. } = matched;
    if output.is_json() {
        let last = last_revision.get();
        return output.line(json!({ "bucket": name, "pattern": pattern, "keys": count, "last_revision": last }));
    }
    output.line(format_args!("{}, up to revision {last_revision}", counted(count, "key")))
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

fn at(store: &Store, target: &Target, revision: u64, output: &mut Output) -> Result<()> {
    let Target { bucket: name, key } = target;
    let found = find(store, name)?.entry_as_of(key, Revision::from(revision));
    match found.trying(|| format!("get {key} from bucket {name} as of revision {revision}"))? {
        Some(entry) if entry.operation() == Operation::Put => {
            if output.is_json() {
                output.line(entry_json(name, &entry))
            } else {
                output.bytes(entry.value())
            }
        }
        _ => Err(Failure::NotFound {
            what: format!("{key} had no value in bucket {name} at revision {revision}"),
            next: format!("`history {name} {key}` shows what is retained of it"),
        }),
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

/// For a person, tables of so many rows: there may be too many changes for one.
const CHANGES_PER_TABLE: usize = 1_000;

fn changes(store: &Store, name: &str, since: u64, output: &mut Output) -> Result<()> {
    let doing = || format!("list the changes of bucket {name} since revision {since}");
    let mut headings = &ENTRY_HEADINGS[..];
    let mut rows = Vec::new();
    let mut changes = find(store, name)?.changes_since(Revision::from(since)).trying(doing)?.peekable();
    while let Some(event) = changes.next() {
        match event.trying(doing)? {
            Event::Purged { through } if output.is_json() => {
                output.line(json!({ "bucket": name, "purged_through": through.get() }))?;
            }
            Event::Purged { through } => output.line(format_args!("the bucket was purged through revision {through}"))?,
            Event::Entry(entry) if output.is_json() => output.line(entry_json(name, &entry))?,
            Event::Entry(entry) => rows.push(entry_row(&entry)),
            // A list has no others.
            _ => {}
        }
        if rows.len() == CHANGES_PER_TABLE && changes.peek().is_some() {
            output.table(headings, std::mem::take(&mut rows), &ENTRY_NUMBERS)?;
            headings = &[];
        }
    }
    if output.is_json() { Ok(()) } else { output.table(headings, rows, &ENTRY_NUMBERS) }
}
