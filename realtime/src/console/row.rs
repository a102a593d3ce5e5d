//! One row of the debug console: one schema for the page, the back-fill and the stream.

use std::net::IpAddr;
use std::sync::Arc;

use protocol::json::clip;
use serde::Serialize;

/// Bytes of a payload that a row keeps.
pub const DATA_PREVIEW_BYTES_MAX: usize = 4_096;
/// Bytes of any other text of a row that an outsider chose.
const FIELD_BYTES_MAX: usize = 256;

/// What happened. Pusher's names, and what a developer needs besides.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the documentation, see docs/ARCHITECTURE.md")]
pub enum Kind {
    Connection,
    Disconnection,
    ConnectionRefused,
    Subscribed,
    Unsubscribed,
    SubscriptionDenied,
    Occupied,
    Vacated,
    MemberAdded,
    MemberRemoved,
    ApiMessage,
    ClientEvent,
    ApiError,
    ClientError,
    Error,
    Quota,
    ConfigChanged,
    SignedIn,
    CacheMiss,
    WebhookSent,
    WebhookFailed,
}

/// Kinds that one live channel carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Group {
    Conn,
    Sub,
    Msg,
    Err,
    Hook,
}

impl Group {
    /// All groups.
    pub const ALL: [Group; 5] = [Group::Conn, Group::Sub, Group::Msg, Group::Err, Group::Hook];

    /// As in a channel's name.
    pub fn name(self) -> &'static str {
        match self {
            Group::Conn => "conn",
            Group::Sub => "sub",
            Group::Msg => "msg",
            Group::Err => "err",
            Group::Hook => "hook",
        }
    }
}

impl Kind {
    /// Number of kinds.
    pub const COUNT: usize = 21;
    /// All kinds.
    pub const ALL: [Kind; Kind::COUNT] = {
        use Kind::*;
        [
            Connection,
            Disconnection,
            ConnectionRefused,
            Subscribed,
            Unsubscribed,
            SubscriptionDenied,
            Occupied,
            Vacated,
            MemberAdded,
            MemberRemoved,
            ApiMessage,
            ClientEvent,
            ApiError,
            ClientError,
            Error,
            Quota,
            ConfigChanged,
            SignedIn,
            CacheMiss,
            WebhookSent,
            WebhookFailed,
        ]
    };

    /// The group whose live channel carries it.
    pub fn group(self) -> Group {
        use Kind::*;
        match self {
            Connection | Disconnection | ConnectionRefused | SignedIn => Group::Conn,
            Subscribed | Unsubscribed | SubscriptionDenied | Occupied | Vacated | MemberAdded
            | MemberRemoved | CacheMiss => Group::Sub,
            ApiMessage | ClientEvent => Group::Msg,
            ApiError | ClientError | Error | Quota | ConfigChanged => Group::Err,
            WebhookSent | WebhookFailed => Group::Hook,
        }
    }

    /// As in JSON.
    pub fn name(self) -> &'static str {
        use Kind::*;
        match self {
            Connection => "connection",
            Disconnection => "disconnection",
            ConnectionRefused => "connection_refused",
            Subscribed => "subscribed",
            Unsubscribed => "unsubscribed",
            SubscriptionDenied => "subscription_denied",
            Occupied => "occupied",
            Vacated => "vacated",
            MemberAdded => "member_added",
            MemberRemoved => "member_removed",
            ApiMessage => "api_message",
            ClientEvent => "client_event",
            ApiError => "api_error",
            ClientError => "client_error",
            Error => "error",
            Quota => "quota",
            ConfigChanged => "config_changed",
            SignedIn => "signed_in",
            CacheMiss => "cache_miss",
            WebhookSent => "webhook_sent",
            WebhookFailed => "webhook_failed",
        }
    }
}

/// Through which door it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Source {
    Api,
    Ws,
    Dashboard,
    System,
    Webhook,
}

