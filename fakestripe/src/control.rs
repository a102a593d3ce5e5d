//! The levers for stories in another language: `POST /_test/{verb}` with JSON, `GET /_test/{kind}` for what is kept.

use axum::extract::{Path, State as Shared};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::Value;

use crate::objects::Failure;
use crate::{Fake, Posting};

pub(crate) fn routes() -> Router<Fake> {
    Router::new().route("/_test/{name}", get(look).post(act))
}

async fn look(Shared(fake): Shared<Fake>, Path(kind): Path<String>) -> Json<Value> {
    Json(Value::Array(fake.all(&kind)))
}

async fn act(Shared(fake): Shared<Fake>, Path(verb): Path<String>, Json(given): Json<Value>) -> StatusCode {
    let text = |name: &str| given[name].as_str().unwrap_or_default().to_owned();
    let number = |name: &str, otherwise: u64| given[name].as_u64().unwrap_or(otherwise);
    let customer = text("customer");
    fake.with(|state| {
        match verb.as_str() {
            "endpoint" => state.endpoint = Some(text("url")),
            "posting" => {
                state.posting = match text("how").as_str() {
                    "held" => Posting::Held,
                    "lost" => Posting::Lost,
                    _ => Posting::AtOnce,
                }
            }
            "release" => state.release(given["reversed"] == true, number("times", 1) as usize),
            "card" => state.card_works(&customer, given["works"] == true),
            "renew" => state.renew(&customer),
            "retry" => state.retry(&customer),
            "end" => drop(state.end(&text("subscription"))),
            "fail" => state.failures.push(Failure {
                path: text("path"),
                status: number("status", 500) as u16,
                after: given["after"] == true,
                times: number("times", 1) as u32,
                delay_ms: number("delay_ms", 0),
            }),
            _ => return StatusCode::NOT_FOUND,
        }
        StatusCode::NO_CONTENT
    })
}
