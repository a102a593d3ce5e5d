//! `/e/` and `/e/{code}`: what a code means and how to fix it. For everybody, signed in or not; nothing of an app is shown.

use askama::Template;
use axum::Router;
use axum::extract::Path;
use axum::response::{Redirect, Response};
use axum::routing::get;

use crate::Dashboard;
use crate::client::Endpoint;
use crate::error::PageError;
use crate::errors_index::{self, ENTRIES, Entry, Place};
use crate::page::html;

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/e", get(async || Redirect::permanent("/e/")))
        .route("/e/", get(list))
        .route("/e/{code}", get(show))
}

#[derive(Template)]
#[template(path = "errors.html")]
struct ListPage;

impl ListPage {
    fn of(&self, place: Place) -> impl Iterator<Item = &'static Entry> {
        ENTRIES.iter().filter(move |entry| entry.place == place)
    }
}

async fn list() -> Result<Response, PageError> {
    html(&ListPage)
}

#[derive(Template)]
#[template(path = "error_code.html")]
struct CodePage {
    entry: &'static Entry,
    code: Option<String>,
}

async fn show(Path(code): Path<String>, endpoint: Endpoint) -> Result<Response, PageError> {
    let entry = errors_index::find(&code).ok_or(PageError::CodeNotFound)?;
    let code = entry.example.as_ref().map(|example| {
        let port = endpoint.port.to_string();
        let code = example.code.replace("{host}", &endpoint.host).replace("{port}", &port);
        code.replace("{tls}", if endpoint.tls { "true" } else { "false" })
    });
    html(&CodePage { entry, code })
}
