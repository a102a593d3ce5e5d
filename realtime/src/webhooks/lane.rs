//! One endpoint's deliveries and when each may go: the rules of retry and order, without I/O. Times are wall milliseconds,
//! since they are kept in storage.
//!
//! Order: the events of a channel go out in the order in which they happened, as long as they go out. A delivery waits for an
//! earlier one that shares a channel and is under way. One that failed holds its channels for [`HOLD_MS`] only: an endpoint
//! that was briefly away sees the right order, and a delivery that an endpoint refuses for good does not keep the later ones
//! from arriving within their five minutes. After that, retries arrive out of order, as Pusher's do.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;

use super::store::Claimed;

/// Attempts end this long after the time in the body: receivers refuse older ones (the Python SDK after 300 s).
pub(crate) const RETRY_FOR_MS: i64 = 300_000;
/// One attempt, from resolving the name to the end of the answer. Source: support article, "within 4 seconds".
pub(crate) const ATTEMPT_MS: i64 = 4_000;
/// How long a delivery that failed holds back later ones of its channels.
pub(crate) const HOLD_MS: i64 = 10_000;
/// Attempts of one endpoint at the same time.
pub(crate) const IN_FLIGHT_PER_ENDPOINT_MAX: usize = 4;

/// A delivery in memory.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) delivery: Claimed,
    /// Attempts since the time in its body.
    pub(crate) tries: u32,
    next_try_ms: i64,
    in_flight: bool,
    /// Hashes of its channels' names. Two names with one hash wait for each other, which harms nobody.
    channels: Vec<u64>,
}

#[derive(Deserialize)]
struct OnChannel<'a> {
    #[serde(borrow)]
    channel: std::borrow::Cow<'a, str>,
}

impl Waiting {
    pub(crate) fn new(delivery: Claimed, now_ms: i64) -> Waiting {
        let events: Vec<OnChannel<'_>> = serde_json::from_str(&delivery.events).unwrap_or_default();
        let mut channels: Vec<u64> = events
            .iter()
            .map(|event| {
                let mut hasher = DefaultHasher::new();
                event.channel.hash(&mut hasher);
                hasher.finish()
            })
            .collect();
        channels.sort_unstable();
        channels.dedup();
        // Another node's attempts are known by how far the schedule has come.
        let tries = delivery.next_try_ms.map_or(0, |_| tries_after(now_ms - delivery.time_ms));
        let next_try_ms = delivery.next_try_ms.unwrap_or(0);
        Waiting { delivery, tries, next_try_ms, in_flight: false, channels }
    }
}

/// Attempts that the schedule 0, 1, 3, 7, … s has made after a time.
fn tries_after(ms: i64) -> u32 {
    let seconds = ms.clamp(0, RETRY_FOR_MS) / 1_000 + 1;
    seconds.ilog2() + 1
}

/// When to try again after `tries` attempts; `None` when there is no time for one more.
pub(crate) fn next_try(time_ms: i64, tries: u32, now_ms: i64) -> Option<i64> {
    let wait = 1_000i64 << tries.saturating_sub(1).min(20);
    Some(now_ms + wait).filter(|at| *at + ATTEMPT_MS <= time_ms + RETRY_FOR_MS)
}

/// What a lane wants done.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// To be attempted now; they count as under way.
    pub(crate) start: Vec<Claimed>,
    /// Whose time is over.
    pub(crate) expired: Vec<Claimed>,
    /// When to look again, if nothing happens before.
    pub(crate) wake_ms: Option<i64>,
    /// More could start, had the caller allowed it.
    pub(crate) starved: bool,
}

/// An endpoint's deliveries, by id: the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    waiting: BTreeMap<String, Waiting>,
    in_flight: usize,
}

impl Lane {
    /// Takes a delivery; false if it is here already.
    pub(crate) fn insert(&mut self, waiting: Waiting) -> bool {
        if self.waiting.contains_key(&waiting.delivery.id) {
            return false;
        }
        self.waiting.insert(waiting.delivery.id.clone(), waiting);
        true
    }

