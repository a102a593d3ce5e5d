//! What is occupied: `GET channels`, `GET channels/{c}`, `GET channels/{c}/users`. Each counts one message.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use protocol::channel::ChannelName;
use realtime::Node;
use realtime::app::App;
use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::events::json_response;
use super::signed::Signed;

/// Attributes asked for by `info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    users: bool,
    subscriptions: bool,
}

impl Attributes {
    /// Comma-separated names; blanks and empty parts are ignored, unknown names refused.
    pub(super) fn parse(info: &str) -> Result<Attributes, ApiError> {
        let mut wanted = Attributes::default();
        for name in info.split(',').map(str::trim).filter(|n| !n.is_empty()) {
            match name {
                "user_count" => wanted.users = true,
                "subscription_count" | "connection_count" => wanted.subscriptions = true,
                _ => {
                    let (name, _) = protocol::json::clip(name, 40);
                    return Err(ApiError::bad_request(format!("Unknown info attribute: {name}")));
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
pub(super) fn describe(app: &App, channel: &str, wanted: Attributes) -> Value {
    let facts = app.channels.get(channel);
    let mut out = Map::new();
    if wanted.users && channel.starts_with("presence-") {
        out.insert("user_count".into(), facts.as_ref().and_then(|f| f.users).unwrap_or(0).into());
    }
    if wanted.subscriptions {
        out.insert("subscription_count".into(), facts.map_or(0, |f| f.subscriptions).into());
    }
    out.into()
}

fn parse_name(channel: &str) -> Result<(), ApiError> {
    ChannelName::parse(channel)
        .map(drop)
        .map_err(|e| ApiError::bad_request(format!("Invalid channel name: {e}")))
}

pub(super) async fn channels(
    State(node): State<Node>,
    Path(app_id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let signed = Signed::read(node, &app_id, request).await?;
    let prefix = signed.param("filter_by_prefix").unwrap_or_default();
    let answer = Attributes::parse(&signed.param("info").unwrap_or_default()).and_then(|wanted| {
        if wanted.users && !prefix.starts_with("presence-") {
            return Err(ApiError::bad_request(
                "user_count is only there for presence channels: use filter_by_prefix=presence-",
            ));
        }
        Ok(wanted)
    });
    let wanted = answer.map_err(|e| signed.refuse(e, None))?;
    signed.node.charge_read(&signed.app);
    let listed = signed.app.channels.list(&prefix);
    let channels: Map<String, Value> = listed
        .iter()
        .filter(|facts| !facts.name.starts_with('#'))
        .map(|facts| (facts.name.to_string(), describe(&signed.app, &facts.name, wanted)))
        .collect();
    Ok(json_response(json!({ "channels": channels }).to_string()))
}

pub(super) async fn channel(
    State(node): State<Node>,
    Path((app_id, channel)): Path<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let signed = Signed::read(node, &app_id, request).await?;
    let info = signed.param("info").unwrap_or_default();
    let answer = parse_name(&channel).and_then(|()| Attributes::parse(&info)).and_then(|wanted| {
        if wanted.users && !channel.starts_with("presence-") {
            return Err(ApiError::bad_request(format!(
                "user_count is only there for presence channels, not for {channel}"
            )));
        }
        Ok(wanted)
    });
    let wanted = answer.map_err(|e| signed.refuse(e, None))?;
    signed.node.charge_read(&signed.app);
    let mut out = describe(&signed.app, &channel, wanted);
    out["occupied"] = signed.app.channels.get(&channel).is_some().into();
    Ok(json_response(out.to_string()))
}

pub(super) async fn users(
    State(node): State<Node>,
    Path((app_id, channel)): Path<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let signed = Signed::read(node, &app_id, request).await?;
    let checked = parse_name(&channel).and_then(|()| match channel.starts_with("presence-") {
        true => Ok(()),
        false => Err(ApiError::bad_request(format!(
            "Users are only there for presence channels, not for {channel}"
        ))),
    });
    checked.map_err(|e| signed.refuse(e, None))?;
    signed.node.charge_read(&signed.app);
    let users: Vec<Value> =
        signed.app.channels.user_ids(&channel).iter().map(|id| json!({ "id": &**id })).collect();
    Ok(json_response(json!({ "users": users }).to_string()))
}
