//! Facts become statuses and sentences here. Bodies are short plain text: SDKs print them as they are.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use protocol::limits::{
    BATCH_EVENTS_MAX, CHANNELS_PER_PUBLISH_MAX, EVENT_DATA_BYTES_MAX, REST_BODY_BYTES_MAX,
};
use realtime::console::Hint;
use realtime::publish::PublishError;
use realtime::rate::{Call, OverRate};

use super::diagnose;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
    /// For the console.
    pub(crate) hint: Option<Box<Hint>>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, text: impl Into<String>) -> ApiError {
        ApiError { status, text: text.into(), hint: None }
    }

    pub(crate) fn bad_request(text: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, text)
    }

    pub(crate) fn unauthorized(text: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::UNAUTHORIZED, text)
    }

    pub(crate) fn data_too_large(bytes: usize, event: &str) -> ApiError {
        let text = format!(
            "The data content of this event exceeds the allowed maximum ({EVENT_DATA_BYTES_MAX} bytes): {event} has {bytes} bytes"
        );
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    }

    /// `announced`: what the request's head says of its length.
    pub(crate) fn body_too_large(announced: Option<u64>) -> ApiError {
        let bytes = announced.map_or_else(|| "more".to_owned(), |bytes| format!("{bytes} bytes"));
        let text = format!(
            "Request too large: at most {REST_BODY_BYTES_MAX} bytes are read, this one has {bytes}; the data content of this event may have {EVENT_DATA_BYTES_MAX}"
        );
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    }

    pub(crate) fn tls_only(app_id: u64) -> ApiError {
        ApiError::bad_request(format!(
            "TLS required: app {app_id} takes requests over https only, this one came over http"
        ))
    }

    /// Says which event of a batch is meant, counted from 1.
    pub(crate) fn in_batch(mut self, index: usize) -> ApiError {
        self.text += &format!(" (event {} of the batch)", index + 1);
        self
    }

    pub(crate) fn too_many_channels(n: usize) -> ApiError {
        ApiError::bad_request(format!(
            "Too many channels: {n} given, at most {CHANNELS_PER_PUBLISH_MAX} are allowed in one request"
        ))
    }

    pub(crate) fn batch_too_large(n: usize) -> ApiError {
        ApiError::bad_request(format!(
            "Batch too large: {n} events given, at most {BATCH_EVENTS_MAX} are allowed"
        ))
    }
}

impl From<PublishError> for ApiError {
    fn from(error: PublishError) -> ApiError {
        match error {
            PublishError::OverMessageQuota { used, limit, own_cap, resets_ms } => {
                let (whose, way) = match own_cap {
                    true => (", this app's own cap", "a higher cap in the app's settings"),
                    false => ("", "a larger plan"),
                };
                let text = format!(
                    "Over quota: {used} of {limit} messages of today are used{whose}; publishing goes on at 00:00 UTC ({resets_ms} ms since the epoch) or with {way}"
                );
                let hint = own_cap.then(|| Box::new(diagnose::own_cap(limit)));
                ApiError { hint, ..ApiError::new(StatusCode::FORBIDDEN, text) }
            }
            PublishError::Overloaded => ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "The server is overloaded: nothing was published, try again",
            ),
            PublishError::Alone => ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "The nodes of this cluster can't reach each other right now: nothing was published, try again",
            ),
        }
    }
}

impl From<OverRate> for ApiError {
    fn from(over: OverRate) -> ApiError {
        let OverRate { call, taken, asked, limit } = over;
        let what = match call {
            Call::Publish => "events",
            Call::Read => "calls that publish nothing",
        };
        let text = format!(
            "Over rate: {taken} {what} came in this second and {asked} more with this call, at most {limit} a second are taken; try again in a second"
        );
        let hint = Some(Box::new(diagnose::over_rate(call, limit)));
        ApiError { hint, ..ApiError::new(StatusCode::TOO_MANY_REQUESTS, text) }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.text + "\n").into_response();
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            response.headers_mut().insert(header::RETRY_AFTER, http::HeaderValue::from_static("1"));
        }
        response
    }
}
