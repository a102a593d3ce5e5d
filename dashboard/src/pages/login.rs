//! `/login`: e-mail and password. One answer for an unknown e-mail and a wrong password; guessing is slowed down.

use std::time::Duration;

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use tenancy::identity::Provider;
use tenancy::user::check_password;

use crate::client::{ClientAddr, RequestOrigin};
use crate::csrf::FormToken;
use crate::error::PageError;
use crate::page::{html_with, local_path};
use crate::session::{self, MaybeUser};
use crate::{Dashboard, SignUpMode};

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/login", get(show).post(submit))
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    csrf: &'a str,
    email: &'a str,
    next: Option<&'a str>,
    signup_open: bool,
    with: Vec<Provider>,
    error: Option<String>,
    /// What was done just now.
    done: Option<&'static str>,
}

#[derive(Deserialize)]
struct Wanted {
    next: Option<String>,
    done: Option<String>,
}

async fn show(
    MaybeUser(user): MaybeUser,
    State(dashboard): State<Dashboard>,
    Query(wanted): Query<Wanted>,
    origin: RequestOrigin,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let next = wanted.next.as_deref().and_then(local_path);
    if user.is_some() {
        return Ok(Redirect::to(next.unwrap_or("/dash")).into_response());
    }
    let token = FormToken::of(&headers);
    let done = wanted.done.as_deref().and_then(|done| match done {
        "reset" => Some("The new password is set. Sign in with it."),
        "deleted" => Some("Your account is deleted."),
        _ => None,
    });
    let signup_open = dashboard.signup().await? == SignUpMode::Open;
    let with = dashboard.with();
    let page = LoginPage { csrf: &token.token, email: "", next, signup_open, with, error: None, done };
    let mut response = html_with(StatusCode::OK, &page)?;
    token.put(response.headers_mut(), &origin);
    Ok(response)
}

#[derive(Deserialize)]
struct LoginForm {
    email: String,
    password: String,
    next: Option<String>,
}

async fn submit(
    State(dashboard): State<Dashboard>,
    ClientAddr(ip): ClientAddr,
    origin: RequestOrigin,
    headers: HeaderMap,
    form: Result<Form<LoginForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let token = FormToken::of(&headers);
    let email = form.email.trim();
    let next = form.next.as_deref().and_then(local_path);
    if let Err(wait) = dashboard.throttle().check(email, ip) {
        return too_many(&token, email, next, wait);
    }
    match check_password(dashboard.db(), email, &form.password).await? {
        Some(user) => {
            dashboard.throttle().succeeded(email, ip);
            session::enter(&dashboard, &user, next, ip, &headers, &origin).await
        }
        None => {
            dashboard.throttle().failed(email, ip);
            let error = Some("E-mail or password is wrong.".to_owned());
            let signup_open = dashboard.signup().await? == SignUpMode::Open;
            let with = dashboard.with();
            let page = LoginPage { csrf: &token.token, email, next, signup_open, with, error, done: None };
            html_with(StatusCode::UNAUTHORIZED, &page)
        }
    }
}

/// The form again, with how long to wait.
pub(super) fn too_many(
    token: &FormToken,
    email: &str,
    next: Option<&str>,
    wait: Duration,
) -> Result<Response, PageError> {
    let error = Some(too_many_sentence(wait));
    let with = Vec::new();
    let page = LoginPage { csrf: &token.token, email, next, signup_open: false, with, error, done: None };
    let mut response = html_with(StatusCode::TOO_MANY_REQUESTS, &page)?;
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
    Ok(response)
}

/// What a form says to somebody who must wait before the next try.
pub(crate) fn too_many_sentence(wait: Duration) -> String {
    let words = match whole_seconds(wait) {
        0..=1 => "a second".to_owned(),
        seconds @ 2..=90 => format!("{seconds} seconds"),
        seconds => format!("{} minutes", seconds.div_ceil(60)),
    };
    format!("Too many tries. Wait {words}, then try again.")
}

/// For `Retry-After`: rounded up, at least 1.
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}
