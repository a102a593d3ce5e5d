//! The door for WebSockets: `GET /app/{key}`. The upgrade is completed first, whatever comes, since a browser can read a
//! close code but no HTTP status; then the socket goes to a shard together with the verdict about it.

pub mod direct;

use std::net::{IpAddr, Ipv4Addr};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use protocol::close::CloseCode;
use protocol::limits::INBOUND_MESSAGE_BYTES_MAX;
use tokio::net::TcpStream;
use tungstenite::error::ProtocolError;
use tungstenite::handshake::server::create_response_with_body;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};

use crate::admission::{self, Visitor};
use crate::console::Row;
use crate::handshake::{self, Handshake};
use crate::node::Node;
use crate::shard::conn::{Carrier, NewConn, Verdict};
use crate::shard::inbox::Command;
use crate::tls::TlsStream;
use crate::tls::session::Session;
use crate::transport::Transport;

/// Sub-protocol that the Swift client offers; selected back when offered, never invented.
const SUBPROTOCOL: &str = "pusher-channels-protocol-7";

/// Bytes that a parser keeps for a frame that is not complete yet; it grows with the frame and no further than its limit.
const PARSER_BUFFER_BYTES: usize = 512;

/// The parser of one socket, with the limits that every client's bytes meet. It does no I/O of its own.
pub fn parser() -> WebSocketContext {
    let config = WebSocketConfig::default()
        .read_buffer_size(PARSER_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(64 * 1_024)
        .max_message_size(Some(INBOUND_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(INBOUND_MESSAGE_BYTES_MAX));
    WebSocketContext::new(Role::Server, Some(config))
}

/// Request extension: the client's address, set by the accept loop.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddr(pub IpAddr);

impl PeerAddr {
    pub(crate) fn of<B>(request: &http::Request<B>) -> IpAddr {
        request.extensions().get::<PeerAddr>().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |peer| peer.0)
    }
}

/// Request extension: the client came over TLS, set by the accept loop.
#[derive(Clone, Copy, Debug)]
pub struct OverTls;

/// Routes of the data plane's sockets.
pub fn router(node: Node) -> Router {
    Router::new().route("/app/{key}", get(connect)).with_state(node)
}

/// Does the request ask for a WebSocket?
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    let has = |name, token: &str| {
        let values = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
        values.flat_map(|v| v.split(',')).any(|v| v.trim().eq_ignore_ascii_case(token))
    };
    has(header::UPGRADE, "websocket") && has(header::CONNECTION, "upgrade")
}

/// Answers an upgrade to any other path: the socket opens and is closed with 4005.
pub fn refuse_path(node: Node, request: Request) -> Response {
    let message = "Path not found: connect to /app/{key}";
    let handshake = Err((CloseCode::PathNotFound, message.to_owned()));
    upgrade(node, request, handshake, async move |_, _| Verdict::Refuse {
        code: CloseCode::PathNotFound,
        message: message.to_owned(),
    })
}

async fn connect(State(node): State<Node>, Path(key): Path<String>, request: Request) -> Response {
    let handshake = handshake::parse(request.uri().query().unwrap_or_default());
    let of_node = node.clone();
    upgrade(node, request, handshake, async move |handshake, about| {
        judge(&of_node, &key, &handshake, &about).await
    })
}

/// What the query of a client's address says, or what is wrong with it.
type Introduction = Result<Handshake, (CloseCode, String)>;

/// What a request says of who comes.
#[derive(Debug)]
struct About {
    ip: IpAddr,
    tls: bool,
    origin: Option<String>,
}

impl About {
    fn of<B>(request: &http::Request<B>) -> About {
        let origin = request.headers().get(header::ORIGIN);
        About {
            ip: PeerAddr::of(request),
            tls: request.extensions().get::<OverTls>().is_some(),
            origin: origin.map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned()),
        }
    }
}

