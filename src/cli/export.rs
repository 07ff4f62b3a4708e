//! The verb `export`: a bucket as it is at one moment, as JSON lines. `load` reads them; the form of a line is in `output`.

use annals::{BucketSnapshot, Entry, KeysOptions, Store};

use crate::args::ExportArgs;
use crate::commands::find;
use crate::failure::{Context, Failure, Result};
use crate::output::{COUNT_BAR, Output, counter, entry_json, progress};

pub(crate) fn export(args: &ExportArgs, store: &Store, output: &mut Output) -> Result<()> {
    let snapshot = find(store, &args.bucket)?.snapshot().trying(|| format!("read bucket {}", args.bucket))?;
    if args.history {
        return history(&snapshot, &args.filters, output);
    }
    current(&snapshot, &args.filters, output)
}

fn history(snapshot: &BucketSnapshot, filters: &[String], output: &mut Output) -> Result<()> {
    let doing = || format!("export the history of bucket {}", snapshot.name());
    let pattern = match filters {
        [] => ">",
        [pattern] => pattern,
        _ => {
            let what = format!("{} filters with --history, which takes one", filters.len());
            return Err(Failure::Usage { what, next: "export once for each filter".to_owned() });
        }
    };
    let entries = snapshot.history(pattern).trying(doing)?;
    let bar = progress(entries.len() as u64, COUNT_BAR).with_message("entries");
    for entry in entries {
        output.line(entry_json(snapshot.name(), &entry.trying(doing)?))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

fn current(snapshot: &BucketSnapshot, filters: &[String], output: &mut Output) -> Result<()> {
    let doing = || format!("export bucket {}", snapshot.name());
    let bar = counter().with_message("entries");
    let mut print = |entry: &Entry| {
        bar.inc(1);
        output.line(entry_json(snapshot.name(), entry))
    };
    if filters.is_empty() {
        for entry in snapshot.range(..) {
            print(&entry.trying(doing)?)?;
        }
    } else {
        let options = filters.iter().fold(KeysOptions::new(), |options, filter| options.filter(filter));
        for key in snapshot.keys_with(options).trying(doing)? {
            let entry = snapshot.entry(key.trying(doing)?).trying(doing)?;
            entry.iter().try_for_each(&mut print)?;
        }
    }
    bar.finish_and_clear();
    Ok(())
}
