//! `POST events`, `POST batch_events`, and the publish of 2012, `POST channels/{c}/events`.

use std::borrow::Cow;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use protocol::channel::{Access, ChannelName};
use protocol::event::check_published;
use protocol::http_api::{BatchBody, EventBody};
use protocol::json::{data_text, depth_within};
use protocol::limits::{BATCH_EVENTS_MAX, CHANNELS_PER_PUBLISH_MAX, EVENT_DATA_BYTES_MAX, JSON_DEPTH_MAX};
use protocol::socket_id::SocketId;
use realtime::Node;
use realtime::publish::{Admitted, Publication};
use serde_json::value::RawValue;
use serde_json::{Map, json};

use super::At;
use super::error::ApiError;
use super::query::{Attributes, describe};
use super::signed::{Signed, Whose};

/// An event that passed all checks.
pub(crate) struct Event<'a> {
    pub(crate) name: &'a str,
    pub(crate) data: &'a RawValue,
    pub(crate) channels: Vec<&'a str>,
    pub(crate) exclude: Option<SocketId>,
    info: Attributes,
}

pub(super) async fn publish(
    State(node): State<Node>,
    At(app_id): At<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let signed = Signed::read(node, Whose::Id(&app_id), request).await?;
    let answer = publish_one(&signed).await;
    Ok(signed.answer(answer))
}

async fn publish_one(signed: &Signed) -> Result<Response, ApiError> {
    let data;
    let body: EventBody<'_> = match signed.body.is_empty() {
        false => parse(&signed.body)?,
        // All of it may stand in the query instead.
        true => {
            data = signed.param("data").map(|text| raw_text(&text)).transpose()?;
            EventBody {
                name: signed.param("name").map(Cow::Owned),
                data: data.as_deref(),
                channels: Some(signed.params("channels").into_iter().map(Cow::Owned).collect()),
                channel: signed.param("channel").map(Cow::Owned),
                socket_id: signed.param("socket_id").map(Cow::Owned),
                info: signed.param("info").map(Cow::Owned),
            }
        }
    };
    let event = check(&body)?;
    send(signed, &signed.admit(1).await?, &event);
    if event.info.is_empty() {
        return Ok(json_response("{}"));
    }
    let mut channels = Map::new();
    for name in event.channels.iter() {
        channels.insert((*name).to_owned(), describe(signed, name, event.info).await);
    }
    Ok(json_response(json!({ "channels": channels }).to_string()))
}

/// The channel is in the path, the name in the query, the body is the event's data as it is. Answers 202.
pub(super) async fn publish_deprecated(
    State(node): State<Node>,
    At((app_id, channel)): At<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let signed = Signed::read(node, Whose::Id(&app_id), request).await?;
    let answer = publish_body(&signed, &channel).await;
    Ok(signed.answer(answer))
}

async fn publish_body(signed: &Signed, channel: &str) -> Result<Response, ApiError> {
    let data = raw_text(utf8(&signed.body)?)?;
    let body = EventBody {
        name: signed.param("name").map(Cow::Owned),
        data: Some(&data),
        channels: None,
        channel: Some(Cow::Borrowed(channel)),
        socket_id: signed.param("socket_id").map(Cow::Owned),
        info: None,
    };
    let event = check(&body)?;
    send(signed, &signed.admit(1).await?, &event);
    // Nobody reads it, but an SDK that decodes every answer finds an object.
    Ok((StatusCode::ACCEPTED, json_response("{}")).into_response())
}

pub(super) async fn publish_batch(
    State(node): State<Node>,
    At(app_id): At<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let signed = Signed::read(node, Whose::Id(&app_id), request).await?;
    let answer = publish_all(&signed).await;
    Ok(signed.answer(answer))
}

