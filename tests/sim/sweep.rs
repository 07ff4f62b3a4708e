//! Every fault and every crash at every call of a scenario, and what must hold afterwards.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use annals::testing::disk::{CrashPolicy, Fault, Injection};
use annals::testing::oracle::{Answer, Checked, Commit, Mismatch, Write};
use annals::{BucketConfig, ErrorKind};

use crate::script::{Level, STORE, Scenario};
use crate::world::{End, Start, Trouble, World};

/// How many cases of each kind a sweep ran.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) prefixes: u64,
    pub(crate) crashes: u64,
    pub(crate) double_crashes: u64,
    pub(crate) once: u64,
    pub(crate) sticky: u64,
}

/// Failures that are printed in full; the rest is counted.
const SHOWN_MAX: usize = 3;
/// And so many more are named.
const NAMED_MAX: usize = 30;
/// How many calls of a recovery are crashed in, for each crash of a scenario that is not about recovery.
const DOUBLE_SAMPLE: u64 = 3;
const TRACE_LEN: usize = 20;

/// One scenario at one level.
struct Sweep<'a> {
    scenario: &'a Scenario,
    level: Level,
    start: Start,
    /// Runs only the case of this name.
    only: Option<String>,
    failures: Vec<(String, String)>,
    counts: Counts,
}

/// Runs all cases of a scenario; panics with the failures, if there are any.
pub(crate) fn sweep(scenario: &Scenario) {
    let mut failures = Vec::new();
    let only = std::env::var("SIM_CASE").ok();
    for level in scenario.levels {
        let name = format!("{}@{level:?}", scenario.name);
        if only.as_ref().is_some_and(|only| !only.starts_with(&format!("{name}/"))) {
            continue;
        }
        let mut sweep = Sweep {
            scenario,
            level: *level,
            start: Start::empty(),
            only: only.clone(),
            failures: Vec::new(),
            counts: Counts::default(),
        };
        sweep.run(&name);
        let Counts { calls, prefixes, crashes, double_crashes, once, sticky } = sweep.counts;
        println!(
            "sim {name}: calls={calls} prefixes={prefixes} crashes={crashes} double_crashes={double_crashes} faults_once={once} \
             faults_sticky={sticky} failures={}",
            sweep.failures.len()
        );
        assert!(
            only.is_some() || !sweep.failures.is_empty() || (crashes > 0 && once > 0 && sticky > 0),
            "{name}: nothing was swept"
        );
        failures.append(&mut sweep.failures);
    }
    if failures.is_empty() {
        return;
    }
    let mut text = format!("{} cases of {} failed\n", failures.len(), scenario.name);
    for (index, (case, failure)) in failures.iter().enumerate() {
        if index < SHOWN_MAX || only.is_some() {
            let _ = writeln!(
                text,
                "--- {case}\n{failure}\nreplay: SIM_CASE='{case}' cargo test --test sim {} -- --nocapture",
                scenario.name
            );
        } else if index < NAMED_MAX {
            let _ = writeln!(text, "also {case}: {}", failure.lines().next().unwrap_or_default());
        }
    }
    panic!("{text}");
}

