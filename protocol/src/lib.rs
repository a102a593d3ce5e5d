//! The Pusher Channels protocol 5–7 as values: names, frames, signatures, HTTP bodies, limits.
//!
//! No I/O and no clock, so that every rule can be tested in a table and fuzzed. What a rule is based on is named beside it
//! (Pusher's documentation page, or an official client's behaviour). It does not decide who may connect, subscribe or publish.
//!
//! Reading order: [`limits`], [`socket_id`], [`channel`], [`event`], [`member`], [`user`], [`signature`], [`client_message`],
//! [`server_message`], [`close`], [`http_api`], [`webhook`], [`webhook_url`].

pub mod channel;
pub mod client_message;
pub mod close;
pub mod event;
pub mod http_api;
pub mod json;
pub mod limits;
pub mod member;
pub mod origins;
pub mod query;
pub mod server_message;
pub mod signature;
pub mod socket_id;
pub mod user;
pub mod webhook;
pub mod webhook_url;
