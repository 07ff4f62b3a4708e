//! The verbs of `annals bucket`.

use std::time::Duration;

use annals::{Bucket, BucketConfig, BucketStatus, Compression, Store};
use serde_json::json;

use crate::args::{BucketVerb, Limits};
use crate::commands::find;
use crate::failure::{Context, Failure, Result};
use crate::output::Output;
use crate::text::{self, grouped};

pub(crate) fn bucket(verb: &BucketVerb, store: &Store, output: &mut Output) -> Result<()> {
    match verb {
        BucketVerb::Add { name, limits } => {
            let config = limits.applied_to(BucketConfig::new(name));
            store.create_bucket(config).trying(|| format!("create bucket {name}"))?;
            if output.is_json() { output.line(json!({ "bucket": name })) } else { Ok(()) }
        }
        BucketVerb::Edit { name, limits, drop_metadata } => edit(store, name, limits, drop_metadata, output),
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

fn edit(store: &Store, name: &str, limits: &Limits, drop_metadata: &[String], output: &mut Output) -> Result<()> {
    let usage = |what: String| Failure::Usage { what, next: "`bucket edit --help` lists what can be changed".to_owned() };
    if limits.is_empty() && drop_metadata.is_empty() {
        return Err(usage(format!("nothing to change in bucket {name}")));
    }
    let mut config = find(store, name)?.config().trying(|| format!("read the configuration of bucket {name}"))?;
    let mut pairs = config.metadata_pairs().clone();
    for key in drop_metadata {
        pairs.remove(key).ok_or_else(|| usage(format!("bucket {name} has no metadata {key}")))?;
    }
    config = limits.applied_to(config.metadata(pairs));
    store.update_bucket(config).trying(|| format!("edit bucket {name}"))?;
    if output.is_json() { output.line(json!({ "bucket": name })) } else { Ok(()) }
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
        "max_age_seconds": config.age_limit().map(|age| age.as_secs_f64()),
        "limit_markers_seconds": config.marker_lifetime().map(|lifetime| lifetime.as_secs_f64()),
        "max_bytes": config.byte_limit(),
        "max_value_size": config.value_size_limit(),
        "compression": compression_name(config.value_compression()),
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
    let span =
        |span: Option<Duration>| span.map_or_else(|| "none".to_owned(), |span| humantime::format_duration(span).to_string());
    let mut rows = vec![
        row("bucket", config.name().to_owned()),
        row("history", format!("the last {} of each key", config.history_depth())),
        row("age limit", span(config.age_limit())),
        row("markers of expiry", span(config.marker_lifetime())),
        row("byte limit", config.byte_limit().map_or_else(|| "none".to_owned(), text::bytes)),
        row("value limit", config.value_size_limit().map_or_else(|| "that of the store".to_owned(), text::bytes)),
        row("compression", compression_name(config.value_compression()).to_owned()),
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

const fn compression_name(compression: Compression) -> &'static str {
    match compression {
        Compression::Zstd => "zstd",
        _ => "none",
    }
}
