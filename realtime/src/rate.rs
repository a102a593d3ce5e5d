//! Calls a second that an app may make to the HTTP API of this node. One atomic for each kind holds the second and what was
//! taken in it, so that counting needs no lock; a refusal takes nothing. Seconds run from when the node met the app.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crate::app::App;

/// What is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// An event, however many channels it goes to; those of a batch are taken all together or not at all.
    Publish,
    /// A call that publishes nothing.
    Read,
}

/// More in a second than the plan allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{taken} and {asked} more of {limit} calls a second")]
pub struct OverRate {
    /// What is counted.
    pub call: Call,
    /// Taken in this second.
    pub taken: u32,
    /// What the refused call wanted beside them.
    pub asked: u32,
    /// The plan's limit.
    pub limit: u32,
}

/// The running second of each kind of call.
#[derive(Debug)]
pub(crate) struct Rates {
    since: Instant,
    publishes: Window,
    reads: Window,
}

impl Rates {
    pub(crate) fn new() -> Rates {
        Rates { since: Instant::now(), publishes: Window::default(), reads: Window::default() }
    }
}

/// The second in the upper half, what was taken in it in the lower.
#[derive(Debug, Default)]
struct Window(AtomicU64);

impl Window {
    /// Takes `n`, or says what was taken already.
    fn take(&self, now: u32, n: u32, limit: u32) -> Result<(), u32> {
        let taken = |held: u64, second: u32| if (held >> 32) as u32 == second { held as u32 } else { 0 };
        // Another thread may have begun the next second already: its count goes on and does not start again.
        let second = |held: u64| now.max((held >> 32) as u32);
        let step = self.0.fetch_update(Relaxed, Relaxed, |held| {
            let second = second(held);
            let sum = taken(held, second).checked_add(n).filter(|&sum| sum <= limit)?;
            Some(u64::from(second) << 32 | u64::from(sum))
        });
        step.map(drop).map_err(|held| taken(held, second(held)))
    }
}

impl App {
    /// Takes `n` calls out of the running second. Errors: `OverRate`, the call must not be made; try again a second later.
    pub fn take_calls(&self, call: Call, n: u32) -> Result<(), OverRate> {
        let snapshot = self.loaded();
        let (limit, window) = match call {
            Call::Publish => (snapshot.limits.publishes_per_second_max, &self.rates.publishes),
            Call::Read => (snapshot.limits.reads_per_second_max, &self.rates.reads),
        };
        let Some(limit) = limit else { return Ok(()) };
        let now = self.rates.since.elapsed().as_secs() as u32;
        window.take(now, n, limit).map_err(|taken| OverRate { call, taken, asked: n, limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{AppSnapshot, Limits};
    use crate::testing::node_with;

    #[test]
    fn a_batch_is_taken_whole_or_not_at_all_and_a_refusal_takes_nothing() {
        let window = Window::default();
        assert_eq!(window.take(7, 8, 10), Ok(()));
        assert_eq!(window.take(7, 3, 10), Err(8));
        assert_eq!(window.take(7, 2, 10), Ok(()));
        assert_eq!(window.take(7, 1, 10), Err(10));
        assert_eq!(window.take(8, 10, 10), Ok(()), "the next second");
        assert_eq!(window.take(9, 11, 10), Err(0));
        assert_eq!(window.take(9, u32::MAX, u32::MAX - 1), Err(0));
    }

    #[test]
    fn who_is_late_over_the_turn_of_a_second_does_not_start_it_again() {
        let window = Window::default();
        assert_eq!(window.take(8, 10, 10), Ok(()));
        assert_eq!(window.take(7, 1, 10), Err(10));
    }

    #[test]
    fn threads_together_take_exactly_the_limit() {
        let window = Window::default();
        let taken: usize = std::thread::scope(|scope| {
            let each = || scope.spawn(|| (0..1_000).filter(|_| window.take(1, 1, 2_500).is_ok()).count());
            [each(), each(), each(), each()].map(|thread| thread.join().unwrap()).iter().sum()
        });
        assert_eq!(taken, 2_500);
    }

    #[tokio::test]
    async fn publishes_and_reads_have_limits_of_their_own_and_none_is_no_limit() {
        let snapshot = crate::app::tests::snapshot();
        let limits = Limits { publishes_per_second_max: Some(0), ..snapshot.limits.clone() };
        let (_node, app) = node_with(AppSnapshot { limits, ..snapshot }).await;
        assert_eq!(
            app.take_calls(Call::Publish, 1),
            Err(OverRate { call: Call::Publish, taken: 0, asked: 1, limit: 0 })
        );
        assert_eq!(app.take_calls(Call::Read, u32::MAX), Ok(()));
        assert_eq!(app.take_calls(Call::Read, u32::MAX), Ok(()));
    }
}
