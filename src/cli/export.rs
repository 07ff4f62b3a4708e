//! The verb `export`: a bucket as JSON lines. `load` reads them; the form of a line is in `output`.

use annals::{Bucket, KeysOptions, Operation, Store};

use crate::args::ExportArgs;
use crate::commands::find;
use crate::failure::{Context, Failure, Result};
use crate::output::{COUNT_BAR, Output, counter, entry_json, progress};

pub(crate) fn export(args: &ExportArgs, store: &Store, output: &mut Output) -> Result<()> {
    let bucket = find(store, &args.bucket)?;
    if args.history {
        return history(&bucket, &args.filters, output);
    }
    current(&bucket, &args.filters, output)
}

fn history(bucket: &Bucket, filters: &[String], output: &mut Output) -> Result<()> {
    let doing = || format!("export the history of bucket {}", bucket.name());
    let pattern = match filters {
        [] => ">",
        [pattern] => pattern,
        _ => {
            let what = format!("{} filters with --history, which takes one", filters.len());
            return Err(Failure::Usage { what, next: "export once for each filter".to_owned() });
        }
    };
    let entries = bucket.history(pattern).trying(doing)?;
    let bar = progress(entries.len() as u64, COUNT_BAR).with_message("entries");
    for entry in entries {
        output.line(entry_json(bucket.name(), &entry.trying(doing)?))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

fn current(bucket: &Bucket, filters: &[String], output: &mut Output) -> Result<()> {
    let doing = || format!("export bucket {}", bucket.name());
    let options = filters.iter().fold(KeysOptions::new(), |options, filter| options.filter(filter));
    let bar = counter().with_message("entries");
    for key in bucket.keys_with(options).trying(doing)? {
        // Its value may be gone since the key was listed.
        let entry = bucket.entry(key.trying(doing)?).trying(doing)?;
        if let Some(entry) = entry.filter(|entry| entry.operation() == Operation::Put) {
            output.line(entry_json(bucket.name(), &entry))?;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}
