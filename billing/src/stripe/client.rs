//! One call to Stripe: connect, send a form, read JSON; tried again with the same idempotency key when no answer came or the answer
//! says "later". The connection is `outbound`'s.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request};
use http_body_util::Full;
use outbound::{Place, encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tenancy::Secret;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// The version that is spoken; Stripe keeps old ones. Events are read only for their ids, which all versions share.
pub(crate) const API_VERSION: &str = "2025-03-31.basil";
/// One try. Stripe answers within one second as a rule.
const TRY_MAX: Duration = Duration::from_secs(5);
/// A call with all its tries: a person waits for it.
const CALL_MAX: Duration = Duration::from_secs(12);
/// Pauses before the second and the third try.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(1_000)];
/// Calls at the same time: Stripe takes 25 a second in test mode, and pages can be asked for by anybody who is signed in.
const CALLS_AT_ONCE_MAX: usize = 8;
/// Bytes of an answer: a hundred subscriptions have some 300 KiB.
const ANSWER_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// Why a call gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum StripeError {
    /// No answer, or one that says "later", to every try. What was asked may have been done all the same.
    #[error("Stripe does not answer: {0}")]
    Away(String),
    /// Stripe says no.
    #[error("Stripe refused with {status} {kind} {code}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Such as `invalid_request_error`.
        kind: String,
        /// Such as `resource_missing`; may be empty.
        code: String,
        /// Stripe's sentence. It may name ids, never a key.
        message: String,
    },
    /// The answer is not what it should be.
    #[error("Stripe's answer can't be read: {0}")]
    Unreadable(&'static str),
}

impl StripeError {
    /// A card was declined, or wants its owner's word first.
    pub fn is_declined(&self) -> bool {
        matches!(self, StripeError::Refused { status: 402, .. })
    }

    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, StripeError::Refused { status: 404, .. })
    }

    /// A meter event with this identifier was taken before.
    pub(crate) fn is_known_already(&self) -> bool {
        matches!(self, StripeError::Refused { status: 400, code, message, .. }
            if code == "duplicate_meter_event" || message.starts_with("An event already exists with identifier"))
    }

    /// The key was used for something else meanwhile.
    pub(crate) fn is_other_use_of_key(&self) -> bool {
        matches!(self, StripeError::Refused { kind, .. } if kind == "idempotency_error")
    }
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorFacts,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ErrorFacts {
    r#type: String,
    code: Option<String>,
    message: Option<String>,
}

/// Makes calls.
pub(crate) struct Client {
    api: Place,
    secret_key: Secret,
    calls: Semaphore,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("api", &self.api).finish_non_exhaustive()
    }
}

type Form<'a> = &'a [(&'a str, &'a str)];

struct Call {
    method: Method,
    target: String,
    body: Bytes,
    key: Option<String>,
}

impl Client {
    pub(crate) fn new(api: Place, secret_key: Secret) -> Client {
        Client { api, secret_key, calls: Semaphore::new(CALLS_AT_ONCE_MAX) }
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: Form<'_>,
    ) -> Result<T, StripeError> {
        self.without_body(Method::GET, path, query).await
    }

    pub(crate) async fn delete<T: DeserializeOwned>(
        &self,
        path: &str,
        query: Form<'_>,
    ) -> Result<T, StripeError> {
        self.without_body(Method::DELETE, path, query).await
    }

    async fn without_body<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: Form<'_>,
    ) -> Result<T, StripeError> {
        let query = encode(query);
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        self.call(Call { method, target, body: Bytes::new(), key: None }).await
    }

    /// Without a key of the caller's, each call has one of its own, for its tries.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        form: Form<'_>,
        key: Option<String>,
    ) -> Result<T, StripeError> {
        let key = key.unwrap_or_else(|| hex::encode(rand::random::<[u8; 16]>()));
        self.call(Call {
            method: Method::POST,
            target: path.to_owned(),
            body: encode(form).into(),
            key: Some(key),
        })
        .await
    }

    async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<T, StripeError> {
        match timeout(CALL_MAX, self.tries(&call)).await {
            Ok(done) => done,
            Err(_) => Err(StripeError::Away(format!("nothing came within {} s", CALL_MAX.as_secs()))),
        }
    }

    async fn tries<T: DeserializeOwned>(&self, call: &Call) -> Result<T, StripeError> {
        let _place = self.calls.acquire().await.map_err(|e| StripeError::Away(e.to_string()))?;
        let mut pauses = PAUSES.iter();
        loop {
            let tried = timeout(TRY_MAX, self.once(call)).await;
            let reason = match tried {
                Ok(Ok((status, body))) if (200..300).contains(&status) => {
                    return serde_json::from_slice(&body).map_err(|_| StripeError::Unreadable("an object"));
                }
                Ok(Ok((status, body))) => match refusal(status, &body) {
                    // What is in use is being done by another try of the same call.
                    later @ StripeError::Refused { .. }
                        if status == 409 || status == 429 || status >= 500 =>
                    {
                        later.to_string()
                    }
                    refused => return Err(refused),
                },
                Ok(Err(reason)) => reason,
                Err(_) => format!("nothing came within {} s", TRY_MAX.as_secs()),
            };
            match pauses.next() {
                Some(pause) => sleep(*pause).await,
                None => return Err(StripeError::Away(reason)),
            }
        }
    }

    /// Status and body of one answer.
    async fn once(&self, call: &Call) -> Result<(u16, Bytes), String> {
        outbound::call(&self.api, self.request(call)?, ANSWER_BYTES_MAX).await
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, String> {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", self.secret_key.expose()))
            .map_err(|e| e.to_string())?;
        bearer.set_sensitive(true);
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(&call.target)
            .header(HOST, &self.api.authority)
            .header(AUTHORIZATION, bearer)
            .header(USER_AGENT, concat!("Fanfare/", env!("CARGO_PKG_VERSION")))
            .header("stripe-version", API_VERSION);
        if !call.body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if call.method == Method::POST {
            request = request.header(CONTENT_LENGTH, call.body.len());
        }
        if let Some(key) = &call.key {
            request = request.header("idempotency-key", key);
        }
        request.body(Full::new(call.body.clone())).map_err(|e| e.to_string())
    }
}

fn refusal(status: u16, body: &[u8]) -> StripeError {
    let facts = serde_json::from_slice::<ErrorBody>(body).map(|body| body.error).unwrap_or_default();
    StripeError::Refused {
        status,
        kind: facts.r#type,
        code: facts.code.unwrap_or_default(),
        message: facts.message.unwrap_or_default(),
    }
}
