//! The data plane: sockets, channels, fan-out. Knows apps as snapshots from an [`apps::AppSource`]; knows no accounts, no SQL
//! and no pages.
//!
//! One frame's way: [`publish`] (the one door) → broker → [`hub`] (which shards hold the channel; the order of its frames) →
//! shard (owns its sockets, joins what waits, writes). A socket's way: [`ws`] → handshake → admission → shard.

mod admission;
pub mod app;
pub mod apps;
mod broker;
mod cache;
mod clock;
pub mod console;
mod counts;
mod frame;
mod handshake;
pub mod hub;
mod later;
mod meter;
pub mod node;
pub mod publish;
mod shard;
mod subscribe;
#[cfg(test)]
mod testing;
pub mod unknown_keys;
pub mod usage;
mod users;
mod webhooks;
pub mod ws;

pub use cache::Cached;
pub use clock::resets_ms;
pub use node::{Node, NodeConfig};
