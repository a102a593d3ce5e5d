//! `/v1/apps/{id}/events`: publishing through the one door of the data plane, and what the debug console shows.
//!
//! The console's own pages read the same address with the session of a signed-in person: see [`crate::live`].

use axum::Json;
use axum::extract::{FromRequestParts, RawPathParams, State};
use axum::http::request::Parts;
use http::{StatusCode, header};
use protocol::http_api::EventBody;
use protocol::json::depth_within;
use protocol::limits::JSON_DEPTH_MAX;
use realtime::app::App as LiveApp;
use realtime::console::Source;
use realtime::publish::{Origin, Publication, PublishError};
use realtime::rate::Call;
use realtime::ws::{OverTls, PeerAddr};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use tenancy::app::App;
use tenancy::audit::Action;
use utoipa::{IntoParams, ToSchema};

use super::error::Refusal;
use super::input::{Asked, Body, limit};
use super::scope::{GrantedApp, ReadEvents, SendEvents};
use super::{Answer, Manage, acts};
use crate::channels::events::check;
use crate::live::{Live, own_app};

/// Rows of one page.
const PAGE_MAX: u32 = 1_000;
/// How the console names who publishes here.
const LIBRARY: &str = "management API";

/// An event for some channels.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewEvent {
    /// Not beginning with `pusher:` or `pusher_internal:`.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = "^(?!pusher:|pusher_internal:)",
        example = "order-shipped"
    )]
    name: String,
    /// At most 100. With an encrypted channel it is the only one.
    #[schema(min_items = 1, max_items = 100, value_type = Vec<ChannelText>, example = json!(["orders"]))]
    channels: Vec<String>,
    /// Any JSON, at most 10 kB; a string stands for its content.
    #[schema(value_type = Value, example = json!({"id": 1042}))]
    data: Box<RawValue>,
    /// This connection does not get the event.
    #[schema(pattern = r"^[0-9]{1,10}\.[0-9]{1,10}$")]
    socket_id: Option<String>,
}

/// A channel's name.
#[derive(ToSchema)]
#[schema(min_length = 1, max_length = 200, pattern = r"^[A-Za-z0-9_\-=@,.;]+$")]
#[allow(dead_code, reason = "for the document")]
pub(super) struct ChannelText(String);

/// What became of it.
#[derive(Serialize, ToSchema)]
pub(super) struct Published {
    /// Connections that it goes to, on the node that answers.
    recipients: u64,
}

/// Where a request comes from.
pub(super) struct Arrival {
    ip: Option<IpAddr>,
    over_tls: bool,
}

impl FromRequestParts<Manage> for Arrival {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Manage) -> Result<Self, Self::Rejection> {
        let ip = parts.extensions.get::<PeerAddr>().map(|peer| peer.0);
        Ok(Arrival { ip, over_tls: parts.extensions.get::<OverTls>().is_some() })
    }
}

async fn live_app(manage: &Manage, app: &App) -> Result<Arc<LiveApp>, Refusal> {
    let found = manage.node.apps().find_by_id(app.id).await.map_err(|_| Refusal::unavailable())?;
    found.ok_or_else(Refusal::no_app)
}

/// Publishes an event
///
/// As the HTTP API of Channels does, without its signature: the same limits hold, and it counts the same.
#[utoipa::path(post, path = "/v1/apps/{id}/events", tag = "Events", security(("token" = ["events:write"])), request_body = NewEvent,
    params(("id" = u64, Path, description = "The app's id", minimum = 1001)), responses((status = 200, body = Published)))]
