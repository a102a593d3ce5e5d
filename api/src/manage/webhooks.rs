//! `/v1/apps/{id}/webhooks`: where the app's webhooks go. Values of headers of the customer's own are written and never read: they
//! may be secrets.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{StatusCode, header};
use protocol::webhook_url;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tenancy::app::App;
use tenancy::audit::{self, Action};
use tenancy::webhook_endpoint::{
    self, ChannelFilter, EndpointChange, EndpointError, FILTER_CHARS_MAX, NewEndpoint, WebhookEndpoint,
};
use utoipa::ToSchema;

use super::error::Refusal;
use super::input::{At, Body, iso};
use super::scope::{GrantedApp, ManageWebhooks, ReadWebhooks};
use super::{Answer, Manage, acts};

/// Which channels' events an endpoint gets.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Channels {
    #[serde(rename = "match")]
    how: How,
    /// A name, its beginning, or a pattern with up to five `*`. Without effect on `all`.
    #[serde(default)]
    #[schema(max_length = 200, example = "presence-")]
    text: String,
}

/// How channels are chosen.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum How {
    All,
    Prefix,
    Exact,
    Glob,
}

impl Channels {
    /// The filter that is meant. A text too long is refused even where it has no effect: the document says so.
    fn filter(self) -> Result<ChannelFilter, Refusal> {
        if self.text.chars().count() > FILTER_CHARS_MAX {
            return Err(Refusal::invalid("channels", EndpointError::FilterInvalid));
        }
        Ok(match self.how {
            How::All => ChannelFilter::None,
            How::Prefix => ChannelFilter::Prefix(self.text),
            How::Exact => ChannelFilter::Exact(self.text),
            How::Glob => ChannelFilter::Glob(self.text),
        })
    }
}

impl From<&ChannelFilter> for Channels {
    fn from(filter: &ChannelFilter) -> Channels {
        let (how, text) = match filter {
            ChannelFilter::None => (How::All, ""),
            ChannelFilter::Prefix(text) => (How::Prefix, text.as_str()),
            ChannelFilter::Exact(text) => (How::Exact, text.as_str()),
            ChannelFilter::Glob(text) => (How::Glob, text.as_str()),
        };
        Channels { how, text: text.to_owned() }
    }
}

/// A kind of event, in Pusher's words; `quota_threshold` is about the organisation's limits and no channel.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum EventKind {
    ChannelOccupied,
    ChannelVacated,
    MemberAdded,
    MemberRemoved,
    ClientEvent,
    CacheMiss,
    SubscriptionCount,
    QuotaThreshold,
}

impl EventKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            EventKind::ChannelOccupied => "channel_occupied",
            EventKind::ChannelVacated => "channel_vacated",
            EventKind::MemberAdded => "member_added",
            EventKind::MemberRemoved => "member_removed",
            EventKind::ClientEvent => "client_event",
            EventKind::CacheMiss => "cache_miss",
            EventKind::SubscriptionCount => "subscription_count",
            EventKind::QuotaThreshold => "quota_threshold",
        }
    }
}

fn names(kinds: &[EventKind]) -> Vec<String> {
    kinds.iter().map(|kind| kind.name().to_owned()).collect()
}

/// A webhook endpoint.
#[derive(Serialize, ToSchema)]
pub(super) struct EndpointView {
    /// `whe_…`
    id: String,
    url: String,
    /// The kinds of events that it gets.
    kinds: Vec<String>,
    channels: Channels,
    /// Names of the headers that you added; their values are not shown.
    header_names: Vec<String>,
    /// Off: nothing is sent but what is asked for by hand.
    enabled: bool,
    /// Since when nothing has arrived.
    #[schema(format = DateTime)]
    failing_since: Option<String>,
    /// When it was paused for failing too long. Enabling it ends the pause.
    #[schema(format = DateTime)]
    paused_at: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
}

