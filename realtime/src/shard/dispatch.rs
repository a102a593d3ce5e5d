//! From a client's message to the verb that it asks for: subscribe, unsubscribe, client event. Runs on the socket's shard, in
//! the order in which the client spoke.

use std::sync::Arc;
use std::time::Instant;

use protocol::channel::{Access, ChannelKind, ChannelName};
use protocol::client_message::{ClientEvent, ClientMessage, ClientMessageError, Subscribe};
use protocol::close::CLIENT_EVENT_RATE;
use protocol::json::data_text;
use protocol::limits::{EVENT_DATA_BYTES_MAX, SUBSCRIPTIONS_PER_CONNECTION_MAX};
use protocol::member::Member;
use protocol::server_message;
use protocol::webhook::Event;

use super::Shard;
use super::conn::{Session, Subscription};
use super::parked::Waiter;
use super::round::{LocalChannel, Subscriber};
use crate::app::App;
use crate::console::{Kind, Row, Source};
use crate::frame;
use crate::hub::{Channel, Joined, Joining, Left, NotJoined};
use crate::meter::Class;
use crate::node::Node;
use crate::publish::PublishError;
use crate::subscribe::{self, Refusal};

/// Unreadable frames in ten seconds after which the socket is closed with 1008.
const BAD_FRAMES_MAX: u32 = 10;

impl Shard {
    pub(super) fn message(&mut self, index: usize, text: &str) {
        let message = ClientMessage::parse(text);
        if let Ok(said) = &message
            && self.parked.keeps(index, said, text)
        {
            return;
        }
        match message {
            Ok(ClientMessage::Ping) => self.send(index, &frame::text(server_message::PONG)),
            Ok(ClientMessage::Pong) => {}
            Ok(ClientMessage::Subscribe(wanted)) => self.subscribe(index, &wanted),
            Ok(ClientMessage::Unsubscribe(channel)) => self.unsubscribe(index, &channel),
            Ok(ClientMessage::SignIn(wanted)) => self.sign_in(index, &wanted),
            Ok(ClientMessage::ClientEvent(event)) => self.client_event(index, &event),
            Ok(ClientMessage::Unsupported(name)) => {
                let (name, _) = protocol::json::clip(&name, 100);
                self.error(index, None, &format!("Unsupported event received on socket: {name}"));
            }
            Err(error @ (ClientMessageError::NotJson | ClientMessageError::TooDeep)) => {
                self.refuse_frame(index, &error.to_string());
            }
            Err(error) => self.error(index, None, &error.to_string()),
        }
    }

    pub(super) fn session(&mut self, index: usize) -> Option<&mut Session> {
        self.conns.get_mut(index)?.session.as_mut()
    }

    /// Tells the client (`pusher:error`, the connection stays open) and the console.
    pub(super) fn error(&mut self, index: usize, code: Option<u16>, message: &str) {
        self.send(index, &frame::text(&server_message::error(code, message)));
        let Some(session) = self.session(index) else { return };
        let socket_id = session.socket_id;
        session.app.clone().console.record(Kind::ClientError, |row| {
            row.socket_id = Some(socket_id.to_string());
            row.source = Some(Source::Ws);
            row.code = code;
            row.details = message.to_owned();
        });
    }

    /// A frame that is no message at all; a client that sends many of them is cut off.
    pub(super) fn refuse_frame(&mut self, index: usize, message: &str) {
        let window = self.now / 10;
        let Some(session) = self.session(index) else { return };
        if session.bad_frames.0 != window {
            session.bad_frames = (window, 0);
        }
        session.bad_frames.1 += 1;
        if session.bad_frames.1 > BAD_FRAMES_MAX {
            return self.close(index, 1_008, "too many frames that are not JSON");
        }
        self.error(index, None, message);
    }

    fn subscribe(&mut self, index: usize, wanted: &Subscribe<'_>) {
        let Some(session) = self.session(index) else { return };
        let (app, socket_id) = (session.app.clone(), session.socket_id);
        let full = session.subscriptions.len() + self.parked.of(index) >= SUBSCRIPTIONS_PER_CONNECTION_MAX;
        let Some(session) = self.session(index) else { return };
        if session.subscriptions.iter().any(|s| *s.name == *wanted.channel) {
            return self.subscribe_again(index, &app, &wanted.channel);
        }
        let checked = if full {
            Err(Refusal::limit(format!(
                "a connection has at most {SUBSCRIPTIONS_PER_CONNECTION_MAX} subscriptions"
            )))
        } else {
            let opened = session.opened;
            subscribe::check(&app, socket_id, session.user.as_deref(), wanted)
                .and_then(|member| self.node.may_watch(&app, &wanted.channel, opened).map(|()| member))
        };
        let member = match checked {
            Ok(member) => member,
            Err(refusal) => return self.deny(index, &wanted.channel, &refusal),
        };
        if ChannelKind::of(&wanted.channel).needs_auth() && !self.authorize(index) {
            return;
        }
        let attached = self.node.cluster().is_some_and(|cluster| cluster.must_attach());
        self.join(index, &wanted.channel, member, attached);
    }

