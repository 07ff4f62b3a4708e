//! The main job in a minute, told to a newcomer: import a real tree, compare and set, watch, survive a kill, and how
//! fast that was.
//!
//! Every part runs on one store in a directory of its own, with the calls that any program would make. The parts with threads, a process
//! or a clock of their own are `watch`, `crash` and `rates`. Time is bounded: the import stops at a number of files and of seconds, and
//! says so; the rest takes about fifteen seconds.

mod crash;
mod rates;
mod watch;

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use annals::{Bucket, BucketConfig, KeysOptions, RecoveryReport, Store};

use crate::args::{Level, TourArgs};
use crate::commands::open;
use crate::failure::{Context, Exit, Failure, Result};
use crate::import::{Bounds, Report, Run, check_source, walk};
use crate::output::{COUNT_BAR, ENTRY_HEADINGS, ENTRY_NUMBERS, Output, entry_row, progress};
use crate::place::Place;
use crate::text::{self, counted, grouped};

pub(crate) use crash::write_until_killed;

/// After this long the import is cut, so that a slow disk does not make the tour long.
const IMPORT_TIME_MAX: Duration = Duration::from_secs(20);
const TREE: &str = "tree";
/// The sources that cargo unpacked are a good tree from this size on.
const FILES_MIN: usize = 1_000;

/// The verb `tour`.
pub(crate) fn tour(args: &TourArgs, output: &mut Output) -> Result<Exit> {
    if output.is_json() {
        let what = "the tour is told to people and has no JSON".to_owned();
        return Err(Failure::Usage { what, next: "leave --json out".to_owned() });
    }
    let start = Instant::now();
    let place = Place::new("tour", args.keep.as_deref())?;
    let mut guide = Guide { output };
    guide.say(format_args!("annals {}: a tour. The store is in {}.", env!("CARGO_PKG_VERSION"), place.directory().display()))?;
    if let Some(warning) = place.warning() {
        guide.say(warning)?;
    }
    let result = visit(args, &place, &mut guide);
    guide.section(if result.is_ok() { "The end" } else { "The tour broke off" })?;
    let farewell = place.leave();
    guide.say(format_args!("{farewell} The tour took {}.", text::span(start.elapsed())))?;
    result
}

fn visit(args: &TourArgs, place: &Place, guide: &mut Guide<'_>) -> Result<Exit> {
    let store = open(place.directory(), Level::Sync, true)?;
    let keys = import_twice(args, &store, place.directory(), guide)?;
    remember(&store, guide)?;
    watch::tell(&store, guide)?;
    store.close().trying(|| "close the store".to_owned())?;
    drop(store);
    crash::survive(place.directory(), guide)?;
    rates::measure(place.directory(), TREE, &keys, guide)?;
    Ok(Exit::Done)
}

/// Who talks.
#[derive(Debug)]
struct Guide<'a> {
    output: &'a mut Output,
}

impl Guide<'_> {
    /// Says it now: what follows may take seconds.
    fn say(&mut self, text: impl Display) -> Result<()> {
        self.output.line(text)?;
        self.output.flush()
    }

    fn section(&mut self, title: &str) -> Result<()> {
        self.say(format_args!("\n== {title} =="))
    }

    fn table(&mut self, headings: &[&str], rows: Vec<Vec<String>>, numbers: &[usize]) -> Result<()> {
        self.output.table(headings, rows, numbers)?;
        self.output.flush()
    }
}