impl Sweep<'_> {
    fn run(&mut self, name: &str) {
        if !self.scenario.setup.is_empty() {
            let mut world = World::new(self.level, &Start::empty(), Trouble::None);
            if let Err(mismatch) = world.run(&self.scenario.setup) {
                self.fail(format!("{name}/setup"), &world, &mismatch);
                return;
            }
            if world.store.is_some() {
                world.leave();
            }
            self.start = world.start();
        }
        let mut clean = World::new(self.level, &self.start, Trouble::None);
        let result = clean.run(&self.scenario.steps);
        let calls = clean.disk.calls();
        self.counts.calls = calls;
        let result = result.and_then(|()| leave_and_check(&mut clean, 0));
        if let Err(mismatch) = result {
            self.fail(format!("{name}/clean"), &clean, &mismatch);
            return;
        }
        for count in 1..=self.scenario.steps.len() {
            self.prefix(name, count);
        }
        for call in 1..=calls {
            self.crash(name, call);
            self.faults(name, call);
        }
    }

    fn is_wanted(&self, case: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == case)
    }

    fn fail(&mut self, case: String, world: &World, mismatch: &Mismatch) {
        let mut text = format!("{mismatch}\n");
        let trace = world.disk.trace();
        let calls = if self.only.is_some() { 0 } else { trace.len().saturating_sub(TRACE_LEN) };
        let _ = writeln!(text, "  journal: {}", world.journal.join("\n    "));
        if let Trouble::Fault(Injection { at, .. }) | Trouble::CrashAt(at) = world.trouble {
            let _ = writeln!(text, "  at: {}", world.disk.call_name(at));
        }
        let _ = write!(text, "  calls:\n    {}", trace[calls..].join("\n    "));
        self.failures.push((case, text));
    }

    /// Runs one case; a panic is a failure too.
    fn case(&mut self, case: String, mut world: World, run: impl FnOnce(&mut World) -> Checked) {
        let result = catch_unwind(AssertUnwindSafe(|| run(&mut world)));
        let result = result.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Err(Mismatch::new(format!("panic: {}", text.unwrap_or("of another type"))))
        });
        if let Err(mismatch) = result {
            self.fail(case, &world, &mismatch);
        }
    }

    /// K60: no call leaves a state that only the next open finds broken, however the store is left after it.
    fn prefix(&mut self, name: &str, count: usize) {
        for (seed, how) in ["close", "drop", "kill"].into_iter().enumerate() {
            let case = format!("{name}/steps/{count}/{how}");
            if self.is_wanted(&case) {
                self.counts.prefixes += 1;
                let world = World::new(self.level, &self.start, Trouble::None);
                let steps = &self.scenario.steps[..count];
                self.case(case, world, |world| {
                    world.run(steps)?;
                    leave_and_check(world, seed as u64)
                });
            }
        }
    }

    /// A crash at this call, under every policy; and then crashes inside the recovery.
    fn crash(&mut self, name: &str, call: u64) {
        for (index, policy) in CrashPolicy::ALL.into_iter().enumerate() {
            let case = format!("{name}/crash/{call}/{policy:?}");
            let doubles = self.scenario.deep || call % CrashPolicy::ALL.len() as u64 == index as u64;
            let leads_on = doubles && self.only.as_ref().is_some_and(|only| only.starts_with(&case));
            if !self.is_wanted(&case) && !leads_on {
                continue;
            }
            let mut world = World::new(self.level, &self.start, Trouble::CrashAt(call));
            world.disk.reseed(call * 31 + index as u64);
            let result = catch_unwind(AssertUnwindSafe(|| world.run(&self.scenario.steps)));
            match result {
                Ok(Ok(())) => {}
                Ok(Err(mismatch)) => {
                    self.fail(case, &world, &mismatch);
                    continue;
                }
                Err(_) => {
                    self.fail(case, &world, &Mismatch::new("panic while going down"));
                    continue;
                }
            }
            world.trouble = Trouble::None;
            world.cut(policy);
            let start = world.start();
            if self.is_wanted(&case) {
                self.counts.crashes += 1;
                self.case(case.clone(), world, |world| {
                    world.calm();
                    reopen_and_check(world, call)
                });
            }
            if doubles {
                self.crash_in_recovery(&case, &start, call);
            }
        }
    }

    fn crash_in_recovery(&mut self, case: &str, start: &Start, call: u64) {
        let mut world = World::new(self.level, start, Trouble::None);
        if world.open().is_err() {
            return;
        }
        let calls = world.disk.calls();
        let sample: Vec<u64> = if self.scenario.deep {
            // All of them, spread over the policies of the first crash.
            let policy = CrashPolicy::ALL.iter().position(|policy| case.ends_with(&format!("{policy:?}"))).unwrap_or(0) as u64;
            (1..=calls).filter(|second| (second + call) % CrashPolicy::ALL.len() as u64 == policy).collect()
        } else {
            let count = if self.scenario.brief { 1 } else { DOUBLE_SAMPLE };
            (0..count).map(|index| (call * 7 + index * calls / DOUBLE_SAMPLE) % calls + 1).collect()
        };
        for second in sample {
            let policy = CrashPolicy::ALL[((call + second * 5) % CrashPolicy::ALL.len() as u64) as usize];
            let case = format!("{case}/then/{second}/{policy:?}");
            if !self.is_wanted(&case) {
                continue;
            }
            self.counts.double_crashes += 1;
            let world = World::new(self.level, start, Trouble::CrashAt(second));
            world.disk.reseed(call * 31 + second);
            self.case(case, world, |world| {
                if let Err(mismatch) = world.open()
                    && !world.disk.crashed()
                {
                    return Err(mismatch);
                }
                world.trouble = Trouble::None;
                world.cut(policy);
                world.calm();
                reopen_and_check(world, call + second)
            });
        }
    }

    /// Every fault at this call, once and from here on.
    fn faults(&mut self, name: &str, call: u64) {
        // At the other levels the same calls are made, most of them for the same reasons.
        let is_brief = self.scenario.brief || self.scenario.levels.first() != Some(&self.level);
        for (index, fault) in Fault::ALL.into_iter().enumerate() {
            for sticky in [false, true] {
                let how = if sticky { "sticky" } else { "once" };
                let mut fires = true;
                // Apart from the seed, which decides how it is left.
                let turn = (call as usize / 3 + index / 3 + usize::from(sticky)) % 3;
                for (at, then) in ["leave", "cut", "lose"].into_iter().enumerate() {
                    let case = format!("{name}/fault/{call}/{fault:?}/{how}/{then}");
                    if !fires || is_brief && at != turn || !self.is_wanted(&case) {
                        continue;
                    }
                    let world = World::new(self.level, &self.start, Trouble::Fault(Injection { at: call, fault, sticky }));
                    let seed = call * 31 + index as u64;
                    world.disk.reseed(seed);
                    let disk = std::sync::Arc::clone(&world.disk);
                    let steps = &self.scenario.steps;
                    self.case(case, world, |world| {
                        world.run(steps)?;
                        if world.disk.fired() == 0 {
                            return Ok(());
                        }
                        let full_early = matches!(fault, Fault::Enospc | Fault::Edquot | Fault::Efbig)
                            && !sticky
                            && ["WriteAt", "Allocate", "CreateNew"].iter().any(|name| world.disk.call_name(call).contains(name));
                        world.calm();
                        prove_alive(world, full_early)?;
                        if then == "leave" {
                            return leave_and_check(world, seed);
                        }
                        // The name of the store's directory is lost with a sync of the directory above that never was; no
                        // later one brings it back, and nothing of ours can.
                        if world.disk.call_name(call).contains("SyncDir / ") && fault != Fault::SyncFailOnce {
                            return Ok(());
                        }
                        // The first of them is what "lose" does.
                        let policies = &CrashPolicy::ALL[1..];
                        let rotating = policies[(seed % policies.len() as u64) as usize];
                        world.cut(if then == "lose" { CrashPolicy::LoseAll } else { rotating });
                        reopen_and_check(world, seed)
                    });
                    fires = disk.fired() > 0;
                    if fires {
                        *(if sticky { &mut self.counts.sticky } else { &mut self.counts.once }) += 1;
                    }
                }
            }
        }
    }
}

