//! Apps for the data plane: from storage, from settings (the static app), and the dashboard's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::limits::CLIENT_EVENTS_PER_SECOND_MAX;
use protocol::webhook::Kind;
use realtime::app::{AppSnapshot, Features, KeyPair, Limits, Secret};
use realtime::apps::{AppRecord, AppSource, Elsewhere, Named, SourceError};
use realtime::node::SYSTEM_APP_ID;
use realtime::usage::BoxFuture;
use realtime::webhooks::{ChannelFilter, Endpoint};
use tenancy::app::NodeView;
use tenancy::db::{Db, DbError};
use tenancy::instance::SystemApp;
use tenancy::webhook_endpoint::{self, WebhookEndpoint};

use crate::config::StaticApp;

/// Where a node's apps come from.
#[derive(Clone, Debug)]
pub struct Source {
    /// Accounts and apps.
    pub db: Db,
    /// The dashboard's own app.
    pub system: SystemApp,
    /// An app out of the settings.
    pub static_app: Option<StaticApp>,
    /// This node's region.
    pub cluster: String,
    /// Where other regions are: apps that live there are not of this node.
    pub elsewhere: BTreeMap<String, String>,
}

const NO_LIMITS: Limits = Limits {
    connections_max: None,
    app_connections_max: None,
    messages_per_day_max: None,
    app_messages_per_day_max: None,
    client_events_per_second_max: None,
    publishes_per_second_max: None,
    reads_per_second_max: None,
    presence_members_max: tenancy::limits::PRESENCE_MEMBERS_MAX_UNLIMITED,
};

fn unreachable_store(error: DbError) -> SourceError {
    SourceError(error.to_string())
}

/// Days since the epoch, UTC.
pub(super) fn today() -> u32 {
    (tenancy::now_ms() / 86_400_000) as u32
}

/// What an app is counted with: its account, or without one itself.
pub(super) fn meter_scope(app_id: u64, account: Option<&str>) -> String {
    match account {
        Some(id) => format!("account:{id}"),
        None => format!("app:{app_id}"),
    }
}

fn features(stored: tenancy::app::Features) -> Features {
    let tenancy::app::Features {
        subscription_counts,
        watchlist,
        authorized_connections,
        force_tls,
        webhook_batching,
        retry_over_limit,
    } = stored;
    Features {
        subscription_counts,
        watchlist,
        authorized_connections,
        force_tls,
        webhook_batching,
        retry_over_limit,
    }
}

fn endpoint(stored: WebhookEndpoint) -> Endpoint {
    use webhook_endpoint::ChannelFilter as Stored;
    Endpoint {
        active: stored.enabled && stored.paused_ms.is_none(),
        id: stored.id.into(),
        url: stored.url.into(),
        kinds: stored.kinds.iter().filter_map(|kind| Kind::parse(kind)).collect(),
        channels: match stored.channel_filter {
            Stored::None => ChannelFilter::All,
            Stored::Prefix(text) => ChannelFilter::Prefix(text.into()),
            Stored::Exact(text) => ChannelFilter::Exact(text.into()),
            Stored::Glob(text) => ChannelFilter::Glob(text.into()),
        },
        headers: stored.headers.into_iter().map(|(name, value)| (name, Secret::new(&value))).collect(),
    }
}

impl Source {
    /// Where an app lives if not here: in another cluster whose address is known. Without addresses a node takes what it is given.
    fn place_of(&self, view: &NodeView) -> Option<Elsewhere> {
        let cluster = &view.app.cluster;
        let url = self.elsewhere.get(cluster).filter(|_| *cluster != self.cluster)?;
        Some(Elsewhere { cluster: cluster.as_str().into(), url: Some(url.as_str().into()) })
    }

    fn built_in(&self, id: u64, name: &str, key: &str, secret: &str, internal: bool) -> AppRecord {
        let snapshot = AppSnapshot {
            id,
            name: name.into(),
            cluster: self.cluster.as_str().into(),
            enabled: true,
            client_events: !internal,
            features: Features::default(),
            allowed_origins: Vec::new(),
            keys: vec![KeyPair { key: key.into(), secret: Secret::new(secret) }],
            limits: NO_LIMITS,
            meter_scope: meter_scope(id, None).into(),
            access: "".into(),
            // A static app has no page on which to make an endpoint.
            webhooks: Vec::new(),
            internal,
            version: 0,
        };
        AppRecord { snapshot, day: today(), scope_messages: 0, app_messages: 0 }
    }

