//! From events to deliveries: each event to the endpoints that want it, several in one POST where the app has batching on.
//! Source: "up to 20 events or 250 ms" (support article on batching). Time is given by the caller.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backlog::{Charge, Recorded};
use super::endpoint::Endpoint;
use crate::app::App;

/// Events of one delivery.
pub(crate) const BATCH_EVENTS_MAX: usize = 20;
/// A batch goes out this long after its first event.
pub(crate) const BATCH_FOR: Duration = Duration::from_millis(250);

/// A delivery whose time has come.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) app: Arc<App>,
    pub(crate) endpoint_id: Arc<str>,
    pub(crate) events: Vec<Arc<str>>,
    /// Held until it is stored.
    #[allow(dead_code, reason = "it acts when it is dropped")]
    charges: Vec<Arc<Charge>>,
}

impl Ready {
    /// The JSON array of its events.
    pub(crate) fn json(&self) -> String {
        let length = self.events.iter().map(|event| event.len() + 1).sum::<usize>() + 2;
        let mut text = String::with_capacity(length);
        text.push('[');
        for (n, event) in self.events.iter().enumerate() {
            if n > 0 {
                text.push(',');
            }
            text.push_str(event);
        }
        text.push(']');
        text
    }
}

#[derive(Debug)]
struct Open {
    since: Instant,
    ready: Ready,
}

/// Batches that fill.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    open: HashMap<Arc<str>, Open>,
    ready: Vec<Ready>,
}

impl Batches {
    /// Gives an event to each endpoint that wants it.
    pub(crate) fn add(&mut self, recorded: Recorded, now: Instant) {
        let Recorded { app, event, charge, .. } = recorded;
        let snapshot = app.snapshot();
        let wanted = |e: &&Endpoint| e.wants(event.kind(), event.channel());
        if !snapshot.webhooks.iter().any(|e| wanted(&e)) {
            return;
        }
        let json: Arc<str> = event.to_json().into();
        let charge = Arc::new(charge);
        for endpoint in snapshot.webhooks.iter().filter(wanted) {
            let open = self.open.entry(endpoint.id.clone()).or_insert_with(|| Open {
                since: now,
                ready: Ready {
                    app: app.clone(),
                    endpoint_id: endpoint.id.clone(),
                    events: Vec::new(),
                    charges: Vec::new(),
                },
            });
            open.ready.events.push(json.clone());
            open.ready.charges.push(charge.clone());
            if !snapshot.features.webhook_batching || open.ready.events.len() >= BATCH_EVENTS_MAX {
                self.ready.extend(self.open.remove(&endpoint.id).map(|open| open.ready));
            }
        }
    }

    /// When the next batch is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.open.values().map(|open| open.since + BATCH_FOR).min()
    }

    /// Full batches and those whose time has come; an endpoint's in their order.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Ready> {
        let due: Vec<Arc<str>> = self
            .open
            .iter()
            .filter(|(_, open)| open.since + BATCH_FOR <= now)
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            self.ready.extend(self.open.remove(&id).map(|open| open.ready));
        }
        std::mem::take(&mut self.ready)
    }

    /// All batches, full or not.
    pub(crate) fn drain(&mut self) -> Vec<Ready> {
        self.ready.extend(self.open.drain().map(|(_, open)| open.ready));
        std::mem::take(&mut self.ready)
    }
}

#[cfg(test)]
mod tests {
    use protocol::webhook::{Event, Kind};

    use super::*;
    use crate::app::{AppSnapshot, Features};
    use crate::webhooks::backlog::tests::{app_with, recorded};
    use crate::webhooks::endpoint::ChannelFilter;
    use crate::webhooks::endpoint::tests::endpoint;

    fn an_app(endpoints: Vec<Endpoint>, webhook_batching: bool) -> Arc<App> {
        let features = Features { webhook_batching, ..Features::default() };
        app_with(AppSnapshot { webhooks: endpoints, features, ..crate::app::tests::snapshot() })
    }

    fn occupied(n: usize) -> Event {
        Event::ChannelOccupied { channel: format!("c{n}").into() }
    }

    fn sizes(ready: &[Ready]) -> Vec<(&str, usize)> {
        ready.iter().map(|ready| (&*ready.endpoint_id, ready.events.len())).collect()
    }

    #[test]
    fn a_batch_goes_out_with_twenty_events_or_after_a_quarter_of_a_second() {
        let app = an_app(vec![endpoint("e", "u", &[Kind::ChannelOccupied])], true);
        let (mut batches, start) = (Batches::default(), Instant::now());
        for n in 0..45 {
            batches.add(recorded(&app, occupied(n)), start);
        }
        assert_eq!(sizes(&batches.due(start)), [("e", 20), ("e", 20)]);
        assert_eq!(batches.next_due(), Some(start + BATCH_FOR));
        assert!(batches.due(start + BATCH_FOR - Duration::from_millis(1)).is_empty());
        let last = batches.due(start + BATCH_FOR);
        assert_eq!(sizes(&last), [("e", 5)]);
        assert!(
            last[0].json().starts_with(r#"[{"name":"channel_occupied","channel":"c40"},{"#),
            "in their order"
        );
        assert!(serde_json::from_str::<serde_json::Value>(&last[0].json()).unwrap().is_array());
        assert_eq!(batches.next_due(), None);
    }

    #[test]
    fn without_batching_each_event_goes_alone_and_at_once() {
        let app = an_app(vec![endpoint("e", "u", &[Kind::ChannelOccupied])], false);
        let (mut batches, now) = (Batches::default(), Instant::now());
        (0..3).for_each(|n| batches.add(recorded(&app, occupied(n)), now));
        assert_eq!(sizes(&batches.due(now)), [("e", 1); 3]);
    }

    #[test]
    fn each_endpoint_gets_what_it_wants_and_what_nobody_wants_is_forgotten() {
        let mut filtered = endpoint("f", "u", &[Kind::ChannelOccupied]);
        filtered.channels = ChannelFilter::Exact("c1".into());
        let app = an_app(
            vec![
                endpoint("all", "u", &[Kind::ChannelOccupied, Kind::CacheMiss]),
                filtered,
                endpoint("n", "u", &[]),
            ],
            true,
        );
        let (mut batches, now) = (Batches::default(), Instant::now());
        (0..3).for_each(|n| batches.add(recorded(&app, occupied(n)), now));
        batches.add(
            recorded(&app, Event::SubscriptionCount { channel: "c1".into(), subscription_count: 1 }),
            now,
        );
        let mut ready = batches.drain();
        ready.sort_by(|a, b| a.endpoint_id.cmp(&b.endpoint_id));
        assert_eq!(sizes(&ready), [("all", 3), ("f", 1)]);
    }

    #[test]
    fn the_events_of_two_apps_never_meet() {
        let one = an_app(vec![endpoint("one", "u", &[Kind::ChannelOccupied])], true);
        let two = an_app(vec![endpoint("two", "u", &[Kind::ChannelOccupied])], true);
        let (mut batches, now) = (Batches::default(), Instant::now());
        for n in 0..10 {
            batches.add(recorded(if n % 2 == 0 { &one } else { &two }, occupied(n)), now);
        }
        for ready in batches.drain() {
            let even = &*ready.endpoint_id == "one";
            assert!(Arc::ptr_eq(&ready.app, if even { &one } else { &two }));
            assert_eq!(ready.events.len(), 5);
            for event in &ready.events {
                let digit = event.as_bytes()[event.len() - 3] - b'0';
                assert_eq!(digit.is_multiple_of(2), even, "{event}");
            }
        }
    }
}
