//! What goes wrong on a page, and the page (or, for scripts, the JSON) that says so.
//!
//! Facts for the person who reads; causes go to the log, never into the answer.

use std::any::Any;

use askama::Template;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use tenancy::db::DbError;
use tenancy::role::Permission;

use crate::page;
use crate::pages::second_factor;

/// Why a page can't be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageError {
    /// No such address.
    NotFound,
    /// No such app in this account.
    AppNotFound,
    /// No such webhook endpoint or delivery of this app.
    WebhookNotFound,
    /// The person has no such session.
    SessionNotFound,
    /// No such error code to explain.
    CodeNotFound,
    /// They don't belong to such an organisation.
    OrganisationNotFound,
    /// The organisation has no such member or open invitation.
    PersonNotFound,
    /// The organisation has no such API token, or it is somebody else's.
    TokenNotFound,
    /// A link of an invitation that leads nowhere.
    InvitationNotFound,
    /// Too many wrong links from one network.
    TooManyTries,
    /// Their role in the organisation doesn't have it.
    NotAllowed(Permission),
    /// The organisation asks its people for a second factor, and they have none.
    SecondFactorNeeded,
    /// They belong to no organisation.
    NoOrganisation,
    /// Nobody is signed in; `next` is where to go afterwards.
    SignedOut {
        /// A path of the dashboard, or nothing.
        next: Option<String>,
    },
    /// The request doesn't come from one of our pages, or its token is missing or old.
    ForeignForm,
    /// The address exists, but not for this method.
    MethodNotAllowed,
    /// The fields don't make sense.
    BadForm,
    /// The body is over the limit.
    TooLarge,
    /// Our fault; the cause is in the log.
    Internal,
}

impl PageError {
    /// Nobody is signed in. Remembers the page, if it was asked for with GET.
    pub(crate) fn signed_out(parts: &Parts) -> PageError {
        let wanted = parts.uri.path_and_query().map(|p| p.as_str());
        let get = parts.method == http::Method::GET;
        PageError::SignedOut { next: wanted.filter(|_| get).and_then(page::local_path).map(str::to_owned) }
    }

    /// Status, code for scripts, heading and sentence.
    fn facts(&self) -> (StatusCode, &'static str, &'static str, &'static str) {
        match self {
            PageError::NotFound => {
                (StatusCode::NOT_FOUND, "not_found", "Page not found", "There is nothing at this address.")
            }
            PageError::AppNotFound => (
                StatusCode::NOT_FOUND,
                "not_found",
                "App not found",
                "This workspace has no app with that number. It may have been deleted.",
            ),
            PageError::WebhookNotFound => (
                StatusCode::NOT_FOUND,
                "not_found",
                "Webhook not found",
                "This app has no such endpoint or delivery. It may have been deleted; deliveries are kept for 7 days.",
            ),
            PageError::SessionNotFound => (
                StatusCode::NOT_FOUND,
                "not_found",
                "Session not found",
                "You have no such session. It may have ended already.",
            ),
            PageError::CodeNotFound => (
                StatusCode::NOT_FOUND,
                "not_found",
                "No such code",
                "This server never answers with that code.",
            ),
            PageError::PersonNotFound => (
                StatusCode::NOT_FOUND,
                "not_found",
                "Not found",
                "This organisation has no such member or invitation. Somebody may have removed it.",
            ),
            PageError::TokenNotFound => (
                StatusCode::NOT_FOUND,
                "not_found",
                "Token not found",
                "You have no such API token. What ended is listed for 30 days.",
            ),
            PageError::InvitationNotFound => (
                StatusCode::NOT_FOUND,
                "not_found",
                "This invitation is not valid",
                "It was used, taken back, replaced by a newer link, or is older than seven days. Ask for a new link.",
            ),
            PageError::TooManyTries => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_tries",
                "Too many tries",
                "Too many wrong links came from your network. Wait a few minutes, then try again.",
            ),
            PageError::OrganisationNotFound => (
                StatusCode::NOT_FOUND,
                "not_found",
                "Organisation not found",
                "You don't belong to such an organisation. Somebody may have removed you.",
            ),
            PageError::NotAllowed(permission) => {
                (StatusCode::FORBIDDEN, "not_allowed", "Your role doesn't allow this", who_may(*permission))
            }
            PageError::SecondFactorNeeded => (
                StatusCode::FORBIDDEN,
                "second_factor_needed",
                "Two-step sign-in is required",
                "This organisation requires two-step sign-in. Set it up on your account's page, then everything is back.",
            ),
            PageError::NoOrganisation => (
                StatusCode::FORBIDDEN,
                "no_organisation",
                "You belong to no organisation",
                "Ask an Owner or Admin of an organisation to invite you, and open the link that you get.",
            ),
            PageError::SignedOut { .. } => (
                StatusCode::UNAUTHORIZED,
                "signed_out",
                "Signed out",
                "Your session has ended. Sign in again.",
            ),
            PageError::ForeignForm => (
                StatusCode::FORBIDDEN,
                "forbidden",
                "That form is out of date",
                "The page it came from is too old, or from another site, so nothing was changed. Open the page again and repeat the step.",
            ),
            PageError::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "Not possible here",
                "This address exists, but not for that kind of request.",
            ),
            PageError::BadForm => (
                StatusCode::BAD_REQUEST,
                "bad_request",
                "That form is incomplete",
                "A field was missing or unreadable, so nothing was changed.",
            ),
            PageError::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                "That was too much",
                "A form may hold at most 64 KiB. Nothing was changed.",
            ),
            PageError::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Something broke on our side",
                "The error is in the server's log. Try again; if it stays, tell whoever runs this server.",
            ),
        }
    }
}

