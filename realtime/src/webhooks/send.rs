//! The task that sends: it holds each endpoint's lane, starts attempts within bounds, writes down how they went, keeps the
//! node's claims, and takes up what waits in storage. Attempts run as tasks of their own, so none delays another's endpoint.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::endpoint::Endpoint;
use super::lane::{ATTEMPT_MS, Lane, Waiting, next_try};
use super::post::{Post, Posted, Poster};
use super::store::{Claimed, Outcome, State, WebhookStore};
use super::{IN_MEMORY_PER_ENDPOINT_MAX, LEASE, STOP_WITHIN};
use crate::app::App;
use crate::clock;
use crate::console::{Kind, Source};
use crate::meter::Class;
use crate::node::Node;

/// Attempts of a node at the same time: sockets and memory.
const IN_FLIGHT_MAX: usize = 1_024;
/// Attempts of one meter scope at the same time: a customer whose servers all hang leaves the others room.
const IN_FLIGHT_PER_SCOPE_MAX: usize = 64;
/// How often storage is asked for what nobody sends.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// How often claims are renewed; three can fail before one runs out.
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// Rest after storage refused.
const RETRY_STORE: Duration = Duration::from_millis(500);
/// Results that storage has not taken; beyond it nothing new is sent.
const UNWRITTEN_MAX: usize = 1_000;
/// How often the log is kept short.
const PRUNE_EVERY: Duration = Duration::from_secs(30);
/// When the app of a delivery can't be read, it is tried again after this.
const APP_AWAY_MS: i64 = 1_000;

pub(super) enum Message {
    /// Stored and claimed just now.
    Fresh(Vec<Claimed>),
    /// An attempt ended.
    Done(Done),
    /// Send what can go at once, give the rest back, then answer.
    Stop(oneshot::Sender<()>),
}

/// How an attempt ended.
pub(super) struct Done {
    delivery: Claimed,
    scope: Arc<str>,
    result: Tried,
}

enum Tried {
    Posted(Box<(Arc<App>, Endpoint, Posted)>),
    /// It is not to be sent, for this reason.
    Refused(Arc<App>, &'static str),
    /// Its app or endpoint is no more.
    Gone,
    /// Its app can't be read now, or the attempt broke.
    Later,
}

pub(super) struct Sender {
    node: Node,
    name: Arc<str>,
    store: Arc<dyn WebhookStore>,
    poster: Arc<Poster>,
    own: mpsc::UnboundedSender<Message>,
    lanes: HashMap<Arc<str>, Lane>,
    wakes: BinaryHeap<Reverse<(i64, Arc<str>)>>,
    /// The one entry of `wakes` that counts, for each lane.
    wake_of: HashMap<Arc<str>, i64>,
    /// Lanes that could start more if others did less.
    starved: VecDeque<Arc<str>>,
    in_flight: usize,
    in_flight_by_scope: HashMap<Arc<str>, usize>,
    outcomes: Vec<Outcome>,
    /// The node's claims hold until then.
    claims_until_ms: i64,
    /// Endpoints whose log grew.
    grown: HashSet<Arc<str>>,
}

impl Sender {
    pub(super) fn new(
        node: Node,
        name: Arc<str>,
        store: Arc<dyn WebhookStore>,
        poster: Arc<Poster>,
        own: mpsc::UnboundedSender<Message>,
    ) -> Sender {
        Sender {
            node,
            name,
            store,
            poster,
            own,
            lanes: HashMap::new(),
            wakes: BinaryHeap::new(),
            wake_of: HashMap::new(),
            starved: VecDeque::new(),
            in_flight: 0,
            in_flight_by_scope: HashMap::new(),
            outcomes: Vec::new(),
            claims_until_ms: clock::now_ms() + LEASE.as_millis() as i64,
            grown: HashSet::new(),
        }
    }

