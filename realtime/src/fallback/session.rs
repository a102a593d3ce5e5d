//! The HTTP sessions of a node: found by app key, server number and session id, opened through the same admission as
//! WebSockets, forgotten when their connection is over.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use http::header;
use parking_lot::Mutex;
use protocol::close::CloseCode;
use tokio::sync::oneshot;

use super::outbox::{AWAY_SECONDS_MAX, Outbox};
use crate::admission::{self, Visitor};
use crate::console::Row;
use crate::handshake;
use crate::node::Node;
use crate::shard::conn::{Carrier, NewConn, Verdict};
use crate::shard::inbox::{Command, Inbox, QUEUED_BYTES_MAX, Received};
use crate::transport::Transport;
use crate::ws::{OverTls, PeerAddr};

/// Sessions of a node at a time, those that just ended included; a newcomer beyond it is told to come back later. All of them
/// were admitted by an app.
const SESSIONS_MAX: usize = 100_000;
/// The same for SockJS. They have a bound of their own since anybody can open one, and only then names its app.
const SOCKJS_SESSIONS_MAX: usize = 10_000;
/// A SockJS client must name its app within this time.
const INTRODUCE_WITHIN: Duration = Duration::from_secs(10);
/// How long a session's end can still be asked for: a polling client may be between two requests.
const ENDED_KEPT: Duration = Duration::from_secs(AWAY_SECONDS_MAX as u64);
/// How long a send waits for a shard that is behind before it is refused.
const OVERLOAD_WAIT: Duration = Duration::from_secs(5);
const OVERLOAD_LOOK: Duration = Duration::from_millis(10);

/// What names a session. The app's key is part of it, so that nobody reaches a session through another app's path.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct SessionId {
    /// Empty for SockJS, where the app comes in the first message.
    key: Box<str>,
    /// Server number and session, as in the path.
    name: Box<str>,
}

impl SessionId {
    /// From the parts of a path; `None` if they are not as clients make them.
    pub(super) fn new(key: &str, server: &str, session: &str) -> Option<SessionId> {
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric());
        let fits = (1..=3).contains(&server.len()) && session.len() == 8 && plain(server) && plain(session);
        fits.then(|| SessionId { key: key.into(), name: format!("{server}/{session}").into() })
    }
}

/// Who asks, as far as admission wants to know.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    ip: IpAddr,
    tls: bool,
    origin: Option<String>,
}

impl Caller {
    pub(super) fn of(request: &Request) -> Caller {
        let origin = request.headers().get(header::ORIGIN);
        Caller {
            tls: request.extensions().get::<OverTls>().is_some(),
            ip: PeerAddr::of(request),
            origin: origin.map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned()),
        }
    }
}

/// Why there is no session: a close code and a sentence.
pub(super) type Refused = (CloseCode, String);

/// One client that comes by HTTP.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) outbox: Arc<Outbox>,
    /// Held while something that the client sent is carried out: in the order of arrival, one at a time.
    stage: tokio::sync::Mutex<Stage>,
}

#[derive(Debug)]
enum Stage {
    /// A SockJS client that has not yet said which app it wants.
    Introducing(Caller),
    /// Connected on this shard.
    Open(Arc<Inbox>),
    Refused,
}

/// The sessions of a node.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    of_apps: Mutex<HashMap<SessionId, Arc<Session>>>,
    of_sockjs: Mutex<HashMap<SessionId, Arc<Session>>>,
}

impl Sessions {
    /// Where a session of this name belongs, and how many may be there.
    fn map(&self, id: &SessionId) -> (&Mutex<HashMap<SessionId, Arc<Session>>>, usize) {
        match id.key.is_empty() {
            true => (&self.of_sockjs, SOCKJS_SESSIONS_MAX),
            false => (&self.of_apps, SESSIONS_MAX),
        }
    }

    pub(super) fn find(&self, id: &SessionId) -> Option<Arc<Session>> {
        self.map(id).0.lock().get(id).cloned()
    }