    /// A subscription that waited to hear what other nodes have of its channel, and what its client said of the channel meanwhile.
    pub(super) fn resume(&mut self, index: usize, channel: &str) {
        let Some(Waiter { member, said, .. }) = self.parked.take(index, channel) else { return };
        self.join(index, channel, member, false);
        said.iter().for_each(|text| self.message(index, text));
    }

    /// Joins a channel that the client may have. `attached`: it waits until it is known what other nodes have of it.
    fn join(&mut self, index: usize, channel: &str, member: Option<Member>, attached: bool) {
        let Some(session) = self.session(index) else { return };
        let (app, socket_id) = (session.app.clone(), session.socket_id);
        let kind = ChannelKind::of(channel);
        let (node, now) = (&self.node, Instant::now());
        let members_max = app.snapshot().limits.presence_members_max;
        let announce = |channel: &mut Channel| {
            if let Some(member) = &member {
                let text = server_message::member_added(&channel.name, &member.user_id, &member.user_info);
                app.meter.count(&app.scope, Class::Presence, u64::from(channel.here()));
                node.enter(channel, frame::text(&text), None);
            }
        };
        let (mut cached, mut missed) = (None, false);
        let settled = |channel: &mut Channel, joined: &Joined| {
            match node.cluster() {
                Some(cluster) => cluster.touch(node, &app, channel),
                None if kind.access != Access::ServerToUser => record_join(node, &app, joined),
                None => {}
            }
            if kind.cache {
                cached = app.cache.frame(&joined.name, now);
                missed = cached.is_none() && app.cache.missed(&joined.name, now);
                if missed {
                    node.webhooks().record(&app, || Event::CacheMiss { channel: joined.name.clone() });
                }
            }
            node.count_changed(&app, channel, now, true);
        };
        let clustered = node.cluster().is_some();
        let who =
            Joining { shard: self.id, socket_id, member: member.as_ref(), members_max, attached, clustered };
        let joined = match app.channels.join(channel, who, announce, settled) {
            Ok(joined) => joined,
            Err(NotJoined::PresenceFull) => {
                let refusal = Refusal::limit(format!("a presence channel has at most {members_max} members"));
                return self.deny(index, channel, &refusal);
            }
            Err(NotJoined::Unattached) => {
                let place = self.place(index);
                self.parked.add(index, channel, member);
                if let Some(cluster) = self.node.cluster() {
                    cluster.attach(&self.node, &app, channel, place);
                }
                return;
            }
        };
        let channel = self.channels.entry(joined.id).or_insert_with(|| Box::new(LocalChannel::new(app.id())));
        let at = channel.add(Subscriber { conn: index as u32, seq: joined.seq });
        if let Some(session) = self.session(index) {
            let (name, user_id) = (joined.name.clone(), joined.user_id.clone());
            // Most connections have one or two, and would keep the four places that a vector begins with.
            session.subscriptions.reserve_exact(usize::from(session.subscriptions.len() < 4));
            session.subscriptions.push(Subscription { channel: joined.id, at, name, user_id });
        }
        let success = server_message::subscription_succeeded(&joined.name, joined.roster.as_deref());
        self.send(index, &frame::text(&success));
        match cached {
            Some(last) => {
                app.meter.count(&app.scope, Class::Cached, 1);
                self.send(index, &last);
            }
            None if kind.cache => self.send(index, &frame::text(&server_message::cache_miss(&joined.name))),
            None => {}
        }
        let record = |kind, details: String| {
            app.console.record(kind, |row| {
                row.channel = Row::text(&joined.name);
                row.socket_id = Some(socket_id.to_string());
                row.user_id = joined.user_id.as_deref().and_then(Row::text);
                row.source = Some(Source::Ws);
                row.details = details;
            });
        };
        if joined.occupied && !clustered {
            record(Kind::Occupied, "first subscriber".into());
        }
        record(Kind::Subscribed, counted(joined.subscriptions, joined.users));
        if joined.member_added && !clustered {
            let user = joined.user_id.as_deref().unwrap_or_default();
            record(
                Kind::MemberAdded,
                format!("user {user} joined · {}", counted(joined.subscriptions, joined.users)),
            );
        }
        if missed {
            record(Kind::CacheMiss, "nothing was published here in the last 30 minutes".into());
        }
    }

