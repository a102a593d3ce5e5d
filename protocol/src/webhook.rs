//! What a webhook tells a customer's server. Source: webhooks page; types as the Go and PHP SDKs decode them. `quota_threshold` is
//! ours: it is about no channel, so it is no [`Event`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::json::push_string;
use crate::socket_id::SocketId;

/// The kinds of happenings.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "as those of `Event`")]
pub enum Kind {
    ChannelOccupied,
    ChannelVacated,
    MemberAdded,
    MemberRemoved,
    ClientEvent,
    CacheMiss,
    SubscriptionCount,
    QuotaThreshold,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 8] = [
        Kind::ChannelOccupied,
        Kind::ChannelVacated,
        Kind::MemberAdded,
        Kind::MemberRemoved,
        Kind::ClientEvent,
        Kind::CacheMiss,
        Kind::SubscriptionCount,
        Kind::QuotaThreshold,
    ];

    /// As in `name` of the body.
    pub fn name(self) -> &'static str {
        match self {
            Kind::ChannelOccupied => "channel_occupied",
            Kind::ChannelVacated => "channel_vacated",
            Kind::MemberAdded => "member_added",
            Kind::MemberRemoved => "member_removed",
            Kind::ClientEvent => "client_event",
            Kind::CacheMiss => "cache_miss",
            Kind::SubscriptionCount => "subscription_count",
            Kind::QuotaThreshold => "quota_threshold",
        }
    }

    /// The kind of a name.
    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The body of a webhook. `events` is a JSON array.
pub fn body(time_ms: i64, events: &str) -> String {
    format!(r#"{{"time_ms":{time_ms},"events":{events}}}"#)
}

/// A limit that comes near or is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct QuotaThreshold {
    /// What is limited.
    pub resource: Resource,
    /// Per cent of the limit: 80 or 100.
    pub threshold: u64,
    /// How much is used.
    pub used: u64,
    /// How much there is.
    pub limit: u64,
    /// The app, if the limit is one of its own and not its organisation's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_id: Option<u64>,
    /// When the UTC day began for which it is told.
    pub period_start_ms: i64,
}

/// What a plan limits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "they are those of the plans page")]
pub enum Resource {
    Messages,
    Connections,
}

impl QuotaThreshold {
    /// As in `events` of the body.
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Named<'a> {
            name: &'static str,
            #[serde(flatten)]
            fields: &'a QuotaThreshold,
        }
        // Numbers and words of ours cannot fail to be written.
        serde_json::to_string(&Named { name: Kind::QuotaThreshold.name(), fields: self }).unwrap_or_default()
    }
}

/// One happening, in Pusher's words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The channel got its first subscriber.
    ChannelOccupied {
        /// Its name.
        channel: Arc<str>,
    },
    /// The channel lost its last subscriber.
    ChannelVacated {
        /// Its name.
        channel: Arc<str>,
    },
    /// A user's first connection joined a presence channel.
    MemberAdded {
        /// The channel.
        channel: Arc<str>,
        /// The user.
        user_id: Arc<str>,
    },
    /// A user's last connection left a presence channel.
    MemberRemoved {
        /// The channel.
        channel: Arc<str>,
        /// The user.
        user_id: Arc<str>,
    },
    /// A client event was accepted.
    ClientEvent {
        /// The channel.
        channel: Arc<str>,
        /// Its name, `client-…`.
        event: Arc<str>,
        /// Its data as a text: a string's content, or the JSON text of anything else.
        data: Arc<str>,
        /// The sender.
        socket_id: SocketId,
        /// The sender's user, on presence channels only.
        user_id: Option<Arc<str>>,
    },
    /// Somebody subscribed to a cache channel that holds nothing.
    CacheMiss {
        /// The channel.
        channel: Arc<str>,
    },
    /// The number of subscribed connections changed.
    SubscriptionCount {
        /// The channel; never a presence channel.
        channel: Arc<str>,
        /// Connections.
        subscription_count: u32,
    },
}

