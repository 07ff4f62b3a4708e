//! What an import did, in numbers and names. Each worker fills a report of its own; they are added up at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::output::render_table;
use crate::text::{self, grouped};

/// How many of each kind are named without `--verbose`.
const NAMED_MAX: usize = 20;

/// Why something in the tree was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SkipKind {
    SymbolicLink,
    NotRegular,
    Unreadable,
    Vanished,
    TooLarge,
    KeyTooLong,
    Conflict,
    TheStore,
}

impl SkipKind {
    /// The name in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SymbolicLink => "symbolic_link",
            Self::NotRegular => "not_regular",
            Self::Unreadable => "unreadable",
            Self::Vanished => "vanished",
            Self::TooLarge => "too_large",
            Self::KeyTooLong => "key_too_long",
            Self::Conflict => "conflict",
            Self::TheStore => "the_store",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::SymbolicLink => "symbolic links, which are not followed",
            Self::NotRegular => "neither files nor directories",
            Self::Unreadable => "unreadable",
            Self::Vanished => "gone before they could be read",
            Self::TooLarge => "larger than the bucket or the store allows",
            Self::KeyTooLong => "paths too long for a key",
            Self::Conflict => "written by somebody else again and again meanwhile",
            Self::TheStore => "the store itself",
        }
    }
}

/// What was not stored, by kind: how many, and the names that come first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Skipped {
    verbose: bool,
    kinds: BTreeMap<SkipKind, Named>,
}

#[derive(Clone, Debug, Default)]
struct Named {
    count: u64,
    names: BTreeSet<String>,
}

impl Skipped {
    pub(crate) fn new(verbose: bool) -> Self {
        Self { verbose, kinds: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, kind: SkipKind, path: &Path, error: Option<&io::Error>) {
        let path: String = path.to_string_lossy().chars().flat_map(char::escape_debug).collect();
        let name = match error {
            Some(error) => format!("{path} ({error})"),
            None => path,
        };
        self.take(kind, Named { count: 1, names: BTreeSet::from([name]) });
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (kind, named) in other.kinds {
            self.take(kind, named);
        }
    }

    fn take(&mut self, kind: SkipKind, more: Named) {
        let named = self.kinds.entry(kind).or_default();
        named.count += more.count;
        named.names.extend(more.names);
        while !self.verbose && named.names.len() > NAMED_MAX {
            named.names.pop_last();
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.kinds.values().map(|named| named.count).sum()
    }

    #[cfg(test)]
    pub(crate) fn count(&self, kind: SkipKind) -> u64 {
        self.kinds.get(&kind).map_or(0, |named| named.count)
    }

    /// One paragraph for each kind, with names.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (kind, named) in &self.kinds {
            lines.push(format!("skipped {}: {}", grouped(named.count), kind.words()));
            lines.extend(named.names.iter().map(|name| format!("  {name}")));
            let unnamed = named.count - named.names.len() as u64;
            if unnamed > 0 {
                lines.push(format!("  and {} more (--verbose names all)", grouped(unnamed)));
            }
        }
        lines
    }

    fn json(&self) -> Json {
        let kinds = self.kinds.iter();
        kinds.map(|(kind, named)| (kind.name().to_owned(), json!({ "count": named.count, "named": named.names }))).collect()
    }
}

/// What an import did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// Regular files that were come to.
    pub(crate) files: u64,
    pub(crate) new: u64,
    pub(crate) changed: u64,
    pub(crate) unchanged: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
    /// Keys whose file is gone, left alone.
    pub(crate) gone_kept: u64,
    /// Keys whose file is gone, deleted.
    pub(crate) gone_deleted: u64,
    pub(crate) skipped: Skipped,
    /// How long reading, comparing and writing took.
    pub(crate) elapsed: Duration,
}

impl Report {
    pub(crate) fn new(verbose: bool) -> Self {
        Self { skipped: Skipped::new(verbose), ..Self::default() }
    }

    pub(crate) const fn written(&self) -> u64 {
        self.new + self.changed
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.files += other.files;
        self.new += other.new;
        self.changed += other.changed;
        self.unchanged += other.unchanged;
        self.bytes_read += other.bytes_read;
        self.bytes_written += other.bytes_written;
        self.gone_kept += other.gone_kept;
        self.gone_deleted += other.gone_deleted;
        self.skipped.merge(other.skipped);
        self.elapsed += other.elapsed;
    }

