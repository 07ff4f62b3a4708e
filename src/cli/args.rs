//! The grammar of the program: `annals --store DIR VERB BUCKET ...`. Parsing only; `commands` acts on it.

mod bench;
mod bucket;
mod quantity;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use annals::Durability;
use clap::{Args as ArgGroup, Parser, Subcommand, ValueEnum};

pub(crate) use bench::{BenchArgs, Workload};
pub(crate) use bucket::{BucketVerb, Limits};
use quantity::span;

/// The heading of the options that every verb takes.
const EVERYWHERE: &str = "Options of every verb";

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  not found: no such bucket, key without a value, revision not retained
  2  usage: an argument is missing, malformed or over a limit
  3  condition failed: wrong revision, or it exists already
  4  the store cannot be used: none in the directory, locked, closed, or of a newer format
  5  corrupt: bytes on disk are not what was written
  6  input, output, no space
  7  import finished, but skipped something, which it names

Only `bucket add` and `import` create a store where there is none.

Output: answers on stdout, errors and progress on stderr. put, create, update, del, purge and touch print the new revision; get
and at print the bytes of the value and nothing else. With --json every answer is one JSON object on a line of its own, and lists
(keys, history, changes, bucket ls) are one object a line, as export always is. A value is in the field \"value\" if it is UTF-8, else in
\"value_base64\". With --json an error is an object on stderr, {\"error\": {...}}, with at least kind, message, next and exit_code
in it. Spans of time are written 500ms, 30s, 12h, 7days; sizes 4096, 64kB, 64MiB.

Example:
  annals --store data bucket add settings --history 8
  annals --store data put settings eu.theme dark
  annals --store data update settings eu.theme light --revision 1
  annals --store data history settings 'eu.>'";

/// An embedded key-value store that remembers and tells: buckets, revisions, history, compare-and-set.
#[derive(Debug, Parser)]
#[command(name = "annals", version, after_help = AFTER_HELP, max_term_width = 120, subcommand_value_name = "VERB")]
pub(crate) struct Args {
    /// The directory of the store; every verb but `tour` and `bench` needs it
    #[arg(long, global = true, value_name = "DIR", help_heading = EVERYWHERE)]
    pub(crate) store: Option<PathBuf>,
    /// Answer in JSON, for programs
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) json: bool,
    /// What an acknowledged write has survived [default: sync]
    #[arg(long, global = true, value_enum, help_heading = EVERYWHERE)]
    pub(crate) durability: Option<Level>,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// The levels of durability that make sense for a program that ends after its write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// On disk: survives a power cut
    Sync,
    /// With the operating system: survives the end of this program
    Os,
}