/// How often a write may be refused after space came back, with background work in between.
const TRIES_MAX: usize = 3;

/// Rule 10: after the faults the store takes a write, or says that it is poisoned.
fn prove_alive(world: &mut World, must_be_sound: bool) -> Checked {
    let Some(store) = world.store.clone() else { return Ok(()) };
    let before = world.ledger.attempts.len();
    for _ in 0..TRIES_MAX {
        let poisoned = store.status()?.poisoned;
        if poisoned && must_be_sound {
            return Err(Mismatch::new("a full disk, found out before any sync, poisoned the store"));
        }
        let config = BucketConfig::new("alive");
        match store.create_bucket(config) {
            Ok(_) if poisoned => return Err(Mismatch::new("a poisoned store took a write")),
            Ok(_) => {
                world.ledger.gaps = true;
                world.create_bucket_known("alive", &store)?;
                let name = world.ledger.live.oracle.buckets.keys().next().cloned().unwrap_or_default();
                world.ledger.gaps = true;
                world.put(&name, "alive")?;
                break;
            }
            Err(error) if error.kind() == ErrorKind::Poisoned && store.status()?.poisoned => break,
            Err(error) if error.kind() == ErrorKind::NoSpace => while store.step()? {},
            Err(error) => return Err(Mismatch::new(format!("does not work again after the fault: {error:?}"))),
        }
    }
    if world.ledger.attempts.len() == before && !store.status()?.poisoned {
        return Err(Mismatch::new("takes no writes although the faults are over"));
    }
    drop(store);
    // Reads go on either way.
    world.ledger.gaps = true;
    if let Some(store) = world.store.clone() {
        world.ledger.check(&store)?;
    }
    world.learn_durable()
}

