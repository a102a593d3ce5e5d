//! `POST /dash/apps/{id}/transfer`: hands an app to another organisation of the same person. The form stands on the app's
//! settings page.

use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use serde::Deserialize;
use tenancy::app::{TransferError, transfer};
use tenancy::membership::Membership;
use tenancy::role::Permission;

use crate::Dashboard;
use crate::error::PageError;
use crate::scope::{CurrentApp, RemoveApps};
use crate::session::CurrentUser;

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/dash/apps/{id}/transfer", post(submit))
}

/// The other organisations into which this person may put apps, the present one of the request left out.
pub(super) fn targets(current: &CurrentUser) -> impl Iterator<Item = &Membership> {
    let here = current.here().map(|here| &here.account.id);
    current
        .memberships()
        .iter()
        .filter(move |one| Some(&one.account.id) != here && one.role.allows(Permission::ManageApps))
}

#[derive(Deserialize)]
struct TransferForm {
    to: String,
    confirm: String,
}

async fn submit(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<RemoveApps>,
    State(dashboard): State<Dashboard>,
    form: Result<Form<TransferForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let back = |why: &str| {
        Redirect::to(&format!("/dash/apps/{}/settings?done={why}#transfer", app.id)).into_response()
    };
    if form.confirm.trim() != app.name {
        return Ok(back("not-the-name"));
    }
    let target = targets(&current).find(|one| one.account.id == form.to);
    let to = &target.ok_or(PageError::OrganisationNotFound)?.account.id;
    match transfer(dashboard.db(), &current.by(), &app.account_id, app.id, to).await {
        Ok(_) => Ok(back("moved")),
        Err(TransferError::TooMany) => Ok(back("target-full")),
        Err(TransferError::NotFound) => Err(PageError::AppNotFound),
        Err(TransferError::Db(error)) => Err(error.into()),
    }
}
