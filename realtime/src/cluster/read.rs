//! Questions about channels of the whole cluster. What this node listens to it knows; the rest Redis is asked for, and without
//! Redis the answer is what this node knows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::from_redis_value;

use super::{Cluster, NodeInfo};
use crate::app::App;
use crate::cache::Cached;
use crate::hub::ChannelFacts;
use crate::node::Node;
use crate::users::ONLINE;

/// Distinct users of each of the channels whose user hashes are the keys.
const COUNT_USERS: &str = "
local counts = {}
for i, key in ipairs(KEYS) do
  local seen, n = {}, 0
  for _, field in ipairs(redis.call('HKEYS', key)) do
    local node, user = string.match(field, '^([^|]*)|(.*)$')
    if node and node ~= '~' and not seen[user] then
      seen[user] = true
      n = n + 1
    end
  end
  counts[i] = n
end
return counts";

impl Cluster {
    async fn ask_for<T: redis::FromRedisValue>(&self, command: redis::Cmd) -> Option<T> {
        from_redis_value(self.ask(command).await?).ok()
    }

    async fn users_of(&self, app: &App, names: &[&str]) -> Option<Vec<u32>> {
        let mut command = redis::cmd("EVAL");
        command.arg(COUNT_USERS).arg(names.len());
        names.iter().for_each(|name| {
            command.arg(self.key(app.id(), 'u', name));
        });
        self.ask_for(command).await
    }
}

impl Node {
    /// The cluster, if it is to be asked about this channel.
    fn must_ask(&self, app: &App, channel: &str) -> Option<&Arc<Cluster>> {
        self.cluster().filter(|_| !app.channels.is_attached(channel))
    }

    /// A channel's numbers over all nodes; `None` if nobody is subscribed.
    pub async fn channel(&self, app: &App, name: &str) -> Option<ChannelFacts> {
        let Some(cluster) = self.must_ask(app, name) else { return app.channels.get(name) };
        let mut command = redis::cmd("HGET");
        command.arg(cluster.key(app.id(), 'i', "")).arg(name);
        let Some(subscriptions) = cluster.ask_for::<Option<u32>>(command).await else {
            return app.channels.get(name);
        };
        let users = match name.starts_with("presence-") {
            true => cluster.users_of(app, &[name]).await.and_then(|counts| counts.first().copied()),
            false => None,
        };
        Some(ChannelFacts { name: name.into(), subscriptions: subscriptions?, users })
    }

    /// All occupied channels of an app whose name starts with `prefix`, over all nodes.
    pub async fn channels(&self, app: &App, prefix: &str) -> Vec<ChannelFacts> {
        let known = app.channels.list(prefix);
        let Some(cluster) = self.cluster() else { return known };
        let mut command = redis::cmd("HGETALL");
        command.arg(cluster.key(app.id(), 'i', ""));
        let Some(all) = cluster.ask_for::<Vec<(String, u32)>>(command).await else { return known };
        let all: Vec<_> = all
            .into_iter()
            .filter(|(name, n)| name.starts_with(prefix) && *n > 0 && !name.starts_with(ONLINE))
            .collect();
        let with_users: Vec<&str> =
            all.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with("presence-")).collect();
        let counts = match with_users.is_empty() {
            true => Vec::new(),
            false => cluster.users_of(app, &with_users).await.unwrap_or_default(),
        };
        let mut counts = counts.into_iter();
        all.into_iter()
            .map(|(name, subscriptions)| {
                let users = name.starts_with("presence-").then(|| counts.next()).flatten();
                ChannelFacts { name: name.into(), subscriptions, users }
            })
            .collect()
    }

    /// The distinct users of a presence channel, over all nodes.
    pub async fn channel_users(&self, app: &App, name: &str) -> Vec<Arc<str>> {
        let Some(cluster) = self.must_ask(app, name) else { return app.channels.user_ids(name) };
        let mut command = redis::cmd("HKEYS");
        command.arg(cluster.key(app.id(), 'u', name));
        let Some(fields) = cluster.ask_for::<Vec<String>>(command).await else {
            return app.channels.user_ids(name);
        };
        let users = fields.iter().filter_map(|field| field.split_once('|')).filter(|(node, _)| *node != "~");
        users.map(|(_, user)| user).collect::<BTreeSet<_>>().into_iter().map(Into::into).collect()
    }

    /// What a cache channel holds.
    pub async fn cached(&self, app: &App, name: &str) -> Option<Cached> {
        let Some(cluster) = self.must_ask(app, name) else { return app.cached(name) };
        let key = cluster.key(app.id(), 'e', name);
        let (mut get, mut ttl) = (redis::cmd("GET"), redis::cmd("PTTL"));
        get.arg(&key);
        ttl.arg(&key);
        let Some(frame) = cluster.ask_for::<Option<Vec<u8>>>(get).await else { return app.cached(name) };
        let ttl = cluster.ask_for::<i64>(ttl).await.and_then(|ms| u64::try_from(ms).ok())?;
        app.cache.put_for(name, frame?.into(), Instant::now(), Duration::from_millis(ttl));
        app.cached(name)
    }

    /// The nodes of the cluster, this one too, as they were a second ago. Empty where a node is alone.
    pub fn nodes(&self) -> Vec<NodeInfo> {
        self.cluster().map(|cluster| cluster.alive.lock().clone()).unwrap_or_default()
    }

    /// Does the node reach the others? `None` where it is alone.
    pub fn is_in_touch(&self) -> Option<bool> {
        self.cluster().map(|cluster| cluster.is_up())
    }

    /// What others of the cluster have: all connections of an app.
    pub async fn connections(&self, app: &App) -> u64 {
        let here = app.meter.connections();
        let Some(cluster) = self.cluster() else { return here };
        let mut command = redis::cmd("HGETALL");
        command.arg(cluster.places_key(&super::places::cap_scope(app.id())));
        let Some(all) = cluster.ask_for::<Vec<(String, i64)>>(command).await else { return here };
        here + all
            .iter()
            .filter(|(node, _)| **node != *cluster.node)
            .map(|(_, n)| (*n).max(0) as u64)
            .sum::<u64>()
    }
}
