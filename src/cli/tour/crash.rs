//! The fourth part: another process writes and watches, is killed in the middle, nothing that it was promised is gone, and its watch goes on.
//!
//! The child is this program again, with a hidden verb. After the store has acknowledged a write, the child says so on a pipe;
//! what the parent reads there before the pipe breaks is what was promised. A kill ends the process and not the machine: that a
//! power cut takes nothing either is for the tests of the engine to show, on a simulated disk.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::ChildStdout;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use annals::{Bucket, BucketConfig, Event, Store, Watch, WatchOptions, WatchToken};

use super::{Guide, broken, recovery_words, watch};
use crate::args::Level;
use crate::child::{Child, is_killed};
use crate::commands::open;
use crate::failure::{Context, Failure, Result};
use crate::text::{counted, grouped, span};

const BUCKET: &str = "crash";
const THREADS: usize = 4;
const VALUE_LEN: usize = 100;
/// How long the writer may write before it is killed.
const LIFE: Duration = Duration::from_secs(1);
/// How long to wait for its first word.
const PATIENCE: Duration = Duration::from_secs(15);
/// After how many events the writer's watch says how far it is, and what that line begins with.
const NOTE_EVERY: u64 = 100;
const TOKEN_MARK: &str = "token ";
/// When it ends by itself, in case nobody is left to kill it.
const LIFE_MAX: Duration = Duration::from_secs(60);

/// A write that was acknowledged: the number of its thread, its number there.
type Promise = (usize, u64);

/// What the writing process has said.
#[derive(Debug, Default)]
struct Words {
    promises: Vec<Promise>,
    /// How far its watch had got when it last told.
    token: Option<WatchToken>,
}

/// What is there of what was promised.
#[derive(Debug, PartialEq, Eq)]
struct Tally {
    acknowledged: u64,
    found: u64,
    /// Written, and killed before it could be said.
    unannounced: u64,
}

impl Tally {
    const fn lost(&self) -> u64 {
        self.acknowledged - self.found
    }

    const fn judge(&self) -> Result<()> {
        match self.lost() {
            0 => Ok(()),
            lost => Err(Failure::Lost { acknowledged: self.acknowledged, lost }),
        }
    }
}

pub(super) fn survive(directory: &Path, guide: &mut Guide<'_>) -> Result<()> {
    guide.section("4. It survives a kill")?;
    guide.say(format_args!("Another process writes with {THREADS} threads, synced, and reports each acknowledged write."))?;
    let Words { promises, token } = write_and_kill(directory)?;
    guide.say(format_args!("It also watches what it writes, and notes how far the watch is. After {} it got SIGKILL, in the middle of its writes. Opening the store again:", span(LIFE)))?;
    let store = open(directory, Level::Sync, false)?;
    for words in recovery_words(store.recovery()) {
        guide.say(format_args!("  {words}"))?;
    }
    let bucket = store.bucket(BUCKET).trying(|| format!("open bucket {BUCKET}"))?;
    let tally = tally(&bucket, &promises)?;
    guide.say(format_args!(
        "Acknowledged {}, found {}, lost {}.",
        grouped(tally.acknowledged),
        grouped(tally.found),
        grouped(tally.lost())
    ))?;
    if tally.unannounced > 0 {
        let more = counted(tally.unannounced, "more write");
        guide.say(format_args!("Besides, {more} had been stored when the kill came before the report."))?;
    }
    let token = token.ok_or_else(|| broken("the watch in the writing process told nothing"))?;
    let resumed = resume(&bucket, token)?;
    guide.say(format_args!(
        "Its watch goes on after revision {}: {} until it is live again, none twice, none left out.",
        token.revision(),
        counted(resumed, "change")
    ))?;
    store.close().trying(|| "close the store".to_owned())?;
    tally.judge()
}

/// Takes up the watch where it was noted to be; answers how many changes it had not got yet. Every write here is of a new key, so all of them
/// must come.
fn resume(bucket: &Bucket, token: WatchToken) -> Result<u64> {
    let doing = || format!("watch bucket {BUCKET}");
    let last = bucket.status().trying(doing)?.last_revision;
    let mut watch = bucket.watch_with(WatchOptions::new().after(token)).trying(doing)?;
    let mut expected = token.revision().get();
    loop {
        match watch::next(&mut watch)? {
            Event::Entry(entry) if entry.revision().get() == expected + 1 => expected += 1,
            Event::UpToDate if expected == last.get() => return Ok(expected - token.revision().get()),
            other => return Err(broken(&format!("a watch that was resumed after revision {expected} was given {other:?}"))),
        }
    }
}

