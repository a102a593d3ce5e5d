//! `/dash/apps/{id}/start`: the first minute. Waits for the first connection, simulates one, and has the code to copy.
//!
//! What the page says about connections comes from the console's rows, never from the server that renders it.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use tenancy::app::AppKey;

use crate::Dashboard;
use crate::client::Endpoint;
use crate::error::PageError;
use crate::page::{AppBar, Frame, Section, html};
use crate::pages::keys;
use crate::reveal::{self, Ask};
use crate::scope::{CurrentApp, UseSecrets};
use crate::session::CurrentUser;
use crate::snippets::{self, Snippet};

/// The page.
pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/dash/apps/{id}/start", get(show))
}

#[derive(Template)]
#[template(path = "start.html")]
struct StartPage {
    frame: Frame,
    bar: AppBar,
    key: AppKey,
    ask: Ask,
    back: String,
    system_key: String,
    sockets: Option<String>,
    snippets: Vec<Snippet>,
}

async fn show(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<UseSecrets>,
    State(dashboard): State<Dashboard>,
    endpoint: Endpoint,
) -> Result<Response, PageError> {
    let key = keys::oldest(&dashboard, &app).await?;
    let own = dashboard.config().sockets_of(&app);
    let sockets = own.as_ref().map(Endpoint::origin);
    let endpoint = own.unwrap_or(endpoint);
    let (key, ask) = reveal::pair(&dashboard, &current, &app, key).await?;
    html(&StartPage {
        frame: Frame::new(&current),
        bar: AppBar::new(&dashboard, &app, Section::Start),
        system_key: dashboard.system().key.clone(),
        sockets,
        snippets: snippets::blocks(&app, &key, &endpoint),
        key,
        ask,
        back: format!("/dash/apps/{}/start", app.id),
    })
}
