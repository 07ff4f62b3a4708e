//! How long opening takes, after a close and after a kill.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use annals::{BucketConfig, Store};
use indicatif::ProgressBar;

use super::data::Data;
use super::meter::{Measured, Run, Until};
use super::work::Work;
use super::{BUCKET, Setting, data};
use crate::args::BenchArgs;
use crate::child::{Child, is_killed};
use crate::failure::{Context, Failure, Result};
use crate::text::counted;

/// How often a closed store is opened.
const OPENINGS: u32 = 5;
/// What the writer has written at least before it is killed: this much, or every key once.
const WRITTEN_BYTES: u64 = 32 << 20;
/// When the writer ends by itself, in case nobody is left to kill it.
const LIFE_MAX: Duration = Duration::from_secs(60);

/// Opens and closes a store that was closed; answers it open.
pub(super) fn after_close(mut store: Store, setting: &Setting) -> Result<(Store, Measured)> {
    let mut measured = Measured::new()?;
    for _ in 0..OPENINGS {
        setting.close(&store)?;
        drop(store);
        store = timed(setting, &mut measured)?;
    }
    Ok((store, measured))
}

/// Lets another process write and kills it, then opens what it left; answers what had to be done again, too.
pub(super) fn after_kill(store: Store, setting: &Setting, args: &BenchArgs) -> Result<(Store, Measured, String)> {
    setting.close(&store)?;
    drop(store);
    write_and_kill(setting.directory(), args)?;
    let mut measured = Measured::new()?;
    let store = timed(setting, &mut measured)?;
    let replayed = counted(store.recovery().replayed, "change");
    Ok((store, measured, format!("{replayed} had to be replayed from the log of the killed writer")))
}

fn timed(setting: &Setting, measured: &mut Measured) -> Result<Store> {
    let start = Instant::now();
    let store = setting.open()?;
    let elapsed = start.elapsed();
    measured.record(elapsed);
    measured.elapsed += elapsed;
    measured.ops += 1;
    Ok(store)
}

fn write_and_kill(directory: &Path, args: &BenchArgs) -> Result<()> {
    let BenchArgs { keys, value_bytes, key_bytes, seed, .. } = args;
    let (mut writer, pipe) = Child::spawn(|command| {
        command.arg("--store").arg(directory).args(["--durability", "os", "bench-writer"]).args(["--keys", &keys.to_string()]);
        command.args(["--value-bytes", &value_bytes.to_string(), "--key-bytes", &key_bytes.to_string()]);
        command.args(["--seed", &seed.to_string()]);
    })?;
    let failed = |source| Failure::System { action: "hear from the writing process".to_owned(), source };
    let heard = BufReader::new(pipe).read_line(&mut String::new()).map_err(failed)?;
    let status = writer.kill().map_err(failed)?;
    if heard == 0 || !is_killed(status) {
        return Err(Failure::Broken(format!("the writing process ended by itself ({status}) before it could be killed")));
    }
    Ok(())
}

/// The hidden verb: writes until it is killed, and says when enough is written.
pub(crate) fn write_until_killed(args: &BenchArgs, store: &Store) -> Result<()> {
    let data = data::Data::of(args);
    let bucket = store.create_bucket(BucketConfig::new(BUCKET)).trying(|| format!("create bucket {BUCKET}"))?;
    let work = Work { store, bucket: &bucket, data };
    let turns = enough(data);
    work.put_random(Run { threads: 1, until: Until::Turns(turns), every: 1, pace: Duration::ZERO }, &ProgressBar::hidden())?;
    writeln!(std::io::stdout(), "{turns}").map_err(Failure::Output)?;
    work.put_random(Run { threads: 1, until: Until::Time(LIFE_MAX), every: 1, pace: Duration::ZERO }, &ProgressBar::hidden())?;
    Ok(())
}

fn enough(data: Data) -> u64 {
    (WRITTEN_BYTES / (data.raw_bytes() / data.keys)).clamp(1, data.keys)
}
