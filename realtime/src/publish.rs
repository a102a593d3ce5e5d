//! The one door through which an event enters a channel: customers' events from the API, client events, and the frames that
//! the service itself sends. No SQL, and no wait but the one for an overloaded shard.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::channel::ChannelKind;
use protocol::json::data_text;
use protocol::server_message::channel_event;
use protocol::socket_id::SocketId;
use protocol::webhook::{self, Event};
use serde_json::value::RawValue;

use crate::app::{App, MessageQuota};
use crate::clock;
use crate::cluster::Cluster;
use crate::cluster::message::Sort;
use crate::cluster::queue::Op;
use crate::console::{Hint, Kind, Row, Source, mask_ip};
use crate::frame;
use crate::hub::Channel;
use crate::meter::Class;
use crate::node::Node;
use crate::shard::inbox::{Command, Deliver};

/// How long a publish waits for shards that are behind before it is refused.
const OVERLOAD_WAIT: Duration = Duration::from_secs(5);

/// Who publishes, for the console.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Through which door.
    pub source: Source,
    /// `X-Pusher-Library` or User-Agent.
    pub sdk: Option<&'a str>,
    /// Where from.
    pub ip: Option<IpAddr>,
    /// With which key.
    pub key: Option<&'a str>,
}

impl Default for Origin<'_> {
    fn default() -> Self {
        Origin { source: Source::Api, sdk: None, ip: None, key: None }
    }
}

/// An event for one or more channels. Names and sizes are checked by the caller.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    /// Distinct names.
    pub channels: &'a [&'a str],
    /// Event name.
    pub event: &'a str,
    /// A JSON string literal goes out as it is, anything else as a string holding its JSON text.
    pub data: &'a RawValue,
    /// This socket does not get it.
    pub exclude: Option<SocketId>,
    /// For the console.
    pub origin: Origin<'a>,
}

/// Why an event was not accepted. Nothing was delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PublishError {
    /// The day's messages are used up.
    #[error("{used} of {limit} messages used today")]
    OverMessageQuota {
        /// Messages counted today.
        used: u64,
        /// The limit.
        limit: u64,
        /// It is the app's own cap, not the plan's limit.
        own_cap: bool,
        /// When the count starts again, ms since the epoch.
        resets_ms: i64,
    },
    /// The shards are too far behind; try again later.
    #[error("the node is overloaded")]
    Overloaded,
    /// The other nodes of the cluster can't be reached; try again later.
    #[error("the nodes of this cluster can't reach each other right now")]
    Alone,
}

/// Says that a call was admitted: its events can no longer be refused one by one. The message of its first event is counted
/// already, so that calls which come at the same moment can't all take the last one of a day.
#[derive(Debug)]
pub struct Admitted {
    prepaid: AtomicBool,
}

/// An accepted publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Connections that it goes to on this node.
    pub recipients: u64,
}

impl Node {
    fn check_quota(&self, app: &App) -> Result<(), PublishError> {
        match app.message_quota() {
            Some(quota) if quota.left() == 0 => Err(over(quota)),
            _ => Ok(()),
        }
    }

    /// Counts a message, if both limits leave one.
    fn take_message(&self, app: &App, class: Class) -> Result<(), PublishError> {
        let snapshot = app.loaded();
        let (plan, own) = (snapshot.limits.messages_per_day_max, snapshot.limits.app_messages_per_day_max);
        app.meter.count_within(&app.scope, class, plan, own).map_err(over)
    }

    /// Can a publication reach the other nodes? The console's own are sent to who is here.
    fn is_joined(&self, app: &App) -> bool {
        self.cluster().is_none_or(|cluster| cluster.is_up()) || app.loaded().internal
    }

    /// Counts a REST call that publishes nothing: one message. Over the quota it still answers.
    pub fn charge_read(&self, app: &App) {
        app.meter.count(&app.scope, Class::Read, 1);
    }

    /// Publishes an event. Counts one message and one per delivery.
    pub async fn publish(
        &self,
        app: &Arc<App>,
        publication: &Publication<'_>,
    ) -> Result<Published, PublishError> {
        let admitted = self.admit(app).await?;
        Ok(self.publish_admitted(&admitted, app, publication))
    }

