//! Who sends this request, and is it really them? Checks in the order of Pusher's own verifier. A refusal is also a row in the
//! app's console, with the doctor's guess about its cause.
//!
//! Of a query parameter that comes twice the last one counts, here as in the signature (what the `signature` gem does, which
//! gets a hash); names are compared without regard to case; `channels[]` holds one of several values.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use protocol::limits::{QUERY_PARAMETERS_MAX, REQUEST_AGE_SECONDS_MAX, REST_BODY_BYTES_MAX};
use protocol::query::{Plus, decode, parse};
use protocol::signature::{ARRAY, body_md5, string_to_sign, verify};
use realtime::Node;
use realtime::app::App;
use realtime::apps::Named;
use realtime::console::{Hint, Kind, Row, Source, mask_ip};
use realtime::publish::{Admitted, Origin};
use realtime::rate::Call;
use realtime::ws::{OverTls, PeerAddr};

use super::diagnose;
use super::error::ApiError;

/// How long a request's body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// What the dashboard's own event creator calls itself.
const DASHBOARD_LIBRARY: &str = "fanfare-dashboard";

/// Messages that may still be used today, after this call: by the meter scope, or by the app if its own cap is nearer. Never negative.
const QUOTA_REMAINING: HeaderName = HeaderName::from_static("x-quota-remaining");
/// Messages that the plan, or that cap, allows in a UTC day.
const QUOTA_LIMIT: HeaderName = HeaderName::from_static("x-quota-limit");
/// The next 00:00 UTC in Unix seconds, when the count starts again.
const QUOTA_RESET: HeaderName = HeaderName::from_static("x-quota-reset");

/// A request whose signature was checked.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) node: Node,
    pub(super) app: Arc<App>,
    pub(super) body: Bytes,
    query: String,
    reading: Reading,
    key: String,
    sdk: Option<String>,
    ip: Option<IpAddr>,
    over_tls: bool,
    path: String,
}

/// How a request says whose it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whose<'a> {
    /// `/apps/{id}/…`.
    Id(&'a str),
    /// By `auth_key` alone: the Python SDK leaves `/apps/{id}` out when it terminates a user's connections.
    Key,
}

/// How SDKs mean their query strings. Usually the first is right; the others are for those that escape or join values in their
/// own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// A `+` is itself.
    Plain,
    /// A `+` is a blank.
    Spaced,
    /// `info[0]=a&info[1]=b` on the wire is `info=a,b` in the signature (PHP).
    Joined,
}

type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

impl Reading {
    const ALL: [Reading; 3] = [Reading::Plain, Reading::Spaced, Reading::Joined];

    fn of(self, query: &str) -> Pairs<'_> {
        match self {
            Reading::Plain => parse(query, Plus::Literal),
            Reading::Spaced => parse(query, Plus::Space),
            Reading::Joined => join_arrays(parse(query, Plus::Literal)),
        }
    }
}

fn get<'a>(pairs: &'a Pairs<'_>, name: &str) -> Option<&'a str> {
    pairs.iter().rfind(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| &**v)
}

async fn find(node: &Node, whose: Whose<'_>, query: &str) -> Result<Arc<App>, ApiError> {
    let unreachable =
        |_| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "The app store can't be reached, try again");
    match whose {
        Whose::Id(text) => {
            let unknown = || {
                let text = format!("Unknown app: there is no app {}", protocol::json::clip(text, 40).0);
                ApiError::new(StatusCode::NOT_FOUND, text)
            };
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            let id: u64 = text.parse().ok().filter(|_| digits).ok_or_else(unknown)?;
            match node.apps().find_by_id(id).await.map_err(unreachable)? {
                Some(app) => Ok(app),
                None => Err(elsewhere(node, Named::Id(id)).await.unwrap_or_else(unknown)),
            }
        }
        Whose::Key => {
            let pairs = parse(query, Plus::Literal);
            let key = get(&pairs, "auth_key")
                .ok_or_else(|| ApiError::unauthorized("Missing parameter: auth_key"))?;
            match node.apps().find_by_key(key).await.map_err(unreachable)? {
                Some(app) => Ok(app),
                None => Err(elsewhere(node, Named::Key(key)).await.unwrap_or_else(|| {
                    let text =
                        format!("Unknown auth_key: no app has the key {}", protocol::json::clip(key, 40).0);
                    ApiError::unauthorized(text)
                })),
            }
        }
    }
}

