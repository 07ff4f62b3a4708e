//! One figure: what was measured, under which circumstances, and how it is told.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value as Json, json};

use super::data::Data;
use super::meter::Measured;
use crate::text::{bytes, grouped, rate, span};

pub(super) const HEADINGS: [&str; 9] =
    ["workload", "threads", "durability", "per second", "timed", "p50", "p99", "p99.9", "longest"];
/// The columns that are numbers.
pub(super) const NUMBERS: [usize; 6] = [1, 3, 5, 6, 7, 8];
/// The longest bar of a histogram.
const BAR_MAX: u64 = 50;

/// What was measured.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) workload: String,
    pub(super) threads: u64,
    pub(super) durability: &'static str,
    /// What was done again and again, and timed.
    pub(super) timed: &'static str,
    /// Nothing had been written since the store was settled.
    pub(super) settled: bool,
    pub(super) measured: Measured,
    pub(super) disk_peak: u64,
    /// What else there is to say.
    pub(super) remark: Option<String>,
}

impl Figure {
    fn quantile(&self, quantile: f64) -> u64 {
        self.measured.latencies.value_at_quantile(quantile)
    }

    pub(super) fn row(&self) -> Vec<String> {
        let latency = |nanos| span(Duration::from_nanos(nanos));
        let quantiles = [0.5, 0.99, 0.999].map(|quantile| latency(self.quantile(quantile)));
        let mut row = vec![
            self.workload.clone(),
            grouped(self.threads),
            self.durability.to_owned(),
            rate(self.measured.ops, self.measured.elapsed),
            self.timed.to_owned(),
        ];
        row.extend(quantiles);
        row.push(latency(self.measured.latencies.max()));
        row
    }

    pub(super) fn json(&self, data: Data) -> Json {
        json!({
            "workload": self.workload,
            "threads": self.threads,
            "value_bytes": data.value_len,
            "keys": data.keys,
            "durability": self.durability,
            "ops_per_s": self.measured.ops as f64 / self.measured.elapsed.as_secs_f64().max(1e-9),
            "p50_ns": self.quantile(0.5),
            "p99_ns": self.quantile(0.99),
            "p999_ns": self.quantile(0.999),
            "max_ns": self.measured.latencies.max(),
            "ops": self.measured.ops,
            "seconds": self.measured.elapsed.as_secs_f64(),
            "timed": self.timed,
            "timed_count": self.measured.latencies.len(),
            "key_bytes": data.key_len,
            "settled": self.settled,
            "disk_peak_bytes": self.disk_peak,
            "remark": self.remark,
        })
    }

    /// How the latencies are distributed: a line for each doubling.
    pub(super) fn histogram(&self) -> Vec<String> {
        let title =
            format!("{}, {} threads: {}, on the disk at most {}", self.workload, self.threads, self.timed, bytes(self.disk_peak));
        let mut lines = vec![title];
        lines.extend(bars(&self.measured.latencies));
        lines
    }
}

fn bars(latencies: &Histogram<u64>) -> Vec<String> {
    let mut counts: Vec<(u64, u64)> = Vec::new();
    for value in latencies.iter_recorded() {
        let bound = value.value_iterated_to().max(1).next_power_of_two();
        match counts.last_mut() {
            Some((last, count)) if *last == bound => *count += value.count_since_last_iteration(),
            _ => counts.push((bound, value.count_since_last_iteration())),
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(1);
    let total = latencies.len().max(1) as f64;
    let line = |(bound, count): &(u64, u64)| {
        // What is there has a bar, however short.
        let bar = "#".repeat((count * BAR_MAX).div_ceil(most) as usize);
        format!(
            "  up to {:>8}  {:>13}  {:>8.4} %  {bar}",
            span(Duration::from_nanos(*bound)),
            grouped(*count),
            *count as f64 * 100.0 / total
        )
    };
    counts.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_has_a_line_for_each_doubling_and_shows_the_rarest() {
        let mut measured = Measured::new().unwrap();
        for _ in 0..999 {
            measured.record(Duration::from_nanos(900));
        }
        measured.record(Duration::from_millis(3));
        let lines = bars(&measured.latencies);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("1.0 us") && lines[0].contains("99.9") && lines[0].ends_with(&"#".repeat(50)), "{lines:?}");
        assert!(lines[1].contains("4.2 ms") && lines[1].ends_with("  #"), "{lines:?}");
    }
}
