//! `GET /metrics` on a port of its own, in the OpenMetrics text format that Prometheus reads. Every number is read when it is asked
//! for; nothing is counted for it on the way of a message. Names, units and labels: `docs/METRICS.md`, which a story compares.

use std::fmt::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use realtime::Node;
use realtime::totals::Numbers;
use tokio::net::TcpListener;

use crate::process::Used;
use crate::serve::Storage;

/// Apps with series of their own: those with most connections. A server of thousands must not make thousands of series.
pub const APPS_MAX: usize = 100;
/// The database has this long to answer before it counts as away.
const PING_WAIT: Duration = Duration::from_secs(1);
/// Instead of an address: no metrics.
pub const OFF: &str = "off";

/// Where metrics are to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Address and port.
    pub address: SocketAddr,
    /// Chosen by the operator, so it must be free.
    pub chosen: bool,
}

#[derive(Clone, Debug)]
struct Source {
    node: Node,
    storage: Storage,
    started_s: f64,
}

/// Begins to answer. *Errors*: the operator chose an address that can't be had; the default one may be taken by another server
/// of this machine.
pub(crate) async fn start(listen: Option<Listen>, node: Node, storage: Storage) -> anyhow::Result<()> {
    let Some(Listen { address, chosen }) = listen else { return Ok(()) };
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) if chosen => {
            return Err(error).with_context(|| format!("metrics_listen: {address} can't be listened on"));
        }
        Err(error) => {
            tracing::warn!(%error, %address, "there are no metrics: set FANFARE_METRICS_LISTEN to a free address, or to off");
            return Ok(());
        }
    };
    let at = listener.local_addr()?;
    tracing::info!("metrics are at http://{at}/metrics");
    let started_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let source = Arc::new(Source { node, storage, started_s });
    let router = Router::new().route("/metrics", get(answer)).with_state(source);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "metrics ended");
        }
    });
    Ok(())
}

async fn answer(State(source): State<Arc<Source>>) -> Response {
    let (mut database, mut control) = (None, None);
    match &source.storage {
        Storage::Database(db) => {
            database = Some(matches!(tokio::time::timeout(PING_WAIT, db.ping()).await, Ok(Ok(()))));
        }
        Storage::Control(remote) => control = Some(remote.away().is_none()),
    }
    let read = Read {
        numbers: source.node.numbers(APPS_MAX),
        node: source.node.name().to_string(),
        database,
        control,
        joined: source.node.is_in_touch().map(|is_up| (is_up, source.node.nodes().len())),
        started_s: source.started_s,
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(read));
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &registry) {
        Ok(()) => ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
            .into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// What was read for one answer.
#[derive(Debug)]
struct Read {
    numbers: Numbers,
    node: String,
    /// Does the database answer? `None`: this node has none.
    database: Option<bool>,
    /// Did the control plane answer last? `None`: this node has a database.
    control: Option<bool>,
    /// Does Redis answer, and how many nodes are alive? `None`: this node is alone.
    joined: Option<(bool, usize)>,
    started_s: f64,
}

/// Writes metrics one after the other.
struct Writer<'a>(DescriptorEncoder<'a>);

type Label<'a> = (&'a str, &'a str);

