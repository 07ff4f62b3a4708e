//! The verb `bench`: what this machine does with a store, workload after workload, with the calls that any program would make.
//!
//! Each row is one run; a row names what it measured, so that it can be told again without its story. What is compared with other
//! stores is compared elsewhere, by a program that runs them all.

mod data;
mod figure;
mod meter;
mod reopen;
mod space;
mod work;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use annals::{BucketConfig, Options, Store};
use indicatif::ProgressBar;
use serde_json::json;

use crate::args::{BenchArgs, Level, Workload};
use crate::failure::{Context, Exit, Result};
use crate::output::{COUNT_BAR, Output, counter, progress, stopwatch};
use crate::place::Place;
use crate::text::{bytes, counted, grouped, span};

use data::Data;
use figure::{Figure, HEADINGS, NUMBERS};
use meter::{Measured, Run, Until};
pub(crate) use reopen::write_until_killed;
use space::Watcher;
use work::Work;

const BUCKET: &str = "bench";
/// Of reads, one in so many is timed: two looks at the clock cost a fifth of a fast one.
const READS_PER_TIMED: u64 = 8;
/// How often the keys that live are replaced by others in the workload `expire`.
const EXPIRE_TIMES: u64 = 10;
/// The most threads for synced puts, if no counts are given.
const SYNCED_THREADS: [u64; 3] = [1, 8, 32];

pub(crate) fn bench(args: &BenchArgs, level: Level, output: &mut Output) -> Result<Exit> {
    let start = Instant::now();
    let data = Data::of(args);
    let place = Place::new("bench", args.keep.as_deref())?;
    let setting = Setting { directory: place.directory().join("store"), level, memory: args.memory };
    if !output.is_json() {
        say_what(args, data, level, &place, output)?;
    }
    let watcher = Watcher::new(setting.directory());
    let mut session = Session { args, data, setting: &setting, watcher: &watcher, figures: Vec::new(), settled: false };
    let store = session.run(output)?;
    session.report(&store, output)?;
    setting.close(&store)?;
    drop((store, watcher));
    let farewell = place.leave();
    if !output.is_json() {
        output.line(format_args!("{farewell} It took {}.", span(start.elapsed())))?;
    }
    Ok(Exit::Done)
}

fn say_what(args: &BenchArgs, data: Data, level: Level, place: &Place, output: &mut Output) -> Result<()> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    output.line(format_args!(
        "annals {}, in {}, {}",
        env!("CARGO_PKG_VERSION"),
        place.directory().display(),
        counted(processors as u64, "processor")
    ))?;
    output.line(format_args!(
        "{} keys of {} bytes in random order, values of {} bytes that do not compress: {} raw. Durability: {}.",
        grouped(data.keys),
        data.key_len,
        grouped(data.value_len as u64),
        bytes(data.raw_bytes()),
        name(level)
    ))?;
    if args.unsettled {
        output.line("Not settled: flushes and merges run behind the workloads.")?;
    }
    if let Some(warning) = place.warning() {
        output.line(warning)?;
    }
    output.flush()
}

const fn name(level: Level) -> &'static str {
    match level {
        Level::Sync => "sync",
        Level::Os => "os",
    }
}

impl Data {
    pub(super) fn of(args: &BenchArgs) -> Self {
        let value_len = usize::try_from(args.value_bytes).unwrap_or(usize::MAX);
        Self { keys: args.keys, key_len: args.key_bytes.into(), value_len, seed: args.seed }
    }
}

/// Where the store is and how it is opened.
#[derive(Debug)]
struct Setting {
    directory: PathBuf,
    level: Level,
    memory: Option<u64>,
}

impl Setting {
    fn directory(&self) -> &Path {
        &self.directory
    }

    fn open(&self) -> Result<Store> {
        let options = Options::new().durability(self.level.durability());
        let options = match self.memory {
            Some(bytes) => options.memory_budget(bytes),
            None => options,
        };
        options.open(&self.directory).trying(|| format!("open the store in {}", self.directory.display()))
    }

    fn close(&self, store: &Store) -> Result<()> {
        store.close().trying(|| format!("close the store in {}", self.directory.display()))
    }
}

/// The workloads of one call, one after the other.
#[derive(Debug)]
struct Session<'a> {
    args: &'a BenchArgs,
    data: Data,
    setting: &'a Setting,
    watcher: &'a Watcher,
    figures: Vec<Figure>,
    settled: bool,
}

