//! The connection to Redis: one, for commands and for what topics bring, so that answers and news have one order. When it breaks
//! it is made anew, and everything that this node has is told again.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, RedisResult, Value};
use tokio::sync::{mpsc, oneshot};

use super::address::Address;
use super::queue::Op;
use super::{Cluster, facts, lease};
use crate::app::App;
use crate::node::Node;

/// An answer that takes longer means that the connection is of no use any more.
const ANSWER_MAX: Duration = Duration::from_secs(30);
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Pauses between attempts to connect: this long at first, twice as long each time, up to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Bytes of news that wait for this node to take them; beyond it the connection is given up, and clients are told by 4200.
const NEWS_BYTES_MAX: usize = 128 * 1_024 * 1_024;
/// Clients that may have missed something are closed with 4200 over this time.
const RENEW_OVER: Duration = Duration::from_secs(5);
/// How long publications that may be lost with a Redis wait for the other nodes to listen again.
const PEERS_WITHIN: Duration = Duration::from_secs(5);

const CHANGE: &str = include_str!("scripts/change.lua");
const CONFIRM: &str = include_str!("scripts/confirm.lua");
const LOAD: &str = include_str!("scripts/load.lua");
const BEAT: &str = include_str!("scripts/beat.lua");

/// The scripts, by their hashes.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) change: redis::Script,
    pub(super) confirm: redis::Script,
    pub(super) load: redis::Script,
    pub(super) beat: redis::Script,
}

impl Scripts {
    pub(super) fn new() -> Scripts {
        let [change, confirm, load, beat] = [CHANGE, CONFIRM, LOAD, BEAT].map(redis::Script::new);
        Scripts { change, confirm, load, beat }
    }
}

/// What is remembered from one connection to the next.
#[derive(Debug, Default)]
struct Before {
    /// The Redis process that we were connected to.
    run_id: Option<String>,
    /// The nodes that were alive then.
    peers: Vec<String>,
}

/// Runs until the process ends.
pub(crate) async fn run(node: Node, cluster: Arc<Cluster>) {
    let mut before = Before::default();
    let mut pause = RETRY.0;
    let scripts = Scripts::new();
    loop {
        let was_ready = |cluster: &Cluster| cluster.ready.swap(false, Relaxed);
        let ended = session(&node, &cluster, &scripts, &mut before).await;
        let error = ended.err().map_or_else(|| "the connection ended".to_owned(), |error| error.to_string());
        if was_ready(&cluster) {
            pause = RETRY.0;
            tracing::warn!(%error, "Redis is gone: publications are refused until it is back");
        } else {
            tracing::warn!(%error, "Redis can't be reached");
        }
        cluster.asked.store(0, Relaxed);
        tokio::time::sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
        pause = (pause * 2).min(RETRY.1);
    }
}

async fn connect(
    cluster: &Cluster,
    news: mpsc::UnboundedSender<PushInfo>,
) -> RedisResult<MultiplexedConnection> {
    let address = Address::parse(&cluster.config.redis_url).map_err(|text| {
        redis::RedisError::from((redis::ErrorKind::InvalidClientConfig, "redis_url", text))
    })?;
    let client = tokio::time::timeout(CONNECT_WITHIN, address.client())
        .await
        .map_err(|_| redis::RedisError::from((redis::ErrorKind::Io, "the sentinels don't answer")))??;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_WITHIN))
        .set_response_timeout(Some(ANSWER_MAX))
        .set_push_sender(news);
    client.get_multiplexed_async_connection_with_config(&config).await
}

