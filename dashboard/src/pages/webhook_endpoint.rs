//! `/dash/apps/{id}/webhooks/{ep}`: what was sent to an endpoint; test events, sending failed ones again, resuming, and its
//! end.

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use tenancy::app::App;
use tenancy::audit::Action;
use tenancy::clock::{DAY_MS, now_ms};
use tenancy::webhook_delivery::{self, Delivery, Filter, State as Stage};
use tenancy::webhook_endpoint::{self, ChannelFilter, EndpointChange, EndpointError, WebhookEndpoint};

use crate::Dashboard;
use crate::acts;
use crate::error::PageError;
use crate::page::{AppBar, Frame, Section, count, html, moment};
use crate::pages::webhooks::{self, Arrived, Health};
use crate::scope::{CurrentApp, ManageApps, SeePayloads, SendEvents};
use crate::session::CurrentUser;

/// Deliveries on one page.
const PAGE: usize = 50;
/// From how many hours back failed deliveries can be sent again; the log keeps seven days.
pub(super) const RECOVER_HOURS: [(i64, &str); 3] =
    [(1, "the last hour"), (24, "the last 24 hours"), (168, "the last 7 days")];

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/dash/apps/{id}/webhooks/{ep}", get(show))
        .route("/dash/apps/{id}/webhooks/{ep}/test", post(test))
        .route("/dash/apps/{id}/webhooks/{ep}/recover", post(recover))
        .route("/dash/apps/{id}/webhooks/{ep}/resume", post(resume))
        .route("/dash/apps/{id}/webhooks/{ep}/delete", post(delete))
}

/// A delivery as a line of the table.
struct Row {
    delivery: Delivery,
    at: String,
    events: String,
    stage: Progress,
    code: String,
    duration: String,
    next: String,
}

/// How far a delivery is, in a word and a colour.
pub(super) struct Progress {
    pub(super) level: &'static str,
    pub(super) word: &'static str,
}

pub(super) fn progress(delivery: &Delivery) -> Progress {
    let (level, word) = match delivery.state {
        Stage::Delivered => ("ok", "Delivered"),
        Stage::Failed => ("bad", "Failed"),
        Stage::Pending if delivery.attempts.is_empty() => ("", "Waiting"),
        Stage::Pending => ("warn", "Retrying"),
    };
    Progress { level, word }
}

/// `in 8 s`, `now`, or nothing once it's over.
pub(super) fn next_try(delivery: &Delivery, now_ms: i64) -> String {
    match (delivery.state, delivery.next_try_ms) {
        (Stage::Pending, Some(next)) if next > now_ms => match (next - now_ms + 999) / 1_000 {
            seconds @ ..120 => format!("in {seconds} s"),
            seconds => format!("in {} min", (seconds + 59) / 60),
        },
        (Stage::Pending, _) => "now".to_owned(),
        _ => String::new(),
    }
}

/// The names of the events in a body, each once with its number.
pub(super) fn event_names(body: &str) -> String {
    let parsed: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let mut names: Vec<(&str, usize)> = Vec::new();
    for event in parsed["events"].as_array().into_iter().flatten() {
        let name = event["name"].as_str().unwrap_or("?");
        match names.iter_mut().find(|(known, _)| *known == name) {
            Some((_, n)) => *n += 1,
            None => names.push((name, 1)),
        }
    }
    let word = |(name, n): &(&str, usize)| match n {
        1 => (*name).to_owned(),
        n => format!("{n} × {name}"),
    };
    names.iter().map(word).collect::<Vec<_>>().join(", ")
}

impl Row {
    fn new(delivery: Delivery, now_ms: i64) -> Row {
        let last = delivery.attempts.last();
        Row {
            at: webhooks::at(delivery.created_ms),
            events: event_names(&delivery.body),
            stage: progress(&delivery),
            code: last
                .map(|attempt| attempt.status.map_or("none".to_owned(), |status| status.to_string()))
                .unwrap_or_default(),
            duration: last.map(|attempt| webhooks::duration(attempt.duration_ms)).unwrap_or_default(),
            next: next_try(&delivery, now_ms),
            delivery,
        }
    }
}

