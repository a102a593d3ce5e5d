//! What the engine needs of storage. Deliveries are stored before their first attempt; a claim is a lease of a node.

use std::sync::Arc;

use crate::apps::SourceError;
use crate::usage::BoxFuture;
use serde::{Deserialize, Serialize};

/// A delivery to store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewDelivery {
    /// From [`WebhookStore::new_id`].
    pub id: String,
    /// Where to.
    pub endpoint_id: Arc<str>,
    /// The time in its body.
    pub created_ms: i64,
    /// The JSON array of events.
    pub events: String,
    /// Events in it.
    pub events_count: u32,
    /// Claimed by the node that stores it.
    pub claimed: bool,
}

/// What was not stored, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotStored {
    /// Too many wait for their endpoint.
    pub too_many: Vec<String>,
    /// Their endpoint is no more.
    pub gone: Vec<String>,
}

/// A delivery that the node has claimed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    /// Its id; later ones are greater.
    pub id: String,
    /// Where to.
    pub endpoint_id: Arc<str>,
    /// Whose.
    pub app_id: u64,
    /// The time in its body.
    pub time_ms: i64,
    /// The JSON array of events.
    pub events: String,
    /// Events in it.
    pub events_count: u32,
    /// Goes out even when the endpoint is off.
    pub by_hand: bool,
    /// Not before.
    pub next_try_ms: Option<i64>,
}

/// One POST, for the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it began.
    pub at_ms: i64,
    /// How long it took.
    pub duration_ms: i64,
    /// The answer's status.
    pub status: Option<u16>,
    /// Why there is no success.
    pub error: Option<String>,
    /// As sent.
    pub request_headers: Vec<(String, String)>,
    /// As received.
    pub response_headers: Vec<(String, String)>,
    /// The beginning of the answer.
    pub response_body: String,
}

/// How far a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// To be tried again at this time, ms since the epoch.
    Pending(i64),
    /// It arrived.
    Delivered,
    /// Given up.
    Failed,
}

/// How an attempt ended, or that there will be no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which delivery.
    pub id: String,
    /// To which endpoint.
    pub endpoint_id: Arc<str>,
    /// The attempt, if one was made.
    pub attempt: Option<Attempt>,
    /// How far the delivery is now.
    pub state: State,
}

/// An endpoint that was paused: `(app id, endpoint id)`.
pub type Paused = (u64, String);

/// Where deliveries are kept.
pub trait WebhookStore: Send + Sync + 'static {
    /// An id for a delivery; later ones are greater.
    fn new_id(&self) -> String;
    /// Stores all that can be, or none. Those that are claimed belong to `node` until `until_ms`.
    fn put<'a>(
        &'a self,
        node: &'a str,
        until_ms: i64,
        new: Vec<NewDelivery>,
    ) -> BoxFuture<'a, Result<NotStored, SourceError>>;
    /// Endpoints for which something waits that nobody has claimed.
    fn waiting(&self, now_ms: i64) -> BoxFuture<'_, Result<Vec<String>, SourceError>>;
    /// Claims the oldest that wait for an endpoint, oldest first.
    fn claim<'a>(
        &'a self,
        node: &'a str,
        now_ms: i64,
        until_ms: i64,
        endpoint_id: &'a str,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Claimed>, SourceError>>;
    /// Keeps the node's claims.
    fn renew<'a>(&'a self, node: &'a str, until_ms: i64) -> BoxFuture<'a, Result<(), SourceError>>;
    /// Gives the node's claims back.
    fn release<'a>(&'a self, node: &'a str) -> BoxFuture<'a, Result<(), SourceError>>;
    /// Writes attempts and states down, all or none; gives the endpoints that are paused now.
    fn finish<'a>(
        &'a self,
        node: &'a str,
        outcomes: Vec<Outcome>,
    ) -> BoxFuture<'a, Result<Vec<Paused>, SourceError>>;
    /// Keeps events whose grace has not ended: `(app id, event as JSON)`.
    fn hold(&self, events: Vec<(u64, String)>) -> BoxFuture<'_, Result<(), SourceError>>;
    /// Takes what was held, in its order.
    fn take_held(&self) -> BoxFuture<'_, Result<Vec<(u64, String)>, SourceError>>;
    /// Keeps the log of these endpoints short.
    fn prune(&self, now_ms: i64, endpoint_ids: Vec<String>) -> BoxFuture<'_, Result<(), SourceError>>;
}
