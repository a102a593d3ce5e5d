//! May this socket in? Checks in a fixed order; the answer is a place in the app or a close code with a sentence.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use protocol::close::CloseCode;
use protocol::json::clip;

use crate::app::App;
use crate::apps::Named;
use crate::connect_rate::{CONNECTS_BURST, CONNECTS_PER_SECOND};
use crate::console::{Hint, Kind, Row, Source, mask_ip};
use crate::handshake::Handshake;
use crate::meter::Permit;
use crate::node::Node;
use crate::shard::conn::Verdict;
use crate::transport::Transport;

/// Who comes, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visitor<'a> {
    pub(crate) origin: Option<&'a str>,
    pub(crate) ip: IpAddr,
    pub(crate) tls: bool,
    pub(crate) transport: Transport,
}

/// Decides about a connection, and tells the console about a refusal.
pub(crate) async fn decide(
    node: &Node,
    key: &str,
    handshake: Result<&Handshake, &(CloseCode, String)>,
    visitor: Visitor<'_>,
) -> Verdict {
    if let Some(text) = node.no_sockets() {
        return Verdict::Refuse { code: CloseCode::UnknownApp, message: text.to_owned() };
    }
    let Visitor { origin, ip, transport, .. } = visitor;
    let sdk = handshake.ok().and_then(|h| h.sdk.as_deref());
    let app = match node.apps().find_by_key(key).await {
        Ok(Some(app)) => app,
        Ok(None) => return unknown(node, key, sdk, visitor).await,
        Err(error) => {
            tracing::warn!(%error, "a socket was sent away");
            return Verdict::Refuse {
                code: CloseCode::OverCapacity,
                message: "Try again: the app store can't be reached".into(),
            };
        }
    };
    match check(node, &app, handshake, &visitor).await {
        Ok(permit) => Verdict::Admit { app, permit: permit.with_key(key), key: key.into() },
        Err((code, message, hint)) => {
            app.console.record(Kind::ConnectionRefused, |row| {
                row.code = Some(code.code());
                row.source = Some(Source::Ws);
                row.ip = Some(mask_ip(ip));
                row.sdk = sdk.and_then(Row::text);
                row.origin = origin.and_then(Row::text);
                row.transport = transport.shown();
                row.set_key(key);
                row.details = format!("{} {message}", code.code());
                row.hint = hint;
            });
            Verdict::Refuse { code, message }
        }
    }
}

type Refused = (CloseCode, String, Option<Hint>);

