//! Where pusher-js sends its statistics when `statsHost` points here. They are answered as the library expects, so that no
//! page shows an error, and not kept.

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};

pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/timeline/v2/jsonp/{n}", get(jsonp)).route("/timeline/v2/xhr/{n}", get(xhr))
}

/// A script that calls the receiver with this number. It is a number and nothing else, or a page could be made to run it.
async fn jsonp(Path(n): Path<String>) -> Response {
    match n.parse::<u32>() {
        Ok(n) => answer(
            "application/javascript; charset=UTF-8",
            format!("Pusher.ScriptReceivers[{n}](null, {{}});\n"),
        ),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn xhr() -> Response {
    answer("application/json", "{}".into())
}

fn answer(content_type: &'static str, body: String) -> Response {
    let headers = [(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-store")];
    (headers, body).into_response()
}
