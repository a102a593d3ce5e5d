//! Several nodes that are one: joined by Redis, each with what its own sockets do.
//!
//! ```text
//!  publish → hub of this node, at once
//!          → queue → one pipeline at a time → PUBLISH on the channel's topic
//!            → nodes that hold the channel → their hubs
//!  join, leave → channel is dirty → queue → change.lua: our part of the channel, facts about the whole, told on its topic
//!  first join here → attach: SUBSCRIBE, load.lua → what the others have, on the same connection and so in order
//! ```
//!
//! A node owns what its sockets own, under a lease; who misses it is buried by another node, in the same words as if its sockets
//! had left one by one. Every decision about the whole (is this the first? the last?) is a script, so that one node tells it.
//! Without Redis a node goes on with its own sockets and what it last heard, refuses publications, and says so; with Redis
//! again it tells its part anew. Nothing here waits on the way from publish to socket.

mod address;
pub(crate) mod apply;
mod facts;
pub(crate) use facts::confirm;
pub(crate) use link::run;
pub(crate) use places::{Shared, give_back};
mod lease;
mod link;
pub(crate) mod message;
mod places;
pub(crate) mod queue;
mod read;
pub(crate) mod remote;
mod rows;
pub use rows::Rows;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::channel::ChannelKind;
use protocol::socket_id::SocketId;

use crate::app::App;
use crate::hub::Channel;
use crate::later::Task;
use crate::node::Node;
use crate::shard::inbox::{Command, Place};
use crate::users::ONLINE;
use message::{Publication, Sort};
use queue::{Op, Queue};

/// How long a socket waits to hear what other nodes have of a channel, before it is let in with what is known here.
const ATTACH_WITHIN: Duration = Duration::from_secs(1);
/// A channel that nobody on this node is subscribed to any more is listened to this much longer.
const DETACH_AFTER: Duration = Duration::from_secs(5);
/// How long a node that ends waits for what it has to tell.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);
/// A Redis that owes an answer for this long counts as down: publications are refused.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// How this node joins others.
#[derive(Clone)]
pub struct ClusterConfig {
    /// `redis://…`, `rediss://…`, `redis+sentinel://host,host/master`.
    pub redis_url: String,
    /// Before all keys and topics, so that clusters can share a Redis.
    pub prefix: String,
    /// What this node says of itself to the others, beside its connections; asked once a second.
    pub about: About,
}

/// Tells what a node is and uses, as a JSON object.
pub type About = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

impl std::fmt::Debug for ClusterConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The address may hold a password.
        f.debug_struct("ClusterConfig").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Is this an address of a Redis? Gives what is wrong with it.
pub fn check_url(url: &str) -> Result<(), String> {
    address::Address::parse(url).map(drop)
}

/// What joins a node to others.
pub(crate) struct Cluster {
    pub(crate) config: ClusterConfig,
    pub(crate) node: Arc<str>,
    /// Names this process in its publications.
    run: u64,
    next_seq: AtomicU64,
    pub(crate) queue: Queue,
    waiting: Mutex<HashMap<(u64, Arc<str>), Waiting>>,
    /// Redis answers, and it has our part.
    ready: AtomicBool,
    /// Since when an answer is due, ms since the start of the process + 1; 0: none is.
    asked: AtomicU64,
    started: Instant,
    /// Ends that wait for their confirmation.
    pub(crate) confirming: AtomicUsize,
    /// Channels of the service's own app that somebody watches on any node.
    pub(crate) watched: Mutex<HashSet<Arc<str>>>,
    /// Questions for rows that wait for answers.
    asked_rows: Mutex<rows::Asked>,
    /// The nodes that were alive at the last beat.
    pub(crate) alive: Mutex<Vec<NodeInfo>>,
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeInfo {
    /// Its name.
    pub name: String,
    /// What it said last.
    pub says: serde_json::Value,
}

/// Sockets that wait for a channel.
struct Waiting {
    since: Instant,
    places: Vec<(Place, Arc<str>)>,
}

impl Cluster {
    pub(crate) fn new(config: ClusterConfig, node: Arc<str>) -> Cluster {
        Cluster {
            config,
            node,
            run: rand::random(),
            next_seq: 1.into(),
            queue: Queue::default(),
            waiting: Mutex::default(),
            ready: false.into(),
            asked: 0.into(),
            started: Instant::now(),
            confirming: 0.into(),
            watched: Mutex::default(),
            asked_rows: Mutex::default(),
            alive: Mutex::default(),
        }
    }

