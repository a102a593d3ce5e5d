//! What this process says of itself to the other nodes of its cluster, and what the page of nodes makes of what they say.

use std::sync::Arc;
use std::time::Instant;

use dashboard::NodeRow;
use realtime::Node;
use realtime::cluster::About;
use serde_json::{Value, json};
use std::sync::Mutex;

use crate::process::Used;

/// Tells what this process is and uses.
pub(crate) fn about(cluster: &str, workers: usize) -> About {
    let (cluster, host, started_ms) = (cluster.to_owned(), host_name(), tenancy::now_ms());
    let last = Mutex::new((Instant::now(), Used::now()));
    Arc::new(move || {
        let used = Used::now();
        let (since, before) = std::mem::replace(
            &mut *last.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
            (Instant::now(), used),
        );
        let cpu = match (used.cpu_seconds, before.cpu_seconds) {
            (Some(now), Some(before)) => {
                Some((now - before) / since.elapsed().as_secs_f64().max(0.001) * 100.0)
            }
            _ => None,
        };
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "cluster": cluster,
            "host": host,
            "started_ms": started_ms,
            "workers": workers,
            "cpu_percent": cpu.map(|cpu| cpu.round() as u64),
            "memory_bytes": used.resident_bytes,
            "open_files": used.open_files,
            "open_files_max": used.open_files_max,
        })
    })
}

/// The nodes that are alive, this one among them.
pub(super) fn rows(node: &Node) -> Vec<NodeRow> {
    let number = |says: &Value, name: &str| says.get(name).and_then(Value::as_u64);
    let text =
        |says: &Value, name: &str| says.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let row = |one: realtime::cluster::NodeInfo| NodeRow {
        is_this: *one.name == **node.name(),
        version: text(&one.says, "version"),
        cluster: text(&one.says, "cluster"),
        host: text(&one.says, "host"),
        started_ms: number(&one.says, "started_ms").unwrap_or_default() as i64,
        workers: number(&one.says, "workers").unwrap_or_default(),
        connections: number(&one.says, "connections").unwrap_or_default(),
        channels: number(&one.says, "channels").unwrap_or_default(),
        cpu_percent: number(&one.says, "cpu_percent"),
        memory_bytes: number(&one.says, "memory_bytes"),
        open_files: number(&one.says, "open_files"),
        open_files_max: number(&one.says, "open_files_max"),
        draining: one.says.get("draining").and_then(Value::as_bool).unwrap_or_default(),
        name: one.name,
    };
    node.nodes().into_iter().map(row).collect()
}

/// What this machine calls itself.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}
