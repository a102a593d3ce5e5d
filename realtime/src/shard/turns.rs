//! Whose frames go out next: apps take turns, and within an app its channels do.
//!
//! An app's turn is a bound of work ([`COST_PER_TURN`]), whether it has one busy channel or thousands. So an app with one
//! waiting frame stands behind one turn of each other busy app, not behind all of their channels.

use std::collections::{HashMap, VecDeque};

use crate::hub::ChannelId;

/// Work of one app before the next one's turn. A write costs one, and one more for each [`COST_BYTES`] of it.
pub(super) const COST_PER_TURN: usize = 32;
/// Bytes that cost as much as a write itself.
const COST_BYTES: usize = 16 * 1_024;

/// What a write of so many bytes costs.
pub(super) fn cost_of(bytes: usize) -> usize {
    1 + bytes / COST_BYTES
}

/// See the module. A channel stands here at most once; its `queued` says whether it does.
#[derive(Debug, Default)]
pub(super) struct Turns {
    apps: VecDeque<u64>,
    channels: HashMap<u64, VecDeque<ChannelId>>,
}

impl Turns {
    pub(super) fn is_empty(&self) -> bool {
        self.apps.is_empty()
    }

    /// A channel has frames to send.
    pub(super) fn push(&mut self, app: u64, channel: ChannelId) {
        let channels = self.channels.entry(app).or_default();
        if channels.is_empty() {
            self.apps.push_back(app);
        }
        channels.push_back(channel);
    }

    /// The app whose turn it is.
    pub(super) fn app(&self) -> Option<u64> {
        self.apps.front().copied()
    }

    /// The next channel of the app whose turn it is, taken out.
    pub(super) fn channel(&mut self) -> Option<ChannelId> {
        self.channels.get_mut(self.apps.front()?)?.pop_front()
    }

    /// A channel of the app whose turn it is has more to send.
    pub(super) fn again(&mut self, channel: ChannelId) {
        if let Some(channels) = self.apps.front().and_then(|app| self.channels.get_mut(app)) {
            channels.push_back(channel);
        }
    }

    /// The turn is over: the app goes to the end of the line, or away if it has nothing more.
    pub(super) fn pass(&mut self) {
        let Some(app) = self.apps.pop_front() else { return };
        if self.channels.get(&app).is_some_and(|channels| !channels.is_empty()) {
            self.apps.push_back(app);
        } else {
            self.channels.remove(&app);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_with_one_channel_waits_for_one_turn_of_a_busy_one() {
        let mut turns = Turns::default();
        (0..1_000).for_each(|n| turns.push(1, ChannelId(n)));
        turns.push(2, ChannelId(5_000));
        assert_eq!((turns.app(), turns.channel()), (Some(1), Some(ChannelId(0))));
        turns.again(ChannelId(0));
        turns.pass();
        assert_eq!((turns.app(), turns.channel()), (Some(2), Some(ChannelId(5_000))));
        turns.pass();
        let rest: Vec<u64> = std::iter::from_fn(|| turns.channel()).map(|c| c.0).collect();
        assert_eq!((rest.len(), rest[0], rest[999]), (1_000, 1, 0), "its channels took turns as well");
        turns.pass();
        assert!(turns.is_empty() && turns.channels.is_empty(), "nothing is kept of an app that is through");
    }

    #[test]
    fn a_large_write_costs_more_than_a_small_one() {
        assert_eq!([64, 16 * 1_024, 256 * 1_024].map(cost_of), [1, 2, 17]);
    }
}
