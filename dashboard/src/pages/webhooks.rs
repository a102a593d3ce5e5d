//! `/dash/apps/{id}/webhooks`: where the app's webhooks go and how each address does, and how to tell that one is ours.

use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use tenancy::app::{App, AppKey};
use tenancy::clock::{DAY_MS, now_ms};
use tenancy::webhook_delivery::{self, Summary};
use tenancy::webhook_endpoint::{self, ENDPOINTS_PER_APP_MAX, WebhookEndpoint};

use crate::Dashboard;
use crate::error::PageError;
use crate::page::{self, AppBar, Frame, Section, count, html};
use crate::pages::keys;
use crate::reveal::{self, Ask};
use crate::scope::{CurrentApp, SeePayloads};
use crate::session::CurrentUser;
use crate::snippets::webhooks::{Check, checks};
use crate::switches::{self, Switch};

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/dash/apps/{id}/webhooks", get(show))
}

/// How an endpoint does, in a word and a colour.
pub(super) struct Health {
    /// Class of the word: `ok`, `warn`, `bad`, `off`, or nothing.
    pub(super) level: &'static str,
    /// The word.
    pub(super) word: &'static str,
}

/// The health of an endpoint with what it did of late.
pub(super) fn health(endpoint: &WebhookEndpoint, arrived: u64) -> Health {
    let (level, word) = match endpoint {
        WebhookEndpoint { paused_ms: Some(_), .. } => ("bad", "Paused"),
        WebhookEndpoint { enabled: false, .. } => ("off", "Off"),
        WebhookEndpoint { failing_since_ms: Some(_), .. } => ("warn", "Failing"),
        _ if arrived > 0 => ("ok", "Healthy"),
        _ => ("", "Waiting"),
    };
    Health { level, word }
}

/// `98.5 %` of what came to an end, or nothing.
fn success(summary: &Summary) -> Option<String> {
    let ended = summary.delivered + summary.failed;
    let tenths = (summary.delivered * 1_000).checked_div(ended)?;
    Some(match tenths {
        1_000 => "100 %".to_owned(),
        _ => format!("{}.{} %", tenths / 10, tenths % 10),
    })
}

struct Row {
    endpoint: WebhookEndpoint,
    health: Health,
    arrived: Arrived,
}

/// How much of the last day's deliveries arrived, in words.
pub(super) struct Arrived {
    /// `98.5 %`; `None` before anything came to an end.
    pub(super) share: Option<String>,
    /// `of 1,204`, `3 on their way`, `none sent`.
    pub(super) of: String,
}

impl Arrived {
    pub(super) fn new(summary: &Summary) -> Arrived {
        let share = success(summary);
        let of = match (&share, summary.pending) {
            (Some(_), _) => format!("of {}", count(summary.delivered + summary.failed)),
            (None, 0) => "none sent".to_owned(),
            (None, 1) => "1 on its way".to_owned(),
            (None, n) => format!("{} on their way", count(n)),
        };
        Arrived { share, of }
    }
}

#[derive(Template)]
#[template(path = "webhooks.html")]
struct ListPage {
    frame: Frame,
    bar: AppBar,
    rows: Vec<Row>,
    batching: &'static Switch,
    key: AppKey,
    ask: Ask,
    back: String,
    checks: Vec<Check>,
    done: Option<&'static str>,
}

impl ListPage {
    fn full(&self) -> bool {
        self.rows.len() as i64 >= ENDPOINTS_PER_APP_MAX
    }
}

#[derive(Deserialize)]
struct Done {
    done: Option<String>,
}

async fn show(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<SeePayloads>,
    State(dashboard): State<Dashboard>,
    Query(query): Query<Done>,
) -> Result<Response, PageError> {
    let batching = switches::find(switches::BATCHING).ok_or(PageError::Internal)?;
    let key = keys::oldest(&dashboard, &app).await?;
    let (key, ask) = reveal::pair(&dashboard, &current, &app, key).await?;
    html(&ListPage {
        ask,
        back: format!("/dash/apps/{}/webhooks", app.id),
        frame: Frame::new(&current),
        bar: AppBar::new(&dashboard, &app, Section::Webhooks),
        rows: rows(&dashboard, &app).await?,
        batching,
        checks: checks(app.id, &key),
        key,
        done: query.done.as_deref().and_then(|done| match done {
            "deleted" => Some("The endpoint was deleted, with its deliveries."),
            switches::BATCHING => Some(batching.said(&app)),
            _ => None,
        }),
    })
}

async fn rows(dashboard: &Dashboard, app: &App) -> Result<Vec<Row>, PageError> {
    let endpoints = webhook_endpoint::list(dashboard.db(), &app.account_id, app.id).await?;
    let summaries =
        webhook_delivery::summary(dashboard.db(), &app.account_id, app.id, now_ms() - DAY_MS).await?;
    let row = |endpoint: WebhookEndpoint| {
        let summary =
            summaries.iter().find(|one| one.endpoint_id == endpoint.id).cloned().unwrap_or_default();
        Row { health: health(&endpoint, summary.delivered), arrived: Arrived::new(&summary), endpoint }
    };
    Ok(endpoints.into_iter().map(row).collect())
}

/// The endpoint of an address, or 404: an unknown one, another app's and another tenant's alike.
pub(super) async fn endpoint(
    dashboard: &Dashboard,
    app: &App,
    id: &str,
) -> Result<WebhookEndpoint, PageError> {
    let found = webhook_endpoint::find(dashboard.db(), &app.account_id, app.id, id).await?;
    found.ok_or(PageError::WebhookNotFound)
}

/// `24 Nov, 08:41:07`, UTC.
pub(super) fn at(ms: i64) -> String {
    page::at(ms, "%-d %b, %H:%M:%S")
}

/// `312 ms`, `1.2 s`.
pub(super) fn duration(ms: i64) -> String {
    match ms {
        ..1_000 => format!("{} ms", ms.max(0)),
        _ => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_counts_what_came_to_an_end() {
        let of = |delivered, failed| {
            success(&Summary { endpoint_id: String::new(), pending: 9, delivered, failed })
        };
        assert_eq!(of(0, 0), None);
        assert_eq!(of(5, 0).as_deref(), Some("100 %"));
        assert_eq!(of(0, 1).as_deref(), Some("0.0 %"));
        assert_eq!(of(9_999, 1).as_deref(), Some("99.9 %"), "never rounded up to all");
        let of = |pending, delivered| {
            Arrived::new(&Summary { endpoint_id: String::new(), pending, delivered, failed: 0 }).of
        };
        assert_eq!(of(0, 0), "none sent");
        assert_eq!(of(1_200, 0), "1,200 on their way");
        assert_eq!(of(3, 1_204), "of 1,204");
    }

    #[test]
    fn durations_are_short() {
        assert_eq!([0, 999, 1_000, 4_012].map(duration), ["0 ms", "999 ms", "1.0 s", "4.0 s"]);
    }
}