    /// A page that subscribes twice (frameworks that mount a component twice do) gets the same answer twice, not an error: a
    /// client that unsubscribed and subscribed in one breath would otherwise wait for ever.
    fn subscribe_again(&mut self, index: usize, app: &Arc<App>, channel: &str) {
        let roster = app.channels.with(channel, |channel| channel.roster()).flatten();
        let success = server_message::subscription_succeeded(channel, roster.as_deref());
        self.send(index, &frame::text(&success));
    }

    fn deny(&mut self, index: usize, channel: &str, refusal: &Refusal) {
        let (name, _) = protocol::json::clip(channel, 250);
        self.send(index, &frame::text(&server_message::error(None, &refusal.message)));
        let error = server_message::subscription_error(name, refusal.kind, &refusal.message, refusal.status);
        self.send(index, &frame::text(&error));
        let Some(session) = self.session(index) else { return };
        let socket_id = session.socket_id;
        session.app.clone().console.record(Kind::SubscriptionDenied, |row| {
            row.channel = Row::text(name);
            row.socket_id = Some(socket_id.to_string());
            row.source = Some(Source::Ws);
            row.status = Some(refusal.status);
            row.details = refusal.message.clone();
            row.hint = refusal.hint.clone();
        });
    }

    fn unsubscribe(&mut self, index: usize, channel: &str) {
        let Some(session) = self.session(index) else { return };
        match session.subscriptions.iter().position(|s| *s.name == *channel) {
            Some(at) => self.leave(index, at),
            None => {
                let (name, _) = protocol::json::clip(channel, 200);
                self.error(index, None, &format!("No current subscription to channel {name}"));
            }
        }
    }

    /// Ends the `nth` subscription of a connection.
    pub(super) fn leave(&mut self, index: usize, nth: usize) {
        let (shard, node) = (self.id, self.node.clone());
        let Some(session) = self.session(index).filter(|s| nth < s.subscriptions.len()) else { return };
        let (app, socket_id) = (session.app.clone(), session.socket_id);
        let gone = session.subscriptions.swap_remove(nth);
        self.remove_subscriber(&gone);
        let settled = |channel: &mut Channel, left: &Left| {
            if let Some(user) = gone.user_id.as_ref().filter(|_| left.member_removed) {
                app.meter.count(&app.scope, Class::Presence, u64::from(channel.here()));
                node.enter(channel, frame::text(&server_message::member_removed(&channel.name, user)), None);
            }
            node.count_changed(&app, channel, Instant::now(), true);
            match node.cluster() {
                Some(cluster) => cluster.touch(&node, &app, channel),
                None => record_leave(&node, &app, &gone, left),
            }
        };
        let user = gone.user_id.as_deref();
        let left = app.channels.leave(&gone.name, (shard, socket_id), user, settled);
        let record = |kind, details: String| {
            app.console.record(kind, |row| {
                row.channel = Row::text(&gone.name);
                row.socket_id = Some(socket_id.to_string());
                row.user_id = gone.user_id.as_deref().and_then(Row::text);
                row.source = Some(Source::Ws);
                row.details = details;
            });
        };
        record(Kind::Unsubscribed, counted(left.subscriptions, left.users));
        let clustered = self.node.cluster().is_some();
        if left.member_removed && !clustered {
            let user = gone.user_id.as_deref().unwrap_or_default();
            record(
                Kind::MemberRemoved,
                format!("user {user} left · {}", counted(left.subscriptions, left.users)),
            );
        }
        if left.vacated && !clustered {
            record(Kind::Vacated, "last one left".into());
        }
    }

