//! Tokens over every end of a store: a script with a crash at every call, and what becomes of whoever watched it.
//!
//! After each step somebody who has seen everything so far leaves with a token and with what it knew: the newest entry of each key. Then
//! the power goes, at some call; or twice, the second time within the recovery; or the store is killed, dropped or closed. It is opened
//! again, written to, and ended in another way. After every open each watcher comes back:
//! - one that has seen an entry which did not survive is told that it diverged, now and for ever;
//! - one that has seen a purge of the whole bucket which did not survive, too, unless another purge came after it;
//! - every other one goes on, and what it knew and what it is told come to exactly what the bucket holds;
//! - one whose bucket was deleted is told so, whatever has the name now.
//!
//! That is K50: a watch that went back in time, repeated itself, or answered a token from the future with old events.
//!
//! `SIM_CASE='<case>' cargo test --test sim tokens -- --nocapture` runs one case alone.

use std::collections::BTreeMap;

use annals::testing::disk::CrashPolicy;
use annals::testing::oracle::{Checked, Mismatch, Write};
use annals::{Bucket, BucketConfig, ErrorKind, Event, Watch, WatchOptions, WatchToken};

use crate::script::Step::{
    Bucket as Make, Close, Cut, Delete, Drop, DropBucket, Flush, Jobs, Kill, MergeAll, Open, Purge, PurgeAll, PurgeDeletes, Put,
    PutFor, Sync, Wait,
};
use crate::script::{ALL, Level, Step};
use crate::world::{Start, Trouble, World};

/// Somebody who has seen everything that a bucket had at some moment.
#[derive(Clone, Debug)]
struct Watcher {
    bucket: String,
    identity: u64,
    token: WatchToken,
    /// The last revision that an entry had.
    revision: u64,
    known: BTreeMap<String, u64>,
    /// It has seen an entry that is gone for good, or may have.
    is_lost: bool,
    may_be_lost: bool,
    is_done: bool,
}

/// The newest entry of each key, markers too.
fn newest(bucket: &Bucket) -> annals::Result<BTreeMap<String, u64>> {
    // Oldest first, so the newest of a key stays.
    bucket.history(">")?.map(|entry| entry.map(|entry| (entry.key().as_str().to_owned(), entry.revision().get()))).collect()
}

fn token_of(bucket: &Bucket) -> annals::Result<WatchToken> {
    Ok(bucket.watch_with(WatchOptions::new().updates_only(true))?.token())
}

fn resume(bucket: &Bucket, token: WatchToken) -> annals::Result<Watch> {
    bucket.watch_with(WatchOptions::new().after(token))
}

/// Until it is up to date, or ends.
fn go_on(mut watch: Watch, known: &mut BTreeMap<String, u64>) -> Checked<Option<ErrorKind>> {
    loop {
        match watch.try_next() {
            Ok(Some(Event::Entry(entry))) => {
                known.insert(entry.key().as_str().to_owned(), entry.revision().get());
            }
            Ok(Some(Event::Purged { through })) => known.retain(|_, revision| *revision > through.get()),
            Ok(Some(Event::UpToDate)) => return Ok(None),
            Err(error) => return Ok(Some(error.kind())),
            other => return Err(Mismatch::new(format!("yields {other:?}"))),
        }
    }
}

/// A script in which time takes keys away, so that not all that goes is told.
fn is_lossy(steps: &[Step]) -> bool {
    steps.iter().any(|step| matches!(step, Step::PutFor(..) | Step::PurgeDeletes(..)))
}

struct Run {
    world: World,
    watchers: Vec<Watcher>,
    is_lossy: bool,
}

impl Run {
    fn new(level: Level, trouble: Trouble, is_lossy: bool) -> Self {
        Self { world: World::new(level, &Start::empty(), trouble), watchers: Vec::new(), is_lossy }
    }

    fn steps(&mut self, steps: &[Step]) -> Checked {
        for step in steps {
            let opens = self.world.store.is_none();
            self.world.run(std::slice::from_ref(step))?;
            if self.world.is_down() {
                return Ok(());
            }
            if opens && self.world.store.is_some() {
                self.come_back(true)?;
            }
            self.watch()?;
        }
        Ok(())
    }

    /// Somebody leaves every bucket.
    fn watch(&mut self) -> Checked {
        let Some(store) = self.world.store.clone() else { return Ok(()) };
        for name in store.buckets()? {
            let bucket = store.bucket(&name)?;
            let live = &self.world.ledger.live;
            self.watchers.push(Watcher {
                token: token_of(&bucket)?,
                identity: live.identity(&name),
                revision: live.last_entry(&name),
                known: newest(&bucket)?,
                bucket: name,
                is_lost: false,
                may_be_lost: false,
                is_done: false,
            });
        }
        Ok(())
    }

