//! `/dash/apps/{id}/keys`: id, key pairs, and the settings for each client library with these very values.
//!
//! Several pairs are valid at once: a new one is made, put everywhere, and the old one revoked once nothing uses it. The page
//! shows who uses which, and keeps that up to date (`assets/keys.js`). Whether it holds secrets is decided in
//! `crate::reveal`.

use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tenancy::app::{App, AppKey, End, KEYS_PER_APP_MAX, KeyError};
use tenancy::audit::Action;
use tenancy::clock::HOUR_MS;

use super::key_rows::{self, Row, Step};
use crate::Dashboard;
use crate::acts;
use crate::client::Endpoint;
use crate::error::PageError;
use crate::page::{AppBar, Frame, Section, encode, html, html_with};
use crate::reveal::{self, Ask};
use crate::scope::{CurrentApp, ManageApps, UseSecrets};
use crate::session::CurrentUser;
use crate::snippets::{self, Snippet};

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/dash/apps/{id}/keys", get(show))
        .route("/dash/apps/{id}/keys/use", get(live))
        .route("/dash/apps/{id}/keys/new", post(create))
        .route("/dash/apps/{id}/keys/revoke", post(revoke))
}

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage {
    frame: Frame,
    bar: AppBar,
    /// The pair that credentials and snippets are filled in with, as far as it is shown.
    key: AppKey,
    ask: Ask,
    /// Where to come back to after a proof.
    back: String,
    /// All pairs, oldest first.
    rows: Vec<Row>,
    /// The change from the oldest pair to the newest, while there are several.
    steps: Vec<Step>,
    done: Option<String>,
    error: Option<&'static str>,
    endpoint: Endpoint,
    public_url_known: bool,
    pusher_url: String,
    snippets: Vec<Snippet>,
}

impl KeysPage {
    /// The page with the pair whose key is `chosen`, or else the oldest.
    async fn new(
        current: &CurrentUser,
        dashboard: &Dashboard,
        app: &App,
        endpoint: Endpoint,
        chosen: Option<&str>,
    ) -> Result<KeysPage, PageError> {
        let endpoint = dashboard.config().sockets_of(app).unwrap_or(endpoint);
        let records = tenancy::app::key_records(dashboard.db(), &app.account_id, app.id).await?;
        let key = records.iter().map(|record| &record.pair);
        let key = key.clone().find(|pair| Some(pair.key.as_str()) == chosen).or(key.clone().next());
        let key = key.cloned().ok_or(PageError::AppNotFound)?;
        let back = format!("/dash/apps/{}/keys?key={}", app.id, encode(&key.key));
        let (key, ask) = reveal::pair(dashboard, current, app, key).await?;
        let rows = key_rows::rows(records, &dashboard.key_use(app));
        Ok(KeysPage {
            frame: Frame::new(current),
            bar: AppBar::new(dashboard, app, Section::Keys),
            public_url_known: dashboard.config().public_url.is_some() || dashboard.config().dev,
            pusher_url: snippets::pusher_url(app, &key, &endpoint),
            snippets: snippets::blocks(app, &key, &endpoint),
            key,
            ask,
            back,
            steps: key_rows::steps(&rows),
            rows,
            done: None,
            error: None,
            endpoint,
        })
    }

    /// With which pair webhooks are signed once `row` is revoked, if that changes.
    fn signs_next(&self, row: &Row) -> Option<&Row> {
        self.rows.get(1).filter(|_| self.rows[0].key == row.key)
    }
}

#[derive(Deserialize)]
struct Wanted {
    key: Option<String>,
    done: Option<String>,
}

async fn show(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<UseSecrets>,
    State(dashboard): State<Dashboard>,
    endpoint: Endpoint,
    Query(wanted): Query<Wanted>,
) -> Result<Response, PageError> {
    let mut page = KeysPage::new(&current, &dashboard, &app, endpoint, wanted.key.as_deref()).await?;
    page.done = match wanted.done.as_deref() {
        Some("new") => Some(format!(
            "Made {}. It works beside the others from now on; everything below is filled in with it.",
            page.key.key
        )),
        Some("revoked") => Some(format!(
            "Revoked. Its connections are closed with 4001, requests get 401. Webhooks are signed with {}.",
            page.rows[0].key
        )),
        Some("ordered") => Some("It ends as you ordered, and works until then.".to_owned()),
        Some("kept") => Some("It stays: the order to end it is taken back.".to_owned()),
        _ => None,
    };
    html(&page)
}

