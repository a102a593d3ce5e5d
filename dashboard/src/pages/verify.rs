//! `/verify/{token}` and `/change-email/{token}`: links of mails that prove an address. GET only shows a button, so that a program
//! that looks at links in mails doesn't use them up. Nobody needs to be signed in.

use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tenancy::audit::Action;
use tenancy::email_change::{self, ChangeEmailError};
use tenancy::email_proof;
use tenancy::mail_token::{self, Purpose};

use crate::client::{ClientAddr, RequestOrigin};
use crate::csrf::FormToken;
use crate::error::PageError;
use crate::page::html_with;
use crate::{Dashboard, acts, letters, session};

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/verify/{token}", get(show_confirm).post(confirm))
        .route("/change-email/{token}", get(show_change).post(change))
}

/// What the page says.
#[derive(Debug, PartialEq, Eq)]
enum Says {
    /// A button.
    Ask,
    /// It is done.
    Done,
    /// The link can't be used.
    Spent,
    /// Somebody else has the address.
    Taken,
}

#[derive(Template)]
#[template(path = "verify.html")]
struct VerifyPage {
    csrf: String,
    says: Says,
    /// Where the button goes.
    action: String,
    /// The address that is proved.
    email: String,
    /// The address before, when it changes.
    old: Option<String>,
}

impl VerifyPage {
    fn new(csrf: &str, says: Says) -> VerifyPage {
        VerifyPage { csrf: csrf.to_owned(), says, action: String::new(), email: String::new(), old: None }
    }
}

async fn ask(
    dashboard: &Dashboard,
    token: &str,
    purpose: Purpose,
    origin: &RequestOrigin,
    headers: &HeaderMap,
) -> Result<Response, PageError> {
    let form = FormToken::of(headers);
    let found = mail_token::look(dashboard.db(), token, purpose, tenancy::now_ms()).await?;
    let (status, page) = match found {
        Some((user, email)) => {
            let old = (purpose == Purpose::Change).then_some(user.email);
            let action = mail_token::path(purpose, token);
            let page = VerifyPage { csrf: form.token.clone(), says: Says::Ask, action, email, old };
            (StatusCode::OK, page)
        }
        None => (StatusCode::GONE, VerifyPage::new(&form.token, Says::Spent)),
    };
    let mut response = html_with(status, &page)?;
    form.put(response.headers_mut(), origin);
    Ok(response)
}

async fn show_confirm(
    State(dashboard): State<Dashboard>,
    Path(token): Path<String>,
    origin: RequestOrigin,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    ask(&dashboard, &token, Purpose::Confirm, &origin, &headers).await
}

async fn show_change(
    State(dashboard): State<Dashboard>,
    Path(token): Path<String>,
    origin: RequestOrigin,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    ask(&dashboard, &token, Purpose::Change, &origin, &headers).await
}

async fn confirm(
    State(dashboard): State<Dashboard>,
    ClientAddr(ip): ClientAddr,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let csrf = FormToken::of(&headers).token;
    let Some(user) = email_proof::confirm(dashboard.db(), &token).await? else {
        return html_with(StatusCode::GONE, &VerifyPage::new(&csrf, Says::Spent));
    };
    let by = acts::by(&user, session::client_of(ip, &headers));
    acts::of_person(&dashboard, &by, Action::EmailConfirm, Value::Null).await;
    let page = VerifyPage { email: user.email, ..VerifyPage::new(&csrf, Says::Done) };
    html_with(StatusCode::OK, &page)
}

async fn change(
    State(dashboard): State<Dashboard>,
    ClientAddr(ip): ClientAddr,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let csrf = FormToken::of(&headers).token;
    let (user, new) = match email_change::change(dashboard.db(), &token).await {
        Ok(changed) => changed,
        Err(ChangeEmailError::Db(error)) => return Err(error.into()),
        Err(ChangeEmailError::Taken) => {
            return html_with(StatusCode::CONFLICT, &VerifyPage::new(&csrf, Says::Taken));
        }
        Err(
            ChangeEmailError::NotValid
            | ChangeEmailError::Wrong
            | ChangeEmailError::AddressInvalid
            | ChangeEmailError::TooMany,
        ) => return html_with(StatusCode::GONE, &VerifyPage::new(&csrf, Says::Spent)),
    };
    let by = acts::by(&user, session::client_of(ip, &headers));
    let details = json!({ "email": { "from": user.email, "to": new } });
    acts::of_person(&dashboard, &by, Action::EmailChange, details).await;
    let words = letters::address_changed(&user.email, &new);
    for to in [&user.email, &new] {
        super::account_email::tell(&dashboard, to, "change-email-done", &words, "/login").await;
    }
    let page = VerifyPage { email: new, old: Some(user.email), ..VerifyPage::new(&csrf, Says::Done) };
    html_with(StatusCode::OK, &page)
}