fn write_and_kill(directory: &Path) -> Result<Words> {
    let threads = THREADS.to_string();
    let (mut writer, pipe) = Child::spawn(|command| {
        command.arg("--store").arg(directory).args(["tour-writer", "--threads", &threads]);
    })?;
    let (first, started) = mpsc::channel();
    let (status, words) = thread::scope(|scope| {
        let reader = scope.spawn(|| listen(pipe, first));
        if started.recv_timeout(PATIENCE).is_ok() {
            thread::sleep(LIFE);
        }
        let status = writer.kill();
        (status, reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let status = status.map_err(|source| Failure::System { action: "kill the writing process".to_owned(), source })?;
    if !is_killed(status) {
        return Err(broken(&format!("the writing process ended by itself ({status}) before it could be killed")));
    }
    if words.promises.is_empty() {
        return Err(broken(&format!("the writing process acknowledged nothing in {} s", PATIENCE.as_secs())));
    }
    Ok(words)
}

/// Reads whole lines until the pipe breaks; tells when the first one is there.
fn listen(pipe: ChildStdout, first: Sender<()>) -> Words {
    let (mut pipe, mut line, mut first) = (BufReader::new(pipe), String::new(), Some(first));
    let mut words = Words::default();
    while pipe.read_line(&mut line).is_ok_and(|len| len > 0) {
        match line.strip_prefix(TOKEN_MARK).and_then(|rest| rest.strip_suffix('\n')) {
            Some(token) => words.token = token.parse().ok().or(words.token),
            None => words.promises.extend(parse(&line)),
        }
        line.clear();
        if let Some(first) = first.take() {
            // Who gave up waiting does not listen any more.
            let _deaf = first.send(());
        }
    }
    words
}

/// A line that the kill cut short promises nothing.
fn parse(line: &str) -> Option<Promise> {
    let (thread, number) = line.strip_suffix('\n')?.split_once(' ')?;
    Some((thread.parse().ok()?, number.parse().ok()?))
}

fn tally(bucket: &Bucket, promises: &[Promise]) -> Result<Tally> {
    let doing = || format!("read bucket {BUCKET}");
    let mut found = 0;
    for &(thread, number) in promises {
        let expected = value(thread, number);
        let same = bucket.get_with(key(thread, number), |stored| stored == expected).trying(doing)?;
        found += u64::from(same == Some(true));
    }
    let mut there = 0_u64;
    for key in bucket.keys().trying(doing)? {
        key.trying(doing)?;
        there += 1;
    }
    Ok(Tally { acknowledged: promises.len() as u64, found, unannounced: there.saturating_sub(found) })
}

/// The hidden verb: writes from several threads until it is killed, and says on stdout what has been acknowledged.
pub(crate) fn write_until_killed(store: &Store, threads: usize) -> Result<()> {
    let bucket = store.create_bucket(BucketConfig::new(BUCKET)).trying(|| format!("create bucket {BUCKET}"))?;
    let end = Instant::now() + LIFE_MAX;
    let mut watch = bucket.watch(">").trying(|| format!("watch bucket {BUCKET}"))?;
    thread::scope(|scope| {
        let bucket = &bucket;
        // Ends with the store, which ends with this process.
        scope.spawn(move || note_progress(&mut watch, end));
        let writers: Vec<_> = (0..threads).map(|thread| scope.spawn(move || write(bucket, thread, end))).collect();
        writers.into_iter().try_for_each(|writer| writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Says on stdout how far the watch is, now and then.
fn note_progress(watch: &mut Watch, end: Instant) {
    let mut given = 0_u64;
    while Instant::now() < end && matches!(watch.next_timeout(LIFE), Ok(Some(_))) {
        given += 1;
        if given.is_multiple_of(NOTE_EVERY) {
            // Nobody reads any more: then the writers end as well.
            let _deaf = writeln!(std::io::stdout(), "{TOKEN_MARK}{}", watch.token());
        }
    }
}

fn write(bucket: &Bucket, thread: usize, end: Instant) -> Result<()> {
    let mut number = 0;
    while Instant::now() < end {
        let key = key(thread, number);
        bucket.put(&key, value(thread, number)).trying(|| format!("put {key} in bucket {BUCKET}"))?;
        // One line, one call: stdout passes a line on when it is whole.
        writeln!(std::io::stdout(), "{thread} {number}").map_err(Failure::Output)?;
        number += 1;
    }
    Ok(())
}

fn key(thread: usize, number: u64) -> String {
    format!("writer-{thread}.{number:08}")
}

/// A value that can be told from every other.
fn value(thread: usize, number: u64) -> Vec<u8> {
    format!("{thread} {number} ").into_bytes().into_iter().cycle().take(VALUE_LEN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn a_promise_without_its_value_is_lost_and_fails_the_tour() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let bucket = store.create_bucket(BucketConfig::new(BUCKET)).unwrap();
        bucket.put(key(0, 0), value(0, 0)).unwrap();
        bucket.put(key(0, 1), value(0, 7)).unwrap();
        bucket.put(key(1, 0), value(1, 0)).unwrap();
        let good = tally(&bucket, &[(0, 0)]).unwrap();
        assert_eq!(good, Tally { acknowledged: 1, found: 1, unannounced: 2 });
        assert!(good.judge().is_ok());
        for lost in [(0, 1), (0, 2)] {
            let tally = tally(&bucket, &[(0, 0), lost, (1, 0)]).unwrap();
            assert_eq!((tally.acknowledged, tally.found, tally.lost()), (3, 2, 1));
            assert_eq!(tally.judge().unwrap_err().exit(), Exit::Corrupt);
        }
    }

    #[test]
    fn only_whole_lines_are_promises() {
        assert_eq!(parse("3 17\n"), Some((3, 17)));
        for line in ["3 17", "3\n", "3 \n", "", "x 1\n", "3 17 \n"] {
            assert_eq!(parse(line), None, "{line:?}");
        }
    }

    #[test]
    fn values_differ_where_thread_or_number_does() {
        assert_eq!(value(1, 2).len(), VALUE_LEN);
        assert_ne!(value(1, 2), value(2, 1));
        assert_ne!(value(1, 12), value(11, 2));
    }
}