    /// Does Redis take what we tell?
    pub(crate) fn is_up(&self) -> bool {
        self.ready.load(Relaxed) && !self.is_late()
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64 + 1
    }

    fn is_late(&self) -> bool {
        let asked = self.asked.load(Relaxed);
        asked != 0 && self.now() - asked.min(self.now()) > ANSWER_WITHIN.as_millis() as u64
    }

    /// A publication for the nodes that hold the channel. Called under the channel's lock, so that all see one order.
    pub(crate) fn publish(
        &self,
        app: &App,
        channel: &str,
        sort: Sort,
        frame: bytes::Bytes,
        exclude: Option<SocketId>,
    ) {
        if app.loaded().internal && !self.is_up() {
            return;
        }
        let cache = sort == Sort::Api && ChannelKind::of(channel).cache;
        self.queue.push_with(|| {
            let seq = self.next_seq.fetch_add(1, Relaxed);
            let publication = Publication { sort, run: self.run, seq, exclude, frame: frame.clone() };
            Op::Publish {
                topic: self.topic(app.id(), channel),
                payload: publication.encode(),
                cache: cache.then(|| (self.key(app.id(), 'e', channel), frame)),
            }
        });
    }

    /// Is this channel of the service's own app watched on any node, as far as was known a second ago?
    pub(crate) fn is_watched(&self, channel: &str) -> bool {
        self.watched.lock().contains(channel)
    }

    /// Was this one sent by this process?
    pub(crate) fn is_own(&self, publication: &Publication) -> bool {
        publication.run == self.run
    }

    /// Our part of a channel changed. Called under its lock.
    pub(crate) fn touch(&self, node: &Node, app: &Arc<App>, channel: &mut Channel) {
        let here = channel.here();
        let (name, now) = (channel.name.clone(), Instant::now());
        let Some(remote) = &mut channel.remote else { return };
        if !std::mem::replace(&mut remote.dirty, true) {
            self.queue.push(Op::Part(app.clone(), name.clone()));
        }
        if here == 0 && !std::mem::replace(&mut remote.detaching, true) {
            node.later().at(now + DETACH_AFTER, Task::Detach(app.clone(), name));
        }
    }

    /// A socket waits to hear what others have of a channel; it is sent [`Command::Resume`] then.
    pub(crate) fn attach(&self, node: &Node, app: &Arc<App>, channel: &str, place: Place) {
        let name: Arc<str> = channel.into();
        let mut waiting = self.waiting.lock();
        let is_new = match waiting.entry((app.id(), name.clone())) {
            std::collections::hash_map::Entry::Occupied(mut held) => {
                held.get_mut().places.push((place, name.clone()));
                false
            }
            std::collections::hash_map::Entry::Vacant(free) => {
                if !app.channels.attach(channel) {
                    // It came in between.
                    node.shard(place.shard).push(Command::Resume(place, name));
                    return;
                }
                free.insert(Waiting { since: Instant::now(), places: vec![(place, name.clone())] });
                true
            }
        };
        drop(waiting);
        if is_new {
            self.queue.push(Op::Attach(app.clone(), name.clone()));
            // Nobody may ever join it.
            node.later().at(Instant::now() + DETACH_AFTER, Task::Detach(app.clone(), name));
        }
    }

    /// Hears what others have of a channel of our own, without a socket that waits for it.
    pub(crate) fn listen(&self, node: &Node, app: &Arc<App>, channel: &str) {
        if app.channels.attach(channel) {
            let name: Arc<str> = channel.into();
            self.queue.push(Op::Attach(app.clone(), name.clone()));
            node.later().at(Instant::now() + DETACH_AFTER, Task::Detach(app.clone(), name));
        }
    }

    /// It is known what others have of a channel.
    pub(crate) fn attached(&self, node: &Node, app_id: u64, channel: &Arc<str>) {
        let waiting = self.waiting.lock().remove(&(app_id, channel.clone()));
        waiting.into_iter().for_each(|waiting| resume(node, waiting));
    }