/// The doctor's word: what probably went wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hint {
    /// Stable name of the diagnosis.
    pub id: &'static str,
    /// The cause in one line.
    pub title: String,
    /// What to do.
    pub text: String,
}

/// A happening. Absent fields don't apply.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "fields carry the names of the schema")]
pub struct Row {
    pub node: Arc<str>,
    pub seq: u64,
    /// Milliseconds since the epoch.
    pub ts: i64,
    pub kind: Kind,
    pub group: Group,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sdk: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// How the client is connected, where it is not a WebSocket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipients: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// One sentence.
    pub details: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<Hint>,
    /// Happenings of this kind before this one that left no row, since there were too many at once.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Row {
    /// A row of this kind and time, of which nothing else is known yet. Its node and place are given when it is recorded.
    pub fn new(kind: Kind, ts: i64) -> Row {
        Row {
            node: "".into(),
            seq: 0,
            ts,
            kind,
            group: kind.group(),
            channel: None,
            event: None,
            socket_id: None,
            user_id: None,
            key: None,
            source: None,
            ip: None,
            sdk: None,
            origin: None,
            transport: None,
            bytes: None,
            recipients: None,
            status: None,
            code: None,
            details: String::new(),
            data: None,
            truncated: false,
            hint: None,
            left_out: 0,
        }
    }

    /// Keeps the beginning of a payload and its whole size.
    pub fn set_data(&mut self, text: &str) {
        let (head, cut) = clip(text, DATA_PREVIEW_BYTES_MAX);
        self.data = Some(head.to_owned());
        self.truncated = cut;
        self.bytes = Some(text.len());
    }

    /// Keeps enough of a key to recognise it.
    pub fn set_key(&mut self, key: &str) {
        self.key = Some(clip(key, 8).0.to_owned());
    }

    /// A text that an outsider chose, at a length that fits a table.
    pub fn text(text: &str) -> Option<String> {
        Some(clip(text, FIELD_BYTES_MAX).0.to_owned())
    }

    /// The same happening for somebody who may not see payloads or members. Sentences go too, except of kinds whose sentences
    /// are the server's own from beginning to end.
    pub fn without_payload(&self) -> Row {
        use Kind::*;
        let details = match self.kind {
            Connection | Disconnection | ConnectionRefused | Quota | ConfigChanged => self.details.clone(),
            Subscribed | Unsubscribed | SubscriptionDenied | Occupied | Vacated | MemberAdded
            | MemberRemoved | ApiMessage | ClientEvent | ApiError | ClientError | Error | SignedIn
            | CacheMiss | WebhookSent | WebhookFailed => String::new(),
        };
        Row { details, user_id: None, data: None, truncated: false, hint: None, ..self.clone() }
    }

    pub(crate) fn weight(&self) -> usize {
        let texts =
            [&self.channel, &self.event, &self.socket_id, &self.user_id, &self.sdk, &self.origin, &self.data];
        size_of::<Row>()
            + self.details.len()
            + texts.iter().filter_map(|t| t.as_ref()).map(String::len).sum::<usize>()
    }
}

/// An address without its last part, so that a console shows where from but not who.
pub fn mask_ip(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) if v4.is_loopback() => v4.to_string(),
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.x")
        }
        IpAddr::V6(v6) if v6.is_loopback() => v6.to_string(),
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}::x")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_without_payload_names_no_member_and_carries_no_text_of_a_client() {
        for kind in Kind::ALL {
            let mut row = Row::new(kind, 1);
            row.channel = Row::text("presence-room");
            row.user_id = Row::text("secret-user");
            row.set_data("secret-data");
            row.hint = Some(Hint { id: "x", title: "secret-title".into(), text: "secret-text".into() });
            if !matches!(row.group, Group::Conn) && !matches!(kind, Kind::Quota | Kind::ConfigChanged) {
                row.details = "secret-details".into();
            }
            let bare = serde_json::to_string(&row.without_payload()).unwrap();
            assert!(!bare.contains("secret") && bare.contains("presence-room"), "{kind:?}: {bare}");
        }
    }
}
