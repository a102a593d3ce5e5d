//! `/dash/server/sign-up`: who may make an account here, and links that let one person do so. The stored mode goes before the setting
//! `FANFARE_SIGNUP`, on all nodes.
//!
//! A link is shown once, in the answer that made it: only its hash is stored. It works without mail.

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use tenancy::audit::Action;
use tenancy::server_invitation::{self, InviteError, ServerInvitation};

use crate::client::Endpoint;
use crate::error::PageError;
use crate::page::{self, Frame, html, html_with};
use crate::server_admin::ServerAdmin;
use crate::server_facts::ServerSection;
use crate::session::CurrentUser;
use crate::{Dashboard, SignUpMode, acts};

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/dash/server/sign-up", get(show))
        .route("/dash/server/sign-up/mode", post(set_mode))
        .route("/dash/server/sign-up/invite", post(invite))
        .route("/dash/server/sign-up/invitations/{invitation}/revoke", post(revoke))
}

/// The modes with what they mean.
const MODES: &[(SignUpMode, &str, &str)] = &[
    (SignUpMode::Open, "Open", "Anybody may make an account at /signup."),
    (
        SignUpMode::Invite,
        "By invitation",
        "Only with a link: one of an organisation, or one made on this page.",
    ),
    (SignUpMode::Closed, "Closed", "Nobody. Links made before work only for people who have an account."),
];

struct Open {
    invitation: ServerInvitation,
    expires: String,
}

/// A link that was just made.
struct Link {
    label: String,
    url: String,
    expires: String,
}

#[derive(Template)]
#[template(path = "server_signup.html")]
struct SignUpPage {
    frame: Frame,
    section: ServerSection,
    mode: SignUpMode,
    setting: &'static str,
    stored: bool,
    invitations: Vec<Open>,
    link: Option<Link>,
    label: String,
    label_error: Option<&'static str>,
    done: Option<&'static str>,
}

impl SignUpPage {
    async fn load(current: &CurrentUser, dashboard: &Dashboard) -> Result<SignUpPage, PageError> {
        let open =
            |invitation: ServerInvitation| Open { expires: page::moment(invitation.expires_ms), invitation };
        Ok(SignUpPage {
            frame: Frame::new(current),
            section: ServerSection::SignUp,
            mode: dashboard.signup().await?,
            setting: dashboard.config().signup.name(),
            stored: tenancy::instance::signup_mode(dashboard.db()).await?.is_some(),
            invitations: server_invitation::list(dashboard.db()).await?.into_iter().map(open).collect(),
            link: None,
            label: String::new(),
            label_error: None,
            done: None,
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
    Query(query): Query<Done>,
) -> Result<Response, PageError> {
    let mut page = SignUpPage::load(&current, &dashboard).await?;
    page.done = match query.done.as_deref() {
        Some("mode") => Some("Saved. It holds from now on."),
        Some("revoked") => Some("Taken back. The link works no more."),
        _ => None,
    };
    html(&page)
}

#[derive(Deserialize)]
struct ModeForm {
    mode: String,
}

async fn set_mode(
    ServerAdmin(current): ServerAdmin,
    State(dashboard): State<Dashboard>,
    form: Result<Form<ModeForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let mode = SignUpMode::parse(&form.mode).ok_or(PageError::BadForm)?;
    tenancy::instance::set_signup_mode(dashboard.db(), mode.name()).await?;
    acts::of_person(&dashboard, &current.by(), Action::ServerSignUp, json!({ "mode": mode.name() })).await;
    Ok(Redirect::to("/dash/server/sign-up?done=mode").into_response())
}

#[derive(Deserialize)]
struct InviteForm {
    label: String,
}

async fn invite(
    ServerAdmin(current): ServerAdmin,
    State(dashboard): State<Dashboard>,
    endpoint: Endpoint,
    form: Result<Form<InviteForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let made = server_invitation::issue(dashboard.db(), &current.user().email, &form.label).await;
    let error = match made {
        Ok((invitation, token)) => {
            let details = json!({ "invited": invitation.label });
            acts::of_person(&dashboard, &current.by(), Action::ServerInvite, details).await;
            let mut page = SignUpPage::load(&current, &dashboard).await?;
            page.link = Some(Link {
                url: server_invitation::link(&endpoint.origin(), &token),
                expires: page::moment(invitation.expires_ms),
                label: invitation.label,
            });
            return html(&page);
        }
        Err(InviteError::Db(error)) => return Err(error.into()),
        Err(InviteError::LabelInvalid) => "Say for whom, in 1 to 100 characters.",
        Err(InviteError::TooMany) => "200 invitations are open, the most there can be. Take some back.",
    };
    let mut page = SignUpPage::load(&current, &dashboard).await?;
    (page.label, page.label_error) = (form.label, Some(error));
    html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}

async fn revoke(
    ServerAdmin(current): ServerAdmin,
    State(dashboard): State<Dashboard>,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    if !server_invitation::revoke(dashboard.db(), &id).await? {
        return Err(PageError::NotFound);
    }
    acts::of_person(&dashboard, &current.by(), Action::ServerInvite, json!({ "taken_back": id })).await;
    Ok(Redirect::to("/dash/server/sign-up?done=revoked").into_response())
}
