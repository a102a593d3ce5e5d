//! Results: for people as a table, for programs as one JSON object on a line.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::histogram::Histogram;
use crate::machine::{Load, Machine, Server};
use crate::net::Trouble;

/// Noise above which a run should be repeated, in cores.
const NOISE_CORES_MAX: f64 = 0.15;
/// Seconds from which on the noise of a run can be told.
const NOISE_SECONDS_MIN: f64 = 0.5;

/// One number.
#[derive(Clone, Debug)]
struct Result {
    key: String,
    value: f64,
}

/// What one run gave.
#[derive(Debug)]
pub(crate) struct Report {
    scenario: &'static str,
    parameters: Value,
    results: Vec<Result>,
    faults: BTreeMap<String, u64>,
    notes: Vec<String>,
    lists: Map<String, Value>,
}

/// To a thousandth.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// Digits in groups of three; fewer decimals the larger the number.
pub(crate) fn grouped(value: f64) -> String {
    let text = match value.abs() {
        v if v >= 100.0 || v.fract() == 0.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{:.3}", value),
    };
    let (whole, part) = text.split_once('.').map_or((&*text, None), |(w, p)| (w, Some(p)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut out = String::from(sign);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(part) = part {
        let _ = write!(out, ".{part}");
    }
    out
}

/// A key such as `latency_p99_us` as words and unit.
pub(crate) fn words(key: &str) -> (String, &'static str) {
    for (ending, unit) in [
        ("_us_per_delivery", "µs per delivery"),
        ("_us_per_request", "µs per request"),
        ("_us_per_event", "µs per event"),
        ("_us_per_cycle", "µs per cycle"),
        ("_us_per_join", "µs per join"),
        ("_bytes_per_connection", "bytes per connection"),
        ("_per_s", "/s"),
        ("_us", "µs"),
        ("_s", "s"),
        ("_cores", "cores"),
        ("_mib", "MiB"),
        ("_ratio", "×"),
    ] {
        if let Some(stem) = key.strip_suffix(ending) {
            return (stem.replace('_', " "), unit);
        }
    }
    (key.replace('_', " "), "")
}

impl Report {
    pub(crate) fn new(scenario: &'static str, parameters: Value) -> Report {
        Report {
            scenario,
            parameters,
            results: Vec::new(),
            faults: BTreeMap::new(),
            notes: Vec::new(),
            lists: Map::new(),
        }
    }

    /// Adds a result; its key ends in its unit.
    pub(crate) fn add(&mut self, key: impl Into<String>, value: f64) {
        self.results.push(Result { key: key.into(), value: rounded(value) });
    }

    /// A result of before.
    pub(crate) fn get(&self, key: &str) -> Option<f64> {
        self.results.iter().find(|result| result.key == key).map(|result| result.value)
    }

    /// Adds median, 90, 99 and 99.9 of 100, and the largest of latencies in nanoseconds.
    pub(crate) fn add_latency(&mut self, name: &str, latency: &Histogram) {
        if latency.count() == 0 {
            return;
        }
        for (part, label) in [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p999")] {
            self.add(format!("{name}_{label}_us"), latency.quantile(part) as f64 / 1e3);
        }
        self.add(format!("{name}_max_us"), latency.max() as f64 / 1e3);
    }

    /// Adds what the processors did; `units` of work such as ("delivery", 1000).
    pub(crate) fn add_load(&mut self, load: &Load, server: &Server, unit: &str, units: u64) {
        if server.known() {
            if let Some(each) = load.server_us_per(units) {
                self.add(format!("server_cpu_us_per_{unit}"), each);
            }
            self.add("server_cores", load.server_cores);
            self.add("server_memory_mib", server.resident_kib() as f64 / 1_024.0);
            // The machine counts in hundredths of a second, so a short time says nothing about others.
            if load.seconds >= NOISE_SECONDS_MIN {
                self.add("noise_cores", load.noise_cores);
            }
            if load.seconds >= NOISE_SECONDS_MIN && load.noise_cores > NOISE_CORES_MAX {
                let noise = load.noise_cores;
                self.note(format!(
                    "noisy: other programs used {noise:.2} cores meanwhile; repeat on a quiet machine"
                ));
            }
            if let Some(pid) = server.gone() {
                self.fault("server processes that ended", 1);
                self.note(format!("process {pid} is gone"));
            }
        }
        self.add("generator_cores", load.own_cores);
        self.add("softirq_cores", load.softirq_cores);
        self.add("stolen_cores", load.stolen_cores);
        self.add("measured_s", load.seconds);
    }

    /// Counts something that must not happen: any makes the run fail.
    pub(crate) fn fault(&mut self, what: impl Into<String>, times: u64) {
        *self.faults.entry(what.into()).or_default() += times;
    }

    /// Takes over what went wrong on the way. Closed sockets are the scenario's to judge.
    pub(crate) fn add_trouble(&mut self, trouble: &Trouble) {
        for (what, times) in &trouble.errors {
            self.fault(what, *times);
        }
        if trouble.reconnects > 0 {
            self.add("http_reconnects", trouble.reconnects as f64);
        }
    }

    /// A sentence for people.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Adds what only programs want, such as a time line: a key of its own in the JSON, beside `results`.
    pub(crate) fn add_list(&mut self, key: impl Into<String>, value: Value) {
        self.lists.insert(key.into(), value);
    }

    /// Nothing happened that must not.
    pub(crate) fn is_good(&self) -> bool {
        self.faults.values().all(|times| *times == 0)
    }

    /// For programs.
    pub(crate) fn json(&self, label: &str, commit: Option<&str>) -> Value {
        let results: Map<String, Value> =
            self.results.iter().map(|result| (result.key.clone(), json!(result.value))).collect();
        let mut whole = json!({
            "tool": concat!("fanfare bench ", env!("CARGO_PKG_VERSION")),
            "scenario": self.scenario,
            "label": label,
            "commit": commit,
            "ok": self.is_good(),
            "parameters": self.parameters,
            "results": results,
            "faults": self.faults,
            "notes": self.notes,
            "machine": Machine::here(),
        });
        if let Some(whole) = whole.as_object_mut() {
            whole.extend(self.lists.clone());
        }
        whole
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut out = format!("{}\n", self.scenario);
        for Result { key, value } in &self.results {
            let (words, unit) = words(key);
            let _ = writeln!(out, "  {words:<34} {:>14} {unit}", grouped(*value));
        }
        for (what, times) in self.faults.iter().filter(|(_, times)| **times > 0) {
            let _ = writeln!(out, "  WRONG: {what}: {times}");
        }
        for note in &self.notes {
            let _ = writeln!(out, "  {note}");
        }
        if self.is_good() {
            out.push_str("  everything arrived as it was sent\n");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_keys_become_words() {
        for (value, text) in [
            (0.0, "0"),
            (7.0, "7"),
            (1.25, "1.250"),
            (12.34, "12.3"),
            (999.6, "1,000"),
            (1_234_567.0, "1,234,567"),
            (-1234.0, "-1,234"),
        ] {
            assert_eq!(grouped(value), text);
        }
        assert_eq!(words("latency_p99_us"), ("latency p99".into(), "µs"));
        assert_eq!(words("server_cpu_us_per_delivery"), ("server cpu".into(), "µs per delivery"));
    }

    #[test]
    fn a_fault_makes_the_run_bad_and_both_forms_say_so() {
        let mut report = Report::new("fanout", json!({ "n": 1 }));
        report.add("deliveries_per_s", 10.0);
        report.fault("lost", 0);
        assert!(report.is_good() && report.json("", None)["ok"] == true);
        report.fault("lost", 3);
        let json = report.json("mine", Some("abc"));
        assert!(!report.is_good());
        assert_eq!(
            (&json["ok"], &json["faults"]["lost"], &json["label"]),
            (&json!(false), &json!(3), &json!("mine"))
        );
        assert!(json["machine"]["cores"].as_u64() >= Some(1));
        assert!(report.table().contains("WRONG: lost: 3"));
    }
}