    /// The session with this id; `session` if there was none, and whether that was so.
    fn insert(&self, id: &SessionId, session: Session) -> Result<(Arc<Session>, bool), Refused> {
        let (sessions, max) = self.map(id);
        let mut sessions = sessions.lock();
        if let Some(there) = sessions.get(id) {
            return Ok((there.clone(), false));
        }
        if sessions.len() >= max {
            return Err((CloseCode::OverCapacity, "Too many sessions: come back in a moment".into()));
        }
        let session = Arc::new(session);
        sessions.insert(id.clone(), session.clone());
        Ok((session, true))
    }

    fn remove(&self, id: &SessionId) {
        self.map(id).0.lock().remove(id);
    }
}

/// Opens a session of the app in its path. If another request was quicker, that one's session.
pub(super) async fn open(
    node: &Node,
    id: &SessionId,
    transport: Transport,
    query: &str,
    caller: &Caller,
) -> Result<Arc<Session>, Refused> {
    let (new, inbox, outbox) = admit(node, &id.key, transport, query, caller).await?;
    let session = Session { outbox, stage: tokio::sync::Mutex::new(Stage::Open(inbox.clone())) };
    let (session, is_new) = node.sessions().insert(id, session)?;
    if is_new {
        inbox.push(Command::Connect(Box::new(new)));
        forget_in_the_end(node, id, &session);
    }
    Ok(session)
}

/// Opens a session of an app that the client will name.
pub(super) fn open_nameless(node: &Node, id: &SessionId, caller: Caller) -> Result<Arc<Session>, Refused> {
    let stage = tokio::sync::Mutex::new(Stage::Introducing(caller));
    let (session, is_new) = node.sessions().insert(id, Session { outbox: Arc::default(), stage })?;
    if is_new {
        forget_in_the_end(node, id, &session);
        let waiting = session.clone();
        tokio::spawn(async move {
            tokio::time::sleep(INTRODUCE_WITHIN).await;
            let mut stage = waiting.stage.lock().await;
            if matches!(*stage, Stage::Introducing(_)) {
                *stage = Stage::Refused;
                let seconds = INTRODUCE_WITHIN.as_secs();
                let reason = format!("No app was named within {seconds} s");
                waiting.outbox.end(CloseCode::OverCapacity.code(), &reason);
            }
        });
    }
    Ok(session)
}

fn forget_in_the_end(node: &Node, id: &SessionId, session: &Session) {
    let (node, id, outbox) = (node.clone(), id.clone(), session.outbox.clone());
    tokio::spawn(async move {
        outbox.ended().await;
        tokio::time::sleep(ENDED_KEPT).await;
        node.sessions().remove(&id);
    });
}

async fn admit(
    node: &Node,
    key: &str,
    transport: Transport,
    query: &str,
    caller: &Caller,
) -> Result<(NewConn, Arc<Inbox>, Arc<Outbox>), Refused> {
    let handshake = handshake::parse(query);
    let origin = caller.origin.as_deref();
    let visitor = Visitor { origin, ip: caller.ip, tls: caller.tls, transport };
    let verdict = admission::decide(node, key, handshake.as_ref(), visitor).await;
    if let Verdict::Refuse { code, message } = verdict {
        node.totals().refused(code.code());
        return Err((code, message));
    }
    let outbox = Arc::new(Outbox::default());
    let sdk = handshake.as_ref().ok().and_then(|h| h.sdk.as_deref());
    let new = NewConn {
        carrier: Carrier::Http(outbox.clone()),
        transport,
        verdict,
        ip: caller.ip,
        sdk: sdk.and_then(Row::text).map(Into::into),
        origin: origin.and_then(Row::text).map(Into::into),
        protocol: handshake.as_ref().map_or(7, |h| h.protocol),
    };
    Ok((new, node.next_shard().clone(), outbox))
}

/// The shards are too far behind; nothing was carried out.
#[derive(Debug)]
pub(super) struct Overloaded;

