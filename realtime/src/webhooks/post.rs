//! One attempt: check the address, resolve the name once, check every address it has, connect to one of those, sign, post,
//! read the beginning of the answer. All within [`ATTEMPT_MS`]. HTTP/1.1, since PHP reads `X-Pusher-Key` in this case. A
//! connection serves one attempt; no redirect is followed.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use protocol::webhook_url::{self, Allow, Host, Target};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

use super::endpoint::Endpoint;
use super::lane::ATTEMPT_MS;
use super::store::Attempt;
use crate::app::KeyPair;
use crate::clock;

/// Bytes of an answer that are read and kept.
const ANSWER_BYTES_MAX: usize = 10 * 1_024;
/// Bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 64 * 1_024;
/// Names that one meter scope has looked up at the same time. A lookup holds a thread until the system gives up, which a slow
/// name server can draw out for long after the attempt.
const LOOKUPS_PER_SCOPE_MAX: usize = 4;
/// The same for all.
const LOOKUPS_MAX: usize = 64;
/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 4;
/// Header values of an answer that are kept, each.
const HEADER_BYTES_MAX: usize = 1_024;
/// Stands in the log for the value of an owner's header.
const HIDDEN: &str = "••••";
/// Headers of an answer that are kept.
const HEADERS_MAX: usize = 50;

/// What it sends with.
#[derive(Debug)]
pub(crate) struct Poster {
    allow: Allow,
    lookups: Lookups,
    tls: OnceLock<TlsConfig>,
}

/// What is posted.
#[derive(Debug)]
pub(crate) struct Post<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) key: &'a KeyPair,
    pub(crate) scope: &'a Arc<str>,
    pub(crate) body: Bytes,
}

/// How it went.
#[derive(Debug)]
pub(crate) struct Posted {
    pub(crate) attempt: Attempt,
    /// The request went out, so it counts as a message.
    pub(crate) sent: bool,
}

impl Posted {
    pub(crate) fn arrived(&self) -> bool {
        self.attempt.status.is_some_and(|status| (200..300).contains(&status))
    }
}

struct TlsConfig(Arc<ClientConfig>);

impl std::fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsConfig")
    }
}

/// The system's certificates, so that an operator's own authority is known; where there are none, Mozilla's.
fn tls_config() -> TlsConfig {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap_or_else(|_| unreachable!("the provider knows TLS 1.2 and 1.3"))
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConfig(Arc::new(config))
}

/// Bounds how many names are looked up, for each meter scope and for all.
#[derive(Debug)]
struct Lookups {
    all: Arc<Semaphore>,
    scopes: Mutex<HashMap<Arc<str>, Weak<Semaphore>>>,
}

impl Lookups {
    fn of(&self, scope: &Arc<str>) -> Arc<Semaphore> {
        let mut scopes = self.scopes.lock();
        if let Some(held) = scopes.get(scope).and_then(Weak::upgrade) {
            return held;
        }
        scopes.retain(|_, held| held.strong_count() > 0);
        let made = Arc::new(Semaphore::new(LOOKUPS_PER_SCOPE_MAX));
        scopes.insert(scope.clone(), Arc::downgrade(&made));
        made
    }

