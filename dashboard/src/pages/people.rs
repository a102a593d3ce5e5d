//! `/dash/people`: who belongs to the organisation, what they may do, and who is asked in.
//!
//! A link is mailed, and shown once, in the answer that made it: only its hash is stored. It works without mail too.

use askama::Template;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;
use tenancy::app::App;
use tenancy::invitation::{self, Invitation, InviteError};
use tenancy::mail::Mail;
use tenancy::member::{self, Member, MemberError, Place};
use tenancy::role::Role;

use crate::client::Endpoint;
use crate::error::PageError;
use crate::page::{self, Frame, OrgSection, html, html_with};
use crate::scope::{Allowed, ManagePeople};
use crate::session::CurrentUser;
use crate::{Dashboard, SignUpMode, letters};

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/dash/people", get(show))
        .route("/dash/people/invite", post(invite))
        .route("/dash/people/invitations/{invitation}/renew", post(renew))
        .route("/dash/people/invitations/{invitation}/revoke", post(revoke))
        .route("/dash/people/{member}/place", post(change))
        .route("/dash/people/{member}/remove", post(remove))
}

struct Row {
    member: Member,
    since: String,
    /// The one who looks at the page.
    this: bool,
    /// Their place may be changed by who looks.
    open: bool,
}

struct Open {
    invitation: Invitation,
    expires: String,
    expired: bool,
    /// It may be renewed and taken back by who looks.
    open: bool,
}

/// A link that was just made.
struct Link {
    email: String,
    url: String,
    expires: String,
}

#[derive(Template)]
#[template(path = "people.html")]
struct PeoplePage {
    frame: Frame,
    section: OrgSection,
    members: Vec<Row>,
    invitations: Vec<Open>,
    apps: Vec<App>,
    /// The roles that who looks may give.
    roles: Vec<Role>,
    /// New people can't sign up here, so only who has an account can accept.
    closed: bool,
    link: Option<Link>,
    /// There is a mail server.
    mails: bool,
    done: Option<&'static str>,
    error: Option<&'static str>,
    email: String,
    email_error: Option<&'static str>,
}

impl PeoplePage {
    async fn load(
        current: &CurrentUser,
        allowed: &Allowed<ManagePeople>,
        dashboard: &Dashboard,
    ) -> Result<PeoplePage, PageError> {
        let (db, account_id, own) = (dashboard.db(), &allowed.account().id, allowed.membership.role);
        let now = tenancy::now_ms();
        let row = |member: Member| Row {
            since: page::at(member.since_ms, "%-d %b %Y"),
            this: member.user_id == current.user().id,
            open: own.may_give(member.role),
            member,
        };
        let open = |invitation: Invitation| Open {
            expires: page::moment(invitation.expires_ms),
            expired: invitation.expires_ms <= now,
            open: own.may_give(invitation.role),
            invitation,
        };
        Ok(PeoplePage {
            frame: Frame::new(current),
            section: OrgSection::People,
            members: member::list(db, account_id).await?.into_iter().map(row).collect(),
            invitations: invitation::list(db, account_id).await?.into_iter().map(open).collect(),
            apps: tenancy::app::list(db, account_id).await?,
            roles: Role::ALL.into_iter().filter(|role| own.may_give(*role)).collect(),
            closed: dashboard.signup().await? == SignUpMode::Closed,
            link: None,
            mails: dashboard.config().mail.server.is_some(),
            done: None,
            error: None,
            email: String::new(),
            email_error: None,
        })
    }

    fn sees(&self, row: &Row) -> String {
        match (row.member.role, row.member.all_apps) {
            (Role::Billing, _) => "Numbers only".to_owned(),
            (role, false) if role.can_be_narrowed() => match row.member.granted.len() {
                0 => "No app".to_owned(),
                1 => "1 app".to_owned(),
                n => format!("{n} apps"),
            },
            _ => "All apps".to_owned(),
        }
    }

    fn has(&self, row: &Row, app: &App) -> bool {
        row.member.granted.contains(&app.id)
    }
}

#[derive(Deserialize)]
struct Done {
    done: Option<String>,
}

