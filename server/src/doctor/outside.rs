//! Is a running server reached from here, through all that stands in front of it? In the order of the way: name, TCP, TLS, HTTP,
//! WebSocket; then, with an app's id, key and secret, clock and an event. What lies behind a broken step is not tried.

mod event;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use protocol::limits::REQUEST_AGE_SECONDS_MAX;

use super::wire::{self, Line, NoSocket, Place, Said, Socket};
use super::{certificate, fixes};

/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 8;
/// A certificate that ends within this time should have been renewed.
const RENEWED_BEFORE: Duration = Duration::from_secs(14 * 24 * 3_600);
/// A difference of clocks that is worth a word; a `Date` header has whole seconds and took a moment to arrive.
const CLOCK_SECONDS_NOTED: i64 = 30;
/// No app has this key.
const UNKNOWN_KEY: &str = "fanfare-doctor-no-such-key";
/// Close code of an unknown key.
const UNKNOWN_APP: u16 = 4001;
/// Characters of a server's own words that are shown.
const WORDS_MAX: usize = 200;

/// An app, as far as the operator named it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    pub(crate) id: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) secret: Option<realtime::app::Secret>,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// As it should be.
    Good,
    /// Works, but look at it.
    Noted,
    /// Broken.
    Failed,
    /// Not tried, for want of something.
    Skipped,
}

/// One step of the way.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) state: State,
    pub(crate) text: String,
    /// What to change.
    pub(crate) fix: Vec<String>,
    /// A duration, where one is of interest.
    pub(crate) ms: Option<f64>,
}

impl Check {
    fn new(name: &'static str, state: State, text: impl Into<String>) -> Check {
        Check { name, state, text: text.into(), fix: Vec::new(), ms: None }
    }

    fn good(name: &'static str, text: impl Into<String>) -> Check {
        Check::new(name, State::Good, text)
    }

    fn failed(name: &'static str, text: impl Into<String>, fix: Vec<String>) -> Check {
        Check { fix, ..Check::new(name, State::Failed, text) }
    }

    fn took(mut self, since: Instant) -> Check {
        self.ms = Some(since.elapsed().as_secs_f64() * 1e3);
        self
    }
}

/// A check that the rest depends on, or what it gave.
type Step<T> = Result<T, Check>;

/// Goes the way as far as it leads. Errors: the address can't be read.
pub(crate) fn check(url: &str, app: &Credentials) -> Result<Vec<Check>, String> {
    let place = Place::parse(url)?;
    let mut done = Vec::new();
    if let Err(failed) = way(&place, app, &mut done) {
        done.push(failed);
    }
    Ok(done)
}

fn way(place: &Place, app: &Credentials, done: &mut Vec<Check>) -> Step<()> {
    let addresses = resolve(place, done)?;
    let to = connect(place, &addresses, done)?;
    if place.tls {
        done.push(handshake(place, to)?);
    }
    let (answered, clock) = up(place, to)?;
    // Even one that failed: a proxy may pass sockets and not this path.
    done.push(answered);
    let key = app.key.as_deref();
    let socket = match key {
        Some(key) => known(place, to, key, done)?,
        None => {
            done.push(unknown(place, to)?);
            None
        }
    };
    let (Some(id), Some(key), Some(secret), Some(socket)) = (&app.id, key, &app.secret, socket) else {
        let text = "needs --app-id, --key and --secret (or FANFARE_APP_ID, _KEY and _SECRET)";
        done.push(Check::new("event", State::Skipped, text));
        return Ok(());
    };
    done.push(clock.unwrap_or_else(|| Check::new("clock", State::Skipped, "no answer told the time")));
    done.push(event::there_and_back(place, to, id, key, secret.expose(), socket)?);
    Ok(())
}

fn resolve(place: &Place, done: &mut Vec<Check>) -> Step<Vec<SocketAddr>> {
    let host = &place.host;
    let found =
        (host.as_str(), place.port).to_socket_addrs().map(|all| all.take(ADDRESSES_MAX).collect::<Vec<_>>());
    match found {
        Ok(all) if !all.is_empty() => {
            let ips: Vec<String> = all.iter().map(|address| address.ip().to_string()).collect();
            let ips = ips.join(", ");
            done.push(Check::good("name", if ips == *host { ips } else { format!("{host} is {ips}") }));
            Ok(all)
        }
        Ok(_) => Err(Check::failed("name", format!("{host} has no address"), fixes::lookup(host))),
        Err(error) => {
            Err(Check::failed("name", format!("{host} has no address: {error}"), fixes::lookup(host)))
        }
    }
}

