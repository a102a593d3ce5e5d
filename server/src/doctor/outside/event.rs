//! One event there and back: a subscription, a signed publish, and the frame that must arrive.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use jiff::Timestamp;
use protocol::signature::{body_md5, sign_request};
use serde_json::json;

use super::super::fixes;
use super::super::wire::{self, Answer, Place, Said, Socket};
use super::{Check, Step, unanswered, words};

/// Of the event that is published, and the beginning of its channel.
const EVENT: &str = "fanfare-doctor";

/// Subscribes, publishes, and waits until the event is there.
pub(super) fn there_and_back(
    place: &Place,
    to: SocketAddr,
    id: &str,
    key: &str,
    secret: &str,
    mut socket: Socket,
) -> Step<Check> {
    let channel = format!("{EVENT}-{:016x}", rand::random::<u64>());
    let failed = |what: &str, error: io::Error| {
        Check::failed("event", format!("{what}: {error}"), fixes::not_delivered())
    };
    socket
        .send(json!({ "event": "pusher:subscribe", "data": { "channel": channel } }).to_string())
        .and_then(|()| wait(&mut socket, "pusher_internal:subscription_succeeded", &channel))
        .map_err(|error| failed("the subscription is not confirmed", error))?;
    let line = wire::open(place, to).map_err(|error| unanswered("event", "connecting", place, &error))?;
    let body = json!({ "name": EVENT, "channel": channel, "data": "{}" }).to_string();
    let path = signed(id, key, secret, &body);
    let since = Instant::now();
    let answer = wire::request(line, place, &path, Some(&body))
        .map_err(|error| unanswered("event", "the publish", place, &error))?;
    if answer.status != 200 {
        return Err(refused(&answer));
    }
    wait(&mut socket, EVENT, &channel)
        .map_err(|error| failed("published, but the event doesn't arrive", error))?;
    Ok(Check::good("event", "published and received").took(since))
}

fn refused(answer: &Answer) -> Check {
    let text = format!("the publish is answered {}{}", answer.status, words(&answer.body));
    Check::failed("event", text, fixes::refused(answer.status, &answer.body))
}

fn wait(socket: &mut Socket, wanted: &str, of: &str) -> io::Result<()> {
    loop {
        match socket.next()? {
            Said::Event { event, channel, .. } if event == wanted && channel == of => return Ok(()),
            Said::Event { event, data, .. }
                if event == "pusher:error" || event == "pusher:subscription_error" =>
            {
                let text = data["message"].as_str().or_else(|| data["error"].as_str()).unwrap_or("refused");
                return Err(io::Error::other(text.to_owned()));
            }
            Said::Event { .. } => {}
            Said::Closed(end) => {
                let (code, reason) = end.unwrap_or_default();
                return Err(io::Error::other(format!("the socket is closed with {code} {reason}")));
            }
        }
    }
}

/// Path and query of a signed publish. What is signed is the path that the server sees: without a prefix that a proxy takes off.
pub(super) fn signed(id: &str, key: &str, secret: &str, body: &str) -> String {
    let path = format!("/apps/{}/events", encoded(id));
    let now = Timestamp::now().as_second().to_string();
    let md5 = body_md5(body.as_bytes());
    let pairs = [("auth_key", key), ("auth_timestamp", &*now), ("auth_version", "1.0"), ("body_md5", &*md5)];
    let signature = sign_request(secret, "POST", &path, &pairs);
    let key = encoded(key);
    format!(
        "{path}?auth_key={key}&auth_timestamp={now}&auth_version=1.0&body_md5={md5}&auth_signature={signature}"
    )
}

/// What may be in a path or a query as it is; everything else is escaped.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