    async fn resolve(&self, scope: &Arc<str>, name: &str, port: u16) -> Result<Vec<IpAddr>, String> {
        let of_scope = self.of(scope).acquire_owned().await.map_err(|e| e.to_string())?;
        let of_all = self.all.clone().acquire_owned().await.map_err(|e| e.to_string())?;
        let asked = (name.to_owned(), port);
        // A task of its own: the places stay taken until the system has answered, even when nobody waits any more.
        let lookup = tokio::spawn(async move {
            let found =
                tokio::net::lookup_host(asked).await.map(|all| all.map(|a| a.ip()).collect::<Vec<_>>());
            drop((of_scope, of_all));
            found
        });
        match lookup.await {
            Ok(Ok(found)) if !found.is_empty() => Ok(found),
            Ok(Ok(_)) => Err(format!("{name} has no address")),
            Ok(Err(error)) => Err(format!("{name} can't be resolved: {error}")),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// A connection over which a request goes.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What is known of an attempt while it goes on.
#[derive(Default)]
struct Progress {
    sent: bool,
    status: Option<u16>,
    request_headers: Vec<(String, String)>,
    response_headers: Vec<(String, String)>,
    response_body: Vec<u8>,
}

impl Poster {
    pub(crate) fn new(allow: Allow) -> Poster {
        let lookups = Lookups { all: Arc::new(Semaphore::new(LOOKUPS_MAX)), scopes: Mutex::default() };
        Poster { allow, lookups, tls: OnceLock::new() }
    }

    /// Makes one attempt; never fails, never takes longer than [`ATTEMPT_MS`].
    pub(crate) async fn post(&self, post: Post<'_>) -> Posted {
        let (at_ms, began) = (clock::now_ms(), Instant::now());
        let mut progress = Progress::default();
        let limit = Duration::from_millis(ATTEMPT_MS as u64);
        let error = match tokio::time::timeout(limit, self.attempt(&post, &mut progress)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(_) if progress.status.is_some() => None, // the answer drips: its status is what counts
            Err(_) => Some(format!("no answer within {} s", ATTEMPT_MS / 1_000)),
        };
        let error = error.or_else(|| match progress.status {
            Some(status) if (200..300).contains(&status) => None,
            Some(status) if (300..400).contains(&status) => {
                Some(format!("answered {status}: redirects are not followed"))
            }
            Some(status) => Some(format!("answered {status}")),
            None => Some("no answer".into()),
        });
        let attempt = Attempt {
            at_ms,
            duration_ms: began.elapsed().as_millis() as i64,
            status: progress.status,
            error,
            request_headers: progress.request_headers,
            response_headers: progress.response_headers,
            response_body: String::from_utf8_lossy(&progress.response_body).into_owned(),
        };
        Posted { attempt, sent: progress.sent }
    }

    /// Is this address one that may be called? As `post` asks, without calling.
    #[cfg(test)]
    pub(crate) async fn check(&self, url: &str) -> Result<(), String> {
        let target = webhook_url::parse(url, &self.allow).map_err(|refusal| refusal.to_string())?;
        let scope = "check".into();
        let lookup = self.addresses(&target, &scope);
        match tokio::time::timeout(Duration::from_millis(ATTEMPT_MS as u64), lookup).await {
            Ok(found) => found.map(drop),
            Err(_) => Err(format!("{} can't be resolved within {} s", target.host, ATTEMPT_MS / 1_000)),
        }
    }

    /// The addresses to connect to, all of them checked.
    async fn addresses(&self, target: &Target, scope: &Arc<str>) -> Result<Vec<IpAddr>, String> {
        let found = match &target.host {
            Host::Ip(ip) => vec![*ip],
            Host::Name(name) => self.lookups.resolve(scope, name, target.port).await?,
        };
        for ip in &found {
            self.allow.permits(target, *ip).map_err(|refusal| refusal.to_string())?;
        }
        Ok(found)
    }

    async fn attempt(&self, post: &Post<'_>, progress: &mut Progress) -> Result<(), String> {
        let target = webhook_url::parse(&post.endpoint.url, &self.allow).map_err(|e| e.to_string())?;
        let headers = headers(post, &target)?;
        progress.request_headers = shown(&headers);
        let addresses = self.addresses(&target, post.scope).await?;
        let stream = connect(&addresses, target.port).await?;
        let stream: Box<dyn Stream> = match target.tls {
            false => Box::new(stream),
            true => {
                let name = match &target.host {
                    Host::Ip(ip) => ServerName::IpAddress((*ip).into()),
                    Host::Name(name) => ServerName::try_from(name.clone())
                        .map_err(|_| format!("{name} is no name for TLS"))?,
                };
                let connector = TlsConnector::from(self.tls.get_or_init(tls_config).0.clone());
                Box::new(connector.connect(name, stream).await.map_err(|e| format!("TLS: {e}"))?)
            }
        };
        let (mut sender, connection) = http1::Builder::new()
            .title_case_headers(true)
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| e.to_string())?;
        // It is driven here and not in a task of its own, so that it ends with the attempt.
        let mut connection = std::pin::pin!(connection);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&target.path)
            .body(Full::new(post.body.clone()))
            .map_err(|e| e.to_string())?;
        *request.headers_mut() = headers;
        progress.sent = true;
        let answering = async {
            let answer = sender.send_request(request).await.map_err(reason)?;
            progress.status = Some(answer.status().as_u16());
            progress.response_headers = shown(answer.headers());
            let mut body = answer.into_body();
            while progress.response_body.len() < ANSWER_BYTES_MAX {
                // An answer that breaks off has said its status.
                let Some(Ok(frame)) = body.frame().await else { break };
                if let Some(data) = frame.data_ref() {
                    let room = ANSWER_BYTES_MAX - progress.response_body.len();
                    progress.response_body.extend_from_slice(&data[..data.len().min(room)]);
                }
            }
            Ok(())
        };
        let mut answering = std::pin::pin!(answering);
        tokio::select! {
            biased;
            done = &mut answering => done,
            // The connection may end before what came over it was read.
            _ = &mut connection => answering.await,
        }
    }
}

fn reason(error: hyper::Error) -> String {
    match std::error::Error::source(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

async fn connect(addresses: &[IpAddr], port: u16) -> Result<TcpStream, String> {
    let mut last = String::from("no address");
    let tried = addresses.iter().take(ADDRESSES_MAX);
    let each = Duration::from_millis(ATTEMPT_MS as u64) / tried.len().max(1) as u32;
    for ip in tried {
        match tokio::time::timeout(each, TcpStream::connect(SocketAddr::new(*ip, port))).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = format!("can't connect: {error}"),
            Err(_) => last = "can't connect in time".into(),
        }
    }
    Err(last)
}

/// The owner's headers first, then ours, which replace any of the same name.
fn headers(post: &Post<'_>, target: &Target) -> Result<HeaderMap, String> {
    let value =
        |text: &str| HeaderValue::from_str(text).map_err(|_| "a header has a character that it can't have");
    let mut headers = HeaderMap::new();
    for (name, text) in &post.endpoint.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "a header's name is none")?;
        let mut own = value(text.expose())?;
        // It may be a token of the customer's: the log has its name alone.
        own.set_sensitive(true);
        headers.insert(name, own);
    }
    let signature = protocol::signature::webhook(post.key.secret.expose(), &post.body);
    headers.insert(HOST, value(&target.authority())?);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(post.body.len()));
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static(concat!("Fanfare-Webhooks/", env!("CARGO_PKG_VERSION"))),
    );
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert("x-pusher-key", value(&post.key.key)?);
    headers.insert("x-pusher-signature", value(&signature)?);
    Ok(headers)
}