    pub(super) async fn run(mut self, mut messages: mpsc::UnboundedReceiver<Message>) {
        let node = self.node.clone();
        let now = Instant::now();
        let (mut poll_at, mut renew_at, mut prune_at) = (now, now + RENEW_EVERY, now + PRUNE_EVERY);
        let mut write_at = now;
        let mut stop: Option<(oneshot::Sender<()>, Instant)> = None;
        loop {
            let now = Instant::now();
            let lane_at = self
                .wakes
                .peek()
                .map(|Reverse((at, _))| now + Duration::from_millis((at - clock::now_ms()).max(0) as u64));
            let write = (!self.outcomes.is_empty()).then_some(write_at);
            let wake = [lane_at, write, Some(poll_at), Some(renew_at), Some(prune_at)];
            let wake = wake.into_iter().flatten().min().unwrap_or(poll_at);
            let mut nudged = false;
            let message = tokio::select! {
                message = messages.recv() => message,
                () = node.webhooks().nudge.notified() => {
                    nudged = true;
                    None
                }
                () = tokio::time::sleep_until(wake) => None,
            };
            let mut touched = HashSet::new();
            let mut next = message;
            while let Some(message) = next {
                match message {
                    Message::Fresh(fresh) => self.admit(fresh, &mut touched),
                    Message::Done(done) => self.done(done, &mut touched),
                    Message::Stop(done) => stop = Some((done, Instant::now() + STOP_WITHIN)),
                }
                next = messages.try_recv().ok();
            }
            let now = Instant::now();
            if now >= renew_at {
                self.renew().await;
                renew_at = now + RENEW_EVERY;
            }
            if (now >= poll_at || nudged) && stop.is_none() {
                self.poll(&mut touched).await;
                poll_at = now + POLL_EVERY;
            } else if now >= poll_at {
                poll_at = now + POLL_EVERY;
            }
            if now >= prune_at {
                let grown = self.grown.drain().map(|id| id.to_string()).collect();
                if let Err(error) = self.store.prune(clock::now_ms(), grown).await {
                    tracing::warn!(%error, "the webhook log can't be pruned");
                }
                prune_at = now + PRUNE_EVERY;
            }
            self.dispatch(touched);
            if !self.outcomes.is_empty() && now >= write_at && self.write().await.is_err() {
                write_at = Instant::now() + RETRY_STORE;
            }
            if let Some((_, until)) = &stop
                && (self.in_flight == 0 && self.outcomes.is_empty() || Instant::now() >= *until)
            {
                break;
            }
        }
        if let Err(error) = self.store.release(&self.name).await {
            tracing::warn!(%error, "claims of webhooks can't be given back; they run out by themselves");
        }
        if let Some((done, _)) = stop {
            let _ = done.send(());
        }
    }

    fn admit(&mut self, deliveries: Vec<Claimed>, touched: &mut HashSet<Arc<str>>) {
        let now_ms = clock::now_ms();
        for delivery in deliveries {
            let id = delivery.endpoint_id.clone();
            if !self.lanes.entry(id.clone()).or_default().insert(Waiting::new(delivery, now_ms)) {
                self.node.webhooks().loads.give_back(&id, 1);
            }
            touched.insert(id);
        }
    }

    /// Starts what may start in these lanes, in those whose time has come and in those that had to stand back.
    fn dispatch(&mut self, touched: HashSet<Arc<str>>) {
        let now_ms = clock::now_ms();
        let mut all = touched;
        while self.wakes.peek().is_some_and(|Reverse((at, _))| *at <= now_ms) {
            let Some(Reverse((at, id))) = self.wakes.pop() else { break };
            if self.wake_of.get(&id) == Some(&at) {
                self.wake_of.remove(&id);
                all.insert(id);
            }
        }
        // Those that stood back longest first.
        let mut turn: Vec<Arc<str>> = self.starved.drain(..).collect();
        turn.iter().for_each(|id| {
            all.remove(id);
        });
        turn.extend(all);
        // Without a claim that outlasts an attempt another node could be sending the same.
        let may_send = now_ms + ATTEMPT_MS < self.claims_until_ms && self.outcomes.len() < UNWRITTEN_MAX;
        for id in turn {
            self.dispatch_lane(id, now_ms, may_send);
        }
    }

    fn dispatch_lane(&mut self, id: Arc<str>, now_ms: i64, may_send: bool) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let scope = lane.app_id().map(|app| scope_of(&self.node, app));
        let by_scope =
            scope.as_ref().and_then(|scope| self.in_flight_by_scope.get(scope)).copied().unwrap_or(0);
        let room = (IN_FLIGHT_MAX - self.in_flight).min(IN_FLIGHT_PER_SCOPE_MAX.saturating_sub(by_scope));
        let due = lane.due(now_ms, if may_send { room } else { 0 });
        let empty = lane.is_empty();
        if due.starved {
            self.starved.push_back(id.clone());
        }
        if let Some(at) = due.wake_ms
            && self.wake_of.get(&id).is_none_or(|planned| at < *planned)
        {
            self.wake_of.insert(id.clone(), at);
            self.wakes.push(Reverse((at, id.clone())));
        }
        for delivery in due.expired {
            self.give_up(&delivery, None, "its five minutes are over");
        }
        if empty {
            self.lanes.remove(&id);
        }
        let scope = scope.unwrap_or_default();
        for delivery in due.start {
            self.in_flight += 1;
            *self.in_flight_by_scope.entry(scope.clone()).or_default() += 1;
            let (node, poster, own, scope) =
                (self.node.clone(), self.poster.clone(), self.own.clone(), scope.clone());
            tokio::spawn(async move {
                let work = attempt(node, poster, scope.clone(), delivery.clone());
                // In a task of its own, so that even a bug in it gives its place back.
                let result = tokio::spawn(work).await.unwrap_or(Tried::Later);
                let _ = own.send(Message::Done(Done { delivery, scope, result }));
            });
        }
    }

