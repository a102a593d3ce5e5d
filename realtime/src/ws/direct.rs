//! The short way in for the request that nearly every client sends: `GET /app/{key}` with an upgrade, whole in the first bytes
//! of a plain connection. It is looked at before an HTTP server has the connection; whatever is odd about it (another method or
//! path, an escaped key, a body, a head that isn't whole or isn't valid) goes the long way, which knows all the answers.
//!
//! The answer is not sent here: the shard sends it together with the first frame. What the client sent behind its head stays
//! in the kernel until the shard reads.

use std::io::Read;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use mio::net::TcpStream;
use tungstenite::handshake::server::write_response;

use super::{About, Visit, has_body, is_upgrade, judge, switch_protocols};
use crate::handshake;
use crate::node::Node;
use crate::shard::conn::{Carrier, Verdict};

/// Bytes of a head that come this way; browsers with many cookies go the long one.
pub const HEAD_BYTES_MAX: usize = 2_048;
const HEADERS_MAX: usize = 32;

/// A client's request for a WebSocket, as it stands at the front of its connection.
#[derive(Debug)]
pub struct Head {
    /// The request; the accept loop adds its extensions ([`PeerAddr`](super::PeerAddr), [`OverTls`](super::OverTls)).
    pub request: http::Request<()>,
    key: String,
    bytes: usize,
}

impl Head {
    /// Reads a head from the first bytes of a connection. `None`: this request goes the long way.
    pub fn parse(bytes: &[u8]) -> Option<Head> {
        if !bytes.starts_with(b"GET /app/") {
            return None;
        }
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(length) = parsed.parse(bytes).ok()? else { return None };
        let (path, Some(1)) = (parsed.path?, parsed.version) else { return None };
        let key = path.strip_prefix("/app/")?.split('?').next()?;
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return None;
        }
        let key = key.to_owned();
        let mut request = http::Request::new(());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = path.parse().ok()?;
        for header in parsed.headers.iter() {
            let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
            request.headers_mut().append(name, HeaderValue::from_bytes(header.value).ok()?);
        }
        let fits = is_upgrade(request.headers()) && !has_body(request.headers());
        fits.then_some(Head { request, key, bytes: length })
    }

    /// Hands the connection to a shard with the verdict about it. Errors: gives the connection back, untouched, if the
    /// request isn't a valid upgrade: it goes the long way too.
    pub async fn admit(self, node: &Node, mut stream: TcpStream) -> Result<(), TcpStream> {
        let mut answer = Vec::with_capacity(256);
        let written = switch_protocols(&self.request, || ()).and_then(|r| write_response(&mut answer, &r));
        if written.is_err() {
            return Err(stream);
        }
        let mut head = [0; HEAD_BYTES_MAX];
        let Some(head) = head.get_mut(..self.bytes) else { return Err(stream) };
        if !stream.read(head).is_ok_and(|read| read == self.bytes) {
            tracing::debug!("a client left during its upgrade");
            return Ok(());
        }
        let handshake = handshake::parse(self.request.uri().query().unwrap_or_default());
        let about = About::of(&self.request);
        let visit = Visit::new(&handshake, &about);
        let verdict = match node.echoes() {
            Some(message_bytes_max) => Verdict::Echo { message_bytes_max },
            None => judge(node, &self.key, &handshake, &about).await,
        };
        let carrier = Carrier::Socket { stream, tls: None, answer: answer.into(), early: Bytes::new() };
        visit.hand_over(node, carrier, verdict);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "GET /app/key-1?protocol=7 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    #[test]
    fn only_a_whole_and_ordinary_upgrade_goes_the_short_way() {
        let head = Head::parse(format!("{HEAD}early").as_bytes()).unwrap();
        assert_eq!((head.key.as_str(), head.bytes), ("key-1", HEAD.len()), "what follows stays where it is");
        assert_eq!(head.request.uri().query(), Some("protocol=7"));
        for cut in 0..HEAD.len() {
            assert!(Head::parse(&HEAD.as_bytes()[..cut]).is_none(), "after {cut} bytes");
        }
        for (from, to) in [
            ("GET", "POST"),
            ("/app/key-1", "/app/key%2D1"),
            ("/app/key-1", "/app/key/1"),
            ("/app/key-1", "/app/"),
            ("/app/key-1", "/apps/1"),
            ("HTTP/1.1", "HTTP/1.0"),
            ("Upgrade: websocket", "Upgrade: h2c"),
            ("Connection: Upgrade", "Connection: close"),
            ("Host: a", "Host: a\r\nContent-Length: 5"),
            ("Host: a", "Host: a\r\nTransfer-Encoding: chunked"),
            ("Host: a", "Host a"),
        ] {
            assert!(Head::parse(HEAD.replace(from, to).as_bytes()).is_none(), "{to}");
        }
    }
}
