//! Strategy: stores of numbers. An entry is one byte at a key; runs are sorted lists of keys in files, with live ranges, exactly as the engine
//! has them; jobs are done as the engine does them. Against that, writers overwrite, load in order, or load at random, and it is held how much
//! the disk holds at most, also inside a job, how many runs there are, and how often each byte is written.

use std::collections::BTreeMap;

use super::*;
use crate::number::BucketId;
use crate::testing::random::Random;

fn bound(key: u64) -> Bound {
    (BucketId(1), key.to_be_bytes().into())
}

fn key_of(bound: &Bound) -> u64 {
    let mut bytes = [0; 8];
    let len = bound.1.len().min(8);
    bytes[..len].copy_from_slice(&bound.1[..len]);
    u64::from_be_bytes(bytes)
}

/// A file: its length, and the keys of it that live.
#[derive(Clone, Debug)]
struct SimPart {
    number: u64,
    file_len: u64,
    keys: Vec<u64>,
}

#[derive(Debug)]
struct Sim {
    runs: Vec<Vec<SimPart>>,
    segment_len: u64,
    next: u64,
    begun: BTreeSet<FileNumber>,
    flushed: u64,
    written: u64,
    moved: u64,
    disk_max: u64,
    runs_max: usize,
    job_max: u64,
    /// Keys that have expired.
    expired: BTreeSet<u64>,
}

impl Sim {
    fn new(segment_len: u64) -> Self {
        Self {
            runs: Vec::new(),
            segment_len,
            next: 1,
            begun: BTreeSet::new(),
            flushed: 0,
            written: 0,
            moved: 0,
            disk_max: 0,
            runs_max: 0,
            job_max: 0,
            expired: BTreeSet::new(),
        }
    }

    fn disk(&self) -> u64 {
        let files: BTreeMap<u64, u64> = self.runs.iter().flatten().map(|part| (part.number, part.file_len)).collect();
        files.values().sum()
    }

    fn files(&self) -> usize {
        self.runs.iter().flatten().map(|part| part.number).collect::<BTreeSet<_>>().len()
    }

    fn live(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.iter().map(|part| part.keys.len() as u64).sum())
    }

    fn part(&mut self, keys: Vec<u64>) -> SimPart {
        self.next += 1;
        self.written += keys.len() as u64;
        SimPart { number: self.next, file_len: keys.len() as u64, keys }
    }

    fn flush(&mut self, keys: BTreeSet<u64>) {
        self.flushed += keys.len() as u64;
        let part = self.part(keys.into_iter().collect());
        self.runs.insert(0, vec![part]);
        self.note(0);
    }

    fn note(&mut self, job: u64) {
        self.disk_max = self.disk_max.max(self.disk() + job);
        self.job_max = self.job_max.max(job);
        self.runs_max = self.runs_max.max(self.runs.len());
    }

    fn picture(&self, is_idle: bool) -> Picture {
        let step = (self.segment_len / 8).max(1) as usize;
        let extent = |part: &SimPart, is_oldest: bool| {
            let pieces = part.keys.chunks(step).map(|keys| (bound(keys[0]), keys.len() as u64)).collect();
            let garbage = part.keys.iter().filter(|key| self.expired.contains(key)).count() as u64;
            Extent {
                number: FileNumber(part.number),
                file_len: part.file_len,
                pieces,
                to: bound(part.keys.last().unwrap() + 1),
                garbage,
                is_dead: is_oldest && garbage == part.keys.len() as u64,
            }
        };
        let is_oldest = |at: usize| at + 1 == self.runs.len();
        let runs = self.runs.iter().enumerate();
        let runs = runs.map(|(at, run)| run.iter().map(|part| extent(part, is_oldest(at))).collect()).collect();
        Picture::new(runs, self.segment_len, is_idle, self.begun.clone())
    }

    /// Does one job; answers whether there was one.
    fn step(&mut self, is_idle: bool) -> bool {
        let Some(job) = pick(&self.picture(is_idle)) else { return false };
        match job {
            Job::Drop(numbers) => {
                self.runs.iter_mut().for_each(|run| run.retain(|part| !numbers.contains(&FileNumber(part.number))));
            }
            Job::Move(parts) => {
                let from = self.runs.len() - 2;
                for at in parts.into_iter().rev() {
                    let part = self.runs[from].remove(at);
                    self.moved += part.keys.len() as u64;
                    self.runs[from + 1].push(part);
                }
                self.runs[from + 1].sort_by_key(|part| part.keys[0]);
            }
            Job::Merge { last, slice } => {
                if last + 1 < self.runs.len() && self.begun.is_empty() {
                    self.begun = self.runs[..last].iter().flatten().map(|part| FileNumber(part.number)).collect();
                }
                self.merge(last, &slice);
            }
        }
        self.runs.retain(|run| !run.is_empty());
        let above = self.runs.len().saturating_sub(1);
        let left: BTreeSet<u64> = self.runs[..above].iter().flatten().map(|part| part.number).collect();
        self.begun.retain(|number| left.contains(&number.0));
        self.note(0);
        true
    }

    fn merge(&mut self, last: usize, slice: &LiveRange) {
        let is_in = |key: &u64| slice.holds(BucketId(1), &key.to_be_bytes());
        let mut merged: BTreeSet<u64> = BTreeSet::new();
        let mut read = 0;
        let mut at = None;
        for (index, run) in self.runs[..=last].iter_mut().enumerate() {
            let mut left = Vec::new();
            for part in run.drain(..) {
                let (inside, outside): (Vec<u64>, Vec<u64>) = part.keys.iter().partition(|key| is_in(key));
                read += inside.len() as u64;
                let start = slice.from().map_or(0, |from| key_of(&(from.0, from.1.into())));
                let (before, behind): (Vec<u64>, Vec<u64>) = outside.into_iter().partition(|key| *key < start);
                if !before.is_empty() {
                    left.push(SimPart { keys: before, ..part.clone() });
                }
                if index == last && at.is_none() && part.keys.iter().any(|key| *key >= start) {
                    at = Some(left.len());
                }
                if !behind.is_empty() {
                    left.push(SimPart { keys: behind, ..part });
                }
                merged.extend(inside);
            }
            *run = left;
        }
        assert!(read > 0, "a merge of nothing: {slice:?}");
        assert!(read <= 2 * FILES_PER_MERGE * self.segment_len, "{read} bytes in one merge");
        if last + 1 == self.runs.len() {
            merged.retain(|key| !self.expired.contains(key));
        }
        let merged: Vec<u64> = merged.into_iter().collect();
        let parts: Vec<SimPart> = merged.chunks(self.segment_len as usize).map(|keys| self.part(keys.to_vec())).collect();
        let at = at.unwrap_or(self.runs[last].len());
        self.runs[last].splice(at..at, parts);
        // Until the manifest is replaced, inputs and outputs are both there.
        self.note(merged.len() as u64);
        self.check();
    }

    fn check(&self) {
        for run in &self.runs {
            let keys: Vec<u64> = run.iter().flat_map(|part| part.keys.iter().copied()).collect();
            assert!(keys.is_sorted_by(|left, right| left < right), "parts of a run over one another");
        }
    }
}