    /// The app that they belong to.
    pub(crate) fn app_id(&self) -> Option<u64> {
        self.waiting.values().next().map(|one| one.delivery.app_id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Attempts of a delivery so far, with the one that just ended.
    pub(crate) fn tried(&mut self, id: &str) -> u32 {
        self.waiting.get_mut(id).map_or(1, |one| {
            one.tries += 1;
            one.tries
        })
    }

    /// An attempt ended: it is tried again at a time, or leaves.
    pub(crate) fn ended(&mut self, id: &str, next_try_ms: Option<i64>) {
        let Some(one) = self.waiting.get_mut(id) else { return };
        if std::mem::take(&mut one.in_flight) {
            self.in_flight -= 1;
        }
        match next_try_ms {
            Some(at) => one.next_try_ms = at,
            None => drop(self.waiting.remove(id)),
        }
    }

    /// Forgets what is not under way; gives how many these are.
    pub(crate) fn forget(&mut self) -> usize {
        let before = self.waiting.len();
        self.waiting.retain(|_, one| one.in_flight);
        before - self.waiting.len()
    }

    /// What may start now, at most `room`.
    pub(crate) fn due(&mut self, now_ms: i64, room: usize) -> Due {
        let mut due = Due::default();
        let mut held: HashSet<u64> = HashSet::new();
        let mut gone = Vec::new();
        let mut wake = |at: i64| due.wake_ms = Some(due.wake_ms.map_or(at, |other: i64| other.min(at)));
        for (id, one) in &mut self.waiting {
            let time_ms = one.delivery.time_ms;
            if one.in_flight {
                held.extend(&one.channels);
                continue;
            }
            if now_ms + ATTEMPT_MS > time_ms + RETRY_FOR_MS {
                gone.push(id.clone());
                continue;
            }
            wake(time_ms + RETRY_FOR_MS - ATTEMPT_MS + 1);
            let blocked = one.channels.iter().any(|channel| held.contains(channel));
            if blocked || one.next_try_ms > now_ms {
                if one.next_try_ms > now_ms {
                    wake(one.next_try_ms);
                }
                if now_ms < time_ms + HOLD_MS {
                    wake(time_ms + HOLD_MS);
                }
                if blocked || now_ms < time_ms + HOLD_MS {
                    held.extend(&one.channels);
                }
                continue;
            }
            held.extend(&one.channels);
            if self.in_flight >= IN_FLIGHT_PER_ENDPOINT_MAX {
                continue;
            }
            if due.start.len() >= room {
                due.starved = true;
                continue;
            }
            one.in_flight = true;
            self.in_flight += 1;
            due.start.push(one.delivery.clone());
        }
        due.expired = gone.iter().filter_map(|id| self.waiting.remove(id)).map(|one| one.delivery).collect();
        due
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const T: i64 = 1_000_000_000;

    fn claimed(id: &str, channels: &[&str]) -> Claimed {
        let events: Vec<_> = channels
            .iter()
            .map(|c| serde_json::json!({ "name": "channel_occupied", "channel": c }))
            .collect();
        Claimed {
            id: id.into(),
            endpoint_id: "e".into(),
            app_id: 1001,
            time_ms: T,
            events: serde_json::Value::from(events).to_string(),
            events_count: channels.len() as u32,
            by_hand: false,
            next_try_ms: None,
        }
    }

    fn lane(deliveries: &[(&str, &[&str])]) -> Lane {
        let mut lane = Lane::default();
        for (id, channels) in deliveries {
            assert!(lane.insert(Waiting::new(claimed(id, channels), T)));
        }
        lane
    }

    fn started(lane: &mut Lane, now_ms: i64) -> Vec<String> {
        lane.due(now_ms, 99).start.into_iter().map(|one| one.id).collect()
    }

    #[test]
    fn retries_come_after_1_2_4_8_seconds_and_end_within_five_minutes() {
        let (mut now, mut tries, mut waits) = (T, 0, vec![]);
        loop {
            now += ATTEMPT_MS; // a receiver that never answers
            tries += 1;
            let Some(at) = next_try(T, tries, now) else { break };
            waits.push((at - now) / 1_000);
            now = at;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128]);
        assert!(now <= T + RETRY_FOR_MS);
        for (seconds, tries) in [(0, 1), (1, 2), (2, 2), (3, 3), (7, 4), (255, 9), (-5, 1), (9_999, 9)] {
            assert_eq!(tries_after(seconds * 1_000), tries, "{seconds}");
        }
    }

    #[test]
    fn a_channels_deliveries_go_one_after_the_other_and_other_channels_beside_them() {
        let mut lane = lane(&[("1", &["a"]), ("2", &["a", "b"]), ("3", &["b"]), ("4", &["c"])]);
        assert_eq!(started(&mut lane, T), ["1", "4"], "3 waits for 2, which waits for 1");
        lane.ended("1", None);
        assert_eq!(started(&mut lane, T), ["2"]);
        lane.ended("2", None);
        assert_eq!(started(&mut lane, T), ["3"]);
    }

    #[test]
    fn a_failed_one_holds_its_channels_for_a_while_and_no_others() {
        let mut lane = lane(&[("1", &["a"]), ("2", &["a"]), ("3", &["b"])]);
        assert_eq!(started(&mut lane, T), ["1", "3"]);
        lane.ended("3", None);
        assert_eq!(lane.tried("1"), 1);
        lane.ended("1", Some(T + 1_000));
        let due = lane.due(T + 500, 99);
        assert!(due.start.is_empty());
        assert_eq!(due.wake_ms, Some(T + 1_000));
        assert_eq!(started(&mut lane, T + 1_000), ["1"], "in order");
        lane.ended("1", Some(T + 40_000));
        assert!(started(&mut lane, T + HOLD_MS - 1).is_empty());
        assert_eq!(lane.due(T + HOLD_MS - 1, 99).wake_ms, Some(T + HOLD_MS));
        assert_eq!(started(&mut lane, T + HOLD_MS), ["2"], "it overtakes");
    }

    #[test]
    fn what_is_too_old_expires_and_is_not_attempted() {
        let mut lane = lane(&[("1", &["a"])]);
        let last = T + RETRY_FOR_MS - ATTEMPT_MS;
        assert_eq!(lane.due(last - 1, 0).wake_ms, Some(last + 1));
        let due = lane.due(last + 1, 99);
        assert_eq!((due.start.len(), due.expired.len()), (0, 1));
        assert!(lane.is_empty());
    }

    #[test]
    fn few_are_under_way_at_once_and_a_caller_without_room_is_told() {
        let all: Vec<(String, String)> = (0..9).map(|n| (format!("{n}"), format!("c{n}"))).collect();
        let mut lane = Lane::default();
        for (id, channel) in &all {
            assert!(lane.insert(Waiting::new(claimed(id, &[channel]), T)));
        }
        assert!(!lane.insert(Waiting::new(claimed("0", &["c0"]), T)), "claimed once more");
        let due = lane.due(T, 2);
        assert_eq!((due.start.len(), due.starved), (2, true));
        let due = lane.due(T, 99);
        assert_eq!((due.start.len(), due.starved), (2, false), "{IN_FLIGHT_PER_ENDPOINT_MAX} in all");
        assert!(started(&mut lane, T).is_empty());
        lane.ended("0", None);
        assert_eq!(started(&mut lane, T), ["4"]);
        assert_eq!(lane.forget(), 4);
    }

    #[test]
    fn what_another_node_tried_goes_on_where_it_was() {
        let delivery = Claimed { next_try_ms: Some(T + 15_000), ..claimed("1", &["a"]) };
        let mut lane = Lane::default();
        lane.insert(Waiting::new(delivery, T + 14_000));
        assert!(started(&mut lane, T + 14_000).is_empty());
        assert_eq!(started(&mut lane, T + 15_000), ["1"]);
        assert_eq!(lane.tried("1"), 5);
    }

    proptest! {
        /// With an endpoint that takes everything, each channel sees its deliveries in their order, and all of them.
        #[test]
        fn order_holds_for_any_mix_of_channels(
            mix in proptest::collection::vec(proptest::collection::vec(0u8..4, 1..4), 1..30),
            picks in proptest::collection::vec(any::<prop::sample::Index>(), 30),
        ) {
            let mut lane = Lane::default();
            for (n, channels) in mix.iter().enumerate() {
                let names: Vec<String> = channels.iter().map(|c| format!("c{c}")).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                lane.insert(Waiting::new(claimed(&format!("{n:03}"), &names), T));
            }
            let (mut open, mut arrived): (Vec<String>, Vec<usize>) = (vec![], vec![]);
            for pick in picks {
                open.extend(started(&mut lane, T));
                if open.is_empty() {
                    break;
                }
                let id = open.remove(pick.index(open.len()));
                lane.ended(&id, None);
                arrived.push(id.parse().unwrap());
            }
            prop_assert!(lane.is_empty());
            for channel in 0..4 {
                let seen: Vec<_> = arrived.iter().filter(|n| mix[**n].contains(&channel)).collect();
                prop_assert!(seen.is_sorted());
            }
            prop_assert_eq!(arrived.len(), mix.len());
        }
    }
}
