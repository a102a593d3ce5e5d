//! TLS of the public port. [`TlsStream`] carries a connection's handshake and its HTTP requests; after an upgrade the socket and
//! its `Session` go to a shard, which seals and opens for itself: no task and no pipe stand between.
//!
//! Which certificates are shown, and when they are read, is the accept loop's business.

pub(crate) mod session;
mod stream;
#[cfg(test)]
pub(crate) mod testing;

pub use stream::TlsStream;
