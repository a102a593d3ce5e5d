//! The task that turns happenings into stored deliveries: it alone empties the backlog, so an endpoint's deliveries are stored
//! in their order. While storage is away it keeps what is ready, within the backlog's bounds, and tries again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::webhook::Event;
use tokio::sync::{mpsc, oneshot};

use super::backlog::Recorded;
use super::batch::{Batches, Ready};
use super::grace::Grace;
use super::send::Message;
use super::store::{Claimed, NewDelivery, WebhookStore};
use super::{LEASE, STOP_WITHIN};
use crate::clock;
use crate::node::Node;

/// Deliveries stored in one transaction.
const PUT_MAX: usize = 200;
/// Rest after storage refused.
const RETRY_PUT: Duration = Duration::from_millis(500);
/// How often dropped events are told of.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How often a running node looks for what another one held when it ended.
const ADOPT_EVERY: Duration = Duration::from_secs(5);

pub(super) struct Collector {
    node: Node,
    name: Arc<str>,
    store: Arc<dyn WebhookStore>,
    to_sender: mpsc::UnboundedSender<Message>,
    grace: Grace,
    batches: Batches,
    ready: Vec<(Ready, NewDelivery)>,
}

/// Takes up what a node held when it ended, as if its grace began now: clients are coming back. What is over already on this
/// node's channels is forgotten.
pub(super) async fn take_held(node: &Node, store: &dyn WebhookStore) {
    let held = match store.take_held().await {
        Ok(held) => held,
        Err(error) => return tracing::warn!(%error, "held webhook events can't be read"),
    };
    for (app_id, json) in held {
        let (Ok(Some(app)), Some(event)) = (node.apps().find_by_id(app_id).await, Event::parse_end(&json))
        else {
            continue;
        };
        let is_back = match &event {
            Event::MemberRemoved { channel, user_id } => app.channels.user_ids(channel).contains(user_id),
            event => app.channels.get(event.channel()).is_some(),
        };
        if !is_back {
            node.webhooks().record(&app, || event);
        }
    }
}

impl Collector {
    pub(super) fn new(
        node: Node,
        name: Arc<str>,
        store: Arc<dyn WebhookStore>,
        to_sender: mpsc::UnboundedSender<Message>,
    ) -> Collector {
        let (grace, batches) = (Grace::default(), Batches::default());
        Collector { node, name, store, to_sender, grace, batches, ready: Vec::new() }
    }

    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<oneshot::Sender<()>>) {
        let node = self.node.clone();
        let webhooks = node.webhooks();
        let (mut tell_at, mut adopt_at) = (Instant::now() + TELL_EVERY, Instant::now() + ADOPT_EVERY);
        let mut put_at: Option<Instant> = None;
        loop {
            let grace = self.grace.next_due().filter(|_| !node.is_draining());
            let due = [grace, self.batches.next_due(), put_at, Some(tell_at), Some(adopt_at)];
            let wake = due.into_iter().flatten().min().unwrap_or(tell_at);
            let done = tokio::select! {
                () = webhooks.backlog.news.notified() => None,
                () = tokio::time::sleep_until(wake.into()) => None,
                stop = &mut stop => Some(stop),
            };
            if let Some(stop) = done {
                return self.end(stop.ok()).await;
            }
            let now = Instant::now();
            self.sort(now);
            if !self.ready.is_empty() && put_at.is_none_or(|at| at <= now) {
                put_at = match self.put().await {
                    Ok(()) => None,
                    Err(()) => Some(Instant::now() + RETRY_PUT),
                };
            }
            if tell_at <= now {
                webhooks.tell_dropped();
                tell_at = now + TELL_EVERY;
            }
            if adopt_at <= now {
                if !node.is_draining() {
                    take_held(&node, &*self.store).await;
                }
                adopt_at = Instant::now() + ADOPT_EVERY;
            }
        }
    }

    /// From the backlog through grace and batches to what is ready.
    fn sort(&mut self, now: Instant) {
        for recorded in self.node.webhooks().backlog.take() {
            if let Some(recorded) = self.grace.take(recorded, now) {
                self.batches.add(recorded, now);
            }
        }
        // The clients of a node that ends come back to the next one; until then nothing has ended.
        if !self.node.is_draining() {
            for recorded in self.grace.due(now) {
                self.batches.add(recorded, now);
            }
        }
        for ready in self.batches.due(now) {
            self.made(ready);
        }
    }

    fn made(&mut self, ready: Ready) {
        let new = NewDelivery {
            id: self.store.new_id(),
            created_ms: 0,
            claimed: self.node.webhooks().loads.take(&ready.endpoint_id),
            endpoint_id: ready.endpoint_id.clone(),
            events: String::new(), // joined when it is stored, as the time is taken then
            events_count: ready.events.len() as u32,
        };
        self.ready.push((ready, new));
    }

    /// Stores what is ready and hands it on.
    async fn put(&mut self) -> Result<(), ()> {
        while !self.ready.is_empty() {
            let count = self.ready.len().min(PUT_MAX);
            let mut new: Vec<NewDelivery> = Vec::with_capacity(count);
            for (ready, delivery) in &mut self.ready[..count] {
                // Its time is that of its storing: a storage that was away must not make it too old to be accepted.
                new.push(NewDelivery {
                    events: ready.json(),
                    created_ms: clock::now_ms(),
                    ..delivery.clone()
                });
            }
            let until = clock::now_ms() + LEASE.as_millis() as i64;
            let not_stored = match self.store.put(&self.name, until, new.clone()).await {
                Ok(not_stored) => not_stored,
                Err(error) => {
                    tracing::warn!(%error, waiting = self.ready.len(), "webhooks can't be stored; trying again");
                    return Err(());
                }
            };
            let webhooks = self.node.webhooks();
            let mut fresh = Vec::new();
            for ((ready, _), new) in self.ready.drain(..count).zip(new) {
                if not_stored.too_many.contains(&new.id) {
                    webhooks.backlog.dropped(&ready.app, new.events_count.into());
                } else if not_stored.gone.contains(&new.id) {
                    if new.claimed {
                        webhooks.loads.give_back(&new.endpoint_id, 1);
                    }
                } else if new.claimed {
                    fresh.push(Claimed {
                        id: new.id,
                        endpoint_id: new.endpoint_id,
                        app_id: ready.app.id(),
                        time_ms: new.created_ms,
                        events: new.events,
                        events_count: new.events_count,
                        by_hand: false,
                        next_try_ms: None,
                    });
                }
            }
            if !fresh.is_empty() {
                let _ = self.to_sender.send(Message::Fresh(fresh));
            }
        }
        Ok(())
    }

    /// Stores batches as they are and holds ends for the next node, then ends the sender.
    async fn end(mut self, done: Option<oneshot::Sender<()>>) {
        self.sort(Instant::now());
        for ready in self.batches.drain() {
            self.made(ready);
        }
        let held: Vec<(u64, String)> = self
            .grace
            .drain()
            .into_iter()
            .map(|Recorded { app, event, .. }| (app.id(), event.to_json()))
            .collect();
        let until = Instant::now() + STOP_WITHIN;
        while self.put().await.is_err() {
            if Instant::now() > until {
                tracing::error!(lost = self.ready.len(), "webhooks could not be stored and are lost");
                break;
            }
            tokio::time::sleep(RETRY_PUT).await;
        }
        if !held.is_empty()
            && let Err(error) = self.store.hold(held).await
        {
            tracing::error!(%error, "webhook events in their grace could not be stored and are lost");
        }
        if let Some(done) = done {
            let _ = self.to_sender.send(Message::Stop(done));
        }
    }
}
