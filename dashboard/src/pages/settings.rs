//! `/dash/apps/{id}/settings`: name, switches, allowed origins, on and off, and the end of an app.

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::StatusCode;
use protocol::origins::{self, OriginsError};
use serde::Deserialize;
use serde_json::Value;
use tenancy::app::{App, AppChange, UpdateAppError};
use tenancy::audit::{self, Action};

use super::new_app::NAME_SENTENCE;
use super::transfer;
use crate::Dashboard;
use crate::acts;
use crate::client::Endpoint;
use crate::error::PageError;
use crate::page::{AppBar, Frame, Section, count, html, html_with};
use crate::proof;
use crate::scope::{CurrentApp, ManageApps, RemoveApps};
use crate::session::CurrentUser;
use crate::switches;

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/dash/apps/{id}/settings", get(show))
        .route("/dash/apps/{id}/settings/name", post(rename))
        .route("/dash/apps/{id}/settings/origins", post(allowed_origins))
        .route("/dash/apps/{id}/settings/cap", post(cap))
        .route("/dash/apps/{id}/settings/messages-cap", post(messages_cap))
        .route("/dash/apps/{id}/settings/enabled", post(enabled))
        .route("/dash/apps/{id}/settings/{switch}", post(set))
        .route("/dash/apps/{id}/delete", post(delete))
}

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    frame: Frame,
    bar: AppBar,
    endpoint: Endpoint,
    done: Option<&'static str>,
    /// The switch that was just set.
    set: Option<&'static str>,
    connections: String,
    name: String,
    name_error: Option<&'static str>,
    origins: String,
    origins_error: Option<String>,
    /// The cap on connections; empty: none.
    cap: String,
    cap_error: Option<&'static str>,
    /// The cap on messages a day; empty: none.
    messages_cap: String,
    messages_cap_error: Option<&'static str>,
    delete_error: Option<String>,
    /// Other organisations of the person that can take the app: id and name.
    targets: Vec<(String, String)>,
    transfer_error: Option<&'static str>,
}

impl SettingsPage {
    fn new(current: &CurrentUser, dashboard: &Dashboard, app: &App, endpoint: Endpoint) -> SettingsPage {
        let bar = AppBar::new(dashboard, app, Section::Settings);
        SettingsPage {
            frame: Frame::new(current),
            endpoint,
            done: None,
            set: None,
            connections: match bar.usage.0.connections {
                0 => "No client is connected right now.".to_owned(),
                1 => "1 client is connected right now.".to_owned(),
                n => format!("{} clients are connected right now.", count(n)),
            },
            bar,
            name: app.name.clone(),
            name_error: None,
            origins: app.allowed_origins.join("\n"),
            origins_error: None,
            cap: app.connections_max.map(|max| max.to_string()).unwrap_or_default(),
            cap_error: None,
            messages_cap: app.messages_day_max.map(|max| max.to_string()).unwrap_or_default(),
            messages_cap_error: None,
            delete_error: None,
            targets: transfer::targets(current)
                .map(|one| (one.account.id.clone(), one.account.name.clone()))
                .collect(),
            transfer_error: None,
        }
    }
}

#[derive(Deserialize)]
struct Done {
    done: Option<String>,
}

async fn show(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<ManageApps>,
    State(dashboard): State<Dashboard>,
    Query(query): Query<Done>,
    endpoint: Endpoint,
) -> Result<Response, PageError> {
    let mut page = SettingsPage::new(&current, &dashboard, &app, endpoint);
    page.set = query.done.as_deref().and_then(switches::find).map(|switch| switch.slug);
    page.done = query.done.as_deref().and_then(|done| match done {
        "name" => Some("Renamed."),
        "origins" if app.allowed_origins.is_empty() => Some("Saved. Every origin may connect."),
        "origins" => Some("Saved. New connections from other origins are refused."),
        "cap" if app.connections_max.is_some() => {
            Some("Saved. Connections beyond the cap are turned away; those that are open stay.")
        }
        "cap" => Some("Saved. Only the plan limits this app's connections."),
        "messages-cap" if app.messages_day_max.is_some() => {
            Some("Saved. At the cap, publishing pauses until 00:00 UTC; connections stay.")
        }
        "messages-cap" => Some("Saved. Only the plan limits this app's messages."),
        "enabled" if app.enabled => Some("The app is enabled again."),
        "moved" => Some("Moved. Clients were told to connect again and are back within a second."),
        "enabled" => Some("The app is disabled. Its connections were closed."),
        _ => None,
    });
    page.transfer_error = query.done.as_deref().and_then(|done| match done {
        "not-the-name" => Some("That is not the app's name, so it was not moved."),
        "target-full" => Some("That organisation has 100 apps, the most there can be."),
        _ => None,
    });
    html(&page)
}

