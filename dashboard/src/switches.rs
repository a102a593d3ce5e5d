//! The switches of an app's settings: one table, so that pages, the route and the tests agree on what there is.
//!
//! What a switch does happens in the data plane; here it is only named, explained and set.

use tenancy::app::{App, AppChange, FeatureChange};

/// A switch of an app.
pub(crate) struct Switch {
    /// In addresses (`/settings/{slug}`) and as the id of its place on the page.
    pub(crate) slug: &'static str,
    /// Its heading.
    pub(crate) title: &'static str,
    /// What it does and what clients see of it; code between backticks.
    pub(crate) text: &'static str,
    /// The words beside the switch.
    pub(crate) label: &'static str,
    /// Said once it has been switched on.
    pub(crate) now_on: &'static str,
    /// Said once it has been switched off.
    pub(crate) now_off: &'static str,
    is_on: fn(&App) -> bool,
    change: fn(bool) -> AppChange,
}

impl Switch {
    /// Whether it's on in this app.
    pub(crate) fn is_on(&self, app: &App) -> bool {
        (self.is_on)(app)
    }

    /// What to store to set it.
    pub(crate) fn change(&self, on: bool) -> AppChange {
        (self.change)(on)
    }

    /// What is said after it was set to what it is in this app.
    pub(crate) fn said(&self, app: &App) -> &'static str {
        if self.is_on(app) { self.now_on } else { self.now_off }
    }
}

/// The switch with this slug.
pub(crate) fn find(slug: &str) -> Option<&'static Switch> {
    CONNECTIONS.iter().chain(EVENTS).find(|switch| switch.slug == slug)
}

/// Who may connect, and how.
pub(crate) static CONNECTIONS: &[Switch] = &[
    Switch {
        slug: "authorized-connections",
        title: "Authorized connections",
        text: "Closes a connection that has neither signed in nor joined a private or presence channel within 30 seconds. \
               Clients see code 4009 and don't come back by themselves. Connections that are open now are left alone.",
        label: "Only authorized connections",
        now_on: "On. New connections have 30 seconds to sign in or to join a private or presence channel.",
        now_off: "Off. Connections may stay without signing in.",
        is_on: |app| app.features.authorized_connections,
        change: |on| features(FeatureChange { authorized_connections: Some(on), ..FeatureChange::default() }),
    },
    Switch {
        slug: "force-tls",
        title: "Force TLS",
        text: "Refuses what comes without encryption. Clients on `ws://` see code 4000, and pusher-js then tries `wss://` \
               by itself; requests of your servers to `http://` are refused.",
        label: "Only encrypted connections and requests",
        now_on: "On. New connections and requests need TLS.",
        now_off: "Off. Connections and requests may come without TLS.",
        is_on: |app| app.features.force_tls,
        change: |on| features(FeatureChange { force_tls: Some(on), ..FeatureChange::default() }),
    },
    Switch {
        slug: "retry-over-limit",
        title: "Over the connection limit",
        text: "Decides what a client is told when all connections are in use. Off, it sees code 4004, as with Pusher, and \
               stays away until its page is loaded anew, even when a place is free again. On, it sees code 4100 and \
               tries again every second or so, until it finds a place. Recommended, unless your clients need 4004.",
        label: "Clients over the limit come back by themselves",
        now_on: "On. Clients over the limit see code 4100 and try again.",
        now_off: "Off. Clients over the limit see code 4004 and stay away.",
        is_on: |app| app.features.retry_over_limit,
        change: |on| features(FeatureChange { retry_over_limit: Some(on), ..FeatureChange::default() }),
    },
];

/// What is sent, and by whom.
pub(crate) static EVENTS: &[Switch] = &[
    Switch {
        slug: "client-events",
        title: "Client events",
        text: "Lets clients send events named `client-…` to each other on private and presence channels, without your \
               server. Anybody who may subscribe may then send.",
        label: "Allow client events",
        now_on: "On. New and open connections may send client events.",
        now_off: "Off. Client events are refused.",
        is_on: |app| app.client_events,
        change: |on| AppChange { client_events: Some(on), ..AppChange::default() },
    },
    Switch {
        slug: "subscription-counts",
        title: "Subscription counts",
        text: "Tells subscribers and webhooks how many connections a channel has. Clients see \
               `pusher:subscription_count` on each change, at most every 5 seconds on channels with more than 100 \
               connections; presence channels have their member list instead. Each count that is delivered is a message.",
        label: "Send subscription counts",
        now_on: "On. Channels tell their count with the next change.",
        now_off: "Off. No more counts are sent.",
        is_on: |app| app.features.subscription_counts,
        change: |on| features(FeatureChange { subscription_counts: Some(on), ..FeatureChange::default() }),
    },
    Switch {
        slug: "watchlist",
        title: "Watchlist events",
        text: "Tells a signed-in user when the users on their watchlist come and go. Clients name up to 100 users in \
               `user_data` when they sign in, and see `online` and `offline` on `pusher.user.watchlist`.",
        label: "Send watchlist events",
        now_on: "On. Users who sign in from now on are told about their watchlist.",
        now_off: "Off. No more watchlist events are sent.",
        is_on: |app| app.features.watchlist,
        change: |on| features(FeatureChange { watchlist: Some(on), ..FeatureChange::default() }),
    },
    Switch {
        slug: BATCHING,
        title: "Webhook batching",
        text: "Puts the events of 250 ms, up to 20, into one webhook. Off, each event is a request of its own. Clients \
               see nothing of it.",
        label: "Send webhooks in batches",
        now_on: "On. Up to 20 events travel in one webhook.",
        now_off: "Off. Each event is a webhook of its own.",
        is_on: |app| app.features.webhook_batching,
        change: |on| features(FeatureChange { webhook_batching: Some(on), ..FeatureChange::default() }),
    },
];

/// The slug of the switch that the page of webhooks shows as well.
pub(crate) const BATCHING: &str = "webhook-batching";

fn features(features: FeatureChange) -> AppChange {
    AppChange { features, ..AppChange::default() }
}
