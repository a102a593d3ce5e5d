//! What a client may say, parsed out of one text frame. Parsing only; what follows is `realtime`'s.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::is_client_event;
use crate::json::depth_within;
use crate::limits::JSON_DEPTH_MAX;

/// One message of a client.
#[derive(Debug)]
pub enum ClientMessage<'a> {
    /// `pusher:subscribe`.
    Subscribe(Subscribe<'a>),
    /// `pusher:unsubscribe` from a channel.
    Unsubscribe(Cow<'a, str>),
    /// `pusher:signin`.
    SignIn(SignIn<'a>),
    /// `pusher:ping`: answered with a pong.
    Ping,
    /// `pusher:pong`: a sign of life.
    Pong,
    /// An event whose name starts with `client-`.
    ClientEvent(ClientEvent<'a>),
    /// Any other event name.
    Unsupported(Cow<'a, str>),
}

/// The data of `pusher:subscribe`.
#[derive(Debug)]
pub struct Subscribe<'a> {
    /// Not yet checked.
    pub channel: Cow<'a, str>,
    /// `KEY:SIGNATURE`; empty or absent on public channels.
    pub auth: Option<Cow<'a, str>>,
    /// JSON text that the signature covers, byte for byte.
    pub channel_data: Option<Cow<'a, str>>,
}

/// The data of `pusher:signin`.
#[derive(Debug)]
pub struct SignIn<'a> {
    /// `KEY:SIGNATURE`.
    pub auth: Cow<'a, str>,
    /// JSON text that the signature covers, byte for byte.
    pub user_data: Cow<'a, str>,
}

/// A client event before any check.
#[derive(Debug)]
pub struct ClientEvent<'a> {
    /// Starts with `client-`.
    pub event: Cow<'a, str>,
    /// Not yet checked.
    pub channel: Cow<'a, str>,
    /// Any JSON.
    pub data: &'a RawValue,
}

/// Why a frame is no message. The texts are shown to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientMessageError {
    /// Not a JSON object.
    #[error("the message is not a JSON object with an event name")]
    NotJson,
    /// Deeper than [`JSON_DEPTH_MAX`].
    #[error("the message is nested deeper than {JSON_DEPTH_MAX} levels")]
    TooDeep,
    /// `pusher:subscribe` or `pusher:unsubscribe` without `data.channel`, or with fields of a wrong type.
    #[error("{0} needs data with a channel name; auth and channel_data are strings")]
    BadSubscription(&'static str),
    /// `pusher:signin` without `data.auth` and `data.user_data`, or with fields of a wrong type.
    #[error("pusher:signin needs data with auth and user_data, both strings")]
    BadSignIn,
    /// A client event without `channel` or `data`.
    #[error("a client event needs a channel and data")]
    BadClientEvent,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, default)]
    channel: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct SubscriptionData {
    channel: String,
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    channel_data: Option<String>,
}

#[derive(Deserialize)]
struct SignInData {
    auth: String,
    user_data: String,
}

