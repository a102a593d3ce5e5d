//! `/dash/usage`: what the organisation uses of its plan today, by class and by app, where the day is heading, and charts; for
//! scripts, the numbers of each app as JSON. All of it sums of the rows that the quota and the bill are sums of.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::HeaderMap;
use http::header::ACCEPT;
use serde::Serialize;
use tenancy::app::App;
use tenancy::clock::{DAY_MS, MINUTE_MS, day_of};
use tenancy::now_ms;
use tenancy::usage::series::{self, Point, Step};
use tenancy::usage::{self, Counts, UsageDelta};

use super::stats::Asked;
use crate::charts::{CLASSES, Charts, Range, positive, share_bar};
use crate::error::PageError;
use crate::page::{Frame, OrgSection, Usage, at, count, html};
use crate::scope::{Allowed, SeeStats};
use crate::session::CurrentUser;
use crate::{AppUsage, Dashboard};

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/dash/usage", get(show))
}

/// One app's numbers; `max` is null without a limit.
#[derive(Serialize)]
struct Numbers {
    app: u64,
    connections: u64,
    connections_max: Option<u64>,
    messages: u64,
    messages_max: Option<u64>,
    /// The messages are the app's own, against its own cap.
    own_cap: bool,
    resets_ms: i64,
}

#[derive(Serialize)]
struct AllNumbers {
    apps: Vec<Numbers>,
}

fn numbers(dashboard: &Dashboard, apps: &[App]) -> Json<AllNumbers> {
    let numbers = |app: &App| {
        let usage = dashboard.usage(app).nearer();
        Numbers {
            app: app.id,
            connections: usage.connections,
            connections_max: usage.connections_max,
            messages: usage.messages_today,
            messages_max: usage.messages_max,
            own_cap: usage.own_cap.is_some(),
            resets_ms: usage.resets_ms,
        }
    };
    Json(AllNumbers { apps: apps.iter().map(numbers).collect() })
}

/// A line of the table of apps.
struct Row {
    /// `None`: apps that are gone, or that this person doesn't see.
    app: Option<App>,
    name: String,
    counts: Counts,
    peak: u64,
}

impl Row {
    fn of(&self, class: fn(&Counts) -> i64) -> String {
        count(positive(class(&self.counts)))
    }

    fn total(&self) -> String {
        count(positive(self.counts.total()))
    }

    fn peak(&self) -> String {
        count(self.peak)
    }
}

#[derive(Template)]
#[template(path = "usage.html")]
struct UsagePage {
    frame: Frame,
    section: OrgSection,
    plan: &'static str,
    usage: Usage,
    peak_today: String,
    shares: String,
    sentence: String,
    ahead: String,
    rows: Vec<Row>,
    charts: Charts,
    path: String,
}

async fn show(
    current: CurrentUser,
    allowed: Allowed<SeeStats>,
    State(dashboard): State<Dashboard>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let db = dashboard.db();
    let apps = tenancy::membership::apps(db, &allowed.membership).await?;
    let accepts = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepts.contains("application/json") {
        return Ok(numbers(&dashboard, &apps).into_response());
    }
    let (account, now_ms) = (allowed.account(), now_ms());
    let (range, day) = (Range::parse(asked.range.as_deref()), day_of(now_ms));
    let used = usage::apps_on(db, &account.id, day).await?;
    let (from, to) = range.bounds(now_ms);
    let points = series::of_account(db, &account.id, range.step(), from, to).await?;
    let minute = u32::try_from(now_ms / MINUTE_MS).unwrap_or(0);
    let hour = series::of_account(db, &account.id, Step::Minute, minute.saturating_sub(60), minute).await?;
    let today = series::of_account(db, &account.id, Step::Day, day, day + 1).await?;
    let peak_today = today.first().map_or(0, |today| positive(today.connections_peak));
    let today = today.first().map_or(Counts::default(), |today| today.counts);
    let on_the_plan = tenancy::app::list(db, &account.id).await?.into_iter().find(|app| app.plan.is_none());
    let usage = match &on_the_plan {
        Some(app) => dashboard.usage(app),
        // Nothing of the data plane counts for it any more.
        None => {
            let limits = tenancy::quota::limits_of(db, account.plan).await?;
            AppUsage {
                connections: 0,
                connections_max: limits.connections_max,
                messages_today: positive(today.total()),
                messages_max: limits.messages_per_day_max,
                own_cap: None,
                resets_ms: (i64::from(day) + 1) * DAY_MS,
            }
        }
    };
    html(&UsagePage {
        frame: Frame::new(&current),
        section: OrgSection::Usage,
        plan: account.plan.title(),
        peak_today: count(peak_today.max(usage.connections)),
        shares: share_bar(&today, usage.messages_max.unwrap_or(0)),
        sentence: sentence(&today),
        ahead: ahead(&usage, &hour, now_ms),
        rows: rows(apps, &used),
        charts: Charts::new(range, now_ms, &points, usage.connections_max),
        usage: Usage(usage),
        path: "/dash/usage".to_owned(),
    })
}