#[derive(Template)]
#[template(path = "webhook_endpoint.html")]
struct EndpointPage {
    frame: Frame,
    bar: AppBar,
    endpoint: WebhookEndpoint,
    health: Health,
    channels: String,
    arrived: Arrived,
    /// Since when it fails or is paused, in words.
    trouble: Option<String>,
    stage: Option<Stage>,
    rows: Vec<Row>,
    /// The id of the last row, if older ones follow.
    older: Option<String>,
    /// Not the first page.
    paged: bool,
    done: Option<String>,
}

impl EndpointPage {
    /// `aria-current` for the links of the filter.
    fn current(&self, name: &str) -> &'static str {
        if self.stage.map_or("", Stage::name) == name { "true" } else { "false" }
    }

    fn pending(&self) -> bool {
        self.rows.iter().any(|row| row.delivery.state == Stage::Pending)
    }
}

#[derive(Deserialize)]
struct Wanted {
    state: Option<String>,
    before: Option<String>,
    done: Option<String>,
    n: Option<u64>,
}

async fn show(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<SeePayloads>,
    State(dashboard): State<Dashboard>,
    Path((_, id)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, PageError> {
    let endpoint = webhooks::endpoint(&dashboard, &app, &id).await?;
    let now = now_ms();
    let stage = wanted.state.as_deref().and_then(Stage::parse);
    let filter = Filter {
        endpoint_id: Some(&endpoint.id),
        state: stage,
        before: wanted.before.as_deref(),
        limit: PAGE as u32 + 1,
    };
    let mut found = webhook_delivery::list(dashboard.db(), &app.account_id, app.id, filter).await?;
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let older = found.last().filter(|_| more).map(|last| last.id.clone());
    let summary = webhook_delivery::summary(dashboard.db(), &app.account_id, app.id, now - DAY_MS).await?;
    let summary = summary.into_iter().find(|one| one.endpoint_id == endpoint.id).unwrap_or_default();
    html(&EndpointPage {
        frame: Frame::new(&current),
        bar: AppBar::new(&dashboard, &app, Section::Webhooks),
        health: webhooks::health(&endpoint, summary.delivered),
        channels: match &endpoint.channel_filter {
            ChannelFilter::None => "all".to_owned(),
            ChannelFilter::Prefix(text) => format!("beginning with {text}"),
            ChannelFilter::Exact(text) => text.clone(),
            ChannelFilter::Glob(text) => format!("like {text}"),
        },
        arrived: Arrived::new(&summary),
        trouble: trouble(&endpoint),
        stage,
        rows: found.into_iter().map(|delivery| Row::new(delivery, now)).collect(),
        older,
        paged: wanted.before.is_some(),
        done: wanted.done.as_deref().and_then(|done| said(done, wanted.n.unwrap_or(0))),
        endpoint,
    })
}

/// What a redirect says.
fn said(done: &str, n: u64) -> Option<String> {
    Some(match done {
        "new" => "The endpoint is there. Send a test event to see that it answers.".to_owned(),
        "saved" => "Saved. It holds for what happens from now on.".to_owned(),
        "resumed" => "The endpoint is on again.".to_owned(),
        "recovered" if n == 0 => "No delivery of that time failed, so nothing is sent again.".to_owned(),
        "recovered" if n == 1 => "1 failed delivery is being sent again.".to_owned(),
        "recovered" => format!("{} failed deliveries are being sent again.", count(n)),
        _ => return None,
    })
}

fn trouble(endpoint: &WebhookEndpoint) -> Option<String> {
    match (endpoint.paused_ms, endpoint.failing_since_ms) {
        (Some(paused), _) => Some(format!(
            "Paused since {} UTC, because every delivery failed for five days. Nothing is sent until you resume it.",
            moment(paused)
        )),
        (None, Some(since)) if endpoint.enabled => Some(format!(
            "Nothing has arrived since {} UTC. After five days the endpoint is paused.",
            moment(since)
        )),
        _ => None,
    }
}

#[derive(Deserialize)]
struct TestForm {
    kind: String,
}

async fn test(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<SendEvents>,
    State(dashboard): State<Dashboard>,
    Path((_, id)): Path<(String, String)>,
    form: Result<Form<TestForm>, FormRejection>,
) -> Result<Response, PageError> {
    let endpoint = webhooks::endpoint(&dashboard, &app, &id).await?;
    let Form(form) = form?;
    let (db, account) = (dashboard.db(), &app.account_id);
    let sent = webhook_delivery::send_test(db, account, app.id, &endpoint.id, &form.kind).await?;
    let delivery = sent.ok_or(PageError::BadForm)?;
    let details = json!({ "kind": form.kind });
    acts::in_app(&dashboard, &current.by(), Action::WebhookTest, &app, &endpoint.id, details).await;
    Ok(Redirect::to(&format!("/dash/apps/{}/webhooks/{id}/{delivery}", app.id)).into_response())
}

#[derive(Deserialize)]
struct RecoverForm {
    hours: i64,
}

async fn recover(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<SendEvents>,
    State(dashboard): State<Dashboard>,
    Path((_, id)): Path<(String, String)>,
    form: Result<Form<RecoverForm>, FormRejection>,
) -> Result<Response, PageError> {
    let endpoint = webhooks::endpoint(&dashboard, &app, &id).await?;
    let Form(form) = form?;
    if !RECOVER_HOURS.iter().any(|(hours, _)| *hours == form.hours) {
        return Err(PageError::BadForm);
    }
    let since = now_ms() - form.hours * 3_600_000;
    let n = webhook_delivery::recover(dashboard.db(), &app.account_id, app.id, &endpoint.id, since).await?;
    if n > 0 {
        let details = json!({ "deliveries": n, "hours": form.hours });
        acts::in_app(&dashboard, &current.by(), Action::WebhookReplay, &app, &endpoint.id, details).await;
    }
    Ok(back(&app, &id, &format!("recovered&n={n}")))
}

async fn resume(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<ManageApps>,
    State(dashboard): State<Dashboard>,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, PageError> {
    let change = EndpointChange { enabled: Some(true), ..EndpointChange::default() };
    match webhook_endpoint::update(dashboard.db(), &app.account_id, app.id, &id, change).await {
        Ok(Some(_)) => {
            let (action, by) = (Action::WebhookEdit, current.by());
            acts::in_app(&dashboard, &by, action, &app, &id, json!({ "resumed": true })).await;
            Ok(back(&app, &id, "resumed"))
        }
        Ok(None) => Err(PageError::WebhookNotFound),
        Err(EndpointError::Db(error)) => Err(error.into()),
        Err(_) => Err(PageError::Internal),
    }
}

async fn delete(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<ManageApps>,
    State(dashboard): State<Dashboard>,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, PageError> {
    if !webhook_endpoint::delete(dashboard.db(), &app.account_id, app.id, &id).await? {
        return Err(PageError::WebhookNotFound);
    }
    acts::in_app(&dashboard, &current.by(), Action::WebhookDelete, &app, &id, Value::Null).await;
    Ok(Redirect::to(&format!("/dash/apps/{}/webhooks?done=deleted", app.id)).into_response())
}

fn back(app: &App, id: &str, done: &str) -> Response {
    Redirect::to(&format!("/dash/apps/{}/webhooks/{id}?done={done}", app.id)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_named_once_with_their_number() {
        let body = r#"{"time_ms":1,"events":[{"name":"member_added"},{"name":"cache_miss"},{"name":"member_added"}]}"#;
        assert_eq!(event_names(body), "2 × member_added, cache_miss");
        assert_eq!(event_names("no json"), "");
    }
}
