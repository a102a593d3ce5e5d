//! `/dash/apps/{id}/webhooks/new` and `…/{ep}/edit`: address, kinds, channels and headers of an endpoint.
//!
//! Whether an address may be called is asked here for its owner's sake, and again by the node before each attempt.

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::StatusCode;
use protocol::webhook_url;
use tenancy::app::App;
use tenancy::audit::{self, Action};
use tenancy::webhook_endpoint::{
    self, ChannelFilter, EndpointChange, EndpointError, NewEndpoint, WebhookEndpoint,
};

use crate::Dashboard;
use crate::acts;
use crate::error::PageError;
use crate::hook_kinds::Group;
use crate::page::{AppBar, Frame, Section, html, html_with};
use crate::pages::webhooks;
use crate::scope::{CurrentApp, ManageApps};
use crate::session::CurrentUser;
use crate::switches;

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/dash/apps/{id}/webhooks/new", get(new))
        .route("/dash/apps/{id}/webhooks/new", post(create))
        .route("/dash/apps/{id}/webhooks/{ep}/edit", get(edit))
        .route("/dash/apps/{id}/webhooks/{ep}/edit", post(save))
}

/// What stands in the form.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fields {
    url: String,
    kinds: Vec<String>,
    /// `none`, `prefix`, `exact` or `glob`.
    filter: String,
    filter_text: String,
    /// One a line, `Name: value`.
    headers: String,
    enabled: bool,
}

impl Fields {
    fn empty() -> Fields {
        let kinds = ["channel_occupied", "channel_vacated"].map(str::to_owned).to_vec();
        let none = String::new;
        Fields {
            url: none(),
            kinds,
            filter: "none".to_owned(),
            filter_text: none(),
            headers: none(),
            enabled: true,
        }
    }

    fn of(endpoint: &WebhookEndpoint) -> Fields {
        let (filter, text) = match &endpoint.channel_filter {
            ChannelFilter::None => ("none", ""),
            ChannelFilter::Prefix(text) => ("prefix", text.as_str()),
            ChannelFilter::Exact(text) => ("exact", text.as_str()),
            ChannelFilter::Glob(text) => ("glob", text.as_str()),
        };
        let lines: Vec<String> =
            endpoint.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        Fields {
            url: endpoint.url.clone(),
            kinds: endpoint.kinds.clone(),
            filter: filter.to_owned(),
            filter_text: text.to_owned(),
            headers: lines.join("\n"),
            enabled: endpoint.enabled,
        }
    }

    /// `kind` may stand several times, so the pairs are read as they come.
    fn read(pairs: Vec<(String, String)>) -> Result<Fields, PageError> {
        let mut fields = Fields { kinds: Vec::new(), enabled: false, ..Fields::empty() };
        let mut complete = false;
        for (name, value) in pairs {
            match name.as_str() {
                "url" => {
                    complete = true;
                    fields.url = value.trim().to_owned();
                }
                "kind" => fields.kinds.push(value),
                "filter" => fields.filter = value,
                "filter_text" => fields.filter_text = value.trim().to_owned(),
                "headers" => fields.headers = value,
                "enabled" => fields.enabled = true,
                _ => {}
            }
        }
        if complete { Ok(fields) } else { Err(PageError::BadForm) }
    }

    /// The endpoint that the fields describe, or what is wrong with each of them.
    fn check(&self, allow: &webhook_url::Allow) -> Result<NewEndpoint, Errors> {
        let mut errors = Errors::default();
        if let Err(refusal) = webhook_url::parse(&self.url, allow) {
            errors.url = Some(sentence(&refusal.to_string()));
        }
        if self.kinds.is_empty() {
            errors.kinds = Some("Choose at least one kind of event.".to_owned());
        }
        let text = || self.filter_text.clone();
        let channel_filter = match self.filter.as_str() {
            "prefix" => ChannelFilter::Prefix(text()),
            "exact" => ChannelFilter::Exact(text()),
            "glob" => ChannelFilter::Glob(text()),
            _ => ChannelFilter::None,
        };
        let headers = parse_headers(&self.headers).unwrap_or_else(|line| {
            errors.headers = Some(format!("Line {line} has no colon. Write a header as Name: value."));
            Vec::new()
        });
        let new = NewEndpoint { url: self.url.clone(), kinds: self.kinds.clone(), channel_filter, headers };
        if errors == Errors::default() { Ok(new) } else { Err(errors) }
    }
}

/// Headers one a line; an error is the number of the line that is none.
fn parse_headers(text: &str) -> Result<Vec<(String, String)>, usize> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(i, line)| {
            line.split_once(':')
                .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
                .ok_or(i + 1)
        })
        .collect()
}

/// What's wrong, beside each field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Errors {
    url: Option<String>,
    kinds: Option<String>,
    filter: Option<String>,
    headers: Option<String>,
    form: Option<String>,
}

impl Errors {
    /// What storage refused.
    fn of(error: EndpointError) -> Result<Errors, PageError> {
        let mut errors = Errors::default();
        let text = Some(sentence(&error.to_string()));
        match error {
            EndpointError::UrlInvalid => errors.url = text,
            EndpointError::NoKind | EndpointError::KindUnknown(_) => errors.kinds = text,
            EndpointError::FilterInvalid => errors.filter = text,
            EndpointError::HeaderInvalid(_) | EndpointError::TooManyHeaders => errors.headers = text,
            EndpointError::TooMany => errors.form = text,
            EndpointError::Db(error) => return Err(error.into()),
        }
        Ok(errors)
    }
}