const LIVE: u64 = 16_384;
/// A sixteenth, as 64 MiB are of 1 GiB.
const SEGMENT: u64 = LIVE / 16;
const MEMTABLE: u64 = LIVE / 20;

fn random_keys(random: &mut Random, count: u64, keys: u64) -> BTreeSet<u64> {
    let mut set = BTreeSet::new();
    while (set.len() as u64) < count {
        set.insert(random.below(keys));
    }
    set
}

#[test]
fn overwriting_a_set_ten_times_never_holds_more_than_half_of_it_again_and_one_job() {
    let (mut sim, mut random) = (Sim::new(SEGMENT), Random::new(1));
    for first in (0..LIVE).step_by(MEMTABLE as usize) {
        sim.flush((first..LIVE.min(first + MEMTABLE)).collect());
        while sim.step(false) {}
    }
    (sim.written, sim.flushed, sim.disk_max, sim.job_max) = (0, 0, 0, 0);
    let mut jobs_max = 0;
    while sim.flushed < 10 * LIVE {
        let keys = random_keys(&mut random, MEMTABLE, LIVE);
        sim.flush(keys);
        let mut jobs = 0;
        while sim.step(false) {
            jobs += 1;
        }
        jobs_max = jobs_max.max(jobs);
    }
    let amplification = sim.written as f64 / sim.flushed as f64;
    println!(
        "overwrite: disk {:.2} + job {:.2} of live, {amplification:.1} bytes written per byte, {} runs, {jobs_max} jobs",
        (sim.disk_max - sim.job_max) as f64 / LIVE as f64,
        sim.job_max as f64 / LIVE as f64,
        sim.runs_max
    );
    assert!(sim.disk_max <= LIVE * 3 / 2 + sim.job_max, "{} bytes at most for {LIVE}", sim.disk_max);
    assert!(amplification < 9.0 && sim.runs_max <= 8);
}

#[test]
fn a_load_in_order_is_written_once() {
    let mut sim = Sim::new(SEGMENT);
    for first in (0..4 * LIVE).step_by(MEMTABLE as usize) {
        sim.flush((first..first + MEMTABLE).collect());
        while sim.step(false) {}
    }
    assert_eq!(sim.written, sim.flushed);
    assert_eq!(sim.runs.len(), 1);
}