/// Leaves the store, one way or another, and checks what is there.
fn leave_and_check(world: &mut World, seed: u64) -> Checked {
    match seed % 3 {
        0 => world.close_whatever()?,
        1 => world.leave(),
        _ => world.kill(),
    }
    reopen_and_check(world, seed)
}

/// Everything that must hold once the trouble is over: the rules of the oracle, twice.
fn reopen_and_check(world: &mut World, seed: u64) -> Checked {
    open_whole(world).map_err(|mismatch| mismatch.context("first open"))?;
    let names: Vec<String> = world.ledger.live.oracle.buckets.keys().cloned().collect();
    for name in &names {
        world.put(name, "after").map_err(|mismatch| mismatch.context("write after the open"))?;
    }
    if names.is_empty() {
        world.create_bucket(&BucketConfig::new("b"))?;
        world.put("b", "after")?;
    }
    world.learn_durable()?;
    if seed.is_multiple_of(2) {
        world.close()?;
    } else {
        world.leave();
    }
    open_whole(world).map_err(|mismatch| mismatch.context("second open"))?;
    world.close()?;
    open_whole(world).map_err(|mismatch| mismatch.context("third open"))?;
    let segments = world.store.as_ref().map_or(0, |store| store.status().map_or(0, |status| status.segments));
    world.close()?;
    check_directory(world, segments)
}

fn open_whole(world: &mut World) -> Checked {
    world.open()?;
    let Some(store) = &world.store else { return Err(Mismatch::new("does not open")) };
    store.verify().map_err(|error| Mismatch::new(format!("verify: {error:?}")))?;
    if !store.recovery().foreign.iter().all(|name| name.ends_with(".tail")) {
        return Err(Mismatch::new(format!("calls its own files foreign: {:?}", store.recovery())));
    }
    Ok(())
}

/// Rule 9: no orphans, no leaks, nothing grows without bound.
fn check_directory(world: &World, segments: usize) -> Checked {
    let (handles, maps) = (world.disk.open_handles(), world.disk.open_maps());
    if handles + maps > 0 {
        return Err(Mismatch::new(format!("{handles} handles and {maps} maps are left after the close")));
    }
    let (mut tails, mut found) = (0, 0);
    let files = world.disk.files();
    for (path, _) in &files {
        let name = path.strip_prefix(STORE).map_err(|_| Mismatch::new(format!("a file outside: {}", path.display())))?;
        let name = name.to_string_lossy().into_owned();
        match name.as_str() {
            "MANIFEST" | "LOCK" | "RESERVE" => {}
            _ if name.ends_with(".seg") => found += 1,
            _ if name.ends_with(".tail") => tails += 1,
            _ => return Err(Mismatch::new(format!("orphan {name} among {files:?}"))),
        }
    }
    if found != segments {
        return Err(Mismatch::new(format!("{found} segment files for {segments} segments: {files:?}")));
    }
    if tails > 2 * (world.cuts + 2) {
        return Err(Mismatch::new(format!("{tails} saved tails after {} power cuts", world.cuts)));
    }
    Ok(())
}

impl World {
    /// A bucket that was created outside the script.
    fn create_bucket_known(&mut self, name: &str, store: &annals::Store) -> Checked {
        if self.ledger.live.oracle.buckets.contains_key(name) {
            return Ok(());
        }
        self.ledger.pass_to(store.store_time());
        self.ledger.acked(Commit::Create(BucketConfig::new(name)), &Answer::Done, store.status()?.last_commit.get())
    }

    fn put(&mut self, bucket: &str, key: &str) -> Checked {
        let value = self.value(16);
        self.write(bucket, key, Write::Put(value))
    }

    /// A poisoned store says so when it is closed; any other must close.
    fn close_whatever(&mut self) -> Checked {
        let poisoned = match &self.store {
            Some(store) => store.status()?.poisoned,
            None => return Ok(()),
        };
        if !poisoned {
            return self.close();
        }
        if let Some(store) = self.store.take()
            && store.close().is_ok()
        {
            return Err(Mismatch::new("a poisoned store was closed as if it were whole"));
        }
        self.end = End::Killed;
        Ok(())
    }
}
