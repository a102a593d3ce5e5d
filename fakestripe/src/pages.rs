//! The pages that a person sees at Stripe: the checkout with a button that pays, the portal, an invoice.

use axum::Router;
use axum::extract::{Path, State as Shared};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::StatusCode;

use crate::Fake;

pub(crate) fn routes() -> Router<Fake> {
    Router::new()
        .route("/pay/{id}", get(checkout))
        .route("/portal/{id}", get(portal))
        .route("/invoice/{id}", get(async |Path(id): Path<String>| page("Invoice", &format!("<p>{id}</p>"))))
        .route("/press/{id}/{button}", post(press))
}

fn page(title: &str, body: &str) -> Html<String> {
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><link rel=\"icon\" href=\"data:,\"><title>{title}</title><h1>{title}</h1>{body}"
    ))
}

fn button(id: &str, name: &str, words: &str) -> String {
    format!(
        "<form method=\"post\" action=\"/press/{id}/{name}\"><button data-test=\"{name}\">{words}</button></form>"
    )
}

async fn checkout(Shared(fake): Shared<Fake>, Path(id): Path<String>) -> Response {
    let Some(session) = fake.with(|state| state.find("sessions", &id)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if session["status"] != "open" {
        return page("This page is over", "<p>You're all done here.</p>").into_response();
    }
    let price = session["price"].as_str().unwrap_or_default();
    let body = format!("<p>{price}</p>{}{}", button(&id, "pay", "Subscribe"), button(&id, "leave", "Back"));
    page("Subscribe", &body).into_response()
}

async fn portal(Shared(fake): Shared<Fake>, Path(id): Path<String>) -> Response {
    if fake.with(|state| state.find("portals", &id)).is_none() {
        return StatusCode::NOT_FOUND.into_response();
    }
    let body = format!(
        "{}{}{}",
        button(&id, "card", "Use a card that works"),
        button(&id, "cancel", "Cancel subscription"),
        button(&id, "leave", "Return")
    );
    page("Billing portal", &body).into_response()
}

async fn press(Shared(fake): Shared<Fake>, Path((id, button)): Path<(String, String)>) -> Response {
    match fake.with(|state| state.press(&id, &button)) {
        Some(url) => Redirect::to(&url).into_response(),
        None => (StatusCode::CONFLICT, page("Nothing happened", "")).into_response(),
    }
}
