//! The server's memory and descriptors over time, and whether they stayed flat.

use serde_json::{Value, json};

use crate::machine::Server;
use crate::window::nanoseconds;

/// Samples with which growth can be told: one in each fifth.
const SAMPLES_MIN: usize = 5;

#[derive(Clone, Copy, Debug)]
struct Sample {
    seconds: f64,
    memory_mib: f64,
    descriptors: f64,
}

/// A time line of the server's processes.
#[derive(Debug)]
pub(super) struct Samples {
    server: Server,
    every_ns: u64,
    next: u64,
    begun: Option<u64>,
    taken: Vec<Sample>,
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Median of the last fifth minus median of the second: the first holds what a server fetches once.
fn growth(values: &[f64]) -> Option<f64> {
    let fifth = values.len() / 5;
    if values.len() < SAMPLES_MIN {
        return None;
    }
    let last = median(values[values.len() - fifth..].to_vec())?;
    Some(last - median(values[fifth..2 * fifth].to_vec())?)
}

impl Samples {
    /// One sample every so many seconds; none without processes.
    pub(super) fn new(server: &Server, every: f64) -> Samples {
        let next = if server.known() { 0 } else { u64::MAX };
        Samples { server: server.clone(), every_ns: nanoseconds(every), next, begun: None, taken: Vec::new() }
    }

    /// Takes one if it is time; gives when the next one is.
    pub(super) fn turn(&mut self, now: u64) -> u64 {
        if now >= self.next {
            let begun = *self.begun.get_or_insert(now);
            self.next = now + self.every_ns;
            self.taken.push(Sample {
                seconds: (now - begun) as f64 / 1e9,
                memory_mib: self.server.resident_kib() as f64 / 1_024.0,
                descriptors: self.server.descriptors().unwrap_or(0) as f64,
            });
        }
        self.next
    }

    /// Growth of memory in MiB and of descriptors; `None` without enough samples.
    pub(super) fn growth(&self) -> Option<(f64, f64)> {
        let of = |value: fn(&Sample) -> f64| growth(&self.taken.iter().map(value).collect::<Vec<_>>());
        Some((of(|sample| sample.memory_mib)?, of(|sample| sample.descriptors)?))
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let rounded = |value: f64| (value * 1_000.0).round() / 1_000.0;
        let lines = self.taken.iter().map(|sample| {
            json!({
                "at_s": rounded(sample.seconds),
                "memory_mib": rounded(sample.memory_mib),
                "descriptors": sample.descriptors as u64,
            })
        });
        lines.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_told_from_what_starts_up_and_from_spikes() {
        let starts_up = [1.0, 9.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0];
        assert_eq!(growth(&starts_up), Some(0.0));
        let leaks: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!(growth(&leaks), Some(60.0));
        let mut spikes = vec![5.0; 50];
        (spikes[11], spikes[48]) = (90.0, 700.0);
        assert_eq!(growth(&spikes), Some(0.0));
        assert_eq!(growth(&[1.0; 4]), None);
    }
}
