//! `/invite/{token}`: the link of an invitation. Whoever has an account with its address joins with a button, whoever has none
//! makes one with a password or with an account elsewhere (`with.rs`). GET changes nothing, so that a preview of the link doesn't use it up.

use std::net::IpAddr;

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use tenancy::account::{Account, AccountId};
use tenancy::identity::Provider;
use tenancy::invitation::{self, AcceptError, Invitation, JoinError};
use tenancy::user::SignUpError;

use super::login::too_many;
use super::signup::password_sentence;
use crate::client::{ClientAddr, RequestOrigin};
use crate::csrf::FormToken;
use crate::error::PageError;
use crate::page::html_with;
use crate::session::{self, CurrentUser, MaybeUser};
use crate::{Dashboard, SignUpMode};

/// For who is not signed in.
pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/invite/{token}", get(show)).route("/invite/{token}/sign-up", post(sign_up))
}

/// For who is.
pub(crate) fn signed_in_routes() -> Router<Dashboard> {
    Router::new().route("/invite/{token}/join", post(join))
}

/// What the visitor can do.
enum Way {
    /// Signed in with the address: a button, with the token of their session.
    Join(String),
    /// Signed in as somebody else: sign out first.
    Other { email: String, csrf: String },
    /// They have an account: sign in first.
    SignIn,
    /// Make an account.
    SignUp,
    /// They have no account, and this server takes no new people.
    Closed,
}

#[derive(Template)]
#[template(path = "invite.html")]
struct InvitePage {
    csrf: String,
    token: String,
    invitation: Invitation,
    account: Account,
    way: Way,
    /// Whose accounts are a way in for who signs up, and where they come back to.
    with: Vec<Provider>,
    next: Option<String>,
    password_error: Option<&'static str>,
    error: Option<&'static str>,
}

/// The invitation of a link. Wrong links are slowed down as wrong passwords are, each network for itself.
async fn open(dashboard: &Dashboard, token: &str, ip: IpAddr) -> Result<(Invitation, Account), PageError> {
    let counted = format!("invitation from {ip}");
    let found = match dashboard.throttle().check(&counted, ip) {
        Ok(()) => invitation::find_by_token(dashboard.db(), token).await?,
        Err(_) => return Err(PageError::TooManyTries),
    };
    match found {
        Some(found) => {
            dashboard.throttle().succeeded(&counted, ip);
            Ok(found)
        }
        None => {
            dashboard.throttle().failed(&counted, ip);
            Err(PageError::InvitationNotFound)
        }
    }
}

async fn page(
    dashboard: &Dashboard,
    user: Option<&CurrentUser>,
    form: &FormToken,
    token: String,
    (invitation, account): (Invitation, Account),
) -> Result<InvitePage, PageError> {
    let way = match user {
        Some(current) if current.user().email == invitation.email => Way::Join(current.csrf().to_owned()),
        Some(current) => Way::Other { email: current.user().email.clone(), csrf: current.csrf().to_owned() },
        None if tenancy::user::exists(dashboard.db(), &invitation.email).await? => Way::SignIn,
        None if dashboard.signup().await? == SignUpMode::Closed => Way::Closed,
        None => Way::SignUp,
    };
    Ok(InvitePage {
        csrf: form.token.clone(),
        with: dashboard.with(),
        next: Some(format!("/invite/{token}")),
        token,
        invitation,
        account,
        way,
        password_error: None,
        error: None,
    })
}

async fn show(
    MaybeUser(user): MaybeUser,
    State(dashboard): State<Dashboard>,
    ClientAddr(ip): ClientAddr,
    Path(token): Path<String>,
    origin: RequestOrigin,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let found = open(&dashboard, &token, ip).await?;
    let form = FormToken::of(&headers);
    let page = page(&dashboard, user.as_ref(), &form, token, found).await?;
    let mut response = html_with(StatusCode::OK, &page)?;
    form.put(response.headers_mut(), &origin);
    Ok(response)
}

pub(super) const FULL: &str =
    "There is no place left: an organisation has at most 200 people, and a person at most 50 organisations.";

async fn join(
    current: CurrentUser,
    State(dashboard): State<Dashboard>,
    ClientAddr(ip): ClientAddr,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let found = open(&dashboard, &token, ip).await?;
    match invitation::accept(dashboard.db(), &current.by(), current.user(), &token).await {
        Ok(account_id) => work_in(&dashboard, &current.user().id, current.session_id(), &account_id).await,
        Err(AcceptError::Db(error)) => Err(error.into()),
        Err(AcceptError::NotValid) => Err(PageError::InvitationNotFound),
        Err(AcceptError::Full) => {
            let mut page = page(&dashboard, Some(&current), &FormToken::of(&headers), token, found).await?;
            page.error = Some(FULL);
            html_with(StatusCode::CONFLICT, &page)
        }
    }
}

async fn work_in(
    dashboard: &Dashboard,
    user_id: &str,
    session_id: &str,
    account_id: &AccountId,
) -> Result<Response, PageError> {
    tenancy::session::work_in(dashboard.db(), &user_id.to_owned(), session_id, account_id).await?;
    Ok(Redirect::to("/dash").into_response())
}

#[derive(Deserialize)]
struct SignUpForm {
    password: String,
}

async fn sign_up(
    State(dashboard): State<Dashboard>,
    ClientAddr(ip): ClientAddr,
    Path(token): Path<String>,
    origin: RequestOrigin,
    headers: HeaderMap,
    form: Result<Form<SignUpForm>, FormRejection>,
) -> Result<Response, PageError> {
    let found = open(&dashboard, &token, ip).await?;
    let Form(form) = form?;
    let form_token = FormToken::of(&headers);
    let mut page = page(&dashboard, None, &form_token, token, found).await?;
    if !matches!(page.way, Way::SignUp) {
        return html_with(StatusCode::FORBIDDEN, &page);
    }
    // Each try costs a password hash.
    let counted = format!("sign-up from {ip}");
    if let Err(wait) = dashboard.throttle().check(&counted, ip) {
        return too_many(&form_token, &page.invitation.email, None, wait);
    }
    let client = session::client_of(ip, &headers);
    let outcome = invitation::sign_up(dashboard.db(), client, &page.token, &form.password).await;
    dashboard.throttle().succeeded(&counted, ip);
    match outcome {
        Ok((user, _)) => {
            let mut response = Redirect::to("/dash").into_response();
            super::account_email::greet(&dashboard, &user).await;
            session::sign_in(&dashboard, &user, ip, &headers, &origin, response.headers_mut()).await?;
            Ok(response)
        }
        Err(JoinError::Accept(AcceptError::Db(error)) | JoinError::SignUp(SignUpError::Db(error))) => {
            Err(error.into())
        }
        Err(JoinError::Accept(AcceptError::NotValid)) => Err(PageError::InvitationNotFound),
        Err(JoinError::Accept(AcceptError::Full)) => {
            page.error = Some(FULL);
            html_with(StatusCode::CONFLICT, &page)
        }
        Err(JoinError::SignUp(error)) => {
            page.password_error = password_sentence(&error);
            html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
    }
}
