//! `/v1/members`: who belongs to the organisation and what they may do.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tenancy::member::{self, Member, MemberError, Place};
use tenancy::role::Role;
use utoipa::ToSchema;

use super::error::Refusal;
use super::input::{At, Body, iso};
use super::scope::{Granted, ManageMembers, ReadMembers};
use super::who::RoleName;
use super::{Answer, Manage};

/// Somebody who belongs to the organisation.
#[derive(Serialize, ToSchema)]
pub(super) struct MemberView {
    id: String,
    email: String,
    #[schema(value_type = RoleName)]
    role: &'static str,
    /// Ids of the apps that a Developer or Viewer was cut down to; null: all.
    apps: Option<Vec<u64>>,
    #[schema(format = DateTime)]
    since: String,
}

impl MemberView {
    fn new(member: Member) -> MemberView {
        let narrowed = !member.all_apps && member.role.can_be_narrowed();
        MemberView {
            id: member.user_id,
            email: member.email,
            role: member.role.name(),
            apps: narrowed.then_some(member.granted),
            since: iso(member.since_ms),
        }
    }
}

/// All of them: an organisation has at most 200.
#[derive(Serialize, ToSchema)]
pub(super) struct MemberList {
    data: Vec<MemberView>,
}

/// The people of the organisation, oldest member first
#[utoipa::path(get, path = "/v1/members", tag = "People", security(("token" = ["members:read"])), responses((status = 200, body = MemberList)))]
pub(super) async fn list_members(
    Granted(caller, _): Granted<ReadMembers>,
    State(manage): State<Manage>,
) -> Answer<MemberList> {
    let members = member::list(&manage.db, &caller.account().id).await?;
    Ok(Json(MemberList { data: members.into_iter().map(MemberView::new).collect() }))
}

/// What somebody shall be from now on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PlaceBody {
    role: RoleName,
    /// For Developer and Viewer: ids of the apps that they see. Left out or null: all.
    #[schema(max_items = 100)]
    apps: Option<Vec<u64>>,
}

/// Gives a member another role
#[utoipa::path(patch, path = "/v1/members/{member}", tag = "People", security(("token" = ["members:write"])), request_body = PlaceBody,
    params(("member" = String, Path, description = "The member's id")),
    responses((status = 200, body = MemberView), (status = 409, description = "The last Owner stays", body = super::error::ErrorAnswer)))]
pub(super) async fn update_member(
    Granted(caller, _): Granted<ManageMembers>,
    State(manage): State<Manage>,
    At(id): At<String>,
    Body(body): Body<PlaceBody>,
) -> Answer<MemberView> {
    let (by, giver, account_id) = (caller.by(), caller.bearer.membership.role, &caller.account().id);
    check_id(&id)?;
    if body.apps.as_ref().is_some_and(|apps| apps.len() > 100) {
        return Err(Refusal::invalid("apps", "an organisation has at most 100 apps"));
    }
    let place = Place { role: Role::from(body.role), apps: body.apps };
    member::change(&manage.db, &by, giver, account_id, &id, &place).await.map_err(refusal)?;
    let members = member::list(&manage.db, account_id).await?;
    let found = members.into_iter().find(|one| one.user_id == id).ok_or_else(no_member)?;
    Ok(Json(MemberView::new(found)))
}

/// Ends a membership; their tokens end with it
#[utoipa::path(delete, path = "/v1/members/{member}", tag = "People", security(("token" = ["members:write"])),
    params(("member" = String, Path, description = "The member's id")),
    responses((status = 204, description = "They are no member any more"), (status = 409, description = "The last Owner stays", body = super::error::ErrorAnswer)))]
pub(super) async fn remove_member(
    Granted(caller, _): Granted<ManageMembers>,
    State(manage): State<Manage>,
    At(id): At<String>,
) -> Result<StatusCode, Refusal> {
    let (by, remover, account_id) = (caller.by(), caller.bearer.membership.role, &caller.account().id);
    check_id(&id)?;
    member::remove(&manage.db, &by, remover, account_id, &id).await.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Anybody may send any text as an id; PostgreSQL would answer a NUL with an error.
fn check_id(id: &str) -> Result<(), Refusal> {
    let plain = id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if plain { Ok(()) } else { Err(no_member()) }
}

fn no_member() -> Refusal {
    Refusal::not_found("The organisation has no such member.")
}

fn refusal(error: MemberError) -> Refusal {
    match error {
        MemberError::NotFound => no_member(),
        MemberError::LastOwner => {
            Refusal::conflict("last_owner", "An organisation keeps at least one Owner.")
        }
        MemberError::OwnersOnly => Refusal::owners_only(),
        MemberError::Db(error) => error.into(),
    }
}