/// `the address …` as a sentence.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

#[derive(Template)]
#[template(path = "webhook_form.html")]
struct FormPage {
    frame: Frame,
    bar: AppBar,
    /// The endpoint that is changed; `None` while one is made.
    endpoint: Option<WebhookEndpoint>,
    fields: Fields,
    errors: Errors,
}

impl FormPage {
    fn new(current: &CurrentUser, dashboard: &Dashboard, app: &App, fields: Fields) -> FormPage {
        FormPage {
            frame: Frame::new(current),
            bar: AppBar::new(dashboard, app, Section::Webhooks),
            endpoint: None,
            fields,
            errors: Errors::default(),
        }
    }

    fn wants(&self, kind: &str) -> bool {
        self.fields.kinds.iter().any(|one| one == kind)
    }

    /// The switch that a group needs and that is off.
    fn lacks(&self, group: &Group) -> Option<&'static switches::Switch> {
        group.needs.and_then(switches::find).filter(|switch| !switch.is_on(&self.bar.app))
    }
}

async fn new(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<ManageApps>,
    State(dashboard): State<Dashboard>,
) -> Result<Response, PageError> {
    html(&FormPage::new(&current, &dashboard, &app, Fields::empty()))
}

type Pairs = Result<Form<Vec<(String, String)>>, FormRejection>;

async fn create(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<ManageApps>,
    State(dashboard): State<Dashboard>,
    form: Pairs,
) -> Result<Response, PageError> {
    let Form(pairs) = form?;
    let fields = Fields::read(pairs)?;
    let errors = match fields.check(&dashboard.config().webhook_allow) {
        Err(errors) => errors,
        Ok(new) => match webhook_endpoint::create(dashboard.db(), &app.account_id, app.id, new).await {
            Ok(Some(made)) => {
                let (action, by) = (Action::WebhookCreate, current.by());
                acts::in_app(&dashboard, &by, action, &app, &made.id, made.told()).await;
                let path = format!("/dash/apps/{}/webhooks/{}?done=new", app.id, made.id);
                return Ok(Redirect::to(&path).into_response());
            }
            Ok(None) => return Err(PageError::AppNotFound),
            Err(error) => Errors::of(error)?,
        },
    };
    let page = FormPage { errors, ..FormPage::new(&current, &dashboard, &app, fields) };
    html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}

async fn edit(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<ManageApps>,
    State(dashboard): State<Dashboard>,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, PageError> {
    let endpoint = webhooks::endpoint(&dashboard, &app, &id).await?;
    let page = FormPage::new(&current, &dashboard, &app, Fields::of(&endpoint));
    html(&FormPage { endpoint: Some(endpoint), ..page })
}

async fn save(
    current: CurrentUser,
    CurrentApp(app, _): CurrentApp<ManageApps>,
    State(dashboard): State<Dashboard>,
    Path((_, id)): Path<(String, String)>,
    form: Pairs,
) -> Result<Response, PageError> {
    let endpoint = webhooks::endpoint(&dashboard, &app, &id).await?;
    let Form(pairs) = form?;
    let fields = Fields::read(pairs)?;
    let errors = match fields.check(&dashboard.config().webhook_allow) {
        Err(errors) => errors,
        Ok(new) => {
            let change = EndpointChange {
                url: Some(new.url),
                kinds: Some(new.kinds),
                channel_filter: Some(new.channel_filter),
                headers: Some(new.headers),
                // Setting what is set already would end a pause.
                enabled: (fields.enabled != endpoint.enabled).then_some(fields.enabled),
            };
            match webhook_endpoint::update(dashboard.db(), &app.account_id, app.id, &id, change).await {
                Ok(Some(now)) => {
                    let (action, by) = (Action::WebhookEdit, current.by());
                    let details = audit::changed(&endpoint.told(), &now.told());
                    acts::in_app(&dashboard, &by, action, &app, &id, details).await;
                    let path = format!("/dash/apps/{}/webhooks/{id}?done=saved", app.id);
                    return Ok(Redirect::to(&path).into_response());
                }
                Ok(None) => return Err(PageError::WebhookNotFound),
                Err(error) => Errors::of(error)?,
            }
        }
    };
    let page = FormPage::new(&current, &dashboard, &app, fields);
    html_with(StatusCode::UNPROCESSABLE_ENTITY, &FormPage { endpoint: Some(endpoint), errors, ..page })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_one_a_line() {
        let read = parse_headers("Authorization: Bearer a:b\r\n\r\n X-Env :  test ").unwrap();
        let expected = [("Authorization", "Bearer a:b"), ("X-Env", "test")];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(parse_headers("A: b\n\nno colon"), Err(3));
        assert_eq!(parse_headers("").unwrap(), []);
    }

    #[test]
    fn every_field_is_checked_at_once() {
        let fields = Fields {
            url: "ftp://x".to_owned(),
            kinds: vec![],
            headers: "no colon".to_owned(),
            ..Fields::empty()
        };
        let errors = fields.check(&webhook_url::Allow::default()).err().unwrap();
        assert_eq!(errors.url.as_deref(), Some("The address must begin with http:// or https://."));
        assert!(errors.kinds.is_some() && errors.headers.is_some() && errors.filter.is_none());
    }
}
