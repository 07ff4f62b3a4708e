//! The verb `load`: JSON lines, as `export` prints them, become entries of a bucket.
//!
//! Nothing is passed over: a line that is no entry ends the load with an error that names it, and so does a write that the bucket
//! refuses. Only entries whose deadline has passed are left out, and counted. A batch is all or nothing.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use annals::{Batch, Bucket, PutOptions, Revision, Store};
use base64::prelude::{BASE64_STANDARD, Engine};
use indicatif::ProgressBar;
use serde_json::{Value as Json, json};

use crate::args::LoadArgs;
use crate::commands::find;
use crate::failure::{Context, Failure, Result};
use crate::output::{BYTES_BAR, Output, counter, progress};
use crate::text::{counted, grouped, per_second, span};

/// Entries of one batch, and about their bytes.
const BATCH_ENTRIES: usize = 1000;
const BATCH_BYTES: usize = 1 << 20;
/// A value of 64 MiB of which every byte is escaped as six characters, and a key; more is no entry, whatever it is.
const LINE_BYTES_MAX: u64 = 400 << 20;
/// The shortest time to live that an entry can have.
const TTL_MIN: Duration = Duration::from_millis(1);

pub(crate) fn load(args: &LoadArgs, store: &Store, output: &mut Output) -> Result<()> {
    let bucket = find(store, &args.bucket)?;
    let start = Instant::now();
    let source = args.source.as_path();
    let mut loader =
        Loader { bucket: &bucket, source, batch: store.batch(), bytes: 0, first: 1, last: Revision::NONE, loaded: 0, expired: 0 };
    if source == Path::new("-") {
        loader.read(io::stdin().lock(), &counter().with_message("load"))?;
    } else {
        let file = File::open(source).map_err(|error| Failure::system("open", source, error))?;
        let len = file.metadata().map_or(0, |metadata| metadata.len());
        loader.read(BufReader::with_capacity(1 << 20, file), &progress(len, BYTES_BAR).with_message("load"))?;
    }
    let Loader { loaded, expired, last, .. } = loader;
    if output.is_json() {
        return output.line(json!({
            "bucket": args.bucket,
            "loaded": loaded,
            "expired": expired,
            "last_revision": last.get(),
            "seconds": start.elapsed().as_secs_f64(),
        }));
    }
    let rate = grouped(per_second(loaded, start.elapsed()));
    output.line(format_args!("loaded {} in {}, {rate} a second", counted(loaded, "line"), span(start.elapsed())))?;
    if expired > 0 {
        output.line(format_args!("left out {} whose deadline has passed", counted(expired, "line")))?;
    }
    Ok(())
}

#[derive(Debug)]
struct Loader<'a> {
    bucket: &'a Bucket,
    source: &'a Path,
    batch: Batch,
    /// Bytes of the lines in the batch.
    bytes: usize,
    /// The number of the first line in the batch.
    first: u64,
    last: Revision,
    loaded: u64,
    expired: u64,
}

