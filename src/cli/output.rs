//! Where answers go: stdout as lines, tables or JSON, stderr for errors, notes and progress.
//!
//! Every command writes through one [`Output`], which buffers, and says so when stdout is gone. Nothing here knows what a command
//! does.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::time::Duration;

use annals::{Entry, Operation, Reason};
use base64::prelude::{BASE64_STANDARD, Engine};
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value as Json, json};

use crate::failure::{Exit, Failure, Result};
use crate::text;

const PREVIEW_CHARS_MAX: usize = 48;

#[derive(Debug)]
pub(crate) struct Output {
    out: BufWriter<Stdout>,
    json: bool,
    terminal: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { out: BufWriter::new(io::stdout()), json, terminal: io::stdout().is_terminal() }
    }

    /// Answers are for a program.
    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    /// Answers are for a person who reads along.
    pub(crate) const fn is_terminal(&self) -> bool {
        self.terminal
    }

    pub(crate) fn line(&mut self, text: impl Display) -> Result<()> {
        writeln!(self.out, "{text}").map_err(Failure::Output)
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(Failure::Output)
    }

    /// The rows of a table under their headings; `numbers` are the columns that line up at their right end.
    pub(crate) fn table(&mut self, headings: &[&str], rows: Vec<Vec<String>>, numbers: &[usize]) -> Result<()> {
        self.line(render_table(headings, rows, numbers))
    }

    /// Everything so far is on its way.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(Failure::Output)
    }

    /// Says on stderr why the command ended; answers the exit code.
    pub(crate) fn fail(&mut self, failure: &Failure) -> Exit {
        let exit = failure.exit();
        if exit == Exit::Done {
            return exit;
        }
        // What was answered so far stands before the error; if stdout is gone there is nowhere to say it but here.
        let _gone = self.out.flush();
        if self.json {
            eprintln!("{}", failure.json());
        } else {
            eprintln!("error: {}\n next: {}", failure.message(), failure.next());
        }
        exit
    }

    /// A remark on stderr that is not an error.
    pub(crate) fn note(&mut self, text: impl Display) -> Result<()> {
        self.flush()?;
        eprintln!("note: {text}");
        Ok(())
    }
}

/// A bar with rate and time left on stderr, for `len` things; nothing where stderr is not a terminal.
pub(crate) fn progress(len: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(len);
    bar.set_style(ProgressStyle::with_template(template).expect("a constant of this program").progress_chars("=> "));
    bar
}

/// A count and its rate on stderr, for things of which nobody knows how many there are.
pub(crate) fn counter() -> ProgressBar {
    let bar = ProgressBar::no_length();
    bar.set_style(ProgressStyle::with_template(COUNTER).expect("a constant of this program"));
    bar
}

/// How long something takes of which nobody knows how far it is, on stderr.
pub(crate) fn stopwatch() -> ProgressBar {
    let bar = ProgressBar::no_length();
    bar.set_style(ProgressStyle::with_template(STOPWATCH).expect("a constant of this program"));
    bar.enable_steady_tick(TICK);
    bar
}

const TICK: Duration = Duration::from_millis(100);
const STOPWATCH: &str = "{spinner} {msg}  {elapsed_precise}";
const COUNTER: &str = "{msg} {human_pos}  {per_sec}  {elapsed}";

/// The bar of things that are counted.
pub(crate) const COUNT_BAR: &str = "{msg} [{bar:32}] {human_pos}/{human_len}  {per_sec}  {eta} left";
/// The bar of bytes.
pub(crate) const BYTES_BAR: &str = "{msg} [{bar:32}] {decimal_bytes}/{decimal_total_bytes}  {decimal_bytes_per_sec}  {eta} left";

/// The bar of steps that take about as long as each other.
pub(crate) const STEPS_BAR: &str = "{msg} [{bar:32}] {pos}/{len}  {eta} left";

pub(crate) fn render_table(headings: &[&str], rows: Vec<Vec<String>>, numbers: &[usize]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if !headings.is_empty() {
        table.set_header(headings.to_vec());
    }
    table.add_rows(rows);
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if numbers.contains(&at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

pub(crate) const fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::Put => "put",
        Operation::Delete => "delete",
        Operation::Purge => "purge",
    }
}

const fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::Touched => "touched",
        Reason::Expired => "expired",
        _ => "written",
    }
}

/// An entry for a program.
pub(crate) fn entry_json(bucket: &str, entry: &Entry) -> Json {
    let mut object = json!({
        "bucket": bucket,
        "key": entry.key().as_str(),
        "revision": entry.revision().get(),
        "operation": operation_name(entry.operation()),
        "reason": reason_name(entry.reason()),
        "created": text::timestamp(entry.created()),
    });
    if let Some(deadline) = entry.deadline() {
        object["expires"] = text::timestamp(deadline).into();
    }
    if entry.operation() == Operation::Put {
        let (field, value) = value_json(entry.value());
        object[field] = value;
    }
    object
}

/// The field that a value goes into, and what goes there.
fn value_json(value: &[u8]) -> (&'static str, Json) {
    match std::str::from_utf8(value) {
        Ok(text) => ("value", text.into()),
        Err(_) => ("value_base64", BASE64_STANDARD.encode(value).into()),
    }
}

/// The headings over [`entry_row`].
pub(crate) const ENTRY_HEADINGS: [&str; 6] = ["revision", "key", "operation", "created", "bytes", "value"];

/// The columns of [`entry_row`] that are numbers.
pub(crate) const ENTRY_NUMBERS: [usize; 2] = [0, 4];

/// An entry for a person.
pub(crate) fn entry_row(entry: &Entry) -> Vec<String> {
    let put = entry.operation() == Operation::Put;
    vec![
        entry.revision().to_string(),
        entry.key().as_str().to_owned(),
        operation_name(entry.operation()).to_owned(),
        text::timestamp(entry.created()),
        if put { text::grouped(entry.value().len() as u64) } else { String::new() },
        text::preview(entry.value(), PREVIEW_CHARS_MAX),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_text_where_it_can_be_and_base64_otherwise() {
        assert_eq!(value_json("h\u{e9}\n".as_bytes()), ("value", json!("h\u{e9}\n")));
        assert_eq!(value_json(b""), ("value", json!("")));
        assert_eq!(value_json(&[0xff, 0x0a]), ("value_base64", json!("/wo=")));
    }

    #[test]
    fn a_table_lines_up_numbers_at_their_right_end() {
        let rows = vec![vec!["a".to_owned(), "1".to_owned()], vec!["long".to_owned(), "1,000".to_owned()]];
        assert_eq!(render_table(&["what", "count"], rows, &[1]), "what  count\na         1\nlong  1,000");
    }

    #[test]
    fn a_table_without_rows_is_its_headings() {
        assert_eq!(render_table(&["what", "count"], Vec::new(), &[1]), "what  count");
    }

    #[test]
    fn the_templates_of_the_bars_parse() {
        for template in [COUNT_BAR, BYTES_BAR, STEPS_BAR] {
            progress(1, template).finish_and_clear();
        }
        counter().finish_and_clear();
        stopwatch().finish_and_clear();
    }
}
