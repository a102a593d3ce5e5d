//! Logs: one line a happening, filtered by `FANFARE_LOG`, as text or JSON, on standard error.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, LevelFilter};

/// A library that logs the messages that it reads, tokens and payloads in them, at `trace`. Its warnings are enough.
const TELLS_TOO_MUCH: &str = "tungstenite";

/// Starts logging. A second call in one process does nothing.
pub fn start(filter: &str, json: bool) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let quieter = Directive::from(LevelFilter::WARN);
    let filter = filter.add_directive(format!("{TELLS_TOO_MUCH}=warn").parse().unwrap_or(quieter));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
}