impl Event {
    /// The channel that it is about.
    pub fn channel(&self) -> &Arc<str> {
        match self {
            Event::ChannelOccupied { channel }
            | Event::ChannelVacated { channel }
            | Event::MemberAdded { channel, .. }
            | Event::MemberRemoved { channel, .. }
            | Event::ClientEvent { channel, .. }
            | Event::CacheMiss { channel }
            | Event::SubscriptionCount { channel, .. } => channel,
        }
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Event::ChannelOccupied { .. } => Kind::ChannelOccupied,
            Event::ChannelVacated { .. } => Kind::ChannelVacated,
            Event::MemberAdded { .. } => Kind::MemberAdded,
            Event::MemberRemoved { .. } => Kind::MemberRemoved,
            Event::ClientEvent { .. } => Kind::ClientEvent,
            Event::CacheMiss { .. } => Kind::CacheMiss,
            Event::SubscriptionCount { .. } => Kind::SubscriptionCount,
        }
    }

    /// As in `name` of the body.
    pub fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// Bytes of its texts.
    pub fn weight(&self) -> usize {
        let own = match self {
            Event::MemberAdded { user_id, .. } | Event::MemberRemoved { user_id, .. } => user_id.len(),
            Event::ClientEvent { event, data, user_id, .. } => {
                event.len() + data.len() + user_id.as_ref().map_or(0, |id| id.len())
            }
            _ => 0,
        };
        self.channel().len() + own
    }

    /// As in `events` of the body: `data` is always a string, as the Go SDK expects, and `channel` always there, as the PHP
    /// SDK does.
    pub fn to_json(&self) -> String {
        let mut out = Vec::with_capacity(64 + self.weight());
        let text = |out: &mut Vec<u8>, name: &str, value: &str| {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            push_string(out, value);
        };
        out.extend_from_slice(b"{\"name\":\"");
        out.extend_from_slice(self.name().as_bytes());
        out.push(b'"');
        text(&mut out, "channel", self.channel());
        match self {
            Event::MemberAdded { user_id, .. } | Event::MemberRemoved { user_id, .. } => {
                text(&mut out, "user_id", user_id);
            }
            Event::ClientEvent { event, data, socket_id, user_id, .. } => {
                text(&mut out, "event", event);
                text(&mut out, "data", data);
                text(&mut out, "socket_id", &socket_id.to_string());
                if let Some(user_id) = user_id {
                    text(&mut out, "user_id", user_id);
                }
            }
            Event::SubscriptionCount { subscription_count, .. } => {
                out.extend_from_slice(format!(",\"subscription_count\":{subscription_count}").as_bytes());
            }
            Event::ChannelOccupied { .. } | Event::ChannelVacated { .. } | Event::CacheMiss { .. } => {}
        }
        out.push(b'}');
        // Only whole texts went in.
        String::from_utf8(out).unwrap_or_default()
    }

    /// Reads a `channel_vacated` or `member_removed` as [`Event::to_json`] wrote it; `None` for anything else.
    pub fn parse_end(json: &str) -> Option<Event> {
        #[derive(Deserialize)]
        struct End {
            name: String,
            channel: String,
            user_id: Option<String>,
        }
        let end: End = serde_json::from_str(json).ok()?;
        let channel = end.channel.into();
        match (Kind::parse(&end.name)?, end.user_id) {
            (Kind::ChannelVacated, _) => Some(Event::ChannelVacated { channel }),
            (Kind::MemberRemoved, Some(user_id)) => {
                Some(Event::MemberRemoved { channel, user_id: user_id.into() })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_the_fields_that_the_sdks_read() {
        let channel: Arc<str> = "presence-a\"b".into();
        let user_id: Arc<str> = "7".into();
        let socket_id = SocketId { node: 1, random: 2 };
        let (event, data): (Arc<str>, Arc<str>) = ("client-x".into(), r#"{"a":1}"#.into());
        let sent = |user_id| Event::ClientEvent {
            channel: channel.clone(),
            event: event.clone(),
            data: data.clone(),
            socket_id,
            user_id,
        };
        for (event, json) in [
            (
                Event::ChannelOccupied { channel: channel.clone() },
                r#"{"name":"channel_occupied","channel":"presence-a\"b"}"#,
            ),
            (
                Event::ChannelVacated { channel: channel.clone() },
                r#"{"name":"channel_vacated","channel":"presence-a\"b"}"#,
            ),
            (
                Event::MemberAdded { channel: channel.clone(), user_id: user_id.clone() },
                r#"{"name":"member_added","channel":"presence-a\"b","user_id":"7"}"#,
            ),
            (
                Event::MemberRemoved { channel: channel.clone(), user_id: user_id.clone() },
                r#"{"name":"member_removed","channel":"presence-a\"b","user_id":"7"}"#,
            ),
            (
                sent(None),
                r#"{"name":"client_event","channel":"presence-a\"b","event":"client-x","data":"{\"a\":1}","socket_id":"1.2"}"#,
            ),
            (
                sent(Some(user_id.clone())),
                r#"{"name":"client_event","channel":"presence-a\"b","event":"client-x","data":"{\"a\":1}","socket_id":"1.2","user_id":"7"}"#,
            ),
            (
                Event::CacheMiss { channel: channel.clone() },
                r#"{"name":"cache_miss","channel":"presence-a\"b"}"#,
            ),
            (
                Event::SubscriptionCount { channel: channel.clone(), subscription_count: 3 },
                r#"{"name":"subscription_count","channel":"presence-a\"b","subscription_count":3}"#,
            ),
        ] {
            assert_eq!(event.to_json(), json);
            assert_eq!(Kind::parse(event.name()), Some(event.kind()));
            let read = Event::parse_end(json);
            match event.kind() {
                Kind::ChannelVacated | Kind::MemberRemoved => assert_eq!(read, Some(event)),
                _ => assert_eq!(read, None),
            }
        }
        let near = QuotaThreshold {
            resource: Resource::Messages,
            threshold: 80,
            used: 850,
            limit: 1_000,
            app_id: None,
            period_start_ms: 86_400_000,
        };
        assert_eq!(
            near.to_json(),
            r#"{"name":"quota_threshold","resource":"messages","threshold":80,"used":850,"limit":1000,"period_start_ms":86400000}"#
        );
        let of_app = QuotaThreshold { resource: Resource::Connections, app_id: Some(1_001), ..near };
        assert!(
            of_app.to_json().contains(r#""resource":"connections""#)
                && of_app.to_json().contains(r#""app_id":1001,"#)
        );
        assert_eq!(body(5, "[{}]"), r#"{"time_ms":5,"events":[{}]}"#);
        assert_eq!(Event::parse_end("["), None);
    }
}