    /// The report for a person.
    pub(crate) fn text(&self) -> String {
        let row = |what: &str, number: u64, remark: String| vec![what.to_owned(), grouped(number), remark];
        let rate = |bytes| format!("{}, {}/s", text::bytes(bytes), text::bytes(text::per_second(bytes, self.elapsed)));
        let entries =
            format!("{}, {} entries/s", rate(self.bytes_written), grouped(text::per_second(self.written(), self.elapsed)));
        let mut rows = vec![
            row("files seen", self.files, format!("{} in {}", rate(self.bytes_read), text::span(self.elapsed))),
            row("written new", self.new, String::new()),
            row("written changed", self.changed, String::new()),
            row("written in all", self.written(), entries),
            row("unchanged", self.unchanged, String::new()),
            row("skipped", self.skipped.total(), String::new()),
        ];
        if self.gone_deleted > 0 {
            rows.push(row("deleted", self.gone_deleted, "their files are gone from the source".to_owned()));
        }
        if self.gone_kept > 0 {
            let remark = "their files are gone from the source; --delete-missing deletes their keys".to_owned();
            rows.push(row("left alone", self.gone_kept, remark));
        }
        let mut lines = vec![render_table(&[], rows, &[1])];
        lines.extend(self.skipped.lines());
        lines.join("\n")
    }

    /// The report for a program.
    pub(crate) fn json(&self, bucket: &str) -> Json {
        json!({
            "bucket": bucket,
            "files": self.files,
            "new": self.new,
            "changed": self.changed,
            "unchanged": self.unchanged,
            "skipped": self.skipped.json(),
            "skipped_count": self.skipped.total(),
            "gone_kept": self.gone_kept,
            "gone_deleted": self.gone_deleted,
            "bytes_read": self.bytes_read,
            "bytes_written": self.bytes_written,
            "seconds": self.elapsed.as_secs_f64(),
            "entries_per_second": text::per_second(self.written(), self.elapsed),
            "bytes_per_second": text::per_second(self.bytes_written, self.elapsed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(verbose: bool) -> Skipped {
        let mut sum = Skipped::new(verbose);
        for number in (0..50).rev() {
            let mut one = Skipped::new(verbose);
            one.add(SkipKind::SymbolicLink, Path::new(&format!("link-{number:02}")), None);
            sum.merge(one);
        }
        sum
    }

    #[test]
    fn the_first_twenty_are_named_and_all_are_counted() {
        let lines = many(false).lines();
        assert_eq!(lines[0], "skipped 50: symbolic links, which are not followed");
        assert_eq!((lines[1].as_str(), lines[20].as_str()), ("  link-00", "  link-19"));
        assert_eq!(lines[21], "  and 30 more (--verbose names all)");
        assert_eq!(lines.len(), 22);
    }

    #[test]
    fn verbose_names_all() {
        assert_eq!(many(true).lines().len(), 51);
    }

    #[test]
    fn a_reason_is_told_with_the_name_and_control_characters_are_escaped() {
        let mut skipped = Skipped::new(false);
        skipped.add(SkipKind::Unreadable, Path::new("a\x1b"), Some(&io::Error::other("no")));
        assert_eq!(skipped.lines()[1], "  a\\u{1b} (no)");
    }

    #[test]
    fn json_counts_and_names_by_kind() {
        let report = Report { files: 3, new: 1, skipped: many(false), ..Report::default() };
        let json = report.json("b");
        assert_eq!(json["files"], 3);
        assert_eq!(json["skipped"]["symbolic_link"]["count"], 50);
        assert_eq!(json["skipped"]["symbolic_link"]["named"][0], "link-00");
        assert_eq!(json["skipped_count"], 50);
    }

    #[test]
    fn reports_of_workers_add_up() {
        let mut sum = Report::new(false);
        for _ in 0..3 {
            sum.merge(Report { files: 2, new: 1, changed: 1, bytes_read: 10, ..Report::new(false) });
        }
        assert_eq!((sum.files, sum.written(), sum.bytes_read), (6, 6, 30));
    }
}
