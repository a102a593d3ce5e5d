//! What a process serves: everything, the control plane alone, or the data plane alone; and where the clusters are. The settings
//! of it and their words; who acts by them is `serve` and `edge`.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use outbound::Place;
use realtime::app::Secret;

/// What a process serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    All,
    /// Dashboard, management API, billing.
    Control,
    /// Sockets and the HTTP API of apps.
    Realtime,
}

impl Role {
    /// Reads the setting. *Errors*: a sentence that names it.
    pub fn parse(text: &str) -> anyhow::Result<Role> {
        match text {
            "all" => Ok(Role::All),
            "control" => Ok(Role::Control),
            "realtime" => Ok(Role::Realtime),
            other => bail!("role must be all, control or realtime, it is {other:?}"),
        }
    }

    /// For people.
    pub fn about(self) -> &'static str {
        match self {
            Role::All => "all: pages, HTTP API and sockets",
            Role::Control => "control: pages and the management API",
            Role::Realtime => "realtime: HTTP API and sockets",
        }
    }

    /// Has it pages, and all that goes on without sockets?
    pub fn has_pages(self) -> bool {
        self != Role::Realtime
    }

    /// Has it sockets?
    pub fn has_sockets(self) -> bool {
        self != Role::Control
    }
}

/// The control plane of a node without a database.
#[derive(Clone, Debug)]
pub struct ControlAt {
    /// As in the setting, without a slash at its end.
    pub url: String,
    /// The same, to connect to.
    pub place: Place,
    /// What the node shows.
    pub token: Secret,
}

/// Reads where the control plane is. *Errors*: a sentence that names the setting.
pub fn control(role: Role, url: Option<&str>, token: Option<&str>) -> anyhow::Result<Option<ControlAt>> {
    let (url, token) = match (url, token) {
        (None, None) => return Ok(None),
        (Some(url), Some(token)) => (url.trim_end_matches('/'), token.trim()),
        _ => bail!("control_url and node_token belong together: set both or none"),
    };
    if role != Role::Realtime {
        bail!("control_url is for realtime nodes: set role to realtime too");
    }
    let place = Place::parse(url).with_context(|| {
        format!("control_url must look like https://host or http://host:port, it is {url:?}")
    })?;
    Ok(Some(ControlAt { url: url.to_owned(), place, token: Secret::new(token) }))
}

/// Reads `eu=https://…,us2=https://…`. *Errors*: a sentence that names the setting.
pub fn cluster_urls(text: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let one = |entry: &str| {
        let (name, url) = entry.split_once('=')?;
        let (name, url) = (name.trim(), url.trim().trim_end_matches('/'));
        dashboard::Endpoint::parse(url)?;
        (!name.is_empty()).then(|| (name.to_owned(), url.to_owned()))
    };
    text.split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .map(|entry| {
            one(entry).with_context(|| {
                format!(
                    "cluster_urls must look like eu=https://ws-eu.example.com,us2=https://…, not {entry:?}"
                )
            })
        })
        .collect()
}

/// Where clients find a cluster, for `ws://` or `wss://`.
pub fn socket_url(url: &str) -> String {
    match url.split_once("://") {
        Some(("https", host)) => format!("wss://{host}"),
        Some((_, host)) => format!("ws://{host}"),
        None => url.to_owned(),
    }
}

/// What a client is told that comes to a node without sockets.
pub fn no_sockets(cluster: Option<&String>) -> String {
    match cluster {
        Some(url) => format!("This node has no sockets: connect to {}", socket_url(url)),
        None => "This node has no sockets: it serves the dashboard; connect to a realtime node".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_plane_needs_an_address_a_token_and_the_role() {
        assert!(control(Role::All, None, None).unwrap().is_none());
        let at = control(Role::Realtime, Some("https://f.example.com/"), Some("hush")).unwrap().unwrap();
        assert_eq!((&*at.url, at.place.port, at.place.tls), ("https://f.example.com", 443, true));
        assert!(!format!("{at:?}").contains("hush"));
        for (role, url, token) in [
            (Role::All, Some("https://x"), Some("t")),
            (Role::Realtime, Some("https://x"), None),
            (Role::Realtime, Some("wss://x"), Some("t")),
        ] {
            assert!(control(role, url, token).unwrap_err().to_string().contains("control_url"));
        }
    }

    #[test]
    fn clusters_have_addresses() {
        let urls = cluster_urls("eu=https://ws-eu.example.com/, us2=http://127.0.0.1:6001").unwrap();
        assert_eq!(urls["eu"], "https://ws-eu.example.com");
        assert_eq!(socket_url(&urls["us2"]), "ws://127.0.0.1:6001");
        for wrong in ["eu", "=https://x", "eu=ws://x", "eu=https://a b"] {
            assert!(cluster_urls(wrong).unwrap_err().to_string().contains("cluster_urls"), "{wrong}");
        }
    }
}
