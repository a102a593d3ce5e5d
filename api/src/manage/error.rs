//! Why the management API refuses, as the one JSON form of all its errors. Statuses, codes and sentences stand here.

use std::time::Duration;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use tenancy::db::DbError;
use tenancy::role::Role;
use tenancy::token::Scope;
use utoipa::ToSchema;

/// Every error has this form.
#[derive(Serialize, ToSchema)]
pub(super) struct ErrorAnswer {
    pub(super) error: ErrorFacts,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
pub(super) struct ErrorFacts {
    /// For programs: stays the same in later versions.
    #[schema(example = "not_found")]
    pub(super) code: &'static str,
    /// For people.
    pub(super) message: String,
    /// Also in the header `X-Request-Id`: tell it to whoever runs the server.
    pub(super) request_id: String,
    /// The field of the request that is meant, if one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) field: Option<&'static str>,
}

/// A refusal. Its answer gets body and request id on the way out (`super::finish`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) field: Option<&'static str>,
    retry_after: Option<u64>,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status, code, message: message.into(), field: None, retry_after: None }
    }

    pub(super) fn no_token() -> Refusal {
        let text = "Send a token: Authorization: Bearer ff_… . Make one in the dashboard, under API tokens.";
        Refusal::new(StatusCode::UNAUTHORIZED, "no_token", text)
    }

    pub(super) fn wrong_token() -> Refusal {
        let text = "This token opens nothing: it is mistyped, was revoked, ran out, or its person left.";
        Refusal::new(StatusCode::UNAUTHORIZED, "wrong_token", text)
    }

    pub(super) fn missing_scope(scope: Scope) -> Refusal {
        let text = format!("The token was made without the scope {}.", scope.name());
        Refusal::new(StatusCode::FORBIDDEN, "missing_scope", text)
    }

    pub(super) fn role(role: Role) -> Refusal {
        let text = format!(
            "The token acts for somebody who is {} now, and that role may not do this.",
            role.title()
        );
        Refusal::new(StatusCode::FORBIDDEN, "role", text)
    }

    pub(super) fn for_one_app() -> Refusal {
        Refusal::new(StatusCode::FORBIDDEN, "for_one_app", "The token was made for one app alone.")
    }

    pub(super) fn owners_only() -> Refusal {
        Refusal::new(StatusCode::FORBIDDEN, "owners_only", "Only an Owner makes and unmakes Owners.")
    }

    pub(super) fn forbidden(code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::FORBIDDEN, code, message)
    }

    pub(super) fn no_app() -> Refusal {
        Refusal::not_found("There is no such app that this token sees.")
    }

    pub(super) fn not_found(message: &str) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(super) fn method() -> Refusal {
        let text = "This address exists, but not for this method. /v1/openapi.json has them all.";
        Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text)
    }

    /// Well-formed, and in the way of something that is.
    pub(super) fn conflict(code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::CONFLICT, code, message)
    }

    /// A field that can't be what it is. The message is a sentence of ours, or gets to be one.
    pub(super) fn invalid(field: &'static str, message: impl ToString) -> Refusal {
        let text = sentence(&message.to_string());
        Refusal { field: Some(field), ..Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", text) }
    }

    pub(super) fn too_large(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    pub(super) fn too_many(wait: Duration) -> Refusal {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let text = format!("Too many requests. Go on in {seconds} s.");
        Refusal {
            retry_after: Some(seconds.max(1)),
            ..Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", text)
        }
    }

    pub(super) fn too_many_keys(max: i64) -> Refusal {
        let text = format!("The organisation used {max} idempotency keys in a day, the most there can be.");
        Refusal {
            retry_after: Some(60),
            ..Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too_many_idempotency_keys", text)
        }
    }

    pub(super) fn unavailable() -> Refusal {
        let text = "The server can't do this right now. Try again in a moment.";
        Refusal { retry_after: Some(1), ..Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text) }
    }
}

/// `the name …` as a sentence.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", chars.as_str())
}

impl From<DbError> for Refusal {
    fn from(error: DbError) -> Refusal {
        tracing::error!(%error, "the management API could not read or write the database");
        Refusal::unavailable()
    }
}

impl From<crate::live::LiveError> for Refusal {
    fn from(crate::live::LiveError(status, code, message): crate::live::LiveError) -> Refusal {
        Refusal::new(status, code, message)
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Refusal {
        match rejection {
            JsonRejection::MissingJsonContentType(_) => Refusal::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "Send JSON, with Content-Type: application/json.",
            ),
            JsonRejection::JsonSyntaxError(error) => {
                Refusal::new(StatusCode::BAD_REQUEST, "bad_json", error.body_text())
            }
            JsonRejection::JsonDataError(error) => {
                Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", error.body_text())
            }
            other if other.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Refusal::too_large("A body may have 128 KiB.")
            }
            _ => Refusal::new(StatusCode::BAD_REQUEST, "bad_request", "The body could not be read."),
        }
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Refusal {
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", rejection.body_text())
    }
}

impl From<PathRejection> for Refusal {
    fn from(_: PathRejection) -> Refusal {
        Refusal::not_found("There is nothing at this address.")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}
