//! `/dash/apps/{id}/keys`: id, key pairs, and the settings for each client library with these very values.
//!
//! The page is the owner's, so it holds the secrets; they are only hidden from the eyes of others until asked for. Several
//! pairs are valid at once: a new one is made, deployed, and then the old one deleted.

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use tenancy::app::{App, AppKey, KEYS_PER_APP_MAX, KeyError};
use tenancy::audit::Action;

use crate::Dashboard;
use crate::acts;
use crate::client::Endpoint;
use crate::error::PageError;
use crate::page::{self, AppBar, Frame, Section, encode, html, html_with};
use crate::scope::{CurrentApp, ManageApps, UseSecrets};
use crate::session::CurrentUser;
use crate::snippets::{self, Snippet};

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/dash/apps/{id}/keys", get(show))
        .route("/dash/apps/{id}/keys/new", post(create))
        .route("/dash/apps/{id}/keys/delete", post(delete))
}

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage {
    frame: Frame,
    bar: AppBar,
    /// The pair that credentials and snippets are filled in with.
    key: AppKey,
    /// All pairs, oldest first.
    pairs: Vec<AppKey>,
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
        let pairs = tenancy::app::keys(dashboard.db(), &app.account_id, app.id).await?;
        let key = pairs.iter().find(|pair| Some(pair.key.as_str()) == chosen).or(pairs.first());
        let key = key.cloned().ok_or(PageError::AppNotFound)?;
        Ok(KeysPage {
            frame: Frame::new(current),
            bar: AppBar::new(dashboard, app, Section::Keys),
            public_url_known: dashboard.config().public_url.is_some() || dashboard.config().dev,
            pusher_url: snippets::pusher_url(app, &key, &endpoint),
            snippets: snippets::blocks(app, &key, &endpoint),
            key,
            pairs,
            done: None,
            error: None,
            endpoint,
        })
    }

    fn made(&self, pair: &AppKey) -> String {
        page::moment(pair.created_ms)
    }

    /// With which pair webhooks are signed once `pair` is deleted, if that changes.
    fn signs_next(&self, pair: &AppKey) -> Option<&AppKey> {
        self.pairs.get(1).filter(|_| self.pairs[0].key == pair.key)
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
    acts::shown_secrets(&dashboard, &current.by(), &app).await;
    let mut page = KeysPage::new(&current, &dashboard, &app, endpoint, wanted.key.as_deref()).await?;
    page.done = match wanted.done.as_deref() {
        Some("new") => Some(format!(
            "Made {}. It works beside the others from now on; everything below is filled in with it.",
            page.key.key
        )),
        Some("deleted") => Some(format!(
            "Deleted. New connections and requests with that pair are refused. Webhooks are signed with {}.",
            page.pairs[0].key
        )),
        _ => None,
    };
    html(&page)
}

async fn create(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<UseSecrets>,
    State(dashboard): State<Dashboard>,
    endpoint: Endpoint,
) -> Result<Response, PageError> {
    match tenancy::app::create_key(dashboard.db(), &app.account_id, app.id).await {
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
            page.error = Some("An app has at most 10 key pairs. Delete one that nothing uses any more.");
            html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
    }
}

#[derive(Deserialize)]
struct DeleteForm {
    key: String,
}

async fn delete(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<ManageApps>,
    State(dashboard): State<Dashboard>,
    endpoint: Endpoint,
    form: Result<Form<DeleteForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let error = match tenancy::app::delete_key(dashboard.db(), &app.account_id, app.id, &form.key).await {
        Ok(true) => {
            let (action, by) = (Action::KeyDelete, current.by());
            acts::in_app(&dashboard, &by, action, &app, &form.key, Value::Null).await;
            return Ok(Redirect::to(&format!("/dash/apps/{}/keys?done=deleted", app.id)).into_response());
        }
        Ok(false) => "The app has no such pair; it may have been deleted already.",
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
