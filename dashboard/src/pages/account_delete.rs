//! `/dash/account/delete`: the end of a person's account. Says beforehand what goes with it, and what stands in the way.

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::StatusCode;
use serde::Deserialize;
use tenancy::fresh::has_password;
use tenancy::user_end::{self, EndError, Outlook};

use crate::client::{ClientAddr, RequestOrigin};
use crate::error::PageError;
use crate::page::{Frame, html, html_with};
use crate::session::{CurrentUser, SESSION_COOKIE, set_cookie};
use crate::{Dashboard, letters, proof};

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/dash/account/delete", get(show).post(delete))
}

#[derive(Template)]
#[template(path = "account_delete.html")]
struct DeletePage {
    frame: Frame,
    outlook: Outlook,
    /// They have one that can be asked for.
    has_password: bool,
    /// This server bills.
    bills: bool,
    confirm_error: Option<&'static str>,
    password_error: Option<String>,
}

impl DeletePage {
    async fn load(current: &CurrentUser, dashboard: &Dashboard) -> Result<DeletePage, PageError> {
        let user_id = &current.user().id;
        Ok(DeletePage {
            frame: Frame::new(current),
            outlook: user_end::outlook(dashboard.db(), user_id).await?,
            has_password: has_password(dashboard.db(), user_id).await?,
            bills: dashboard.billing().is_some(),
            confirm_error: None,
            password_error: None,
        })
    }
}

async fn show(current: CurrentUser, State(dashboard): State<Dashboard>) -> Result<Response, PageError> {
    html(&DeletePage::load(&current, &dashboard).await?)
}

#[derive(Deserialize)]
struct DeleteForm {
    confirm: String,
    password: String,
    #[serde(default)]
    code: String,
}

async fn delete(
    current: CurrentUser,
    State(dashboard): State<Dashboard>,
    ClientAddr(ip): ClientAddr,
    origin: RequestOrigin,
    form: Result<Form<DeleteForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let mut page = DeletePage::load(&current, &dashboard).await?;
    let user = current.user();
    if form.confirm.trim().to_lowercase() != user.email {
        page.confirm_error = Some("That is not your e-mail address, so nothing was deleted.");
        return html_with(StatusCode::UNPROCESSABLE_ENTITY, &page);
    }
    let proved = proof::prove(&dashboard, &current, ip, &form.password, &form.code).await?;
    if let Err(refused) = proved {
        page.password_error = Some(format!("{} Nothing was deleted.", refused.sentence()));
        return refused.answer(&page);
    }
    let outcome = user_end::delete(dashboard.db(), &current.by(), user, &form.password).await;
    match outcome {
        Ok(()) => {
            let words = letters::deleted(&user.email);
            super::account_email::tell(&dashboard, &user.email, "deleted", &words, "/").await;
            let mut response = Redirect::to("/login?done=deleted").into_response();
            set_cookie(response.headers_mut(), SESSION_COOKIE, "", 0, origin.https);
            Ok(response)
        }
        Err(EndError::Db(error)) => Err(error.into()),
        Err(EndError::Wrong) => {
            page.password_error = Some("This is not your password, so nothing was deleted.".to_owned());
            html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
        Err(EndError::Needed) => {
            let page = DeletePage::load(&current, &dashboard).await?;
            html_with(StatusCode::CONFLICT, &page)
        }
    }
}
