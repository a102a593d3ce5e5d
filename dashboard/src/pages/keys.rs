//! `/dash/apps/{id}/keys`: id, key and secret, and the settings for each client library with these very values.
//!
//! The page is the owner's, so it holds the secret; it is only hidden from the eyes of others until asked for.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use tenancy::app::{App, AppKey};

use crate::Dashboard;
use crate::client::Endpoint;
use crate::error::PageError;
use crate::page::{AppBar, Frame, Section, html};
use crate::scope::CurrentApp;
use crate::session::CurrentUser;
use crate::snippets::{self, Snippet};

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/dash/apps/{id}/keys", get(show))
}

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage {
    frame: Frame,
    bar: AppBar,
    key: AppKey,
    endpoint: Endpoint,
    public_url_known: bool,
    pusher_url: String,
    snippets: Vec<Snippet>,
    created: String,
}

async fn show(
    current: CurrentUser,
    CurrentApp(app): CurrentApp,
    State(dashboard): State<Dashboard>,
    endpoint: Endpoint,
) -> Result<Response, PageError> {
    let key = oldest(&dashboard, &app).await?;
    html(&KeysPage {
        frame: Frame::new(&current),
        bar: AppBar::new(&dashboard, &app, Section::Keys),
        public_url_known: dashboard.config().public_url.is_some() || dashboard.config().dev,
        pusher_url: snippets::pusher_url(&app, &key, &endpoint),
        snippets: snippets::blocks(&app, &key, &endpoint),
        created: super::overview::day(key.created_ms),
        key,
        endpoint,
    })
}

/// The app's first key: the one that pages show and sign with. Every app has one from its making on.
pub async fn oldest(dashboard: &Dashboard, app: &App) -> Result<AppKey, PageError> {
    let keys = tenancy::app::keys(dashboard.db(), &app.account_id, app.id).await?;
    // Deleted between two statements: it's gone, as if it had been asked for a moment later.
    keys.into_iter().next().ok_or(PageError::AppNotFound)
}