async fn session(
    node: &Node,
    cluster: &Arc<Cluster>,
    scripts: &Scripts,
    before: &mut Before,
) -> RedisResult<()> {
    let (to_news, mut news) = mpsc::unbounded_channel();
    let mut redis = connect(cluster, to_news).await?;
    for script in [&scripts.change, &scripts.confirm, &scripts.load, &scripts.beat] {
        script.load_async(&mut redis).await?;
    }
    let server: String = redis::cmd("INFO").arg("server").query_async(&mut redis).await?;
    let run_id = server.lines().find_map(|line| line.strip_prefix("run_id:")).unwrap_or_default().to_owned();
    let same_redis = before.run_id.as_ref() == Some(&run_id);
    let is_back = before.run_id.replace(run_id).is_some();
    redis.subscribe(&[cluster.own_topic(), cluster.common_topic()]).await?;

    let lived = lease::is_alive(cluster, &mut redis).await?;
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(&mut redis).await?;
    let since_ms = seconds * 1_000 + micros / 1_000;
    cluster.queue.forget_states();
    let held = cluster.queue.take_publications();
    let (begin, begun) = oneshot::channel::<()>();
    let tell = async {
        let mut listed = HashSet::new();
        if is_back && !same_redis {
            // It knows nobody: everybody tells what they have before anybody asks what there is, and what may not have arrived
            // goes again when all listen.
            tell_anew(node, cluster, true, Op::Listen);
            drain(node, cluster, scripts, &mut redis, &mut listed).await?;
            // Who came in the last second is known to the list alone, if it has one.
            let mut peers = std::mem::take(&mut before.peers);
            peers.extend(
                lease::living_since(cluster, &mut redis, since_ms.saturating_sub(lease::DEAD_AFTER_MS))
                    .await?,
            );
            wait_for_peers(cluster, scripts, &mut redis, peers, since_ms).await?;
            held_channels(node, |app, name| cluster.queue.push(Op::Attach(app.clone(), name)));
        } else {
            tell_anew(node, cluster, is_back && lived, Op::Attach);
        }
        cluster.queue.again(held);
        drain(node, cluster, scripts, &mut redis, &mut listed).await?;
        if is_back && same_redis {
            // While we were away others may have published.
            tracing::warn!("Redis went on without this node: clients are told to connect again");
            node.renew(RENEW_OVER);
        }
        cluster.ready.store(true, Relaxed);
        tracing::info!("joined the cluster as {}", cluster.node);
        let _ = begin.send(());
        loop {
            drain(node, cluster, scripts, &mut redis, &mut listed).await?;
            cluster.queue.news.notified().await;
        }
    };
    let beat = async {
        let _ = begun.await;
        lease::run(node.clone(), cluster.clone()).await
    };
    let hear = hear(node, cluster, &mut news);
    let ended = tokio::select! {
        ended = tell => ended,
        () = hear => Ok(()),
        never = beat => never,
    };
    before.peers = cluster.alive.lock().iter().map(|one| one.name.clone()).collect();
    ended
}

