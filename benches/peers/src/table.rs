//! Records of runs, as JSON lines and as a table of medians.

use serde_json::{Value as Json, json};

use crate::engine::Result;
use crate::{watch, work};

/// One figure of one store in one round.
#[derive(Clone, Debug)]
pub struct Record {
    pub round: u64,
    pub engine: String,
    pub version: String,
    pub workload: String,
    pub threads: u64,
    pub keys: u64,
    pub value_bytes: u64,
    pub durability: String,
    pub settled: bool,
    pub figure: f64,
    pub checksum: u64,
}

/// What a figure counts.
fn unit(workload: &str) -> &'static str {
    match workload {
        "disk" => "bytes",
        "reopen" | "settle" | "close" => "ms",
        "latency, p50" | "latency, p99" => "us",
        "puts done, 1 never reads" => "puts",
        _ => "ops_per_s",
    }
}

impl Record {
    pub fn json(&self) -> Json {
        json!({
            "round": self.round,
            "engine": self.engine,
            "version": self.version,
            "workload": self.workload,
            "threads": self.threads,
            "keys": self.keys,
            "key_bytes": 25,
            "value_bytes": self.value_bytes,
            "durability": self.durability,
            "settled": self.settled,
            unit(&self.workload): self.figure,
            "checksum": self.checksum,
        })
    }

    pub fn parse(line: &str) -> Result<Self> {
        let json: Json = serde_json::from_str(line)?;
        let text = |field: &str| json[field].as_str().map(str::to_owned).ok_or(format!("no {field} in {line}"));
        let number = |field: &str| json[field].as_u64().ok_or(format!("no {field} in {line}"));
        let workload = text("workload")?;
        Ok(Self {
            round: number("round")?,
            engine: text("engine")?,
            version: text("version")?,
            threads: number("threads")?,
            keys: number("keys")?,
            value_bytes: number("value_bytes")?,
            durability: text("durability")?,
            settled: json["settled"] == true,
            figure: json[unit(&workload)].as_f64().ok_or(format!("no figure in {line}"))?,
            checksum: number("checksum")?,
            workload,
        })
    }
}

/// Records that disagree about what was read.
pub fn disagreements(records: &[Record]) -> Vec<String> {
    let mut out = Vec::new();
    for (at, record) in records.iter().enumerate() {
        let same = |other: &&Record| {
            (&other.workload, other.threads, other.keys, other.value_bytes)
                == (&record.workload, record.threads, record.keys, record.value_bytes)
        };
        if let Some(other) = records[..at].iter().find(same).filter(|other| other.checksum != record.checksum) {
            let (workload, ours, theirs) = (&record.workload, record.checksum, other.checksum);
            out.push(format!("{workload}: {} read {ours:x}, {} read {theirs:x}", record.engine, other.engine));
        }
    }
    out
}

/// The medians over rounds, and how many times better the first store is than each other.
pub fn table(records: &[Record]) -> String {
    let mut engines: Vec<&str> = Vec::new();
    for record in records {
        if !engines.contains(&record.engine.as_str()) {
            engines.push(&record.engine);
        }
    }
    engines.sort_by_key(|engine| (*engine != "annals", engine.to_lowercase()));
    let mut rows = vec![vec!["workload".to_owned(), "threads".to_owned(), "durability".to_owned(), "unit".to_owned()]];
    rows[0].extend(engines.iter().map(|engine| (*engine).to_owned()));
    rows[0].extend(engines.iter().skip(1).map(|engine| format!("x {engine}")));
    for &(workload, threads) in work::ROWS.iter().chain(&watch::ROWS) {
        let of = |engine: &str| -> Vec<&Record> {
            let wanted = |record: &&Record| record.engine == engine && record.workload == workload && record.threads == threads;
            records.iter().filter(wanted).collect()
        };
        let Some(first) = engines.iter().find_map(|engine| of(engine).first().copied()) else { continue };
        let medians: Vec<Option<f64>> =
            engines.iter().map(|engine| median(of(engine).iter().map(|record| record.figure))).collect();
        let (scale, shown) = match unit(workload) {
            "bytes" => (1e6, "MB"),
            "ops_per_s" => (1e3, "k/s"),
            unit => (1.0, unit),
        };
        let mut row = vec![workload.to_owned(), threads.to_string(), first.durability.clone(), shown.to_owned()];
        row.extend(medians.iter().map(|median| median.map_or_else(String::new, |median| figure(median / scale))));
        let ours = medians.first().copied().flatten();
        row.extend(medians.iter().skip(1).map(|theirs| match (ours, theirs) {
            (Some(ours), Some(theirs)) if matches!(unit(workload), "ops_per_s" | "puts") => format!("{:.2}", ours / theirs),
            (Some(ours), Some(theirs)) => format!("{:.2}", theirs / ours),
            _ => String::new(),
        }));
        rows.push(row);
    }
    aligned(&rows)
}

fn figure(number: f64) -> String {
    if number < 10.0 {
        format!("{number:.2}")
    } else if number < 100.0 {
        format!("{number:.1}")
    } else {
        format!("{number:.0}")
    }
}

fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => None,
        len if len % 2 == 1 => Some(figures[middle]),
        _ => Some((figures[middle - 1] + figures[middle]) / 2.0),
    }
}

fn aligned(rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> =
        (0..rows[0].len()).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or_default()).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(at, (cell, width))| if at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") });
        cells.collect::<Vec<_>>().join("  ")
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(engine: &str, round: u64, figure: f64) -> Record {
        Record {
            round,
            engine: engine.to_owned(),
            version: "1".to_owned(),
            workload: "scan".to_owned(),
            threads: 1,
            keys: 10,
            value_bytes: 100,
            durability: "os".to_owned(),
            settled: true,
            figure,
            checksum: 7,
        }
    }

    #[test]
    fn a_record_comes_back_from_its_line() {
        let record = record("annals", 1, 2.5);
        let back = Record::parse(&record.json().to_string()).unwrap();
        assert_eq!(back.json(), record.json());
    }

    #[test]
    fn medians_and_ratios_stand_in_the_row_of_their_workload() {
        let records = [record("other", 0, 1e3), record("annals", 0, 9e3), record("annals", 1, 4e3), record("annals", 2, 1e3)];
        let table = table(&records);
        let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row, ["scan", "1", "os", "k/s", "4.00", "1.00", "4.00"]);
    }

    #[test]
    fn stores_that_read_something_else_are_named() {
        let records = [record("annals", 0, 1.0), Record { checksum: 8, ..record("other", 0, 1.0) }];
        assert_eq!(disagreements(&records).len(), 1);
    }
}
