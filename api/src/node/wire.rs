//! What goes between a node without a database and the control plane. Secrets of apps go over the wire here, and nowhere else: so
//! they are written out one by one, and nothing here shows them in a log. Both ends are of one release.

use std::fmt;

use protocol::webhook::Kind;
use realtime::app::{AppSnapshot, Features, KeyPair, Limits, Secret};
use realtime::apps::{AppRecord, Named};
use realtime::key_use::KeyNumbers;
use realtime::usage::Report;
use realtime::webhooks::{ChannelFilter, Endpoint, NewDelivery, Outcome};
use serde::{Deserialize, Serialize};

/// How an app is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Name {
    /// By one of its keys.
    Key(String),
    /// By its id.
    Id(u64),
}

impl Name {
    /// The same, borrowed.
    pub fn as_named(&self) -> Named<'_> {
        match self {
            Name::Key(key) => Named::Key(key),
            Name::Id(id) => Named::Id(*id),
        }
    }
}

impl From<Named<'_>> for Name {
    fn from(named: Named<'_>) -> Name {
        match named {
            Named::Key(key) => Name::Key(key.to_owned()),
            Named::Id(id) => Name::Id(id),
        }
    }
}

/// What a node asks: the methods of `AppSource`, `UsageSink` and `WebhookStore`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as those of the traits")]
pub enum Call {
    /// Which cluster it is of: [`Hello`].
    Hello,
    App(Name),
    Elsewhere(Name),
    AppIds,
    Take(Report),
    KeysUsed(Vec<KeyNumbers>),
    Put {
        node: String,
        until_ms: i64,
        new: Vec<NewDelivery>,
    },
    Waiting {
        now_ms: i64,
    },
    Claim {
        node: String,
        now_ms: i64,
        until_ms: i64,
        endpoint_id: String,
        limit: u32,
    },
    /// The answer to a claim was lost: what the node doesn't know of is given back.
    GiveBack {
        node: String,
        endpoint_id: String,
        known: Vec<String>,
    },
    Renew {
        node: String,
        until_ms: i64,
    },
    Release {
        node: String,
    },
    Finish {
        node: String,
        outcomes: Vec<Outcome>,
    },
    Hold(Vec<(u64, String)>),
    TakeHeld,
    Prune {
        now_ms: i64,
        endpoint_ids: Vec<String>,
    },
}

/// What a node is told first.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hello {
    /// Its cluster, as its token has it.
    pub cluster: String,
    /// The latest change; what comes after it is to be asked for.
    pub seq: i64,
    /// The dashboard's own app.
    pub system: Option<WireApp>,
}

/// Apps to look at again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Ask for what came after it next time.
    pub seq: i64,
    /// Which.
    pub apps: Vec<u64>,
}

/// An app with its secrets.
#[derive(Clone, Serialize, Deserialize)]
pub struct WireApp {
    id: u64,
    name: String,
    cluster: String,
    enabled: bool,
    client_events: bool,
    features: Features,
    allowed_origins: Vec<String>,
    keys: Vec<(String, String)>,
    limits: Limits,
    meter_scope: String,
    access: String,
    webhooks: Vec<WireEndpoint>,
    internal: bool,
    version: i64,
    day: u32,
    scope_messages: u64,
    app_messages: u64,
}

#[derive(Clone, Serialize, Deserialize)]
struct WireEndpoint {
    id: String,
    url: String,
    active: bool,
    kinds: Vec<String>,
    channels: ChannelFilter,
    headers: Vec<(String, String)>,
}

impl fmt::Debug for WireApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireApp").field("id", &self.id).finish_non_exhaustive()
    }
}

impl WireApp {
    /// An app, to be sent.
    pub fn new(record: &AppRecord) -> WireApp {
        let app = &record.snapshot;
        let endpoint = |one: &Endpoint| WireEndpoint {
            id: one.id.to_string(),
            url: one.url.to_string(),
            active: one.active,
            kinds: Kind::ALL
                .iter()
                .filter(|kind| one.kinds.has(**kind))
                .map(|kind| kind.name().to_owned())
                .collect(),
            channels: one.channels.clone(),
            headers: one
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), value.expose().to_owned()))
                .collect(),
        };
        WireApp {
            id: app.id,
            name: app.name.to_string(),
            cluster: app.cluster.to_string(),
            enabled: app.enabled,
            client_events: app.client_events,
            features: app.features,
            allowed_origins: app.allowed_origins.clone(),
            keys: app
                .keys
                .iter()
                .map(|pair| (pair.key.to_string(), pair.secret.expose().to_owned()))
                .collect(),
            limits: app.limits.clone(),
            meter_scope: app.meter_scope.to_string(),
            access: app.access.to_string(),
            webhooks: app.webhooks.iter().map(endpoint).collect(),
            internal: app.internal,
            version: app.version,
            day: record.day,
            scope_messages: record.scope_messages,
            app_messages: record.app_messages,
        }
    }

    /// The app that was sent.
    pub fn into_record(self) -> AppRecord {
        let endpoint = |one: WireEndpoint| Endpoint {
            id: one.id.into(),
            url: one.url.into(),
            active: one.active,
            kinds: one.kinds.iter().filter_map(|kind| Kind::parse(kind)).collect(),
            channels: one.channels,
            headers: one.headers.into_iter().map(|(name, value)| (name, Secret::new(&value))).collect(),
        };
        let pair =
            |(key, secret): (String, String)| KeyPair { key: key.into(), secret: Secret::new(&secret) };
        let snapshot = AppSnapshot {
            id: self.id,
            name: self.name.into(),
            cluster: self.cluster.into(),
            enabled: self.enabled,
            client_events: self.client_events,
            features: self.features,
            allowed_origins: self.allowed_origins,
            keys: self.keys.into_iter().map(pair).collect(),
            limits: self.limits,
            meter_scope: self.meter_scope.into(),
            access: self.access.into(),
            webhooks: self.webhooks.into_iter().map(endpoint).collect(),
            internal: self.internal,
            version: self.version,
        };
        AppRecord {
            snapshot,
            day: self.day,
            scope_messages: self.scope_messages,
            app_messages: self.app_messages,
        }
    }
}