impl EndpointView {
    fn new(endpoint: WebhookEndpoint) -> EndpointView {
        EndpointView {
            channels: (&endpoint.channel_filter).into(),
            id: endpoint.id,
            url: endpoint.url,
            kinds: endpoint.kinds,
            header_names: endpoint.headers.into_iter().map(|(name, _)| name).collect(),
            enabled: endpoint.enabled,
            failing_since: endpoint.failing_since_ms.map(iso),
            paused_at: endpoint.paused_ms.map(iso),
            created_at: iso(endpoint.created_ms),
        }
    }
}

/// All of them: an app has at most 20.
#[derive(Serialize, ToSchema)]
pub(super) struct EndpointList {
    data: Vec<EndpointView>,
}

/// The webhook endpoints of an app, oldest first
#[utoipa::path(get, path = "/v1/apps/{id}/webhooks", tag = "Webhooks", security(("token" = ["webhooks:read"])),
    params(("id" = u64, Path, description = "The app's id", minimum = 1001)), responses((status = 200, body = EndpointList)))]
pub(super) async fn list_endpoints(
    GrantedApp { app, .. }: GrantedApp<ReadWebhooks>,
    State(manage): State<Manage>,
) -> Answer<EndpointList> {
    let endpoints = webhook_endpoint::list(&manage.db, &app.account_id, app.id).await?;
    Ok(Json(EndpointList { data: endpoints.into_iter().map(EndpointView::new).collect() }))
}

/// A new endpoint.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewEndpointBody {
    /// `https://…` or `http://…` on the public internet, ports 80 and 443, no user name and no fragment.
    #[schema(max_length = 2000, example = "https://shop.example/webhooks")]
    url: String,
    #[schema(min_items = 1)]
    kinds: Vec<EventKind>,
    channels: Option<Channels>,
    /// Headers that every request shall have, at most 10: name and value.
    headers: Option<BTreeMap<String, String>>,
}

/// Makes an endpoint, switched on
#[utoipa::path(post, path = "/v1/apps/{id}/webhooks", tag = "Webhooks", security(("token" = ["webhooks:write"])), request_body = NewEndpointBody,
    params(("id" = u64, Path, description = "The app's id", minimum = 1001)),
    responses((status = 201, body = EndpointView), (status = 409, description = "The app has 20 endpoints", body = super::error::ErrorAnswer)))]
pub(super) async fn create_endpoint(
    GrantedApp { caller, app, .. }: GrantedApp<ManageWebhooks>,
    State(manage): State<Manage>,
    Body(body): Body<NewEndpointBody>,
) -> Result<impl IntoResponse, Refusal> {
    check_url(&manage, &body.url)?;
    let new = NewEndpoint {
        url: body.url,
        kinds: names(&body.kinds),
        channel_filter: body.channels.map(Channels::filter).transpose()?.unwrap_or_default(),
        headers: body.headers.unwrap_or_default().into_iter().collect(),
    };
    let made = webhook_endpoint::create(&manage.db, &app.account_id, app.id, new).await.map_err(refusal)?;
    let made = made.ok_or_else(Refusal::no_app)?;
    acts::in_app(&manage, &caller, Action::WebhookCreate, &app, &made.id, made.told()).await;
    let at = format!("/v1/apps/{}/webhooks/{}", app.id, made.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, at)], Json(EndpointView::new(made))))
}

/// An endpoint
#[utoipa::path(get, path = "/v1/apps/{id}/webhooks/{endpoint}", tag = "Webhooks", security(("token" = ["webhooks:read"])),
    params(("id" = u64, Path, description = "The app's id", minimum = 1001), ("endpoint" = String, Path, description = "`whe_…`")),
    responses((status = 200, body = EndpointView)))]
pub(super) async fn get_endpoint(
    GrantedApp { app, .. }: GrantedApp<ReadWebhooks>,
    State(manage): State<Manage>,
    at: At<(String, String)>,
) -> Answer<EndpointView> {
    let At((_, id)) = at;
    Ok(Json(EndpointView::new(find(&manage, &app, &id).await?)))
}

/// What to change. What is left out, or null, stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EndpointPatch {
    #[schema(max_length = 2000)]
    url: Option<String>,
    #[schema(min_items = 1)]
    kinds: Option<Vec<EventKind>>,
    channels: Option<Channels>,
    /// The whole new set.
    headers: Option<BTreeMap<String, String>>,
    /// True also ends a pause.
    enabled: Option<bool>,
}

