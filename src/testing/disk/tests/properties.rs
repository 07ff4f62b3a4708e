//! Random sequences of calls on a few names and handles.
//!
//! 1. The cache is an ordinary file system: every answer equals that of `MemoryFs`, which shares no code with it.
//! 2. A crash takes nothing that was synced: once every file and every directory is, no policy changes anything.
//! 3. A crash touches only what was written: of a synced file, the bytes outside of the unsynced writes stay.
//! 4. The same seed and the same calls give the same disk.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::env::memory::MemoryFs;

const NAMES: usize = 4;

#[derive(Clone, Debug)]
enum Op {
    Create(usize),
    Open(usize),
    Close(usize),
    Rename(usize, usize),
    Remove(usize),
    List,
    Lock(usize, bool),
    Unlock,
    Read(usize, u64, usize),
    Write(usize, u64, usize, u8),
    Allocate(usize, u64),
    SetLen(usize, u64),
    Sync(usize),
    SyncDir,
    Map(usize),
}

/// Lengths around the bounds of sectors, pages and chunks, and one far away.
fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![0..600_u64, 3_900..4_300_u64, 65_400..65_700_u64, Just(64 << 20)]
}

fn op() -> impl Strategy<Value = Op> {
    let name = 0..NAMES;
    let handle = 0..6_usize;
    prop_oneof![
        3 => name.clone().prop_map(Op::Create),
        2 => name.clone().prop_map(Op::Open),
        1 => handle.clone().prop_map(Op::Close),
        2 => (name.clone(), name.clone()).prop_map(|(from, to)| Op::Rename(from, to)),
        1 => name.clone().prop_map(Op::Remove),
        1 => Just(Op::List),
        1 => (name, any::<bool>()).prop_map(|(name, exclusive)| Op::Lock(name, exclusive)),
        1 => Just(Op::Unlock),
        4 => (handle.clone(), offset(), 0..5_000_usize).prop_map(|(handle, offset, len)| Op::Read(handle, offset, len)),
        6 => (handle.clone(), offset(), 0..5_000_usize, 1..=255_u8)
            .prop_map(|(handle, offset, len, byte)| Op::Write(handle, offset, len, byte)),
        1 => (handle.clone(), offset()).prop_map(|(handle, len)| Op::Allocate(handle, len)),
        2 => (handle.clone(), offset()).prop_map(|(handle, len)| Op::SetLen(handle, len)),
        2 => handle.clone().prop_map(Op::Sync),
        1 => Just(Op::SyncDir),
        1 => handle.prop_map(Op::Map),
    ]
}

fn policy() -> impl Strategy<Value = CrashPolicy> {
    prop::sample::select(&CrashPolicy::ALL[..])
}

/// A program that holds files and locks open while it works.
struct Program {
    fs: Arc<dyn Fs>,
    files: Vec<Option<Box<dyn File>>>,
    locks: Vec<Box<dyn crate::env::Lock>>,
}

impl Program {
    fn new(fs: Arc<dyn Fs>) -> Self {
        Self { fs, files: Vec::new(), locks: Vec::new() }
    }

    /// The answer as text; errors by their kind.
    fn run(&mut self, op: &Op) -> String {
        match self.try_run(op) {
            Ok(text) => text,
            Err(error) => format!("{:?}", error.kind()),
        }
    }

    fn try_run(&mut self, op: &Op) -> io::Result<String> {
        let name = |index: &usize| path(&format!("f{index}"));
        match op {
            Op::Create(index) => {
                let file = self.fs.create_new(&name(index))?;
                self.files.push(Some(file));
            }
            Op::Open(index) => {
                let file = self.fs.open(&name(index))?;
                self.files.push(Some(file));
            }
            Op::Close(handle) => {
                if let Some(slot) = self.slot(*handle) {
                    self.files[slot] = None;
                }
            }
            Op::Rename(from, to) => self.fs.rename(&name(from), &name(to))?,
            Op::Remove(index) => self.fs.remove(&name(index))?,
            Op::List => {
                let mut names = self.fs.list(Path::new("/db"))?;
                names.sort();
                return Ok(names.join(" "));
            }
            Op::Lock(index, exclusive) => {
                let mode = if *exclusive { LockMode::Exclusive } else { LockMode::Shared };
                self.locks.push(self.fs.lock(&name(index), mode)?);
            }
            Op::Unlock => drop(self.locks.pop()),
            Op::SyncDir => self.fs.sync_dir(Path::new("/db"))?,
            Op::Read(handle, ..) | Op::Write(handle, ..) | Op::Allocate(handle, _) | Op::SetLen(handle, _) => {
                if let Some(slot) = self.slot(*handle) {
                    return on_file(self.files[slot].as_deref().unwrap(), op);
                }
            }
            Op::Sync(handle) | Op::Map(handle) => {
                if let Some(slot) = self.slot(*handle) {
                    return on_file(self.files[slot].as_deref().unwrap(), op);
                }
            }
        }
        Ok("ok".to_owned())
    }

    /// The `handle`th newest of the open files.
    fn slot(&self, handle: usize) -> Option<usize> {
        let open: Vec<usize> = (0..self.files.len()).rev().filter(|slot| self.files[*slot].is_some()).collect();
        open.get(handle % open.len().max(1)).copied()
    }
}

