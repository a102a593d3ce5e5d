//! `/dash/server/organisations`: all organisations of this server, found and opened; put on a plan, suspended and let go on.
//! What is done to one stands in its own audit log. It shows no apps' contents: whoever runs the server is no member.

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;
use tenancy::quota::{self, Template as Quota};
use tenancy::tenants::{self, PAGE, SEARCH_CHARS_MAX, Tenant, TenantError};

use crate::Dashboard;
use crate::error::PageError;
use crate::page::{self, Frame, count, encode, html, html_with};
use crate::server_admin::ServerAdmin;
use crate::server_facts::ServerSection;
use crate::session::CurrentUser;

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/dash/server/organisations", get(list))
        .route("/dash/server/organisations/{account}", get(show))
        .route("/dash/server/organisations/{account}/plan", post(set_plan))
        .route("/dash/server/organisations/{account}/suspend", post(suspend))
        .route("/dash/server/organisations/{account}/resume", post(resume))
}

/// The last page that can be asked for: 50,000 organisations; beyond that, search.
const LAST_PAGE: u32 = 999;

/// An organisation with what it uses.
struct Row {
    tenant: Tenant,
    connections: String,
    messages: String,
    made: String,
}

impl Row {
    async fn of(dashboard: &Dashboard, tenant: Tenant) -> Result<Row, PageError> {
        let db = dashboard.db();
        let apps = tenants::app_ids(db, &tenant.account.id).await?;
        let today = tenancy::clock::day_of(tenancy::now_ms());
        let messages = tenancy::usage::account_messages(db, &tenant.account.id, today).await?;
        Ok(Row {
            connections: count(dashboard.connections_of(&apps)),
            messages: count(messages.max(0).cast_unsigned()),
            made: page::at(tenant.account.created_ms, "%-d %b %Y"),
            tenant,
        })
    }
}

#[derive(Template)]
#[template(path = "server_tenants.html")]
struct ListPage {
    frame: Frame,
    section: ServerSection,
    rows: Vec<Row>,
    search: String,
    first: u32,
    earlier: Option<String>,
    later: Option<String>,
}

#[derive(Deserialize)]
struct Asked {
    q: Option<String>,
    page: Option<String>,
}

async fn list(
    ServerAdmin(current): ServerAdmin,
    State(dashboard): State<Dashboard>,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let search: String = asked.q.unwrap_or_default().chars().take(SEARCH_CHARS_MAX).collect();
    let at = asked.page.and_then(|page| page.parse::<u32>().ok()).unwrap_or(0).min(LAST_PAGE);
    let (found, more) = tenants::list(dashboard.db(), &search, at).await?;
    let mut rows = Vec::with_capacity(found.len());
    for tenant in found {
        rows.push(Row::of(&dashboard, tenant).await?);
    }
    let link = |page: u32| format!("/dash/server/organisations?q={}&page={page}", encode(&search));
    html(&ListPage {
        frame: Frame::new(&current),
        section: ServerSection::Organisations,
        rows,
        first: at * PAGE + 1,
        earlier: at.checked_sub(1).map(link),
        later: (more && at < LAST_PAGE).then(|| link(at + 1)),
        search,
    })
}

#[derive(Template)]
#[template(path = "server_tenant.html")]
struct TenantPage {
    frame: Frame,
    section: ServerSection,
    row: Row,
    plans: Vec<Quota>,
    suspended: Option<String>,
    bills: bool,
    why: String,
    done: Option<&'static str>,
    plan_error: Option<&'static str>,
    why_error: Option<&'static str>,
}

impl TenantPage {
    async fn load(current: &CurrentUser, dashboard: &Dashboard, id: &str) -> Result<TenantPage, PageError> {
        let tenant = tenants::find(dashboard.db(), id).await?.ok_or(PageError::NotFound)?;
        Ok(TenantPage {
            frame: Frame::new(current),
            section: ServerSection::Organisations,
            suspended: tenant.suspended_ms.map(page::moment),
            row: Row::of(dashboard, tenant).await?,
            plans: quota::all(dashboard.db()).await?,
            bills: dashboard.billing().is_some(),
            why: String::new(),
            done: None,
            plan_error: None,
            why_error: None,
        })
    }
}

#[derive(Deserialize)]
struct Done {
    done: Option<String>,
}

async fn show(
    ServerAdmin(current): ServerAdmin,
    State(dashboard): State<Dashboard>,
    Path(id): Path<String>,
    Query(query): Query<Done>,
) -> Result<Response, PageError> {
    let mut page = TenantPage::load(&current, &dashboard, &id).await?;
    page.done = match query.done.as_deref() {
        Some("plan") => Some("The plan is changed. Nodes follow within a second; nobody was disconnected."),
        Some("suspended") => Some("Suspended. Its apps refuse from now on."),
        Some("resumed") => Some("It goes on. Its apps take connections and calls again."),
        _ => None,
    };
    html(&page)
}

fn back(id: &str, done: &str) -> Response {
    Redirect::to(&format!("/dash/server/organisations/{}?done={done}", encode(id))).into_response()
}

#[derive(Deserialize)]
struct PlanForm {
    plan: String,
}

async fn set_plan(
    ServerAdmin(current): ServerAdmin,
    State(dashboard): State<Dashboard>,
    Path(id): Path<String>,
    form: Result<Form<PlanForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    match tenants::set_plan(dashboard.db(), &current.by(), &id, &form.plan).await {
        Ok(()) => Ok(back(&id, "plan")),
        Err(TenantError::Db(error)) => Err(error.into()),
        Err(TenantError::NotFound) => Err(PageError::NotFound),
        Err(TenantError::PlanUnknown | TenantError::ReasonInvalid) => {
            let mut page = TenantPage::load(&current, &dashboard, &id).await?;
            page.plan_error = Some("This server has no such plan; somebody may have removed it.");
            html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
    }
}

#[derive(Deserialize)]
struct WhyForm {
    why: String,
}

async fn suspend(
    ServerAdmin(current): ServerAdmin,
    State(dashboard): State<Dashboard>,
    Path(id): Path<String>,
    form: Result<Form<WhyForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    match tenants::suspend(dashboard.db(), &current.by(), &id, &form.why).await {
        Ok(()) => Ok(back(&id, "suspended")),
        Err(TenantError::Db(error)) => Err(error.into()),
        Err(TenantError::NotFound) => Err(PageError::NotFound),
        Err(TenantError::ReasonInvalid | TenantError::PlanUnknown) => {
            let mut page = TenantPage::load(&current, &dashboard, &id).await?;
            page.why = form.why;
            page.why_error = Some("Say why, in one line of at most 300 characters: its people read it.");
            html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
    }
}

async fn resume(
    ServerAdmin(current): ServerAdmin,
    State(dashboard): State<Dashboard>,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    match tenants::resume(dashboard.db(), &current.by(), &id).await {
        Ok(()) => Ok(back(&id, "resumed")),
        Err(TenantError::Db(error)) => Err(error.into()),
        Err(TenantError::NotFound | TenantError::PlanUnknown | TenantError::ReasonInvalid) => {
            Err(PageError::NotFound)
        }
    }
}
