//! `/v1/apps`: the apps of the organisation that the token sees, with the settings of the settings page.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{StatusCode, header};
use protocol::origins::{self, OriginsError};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use tenancy::app::{self, App, AppChange, CreateAppError, FeatureChange, NewApp, UpdateAppError};
use tenancy::audit::{self, Action};
use tenancy::membership;
use utoipa::ToSchema;

use super::error::Refusal;
use super::input::{Body, iso};
use super::keys::KeyWithSecret;
use super::scope::{Granted, GrantedApp, ManageApps, ReadApps, RemoveApps};
use super::{Answer, Manage, acts};

/// An app.
#[derive(Serialize, ToSchema)]
pub(super) struct AppView {
    #[schema(example = 1001)]
    pub(super) id: u64,
    #[schema(example = "shop-prod")]
    pub(super) name: String,
    #[schema(example = "eu")]
    pub(super) cluster: String,
    /// Off: nobody connects and nothing is published.
    pub(super) enabled: bool,
    #[schema(format = DateTime)]
    pub(super) created_at: String,
    pub(super) settings: AppSettings,
}

/// What the app's owner switches on and off.
#[derive(Serialize, ToSchema)]
pub(super) struct AppSettings {
    /// Clients may send events named `client-…` themselves.
    pub(super) client_events: bool,
    /// Subscribers and webhooks are told how many connections a channel has.
    pub(super) subscription_counts: bool,
    /// Users who signed in are told when users on their watchlist come and go.
    pub(super) watchlist: bool,
    /// A connection must sign in or join a private or presence channel within 30 seconds.
    pub(super) authorized_connections: bool,
    /// Connections and requests without TLS are refused.
    pub(super) force_tls: bool,
    /// Up to 20 events travel in one webhook.
    pub(super) webhook_batching: bool,
    /// A client over the connection limit is told to try again (4100) and not to stay away (4004).
    pub(super) retry_over_limit: bool,
    /// Origins that browsers may connect from; empty means all.
    pub(super) allowed_origins: Vec<String>,
    /// Connections of this app at the same time, below the plan's limit; null: it has no cap of its own.
    pub(super) connections_cap: Option<u64>,
    /// Messages of this app in one UTC day, below the plan's limit; null: it has no cap of its own.
    pub(super) messages_day_cap: Option<u64>,
}

impl AppView {
    pub(super) fn new(app: &App) -> AppView {
        let features = app.features;
        AppView {
            id: app.id,
            name: app.name.clone(),
            cluster: app.cluster.clone(),
            enabled: app.enabled,
            created_at: iso(app.created_ms),
            settings: AppSettings {
                client_events: app.client_events,
                subscription_counts: features.subscription_counts,
                watchlist: features.watchlist,
                authorized_connections: features.authorized_connections,
                force_tls: features.force_tls,
                webhook_batching: features.webhook_batching,
                retry_over_limit: features.retry_over_limit,
                allowed_origins: app.allowed_origins.clone(),
                connections_cap: app.connections_max,
                messages_day_cap: app.messages_day_max,
            },
        }
    }
}

/// All of them: an organisation has at most 100.
#[derive(Serialize, ToSchema)]
pub(super) struct AppList {
    pub(super) data: Vec<AppView>,
}

/// The apps that the token sees, oldest first
#[utoipa::path(get, path = "/v1/apps", tag = "Apps", security(("token" = ["apps:read"])), responses((status = 200, body = AppList)))]
pub(super) async fn list_apps(
    Granted(caller, _): Granted<ReadApps>,
    State(manage): State<Manage>,
) -> Answer<AppList> {
    let mut apps = membership::apps(&manage.db, &caller.bearer.membership).await?;
    apps.retain(|app| caller.bearer.token.app_id.is_none_or(|only| only == app.id));
    Ok(Json(AppList { data: apps.iter().map(AppView::new).collect() }))
}

/// A new app.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAppBody {
    /// 1 to 60 characters, no control characters, not only blanks.
    #[schema(
        min_length = 1,
        max_length = 60,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
        example = "shop-prod"
    )]
    name: String,
    /// Where clients are told it lives; without it, this server's own cluster.
    #[schema(min_length = 1, max_length = 20, pattern = "^[a-z0-9-]+$", example = "eu")]
    cluster: Option<String>,
}