pub(super) async fn publish_event(
    GrantedApp { caller, app, .. }: GrantedApp<SendEvents>,
    State(manage): State<Manage>,
    from: Arrival,
    Body(body): Body<NewEvent>,
) -> Answer<Published> {
    let clusters = &manage.settings.cluster_urls;
    if let Some(url) = clusters.get(&app.cluster).filter(|_| app.cluster != manage.settings.cluster) {
        let text = format!("The app lives in cluster {}: publish through {url}.", app.cluster);
        return Err(Refusal::conflict("other_cluster", text));
    }
    let live = live_app(&manage, &app).await?;
    let snapshot = live.snapshot();
    if !snapshot.enabled {
        return Err(Refusal::forbidden("app_disabled", "The app is disabled."));
    }
    if snapshot.features.force_tls && !from.over_tls {
        return Err(Refusal::forbidden("tls_required", "The app takes requests over https only."));
    }
    if !depth_within(body.data.get(), JSON_DEPTH_MAX) {
        let text = format!("the data is nested deeper than {JSON_DEPTH_MAX} levels");
        return Err(Refusal::invalid("data", text));
    }
    let event_body = EventBody {
        name: Some(Cow::Borrowed(&body.name)),
        data: Some(&body.data),
        channels: Some(body.channels.iter().map(|channel| Cow::Borrowed(channel.as_str())).collect()),
        channel: None,
        socket_id: body.socket_id.as_deref().map(Cow::Borrowed),
        info: None,
    };
    let event = check(&event_body).map_err(|error| match error.status {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::too_large(error.text),
        _ => Refusal::invalid("event", error.text),
    })?;
    live.take_calls(Call::Publish, 1).map_err(|_| Refusal::too_many(std::time::Duration::from_secs(1)))?;
    let publication = Publication {
        channels: &event.channels,
        event: event.name,
        data: event.data,
        exclude: event.exclude,
        origin: Origin { source: Source::Api, sdk: Some(LIBRARY), ip: from.ip, key: None },
    };
    let published = manage.node.publish(&live, &publication).await.map_err(|error| match error {
        PublishError::OverMessageQuota { used, limit, own_cap, .. } => {
            let whose = if own_cap { ", this app's own cap" } else { "" };
            Refusal::forbidden("over_quota", format!("{used} of {limit} messages of today are used{whose}."))
        }
        PublishError::Overloaded | PublishError::Alone => Refusal::unavailable(),
    })?;
    acts::often_in_app(&manage, &caller, Action::ApiSend, &app).await;
    Ok(Json(Published { recipients: published.recipients }))
}

/// What the debug console shows.
#[derive(Serialize, ToSchema)]
pub(super) struct ConsolePage {
    /// Oldest first. Fields that don't apply are left out: `node`, `seq`, `ts` (ms), `kind`, `group`, `channel`, `event`, …
    #[schema(value_type = Vec<Object>)]
    rows: Vec<Value>,
    /// Give it as `after` for the rows that come next.
    cursor: String,
    /// Rows that fell out before they could be read.
    lost: u64,
    /// What the app uses now.
    #[schema(value_type = Object)]
    stat: Map<String, Value>,
}

/// Which rows.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// `cursor` of the page before; without it, the latest rows.
    after: Option<String>,
    #[param(minimum = 1, maximum = 1000, default = 200)]
    limit: Option<u32>,
}

/// An app whose console may be read: by a token, or by a signed-in person's page.
pub(super) struct Console {
    app: Arc<LiveApp>,
    payloads: bool,
}

impl FromRequestParts<Manage> for Console {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, manage: &Manage) -> Result<Self, Refusal> {
        if parts.headers.contains_key(header::AUTHORIZATION) {
            let granted = GrantedApp::<ReadEvents>::from_request_parts(parts, manage).await?;
            let app = live_app(manage, &granted.app).await?;
            return Ok(Console { app, payloads: true });
        }
        if !parts.headers.contains_key(header::COOKIE) {
            return Err(Refusal::no_token());
        }
        let params = RawPathParams::from_request_parts(parts, manage).await.map_err(|_| Refusal::no_app())?;
        let id = params.iter().find(|(name, _)| *name == "id").map(|(_, value)| value).unwrap_or_default();
        let live = Live { node: manage.node.clone(), db: manage.db.clone() };
        let watched = own_app(&live, &parts.headers, id).await?;
        Ok(Console { app: watched.app, payloads: watched.payloads })
    }
}

/// What the debug console shows: connections, subscriptions, events, errors and webhooks of late
///
/// Each node keeps the latest 1,000 rows or so in memory; those of all nodes are given, in the order of their times.
#[utoipa::path(get, path = "/v1/apps/{id}/events", tag = "Events", security(("token" = ["events:read"])),
    params(("id" = u64, Path, description = "The app's id", minimum = 1001), EventsQuery), responses((status = 200, body = ConsolePage)))]
pub(super) async fn list_events(
    State(manage): State<Manage>,
    console: Console,
    Asked(asked): Asked<EventsQuery>,
) -> Answer<ConsolePage> {
    let limit = limit(asked.limit.or(Some(200)), PAGE_MAX)?;
    let page = manage.node.rows(&console.app, asked.after.as_deref(), limit as usize, console.payloads).await;
    let stat = match realtime::console::stat(&console.app) {
        Value::Object(stat) => stat,
        _ => Map::new(),
    };
    Ok(Json(ConsolePage { rows: page.rows, cursor: page.cursor, lost: page.lost, stat }))
}