/// Whose role has a permission, and who can give one.
fn who_may(permission: Permission) -> &'static str {
    match permission {
        Permission::SeeStats => "Every member may. Ask an Owner or Admin to invite you.",
        Permission::SeeApps => {
            "Billing sees numbers only. To open apps you need to be Viewer, Developer, Admin or Owner; an Owner or Admin can change your role."
        }
        Permission::SeePayloads => {
            "To see payloads and webhooks you need to be Developer, Admin or Owner; an Owner or Admin can change your role."
        }
        Permission::SendEvents => {
            "To send events and webhooks you need to be Developer, Admin or Owner; an Owner or Admin can change your role."
        }
        Permission::UseSecrets => {
            "To see secrets and make keys you need to be Developer, Admin or Owner; an Owner or Admin can change your role."
        }
        Permission::ManageApps => {
            "Apps, their settings, keys and webhooks are managed by Owners and Admins. Ask one of them to do it, or to change your role."
        }
        Permission::RemoveApps => {
            "Apps are deleted and moved by Owners and Admins. Ask one of them to do it, or to change your role."
        }
        Permission::ManagePeople => {
            "People and the audit log are for Owners and Admins. Ask one of them to do it, or to change your role."
        }
        Permission::ManageBilling => {
            "Plan and payment are for Owners and Billing. Ask an Owner to do it, or to change your role."
        }
        Permission::ManageOrganisation => {
            "Only an Owner may rename or delete an organisation. Ask one of them."
        }
    }
}

impl From<DbError> for PageError {
    fn from(error: DbError) -> Self {
        tracing::error!(error = %error, "a page could not read or write the database");
        PageError::Internal
    }
}

impl From<askama::Error> for PageError {
    fn from(error: askama::Error) -> Self {
        tracing::error!(error = %error, "a page could not be rendered");
        PageError::Internal
    }
}

impl From<axum::extract::rejection::FormRejection> for PageError {
    fn from(rejection: axum::extract::rejection::FormRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => PageError::TooLarge,
            _ => PageError::BadForm,
        }
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    status: u16,
    title: &'static str,
    text: &'static str,
    /// Where to go on: address and words.
    onward: (&'static str, &'static str),
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let (status, _, title, text) = self.facts();
        let mut response = match &self {
            PageError::SignedOut { next } => Redirect::to(&page::login_path(next.as_deref())).into_response(),
            PageError::SecondFactorNeeded => Redirect::to(second_factor::PATH).into_response(),
            _ => {
                let onward = match &self {
                    PageError::AppNotFound => ("/dash", "All apps"),
                    PageError::SessionNotFound => ("/dash/account", "Your account"),
                    PageError::PersonNotFound => ("/dash/people", "All people"),
                    PageError::TokenNotFound => ("/dash/tokens", "All tokens"),
                    PageError::NoOrganisation => ("/dash/account", "Your account"),
                    PageError::CodeNotFound => ("/e/", "All error codes"),
                    _ => ("/dash", "Go to the dashboard"),
                };
                let page = ErrorPage { status: status.as_u16(), title, text, onward };
                match page.render() {
                    Ok(html) => (status, axum::response::Html(html)).into_response(),
                    Err(_) => (status, text).into_response(),
                }
            }
        };
        response.extensions_mut().insert(self);
        response
    }
}

/// Scripts get errors as JSON: `{"error":{"code","message"}}`. A script is what sends or accepts JSON, or the token header.
pub(crate) async fn as_json_when_asked(request: Request, next: Next) -> Response {
    let json = wants_json(request.headers());
    let response = next.run(request).await;
    let Some(error) = response.extensions().get::<PageError>().filter(|_| json) else { return response };
    let (status, code, _, message) = error.facts();
    (status, axum::Json(serde_json::json!({ "error": { "code": code, "message": message } }))).into_response()
}

fn wants_json(headers: &HeaderMap) -> bool {
    let has = |name, part| {
        headers.get(name).and_then(|v: &http::HeaderValue| v.to_str().ok()).is_some_and(|v| v.contains(part))
    };
    has(ACCEPT, "application/json")
        || has(CONTENT_TYPE, "application/json")
        || headers.contains_key(crate::csrf::CSRF_HEADER)
}

/// The page for a handler that panicked. The process lives on.
pub(crate) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = message.unwrap_or("?"), "a page panicked");
    PageError::Internal.into_response()
}
