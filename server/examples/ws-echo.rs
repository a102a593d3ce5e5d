//! `ws-echo ADDRESS [BYTES [CERT KEY]]`: the server's own accept loop, upgrade, parser, limits and writes, with a handler that sends every
//! message back. What `e2e/websocket` tests against RFC 6455; BYTES is the limit of a message (the server's own if left out); with PEM files
//! it speaks TLS.

use std::sync::Arc;

use anyhow::Context;
use protocol::limits::INBOUND_MESSAGE_BYTES_MAX;
use realtime::apps::{AppRecord, AppSource, SourceError};
use realtime::usage::{BoxFuture, Report, Totals, UsageSink};
use realtime::{Node, NodeConfig};
use server::accept::{self, Door};
use server::tls::{CertificateFiles, Tls};
use tokio::sync::watch;

/// Threads of the data plane; two, so that sockets are spread.
const WORKERS: usize = 2;

struct NoApps;

impl AppSource for NoApps {
    fn by_key<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<AppRecord>, SourceError>> {
        Box::pin(async { Ok(None) })
    }

    fn by_id(&self, _: u64) -> BoxFuture<'_, Result<Option<AppRecord>, SourceError>> {
        Box::pin(async { Ok(None) })
    }
}

impl UsageSink for NoApps {
    fn take(&self, _: Report) -> BoxFuture<'_, Result<Vec<Totals>, SourceError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().context("usage: ws-echo ADDRESS [BYTES [CERT KEY]]")?;
    let limit = arguments.next().map(|bytes| bytes.parse()).transpose()?.unwrap_or(INBOUND_MESSAGE_BYTES_MAX);
    let tls = match (arguments.next(), arguments.next()) {
        (Some(certificate), Some(key)) => {
            Some(Tls::load(CertificateFiles { certificate: certificate.into(), key: key.into() })?)
        }
        _ => None,
    };
    let node =
        Node::start(NodeConfig { workers: WORKERS, cluster: None }, Arc::new(NoApps), Arc::new(NoApps))
            .await?;
    node.echo_all(limit);
    let listener = accept::listen(address.parse()?)?;
    println!("ws-echo listens on {}, messages up to {limit} bytes", listener.local_addr()?);
    let door = Door { router: realtime::ws::router(node.clone()), node, trust_proxy: false, tls };
    let (_never, stop) = watch::channel(false);
    accept::run(listener, door, stop).await;
    Ok(())
}