/// The first address that answers. Others that don't are noted: their clients wait for nothing first.
fn connect(place: &Place, addresses: &[SocketAddr], done: &mut Vec<Check>) -> Step<SocketAddr> {
    let mut open = None;
    let mut closed = Vec::new();
    for address in addresses {
        let since = Instant::now();
        match wire::connect(*address) {
            Ok(_) => open = open.or(Some((*address, since.elapsed()))),
            Err(error) => closed.push((*address, error)),
        }
    }
    let words = |(address, error): &(SocketAddr, io::Error)| match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("nothing listens on {address} (connection refused)"),
        _ => format!("{address} can't be reached: {error}"),
    };
    let Some((to, took)) = open else {
        let text = closed.iter().map(words).collect::<Vec<_>>().join("; ");
        let fix = closed.first().map(|(_, error)| fixes::connect(error, place.port)).unwrap_or_default();
        return Err(Check::failed("tcp", text, fix));
    };
    let mut check = Check::good("tcp", format!("{to} accepts connections"));
    check.ms = Some(took.as_secs_f64() * 1e3);
    if let Some(first) = closed.first() {
        check.state = State::Noted;
        check.text = format!("{}, but {}", check.text, words(first));
        check.fix =
            vec!["let the server or the proxy listen there too, or take the address out of DNS".to_owned()];
    }
    done.push(check);
    Ok(to)
}

