//! `/login/code`: the second step of a sign-in, for who has a second factor. It comes after the password, and there is no session
//! before it.

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tenancy::audit::Action;
use tenancy::pending_sign_in;
use tenancy::second_factor::{self, Accepted};

use super::login::{too_many_sentence, whole_seconds};
use crate::client::{ClientAddr, RequestOrigin};
use crate::csrf::FormToken;
use crate::error::PageError;
use crate::page::{encode, html_with, local_path, login_path};
use crate::proof::WRONG_CODE;
use crate::session::{self, PENDING_COOKIE, client_of, cookie, set_cookie};
use crate::{Dashboard, acts};

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/login/code", get(show).post(submit))
}

/// The page, with the way on.
pub(crate) fn path(next: Option<&str>) -> String {
    match next.filter(|path| *path != "/dash") {
        None => "/login/code".to_owned(),
        Some(path) => format!("/login/code?next={}", encode(path)),
    }
}

#[derive(Template)]
#[template(path = "login_code.html")]
struct CodePage<'a> {
    csrf: &'a str,
    next: Option<&'a str>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Wanted {
    next: Option<String>,
}

/// Nobody has given a password here, or too long ago.
fn from_the_start(next: Option<&str>) -> Response {
    Redirect::to(&login_path(next)).into_response()
}

async fn show(
    State(dashboard): State<Dashboard>,
    Query(wanted): Query<Wanted>,
    origin: RequestOrigin,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let next = wanted.next.as_deref().and_then(local_path);
    let pending = cookie(&headers, PENDING_COOKIE).unwrap_or_default();
    if pending_sign_in::find(dashboard.db(), pending).await?.is_none() {
        return Ok(from_the_start(next));
    }
    let token = FormToken::of(&headers);
    let mut response = html_with(StatusCode::OK, &CodePage { csrf: &token.token, next, error: None })?;
    token.put(response.headers_mut(), &origin);
    Ok(response)
}

#[derive(Deserialize)]
struct CodeForm {
    code: String,
    next: Option<String>,
}

async fn submit(
    State(dashboard): State<Dashboard>,
    ClientAddr(ip): ClientAddr,
    origin: RequestOrigin,
    headers: HeaderMap,
    form: Result<Form<CodeForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let db = dashboard.db();
    let next = form.next.as_deref().and_then(local_path);
    let pending = cookie(&headers, PENDING_COOKIE).unwrap_or_default();
    let Some(user) = pending_sign_in::find(db, pending).await? else { return Ok(from_the_start(next)) };
    let token = FormToken::of(&headers);
    let page = |error: String| CodePage { csrf: &token.token, next, error: Some(error) };
    if let Err(wait) = dashboard.codes().check(&user.id) {
        let mut response = html_with(StatusCode::TOO_MANY_REQUESTS, &page(too_many_sentence(wait)))?;
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        return Ok(response);
    }
    let by = acts::by(&user, client_of(ip, &headers));
    let Some(accepted) = second_factor::check(db, &user.id, &form.code).await? else {
        acts::of_person(&dashboard, &by, Action::SecondFactorWrong, Value::Null).await;
        return html_with(StatusCode::UNAUTHORIZED, &page(WRONG_CODE.to_owned()));
    };
    if !pending_sign_in::take(db, pending).await? {
        return Ok(from_the_start(next));
    }
    dashboard.codes().succeeded(&user.id);
    if let Accepted::Recovery { left } = accepted {
        acts::of_person(&dashboard, &by, Action::RecoveryCodeUsed, json!({ "left": left })).await;
    }
    let mut response = Redirect::to(next.unwrap_or("/dash")).into_response();
    session::sign_in(&dashboard, &user, ip, &headers, &origin, response.headers_mut()).await?;
    set_cookie(response.headers_mut(), PENDING_COOKIE, "", 0, origin.https);
    Ok(response)
}