    fn done(&mut self, done: Done, touched: &mut HashSet<Arc<str>>) {
        let Done { delivery, scope, result } = done;
        let (id, endpoint_id) = (&delivery.id, &delivery.endpoint_id);
        self.in_flight -= 1;
        if let Some(count) = self.in_flight_by_scope.get_mut(&scope) {
            *count -= 1;
            if *count == 0 {
                self.in_flight_by_scope.remove(&scope);
            }
        }
        touched.insert(endpoint_id.clone());
        let now_ms = clock::now_ms();
        let lane = self.lanes.entry(endpoint_id.clone()).or_default();
        match result {
            Tried::Posted(posted) => {
                let (app, endpoint, posted) = *posted;
                let tries = lane.tried(id);
                let again = if posted.arrived() { None } else { next_try(delivery.time_ms, tries, now_ms) };
                lane.ended(id, again);
                tell(&app, &endpoint, &delivery, &posted, tries, again.map(|at| at - now_ms));
                let state = match (posted.arrived(), again) {
                    (true, _) => State::Delivered,
                    (false, Some(at)) => State::Pending(at),
                    (false, None) => State::Failed,
                };
                if again.is_none() {
                    self.leave(&delivery);
                }
                self.outcomes.push(Outcome {
                    id: delivery.id,
                    endpoint_id: delivery.endpoint_id,
                    attempt: Some(posted.attempt),
                    state,
                });
            }
            Tried::Refused(app, why) => {
                lane.ended(id, None);
                self.give_up(&delivery, Some(app), why);
            }
            Tried::Gone => {
                lane.ended(id, None);
                self.leave(&delivery);
            }
            Tried::Later => lane.ended(id, Some(now_ms + APP_AWAY_MS)),
        }
    }

    /// A delivery left memory.
    fn leave(&mut self, delivery: &Claimed) {
        self.grown.insert(delivery.endpoint_id.clone());
        if self.node.webhooks().loads.give_back(&delivery.endpoint_id, 1) {
            self.node.webhooks().nudge();
        }
    }

    /// A delivery that left its lane is given up without another attempt.
    fn give_up(&mut self, delivery: &Claimed, app: Option<Arc<App>>, why: &str) {
        if let Some(app) = app.or_else(|| self.node.apps().loaded(delivery.app_id)) {
            app.console.record(Kind::WebhookFailed, |row| {
                row.source = Some(Source::Webhook);
                row.details = format!("given up: {why} · {}", events(delivery.events_count));
                row.set_data(&delivery.events);
            });
        }
        self.leave(delivery);
        self.outcomes.push(Outcome {
            id: delivery.id.clone(),
            endpoint_id: delivery.endpoint_id.clone(),
            attempt: None,
            state: State::Failed,
        });
    }

