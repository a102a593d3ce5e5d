//! Pusher's HTTP API, in the order of its reference page. Handlers parse, call a verb of the data plane, and answer; statuses
//! and sentences stand in `error`.

mod diagnose;
mod error;
mod events;
mod query;
mod signed;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use http::{HeaderValue, Method, StatusCode, header};
use realtime::Node;

/// Routes below `/apps/{id}`.
pub fn router(node: Node) -> Router {
    let answer_preflight = || async { StatusCode::NO_CONTENT };
    Router::new()
        .route("/apps/{app_id}/events", post(events::publish).options(answer_preflight))
        .route("/apps/{app_id}/batch_events", post(events::publish_batch).options(answer_preflight))
        .route("/apps/{app_id}/channels", get(query::channels).options(answer_preflight))
        .route("/apps/{app_id}/channels/{channel}", get(query::channel).options(answer_preflight))
        .route("/apps/{app_id}/channels/{channel}/users", get(query::users).options(answer_preflight))
        .method_not_allowed_fallback(async || not_found())
        .layer(axum::middleware::map_response(allow_browsers))
        .with_state(node)
}

/// The answer to a path below `/apps` that is none of the API's, for the server's fallback.
pub fn not_found() -> axum::response::Response {
    error::ApiError::new(StatusCode::NOT_FOUND, "Unknown path").into_response()
}

/// Requests are signed, no cookie counts, so any page may read the answers.
async fn allow_browsers(method: Method, response: axum::response::Response) -> impl IntoResponse {
    let mut response = response;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if method == Method::OPTIONS {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("Content-Type, X-Pusher-Library"),
        );
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    }
    response
}
