//! `Idempotency-Key`: a POST that comes again under its key, because its answer was lost on the way, gets that answer and is not
//! done again. Keys belong to a token; answers are kept for a day, sealed, in storage, so all nodes agree (`tenancy::api_answer`).
//!
//! A refusal is not kept, for nothing was done. A replay asks again who may: a key of somebody whose role changed begins anew, and
//! an app that they don't see any more is the handler's 404.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, Serialize};
use tenancy::api_answer::{self, Begun, Place};
use tenancy::now_ms;
use tenancy::secret::Secret;

use super::error::Refusal;
use super::scope::Caller;
use super::{BODY_BYTES_MAX, Manage};

/// The request's header.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer is one that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Characters of a key.
pub(super) const KEY_CHARS_MAX: usize = 255;
/// Bytes of an answer that is kept. Those of POSTs are far shorter.
const ANSWER_BYTES_MAX: usize = 256 * 1_024;

/// An answer as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    status: u16,
    location: Option<String>,
    body: String,
}

/// Around every operation.
pub(super) async fn once(State(manage): State<Manage>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST || !request.headers().contains_key(KEY) {
        return next.run(request).await;
    }
    look(manage, request, next).await.unwrap_or_else(IntoResponse::into_response)
}

async fn look(manage: Manage, request: Request, next: Next) -> Result<Response, Refusal> {
    let (mut parts, body) = request.into_parts();
    let caller = Caller::of(&parts, &manage).await?;
    let key = read_key(&parts.headers)?;
    let body = to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|_| Refusal::too_large("A body may have 128 KiB, and must arrive whole."))?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let app = parts.uri.path().strip_prefix("/v1/apps/").and_then(|rest| rest.split('/').next());
    let may_see = match app {
        Some(id) => caller.app(&manage, id).await.is_ok(),
        None => true,
    };
    let again = |body: Bytes| {
        parts.extensions.insert(caller.clone());
        Request::from_parts(parts, Body::from(body))
    };
    if !may_see {
        return Ok(next.run(again(body)).await);
    }
    let asked = [path.as_bytes(), b"\n", &body].concat();
    match api_answer::begin(&manage.db, &caller.bearer, &key, &asked, now_ms()).await? {
        Begun::Fresh(place) => {
            let request = again(body);
            // To its end, also when whoever asked hangs up: that is when they ask again.
            let done = tokio::spawn(async move { settle(&manage, &place, next.run(request).await).await });
            done.await.map_err(|error| {
                tracing::error!(%error, "a request under an idempotency key did not end");
                Refusal::unavailable()
            })
        }
        Begun::Done(kept) => replay(kept.expose()),
        Begun::UnderWay => Err(Refusal::conflict(
            "idempotency_under_way",
            "The request with this Idempotency-Key is being done at this moment. Ask again in a second.",
        )),
        Begun::Other => Err(Refusal::conflict(
            "idempotency_key_reused",
            "This Idempotency-Key was used for another request. Take a new key for each new request.",
        )),
        Begun::Lost => Err(Refusal::conflict(
            "idempotency_answer_lost",
            "The request with this Idempotency-Key was done, but its answer can't be read any more.",
        )),
        Begun::TooMany => Err(Refusal::too_many_keys(api_answer::PER_ACCOUNT_MAX)),
    }
}

fn read_key(headers: &HeaderMap) -> Result<String, Refusal> {
    let mut values = headers.get_all(KEY).iter();
    let key = values.next().and_then(|value| value.to_str().ok()).unwrap_or_default();
    let fits = (1..=KEY_CHARS_MAX).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    match fits && values.next().is_none() {
        true => Ok(key.to_owned()),
        false => Err(Refusal::invalid(
            "Idempotency-Key",
            format!("an Idempotency-Key is one text of 1 to {KEY_CHARS_MAX} visible ASCII characters"),
        )),
    }
}

/// Keeps what was done, or frees the key.
async fn settle(manage: &Manage, place: &Place, response: Response) -> Response {
    if !response.status().is_success() {
        if let Err(error) = api_answer::forget(&manage.db, place).await {
            tracing::warn!(%error, "an idempotency key could not be freed; it is free in a minute");
        }
        return response;
    }
    let (parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, ANSWER_BYTES_MAX).await else {
        tracing::error!("an answer is too long to be kept");
        return Refusal::unavailable().into_response();
    };
    let location = parts.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let kept = Kept {
        status: parts.status.as_u16(),
        location: location.map(str::to_owned),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let kept = Secret::new(serde_json::to_string(&kept).unwrap_or_default());
    if let Err(error) = api_answer::keep(&manage.db, place, &kept).await {
        tracing::error!(%error, "the answer to a request under an idempotency key could not be kept");
    }
    Response::from_parts(parts, Body::from(body))
}

fn replay(kept: &str) -> Result<Response, Refusal> {
    let Kept { status, location, body } = serde_json::from_str(kept).map_err(|_| Refusal::unavailable())?;
    let status = StatusCode::from_u16(status).map_err(|_| Refusal::unavailable())?;
    let is_empty = body.is_empty();
    let mut response = (status, Body::from(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    if !is_empty {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Some(location) = location.and_then(|text| HeaderValue::from_str(&text).ok()) {
        headers.insert(header::LOCATION, location);
    }
    Ok(response)
}
