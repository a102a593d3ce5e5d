//! What is fuzzed, one function per door for strangers' bytes: each reads its input as production does and asserts what must
//! hold whatever came. `fuzz_targets/` hands libFuzzer's inputs in; `realtime/tests/fuzz_smoke.rs` replays the corpus and
//! random inputs in every test run, through these same functions.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{self, Read, Write};

use protocol::channel::{Access, ChannelKind, ChannelName};
use protocol::client_message::ClientMessage;
use protocol::event::{check_published, is_client_event, is_reserved};
use protocol::http_api::{BatchBody, EventBody};
use protocol::json::{clip, data_text, depth_within, push_data_literal};
use protocol::limits::{
    CHANNEL_NAME_CHARS_MAX, INBOUND_MESSAGE_BYTES_MAX, JSON_DEPTH_MAX, PRESENCE_USER_BYTES_MAX,
    PRESENCE_USER_ID_CHARS_MAX, USER_ID_CHARS_MAX, WATCHLIST_IDS_MAX,
};
use protocol::member::Member;
use protocol::query::{Plus, parse};
use protocol::server_message::{self, Roster};
use protocol::signature::{
    channel_auth, sign, string_to_sign, user_auth, verify, verify_channel_auth, verify_user_auth,
};
use protocol::socket_id::SocketId;
use protocol::user::User;
use protocol::webhook_url::{self, Allow, Host};
use serde_json::Value;
use serde_json::value::RawValue;
use tungstenite::{Error, Message};

/// A door and its name, which is also the name of its folder of inputs.
pub type Target = (&'static str, fn(&[u8]));

/// All doors.
pub const TARGETS: [Target; 8] = [
    ("frames", frames),
    ("channel_names", channel_names),
    ("queries", queries),
    ("signatures", signatures),
    ("rest_bodies", rest_bodies),
    ("members", members),
    ("webhook_urls", webhook_urls),
    ("client_messages", client_messages),
];

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(bytes)))
}

// ---- WebSocket frames

struct Memory<'a> {
    input: &'a [u8],
    output: Vec<u8>,
}

impl Read for Memory<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl Write for Memory<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a socket's reader sees of these bytes when they come in pieces of this size.
fn seen(bytes: &[u8], piece: usize) -> (Vec<Message>, Option<String>) {
    let (mut parser, mut messages, mut answered) = (realtime::ws::parser(), Vec::new(), 0);
    for piece in bytes.chunks(piece) {
        let mut memory = Memory { input: piece, output: Vec::new() };
        loop {
            let read = parser.read(&mut memory);
            answered += std::mem::take(&mut memory.output).len();
            match read {
                Ok(message) => {
                    assert!(message.len() <= INBOUND_MESSAGE_BYTES_MAX);
                    messages.push(message);
                }
                Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return (messages, Some(error.to_string())),
            }
        }
    }
    // Answers to pings and a close: never more than came, but for a close frame's head.
    assert!(answered <= bytes.len() + 16, "{answered} bytes for {}", bytes.len());
    (messages, None)
}

/// The parser as it is configured. The pieces in which bytes come are of no account; what is sent in fragments arrives whole.
pub fn frames(bytes: &[u8]) {
    let Some((&[mode, cut], rest)) = bytes.split_first_chunk() else { return };
    if mode & 1 == 0 {
        let whole = seen(rest, rest.len().max(1));
        assert_eq!(whole, seen(rest, 1 + usize::from(cut)), "pieces of {}", 1 + usize::from(cut));
        for message in &whole.0 {
            if let Message::Text(text) = message {
                let _ = ClientMessage::parse(text);
            }
        }
        return;
    }
    // A text, masked and in fragments as the input says, with a ping between them.
    let mut sent = Vec::new();
    let size = 1 + usize::from(cut) * usize::from(mode >> 1);
    let count = rest.len().div_ceil(size).max(1);
    for n in 0..count {
        let part = rest.get(n * size..rest.len().min((n + 1) * size)).unwrap_or_default();
        let opcode = if n == 0 { 1 } else { 0 };
        push_masked(&mut sent, if n + 1 == count { 0x80 | opcode } else { opcode }, part);
        if n % 7 == 3 && n + 1 < count {
            push_masked(&mut sent, 0x89, b"ping");
        }
    }
    let (messages, error) = seen(&sent, 1 + usize::from(cut));
    let texts: Vec<&str> = messages.iter().filter(|m| m.is_text()).filter_map(|m| m.to_text().ok()).collect();
    match text(rest) {
        Some(text) if rest.len() <= INBOUND_MESSAGE_BYTES_MAX => {
            assert_eq!((texts, error), (vec![text], None))
        }
        _ => assert!(texts.is_empty() && error.is_some(), "{messages:?}"),
    }
}

