//! What this node knows of an app: an immutable snapshot, replaced whole, and the live things that hang on it (its channels,
//! its meters, its console). No storage here.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::cache::{Cache, Cached};
use crate::cluster::Cluster;
use crate::console::Console;
use crate::hub::Channels;
use crate::key_use::{KeyNumbers, KeyUses, Slot};
use crate::meter::{AppMeter, ScopeMeter};
use crate::rate::Rates;
use crate::users::Users;
use crate::webhooks::Endpoint;
use crate::webhooks::backlog::AppBacklog;

/// A text that no log may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a text.
    pub fn new(text: &str) -> Secret {
        Secret(text.into())
    }

    /// The text, to sign or to verify with.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// One of an app's key pairs; all are valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// Public half.
    pub key: Arc<str>,
    /// Signs tokens and requests.
    pub secret: Secret,
}

/// What the plan allows. `None` means no limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Concurrent connections of the whole meter scope.
    pub connections_max: Option<u64>,
    /// Concurrent connections of this app alone.
    pub app_connections_max: Option<u64>,
    /// Messages of the meter scope in a UTC day.
    pub messages_per_day_max: Option<u64>,
    /// Messages of this app alone in a UTC day.
    pub app_messages_per_day_max: Option<u64>,
    /// Client events per second and connection.
    pub client_events_per_second_max: Option<u32>,
    /// Events that the HTTP API publishes in a second, on each node. At least as many as a batch may have.
    pub publishes_per_second_max: Option<u32>,
    /// Other calls of the HTTP API in a second, on each node.
    pub reads_per_second_max: Option<u32>,
    /// Distinct users of one presence channel.
    pub presence_members_max: u32,
}

/// What the app's owner switched on and off. Source: app settings of Pusher's dashboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features {
    /// Subscribers are told how many they are, on all channels but presence channels.
    pub subscription_counts: bool,
    /// Users who signed in are told when the users on their watchlist come and go.
    pub watchlist: bool,
    /// A connection must sign in or join a private or presence channel in time, and counts only then.
    pub authorized_connections: bool,
    /// Connections and requests without TLS are refused.
    pub force_tls: bool,
    /// Several events travel in one webhook; off: one event each.
    pub webhook_batching: bool,
    /// A client over the connection limit is told to come back later (4100); off: to stay away (4004).
    pub retry_over_limit: bool,
}

impl Default for Features {
    fn default() -> Features {
        Features {
            subscription_counts: false,
            watchlist: false,
            authorized_connections: false,
            force_tls: false,
            webhook_batching: true,
            retry_over_limit: false,
        }
    }
}

/// Everything that decides about an app on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSnapshot {
    /// Decimal number in URLs.
    pub id: u64,
    /// For people.
    pub name: Arc<str>,
    /// Region that the app lives in.
    pub cluster: Arc<str>,
    /// Off: sockets are refused with 4003, requests with 403.
    pub enabled: bool,
    /// May clients trigger events?
    pub client_events: bool,
    /// Switches of the app's settings.
    pub features: Features,
    /// Patterns of allowed origins; empty means any.
    pub allowed_origins: Vec<String>,
    /// Oldest first.
    pub keys: Vec<KeyPair>,
    /// What the plan allows.
    pub limits: Limits,
    /// Whose connections and messages are counted together: `account:ID` or `app:ID`.
    pub meter_scope: Arc<str>,
    /// Names who may watch its console: whoever was let in under another name must ask again.
    pub access: Arc<str>,
    /// Where its webhooks go.
    pub webhooks: Vec<Endpoint>,
    /// The dashboard's own app: no console, no meter.
    pub internal: bool,
    /// Grows with each change.
    pub version: i64,
}

impl AppSnapshot {
    /// The secret that belongs to a key of this app.
    pub fn secret_of(&self, key: &str) -> Option<&Secret> {
        self.keys.iter().find(|pair| &*pair.key == key).map(|pair| &pair.secret)
    }

    /// Does the app allow a page of this origin? Patterns: `*`, a host (`shop.test`), a host with a leading wildcard
    /// (`*.shop.test`) or a full origin (`https://shop.test`). Clients that send no origin are no browsers and pass.
    pub fn allows_origin(&self, origin: Option<&str>) -> bool {
        let Some(origin) = origin.filter(|_| !self.allowed_origins.is_empty()) else { return true };
        let host_port = origin.split_once("://").map_or(origin, |(_, rest)| rest);
        let host = host_port.rsplit_once(':').filter(|(_, p)| p.bytes().all(|b| b.is_ascii_digit()));
        let host = host.map_or(host_port, |(host, _)| host);
        self.allowed_origins.iter().any(|pattern| {
            let same = |text: &str| pattern.eq_ignore_ascii_case(text);
            pattern == "*"
                || same(origin)
                || same(host_port)
                || same(host)
                || pattern.strip_prefix("*.").is_some_and(|tail| {
                    let cut = host
                        .len()
                        .checked_sub(tail.len())
                        .filter(|&cut| cut > 0 && host.is_char_boundary(cut));
                    cut.is_some_and(|cut| {
                        host[cut..].eq_ignore_ascii_case(tail) && host[..cut].ends_with('.')
                    })
                })
        })
    }
}