    fn remove_subscriber(&mut self, gone: &Subscription) {
        let Some(channel) = self.channels.get_mut(&gone.channel) else { return };
        channel.subscribers.swap_remove(gone.at as usize);
        if let Some(round) = channel.work.as_mut().and_then(|work| work.round.as_mut()) {
            round.again = true;
        }
        if channel.subscribers.is_empty() {
            self.channels.remove(&gone.channel);
            return;
        }
        // The last one moved into the gap: its connection must know.
        if let Some(moved) = channel.subscribers.get(gone.at as usize).map(|s| s.conn as usize)
            && let Some(session) = self.session(moved)
            && let Some(subscription) = session.subscriptions.iter_mut().find(|s| s.channel == gone.channel)
        {
            subscription.at = gone.at;
        }
    }

    fn client_event(&mut self, index: usize, event: &ClientEvent<'_>) {
        let second = self.now;
        let Some(session) = self.session(index) else { return };
        let (app, socket_id): (Arc<App>, _) = (session.app.clone(), session.socket_id);
        if session.client_events.0 != second {
            session.client_events = (second, 0);
        }
        session.client_events.1 += 1;
        let rate_max = app.snapshot().limits.client_events_per_second_max;
        let over_rate = rate_max.is_some_and(|max| session.client_events.1 > max);
        let subscription = session.subscriptions.iter().find(|s| *s.name == *event.channel);
        let subscription = subscription.map(|s| s.user_id.clone());
        let (name, _) = protocol::json::clip(&event.channel, 200);
        let refused: (Option<u16>, String) = if !app.snapshot().client_events {
            (None, "To send client events, enable them in the app's settings in the dashboard".into())
        } else if over_rate {
            let max = rate_max.unwrap_or_default();
            let text = format!("Client event refused: at most {max} a second and connection");
            (Some(CLIENT_EVENT_RATE), text)
        } else if !ChannelName::parse(&event.channel).is_ok_and(|n| n.kind().allows_client_events()) {
            (None, format!("Client events work on private and presence channels only, not on {name}"))
        } else if event.event.len() > 4 * protocol::limits::EVENT_NAME_CHARS_MAX {
            (None, "The client event's name is longer than 200 characters".into())
        } else if data_text(event.data).len() > EVENT_DATA_BYTES_MAX {
            let bytes = data_text(event.data).len();
            (
                None,
                format!(
                    "The data of this client event has {bytes} bytes, at most {EVENT_DATA_BYTES_MAX} are allowed"
                ),
            )
        } else if let Some(user_id) = subscription {
            let node = self.node.clone();
            let user = user_id.as_deref();
            match node.publish_client_event(&app, &event.event, &event.channel, event.data, socket_id, user) {
                Ok(_) => return,
                Err(PublishError::OverMessageQuota { used, limit, own_cap, .. }) => {
                    let whose = if own_cap { ", this app's own cap" } else { "" };
                    let text =
                        format!("Client event refused: {used} of {limit} messages of today are used{whose}");
                    (None, text)
                }
                Err(error @ (PublishError::Overloaded | PublishError::Alone)) => {
                    (None, format!("Client event refused: {error}"))
                }
            }
        } else {
            (None, format!("Client event refused: the connection is not subscribed to channel {name}"))
        };
        self.error(index, refused.0, &refused.1);
    }
}

fn record_join(node: &Node, app: &Arc<App>, joined: &Joined) {
    let channel = || joined.name.clone();
    if joined.occupied {
        node.webhooks().record(app, || Event::ChannelOccupied { channel: channel() });
    }
    if let Some(user_id) = joined.user_id.as_ref().filter(|_| joined.member_added) {
        node.webhooks().record(app, || Event::MemberAdded { channel: channel(), user_id: user_id.clone() });
    }
}

fn record_leave(node: &Node, app: &Arc<App>, gone: &Subscription, left: &Left) {
    let channel = || gone.name.clone();
    if let Some(user_id) = gone.user_id.as_ref().filter(|_| left.member_removed) {
        node.webhooks().record(app, || Event::MemberRemoved { channel: channel(), user_id: user_id.clone() });
    }
    if left.vacated && ChannelKind::of(&gone.name).access != Access::ServerToUser {
        node.webhooks().record(app, || Event::ChannelVacated { channel: channel() });
    }
}

fn counted(subscriptions: u32, users: Option<u32>) -> String {
    let plural = |n: u32, one: &str| if n == 1 { format!("1 {one} now") } else { format!("{n} {one}s now") };
    users.map_or_else(|| plural(subscriptions, "subscription"), |n| plural(n, "member"))
}

/// What a subscriber must show before it joins.
impl Refusal {
    fn limit(message: String) -> Refusal {
        Refusal { kind: "LimitReached", status: 403, message, hint: None }
    }
}