impl Level {
    pub(crate) const fn durability(self) -> Durability {
        match self {
            Self::Sync => Durability::Sync,
            Self::Os => Durability::OsCache,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Create, change, list, describe and remove buckets
    #[command(subcommand)]
    Bucket(BucketVerb),
    /// Give a key a value, whatever it held
    Put {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        input: Input,
        #[command(flatten)]
        expiry: Expiry,
    },
    /// Print the value of a key
    Get {
        #[command(flatten)]
        target: Target,
        /// The value that this revision gave to the key, if it is still retained
        #[arg(long, value_name = "R")]
        revision: Option<u64>,
    },
    /// Print the value that a key had when R was the newest revision of the bucket
    At {
        #[command(flatten)]
        target: Target,
        /// The revision; one that the bucket has not reached yet asks for the present
        #[arg(long, value_name = "R")]
        revision: u64,
    },
    /// Give a key a value only if it has none
    Create {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        input: Input,
        #[command(flatten)]
        expiry: Expiry,
    },
    /// Give a key a value only if its newest entry has revision R
    Update {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        input: Input,
        /// The revision that the newest entry of the key must have; 0: the key must have no entry
        #[arg(long, value_name = "R")]
        revision: u64,
        #[command(flatten)]
        expiry: Expiry,
    },
    /// Write the value of a key again, to live for another span
    Touch {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        expiry: Expiry,
    },
    /// Delete a key: its history stays
    Del(DelArgs),
    /// Delete a key with its history
    Purge(PurgeArgs),
    /// Print the keys that hold a value, one a line, in byte order
    Keys {
        bucket: String,
        /// Patterns of which one has to match: `*` is one token, `>` the rest (quote them)
        #[arg(value_name = "FILTER")]
        filters: Vec<String>,
        /// Keys whose newest entry is a delete or purge marker, too
        #[arg(long)]
        markers: bool,
    },
    /// Print the retained entries of a key, or of all keys that a pattern matches, oldest first
    History {
        bucket: String,
        /// A key, or a pattern: `*` is one token, `>` the rest (quote them)
        pattern: String,
    },
    /// Print what has changed in a bucket after revision R, as far as it is retained, in the order of revisions
    Changes {
        bucket: String,
        /// The last revision that is known; 0: from the beginning
        #[arg(long, value_name = "R")]
        since: u64,
    },
    /// Store every regular file below a directory: the key is its path, the value its content
    Import(ImportArgs),
    /// Print the entries of a bucket as JSON lines, which `load` takes
    Export(ExportArgs),
    /// Write the entries of JSON lines to a bucket, as `export` printed them
    Load(LoadArgs),
    /// Write what is in memory, or in the log, to segments
    Flush,
    /// Merge all segments into one run, without what nobody can read any more
    Compact,
    /// Print what the store is and holds
    Status,
    /// Read every file of the store in full and check it
    Verify,
    /// Measure this machine: load, reads, scans, writes, reopening; needs no store
    Bench(BenchArgs),
    /// The process that `bench` kills
    #[command(hide = true)]
    BenchWriter(BenchArgs),
    /// See it all in a minute: import, history, a kill -9, rates; needs no store
    Tour(TourArgs),
    /// The process that `tour` kills
    #[command(hide = true)]
    TourWriter {
        #[arg(long)]
        threads: usize,
    },
}

/// One key of one bucket.
#[derive(Debug, ArgGroup)]
pub(crate) struct Target {
    pub(crate) bucket: String,
    pub(crate) key: String,
}

/// When an entry goes by itself.
#[derive(Clone, Copy, Debug, ArgGroup)]
pub(crate) struct Expiry {
    /// Let it expire after this span, at least 1ms [default: never, but for the bucket's --max-age]
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub(crate) ttl: Option<Duration>,
}

#[derive(Debug, ArgGroup)]
#[command(group = clap::ArgGroup::new("what").required(true))]
#[command(override_usage = "annals del <BUCKET> <KEY | --matching <PATTERN>> [OPTIONS]")]
pub(crate) struct DelArgs {
    pub(crate) bucket: String,
    #[arg(group = "what")]
    pub(crate) key: Option<String>,
    /// All keys with a value that this pattern matches: `*` is one token, `>` the rest (quote them)
    #[arg(long, value_name = "PATTERN", group = "what")]
    pub(crate) matching: Option<String>,
    /// Only if the newest entry of the key has this revision; 0 asks for no check
    #[arg(long, value_name = "R", conflicts_with = "matching")]
    pub(crate) revision: Option<u64>,
}

#[derive(Debug, ArgGroup)]
#[command(group = clap::ArgGroup::new("what").required(true))]
#[command(override_usage = "annals purge <BUCKET> <KEY | --matching <PATTERN> | --all | --markers <SPAN>> [OPTIONS]")]
pub(crate) struct PurgeArgs {
    pub(crate) bucket: String,
    #[arg(group = "what")]
    pub(crate) key: Option<String>,
    /// All keys with a value that this pattern matches: `*` is one token, `>` the rest (quote them)
    #[arg(long, value_name = "PATTERN", group = "what")]
    pub(crate) matching: Option<String>,
    /// Everything in the bucket; leaves no markers, and the revisions go on
    #[arg(long, group = "what")]
    pub(crate) all: bool,
    /// What lies under delete and purge markers, and the markers that are as old as SPAN; 0s is all of them
    #[arg(long, value_name = "SPAN", group = "what", value_parser = span)]
    pub(crate) markers: Option<Duration>,
    /// Only if the newest entry of the key has this revision; 0 asks for no check
    #[arg(long, value_name = "R", conflicts_with_all = ["matching", "all", "markers"])]
    pub(crate) revision: Option<u64>,
    /// Let the purge marker expire after this span, at least 1ms
    #[arg(long, value_name = "SPAN", conflicts_with_all = ["matching", "all", "markers"], value_parser = span)]
    pub(crate) ttl: Option<Duration>,
}

/// Where a value comes from.
#[derive(Debug, ArgGroup)]
#[group(required = true, multiple = false)]
pub(crate) struct Input {
    /// The value itself, or `-` to read it from stdin
    pub(crate) value: Option<OsString>,
    /// Read the value from a file
    #[arg(long, value_name = "F")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, ArgGroup)]
#[command(after_long_help = "\
A key is the path relative to SRC with a dot between its components; bytes other than letters, digits, _ and - are written \
=XX (upper-case hexadecimal), so src/main.rs is src.main=2Ers. Nothing is lost: the path can be had back.

Run again, it writes only what changed, each file by compare-and-set against the revision that it read, so the history of \
every file appears. Files that are gone from SRC keep their keys unless --delete-missing is given. Symbolic links are not \
followed; they and whatever else cannot be stored (files over 16 MiB or the limit of the bucket, paths too long for a key, \
pipes, sockets, what cannot be read) are counted by kind and named, and make the exit code 7. Empty directories leave no trace.")]
pub(crate) struct ImportArgs {
    /// The directory to read
    #[arg(value_name = "SRC")]
    pub(crate) source: PathBuf,
    /// The bucket; created if missing
    #[arg(long, value_name = "NAME")]
    pub(crate) bucket: String,
    /// How many entries of each key a new bucket keeps, 1 to 64 [default: 5]
    #[arg(long, value_name = "N")]
    pub(crate) history: Option<u8>,
    /// Delete the keys of files that are gone from SRC
    #[arg(long)]
    pub(crate) delete_missing: bool,
    /// Name all that was skipped, not the first 20 of each kind
    #[arg(long)]
    pub(crate) verbose: bool,
}

#[derive(Debug, ArgGroup)]
#[command(after_help = "\
A line is an object with bucket, key, revision, operation (put, delete, purge), reason, created, expires if there is a deadline, and
of a put value, or value_base64 if it is not UTF-8. Without --history: one line for each key that holds a value, in key order. With
it: all retained entries in the order of their revisions, markers included. What is written meanwhile is not in it.")]
pub(crate) struct ExportArgs {
    pub(crate) bucket: String,
    /// Patterns of which one has to match: `*` is one token, `>` the rest (quote them)
    #[arg(value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
    /// All retained entries, not only the current values; takes at most one FILTER
    #[arg(long)]
    pub(crate) history: bool,
}

#[derive(Debug, ArgGroup)]
#[command(after_help = "\
Reads the fields key, operation (put if missing), value or value_base64, and expires; the others may be there and say nothing: what
is loaded gets revisions and times of its own, in the order of the lines. Lines whose deadline has passed are counted and left out.
The lines are written in atomic batches of 1000. A line that cannot be read is an error that names it; the batches before it stay.")]
pub(crate) struct LoadArgs {
    /// The bucket; it must exist
    pub(crate) bucket: String,
    /// The lines, or `-` for stdin
    #[arg(value_name = "FILE", default_value = "-")]
    pub(crate) source: PathBuf,
}

#[derive(Debug, ArgGroup)]
pub(crate) struct TourArgs {
    /// The tree to import [default: the sources of the crates that cargo unpacked, or else the current directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) source: Option<PathBuf>,
    /// Make the store here and keep it [default: a temporary directory, removed at the end]
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Import at most this many files
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub(crate) limit_files: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_grammar_contradicts_itself_nowhere() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_write_takes_exactly_one_source_of_its_value() {
        for (line, fine) in [
            ("annals put b k v", true),
            ("annals put b k -", true),
            ("annals put b k --file f", true),
            ("annals put b k", false),
            ("annals put b k v --file f", false),
            ("annals update b k v", false),
            ("annals update b k v --revision 3", true),
            ("annals put b k v --ttl 1h", true),
            ("annals put b k v --ttl 1", false),
        ] {
            assert_eq!(Args::try_parse_from(line.split(' ')).is_ok(), fine, "{line}");
        }
    }

    #[test]
    fn del_and_purge_take_exactly_one_thing_to_remove() {
        for (words, fine) in [
            ("del b k", true),
            ("del b --matching >", true),
            ("del b", false),
            ("del b k --matching >", false),
            ("del b --matching > --revision 1", false),
            ("purge b --all", true),
            ("purge b --markers 0s", true),
            ("purge b k --ttl 1s --revision 2", true),
            ("purge b --all --ttl 1s", false),
            ("purge b k --all", false),
        ] {
            assert_eq!(Args::try_parse_from(format!("annals {words}").split(' ')).is_ok(), fine, "{words}");
        }
    }
}
