//! Places of connections within limits that hold over all nodes. A connection of a limited plan asks Redis for its place, in the
//! pipeline with all else, and gives it back when it ends: no more get in than the limit has, whichever nodes they come to. Once
//! a second each node compares its numbers with what Redis has of it, and hears the others'. Without Redis a node counts its
//! own connections and what it last heard of the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use redis::{Cmd, from_redis_value};
use tokio::sync::oneshot;

use super::Cluster;
use super::queue::Op;
use crate::app::{App, Limits};
use crate::meter::Permit;
use crate::node::Node;

const PLACE: &str = include_str!("scripts/place.lua");

/// Seconds after which a quiet scope's numbers are compared again.
const COMPARE_QUIET_EVERY: u64 = 10;

/// What of a scope's connections Redis and other nodes have.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Connections on other nodes, as last heard.
    pub(crate) elsewhere: AtomicU64,
    /// Rises when a place is taken or given back: a comparison meanwhile says nothing.
    changes: AtomicU64,
    /// Connections that ask for a place right now.
    asking: AtomicU64,
}

impl Cluster {
    pub(super) fn places_key(&self, scope: &str) -> String {
        format!("{}:{{s:{scope}}}:q", self.config.prefix)
    }

    /// `Some(Ok)`: there is a place, and it is taken. `None`: nobody can say.
    async fn place(&self, scope: &str, limit: u64) -> Option<Result<(), u64>> {
        let mut command = redis::cmd("EVAL");
        command.arg(PLACE).arg(1).arg(self.places_key(scope)).arg(&*self.node).arg(limit);
        match from_redis_value::<(u64, u64)>(self.ask(command).await?).ok()? {
            (1, _) => Some(Ok(())),
            (_, taken) => Some(Err(taken)),
        }
    }

    fn add(&self, scope: &str, n: i64) {
        let mut command = redis::cmd("HINCRBY");
        command.arg(self.places_key(scope)).arg(&*self.node).arg(n);
        self.queue.push(unanswered(command));
    }

    /// Gives a place back.
    pub(crate) fn give_back(&self, scope: &str, shared: &Shared) {
        shared.changes.fetch_add(1, Relaxed);
        self.add(scope, -1);
    }
}

fn unanswered(command: Cmd) -> Op {
    Op::Ask(command, oneshot::channel().0)
}

/// Gives the places of a connection back that all nodes share.
pub(crate) fn give_back(app: &App, placed: [bool; 2]) {
    let Some(cluster) = app.cluster.get() else { return };
    if placed[0] {
        cluster.give_back(&app.loaded().meter_scope, app.scope.shared());
    }
    if placed[1] {
        cluster.give_back(&cap_scope(app.id()), app.meter.shared());
    }
}

/// The scope of an app's own cap.
pub(crate) fn cap_scope(app_id: u64) -> String {
    format!("app:{app_id}:cap")
}

impl Node {
    /// A place within all limits of the app, or the limit that is reached: `(in use, limit)`.
    pub(crate) async fn take_place(&self, app: &Arc<App>) -> Result<Permit, (u64, u64)> {
        let limits = app.snapshot().limits.clone();
        let limited = limits.connections_max.is_some() || limits.app_connections_max.is_some();
        let Some(cluster) = self.cluster().filter(|_| limited) else { return Permit::take(app) };
        let _ = app.cluster.set(cluster.clone());
        app.scope.shared().asking.fetch_add(1, Relaxed);
        app.meter.shared().asking.fetch_add(1, Relaxed);
        let placed = self.take_places(cluster, app, &limits).await;
        for shared in [app.scope.shared(), app.meter.shared()] {
            shared.changes.fetch_add(1, Relaxed);
            shared.asking.fetch_sub(1, Relaxed);
        }
        placed
    }

