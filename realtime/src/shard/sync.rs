//! What `queue` is made of; `tests/queue_model.rs` puts a model checker's part in its place.

pub(crate) use parking_lot::Mutex;
