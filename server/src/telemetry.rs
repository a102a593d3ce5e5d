//! Logs: one line a happening, filtered by `FANFARE_LOG`, as text or JSON, on standard error.

use tracing_subscriber::EnvFilter;

/// Starts logging. A second call in one process does nothing.
pub fn start(filter: &str, json: bool) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
}