impl Writer<'_> {
    fn gauge(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: f64) -> Result<(), Error> {
        let encoder = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        ConstGauge::new(value).encode(encoder)
    }

    fn counter(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: f64) -> Result<(), Error> {
        let encoder = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        ConstCounter::new(value).encode(encoder)
    }

    fn family(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        unit: Option<&Unit>,
        series: &[(Vec<Label<'_>>, u64)],
    ) -> Result<(), Error> {
        let is_counter = matches!(kind, MetricType::Counter);
        let mut encoder = self.0.encode_descriptor(name, help, unit, kind)?;
        for (labels, value) in series {
            let one = encoder.encode_family(labels)?;
            if is_counter {
                ConstCounter::new(*value).encode(one)?;
            } else {
                ConstGauge::new(*value as i64).encode(one)?;
            }
        }
        Ok(())
    }

    fn by_code(&mut self, name: &str, help: &str, counts: &[(Option<u16>, u64)]) -> Result<(), Error> {
        let named: Vec<(String, u64)> = counts
            .iter()
            .map(|(code, n)| (code.map_or_else(|| "other".to_owned(), |code| code.to_string()), *n))
            .collect();
        let series: Vec<_> = named.iter().map(|(code, n)| (vec![("code", code.as_str())], *n)).collect();
        self.family(name, help, MetricType::Counter, None, &series)
    }
}

impl Collector for Read {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut to = Writer(encoder);
        let n = &self.numbers;
        let info = vec![(vec![("node", self.node.as_str()), ("version", env!("CARGO_PKG_VERSION"))], 1)];
        to.family("fanfare_build_info", "This process", MetricType::Gauge, None, &info)?;
        to.gauge("fanfare_connections", "Open connections of customers' apps", None, n.connections as f64)?;
        to.gauge("fanfare_channels", "Channels with a subscriber", None, n.channels as f64)?;
        to.gauge("fanfare_apps_loaded", "Apps in memory", None, n.apps as f64)?;
        to.gauge("fanfare_draining", "1 while the node goes away", None, f64::from(u8::from(n.draining)))?;
        if let Some(up) = self.database {
            to.gauge("fanfare_database_up", "1 if the database answers", None, f64::from(u8::from(up)))?;
        }
        if let Some(up) = self.control {
            to.gauge("fanfare_control_up", "1 if the control plane answers", None, f64::from(u8::from(up)))?;
        }
        if let Some(joined) = self.joined {
            to.gauge("fanfare_cluster_up", "1 if Redis answers", None, f64::from(u8::from(joined.0)))?;
            to.gauge("fanfare_cluster_nodes", "Nodes of the cluster that are alive", None, joined.1 as f64)?;
        }
        to.counter(
            "fanfare_connections_opened",
            "Connections established, the dashboard's own included",
            None,
            n.opened as f64,
        )?;
        to.by_code("fanfare_connections_refused", "Connections turned away, by close code", &n.refused)?;
        to.by_code(
            "fanfare_connections_closed",
            "Established connections that ended, by close code",
            &n.closed,
        )?;
        let messages: Vec<_> = n.messages.iter().map(|(class, n)| (vec![("class", *class)], *n)).collect();
        to.family(
            "fanfare_messages",
            "Messages as plans count them, by class; counted once a second",
            MetricType::Counter,
            None,
            &messages,
        )?;
        let shards: Vec<String> = (0..n.queued_bytes.len()).map(|shard| shard.to_string()).collect();
        let queued: Vec<_> =
            shards.iter().zip(&n.queued_bytes).map(|(s, n)| (vec![("shard", s.as_str())], *n)).collect();
        to.family("fanfare_queued", "Waits for a shard", MetricType::Gauge, Some(&Unit::Bytes), &queued)?;
        let ids: Vec<String> = n.busiest.iter().map(|app| app.id.to_string()).collect();
        let of_apps = |value: fn(&realtime::totals::AppNumbers) -> u64| -> Vec<(Vec<Label<'_>>, u64)> {
            ids.iter().zip(&n.busiest).map(|(id, app)| (vec![("app", id.as_str())], value(app))).collect()
        };
        to.family(
            "fanfare_app_connections",
            "Open connections of the busiest apps",
            MetricType::Gauge,
            None,
            &of_apps(|app| app.connections),
        )?;
        to.family(
            "fanfare_app_messages_today",
            "Messages since 00:00 UTC of the busiest apps",
            MetricType::Gauge,
            None,
            &of_apps(|app| app.messages_today),
        )?;
        self.process(&mut to)
    }
}

impl Read {
    /// The names that Prometheus' own libraries use.
    fn process(&self, to: &mut Writer<'_>) -> Result<(), Error> {
        to.gauge(
            "process_start_time",
            "Start of the process since 1970",
            Some(&Unit::Seconds),
            self.started_s,
        )?;
        let used = Used::now();
        let cpu = used.cpu_seconds.unwrap_or(0.0);
        let number = |read: Option<u64>| read.unwrap_or(0) as f64;
        to.counter("process_cpu", "Processor time, user and system", Some(&Unit::Seconds), cpu)?;
        let (memory, files, max) =
            (number(used.resident_bytes), number(used.open_files), number(used.open_files_max));
        to.gauge("process_resident_memory", "Resident memory", Some(&Unit::Bytes), memory)?;
        to.gauge("process_open_fds", "Open file descriptors", None, files)?;
        to.gauge("process_max_fds", "Most file descriptors that may be open", None, max)
    }
}

/// Reads the setting; `chosen`: it is not the default. *Errors*: a sentence that names it.
pub fn parse(text: &str, chosen: bool) -> anyhow::Result<Option<Listen>> {
    if text == OFF {
        return Ok(None);
    }
    let address = text.parse().with_context(|| {
        format!("metrics_listen must be an address and port, such as 127.0.0.1:9601, or off; it is {text:?}")
    })?;
    Ok(Some(Listen { address, chosen }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_or_off() {
        let address = "127.0.0.1:9601".parse().unwrap();
        assert_eq!(parse("127.0.0.1:9601", false).unwrap(), Some(Listen { address, chosen: false }));
        assert_eq!(parse("off", true).unwrap(), None);
        let error = parse("9601", true).unwrap_err().to_string();
        assert!(error.contains("metrics_listen") && error.contains("9601"), "{error}");
    }
}
