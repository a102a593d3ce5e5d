//! Who is alive. A node says so every second, with its numbers; one that is silent for [`DEAD_AFTER`] is buried by another: its
//! part of every channel is taken back as if its sockets had left.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisResult, Value, from_redis_value};

use super::facts::{self, Told};
use super::link::Scripts;
use super::places::{Compared, cap_scope};
use super::{Cluster, NodeInfo};
use crate::node::{Node, SYSTEM_APP_ID};

/// A node that says nothing for this long is dead.
pub(super) const DEAD_AFTER: Duration = Duration::from_secs(10);
pub(super) const DEAD_AFTER_MS: u64 = DEAD_AFTER.as_millis() as u64;
const BEAT_EVERY: Duration = Duration::from_secs(1);

impl Cluster {
    fn living_key(&self) -> String {
        format!("{}:nodes", self.config.prefix)
    }

    fn node_key(&self, kind: &str, node: &str) -> String {
        format!("{}:{kind}:{node}", self.config.prefix)
    }
}

/// The apps of which a node has a part.
pub(super) fn apps_key(cluster: &Cluster, node: &str) -> String {
    cluster.node_key("apps", node)
}

/// Was this node one of the living until now?
pub(super) async fn is_alive(cluster: &Cluster, redis: &mut MultiplexedConnection) -> RedisResult<bool> {
    let score: Option<f64> =
        redis::cmd("ZSCORE").arg(cluster.living_key()).arg(&*cluster.node).query_async(redis).await?;
    Ok(score.is_some())
}

/// Who gave a sign of life since that time of Redis.
pub(super) async fn living_since(
    cluster: &Cluster,
    redis: &mut MultiplexedConnection,
    since_ms: u64,
) -> RedisResult<Vec<String>> {
    let mut command = redis::cmd("ZRANGEBYSCORE");
    command.arg(cluster.living_key()).arg(since_ms).arg("+inf");
    command.query_async(redis).await
}

fn beat_command(cluster: &Cluster, hash: &str, says: &str) -> Cmd {
    let mut command = redis::cmd("EVALSHA");
    command
        .arg(hash)
        .arg(2)
        .arg(cluster.living_key())
        .arg(cluster.node_key("node", &cluster.node))
        .arg(&*cluster.node)
        .arg(says)
        .arg(DEAD_AFTER_MS)
        .arg(cluster.node_key("bury", ""));
    command
}

/// One sign of life, without looking for the dead.
pub(super) async fn beat(
    cluster: &Cluster,
    scripts: &Scripts,
    redis: &mut MultiplexedConnection,
) -> RedisResult<()> {
    let says = (cluster.config.about)().to_string();
    beat_command(cluster, scripts.beat.get_hash(), &says).query_async::<Value>(redis).await.map(drop)
}

/// Beats, buries and looks around, as long as the connection holds.
pub(super) async fn run(node: Node, cluster: Arc<Cluster>) -> RedisResult<()> {
    let hash = Scripts::new().beat.get_hash().to_owned();
    let mut tick = tokio::time::interval(BEAT_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut first, mut compared) = (true, Compared::default());
    loop {
        tick.tick().await;
        let says = node.says(&cluster).to_string();
        let Some(answer) = cluster.ask_always(beat_command(&cluster, &hash, &says)).await else { continue };
        let answer: Vec<String> = from_redis_value(answer).unwrap_or_default();
        let [lived, dead @ ..] = answer.as_slice() else { continue };
        if !std::mem::take(&mut first) && lived == "0" {
            // We were buried alive; the connection is made anew, and with it all is told anew.
            return Err((redis::ErrorKind::Client, "this node was taken for dead").into());
        }
        node.compare_places(&cluster, &mut compared);
        for dead in dead {
            let (node, cluster, dead) = (node.clone(), cluster.clone(), dead.clone());
            tokio::spawn(async move {
                if bury(&node, &cluster, &dead).await.is_none() {
                    tracing::warn!("{dead} is dead and not yet buried");
                }
            });
        }
        look_around(&cluster).await;
    }
}

/// Who is there, and which of the service's own channels are watched.
async fn look_around(cluster: &Cluster) {
    let mut command = redis::cmd("ZRANGE");
    command.arg(cluster.living_key()).arg(0).arg(-1);
    let names = cluster.ask(command).await.and_then(|names| from_redis_value::<Vec<String>>(names).ok());
    let Some(names) = names.filter(|names| !names.is_empty()) else { return };
    let mut command = redis::cmd("MGET");
    names.iter().for_each(|name| {
        command.arg(cluster.node_key("node", name));
    });
    let said = cluster.ask(command).await.and_then(|said| from_redis_value::<Vec<Option<String>>>(said).ok());
    let Some(said) = said else { return };
    let all = names.into_iter().zip(said);
    *cluster.alive.lock() = all
        .filter_map(|(name, says)| Some(NodeInfo { name, says: serde_json::from_str(&says?).ok()? }))
        .collect();
    let mut command = redis::cmd("HKEYS");
    command.arg(cluster.key(SYSTEM_APP_ID, 'i', ""));
    if let Some(watched) = cluster.ask(command).await.and_then(|w| from_redis_value::<Vec<String>>(w).ok()) {
        *cluster.watched.lock() = watched.into_iter().map(Into::into).collect();
    }
}

/// Takes back all that a dead node had.
async fn bury(node: &Node, cluster: &Arc<Cluster>, dead: &str) -> Option<()> {
    let members = async |key: String| {
        let mut command = redis::cmd("SMEMBERS");
        command.arg(key);
        from_redis_value::<Vec<String>>(cluster.ask(command).await?).ok()
    };
    let hash = Scripts::new().change.get_hash().to_owned();
    let apps = members(cluster.node_key("apps", dead)).await?;
    for app_id in apps.iter().filter_map(|id| id.parse::<u64>().ok()) {
        let app = node.apps().find_by_id(app_id).await.ok().flatten();
        for channel in members(cluster.key(app_id, 'o', dead)).await? {
            let mut command = redis::cmd("EVALSHA");
            command.arg(&hash).arg(5);
            facts::change(&mut command, cluster, dead, app_id, &channel, &Told::nothing());
            let answer = cluster.ask(command).await?;
            if let (Some(app), Value::Array(answer)) = (&app, &answer) {
                facts::took(node, cluster, app, &channel.as_str().into(), answer);
            }
        }
        cluster.bury_places(dead, &cap_scope(app_id)).await?;
    }
    for scope in apps.iter().filter_map(|entry| entry.strip_prefix("s:")) {
        cluster.bury_places(dead, scope).await?;
    }
    let mut command = redis::cmd("DEL");
    command.arg(cluster.node_key("apps", dead));
    cluster.ask(command).await?;
    let mut command = redis::cmd("ZREM");
    command.arg(cluster.living_key()).arg(dead);
    cluster.ask(command).await?;
    tracing::warn!("node {dead} is dead; what it held was given back ({} apps)", apps.len());
    Some(())
}