fn handshake(place: &Place, to: SocketAddr) -> Step<Check> {
    let since = Instant::now();
    let encrypted = wire::connect(to).and_then(|stream| wire::encrypt(stream, &place.host));
    let stream = encrypted.map_err(|error| {
        let (text, fix) = certificate::explain(&error, &place.host);
        Check::failed("tls", text, fix)
    })?;
    let version = match stream.conn.protocol_version() {
        Some(tokio_rustls::rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS 1.3",
    };
    let ends = stream.conn.peer_certificates().and_then(|chain| certificate::ends(chain.first()?));
    let Some(ends) = ends else {
        return Ok(
            Check::good("tls", format!("{version}; when its certificate ends can't be read")).took(since)
        );
    };
    let left = ends.duration_since(Timestamp::now());
    let text = format!(
        "{version}, the certificate ends on {} ({} days)",
        ends.strftime("%Y-%m-%d"),
        left.as_hours() / 24
    );
    let mut check = Check::good("tls", text).took(since);
    if left.unsigned_abs() < RENEWED_BEFORE {
        check.state = State::Noted;
        check.fix = fixes::renew();
    }
    Ok(check)
}

/// `GET /up`, and what its `Date` header tells about the clocks. Errors: no HTTP answer at all.
fn up(place: &Place, to: SocketAddr) -> Step<(Check, Option<Check>)> {
    let since = Instant::now();
    let answer = wire::open(place, to)
        .and_then(|line| wire::request(line, place, "/up", None))
        .map_err(|error| unanswered("http", "GET /up", place, &error))?;
    let clock = answer.header("date").and_then(|date| clock(date, Timestamp::now()));
    let check = match answer.status {
        200 => Check::good("http", "GET /up is answered 200").took(since),
        status => {
            let text = format!("GET /up is answered {status}{}", words(&answer.body));
            Check::failed("http", text, fixes::status(status, answer.header("location")))
        }
    };
    Ok((check, clock))
}

fn unanswered(name: &'static str, what: &str, place: &Place, error: &io::Error) -> Check {
    use io::ErrorKind::{ConnectionReset, InvalidData, UnexpectedEof};
    // How ports that speak TLS answer plain HTTP: with an alert, or by hanging up.
    let fix = match error.kind() {
        InvalidData | ConnectionReset | UnexpectedEof if !place.tls => fixes::plain_port(),
        _ => fixes::log(),
    };
    Check::failed(name, format!("{what}: {error}"), fix)
}

fn clock(date: &str, now: Timestamp) -> Option<Check> {
    let theirs = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    let ahead = now.as_second() - theirs.as_second();
    let text = match ahead {
        0 => "the server's clock and this one agree".to_owned(),
        _ => format!(
            "this clock is {} s {} the server's",
            ahead.abs(),
            if ahead > 0 { "ahead of" } else { "behind" }
        ),
    };
    Some(if ahead.abs() > REQUEST_AGE_SECONDS_MAX {
        let text = format!("{text}: signed requests may be {REQUEST_AGE_SECONDS_MAX} s off");
        Check::failed("clock", text, fixes::clock())
    } else if ahead.abs() > CLOCK_SECONDS_NOTED {
        Check { fix: fixes::clock(), ..Check::new("clock", State::Noted, text) }
    } else {
        Check::good("clock", text)
    })
}

/// Opens a socket and gives it with the first thing that the server said.
fn socket(place: &Place, to: SocketAddr, key: &str) -> Step<(Socket, Said)> {
    let path = format!("/app/{key}?protocol=7&client=fanfare-doctor&version={}", env!("CARGO_PKG_VERSION"));
    let line: Line =
        wire::open(place, to).map_err(|error| unanswered("websocket", "connecting", place, &error))?;
    let mut socket = wire::upgrade(line, place, &path).map_err(|why| no_socket(why, key))?;
    let said = socket.next().map_err(|error| {
        Check::failed(
            "websocket",
            format!("the upgrade is accepted, but no frame arrives: {error}"),
            fixes::upgrade(),
        )
    })?;
    Ok((socket, said))
}

fn no_socket(why: NoSocket, key: &str) -> Check {
    match why {
        NoSocket::Answered { status, location, body } => {
            let text = format!("the upgrade of /app/{key} is answered {status}{}", words(&body));
            let fix = match status {
                // What a server answers that was never asked for an upgrade, and so a proxy left it out.
                200 | 400 | 404 | 405 | 426 | 501 => fixes::upgrade(),
                _ => fixes::status(status, location.as_deref()),
            };
            Check::failed("websocket", text, fix)
        }
        NoSocket::Failed(why) => {
            Check::failed("websocket", format!("the upgrade of /app/{key} fails: {why}"), fixes::upgrade())
        }
    }
}

/// With a key that no app has, the server completes the upgrade and closes with 4001. So this passed all that is in between.
fn unknown(place: &Place, to: SocketAddr) -> Step<Check> {
    let since = Instant::now();
    let (mut socket, mut said) = socket(place, to, UNKNOWN_KEY)?;
    loop {
        match said {
            Said::Closed(Some((UNKNOWN_APP, _))) => {
                let text =
                    "upgrades pass: an unknown key gets close code 4001; with --key, a known one is tried";
                return Ok(Check::good("websocket", text).took(since));
            }
            Said::Closed(other) => {
                let other =
                    other.map_or_else(|| "no code".to_owned(), |(code, reason)| format!("{code} {reason}"));
                let text =
                    format!("an unknown key is closed with {other}, not with 4001: is this a Pusher server?");
                return Err(Check::failed("websocket", text, fixes::upgrade()));
            }
            Said::Event { .. } => {
                said = socket.next().map_err(|error| {
                    let text = format!("an unknown key is not closed with 4001: {error}");
                    Check::failed("websocket", text, fixes::upgrade())
                })?;
            }
        }
    }
}

/// With an app's key there is a first message.
fn known(place: &Place, to: SocketAddr, key: &str, done: &mut Vec<Check>) -> Step<Option<Socket>> {
    let since = Instant::now();
    let key = event::encoded(key);
    let (mut socket, mut said) = socket(place, to, &key)?;
    let mut complaint = String::new();
    loop {
        match said {
            Said::Event { event, .. } if event == "pusher:connection_established" => {
                let text = format!("/app/{key} is connected");
                done.push(Check::good("websocket", text).took(since));
                return Ok(Some(socket));
            }
            Said::Event { data, .. } => {
                complaint = data["message"].as_str().unwrap_or_default().to_owned();
                said = socket.next().unwrap_or(Said::Closed(None));
            }
            Said::Closed(end) => {
                let (code, reason) = end.unwrap_or((0, complaint));
                let text = format!("/app/{key} is closed with {code}{}", words(&reason));
                return Err(Check::failed("websocket", text, fixes::close(code)));
            }
        }
    }
}

/// The first line of what a server said, behind a colon.
fn words(said: &str) -> String {
    let line = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let (line, _) = protocol::json::clip(line, WORDS_MAX);
    // Nothing that a terminal would obey.
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    if line.is_empty() { line } else { format!(": {line}") }
}

#[cfg(test)]
mod tests;