async fn save(
    current: &CurrentUser,
    dashboard: &Dashboard,
    app: &App,
    change: AppChange,
    done: &str,
) -> Result<Result<Response, UpdateAppError>, PageError> {
    save_to(current, dashboard, app, change, "settings", done).await
}

/// Saves and goes on to a page of the app.
async fn save_to(
    current: &CurrentUser,
    dashboard: &Dashboard,
    before: &App,
    change: AppChange,
    page: &str,
    done: &str,
) -> Result<Result<Response, UpdateAppError>, PageError> {
    match tenancy::app::update(dashboard.db(), &before.account_id, before.id, change).await {
        Ok(Some(app)) => {
            let action = match (before.enabled, app.enabled) {
                (false, true) => Action::AppEnable,
                (true, false) => Action::AppDisable,
                _ => Action::AppSettings,
            };
            let details = audit::changed(&before.told(), &app.told());
            acts::in_app(dashboard, &current.by(), action, &app, &app.name, details).await;
            Ok(Ok(Redirect::to(&format!("/dash/apps/{}/{page}?done={done}", app.id)).into_response()))
        }
        Ok(None) => Err(PageError::AppNotFound),
        Err(UpdateAppError::Db(error)) => Err(error.into()),
        Err(error) => Ok(Err(error)),
    }
}

#[derive(Deserialize)]
struct NameForm {
    name: String,
}

