//! The e-mail address on `/dash/account`: asking for another one, and for the mail that confirms the present one once more. What
//! the links of these mails do is in `pages/verify.rs`.

use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use tenancy::audit::Action;
use tenancy::email_change::{self, ChangeEmailError};
use tenancy::email_proof;
use tenancy::mail::{Mail, MailError};
use tenancy::user::User;

use super::account::{AccountPage, EmailForm};
use crate::client::ClientAddr;
use crate::error::PageError;
use crate::letters::{self, Words};
use crate::page::html_with;
use crate::session::CurrentUser;
use crate::{Dashboard, acts, proof};

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/dash/account/email", post(change))
        .route("/dash/account/email/confirm", post(confirm))
}

/// A notice that stops nothing when it can't be queued.
pub(super) async fn tell(dashboard: &Dashboard, to: &str, kind: &'static str, words: &Words, link: &str) {
    let letter = words.letter();
    let (subject, text) = (letter.subject, letter.text);
    let mail = Mail { to, kind, subject, text, link: Some(link), ..Mail::default() };
    if let Err(error) = tenancy::mail::queue(dashboard.db(), mail).await {
        tracing::error!(%error, mail.kind = kind, "a notice could not be queued");
    }
}

/// Mails somebody who signed up the link that confirms their address. It stops nothing when it can't be.
pub(super) async fn greet(dashboard: &Dashboard, user: &User) {
    let words = letters::confirm(&user.email);
    if let Err(error) = email_proof::ask(dashboard.db(), user, words.letter()).await {
        tracing::error!(%error, "the mail that confirms an address could not be queued");
    }
}

async fn confirm(current: CurrentUser, State(dashboard): State<Dashboard>) -> Result<Response, PageError> {
    let done = match current.email_confirmed() {
        true => "confirmed",
        false => {
            let words = letters::confirm(&current.user().email);
            match email_proof::ask(dashboard.db(), current.user(), words.letter()).await {
                Ok(()) => "confirm",
                Err(MailError::TooMany | MailError::AddressInvalid) => "confirm-wait",
                Err(MailError::Db(error)) => return Err(error.into()),
            }
        }
    };
    Ok(Redirect::to(&format!("/dash/account?done={done}")).into_response())
}

#[derive(Deserialize)]
struct ChangeForm {
    email: String,
    password: String,
    #[serde(default)]
    code: String,
}

async fn change(
    current: CurrentUser,
    State(dashboard): State<Dashboard>,
    ClientAddr(ip): ClientAddr,
    form: Result<Form<ChangeForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let mut page = AccountPage::load(&current, &dashboard).await?;
    let user = current.user();
    page.change = EmailForm { email: form.email.trim().to_owned(), ..EmailForm::default() };
    if let Err(refused) = proof::prove(&dashboard, &current, ip, &form.password, &form.code).await? {
        page.change.password_error = Some(format!("{} Nothing was changed.", refused.sentence()));
        return refused.answer(&page);
    }
    let new = tenancy::user::normal_email(&form.email).unwrap_or_default();
    let (to_new, to_old) =
        (letters::new_address(&user.email, &new), letters::address_asked(&user.email, &new));
    let (to_new, to_old) = (to_new.letter(), to_old.letter());
    let outcome = email_change::ask(dashboard.db(), user, &form.password, &form.email, to_new, to_old).await;
    match outcome {
        Ok(new) => {
            acts::of_person(&dashboard, &current.by(), Action::EmailAsk, json!({ "to": new })).await;
            return Ok(Redirect::to("/dash/account?done=email").into_response());
        }
        Err(ChangeEmailError::Db(error)) => return Err(error.into()),
        Err(ChangeEmailError::Wrong) => {
            page.change.password_error =
                Some("This is not your password, so nothing was changed.".to_owned());
        }
        Err(ChangeEmailError::TooMany) => {
            page.change.email_error = Some("Too many mails in the last hour. Wait a little.");
        }
        Err(ChangeEmailError::AddressInvalid) => {
            page.change.email_error = Some("This is your address already, or doesn't look like one.");
        }
        Err(ChangeEmailError::NotValid | ChangeEmailError::Taken) => return Err(PageError::BadForm),
    }
    html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}
