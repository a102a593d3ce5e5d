//! `/cli`: the two addresses that Pusher's own command line program asks for, in its form. Point its `endpoint` here and it
//! lists apps and their credentials; whatever else it does goes to the HTTP API and the WebSocket.
//!
//! Source: pusher/cli, `api/app.go`, `api/token.go`, `api/shared.go`.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tenancy::app;
use tenancy::audit::Action;
use tenancy::membership;

use super::scope::{Granted, GrantedApp, ReadApps, RevealKeys};
use super::{Answer, Manage, acts};

pub(super) fn routes() -> Router<Manage> {
    Router::new()
        .route("/cli/apps.json", get(apps))
        .route("/cli/apps/{id}/tokens.json", get(tokens))
        .route("/cli/{*rest}", axum::routing::any(super::nothing))
}

#[derive(Serialize)]
struct CliApp {
    name: String,
    id: u64,
    cluster: String,
}

async fn apps(Granted(caller, _): Granted<ReadApps>, State(manage): State<Manage>) -> Answer<Vec<CliApp>> {
    let apps = membership::apps(&manage.db, &caller.bearer.membership).await?;
    let seen = apps.into_iter().filter(|app| caller.bearer.token.app_id.is_none_or(|only| only == app.id));
    Ok(Json(seen.map(|app| CliApp { name: app.name, id: app.id, cluster: app.cluster }).collect()))
}

#[derive(Serialize)]
struct CliToken {
    key: String,
    secret: String,
}

/// The program signs with the first one.
async fn tokens(
    GrantedApp { caller, app, .. }: GrantedApp<RevealKeys>,
    State(manage): State<Manage>,
) -> Answer<Vec<CliToken>> {
    let keys = app::keys(&manage.db, &app.account_id, app.id).await?;
    acts::often_in_app(&manage, &caller, Action::KeyReveal, &app).await;
    let token = |pair: app::AppKey| CliToken { key: pair.key, secret: pair.secret.expose().to_owned() };
    Ok(Json(keys.into_iter().map(token).collect()))
}
