//! What a webhook tells a customer's server. Source: webhooks page; types as the Go and PHP SDKs decode them.

use std::sync::Arc;

use crate::socket_id::SocketId;

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

    /// As in `name` of the body.
    pub fn name(&self) -> &'static str {
        match self {
            Event::ChannelOccupied { .. } => "channel_occupied",
            Event::ChannelVacated { .. } => "channel_vacated",
            Event::MemberAdded { .. } => "member_added",
            Event::MemberRemoved { .. } => "member_removed",
            Event::ClientEvent { .. } => "client_event",
            Event::CacheMiss { .. } => "cache_miss",
            Event::SubscriptionCount { .. } => "subscription_count",
        }
    }
}