/// An app on this node.
pub struct App {
    id: u64,
    snapshot: ArcSwap<AppSnapshot>,
    /// Who is subscribed to what, on this node.
    pub channels: Channels,
    /// What happened, for the debug console.
    pub console: Console,
    /// Sockets from before it may not join the channels of the console any more.
    pub(crate) watched_anew: Mutex<Option<Instant>>,
    pub(crate) cache: Cache,
    pub(crate) users: Users,
    pub(crate) backlog: AppBacklog,
    pub(crate) keys: KeyUses,
    pub(crate) meter: AppMeter,
    pub(crate) rates: Rates,
    pub(crate) scope: Arc<ScopeMeter>,
    /// Set once a place that all nodes share was taken.
    pub(crate) cluster: OnceLock<Arc<Cluster>>,
}

/// Numbers for pages and the live strip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Open connections of this app.
    pub connections: u64,
    /// Open connections of the meter scope.
    pub scope_connections: u64,
    /// Messages of this app today.
    pub messages_today: u64,
    /// Messages of the meter scope today.
    pub scope_messages_today: u64,
}

/// The messages of a UTC day against the nearer of two limits: the plan's for the meter scope, and the app's own cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageQuota {
    /// What counts against it.
    pub used: u64,
    /// The limit.
    pub limit: u64,
    /// It is the app's own cap, and only its own messages count.
    pub own_cap: bool,
}

impl MessageQuota {
    /// 0 once it is used up, also when the last call went past it.
    pub fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

impl App {
    pub(crate) fn new(snapshot: AppSnapshot, meter: AppMeter, scope: Arc<ScopeMeter>, node: &str) -> App {
        App {
            id: snapshot.id,
            console: Console::new(node, snapshot.internal),
            channels: Channels::default(),
            watched_anew: Mutex::default(),
            backlog: AppBacklog::default(),
            cache: Cache::default(),
            users: Users::default(),
            keys: KeyUses::new(&snapshot.keys),
            snapshot: ArcSwap::from_pointee(snapshot),
            meter,
            rates: Rates::new(),
            scope,
            cluster: OnceLock::new(),
        }
    }

    /// The app's id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What is decided by right now.
    pub fn snapshot(&self) -> Arc<AppSnapshot> {
        self.snapshot.load_full()
    }

    /// The same for one look, without sharing it.
    pub(crate) fn loaded(&self) -> arc_swap::Guard<Arc<AppSnapshot>> {
        self.snapshot.load()
    }

    /// What a cache channel holds right now, as far as this node knows.
    pub fn cached(&self, channel: &str) -> Option<Cached> {
        self.cache.get(channel, std::time::Instant::now())
    }

    /// Gives the places of keys that are no more and still have connections.
    pub(crate) fn replace(&self, snapshot: AppSnapshot) -> Vec<Slot> {
        let snapshot = Arc::new(snapshot);
        self.snapshot.store(snapshot.clone());
        self.keys.sync(&snapshot.keys)
    }

    /// Who uses which key on this node, those included that were revoked and still have connections.
    pub fn key_numbers(&self) -> Vec<KeyNumbers> {
        self.keys.numbers()
    }

    /// A request was signed with this key of the app.
    pub fn key_requested(&self, key: &str) {
        self.keys.requested(key);
    }

    /// How far the day is used, against the limit of which less is left (the plan's, if both have the same); `None` means that
    /// there is neither.
    pub fn message_quota(&self) -> Option<MessageQuota> {
        let snapshot = self.snapshot.load();
        let quota =
            |limit: Option<u64>, used: u64, own_cap| limit.map(|limit| MessageQuota { used, limit, own_cap });
        let limits = &snapshot.limits;
        let plan = quota(limits.messages_per_day_max, self.scope.messages_today(), false);
        let own = quota(limits.app_messages_per_day_max, self.meter.messages_today(), true);
        plan.into_iter().chain(own).min_by_key(MessageQuota::left)
    }

    /// Today's numbers. What other nodes counted comes with the next flush, which is asked to look.
    pub fn usage(&self) -> Usage {
        self.meter.ask();
        Usage {
            connections: self.meter.all_connections(),
            scope_connections: self.scope.all_connections(),
            messages_today: self.meter.messages_today(),
            scope_messages_today: self.scope.messages_today(),
        }
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn snapshot() -> AppSnapshot {
        AppSnapshot {
            id: 1001,
            name: "shop".into(),
            cluster: "local".into(),
            enabled: true,
            client_events: true,
            features: Features::default(),
            allowed_origins: vec![],
            keys: vec![KeyPair { key: "key".into(), secret: Secret::new("hush") }],
            limits: Limits {
                connections_max: None,
                app_connections_max: None,
                messages_per_day_max: None,
                app_messages_per_day_max: None,
                client_events_per_second_max: Some(10),
                publishes_per_second_max: None,
                reads_per_second_max: None,
                presence_members_max: 100,
            },
            meter_scope: "account:a".into(),
            access: "".into(),
            webhooks: vec![],
            internal: false,
            version: 1,
        }
    }

    #[test]
    fn origins_match_by_host_by_wildcard_or_whole() {
        let mut app = snapshot();
        assert!(app.allows_origin(Some("https://any.test")));
        app.allowed_origins = vec!["shop.test".into(), "*.wild.test".into(), "http://localhost:5173".into()];
        for good in [
            "https://shop.test",
            "http://SHOP.test:8080",
            "https://a.wild.test",
            "https://a.b.wild.test",
            "http://localhost:5173",
        ] {
            assert!(app.allows_origin(Some(good)), "{good}");
        }
        for bad in [
            "https://evil.test",
            "https://shop.test.evil",
            "https://wild.test",
            "https://xwild.test",
            "http://localhost:3000",
            "null",
            "",
        ] {
            assert!(!app.allows_origin(Some(bad)), "{bad}");
        }
        assert!(app.allows_origin(None), "no browser");
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        assert!(!format!("{:?}", snapshot()).contains("hush"));
    }
}