/// Headers for the log.
fn shown(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .take(HEADERS_MAX)
        .map(|(name, value)| {
            if value.is_sensitive() {
                return (name.as_str().to_owned(), HIDDEN.to_owned());
            }
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.as_str().to_owned(), protocol::json::clip(&value, HEADER_BYTES_MAX).0.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use protocol::webhook::Kind;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::app::Secret;
    use crate::webhooks::endpoint::tests::endpoint;

    const BODY: &str = r#"{"time_ms":1,"events":[{"name":"channel_occupied","channel":"a"}]}"#;

    fn poster() -> Poster {
        Poster::new(Allow::parse("127.0.0.1").unwrap())
    }

    async fn post_with(poster: &Poster, one: &Endpoint) -> Posted {
        let key = KeyPair { key: "the-key".into(), secret: Secret::new("hush") };
        let post = Post {
            endpoint: one,
            key: &key,
            scope: &"account:a".into(),
            body: Bytes::from_static(BODY.as_bytes()),
        };
        poster.post(post).await
    }

    async fn post_to(port: u16) -> Posted {
        let one = endpoint("e", &format!("http://127.0.0.1:{port}/hooks?x=1"), &[Kind::ChannelOccupied]);
        post_with(&poster(), &one).await
    }

    /// Reads a request to the end of its body.
    async fn request(stream: &mut TcpStream) -> String {
        let mut got = Vec::new();
        let mut chunk = [0; 4_096];
        while !got.ends_with(BODY.as_bytes()) {
            let n = stream.read(&mut chunk).await.unwrap();
            assert!(n > 0, "{}", String::from_utf8_lossy(&got));
            got.extend_from_slice(&chunk[..n]);
        }
        String::from_utf8(got).unwrap()
    }

    /// A receiver that answers one request with these bytes and closes.
    async fn answering(answer: &'static [u8]) -> (u16, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let request = request(&mut stream).await;
            stream.write_all(answer).await.unwrap();
            request
        });
        (port, task)
    }

    #[tokio::test]
    async fn a_request_is_signed_and_its_headers_have_the_case_that_php_reads() {
        let (port, receiver) =
            answering(b"HTTP/1.1 200 OK\r\nX-Served-By: 1\r\nContent-Length: 6\r\n\r\nthanks").await;
        let mut one = endpoint("e", &format!("http://127.0.0.1:{port}/hooks?x=1"), &[]);
        // Storage refuses the second one; should it come in another way, it still doesn't win.
        one.headers =
            vec![("x-token".into(), Secret::new("a b")), ("X-Pusher-Key".into(), Secret::new("forged"))];
        let posted = post_with(&poster(), &one).await;
        assert!(posted.arrived() && posted.sent, "{posted:?}");
        let attempt = posted.attempt;
        assert_eq!(
            (attempt.status, attempt.error.as_deref(), &*attempt.response_body),
            (Some(200), None, "thanks")
        );
        assert!(attempt.response_headers.contains(&("x-served-by".into(), "1".into())));

        let request = receiver.await.unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let mut lines: Vec<&str> = head.split("\r\n").collect();
        assert_eq!(lines.remove(0), "POST /hooks?x=1 HTTP/1.1");
        lines.sort_unstable();
        let signature = protocol::signature::webhook("hush", BODY.as_bytes());
        let mut expected = vec![
            "Connection: close".to_owned(),
            format!("Content-Length: {}", BODY.len()),
            "Content-Type: application/json".to_owned(),
            format!("Host: 127.0.0.1:{port}"),
            format!("User-Agent: Fanfare-Webhooks/{}", env!("CARGO_PKG_VERSION")),
            "X-Pusher-Key: the-key".to_owned(),
            format!("X-Pusher-Signature: {signature}"),
            "X-Token: a b".to_owned(),
        ];
        expected.sort_unstable();
        assert_eq!(lines, expected);
        assert_eq!(body, BODY);
        assert!(attempt.request_headers.contains(&("x-pusher-signature".into(), signature)));
        assert!(attempt.request_headers.contains(&("x-token".into(), "••••".into())));
    }

    #[tokio::test]
    async fn any_2xx_is_success_and_nothing_else() {
        for (answer, status, arrived, error) in [
            (&b"HTTP/1.1 204 No Content\r\n\r\n"[..], Some(204), true, None),
            (b"HTTP/1.0 202 Accepted\r\n\r\nwhatever", Some(202), true, None),
            (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", Some(500), false, Some("answered 500")),
            (
                b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n",
                Some(302),
                false,
                Some("answered 302: redirects are not followed"),
            ),
            (b"SSH-2.0-OpenSSH_9.2\r\n", None, false, Some("invalid HTTP version parsed")),
            (b"", None, false, Some("connection closed before message completed")),
        ] {
            let (port, _receiver) = answering(answer).await;
            let posted = post_to(port).await;
            let seen = (posted.attempt.status, posted.arrived(), posted.attempt.error.as_deref());
            assert_eq!(seen, (status, arrived, error), "{:?}", String::from_utf8_lossy(answer));
        }
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let posted = post_to(nobody).await;
        assert!(!posted.sent && posted.attempt.error.unwrap().starts_with("can't connect"));
    }

    #[tokio::test]
    async fn an_endless_answer_is_read_up_to_its_bound_and_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let receiver = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await.unwrap();
            let mut sent = 0usize;
            while let Ok(n) = stream.write(&[b'x'; 65_536]).await {
                sent += n;
            }
            sent
        });
        let posted = post_to(port).await;
        assert!(posted.arrived() && posted.attempt.duration_ms < ATTEMPT_MS);
        assert_eq!(posted.attempt.response_body.len(), ANSWER_BYTES_MAX);
        let sent = receiver.await.unwrap();
        assert!(sent < 50_000_000, "cut off after {sent} bytes, what the kernel's buffers take");
    }

    #[tokio::test]
    async fn who_never_answers_or_drips_is_left_after_four_seconds() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = listener.local_addr().unwrap().port();
        let dripping = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let drip = dripping.local_addr().unwrap().port();
        let dripper = tokio::spawn(async move {
            let (mut stream, _) = dripping.accept().await.unwrap();
            request(&mut stream).await;
            for byte in b"HTTP/1.1 200 OK\r\n".iter().cycle() {
                if stream.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        for posted in <[Posted; 2]>::from(tokio::join!(post_to(silent), post_to(drip))) {
            let attempt = &posted.attempt;
            assert_eq!((attempt.status, attempt.error.as_deref()), (None, Some("no answer within 4 s")));
            assert!(
                (ATTEMPT_MS..ATTEMPT_MS + 1_000).contains(&attempt.duration_ms),
                "{}",
                attempt.duration_ms
            );
        }
        dripper.await.unwrap();
    }

    #[tokio::test]
    async fn addresses_are_checked_before_anybody_is_called() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for allow in ["", "10.0.0.0/8"] {
            let poster = Poster::new(Allow::parse(allow).unwrap());
            for host in [
                "127.0.0.1",
                "127.1",
                "2130706433",
                "0x7f.1",
                "[::1]",
                "[::ffff:7f00:1]",
                "localhost",
                "a@127.0.0.1",
            ] {
                let url = format!("http://{host}:{port}/");
                let posted = post_with(&poster, &endpoint("e", &url, &[])).await;
                assert!(!posted.sent && posted.attempt.error.is_some(), "{allow} {url}: {posted:?}");
                assert!(poster.check(&url).await.is_err());
            }
        }
        // The name is fine as a text; its address is what is refused.
        let poster = Poster::new(Allow::parse("10.0.0.0/8").unwrap());
        let posted = post_with(&poster, &endpoint("e", "http://localhost/", &[])).await;
        let error = posted.attempt.error.unwrap();
        assert!(
            error.starts_with("localhost (") && error.ends_with(") is not on the public internet"),
            "{error}"
        );
        // By name, on the operator's list.
        let poster = Poster::new(Allow::parse("localhost").unwrap());
        assert_eq!(poster.check(&format!("http://localhost:{port}/")).await, Ok(()));
        let called = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(called.is_err(), "nobody was called");
    }

    #[tokio::test]
    async fn one_scopes_lookups_leave_places_for_others() {
        let poster = poster();
        let (one, two): (Arc<str>, Arc<str>) = ("account:a".into(), "account:b".into());
        let held = poster.lookups.of(&one).acquire_many_owned(LOOKUPS_PER_SCOPE_MAX as u32).await.unwrap();
        let waiting = poster.lookups.resolve(&one, "localhost", 80);
        assert!(tokio::time::timeout(Duration::from_millis(50), waiting).await.is_err());
        assert!(poster.lookups.resolve(&two, "localhost", 80).await.is_ok());
        drop(held);
        assert!(poster.lookups.resolve(&one, "localhost", 80).await.is_ok());
    }
}
