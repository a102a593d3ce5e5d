//! Styles, scripts and pictures, inside the binary.
//!
//! All addresses carry one hash over all files, `/assets/{hash}/{name}`: a new build changes every address, so browsers
//! may keep files for ever, and scripts can import each other by relative paths.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};

use crate::Dashboard;
use crate::error::PageError;

#[derive(RustEmbed)]
#[folder = "assets/"]
struct Assets;

/// Twelve hex digits over names and contents.
static HASH: LazyLock<String> = LazyLock::new(|| {
    let mut names: Vec<_> = Assets::iter().collect();
    names.sort();
    let mut hasher = Sha256::new();
    for name in names {
        hasher.update(name.as_bytes());
        hasher.update(Assets::get(&name).map(|file| file.metadata.sha256_hash()).unwrap_or_default());
    }
    hex::encode(hasher.finalize())[..12].to_owned()
});

/// The address of an asset, for templates: `{{ crate::assets::url("app.css") }}`.
pub fn url(name: &str) -> String {
    debug_assert!(Assets::get(name).is_some(), "no asset {name}");
    format!("/assets/{}/{name}", *HASH)
}

/// `/assets/…`, and pusher-js at the address that snippets may name.
pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/assets/{hash}/{*name}", get(asset))
        .route("/js/pusher.min.js", get(pusher_js))
        .route("/favicon.ico", get(async |headers: HeaderMap| serve("favicon.svg", &headers, DAY)))
}

const FOREVER: &str = "public, max-age=31536000, immutable";
const DAY: &str = "public, max-age=86400";
/// An old page asks a new server: answer, but don't let anybody keep it under the old address.
const NEVER: &str = "no-cache";

async fn asset(Path((hash, name)): Path<(String, String)>, headers: HeaderMap) -> Response {
    serve(&name, &headers, if hash == *HASH { FOREVER } else { NEVER })
}

async fn pusher_js(headers: HeaderMap) -> Response {
    serve("vendor/pusher.min.js", &headers, DAY)
}

fn serve(name: &str, headers: &HeaderMap, cache: &'static str) -> Response {
    let Some(file) = Assets::get(name) else { return PageError::NotFound.into_response() };
    let etag = format!("\"{}\"", hex::encode(&file.metadata.sha256_hash()[..8]));
    let known = headers.get(IF_NONE_MATCH).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains(&etag));
    let head =
        [(CACHE_CONTROL, cache.to_owned()), (ETAG, etag), (CONTENT_TYPE, content_type(name).to_owned())];
    if known {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    let body = match file.data {
        std::borrow::Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        std::borrow::Cow::Owned(bytes) => Bytes::from(bytes),
    };
    (head, body).into_response()
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, end)| end) {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        Some("txt" | "md") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
