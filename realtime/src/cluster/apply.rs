//! What topics bring, into the hubs: publications to sockets, parts of other nodes into the channels.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::channel::ChannelKind;
use protocol::server_message;

use super::Cluster;
use super::message::{Loaded, Message, Publication, Sort};
use super::remote::Effect;
use crate::app::App;
use crate::frame;
use crate::hub::Channel;
use crate::meter::Class;
use crate::node::Node;
use crate::users::ONLINE;

/// Processes whose numbers are remembered; beyond it all are forgotten, and at worst something is heard twice.
const RUNS_MAX: usize = 10_000;

/// The last number heard of each process: what is sent again after a break is known by it.
#[derive(Debug, Default)]
pub(super) struct Heard(HashMap<u64, u64>);

impl Heard {
    fn is_new(&mut self, publication: &Publication) -> bool {
        if self.0.len() >= RUNS_MAX {
            self.0.clear();
        }
        let last = self.0.entry(publication.run).or_default();
        let is_new = publication.seq > *last;
        *last = publication.seq.max(*last);
        is_new
    }
}

impl Node {
    pub(super) fn hear(&self, cluster: &Cluster, heard: &mut Heard, topic: &str, payload: Bytes) {
        let Some(message) = Message::parse(payload) else {
            return tracing::debug!(topic, "something was heard that this release doesn't know");
        };
        match message {
            Message::Loaded(loaded) => self.loaded(cluster, loaded),
            Message::Notice(name, texts) => self.noticed(cluster, &name, &texts),
            Message::Publication(one) => {
                if let Some((app, channel)) = self.of_topic(cluster, topic)
                    && heard.is_new(&one)
                {
                    self.deliver(cluster, &app, channel, one);
                }
            }
            Message::Part(who, change) => {
                if *who != *cluster.node
                    && let Some((app, channel)) = self.of_topic(cluster, topic)
                {
                    app.channels.with(channel, |held| {
                        let Some(remote) = held.remote.as_mut().filter(|remote| remote.loaded) else {
                            return;
                        };
                        let before = remote.subscriptions();
                        let effect = remote.apply(&who, change);
                        self.affected(&app, held, effect, before);
                    });
                }
            }
        }
    }

    fn of_topic<'a>(&self, cluster: &Cluster, topic: &'a str) -> Option<(Arc<App>, &'a str)> {
        let (app, channel) = cluster.read_topic(topic)?;
        Some((self.apps().loaded(app)?, channel))
    }

    /// A publication of another node.
    fn deliver(&self, cluster: &Cluster, app: &App, channel: &str, one: Publication) {
        let (is_own, is_api) = (cluster.is_own(&one), one.sort == Sort::Api);
        if is_own && !(is_api && ChannelKind::of(channel).cache) {
            return;
        }
        let reached = app.channels.locked(channel, |held| {
            if is_api && ChannelKind::of(channel).cache {
                // Our own too: so all nodes keep the same one as the last.
                app.cache.put(channel, one.frame.clone(), Instant::now());
            }
            match held {
                Some(held) if !is_own => {
                    self.enter(held, one.frame, one.exclude);
                    held.reaches(one.exclude)
                }
                _ => 0,
            }
        });
        if reached > 0 && !app.loaded().internal {
            app.meter.count(&app.scope, if is_api { Class::Delivery } else { Class::ClientEvent }, reached);
        }
    }

    fn loaded(&self, cluster: &Cluster, loaded: Loaded) {
        let Loaded { app_id, channel, parts, cached } = loaded;
        let Some(app) = self.apps().loaded(app_id) else { return };
        app.channels.with(&channel, |held| {
            let Some(remote) = &mut held.remote else { return };
            if let Some((frame, ttl)) = cached {
                app.cache.put_for(&channel, frame, Instant::now(), Duration::from_millis(ttl));
            }
            let before = remote.subscriptions();
            let effect = remote.load(parts);
            self.affected(&app, held, effect, before);
        });
        cluster.attached(self, app_id, &channel);
    }

    /// Tells a channel's subscribers here what others' comings and goings mean for them.
    fn affected(&self, app: &Arc<App>, channel: &mut Channel, effect: Effect, before: u32) {
        if channel.name.starts_with(ONLINE) {
            let now = channel.remote.as_ref().map_or(0, |remote| remote.subscriptions());
            if (before > 0) != (now > 0) {
                let user = channel.name[ONLINE.len()..].into();
                self.online_elsewhere(app, user, now > 0);
            }
            return;
        }
        for (user, info) in effect.came.iter().filter(|(user, _)| !channel.has_here(user)).collect::<Vec<_>>()
        {
            let text = server_message::member_added(&channel.name, user, info);
            app.meter.count(&app.scope, Class::Presence, u64::from(channel.here()));
            self.enter(channel, frame::text(&text), None);
        }
        for user in effect.went.iter().filter(|user| !channel.has_here(user)).collect::<Vec<_>>() {
            let text = server_message::member_removed(&channel.name, user);
            app.meter.count(&app.scope, Class::Presence, u64::from(channel.here()));
            self.enter(channel, frame::text(&text), None);
        }
        if effect.counts {
            self.count_changed(app, channel, Instant::now(), false);
        }
    }

    /// Something that is for every node.
    fn noticed(&self, cluster: &Cluster, name: &str, texts: &[String]) {
        match (name, texts) {
            ("terminate", [app, user]) => {
                if let Some(app) = app.parse().ok().and_then(|id| self.apps().loaded(id)) {
                    self.terminate_here(&app, user);
                }
            }
            ("rows", texts) => self.answer_rows(cluster, texts),
            ("rows-are", texts) => self.rows_came(cluster, texts),
            _ => {}
        }
    }
}