    async fn take_places(
        &self,
        cluster: &Arc<Cluster>,
        app: &Arc<App>,
        limits: &Limits,
    ) -> Result<Permit, (u64, u64)> {
        let scopes = [
            (app.snapshot().meter_scope.to_string(), app.scope.shared(), limits.connections_max),
            (cap_scope(app.id()), app.meter.shared(), limits.app_connections_max),
        ];
        let mut taken: Vec<(&str, &Shared)> = Vec::new();
        for (scope, shared, limit) in &scopes {
            let Some(limit) = limit else { continue };
            match cluster.place(scope, *limit).await {
                Some(Ok(())) => taken.push((scope, shared)),
                Some(Err(used)) => {
                    taken.iter().for_each(|(scope, shared)| cluster.give_back(scope, shared));
                    return Err((used, *limit));
                }
                None => {
                    taken.iter().for_each(|(scope, shared)| cluster.give_back(scope, shared));
                    return Permit::take(app);
                }
            }
        }
        Ok(Permit::placed(app, [limits.connections_max.is_some(), limits.app_connections_max.is_some()]))
    }

    /// Compares what Redis has of this node's connections with the truth, and hears of the others. Runs once a second.
    pub(super) fn compare_places(&self, cluster: &Arc<Cluster>, compared: &mut Compared) {
        compared.round += 1;
        let is_turn = compared.round.is_multiple_of(COMPARE_QUIET_EVERY);
        let mut now = HashMap::new();
        for app in self.apps().all().into_iter().filter(|app| !app.loaded().internal) {
            let snapshot = app.snapshot();
            now.entry(snapshot.meter_scope.to_string()).or_insert((app.clone(), false));
            now.insert(cap_scope(app.id()), (app, true));
        }
        for (scope, (app, is_cap)) in now {
            let shared = if is_cap { app.meter.shared() } else { app.scope.shared() };
            let state = (shared.changes.load(Relaxed), here(&app, is_cap));
            let last = compared.seen.insert(scope.clone(), state);
            if last.is_none() {
                // Where who buries this node looks.
                let mut command = redis::cmd("SADD");
                let entry = if is_cap { app.id().to_string() } else { format!("s:{scope}") };
                command.arg(super::lease::apps_key(cluster, &cluster.node)).arg(entry);
                cluster.queue.push(unanswered(command));
            }
            let is_idle = last.is_none() && state == (0, 0);
            if (last == Some(state) || is_idle) && !is_turn && !app.meter.is_asked() {
                continue;
            }
            let mut command = redis::cmd("HGETALL");
            command.arg(cluster.places_key(&scope));
            let (of_cluster, changes) = (cluster.clone(), state.0);
            cluster.queue.push(Op::Then(
                command,
                Box::new(move |answer| {
                    let Ok(all) = from_redis_value::<Vec<(String, i64)>>(answer) else { return };
                    let (own, others): (Vec<_>, Vec<_>) =
                        all.into_iter().partition(|(node, _)| **node == *of_cluster.node);
                    let shared = if is_cap { app.meter.shared() } else { app.scope.shared() };
                    let elsewhere = others.iter().map(|(_, n)| (*n).max(0) as u64).sum();
                    shared.elsewhere.store(elsewhere, Relaxed);
                    let difference = here(&app, is_cap) as i64 - own.first().map_or(0, |(_, n)| *n);
                    let is_quiet =
                        shared.asking.load(Relaxed) == 0 && shared.changes.load(Relaxed) == changes;
                    if difference != 0 && is_quiet {
                        of_cluster.add(&scope, difference);
                    }
                }),
            ));
        }
    }
}

fn here(app: &App, is_cap: bool) -> u64 {
    if is_cap { app.meter.connections() } else { app.scope.connections() }
}

/// What the last comparison saw, by scope. Bounded as apps are.
#[derive(Debug, Default)]
pub(super) struct Compared {
    round: u64,
    seen: HashMap<String, (u64, u64)>,
}

impl Cluster {
    /// A dead node's places are free.
    pub(super) async fn bury_places(&self, dead: &str, scope: &str) -> Option<()> {
        let mut command = redis::cmd("HDEL");
        command.arg(self.places_key(scope)).arg(dead);
        self.ask(command).await.map(drop)
    }
}
