//! Pusher's HTTP API, in the order of its reference page. Handlers parse, call a verb of the data plane, and answer; statuses
//! and sentences stand in `error`.

mod diagnose;
mod error;
pub(crate) mod events;
mod query;
mod signed;
mod users;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use realtime::Node;
use serde::de::DeserializeOwned;

use self::error::ApiError;

/// Bytes of a path that a refusal shows.
const SHOWN_PATH_BYTES: usize = 120;

/// Routes below `/apps/{id}`, and the Python SDK's way to terminate a user's connections.
pub fn router(node: Node) -> Router {
    let answer_preflight = || async { StatusCode::NO_CONTENT };
    Router::new()
        .route("/apps/{app_id}/events", post(events::publish).options(answer_preflight))
        .route("/apps/{app_id}/batch_events", post(events::publish_batch).options(answer_preflight))
        .route("/apps/{app_id}/channels", get(query::channels).options(answer_preflight))
        .route("/apps/{app_id}/channels/{channel}", get(query::channel).options(answer_preflight))
        .route("/apps/{app_id}/channels/{channel}/users", get(query::users).options(answer_preflight))
        .route("/apps/{app_id}/channels/{channel}/stats", get(query::stats).options(answer_preflight))
        .route(
            "/apps/{app_id}/channels/{channel}/events",
            post(events::publish_deprecated).options(answer_preflight),
        )
        .route(
            "/apps/{app_id}/users/{user_id}/terminate_connections",
            post(users::terminate).options(answer_preflight),
        )
        .route(
            "/users/{user_id}/terminate_connections",
            post(users::terminate_by_key).options(answer_preflight),
        )
        .route("/apps/{app_id}/connections", get(query::connections).options(answer_preflight))
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::middleware::map_response(allow_browsers))
        .with_state(node)
}

/// The answer to a path below `/apps` that is none of the API's, for the server's fallback.
pub fn not_found(request: &Request) -> Response {
    let path = protocol::json::clip(request.uri().path(), SHOWN_PATH_BYTES).0;
    let text = format!("Unknown path: the HTTP API has no {} {path}", request.method());
    ApiError::new(StatusCode::NOT_FOUND, text).into_response()
}

async fn wrong_method(request: Request) -> ApiError {
    let path = protocol::json::clip(request.uri().path(), SHOWN_PATH_BYTES).0;
    let text = match request.method() {
        &Method::GET => format!("Wrong method: {path} is for POST, this was GET"),
        &Method::POST => format!("Wrong method: {path} is for GET, this was POST"),
        other => format!("Wrong method: {path} is not for {other}"),
    };
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, text)
}

/// Parts of the path. What can't be read is refused in our words.
struct At<T>(T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for At<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<At<T>, ApiError> {
        let path: Result<Path<T>, PathRejection> = Path::from_request_parts(parts, state).await;
        path.map(|Path(value)| At(value))
            .map_err(|_| ApiError::bad_request("Invalid path: its escapes are no UTF-8"))
    }
}

/// Requests are signed, no cookie counts, so any page may read the answers.
async fn allow_browsers(method: Method, response: Response) -> impl IntoResponse {
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
