//! `/signup`: e-mail and password make an account; the next page makes its first app.
//!
//! A taken e-mail is said openly, as the person who owns it needs to know; guessing is slowed by the sign-in throttle.

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tenancy::audit::Action;
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
    offer: String,
    email: String,
    email_error: Option<&'static str>,
    email_taken: bool,
    password_error: Option<&'static str>,
}

impl SignUpPage {
    fn new(dashboard: &Dashboard, token: &FormToken) -> SignUpPage {
        let plan = dashboard.config().signup_plan;
        let offer = match (plan.connections_max(), plan.messages_per_day_max()) {
            (Some(connections), Some(messages)) => {
                format!("{} connections and {} messages a day. No card.", count(connections), count(messages))
            }
            _ => "No limit on connections or messages.".to_owned(),
        };
        SignUpPage {
            csrf: token.token.clone(),
            open: dashboard.config().signup == SignUpMode::Open,
            offer,
            email: String::new(),
            email_error: None,
            email_taken: false,
            password_error: None,
        }
    }
}

async fn show(
    MaybeUser(user): MaybeUser,
    State(dashboard): State<Dashboard>,
    origin: RequestOrigin,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    if user.is_some() {
        return Ok(Redirect::to("/dash").into_response());
    }
    let token = FormToken::of(&headers);
    let mut response = html_with(StatusCode::OK, &SignUpPage::new(&dashboard, &token))?;
    token.put(response.headers_mut(), &origin);
    Ok(response)
}

#[derive(Deserialize)]
struct SignUpForm {
    email: String,
    password: String,
}

async fn submit(
    State(dashboard): State<Dashboard>,
    ClientAddr(ip): ClientAddr,
    origin: RequestOrigin,
    headers: HeaderMap,
    form: Result<Form<SignUpForm>, FormRejection>,
) -> Result<Response, PageError> {
    let token = FormToken::of(&headers);
    let mut page = SignUpPage::new(&dashboard, &token);
    if !page.open {
        return html_with(StatusCode::FORBIDDEN, &page);
    }
    let Form(form) = form?;
    page.email = form.email.trim().to_owned();
    // Not under the e-mail itself: a stranger's sign-up must neither slow down nor speed up its owner's sign-in.
    let counted = format!("sign-up from {ip}");
    if let Err(wait) = dashboard.throttle().check(&counted, ip) {
        return super::login::too_many(&token, &page.email, None, wait);
    }
    let outcome = sign_up(dashboard.db(), &page.email, &form.password, dashboard.config().signup_plan).await;
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
