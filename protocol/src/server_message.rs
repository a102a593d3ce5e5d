//! What the server says: each frame's JSON text. `data` is a string holding JSON, but for `pusher:error`, where it is an
//! object: clients depend on both. Source: protocol page, SDK sources.

use serde_json::value::RawValue;

use crate::json::{push_data_literal, push_string};
use crate::limits::ACTIVITY_TIMEOUT_SECONDS;
use crate::socket_id::SocketId;

fn object(parts: impl FnOnce(&mut Vec<u8>), capacity: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(capacity);
    parts(&mut out);
    out
}

/// The first frame of a connection.
pub fn connection_established(socket_id: SocketId) -> Vec<u8> {
    format!(
        r#"{{"event":"pusher:connection_established","data":"{{\"socket_id\":\"{socket_id}\",\"activity_timeout\":{ACTIVITY_TIMEOUT_SECONDS}}}"}}"#
    )
    .into_bytes()
}

/// The answer to `pusher:ping`.
pub const PONG: &[u8] = br#"{"event":"pusher:pong","data":"{}"}"#;

/// `pusher:error`: `code` is absent (null) for most errors on an open connection.
pub fn error(code: Option<u16>, message: &str) -> Vec<u8> {
    object(
        |out| {
            out.extend_from_slice(br#"{"event":"pusher:error","data":{"code":"#);
            out.extend_from_slice(code.map_or_else(|| "null".into(), |c| c.to_string()).as_bytes());
            out.extend_from_slice(br#","message":"#);
            push_string(out, message);
            out.extend_from_slice(b"}}");
        },
        64 + message.len(),
    )
}

/// `pusher:subscription_error`, so that a client knows which channel failed: pusher-js hands it to the channel.
pub fn subscription_error(channel: &str, kind: &str, message: &str, status: u16) -> Vec<u8> {
    object(
        |out| {
            out.extend_from_slice(br#"{"event":"pusher:subscription_error","data":{"type":"#);
            push_string(out, kind);
            out.extend_from_slice(br#","error":"#);
            push_string(out, message);
            out.extend_from_slice(format!(r#","status":{status}}},"channel":"#).as_bytes());
            push_string(out, channel);
            out.push(b'}');
        },
        128 + message.len(),
    )
}

fn internal(event: &str, data_json: &str, channel: &str) -> Vec<u8> {
    object(
        |out| {
            out.extend_from_slice(br#"{"event":"pusher_internal:"#);
            out.extend_from_slice(event.as_bytes());
            out.extend_from_slice(br#"","data":"#);
            push_string(out, data_json);
            out.extend_from_slice(br#","channel":"#);
            push_string(out, channel);
            out.push(b'}');
        },
        80 + data_json.len() + data_json.len() / 4 + channel.len(),
    )
}

/// A subscription stands; `roster` is the member list of a presence channel, see [`Roster`].
pub fn subscription_succeeded(channel: &str, roster: Option<&str>) -> Vec<u8> {
    internal("subscription_succeeded", roster.unwrap_or("{}"), channel)
}

/// A cache channel holds nothing for who just subscribed.
pub fn cache_miss(channel: &str) -> Vec<u8> {
    object(
        |out| {
            out.extend_from_slice(br#"{"event":"pusher:cache_miss","data":"{}","channel":"#);
            push_string(out, channel);
            out.push(b'}');
        },
        64 + channel.len(),
    )
}

/// How many connections are subscribed to a channel.
pub fn subscription_count(channel: &str, count: u32) -> Vec<u8> {
    internal("subscription_count", &format!(r#"{{"subscription_count":{count}}}"#), channel)
}

/// A sign-in stands; `user_data` is the text that was signed. Has no `channel`: .NET routes by that.
pub fn signin_success(user_data: &str) -> Vec<u8> {
    let mut data = br#"{"user_data":"#.to_vec();
    push_string(&mut data, user_data);
    data.push(b'}');
    without_channel("pusher:signin_success", &data)
}

/// Who of a watchlist is there and who is not; an empty group is left out. Has no `channel`.
pub fn watchlist_events(online: &[&str], offline: &[&str]) -> Vec<u8> {
    let mut data = br#"{"events":["#.to_vec();
    for (name, ids) in [("online", online), ("offline", offline)] {
        if ids.is_empty() {
            continue;
        }
        if data.ends_with(b"}") {
            data.push(b',');
        }
        data.extend_from_slice(format!(r#"{{"name":"{name}","user_ids":["#).as_bytes());
        for (i, id) in ids.iter().enumerate() {
            if i > 0 {
                data.push(b',');
            }
            push_string(&mut data, id);
        }
        data.extend_from_slice(b"]}");
    }
    data.extend_from_slice(b"]}");
    without_channel("pusher_internal:watchlist_events", &data)
}

fn without_channel(event: &str, data_json: &[u8]) -> Vec<u8> {
    object(
        |out| {
            out.extend_from_slice(br#"{"event":""#);
            out.extend_from_slice(event.as_bytes());
            out.extend_from_slice(br#"","data":"#);
            push_string(out, &String::from_utf8_lossy(data_json));
            out.push(b'}');
        },
        64 + data_json.len() * 5 / 4,
    )
}

/// A user's first connection joined.
pub fn member_added(channel: &str, user_id: &str, user_info: &str) -> Vec<u8> {
    let mut data = br#"{"user_id":"#.to_vec();
    push_string(&mut data, user_id);
    data.extend_from_slice(br#","user_info":"#);
    data.extend_from_slice(user_info.as_bytes());
    data.push(b'}');
    internal("member_added", &String::from_utf8_lossy(&data), channel)
}

/// A user's last connection left.
pub fn member_removed(channel: &str, user_id: &str) -> Vec<u8> {
    let mut data = br#"{"user_id":"#.to_vec();
    push_string(&mut data, user_id);
    data.push(b'}');
    internal("member_removed", &String::from_utf8_lossy(&data), channel)
}

/// An event of a customer on a channel. `user_id` only for client events on presence channels.
pub fn channel_event(event: &str, channel: &str, data: &RawValue, user_id: Option<&str>) -> Vec<u8> {
    object(
        |out| {
            out.extend_from_slice(br#"{"event":"#);
            push_string(out, event);
            out.extend_from_slice(br#","data":"#);
            push_data_literal(out, data);
            out.extend_from_slice(br#","channel":"#);
            push_string(out, channel);
            if let Some(user) = user_id {
                out.extend_from_slice(br#","user_id":"#);
                push_string(out, user);
            }
            out.push(b'}');
        },
        64 + event.len() + channel.len() + data.get().len(),
    )
}

/// Builds the member list that a presence channel's success carries.
#[derive(Debug)]
pub struct Roster {
    ids: Vec<u8>,
    hash: Vec<u8>,
    count: usize,
}

impl Default for Roster {
    fn default() -> Roster {
        Roster { ids: b"[".to_vec(), hash: b"{".to_vec(), count: 0 }
    }
}

impl Roster {
    /// Adds a member; ids are distinct by the caller's care.
    pub fn push(&mut self, user_id: &str, user_info: &str) {
        if self.count > 0 {
            self.ids.push(b',');
            self.hash.push(b',');
        }
        push_string(&mut self.ids, user_id);
        push_string(&mut self.hash, user_id);
        self.hash.push(b':');
        self.hash.extend_from_slice(user_info.as_bytes());
        self.count += 1;
    }

    /// The JSON text `{"presence":{"count":…,"ids":[…],"hash":{…}}}`.
    pub fn finish(self) -> String {
        let Roster { ids, hash, count } = self;
        let text = [
            format!(r#"{{"presence":{{"count":{count},"ids":"#).as_bytes(),
            &ids,
            br#"],"hash":"#,
            &hash,
            b"}}}",
        ]
        .concat();
        String::from_utf8(text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(frame: Vec<u8>) -> String {
        String::from_utf8(frame).unwrap()
    }

    #[test]
    fn each_frame_has_the_bytes_that_clients_expect() {
        let raw = |s: &str| RawValue::from_string(s.to_owned()).unwrap();
        let id = SocketId { node: 1, random: 2 };
        for (frame, expected) in [
            (
                connection_established(id),
                r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\",\"activity_timeout\":120}"}"#,
            ),
            (PONG.to_vec(), r#"{"event":"pusher:pong","data":"{}"}"#),
            (error(None, "a\"b"), r#"{"event":"pusher:error","data":{"code":null,"message":"a\"b"}}"#),
            (error(Some(4001), "x"), r#"{"event":"pusher:error","data":{"code":4001,"message":"x"}}"#),
            (
                subscription_error("private-a", "AuthError", "no", 401),
                r#"{"event":"pusher:subscription_error","data":{"type":"AuthError","error":"no","status":401},"channel":"private-a"}"#,
            ),
            (
                subscription_succeeded("a", None),
                r#"{"event":"pusher_internal:subscription_succeeded","data":"{}","channel":"a"}"#,
            ),
            (
                member_added("presence-a", "1", r#"{"b":1}"#),
                r#"{"event":"pusher_internal:member_added","data":"{\"user_id\":\"1\",\"user_info\":{\"b\":1}}","channel":"presence-a"}"#,
            ),
            (
                member_removed("presence-a", "1"),
                r#"{"event":"pusher_internal:member_removed","data":"{\"user_id\":\"1\"}","channel":"presence-a"}"#,
            ),
            (cache_miss("cache-a"), r#"{"event":"pusher:cache_miss","data":"{}","channel":"cache-a"}"#),
            (
                subscription_count("a", 3),
                r#"{"event":"pusher_internal:subscription_count","data":"{\"subscription_count\":3}","channel":"a"}"#,
            ),
            (
                signin_success(r#"{"id":"1"}"#),
                r#"{"event":"pusher:signin_success","data":"{\"user_data\":\"{\\\"id\\\":\\\"1\\\"}\"}"}"#,
            ),
            (
                watchlist_events(&["a"], &["b", "c"]),
                r#"{"event":"pusher_internal:watchlist_events","data":"{\"events\":[{\"name\":\"online\",\"user_ids\":[\"a\"]},{\"name\":\"offline\",\"user_ids\":[\"b\",\"c\"]}]}"}"#,
            ),
            (
                watchlist_events(&[], &["b"]),
                r#"{"event":"pusher_internal:watchlist_events","data":"{\"events\":[{\"name\":\"offline\",\"user_ids\":[\"b\"]}]}"}"#,
            ),
            (
                channel_event("App\\E", "a", &raw(r#""{\"z\":1}""#), None),
                r#"{"event":"App\\E","data":"{\"z\":1}","channel":"a"}"#,
            ),
            (
                channel_event("client-x", "presence-a", &raw(r#"{"z": 1}"#), Some("7")),
                r#"{"event":"client-x","data":"{\"z\": 1}","channel":"presence-a","user_id":"7"}"#,
            ),
        ] {
            assert_eq!(text(frame), expected);
        }
        let mut roster = Roster::default();
        roster.push("0", "null");
        roster.push("b", r#"{"n":1}"#);
        assert_eq!(
            roster.finish(),
            r#"{"presence":{"count":2,"ids":["0","b"],"hash":{"0":null,"b":{"n":1}}}}"#
        );
    }
}
