//! One connection to a server: TCP, over it TLS or not, over that one HTTP request or a WebSocket. Blocking, since the checks
//! go one after the other, and each connection has a deadline for all that it does.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Uri;
use serde_json::Value;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConnection, StreamOwned};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{ClientRequestBuilder, HandshakeError, Message, WebSocket};

use super::certificate;

/// For all that one connection does.
const DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of an HTTP answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 * 1_024;
/// Headers of an HTTP answer.
const HEADERS_MAX: usize = 64;
/// Bytes of a WebSocket message.
const MESSAGE_BYTES_MAX: usize = 1_024 * 1_024;

/// Where the server is, as its address says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) tls: bool,
    /// A name, or an address without the brackets of IPv6.
    pub(super) host: String,
    pub(super) port: u16,
    /// Of the `Host` header.
    pub(super) authority: String,
    /// Before all paths, without a slash at its end.
    pub(super) prefix: String,
}

impl Place {
    /// Reads `https://ws.example.com` and the like.
    pub(super) fn parse(url: &str) -> Result<Place, String> {
        let unreadable =
            || format!("{url}: an address here is such as https://ws.example.com or http://127.0.0.1:6001");
        let uri: Uri = url.parse().map_err(|_| unreadable())?;
        let tls = match uri.scheme_str() {
            Some("https" | "wss") => true,
            Some("http" | "ws") => false,
            _ => return Err(unreadable()),
        };
        let authority = uri.authority().ok_or_else(unreadable)?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(unreadable());
        }
        Ok(Place {
            tls,
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

/// A TCP stream on which nothing waits beyond a deadline.
#[derive(Debug)]
pub(super) struct Timed {
    tcp: TcpStream,
    until: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(late()) } else { Ok(left) }
    }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", DEADLINE.as_secs()))
}

/// A wait that ended is reported as "would block" by some systems.
fn named(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { late() } else { error }
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.tcp.set_read_timeout(Some(self.left()?))?;
        self.tcp.read(into).map_err(named)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(Some(self.left()?))?;
        self.tcp.write(bytes).map_err(named)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

/// A connection, encrypted or not.
#[derive(Debug)]
pub(super) enum Line {
    Plain(Timed),
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
}

impl Read for Line {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Line::Plain(stream) => stream.read(into),
            Line::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Line::Plain(stream) => stream.write(bytes),
            Line::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Line::Plain(stream) => stream.flush(),
            Line::Tls(stream) => stream.flush(),
        }
    }
}

/// Connects to one address.
pub(super) fn connect(to: SocketAddr) -> io::Result<Timed> {
    let tcp = TcpStream::connect_timeout(&to, DEADLINE).map_err(named)?;
    tcp.set_nodelay(true)?;
    Ok(Timed { tcp, until: Instant::now() + DEADLINE })
}

/// Shakes hands over TLS. Errors: as rustls says it, inside of the `io::Error`.
pub(super) fn encrypt(
    mut stream: Timed,
    host: &str,
) -> io::Result<Box<StreamOwned<ClientConnection, Timed>>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let config = Arc::clone(certificate::client());
    let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut stream)?;
    }
    Ok(Box::new(StreamOwned::new(tls, stream)))
}

/// Connects as the address wants it.
pub(super) fn open(place: &Place, to: SocketAddr) -> io::Result<Line> {
    let stream = connect(to)?;
    if place.tls { Ok(Line::Tls(encrypt(stream, &place.host)?)) } else { Ok(Line::Plain(stream)) }
}

/// An HTTP answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    /// The beginning of it.
    pub(super) body: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Sends a request on a connection of its own and reads the answer. `path` with its query, `body` as JSON.
pub(super) fn request(mut line: Line, place: &Place, path: &str, body: Option<&str>) -> io::Result<Answer> {
    let method = if body.is_some() { "POST" } else { "GET" };
    let mut head = format!(
        "{method} {}{path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: fanfare-doctor/{}\r\nConnection: close\r\n",
        place.prefix,
        place.authority,
        env!("CARGO_PKG_VERSION")
    );
    if let Some(body) = body {
        head.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    }
    line.write_all(format!("{head}\r\n{}", body.unwrap_or_default()).as_bytes())?;
    line.flush()?;
    let mut got = Vec::new();
    let ended = line.take(ANSWER_BYTES_MAX).read_to_end(&mut got);
    // Some servers end a TLS connection without its farewell: what came before is an answer all the same.
    match answer(&got) {
        Some(answer) => Ok(answer),
        None => Err(ended.err().unwrap_or_else(|| not_http(&got))),
    }
}