fn on_file(file: &dyn File, op: &Op) -> io::Result<String> {
    match op {
        Op::Read(_, offset, len) => {
            let mut bytes = vec![9; *len];
            let count = file.read_at(&mut bytes, *offset)?;
            bytes.truncate(count);
            return Ok(format!("{bytes:?} of {}", file.len()?));
        }
        Op::Write(_, offset, len, byte) => return Ok(file.write_at(&vec![*byte; *len], *offset)?.to_string()),
        Op::Allocate(_, len) => file.allocate(*len)?,
        Op::SetLen(_, len) => file.set_len(*len)?,
        Op::Sync(_) => file.sync_data()?,
        Op::Map(_) if file.len()? < 1 << 20 => return Ok(format!("{:?}", (*file.map()?).as_ref())),
        _ => {}
    }
    Ok("ok".to_owned())
}

fn small_files(disk: &SimDisk) -> BTreeMap<PathBuf, (u64, Option<Vec<u8>>)> {
    let content = |path: &Path, len| (len < 1 << 20).then(|| disk.read_file(path).unwrap());
    disk.files().into_iter().map(|(path, len)| (path.clone(), (len, content(&path, len)))).collect()
}

fn run_all(disk: &Arc<SimDisk>, fs: &Arc<dyn Fs>, ops: &[Op]) -> Vec<String> {
    let mut program = Program::new(Arc::clone(fs));
    let answers = ops.iter().map(|op| program.run(op)).collect();
    drop(program);
    assert_eq!((disk.open_handles(), disk.open_maps()), (0, 0));
    answers
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_cache_is_an_ordinary_file_system(ops in prop::collection::vec(op(), 1..60)) {
        let (_disk, fs) = disk(1);
        let memory = Arc::new(MemoryFs::default());
        memory.create_dir(Path::new("/db")).unwrap();
        let mut programs = [Program::new(fs), Program::new(memory)];
        for (index, op) in ops.iter().enumerate() {
            let [simulated, memory] = programs.each_mut().map(|program| program.run(op));
            prop_assert_eq!(simulated, memory, "operation {}", index);
        }
    }

    #[test]
    fn a_crash_takes_nothing_that_was_synced(ops in prop::collection::vec(op(), 1..60), policy in policy()) {
        let (disk, fs) = disk(1);
        run_all(&disk, &fs, &ops);
        for (path, _) in disk.files() {
            fs.open(&path).unwrap().sync_all().unwrap();
        }
        sync_dir(&*fs);
        let before = small_files(&disk);
        disk.crash(policy);
        prop_assert_eq!(small_files(&disk), before);
    }

    #[test]
    fn keeping_all_changes_nothing_and_losing_all_is_the_snapshot(ops in prop::collection::vec(op(), 1..60)) {
        let (disk, fs) = disk(1);
        run_all(&disk, &fs, &ops);
        let durable = disk.snapshot();
        let before = small_files(&disk);
        disk.crash(CrashPolicy::KeepAll);
        prop_assert_eq!(small_files(&disk), before);
        disk.restore(&durable);
        let from_snapshot = small_files(&disk);
        let (disk, fs) = super::disk(1);
        run_all(&disk, &fs, &ops);
        disk.crash(CrashPolicy::LoseAll);
        prop_assert_eq!(small_files(&disk), from_snapshot);
    }

    #[test]
    fn a_crash_touches_only_what_was_written(
        writes in prop::collection::vec((0..9_000_u64, 1..3_000_usize), 1..8),
        policy in policy(),
        seed: u64,
    ) {
        let (disk, fs) = disk(seed);
        let file = create_synced(&*fs, "a", &[1; 5_000]);
        let mut touched = vec![false; 12_000];
        for (offset, len) in &writes {
            write_all_at(&*file, &vec![2; *len], *offset).unwrap();
            touched[*offset as usize..*offset as usize + len].fill(true);
        }
        disk.crash(policy);
        let bytes = disk.read_file(&path("a")).unwrap();
        prop_assert!(bytes.len() >= 5_000);
        for (index, byte) in bytes.iter().enumerate() {
            let old = u8::from(index < 5_000);
            prop_assert!(touched[index] || *byte == old, "byte {} is {}", index, byte);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_disk(
        ops in prop::collection::vec(op(), 1..60),
        policy in policy(),
        seed: u64,
    ) {
        let run = || {
            let (disk, fs) = disk(seed);
            disk.crash_at(ops.len() as u64 / 2);
            let answers = run_all(&disk, &fs, &ops);
            disk.crash(policy);
            (answers, small_files(&disk), disk.trace(), disk.env().random.u128().unwrap())
        };
        prop_assert_eq!(run(), run());
    }

    /// Whatever a life left, the next one can work with it.
    #[test]
    fn many_lives_follow_each_other(
        lives in prop::collection::vec((prop::collection::vec(op(), 1..30), policy(), any::<bool>(), 0..60_u64), 1..6),
        faults in prop::collection::vec((1..200_u64, prop::sample::select(&Fault::ALL[..]), any::<bool>()), 0..6),
        seed: u64,
    ) {
        let (disk, _) = disk(seed);
        for (at, fault, sticky) in faults {
            disk.inject(Injection { at, fault, sticky });
        }
        for (ops, policy, killed, crash_at) in lives {
            disk.crash_at(disk.calls() + crash_at);
            run_all(&disk, &disk.env().fs, &ops);
            if killed { disk.restart() } else { disk.crash(policy) }
            let files = small_files(&disk);
            prop_assert!(files.len() <= NAMES);
        }
        disk.crash(CrashPolicy::LoseAll);
        let fs = disk.env().fs;
        for (path, _) in disk.files() {
            fs.remove(&path).unwrap();
        }
        sync_dir(&*fs);
        prop_assert_eq!(disk.used(), 0);
        fs.create_new(&path("f0")).unwrap();
    }
}
