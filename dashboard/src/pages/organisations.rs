//! `/dash/organisations/…`: which organisation a person works in, and making another one. What is inside of one has pages of its
//! own.

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;
use tenancy::organisation::{self, OWNED_MAX, OrganisationError};
use tenancy::role::Permission;

use super::new_app::NAME_SENTENCE;
use crate::error::PageError;
use crate::page::{Frame, html, html_with};
use crate::session::CurrentUser;
use crate::{Dashboard, SignUpMode};

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/dash/organisations/new", get(show).post(create))
        .route("/dash/organisations/{account}/open", post(open))
}

#[derive(Template)]
#[template(path = "new_organisation.html")]
struct NewPage {
    frame: Frame,
    /// This server lets them make one.
    open: bool,
    name: String,
    error: Option<&'static str>,
}

/// Where nobody can sign up, only who owns an organisation already may have another one.
async fn may_create(current: &CurrentUser, dashboard: &Dashboard) -> Result<bool, PageError> {
    let owns = |one: &tenancy::membership::Membership| one.role.allows(Permission::ManageOrganisation);
    Ok(current.memberships().iter().any(owns) || dashboard.signup().await? == SignUpMode::Open)
}

async fn page(current: &CurrentUser, dashboard: &Dashboard) -> Result<NewPage, PageError> {
    let open = may_create(current, dashboard).await?;
    Ok(NewPage { frame: Frame::new(current), open, name: String::new(), error: None })
}

async fn show(current: CurrentUser, State(dashboard): State<Dashboard>) -> Result<Response, PageError> {
    html(&page(&current, &dashboard).await?)
}

#[derive(Deserialize)]
struct NewForm {
    name: String,
}

async fn create(
    current: CurrentUser,
    State(dashboard): State<Dashboard>,
    form: Result<Form<NewForm>, FormRejection>,
) -> Result<Response, PageError> {
    let mut page = page(&current, &dashboard).await?;
    if !page.open {
        return html_with(StatusCode::FORBIDDEN, &page);
    }
    let Form(form) = form?;
    let (db, by, user) = (dashboard.db(), current.by(), current.user());
    let plan = dashboard.config().signup_plan;
    page.error = match organisation::create(db, &by, &user.id, &form.name, plan).await {
        Ok(made) => {
            tenancy::session::work_in(db, &user.id, current.session_id(), &made.id).await?;
            return Ok(Redirect::to("/dash").into_response());
        }
        Err(OrganisationError::Db(error)) => return Err(error.into()),
        Err(OrganisationError::TooMany) => Some("You own 10 organisations, the most there can be."),
        Err(OrganisationError::NameInvalid | OrganisationError::NotFound) => Some(NAME_SENTENCE),
    };
    page.name = form.name;
    html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}

const _: () = assert!(OWNED_MAX == 10, "the page says so");

/// Works in that organisation from now on, in this session. One they don't belong to is the same as none.
async fn open(
    current: CurrentUser,
    State(dashboard): State<Dashboard>,
    Path(account): Path<String>,
) -> Result<Response, PageError> {
    let wanted = current.memberships().iter().find(|one| one.account.id == account);
    let wanted = wanted.ok_or(PageError::OrganisationNotFound)?;
    let (user, session) = (&current.user().id, current.session_id());
    tenancy::session::work_in(dashboard.db(), user, session, &wanted.account.id).await?;
    Ok(Redirect::to("/dash").into_response())
}
