//! A program with a thousand watchers that is killed in the middle of writing, and goes on, again and again.
//!
//! The child watches one bucket with a thousand filters (all keys, patterns, single keys) and writes to it with two threads. What a
//! watcher is given it reports through a pipe, with its token: the parent's memory is what the program had noted when it was killed. The
//! parent opens the store itself, resumes every watcher from its last token until that is up to date, and checks:
//! - what the watcher was told over all lives comes to exactly what the bucket holds of its keys, markers included;
//! - every revision that the bucket still holds was told, once, and in order;
//! - a store that was killed has lost nothing, so nobody is refused.
//!
//! Then the next child goes on from the parent's tokens. `ANNALS_WATCH_ROUNDS` sets the number of kills per level (default 4).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use annals::{Bucket, BucketConfig, Durability, Entry, Event, Result, Store, Watch, WatchOptions, WatchToken};

use crate::writer::{checksum, letter};

const WATCHERS: usize = 1000;
const READERS: usize = 2;
const WRITERS: u64 = 2;
const GROUPS: usize = 25;
const KEYS_PER_GROUP: usize = 20;
/// The most events of one report.
const EVENTS_MAX: usize = 32;
const ROUNDS_DEFAULT: u64 = 4;
/// The child is killed after so many reports, and some more.
const REPORTS_MIN: u64 = 2500;

/// What a watcher was told, over all lives.
#[derive(Clone, Debug, Default)]
struct Memory {
    token: Option<WatchToken>,
    /// By key: revision, operation, checksum of the value.
    state: BTreeMap<String, Told>,
    revisions: Vec<u64>,
}

type Told = (u64, char, u64);

fn filter(watcher: usize) -> String {
    let (group, key) = (watcher % GROUPS, watcher / GROUPS % KEYS_PER_GROUP);
    match watcher % 50 {
        0 => ">".to_owned(),
        1..=15 => format!("g{group}.*"),
        _ => format!("g{group}.k{key}"),
    }
}

fn start(bucket: &Bucket, watcher: usize, token: Option<WatchToken>) -> Result<Watch> {
    let options = WatchOptions::new().filter(filter(watcher));
    bucket.watch_with(match token {
        Some(token) => options.after(token),
        None => options.history(true),
    })
}

fn open_bucket(directory: &Path, durability: Durability) -> Result<(Store, Bucket)> {
    let store = crate::options(durability).open(directory)?;
    let bucket = store.create_bucket(BucketConfig::new("watched").history(64))?;
    Ok((store, bucket))
}

fn told(entry: &Entry) -> Told {
    let sum = if entry.value().is_empty() { 0 } else { checksum(entry.value()) };
    (entry.revision().get(), letter(entry.operation()), sum)
}

impl Memory {
    fn hear(&mut self, event: &Event, place: &str) {
        match event {
            Event::Entry(entry) => self.note(entry.key().as_str(), told(entry), place),
            Event::Purged { through } => self.purge(through.get()),
            _ => {}
        }
    }

    fn note(&mut self, key: &str, told: Told, place: &str) {
        let last = self.revisions.last().copied().unwrap_or(0);
        assert!(last < told.0, "{place}: revision {} after {last}", told.0);
        self.revisions.push(told.0);
        self.state.insert(key.to_owned(), told);
    }

    fn purge(&mut self, through: u64) {
        self.state.retain(|_, told| told.0 > through);
    }

    /// A line of a child: the watcher's number, its token, and what it was given.
    fn hear_line(memories: &mut [Self], line: &str, place: &str) {
        let mut fields = line.split(' ');
        let mut field = || fields.next().unwrap();
        let memory = &mut memories[field().parse::<usize>().unwrap()];
        memory.token = Some(field().parse().unwrap());
        for event in fields {
            let parts: Vec<&str> = event.split(':').collect();
            match parts[..] {
                [through] => memory.purge(through.parse().unwrap()),
                [key, revision, operation, sum] => {
                    let told = (revision.parse().unwrap(), operation.parse().unwrap(), sum.parse().unwrap());
                    memory.note(key, told, place);
                }
                _ => panic!("{place}: {line}"),
            }
        }
    }
}

/// Not a test of its own: the program that is killed.
#[test]
fn child_process_with_a_thousand_watchers() {
    let Some(directory) = std::env::var_os("ANNALS_WATCH_DIRECTORY") else { return };
    let durability = if std::env::var_os("ANNALS_WATCH_SYNC").is_some() { Durability::Sync } else { Durability::OsCache };
    let tokens = std::fs::read_to_string(std::env::var_os("ANNALS_WATCH_TOKENS").unwrap()).unwrap();
    let tokens: Vec<Option<WatchToken>> = tokens.lines().map(|line| line.parse().ok()).collect();
    let chance = std::env::var("ANNALS_WATCH_CHANCE").unwrap().parse().unwrap();
    if let Err(error) = watch_and_write(Path::new(&directory), durability, &tokens, chance) {
        println!("\nfailed with {error:?}");
    }
}

fn watch_and_write(directory: &Path, durability: Durability, tokens: &[Option<WatchToken>], chance: u64) -> Result<()> {
    let (_store, bucket) = open_bucket(directory, durability)?;
    let mut watches = Vec::new();
    for watcher in 0..WATCHERS {
        watches.push((watcher, start(&bucket, watcher, tokens.get(watcher).copied().flatten())?));
    }
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for share in watches.chunks_mut(WATCHERS / READERS) {
            threads.push(scope.spawn(move || {
                loop {
                    for (watcher, watch) in &mut *share {
                        report(*watcher, watch)?;
                    }
                }
            }));
        }
        for writer in 0..WRITERS {
            let bucket = &bucket;
            threads.push(scope.spawn(move || (0..).try_for_each(|number| write(bucket, chance ^ writer << 48, number))));
        }
        threads.into_iter().try_for_each(|thread| thread.join().unwrap())
    })
}

