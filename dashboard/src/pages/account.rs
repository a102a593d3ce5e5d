//! `/dash/account`: what belongs to the person and not to an app. Their password, and the sessions they are signed in with.

use std::time::Duration;

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tenancy::audit::Action;
use tenancy::fresh;
use tenancy::password_change::{ChangePasswordError, change_password};
use tenancy::session::{self, Listed};
use tenancy::user::SignUpError;

use super::login::{too_many_sentence, whole_seconds};
use super::signup::password_sentence;
use super::with::Way;
use crate::client::ClientAddr;
use crate::error::PageError;
use crate::page::{Frame, html, html_with, moment};
use crate::session::{CurrentUser, session_token};
use crate::{Dashboard, acts, browser_name};

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/dash/account", get(show))
        .route("/dash/account/password", post(password))
        .route("/dash/account/sessions/end-others", post(end_others))
        .route("/dash/account/sessions/{session}/end", post(end))
}

#[derive(Template)]
#[template(path = "account.html")]
pub(super) struct AccountPage {
    frame: Frame,
    done: Option<&'static str>,
    /// Used last first; the one of this browser is among them.
    sessions: Vec<Row>,
    present_error: Option<String>,
    new_error: Option<&'static str>,
    /// A mail to their address arrived.
    confirmed: bool,
    /// The form for another address.
    pub(super) change: EmailForm,
    /// They can sign in with one.
    has_password: bool,
    with: Vec<Way>,
}

/// What the form for another address shows.
#[derive(Default)]
pub(super) struct EmailForm {
    pub(super) email: String,
    pub(super) email_error: Option<&'static str>,
    pub(super) password_error: Option<String>,
}

/// A session in the list.
struct Row {
    session: Listed,
    browser: String,
    /// The one that looks at this page.
    this: bool,
}

impl Row {
    fn began(&self) -> String {
        moment(self.session.created_ms)
    }

    fn used(&self) -> String {
        moment(self.session.last_seen_ms)
    }
}

impl AccountPage {
    pub(super) async fn load(current: &CurrentUser, dashboard: &Dashboard) -> Result<AccountPage, PageError> {
        let sessions = session::list(dashboard.db(), &current.user().id).await?;
        let row = |session: Listed| Row {
            browser: browser_name::in_words(&session.client.user_agent),
            this: session.id_hash == current.session_id(),
            session,
        };
        Ok(AccountPage {
            frame: Frame::new(current),
            done: None,
            sessions: sessions.into_iter().map(row).collect(),
            present_error: None,
            new_error: None,
            confirmed: current.email_confirmed(),
            change: EmailForm::default(),
            has_password: fresh::has_password(dashboard.db(), &current.user().id).await?,
            with: Way::all(dashboard, current).await?,
        })
    }
}

#[derive(Deserialize)]
struct Done {
    done: Option<String>,
}

async fn show(
    current: CurrentUser,
    State(dashboard): State<Dashboard>,
    Query(query): Query<Done>,
) -> Result<Response, PageError> {
    let mut page = AccountPage::load(&current, &dashboard).await?;
    page.done = query.done.as_deref().and_then(|done| match done {
        "password" => Some("The password was changed. You are signed out everywhere else."),
        "linked" => Some("Linked. You can sign in with it from now on."),
        "unlinked" => Some("Unlinked. It signs you in no more."),
        "only-way" => Some(
            "That is your only way to sign in, so it stays. Get a password first, or link another account.",
        ),
        "sign-in-anew" => {
            Some("You signed in more than 15 minutes ago. Sign out and in again, then repeat the step.")
        }
        "two-step-off" => Some("Two-step sign-in is off. Your password alone signs you in."),
        "session" => Some("That session is signed out."),
        "email" => Some("A mail with a link is on its way to the new address. Nothing changes before it is opened."),
        "confirm" => Some("The mail is on its way. Open the link in it to confirm your address."),
        "confirm-wait" => Some("Five such mails went out in the last hour. The link in the latest works; look into the spam folder too."),
        "confirmed" => Some("Your address is confirmed already."),
        "others" => Some("You are signed out everywhere else."),
        _ => None,
    });
    html(&page)
}

fn go(done: &str) -> Response {
    Redirect::to(&format!("/dash/account?done={done}")).into_response()
}

#[derive(Deserialize)]
struct PasswordForm {
    present: String,
    new: String,
}

async fn password(
    current: CurrentUser,
    State(dashboard): State<Dashboard>,
    ClientAddr(ip): ClientAddr,
    headers: HeaderMap,
    form: Result<Form<PasswordForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let mut page = AccountPage::load(&current, &dashboard).await?;
    let user = current.user();
    // The same count as at sign-in: a borrowed session is no second chance to guess.
    if let Err(wait) = dashboard.throttle().check(&user.email, ip) {
        page.present_error = Some(too_many_sentence(wait));
        return too_many(&page, wait);
    }
    let keep = session_token(&headers).unwrap_or_default();
    let outcome = change_password(dashboard.db(), user, &form.present, &form.new, keep).await;
    match &outcome {
        Err(ChangePasswordError::Wrong) => dashboard.throttle().failed(&user.email, ip),
        Ok(_) | Err(_) => dashboard.throttle().succeeded(&user.email, ip),
    }
    page.new_error = match outcome {
        Ok(ended) => {
            let details = json!({ "sessions_ended": ended });
            acts::of_person(&dashboard, &current.by(), Action::PasswordChange, details).await;
            return Ok(go("password"));
        }
        Err(ChangePasswordError::Db(error)) => return Err(error.into()),
        Err(ChangePasswordError::Wrong) => {
            page.present_error =
                Some("This is not your present password, so nothing was changed.".to_owned());
            None
        }
        Err(ChangePasswordError::TooShort) => password_sentence(&SignUpError::PasswordTooShort),
        Err(ChangePasswordError::TooLong) => password_sentence(&SignUpError::PasswordTooLong),
        Err(ChangePasswordError::TooCommon) => password_sentence(&SignUpError::PasswordTooCommon),
    };
    html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}

fn too_many(page: &AccountPage, wait: Duration) -> Result<Response, PageError> {
    let mut response = html_with(StatusCode::TOO_MANY_REQUESTS, page)?;
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
    Ok(response)
}

async fn end_others(
    current: CurrentUser,
    State(dashboard): State<Dashboard>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let keep = session_token(&headers).unwrap_or_default();
    let ended = session::end_all_but(dashboard.db(), &current.user().id, keep).await?;
    let details = json!({ "sessions": ended });
    acts::of_person(&dashboard, &current.by(), Action::SessionsEnd, details).await;
    Ok(go("others"))
}

/// One that has ended meanwhile, isn't theirs, or never was: all the same 404.
async fn end(
    current: CurrentUser,
    State(dashboard): State<Dashboard>,
    Path(session): Path<String>,
) -> Result<Response, PageError> {
    if !session::end_of_user(dashboard.db(), &current.user().id, &session).await? {
        return Err(PageError::SessionNotFound);
    }
    acts::of_person(&dashboard, &current.by(), Action::SessionEnd, Value::Null).await;
    Ok(go("session"))
}
