//! `/dash/apps/{id}/webhooks/{ep}/{delivery}`: one delivery with its question and all answers, to be sent once more or copied.

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use protocol::signature::sign;
use serde::Deserialize;
use serde_json::json;
use tenancy::app::{App, AppKey};
use tenancy::audit::Action;
use tenancy::clock::now_ms;
use tenancy::webhook_delivery::{self, Attempt, Delivery, State as Stage};
use tenancy::webhook_endpoint::WebhookEndpoint;

use crate::Dashboard;
use crate::acts;
use crate::error::PageError;
use crate::page::{AppBar, Frame, Section, html};
use crate::pages::webhook_endpoint::{Progress, event_names, next_try, progress};
use crate::pages::{keys, webhooks};
use crate::scope::{CurrentApp, SeePayloads, SendEvents};
use crate::session::CurrentUser;

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/dash/apps/{id}/webhooks/{ep}/{delivery}", get(show))
        .route("/dash/apps/{id}/webhooks/{ep}/{delivery}/resend", post(resend))
}

/// An attempt as the page shows it.
struct Try {
    number: usize,
    at: String,
    duration: String,
    ok: bool,
    /// `200`, or why there is no status.
    outcome: String,
    error: Option<String>,
    headers: Vec<(String, String)>,
    body: String,
    cut: bool,
}

impl Try {
    fn new(number: usize, attempt: Attempt) -> Try {
        Try {
            number,
            at: webhooks::at(attempt.at_ms),
            duration: webhooks::duration(attempt.duration_ms),
            ok: attempt.status.is_some_and(|status| (200..300).contains(&status)),
            outcome: attempt.status.map_or("No answer".to_owned(), |status| status.to_string()),
            error: attempt.error,
            headers: attempt.response_headers,
            cut: attempt.response_body.len() + 4 > tenancy::webhook_outbox::RESPONSE_BYTES_MAX,
            body: attempt.response_body,
        }
    }
}

#[derive(Template)]
#[template(path = "webhook_delivery.html")]
struct DeliveryPage {
    frame: Frame,
    bar: AppBar,
    endpoint: WebhookEndpoint,
    stage: Progress,
    events: String,
    made: String,
    next: String,
    /// As last sent; empty before the first attempt.
    request_headers: Vec<(String, String)>,
    body: String,
    /// Newest first.
    tries: Vec<Try>,
    curl: String,
    done: Option<&'static str>,
    delivery: Delivery,
}

impl DeliveryPage {
    fn pending(&self) -> bool {
        self.delivery.state == Stage::Pending
    }
}

#[derive(Deserialize)]
struct Wanted {
    done: Option<String>,
}

/// The delivery of an address; one to another endpoint is not found under this one.
async fn find(
    dashboard: &Dashboard,
    app: &App,
    endpoint: &WebhookEndpoint,
    id: &str,
) -> Result<Delivery, PageError> {
    let found = webhook_delivery::find(dashboard.db(), &app.account_id, app.id, id).await?;
    found.filter(|delivery| delivery.endpoint_id == endpoint.id).ok_or(PageError::WebhookNotFound)
}

async fn show(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<SeePayloads>,
    State(dashboard): State<Dashboard>,
    Path((_, ep, id)): Path<(String, String, String)>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, PageError> {
    let endpoint = webhooks::endpoint(&dashboard, &app, &ep).await?;
    let mut delivery = find(&dashboard, &app, &endpoint, &id).await?;
    let key = keys::oldest(&dashboard, &app).await?;
    let (stage, next) = (progress(&delivery), next_try(&delivery, now_ms()));
    let attempts = std::mem::take(&mut delivery.attempts);
    let request_headers = attempts.last().map(|last| last.request_headers.clone()).unwrap_or_default();
    let tries = attempts.into_iter().enumerate().map(|(i, attempt)| Try::new(i + 1, attempt)).rev().collect();
    html(&DeliveryPage {
        frame: Frame::new(&current),
        bar: AppBar::new(&dashboard, &app, Section::Webhooks),
        stage,
        events: event_names(&delivery.body),
        made: webhooks::at(delivery.created_ms),
        next,
        request_headers,
        body: pretty(&delivery.body),
        tries,
        curl: curl(&endpoint, &key, &delivery.body),
        done: wanted.done.as_deref().and_then(|done| match done {
            "resent" => Some("It is being sent again, with a new time and signature."),
            "pending" => Some("It is still on its way, so it was not started once more."),
            _ => None,
        }),
        endpoint,
        delivery,
    })
}

async fn resend(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<SendEvents>,
    State(dashboard): State<Dashboard>,
    Path((_, ep, id)): Path<(String, String, String)>,
) -> Result<Response, PageError> {
    let endpoint = webhooks::endpoint(&dashboard, &app, &ep).await?;
    let delivery = find(&dashboard, &app, &endpoint, &id).await?;
    let again = webhook_delivery::resend(dashboard.db(), &app.account_id, app.id, &delivery.id).await?;
    if again {
        let details = json!({ "endpoint": endpoint.id });
        acts::in_app(&dashboard, &current.by(), Action::WebhookReplay, &app, &delivery.id, details).await;
    }
    let done = if again { "resent" } else { "pending" };
    Ok(Redirect::to(&format!("/dash/apps/{}/webhooks/{ep}/{id}?done={done}", app.id)).into_response())
}

/// Indented for reading, in the order of the text; what is no JSON stays as it is.
fn pretty(body: &str) -> String {
    if serde_json::from_str::<serde::de::IgnoredAny>(body).is_err() {
        return body.to_owned();
    }
    let mut out = String::with_capacity(body.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    let mut chars = body.chars().peekable();
    while let Some(c) = chars.next() {
        if in_string {
            in_string = c != '"' || escaped;
            escaped = c == '\\' && !escaped;
            out.push(c);
            continue;
        }
        match c {
            '"' => {
                in_string = true;
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                if let Some(end) = chars.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

/// The request as a command, signed anew: the body may have a later time than the one that was last sent.
fn curl(endpoint: &WebhookEndpoint, key: &AppKey, body: &str) -> String {
    let signature = sign(key.secret.expose(), body);
    let own = [
        ("Content-Type", "application/json"),
        ("X-Pusher-Key", key.key.as_str()),
        ("X-Pusher-Signature", signature.as_str()),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut out = format!("curl -i -X POST {}", quoted(&endpoint.url));
    for (name, value) in own.iter().chain(&endpoint.headers) {
        out.push_str(&format!(" \\\n  -H {}", quoted(&format!("{name}: {value}"))));
    }
    out.push_str(&format!(" \\\n  --data-raw {}", quoted(body)));
    out
}

/// One word for a POSIX shell, whatever it holds.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quotation_mark_does_not_end_the_word_of_a_shell() {
        assert_eq!(quoted("a'; rm x"), r"'a'\''; rm x'");
        assert_eq!(quoted("$(x) `y` \"z\""), "'$(x) `y` \"z\"'");
    }

    #[test]
    fn a_body_keeps_its_order_and_its_texts() {
        let body = r#"{"time_ms":1,"events":[{"name":"a, \"b\": {c}\\"},[], {} ]}"#;
        let shown = "{\n  \"time_ms\": 1,\n  \"events\": [\n    {\n      \"name\": \"a, \\\"b\\\": {c}\\\\\"\n    },\n    [],\n    {}\n  ]\n}";
        assert_eq!(pretty(body), shown);
        assert_eq!(pretty("no json"), "no json");
        assert_eq!(pretty("{\"a\":[1"), "{\"a\":[1");
    }
}