/// What the page keeps up to date, as texts for its places (`data-live`), and which pairs there are. No secrets.
async fn live(
    CurrentApp(app, _): CurrentApp<UseSecrets>,
    State(dashboard): State<Dashboard>,
) -> Result<Json<Value>, PageError> {
    let records = tenancy::app::key_records(dashboard.db(), &app.account_id, app.id).await?;
    let rows = key_rows::rows(records, &dashboard.key_use(&app));
    let steps = key_rows::steps(&rows);
    let mut texts = serde_json::Map::new();
    for row in &rows {
        texts.insert(format!("{}-sure", row.key), row.connections_in_words().into());
        texts.insert(format!("{}-connections", row.key), row.connections.to_string().into());
        texts.insert(format!("{}-ws", row.key), row.last_ws.as_str().into());
        texts.insert(format!("{}-rest", row.key), row.last_rest.as_str().into());
    }
    texts.extend(
        steps.iter().enumerate().map(|(i, step)| (format!("step-{}", i + 1), step.text.as_str().into())),
    );
    let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
    let done: Vec<bool> = steps.iter().map(|step| step.done).collect();
    Ok(Json(json!({ "keys": keys, "texts": texts, "done": done })))
}

#[derive(Deserialize)]
struct NewForm {
    name: Option<String>,
}

async fn create(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<UseSecrets>,
    State(dashboard): State<Dashboard>,
    endpoint: Endpoint,
    form: Result<Form<NewForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let name = form.name.unwrap_or_default();
    let made =
        tenancy::app::create_named_key(dashboard.db(), &app.account_id, app.id, &name, &current.user().id);
    match made.await {
        Ok(Some(pair)) => {
            let (action, by) = (Action::KeyCreate, current.by());
            acts::in_app(&dashboard, &by, action, &app, &pair.key, Value::Null).await;
            let key = encode(&pair.key);
            Ok(Redirect::to(&format!("/dash/apps/{}/keys?done=new&key={key}", app.id)).into_response())
        }
        Ok(None) => Err(PageError::AppNotFound),
        Err(KeyError::Db(error)) => Err(error.into()),
        Err(KeyError::TooMany | KeyError::Last) => {
            let mut page = KeysPage::new(&current, &dashboard, &app, endpoint, None).await?;
            page.error = Some("An app has at most 10 key pairs. Revoke one that nothing uses any more.");
            html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
    }
}

#[derive(Deserialize)]
struct RevokeForm {
    key: String,
    when: String,
}

async fn revoke(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<ManageApps>,
    State(dashboard): State<Dashboard>,
    endpoint: Endpoint,
    form: Result<Form<RevokeForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let (db, account_id, key) = (dashboard.db(), &app.account_id, &form.key);
    let order = |end| tenancy::app::order_end(db, account_id, app.id, key, end);
    let (outcome, done) = match form.when.as_str() {
        "now" => (tenancy::app::delete_key(db, account_id, app.id, key).await, "revoked"),
        "1h" => (order(End::At(tenancy::now_ms() + HOUR_MS)).await, "ordered"),
        "24h" => (order(End::At(tenancy::now_ms() + 24 * HOUR_MS)).await, "ordered"),
        "idle" => (order(End::WhenIdle).await, "ordered"),
        "never" => (order(End::Never).await, "kept"),
        _ => return Err(PageError::BadForm),
    };
    let error = match outcome {
        Ok(true) => {
            let (action, details) = (Action::KeyDelete, json!({ "when": form.when }));
            acts::in_app(&dashboard, &current.by(), action, &app, key, details).await;
            return Ok(Redirect::to(&format!("/dash/apps/{}/keys?done={done}", app.id)).into_response());
        }
        Ok(false) => "The app has no such pair; it may have been revoked already.",
        Err(KeyError::Last) => "An app keeps at least one pair. Make another one first.",
        Err(KeyError::Db(error)) => return Err(error.into()),
        Err(KeyError::TooMany) => return Err(PageError::Internal),
    };
    let mut page = KeysPage::new(&current, &dashboard, &app, endpoint, None).await?;
    page.error = Some(error);
    html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}

const _: () = assert!(KEYS_PER_APP_MAX == 10, "the page says so");

/// The app's first key: the one that pages show and sign with. Every app has one from its making on.
pub async fn oldest(dashboard: &Dashboard, app: &App) -> Result<AppKey, PageError> {
    let keys = tenancy::app::keys(dashboard.db(), &app.account_id, app.id).await?;
    // Deleted between two statements: it's gone, as if it had been asked for a moment later.
    keys.into_iter().next().ok_or(PageError::AppNotFound)
}
