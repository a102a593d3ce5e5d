//! The measured time: warm-up before it, readings of the processors at both of its edges.

use crate::machine::{Load, Reading, Server};

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Load, not counted.
    WarmUp,
    /// Counted.
    Measured,
    /// No new load; what is on its way may arrive.
    Over,
}

/// Warm-up and measured time of one run.
#[derive(Debug)]
pub(crate) struct Window {
    server: Server,
    next: u64,
    length: u64,
    first: Option<Reading>,
    last: Option<Reading>,
}

/// Seconds as nanoseconds.
pub(crate) fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

impl Window {
    /// Begins with the warm-up.
    pub(crate) fn new(server: &Server, now: u64, warmup: f64, seconds: f64) -> Window {
        Window {
            server: server.clone(),
            next: now + nanoseconds(warmup),
            length: nanoseconds(seconds),
            first: None,
            last: None,
        }
    }

    /// Where the run stands; takes the readings when an edge is passed.
    pub(crate) fn stage(&mut self, now: u64, clock: impl Fn() -> u64) -> Stage {
        if self.first.is_none() && now >= self.next {
            let reading = Reading::take(&self.server, clock());
            self.next = reading.at + self.length;
            self.first = Some(reading);
        }
        if self.first.is_some() && self.last.is_none() && now >= self.next {
            self.last = Some(Reading::take(&self.server, clock()));
        }
        match (self.first, self.last) {
            (None, _) => Stage::WarmUp,
            (_, None) => Stage::Measured,
            _ => Stage::Over,
        }
    }

    /// When the next edge comes.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Is this moment within the measured time (as far as it has come)?
    #[inline]
    pub(crate) fn holds(&self, at: u64) -> bool {
        self.first.is_some_and(|first| at >= first.at) && self.last.is_none_or(|last| at < last.at)
    }

    /// What the processors did; `None` before the end.
    pub(crate) fn load(&self) -> Option<Load> {
        Some(Load::between(&self.first?, &self.last?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measured_time_begins_behind_the_warm_up_and_ends_by_itself() {
        let server = Server::default();
        let mut window = Window::new(&server, 0, 1.0, 2.0);
        assert_eq!(window.stage(999_999_999, || 0), Stage::WarmUp);
        assert!(!window.holds(500));
        assert_eq!(window.stage(1_000_000_000, || 1_000_000_500), Stage::Measured);
        assert!(!window.holds(1_000_000_499) && window.holds(1_000_000_500));
        assert_eq!(window.next(), 3_000_000_500);
        assert!(window.load().is_none());
        assert_eq!(window.stage(3_000_000_500, || 3_000_000_500), Stage::Over);
        assert!((window.load().unwrap().seconds - 2.0).abs() < 1e-9);
        assert!(!window.holds(3_000_000_500));
    }
}
