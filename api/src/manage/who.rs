//! `/v1/me` and `/v1/organisation`: what the token is, whom it acts for, and where.

use std::marker::PhantomData;

use axum::Json;
use serde::Serialize;
use tenancy::plan::Plan;
use tenancy::role::Role;
use utoipa::ToSchema;

use super::Answer;
use super::input::{iso, iso_or_never};
use super::scope::{AskWho, Granted};

/// A token and whom it acts for.
#[derive(Serialize, ToSchema)]
pub(super) struct Me {
    /// `tok_…`
    pub(super) id: String,
    pub(super) name: String,
    /// Its last four characters.
    pub(super) hint: String,
    /// What it was made for.
    #[schema(example = json!(["apps:read", "stats:read"]))]
    pub(super) scopes: Vec<&'static str>,
    /// The one app that it sees; null: all that its person sees.
    pub(super) app_id: Option<u64>,
    #[schema(format = DateTime)]
    pub(super) created_at: String,
    /// Null: it has no end.
    #[schema(format = DateTime)]
    pub(super) expires_at: Option<String>,
    /// Up to a minute old; null before its first use was written down.
    #[schema(format = DateTime)]
    pub(super) last_used_at: Option<String>,
    /// The person it acts for.
    pub(super) user: Person,
    /// What they are in the organisation now; a token never does more.
    #[schema(value_type = RoleName)]
    pub(super) role: &'static str,
}

/// A person.
#[derive(Serialize, ToSchema)]
pub(super) struct Person {
    pub(super) id: String,
    pub(super) email: String,
}

/// What a member is.
#[derive(Clone, Copy, Serialize, serde::Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RoleName {
    Owner,
    Admin,
    Developer,
    Viewer,
    Billing,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Role {
        match name {
            RoleName::Owner => Role::Owner,
            RoleName::Admin => Role::Admin,
            RoleName::Developer => Role::Developer,
            RoleName::Viewer => Role::Viewer,
            RoleName::Billing => Role::Billing,
        }
    }
}

/// What this token is and may do
///
/// Needs no scope: a good first request.
#[utoipa::path(get, path = "/v1/me", tag = "Token", security(("token" = [])), responses((status = 200, body = Me)))]
pub(super) async fn me(Granted(caller, _): Granted<AskWho>) -> Answer<Me> {
    let (token, user) = (caller.bearer.token, caller.bearer.user);
    Ok(Json(Me {
        id: token.id,
        name: token.name,
        hint: token.hint,
        scopes: token.scopes.iter().map(|scope| scope.name()).collect(),
        app_id: token.app_id,
        created_at: iso(token.created_ms),
        expires_at: token.expires_ms.map(iso),
        last_used_at: iso_or_never(token.last_used_ms),
        user: Person { id: user.id, email: user.email },
        role: caller.bearer.membership.role.name(),
    }))
}

/// An organisation.
#[derive(Serialize, ToSchema)]
pub(super) struct Organisation {
    pub(super) id: String,
    pub(super) name: String,
    /// Its plan, such as `sandbox`.
    pub(super) plan: &'static str,
    #[schema(format = DateTime)]
    pub(super) created_at: String,
}

/// The organisation that the token works in
#[utoipa::path(get, path = "/v1/organisation", tag = "Token", security(("token" = [])), responses((status = 200, body = Organisation)))]
pub(super) async fn organisation(Granted(caller, PhantomData): Granted<AskWho>) -> Answer<Organisation> {
    let account = caller.account();
    Ok(Json(Organisation {
        id: account.id.clone(),
        name: account.name.clone(),
        plan: Plan::name(account.plan),
        created_at: iso(account.created_ms),
    }))
}