/// Apps that the person sees, and the others together.
fn rows(apps: Vec<App>, used: &[UsageDelta]) -> Vec<Row> {
    let of = |id: u64| used.iter().find(|one| one.app_id == id);
    let others = used.iter().filter(|one| !apps.iter().any(|app| app.id == one.app_id));
    let others = others.fold((Counts::default(), 0), |(sum, peak), one| {
        (sum + one.counts(), peak + positive(one.connections_peak))
    });
    let mut rows: Vec<Row> = apps
        .into_iter()
        .map(|app| Row {
            counts: of(app.id).map(UsageDelta::counts).unwrap_or_default(),
            peak: of(app.id).map_or(0, |one| positive(one.connections_peak)),
            name: app.name.clone(),
            app: Some(app),
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.counts.total()));
    if others != (Counts::default(), 0) {
        rows.push(Row { app: None, name: "Other and deleted apps".into(), counts: others.0, peak: others.1 });
    }
    rows
}

/// Which class makes most of the day.
fn sentence(today: &Counts) -> String {
    let total = positive(today.total());
    let most = CLASSES.iter().max_by_key(|(_, _, of)| of(today)).filter(|_| total > 0);
    match most {
        None => "No messages yet today.".to_owned(),
        Some((_, title, of)) => {
            format!(
                "{} % are {}.",
                positive(of(today)) * 100 / total,
                title.to_lowercase().replace("rest", "REST")
            )
        }
    }
}

/// Where the day is heading at the pace of the last hour.
fn ahead(usage: &AppUsage, hour: &[Point], now_ms: i64) -> String {
    let pace: u64 = hour.iter().map(|point| positive(point.counts.total())).sum();
    let left_ms = positive(usage.resets_ms - now_ms);
    if pace == 0 {
        return String::new();
    }
    let hour_ms = 60 * MINUTE_MS.unsigned_abs();
    let more = |ms: u64| (u128::from(pace) * u128::from(ms) / u128::from(hour_ms)) as u64;
    let projected = usage.messages_today.saturating_add(more(left_ms));
    match usage.messages_max {
        Some(max) if usage.messages_today >= max => String::new(),
        Some(max) if projected >= max => {
            let in_ms = u128::from(max - usage.messages_today) * u128::from(hour_ms) / u128::from(pace);
            let when = at(now_ms + in_ms as i64, "%H:%M");
            format!("At the pace of the last hour you reach the limit at {when} UTC.")
        }
        _ => format!("At the pace of the last hour: {} by 00:00 UTC.", count(projected)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(messages_today: u64, messages_max: Option<u64>) -> AppUsage {
        AppUsage {
            connections: 0,
            connections_max: None,
            messages_today,
            messages_max,
            own_cap: None,
            resets_ms: DAY_MS,
        }
    }

    #[test]
    fn the_pace_of_the_last_hour_tells_where_the_day_ends() {
        let counts = Counts { deliveries: 600, ..Counts::default() };
        let hour = [Point { at: 0, counts, connections_peak: 0 }];
        let noon = DAY_MS / 2;
        assert_eq!(
            ahead(&usage(1_000, None), &hour, noon),
            "At the pace of the last hour: 8,200 by 00:00 UTC."
        );
        assert_eq!(
            ahead(&usage(1_000, Some(1_900)), &hour, noon),
            "At the pace of the last hour you reach the limit at 13:30 UTC."
        );
        assert_eq!(ahead(&usage(1_900, Some(1_900)), &hour, noon), "");
        assert_eq!(ahead(&usage(5, None), &[], noon), "");
    }

    #[test]
    fn the_sentence_names_what_makes_most() {
        let counts = Counts { deliveries: 78, reads: 22, ..Counts::default() };
        assert_eq!(sentence(&counts), "78 % are deliveries.");
        assert_eq!(sentence(&Counts { reads: 3, ..Counts::default() }), "100 % are REST reads.");
        assert_eq!(sentence(&Counts::default()), "No messages yet today.");
    }
}