impl Session<'_> {
    fn run(&mut self, output: &mut Output) -> Result<Store> {
        let mut wanted = if self.args.workload.is_empty() { Workload::defaults() } else { self.args.workload.clone() };
        // Everything else needs what it leaves.
        wanted.push(Workload::Load);
        wanted.sort_unstable();
        wanted.dedup();
        let mut store = self.setting.open()?;
        store.create_bucket(BucketConfig::new(BUCKET)).trying(|| format!("create bucket {BUCKET}"))?;
        for workload in wanted {
            if workload == Workload::Reopen {
                store = self.reopen(store, output)?;
                continue;
            }
            for threads in self.threads_of(workload) {
                self.one(&store, workload, threads, output)?;
            }
            if workload == Workload::Load && !self.args.unsettled {
                self.settle(&store, output)?;
            }
        }
        Ok(store)
    }

    /// The counts of threads to run a workload with, one after the other.
    fn threads_of(&self, workload: Workload) -> Vec<u64> {
        let given: Vec<u64> = self.args.threads.iter().map(|threads| u64::from(*threads)).collect();
        match workload {
            // It happens once.
            Workload::Load => given.into_iter().max().into_iter().chain([1]).take(1).collect(),
            Workload::Synced if given.is_empty() => SYNCED_THREADS.to_vec(),
            _ if given.is_empty() => vec![1],
            _ => given,
        }
    }

    fn settle(&mut self, store: &Store, output: &mut Output) -> Result<()> {
        let start = Instant::now();
        let bar = stopwatch().with_message("settle");
        let compacted = store.compact();
        bar.finish_and_clear();
        compacted.trying(|| "compact the store".to_owned())?;
        self.settled = true;
        if !output.is_json() {
            let status = store.status().trying(|| "read the status".to_owned())?;
            let disk = space::on_disk(self.setting.directory());
            let ratio = disk as f64 / self.data.raw_bytes() as f64;
            output.line(format_args!(
                "Settled in {}: {}, {} on the disk, {ratio:.2} x raw.",
                span(start.elapsed()),
                counted(status.segments as u64, "segment file"),
                bytes(disk)
            ))?;
            output.flush()?;
        }
        Ok(())
    }

    fn one(&mut self, store: &Store, workload: Workload, threads: u64, output: &mut Output) -> Result<()> {
        let bucket = store.bucket(BUCKET).trying(|| format!("open bucket {BUCKET}"))?;
        let work = Work { store, bucket: &bucket, data: self.data };
        let timed = Run { threads, until: Until::Time(self.args.time), every: 1, pace: Duration::ZERO };
        let reads = Run { every: READS_PER_TIMED, ..timed };
        let counted = |turns| (Run { until: Until::Turns(turns), ..timed }, progress(turns, COUNT_BAR));
        let bar = counter();
        let (name, what, measured) = match workload {
            Workload::Load => {
                let (run, bar) = counted(self.data.keys);
                ("load", "a put", work.put_all(run, 0, &bar.with_message("load"))?)
            }
            Workload::Get => ("get", "a get", work.get_some(reads, &bar)?),
            Workload::GetMiss => ("get-miss", "a get", work.get_none(reads, &bar)?),
            Workload::Scan => ("scan", "all entries", work.scan(timed, &bar)?),
            Workload::Seek10 => ("seek-10", "10 entries", work.seek(reads, 10, &bar)?),
            Workload::Seek100 => ("seek-100", "100 entries", work.seek(reads, 100, &bar)?),
            Workload::Overwrite => return self.overwrite(&work, timed, output),
            Workload::Cas => ("cas", "get + update", work.cas(timed, &bar)?),
            Workload::Mixed50 => ("mixed-50", "get or put", work.mixed(timed, 50, &bar)?),
            Workload::Mixed95 => ("mixed-95", "get or put", work.mixed(timed, 95, &bar)?),
            Workload::UnderLoad => return self.under_load(&work, reads, output),
            Workload::Batch => ("batch", "1,000 puts", work.batch(timed, &bar)?),
            Workload::Synced => ("synced", "a put", work.put_synced(timed, &bar)?),
            Workload::Expire => return self.expire(&work, timed, output),
            Workload::Reopen => return Ok(()),
        };
        self.add(self.figure(name, threads, what, measured), output)?;
        let reads = [Workload::Get, Workload::GetMiss, Workload::Scan, Workload::Seek10, Workload::Seek100];
        self.settled &= reads.contains(&workload);
        Ok(())
    }

    fn overwrite(&mut self, work: &Work<'_>, run: Run, output: &mut Output) -> Result<()> {
        for pass in 1..=u64::from(self.args.passes) {
            let turns = self.data.keys;
            let bar = progress(turns, COUNT_BAR).with_message(format!("overwrite {pass}"));
            let measured = work.put_all(Run { until: Until::Turns(turns), ..run }, pass, &bar)?;
            self.add(self.figure("overwrite", run.threads, "a put", measured), output)?;
            self.settled = false;
        }
        Ok(())
    }

    /// Two figures: the gets, and the puts of one more thread beside them.
    fn under_load(&mut self, work: &Work<'_>, reads: Run, output: &mut Output) -> Result<()> {
        let bar = counter();
        let (gets, puts) = thread::scope(|scope| {
            let writer = Run { threads: 1, every: 1, ..reads };
            let puts = scope.spawn(move || work.put_random(writer, &ProgressBar::hidden()));
            let gets = work.get_some(reads, &bar);
            (gets, puts.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        self.settled = false;
        self.add(self.figure("get-under-load", reads.threads, "a get", gets?), output)?;
        self.add(self.figure("put-under-load", 1, "a put", puts?), output)
    }

    fn expire(&mut self, work: &Work<'_>, run: Run, output: &mut Output) -> Result<()> {
        let (keys, time) = (self.data.keys, self.args.time);
        let pace = Duration::from_nanos(time.as_nanos() as u64 / keys);
        let turns = EXPIRE_TIMES * keys;
        let bar = progress(turns, COUNT_BAR).with_message("expire");
        let measured = work.put_mortal(Run { until: Until::Turns(turns), pace, ..run }, time, &bar)?;
        let live = (time.as_secs_f64() * measured.ops as f64 / measured.elapsed.as_secs_f64()) as u64;
        let raw = self.data.raw_bytes() / keys * (keys + live);
        let status = work.store.status().trying(|| "read the status".to_owned())?;
        let remark = format!(
            "at its end {} live, {} raw, in segments {}, {:.2} x raw",
            counted(keys + live, "key"),
            bytes(raw),
            bytes(status.segment_bytes),
            status.segment_bytes as f64 / raw as f64
        );
        self.settled = false;
        self.add(Figure { remark: Some(remark), ..self.figure("expire", run.threads, "a put", measured) }, output)
    }

    fn reopen(&mut self, store: Store, output: &mut Output) -> Result<Store> {
        let (store, measured) = reopen::after_close(store, self.setting)?;
        self.add(self.figure("reopen-close", 1, "an open", measured), output)?;
        let (store, measured, remark) = reopen::after_kill(store, self.setting, self.args)?;
        self.settled = false;
        self.add(Figure { remark: Some(remark), ..self.figure("reopen-kill", 1, "an open", measured) }, output)?;
        Ok(store)
    }

    /// What was measured, as it stands now.
    fn figure(&self, workload: &str, threads: u64, timed: &'static str, measured: Measured) -> Figure {
        let durability = if workload == "synced" { "sync" } else { name(self.setting.level) };
        let disk_peak = self.watcher.take_disk_peak();
        let (workload, settled) = (workload.to_owned(), self.settled);
        Figure { workload, threads, durability, timed, settled, measured, disk_peak, remark: None }
    }

    fn add(&mut self, figure: Figure, output: &mut Output) -> Result<()> {
        if output.is_json() {
            output.line(figure.json(self.data))?;
            output.flush()?;
        }
        self.figures.push(figure);
        Ok(())
    }

    fn report(&self, store: &Store, output: &mut Output) -> Result<()> {
        let status = store.status().trying(|| "read the status".to_owned())?;
        let (raw, disk) = (self.data.raw_bytes(), space::on_disk(self.setting.directory()));
        let disk_peak = self.figures.iter().map(|figure| figure.disk_peak).max().unwrap_or(disk);
        let (heap_peak, resident_peak) = (self.watcher.heap_peak(), space::process("VmHWM"));
        if output.is_json() {
            return output.line(json!({
                "summary": {
                    "raw_bytes": raw,
                    "disk_bytes": disk,
                    "disk_peak_bytes": disk_peak,
                    "segment_bytes": status.segment_bytes,
                    "segments": status.segments,
                    "heap_peak_bytes": heap_peak,
                    "resident_peak_bytes": resident_peak,
                },
            }));
        }
        output.line("")?;
        output.table(&HEADINGS, self.figures.iter().map(Figure::row).collect(), &NUMBERS)?;
        output.line("")?;
        for figure in &self.figures {
            if let Some(remark) = &figure.remark {
                output.line(format_args!("{}: {remark}.", figure.workload))?;
            }
        }
        if self.args.histogram {
            for line in self.figures.iter().flat_map(Figure::histogram) {
                output.line(line)?;
            }
        }
        output.line(format_args!(
            "Disk: {} at most, {} at the end, of which segments {}; raw {}.",
            bytes(disk_peak),
            bytes(disk),
            bytes(status.segment_bytes),
            bytes(raw)
        ))?;
        output.line(format_args!("Memory: {} at most, with the mapped files {}.", bytes(heap_peak), bytes(resident_peak)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rate_that_is_told_has_a_heading() {
        let measured = Measured::new().unwrap();
        let figure = Figure {
            workload: "get".to_owned(),
            threads: 1,
            durability: "os",
            timed: "a get",
            settled: true,
            measured,
            disk_peak: 0,
            remark: None,
        };
        assert_eq!(figure.row().len(), HEADINGS.len());
        assert_eq!(NUMBERS.last(), Some(&(HEADINGS.len() - 1)));
        assert_eq!(figure.json(Data { keys: 1, key_len: 25, value_len: 100, seed: 0 })["p50_ns"], 0);
    }
}