    /// Everybody comes back; `is_opened`: for the first time after an open.
    fn come_back(&mut self, is_opened: bool) -> Checked {
        let Some(store) = self.world.store.clone() else { return Ok(()) };
        for watcher in self.watchers.iter_mut().filter(|watcher| !watcher.is_done) {
            let place = format!("{watcher:?}");
            let Ok(bucket) = store.bucket(&watcher.bucket) else {
                watcher.is_done = true;
                continue;
            };
            let ledger = &self.world.ledger;
            if is_opened && !ledger.is_told_apart(&watcher.bucket) {
                watcher.is_done = true;
                continue;
            }
            watcher.is_done = if ledger.live.identity(&watcher.bucket) == watcher.identity {
                watcher.is_lost |= is_opened && watcher.revision > ledger.live.last_entry(&watcher.bucket);
                watcher.may_be_lost |= is_opened && watcher.revision > ledger.least_last_entry(&watcher.bucket);
                watcher.come_back(&bucket, is_opened, self.is_lossy).map_err(|mismatch| mismatch.context(place))?
            } else {
                let refused = resume(&bucket, watcher.token).err().map(|error| error.kind());
                if refused != Some(ErrorKind::BucketNotFound) {
                    return Err(Mismatch::new(format!("another bucket answers {refused:?}")).context(place));
                }
                true
            };
        }
        Ok(())
    }
}

impl Watcher {
    /// Goes on, or not; answers whether it is of no more use.
    fn come_back(&self, bucket: &Bucket, is_opened: bool, is_lossy: bool) -> Checked<bool> {
        let state = newest(bucket)?;
        let watch = match resume(bucket, self.token) {
            Ok(watch) if !self.is_lost => watch,
            Err(error) if error.kind() == ErrorKind::Diverged && self.is_lost => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Compacted && is_lossy => return Ok(true),
            Err(error) if error.kind() == ErrorKind::Diverged && self.may_be_lost => return Ok(true),
            Err(error) if error.kind() == ErrorKind::Diverged && is_opened => {
                // It has seen a purge that did not survive: then something is there that it takes for gone.
                let is_back = |(key, revision): (&String, &u64)| *revision <= self.revision && !self.known.contains_key(key);
                return if state.iter().any(is_back) || is_lossy {
                    Ok(true)
                } else {
                    Err(Mismatch::new("diverged for no reason"))
                };
            }
            other => return Err(Mismatch::new(format!("answered {other:?}"))),
        };
        let mut known = self.known.clone();
        match go_on(watch, &mut known)? {
            None => {}
            Some(ErrorKind::Compacted) if is_lossy => return Ok(true),
            other => return Err(Mismatch::new(format!("ends with {other:?}"))),
        }
        let mut state = state;
        if is_lossy {
            // A marker was dropped, which had been seen, and a crash has brought it back.
            state.retain(|key, revision| known.contains_key(key) || *revision > self.revision);
            // What went by itself had been seen, or the floor would have said so.
            known.retain(|key, revision| state.contains_key(key) || *revision > self.revision);
        }
        if known == state { Ok(false) } else { Err(Mismatch::new(format!("goes on to {known:?} instead of {state:?}"))) }
    }
}

/// Ends in another way, writes, ends again; everybody comes back each time.
fn after_the_trouble(run: &mut Run, seed: u64) -> Checked {
    run.world.calm();
    run.world.open()?;
    run.come_back(true)?;
    for turn in 0..3 {
        write(&mut run.world)?;
        run.watch()?;
        run.come_back(false)?;
        match (seed + turn) % 4 {
            0 => run.world.close()?,
            1 => run.world.leave(),
            2 => run.world.kill(),
            _ => run.world.cut(CrashPolicy::ALL[(seed / 4 + turn) as usize % CrashPolicy::ALL.len()]),
        }
        run.world.open()?;
        run.come_back(true)?;
    }
    run.world.close()
}

fn write(world: &mut World) -> Checked {
    let names: Vec<String> = world.ledger.live.oracle.buckets.keys().cloned().collect();
    if names.is_empty() {
        world.create_bucket(&BucketConfig::new("b"))?;
    }
    for name in &names {
        let value = world.value(9);
        world.write(name, "after", Write::Put(value))?;
        world.write(name, "a", Write::Delete)?;
    }
    world.learn_durable()
}