fn not_http(got: &[u8]) -> io::Error {
    let text = match got {
        [] => "the connection was closed without an answer",
        // An alert or a handshake record.
        [0x15 | 0x16, 3, ..] => "the answer is TLS",
        _ => "the answer is not HTTP",
    };
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Reads an answer as far as it came; `None` when its head isn't whole or is none.
fn answer(got: &[u8]) -> Option<Answer> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = parsed.parse(got).ok()? else { return None };
    Some(Answer {
        status: parsed.code?,
        headers: parsed
            .headers
            .iter()
            .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()))
            .collect(),
        body: String::from_utf8_lossy(&got[length..]).into_owned(),
    })
}

/// What a server said on a socket.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// A message of the protocol: its event, and its data with the JSON in a string read.
    Event { event: String, channel: String, data: Value },
    /// The end, with its code and reason.
    Closed(Option<(u16, String)>),
}

/// A WebSocket.
#[derive(Debug)]
pub(super) struct Socket(WebSocket<Line>);

/// Why there is no WebSocket.
#[derive(Debug)]
pub(super) enum NoSocket {
    /// The request was answered as plain HTTP.
    Answered { status: u16, location: Option<String>, body: String },
    /// Anything else.
    Failed(String),
}

/// Asks for a WebSocket on `path`.
pub(super) fn upgrade(line: Line, place: &Place, path: &str) -> Result<Socket, NoSocket> {
    let uri: Uri = format!("ws://{}{}{path}", place.authority, place.prefix)
        .parse()
        .map_err(|_| NoSocket::Failed("the key can't be in an address".into()))?;
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX));
    match tungstenite::client::client_with_config(ClientRequestBuilder::new(uri), line, Some(config)) {
        Ok((socket, _)) => Ok(Socket(socket)),
        Err(HandshakeError::Interrupted(_)) => Err(NoSocket::Failed(late().to_string())),
        Err(HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
            let location =
                answer.headers().get("location").and_then(|value| value.to_str().ok()).map(str::to_owned);
            let body = answer.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
            Err(NoSocket::Answered { status: answer.status().as_u16(), location, body })
        }
        Err(HandshakeError::Failure(error)) => Err(NoSocket::Failed(error.to_string())),
    }
}

impl Socket {
    /// Waits for the next message or the end; pings are answered on the way.
    pub(super) fn next(&mut self) -> io::Result<Said> {
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => return Ok(said(&text)),
                Ok(Message::Close(frame)) => {
                    return Ok(Said::Closed(
                        frame.map(|frame| (frame.code.into(), frame.reason.to_string())),
                    ));
                }
                Ok(_) => {}
                Err(tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed) => {
                    return Ok(Said::Closed(None));
                }
                Err(tungstenite::Error::Io(error)) => return Err(error),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }

    /// Sends a text.
    pub(super) fn send(&mut self, text: String) -> io::Result<()> {
        self.0.send(Message::text(text)).map_err(io::Error::other)
    }
}

fn said(text: &str) -> Said {
    let message: Value = serde_json::from_str(text).unwrap_or_default();
    let string = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
    let data = match &message["data"] {
        Value::String(inner) => serde_json::from_str(inner).unwrap_or(Value::String(inner.clone())),
        other => other.clone(),
    };
    Said::Event { event: string("event"), channel: string("channel"), data }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses_are_read_with_their_defaults_and_wrong_ones_explained() {
        let place = Place::parse("https://ws.example.com").unwrap();
        assert_eq!((place.tls, &*place.host, place.port, &*place.prefix), (true, "ws.example.com", 443, ""));
        let place = Place::parse("ws://[::1]:6001/behind/").unwrap();
        assert_eq!((place.tls, &*place.host, place.port), (false, "::1", 6_001));
        assert_eq!((&*place.authority, &*place.prefix), ("[::1]:6001", "/behind"));
        for url in
            ["127.0.0.1:6001", "ftp://x", "https://", "http://a b", "http://me@x", "https://x/?a=b", ""]
        {
            assert!(Place::parse(url).unwrap_err().contains("https://ws.example.com"), "{url}");
        }
    }

    #[test]
    fn answers_are_read_as_far_as_they_came() {
        let got =
            answer(b"HTTP/1.1 404 Not Found\r\nDate: today\r\ncontent-length: 9\r\n\r\nnot he").unwrap();
        assert_eq!((got.status, got.header("date"), &*got.body), (404, Some("today"), "not he"));
        assert!(answer(b"HTTP/1.1 200 OK\r\nDate").is_none() && answer(b"SSH-2.0-x\r\n").is_none());
        assert!(not_http(&[0x15, 3, 3, 0, 2]).to_string().contains("TLS"));
    }

    #[test]
    fn data_is_read_from_a_string_and_as_it_is() {
        for text in [
            r#"{"event":"e","channel":"c","data":"{\"n\":1}"}"#,
            r#"{"event":"e","channel":"c","data":{"n":1}}"#,
        ] {
            let expected = Said::Event { event: "e".into(), channel: "c".into(), data: json!({ "n": 1 }) };
            assert_eq!(said(text), expected);
        }
        assert!(matches!(said("nonsense"), Said::Event { event, .. } if event.is_empty()));
    }
}