    /// May the app publish now? Waits for shards that are behind. What is admitted together goes out whole, though the last
    /// event of it may pass the day's limit.
    pub async fn admit(&self, app: &App) -> Result<Admitted, PublishError> {
        self.check_quota(app)?;
        let waited = Instant::now();
        if !self.is_joined(app) {
            return Err(PublishError::Alone);
        }
        while self.is_overloaded() {
            if waited.elapsed() > OVERLOAD_WAIT {
                return Err(PublishError::Overloaded);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let counts = !app.loaded().internal;
        if counts {
            self.take_message(app, Class::Publish)?;
        }
        Ok(Admitted { prepaid: counts.into() })
    }

    /// Publishes an event of an admitted call.
    pub fn publish_admitted(
        &self,
        admitted: &Admitted,
        app: &Arc<App>,
        publication: &Publication<'_>,
    ) -> Published {
        let internal = app.snapshot().internal;
        let is_paid = admitted.prepaid.swap(false, Relaxed);
        if !internal && !is_paid {
            app.meter.count(&app.scope, Class::Publish, 1);
        }
        let mut recipients = 0;
        for channel in publication.channels {
            recipients += self.broker().publish(self, app, channel, publication);
        }
        if !internal {
            app.meter.count(&app.scope, Class::Delivery, recipients);
            match self.cluster() {
                None => self.record_publish(app, publication, recipients),
                Some(cluster) => self.record_publish_of_cluster(cluster, app, publication, recipients),
            }
        }
        Published { recipients }
    }

    /// Publishes a client event of a connected socket: counts one message and one per delivery.
    pub(crate) fn publish_client_event(
        &self,
        app: &Arc<App>,
        event: &str,
        channel: &str,
        data: &RawValue,
        sender: SocketId,
        user_id: Option<&str>,
    ) -> Result<u64, PublishError> {
        self.check_quota(app)?;
        if self.is_overloaded() {
            return Err(PublishError::Overloaded);
        }
        if !self.is_joined(app) {
            return Err(PublishError::Alone);
        }
        self.take_message(app, Class::ClientEvent)?;
        let text = channel_event(event, channel, data, user_id);
        let frame = frame::text(&text);
        let entered = app.channels.with(channel, |held| {
            if self.webhooks().wants(app, webhook::Kind::ClientEvent) {
                self.webhooks().record(app, || Event::ClientEvent {
                    channel: held.name.clone(),
                    event: event.into(),
                    data: data_text(data).into(),
                    socket_id: sender,
                    user_id: user_id.map(Into::into),
                });
            }
            if let Some(cluster) = self.cluster() {
                cluster.publish(app, channel, Sort::Client, frame.clone(), Some(sender));
            }
            self.enter(held, frame, Some(sender));
            held.reaches(Some(sender))
        });
        let recipients = entered.unwrap_or(0);
        app.meter.count(&app.scope, Class::ClientEvent, recipients);
        app.console.record(Kind::ClientEvent, |row| {
            row.channel = Row::text(channel);
            row.event = Row::text(event);
            row.socket_id = Some(sender.to_string());
            row.user_id = user_id.and_then(Row::text);
            row.source = Some(Source::Ws);
            row.recipients = Some(recipients);
            row.details = format!("from {sender} to {}", others(recipients));
            row.set_data(&data_text(data));
        });
        Ok(recipients)
    }

    /// Gives a channel's frame to the shards that hold the channel, and keeps it if the channel is a cache channel. How many
    /// connections it goes to.
    pub(crate) fn hand_over(&self, app: &App, channel: &str, text: &[u8], exclude: Option<SocketId>) -> u64 {
        let frame = frame::text(text);
        app.channels.locked(channel, |held| {
            if ChannelKind::of(channel).cache {
                app.cache.put(channel, frame.clone(), Instant::now());
            }
            if let Some(cluster) = self.cluster() {
                cluster.publish(app, channel, Sort::Api, frame.clone(), exclude);
            }
            held.map_or(0, |held| {
                self.enter(held, frame, exclude);
                held.reaches(exclude)
            })
        })
    }

    /// The step under the channel's lock: number the frame and hand it to each shard, so that all shards see one order.
    pub(crate) fn enter(&self, channel: &mut Channel, frame: Bytes, exclude: Option<SocketId>) {
        channel.seq += 1;
        for &(shard, _) in &channel.shards {
            let deliver = Deliver { channel: channel.id, seq: channel.seq, frame: frame.clone(), exclude };
            self.shard(shard).push(Command::Deliver(deliver));
        }
    }

    /// What others deliver is known of the channels that this node listens to; for another one Redis is asked, once the
    /// publication is on its way.
    fn record_publish_of_cluster(
        &self,
        cluster: &Arc<Cluster>,
        app: &Arc<App>,
        publication: &Publication<'_>,
        here: u64,
    ) {
        let elsewhere = |name: &&str| {
            app.channels.with(name, |channel| {
                channel.remote.as_ref().map(|remote| (remote.loaded, remote.subscriptions()))
            })
        };
        let known: Vec<_> = publication.channels.iter().map(elsewhere).collect();
        let sum = here + known.iter().flatten().flatten().map(|(_, n)| u64::from(*n)).sum::<u64>();
        let ([channel], [None | Some(None | Some((false, _)))]) = (publication.channels, known.as_slice())
        else {
            return self.record_publish(app, publication, sum);
        };
        let mut count = redis::cmd("HGET");
        count.arg(cluster.key(app.id(), 'i', "")).arg(*channel);
        let (node, app, channel) = (self.clone(), app.clone(), (*channel).to_owned());
        let (event, data) = (publication.event.to_owned(), publication.data.to_owned());
        let Origin { source, sdk, ip, key } = publication.origin;
        let (sdk, key, exclude) = (sdk.map(str::to_owned), key.map(str::to_owned), publication.exclude);
        cluster.queue.push(Op::Then(
            count,
            Box::new(move |answer| {
                let origin = Origin { source, sdk: sdk.as_deref(), ip, key: key.as_deref() };
                let publication =
                    Publication { channels: &[&channel], event: &event, data: &data, exclude, origin };
                let all = redis::from_redis_value::<Option<u64>>(answer).ok().flatten().unwrap_or(0);
                node.record_publish(&app, &publication, all.max(here));
            }),
        ));
    }

    fn record_publish(&self, app: &Arc<App>, publication: &Publication<'_>, recipients: u64) {
        app.console.record(Kind::ApiMessage, |row| {
            let Origin { source, sdk, ip, key } = publication.origin;
            let count = publication.channels.len();
            row.channel = Row::text(&if count == 1 {
                publication.channels[0].to_owned()
            } else {
                publication.channels.join(", ")
            });
            row.event = Row::text(publication.event);
            row.source = Some(source);
            row.sdk = sdk.and_then(Row::text);
            row.ip = ip.map(mask_ip);
            row.recipients = Some(recipients);
            row.set_data(&data_text(publication.data));
            if let Some(key) = key {
                row.set_key(key);
            }
            let channels = if count == 1 { "1 channel".to_owned() } else { format!("{count} channels") };
            row.details = format!("{channels} · {}", people(recipients));
            if recipients == 0
                && self.cluster().is_none_or(|cluster| cluster.is_up())
                && let Some(hint) = publication.channels.iter().find_map(|name| elsewhere(app, name))
            {
                row.hint = Some(hint);
            }
        });
    }
}

fn over(quota: MessageQuota) -> PublishError {
    let MessageQuota { used, limit, own_cap } = quota;
    PublishError::OverMessageQuota { used, limit, own_cap, resets_ms: clock::resets_ms() }
}

fn people(n: u64) -> String {
    if n == 1 { "1 recipient".into() } else { format!("{n} recipients") }
}

fn others(n: u64) -> String {
    if n == 1 { "1 other".into() } else { format!("{n} others") }
}

/// Nobody got it: is somebody on the channel with, or without, a prefix? Echo adds prefixes, which is easily forgotten.
fn elsewhere(app: &App, name: &str) -> Option<Hint> {
    let bare = ["private-encrypted-", "private-", "presence-"]
        .iter()
        .find_map(|p| name.strip_prefix(p))
        .unwrap_or(name);
    let candidates = [
        bare.to_owned(),
        format!("private-{bare}"),
        format!("presence-{bare}"),
        format!("private-encrypted-{bare}"),
    ];
    candidates.iter().filter(|c| *c != name).find_map(|candidate| {
        let facts = app.channels.get(candidate)?;
        let how = if candidate.starts_with("presence-") { "Echo.join" } else { "Echo.private" };
        let why = if candidate.len() > bare.len() {
            format!("{how}('{bare}') adds the prefix; publish to {candidate}, or use a PrivateChannel/PresenceChannel.")
        } else {
            format!("Subscribe to {name} instead, or publish to {candidate}.")
        };
        Some(Hint {
            id: "nobody_subscribed",
            title: format!("Published to {name}; nobody is subscribed."),
            text: format!("Subscribers are on {candidate} ({}). {why}", facts.subscriptions),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{AppSnapshot, Limits};
    use crate::testing::node_with;

    #[tokio::test]
    async fn what_is_admitted_together_goes_out_whole_and_the_next_call_is_refused() {
        let snapshot = crate::app::tests::snapshot();
        let limits = Limits { messages_per_day_max: Some(2), ..snapshot.limits.clone() };
        let (node, app) = node_with(AppSnapshot { limits, ..snapshot }).await;
        let data = RawValue::from_string("1".into()).unwrap();
        let publication = Publication {
            channels: &["a"],
            event: "e",
            data: &data,
            exclude: None,
            origin: Origin::default(),
        };
        let admitted = node.admit(&app).await.unwrap();
        for _ in 0..3 {
            node.publish_admitted(&admitted, &app, &publication);
        }
        assert_eq!(app.usage().messages_today, 3);
        let refused = node.publish(&app, &publication).await;
        assert!(
            matches!(refused, Err(PublishError::OverMessageQuota { used: 3, limit: 2, .. })),
            "{refused:?}"
        );
        assert_eq!(app.usage().messages_today, 3);
    }

    fn publication<'a>(channels: &'a [&'a str], data: &'a RawValue) -> Publication<'a> {
        Publication { channels, event: "e", data, exclude: None, origin: Origin::default() }
    }

    fn limited(plan: Option<u64>, own: Option<u64>) -> AppSnapshot {
        let snapshot = crate::app::tests::snapshot();
        let limits =
            Limits { messages_per_day_max: plan, app_messages_per_day_max: own, ..snapshot.limits.clone() };
        AppSnapshot { limits, ..snapshot }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn of_calls_at_the_same_moment_none_gets_past_the_plans_limit_or_the_apps_own_cap() {
        const LIMIT: u64 = 500;
        for (plan, own, is_own) in [(Some(LIMIT), None, false), (None, Some(LIMIT), true)] {
            let (node, app) = node_with(limited(plan, own)).await;
            let mut callers = tokio::task::JoinSet::new();
            for _ in 0..8 {
                let (node, app) = (node.clone(), app.clone());
                callers.spawn(async move {
                    let data = RawValue::from_string("1".into()).unwrap();
                    let mut taken = 0;
                    loop {
                        match node.publish(&app, &publication(&["a"], &data)).await {
                            Ok(_) => taken += 1,
                            Err(PublishError::OverMessageQuota { used, limit, own_cap, .. }) => {
                                assert_eq!((used, limit, own_cap), (LIMIT, LIMIT, is_own));
                                return taken;
                            }
                            Err(other) => panic!("{other}"),
                        }
                    }
                });
            }
            assert_eq!(callers.join_all().await.into_iter().sum::<u64>(), LIMIT);
            assert_eq!((app.usage().messages_today, app.usage().scope_messages_today), (LIMIT, LIMIT));
            let quota = app.message_quota().unwrap();
            assert_eq!((quota.left(), quota.own_cap), (0, is_own));
        }
    }

    #[tokio::test]
    async fn a_client_event_beyond_the_apps_own_cap_is_refused_and_not_counted() {
        let (node, app) = node_with(limited(Some(100), Some(2))).await;
        let data = RawValue::from_string("1".into()).unwrap();
        let send = || {
            let sender = SocketId::parse("1.1").unwrap();
            node.publish_client_event(&app, "client-e", "private-a", &data, sender, None)
        };
        assert_eq!(app.message_quota(), Some(MessageQuota { used: 0, limit: 2, own_cap: true }));
        assert_eq!((send(), send()), (Ok(0), Ok(0)));
        assert!(matches!(
            send(),
            Err(PublishError::OverMessageQuota { used: 2, limit: 2, own_cap: true, .. })
        ));
        let none = node.publish(&app, &publication(&["a"], &data)).await;
        assert!(matches!(none, Err(PublishError::OverMessageQuota { own_cap: true, .. })), "{none:?}");
        assert_eq!((app.usage().messages_today, app.usage().scope_messages_today), (2, 2));
        app.replace(limited(Some(2), None));
        assert!(matches!(send(), Err(PublishError::OverMessageQuota { own_cap: false, .. })));
    }
}
