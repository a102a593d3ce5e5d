//! `/login/with/{provider}`: signing in with an account elsewhere, linking one, and unlinking. An address that somebody has here
//! already is never taken over: they sign in as before, and link.
//!
//! Everything between the two requests is in a cookie of this browser: the state, the verifier and what was wanted are derived
//! from it, and the second request uses it up.

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;
use subtle::ConstantTimeEq;
use tenancy::audit::Action;
use tenancy::identity::{self, Elsewhere, LinkError, Linked, Provider, UnlinkError};
use tenancy::invitation::{self, AcceptError, Invitation, JoinError};
use tenancy::user::SignUpError;

use crate::client::{ClientAddr, RequestOrigin};
use crate::csrf;
use crate::error::PageError;
use crate::page::{html_with, local_path, moment};
use crate::pages::invite::FULL;
use crate::proof::{self, Ask};
use crate::session::{self, CurrentUser, MaybeUser, cookie, set_cookie};
use crate::with::{With, WithError};
use crate::{Dashboard, SignUpMode, acts};

/// The cookie of who was sent to a provider.
const COOKIE: &str = "fanfare_with";
/// Where they wanted to go: a local path in hex.
const NEXT_COOKIE: &str = "fanfare_with_next";
/// They may take this long there, in seconds.
const COOKIE_SECONDS: u32 = 600;

/// Before sign-in.
pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/login/with/{provider}", post(enter))
        .route("/login/with/{provider}/callback", get(back))
}

/// For who is signed in.
pub(crate) fn signed_in_routes() -> Router<Dashboard> {
    Router::new()
        .route("/dash/account/with/{provider}/link", post(link))
        .route("/dash/account/with/{provider}/unlink", post(unlink))
}

/// A provider on the account's page.
pub(crate) struct Way {
    pub(crate) provider: Provider,
    pub(crate) linked: Option<Linked>,
}

impl Way {
    /// Those that this server has, and those that the person still has linked.
    pub(crate) async fn all(dashboard: &Dashboard, current: &CurrentUser) -> Result<Vec<Way>, PageError> {
        let mut linked = identity::list(dashboard.db(), &current.user().id).await?;
        let mut ways: Vec<Way> = dashboard
            .config()
            .with
            .iter()
            .map(|with| Way { provider: with.provider, linked: None })
            .collect();
        for way in &mut ways {
            let at = linked.iter().position(|one| one.provider == way.provider);
            way.linked = at.map(|at| linked.swap_remove(at));
        }
        ways.extend(linked.into_iter().map(|one| Way { provider: one.provider, linked: Some(one) }));
        Ok(ways)
    }

    pub(crate) fn since(&self) -> String {
        self.linked.as_ref().map(|one| moment(one.since_ms)).unwrap_or_default()
    }
}

/// A provider by its name in the address, if it is set up here.
fn provider<'a>(dashboard: &'a Dashboard, name: &str) -> Result<&'a With, PageError> {
    let found = dashboard.config().with.iter().find(|with| with.provider.name() == name);
    found.ok_or(PageError::NotFound)
}

fn redirect_uri(with: &With, origin: &RequestOrigin) -> String {
    format!("{}/login/with/{}/callback", origin.endpoint.origin(), with.provider.name())
}

/// What both requests derive from the cookie.
struct Attempt<'a> {
    secret: &'a str,
    with: &'a With,
}

impl Attempt<'_> {
    /// `session_id`: who links; empty: who signs in.
    fn state(&self, session_id: &str) -> String {
        let purpose = format!("fanfare with, state, {}, {session_id}", self.with.provider.name());
        csrf::derive(self.secret, purpose.as_bytes())
    }

    fn verifier(&self) -> String {
        csrf::derive(self.secret, b"fanfare with, verifier")
    }
}

fn set_out(with: &With, origin: &RequestOrigin, session_id: &str, next: Option<&str>) -> Response {
    let secret = hex::encode(rand::random::<[u8; 32]>());
    let attempt = Attempt { secret: &secret, with };
    let page = with.page(&redirect_uri(with, origin), &attempt.state(session_id), &attempt.verifier());
    let mut response = Redirect::to(&page).into_response();
    set_cookie(response.headers_mut(), COOKIE, &secret, COOKIE_SECONDS, origin.https);
    let next = hex::encode(next.unwrap_or_default());
    let seconds = if next.is_empty() { 0 } else { COOKIE_SECONDS };
    set_cookie(response.headers_mut(), NEXT_COOKIE, &next, seconds, origin.https);
    response
}

#[derive(Deserialize)]
struct Wanted {
    next: Option<String>,
}

async fn enter(
    State(dashboard): State<Dashboard>,
    Path(name): Path<String>,
    origin: RequestOrigin,
    form: Result<Form<Wanted>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(wanted) = form?;
    let with = provider(&dashboard, &name)?;
    Ok(set_out(with, &origin, "", wanted.next.as_deref().and_then(local_path)))
}

fn account(done: &str) -> Response {
    Redirect::to(&format!("/dash/account?done={done}#with")).into_response()
}

