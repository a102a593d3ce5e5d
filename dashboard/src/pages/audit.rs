//! `/dash/audit`: what was done in the organisation, by whom, to what and from where; with filters, and as a file.

use std::fmt::Write;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde::Deserialize;
use serde_json::{Value, json};
use tenancy::audit::{self, Action, Filter, PAGE_MAX, Row};

use crate::error::PageError;
use crate::page::{self, Frame, OrgSection, encode, html};
use crate::scope::{Allowed, ManagePeople};
use crate::session::CurrentUser;
use crate::{Dashboard, browser_name};

/// Rows on one page.
const PAGE: usize = 50;
/// Rows of one file: all that an organisation can have.
const EXPORT_MAX: usize = audit::ROWS_PER_ACCOUNT_MAX as usize;
/// The first words of actions, for the filter.
const FAMILIES: [(&str, &str); 12] = [
    ("person", "Sign-ins and accounts"),
    ("app", "Apps"),
    ("key", "Keys and secrets"),
    ("webhook", "Webhooks"),
    ("console", "Console"),
    ("event", "Management API: events"),
    ("token", "API tokens"),
    ("member", "Members"),
    ("invitation", "Invitations"),
    ("organisation", "Organisation"),
    ("billing", "Billing"),
    ("plan", "Plan"),
];

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/dash/audit", get(show)).route("/dash/audit/export", get(export))
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    actor: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    app: String,
    before: Option<String>,
    format: Option<String>,
}

impl Wanted {
    fn filter(&self, limit: usize) -> Filter<'_> {
        fn given(text: &str) -> Option<&str> {
            (!text.is_empty()).then_some(text)
        }
        Filter {
            actor: given(&self.actor),
            action: given(&self.action),
            // A number that is none finds nothing, not everything.
            app_id: given(&self.app).map(|text| text.trim().parse().unwrap_or(u64::MAX >> 1)),
            before: self.before.as_deref(),
            limit: u32::try_from(limit).unwrap_or(PAGE_MAX),
        }
    }

    /// The same question as part of an address.
    fn query(&self) -> String {
        format!("actor={}&action={}&app={}", encode(&self.actor), encode(&self.action), encode(&self.app))
    }
}

/// A row as the page tells it.
struct Line {
    row: Row,
    at: String,
    words: String,
    browser: String,
    changes: Vec<String>,
}

impl Line {
    fn new(row: Row) -> Line {
        let words = Action::parse(&row.action).map_or(row.action.clone(), |known| known.words().to_owned());
        Line {
            at: page::at(row.at_ms, "%-d %b %Y, %H:%M:%S"),
            words,
            browser: browser_name::in_words(&row.client.user_agent),
            changes: changes(&row.details),
            row,
        }
    }
}

/// Details in words: `name: shop → store`, `role: admin`.
fn changes(details: &Value) -> Vec<String> {
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "–".to_owned(),
        other => other.to_string(),
    };
    let Some(fields) = details.as_object() else { return Vec::new() };
    let line = |(name, value): (&String, &Value)| match (value.get("from"), value.get("to")) {
        (Some(from), Some(to)) => format!("{name}: {} → {}", plain(from), plain(to)),
        _ => format!("{name}: {}", plain(value)),
    };
    fields.iter().map(line).collect()
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    frame: Frame,
    section: OrgSection,
    lines: Vec<Line>,
    actors: Vec<String>,
    wanted: Wanted,
    /// The id of the last row, if older ones follow.
    older: Option<String>,
}

async fn show(
    current: CurrentUser,
    allowed: Allowed<ManagePeople>,
    State(dashboard): State<Dashboard>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, PageError> {
    let account_id = &allowed.account().id;
    let mut rows = audit::list(dashboard.db(), account_id, wanted.filter(PAGE + 1)).await?;
    let more = rows.len() > PAGE;
    rows.truncate(PAGE);
    html(&AuditPage {
        frame: Frame::new(&current),
        section: OrgSection::Audit,
        older: rows.last().filter(|_| more).map(|last| last.id.clone()),
        lines: rows.into_iter().map(Line::new).collect(),
        actors: audit::actors(dashboard.db(), account_id).await?,
        wanted,
    })
}

/// `?format=csv` or `json` (also without it): the rows that the filters leave, all of them.
async fn export(
    allowed: Allowed<ManagePeople>,
    State(dashboard): State<Dashboard>,
    Query(mut wanted): Query<Wanted>,
) -> Result<Response, PageError> {
    let csv = match wanted.format.as_deref() {
        Some("csv") => true,
        Some("json") | None => false,
        _ => return Err(PageError::BadForm),
    };
    wanted.before = None;
    let mut rows: Vec<Row> = Vec::new();
    while rows.len() < EXPORT_MAX {
        let filter = wanted.filter(PAGE_MAX as usize);
        let mut more = audit::list(dashboard.db(), &allowed.account().id, filter).await?;
        let last = more.last().map(|row| row.id.clone());
        let full = more.len() == PAGE_MAX as usize;
        rows.append(&mut more);
        if !full {
            break;
        }
        wanted.before = last;
    }
    let day = page::at(tenancy::now_ms(), "%Y-%m-%d");
    let name = |end: &str| format!("attachment; filename=\"fanfare-audit-{day}.{end}\"");
    if csv {
        let kind = (CONTENT_TYPE, "text/csv; charset=utf-8".to_owned());
        return Ok(([kind, (CONTENT_DISPOSITION, name("csv"))], to_csv(&rows)).into_response());
    }
    let body: Vec<Value> = rows.iter().map(to_json).collect();
    Ok(([(CONTENT_DISPOSITION, name("json"))], Json(body)).into_response())
}

fn to_json(row: &Row) -> Value {
    json!({
        "id": row.id,
        "time": time(row),
        "actor": row.actor,
        "action": row.action,
        "app": row.app_id,
        "target": row.target,
        "details": row.details,
        "network": row.client.address,
        "user_agent": row.client.user_agent,
        "via": row.via,
    })
}

/// `2026-11-24T07:00:00Z`
fn time(row: &Row) -> String {
    page::at(row.at_ms, "%Y-%m-%dT%H:%M:%SZ")
}

fn to_csv(rows: &[Row]) -> String {
    let mut out = "time,actor,action,app,target,details,network,user_agent,via\r\n".to_owned();
    for row in rows {
        let details = if row.details.is_null() { String::new() } else { row.details.to_string() };
        let app = row.app_id.map(|id| id.to_string()).unwrap_or_default();
        let cells = [
            &time(row),
            &row.actor,
            &row.action,
            &app,
            &row.target,
            &details,
            &row.client.address,
            &row.client.user_agent,
            &row.via,
        ];
        let _ = writeln!(out, "{}\r", cells.map(|cell| csv_cell(cell)).join(","));
    }
    out
}

/// A cell in quotation marks. A text that a table would take for a formula gets an apostrophe in front.
fn csv_cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_text_for_every_table() {
        assert_eq!(csv_cell("a \"b\",\nc"), "\"a \"\"b\"\",\nc\"");
        assert_eq!(csv_cell("=cmd|' /C calc'!A0"), "\"'=cmd|' /C calc'!A0\"");
    }

    #[test]
    fn details_are_told_in_words() {
        let details =
            json!({ "name": { "from": "shop", "to": "store" }, "role": "admin", "n": 3, "x": null });
        assert_eq!(changes(&details), ["n: 3", "name: shop → store", "role: admin", "x: –"]);
        assert!(changes(&Value::Null).is_empty());
    }
}
