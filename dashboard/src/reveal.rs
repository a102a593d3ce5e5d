//! Which secrets a page may hold. Who proved a short while ago who they are (by signing in, or by their password on a form
//! like this) is shown them; for everybody else the page is made without, and asks. Each showing is in the audit log.
//!
//! Signatures that a page makes with a secret are no secrets and aren't decided here.

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use tenancy::Secret;
use tenancy::app::{App, AppKey};
use tenancy::{fresh, user};

use crate::client::ClientAddr;
use crate::error::PageError;
use crate::page::{AppBar, Frame, Section, html_with, local_path};
use crate::pages::login::{too_many_sentence, whole_seconds};
use crate::scope::{CurrentApp, SeePayloads};
use crate::session::CurrentUser;
use crate::{Dashboard, acts};

/// Stands in place of a secret that isn't shown.
const HIDDEN: &str = "••••••••••••••••••••";

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/dash/apps/{id}/keys/reveal", post(prove))
}

/// How a person gets to see what a page left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Nothing is left out.
    Nothing,
    /// By their password.
    Password,
    /// They have none: by signing in anew.
    SignIn,
}

/// What a person must do before they are shown a secret.
pub(crate) async fn ask(dashboard: &Dashboard, current: &CurrentUser) -> Result<Ask, PageError> {
    let db = dashboard.db();
    Ok(match fresh::is_fresh(db, current.session_id()).await? {
        true => Ask::Nothing,
        false if fresh::has_password(db, &current.user().id).await? => Ask::Password,
        // `fanfare dev` has printed the secret on this machine's own terminal.
        false if dashboard.config().dev => Ask::Nothing,
        false => Ask::SignIn,
    })
}

/// `pair` as this person may see it now: with its secret, or with [`HIDDEN`] in its place.
pub(crate) async fn pair(
    dashboard: &Dashboard,
    current: &CurrentUser,
    app: &App,
    pair: AppKey,
) -> Result<(AppKey, Ask), PageError> {
    let ask = ask(dashboard, current).await?;
    if ask != Ask::Nothing {
        return Ok((AppKey { secret: Secret::new(HIDDEN), ..pair }, ask));
    }
    acts::shown_secrets(dashboard, &current.by(), app).await;
    Ok((pair, Ask::Nothing))
}

#[derive(Template)]
#[template(path = "reveal.html")]
struct RevealPage {
    frame: Frame,
    bar: AppBar,
    back: String,
    error: String,
}

#[derive(Deserialize)]
struct Proof {
    password: String,
    back: Option<String>,
}

async fn prove(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<SeePayloads>,
    State(dashboard): State<Dashboard>,
    ClientAddr(ip): ClientAddr,
    form: Result<Form<Proof>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let keys = format!("/dash/apps/{}/keys", app.id);
    let back = form.back.as_deref().and_then(local_path).unwrap_or(&keys).to_owned();
    let page = |error: String| RevealPage {
        frame: Frame::new(&current),
        bar: AppBar::new(&dashboard, &app, Section::Keys),
        back: back.clone(),
        error,
    };
    let email = &current.user().email;
    // The same count as at sign-in: a borrowed session is no second chance to guess.
    if let Err(wait) = dashboard.throttle().check(email, ip) {
        let mut response = html_with(StatusCode::TOO_MANY_REQUESTS, &page(too_many_sentence(wait)))?;
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        return Ok(response);
    }
    if user::check_password(dashboard.db(), email, &form.password).await?.is_none() {
        dashboard.throttle().failed(email, ip);
        let error = page("This is not your password.".to_owned());
        return html_with(StatusCode::UNPROCESSABLE_ENTITY, &error);
    }
    dashboard.throttle().succeeded(email, ip);
    fresh::note(dashboard.db(), current.session_id()).await?;
    Ok(Redirect::to(&back).into_response())
}
