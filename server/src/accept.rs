//! The accept loop of the public port: TLS if it has a certificate, then hyper's HTTP/1 with a deadline for request heads that
//! really fires, and upgrades. A plain upgrade as nearly all clients send it needs no HTTP server ([`realtime::ws::direct`]). Who speaks TLS to a plain port, or the other way round, finds out.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use dashboard::{ClientAddr, OverTls};
use http::{HeaderValue, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use realtime::Node;
use realtime::tls::TlsStream;
use realtime::ws::direct::{self, Head};
use realtime::ws::{self, PeerAddr};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower::ServiceExt;

use crate::tls::Tls;

/// The first byte of a request's head must be here within this time, and the whole head within the same from then on; a
/// slower sender is cut off.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 * 1_024;
/// A handshake must be done within this time. What one holds meanwhile is bounded by itself: 80 KiB of messages.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The first byte of a TLS connection: a handshake record.
const TLS_HANDSHAKE: u8 = 0x16;
/// Between two lines of the log about clients that speak TLS to a plain port.
const HINT_EVERY: Duration = Duration::from_secs(60);
const PLAIN_REFUSED: &str =
    "This port speaks TLS, and the request came without it: use https:// (and wss:// for WebSockets)\n";
/// Connections that may wait to be accepted; the kernel's `net.core.somaxconn` may hold it lower.
pub(crate) const BACKLOG: i32 = 4_096;
/// After a failed accept (out of descriptors, for instance) the loop rests, instead of turning at full speed.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// The public port. What it accepts is watched by nobody yet: most connections become a shard's at once.
#[derive(Debug)]
pub struct Listener(AsyncFd<mio::net::TcpListener>);

impl Listener {
    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().local_addr()
    }

    async fn accept(&self) -> io::Result<(mio::net::TcpStream, SocketAddr)> {
        loop {
            if let Ok(accepted) = self.0.readable().await?.try_io(|port| port.get_ref().accept()) {
                return accepted;
            }
        }
    }
}

/// Opens the public port. Errors: also outside of a runtime, which watches it.
#[expect(
    deprecated,
    reason = "its successor has the caller promise in `unsafe` what mio's listener keeps: one descriptor, its own"
)]
pub fn listen(address: SocketAddr) -> io::Result<Listener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    AsyncFd::new(mio::net::TcpListener::from_std(socket.into())).map(Listener)
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
    /// TLS of the port; `None`: it is plain.
    pub tls: Option<Tls>,
}

/// How a connection came.
#[derive(Clone, Copy, Debug)]
struct Origin {
    ip: IpAddr,
    tls: bool,
}

/// Accepts until `stop` changes.
pub async fn run(listener: Listener, door: Door, mut stop: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                tokio::spawn(serve(stream, peer.ip(), door.clone(), stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

async fn serve(stream: mio::net::TcpStream, ip: IpAddr, door: Door, mut stop: watch::Receiver<bool>) {
    let Some(tls) = door.tls.clone() else {
        let origin = Origin { ip, tls: false };
        let left = tokio::select! {
            left = take_upgrade(stream, origin, &door) => left,
            _ = stop.changed() => return,
        };
        return match left {
            Ok(Some(stream)) => serve_http(stream, origin, door, stop).await,
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "a connection ended before its first request"),
        };
    };
    let stream = match TcpStream::from_std(stream.into()) {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!(%error, "a connection can't be watched; it is closed"),
    };
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, shake_hands(stream, tls)) => shaken,
        _ = stop.changed() => return,
    };
    match shaken {
        Ok(Ok(First::Tls(stream))) => serve_http(stream, Origin { ip, tls: true }, door, stop).await,
        Ok(Ok(First::Plain(stream))) => refuse_plain(stream).await,
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

/// Takes the short way with an ordinary upgrade. Gives every other connection back, with nothing of it read.
async fn take_upgrade(
    stream: mio::net::TcpStream,
    origin: Origin,
    door: &Door,
) -> io::Result<Option<TcpStream>> {
    let mut bytes = [0; direct::HEAD_BYTES_MAX];
    let stream = match stream.peek(&mut bytes) {
        Ok(length) => match admit(&bytes[..length], stream, origin, door).await {
            Some(stream) => return TcpStream::from_std(stream.into()).map(Some),
            None => return Ok(None),
        },
        // Its request is still on the way.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => TcpStream::from_std(stream.into())?,
        Err(error) => return Err(error),
    };
    let length = tokio::time::timeout(HEAD_TIMEOUT, stream.peek(&mut bytes)).await??;
    if Head::parse(&bytes[..length]).is_none() {
        return Ok(Some(stream));
    }
    let stream = mio::net::TcpStream::from_std(stream.into_std()?);
    let left = admit(&bytes[..length], stream, origin, door).await;
    left.map(|stream| TcpStream::from_std(stream.into())).transpose()
}

/// Hands a connection to a shard if its first bytes are an upgrade; else gives it back.
async fn admit(
    bytes: &[u8],
    stream: mio::net::TcpStream,
    origin: Origin,
    door: &Door,
) -> Option<mio::net::TcpStream> {
    let Some(mut head) = Head::parse(bytes) else { return Some(stream) };
    introduce(&mut head.request, origin, door.trust_proxy);
    head.admit(&door.node, stream).await.err()
}

/// What a client of a TLS port turned out to speak.
enum First {
    Tls(TlsStream),
    Plain(TcpStream),
}

async fn shake_hands(stream: TcpStream, tls: Tls) -> io::Result<First> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ if first[0] == TLS_HANDSHAKE => TlsStream::accept(stream, tls.config).await.map(First::Tls),
        _ => Ok(First::Plain(stream)),
    }
}

