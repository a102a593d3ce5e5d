//! Ends wait a little: whoever reloads a page is back within seconds, and then nothing happened, neither the end nor the new
//! beginning. Source: webhooks page ("delayed by up to three seconds"). Time is given by the caller.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::webhook::Event;

use super::backlog::Recorded;

/// How long `channel_vacated` and `member_removed` wait.
pub(crate) const GRACE: Duration = Duration::from_secs(3);

/// An app, a channel, and a user of it or none.
type Key = (u64, Arc<str>, Option<Arc<str>>);

/// Ends that wait. Each stands for something that was counted in the backlog, which bounds them.
#[derive(Debug, Default)]
pub(crate) struct Grace {
    next: u64,
    by_key: HashMap<Key, u64>,
    /// In the order in which they fall due, since all wait equally long.
    waiting: BTreeMap<u64, (Instant, Recorded)>,
}

fn key(app_id: u64, event: &Event) -> Option<(Key, bool)> {
    match event {
        Event::ChannelOccupied { channel } => Some(((app_id, channel.clone(), None), true)),
        Event::ChannelVacated { channel } => Some(((app_id, channel.clone(), None), false)),
        Event::MemberAdded { channel, user_id } => {
            Some(((app_id, channel.clone(), Some(user_id.clone())), true))
        }
        Event::MemberRemoved { channel, user_id } => {
            Some(((app_id, channel.clone(), Some(user_id.clone())), false))
        }
        Event::ClientEvent { .. } | Event::CacheMiss { .. } | Event::SubscriptionCount { .. } => None,
    }
}

impl Grace {
    /// Takes a happening; gives it back if it is to be told now.
    pub(crate) fn take(&mut self, recorded: Recorded, now: Instant) -> Option<Recorded> {
        if recorded.waited {
            return Some(recorded);
        }
        let Some((key, begins)) = key(recorded.app.id(), &recorded.event) else { return Some(recorded) };
        let waiting = self.by_key.remove(&key).and_then(|seq| self.waiting.remove(&seq));
        if begins {
            return if waiting.is_some() { None } else { Some(recorded) };
        }
        self.next += 1;
        self.by_key.insert(key, self.next);
        self.waiting.insert(self.next, (now + GRACE, recorded));
        None
    }

    /// When the next one is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|(_, (due, _))| *due)
    }

    /// Ends that are due, in the order in which they happened.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Recorded> {
        let mut all = Vec::new();
        while self.next_due().is_some_and(|due| due <= now) {
            let Some((_, (_, recorded))) = self.waiting.pop_first() else { break };
            if let Some((key, _)) = key(recorded.app.id(), &recorded.event) {
                self.by_key.remove(&key);
            }
            all.push(recorded);
        }
        all
    }

    /// All that still wait, in their order.
    pub(crate) fn drain(&mut self) -> Vec<Recorded> {
        self.by_key.clear();
        std::mem::take(&mut self.waiting).into_values().map(|(_, recorded)| recorded).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::webhooks::backlog::tests::{app, recorded};

    fn vacated(name: &str) -> Event {
        Event::ChannelVacated { channel: name.into() }
    }

    fn occupied(name: &str) -> Event {
        Event::ChannelOccupied { channel: name.into() }
    }

    fn names(events: impl IntoIterator<Item = Recorded>) -> Vec<String> {
        events.into_iter().map(|one| format!("{} {}", one.event.name(), one.event.channel())).collect()
    }

    #[test]
    fn an_end_waits_three_seconds_and_a_return_within_them_makes_nothing_happen() {
        let (mut grace, app, start) = (Grace::default(), app(1001), Instant::now());
        assert!(grace.take(recorded(&app, occupied("a")), start).is_some());
        assert!(grace.take(recorded(&app, vacated("a")), start).is_none());
        assert!(grace.due(start + GRACE - Duration::from_millis(1)).is_empty());
        assert!(
            grace.take(recorded(&app, occupied("a")), start + GRACE - Duration::from_millis(1)).is_none()
        );
        assert!(grace.due(start + GRACE * 2).is_empty() && grace.next_due().is_none());

        assert!(grace.take(recorded(&app, vacated("a")), start).is_none());
        assert_eq!(names(grace.due(start + GRACE)), ["channel_vacated a"]);
        assert!(
            grace.take(recorded(&app, occupied("a")), start + GRACE).is_some(),
            "this one is a real return"
        );
    }

    #[test]
    fn channels_users_and_apps_are_told_apart() {
        let (mut grace, one, two, now) = (Grace::default(), app(1001), app(1002), Instant::now());
        let removed = |user: &str| Event::MemberRemoved { channel: "a".into(), user_id: user.into() };
        let added = |user: &str| Event::MemberAdded { channel: "a".into(), user_id: user.into() };
        assert!(grace.take(recorded(&one, removed("u")), now).is_none());
        assert!(grace.take(recorded(&one, vacated("a")), now).is_none());
        assert!(grace.take(recorded(&one, added("v")), now).is_some());
        assert!(grace.take(recorded(&two, added("u")), now).is_some());
        assert!(grace.take(recorded(&two, occupied("a")), now).is_some());
        assert!(grace.take(recorded(&one, occupied("b")), now).is_some());
        let miss = Event::CacheMiss { channel: "a".into() };
        assert!(grace.take(recorded(&one, miss), now).is_some(), "others don't wait");
        assert_eq!(
            names(grace.due(now + GRACE)),
            ["member_removed a", "channel_vacated a"],
            "in their order"
        );
    }

    #[test]
    fn what_waits_at_the_end_comes_out_in_its_order() {
        let (mut grace, app, now) = (Grace::default(), app(1001), Instant::now());
        for name in ["c", "a", "b"] {
            assert!(grace.take(recorded(&app, vacated(name)), now).is_none());
        }
        assert_eq!(names(grace.drain()), ["channel_vacated c", "channel_vacated a", "channel_vacated b"]);
        assert!(grace.next_due().is_none());
    }

    proptest! {
        /// Whatever a channel does, what is told alternates between beginning and end, and ends as the channel did.
        #[test]
        fn what_is_told_alternates_and_ends_with_the_truth(steps in proptest::collection::vec(0u64..5_000, 1..40)) {
            let (mut grace, app, start) = (Grace::default(), app(1001), Instant::now());
            let (mut now, mut told) = (start, Vec::new());
            for (n, step) in steps.iter().enumerate() {
                now += Duration::from_millis(*step);
                told.extend(grace.due(now));
                let event = if n % 2 == 0 { occupied("a") } else { vacated("a") };
                told.extend(grace.take(recorded(&app, event), now));
            }
            told.extend(grace.due(now + GRACE));
            for (n, one) in told.iter().enumerate() {
                prop_assert_eq!(one.event.name(), if n % 2 == 0 { "channel_occupied" } else { "channel_vacated" });
            }
            prop_assert_eq!(told.len() % 2, steps.len() % 2);
        }
    }
}