async fn publish_all(signed: &Signed) -> Result<Response, ApiError> {
    let body: BatchBody<'_> = parse(&signed.body)?;
    if body.batch.len() > BATCH_EVENTS_MAX {
        return Err(ApiError::batch_too_large(body.batch.len()));
    }
    // All are checked before the first goes out.
    let checked = body.batch.iter().enumerate().map(|(index, body)| {
        let event = check(body).map_err(|error| error.in_batch(index))?;
        match event.channels.len() {
            1 => Ok(event),
            n => {
                let text = format!("Too many channels: an event of a batch has one channel, {n} given");
                Err(ApiError::bad_request(text).in_batch(index))
            }
        }
    });
    let events = checked.collect::<Result<Vec<_>, _>>()?;
    let admitted = signed.admit(events.len()).await?;
    events.iter().for_each(|event| send(signed, &admitted, event));
    if events.iter().all(|e| e.info.is_empty()) {
        return Ok(json_response("{}"));
    }
    let mut each = Vec::with_capacity(events.len());
    for event in &events {
        each.push(match event.channels.first() {
            Some(name) => describe(signed, name, event.info).await,
            None => json!({}),
        });
    }
    Ok(json_response(json!({ "batch": each }).to_string()))
}

fn send(signed: &Signed, admitted: &Admitted, event: &Event<'_>) {
    let publication = Publication {
        channels: &event.channels,
        event: event.name,
        data: event.data,
        exclude: event.exclude,
        origin: signed.origin(),
    };
    signed.node.publish_admitted(admitted, &signed.app, &publication);
    if !event.info.is_empty() {
        signed.node.charge_read(&signed.app);
    }
}

pub(super) fn json_response(body: impl Into<Cow<'static, str>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.into().into_owned()).into_response()
}

fn utf8(body: &[u8]) -> Result<&str, ApiError> {
    std::str::from_utf8(body).map_err(|error| {
        let text = format!("Invalid body: it is not UTF-8, beginning at byte {}", error.valid_up_to());
        ApiError::bad_request(text)
    })
}

/// A text that is data as it stands, as the JSON string that the data plane takes.
fn raw_text(text: &str) -> Result<Box<RawValue>, ApiError> {
    serde_json::value::to_raw_value(text).map_err(|_| ApiError::bad_request("Invalid data: it is no text"))
}

fn parse<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    let text = utf8(body)?;
    if !depth_within(text, JSON_DEPTH_MAX) {
        return Err(ApiError::bad_request(format!(
            "Invalid JSON: nested deeper than {JSON_DEPTH_MAX} levels"
        )));
    }
    serde_json::from_str(text).map_err(|error| ApiError::bad_request(format!("Invalid JSON body: {error}")))
}

pub(crate) fn check<'a>(body: &'a EventBody<'a>) -> Result<Event<'a>, ApiError> {
    let name = body.name.as_deref().ok_or_else(|| ApiError::bad_request("Missing parameter: name"))?;
    check_published(name).map_err(|e| ApiError::bad_request(format!("Invalid event name: {e}")))?;
    let data = body.data.ok_or_else(|| ApiError::bad_request("Missing parameter: data"))?;
    // Escapes only make text longer, so a literal that is short enough needs no decoding.
    if data.get().len() > EVENT_DATA_BYTES_MAX {
        let bytes = data_text(data).len();
        if bytes > EVENT_DATA_BYTES_MAX {
            return Err(ApiError::data_too_large(bytes, name));
        }
    }
    let mut channels: Vec<&str> = Vec::new();
    for channel in body.channel.iter().chain(body.channels.iter().flatten()) {
        if !channels.contains(&&**channel) {
            channels.push(channel);
        }
    }
    if channels.is_empty() {
        return Err(ApiError::bad_request("Missing parameter: channels"));
    }
    if channels.len() > CHANNELS_PER_PUBLISH_MAX {
        return Err(ApiError::too_many_channels(channels.len()));
    }
    for channel in &channels {
        let checked = ChannelName::parse(channel).map_err(|e| {
            let (shown, _) = protocol::json::clip(channel, 80);
            ApiError::bad_request(format!("Invalid channel name {shown:?}: {e}"))
        })?;
        if checked.kind().access == Access::Encrypted && channels.len() > 1 {
            let text = format!(
                "Too many channels: an event for an encrypted channel can have one channel only, {} given",
                channels.len()
            );
            return Err(ApiError::bad_request(text));
        }
    }
    let exclude = match body.socket_id.as_deref() {
        None => None,
        Some(id) => Some(SocketId::parse(id).ok_or_else(|| {
            let (shown, _) = protocol::json::clip(id, 40);
            ApiError::bad_request(format!("Invalid socket_id {shown:?}: expected digits.digits"))
        })?),
    };
    let info = Attributes::parse(body.info.as_deref().unwrap_or_default())?;
    Ok(Event { name, data, channels, exclude, info })
}
