//! The doors for clients that can't hold a WebSocket: pusher-js' `xhr_streaming` and `xhr_polling`, and SockJS. Frames to the
//! client are lines in the answers of its receive requests, frames from it are the bodies of its sends.
//!
//! Nothing is decided here: `session` asks the same admission as `ws` does, and hands the connection to a shard, which
//! treats it as any other. What differs is what its frames travel by, an `outbox`. Why so: docs/decisions/0004.

mod cors;
mod line;
pub(crate) mod outbox;
mod receive;
pub(crate) mod session;
mod timeline;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderValue, StatusCode, header};

use self::receive::Dialect;
use self::session::{Caller, Overloaded, Refused, Session, SessionId};
use crate::node::Node;
use crate::shard::inbox::Received;
use crate::transport::Transport;

/// Bytes in the body of one send: the largest message with every character of it escaped as six, and then some, since SockJS
/// clients put several messages into one.
const SEND_BYTES_MAX: usize = 256 * 1_024;
/// A send must be here within this time.
const SEND_WITHIN: Duration = Duration::from_secs(10);

/// Routes of the HTTP fallbacks, and of pusher-js' statistics.
pub fn router(node: Node) -> Router {
    Router::new()
        .route("/pusher/app/{key}/{server}/{session}/xhr_streaming", post(streaming))
        .route("/pusher/app/{key}/{server}/{session}/xhr", post(polling))
        .route("/pusher/app/{key}/{server}/{session}/xhr_send", post(send))
        .route("/pusher/info", get(info))
        .route("/pusher/{server}/{session}/xhr_streaming", post(sockjs_streaming))
        .route("/pusher/{server}/{session}/xhr", post(sockjs_polling))
        .route("/pusher/{server}/{session}/xhr_send", post(sockjs_send))
        .merge(timeline::router())
        .layer(middleware::from_fn(cors::allow))
        .with_state(node)
}

type OfApp = Path<(String, String, String)>;
type OfSockJs = Path<(String, String)>;

async fn streaming(
    State(node): State<Node>,
    Path((key, server, session)): OfApp,
    request: Request,
) -> Response {
    let Some(id) = SessionId::new(&key, &server, &session) else { return not_found() };
    match find_or_open(&node, &id, Transport::XhrStreaming, request).await {
        Ok(session) => stream(&session, Dialect::Pusher),
        Err(refused) => refusal(&refused),
    }
}

async fn polling(
    State(node): State<Node>,
    Path((key, server, session)): OfApp,
    request: Request,
) -> Response {
    let Some(id) = SessionId::new(&key, &server, &session) else { return not_found() };
    match find_or_open(&node, &id, Transport::XhrPolling, request).await {
        Ok(session) => lines(receive::poll(session.outbox.attach(), Dialect::Pusher).await),
        Err(refused) => refusal(&refused),
    }
}

async fn send(State(node): State<Node>, Path((key, server, session)): OfApp, request: Request) -> Response {
    take_in(&node, SessionId::new(&key, &server, &session), request).await.into_response()
}

async fn sockjs_streaming(
    State(node): State<Node>,
    Path((server, session)): OfSockJs,
    request: Request,
) -> Response {
    let Some(id) = SessionId::new("", &server, &session) else { return not_found() };
    match find_or_open_nameless(&node, &id, &request) {
        Ok(session) => stream(&session, Dialect::SockJs),
        Err(refused) => refusal(&refused),
    }
}

async fn sockjs_polling(
    State(node): State<Node>,
    Path((server, session)): OfSockJs,
    request: Request,
) -> Response {
    let Some(id) = SessionId::new("", &server, &session) else { return not_found() };
    match find_or_open_nameless(&node, &id, &request) {
        Ok(session) => lines(receive::poll(session.outbox.attach(), Dialect::SockJs).await),
        Err(refused) => refusal(&refused),
    }
}

async fn sockjs_send(
    State(node): State<Node>,
    Path((server, session)): OfSockJs,
    request: Request,
) -> Response {
    take_in(&node, SessionId::new("", &server, &session), request).await.into_response()
}

/// What a SockJS client asks first. It is not offered a WebSocket: who can hold one has no use for SockJS.
async fn info() -> Response {
    let entropy = rand::random::<u32>();
    let body =
        format!(r#"{{"websocket":false,"origins":["*:*"],"cookie_needed":false,"entropy":{entropy}}}"#);
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body).into_response()
}

async fn find_or_open(
    node: &Node,
    id: &SessionId,
    transport: Transport,
    request: Request,
) -> Result<Arc<Session>, Refused> {
    if let Some(session) = node.sessions().find(id) {
        return Ok(session);
    }
    let caller = Caller::of(&request);
    let (head, _) = request.into_parts();
    session::open(node, id, transport, head.uri.query().unwrap_or_default(), &caller).await
}

fn find_or_open_nameless(node: &Node, id: &SessionId, request: &Request) -> Result<Arc<Session>, Refused> {
    match node.sessions().find(id) {
        Some(session) => Ok(session),
        None => session::open_nameless(node, id, Caller::of(request)),
    }
}

/// A send: 204 when it was carried out, whatever came of it, since clients look at no answer.
async fn take_in(node: &Node, id: Option<SessionId>, request: Request) -> StatusCode {
    let Some(session) = id.and_then(|id| node.sessions().find(&id)) else { return StatusCode::NOT_FOUND };
    session.outbox.touch();
    let body = axum::body::to_bytes(request.into_body(), SEND_BYTES_MAX);
    let (received, status) = match tokio::time::timeout(SEND_WITHIN, body).await {
        Err(_) => return StatusCode::REQUEST_TIMEOUT,
        Ok(Err(_)) => (Received::TooLarge, StatusCode::PAYLOAD_TOO_LARGE),
        Ok(Ok(body)) => match line::messages(&body) {
            Some(messages) if messages.is_empty() => {
                session.outbox.ask();
                return StatusCode::NO_CONTENT;
            }
            Some(messages) => (Received::Messages(messages), StatusCode::NO_CONTENT),
            None => (Received::Unreadable, StatusCode::BAD_REQUEST),
        },
    };
    match session.receive(node, received).await {
        Ok(()) => status,
        Err(Overloaded) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn stream(session: &Session, dialect: Dialect) -> Response {
    lines(Body::new(receive::Stream::new(session.outbox.attach(), dialect)))
}

/// A refusal looks like a session that ends at once: the client then knows the close code.
fn refusal((code, message): &Refused) -> Response {
    let mut out = line::OPEN.to_vec();
    line::push_close(&mut out, code.code(), message);
    lines(out)
}

fn lines(body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "application/javascript; charset=UTF-8"),
        // No cache, no proxy and no compressor may keep a line back.
        (header::CACHE_CONTROL, "no-store, no-transform"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn not_found() -> Response {
    StatusCode::NOT_FOUND.into_response()
}