fn http() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    builder
}

async fn serve_http<I>(io: I, origin: Origin, door: Door, mut stop: watch::Receiver<bool>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: http::Request<Incoming>| {
        let door = door.clone();
        async move { Ok::<Response, Infallible>(answer(request.map(axum::body::Body::new), origin, door).await) }
    });
    let mut connection = http().serve_connection(TokioIo::new(io), service).with_upgrades();
    let ended = tokio::select! {
        ended = &mut connection => ended,
        _ = stop.changed() => {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection ended badly");
        let unread = connection.into_parts().map(|parts| parts.read_buf).unwrap_or_default();
        if !origin.tls && error.is_parse() && unread.first() == Some(&TLS_HANDSHAKE) {
            hint_at_tls();
        }
    }
}

/// Answers one request that came without TLS.
async fn refuse_plain(stream: TcpStream) {
    let service = service_fn(async |_: http::Request<Incoming>| {
        let head = (StatusCode::BAD_REQUEST, [(header::CONNECTION, "close")]);
        Ok::<Response, Infallible>((head.0, head.1, PLAIN_REFUSED).into_response())
    });
    if let Err(error) = http().serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection without TLS ended badly");
    }
}

fn hint_at_tls() {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if last.is_none_or(|last| last.elapsed() >= HINT_EVERY) {
        *last = Some(Instant::now());
        tracing::warn!(
            "a client speaks TLS to this port, which is plain: let it use http:// and ws://, or set FANFARE_TLS_CERT and FANFARE_TLS_KEY"
        );
    }
}

async fn answer(mut request: Request, origin: Origin, door: Door) -> Response {
    introduce(&mut request, origin, door.trust_proxy);
    if upgrades_nowhere(&request) {
        return ws::refuse_path(door.node, request);
    }
    // A proxy in front may have seen the end of a chunked body elsewhere than we do, if a length came with it (hyper has dropped
    // that by now): what it takes for the rest of the body must not become a request of somebody else.
    let last = request.headers().contains_key(header::TRANSFER_ENCODING);
    let answered = door.router.oneshot(request).await;
    let mut response = answered.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response());
    if last {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Tells the routes who is asking and how.
fn introduce<B>(request: &mut http::Request<B>, origin: Origin, trust_proxy: bool) {
    let forwarded = |name: &str| {
        let line = request.headers().get_all(name).iter().next_back().filter(|_| trust_proxy);
        // Our own proxy wrote last: into the line that the client sent, or a line of its own below it.
        line.and_then(|line| line.to_str().ok()).and_then(|line| line.rsplit(',').next()).map(str::trim)
    };
    let client = forwarded("x-forwarded-for").and_then(|address| address.parse().ok()).unwrap_or(origin.ip);
    // What a proxy says counts more than how the proxy itself came: it knows the client.
    let scheme = forwarded("x-forwarded-proto");
    let tls = scheme.map_or(origin.tls, |scheme| scheme.eq_ignore_ascii_case("https"));
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