/// Changes an endpoint
#[utoipa::path(patch, path = "/v1/apps/{id}/webhooks/{endpoint}", tag = "Webhooks", security(("token" = ["webhooks:write"])), request_body = EndpointPatch,
    params(("id" = u64, Path, description = "The app's id", minimum = 1001), ("endpoint" = String, Path, description = "`whe_…`")),
    responses((status = 200, body = EndpointView)))]
pub(super) async fn update_endpoint(
    GrantedApp { caller, app, .. }: GrantedApp<ManageWebhooks>,
    State(manage): State<Manage>,
    at: At<(String, String)>,
    Body(body): Body<EndpointPatch>,
) -> Answer<EndpointView> {
    let At((_, id)) = at;
    let before = find(&manage, &app, &id).await?;
    if let Some(url) = &body.url {
        check_url(&manage, url)?;
    }
    let change = EndpointChange {
        url: body.url,
        kinds: body.kinds.as_deref().map(names),
        channel_filter: body.channels.map(Channels::filter).transpose()?,
        headers: body.headers.map(|headers| headers.into_iter().collect()),
        enabled: body.enabled,
    };
    let now =
        webhook_endpoint::update(&manage.db, &app.account_id, app.id, &id, change).await.map_err(refusal)?;
    let now = now.ok_or_else(no_endpoint)?;
    let details = audit::changed(&before.told(), &now.told());
    acts::in_app(&manage, &caller, Action::WebhookEdit, &app, &id, details).await;
    Ok(Json(EndpointView::new(now)))
}

/// Deletes an endpoint with its log; what waits for it is not sent
#[utoipa::path(delete, path = "/v1/apps/{id}/webhooks/{endpoint}", tag = "Webhooks", security(("token" = ["webhooks:write"])),
    params(("id" = u64, Path, description = "The app's id", minimum = 1001), ("endpoint" = String, Path, description = "`whe_…`")),
    responses((status = 204, description = "It is gone")))]
pub(super) async fn delete_endpoint(
    GrantedApp { caller, app, .. }: GrantedApp<ManageWebhooks>,
    State(manage): State<Manage>,
    at: At<(String, String)>,
) -> Result<StatusCode, Refusal> {
    let At((_, id)) = at;
    if !webhook_endpoint::delete(&manage.db, &app.account_id, app.id, &id).await? {
        return Err(no_endpoint());
    }
    acts::in_app(&manage, &caller, Action::WebhookDelete, &app, &id, Value::Null).await;
    Ok(StatusCode::NO_CONTENT)
}

/// The endpoint of an address: an unknown one, another app's and another tenant's alike are none.
pub(super) async fn find(manage: &Manage, app: &App, id: &str) -> Result<WebhookEndpoint, Refusal> {
    webhook_endpoint::find(&manage.db, &app.account_id, app.id, id).await?.ok_or_else(no_endpoint)
}

fn no_endpoint() -> Refusal {
    Refusal::not_found("The app has no such webhook endpoint.")
}

/// Whether it may be called is asked here for its owner's sake, and again by the node before each attempt.
fn check_url(manage: &Manage, url: &str) -> Result<(), Refusal> {
    let target = webhook_url::parse(url, &manage.settings.webhook_allow);
    target.map(drop).map_err(|refused| Refusal::invalid("url", refused))
}

fn refusal(error: EndpointError) -> Refusal {
    match error {
        EndpointError::UrlInvalid => Refusal::invalid("url", error),
        EndpointError::NoKind | EndpointError::KindUnknown(_) => Refusal::invalid("kinds", error),
        EndpointError::FilterInvalid => Refusal::invalid("channels", error),
        EndpointError::HeaderInvalid(_) | EndpointError::TooManyHeaders => Refusal::invalid("headers", error),
        EndpointError::TooMany => Refusal::conflict("too_many_endpoints", "An app has at most 20 endpoints."),
        EndpointError::Db(error) => error.into(),
    }
}