async fn link(
    current: CurrentUser,
    State(dashboard): State<Dashboard>,
    Path(name): Path<String>,
    origin: RequestOrigin,
) -> Result<Response, PageError> {
    let with = provider(&dashboard, &name)?;
    // A borrowed session must not get a way in of its own.
    if proof::asked(&dashboard, &current).await? != Ask::Nothing {
        return Ok(account("sign-in-anew"));
    }
    Ok(set_out(with, &origin, current.session_id(), None))
}

async fn unlink(
    current: CurrentUser,
    State(dashboard): State<Dashboard>,
    Path(name): Path<String>,
) -> Result<Response, PageError> {
    let provider = Provider::parse(&name).ok_or(PageError::NotFound)?;
    if proof::asked(&dashboard, &current).await? != Ask::Nothing {
        return Ok(account("sign-in-anew"));
    }
    match identity::unlink(dashboard.db(), &current.user().id, provider).await {
        Ok(()) => {
            let details = json!({ "provider": provider.name() });
            acts::of_person(&dashboard, &current.by(), Action::IdentityUnlink, details).await;
            Ok(account("unlinked"))
        }
        Err(UnlinkError::OnlyWay) => Ok(account("only-way")),
        Err(UnlinkError::NotFound) => Err(PageError::NotFound),
        Err(UnlinkError::Db(error)) => Err(error.into()),
    }
}