fn sweep(name: &str, steps: &[Step]) {
    let only = std::env::var("SIM_CASE").ok();
    let is_wanted = |case: &str| only.as_deref().is_none_or(|only| only == case);
    let (mut failures, mut cases) = (Vec::new(), 0);
    for level in ALL {
        let mut whole = Run::new(*level, Trouble::None, is_lossy(steps));
        whole.steps(steps).unwrap();
        let calls = whole.world.disk.calls();
        for call in 1..=calls {
            for (index, policy) in CrashPolicy::ALL.into_iter().enumerate() {
                // Every policy has its turn at every call, and each call a second crash under one of them.
                let seed = call * 7 + index as u64;
                let case = format!("{name}/{level:?}/{call}/{policy:?}");
                if !is_wanted(&case) {
                    continue;
                }
                cases += 1;
                let mut run = Run::new(*level, Trouble::CrashAt(call), is_lossy(steps));
                run.world.disk.reseed(seed);
                let result = run.steps(steps).and_then(|()| {
                    run.world.trouble = Trouble::None;
                    run.world.cut(policy);
                    if (call + index as u64).is_multiple_of(5) {
                        crash_in_recovery(&mut run, seed)?;
                    }
                    after_the_trouble(&mut run, seed)
                });
                if let Err(mismatch) = result {
                    failures.push(format!("{case}: {mismatch}\n  {}", run.world.journal.join("\n  ")));
                }
            }
        }
    }
    println!("{name}: {cases} cases");
    assert!(failures.is_empty(), "{} of {cases} cases fail, the first: {}", failures.len(), failures[0]);
}

/// The power goes again while the store is being opened; three times.
fn crash_in_recovery(run: &mut Run, seed: u64) -> Checked {
    for turn in 0..3 {
        let at = run.world.disk.calls() + 1 + (seed + turn * 3) % 24;
        run.world.disk.crash_at(at);
        run.world.trouble = Trouble::CrashAt(at);
        let opened = run.world.open();
        if !run.world.disk.crashed() {
            opened?;
            run.come_back(true)?;
        }
        run.world.trouble = Trouble::None;
        run.world.cut(CrashPolicy::ALL[(seed + turn) as usize % CrashPolicy::ALL.len()]);
    }
    Ok(())
}

#[test]
fn tokens_over_single_writes() {
    sweep("writes", &[Open, Make("b", 3), Put("b", "a", 20), Sync, Put("b", "c", 20), Delete("b", "a"), Put("b", "a", 9)]);
}

#[test]
fn tokens_over_purges_of_the_whole_bucket() {
    let steps = [Open, Make("b", 2), Put("b", "a", 20), Put("b", "c", 20), Sync, PurgeAll("b"), Put("b", "c", 9), PurgeAll("b")];
    sweep("purges", &steps);
}

#[test]
fn tokens_over_flushes_merges_and_every_end() {
    let lives = [
        &[Open, Make("b", 2), Put("b", "a", 20), Flush, Put("b", "c", 20), Kill][..],
        &[Open, Put("b", "a", 20), Close, Open, Put("b", "d", 20), Drop],
        &[Open, Put("b", "c", 5), Flush, MergeAll, Cut(CrashPolicy::LoseAll), Open, Purge("b", "c"), Jobs],
    ];
    sweep("ends", &lives.concat());
}

#[test]
fn tokens_over_a_bucket_that_is_created_again() {
    let steps = [Open, Make("b", 1), Put("b", "a", 20), DropBucket("b"), Make("b", 1), Put("b", "a", 5), Flush, DropBucket("b")];
    sweep("again", &steps);
}

#[test]
fn tokens_over_what_goes_without_a_change() {
    let steps = [
        Open,
        Make("b", 2),
        Put("b", "a", 9),
        PutFor("b", "c", 9, 50),
        Put("b", "d", 9),
        Delete("b", "a"),
        PurgeDeletes("b", 0),
        Flush,
        Wait(100),
        Put("b", "e", 9),
        Flush,
        MergeAll,
        Kill,
        Open,
    ];
    sweep("silence", &steps);
}

#[test]
fn an_idle_bucket_keeps_its_tokens_however_often_its_store_is_killed() {
    for level in ALL {
        let mut world = World::new(*level, &Start::empty(), Trouble::None);
        world.run(&[Open, Make("b", 2), Make("c", 2), Put("b", "a", 9), Put("c", "a", 9), Sync]).unwrap();
        let tokens = |world: &World| {
            let store = world.store.clone().unwrap();
            ["b", "c"].map(|name| token_of(&store.bucket(name).unwrap()).unwrap())
        };
        let first = tokens(&world);
        for _ in 0..100 {
            world.run(&[Put("c", "a", 9), Sync, Kill, Open]).unwrap();
        }
        let store = world.store.clone().unwrap();
        let (idle, busy) = (store.bucket("b").unwrap(), store.bucket("c").unwrap());
        let mut known = BTreeMap::new();
        assert_eq!(go_on(resume(&idle, first[0]).unwrap(), &mut known).unwrap(), None);
        assert!(known.is_empty());
        assert_eq!(token_of(&idle).unwrap(), first[0], "nothing has happened since");
        // The busy one has forgotten what became of the oldest.
        assert_eq!(resume(&busy, first[1]).unwrap_err().kind(), ErrorKind::Compacted);
        assert!(resume(&busy, tokens(&world)[1]).is_ok());
    }
}