/// An app and its first key pair.
#[derive(Serialize, ToSchema)]
pub(super) struct MadeApp {
    app: AppView,
    /// The secret is shown here only; in the dashboard it can be read again.
    key: KeyWithSecret,
}

/// Makes an app with its first key pair, ready to use
#[utoipa::path(post, path = "/v1/apps", tag = "Apps", security(("token" = ["apps:write"])), request_body = NewAppBody,
    responses((status = 201, body = MadeApp), (status = 409, description = "The organisation has 100 apps", body = super::error::ErrorAnswer)))]
pub(super) async fn create_app(
    Granted(caller, _): Granted<ManageApps>,
    State(manage): State<Manage>,
    Body(body): Body<NewAppBody>,
) -> Result<impl IntoResponse, Refusal> {
    check_name(&body.name)?;
    let cluster = body.cluster.as_deref().unwrap_or(&manage.settings.cluster);
    let created_by = &caller.bearer.user.id;
    let new = NewApp { name: &body.name, cluster, created_by, ..NewApp::default() };
    let (app, pair) =
        app::create(&manage.db, &caller.account().id, new).await.map_err(|error| match error {
            CreateAppError::NameInvalid => Refusal::invalid("name", error),
            CreateAppError::ClusterInvalid => Refusal::invalid("cluster", error),
            CreateAppError::TooMany => {
                Refusal::conflict("too_many_apps", "An organisation has at most 100 apps.")
            }
            CreateAppError::Db(error) => error.into(),
            // Nothing of these came from the request.
            CreateAppError::IdTaken
            | CreateAppError::IdInvalid
            | CreateAppError::KeyTaken
            | CreateAppError::KeyInvalid
            | CreateAppError::SecretInvalid => Refusal::unavailable(),
        })?;
    let details = json!({ "cluster": app.cluster });
    acts::in_app(&manage, &caller, Action::AppCreate, &app, &app.name, details).await;
    let made = MadeApp { app: AppView::new(&app), key: KeyWithSecret::new(&pair, "") };
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("/v1/apps/{}", app.id))], Json(made)))
}

/// An app
#[utoipa::path(get, path = "/v1/apps/{id}", tag = "Apps", security(("token" = ["apps:read"])),
    params(("id" = u64, Path, description = "The app's id", minimum = 1001)), responses((status = 200, body = AppView)))]
pub(super) async fn get_app(granted: GrantedApp<ReadApps>) -> Answer<AppView> {
    Ok(Json(AppView::new(&granted.app)))
}

/// Most connections that a cap can name: more than any node holds.
const CONNECTIONS_CAP_MAX: u64 = 999_999_999;
/// Most messages a day that a cap can name: more than any node sends.
const MESSAGES_DAY_CAP_MAX: u64 = 999_999_999_999;

/// What to change. What is left out stays as it is, and so does what is null; but a cap that is null is taken away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AppPatch {
    #[schema(
        min_length = 1,
        max_length = 60,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    name: Option<String>,
    /// False closes all connections of the app.
    enabled: Option<bool>,
    client_events: Option<bool>,
    subscription_counts: Option<bool>,
    watchlist: Option<bool>,
    authorized_connections: Option<bool>,
    force_tls: Option<bool>,
    webhook_batching: Option<bool>,
    retry_over_limit: Option<bool>,
    /// The whole new list: `https://shop.example`, a host, `*.shop.example`, or `*`. Empty means that all may connect.
    #[schema(max_items = 50, example = json!(["https://shop.example"]))]
    allowed_origins: Option<Vec<String>>,
    /// Connections at the same time; open ones stay when it falls. Null takes the cap away.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 999_999_999)]
    connections_cap: Option<Option<u64>>,
    /// Messages in one UTC day; over it, publishing gets 403 until 00:00 UTC. Null takes the cap away.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 999_999_999_999_u64)]
    messages_day_cap: Option<Option<u64>>,
}

/// Tells a field that is null from one that is left out.
fn named<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(value).map(Some)
}

fn check_cap(field: &'static str, cap: Option<Option<u64>>, max: u64) -> Result<(), Refusal> {
    match cap.flatten().is_none_or(|cap| cap <= max) {
        true => Ok(()),
        false => Err(Refusal::invalid(field, format!("a cap is a number up to {max}, or null for none"))),
    }
}

