//! `POST /dash/rt/auth`: lets a signed-in page join the live channels of its own apps, and no others.
//!
//! The channels live on the system app; who may join one is decided here alone, by the person's role in the app's
//! organisation: whoever may not see payloads gets channels without them.

use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Form, Json, Router};
use http::StatusCode;
use protocol::signature::channel_auth;
use protocol::socket_id::SocketId;
use serde::Deserialize;
use serde_json::json;
use tenancy::role::Permission;
use tenancy::session;

use crate::Dashboard;
use crate::error::PageError;
use crate::session::CurrentUser;

/// The groups that a page may listen to: four of rows, one of numbers.
const GROUPS: [&str; 6] = ["conn", "sub", "msg", "err", "hook", "stat"];

/// The endpoint that pusher-js is given as `channelAuthorization`.
pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/dash/rt/auth", post(authorize))
}

#[derive(Deserialize)]
struct Request {
    socket_id: String,
    channel_name: String,
}

async fn authorize(
    current: CurrentUser,
    State(dashboard): State<Dashboard>,
    form: Result<Form<Request>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(request) = form?;
    // An app of somebody else is refused like one that doesn't exist.
    let Some((app_id, needed)) = app_of(&request.channel_name) else { return Ok(refused()) };
    let found = tenancy::membership::for_app(dashboard.db(), &current.user().id, app_id).await?;
    let allowed = found.filter(|(membership, _)| membership.role.allows(needed));
    let Some((membership, _)) = allowed else { return Ok(refused()) };
    if SocketId::parse(&request.socket_id).is_none() {
        return Ok(refused());
    }
    // Before the signature leaves: the end of this session must find what it opened.
    if !session::watches(dashboard.db(), current.session_id(), &membership.account.id).await? {
        return Ok(refused());
    }
    let system = dashboard.system();
    let signature = channel_auth(system.secret.expose(), &request.socket_id, &request.channel_name, None);
    Ok(Json(json!({ "auth": format!("{}:{signature}", system.key) })).into_response())
}

/// The app whose console a channel carries, and what one must be allowed: `private-dash-app-{id}-{group}` has payloads,
/// `private-dash-meta-{id}-{group}` has none; the numbers are no payload.
fn app_of(channel: &str) -> Option<(u64, Permission)> {
    let (kind, rest) = channel.strip_prefix("private-dash-")?.split_once('-')?;
    let (id, group) = rest.split_once('-')?;
    let needed = match (kind, group) {
        ("app", "stat") | ("meta", _) => Permission::SeeApps,
        ("app", _) => Permission::SeePayloads,
        _ => return None,
    };
    let canonical = !id.starts_with('0') && id.bytes().all(|b| b.is_ascii_digit());
    id.parse().ok().filter(|_| canonical && GROUPS.contains(&group)).map(|id| (id, needed))
}

fn refused() -> Response {
    let body =
        json!({ "error": { "code": "forbidden", "message": "This session may not join that channel." } });
    (StatusCode::FORBIDDEN, Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::{Permission, app_of};

    #[test]
    fn only_the_groups_of_a_numbered_app_are_channels_of_the_console() {
        assert_eq!(app_of("private-dash-app-1001-msg"), Some((1001, Permission::SeePayloads)));
        assert_eq!(app_of("private-dash-app-1001-hook"), Some((1001, Permission::SeePayloads)));
        assert_eq!(app_of("private-dash-app-1001-stat"), Some((1001, Permission::SeeApps)));
        assert_eq!(app_of("private-dash-meta-1001-msg"), Some((1001, Permission::SeeApps)));
        for bad in [
            "private-dash-app-1001-hooks",
            "private-dash-app-1001-msg-x",
            "private-dash-app-01001-msg",
            "private-dash-app-+1001-msg",
            "private-dash-app--msg",
            "private-dash-app-1001",
            "presence-dash-app-1001-msg",
            "private-dash-org-1001-msg",
            "orders",
            "",
        ] {
            assert_eq!(app_of(bad), None, "{bad}");
        }
    }
}
