//! `/dash/apps/{id}`: what the app uses, how clients reach it, and where to go next.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use tenancy::app::AppKey;

use crate::client::Endpoint;
use crate::error::PageError;
use crate::page::{self, AppBar, Frame, Section, html};
use crate::scope::{CurrentApp, SeeApps};
use crate::session::CurrentUser;
use crate::{Dashboard, pages};

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/dash/apps/{id}", get(show))
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: Frame,
    bar: AppBar,
    key: AppKey,
    endpoint: Endpoint,
    created: String,
}

async fn show(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<SeeApps>,
    State(dashboard): State<Dashboard>,
    endpoint: Endpoint,
) -> Result<Response, PageError> {
    let key = pages::keys::oldest(&dashboard, &app).await?;
    let created = day(app.created_ms);
    html(&OverviewPage {
        frame: Frame::new(&current),
        bar: AppBar::new(&dashboard, &app, Section::Overview),
        key,
        endpoint: dashboard.config().sockets_of(&app).unwrap_or(endpoint),
        created,
    })
}

/// `24 November 2026`, UTC.
fn day(ms: i64) -> String {
    page::at(ms, "%-d %B %Y")
}