    fn system_record(&self) -> AppRecord {
        self.built_in(SYSTEM_APP_ID, "dashboard", &self.system.key, self.system.secret.expose(), true)
    }

    async fn record(&self, view: Option<NodeView>) -> Result<Option<AppRecord>, SourceError> {
        let Some(view) = view else { return Ok(None) };
        let (app, day) = (view.app, today());
        let app_messages =
            tenancy::usage::app_messages(&self.db, app.id, day).await.map_err(unreachable_store)?;
        let (scope, scope_messages) = match app.plan {
            Some(_) => (meter_scope(app.id, None), app_messages),
            None => {
                let used = tenancy::usage::account_messages(&self.db, &app.account_id, day)
                    .await
                    .map_err(unreachable_store)?;
                (meter_scope(app.id, Some(&app.account_id)), used)
            }
        };
        let webhooks = webhook_endpoint::list_for_node(&self.db, app.id).await.map_err(unreachable_store)?;
        let limits = view.plan_limits;
        let extra = match app.plan {
            Some(_) => 0,
            None => {
                tenancy::overage::extra_on(&self.db, &app.account_id, day).await.map_err(unreachable_store)?
            }
        };
        let keys = view
            .keys
            .iter()
            .map(|pair| KeyPair { key: pair.key.as_str().into(), secret: Secret::new(pair.secret.expose()) });
        let snapshot = AppSnapshot {
            id: app.id,
            name: app.name.into(),
            cluster: app.cluster.into(),
            enabled: app.enabled && !view.suspended,
            client_events: app.client_events,
            features: features(app.features),
            allowed_origins: app.allowed_origins,
            keys: keys.collect(),
            limits: Limits {
                connections_max: limits.connections_max,
                app_connections_max: app.connections_max,
                messages_per_day_max: limits.messages_per_day_max.map(|limit| limit.saturating_add(extra)),
                app_messages_per_day_max: app.messages_day_max,
                client_events_per_second_max: Some(CLIENT_EVENTS_PER_SECOND_MAX),
                publishes_per_second_max: limits.publishes_per_second_max,
                reads_per_second_max: limits.reads_per_second_max,
                presence_members_max: limits.presence_members_max,
            },
            meter_scope: Arc::from(scope),
            access: format!("{}/{}", app.account_id, view.access_version).into(),
            webhooks: webhooks.into_iter().map(endpoint).collect(),
            internal: false,
            version: app.version,
        };
        let (scope_messages, app_messages) = (scope_messages.max(0) as u64, app_messages.max(0) as u64);
        Ok(Some(AppRecord { snapshot, day, scope_messages, app_messages }))
    }
}

impl AppSource for Source {
    fn by_key<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<AppRecord>, SourceError>> {
        Box::pin(async move {
            if key == self.system.key {
                return Ok(Some(self.system_record()));
            }
            if let Some(app) = self.static_app.as_ref().filter(|app| app.key == key) {
                return Ok(Some(self.built_in(app.id, "static", &app.key, app.secret.expose(), false)));
            }
            let view = tenancy::app::node_view_by_key(&self.db, key).await.map_err(unreachable_store)?;
            self.record(view.filter(|view| self.place_of(view).is_none())).await
        })
    }

    fn by_id(&self, id: u64) -> BoxFuture<'_, Result<Option<AppRecord>, SourceError>> {
        Box::pin(async move {
            if id == SYSTEM_APP_ID {
                return Ok(Some(self.system_record()));
            }
            if let Some(app) = self.static_app.as_ref().filter(|app| app.id == id) {
                return Ok(Some(self.built_in(app.id, "static", &app.key, app.secret.expose(), false)));
            }
            let view = tenancy::app::node_view_by_id(&self.db, id).await.map_err(unreachable_store)?;
            self.record(view.filter(|view| self.place_of(view).is_none())).await
        })
    }

    fn elsewhere<'a>(&'a self, named: Named<'a>) -> BoxFuture<'a, Result<Option<Elsewhere>, SourceError>> {
        Box::pin(async move {
            if self.elsewhere.is_empty() {
                return Ok(None);
            }
            let view = match named {
                Named::Key(key) => tenancy::app::node_view_by_key(&self.db, key).await,
                Named::Id(id) => tenancy::app::node_view_by_id(&self.db, id).await,
            };
            Ok(view.map_err(unreachable_store)?.and_then(|view| self.place_of(&view)))
        })
    }
}