async fn show(
    current: CurrentUser,
    allowed: Allowed<ManagePeople>,
    State(dashboard): State<Dashboard>,
    Query(query): Query<Done>,
) -> Result<Response, PageError> {
    let mut page = PeoplePage::load(&current, &allowed, &dashboard).await?;
    page.done = query.done.as_deref().and_then(|done| match done {
        "place" => Some("Saved. It holds from now on, also for pages that are open."),
        "removed" => Some("Removed. They see nothing of this organisation any more."),
        "revoked" => Some("The invitation was taken back. Its link works no more."),
        _ => None,
    });
    html(&page)
}

fn go(done: &str) -> Response {
    Redirect::to(&format!("/dash/people?done={done}")).into_response()
}

#[derive(Deserialize)]
struct InviteForm {
    email: String,
    role: String,
}

async fn invite(
    current: CurrentUser,
    allowed: Allowed<ManagePeople>,
    State(dashboard): State<Dashboard>,
    endpoint: Endpoint,
    form: Result<Form<InviteForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form?;
    let role = Role::parse(&form.role).ok_or(PageError::BadForm)?;
    let (by, giver, account_id) = (current.by(), allowed.membership.role, &allowed.account().id);
    let made = invitation::issue(dashboard.db(), &by, giver, account_id, &form.email, role).await;
    let mut page = PeoplePage::load(&current, &allowed, &dashboard).await?;
    match made {
        Ok(made) => {
            mailed(&dashboard, &current, &allowed, &made).await;
            linked(page, &endpoint, made)
        }
        Err(error) => {
            page.email_error = Some(invite_sentence(error)?);
            page.email = form.email;
            html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
    }
}

async fn renew(
    current: CurrentUser,
    allowed: Allowed<ManagePeople>,
    State(dashboard): State<Dashboard>,
    endpoint: Endpoint,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let (by, giver, account_id) = (current.by(), allowed.membership.role, &allowed.account().id);
    let made = invitation::renew(dashboard.db(), &by, giver, account_id, &id).await;
    let mut page = PeoplePage::load(&current, &allowed, &dashboard).await?;
    match made {
        Ok(made) => {
            mailed(&dashboard, &current, &allowed, &made).await;
            linked(page, &endpoint, made)
        }
        Err(error) => {
            page.error = Some(invite_sentence(error)?);
            html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
    }
}

/// The link goes out by mail too. The page shows it either way, so a mail that can't be queued stops nothing.
async fn mailed(
    dashboard: &Dashboard,
    current: &CurrentUser,
    allowed: &Allowed<ManagePeople>,
    (made, token): &(Invitation, String),
) {
    let words =
        letters::invitation(&allowed.account().name, made.role.title(), current.user().email.as_str());
    let (letter, path) = (words.letter(), invitation::link("", token));
    let mail = Mail {
        to: &made.email,
        kind: "invitation",
        subject: letter.subject,
        text: letter.text,
        link: Some(&path),
        account: Some(&allowed.account().id),
        lifetime_ms: Some(invitation::LIFETIME_MS),
        ..Mail::default()
    };
    if let Err(error) = tenancy::mail::queue(dashboard.db(), mail).await {
        tracing::warn!(%error, "an invitation could not be mailed");
    }
}

/// The page with the link that was just made.
fn linked(
    mut page: PeoplePage,
    endpoint: &Endpoint,
    (made, token): (Invitation, String),
) -> Result<Response, PageError> {
    let url = invitation::link(&endpoint.origin(), &token);
    page.link = Some(Link { email: made.email, url, expires: page::moment(made.expires_ms) });
    html(&page)
}

fn invite_sentence(error: InviteError) -> Result<&'static str, PageError> {
    Ok(match error {
        InviteError::EmailInvalid => "This doesn't look like an e-mail address.",
        InviteError::Member => "They belong to this organisation already.",
        InviteError::OwnersOnly => "Only an Owner can ask Owners in.",
        InviteError::TooMany => {
            "An organisation has at most 200 people and 100 open invitations. Take some back first."
        }
        InviteError::TooOften => "30 links were made in the last hour. Wait a little before the next.",
        InviteError::NotFound => return Err(PageError::PersonNotFound),
        InviteError::Db(error) => return Err(error.into()),
    })
}

const _: () = assert!(member::MEMBERS_MAX == 200 && invitation::OPEN_MAX == 100, "the page says so");
const _: () = assert!(invitation::PER_HOUR_MAX == 30, "the page says so");

async fn revoke(
    current: CurrentUser,
    allowed: Allowed<ManagePeople>,
    State(dashboard): State<Dashboard>,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let (by, giver, account_id) = (current.by(), allowed.membership.role, &allowed.account().id);
    match invitation::revoke(dashboard.db(), &by, giver, account_id, &id).await {
        Ok(()) => Ok(go("revoked")),
        Err(error) => {
            let mut page = PeoplePage::load(&current, &allowed, &dashboard).await?;
            page.error = Some(invite_sentence(error)?);
            html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
    }
}

/// Role, `apps=all` or `apps=some` with one `app` each. A repeated field doesn't fit into a struct.
fn read_place(pairs: &[(String, String)]) -> Result<Place, PageError> {
    let value = |name: &str| pairs.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str());
    let role = value("role").and_then(Role::parse).ok_or(PageError::BadForm)?;
    let chosen = pairs.iter().filter(|(name, _)| name == "app").filter_map(|(_, id)| id.parse().ok());
    let apps = (value("apps") == Some("some")).then(|| chosen.collect());
    Ok(Place { role, apps })
}

async fn change(
    current: CurrentUser,
    allowed: Allowed<ManagePeople>,
    State(dashboard): State<Dashboard>,
    Path(user_id): Path<String>,
    form: Result<Form<Vec<(String, String)>>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(pairs) = form?;
    let place = read_place(&pairs)?;
    let (by, giver, account_id) = (current.by(), allowed.membership.role, &allowed.account().id);
    let outcome = member::change(dashboard.db(), &by, giver, account_id, &user_id, &place).await;
    finish(&current, &allowed, &dashboard, outcome, "place").await
}

async fn remove(
    current: CurrentUser,
    allowed: Allowed<ManagePeople>,
    State(dashboard): State<Dashboard>,
    Path(user_id): Path<String>,
) -> Result<Response, PageError> {
    let (by, remover, account_id) = (current.by(), allowed.membership.role, &allowed.account().id);
    let outcome = member::remove(dashboard.db(), &by, remover, account_id, &user_id).await;
    finish(&current, &allowed, &dashboard, outcome, "removed").await
}

async fn finish(
    current: &CurrentUser,
    allowed: &Allowed<ManagePeople>,
    dashboard: &Dashboard,
    outcome: Result<(), MemberError>,
    done: &str,
) -> Result<Response, PageError> {
    let error = match outcome {
        Ok(()) => return Ok(go(done)),
        Err(error) => member_sentence(error)?,
    };
    let page = PeoplePage { error: Some(error), ..PeoplePage::load(current, allowed, dashboard).await? };
    html_with(StatusCode::UNPROCESSABLE_ENTITY, &page)
}

/// What a page says about a membership that was not changed.
pub(super) fn member_sentence(error: MemberError) -> Result<&'static str, PageError> {
    match error {
        MemberError::LastOwner => {
            Ok("An organisation keeps at least one Owner. Make somebody else an Owner first.")
        }
        MemberError::OwnersOnly => Ok("Only an Owner can change Owners or make new ones."),
        MemberError::NotFound => Err(PageError::PersonNotFound),
        MemberError::Db(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_from_repeated_fields() {
        let read = |pairs: &[(&str, &str)]| {
            let pairs: Vec<(String, String)> =
                pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            read_place(&pairs)
        };
        let some = read(&[("role", "viewer"), ("apps", "some"), ("app", "7"), ("app", "x"), ("app", "9")]);
        assert_eq!(some.unwrap(), Place { role: Role::Viewer, apps: Some(vec![7, 9]) });
        let all = read(&[("role", "developer"), ("apps", "all"), ("app", "7")]);
        assert_eq!(all.unwrap(), Place { role: Role::Developer, apps: None });
        assert!(read(&[("apps", "all")]).is_err() && read(&[("role", "god")]).is_err());
    }
}
