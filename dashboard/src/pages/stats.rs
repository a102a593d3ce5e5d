//! `/dash/apps/{id}/stats`: an app's messages by class and its connections over an hour, a day or a month, drawn on the server.
//! The same rows as the quota and the bill.

use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use tenancy::now_ms;
use tenancy::usage::series;

use crate::Dashboard;
use crate::charts::{Charts, Range};
use crate::error::PageError;
use crate::page::{AppBar, Frame, Section, html};
use crate::scope::{CurrentApp, SeeApps};
use crate::session::CurrentUser;

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/dash/apps/{id}/stats", get(show))
}

#[derive(Deserialize)]
pub(super) struct Asked {
    pub(super) range: Option<String>,
}

#[derive(Template)]
#[template(path = "stats.html")]
struct StatsPage {
    frame: Frame,
    bar: AppBar,
    charts: Charts,
    path: String,
}

async fn show(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<SeeApps>,
    State(dashboard): State<Dashboard>,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let (range, now_ms) = (Range::parse(asked.range.as_deref()), now_ms());
    let (from, to) = range.bounds(now_ms);
    let points = series::of_app(dashboard.db(), app.id, range.step(), from, to).await?;
    let bar = AppBar::new(&dashboard, &app, Section::Stats);
    let limit = app.connections_max.into_iter().chain(bar.usage.0.connections_max).min();
    let charts = Charts::new(range, now_ms, &points, limit);
    html(&StatsPage {
        frame: Frame::new(&current),
        path: format!("/dash/apps/{}/stats", app.id),
        bar,
        charts,
    })
}
