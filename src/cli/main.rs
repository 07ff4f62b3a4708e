//! `annals`: the program. It looks into a store, changes it, imports directories, and shows in a minute what the library does.
//!
//! Uses the public API of the library and nothing else. This file parses, hands over, and turns the result into an exit code. The
//! grammar is in `args`; `commands` leads to the verbs, of which the large ones have modules of their own; what people and programs read is made in `output`,
//! `text` and `failure`. The exit codes are part of the interface and stand in `--help`.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the seams guard the engine; a program reads files and clocks of its own"
)]

mod args;
mod bench;
mod buckets;
mod child;
mod commands;
mod export;
mod failure;
mod import;
mod load;
mod output;
mod path_key;
mod place;
mod text;
mod tour;
mod upkeep;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;
use crate::output::Output;

fn main() -> ExitCode {
    let args = Args::parse();
    let mut output = Output::new(args.json);
    let ended = commands::run(&args, &mut output).and_then(|exit| output.flush().map(|()| exit));
    let exit = ended.unwrap_or_else(|failure| output.fail(&failure));
    ExitCode::from(exit as u8)
}
