//! What our part of a channel is when it is told, and what the answer says of the channel as a whole: facts that exactly one node
//! is told, which so become webhooks and console rows once.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use protocol::channel::{Access, ChannelKind};
use protocol::webhook::{Event, Kind as HookKind};
use redis::{Cmd, Value};

use super::Cluster;
use crate::app::App;
use crate::console::{Kind, Row, Source};
use crate::hub::Channel;
use crate::later::Task;
use crate::node::Node;
use crate::users::ONLINE;
use crate::webhooks::GRACE;

/// Our part of a channel, as it is told.
#[derive(Debug, Default)]
pub(super) struct Told {
    connections: u32,
    known: bool,
    /// User, info, and whether the others know it.
    added: Vec<(Arc<str>, Box<str>, bool)>,
    removed: Vec<Arc<str>>,
    everybody: bool,
}

impl Told {
    /// Takes what is to be told of a channel. Called under its lock.
    pub(super) fn of(channel: &mut Channel) -> Told {
        let mut told = Told { connections: channel.here(), ..Told::default() };
        let Some(remote) = &mut channel.remote else { return told };
        let (anew, changed) = (std::mem::take(&mut remote.anew), remote.take_changed());
        remote.dirty = false;
        told.known = anew && remote.told;
        remote.told = told.connections > 0;
        let known = told.known;
        let (came, went): (Vec<_>, Vec<_>) = changed.into_iter().partition(|id| channel.has_here(id));
        if anew {
            told.added = channel
                .users_here()
                .map(|(id, info)| (id.clone(), info.into(), known && !came.contains(id)))
                .collect();
        } else {
            let info = |id: &Arc<str>| channel.info_here(id).unwrap_or("{}").into();
            told.added = came.into_iter().map(|id| (id.clone(), info(&id), false)).collect();
        }
        told.removed = went;
        told
    }

    /// All of a node's part goes.
    pub(super) fn nothing() -> Told {
        Told { everybody: true, ..Told::default() }
    }
}

/// The keys and arguments of `change.lua`.
pub(super) fn change(command: &mut Cmd, cluster: &Cluster, node: &str, app_id: u64, name: &str, told: &Told) {
    let is_listed = !name.starts_with(ONLINE);
    command
        .arg(cluster.key(app_id, 'c', name))
        .arg(cluster.key(app_id, 'u', name))
        .arg(cluster.key(app_id, 'i', ""))
        .arg(cluster.key(app_id, 'o', node))
        .arg(cluster.topic(app_id, name))
        .arg(node)
        .arg(name)
        .arg(told.connections)
        .arg(u8::from(told.known))
        .arg(if is_listed { GRACE.as_millis() as u64 } else { 0 })
        .arg(u8::from(is_listed))
        .arg(told.added.len());
    for (id, info, known) in &told.added {
        command.arg(&**id).arg(&**info).arg(u8::from(*known));
    }
    if told.everybody {
        command.arg("*");
    }
    told.removed.iter().for_each(|id| {
        command.arg(&**id);
    });
}

/// Takes the answer to a change.
pub(super) fn took(node: &Node, cluster: &Arc<Cluster>, app: &Arc<App>, name: &Arc<str>, answer: &[Value]) {
    let text = |value: &Value| match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    };
    if name.starts_with(ONLINE) {
        return;
    }
    for fact in answer.get(1..).unwrap_or_default().chunks_exact(3) {
        let [kind, user, since] = [text(&fact[0]), text(&fact[1]), text(&fact[2])];
        took_fact(node, cluster, app, name, (&kind, user.as_str().into(), since));
    }
}

fn took_fact(
    node: &Node,
    cluster: &Arc<Cluster>,
    app: &Arc<App>,
    name: &Arc<str>,
    (kind, user, since): (&str, Arc<str>, String),
) {
    let is_private = ChannelKind::of(name).access == Access::ServerToUser;
    let row = |kind, details: String| {
        app.console.record(kind, |row| {
            row.channel = Row::text(name);
            row.user_id = Row::text(&user);
            row.source = Some(Source::Ws);
            row.details = details;
        });
    };
    let later = |user: Option<Arc<str>>, wanted: HookKind| {
        if node.webhooks().wants(app, wanted) {
            cluster.confirming.fetch_add(1, Relaxed);
            let due = Instant::now() + GRACE;
            node.later().at(due, Task::Confirm(app.clone(), name.clone(), user, since.clone()));
        }
    };
    match kind {
        "occupied" | "back" => {
            row(Kind::Occupied, "first subscriber".into());
            if kind == "occupied" && !is_private {
                node.webhooks().record(app, || Event::ChannelOccupied { channel: name.clone() });
            }
        }
        "joined" | "rejoined" => {
            row(Kind::MemberAdded, format!("user {user} joined"));
            if kind == "joined" {
                node.webhooks().record(app, || Event::MemberAdded { channel: name.clone(), user_id: user });
            }
        }
        "left" => {
            row(Kind::MemberRemoved, format!("user {user} left"));
            later(Some(user), HookKind::MemberRemoved);
        }
        "vacated" => {
            row(Kind::Vacated, "last one left".into());
            if !is_private {
                later(None, HookKind::ChannelVacated);
            }
        }
        _ => {}
    }
}

/// An end has waited: is it still one?
pub(crate) async fn confirm(
    node: Node,
    cluster: Arc<Cluster>,
    app: Arc<App>,
    name: Arc<str>,
    user: Option<Arc<str>>,
    since: String,
) {
    let (key, field) = match &user {
        Some(user) => (cluster.key(app.id(), 'u', &name), format!("~|{user}")),
        None => (cluster.key(app.id(), 'c', &name), "~".to_owned()),
    };
    let mut command = redis::cmd("EVAL");
    command.arg(include_str!("scripts/confirm.lua")).arg(1).arg(key).arg(field).arg(since);
    let is_over = cluster.ask(command).await;
    if is_over == Some(Value::Int(1)) {
        node.webhooks().record_ended(&app, || match user {
            Some(user_id) => Event::MemberRemoved { channel: name, user_id },
            None => Event::ChannelVacated { channel: name },
        });
    }
    cluster.confirming.fetch_sub(1, Relaxed);
}

impl Cluster {
    /// Asks Redis, in the order of what is told; `None` without an answer within a second.
    pub(crate) async fn ask(&self, command: Cmd) -> Option<Value> {
        if self.is_up() { self.ask_always(command).await } else { None }
    }
}
