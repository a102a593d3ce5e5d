//! `/forgot` and `/reset/{token}`: a new password for who forgot theirs. `/forgot` answers the same, after the same work, whether
//! somebody has the address or not: what it does about it happens behind the answer. Who sets a password signs in with it
//! afterwards, so that nothing that is asked at a sign-in is left out.

use std::sync::OnceLock;

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tenancy::audit::Action;
use tenancy::mail_token::{self, Purpose};
use tenancy::password_reset::{self, ResetError};
use tenancy::user::{EMAIL_CHARS_MAX, SignUpError};
use tokio::sync::Semaphore;

use super::login::{too_many_sentence, whole_seconds};
use super::signup::password_sentence;
use crate::client::{ClientAddr, RequestOrigin};
use crate::csrf::FormToken;
use crate::error::PageError;
use crate::page::html_with;
use crate::{Dashboard, acts, letters, session};

/// Requests that are worked on behind their answers at the same time; more are dropped, whoever asks.
const BEHIND_MAX: usize = 64;

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/forgot", get(show).post(ask)).route("/reset/{token}", get(open).post(set))
}

#[derive(Template)]
#[template(path = "forgot.html")]
struct ForgotPage {
    csrf: String,
    email: String,
    asked: bool,
    /// There is a mail server.
    mails: bool,
    error: Option<String>,
}

impl ForgotPage {
    fn new(dashboard: &Dashboard, token: &FormToken) -> ForgotPage {
        ForgotPage {
            csrf: token.token.clone(),
            email: String::new(),
            asked: false,
            mails: dashboard.config().mail.server.is_some(),
            error: None,
        }
    }
}

async fn show(
    State(dashboard): State<Dashboard>,
    origin: RequestOrigin,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let token = FormToken::of(&headers);
    let mut response = html_with(StatusCode::OK, &ForgotPage::new(&dashboard, &token))?;
    token.put(response.headers_mut(), &origin);
    Ok(response)
}

#[derive(Deserialize)]
struct AskForm {
    email: String,
}

async fn ask(
    State(dashboard): State<Dashboard>,
    ClientAddr(ip): ClientAddr,
    headers: HeaderMap,
    form: Result<Form<AskForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let mut page = ForgotPage::new(&dashboard, &FormToken::of(&headers));
    page.email = form.email.trim().chars().take(EMAIL_CHARS_MAX).collect();
    // Each counts, for one network: it may become a mail to somebody who did not ask. Not under the e-mail itself, or a stranger
    // could slow down its owner's sign-in.
    let counted = format!("reset from {ip}");
    if let Err(wait) = dashboard.throttle().check(&counted, ip) {
        page.error = Some(too_many_sentence(wait));
        let mut response = html_with(StatusCode::TOO_MANY_REQUESTS, &page)?;
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        return Ok(response);
    }
    dashboard.throttle().failed(&counted, ip);
    behind(dashboard.clone(), page.email.clone());
    page.asked = true;
    html_with(StatusCode::OK, &page)
}

/// Mails the link, if somebody has the address, without letting the answer wait for it.
fn behind(dashboard: Dashboard, email: String) {
    static PLACES: OnceLock<Semaphore> = OnceLock::new();
    let Ok(place) = PLACES.get_or_init(|| Semaphore::new(BEHIND_MAX)).try_acquire() else {
        tracing::warn!("too many people ask for a new password at once, so one was passed over");
        return;
    };
    tokio::spawn(async move {
        let words = letters::reset(&email);
        if let Err(error) = password_reset::ask(dashboard.db(), &email, words.letter()).await {
            tracing::error!(%error, "a link to a new password could not be mailed");
        }
        drop(place);
    });
}

#[derive(Template)]
#[template(path = "reset.html")]
struct ResetPage {
    csrf: String,
    token: String,
    /// Whose password; empty when the link can't be used.
    email: String,
    password_error: Option<&'static str>,
}

impl ResetPage {
    fn spent(csrf: String) -> ResetPage {
        ResetPage { csrf, token: String::new(), email: String::new(), password_error: None }
    }
}

async fn open(
    State(dashboard): State<Dashboard>,
    Path(token): Path<String>,
    origin: RequestOrigin,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let form = FormToken::of(&headers);
    let found = mail_token::look(dashboard.db(), &token, Purpose::Reset, tenancy::now_ms()).await?;
    let (status, page) = match found {
        Some((user, _)) => {
            let page = ResetPage { csrf: form.token.clone(), token, email: user.email, password_error: None };
            (StatusCode::OK, page)
        }
        None => (StatusCode::GONE, ResetPage::spent(form.token.clone())),
    };
    let mut response = html_with(status, &page)?;
    form.put(response.headers_mut(), &origin);
    Ok(response)
}

#[derive(Deserialize)]
struct SetForm {
    password: String,
}

async fn set(
    State(dashboard): State<Dashboard>,
    ClientAddr(ip): ClientAddr,
    Path(token): Path<String>,
    headers: HeaderMap,
    form: Result<Form<SetForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let csrf = FormToken::of(&headers).token;
    let db = dashboard.db();
    let found = mail_token::look(db, &token, Purpose::Reset, tenancy::now_ms()).await?;
    let error = match password_reset::reset(db, &token, &form.password).await {
        Ok((user, ended)) => {
            let by = acts::by(&user, session::client_of(ip, &headers));
            let details = json!({ "sessions_ended": ended });
            acts::of_person(&dashboard, &by, Action::PasswordReset, details).await;
            let words = letters::was_reset(&user.email);
            super::account_email::tell(&dashboard, &user.email, "reset-done", &words, "/forgot").await;
            return Ok(Redirect::to("/login?done=reset").into_response());
        }
        Err(ResetError::Db(error)) => return Err(error.into()),
        Err(ResetError::NotValid) => return html_with(StatusCode::GONE, &ResetPage::spent(csrf)),
        Err(ResetError::TooShort) => SignUpError::PasswordTooShort,
        Err(ResetError::TooLong) => SignUpError::PasswordTooLong,
        Err(ResetError::TooCommon) => SignUpError::PasswordTooCommon,
    };
    let email = found.map(|(user, _)| user.email).unwrap_or_default();
    let page = ResetPage { csrf, token, email, password_error: password_sentence(&error) };
    html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}
