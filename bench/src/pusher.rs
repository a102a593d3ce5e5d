//! What servers say beside the measured messages, parsed in full. Seldom, so it may be slow.

use serde_json::Value;

/// A frame of the protocol.
#[derive(Debug, PartialEq)]
pub(crate) enum Said {
    /// `pusher:connection_established`.
    Established { socket_id: String },
    /// `pusher_internal:subscription_succeeded`, with its data parsed.
    Subscribed { channel: String, data: Value },
    /// `pusher_internal:member_added` or `…removed`: the member's id.
    Member { channel: String, joined: bool, user_id: String },
    /// `pusher:error` or `pusher:subscription_error`.
    Error { code: Option<u64>, message: String },
    /// `pusher:ping`.
    Ping,
    /// `pusher:pong` and what else may come without being asked for.
    Aside,
    /// A message, or nonsense.
    Other,
}

/// The answer to [`Said::Ping`].
pub(crate) const PONG: &[u8] = br#"{"event":"pusher:pong","data":{}}"#;

/// `data` is JSON in a string; some servers send the JSON itself in places.
fn unwrapped(data: &Value) -> Value {
    match data {
        Value::String(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        other => other.clone(),
    }
}

/// Parses a text frame.
pub(crate) fn read(text: &[u8]) -> Said {
    let Ok(frame) = serde_json::from_slice::<Value>(text) else { return Said::Other };
    let data = unwrapped(&frame["data"]);
    let string = |value: &Value| value.as_str().map(str::to_owned);
    let channel = string(&frame["channel"]).unwrap_or_default();
    match frame["event"].as_str().unwrap_or_default() {
        "pusher:connection_established" => match string(&data["socket_id"]) {
            Some(socket_id) => Said::Established { socket_id },
            None => Said::Other,
        },
        "pusher_internal:subscription_succeeded" => Said::Subscribed { channel, data },
        event @ ("pusher_internal:member_added" | "pusher_internal:member_removed") => {
            let user_id = match &data["user_id"] {
                Value::Number(number) => number.to_string(),
                other => string(other).unwrap_or_default(),
            };
            Said::Member { channel, joined: event.ends_with("added"), user_id }
        }
        "pusher:error" | "pusher:subscription_error" => Said::Error {
            code: data["code"].as_u64().or_else(|| data["status"].as_u64()),
            message: string(&data["message"]).or_else(|| string(&data["error"])).unwrap_or_default(),
        },
        "pusher:ping" => Said::Ping,
        "pusher:pong" | "pusher_internal:subscription_count" | "pusher:cache_miss" => Said::Aside,
        _ => Said::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_read_from_a_string_and_from_an_object() {
        for text in [
            r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\",\"activity_timeout\":120}"}"#,
            r#"{"event":"pusher:connection_established","data":{"socket_id":"1.2"}}"#,
        ] {
            assert_eq!(read(text.as_bytes()), Said::Established { socket_id: "1.2".into() });
        }
        let error = br#"{"event":"pusher:error","data":{"code":4301,"message":"slow down"}}"#;
        assert_eq!(read(error), Said::Error { code: Some(4301), message: "slow down".into() });
        let member =
            br#"{"event":"pusher_internal:member_removed","channel":"presence-x","data":"{\"user_id\":7}"}"#;
        assert_eq!(
            read(member),
            Said::Member { channel: "presence-x".into(), joined: false, user_id: "7".into() }
        );
        assert_eq!(read(b"{"), Said::Other);
        assert_eq!(read(br#"{"event":"mine","data":"x"}"#), Said::Other);
    }
}
