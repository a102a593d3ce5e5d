//! Who sends this request, and is it really them? Checks in the order of Pusher's own verifier. A refusal is also a row in the
//! app's console, with the doctor's guess about its cause.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::Request;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use protocol::limits::{REQUEST_AGE_SECONDS_MAX, REST_BODY_BYTES_MAX};
use protocol::query::{Plus, parse};
use protocol::signature::{body_md5, string_to_sign, verify};
use realtime::Node;
use realtime::app::App;
use realtime::console::{Hint, Kind, Row, Source, mask_ip};
use realtime::publish::Origin;
use realtime::ws::PeerAddr;

use super::diagnose;
use super::error::ApiError;

/// How long a request's body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// What the dashboard's own event creator calls itself.
const DASHBOARD_LIBRARY: &str = "fanfare-dashboard";

/// A request whose signature was checked.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) node: Node,
    pub(super) app: Arc<App>,
    pub(super) body: Bytes,
    query: String,
    key: String,
    sdk: Option<String>,
    ip: Option<IpAddr>,
    path: String,
}

type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

fn get<'a>(pairs: &'a Pairs<'_>, name: &str) -> Option<&'a str> {
    pairs.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| &**v)
}

impl Signed {
    /// Reads and checks a request to an app.
    pub(super) async fn read(node: Node, app_id: &str, request: Request) -> Result<Signed, ApiError> {
        let unknown = || {
            ApiError::new(
                StatusCode::NOT_FOUND,
                format!("Unknown app {}", protocol::json::clip(app_id, 40).0),
            )
        };
        let id: u64 = app_id.parse().map_err(|_| unknown())?;
        let app = match node.apps().find_by_id(id).await {
            Ok(Some(app)) => app,
            Ok(None) => return Err(unknown()),
            Err(_) => {
                return Err(ApiError::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "The app store can't be reached, try again",
                ));
            }
        };
        let (head, body) = request.into_parts();
        let mut signed = Signed {
            node,
            app,
            body: Bytes::new(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            key: String::new(),
            sdk: sdk(&head.headers),
            ip: head.extensions.get::<PeerAddr>().map(|p| p.0),
            path: head.uri.path().to_owned(),
        };
        signed.body =
            match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, REST_BODY_BYTES_MAX).collect()).await
            {
                Ok(Ok(body)) => body.to_bytes(),
                Ok(Err(error)) if error.is::<LengthLimitError>() => {
                    let text = format!("The request is larger than {REST_BODY_BYTES_MAX} bytes");
                    return Err(signed.refuse(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, text), None));
                }
                Ok(Err(_)) => return Err(ApiError::bad_request("The request's body could not be read")),
                Err(_) => {
                    return Err(ApiError::new(
                        StatusCode::REQUEST_TIMEOUT,
                        "The request's body did not arrive in time",
                    ));
                }
            };
        match signed.check(head.method.as_str()) {
            Ok(key) => {
                signed.key = key;
                Ok(signed)
            }
            Err((error, hint)) => Err(signed.refuse(error, hint)),
        }
    }

    fn check(&self, method: &str) -> Result<String, (ApiError, Option<Hint>)> {
        let plain = |text: &str| (ApiError::unauthorized(text), None);
        let snapshot = self.app.snapshot();
        if !snapshot.enabled {
            return Err((ApiError::new(StatusCode::FORBIDDEN, "The app is disabled"), None));
        }
        let pairs = parse(&self.query, Plus::Literal);
        let key = get(&pairs, "auth_key").ok_or_else(|| {
            (ApiError::unauthorized("Missing parameter: auth_key"), diagnose::no_query(&self.query))
        })?;
        let Some(secret) = snapshot.secret_of(key).filter(|_| !snapshot.internal) else {
            let (key, _) = protocol::json::clip(key, 40);
            let text = format!("Unknown auth_key: {key} is not a key of app {}", self.app.id());
            return Err((ApiError::unauthorized(text), diagnose::unknown_key(key, &snapshot)));
        };
        match get(&pairs, "auth_version") {
            Some("1.0") => {}
            Some(_) => return Err(plain("Version not supported: auth_version must be 1.0")),
            None => return Err(plain("Version required: auth_version is missing")),
        }
        let timestamp = get(&pairs, "auth_timestamp")
            .ok_or_else(|| plain("Timestamp required: auth_timestamp is missing"))?;
        let timestamp: i64 =
            timestamp.parse().map_err(|_| plain("Invalid timestamp: auth_timestamp must be Unix seconds"))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
        let skew = timestamp.saturating_sub(now);
        if skew.saturating_abs() >= REQUEST_AGE_SECONDS_MAX {
            let text = format!(
                "Timestamp expired: given timestamp ({timestamp}) not within {REQUEST_AGE_SECONDS_MAX}s of server time ({now})"
            );
            return Err((ApiError::unauthorized(text), Some(diagnose::clock_skew(skew))));
        }
        let given =
            get(&pairs, "auth_signature").ok_or_else(|| plain("Missing parameter: auth_signature"))?;
        // Usually the first reading is right; the others are for SDKs that escape or join values in their own way.
        let text = string_to_sign(method, &self.path, &pairs);
        let others = || {
            let spaced = string_to_sign(method, &self.path, &parse(&self.query, Plus::Space));
            let joined = string_to_sign(method, &self.path, &join_arrays(&pairs));
            [spaced, joined]
        };
        if !verify(secret.expose(), &text, given)
            && !others().iter().any(|t| verify(secret.expose(), t, given))
        {
            let hint = diagnose::signature(secret.expose(), method, &self.path, &pairs, &self.body, given);
            let (shown, _) = protocol::json::clip(&text, 600);
            let (given, _) = protocol::json::clip(given, 80);
            let error = format!(
                "Invalid signature: you should have sent HmacSHA256Hex(\"{shown}\", your_secret_key), but you sent {given:?}"
            );
            return Err((ApiError::unauthorized(error), Some(hint)));
        }
        match get(&pairs, "body_md5") {
            Some(md5) if md5 != body_md5(&self.body) => {
                let text = format!(
                    "Invalid body_md5: the body received has {}, the request says {}",
                    body_md5(&self.body),
                    protocol::json::clip(md5, 40).0
                );
                Err((ApiError::unauthorized(text), Some(diagnose::body_changed())))
            }
            None if !self.body.is_empty() => {
                Err(plain("Missing parameter: body_md5 is required with a body"))
            }
            _ => Ok(key.to_owned()),
        }
    }

    /// The value of a query parameter.
    pub(super) fn param(&self, name: &str) -> Option<String> {
        let pairs = parse(&self.query, Plus::Literal);
        get(&pairs, name).map(str::to_owned)
    }

    /// For the console: who this is.
    pub(super) fn origin(&self) -> Origin<'_> {
        Origin { source: self.source(), sdk: self.sdk.as_deref(), ip: self.ip, key: Some(&self.key) }
    }

    fn source(&self) -> Source {
        let ours = self.sdk.as_deref().is_some_and(|s| s.starts_with(DASHBOARD_LIBRARY));
        if ours { Source::Dashboard } else { Source::Api }
    }

    /// Puts a refusal into the console and gives it back.
    pub(super) fn refuse(&self, error: ApiError, hint: Option<Hint>) -> ApiError {
        let kind = if error.text.starts_with("Over quota") { Kind::Quota } else { Kind::ApiError };
        self.app.console.record(kind, |row| {
            row.status = Some(error.status.as_u16());
            row.source = Some(self.source());
            row.sdk = self.sdk.as_deref().and_then(Row::text);
            row.ip = self.ip.map(mask_ip);
            if !self.key.is_empty() {
                row.set_key(&self.key);
            }
            row.details = protocol::json::clip(&format!("{} {}", error.status.as_u16(), error.text), 1_000)
                .0
                .to_owned();
            row.hint = hint;
        });
        error
    }
}

/// The PHP SDK sends `info[0]=a&info[1]=b` and signs `info=a,b`.
fn join_arrays(pairs: &Pairs<'_>) -> Vec<(String, String)> {
    let mut joined: Vec<(String, String)> = Vec::new();
    for (key, value) in pairs {
        match key.split_once('[') {
            Some((name, _)) => match joined.iter_mut().find(|(k, _)| k == name) {
                Some((_, values)) => {
                    values.push(',');
                    values.push_str(value);
                }
                None => joined.push((name.to_owned(), value.clone().into_owned())),
            },
            None => joined.push((key.clone().into_owned(), value.clone().into_owned())),
        }
    }
    joined
}

fn sdk(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|v: &http::HeaderValue| v.to_str().ok());
    text("x-pusher-library").or_else(|| text("user-agent")).map(|s| protocol::json::clip(s, 120).0.to_owned())
}
