//! `/signup`: e-mail and password make an account; the next page makes its first app.
//!
//! A taken e-mail is said openly, as the person who owns it needs to know; guessing is slowed by the sign-in throttle.

use std::net::IpAddr;

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tenancy::audit::Action;
use tenancy::identity::Provider;
use tenancy::server_invitation::{self, JoinError};
use tenancy::user::{SignUpError, sign_up};

use crate::client::{ClientAddr, RequestOrigin};
use crate::csrf::FormToken;
use crate::error::PageError;
use crate::page::{count, html_with};
use crate::session::{self, MaybeUser};
use crate::{Dashboard, SignUpMode, acts};

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/signup", get(show).post(submit))
}

#[derive(Template)]
#[template(path = "signup.html")]
struct SignUpPage {
    csrf: String,
    open: bool,
    /// The token of the link that they came with, if it is worth anything.
    invitation: String,
    offer: String,
    email: String,
    email_error: Option<&'static str>,
    email_taken: bool,
    password_error: Option<&'static str>,
    with: Vec<Provider>,
    next: Option<&'static str>,
}

impl SignUpPage {
    async fn new(
        dashboard: &Dashboard,
        token: &FormToken,
        invitation: &str,
    ) -> Result<SignUpPage, PageError> {
        let limits = tenancy::quota::limits_of(dashboard.db(), dashboard.config().signup_plan).await?;
        let mode = dashboard.signup().await?;
        let open = match mode {
            SignUpMode::Open => true,
            SignUpMode::Invite => {
                server_invitation::find_by_token(dashboard.db(), invitation).await?.is_some()
            }
            SignUpMode::Closed => false,
        };
        let offer = match (limits.connections_max, limits.messages_per_day_max) {
            (Some(connections), Some(messages)) => {
                format!("{} connections and {} messages a day. No card.", count(connections), count(messages))
            }
            _ => "No limit on connections or messages.".to_owned(),
        };
        Ok(SignUpPage {
            csrf: token.token.clone(),
            open,
            invitation: if open { invitation.to_owned() } else { String::new() },
            offer,
            email: String::new(),
            email_error: None,
            email_taken: false,
            password_error: None,
            // An invitation to the server is for a password alone.
            with: if mode == SignUpMode::Open { dashboard.with() } else { Vec::new() },
            next: None,
        })
    }
}

async fn show(
    MaybeUser(user): MaybeUser,
    State(dashboard): State<Dashboard>,
    ClientAddr(ip): ClientAddr,
    Query(asked): Query<Asked>,
    origin: RequestOrigin,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    if user.is_some() {
        return Ok(Redirect::to("/dash").into_response());
    }
    let token = FormToken::of(&headers);
    let page = guess(&dashboard, &token, &asked.invitation.unwrap_or_default(), ip).await?;
    let mut response = html_with(StatusCode::OK, &page)?;
    token.put(response.headers_mut(), &origin);
    Ok(response)
}

#[derive(Deserialize)]
struct Asked {
    invitation: Option<String>,
}

/// The page for this link. Wrong links are slowed down as wrong passwords are, each network for itself.
async fn guess(
    dashboard: &Dashboard,
    token: &FormToken,
    invitation: &str,
    ip: IpAddr,
) -> Result<SignUpPage, PageError> {
    let counted = format!("invitation from {ip}");
    if !invitation.is_empty() && dashboard.throttle().check(&counted, ip).is_err() {
        return Err(PageError::TooManyTries);
    }
    let page = SignUpPage::new(dashboard, token, invitation).await?;
    if !invitation.is_empty() {
        match page.open {
            true => dashboard.throttle().succeeded(&counted, ip),
            false => dashboard.throttle().failed(&counted, ip),
        }
    }
    Ok(page)
}

#[derive(Deserialize)]
struct SignUpForm {
    email: String,
    password: String,
    #[serde(default)]
    invitation: String,
}

async fn submit(
    State(dashboard): State<Dashboard>,
    ClientAddr(ip): ClientAddr,
    origin: RequestOrigin,
    headers: HeaderMap,
    form: Result<Form<SignUpForm>, FormRejection>,
) -> Result<Response, PageError> {
    let token = FormToken::of(&headers);
    let Form(form) = form?;
    let mut page = guess(&dashboard, &token, &form.invitation, ip).await?;
    if !page.open {
        return html_with(StatusCode::FORBIDDEN, &page);
    }
    page.email = form.email.trim().to_owned();
    // Not under the e-mail itself: a stranger's sign-up must neither slow down nor speed up its owner's sign-in.
    let counted = format!("sign-up from {ip}");
    if let Err(wait) = dashboard.throttle().check(&counted, ip) {
        return super::login::too_many(&token, &page.email, None, wait);
    }
    let (db, plan) = (dashboard.db(), dashboard.config().signup_plan);
    let outcome = match page.invitation.is_empty() {
        true => sign_up(db, &page.email, &form.password, plan).await,
        false => {
            let joined =
                server_invitation::sign_up(db, &page.invitation, &page.email, &form.password, plan).await;
            match joined {
                Ok(made) => Ok(made),
                Err(JoinError::SignUp(error)) => Err(error),
                // Somebody else was quicker.
                Err(JoinError::NotValid) => return Err(PageError::InvitationNotFound),
            }
        }
    };
    match &outcome {
        Err(SignUpError::EmailTaken) => dashboard.throttle().failed(&counted, ip),
        Ok(_) | Err(_) => dashboard.throttle().succeeded(&counted, ip),
    }
    match outcome {
        Ok((user, _)) => {
            let mut response = Redirect::to("/dash/apps/new").into_response();
            let by = acts::by(&user, session::client_of(ip, &headers));
            acts::of_person(&dashboard, &by, Action::SignUp, Value::Null).await;
            super::account_email::greet(&dashboard, &user).await;
            session::sign_in(&dashboard, &user, ip, &headers, &origin, response.headers_mut()).await?;
            Ok(response)
        }
        Err(SignUpError::Db(error)) => Err(error.into()),
        Err(SignUpError::EmailTaken) => {
            page.email_taken = true;
            html_with(StatusCode::CONFLICT, &page)
        }
        Err(error) => {
            page.email_error = email_sentence(&error);
            page.password_error = password_sentence(&error);
            html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
    }
}

/// What the e-mail field says about an error, if it's about it.
pub(super) fn email_sentence(error: &SignUpError) -> Option<&'static str> {
    match error {
        SignUpError::EmailInvalid => Some("This doesn't look like an e-mail address."),
        SignUpError::EmailTaken => Some("An account with this e-mail exists already."),
        SignUpError::PasswordTooShort
        | SignUpError::PasswordTooLong
        | SignUpError::PasswordTooCommon
        | SignUpError::Db(_) => None,
    }
}

/// What the password field says about an error, if it's about it.
pub(super) fn password_sentence(error: &SignUpError) -> Option<&'static str> {
    match error {
        SignUpError::PasswordTooShort => Some("Too short. Use at least 8 characters."),
        SignUpError::PasswordTooLong => Some("Too long. Use at most 128 characters."),
        SignUpError::PasswordTooCommon => {
            Some("Too common: this password is among the first that anybody tries. Use another.")
        }
        SignUpError::EmailInvalid | SignUpError::EmailTaken | SignUpError::Db(_) => None,
    }
}