#[test]
fn a_random_load_stays_in_few_runs_and_settles_into_one() {
    let (mut sim, mut random) = (Sim::new(SEGMENT / 4), Random::new(2));
    let mut free: Vec<u64> = (0..8 * LIVE).collect();
    while !free.is_empty() {
        let mut keys = BTreeSet::new();
        while keys.len() < MEMTABLE as usize && !free.is_empty() {
            let at = random.below(free.len() as u64) as usize;
            keys.insert(free.swap_remove(at));
        }
        sim.flush(keys);
        while sim.step(false) {}
    }
    let amplification = sim.written as f64 / sim.flushed as f64;
    println!("random load: {amplification:.1} bytes written per byte, {} runs at most", sim.runs_max);
    assert!(sim.runs_max <= 4 + 8 && amplification < 9.0);
    while sim.step(true) {}
    println!("settled: {} runs, disk {:.3} of live", sim.runs.len(), sim.disk() as f64 / (8 * LIVE) as f64);
    assert!(sim.disk() <= 8 * LIVE * 11 / 10);
}

#[test]
fn small_flushes_over_a_large_bottom_are_gathered_first() {
    let (mut sim, mut random) = (Sim::new(SEGMENT), Random::new(3));
    for first in (0..LIVE).step_by(MEMTABLE as usize) {
        sim.flush((first..LIVE.min(first + MEMTABLE)).collect());
        while sim.step(false) {}
    }
    sim.written = 0;
    let flushed = sim.flushed;
    for _ in 0..1_000 {
        let keys = random_keys(&mut random, LIVE / 1_000, LIVE);
        sim.flush(keys);
        while sim.step(false) {}
    }
    let amplification = sim.written as f64 / (sim.flushed - flushed) as f64;
    println!("small flushes: {amplification:.1} bytes written per byte, {} runs at most", sim.runs_max);
    assert!(amplification < 20.0 && sim.runs_max <= 4 + 8);
}

#[test]
fn what_expires_leaves_the_disk_without_anything_new() {
    let (mut sim, mut random) = (Sim::new(SEGMENT), Random::new(4));
    let mut first = 0;
    // Ten times what lives at a time is written, at random places, and expires in the order of its writing.
    let mut born: Vec<BTreeSet<u64>> = Vec::new();
    for round in 0..200 {
        let keys = random_keys(&mut random, MEMTABLE, u64::MAX / 2);
        born.push(keys.clone());
        sim.flush(keys);
        if round >= 20 {
            sim.expired.extend(std::mem::take(&mut born[first]));
            first += 1;
        }
        while sim.step(false) {}
        while sim.step(true) {}
        assert!(sim.disk() <= LIVE * 13 / 10 + MEMTABLE, "{} bytes for {LIVE} in round {round}", sim.disk());
    }
    println!("churn: {:.1} bytes written per byte", sim.written as f64 / sim.flushed as f64);
    born.into_iter().for_each(|keys| sim.expired.extend(keys));
    while sim.step(true) {}
    assert_eq!((sim.disk(), sim.live()), (0, 0));
}

#[test]
fn a_merge_above_the_bottom_that_was_begun_is_ended() {
    let (mut sim, mut random) = (Sim::new(16), Random::new(5));
    sim.flush((0..LIVE).collect());
    for _ in 0..4 {
        let keys = random_keys(&mut random, 100, LIVE);
        sim.flush(keys);
    }
    assert!(sim.step(false) && !sim.begun.is_empty(), "it takes more than one slice");
    let mut steps = 0;
    while sim.step(false) {
        steps += 1;
    }
    assert!(steps > 3 && sim.begun.is_empty());
    assert_eq!(sim.runs.len(), 2, "four runs have become one");
}

#[test]
fn few_files_are_left_of_many_small_ones() {
    let mut sim = Sim::new(SEGMENT);
    for first in (0..LIVE).step_by(10) {
        sim.flush((first..first + 10).collect());
        while sim.step(false) {}
    }
    while sim.step(true) {}
    assert!(sim.files() <= 3 * 17, "{} files", sim.files());
}

#[test]
fn a_small_part_before_a_slice_does_not_keep_it_from_its_own() {
    let mut sim = Sim::new(100);
    sim.flush((0..10).collect());
    // More than one merge takes, in files too small to be moved.
    let above = (0..20).map(|file| sim.part((0..40).map(|key| 1_000 * (file + 1) + key).collect())).collect();
    sim.runs.insert(0, above);
    let mut steps = 0;
    while sim.step(false) || sim.step(true) {
        steps += 1;
        assert!(steps < 20, "it goes round in circles: {:?}", sim.runs);
    }
    assert_eq!(sim.runs.len(), 1);
}
