//! `/dash/server/mail`, for who looks after the server: where mail goes, the latest mails and how they stand, a test mail, and a link
//! for somebody who can't sign in. Without a mail server the links of mails stand here, to be passed on by hand.

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use tenancy::audit::Action;
use tenancy::mail::{self, Listed, Mail, MailError, State as Stands};
use tenancy::{membership, password_reset};

use crate::client::Endpoint;
use crate::error::PageError;
use crate::page::{Frame, at, html, html_with, moment};
use crate::server_admin::ServerAdmin;
use crate::server_facts::ServerSection;
use crate::session::CurrentUser;
use crate::{Dashboard, acts, letters};

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/dash/server/mail", get(show))
        .route("/dash/server/mail/test", post(test))
        .route("/dash/server/mail/reset-link", post(reset_link))
}

/// A mail in the list.
struct Row {
    mail: Listed,
    at: String,
    /// `ok`, `warn`, `bad` or nothing.
    level: &'static str,
    stands: String,
    /// The whole address of its link.
    link: Option<String>,
}

impl Row {
    fn new(mail: Listed, endpoint: &Endpoint) -> Row {
        let day = |ms| at(ms, "%-d %b, %H:%M:%S");
        let (level, stands) = match mail.state {
            Stands::Sent { at_ms } => ("ok", format!("sent {}", day(at_ms))),
            Stands::Waiting { .. } if mail.attempts == 0 => ("", "waiting".to_owned()),
            Stands::Waiting { next_try_ms } => ("warn", format!("next try {}", day(next_try_ms))),
            Stands::Failed => ("bad", "not sent".to_owned()),
            Stands::Shown => ("", "yours to pass on".to_owned()),
        };
        let link = mail.link.as_ref().map(|link| match link.expose() {
            path if path.starts_with('/') => format!("{}{path}", endpoint.origin()),
            whole => whole.to_owned(),
        });
        Row { at: day(mail.created_ms), level, stands, link, mail }
    }
}

/// A link that was just made.
struct Made {
    email: String,
    url: String,
    until: String,
}

#[derive(Template)]
#[template(path = "server_mail.html")]
struct MailPage {
    frame: Frame,
    section: ServerSection,
    server: Option<String>,
    from: String,
    rows: Vec<Row>,
    done: Option<&'static str>,
    to: String,
    to_error: Option<&'static str>,
    made: Option<Made>,
    email: String,
    email_error: Option<&'static str>,
}

impl MailPage {
    async fn load(
        current: &CurrentUser,
        dashboard: &Dashboard,
        endpoint: &Endpoint,
    ) -> Result<MailPage, PageError> {
        let out = &dashboard.config().mail;
        Ok(MailPage {
            frame: Frame::new(current),
            section: ServerSection::Mail,
            server: out.server.clone(),
            from: out.from.clone(),
            rows: mail::list(dashboard.db()).await?.into_iter().map(|one| Row::new(one, endpoint)).collect(),
            done: None,
            to: current.user().email.clone(),
            to_error: None,
            made: None,
            email: String::new(),
            email_error: None,
        })
    }
}

#[derive(Deserialize)]
struct Done {
    done: Option<String>,
}

async fn show(
    ServerAdmin(current): ServerAdmin,
    State(dashboard): State<Dashboard>,
    endpoint: Endpoint,
    Query(query): Query<Done>,
) -> Result<Response, PageError> {
    let mut page = MailPage::load(&current, &dashboard, &endpoint).await?;
    page.done = query.done.is_some().then_some(match page.server {
        Some(_) => "The test mail is on its way. How it went stands in the list in a moment.",
        None => "The test mail stands in the log and in the list: there is no mail server to take it.",
    });
    html(&page)
}

#[derive(Deserialize)]
struct TestForm {
    to: String,
}

async fn test(
    ServerAdmin(current): ServerAdmin,
    State(dashboard): State<Dashboard>,
    endpoint: Endpoint,
    form: Result<Form<TestForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let words = letters::test(&current.user().email);
    let letter = words.letter();
    let mail = Mail {
        to: &form.to,
        kind: "test",
        subject: letter.subject,
        text: letter.text,
        link: Some("/dash/server/mail"),
        ..Mail::default()
    };
    let error = match mail::queue(dashboard.db(), mail).await {
        Ok(()) => {
            acts::of_person(&dashboard, &current.by(), Action::MailTest, Value::Null).await;
            return Ok(Redirect::to("/dash/server/mail?done=test").into_response());
        }
        Err(MailError::AddressInvalid) => "This doesn't look like an e-mail address.",
        Err(MailError::TooMany) => {
            "Too many mails wait, or went to this address in the last hour. Look at the list."
        }
        Err(MailError::Db(error)) => return Err(error.into()),
    };
    let mut page = MailPage::load(&current, &dashboard, &endpoint).await?;
    (page.to, page.to_error) = (form.to, Some(error));
    html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}

#[derive(Deserialize)]
struct LinkForm {
    email: String,
}

/// For somebody whom no mail reaches. The organisations they belong to see who made it.
async fn reset_link(
    ServerAdmin(current): ServerAdmin,
    State(dashboard): State<Dashboard>,
    endpoint: Endpoint,
    form: Result<Form<LinkForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let made = password_reset::link(dashboard.db(), &form.email).await?;
    let mut page = MailPage::load(&current, &dashboard, &endpoint).await?;
    let Some((user, path)) = made else {
        page.email = form.email;
        page.email_error = Some("Nobody on this server has this address.");
        return html_with(StatusCode::UNPROCESSABLE_ENTITY, &page);
    };
    for place in membership::of_user(dashboard.db(), &user.id).await? {
        acts::in_organisation(&dashboard, &current.by(), Action::ResetLink, &place.account, &user.email)
            .await;
    }
    let until_ms = tenancy::now_ms() + tenancy::mail_token::Purpose::Reset.lifetime_ms();
    let url = format!("{}{path}", endpoint.origin());
    page.made = Some(Made { email: user.email, url, until: moment(until_ms) });
    html(&page)
}
