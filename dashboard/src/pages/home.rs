//! `/dash`: the account's apps with what they use right now; pages refresh the numbers from `/dash/usage`.

use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::response::{Redirect, Response};
use axum::routing::get;
use serde::Deserialize;
use tenancy::app::App;

use crate::Dashboard;
use crate::error::PageError;
use crate::page::{Frame, OrgSection, Usage, html};
use crate::scope::{Allowed, SeeStats};
use crate::session::CurrentUser;

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/dash", get(home)).route("/dash/", get(async || Redirect::permanent("/dash")))
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
    let rows =
        apps.into_iter().map(|app| Row { usage: Usage(dashboard.usage(&app).nearer()), app }).collect();
    let plan = allowed.account().plan.title();
    let section = OrgSection::Apps;
    html(&HomePage { frame: Frame::new(&current), section, plan, rows, deleted: done.deleted.is_some() })
}
