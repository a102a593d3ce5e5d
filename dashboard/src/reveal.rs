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
use serde::Deserialize;
use tenancy::Secret;
use tenancy::app::{App, AppKey};

use crate::client::ClientAddr;
use crate::error::PageError;
use crate::page::{AppBar, Frame, Section, local_path};
pub(crate) use crate::proof::Ask;
use crate::scope::{CurrentApp, SeePayloads};
use crate::session::CurrentUser;
use crate::{Dashboard, acts, proof};

/// Stands in place of a secret that isn't shown.
const HIDDEN: &str = "••••••••••••••••••••";

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/dash/apps/{id}/keys/reveal", post(prove))
}

/// `pair` as this person may see it now: with its secret, or with [`HIDDEN`] in its place.
pub(crate) async fn pair(
    dashboard: &Dashboard,
    current: &CurrentUser,
    app: &App,
    pair: AppKey,
) -> Result<(AppKey, Ask), PageError> {
    let ask = proof::asked(dashboard, current).await?;
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
    ask: Ask,
    error: String,
}

#[derive(Deserialize)]
struct Proof {
    #[serde(default)]
    password: String,
    #[serde(default)]
    code: String,
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
    if let Err(refused) = proof::prove(&dashboard, &current, ip, &form.password, &form.code).await? {
        let page = RevealPage {
            frame: Frame::new(&current),
            bar: AppBar::new(&dashboard, &app, Section::Keys),
            ask: proof::wanted(&dashboard, &current).await?,
            back,
            error: refused.sentence(),
        };
        return refused.answer(&page);
    }
    Ok(Redirect::to(&back).into_response())
}