impl Session {
    /// Carries out what the client sent. Returns when the shard is through with it, so that one client has at most one send
    /// on its way.
    pub(super) async fn receive(&self, node: &Node, mut received: Received) -> Result<(), Overloaded> {
        let mut stage = self.stage.lock().await;
        if let Stage::Introducing(caller) = &*stage {
            let Received::Messages(messages) = &mut received else { return Ok(()) };
            if messages.is_empty() {
                return Ok(());
            }
            let first = messages.remove(0);
            *stage = match introduce(node, &self.outbox, &first, caller).await {
                Ok(inbox) => Stage::Open(inbox),
                Err((code, message)) => {
                    self.outbox.end(code.code(), &message);
                    Stage::Refused
                }
            };
        }
        let Stage::Open(inbox) = &*stage else { return Ok(()) };
        let waited = std::time::Instant::now();
        while inbox.queued_bytes() > QUEUED_BYTES_MAX {
            if waited.elapsed() > OVERLOAD_WAIT {
                return Err(Overloaded);
            }
            tokio::time::sleep(OVERLOAD_LOOK).await;
        }
        let (done, is_done) = oneshot::channel();
        inbox.push(Command::Receive { from: self.outbox.clone(), received, done });
        let _ = is_done.await; // an error when it was carried out, too: then the sender is gone
        Ok(())
    }
}

/// A SockJS client's first message: `{"path":"/app/KEY?protocol=7&…"}`.
async fn introduce(
    node: &Node,
    outbox: &Arc<Outbox>,
    message: &str,
    caller: &Caller,
) -> Result<Arc<Inbox>, Refused> {
    #[derive(serde::Deserialize)]
    struct Introduction {
        path: String,
    }
    let path = serde_json::from_str::<Introduction>(message).ok().map(|i| i.path);
    let address = path.as_deref().and_then(|path| path.strip_prefix("/app/"));
    let (key, query) = address.map(|a| a.split_once('?').unwrap_or((a, ""))).unwrap_or_default();
    if key.is_empty() || key.contains('/') {
        let message = r#"Path not found: the first message must be {"path":"/app/{key}?protocol=7"}"#;
        return Err((CloseCode::PathNotFound, message.into()));
    }
    let (mut new, inbox, _) = admit(node, key, Transport::SockJs, query, caller).await?;
    new.carrier = Carrier::Http(outbox.clone());
    inbox.push(Command::Connect(Box::new(new)));
    Ok(inbox)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_as_clients_make_them_name_a_session() {
        assert!(SessionId::new("key", "0", "abcd0123").is_some());
        assert!(SessionId::new("key", "999", "0123456v").is_some());
        for (server, session) in
            [("", "abcd0123"), ("1000", "abcd0123"), ("1", "abcd012"), ("1", "abcd01234"), ("1", "abcd012.")]
        {
            assert_eq!(SessionId::new("key", server, session), None, "{server}/{session}");
        }
        let of = |key| SessionId::new(key, "1", "abcd0123").unwrap();
        assert_ne!(of("a"), of("b"), "another key does not reach it");
    }

    #[test]
    fn the_number_of_sessions_is_bounded() {
        let sessions = Sessions::default();
        let new = || Session { outbox: Arc::default(), stage: tokio::sync::Mutex::new(Stage::Refused) };
        for (key, max) in [("", SOCKJS_SESSIONS_MAX), ("k", SESSIONS_MAX)] {
            for n in 0..max {
                let id = SessionId::new(key, "1", &format!("{n:08}")).unwrap();
                assert!(sessions.insert(&id, new()).unwrap().1, "whatever the other kind has");
            }
            let id = SessionId::new(key, "2", "00000000").unwrap();
            assert_eq!(sessions.insert(&id, new()).unwrap_err().0, CloseCode::OverCapacity);
            let known = SessionId::new(key, "1", "00000000").unwrap();
            assert!(!sessions.insert(&known, new()).unwrap().1, "one that is there is found");
            sessions.remove(&known);
            assert!(sessions.insert(&id, new()).unwrap().1);
        }
    }
}
