//! Every unsafe request proves that one of our own pages made it: the browser's word on where it came from, and a token.
//!
//! Signed in, the token is derived from the session cookie; before sign-in, from a cookie made for that (double submit).
//! Nothing is stored. The checks are middleware over all routes of a group, so a page can't forget them.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{CONTENT_TYPE, ORIGIN};
use http::{HeaderMap, Method};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::client::{Endpoint, RequestOrigin};
use crate::error::PageError;
use crate::session::{cookie, session_token as session_cookie, set_cookie};
use crate::{Dashboard, FORM_BYTES_MAX};

/// The cookie behind the tokens of pages before sign-in.
const FORM_COOKIE: &str = "fanfare_form";
/// It lives this long, in seconds: a sign-in page may stay open over lunch.
const FORM_COOKIE_SECONDS: u32 = 12 * 3600;
/// The header in which scripts send the token.
pub const CSRF_HEADER: &str = "x-csrf-token";

/// The token of a session.
pub(crate) fn session_token(session: &str) -> String {
    derive(session, b"fanfare csrf, signed in")
}

/// The token of a page before sign-in, and the cookie that it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct FormToken {
    /// For the hidden field `csrf`.
    pub(crate) token: String,
    fresh: Option<String>,
}

impl FormToken {
    /// Keeps the browser's cookie if it has one, so that several open tabs work.
    pub(crate) fn of(headers: &HeaderMap) -> FormToken {
        match cookie(headers, FORM_COOKIE).filter(|value| value.len() == 64) {
            Some(value) => FormToken { token: form_token(value), fresh: None },
            None => {
                let value = hex::encode(rand::random::<[u8; 32]>());
                FormToken { token: form_token(&value), fresh: Some(value) }
            }
        }
    }

    /// Sets the cookie unless the browser has it.
    pub(crate) fn put(&self, headers: &mut HeaderMap, origin: &RequestOrigin) {
        if let Some(value) = &self.fresh {
            set_cookie(headers, FORM_COOKIE, value, FORM_COOKIE_SECONDS, origin.https);
        }
    }
}

fn form_token(value: &str) -> String {
    derive(value, b"fanfare csrf, before sign-in")
}

/// A text that only who knows `key` can make, another one for each purpose.
pub(crate) fn derive(key: &str, purpose: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes())
        .unwrap_or_else(|_| unreachable!("any length is a key"));
    mac.update(purpose);
    hex::encode(mac.finalize().into_bytes())
}

/// Guards pages for signed-in people. Without any session cookie there is nothing to forge: the visitor is sent to sign in.
pub(crate) async fn guard_session(
    State(dashboard): State<Dashboard>,
    request: Request,
    next: Next,
) -> Result<Response, PageError> {
    if is_safe(request.method()) {
        return Ok(next.run(request).await);
    }
    let (parts, body) = request.into_parts();
    from_our_pages(&parts, &dashboard)?;
    let Some(session) = session_cookie(&parts.headers) else { return Err(PageError::signed_out(&parts)) };
    let expected = session_token(session);
    let request = with_token(parts, body, &expected).await?;
    Ok(next.run(request).await)
}

/// Guards the pages before sign-in.
pub(crate) async fn guard_form(
    State(dashboard): State<Dashboard>,
    request: Request,
    next: Next,
) -> Result<Response, PageError> {
    if is_safe(request.method()) {
        return Ok(next.run(request).await);
    }
    let (parts, body) = request.into_parts();
    from_our_pages(&parts, &dashboard)?;
    let expected = cookie(&parts.headers, FORM_COOKIE).map(form_token).ok_or(PageError::ForeignForm)?;
    let request = with_token(parts, body, &expected).await?;
    Ok(next.run(request).await)
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// What the browser says about the page that made the request. Old browsers say nothing, and with `Referrer-Policy:
/// no-referrer` a form's `Origin` is `null`; then the token alone decides.
fn from_our_pages(parts: &http::request::Parts, dashboard: &Dashboard) -> Result<(), PageError> {
    let text = |name: &str| parts.headers.get(name).map(|v| v.to_str().unwrap_or("?"));
    match text("sec-fetch-site") {
        Some("same-origin" | "none") => return Ok(()),
        Some(_) => return Err(PageError::ForeignForm),
        None => {}
    }
    match text(ORIGIN.as_str()) {
        None | Some("null") => Ok(()),
        Some(origin) => {
            let ours = RequestOrigin::of(parts, dashboard);
            let same = Endpoint::parse(origin).is_some_and(|o| {
                o == ours.endpoint
                    || ours.host.as_deref().is_some_and(|h| h.eq_ignore_ascii_case(&o.authority()))
            });
            if same { Ok(()) } else { Err(PageError::ForeignForm) }
        }
    }
}

/// Looks for the token: the header of a script's request, or the field `csrf` of a form. Other bodies have no way in.
async fn with_token(parts: http::request::Parts, body: Body, expected: &str) -> Result<Request, PageError> {
    if let Some(given) = parts.headers.get(CSRF_HEADER) {
        check(given.as_bytes(), expected)?;
        return Ok(Request::from_parts(parts, body));
    }
    let kind = parts.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !kind.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") {
        return Err(PageError::ForeignForm);
    }
    let bytes = to_bytes(body, FORM_BYTES_MAX).await.map_err(|_| PageError::TooLarge)?;
    let given = field(&bytes).ok_or(PageError::ForeignForm)?;
    check(given, expected)?;
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

/// The raw value of `csrf`; tokens are hex, so nothing in a right one is escaped.
fn field(form: &[u8]) -> Option<&[u8]> {
    form.split(|b| *b == b'&').find_map(|pair| pair.strip_prefix(b"csrf="))
}

fn check(given: &[u8], expected: &str) -> Result<(), PageError> {
    if bool::from(given.ct_eq(expected.as_bytes())) { Ok(()) } else { Err(PageError::ForeignForm) }
}