impl Loader<'_> {
    fn read(&mut self, mut source: impl BufRead, bar: &ProgressBar) -> Result<()> {
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            let read = (&mut source).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            let len = read.map_err(|error| Failure::system("read", self.source, error))?;
            if len == 0 {
                self.commit(number - 1)?;
                break;
            }
            bar.inc(len as u64);
            if len as u64 == LINE_BYTES_MAX {
                return Err(self.bad(number, "it is too long for an entry"));
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let entry = parse(&line).map_err(|what| self.bad(number, &what))?;
            self.add(entry, len);
            if self.batch.len() == BATCH_ENTRIES || self.bytes >= BATCH_BYTES {
                self.commit(number)?;
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    fn add(&mut self, entry: Parsed, len: usize) {
        let mut options = PutOptions::new();
        if let Some(deadline) = entry.deadline {
            match deadline.duration_since(SystemTime::now()) {
                Ok(left) if left >= TTL_MIN => options = options.ttl(left),
                _ => {
                    self.expired += 1;
                    return;
                }
            }
        }
        self.bytes += len;
        match entry.change {
            Change::Put(value) => self.batch.put_with(self.bucket, entry.key, value, options),
            Change::Delete => self.batch.delete(self.bucket, entry.key, Revision::NONE),
            Change::Purge => self.batch.purge(self.bucket, entry.key, Revision::NONE),
        };
    }

    /// Writes the batch, whose last line is `number`.
    fn commit(&mut self, number: u64) -> Result<()> {
        let revisions = self.batch.commit().trying(|| {
            let (source, first, name) = (self.source.display(), self.first, self.bucket.name());
            format!(
                "load lines {first} to {number} of {source} into bucket {name}, after {} that were loaded",
                grouped(self.loaded)
            )
        })?;
        self.loaded += revisions.len() as u64;
        self.last = revisions.last().copied().unwrap_or(self.last);
        (self.bytes, self.first) = (0, number + 1);
        Ok(())
    }

    fn bad(&self, number: u64, what: &str) -> Failure {
        let (source, loaded) = (self.source.display(), grouped(self.loaded));
        Failure::Usage {
            what: format!("line {number} of {source} is no entry: {what}; loaded {loaded} before"),
            next: format!("mend the line; what was loaded, up to line {}, may be loaded again", self.first - 1),
        }
    }
}

/// What a line says.
#[derive(Debug, PartialEq)]
struct Parsed {
    key: String,
    change: Change,
    deadline: Option<SystemTime>,
}

#[derive(Debug, PartialEq)]
enum Change {
    Put(Vec<u8>),
    Delete,
    Purge,
}

fn parse(line: &[u8]) -> std::result::Result<Parsed, String> {
    let mut object: Json = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    if !object.is_object() {
        return Err("it is not an object".to_owned());
    }
    let mut text = |field: &str| match object.get_mut(field).map(Json::take) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("its {field} is no text")),
    };
    let key = text("key")?.ok_or("it has no key")?;
    annals::Key::new(&key).map_err(|error| error.to_string())?;
    let (value, encoded) = (text("value")?, text("value_base64")?);
    let change = match (text("operation")?.as_deref().unwrap_or("put"), value, encoded) {
        ("put", Some(value), None) => Change::Put(value.into_bytes()),
        ("put", None, Some(encoded)) => {
            Change::Put(BASE64_STANDARD.decode(encoded).map_err(|error| format!("its value_base64 is none: {error}"))?)
        }
        ("put", ..) => return Err("a put has either a value or a value_base64".to_owned()),
        ("delete", None, None) => Change::Delete,
        ("purge", None, None) => Change::Purge,
        ("delete" | "purge", ..) => return Err("a marker has no value".to_owned()),
        (other, ..) => return Err(format!("there is no operation {other:?}")),
    };
    let deadline = match text("expires")? {
        None => None,
        Some(text) => Some(humantime::parse_rfc3339(&text).map_err(|error| format!("its expires is no time: {error}"))?),
    };
    Ok(Parsed { key, change, deadline })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &[u8]) -> Parsed {
        Parsed { key: key.to_owned(), change: Change::Put(value.to_vec()), deadline: None }
    }

    #[test]
    fn a_line_says_key_and_value_and_may_say_more() {
        assert_eq!(parse(br#"{"key":"a","value":"x"}"#), Ok(put("a", b"x")));
        assert_eq!(parse(br#"{"key":"a","value":"","revision":7,"operation":"put","other":[1]}"#), Ok(put("a", b"")));
        assert_eq!(parse(br#"{"key":"a","value_base64":"/wo=","value":null}"#), Ok(put("a", b"\xff\n")));
        let deadline = Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(1_500_000_000));
        let line = br#"{"key":"a","value":"x","expires":"1970-01-01T00:00:01.500000000Z"}"#;
        assert_eq!(parse(line), Ok(Parsed { deadline, ..put("a", b"x") }));
    }

    #[test]
    fn markers_come_without_a_value() {
        assert_eq!(parse(br#"{"key":"a","operation":"delete"}"#).unwrap().change, Change::Delete);
        assert_eq!(parse(br#"{"key":"a","operation":"purge"}"#).unwrap().change, Change::Purge);
        assert!(parse(br#"{"key":"a","operation":"delete","value":"x"}"#).is_err());
    }

    #[test]
    fn what_is_no_entry_is_refused_with_the_reason() {
        for (line, reason) in [
            ("{", "EOF"),
            ("[]", "object"),
            ("{}", "key"),
            (r#"{"key":7,"value":"x"}"#, "key is no text"),
            (r#"{"key":"a..b","value":"x"}"#, "a..b"),
            (r#"{"key":"a"}"#, "either"),
            (r#"{"key":"a","value":"x","value_base64":"eA=="}"#, "either"),
            (r#"{"key":"a","value":5}"#, "value is no text"),
            (r#"{"key":"a","value_base64":"%"}"#, "base64"),
            (r#"{"key":"a","value":"x","operation":"touch"}"#, "touch"),
            (r#"{"key":"a","value":"x","expires":"soon"}"#, "expires"),
            (r#"{"key":"a","value":"x"} trailing"#, "trailing"),
        ] {
            let what = parse(line.as_bytes()).unwrap_err();
            assert!(what.contains(reason), "{line}: {what}");
        }
    }
}
