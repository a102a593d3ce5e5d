//! `/v1/apps/{id}/keys`: key pairs. A list has no secrets; a new pair shows its secret once.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tenancy::app::{self, AppKey, End, KeyError, KeyRecord};
use tenancy::audit::Action;
use tenancy::clock::HOUR_MS;
use utoipa::ToSchema;

use super::error::Refusal;
use super::input::{At, Body, iso, iso_or_never};
use super::scope::{GrantedApp, MakeKeys, ReadApps, RevokeKeys};
use super::{Answer, Manage, acts};

/// A key pair, without its secret.
#[derive(Serialize, ToSchema)]
pub(super) struct KeyView {
    /// Public: clients connect with it.
    #[schema(example = "9fd4d2d1b21d4fb0a7c5")]
    key: String,
    /// What it is for; may be empty.
    name: String,
    /// The address of who made it; empty: a command, or somebody who is gone.
    created_by: String,
    #[schema(format = DateTime)]
    created_at: String,
    /// The last minute in which a connection was open that came with it.
    #[schema(format = DateTime)]
    last_connected_at: Option<String>,
    /// The last minute in which a request was signed with it.
    #[schema(format = DateTime)]
    last_requested_at: Option<String>,
    /// The end that was ordered, at a time.
    #[schema(format = DateTime)]
    ends_at: Option<String>,
    /// It ends once nothing has used it for ten minutes.
    ends_when_idle: bool,
    /// Webhooks are signed with it: it is the oldest.
    signs_webhooks: bool,
}

impl KeyView {
    fn new(record: KeyRecord, oldest: bool) -> KeyView {
        KeyView {
            key: record.pair.key,
            name: record.name,
            created_by: record.created_by,
            created_at: iso(record.pair.created_ms),
            last_connected_at: iso_or_never(record.last_ws_ms),
            last_requested_at: iso_or_never(record.last_rest_ms),
            ends_at: match record.end {
                End::At(ms) => Some(iso(ms)),
                End::Never | End::WhenIdle => None,
            },
            ends_when_idle: record.end == End::WhenIdle,
            signs_webhooks: oldest,
        }
    }
}

/// A key pair that was just made.
#[derive(Serialize, ToSchema)]
pub(super) struct KeyWithSecret {
    #[schema(example = "9fd4d2d1b21d4fb0a7c5")]
    key: String,
    /// Signs requests and subscriptions. Stays on your servers.
    #[schema(example = "b1946ac92492d2347c62")]
    secret: String,
    name: String,
    #[schema(format = DateTime)]
    created_at: String,
}

impl KeyWithSecret {
    pub(super) fn new(pair: &AppKey, name: &str) -> KeyWithSecret {
        KeyWithSecret {
            key: pair.key.clone(),
            secret: pair.secret.expose().to_owned(),
            name: name.to_owned(),
            created_at: iso(pair.created_ms),
        }
    }
}

/// All of them: an app has at most 10.
#[derive(Serialize, ToSchema)]
pub(super) struct KeyList {
    data: Vec<KeyView>,
}

/// The key pairs of an app, oldest first, without secrets
#[utoipa::path(get, path = "/v1/apps/{id}/keys", tag = "Keys", security(("token" = ["apps:read"])),
    params(("id" = u64, Path, description = "The app's id", minimum = 1001)), responses((status = 200, body = KeyList)))]
pub(super) async fn list_keys(
    GrantedApp { app, .. }: GrantedApp<ReadApps>,
    State(manage): State<Manage>,
) -> Answer<KeyList> {
    let records = app::key_records(&manage.db, &app.account_id, app.id).await?;
    let data = records.into_iter().enumerate().map(|(i, record)| KeyView::new(record, i == 0)).collect();
    Ok(Json(KeyList { data }))
}

/// A name for a key pair.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyName {
    /// What it is for: at most 60 characters, no control characters. May be empty.
    #[schema(max_length = 60, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$", example = "worker fleet")]
    name: String,
}

impl KeyName {
    fn check(self) -> Result<String, Refusal> {
        let fits = self.name.chars().count() <= app::KEY_NAME_CHARS_MAX;
        match fits && !self.name.chars().any(char::is_control) {
            true => Ok(self.name),
            false => Err(Refusal::invalid("name", "the name must have at most 60 characters")),
        }
    }
}

/// Makes another key pair, valid at once and beside the others
///
/// The secret stands in the answer and in no list.
#[utoipa::path(post, path = "/v1/apps/{id}/keys", tag = "Keys", security(("token" = ["keys:write"])), request_body = KeyName,
    params(("id" = u64, Path, description = "The app's id", minimum = 1001)),
    responses((status = 201, body = KeyWithSecret), (status = 409, description = "The app has 10 pairs", body = super::error::ErrorAnswer)))]
pub(super) async fn create_key(
    GrantedApp { caller, app, .. }: GrantedApp<MakeKeys>,
    State(manage): State<Manage>,
    Body(body): Body<KeyName>,
) -> Result<impl IntoResponse, Refusal> {
    let name = body.check()?;
    let by = &caller.bearer.user.id;
    let made =
        app::create_named_key(&manage.db, &app.account_id, app.id, &name, by).await.map_err(refusal)?;
    let pair = made.ok_or_else(Refusal::no_app)?;
    acts::in_app(&manage, &caller, Action::KeyCreate, &app, &pair.key, Value::Null).await;
    Ok((StatusCode::CREATED, Json(KeyWithSecret::new(&pair, name.trim()))))
}