    /// Who waits too long is let in with what is known here.
    pub(crate) fn resume_late(&self, node: &Node, now: Instant) {
        let late = |waiting: &Waiting| !self.is_up() || now.duration_since(waiting.since) > ATTACH_WITHIN;
        let mut all = self.waiting.lock();
        if all.values().any(late) {
            let names: Vec<_> = all.iter().filter(|(_, w)| late(w)).map(|(name, _)| name.clone()).collect();
            names.iter().filter_map(|name| all.remove(name)).for_each(|waiting| resume(node, waiting));
        }
    }

    /// Asks, whether or not all that this node has is told yet.
    pub(crate) async fn ask_always(&self, command: redis::Cmd) -> Option<redis::Value> {
        let (to, answer) = tokio::sync::oneshot::channel();
        self.queue.push(Op::Ask(command, to));
        let answer = tokio::time::timeout(ANSWER_WITHIN, answer).await.ok()?.ok()?;
        (!matches!(answer, redis::Value::ServerError(_))).then_some(answer)
    }

    /// Must a socket wait for this channel now? Not while there is nobody to ask.
    pub(crate) fn must_attach(&self) -> bool {
        self.is_up()
    }

    /// Lets a channel go that nobody on this node needs any more.
    pub(crate) fn detach(&self, node: &Node, app: &Arc<App>, name: &Arc<str>) {
        let again =
            || node.later().at(Instant::now() + DETACH_AFTER, Task::Detach(app.clone(), name.clone()));
        let watched = name.strip_prefix(ONLINE).is_some_and(|user| app.users.is_watched(user));
        if watched || self.waiting.lock().contains_key(&(app.id(), name.clone())) || !self.is_up() {
            return again();
        }
        let mut wait = false;
        app.channels.with(name, |channel| {
            if let Some(remote) = &mut channel.remote {
                wait = remote.dirty && channel.subscriptions() == 0;
                channel.remote.iter_mut().for_each(|remote| remote.detaching = wait);
            }
        });
        if wait {
            return again();
        }
        let may = |channel: &mut Channel| channel.remote.as_ref().is_some_and(|remote| !remote.dirty);
        app.channels.detach(name, may, || self.queue.push(Op::Detach(app.id(), name.clone())));
    }

    /// Waits until the ends that wait for their confirmation are told, and what was to be told is.
    pub(crate) async fn settle(&self) {
        let until = tokio::time::Instant::now() + SETTLE_WITHIN;
        while self.is_up()
            && (self.confirming.load(Relaxed) > 0 || !self.queue.is_empty())
            && tokio::time::Instant::now() < until
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// `prefix:{app}:kind:rest`: one slot for all of an app.
    pub(crate) fn key(&self, app_id: u64, kind: char, rest: &str) -> String {
        format!("{}:{{{app_id}}}:{kind}:{rest}", self.config.prefix)
    }

    pub(crate) fn topic(&self, app_id: u64, channel: &str) -> String {
        self.key(app_id, 'm', channel)
    }

    /// The app and the channel of a topic.
    fn read_topic<'a>(&self, topic: &'a str) -> Option<(u64, &'a str)> {
        let rest = topic.strip_prefix(self.config.prefix.as_str())?.strip_prefix(":{")?;
        let (app, channel) = rest.split_once("}:m:")?;
        Some((app.parse().ok()?, channel))
    }

    /// The topic of this node alone, and the one of all.
    fn own_topic(&self) -> String {
        format!("{}:n:{}", self.config.prefix, self.node)
    }

    fn common_topic(&self) -> String {
        format!("{}:all", self.config.prefix)
    }

    /// Tells every node, this one too.
    pub(crate) fn notify(&self, name: &str, texts: &[&str]) {
        let (topic, payload) = (self.common_topic(), message::notice(name, texts));
        self.queue.push(Op::Publish { topic, payload, cache: None });
    }
}

fn resume(node: &Node, waiting: Waiting) {
    for (place, name) in waiting.places {
        node.shard(place.shard).push(Command::Resume(place, name));
    }
}
