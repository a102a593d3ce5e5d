//! Pages of any origin use these routes: which origins an app allows is admission's decision, and no route here knows cookies.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

/// Answers preflights, and lets pages read the answers to the requests that follow.
pub(super) async fn allow(request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let path = request.uri().path();
    let is_sockjs = path.starts_with("/pusher/") && !path.starts_with("/pusher/app/");
    let mut response = if request.method() == Method::OPTIONS {
        let headers = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type"),
            // Browsers cap this, Chromium at two hours.
            (header::ACCESS_CONTROL_MAX_AGE, "86400"),
        ];
        (StatusCode::NO_CONTENT, headers).into_response()
    } else {
        next.run(request).await
    };
    set_origin(response.headers_mut(), origin.filter(|_| is_sockjs));
    response
}

/// SockJS' requests are made with credentials, for which browsers want the origin by name.
fn set_origin(headers: &mut HeaderMap, with_credentials: Option<HeaderValue>) {
    match with_credentials {
        Some(origin) => {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        }
        None => {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
    }
}
