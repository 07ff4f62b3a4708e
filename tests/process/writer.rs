//! The process that is killed: several threads write to shared keys and report what was acknowledged.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use annals::{Bucket, BucketConfig, Durability, Error, ErrorKind, Operation, Result, Revision, Store};

const THREADS: u64 = 4;
/// Depth of history of each bucket.
pub(crate) const BUCKETS: [(&str, u8); 2] = [("deep", 8), ("flat", 1)];
const KEYS: u64 = 12;

/// What a writer is told through its environment.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) directory: PathBuf,
    pub(crate) durability: Durability,
    pub(crate) round: u64,
}

impl Order {
    pub(crate) fn from_environment() -> Option<Self> {
        let directory = std::env::var_os("ANNALS_WRITER_DIRECTORY")?.into();
        let number = |name: &str| std::env::var(name).unwrap().parse::<u64>().unwrap();
        let durability = match number("ANNALS_WRITER_DURABILITY") {
            0 => Durability::Sync,
            1 => Durability::OsCache,
            _ => Durability::Periodic { delay: Duration::from_millis(20), bytes: 64 << 10 },
        };
        Some(Self { directory, durability, round: number("ANNALS_WRITER_ROUND") })
    }

    pub(crate) fn pass_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let durability = match self.durability {
            Durability::Sync => "0",
            Durability::OsCache => "1",
            Durability::Periodic { .. } => "2",
        };
        command
            .env("ANNALS_WRITER_DIRECTORY", &self.directory)
            .env("ANNALS_WRITER_DURABILITY", durability)
            .env("ANNALS_WRITER_ROUND", self.round.to_string())
    }
}

/// Writes until it is killed; what fails is reported and ends the process in order, which the parent takes for a failure.
pub(crate) fn run(order: &Order) {
    let outcome = crate::options(order.durability).open(&order.directory).and_then(|store| write_for_ever(&store, order.round));
    if let Err(error) = outcome {
        report(&format!("failed with {error:?}"));
    }
}

fn write_for_ever(store: &Store, round: u64) -> Result<()> {
    let open = |(name, depth)| store.create_bucket(BucketConfig::new(name).history(depth));
    let buckets: Vec<Bucket> = BUCKETS.into_iter().map(open).collect::<Result<_>>()?;
    std::thread::scope(|scope| {
        let start = |thread| {
            let buckets = &buckets;
            scope.spawn(move || (0..).try_for_each(|number| write_once(buckets, round, thread, number)))
        };
        let threads: Vec<_> = (0..THREADS).map(start).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap())
    })
}

/// One write of any kind, and its report.
fn write_once(buckets: &[Bucket], round: u64, thread: u64, number: u64) -> Result<()> {
    let chance = mixed(round << 40 | thread << 32 | number);
    let bucket = &buckets[(chance % buckets.len() as u64) as usize];
    let key = format!("key.{}", chance / 8 % KEYS);
    let value = value_for(bucket.name(), &key, chance);
    let (operation, answer) = match chance / 128 % 16 {
        0 => (Operation::Delete, bucket.delete(&key)),
        1 => (Operation::Purge, bucket.purge(&key)),
        2..=4 => {
            let revision = bucket.entry(&key)?.map_or(Revision::NONE, |entry| entry.revision());
            (Operation::Put, bucket.update(&key, &value, revision))
        }
        _ => (Operation::Put, bucket.put(&key, &value)),
    };
    match answer {
        Ok(revision) => {
            let sum = if operation == Operation::Put { checksum(&value) } else { 0 };
            report(&format!("ack {} {key} {revision} {} {sum}", bucket.name(), letter(operation)));
            Ok(())
        }
        // Another thread was faster between the read and the update.
        Err(error) if is_lost_race(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

fn is_lost_race(error: &Error) -> bool {
    error.kind() == ErrorKind::WrongRevision
}

pub(crate) const fn letter(operation: Operation) -> char {
    match operation {
        Operation::Put => 'v',
        Operation::Delete => 'd',
        Operation::Purge => 'p',
    }
}

/// One line in one write, so that a kill cuts none but the last.
fn report(line: &str) {
    let mut output = std::io::stdout().lock();
    output.write_all(format!("\n{line}\n").as_bytes()).unwrap();
}

/// A value that names what it belongs to and ends in a checksum of itself; now and then larger than a block or a memtable.
fn value_for(bucket: &str, key: &str, chance: u64) -> Vec<u8> {
    let padding = match chance >> 20 & 63 {
        0 => 20_000,
        1..=7 => 1_500,
        other => other as usize,
    };
    let mut text = format!("{bucket} {key} {chance:x} ");
    text.extend((0..padding).map(|place| char::from(b'a' + ((chance >> (place % 56)) % 26) as u8)));
    let sum = checksum(text.as_bytes());
    write!(text, " {sum:016x}").unwrap();
    text.into_bytes()
}

/// Whether a writer may have written this value to this key.
pub(crate) fn is_own_value(bucket: &str, key: &str, value: &[u8]) -> bool {
    let Some((text, sum)) = value.len().checked_sub(17).and_then(|len| value.split_at_checked(len)) else { return false };
    text.starts_with(format!("{bucket} {key} ").as_bytes()) && sum == format!(" {:016x}", checksum(text)).as_bytes()
}

/// FNV-1a with 64 bits, see <http://www.isthe.com/chongo/tech/comp/fnv/>.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The finalizer of `SplitMix64`.
pub(crate) fn mixed(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

#[test]
fn a_changed_value_is_noticed() {
    let value = value_for("deep", "key.1", 0x1234_5678_9abc);
    assert!(is_own_value("deep", "key.1", &value));
    assert!(!is_own_value("deep", "key.11", &value) && !is_own_value("flat", "key.1", &value));
    for place in 0..value.len() {
        let mut changed = value.clone();
        changed[place] ^= 4;
        assert!(!is_own_value("deep", "key.1", &changed), "byte {place}");
        assert!(!is_own_value("deep", "key.1", &value[..place]), "cut to {place}");
    }
}
