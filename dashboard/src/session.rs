//! Who is signed in: the session cookie, and the extractor that a page takes to be for signed-in people only. What they may
//! do in an organisation is asked through [`crate::scope`].
//!
//! The database holds only a hash of the cookie's value; time-outs are `tenancy::session`'s business.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{COOKIE, SET_COOKIE, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use tenancy::audit::{Action, By};
use tenancy::membership::{self, Membership};
use tenancy::role::Permission;
use tenancy::session::{Client, Session};
use tenancy::user::User;
use tenancy::{pending_sign_in, second_factor};

use crate::billing_notice::BillingFrame;
use crate::client::{ClientAddr, RequestOrigin};
use crate::error::PageError;
use crate::pages::login_code;
use crate::{AppUsage, Dashboard, acts, billing_notice, csrf};

/// The cookie's name.
pub const SESSION_COOKIE: &str = "fanfare_session";
/// The cookie of who gave a password and not yet a code. It opens nothing but that question.
pub(crate) const PENDING_COOKIE: &str = "fanfare_pending";
/// How long a browser keeps the cookie, in seconds (30 days: the absolute end of a session).
const COOKIE_SECONDS: u32 = 30 * 24 * 3600;

/// The signed-in person. A handler that takes it can't be reached without a session: pages send the
/// visitor to `/login` and back, JSON endpoints answer 401.
#[derive(Clone)]
pub struct CurrentUser(Arc<Inner>);

struct Inner {
    user: User,
    memberships: Vec<Membership>,
    /// Which of them this request is about.
    here: Option<usize>,
    csrf: String,
    session_id: String,
    client: Client,
    server_admin: bool,
    email_confirmed: bool,
    /// Mail leaves this server.
    mails: bool,
    billing: Option<BillingFrame>,
    usage: Option<AppUsage>,
    second_factor: bool,
    suspended: Option<String>,
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

    /// Their place in the organisation that this request is about: of an app's page the app's, else the one they chose, else
    /// their oldest. `None` for who belongs to none.
    pub(crate) fn here(&self) -> Option<&Membership> {
        self.0.here.map(|at| &self.0.memberships[at])
    }

    /// Everything they belong to, oldest first.
    pub(crate) fn memberships(&self) -> &[Membership] {
        &self.0.memberships
    }

    /// Their place, if it allows this.
    pub(crate) fn allowed(&self, permission: Permission) -> Result<&Membership, PageError> {
        let here = self.here().ok_or(PageError::NoOrganisation)?;
        if here.is_locked {
            return Err(PageError::SecondFactorNeeded);
        }
        if here.role.allows(permission) { Ok(here) } else { Err(PageError::NotAllowed(permission)) }
    }

    /// Does their role allow this?
    pub fn may(&self, permission: Permission) -> bool {
        self.allowed(permission).is_ok()
    }

    /// Them, as the audit log names who did something.
    pub(crate) fn by(&self) -> By {
        acts::by(&self.0.user, self.0.client.clone())
    }

    /// The token that forms (`csrf`) and scripts (`X-CSRF-Token`) send back; bound to this session.
    pub fn csrf(&self) -> &str {
        &self.0.csrf
    }

    /// Names their session among all; opens nothing.
    pub fn session_id(&self) -> &str {
        &self.0.session_id
    }

    /// Do they look after this server? Pages for that take [`crate::server_admin::ServerAdmin`].
    pub fn is_server_admin(&self) -> bool {
        self.0.server_admin
    }

    /// Did a mail to their address arrive?
    pub fn email_confirmed(&self) -> bool {
        self.0.email_confirmed
    }

    /// Is a code asked of them?
    pub fn second_factor(&self) -> bool {
        self.0.second_factor
    }

    /// Does a strip remind them to confirm it? Only where the mail that says how can have reached them.
    pub(crate) fn asked_to_confirm(&self) -> bool {
        self.0.mails && !self.0.email_confirmed
    }

    /// What pages say about the billing; `None`: there is none here.
    pub fn billing(&self) -> Option<&BillingFrame> {
        self.0.billing.as_ref()
    }

    /// What the organisation uses right now, as far as the data plane knows it.
    pub(crate) fn usage(&self) -> Option<AppUsage> {
        self.0.usage
    }

