//! `/v1/invitations`: asking people into the organisation. The link is in the answer that made it, and nowhere after.

use std::convert::Infallible;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::response::IntoResponse;
use http::request::Parts;
use http::uri::Authority;
use http::{StatusCode, header};
use realtime::ws::OverTls;
use serde::{Deserialize, Serialize};
use tenancy::invitation::{self, Invitation, InviteError};
use tenancy::role::Role;
use utoipa::ToSchema;

use super::error::Refusal;
use super::input::{At, Body, iso};
use super::scope::{Granted, ManageMembers, ReadMembers};
use super::who::RoleName;
use super::{Answer, Manage};

/// A person who was asked in.
#[derive(Serialize, ToSchema)]
pub(super) struct InvitationView {
    /// `inv_…`
    id: String,
    email: String,
    #[schema(value_type = RoleName)]
    role: &'static str,
    invited_by: String,
    #[schema(format = DateTime)]
    created_at: String,
    /// The link works until then.
    #[schema(format = DateTime)]
    expires_at: String,
}

impl InvitationView {
    fn new(invitation: Invitation) -> InvitationView {
        InvitationView {
            id: invitation.id,
            email: invitation.email,
            role: invitation.role.name(),
            invited_by: invitation.invited_by,
            created_at: iso(invitation.created_ms),
            expires_at: iso(invitation.expires_ms),
        }
    }
}

/// All of them: at most 100 are open.
#[derive(Serialize, ToSchema)]
pub(super) struct InvitationList {
    data: Vec<InvitationView>,
}

/// Invitations that wait, latest first
#[utoipa::path(get, path = "/v1/invitations", tag = "People", security(("token" = ["members:read"])), responses((status = 200, body = InvitationList)))]
pub(super) async fn list_invitations(
    Granted(caller, _): Granted<ReadMembers>,
    State(manage): State<Manage>,
) -> Answer<InvitationList> {
    let list = invitation::list(&manage.db, &caller.account().id).await?;
    Ok(Json(InvitationList { data: list.into_iter().map(InvitationView::new).collect() }))
}

/// Who is asked in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InviteBody {
    #[schema(format = Email, max_length = 254, example = "ben@shop.example")]
    email: String,
    role: RoleName,
}

/// An invitation and its link.
#[derive(Serialize, ToSchema)]
pub(super) struct Invited {
    invitation: InvitationView,
    /// Send it to them. Only this answer has it; it works once and for seven days.
    link: String,
}

/// Makes an invitation link for an address
///
/// A second one for the same address replaces the first.
#[utoipa::path(post, path = "/v1/invitations", tag = "People", security(("token" = ["members:write"])), request_body = InviteBody,
    responses((status = 201, body = Invited), (status = 409, description = "They are a member, or there are too many", body = super::error::ErrorAnswer)))]
pub(super) async fn create_invitation(
    Granted(caller, _): Granted<ManageMembers>,
    State(manage): State<Manage>,
    origin: Origin,
    Body(body): Body<InviteBody>,
) -> Result<impl IntoResponse, Refusal> {
    let (by, giver, account_id) = (caller.by(), caller.bearer.membership.role, &caller.account().id);
    let made =
        invitation::issue(&manage.db, &by, giver, account_id, &body.email, Role::from(body.role)).await;
    let (made, token) = made.map_err(refusal)?;
    let link = invitation::link(&origin.0, &token);
    Ok((StatusCode::CREATED, Json(Invited { invitation: InvitationView::new(made), link })))
}

/// Where links begin: the public address, or the one by which this request came.
pub(super) struct Origin(String);

impl FromRequestParts<Manage> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, manage: &Manage) -> Result<Origin, Infallible> {
        if let Some(url) = &manage.settings.public_url {
            return Ok(Origin(url.clone()));
        }
        let over_tls = parts.extensions.get::<OverTls>().is_some();
        let host = parts.headers.get(header::HOST).and_then(|value| value.to_str().ok());
        let host = host.or_else(|| parts.uri.authority().map(Authority::as_str));
        Ok(Origin(origin(over_tls, host)))
    }
}

/// Only what can be a host stands in a link.
fn origin(over_tls: bool, host: Option<&str>) -> String {
    let (scheme, usual_port) = if over_tls { ("https", ":443") } else { ("http", ":80") };
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]_".contains(c);
    let host = host.filter(|host| !host.is_empty() && host.chars().all(plain)).unwrap_or("localhost");
    format!("{scheme}://{}", host.strip_suffix(usual_port).unwrap_or(host).to_ascii_lowercase())
}

/// Takes an invitation back; its link works no more
#[utoipa::path(delete, path = "/v1/invitations/{invitation}", tag = "People", security(("token" = ["members:write"])),
    params(("invitation" = String, Path, description = "`inv_…`")), responses((status = 204, description = "It is taken back")))]
pub(super) async fn revoke_invitation(
    Granted(caller, _): Granted<ManageMembers>,
    State(manage): State<Manage>,
    At(id): At<String>,
) -> Result<StatusCode, Refusal> {
    let (by, giver, account_id) = (caller.by(), caller.bearer.membership.role, &caller.account().id);
    invitation::revoke(&manage.db, &by, giver, account_id, &id).await.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

fn refusal(error: InviteError) -> Refusal {
    match error {
        InviteError::EmailInvalid => Refusal::invalid("email", error),
        InviteError::Member => Refusal::conflict("member", "They belong to this organisation already."),
        InviteError::OwnersOnly => Refusal::owners_only(),
        InviteError::TooMany => Refusal::conflict(
            "too_many_people",
            "An organisation has at most 200 people and 100 open invitations.",
        ),
        InviteError::TooOften => Refusal::conflict(
            "too_many_links",
            "30 links were made in the last hour. Wait a little before the next.",
        ),
        InviteError::NotFound => Refusal::not_found("The organisation has no such invitation."),
        InviteError::Db(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_begins_with_the_scheme_and_the_host_of_the_request() {
        for (over_tls, host, expected) in [
            (false, Some("WS.example.com:6001"), "http://ws.example.com:6001"),
            (false, Some("ws.example.com:80"), "http://ws.example.com"),
            (true, Some("ws.example.com"), "https://ws.example.com"),
            (true, Some("ws.example.com:443"), "https://ws.example.com"),
            (true, Some("[::1]:8443"), "https://[::1]:8443"),
            (true, Some("evil.example/x?"), "https://localhost"),
            (true, Some(""), "https://localhost"),
            (false, None, "http://localhost"),
        ] {
            assert_eq!(origin(over_tls, host), expected, "{host:?}");
        }
    }
}