/// Changes an app and its settings; open connections see them at once
#[utoipa::path(patch, path = "/v1/apps/{id}", tag = "Apps", security(("token" = ["apps:write"])), request_body = AppPatch,
    params(("id" = u64, Path, description = "The app's id", minimum = 1001)), responses((status = 200, body = AppView)))]
pub(super) async fn update_app(
    GrantedApp { caller, app: before, .. }: GrantedApp<ManageApps>,
    State(manage): State<Manage>,
    Body(body): Body<AppPatch>,
) -> Answer<AppView> {
    body.name.as_deref().map(check_name).transpose()?;
    check_cap("connections_cap", body.connections_cap, CONNECTIONS_CAP_MAX)?;
    check_cap("messages_day_cap", body.messages_day_cap, MESSAGES_DAY_CAP_MAX)?;
    let change = AppChange {
        name: body.name,
        client_events: body.client_events,
        enabled: body.enabled,
        allowed_origins: body.allowed_origins.map(read_origins).transpose()?,
        connections_max: body.connections_cap,
        messages_day_max: body.messages_day_cap,
        features: FeatureChange {
            subscription_counts: body.subscription_counts,
            watchlist: body.watchlist,
            authorized_connections: body.authorized_connections,
            force_tls: body.force_tls,
            webhook_batching: body.webhook_batching,
            retry_over_limit: body.retry_over_limit,
        },
    };
    if change == AppChange::default() {
        return Ok(Json(AppView::new(&before)));
    }
    let app =
        app::update(&manage.db, &before.account_id, before.id, change).await.map_err(
            |error| match error {
                UpdateAppError::NameInvalid => Refusal::invalid("name", error),
                UpdateAppError::OriginInvalid(_) | UpdateAppError::TooManyOrigins => {
                    Refusal::invalid("allowed_origins", error)
                }
                UpdateAppError::Db(error) => error.into(),
            },
        )?;
    let app = app.ok_or_else(Refusal::no_app)?;
    let action = match (before.enabled, app.enabled) {
        (false, true) => Action::AppEnable,
        (true, false) => Action::AppDisable,
        _ => Action::AppSettings,
    };
    let details = audit::changed(&before.told(), &app.told());
    acts::in_app(&manage, &caller, action, &app, &app.name, details).await;
    Ok(Json(AppView::new(&app)))
}

/// Deletes an app with its keys, webhooks and their log
///
/// Its connections are closed within a second. There is no way back, and its id is not given out again.
#[utoipa::path(delete, path = "/v1/apps/{id}", tag = "Apps", security(("token" = ["apps:write"])),
    params(("id" = u64, Path, description = "The app's id", minimum = 1001)), responses((status = 204, description = "It is gone")))]
pub(super) async fn delete_app(
    GrantedApp { caller, app, .. }: GrantedApp<RemoveApps>,
    State(manage): State<Manage>,
) -> Result<StatusCode, Refusal> {
    if !app::delete(&manage.db, &app.account_id, app.id).await? {
        return Err(Refusal::no_app());
    }
    acts::in_app(&manage, &caller, Action::AppDelete, &app, &app.name, Value::Null).await;
    Ok(StatusCode::NO_CONTENT)
}

/// As strict as the document says; storage would cut blanks off first.
pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    let fits = name.chars().count() <= app::NAME_CHARS_MAX && !name.trim().is_empty();
    match fits && !name.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(Refusal::invalid("name", app::UpdateAppError::NameInvalid)),
    }
}

fn read_origins(list: Vec<String>) -> Result<Vec<String>, Refusal> {
    let invalid = |text: &str| {
        let message = format!(
            "{text:?} is not an origin: write https://shop.example, or a host such as *.shop.example"
        );
        Refusal::invalid("allowed_origins", message)
    };
    if list.len() > origins::ORIGINS_MAX {
        return Err(Refusal::invalid("allowed_origins", UpdateAppError::TooManyOrigins));
    }
    let mut read = Vec::with_capacity(list.len());
    for text in &list {
        match origins::parse_list(text) {
            Ok(one) if one.len() == 1 && !text.contains(['\n', '\r']) => read.extend(one),
            Err(OriginsError::Line(_, shown)) => return Err(invalid(&shown)),
            Ok(_) | Err(OriginsError::TooMany) => {
                return Err(invalid(&text.chars().take(60).collect::<String>()));
            }
        }
    }
    Ok(read)
}