    /// Why the organisation that they work in is suspended, if it is.
    pub(crate) fn suspended(&self) -> Option<&str> {
        self.0.suspended.as_deref()
    }

    /// Like the extractor, but a missing session isn't an error.
    pub async fn find(parts: &mut Parts, dashboard: &Dashboard) -> Result<Option<CurrentUser>, PageError> {
        if let Some(known) = parts.extensions.get::<CurrentUser>() {
            return Ok(Some(known.clone()));
        }
        let Some(token) = session_token(&parts.headers) else { return Ok(None) };
        let Some(session) = tenancy::session::find(dashboard.db(), token).await? else { return Ok(None) };
        let csrf = csrf::session_token(token);
        let memberships = membership::of_user(dashboard.db(), &session.user.id).await?;
        let of_app = match crate::scope::app_id(parts, dashboard).await {
            Some(id) => membership::account_of_app(dashboard.db(), id).await?,
            None => None,
        };
        let place = |account_id: &str| memberships.iter().position(|one| one.account.id == account_id);
        let chosen = of_app.as_deref().and_then(place).or_else(|| place(&session.account_id));
        let here = chosen.or((!memberships.is_empty()).then_some(0));
        let ClientAddr(ip) = ClientAddr::of(&parts.extensions);
        let client = client_of(ip, &parts.headers);
        let Session { user, id_hash: session_id, server_admin, email_confirmed, second_factor, .. } = session;
        let suspended = match here {
            Some(at) => tenancy::tenants::suspended_why(dashboard.db(), &memberships[at].account.id).await?,
            None => None,
        };
        let billing = match here {
            Some(at) => billing_notice::of(dashboard, &memberships[at].account.id).await?,
            None => None,
        };
        let usage = here.and_then(|at| dashboard.organisation_usage(&memberships[at].account.id));
        let inner = Inner {
            usage,
            user,
            memberships,
            here,
            csrf,
            session_id,
            client,
            server_admin,
            email_confirmed,
            mails: dashboard.config().mail.server.is_some(),
            billing,
            second_factor,
            suspended,
        };
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

/// What follows a first proof of who somebody is, such as their password: the page `next`, with a session; or, if their second
/// factor is on, the question for a code, without one.
pub(crate) async fn enter(
    dashboard: &Dashboard,
    user: &User,
    next: Option<&str>,
    ip: IpAddr,
    headers: &HeaderMap,
    origin: &RequestOrigin,
) -> Result<Response, PageError> {
    if second_factor::standing(dashboard.db(), &user.id).await?.is_on() {
        let token = pending_sign_in::start(dashboard.db(), &user.id).await?;
        let mut response = Redirect::to(&login_code::path(next)).into_response();
        let seconds = (pending_sign_in::LIFETIME_MS / 1_000) as u32;
        set_cookie(response.headers_mut(), PENDING_COOKIE, &token, seconds, origin.https);
        return Ok(response);
    }
    let mut response = Redirect::to(next.unwrap_or("/dash")).into_response();
    sign_in(dashboard, user, ip, headers, origin, response.headers_mut()).await?;
    Ok(response)
}

/// Starts a session for `user` and ends the one that the browser held, so that an id known before sign-in opens nothing.
pub(crate) async fn sign_in(
    dashboard: &Dashboard,
    user: &User,
    ip: IpAddr,
    old: &HeaderMap,
    origin: &RequestOrigin,
    headers: &mut HeaderMap,
) -> Result<(), PageError> {
    if let Some(old) = session_token(old) {
        tenancy::session::end(dashboard.db(), old).await?;
    }
    let client = client_of(ip, old);
    let new = tenancy::session::start(dashboard.db(), &user.id, &client).await?;
    acts::of_person(dashboard, &acts::by(user, client), Action::SignIn, Value::Null).await;
    set_cookie(headers, SESSION_COOKIE, &new.token, COOKIE_SECONDS, origin.https);
    Ok(())
}

/// Network and browser of a request, as far as they are kept.
pub(crate) fn client_of(ip: IpAddr, headers: &HeaderMap) -> Client {
    let user_agent = headers.get(USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    Client::new(ip, user_agent)
}

/// Adds a `Set-Cookie`; 0 seconds removes the cookie.
pub(crate) fn set_cookie(headers: &mut HeaderMap, name: &str, value: &str, seconds: u32, secure: bool) {
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.append(SET_COOKIE, value);
    }
}
