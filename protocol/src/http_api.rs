//! Bodies of the HTTP API's requests. Values that are only passed on stay raw. Checks of names and sizes are the caller's.
//!
//! Source: REST reference; `channel` beside `channels` as the PHP SDK sends it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// `POST /apps/{id}/events`.
#[derive(Deserialize, Debug)]
pub struct EventBody<'a> {
    /// Event name.
    #[serde(borrow)]
    pub name: Option<Cow<'a, str>>,
    /// Any JSON; a string stands for its content.
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
    /// Channels to publish to.
    #[serde(borrow, default)]
    pub channels: Option<Vec<Cow<'a, str>>>,
    /// A single channel, instead of or beside `channels`.
    #[serde(borrow, default)]
    pub channel: Option<Cow<'a, str>>,
    /// This connection does not get the event.
    #[serde(borrow, default)]
    pub socket_id: Option<Cow<'a, str>>,
    /// Comma-separated attributes to answer with.
    #[serde(borrow, default)]
    pub info: Option<Cow<'a, str>>,
}

/// `POST /apps/{id}/batch_events`: events with one `channel` each.
#[derive(Deserialize, Debug)]
pub struct BatchBody<'a> {
    /// In the order in which they are published.
    #[serde(borrow)]
    pub batch: Vec<EventBody<'a>>,
}
