//! The third part: a watch that is live, and one that falls behind and catches up.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use annals::{Bucket, BucketConfig, Event, Revision, Store, Watch};

use super::{Guide, broken};
use crate::failure::{Context, Result};
use crate::text::{counted, span};

const BUCKET: &str = "jobs";
/// How many changes a watch sleeps through, and of how many keys.
const MISSED: u64 = 20_000;
const KEYS: u64 = 500;
/// No event takes longer than this, or the tour would hang.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) fn tell(store: &Store, guide: &mut Guide<'_>) -> Result<()> {
    guide.section("3. It tells")?;
    let jobs = store.create_bucket(BucketConfig::new(BUCKET)).trying(|| format!("create bucket {BUCKET}"))?;
    live(&jobs, guide)?;
    behind(&jobs, guide)
}

/// A thread watches while this one writes.
fn live(jobs: &Bucket, guide: &mut Guide<'_>) -> Result<()> {
    let doing = || format!("watch bucket {BUCKET}");
    jobs.put("eu.backup", "queued").trying(doing)?;
    guide.say("A watch of eu.* is given what is there; a thread goes on with it and is given what comes:")?;
    let mut watch = jobs.watch("eu.*").trying(doing)?;
    let start = Instant::now();
    // The state is that of when it is read: what is written before that is part of it.
    let mut lines = Vec::new();
    while lines.len() < 2 {
        let event = next(&mut watch)?;
        lines.push((start.elapsed(), words(&event)));
    }
    let lines = thread::scope(|scope| {
        let watching = scope.spawn(move || {
            while lines.len() < 4 {
                let event = next(&mut watch)?;
                lines.push((start.elapsed(), words(&event)));
            }
            Ok(lines)
        });
        for (key, value) in [("us.backup", "queued"), ("eu.backup", "done"), ("eu.report", "queued")] {
            jobs.put(key, value).trying(doing)?;
        }
        watching.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    for (passed, words) in lines {
        guide.say(format_args!("  after {:>8}  {words}", span(passed)))?;
    }
    guide.say("us.backup was written as well, and is none of its business.")
}

/// A watch that nobody reads while very much is written.
fn behind(jobs: &Bucket, guide: &mut Guide<'_>) -> Result<()> {
    let doing = || format!("watch bucket {BUCKET}");
    let mut watch = jobs.watch("load.*").trying(doing)?;
    if next(&mut watch)? != Event::UpToDate {
        return Err(broken("a watch of keys that are not there yet had something to say before it was up to date"));
    }
    let values = (0..MISSED).map(|number| (format!("load.{:03}", number % KEYS), number.to_string()));
    let start = Instant::now();
    let last = jobs.load(values).trying(|| format!("load bucket {BUCKET}"))?.last_revision;
    guide.say(format_args!(
        "Another watch sleeps through {} of {}, which took {}: no write waits for it.",
        counted(MISSED, "change"),
        counted(KEYS, "key"),
        span(start.elapsed())
    ))?;
    let start = Instant::now();
    let (mut given, mut skipped, mut keys, mut reached) = (0_u64, 0, BTreeSet::new(), Revision::NONE);
    while reached < last {
        match next(&mut watch)? {
            Event::Entry(entry) => {
                (given, reached) = (given + 1, entry.revision());
                keys.insert(entry.key().clone());
            }
            Event::Skipped { from, to } => skipped += to.get() - from.get() + 1,
            _ => {}
        }
    }
    if keys.len() as u64 != KEYS {
        return Err(broken("a watch that fell behind was not given every key"));
    }
    guide.say(format_args!(
        "It wakes, is told that up to {} may be missing, gets {}, the newest of every key among them, and is live after {}.",
        counted(skipped, "revision"),
        counted(given, "change"),
        span(start.elapsed()),
    ))
}

pub(super) fn next(watch: &mut Watch) -> Result<Event> {
    let event = watch.next_timeout(PATIENCE).trying(|| format!("watch bucket {BUCKET}"))?;
    event.ok_or_else(|| broken("a watch was not told of a change"))
}

fn words(event: &Event) -> String {
    match event {
        Event::Entry(entry) => {
            format!("{} = {} at revision {}", entry.key(), String::from_utf8_lossy(entry.value()), entry.revision())
        }
        Event::UpToDate => "that was the state; from here it is live".to_owned(),
        other => format!("{other:?}"),
    }
}
