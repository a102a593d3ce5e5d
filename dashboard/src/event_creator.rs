//! `POST /dash/apps/{id}/events/sign`: signs one event for the page, which then sends it to the public HTTP API itself.
//!
//! Nothing is published here and nothing about the event is checked: the API has the last word, and its answer is what the
//! page shows. The secret stays on the server; a signature is good for one body and a few minutes.

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use http::StatusCode;
use protocol::signature::{body_md5, sign_request};
use serde::Deserialize;
use serde_json::json;
use tenancy::audit::Action;

use crate::Dashboard;
use crate::acts;
use crate::error::PageError;
use crate::pages::keys;
use crate::scope::{CurrentApp, SendEvents};
use crate::session::CurrentUser;

/// The signing endpoint.
pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/dash/apps/{id}/events/sign", post(sign))
}

/// An event as the page has it; `data` is any text.
#[derive(Deserialize)]
struct Event {
    channel: String,
    event: String,
    data: String,
    socket_id: Option<String>,
}

async fn sign(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<SendEvents>,
    State(dashboard): State<Dashboard>,
    event: Result<Json<Event>, JsonRejection>,
) -> Result<Response, PageError> {
    let Json(event) = match event {
        Ok(event) => event,
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return Err(PageError::TooLarge);
        }
        Err(_) => return Err(PageError::BadForm),
    };
    let named = |text: &str| text.chars().take(200).collect::<String>();
    let details = json!({ "channel": named(&event.channel), "event": named(&event.event) });
    acts::in_app(&dashboard, &current.by(), Action::ConsoleSend, &app, &app.name, details).await;
    let key = keys::oldest(&dashboard, &app).await?;
    let mut body = json!({ "name": event.event, "channels": [event.channel], "data": event.data });
    if let Some(socket_id) = event.socket_id {
        body["socket_id"] = socket_id.into();
    }
    let body = body.to_string();
    let path = format!("/apps/{}/events", app.id);
    let timestamp = (tenancy::clock::now_ms() / 1000).to_string();
    let md5 = body_md5(body.as_bytes());
    let params = [
        ("auth_key", &*key.key),
        ("auth_timestamp", &*timestamp),
        ("auth_version", "1.0"),
        ("body_md5", &*md5),
    ];
    let signature = sign_request(key.secret.expose(), "POST", &path, &params);
    let query: Vec<String> = params.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let url = format!("{path}?{}&auth_signature={signature}", query.join("&"));
    Ok(Json(json!({ "url": url, "body": body })).into_response())
}