/// Names a key pair
#[utoipa::path(patch, path = "/v1/apps/{id}/keys/{key}", tag = "Keys", security(("token" = ["keys:write"])), request_body = KeyName,
    params(("id" = u64, Path, description = "The app's id", minimum = 1001), ("key" = String, Path, description = "The key")),
    responses((status = 200, body = KeyView)))]
pub(super) async fn rename_key(
    GrantedApp { caller, app, .. }: GrantedApp<MakeKeys>,
    State(manage): State<Manage>,
    at: At<(String, String)>,
    Body(body): Body<KeyName>,
) -> Answer<KeyView> {
    let At((_, key)) = at;
    let name = body.check()?;
    if !app::rename_key(&manage.db, &app.account_id, app.id, &key, &name).await? {
        return Err(no_key());
    }
    acts::in_app(&manage, &caller, Action::KeyRename, &app, &key, json!({ "name": name })).await;
    view(&manage, &app, &key).await
}

async fn view(manage: &Manage, app: &app::App, key: &str) -> Answer<KeyView> {
    let records = app::key_records(&manage.db, &app.account_id, app.id).await?;
    let found = records.into_iter().enumerate().find(|(_, record)| record.pair.key == key);
    let (i, record) = found.ok_or_else(no_key)?;
    Ok(Json(KeyView::new(record, i == 0)))
}

/// When a key pair shall end.
#[derive(Clone, Copy, Deserialize, ToSchema)]
pub(super) enum When {
    /// At once: its connections are closed with 4001.
    #[serde(rename = "now")]
    Now,
    #[serde(rename = "1h")]
    InAnHour,
    #[serde(rename = "24h")]
    InADay,
    /// Once nothing has used it for ten minutes.
    #[serde(rename = "idle")]
    Idle,
    /// Takes an order back.
    #[serde(rename = "never")]
    Never,
}

impl When {
    fn name(self) -> &'static str {
        match self {
            When::Now => "now",
            When::InAnHour => "1h",
            When::InADay => "24h",
            When::Idle => "idle",
            When::Never => "never",
        }
    }
}

/// Which end.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RevokeBody {
    when: When,
}

/// What became of the pair.
#[derive(Serialize, ToSchema)]
pub(super) struct Revoked {
    key: String,
    /// It is gone.
    gone: bool,
}

/// Ends a key pair: now, later, or once nothing uses it
#[utoipa::path(post, path = "/v1/apps/{id}/keys/{key}/revoke", tag = "Keys", security(("token" = ["keys:write"])), request_body = RevokeBody,
    params(("id" = u64, Path, description = "The app's id", minimum = 1001), ("key" = String, Path, description = "The key")),
    responses((status = 200, body = Revoked), (status = 409, description = "An app keeps one pair", body = super::error::ErrorAnswer)))]
pub(super) async fn revoke_key(
    GrantedApp { caller, app, .. }: GrantedApp<RevokeKeys>,
    State(manage): State<Manage>,
    at: At<(String, String)>,
    Body(body): Body<RevokeBody>,
) -> Answer<Revoked> {
    let At((_, key)) = at;
    let (db, account_id) = (&manage.db, &app.account_id);
    let order = |end| app::order_end(db, account_id, app.id, &key, end);
    let outcome = match body.when {
        When::Now => app::delete_key(db, account_id, app.id, &key).await,
        When::InAnHour => order(End::At(tenancy::now_ms() + HOUR_MS)).await,
        When::InADay => order(End::At(tenancy::now_ms() + 24 * HOUR_MS)).await,
        When::Idle => order(End::WhenIdle).await,
        When::Never => order(End::Never).await,
    };
    // Whether the pair exists comes before whether it may go.
    if !outcome_of(&manage, &app, &key, outcome).await? {
        return Err(no_key());
    }
    let details = json!({ "when": body.when.name() });
    acts::in_app(&manage, &caller, Action::KeyDelete, &app, &key, details).await;
    Ok(Json(Revoked { gone: matches!(body.when, When::Now), key }))
}

async fn outcome_of(
    manage: &Manage,
    app: &app::App,
    key: &str,
    outcome: Result<bool, KeyError>,
) -> Result<bool, Refusal> {
    match outcome {
        Ok(done) => Ok(done),
        Err(error @ KeyError::Last) => view(manage, app, key).await.and(Err(refusal(error))),
        Err(error) => Err(refusal(error)),
    }
}

fn no_key() -> Refusal {
    Refusal::not_found("The app has no such key pair.")
}

fn refusal(error: KeyError) -> Refusal {
    match error {
        KeyError::TooMany => Refusal::conflict("too_many_keys", "An app has at most 10 key pairs."),
        KeyError::Last => Refusal::conflict(
            "last_key",
            "An app keeps one key pair whose end is not ordered. Make another one first.",
        ),
        KeyError::Db(error) => error.into(),
    }
}
