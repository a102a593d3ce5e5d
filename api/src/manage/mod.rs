//! The management API, `/v1`: apps, keys, people, usage, limits, billing, webhooks, events and the audit log, for programs that have a
//! token. Handlers parse, call the same verbs of `tenancy` as the pages do, and answer; what a token may is asked in `scope`,
//! refusals stand in `error`. Its document is made from the handlers (`document`), so neither has what the other lacks.
//!
//! Of the data plane it uses two things: the door for events, and the console's ring.

mod acts;
mod apps;
mod audit_log;
mod billing;
mod cli;
mod deliveries;
mod document;
mod error;
mod events;
mod idempotency;
mod input;
mod invitations;
mod keys;
mod limits;
mod members;
mod rate;
mod scope;
mod usage;
mod webhooks;
mod who;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use http::{HeaderName, HeaderValue, header};
use protocol::webhook_url::Allow;
use realtime::Node;
use serde_json::Value;
use tenancy::db::Db;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use self::error::{ErrorAnswer, ErrorFacts, Refusal};
use self::rate::Rates;

/// Bytes of a request's body: an event of 10 kB, every byte of it escaped, and its channels.
const BODY_BYTES_MAX: usize = 128 * 1_024;
/// Names the request in answers and logs.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the management API decides by, beside storage.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The public address (`FANFARE_URL`); without it, links begin with the request's scheme and `Host`.
    pub public_url: Option<String>,
    /// The cluster of this node, which apps get that name none.
    pub cluster: String,
    /// Public addresses of the clusters, by name: what is published to an app of another one must go there.
    pub cluster_urls: BTreeMap<String, String>,
    /// Where webhooks may go beside the public internet.
    pub webhook_allow: Allow,
    /// Plans are sold here.
    pub bills: bool,
}

/// The state of the routes.
#[derive(Clone, Debug)]
struct Manage {
    node: Node,
    db: Db,
    settings: Arc<Settings>,
    rates: Arc<Rates>,
}

/// What every handler gives.
type Answer<T> = Result<Json<T>, Refusal>;

/// Every operation, once: this makes the routes and the document.
fn operations() -> OpenApiRouter<Manage> {
    OpenApiRouter::with_openapi(document::skeleton())
        .routes(routes!(who::me))
        .routes(routes!(who::organisation))
        .routes(routes!(apps::list_apps, apps::create_app))
        .routes(routes!(apps::get_app, apps::update_app, apps::delete_app))
        .routes(routes!(keys::list_keys, keys::create_key))
        .routes(routes!(keys::rename_key))
        .routes(routes!(keys::revoke_key))
        .routes(routes!(events::list_events, events::publish_event))
        .routes(routes!(usage::app_usage))
        .routes(routes!(usage::usage))
        .routes(routes!(limits::limits))
        .routes(routes!(billing::billing))
        .routes(routes!(webhooks::list_endpoints, webhooks::create_endpoint))
        .routes(routes!(webhooks::get_endpoint, webhooks::update_endpoint, webhooks::delete_endpoint))
        .routes(routes!(deliveries::list_deliveries))
        .routes(routes!(deliveries::get_delivery))
        .routes(routes!(deliveries::resend_delivery))
        .routes(routes!(deliveries::recover_deliveries))
        .routes(routes!(deliveries::send_test))
        .routes(routes!(members::list_members))
        .routes(routes!(members::update_member, members::remove_member))
        .routes(routes!(invitations::list_invitations, invitations::create_invitation))
        .routes(routes!(invitations::revoke_invitation))
        .routes(routes!(audit_log::list_audit))
}

/// The document of the API, OpenAPI 3.1.
pub fn document() -> Value {
    document::complete(operations().into_openapi())
}

/// Routes below `/v1` and `/cli`. Some below `/v1` are [`crate::live`]'s.
pub fn router(node: Node, db: Db, settings: Settings) -> Router {
    let manage = Manage { node, db, settings: Arc::new(settings), rates: Arc::default() };
    let (operations, api) = operations().split_for_parts();
    let text = document::complete(api).to_string();
    let json = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "public, max-age=300")];
    operations
        .layer(axum::middleware::from_fn_with_state(manage.clone(), idempotency::once))
        .merge(cli::routes())
        .route("/v1/openapi.json", get(async move || (json, text.clone())))
        .method_not_allowed_fallback(async || Refusal::method())
        .route("/v1", any(nothing))
        .route("/v1/{*rest}", any(nothing))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(axum::middleware::from_fn(finish))
        .with_state(manage)
}

async fn nothing() -> Refusal {
    Refusal::not_found("There is nothing at this address. /v1/openapi.json has what there is.")
}

/// Gives each answer its request id, and refusals their body.
async fn finish(request: Request, next: Next) -> Response {
    let request_id = format!("req_{}", Uuid::now_v7().simple());
    let mut response = next.run(request).await;
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        let Refusal { status, code, message, field, .. } = refusal;
        let error = ErrorFacts { code, message, field, request_id: request_id.clone() };
        let body = (status, Json(ErrorAnswer { error })).into_response();
        let headers = std::mem::take(response.headers_mut());
        response = body;
        for (name, value) in &headers {
            if *name != header::CONTENT_LENGTH && *name != header::CONTENT_TYPE {
                response.headers_mut().insert(name, value.clone());
            }
        }
    }
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, HeaderValue::from_str(&request_id).unwrap_or(HeaderValue::from_static("-")));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