fn push_masked(out: &mut Vec<u8>, head: u8, payload: &[u8]) {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    out.push(head);
    match payload.len() {
        n @ 0..=125 => out.push(0x80 | n as u8),
        n @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

// ---- names

/// Names of channels and events.
pub fn channel_names(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let kind = ChannelKind::of(text); // total
    assert!(!kind.is_presence() || kind.needs_auth());
    match ChannelName::parse(text) {
        Ok(name) => {
            assert_eq!((name.as_str(), name.kind()), (text, kind));
            assert!(!text.is_empty() && text.len() <= CHANNEL_NAME_CHARS_MAX && text.is_ascii());
            assert!(!text.contains([' ', '"', '\\', '/', ':', '%', '<', '\0', '\n']));
            assert_eq!(name.server_to_user().is_some(), kind.access == Access::ServerToUser);
            assert_eq!(text.starts_with('#'), kind.access == Access::ServerToUser);
            assert_eq!(kind.needs_auth(), text.starts_with("private-") || text.starts_with("presence-"));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if check_published(text).is_ok() {
        assert!(!is_reserved(text) && !text.is_empty());
    }
    let _ = is_client_event(text);
    if let Some(id) = SocketId::parse(text) {
        assert_eq!(SocketId::parse(&id.to_string()), Some(id));
    }
}

// ---- requests

fn escaped(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02X}")).collect()
}

/// Query strings and what is signed of them.
pub fn queries(bytes: &[u8]) {
    let Some(query) = text(bytes) else { return };
    let pairs = parse(query, Plus::Literal);
    let _ = parse(query, Plus::Space);
    let again: Vec<String> = pairs.iter().map(|(k, v)| format!("{}={}", escaped(k), escaped(v))).collect();
    let again = again.join("&");
    assert_eq!(parse(&again, Plus::Literal), pairs);
    assert_eq!(parse(&again, Plus::Space), pairs, "what is escaped has one reading");

    let signed = string_to_sign("POST", "/apps/1/events", &pairs);
    assert!(signed.starts_with("POST\n/apps/1/events\n"));
    let signature = sign("hush", &signed);
    assert!(verify("hush", &signed, &signature));
    assert!(!verify("hust", &signed, &signature));
    // Where every name is there once, the order is of no account.
    let names: HashSet<String> = pairs.iter().map(|(k, _)| k.to_ascii_lowercase()).collect();
    if names.len() == pairs.len() {
        let turned: Vec<&(Cow<'_, str>, Cow<'_, str>)> = pairs.iter().rev().collect();
        let turned: Vec<(&str, &str)> = turned.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(string_to_sign("POST", "/apps/1/events", &turned), signed);
    }
    // What is put in front of a parameter of the same name changes nothing, what is put behind it changes all.
    if let Some((name, value)) = pairs.last()
        && !name.ends_with("[]")
        && !name.eq_ignore_ascii_case("auth_signature")
    {
        let mut more = vec![(&**name, "other")];
        more.extend(pairs.iter().map(|(k, v)| (&**k, &**v)));
        assert_eq!(string_to_sign("POST", "/apps/1/events", &more), signed);
        more.push((name, "other"));
        if value != "other" {
            assert_ne!(string_to_sign("POST", "/apps/1/events", &more), signed);
        }
    }
}

/// Tokens: `SECRET NUL SOCKET NUL CHANNEL NUL DATA NUL TOKEN`. Only the one right signature is accepted.
pub fn signatures(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let mut parts = text.splitn(5, '\0');
    let mut next = || parts.next().unwrap_or_default();
    let (secret, socket, channel, data, token) = (next(), next(), next(), next(), next());
    let data = (!data.is_empty()).then_some(data);
    let given = token.split_once(':').map_or(token, |(_, given)| given);
    let right = channel_auth(secret, socket, channel, data);
    assert_eq!(verify_channel_auth(secret, socket, channel, data, given), given == right);
    assert!(verify_channel_auth(secret, socket, channel, data, &right));
    let user_data = data.unwrap_or_default();
    let right = user_auth(secret, socket, user_data);
    assert_eq!(verify_user_auth(secret, socket, user_data, given), given == right);
    assert!(verify_user_auth(secret, socket, user_data, &right));
    assert_eq!(verify(secret, channel, given), given == sign(secret, channel));
}

/// Bodies of `POST events` and `POST batch_events`.
pub fn rest_bodies(bytes: &[u8]) {
    let Some(text) = text(bytes).filter(|text| depth_within(text, JSON_DEPTH_MAX)) else { return };
    let one: Option<EventBody<'_>> = serde_json::from_str(text).ok();
    let batch: Option<BatchBody<'_>> = serde_json::from_str(text).ok();
    for event in one.iter().chain(batch.iter().flat_map(|b| &b.batch)) {
        let names = event.channel.iter().chain(event.channels.iter().flatten());
        names.for_each(|name| channel_names(name.as_bytes()));
        event.name.iter().for_each(|name| channel_names(name.as_bytes()));
        if let Some(id) = event.socket_id.as_deref() {
            let _ = SocketId::parse(id);
        }
        if let Some(data) = event.data {
            passes(data);
            let frame = server_message::channel_event("e", "c", data, None);
            assert!(has_data(&frame, data), "{}", String::from_utf8_lossy(&frame));
        }
    }
}

/// A value is written as one JSON string that stands for its text, unless it has an escape that stands for no text.
fn passes(data: &RawValue) {
    let mut literal = Vec::new();
    push_data_literal(&mut literal, data);
    assert!(literal.starts_with(b"\"") && literal.ends_with(b"\"") && literal.len() >= 2);
    match serde_json::from_slice::<String>(&literal) {
        Ok(text) => assert_eq!(text, data_text(data)),
        Err(_) => assert!(serde_json::from_str::<String>(data.get()).is_err(), "{}", data.get()),
    }
    let (clipped, cut) = clip(data.get(), 20);
    assert!(clipped.len() <= 20 && cut == (clipped.len() < data.get().len()));
}

/// Does this frame carry this data? A lone surrogate has no text to compare.
fn has_data(frame: &[u8], data: &RawValue) -> bool {
    match serde_json::from_slice::<Value>(frame) {
        Ok(frame) => frame["data"].as_str() == Some(&data_text(data)),
        Err(_) => data.get().starts_with('"') && serde_json::from_str::<String>(data.get()).is_err(),
    }
}

// ---- who it is

/// `channel_data` of presence channels and `user_data` of sign-ins.
pub fn members(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(member) = Member::parse(text) {
        assert!(text.len() <= PRESENCE_USER_BYTES_MAX && !member.user_id.is_empty());
        assert!(member.user_id.chars().count() <= PRESENCE_USER_ID_CHARS_MAX);
        assert!(member.user_info == "null" || text.contains(&member.user_info), "byte for byte");
        let added = json(&server_message::member_added("presence-x", &member.user_id, &member.user_info));
        let data = added["data"].as_str().unwrap_or_else(|| panic!("{added}"));
        readable(data, |value| assert_eq!(value["user_id"].as_str(), Some(&*member.user_id)));
        let mut roster = Roster::default();
        roster.push(&member.user_id, &member.user_info);
        roster.push("other", "{}");
        readable(&roster.finish(), |value| {
            assert_eq!(value["presence"]["hash"]["other"], serde_json::json!({}))
        });
        json(&server_message::member_removed("presence-x", &member.user_id));
    }
    if let Ok(user) = User::parse(text) {
        assert!(!user.id.is_empty() && user.id.chars().count() <= USER_ID_CHARS_MAX);
        let channel = format!("#server-to-user-{}", user.id);
        assert_eq!(ChannelName::parse(&channel).ok().and_then(ChannelName::server_to_user), Some(&*user.id));
        assert!(user.watchlist.len() <= WATCHLIST_IDS_MAX);
        let distinct: HashSet<&String> = user.watchlist.iter().collect();
        assert_eq!(distinct.len(), user.watchlist.len());
        let ids: Vec<&str> = user.watchlist.iter().map(String::as_str).collect();
        json(&server_message::watchlist_events(&ids, &ids));
        if let Ok(member) = Member::of_user(&user.id, &user.user_info) {
            json(&server_message::member_added("presence-x", &member.user_id, &member.user_info));
        }
    }
    let success = json(&server_message::signin_success(text));
    let data: Value = serde_json::from_str(success["data"].as_str().unwrap_or_default()).unwrap_or_default();
    assert_eq!(data["user_data"].as_str(), Some(text));
}

/// JSON within a string. It is always well-formed, but not all of that can be read into values here: a customer may have put a
/// lone surrogate into `user_info`, a number that no float holds, or a key that means something to serde_json. They pass as
/// they are.
fn readable(text: &str, check: impl FnOnce(Value)) {
    serde_json::from_str::<&RawValue>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    if let Ok(value) = serde_json::from_str(text) {
        check(value);
    }
}

/// Addresses of webhooks: what passes can be called without reaching anything private.
pub fn webhook_urls(bytes: &[u8]) {
    let Some(url) = text(bytes) else { return };
    let nothing = Allow::default();
    match webhook_url::parse(url, &nothing) {
        Ok(target) => {
            assert!(target.path.starts_with('/') && !target.path.contains(['\r', '\n', ' ', '#']));
            assert!([80, 443].contains(&target.port));
            let authority = target.authority();
            assert!(!authority.contains(['@', '/', '\\', '?', ' ']), "{authority}");
            match &target.host {
                Host::Ip(ip) => assert!(webhook_url::is_public(*ip) && nothing.permits(&target, *ip).is_ok()),
                Host::Name(name) => {
                    let last = name.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
                    let hex =
                        last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
                    let number = hex || last.bytes().all(|b| b.is_ascii_digit());
                    assert!(!number, "{name} is an address for some");
                }
            }
        }
        Err(refusal) => assert!(!refusal.to_string().is_empty()),
    }
    if let Ok(allow) = Allow::parse(url) {
        let _ = webhook_url::parse("http://127.0.0.1/", &allow);
    }
}

/// One text frame of a client, and what is made of it for others.
pub fn client_messages(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    match ClientMessage::parse(text) {
        Ok(message) => {
            assert!(depth_within(text, JSON_DEPTH_MAX));
            match message {
                ClientMessage::Subscribe(wanted) => {
                    channel_names(wanted.channel.as_bytes());
                    assert!(wanted.auth.as_deref() != Some(""));
                    wanted.channel_data.iter().for_each(|data| members(data.as_bytes()));
                    json(&server_message::subscription_error(
                        &wanted.channel,
                        "AuthError",
                        &wanted.channel,
                        401,
                    ));
                }
                ClientMessage::Unsubscribe(channel) => channel_names(channel.as_bytes()),
                ClientMessage::SignIn(sign_in) => members(sign_in.user_data.as_bytes()),
                ClientMessage::ClientEvent(event) => {
                    assert!(is_client_event(&event.event) && !is_reserved(&event.event));
                    passes(event.data);
                    let frame =
                        server_message::channel_event(&event.event, &event.channel, event.data, Some("u"));
                    assert!(has_data(&frame, event.data), "{}", String::from_utf8_lossy(&frame));
                }
                ClientMessage::Unsupported(name) => {
                    json(&server_message::error(None, &name));
                }
                ClientMessage::Ping | ClientMessage::Pong => {}
            }
        }
        Err(error) => {
            json(&server_message::error(None, &error.to_string()));
        }
    }
}