async fn rename(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<ManageApps>,
    State(dashboard): State<Dashboard>,
    endpoint: Endpoint,
    form: Result<Form<NameForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let change = AppChange { name: Some(form.name.trim().to_owned()), ..AppChange::default() };
    match save(&current, &dashboard, &app, change, "name").await? {
        Ok(response) => Ok(response),
        Err(_) => {
            let mut page = SettingsPage::new(&current, &dashboard, &app, endpoint);
            page.name = form.name;
            page.name_error = Some(NAME_SENTENCE);
            html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
    }
}

#[derive(Deserialize)]
struct CapForm {
    cap: String,
}

/// Digits of a cap on connections: more than any node holds.
const CAP_DIGITS_MAX: usize = 9;
/// Digits of a cap on messages a day: more than any node sends.
const MESSAGES_CAP_DIGITS_MAX: usize = 12;
const CAP_SENTENCE: &str = "A whole number such as 50, or nothing.";

/// The number that was typed; nothing is no cap.
fn read_cap(text: &str, digits_max: usize) -> Option<Option<u64>> {
    let text = text.trim();
    let is_number = text.len() <= digits_max && text.bytes().all(|b| b.is_ascii_digit());
    match text {
        "" => Some(None),
        number => number.parse().ok().filter(|_| is_number).map(Some),
    }
}

async fn cap(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<ManageApps>,
    State(dashboard): State<Dashboard>,
    endpoint: Endpoint,
    form: Result<Form<CapForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let Some(wanted) = read_cap(&form.cap, CAP_DIGITS_MAX) else {
        let mut page = SettingsPage::new(&current, &dashboard, &app, endpoint);
        page.cap = form.cap.chars().take(20).collect();
        page.cap_error = Some(CAP_SENTENCE);
        return html_with(StatusCode::UNPROCESSABLE_ENTITY, &page);
    };
    let change = AppChange { connections_max: Some(wanted), ..AppChange::default() };
    save(&current, &dashboard, &app, change, "cap").await?.map_err(|_| PageError::BadForm)
}

async fn messages_cap(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<ManageApps>,
    State(dashboard): State<Dashboard>,
    endpoint: Endpoint,
    form: Result<Form<CapForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let Some(wanted) = read_cap(&form.cap, MESSAGES_CAP_DIGITS_MAX) else {
        let mut page = SettingsPage::new(&current, &dashboard, &app, endpoint);
        page.messages_cap = form.cap.chars().take(20).collect();
        page.messages_cap_error = Some(CAP_SENTENCE);
        return html_with(StatusCode::UNPROCESSABLE_ENTITY, &page);
    };
    let change = AppChange { messages_day_max: Some(wanted), ..AppChange::default() };
    save(&current, &dashboard, &app, change, "messages-cap").await?.map_err(|_| PageError::BadForm)
}

/// A switch: a browser sends the field only when it's on.
#[derive(Deserialize)]
struct SwitchForm {
    on: Option<String>,
    /// `webhooks`: the form stands on that page.
    back: Option<String>,
}

async fn set(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<ManageApps>,
    State(dashboard): State<Dashboard>,
    Path((_, slug)): Path<(String, String)>,
    form: Result<Form<SwitchForm>, FormRejection>,
) -> Result<Response, PageError> {
    let switch = switches::find(&slug).ok_or(PageError::NotFound)?;
    let Form(form) = form?;
    let page = if form.back.as_deref() == Some("webhooks") { "webhooks" } else { "settings" };
    let done = format!("{slug}#{slug}");
    save_to(&current, &dashboard, &app, switch.change(form.on.is_some()), page, &done)
        .await?
        .map_err(|_| PageError::BadForm)
}

async fn enabled(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<ManageApps>,
    State(dashboard): State<Dashboard>,
    form: Result<Form<SwitchForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let change = AppChange { enabled: Some(form.on.is_some()), ..AppChange::default() };
    save(&current, &dashboard, &app, change, "enabled").await?.map_err(|_| PageError::BadForm)
}

#[derive(Deserialize)]
struct OriginsForm {
    origins: String,
}

async fn allowed_origins(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<ManageApps>,
    State(dashboard): State<Dashboard>,
    endpoint: Endpoint,
    form: Result<Form<OriginsForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let error = match origins::parse_list(&form.origins) {
        Ok(list) => {
            let change = AppChange { allowed_origins: Some(list), ..AppChange::default() };
            match save(&current, &dashboard, &app, change, "origins").await? {
                Ok(response) => return Ok(response),
                Err(_) => "The list could not be saved.".to_owned(),
            }
        }
        Err(OriginsError::TooMany) => format!("At most {} origins.", origins::ORIGINS_MAX),
        Err(OriginsError::Line(line, text)) => format!(
            "Line {line}, “{text}”, is not an origin. Write scheme and host, such as https://shop.example, or a host such as *.shop.example; no path."
        ),
    };
    let mut page = SettingsPage::new(&current, &dashboard, &app, endpoint);
    page.origins = form.origins;
    page.origins_error = Some(error);
    html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}

#[derive(Deserialize)]
struct DeleteForm {
    confirm: String,
    #[serde(default)]
    code: String,
}

async fn delete(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<RemoveApps>,
    State(dashboard): State<Dashboard>,
    endpoint: Endpoint,
    form: Result<Form<DeleteForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    if form.confirm.trim() != app.name {
        let mut page = SettingsPage::new(&current, &dashboard, &app, endpoint);
        page.delete_error = Some("That is not the app's name, so nothing was deleted.".to_owned());
        return html_with(StatusCode::UNPROCESSABLE_ENTITY, &page);
    }
    if let Err(refused) = proof::code(&dashboard, &current, &form.code).await? {
        let mut page = SettingsPage::new(&current, &dashboard, &app, endpoint);
        page.delete_error = Some(refused.sentence());
        return refused.answer(&page);
    }
    if !tenancy::app::delete(dashboard.db(), &app.account_id, app.id).await? {
        return Err(PageError::AppNotFound);
    }
    acts::in_app(&dashboard, &current.by(), Action::AppDelete, &app, &app.name, Value::Null).await;
    Ok(Redirect::to("/dash?deleted=1").into_response())
}
