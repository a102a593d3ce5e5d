//! Who is signed in: the session cookie, and the extractor that a page takes to be for signed-in people only.
//!
//! The database holds only a hash of the cookie's value; time-outs are `tenancy::session`'s business.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::header::{COOKIE, SET_COOKIE, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use tenancy::account::Account;
use tenancy::session::Client;
use tenancy::user::{User, UserId};

use crate::client::RequestOrigin;
use crate::error::PageError;
use crate::{Dashboard, csrf};

/// The cookie's name.
pub const SESSION_COOKIE: &str = "fanfare_session";
/// How long a browser keeps the cookie, in seconds (30 days: the absolute end of a session).
const COOKIE_SECONDS: u32 = 30 * 24 * 3600;

/// The signed-in person and their account. A handler that takes it can't be reached without a session: pages send the
/// visitor to `/login` and back, JSON endpoints answer 401.
#[derive(Clone)]
pub struct CurrentUser(Arc<Inner>);

struct Inner {
    user: User,
    account: Account,
    csrf: String,
    session_id: String,
}

impl std::fmt::Debug for CurrentUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CurrentUser").field("user", &self.0.user.id).finish_non_exhaustive()
    }
}

impl CurrentUser {
    /// The person.
    pub fn user(&self) -> &User {
        &self.0.user
    }

    /// The account whose apps they see.
    pub fn account(&self) -> &Account {
        &self.0.account
    }

    /// The token that forms (`csrf`) and scripts (`X-CSRF-Token`) send back; bound to this session.
    pub fn csrf(&self) -> &str {
        &self.0.csrf
    }

    /// Names their session among all; opens nothing.
    pub fn session_id(&self) -> &str {
        &self.0.session_id
    }

    /// Like the extractor, but a missing session isn't an error.
    pub async fn find(parts: &mut Parts, dashboard: &Dashboard) -> Result<Option<CurrentUser>, PageError> {
        if let Some(known) = parts.extensions.get::<CurrentUser>() {
            return Ok(Some(known.clone()));
        }
        let Some(token) = session_token(&parts.headers) else { return Ok(None) };
        let Some(session) = tenancy::session::find(dashboard.db(), token).await? else { return Ok(None) };
        let csrf = csrf::session_token(token);
        let inner = Inner { user: session.user, account: session.account, csrf, session_id: session.id_hash };
        let current = CurrentUser(Arc::new(inner));
        parts.extensions.insert(current.clone());
        Ok(Some(current))
    }
}

impl FromRequestParts<Dashboard> for CurrentUser {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &Dashboard) -> Result<Self, PageError> {
        match CurrentUser::find(parts, state).await? {
            Some(current) => Ok(current),
            None => Err(PageError::signed_out(parts)),
        }
    }
}

/// Somebody, or nobody.
#[derive(Clone, Debug)]
pub struct MaybeUser(pub Option<CurrentUser>);

impl FromRequestParts<Dashboard> for MaybeUser {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &Dashboard) -> Result<Self, PageError> {
        Ok(MaybeUser(CurrentUser::find(parts, state).await?))
    }
}

/// The session cookie's value, live or not.
pub(crate) fn session_token(headers: &HeaderMap) -> Option<&str> {
    cookie(headers, SESSION_COOKIE)
}

/// The value of a cookie. Only plain characters count, so that a value can go into a `Set-Cookie` again.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs =
        headers.get_all(COOKIE).into_iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(';'));
    pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, value)| {
            *key == name && !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric())
        })
        .map(|(_, value)| value)
}

/// Starts a session for `user` and ends the one that the browser held, so that an id known before sign-in opens nothing.
pub(crate) async fn sign_in(
    dashboard: &Dashboard,
    user: &UserId,
    ip: IpAddr,
    old: &HeaderMap,
    origin: &RequestOrigin,
    headers: &mut HeaderMap,
) -> Result<(), PageError> {
    if let Some(old) = session_token(old) {
        tenancy::session::end(dashboard.db(), old).await?;
    }
    let user_agent = old.get(USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let client = Client::new(ip, user_agent);
    let new = tenancy::session::start(dashboard.db(), user, &client).await?;
    set_cookie(headers, SESSION_COOKIE, &new.token, COOKIE_SECONDS, origin.https);
    Ok(())
}

/// Adds a `Set-Cookie`; 0 seconds removes the cookie.
pub(crate) fn set_cookie(headers: &mut HeaderMap, name: &str, value: &str, seconds: u32, secure: bool) {
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.append(SET_COOKIE, value);
    }
}
