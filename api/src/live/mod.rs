//! The data plane as a signed-in person may see it: console rows as a stream (the back-fill is [`crate::manage`]'s, which asks
//! here whether the person may) and the doctor's unknown keys. It sees both planes; an app is only ever found through an
//! organisation of the person. Whoever may not see payloads is sent none.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, Request, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::stream::{self, Stream};
use http::{HeaderMap, StatusCode, header};
use realtime::Node;
use realtime::app::App;
use realtime::console::{Row, mask_ip, stat};
use realtime::ws::PeerAddr;
use serde::Deserialize;
use serde_json::{Value, json};
use tenancy::account::AccountId;
use tenancy::db::Db;
use tenancy::role::Permission;

/// The stream looks for new rows this often.
const STREAM_INTERVAL: Duration = Duration::from_millis(100);
/// Name of the dashboard's session cookie.
const SESSION_COOKIE: &str = "fanfare_session";

/// What the routes need.
#[derive(Clone, Debug)]
pub struct Live {
    /// The data plane.
    pub node: Node,
    /// Who owns what.
    pub db: Db,
}

/// Routes below `/v1` for pages of signed-in people.
pub fn router(live: Live) -> Router {
    Router::new()
        .route("/v1/apps/{id}/events/stream", get(events_stream))
        .route("/v1/apps/{id}/doctor", get(doctor))
        .layer(axum::middleware::map_response(|mut response: Response| async move {
            response.headers_mut().insert(header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
            response
        }))
        .with_state(live)
}

/// Status, code and sentence.
pub(crate) struct LiveError(pub(crate) StatusCode, pub(crate) &'static str, pub(crate) &'static str);

impl IntoResponse for LiveError {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": { "code": self.1, "message": self.2 } }))).into_response()
    }
}

const UNAUTHORIZED: LiveError = LiveError(StatusCode::UNAUTHORIZED, "unauthorized", "Sign in first.");
const NOT_FOUND: LiveError =
    LiveError(StatusCode::NOT_FOUND, "not_found", "There is no such app in your account.");
const UNAVAILABLE: LiveError =
    LiveError(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Storage can't be reached, try again.");

/// An app as one person sees it.
pub(crate) struct Watched {
    pub(crate) app: Arc<App>,
    /// They may see payloads.
    pub(crate) payloads: bool,
    session_id: String,
    account_id: AccountId,
}

/// Rows as JSON, of which a person sees the payloads or doesn't.
fn told(rows: &[Arc<Row>], payloads: bool) -> Value {
    if payloads {
        return json!(rows);
    }
    json!(rows.iter().map(|row| row.without_payload()).collect::<Vec<_>>())
}

/// The app, if the person of the request's session may see it.
pub(crate) async fn own_app(live: &Live, headers: &HeaderMap, id: &str) -> Result<Watched, LiveError> {
    let cookies =
        headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(';'));
    let token = cookies.filter_map(|c| c.trim().split_once('=')).find(|(name, _)| *name == SESSION_COOKIE);
    let (_, token) = token.ok_or(UNAUTHORIZED)?;
    let session =
        tenancy::session::find(&live.db, token).await.map_err(|_| UNAVAILABLE)?.ok_or(UNAUTHORIZED)?;
    let id: u64 = id.parse().map_err(|_| NOT_FOUND)?;
    let found =
        tenancy::membership::for_app(&live.db, &session.user.id, id).await.map_err(|_| UNAVAILABLE)?;
    let (membership, _) = found.filter(|(one, _)| one.role.allows(Permission::SeeApps)).ok_or(NOT_FOUND)?;
    let app = live.node.apps().find_by_id(id).await.map_err(|_| UNAVAILABLE)?.ok_or(NOT_FOUND)?;
    let payloads = membership.role.allows(Permission::SeePayloads);
    Ok(Watched { app, payloads, session_id: session.id_hash, account_id: membership.account.id })
}

#[derive(Deserialize)]
struct PageQuery {
    after: Option<String>,
}

async fn events_stream(
    State(live): State<Live>,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, LiveError> {
    let watched = own_app(&live, &headers, &id).await?;
    let resumed = headers.get("last-event-id").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let cursor = resumed.or(query.after).unwrap_or_else(|| watched.app.console.after(None, 1).cursor);
    // First what it is let in under, then the word that it is: an end in between is seen by one of both.
    let access = watched.app.snapshot().access.clone();
    if !tenancy::session::watches(&live.db, &watched.session_id, &watched.account_id)
        .await
        .map_err(|_| UNAVAILABLE)?
    {
        return Err(UNAUTHORIZED);
    }
    let start = (watched, cursor, None::<Value>, 0u32, live.node.name().clone());
    let events = stream::unfold(start, move |(watched, mut cursor, mut last_stat, mut rounds, node)| {
        let access = access.clone();
        async move {
            let app = watched.app.clone();
            loop {
                if app.snapshot().access != access {
                    // Who may see what has changed: the page asks again.
                    return None;
                }
                if rounds.is_multiple_of(10) {
                    let now = stat(&app);
                    if last_stat.as_ref() != Some(&now) {
                        last_stat = Some(now.clone());
                        let event = Event::default().event("stat").data(now.to_string());
                        return Some((Ok(event), (watched, cursor, last_stat, rounds + 1, node)));
                    }
                }
                rounds = rounds.wrapping_add(1);
                let page = app.console.after(Some(&cursor), 50);
                if !page.rows.is_empty() {
                    cursor = page.cursor.clone();
                    let data = json!({ "node": &*node, "rows": told(&page.rows, watched.payloads), "dropped": {}, "totals": {}, "lost": page.lost });
                    let event = Event::default().event("batch").id(page.cursor).data(data.to_string());
                    return Some((Ok(event), (watched, cursor, last_stat, rounds, node)));
                }
                tokio::time::sleep(STREAM_INTERVAL).await;
            }
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

async fn doctor(
    State(live): State<Live>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<Value>, LiveError> {
    own_app(&live, request.headers(), &id).await?;
    let viewer = request.extensions().get::<PeerAddr>().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |p| p.0);
    let attempts = live.node.unknown_keys().recent(|attempt| attempt.ip == viewer);
    let keys: Vec<Value> = attempts
        .iter()
        .map(|a| json!({ "ts": a.ts, "key": a.key, "ip": mask_ip(a.ip), "sdk": a.sdk }))
        .collect();
    Ok(Json(json!({ "unknown_keys": keys })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use realtime::console::Kind;

    #[test]
    fn rows_for_who_may_not_see_payloads_have_none_of_the_words_of_a_client() {
        let mut row = Row::new(Kind::MemberAdded, 1);
        row.channel = Some("presence-room".into());
        row.user_id = Some("canary-user".into());
        row.details = "canary-sentence".into();
        row.set_data(r#"{"name":"canary-data"}"#);
        let rows = [Arc::new(row)];
        let full = told(&rows, true).to_string();
        for one in ["canary-user", "canary-sentence", "canary-data", "presence-room"] {
            assert!(full.contains(one), "{one}");
        }
        let cut = told(&rows, false).to_string();
        assert!(
            cut.contains("presence-room") && cut.contains("member_added") && !cut.contains("canary"),
            "{cut}"
        );
    }
}
