//! What is occupied: `GET channels`, `GET channels/{c}`, `GET channels/{c}/users`, the `stats` of 2012, and how many
//! connections there are (`GET connections`, as Laravel Reverb has it). Each counts one message.

use axum::extract::{Request, State};
use axum::response::Response;
use protocol::channel::{ChannelKind, ChannelName};
use realtime::Cached;
use realtime::Node;
use realtime::hub::ChannelFacts;
use serde_json::{Map, Value, json};

use super::At;
use super::error::ApiError;
use super::events::json_response;
use super::signed::{Signed, Whose};

/// Attributes asked for by `info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    users: bool,
    subscriptions: bool,
    /// The name that `subscription_count` had first.
    connections: bool,
    cache: bool,
}

impl Attributes {
    /// Comma-separated names; blanks and empty parts are ignored, unknown names refused.
    pub(super) fn parse(info: &str) -> Result<Attributes, ApiError> {
        let mut wanted = Attributes::default();
        for name in info.split(',').map(str::trim).filter(|n| !n.is_empty()) {
            match name {
                "user_count" => wanted.users = true,
                "subscription_count" => wanted.subscriptions = true,
                "connection_count" => wanted.connections = true,
                "cache" => wanted.cache = true,
                _ => {
                    let (name, _) = protocol::json::clip(name, 40);
                    let text = format!(
                        "Unknown info attribute: {name}; there are user_count, subscription_count, connection_count and cache"
                    );
                    return Err(ApiError::bad_request(text));
                }
            }
        }
        Ok(wanted)
    }

    pub(super) fn is_empty(self) -> bool {
        self == Attributes::default()
    }
}

/// The asked-for attributes of a channel, those that apply to its kind.
pub(super) async fn describe(signed: &Signed, channel: &str, wanted: Attributes) -> Value {
    let facts = signed.node.channel(&signed.app, channel).await;
    let cached = match wanted.cache && ChannelKind::of(channel).cache {
        true => signed.node.cached(&signed.app, channel).await,
        false => None,
    };
    shown(facts.as_ref(), cached, channel, wanted)
}

fn shown(facts: Option<&ChannelFacts>, cached: Option<Cached>, channel: &str, wanted: Attributes) -> Value {
    let mut out = Map::new();
    if wanted.users && channel.starts_with("presence-") {
        out.insert("user_count".into(), facts.and_then(|f| f.users).unwrap_or(0).into());
    }
    let subscriptions = facts.map_or(0, |f| f.subscriptions);
    if wanted.subscriptions {
        out.insert("subscription_count".into(), subscriptions.into());
    }
    if wanted.connections {
        out.insert("connection_count".into(), subscriptions.into());
    }
    if wanted.cache && ChannelKind::of(channel).cache {
        let cached = cached.map(|cached| {
            // Rounded up: what is still there has time left.
            json!({ "data": cached.data, "ttl": cached.ttl.as_secs_f64().ceil() as u64 })
        });
        out.insert("cache".into(), cached.into());
    }
    out.into()
}

fn parse_name(channel: &str) -> Result<(), ApiError> {
    ChannelName::parse(channel).map(drop).map_err(|e| {
        let (shown, _) = protocol::json::clip(channel, 80);
        ApiError::bad_request(format!("Invalid channel name {shown:?}: {e}"))
    })
}

pub(super) async fn channels(
    State(node): State<Node>,
    At(app_id): At<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let signed = Signed::read(node, Whose::Id(&app_id), request).await?;
    Ok(signed.answer(list_channels(&signed).await))
}

async fn list_channels(signed: &Signed) -> Result<Response, ApiError> {
    let prefix = signed.param("filter_by_prefix").unwrap_or_default();
    let wanted = Attributes::parse(&signed.param("info").unwrap_or_default())?;
    if wanted.users && !prefix.starts_with("presence-") {
        return Err(ApiError::bad_request(
            "user_count is only there for presence channels: use filter_by_prefix=presence-",
        ));
    }
    if wanted.cache {
        return Err(ApiError::bad_request(
            "cache is not there for the list of channels: ask for one cache channel",
        ));
    }
    signed.admit_read()?;
    let listed = signed.node.channels(&signed.app, &prefix).await;
    let channels: Map<String, Value> = listed
        .iter()
        .filter(|facts| !facts.name.starts_with('#'))
        .map(|facts| (facts.name.to_string(), shown(Some(facts), None, &facts.name, wanted)))
        .collect();
    Ok(json_response(json!({ "channels": channels }).to_string()))
}

pub(super) async fn channel(
    State(node): State<Node>,
    At((app_id, channel)): At<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let signed = Signed::read(node, Whose::Id(&app_id), request).await?;
    Ok(signed.answer(one_channel(&signed, &channel).await))
}

async fn one_channel(signed: &Signed, channel: &str) -> Result<Response, ApiError> {
    parse_name(channel)?;
    let wanted = Attributes::parse(&signed.param("info").unwrap_or_default())?;
    if wanted.users && !channel.starts_with("presence-") {
        return Err(ApiError::bad_request(format!(
            "user_count is only there for presence channels, not for {channel}"
        )));
    }
    if wanted.cache && !ChannelKind::of(channel).cache {
        return Err(ApiError::bad_request(format!(
            "cache is only there for cache channels, not for {channel}"
        )));
    }
    signed.admit_read()?;
    Ok(occupation(signed, channel, wanted).await)
}

/// What was asked for, and whether anybody is there.
async fn occupation(signed: &Signed, channel: &str, wanted: Attributes) -> Response {
    let mut out = describe(signed, channel, wanted).await;
    out["occupied"] = signed.node.channel(&signed.app, channel).await.is_some().into();
    json_response(out.to_string())
}

pub(super) async fn users(
    State(node): State<Node>,
    At((app_id, channel)): At<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let signed = Signed::read(node, Whose::Id(&app_id), request).await?;
    Ok(signed.answer(list_users(&signed, &channel).await))
}

async fn list_users(signed: &Signed, channel: &str) -> Result<Response, ApiError> {
    parse_name(channel)?;
    if !channel.starts_with("presence-") {
        return Err(ApiError::bad_request(format!(
            "Users are only there for presence channels, not for {channel}"
        )));
    }
    signed.admit_read()?;
    let users: Vec<Value> = signed
        .node
        .channel_users(&signed.app, channel)
        .await
        .iter()
        .map(|id| json!({ "id": &**id }))
        .collect();
    Ok(json_response(json!({ "users": users }).to_string()))
}

/// What there was before `info`.
pub(super) async fn stats(
    State(node): State<Node>,
    At((app_id, channel)): At<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let signed = Signed::read(node, Whose::Id(&app_id), request).await?;
    Ok(signed.answer(stats_of(&signed, &channel).await))
}

async fn stats_of(signed: &Signed, channel: &str) -> Result<Response, ApiError> {
    parse_name(channel)?;
    signed.admit_read()?;
    let wanted = Attributes { users: true, connections: true, ..Attributes::default() };
    Ok(occupation(signed, channel, wanted).await)
}

/// Open connections of the app. Pusher has no such path; Laravel Pulse asks Reverb for it.
pub(super) async fn connections(
    State(node): State<Node>,
    At(app_id): At<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let signed = Signed::read(node, Whose::Id(&app_id), request).await?;
    Ok(signed.answer(count_connections(&signed).await))
}

async fn count_connections(signed: &Signed) -> Result<Response, ApiError> {
    signed.admit_read()?;
    let connections = signed.node.connections(&signed.app).await;
    Ok(json_response(json!({ "connections": connections }).to_string()))
}