impl<'a> ClientMessage<'a> {
    /// Reads one text frame.
    pub fn parse(text: &'a str) -> Result<ClientMessage<'a>, ClientMessageError> {
        if !depth_within(text, JSON_DEPTH_MAX) {
            return Err(ClientMessageError::TooDeep);
        }
        let frame: Envelope<'a> = serde_json::from_str(text).map_err(|_| ClientMessageError::NotJson)?;
        match &*frame.event {
            "pusher:subscribe" => {
                let data: SubscriptionData =
                    object(frame.data).ok_or(ClientMessageError::BadSubscription("pusher:subscribe"))?;
                Ok(ClientMessage::Subscribe(Subscribe {
                    channel: data.channel.into(),
                    auth: data.auth.filter(|a| !a.is_empty()).map(Cow::Owned),
                    channel_data: data.channel_data.map(Cow::Owned),
                }))
            }
            "pusher:unsubscribe" => {
                let data: SubscriptionData =
                    object(frame.data).ok_or(ClientMessageError::BadSubscription("pusher:unsubscribe"))?;
                Ok(ClientMessage::Unsubscribe(data.channel.into()))
            }
            "pusher:signin" => {
                let data: SignInData = object(frame.data).ok_or(ClientMessageError::BadSignIn)?;
                Ok(ClientMessage::SignIn(SignIn { auth: data.auth.into(), user_data: data.user_data.into() }))
            }
            "pusher:ping" => Ok(ClientMessage::Ping),
            "pusher:pong" => Ok(ClientMessage::Pong),
            name if is_client_event(name) => {
                let channel =
                    frame.channel.and_then(|raw| serde_json::from_str::<Cow<'a, str>>(raw.get()).ok());
                match (channel, frame.data) {
                    (Some(channel), Some(data)) => {
                        Ok(ClientMessage::ClientEvent(ClientEvent { event: frame.event, channel, data }))
                    }
                    _ => Err(ClientMessageError::BadClientEvent),
                }
            }
            _ => Ok(ClientMessage::Unsupported(frame.event)),
        }
    }
}

/// `data` as an object, or as a string that holds that object (community clients send it so).
fn object<T: serde::de::DeserializeOwned>(data: Option<&RawValue>) -> Option<T> {
    let text = data?.get();
    if !text.starts_with('"') {
        return serde_json::from_str(text).ok();
    }
    let inner: String = serde_json::from_str(text).ok()?;
    if !depth_within(&inner, JSON_DEPTH_MAX) {
        return None;
    }
    serde_json::from_str(&inner).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> ClientMessageError {
        ClientMessage::parse(text).expect_err(text)
    }

    #[test]
    fn subscriptions_come_as_an_object_or_as_a_string() {
        for text in [
            r#"{"event":"pusher:subscribe","data":{"channel":"private-x","auth":"k:s","channel_data":"{}"}}"#,
            r#"{"event":"pusher:subscribe","data":"{\"channel\":\"private-x\",\"auth\":\"k:s\",\"channel_data\":\"{}\"}"}"#,
        ] {
            let ClientMessage::Subscribe(s) = ClientMessage::parse(text).unwrap() else { panic!("{text}") };
            assert_eq!(
                (&*s.channel, s.auth.as_deref(), s.channel_data.as_deref()),
                ("private-x", Some("k:s"), Some("{}"))
            );
        }
    }

    #[test]
    fn messages_that_killed_other_servers_are_errors() {
        let subscribe = ClientMessageError::BadSubscription("pusher:subscribe");
        for (text, expected) in [
            ("", ClientMessageError::NotJson),
            ("null", ClientMessageError::NotJson),
            ("[]", ClientMessageError::NotJson),
            ("{}", ClientMessageError::NotJson),
            (r#"{"event":1}"#, ClientMessageError::NotJson),
            (r#"{"event":"pusher:subscribe"}"#, subscribe.clone()),
            (r#"{"event":"pusher:subscribe","data":"x"}"#, subscribe.clone()),
            (r#"{"event":"pusher:subscribe","data":null}"#, subscribe.clone()),
            (r#"{"event":"pusher:subscribe","data":{"channel":5}}"#, subscribe.clone()),
            (r#"{"event":"pusher:subscribe","data":{"channel":{}}}"#, subscribe),
            (r#"{"event":"pusher:unsubscribe"}"#, ClientMessageError::BadSubscription("pusher:unsubscribe")),
            (r#"{"event":"pusher:signin"}"#, ClientMessageError::BadSignIn),
            (
                r#"{"event":"pusher:signin","data":{"auth":1,"user_data":"{}"}}"#,
                ClientMessageError::BadSignIn,
            ),
            (
                r#"{"event":"pusher:signin","data":{"auth":"a:b","user_data":{}}}"#,
                ClientMessageError::BadSignIn,
            ),
            (r#"{"event":"client-x"}"#, ClientMessageError::BadClientEvent),
            (r#"{"event":"client-x","channel":5,"data":1}"#, ClientMessageError::BadClientEvent),
            (r#"{"event":"client-x","channel":"private-a"}"#, ClientMessageError::BadClientEvent),
        ] {
            assert_eq!(error(text), expected, "{text}");
        }
        assert_eq!(error(&"[".repeat(50_000)), ClientMessageError::TooDeep);
    }

    #[test]
    fn pings_need_no_data_and_unknown_names_are_named() {
        assert!(matches!(ClientMessage::parse(r#"{"event":"pusher:ping"}"#), Ok(ClientMessage::Ping)));
        assert!(matches!(
            ClientMessage::parse(r#"{"event":"pusher:pong","data":{}}"#),
            Ok(ClientMessage::Pong)
        ));
        assert!(
            matches!(ClientMessage::parse(r#"{"event":"x"}"#), Ok(ClientMessage::Unsupported(n)) if n == "x")
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_parses_or_is_refused(text in ".{0,200}") {
            let _ = ClientMessage::parse(&text);
        }
    }
}