    async fn write(&mut self) -> Result<(), ()> {
        match self.store.finish(&self.name, self.outcomes.clone()).await {
            Ok(paused) => {
                self.outcomes.clear();
                for (app_id, endpoint_id) in paused {
                    let Some(app) = self.node.apps().loaded(app_id) else { continue };
                    let snapshot = app.snapshot();
                    let shown = snapshot.webhooks.iter().find(|e| *e.id == *endpoint_id).map(Endpoint::shown);
                    app.console.record(Kind::Error, |row| {
                        row.source = Some(Source::Webhook);
                        row.details = format!(
                            "Webhooks to {} are paused: they failed for 5 days without a success. Switch the endpoint on again when it works.",
                            shown.unwrap_or("an endpoint")
                        );
                    });
                }
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, unwritten = self.outcomes.len(), "results of webhooks can't be written");
                Err(())
            }
        }
    }

    async fn renew(&mut self) {
        let now_ms = clock::now_ms();
        let until = now_ms + LEASE.as_millis() as i64;
        if now_ms < self.claims_until_ms {
            match self.store.renew(&self.name, until).await {
                Ok(()) => self.claims_until_ms = until,
                Err(error) => tracing::warn!(%error, "claims of webhooks can't be renewed"),
            }
            return;
        }
        // Too late: others may have taken them over. Start again with what storage says.
        if self.store.release(&self.name).await.is_ok() {
            let webhooks = self.node.webhooks();
            for (id, lane) in &mut self.lanes {
                webhooks.loads.give_back(id, lane.forget());
            }
            self.lanes.retain(|_, lane| !lane.is_empty());
            self.claims_until_ms = until;
            webhooks.nudge();
        }
    }

    /// Takes up what waits in storage and nobody sends: from nodes that are gone, beyond what fits in memory, by hand.
    async fn poll(&mut self, touched: &mut HashSet<Arc<str>>) {
        let now_ms = clock::now_ms();
        let waiting = match self.store.waiting(now_ms).await {
            Ok(waiting) => waiting,
            Err(error) => return tracing::warn!(%error, "waiting webhooks can't be read"),
        };
        for id in waiting {
            let room = self.node.webhooks().loads.room(&id);
            if room == 0 {
                continue;
            }
            let until = clock::now_ms() + LEASE.as_millis() as i64;
            let claimed = self.store.claim(&self.name, clock::now_ms(), until, &id, room as u32).await;
            match claimed {
                Ok(claimed) => {
                    let id: Arc<str> = id.into();
                    self.node.webhooks().loads.add(&id, claimed.len(), claimed.len() < room);
                    self.admit(claimed, touched);
                }
                Err(error) => tracing::warn!(%error, "waiting webhooks can't be claimed"),
            }
        }
    }
}

fn scope_of(node: &Node, app_id: u64) -> Arc<str> {
    match node.apps().loaded(app_id) {
        Some(app) => app.snapshot().meter_scope.clone(),
        None => format!("app:{app_id}").into(),
    }
}

async fn attempt(node: Node, poster: Arc<Poster>, scope: Arc<str>, delivery: Claimed) -> Tried {
    let app = match node.apps().find_by_id(delivery.app_id).await {
        Ok(Some(app)) => app,
        Ok(None) => return Tried::Gone,
        Err(_) => return Tried::Later,
    };
    let find = || app.snapshot().webhooks.iter().find(|e| e.id == delivery.endpoint_id).cloned();
    let endpoint = match find() {
        Some(endpoint) => endpoint,
        // Made a moment ago by another process, whose change has not been read yet; or deleted.
        None => match node.refresh(delivery.app_id).await {
            Err(_) => return Tried::Later,
            Ok(()) => match find() {
                Some(endpoint) => endpoint,
                None => return Tried::Gone,
            },
        },
    };
    if !endpoint.active && !delivery.by_hand {
        return Tried::Refused(app, "its endpoint is off or paused");
    }
    let snapshot = app.snapshot();
    let Some(key) = snapshot.keys.first() else {
        return Tried::Refused(app.clone(), "the app has no key to sign with");
    };
    let body = protocol::webhook::body(delivery.time_ms, &delivery.events).into();
    let posted = poster.post(Post { endpoint: &endpoint, key, scope: &scope, body }).await;
    if posted.sent {
        app.meter.count(&app.scope, Class::Webhook, 1);
    }
    Tried::Posted(Box::new((app.clone(), endpoint, posted)))
}

fn events(count: u32) -> String {
    if count == 1 { "1 event".into() } else { format!("{count} events") }
}

/// The row of an attempt.
fn tell(
    app: &App,
    endpoint: &Endpoint,
    delivery: &Claimed,
    posted: &Posted,
    tries: u32,
    again_in_ms: Option<i64>,
) {
    let attempt = &posted.attempt;
    let kind = if posted.arrived() { Kind::WebhookSent } else { Kind::WebhookFailed };
    app.console.record(kind, |row| {
        row.source = Some(Source::Webhook);
        row.status = attempt.status;
        row.set_data(&delivery.events);
        let answer = match (attempt.status, &attempt.error) {
            (Some(status), _) => status.to_string(),
            (None, Some(error)) => error.clone(),
            (None, None) => "no answer".into(),
        };
        let rest = match (posted.arrived(), again_in_ms) {
            (true, _) => format!("in {} ms · {}", attempt.duration_ms, events(delivery.events_count)),
            (false, Some(ms)) => format!("· attempt {tries} · next in {} s", (ms + 500) / 1_000),
            (false, None) => format!("· attempt {tries} · given up"),
        };
        row.details = format!("POST {} → {answer} {rest}", endpoint.shown());
    });
}

const _: () = assert!(IN_MEMORY_PER_ENDPOINT_MAX < UNWRITTEN_MAX, "one endpoint can't stop the others");