/// What there is for the watcher, in one line with its token.
fn report(watcher: usize, watch: &mut Watch) -> Result<()> {
    let mut events = String::new();
    for _ in 0..EVENTS_MAX {
        match watch.try_next()? {
            Some(Event::Entry(entry)) => {
                let (revision, operation, sum) = told(&entry);
                write!(events, " {}:{revision}:{operation}:{sum}", entry.key()).unwrap();
            }
            Some(Event::Purged { through }) => write!(events, " {through}").unwrap(),
            Some(_) => {}
            None => break,
        }
    }
    if !events.is_empty() {
        let line = format!("\ntold {watcher} {}{events}\n", watch.token());
        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    }
    Ok(())
}

fn write(bucket: &Bucket, chance: u64, number: u64) -> Result<()> {
    let chance = crate::writer::mixed(chance ^ number);
    let key = format!("g{}.k{}", chance % GROUPS as u64, chance / 64 % KEYS_PER_GROUP as u64);
    match chance / 4096 % 1024 {
        0 => bucket.purge_all().map(|_| ()),
        1..=30 => bucket.purge(&key).map(|_| ()),
        31..=120 => bucket.delete(&key).map(|_| ()),
        _ => bucket.put(&key, format!("{key} {chance:x}")).map(|_| ()),
    }
}

fn rounds(durability: Durability, count: u64) {
    let directory = tempfile::tempdir().unwrap();
    let (path, tokens) = (directory.path().join("store"), directory.path().join("tokens"));
    let mut memories = vec![Memory::default(); WATCHERS];
    let (mut told, mut resumed) = (0, 0);
    for round in 0..count {
        let place = format!("{durability:?}, round {round}");
        let noted = memories.iter().map(|memory| memory.token.map_or_else(String::new, |token| token.to_string()));
        std::fs::write(&tokens, noted.collect::<Vec<_>>().join("\n")).unwrap();
        told += live(&path, &tokens, durability, round, &mut memories, &place);
        let (store, bucket) = open_bucket(&path, durability).unwrap_or_else(|error| panic!("{place}: {error:?}"));
        for (watcher, memory) in memories.iter_mut().enumerate() {
            let place = format!("{place}, watcher {watcher} of {}", filter(watcher));
            resumed += catch_up(&bucket, watcher, memory, &place);
        }
        // Half of the children go on from a close, half from the replay of a dropped store.
        if round % 2 == 0 {
            store.close().unwrap();
        }
    }
    println!("{durability:?}: {count} kills, {told} reports of {WATCHERS} watchers, {resumed} events after they came back");
    assert!(resumed > 0, "a kill leaves somebody behind");
}

/// A child lives until it is killed in the middle of its work; answers how many reports came from it.
fn live(path: &Path, tokens: &PathBuf, durability: Durability, round: u64, memories: &mut [Memory], place: &str) -> u64 {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "watchers::child_process_with_a_thousand_watchers", "--nocapture"]);
    command.env("ANNALS_WATCH_DIRECTORY", path).env("ANNALS_WATCH_TOKENS", tokens);
    command.env("ANNALS_WATCH_CHANCE", (round << 32).to_string());
    if durability == Durability::Sync {
        command.env("ANNALS_WATCH_SYNC", "1");
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let (mut line, mut reports) = (Vec::new(), 0);
    let last = REPORTS_MIN + crate::writer::mixed(round) % REPORTS_MIN;
    while output.read_until(b'\n', &mut line).unwrap() > 0 {
        // A line that the kill cut off was never noted.
        if line.pop() == Some(b'\n') {
            let text = std::str::from_utf8(&line).unwrap();
            assert!(!text.starts_with("failed"), "{place}: {text}");
            if let Some(text) = text.strip_prefix("told ") {
                Memory::hear_line(memories, text, place);
                reports += 1;
            }
        }
        line.clear();
        if reports == last {
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success(), "{place}: the child ended by itself");
    reports
}

/// The watcher comes back; answers how much it was told.
fn catch_up(bucket: &Bucket, watcher: usize, memory: &mut Memory, place: &str) -> usize {
    let before = memory.revisions.len();
    let mut watch = start(bucket, watcher, memory.token).unwrap_or_else(|error| panic!("{place}: {error:?}"));
    loop {
        let event = watch.next_timeout(Duration::from_secs(60)).unwrap_or_else(|error| panic!("{place}: {error:?}"));
        match event.unwrap_or_else(|| panic!("{place}: never up to date")) {
            Event::UpToDate => break,
            event => memory.hear(&event, place),
        }
    }
    memory.token = Some(watch.token());
    let mut state = BTreeMap::new();
    for entry in bucket.history(filter(watcher)).unwrap() {
        let entry = entry.unwrap();
        let revision = entry.revision().get();
        assert!(memory.revisions.binary_search(&revision).is_ok(), "{place}: never told of revision {revision}");
        state.insert(entry.key().as_str().to_owned(), told(&entry));
    }
    assert!(memory.state == state, "{place}: {:?} instead of {state:?}", memory.state);
    memory.revisions.len() - before
}

#[test]
fn a_thousand_watchers_go_on_after_a_kill_and_miss_nothing() {
    let count = crate::number_from_environment("ANNALS_WATCH_ROUNDS", ROUNDS_DEFAULT);
    rounds(Durability::Sync, count);
    rounds(Durability::OsCache, count);
}
