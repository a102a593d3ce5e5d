//! Proving again who one is, on a page: by password, by a code of the second factor, or both. A proof is good for fifteen minutes
//! (`tenancy::fresh`); for what can't be undone a code is asked for each time. Guesses are slowed down as at sign-in.

use std::net::IpAddr;
use std::time::Duration;

use askama::Template;
use axum::response::Response;
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use serde_json::json;
use tenancy::audit::Action;
use tenancy::second_factor::{self, Accepted};
use tenancy::{fresh, user};

use crate::error::PageError;
use crate::page::html_with;
use crate::pages::login::{too_many_sentence, whole_seconds};
use crate::session::CurrentUser;
use crate::{Dashboard, acts};

/// What a person is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Nothing.
    Nothing,
    /// Their password.
    Password,
    /// Their password, and a code.
    Both,
    /// A code: they have no password.
    Code,
    /// They have neither: to sign in anew.
    SignIn,
}

impl Ask {
    pub(crate) fn password(self) -> bool {
        matches!(self, Ask::Password | Ask::Both)
    }

    pub(crate) fn code(self) -> bool {
        matches!(self, Ask::Code | Ask::Both)
    }

    pub(crate) fn by_form(self) -> bool {
        self.password() || self.code()
    }
}

/// What is asked of somebody whose last proof may still be good.
pub(crate) async fn asked(dashboard: &Dashboard, current: &CurrentUser) -> Result<Ask, PageError> {
    if fresh::is_fresh(dashboard.db(), current.session_id()).await? {
        return Ok(Ask::Nothing);
    }
    wanted(dashboard, current).await
}

/// What is asked of somebody whatever they proved before.
pub(crate) async fn wanted(dashboard: &Dashboard, current: &CurrentUser) -> Result<Ask, PageError> {
    let password = fresh::has_password(dashboard.db(), &current.user().id).await?;
    Ok(match (password, current.second_factor()) {
        (true, false) => Ask::Password,
        (true, true) => Ask::Both,
        (false, true) => Ask::Code,
        // `fanfare dev` has printed the secret on this machine's own terminal.
        (false, false) if dashboard.config().dev => Ask::Nothing,
        (false, false) => Ask::SignIn,
    })
}

/// Why a proof didn't count.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refused {
    Password,
    Code,
    Wait(Duration),
    SignIn,
}

impl Refused {
    pub(crate) fn sentence(self) -> String {
        match self {
            Refused::Password => "This is not your password.".to_owned(),
            Refused::Code => WRONG_CODE.to_owned(),
            Refused::Wait(wait) => too_many_sentence(wait),
            Refused::SignIn => "Sign out and in again, then repeat the step.".to_owned(),
        }
    }

    /// The page that asks again.
    pub(crate) fn answer(self, page: &impl Template) -> Result<Response, PageError> {
        let Refused::Wait(wait) = self else { return html_with(StatusCode::UNPROCESSABLE_ENTITY, page) };
        let mut response = html_with(StatusCode::TOO_MANY_REQUESTS, page)?;
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        Ok(response)
    }
}

/// Of a code that was wrong, or right and used before.
pub(crate) const WRONG_CODE: &str =
    "This code isn't right, or it was used already. Each works once; wait for the next one in your app.";

/// Takes what [`wanted`] asks for, and remembers that it was given.
pub(crate) async fn prove(
    dashboard: &Dashboard,
    current: &CurrentUser,
    ip: IpAddr,
    password: &str,
    code: &str,
) -> Result<Result<(), Refused>, PageError> {
    let ask = wanted(dashboard, current).await?;
    let email = &current.user().email;
    if ask.password() {
        // The same count as at sign-in: a borrowed session is no second chance to guess.
        if let Err(wait) = dashboard.throttle().check(email, ip) {
            return Ok(Err(Refused::Wait(wait)));
        }
        if user::check_password(dashboard.db(), email, password).await?.is_none() {
            dashboard.throttle().failed(email, ip);
            return Ok(Err(Refused::Password));
        }
        dashboard.throttle().succeeded(email, ip);
    }
    if ask == Ask::SignIn {
        return Ok(Err(Refused::SignIn));
    }
    if let Err(refused) = self::code(dashboard, current, code).await? {
        return Ok(Err(refused));
    }
    fresh::note(dashboard.db(), current.session_id()).await?;
    Ok(Ok(()))
}

/// Takes a code of somebody whose second factor is on; nothing is asked of others.
pub(crate) async fn code(
    dashboard: &Dashboard,
    current: &CurrentUser,
    code: &str,
) -> Result<Result<(), Refused>, PageError> {
    if !current.second_factor() {
        return Ok(Ok(()));
    }
    let id = &current.user().id;
    if let Err(wait) = dashboard.codes().check(id) {
        return Ok(Err(Refused::Wait(wait)));
    }
    let Some(accepted) = second_factor::check(dashboard.db(), id, code).await? else {
        return Ok(Err(Refused::Code));
    };
    dashboard.codes().succeeded(id);
    if let Accepted::Recovery { left } = accepted {
        let details = json!({ "left": left });
        acts::of_person(dashboard, &current.by(), Action::RecoveryCodeUsed, details).await;
    }
    Ok(Ok(()))
}
