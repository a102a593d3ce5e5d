//! What a run gave: what each group got, what became of stalled readers, and everything that must not happen.

use std::collections::BTreeMap;

use super::Load;
use crate::histogram::Histogram;
use crate::machine::Load as Processors;
use crate::net::{Net, State};
use crate::report::Report;

/// What one group got.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// From due until received, each delivery.
    pub(crate) latency: Histogram,
    /// From due until the last subscriber had it.
    pub(crate) complete: Histogram,
    /// Of publish requests.
    pub(crate) api: Histogram,
    /// Between due and published: the generator's own lateness.
    pub(crate) behind: Histogram,
    /// In the measured time.
    pub(crate) deliveries: u64,
    pub(crate) publishes: u64,
    /// In the whole run: publishes that left out a subscriber, and bursts.
    pub(crate) excluding: u64,
    pub(crate) bursts: u64,
}

/// What became of stalled readers.
#[derive(Debug, Default)]
pub(crate) struct Stalled {
    pub(crate) closed: u64,
    pub(crate) open: u64,
    /// Of those still open: messages that they never got.
    pub(crate) lost: u64,
    /// The server's memory: before, and the most.
    pub(crate) memory_before_kib: u64,
    pub(crate) memory_max_kib: u64,
}

/// All of a run.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) groups: Vec<Outcome>,
    pub(crate) processors: Processors,
    pub(crate) stalled: Stalled,
    pub(crate) connect_s: f64,
    pub(super) faults: BTreeMap<String, u64>,
}

impl Results {
    /// Enters everything that must not happen.
    pub(crate) fn report_faults(&self, report: &mut Report) {
        for (what, times) in &self.faults {
            report.fault(what, *times);
        }
    }
}

impl Load {
    /// What came of it; `finished`: it came to its own end.
    pub(crate) fn results(mut self, net: &Net, finished: bool) -> Results {
        let mut lost = 0;
        for id in 0..self.places.len() {
            if !self.is_stalled(id) {
                lost += self.lost(id);
            } else if net.sockets[id].state == State::Open {
                self.stalled.open += 1;
                self.stalled.lost += self.lost(id);
            }
        }
        let mut faults = BTreeMap::from([
            ("lost".to_owned(), lost),
            ("doubled".to_owned(), self.ledger.doubled),
            ("swapped".to_owned(), self.ledger.swapped),
            ("invalid".to_owned(), self.invalid),
            ("closed".to_owned(), self.closed),
            ("unfinished".to_owned(), u64::from(!finished)),
        ]);
        if self.groups.iter().any(|group| group.excluding > 0) {
            faults.insert("sent to the socket that they exclude".to_owned(), self.ledger.unwanted);
        }
        for (status, times) in &self.refused {
            faults.insert(format!("publishes answered {status}"), *times);
        }
        for (index, outcome) in self.outcomes.iter().enumerate() {
            if outcome.deliveries == 0 {
                let channels = &self.channels[self.bases[index].channel..];
                faults.insert(format!("no delivery on {} in the measured time", channels[0]), 1);
            }
        }
        let now = net.now();
        let processors = self.window.load().unwrap_or_else(|| {
            let reading = crate::machine::Reading::take(&self.server, now);
            Processors::between(&reading, &reading)
        });
        Results {
            groups: self.outcomes,
            processors,
            stalled: self.stalled,
            connect_s: self.connect_s,
            faults,
        }
    }
}
