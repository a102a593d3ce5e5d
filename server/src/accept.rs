//! The accept loop of the public port: hyper's HTTP/1 with a deadline for request heads that really fires, and upgrades.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use dashboard::{ClientAddr, OverTls};
use http::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use realtime::Node;
use realtime::ws::{self, PeerAddr};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::ServiceExt;

/// A request's head must be here within this time; a slower sender is cut off.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 * 1_024;
/// Connections that may wait to be accepted; the kernel's `net.core.somaxconn` may hold it lower.
pub(crate) const BACKLOG: i32 = 4_096;
/// After a failed accept (out of descriptors, for instance) the loop rests, instead of turning at full speed.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// Opens the public port.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// What every connection needs.
#[derive(Clone, Debug)]
pub struct Door {
    /// All routes.
    pub router: Router,
    /// For upgrades to paths that don't exist.
    pub node: Node,
    /// Believe forwarded headers.
    pub trust_proxy: bool,
}

/// Accepts until `stop` changes.
pub async fn run(listener: TcpListener, door: Door, mut stop: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream, peer.ip(), door.clone(), stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, peer: IpAddr, door: Door, mut stop: watch::Receiver<bool>) {
    let service = service_fn(move |request: http::Request<Incoming>| {
        let door = door.clone();
        async move { Ok::<Response, Infallible>(answer(request.map(axum::body::Body::new), peer, door).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        _ = stop.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection ended badly");
    }
}

async fn answer(mut request: Request, peer: IpAddr, door: Door) -> Response {
    introduce(&mut request, peer, door.trust_proxy);
    if upgrades_nowhere(&request) {
        return ws::refuse_path(door.node, request);
    }
    door.router.oneshot(request).await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// Tells the routes who is asking and how.
fn introduce(request: &mut Request, peer: IpAddr, trust_proxy: bool) {
    let forwarded =
        |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).filter(|_| trust_proxy);
    let client =
        forwarded("x-forwarded-for").and_then(|v| v.rsplit(',').next()).and_then(|v| v.trim().parse().ok());
    let client = client.unwrap_or(peer);
    let tls = forwarded("x-forwarded-proto").is_some_and(|v| v.eq_ignore_ascii_case("https"));
    let extensions = request.extensions_mut();
    extensions.insert(PeerAddr(client));
    extensions.insert(ClientAddr(client));
    if tls {
        extensions.insert(OverTls);
        extensions.insert(ws::OverTls);
    }
}

/// A WebSocket upgrade to a path that is not `/app/{key}`.
fn upgrades_nowhere(request: &Request) -> bool {
    let key = request.uri().path().strip_prefix("/app/");
    ws::is_upgrade(request.headers()) && !key.is_some_and(|key| !key.is_empty() && !key.contains('/'))
}
