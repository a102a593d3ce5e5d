//! `/dash/organisation`: the name of the organisation, whether it requires two-step sign-in, leaving it, and its end.

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;
use tenancy::organisation::{self, OrganisationError};
use tenancy::{member, require};

use super::new_app::NAME_SENTENCE;
use super::people::member_sentence;
use crate::error::PageError;
use crate::page::{Frame, OrgSection, html, html_with};
use crate::scope::{Allowed, ManageOrganisation, SeeStats};
use crate::session::CurrentUser;
use crate::{Dashboard, proof};

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/dash/organisation", get(show))
        .route("/dash/organisation/name", post(rename))
        .route("/dash/organisation/two-step", post(require_factor))
        .route("/dash/organisation/leave", post(leave))
        .route("/dash/organisation/delete", post(delete))
}

#[derive(Template)]
#[template(path = "organisation.html")]
struct OrganisationPage {
    frame: Frame,
    section: OrgSection,
    role: &'static str,
    name: String,
    apps: usize,
    done: Option<&'static str>,
    name_error: Option<&'static str>,
    leave_error: Option<&'static str>,
    delete_error: Option<String>,
    /// Two-step sign-in is required, and how many members have none.
    required: bool,
    without: u64,
    require_error: Option<&'static str>,
}

async fn page<P>(
    current: &CurrentUser,
    allowed: &Allowed<P>,
    dashboard: &Dashboard,
) -> Result<OrganisationPage, PageError> {
    Ok(OrganisationPage {
        frame: Frame::new(current),
        section: OrgSection::Organisation,
        role: allowed.membership.role.title(),
        name: allowed.account().name.clone(),
        apps: tenancy::membership::apps(dashboard.db(), &allowed.membership).await?.len(),
        done: None,
        name_error: None,
        leave_error: None,
        delete_error: None,
        required: allowed.membership.second_factor_required,
        without: require::members_without(dashboard.db(), &allowed.account().id).await?,
        require_error: None,
    })
}

#[derive(Deserialize)]
struct Done {
    done: Option<String>,
}

async fn show(
    current: CurrentUser,
    allowed: Allowed<SeeStats>,
    State(dashboard): State<Dashboard>,
    Query(query): Query<Done>,
) -> Result<Response, PageError> {
    let mut page = page(&current, &allowed, &dashboard).await?;
    page.done = query.done.as_deref().and_then(|done| match done {
        "name" => Some("Renamed."),
        "required" => Some("Two-step sign-in is required from now on."),
        "not-required" => Some("Two-step sign-in is not required any more."),
        _ => None,
    });
    html(&page)
}

#[derive(Deserialize)]
struct NameForm {
    name: String,
}

async fn rename(
    current: CurrentUser,
    allowed: Allowed<ManageOrganisation>,
    State(dashboard): State<Dashboard>,
    form: Result<Form<NameForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    match organisation::rename(dashboard.db(), &current.by(), &allowed.account().id, &form.name).await {
        Ok(()) => Ok(Redirect::to("/dash/organisation?done=name").into_response()),
        Err(OrganisationError::Db(error)) => Err(error.into()),
        Err(OrganisationError::NotFound) => Err(PageError::OrganisationNotFound),
        Err(OrganisationError::NameInvalid | OrganisationError::TooMany) => {
            let mut page = page(&current, &allowed, &dashboard).await?;
            page.name = form.name;
            page.name_error = Some(NAME_SENTENCE);
            html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
    }
}

#[derive(Deserialize)]
struct RequireForm {
    on: bool,
}

async fn require_factor(
    current: CurrentUser,
    allowed: Allowed<ManageOrganisation>,
    State(dashboard): State<Dashboard>,
    form: Result<Form<RequireForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(RequireForm { on }) = form?;
    if on && !current.second_factor() {
        let mut page = page(&current, &allowed, &dashboard).await?;
        page.require_error = Some("First you need it yourself, or you would be locked out.");
        return html_with(StatusCode::UNPROCESSABLE_ENTITY, &page);
    }
    require::second_factor(dashboard.db(), &current.by(), allowed.account(), on).await?;
    let done = if on { "required" } else { "not-required" };
    Ok(Redirect::to(&format!("/dash/organisation?done={done}")).into_response())
}

async fn leave(
    current: CurrentUser,
    allowed: Allowed<SeeStats>,
    State(dashboard): State<Dashboard>,
) -> Result<Response, PageError> {
    let (user_id, role) = (&current.user().id, allowed.membership.role);
    match member::remove(dashboard.db(), &current.by(), role, &allowed.account().id, user_id).await {
        Ok(()) => Ok(Redirect::to("/dash").into_response()),
        Err(error) => {
            let mut page = page(&current, &allowed, &dashboard).await?;
            page.leave_error = Some(member_sentence(error)?);
            html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
    }
}

#[derive(Deserialize)]
struct DeleteForm {
    confirm: String,
    #[serde(default)]
    code: String,
}

async fn delete(
    current: CurrentUser,
    allowed: Allowed<ManageOrganisation>,
    State(dashboard): State<Dashboard>,
    form: Result<Form<DeleteForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    if form.confirm.trim() != allowed.account().name {
        let mut page = page(&current, &allowed, &dashboard).await?;
        page.delete_error = Some("That is not the organisation's name, so nothing was deleted.".to_owned());
        return html_with(StatusCode::UNPROCESSABLE_ENTITY, &page);
    }
    if let Err(refused) = proof::code(&dashboard, &current, &form.code).await? {
        let mut page = page(&current, &allowed, &dashboard).await?;
        page.delete_error = Some(refused.sentence());
        return refused.answer(&page);
    }
    if !organisation::delete(dashboard.db(), &current.by(), &allowed.account().id).await? {
        return Err(PageError::OrganisationNotFound);
    }
    Ok(Redirect::to("/dash").into_response())
}