/// The first part: a tree goes in, and goes in again. Answers the keys that hold it.
fn import_twice(args: &TourArgs, store: &Store, directory: &Path, guide: &mut Guide<'_>) -> Result<Vec<String>> {
    guide.section("1. A directory becomes a bucket")?;
    let source = args.source.clone().unwrap_or_else(default_source);
    check_source(&source)?;
    let bounds = Bounds { store: Some(directory), pass_over: &["target", ".git"], files_max: Some(args.limit_files) };
    let found = walk(&source, bounds, false);
    guide.say(format_args!("Source: {}, {}.", source.display(), counted(found.files.len() as u64, "file")))?;
    if found.cut {
        guide.say("There are more; --limit-files takes them in.")?;
    }
    guide.say("Each file is one write, synced to the disk before it counts. Eight threads share the syncs.")?;
    let bucket = store.create_bucket(BucketConfig::new(TREE).history(5)).trying(|| format!("create bucket {TREE}"))?;
    let first = pass(&bucket, &source, &found.files, Some(Instant::now() + IMPORT_TIME_MAX))?;
    guide.say(format_args!(
        "Stored {}, {}, in {}: {} entries/s, {}/s.",
        counted(first.written(), "file"),
        text::bytes(first.bytes_written),
        text::span(first.elapsed),
        grouped(text::per_second(first.written(), first.elapsed)),
        text::bytes(text::per_second(first.bytes_written, first.elapsed)),
    ))?;
    let reached = usize::try_from(first.files).unwrap_or(usize::MAX).min(found.files.len());
    if reached < found.files.len() {
        let cut = format!(
            "cut after {} at {} of {}",
            text::span(IMPORT_TIME_MAX),
            grouped(first.files),
            counted(found.files.len() as u64, "file")
        );
        guide.say(format_args!("This disk syncs slowly: the import was {cut}."))?;
    }
    let skipped = first.skipped.total() + found.skipped.total();
    if skipped > 0 {
        guide.say(format_args!("Skipped {}: links, or what could not be read. `annals import` names them.", grouped(skipped)))?;
    }
    let again = pass(&bucket, &source, &found.files[..reached], None)?;
    guide.say(format_args!(
        "The same import again compared {} in {} and wrote {}.",
        counted(again.files, "file"),
        text::span(again.elapsed),
        grouped(again.written()),
    ))?;
    show_keys(&bucket, guide)
}

/// The sources that cargo unpacked for the build of this program if there are enough of them, or else the current directory.
fn default_source() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let sources = home.map(|home| home.join("registry").join("src"));
    let enough = |sources: &PathBuf| {
        walk(sources, Bounds { files_max: Some(FILES_MIN), ..Bounds::default() }, false).files.len() >= FILES_MIN
    };
    sources.filter(enough).unwrap_or_else(|| PathBuf::from("."))
}

fn pass(bucket: &Bucket, source: &Path, files: &[PathBuf], deadline: Option<Instant>) -> Result<Report> {
    let bar = progress(files.len() as u64, COUNT_BAR).with_message("files");
    let report = Run { bucket, source, files, verbose: false, deadline, bar: &bar }.store_files();
    bar.finish_and_clear();
    report
}

fn show_keys(bucket: &Bucket, guide: &mut Guide<'_>) -> Result<Vec<String>> {
    let listed = bucket.keys().and_then(|keys| keys.map(|key| Ok(key?.as_str().to_owned())).collect::<annals::Result<Vec<_>>>());
    let keys = listed.trying(|| format!("list the keys of bucket {TREE}"))?;
    if let Some(key) = keys.get(keys.len() / 2) {
        guide.say(format_args!("A key is a path, such as {key}"))?;
    }
    Ok(keys)
}

