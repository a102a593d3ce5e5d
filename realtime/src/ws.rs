//! The door for WebSockets: `GET /app/{key}`. The upgrade is completed first, whatever comes, since a browser can read a
//! close code but no HTTP status; then the socket goes to a shard together with the verdict about it.

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
use crate::handshake;
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
    pub(crate) fn of(request: &Request) -> IpAddr {
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
    upgrade(node, request, Ok(7), None, |_| async {
        let message = "Path not found: connect to /app/{key}".to_owned();
        Verdict::Refuse { code: CloseCode::PathNotFound, message }
    })
}

async fn connect(State(node): State<Node>, Path(key): Path<String>, request: Request) -> Response {
    let handshake = handshake::parse(request.uri().query().unwrap_or_default());
    let (protocol, sdk) = match &handshake {
        Ok(handshake) => (Ok(handshake.protocol), handshake.sdk.clone()),
        Err(_) => (Err(()), None),
    };
    let of_node = node.clone();
    upgrade(node, request, protocol, sdk, move |about: About| async move {
        let (handshake, origin) = (handshake.as_ref(), about.origin.as_deref());
        let visitor = Visitor { origin, ip: about.ip, tls: about.tls, transport: Transport::WebSocket };
        admission::decide(&of_node, &key, handshake, visitor).await
    })
}

struct About {
    ip: IpAddr,
    tls: bool,
    origin: Option<String>,
}

fn upgrade<F, V>(
    node: Node,
    mut request: Request,
    protocol: Result<u8, ()>,
    sdk: Option<String>,
    decide: F,
) -> Response
where
    F: FnOnce(About) -> V + Send + 'static,
    V: Future<Output = Verdict> + Send,
{
    if has_body(request.headers()) {
        let text = "A WebSocket upgrade has no body\n";
        return (StatusCode::BAD_REQUEST, [(header::CONNECTION, "close")], text).into_response();
    }
    let mut response = match create_response_with_body(&request.as_ref_parts(), Body::empty) {
        Ok(response) => response,
        Err(error) => return not_a_websocket(&error),
    };
    let offered = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    if offered.filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).any(|p| p.trim() == SUBPROTOCOL) {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    let ip = PeerAddr::of(&request);
    let origin =
        request.headers().get(header::ORIGIN).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
    let tls = request.extensions().get::<OverTls>().is_some();
    let on_upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let verdict = match node.echoes() {
            Some(message_bytes_max) => Verdict::Echo { message_bytes_max },
            None => decide(About { ip, tls, origin: origin.clone() }).await,
        };
        let upgraded = match on_upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => return tracing::debug!(%error, "a client left during its upgrade"),
        };
        let Some((stream, tls, early)) = take_apart(upgraded) else {
            return tracing::error!("an upgraded connection is none of the accept loop");
        };
        match stream.into_std() {
            Ok(stream) => node.next_shard().push(Command::Connect(Box::new(NewConn {
                carrier: Carrier::Socket { stream, tls, early },
                transport: Transport::WebSocket,
                verdict,
                ip,
                sdk: sdk.as_deref().and_then(Row::text).map(Into::into),
                origin: origin.as_deref().and_then(Row::text).map(Into::into),
                protocol: protocol.unwrap_or(7),
            }))),
            Err(error) => tracing::warn!(%error, "a socket can't be handed to its shard"),
        }
    });
    response
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

trait RefParts {
    fn as_ref_parts(&self) -> http::Request<()>;
}

impl RefParts for Request {
    /// The head without the body, since tungstenite wants an owned request.
    fn as_ref_parts(&self) -> http::Request<()> {
        let mut head = http::Request::new(());
        *head.method_mut() = self.method().clone();
        *head.uri_mut() = self.uri().clone();
        *head.version_mut() = self.version();
        *head.headers_mut() = self.headers().clone();
        head
    }
}