/// A Redis that was started anew, or was a replica until now, has nobody who listens: what is sent reaches those only who have come
/// to it as well, and so have given a sign of life there since.
async fn wait_for_peers(
    cluster: &Cluster,
    scripts: &Scripts,
    redis: &mut MultiplexedConnection,
    peers: Vec<String>,
    since_ms: u64,
) -> RedisResult<()> {
    let until = tokio::time::Instant::now() + PEERS_WITHIN;
    loop {
        lease::beat(cluster, scripts, redis).await?;
        let alive = lease::living_since(cluster, redis, since_ms).await?;
        if peers.iter().all(|peer| alive.contains(peer)) || tokio::time::Instant::now() > until {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// All channels that this node holds.
fn held_channels(node: &Node, mut each: impl FnMut(&Arc<App>, Arc<str>)) {
    for app in node.apps().all() {
        app.channels.held().into_iter().for_each(|name| each(&app, name));
    }
}

/// Puts everything that this node holds into the queue: to listen to it, and to tell our part of it. `known`: the others know
/// our part, unless Redis lost it, so that it is no news.
fn tell_anew(node: &Node, cluster: &Cluster, known: bool, listen: fn(Arc<App>, Arc<str>) -> Op) {
    held_channels(node, |app, name| {
        app.channels.with(&name, |channel| {
            let here = channel.here();
            let Some(remote) = &mut channel.remote else { return };
            remote.told &= known;
            remote.anew = true;
            remote.dirty = here > 0 || remote.told;
            let is_dirty = remote.dirty;
            cluster.queue.push(listen(app.clone(), name.clone()));
            if is_dirty {
                cluster.queue.push(Op::Part(app.clone(), name.clone()));
            }
        });
    });
}

/// From the queue to Redis, one pipeline after the other, until it is empty.
async fn drain(
    node: &Node,
    cluster: &Arc<Cluster>,
    scripts: &Scripts,
    redis: &mut MultiplexedConnection,
    listed: &mut HashSet<u64>,
) -> RedisResult<()> {
    loop {
        let ops = cluster.queue.take();
        if ops.is_empty() {
            return Ok(());
        }
        let mut pipe = redis::Pipeline::with_capacity(ops.len());
        let mut counts = Vec::with_capacity(ops.len());
        for op in &ops {
            let before = pipe.len();
            if let Op::Part(app, _) = op
                && listed.insert(app.id())
            {
                pipe.cmd("SADD").arg(lease::apps_key(cluster, &cluster.node)).arg(app.id());
            }
            add(cluster, scripts, &mut pipe, op);
            counts.push(pipe.len() - before);
        }
        cluster.asked.store(cluster.now(), Relaxed);
        let count = pipe.len();
        let answers = match count {
            0 => Ok(Vec::new()),
            _ => redis.send_packed_commands(&pipe, 0, count).await,
        };
        let answers = match answers {
            Ok(answers) => answers,
            Err(error) => {
                cluster.queue.again(ops);
                return Err(error);
            }
        };
        cluster.asked.store(0, Relaxed);
        let mut answers = answers.into_iter();
        for (op, count) in ops.into_iter().zip(counts) {
            answers.by_ref().take(count - 1).for_each(complain);
            match op {
                Op::Publish { .. } | Op::Listen(..) | Op::Attach(..) | Op::Detach(..) => {
                    answers.next().into_iter().for_each(complain)
                }
                Op::Part(app, name) => match answers.next() {
                    Some(Value::Array(facts)) => facts::took(node, cluster, &app, &name, &facts),
                    other => other.into_iter().for_each(complain),
                },
                Op::Then(_, then) => then(answers.next().unwrap_or(Value::Nil)),
                Op::Ask(_, to) => drop(to.send(answers.next().unwrap_or(Value::Nil))),
            }
        }
    }
}

fn complain(answer: Value) {
    if let Value::ServerError(error) = answer {
        tracing::error!(?error, "Redis refused a command");
    }
}

fn add(cluster: &Cluster, scripts: &Scripts, pipe: &mut redis::Pipeline, op: &Op) {
    match op {
        Op::Publish { topic, payload, cache } => {
            if let Some((key, frame)) = cache {
                let ttl = protocol::limits::CACHE_SECONDS;
                pipe.cmd("SET").arg(key).arg(&frame[..]).arg("EX").arg(ttl);
            }
            pipe.cmd("PUBLISH").arg(topic).arg(&payload[..]);
        }
        Op::Listen(app, name) => {
            pipe.cmd("SUBSCRIBE").arg(cluster.topic(app.id(), name));
        }
        Op::Attach(app, name) => {
            pipe.cmd("SUBSCRIBE").arg(cluster.topic(app.id(), name));
            pipe.cmd("EVALSHA")
                .arg(scripts.load.get_hash())
                .arg(3)
                .arg(cluster.key(app.id(), 'c', name))
                .arg(cluster.key(app.id(), 'u', name))
                .arg(cluster.key(app.id(), 'e', name))
                .arg(&*cluster.node)
                .arg(cluster.own_topic())
                .arg(app.id())
                .arg(&**name);
        }
        Op::Detach(app, name) => {
            pipe.cmd("UNSUBSCRIBE").arg(cluster.topic(*app, name));
        }
        Op::Part(app, name) => add_part(cluster, scripts, pipe, app, name),
        Op::Then(cmd, _) | Op::Ask(cmd, _) => {
            pipe.add_command(cmd.clone());
        }
    }
}

fn add_part(cluster: &Cluster, scripts: &Scripts, pipe: &mut redis::Pipeline, app: &App, name: &Arc<str>) {
    let mut told = facts::Told::default();
    app.channels.with(name, |channel| told = facts::Told::of(channel));
    let mut command = redis::cmd("EVALSHA");
    command.arg(scripts.change.get_hash()).arg(5);
    facts::change(&mut command, cluster, &cluster.node, app.id(), name, &told);
    pipe.add_command(command);
}

/// From topics to hubs, until the connection ends.
async fn hear(node: &Node, cluster: &Cluster, news: &mut mpsc::UnboundedReceiver<PushInfo>) {
    let mut heard = super::apply::Heard::default();
    while let Some(PushInfo { kind, data }) = news.recv().await {
        match kind {
            PushKind::Message | PushKind::SMessage => {
                let mut data = data.into_iter();
                if let (Some(Value::BulkString(topic)), Some(Value::BulkString(payload))) =
                    (data.next(), data.next())
                    && let Ok(topic) = std::str::from_utf8(&topic)
                {
                    node.hear(cluster, &mut heard, topic, Bytes::from(payload));
                }
            }
            PushKind::Disconnection => return,
            _ => {}
        }
        if news.len() > NEWS_BYTES_MAX / 1_024 {
            tracing::error!("this node is too slow for what the others publish");
            return;
        }
    }
}