/// Why nobody was signed in, on a page of its own.
#[derive(Template)]
#[template(path = "with.html")]
struct WithPage {
    title: String,
    text: String,
    onward: (String, &'static str),
}

fn told(
    status: StatusCode,
    title: String,
    text: String,
    onward: (&str, &'static str),
) -> Result<Response, PageError> {
    html_with(status, &WithPage { title, text, onward: (onward.0.to_owned(), onward.1) })
}

#[derive(Deserialize)]
struct Callback {
    #[serde(default)]
    code: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    error: String,
}

/// Somebody comes back from a provider. Whatever happens, the attempt is used up.
async fn back(
    MaybeUser(current): MaybeUser,
    State(dashboard): State<Dashboard>,
    Path(name): Path<String>,
    ClientAddr(ip): ClientAddr,
    Query(callback): Query<Callback>,
    origin: RequestOrigin,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let with = provider(&dashboard, &name)?;
    let secret = cookie(&headers, COOKIE).filter(|value| value.len() == 64).unwrap_or_default();
    let attempt = Attempt { secret, with };
    let next = cookie(&headers, NEXT_COOKIE).and_then(|text| hex::decode(text).ok());
    let next = next.and_then(|bytes| String::from_utf8(bytes).ok());
    let next = next.as_deref().and_then(local_path);
    let is = |state: &str| bool::from(state.as_bytes().ct_eq(callback.state.as_bytes()));
    let links = current.as_ref().filter(|current| is(&attempt.state(current.session_id())));
    let title = with.provider.title();
    let outcome = if secret.is_empty() || !(links.is_some() || is(&attempt.state(""))) {
        told(
            StatusCode::BAD_REQUEST,
            format!("Signing in with {title} didn't work"),
            "It was begun in another browser, too long ago, or finished already. Nothing was changed."
                .to_owned(),
            ("/login", "Start again"),
        )
    } else if !callback.error.is_empty() || callback.code.is_empty() {
        let onward = if links.is_some() {
            ("/dash/account", "Your account")
        } else {
            ("/login", "Other ways to sign in")
        };
        told(
            StatusCode::FORBIDDEN,
            format!("{title} didn't say who you are"),
            format!("You said no there, or {title} did. Nothing was changed."),
            onward,
        )
    } else {
        match with.person(&callback.code, &redirect_uri(with, &origin), &attempt.verifier()).await {
            Ok(account) => match links {
                Some(current) => linked(&dashboard, current, &account).await,
                None => entered(&dashboard, &account, next, ip, &headers, &origin).await,
            },
            Err(error) => failed(with, error),
        }
    };
    let mut response = outcome.unwrap_or_else(IntoResponse::into_response);
    for name in [COOKIE, NEXT_COOKIE] {
        set_cookie(response.headers_mut(), name, "", 0, origin.https);
    }
    Ok(response)
}

fn failed(with: &With, error: WithError) -> Result<Response, PageError> {
    let title = with.provider.title();
    match error {
        WithError::NoEmail => told(
            StatusCode::FORBIDDEN,
            format!("{title} has no confirmed address of you"),
            format!("Confirm your primary e-mail address at {title}, then try again. Nothing was changed."),
            ("/login", "Back to sign-in"),
        ),
        WithError::Refused => told(
            StatusCode::BAD_REQUEST,
            format!("Signing in with {title} didn't work"),
            format!(
                "{title} refused what it had just given: it was used already, or the settings of this server are wrong. Start again; if it stays, tell whoever runs this server."
            ),
            ("/login", "Start again"),
        ),
        WithError::Away(reason) => {
            tracing::warn!(provider = with.provider.name(), reason, "a provider of sign-ins gave no person");
            told(
                StatusCode::BAD_GATEWAY,
                format!("{title} doesn't answer"),
                "Try again in a minute, or sign in with your password. Nothing was changed.".to_owned(),
                ("/login", "Back to sign-in"),
            )
        }
    }
}

async fn linked(
    dashboard: &Dashboard,
    current: &CurrentUser,
    account: &Elsewhere,
) -> Result<Response, PageError> {
    let title = account.provider.title();
    let sentence = match identity::link(dashboard.db(), &current.user().id, account).await {
        Ok(()) => {
            let details = json!({ "provider": account.provider.name() });
            acts::of_person(dashboard, &current.by(), Action::IdentityLink, details).await;
            return Ok(self::account("linked"));
        }
        Err(LinkError::Taken) => format!(
            "This {title} account belongs to another person here. Sign in as them and unlink it first."
        ),
        Err(LinkError::Another) => format!("You have another {title} account linked. Unlink it first."),
        Err(LinkError::Db(error)) => return Err(error.into()),
    };
    told(StatusCode::CONFLICT, format!("{title} wasn't linked"), sentence, ("/dash/account", "Your account"))
}

/// Signs in who has this account linked, or signs them up.
async fn entered(
    dashboard: &Dashboard,
    account: &Elsewhere,
    next: Option<&str>,
    ip: std::net::IpAddr,
    headers: &HeaderMap,
    origin: &RequestOrigin,
) -> Result<Response, PageError> {
    let (db, title) = (dashboard.db(), account.provider.title());
    if let Some(user) = identity::find(db, account.provider, &account.subject).await? {
        return session::enter(dashboard, &user, next, ip, headers, origin).await;
    }
    let taken = || {
        told(
            StatusCode::CONFLICT,
            "You already have an account".to_owned(),
            format!(
                "Somebody has {} here. If it is you, sign in as you did before, then link {title} on your account's page.",
                account.email
            ),
            ("/login?next=/dash/account", "Sign in"),
        )
    };
    if tenancy::user::exists(db, &account.email).await? {
        return taken();
    }
    let mode = dashboard.signup().await?;
    let token = next.and_then(|path| path.strip_prefix("/invite/")).filter(|_| mode != SignUpMode::Closed);
    if let Some(token) = token
        && let Some((invitation, _)) = invitation::find_by_token(db, token).await?
    {
        return joined(dashboard, account, token, &invitation, ip, headers, origin).await;
    }
    if mode != SignUpMode::Open {
        return told(
            StatusCode::FORBIDDEN,
            "Sign-up is closed".to_owned(),
            format!(
                "Nobody here has this {title} account. Ask whoever runs this server for an invitation to {}.",
                account.email
            ),
            ("/login", "Back to sign-in"),
        );
    }
    match identity::sign_up(db, account, dashboard.config().signup_plan).await {
        Ok((user, _)) => {
            let by = acts::by(&user, session::client_of(ip, headers));
            let details = json!({ "provider": account.provider.name() });
            acts::of_person(dashboard, &by, Action::SignUp, details).await;
            let next = next.unwrap_or("/dash/apps/new");
            session::enter(dashboard, &user, Some(next), ip, headers, origin).await
        }
        Err(SignUpError::Db(error)) => Err(error.into()),
        // Somebody was quicker.
        Err(_) => taken(),
    }
}

/// Signs up who came from the page of their invitation, into the organisation that asks them in.
async fn joined(
    dashboard: &Dashboard,
    account: &Elsewhere,
    token: &str,
    invitation: &Invitation,
    ip: std::net::IpAddr,
    headers: &HeaderMap,
    origin: &RequestOrigin,
) -> Result<Response, PageError> {
    let title = account.provider.title();
    let page = format!("/invite/{token}");
    let refused = |sentence: String| {
        let onward = (page.as_str(), "Back to the invitation");
        told(StatusCode::CONFLICT, "You did not join".to_owned(), sentence, onward)
    };
    let client = session::client_of(ip, headers);
    match invitation::sign_up_with(dashboard.db(), client, token, account).await {
        Ok((user, _)) => session::enter(dashboard, &user, Some("/dash"), ip, headers, origin).await,
        Err(JoinError::Accept(AcceptError::Db(error)) | JoinError::SignUp(SignUpError::Db(error))) => {
            Err(error.into())
        }
        Err(JoinError::Accept(AcceptError::Full)) => refused(FULL.to_owned()),
        Err(JoinError::Accept(AcceptError::NotValid))
            if tenancy::user::normal_email(&account.email).as_deref() != Some(&invitation.email) =>
        {
            refused(format!(
                "The invitation is for {}, and your {title} account has {}. Join with a password instead, or ask for an invitation to the other address. Nothing was changed.",
                invitation.email, account.email
            ))
        }
        // Used or taken back a moment ago.
        Err(JoinError::Accept(AcceptError::NotValid)) => Err(PageError::InvitationNotFound),
        // Somebody was quicker.
        Err(JoinError::SignUp(_)) => {
            refused(format!("Somebody has {} here by now. Sign in to join.", account.email))
        }
    }
}