/// The second part: revisions, compare-and-set, history, filters.
fn remember(store: &Store, guide: &mut Guide<'_>) -> Result<()> {
    guide.section("2. It remembers")?;
    let doing = || "write to bucket settings".to_owned();
    let settings = store.create_bucket(BucketConfig::new("settings").history(8)).trying(doing)?;
    let key = "eu.theme";
    let first = settings.put(key, "dark").trying(doing)?;
    guide.say(format_args!("put {key} = dark: that is revision {first}."))?;
    let second = settings.put(key, "light").trying(doing)?;
    guide.say(format_args!("Somebody else puts light: revision {second}."))?;
    match settings.update(key, "blue", first) {
        Ok(_) => return Err(broken("an update on a revision that is no longer the newest was taken")),
        Err(error) => {
            let actual = error.actual_revision().unwrap_or_default();
            guide
                .say(format_args!("update to blue, if it is still at revision {first}: refused, it is at revision {actual}."))?;
            let third = settings.update(key, "blue", actual).trying(doing)?;
            guide.say(format_args!("update to blue, if it is at revision {actual}: done, revision {third}."))?;
        }
    }
    settings.delete(key).trying(doing)?;
    let value = settings.get(key).trying(doing)?;
    guide.say(format_args!(
        "delete: get answers {}. History shows it all:",
        if value.is_none() { "nothing" } else { "a value!" }
    ))?;
    show_history(&settings, key, guide)?;
    settings.purge(key).trying(doing)?;
    guide.say("purge removes the history as well, and leaves one marker:")?;
    show_history(&settings, key, guide)?;
    for (key, value) in [("eu.size", "12"), ("us.theme", "red"), ("us.ca.theme", "gold")] {
        settings.put(key, value).trying(doing)?;
    }
    for filter in ["*.theme", "us.>"] {
        let listed = settings.keys_with(KeysOptions::new().filter(filter)).and_then(Iterator::collect::<annals::Result<Vec<_>>>);
        let keys = listed.trying(|| "list the keys of bucket settings".to_owned())?;
        let names: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
        guide.say(format_args!("keys '{filter}': {}", names.join(", ")))?;
    }
    Ok(())
}

fn show_history(bucket: &Bucket, key: &str, guide: &mut Guide<'_>) -> Result<()> {
    let read = bucket.history(key).and_then(|entries| entries.map(|entry| Ok(entry_row(&entry?))).collect());
    let rows = read.trying(|| format!("read the history of {key}"))?;
    guide.table(&ENTRY_HEADINGS, rows, &ENTRY_NUMBERS)
}

/// A promise of the library did not hold while everybody watched.
fn broken(what: &str) -> Failure {
    Failure::Broken(what.to_owned())
}

/// What opening the store found and did, in short sentences.
pub(crate) fn recovery_words(recovery: &RecoveryReport) -> Vec<String> {
    let mut words = vec![format!(
        "{} in {}: {} read, {} replayed",
        if recovery.clean { "after a clean close" } else { "after an end without a close" },
        text::span(recovery.elapsed),
        counted(recovery.log_files as u64, "log file"),
        counted(recovery.replayed, "change"),
    )];
    words.extend(torn_words(recovery));
    if !recovery.removed.is_empty() {
        words.push(format!("left over and removed: {}", recovery.removed.join(", ")));
    }
    if !recovery.foreign.is_empty() {
        words.push(format!("not the store's and left alone: {}", recovery.foreign.join(", ")));
    }
    words
}

/// What was cut off the log, if anything was.
pub(crate) fn torn_words(recovery: &RecoveryReport) -> Option<String> {
    let torn = recovery.torn.as_ref()?;
    let mut words = format!(
        "a crash left the log torn: {} cut off at offset {} of {}; no synced write was in it",
        counted(torn.bytes, "byte"),
        torn.offset,
        torn.file.display()
    );
    if torn.records_after > 0 {
        words.push_str(&format!(", nor in {} beyond it", counted(torn.records_after, "whole record")));
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_opening_is_said_in_one_line() {
        let mut recovery = RecoveryReport::default();
        recovery.clean = true;
        recovery.log_files = 1;
        assert_eq!(recovery_words(&recovery), ["after a clean close in 0 ns: 1 log file read, 0 changes replayed"]);
    }

    #[test]
    fn files_that_were_removed_or_left_alone_are_named() {
        let mut recovery = RecoveryReport::default();
        recovery.removed = vec!["7.seg".to_owned()];
        recovery.foreign = vec!["notes.txt".to_owned()];
        let words = recovery_words(&recovery);
        assert!(words[0].starts_with("after an end without a close"));
        assert_eq!(&words[1..], ["left over and removed: 7.seg", "not the store's and left alone: notes.txt"]);
    }
}
