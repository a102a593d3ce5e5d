//! `/v1/audit`: what was done in the organisation.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tenancy::audit::{self, Filter, PAGE_MAX, Row};
use utoipa::{IntoParams, ToSchema};

use super::input::{Asked, iso, limit};
use super::scope::{Granted, ReadAudit};
use super::{Answer, Manage};

/// Something that was done.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditRow {
    /// `aud_…`; later ones are greater.
    id: String,
    #[schema(format = DateTime)]
    at: String,
    /// An e-mail address, with the name of the token behind it; or a command.
    actor: String,
    #[schema(example = "app.create")]
    action: String,
    /// The app, if it was done in one.
    app_id: Option<u64>,
    /// To what.
    target: String,
    /// More about it; of what changed, `from` and `to`. Null for nothing.
    #[schema(value_type = Option<Object>)]
    details: Value,
    /// `dash`, `cli`, `api` or `system`.
    via: String,
    /// Such as `198.51.100.x`.
    network: String,
    user_agent: String,
}

impl AuditRow {
    fn new(row: Row) -> AuditRow {
        AuditRow {
            id: row.id,
            at: iso(row.at_ms),
            actor: row.actor,
            action: row.action,
            app_id: row.app_id,
            target: row.target,
            details: row.details,
            via: row.via,
            network: row.client.address,
            user_agent: row.client.user_agent,
        }
    }
}

/// A page of the log.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditList {
    data: Vec<AuditRow>,
    /// Give it as `cursor` for the next page; null: this was the last.
    next_cursor: Option<String>,
}

/// Which rows.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// Those of this actor.
    actor: Option<String>,
    /// Those of this action (`key.create`), or of all that begin with it and a dot (`key`).
    action: Option<String>,
    /// Those of this app.
    app_id: Option<u64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
}

/// What was done in the organisation, latest first; kept for 90 days
#[utoipa::path(get, path = "/v1/audit", tag = "Audit log", security(("token" = ["audit:read"])), params(AuditQuery), responses((status = 200, body = AuditList)))]
pub(super) async fn list_audit(
    Granted(caller, _): Granted<ReadAudit>,
    State(manage): State<Manage>,
    Asked(asked): Asked<AuditQuery>,
) -> Answer<AuditList> {
    let limit = limit(asked.limit, PAGE_MAX)?;
    let filter = Filter {
        actor: asked.actor.as_deref(),
        action: asked.action.as_deref(),
        // A number that no app has finds nothing, not everything.
        app_id: asked.app_id.map(|id| if id == 0 { u64::MAX >> 1 } else { id }),
        before: asked.cursor.as_deref(),
        limit,
    };
    let rows = audit::list(&manage.db, &caller.account().id, filter).await?;
    let next_cursor = rows.last().filter(|_| rows.len() == limit as usize).map(|last| last.id.clone());
    Ok(Json(AuditList { data: rows.into_iter().map(AuditRow::new).collect(), next_cursor }))
}
