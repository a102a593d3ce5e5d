//! The data plane: sockets, channels, fan-out. Knows apps as snapshots from an [`apps::AppSource`]; knows no accounts, no SQL
//! and no pages.
//!
//! One frame's way: [`publish`] (the one door) → broker → [`hub`] (which shards hold the channel; the order of its frames) →
//! shard (owns its connections, joins what waits, writes). A client's way: [`ws`] or [`fallback`] → handshake → admission → shard.

mod admission;
pub mod app;
pub mod apps;
mod broker;
mod cache;
mod clock;
pub mod cluster;
mod connect_rate;
pub mod console;
mod counts;
pub mod fallback;
mod frame;
mod handshake;
pub mod hub;
pub mod key_use;
mod later;
#[doc(hidden)]
pub mod measured;
mod meter;
pub mod node;
pub mod publish;
pub mod rate;
mod shard;
pub mod standings;
mod subscribe;
mod subscribers;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod totals;
mod transport;
pub mod unknown_keys;
pub mod usage;
mod users;
pub mod webhooks;
pub mod ws;

pub use cache::Cached;
pub use clock::resets_ms;
pub use node::{Node, NodeConfig};
