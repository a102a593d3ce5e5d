//! `/dash`: the account's apps with what they use right now, and the numbers again as JSON for the page to refresh.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tenancy::app::App;

use crate::Dashboard;
use crate::error::PageError;
use crate::page::{Frame, OrgSection, Usage, html};
use crate::scope::{Allowed, SeeStats};
use crate::session::CurrentUser;

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/dash", get(home))
        .route("/dash/", get(async || Redirect::permanent("/dash")))
        .route("/dash/usage", get(usage))
}

struct Row {
    app: App,
    usage: Usage,
}

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    frame: Frame,
    section: OrgSection,
    plan: &'static str,
    rows: Vec<Row>,
    deleted: bool,
}

#[derive(Deserialize)]
struct Done {
    deleted: Option<String>,
}

async fn home(
    current: CurrentUser,
    allowed: Allowed<SeeStats>,
    State(dashboard): State<Dashboard>,
    Query(done): Query<Done>,
) -> Result<Response, PageError> {
    let apps = tenancy::membership::apps(dashboard.db(), &allowed.membership).await?;
    let rows = apps.into_iter().map(|app| Row { usage: Usage(dashboard.usage(&app)), app }).collect();
    let plan = allowed.account().plan.title();
    let section = OrgSection::Apps;
    html(&HomePage { frame: Frame::new(&current), section, plan, rows, deleted: done.deleted.is_some() })
}

/// One app's numbers; `max` is null without a limit.
#[derive(Serialize)]
struct Numbers {
    app: u64,
    connections: u64,
    connections_max: Option<u64>,
    messages: u64,
    messages_max: Option<u64>,
    resets_ms: i64,
}

#[derive(Serialize)]
struct AllNumbers {
    apps: Vec<Numbers>,
}

async fn usage(
    allowed: Allowed<SeeStats>,
    State(dashboard): State<Dashboard>,
) -> Result<Json<AllNumbers>, PageError> {
    let apps = tenancy::membership::apps(dashboard.db(), &allowed.membership).await?;
    let numbers = |app: &App| {
        let usage = dashboard.usage(app);
        Numbers {
            app: app.id,
            connections: usage.connections,
            connections_max: usage.connections_max,
            messages: usage.messages_today,
            messages_max: usage.messages_max,
            resets_ms: usage.resets_ms,
        }
    };
    Ok(Json(AllNumbers { apps: apps.iter().map(numbers).collect() }))
}
