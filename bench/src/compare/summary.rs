//! Medians, ratios and spreads of two servers' rounds.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::report::{grouped, words};

/// A result of both.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    key: String,
    sides: [Side; 2],
}

/// Of one server's rounds.
#[derive(Debug, PartialEq)]
struct Side {
    median: f64,
    /// From the least to the most, as a part of the median.
    spread: f64,
}

impl Side {
    fn of(mut values: Vec<f64>) -> Option<Side> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Side { median, spread: if median == 0.0 { 0.0 } else { (most - least) / median.abs() } })
    }
}

impl Row {
    /// B against A; `None` if A is nothing.
    fn ratio(&self) -> Option<f64> {
        let [a, b] = &self.sides;
        (a.median != 0.0).then(|| b.median / a.median)
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let [a, b] = &self.sides;
        json!({
            "key": self.key,
            "a": { "median": a.median, "spread": a.spread },
            "b": { "median": b.median, "spread": b.spread },
            "ratio": self.ratio(),
        })
    }
}

/// Every result that both have.
pub(super) fn rows(results: &[Vec<Value>; 2]) -> Vec<Row> {
    let keys: BTreeSet<&String> = results[0]
        .iter()
        .filter_map(|result| result["results"].as_object())
        .flat_map(|all| all.keys())
        .collect();
    let side = |results: &[Value], key: &str| {
        Side::of(results.iter().filter_map(|result| result["results"][key].as_f64()).collect())
    };
    keys.into_iter()
        .filter_map(|key| {
            Some(Row { key: key.clone(), sides: [side(&results[0], key)?, side(&results[1], key)?] })
        })
        .collect()
}

/// No round had a fault.
pub(super) fn all_right(results: &[Vec<Value>; 2]) -> bool {
    results.iter().flatten().all(|result| result["ok"] == true)
}

/// For people.
pub(super) fn table(scenario: &str, names: &[String], rounds: usize, rows: &[Row]) -> String {
    let mut out = format!("{scenario}, {rounds} rounds in turns; medians, in brackets from least to most\n");
    let ratio = format!("{}/{}", names[1], names[0]);
    let _ = writeln!(out, "  {:<42} {:>22} {:>22} {ratio:>9}", "", names[0], names[1]);
    for row in rows {
        let (words, unit) = words(&row.key);
        let cell = |side: &Side| format!("{} ({:.0} %)", grouped(side.median), side.spread * 100.0);
        let ratio = row.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let [a, b] = &row.sides;
        let label = format!("{words} {unit}");
        let _ = writeln!(out, "  {:<42} {:>22} {:>22} {ratio:>9}", label.trim(), cell(a), cell(b));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(value: f64, ok: bool) -> Value {
        json!({ "ok": ok, "results": { "deliveries_per_s": value, "only_here": 1.0 } })
    }

    #[test]
    fn medians_ratio_and_spread() {
        let results = [
            vec![run(100.0, true), run(120.0, true), run(90.0, true)],
            vec![run(40.0, true), json!({ "ok": true, "results": { "deliveries_per_s": 60.0 } })],
        ];
        let rows = rows(&results);
        let row = rows.iter().find(|row| row.key == "deliveries_per_s").unwrap();
        assert_eq!((row.sides[0].median, row.sides[1].median, row.ratio()), (100.0, 50.0, Some(0.5)));
        assert!((row.sides[0].spread - 0.3).abs() < 1e-9);
        assert!(all_right(&results));
        let text = table("fanout", &["old".into(), "new".into()], 3, &rows);
        assert!(text.contains("new/old") && text.contains("100 (30 %)") && text.contains("0.50"), "{text}");
        assert!(!all_right(&[vec![run(1.0, true)], vec![run(1.0, false)]]));
    }
}