fn upgrade<F, V>(node: Node, mut request: Request, handshake: Introduction, decide: F) -> Response
where
    F: FnOnce(Introduction, About) -> V + Send + 'static,
    V: Future<Output = Verdict> + Send,
{
    if has_body(request.headers()) {
        let text = "A WebSocket upgrade has no body\n";
        return (StatusCode::BAD_REQUEST, [(header::CONNECTION, "close")], text).into_response();
    }
    let response = match switch_protocols(&request, Body::empty) {
        Ok(response) => response,
        Err(error) => return not_a_websocket(&error),
    };
    let about = About::of(&request);
    let on_upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let visit = Visit::new(&handshake, &about);
        let verdict = match node.echoes() {
            Some(message_bytes_max) => Verdict::Echo { message_bytes_max },
            None => decide(handshake, about).await,
        };
        let upgraded = match on_upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => return tracing::debug!(%error, "a client left during its upgrade"),
        };
        let Some((stream, tls, early)) = take_apart(upgraded) else {
            return tracing::error!("an upgraded connection is none of the accept loop");
        };
        match stream.into_std() {
            Ok(stream) => {
                let stream = mio::net::TcpStream::from_std(stream);
                let carrier = Carrier::Socket { stream, tls, answer: Bytes::new(), early };
                visit.hand_over(&node, carrier, verdict);
            }
            Err(error) => tracing::warn!(%error, "a socket can't be handed to its shard"),
        }
    });
    response
}

/// The answer to a request that asks for a WebSocket.
fn switch_protocols<B, T>(
    request: &http::Request<B>,
    body: impl FnOnce() -> T,
) -> Result<http::Response<T>, tungstenite::Error> {
    let mut response = create_response_with_body(request, body)?;
    let offered = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    if offered.filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).any(|p| p.trim() == SUBPROTOCOL) {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    Ok(response)
}

/// What the shard is told of who comes, beside the verdict.
#[derive(Debug)]
struct Visit {
    ip: IpAddr,
    sdk: Option<Box<str>>,
    origin: Option<Box<str>>,
    protocol: u8,
}

impl Visit {
    fn new(handshake: &Introduction, about: &About) -> Visit {
        let (protocol, sdk) = match handshake {
            Ok(handshake) => (handshake.protocol, handshake.sdk.as_deref()),
            Err(_) => (7, None),
        };
        Visit {
            ip: about.ip,
            sdk: sdk.and_then(Row::text).map(Into::into),
            origin: about.origin.as_deref().and_then(Row::text).map(Into::into),
            protocol,
        }
    }

    fn hand_over(self, node: &Node, carrier: Carrier, verdict: Verdict) {
        let Visit { ip, sdk, origin, protocol } = self;
        let transport = Transport::WebSocket;
        let new = NewConn { carrier, transport, verdict, ip, sdk, origin, protocol };
        node.next_shard().push(Command::Connect(Box::new(new)));
    }
}

async fn judge(node: &Node, key: &str, handshake: &Introduction, about: &About) -> Verdict {
    let visitor = Visitor {
        origin: about.origin.as_deref(),
        ip: about.ip,
        tls: about.tls,
        transport: Transport::WebSocket,
    };
    admission::decide(node, key, handshake.as_ref(), visitor).await
}

/// The socket of an upgraded connection, its end of TLS if it has one, and what the client sent behind its request.
fn take_apart(upgraded: Upgraded) -> Option<(TcpStream, Option<Box<Session>>, Bytes)> {
    // hyper's read buffer ends here: kept, it would pin 8 KiB for the life of the socket.
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => return Some((parts.io.into_inner(), None, Bytes::copy_from_slice(&parts.read_buf))),
        Err(upgraded) => upgraded,
    };
    let parts = upgraded.downcast::<TokioIo<TlsStream>>().ok()?;
    let (stream, session, opened) = parts.io.into_inner().into_parts();
    Some((stream, Some(session), [&parts.read_buf[..], &opened[..]].concat().into()))
}

/// Behind a body nobody could say where the frames begin, and a proxy may see another request there.
fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0")
}

fn not_a_websocket(error: &tungstenite::Error) -> Response {
    match error {
        tungstenite::Error::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => (
            StatusCode::UPGRADE_REQUIRED,
            [("Sec-WebSocket-Version", "13")],
            "WebSocket version 13 is needed\n",
        )
            .into_response(),
        _ => {
            let text =
                "This address speaks WebSocket: connect with a Pusher client, for instance pusher-js\n";
            (StatusCode::BAD_REQUEST, text).into_response()
        }
    }
}