async fn check(
    node: &Node,
    app: &Arc<App>,
    handshake: Result<&Handshake, &(CloseCode, String)>,
    visitor: &Visitor<'_>,
) -> Result<Permit, Refused> {
    let Visitor { origin, ip, tls, .. } = *visitor;
    let snapshot = app.snapshot();
    if !snapshot.enabled {
        return Err((CloseCode::AppDisabled, "The app is disabled".into(), None));
    }
    handshake.map_err(|(code, message)| (*code, message.clone(), None))?;
    if snapshot.features.force_tls && !tls {
        let hint = Hint {
            id: "tls_only",
            title: "This app accepts TLS only.".into(),
            text: "Connect with wss:// (pusher-js: forceTLS: true), or switch Force TLS off in the app's settings.".into(),
        };
        return Err((CloseCode::TlsOnly, "The app accepts TLS only: connect with wss://".into(), Some(hint)));
    }
    if !snapshot.allows_origin(origin) {
        let (origin, _) = clip(origin.unwrap_or_default(), 80);
        let hint = Hint {
            id: "origin_refused",
            title: format!("{origin} is not in Allowed origins."),
            text: "Add it in the app's settings, if it is yours.".into(),
        };
        return Err((CloseCode::Unauthorized, format!("Origin not allowed: {origin}"), Some(hint)));
    }
    if node.is_draining() {
        return Err((
            CloseCode::OverCapacity,
            "The server is restarting: come back in a moment".into(),
            None,
        ));
    }
    if snapshot.limits.connections_max.is_some() && !node.connects().take(ip, Instant::now()) {
        let hint = Hint {
            id: "connects_too_fast",
            title: "One address opens connections too fast.".into(),
            text: format!(
                "At most {CONNECTS_PER_SECOND} a second and {CONNECTS_BURST} at once are let in from one address. Look for a page that makes a \
                 new Pusher client again and again, such as in a component that is rendered anew. Behind a proxy of your own, \
                 FANFARE_TRUST_PROXY tells clients apart."
            ),
        };
        let message = "Too many new connections from your address: come back in a moment";
        return Err((CloseCode::OverCapacity, message.into(), Some(hint)));
    }
    if snapshot.features.authorized_connections {
        let message = "Too many connections wait to be authorized: come back in a moment";
        return Permit::unauthorized(app).ok_or_else(|| (CloseCode::OverCapacity, message.into(), None));
    }
    node.take_place(app).await.map_err(|full| {
        let (code, message) = over_limit(app, full);
        let hint = match code {
            CloseCode::OverConnectionQuota => Hint {
                id: "over_limit_final",
                title: "This client doesn't come back by itself.".into(),
                text: "It stays away until its page is loaded anew, even when a place is free. Switch on \u{201c}Over the \
                       connection limit\u{201d} in the app's settings, and such clients try again."
                    .into(),
            },
            _ => Hint {
                id: "over_limit_retry",
                title: "This client tries again every second or so.".into(),
                text: "It gets in as soon as a place is free: close connections, or raise the limit.".into(),
            },
        };
        (code, message, Some(hint))
    })
}

/// What a client is told that finds all connections in use, `(in use, limit)`: to stay away, or to come back, as the app has it.
pub(crate) fn over_limit(app: &App, (used, limit): (u64, u64)) -> (CloseCode, String) {
    match app.snapshot().features.retry_over_limit {
        false => (
            CloseCode::OverConnectionQuota,
            format!("Account over quota: {used} of {limit} connections in use"),
        ),
        true => (
            CloseCode::OverCapacity,
            format!("Account over quota: {used} of {limit} connections in use; come back in a moment"),
        ),
    }
}

/// A key that no app has; perhaps it is an app's id.
async fn unknown(node: &Node, key: &str, sdk: Option<&str>, visitor: Visitor<'_>) -> Verdict {
    let Visitor { ip, transport, .. } = visitor;
    let (shown, _) = clip(key, 40);
    let mut message = format!("App key {shown} not in this cluster. Did you forget to specify the cluster?");
    let app = match key.parse::<u64>() {
        Ok(id) => node.apps().find_by_id(id).await.ok().flatten(),
        Err(_) => None,
    };
    if let Some(place) = node.apps().elsewhere(Named::Key(key)).await {
        return Verdict::Refuse { code: CloseCode::UnknownApp, message: place.for_sockets() };
    }
    match app.filter(|app| !app.snapshot().internal) {
        Some(app) => {
            message = format!("App key {shown} not found: this looks like an app ID, use the app's key");
            app.console.record(Kind::ConnectionRefused, |row| {
                row.code = Some(CloseCode::UnknownApp.code());
                row.source = Some(Source::Ws);
                row.ip = Some(mask_ip(ip));
                row.sdk = sdk.and_then(Row::text);
                row.transport = transport.shown();
                row.details = format!("4001 {message}");
                let key = app.snapshot().keys.first().map(|pair| pair.key.to_string()).unwrap_or_default();
                row.hint = Some(Hint {
                    id: "app_id_as_key",
                    title: "You used the app ID where the key belongs.".into(),
                    text: format!("new Pusher('{shown}') should be new Pusher('{key}')."),
                });
            });
        }
        None => node.unknown_keys().add(key, ip, sdk),
    }
    Verdict::Refuse { code: CloseCode::UnknownApp, message }
}