/// An app that lives in another cluster.
async fn elsewhere(node: &Node, named: Named<'_>) -> Option<ApiError> {
    let place = node.apps().elsewhere(named).await?;
    Some(ApiError::new(StatusCode::NOT_FOUND, place.for_requests()))
}

impl Signed {
    /// Reads and checks a request to an app.
    pub(super) async fn read(node: Node, whose: Whose<'_>, request: Request) -> Result<Signed, ApiError> {
        let app = find(&node, whose, request.uri().query().unwrap_or_default()).await?;
        let (head, body) = request.into_parts();
        let announced =
            head.headers.get(http::header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
        let mut signed = Signed {
            node,
            app,
            body: Bytes::new(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            reading: Reading::Plain,
            key: String::new(),
            sdk: sdk(&head.headers),
            ip: head.extensions.get::<PeerAddr>().map(|p| p.0),
            over_tls: head.extensions.get::<OverTls>().is_some(),
            path: head.uri.path().to_owned(),
        };
        signed.body =
            match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, REST_BODY_BYTES_MAX).collect()).await
            {
                Ok(Ok(body)) => body.to_bytes(),
                Ok(Err(error)) if error.is::<LengthLimitError>() => {
                    return Err(signed.refuse(ApiError::body_too_large(announced), None));
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
            Ok((key, reading)) => {
                signed.app.key_requested(&key);
                signed.key = key;
                signed.reading = reading;
                Ok(signed)
            }
            Err((error, hint)) => Err(signed.refuse(error, hint)),
        }
    }

    /// The key that signed, and how the query is meant.
    fn check(&self, method: &str) -> Result<(String, Reading), (ApiError, Option<Hint>)> {
        let plain = |text: &str| (ApiError::unauthorized(text), None);
        let snapshot = self.app.snapshot();
        if !snapshot.enabled {
            let text = format!("The app is disabled: app {} was switched off by its owner", self.app.id());
            return Err((ApiError::new(StatusCode::FORBIDDEN, text), None));
        }
        if snapshot.features.force_tls && !self.over_tls {
            return Err((ApiError::tls_only(self.app.id()), None));
        }
        let pairs = Reading::Plain.of(&self.query);
        if pairs.len() > QUERY_PARAMETERS_MAX {
            let text = format!(
                "Too many query parameters: {} given, at most {QUERY_PARAMETERS_MAX} are read",
                pairs.len()
            );
            return Err((ApiError::bad_request(text), None));
        }
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
            Some(other) => {
                let other = protocol::json::clip(other, 20).0;
                return Err(plain(&format!("Version not supported: auth_version must be 1.0, not {other}")));
            }
            None => return Err(plain("Version required: auth_version is missing")),
        }
        let timestamp = get(&pairs, "auth_timestamp")
            .ok_or_else(|| plain("Timestamp required: auth_timestamp is missing"))?;
        let timestamp: i64 = timestamp.parse().map_err(|_| {
            let given = protocol::json::clip(timestamp, 40).0;
            plain(&format!("Invalid timestamp: auth_timestamp must be Unix seconds, not {given:?}"))
        })?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
        let skew = timestamp.saturating_sub(now);
        if skew.saturating_abs() >= REQUEST_AGE_SECONDS_MAX {
            let text = format!(
                "Timestamp expired: Given timestamp ({}) not within {REQUEST_AGE_SECONDS_MAX}s of server time ({})",
                iso8601(timestamp),
                iso8601(now)
            );
            return Err((ApiError::unauthorized(text), Some(diagnose::clock_skew(skew))));
        }
        let given =
            get(&pairs, "auth_signature").ok_or_else(|| plain("Missing parameter: auth_signature"))?;
        let Some(reading) = self.reading_signed(secret.expose(), method, &pairs, given) else {
            let hint = diagnose::signature(secret.expose(), method, &self.path, &pairs, &self.body, given);
            let text = string_to_sign(method, &self.path, &pairs);
            let (shown, _) = protocol::json::clip(&text, 600);
            let (given, _) = protocol::json::clip(given, 80);
            let error = format!(
                "Invalid signature: you should have sent HmacSHA256Hex(\"{shown}\", your_secret_key), but you sent {given:?}"
            );
            return Err((ApiError::unauthorized(error), Some(hint)));
        };
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
            _ => Ok((key.to_owned(), reading)),
        }
    }

    /// Which reading of the request `given` signs. The path may have been escaped on its way.
    fn reading_signed(&self, secret: &str, method: &str, plain: &Pairs<'_>, given: &str) -> Option<Reading> {
        if verify(secret, &string_to_sign(method, &self.path, plain), given) {
            return Some(Reading::Plain);
        }
        let unescaped = decode(&self.path, Plus::Literal);
        Reading::ALL.into_iter().find(|reading| {
            let pairs = reading.of(&self.query);
            [&*self.path, &*unescaped]
                .into_iter()
                .any(|path| verify(secret, &string_to_sign(method, path, &pairs), given))
        })
    }

    /// The value of a query parameter, as it was signed.
    pub(super) fn param(&self, name: &str) -> Option<String> {
        get(&self.reading.of(&self.query), name).map(str::to_owned)
    }

    /// The values of an array parameter: those of `name[]`, in order.
    pub(super) fn params(&self, name: &str) -> Vec<String> {
        let named = |key: &str| key.strip_suffix(ARRAY).is_some_and(|key| key.eq_ignore_ascii_case(name));
        let pairs = self.reading.of(&self.query);
        pairs.into_iter().filter(|(key, _)| named(key)).map(|(_, value)| value.into_owned()).collect()
    }

    /// Takes a call that publishes nothing out of the app's second, and counts its message.
    pub(super) fn admit_read(&self) -> Result<(), ApiError> {
        self.app.take_calls(Call::Read, 1)?;
        self.node.charge_read(&self.app);
        Ok(())
    }

    /// Takes `events` out of the app's second, all or none, if the app may publish now.
    pub(super) async fn admit(&self, events: usize) -> Result<Admitted, ApiError> {
        self.app.take_calls(Call::Publish, u32::try_from(events).unwrap_or(u32::MAX))?;
        Ok(self.node.admit(&self.app).await?)
    }

    /// For the console: who this is.
    pub(super) fn origin(&self) -> Origin<'_> {
        Origin { source: self.source(), sdk: self.sdk.as_deref(), ip: self.ip, key: Some(&self.key) }
    }

    fn source(&self) -> Source {
        let ours = self.sdk.as_deref().is_some_and(|s| s.starts_with(DASHBOARD_LIBRARY));
        if ours { Source::Dashboard } else { Source::Api }
    }

    /// The answer to a signed request. With a limit a day it says what is left of it; whoever could not sign is not told, for
    /// an app's id is no secret.
    pub(super) fn answer(&self, answer: Result<Response, ApiError>) -> Response {
        let mut response = answer.unwrap_or_else(|mut error| {
            let hint = error.hint.take().map(|hint| *hint);
            self.refuse(error, hint).into_response()
        });
        if let Some(quota) = self.app.message_quota() {
            let headers = response.headers_mut();
            headers.insert(QUOTA_REMAINING, HeaderValue::from(quota.left()));
            headers.insert(QUOTA_LIMIT, HeaderValue::from(quota.limit));
            headers.insert(QUOTA_RESET, HeaderValue::from(realtime::resets_ms() / 1_000));
        }
        response
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
fn join_arrays(pairs: Pairs<'_>) -> Pairs<'_> {
    let mut joined: Pairs<'_> = Vec::new();
    for (key, value) in pairs {
        let Some(name) = key.split_once('[').map(|(name, _)| name.to_owned()) else {
            joined.push((key, value));
            continue;
        };
        match joined.iter_mut().find(|(k, _)| *k == name) {
            Some((_, values)) => {
                let values = values.to_mut();
                values.push(',');
                values.push_str(&value);
            }
            None => joined.push((name.into(), value)),
        }
    }
    joined
}

/// Unix seconds as a date for people; a number that no date has stays a number.
fn iso8601(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |at| at.to_string())
}

fn sdk(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|v: &http::HeaderValue| v.to_str().ok());
    text("x-pusher-library").or_else(|| text("user-agent")).map(|s| protocol::json::clip(s, 120).0.to_owned())
}
