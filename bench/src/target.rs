//! The server that is measured, as the command line names it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use tokio_rustls::rustls::StreamOwned;

use crate::app::App;
use crate::http;
use crate::machine::{self, Server};
use crate::net::{Addresses, Net};
use crate::tls::Tls;

/// How long the first request may take.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Channel of the first request; nobody listens there.
const HELLO_CHANNEL: &str = "bench-hello";

/// What all scenarios are told.
#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct Target {
    /// Address of the WebSocket side, such as ws://127.0.0.1:6001 or wss://ws.example.com.
    #[arg(long, default_value = "ws://127.0.0.1:6001")]
    pub(crate) url: String,
    /// Address of the HTTP API; without it, that of --url.
    #[arg(long)]
    pub(crate) http_url: Option<String>,
    /// Over TLS, take whatever certificate the server shows.
    #[arg(long)]
    pub(crate) insecure: bool,
    /// The app's id.
    #[arg(long, env = "FANFARE_APP_ID")]
    pub(crate) app_id: String,
    /// The app's key.
    #[arg(long, env = "FANFARE_APP_KEY")]
    pub(crate) key: String,
    /// The app's secret.
    #[arg(long, env = "FANFARE_APP_SECRET", hide_env_values = true)]
    #[serde(skip)]
    pub(crate) secret: String,
    /// Processes of the server, for its CPU time and memory; several with commas.
    #[arg(long, value_delimiter = ',')]
    #[serde(skip)]
    pub(crate) server_pid: Vec<i32>,
    /// Give up on bringing clients up after this many seconds.
    #[arg(long, default_value_t = 60)]
    pub(crate) connect_seconds: u64,
    /// Print one JSON object on one line instead of a table.
    #[arg(long)]
    #[serde(skip)]
    pub(crate) json: bool,
    /// Copied into the JSON.
    #[arg(long, default_value = "")]
    #[serde(skip)]
    pub(crate) label: String,
    /// Commit of the server, copied into the JSON.
    #[arg(long)]
    #[serde(skip)]
    pub(crate) commit: Option<String>,
}

/// What an address comes to.
#[derive(Clone)]
struct Resolved {
    /// With the port, as it was written.
    host: String,
    /// The name in its certificate, if it speaks TLS.
    tls: Option<String>,
    address: SocketAddr,
}

/// Reads an address with one of these schemes (the first is the one to show), or with the same and an s for TLS.
fn resolve(url: &str, schemes: &[&str]) -> anyhow::Result<Resolved> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let tls = schemes.iter().any(|plain| scheme.strip_suffix('s') == Some(plain));
    if !tls && !schemes.contains(&scheme) {
        bail!("{url}: an address here begins with {0}:// or {0}s://", schemes[0]);
    }
    let host = rest.trim_end_matches('/');
    let (name, full) = match host.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
        Some((name, _)) => (name, host.to_owned()),
        None => (host, format!("{host}:{}", if tls { 443 } else { 80 })),
    };
    let address = full.to_socket_addrs().with_context(|| format!("{url}: no such host, or no port"))?.next();
    let address = address.with_context(|| format!("{url}: the host has no address"))?;
    Ok(Resolved { host: host.to_owned(), tls: tls.then(|| name.to_owned()), address })
}

impl Target {
    /// Addresses of both sides.
    pub(crate) fn addresses(&self) -> anyhow::Result<Addresses> {
        let tls = |of: &Resolved| of.tls.as_ref().map(|name| Tls::new(name, self.insecure)).transpose();
        let socket = resolve(&self.url, &["ws", "http"])?;
        let socket_tls = tls(&socket)?;
        let (http, http_tls) = match &self.http_url {
            Some(url) => {
                let http = resolve(url, &["http"])?;
                let tls = tls(&http)?;
                (http, tls)
            }
            None => (socket.clone(), socket_tls.clone()),
        };
        Ok(Addresses {
            socket: socket.address,
            socket_host: socket.host,
            socket_tls,
            http: http.address,
            http_host: http.host,
            http_tls,
        })
    }

    /// The app that is measured with.
    pub(crate) fn app(&self) -> App {
        App::new(&self.app_id, &self.key, &self.secret)
    }

    /// Publishes one event that nobody gets.
    pub(crate) fn try_publish(&self) -> anyhow::Result<()> {
        hello(&self.addresses()?, &self.app())
    }

    /// The server's processes.
    pub(crate) fn server(&self) -> anyhow::Result<Server> {
        Server::new(&self.server_pid)
    }

    /// A generator for `sockets` clients of these apps, after each app was seen to take a signed publish.
    pub(crate) fn net(&self, apps: Vec<App>, sockets: usize, https: usize) -> anyhow::Result<Net> {
        machine::allow_sockets((sockets + https) as u64)?;
        let addresses = self.addresses()?;
        for app in &apps {
            hello(&addresses, app)?;
        }
        Ok(Net::new(&addresses, apps, sockets)?)
    }
}

/// Publishes one event that nobody gets, so that a wrong app or address is named before anything is measured.
fn hello(to: &Addresses, app: &App) -> anyhow::Result<()> {
    let stream = TcpStream::connect_timeout(&to.http, HELLO_TIMEOUT)
        .with_context(|| format!("nothing answers on {}", to.http))?;
    stream.set_read_timeout(Some(HELLO_TIMEOUT))?;
    match &to.http_tls {
        None => greet(stream, to, app),
        Some(tls) => greet(StreamOwned::new(tls.connection()?, stream), to, app)
            .context("over TLS (--insecure takes any certificate)"),
    }
}

fn greet(mut stream: impl Read + Write, to: &Addresses, app: &App) -> anyhow::Result<()> {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let body = format!(r#"{{"name":"hello","channel":"{HELLO_CHANNEL}","data":"{{}}"}}"#);
    let mut request = Vec::new();
    app.post(&to.http_host, "events", body.as_bytes(), unix, &mut request);
    stream.write_all(&request).context("the first publish can't be sent")?;
    let (mut got, mut body, mut buffer) = (Vec::new(), Vec::new(), [0; 4_096]);
    loop {
        let count = stream.read(&mut buffer).context("the first publish was not answered")?;
        got.extend_from_slice(&buffer[..count]);
        match http::read(&got, &mut body) {
            Ok(Some(answer)) if answer.status == 200 => return Ok(()),
            Ok(Some(answer)) => {
                bail!(
                    "the first publish was answered {}: {}",
                    answer.status,
                    String::from_utf8_lossy(&body).trim()
                )
            }
            Ok(None) if count > 0 => {}
            Ok(None) => bail!("the first publish was not answered"),
            Err(what) => bail!("the first publish was answered with what is {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_resolved_and_wrong_ones_explained() {
        for (url, host, tls, port) in [
            ("ws://127.0.0.1:6001/", "127.0.0.1:6001", None, 6001),
            ("ws://[::1]", "[::1]", None, 80),
            ("wss://[::1]", "[::1]", Some("[::1]"), 443),
            ("wss://localhost:7001", "localhost:7001", Some("localhost"), 7001),
        ] {
            let got = resolve(url, &["ws"]).unwrap();
            assert_eq!((&*got.host, got.tls.as_deref(), got.address.port()), (host, tls, port), "{url}");
        }
        for (url, word) in [("ftp://x:1", "ws://"), ("127.0.0.1:6001", "ws://")] {
            assert!(resolve(url, &["ws"]).err().unwrap().to_string().contains(word), "{url}");
        }
    }
}
