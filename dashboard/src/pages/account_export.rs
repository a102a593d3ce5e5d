//! `POST /dash/account/export`: what is stored about a person, with what they did as the audit log has it, and the organisations that
//! they own, as one JSON file. It holds no secret: no password, key pair, session token or value of a webhook header; and of webhook
//! addresses no query.
//!
//! A form and not a link, so that no other site and no prefetch can start it.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use http::header::CONTENT_DISPOSITION;
use serde_json::{Value, json};
use tenancy::account::AccountId;
use tenancy::app::App;
use tenancy::audit::{self, Action, Row};
use tenancy::limits::Limits;
use tenancy::membership::Membership;
use tenancy::role::Permission;
use tenancy::subscription::{self, Subscription};
use tenancy::usage::UsageDelta;
use tenancy::webhook_endpoint::{ChannelFilter, WebhookEndpoint};
use tenancy::{quota, session, usage, webhook_endpoint};

use crate::Dashboard;
use crate::acts;
use crate::error::PageError;
use crate::page::at;
use crate::session::CurrentUser;

/// Rows of what the person did: all that one organisation's log can have.
const DONE_MAX: usize = audit::ROWS_PER_ACCOUNT_MAX as usize;

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/dash/account/export", post(export))
}

async fn export(current: CurrentUser, State(dashboard): State<Dashboard>) -> Result<Response, PageError> {
    let (db, user) = (dashboard.db(), current.user());
    let here = current.here().map(|place| place.account.id.clone());
    let mut organisations = Vec::new();
    for place in current.memberships() {
        organisations.push(organisation_json(&dashboard, place, here.as_ref()).await?);
    }
    let sessions = session::list(db, &user.id).await?;
    acts::of_person(&dashboard, &current.by(), Action::DataExport, Value::Null).await;
    let done = audit::of_person(db, &user.id, DONE_MAX).await?;
    let now = tenancy::now_ms();
    let body = json!({
        "exported": time(now),
        "person": {
            "id": user.id,
            "email": user.email,
            "email_confirmed": current.email_confirmed(),
            "looks_after_the_server": current.is_server_admin(),
            "created": time(user.created_ms),
        },
        "organisations": organisations,
        "sessions": sessions.iter().map(|one| json!({
            "began": time(one.created_ms),
            "last_used": time(one.last_seen_ms),
            "address": one.client.address,
            "user_agent": one.client.user_agent,
            "this_one": one.id_hash == current.session_id(),
        })).collect::<Vec<_>>(),
        "audit": done.iter().map(|(account_id, row)| {
            let open = current.memberships().iter().any(|one| one.account.id == *account_id && !one.is_locked);
            done_json(account_id, row, open)
        }).collect::<Vec<_>>(),
    });
    let file = format!("attachment; filename=\"fanfare-account-{}.json\"", at(now, "%Y-%m-%d"));
    Ok(([(CONTENT_DISPOSITION, file)], Json(body)).into_response())
}

/// A person's place in an organisation, and for its Owners what it has: that is theirs to take along.
async fn organisation_json(
    dashboard: &Dashboard,
    place: &Membership,
    here: Option<&AccountId>,
) -> Result<Value, PageError> {
    let (db, account) = (dashboard.db(), &place.account);
    let mut body = json!({
        "id": account.id,
        "name": account.name,
        "role": place.role.name(),
        "all_apps": !place.is_narrowed(),
        "working_in": Some(&account.id) == here,
    });
    if place.is_locked || !place.role.allows(Permission::ManageOrganisation) {
        return Ok(body);
    }
    let mut apps = Vec::new();
    for app in tenancy::app::list(db, &account.id).await? {
        let webhooks = webhook_endpoint::list(db, &account.id, app.id).await?;
        apps.push(app_json(&app, &webhooks));
    }
    let days = usage::of_account(db, &account.id).await?;
    body["plan"] = account.plan.name().into();
    body["created"] = time(account.created_ms).into();
    body["limits"] = limits_json(quota::limits_of(db, account.plan).await?);
    body["apps"] = apps.into();
    body["usage_days"] = days.iter().map(day_json).collect::<Vec<_>>().into();
    if dashboard.billing().is_some() {
        let known = subscription::of_account(db, &account.id).await?;
        body["billing"] = known.map_or(Value::Null, |known| billing_json(&known));
    }
    Ok(body)
}

/// What a person did. To what, and what it changed, is the organisation's: who left it, or is locked out, gets the rest.
fn done_json(account_id: &AccountId, row: &Row, open: bool) -> Value {
    let mut body = json!({
        "time": time(row.at_ms),
        "organisation": account_id,
        "action": row.action,
        "network": row.client.address,
        "user_agent": row.client.user_agent,
        "via": row.via,
    });
    if open {
        body["app"] = row.app_id.into();
        body["target"] = row.target.as_str().into();
        body["details"] = row.details.clone();
    }
    body
}

/// `2026-11-24T07:00:00Z`
fn time(ms: i64) -> String {
    at(ms, "%Y-%m-%dT%H:%M:%SZ")
}

fn billing_json(known: &Subscription) -> Value {
    json!({
        "customer": known.customer_id,
        "subscription": known.subscription_id,
        "plan": known.plan.map(|plan| plan.name()),
        "status": known.status.word(),
        "card": known.card,
    })
}

/// `null` is no limit.
fn limits_json(limits: Limits) -> Value {
    json!({
        "connections": limits.connections_max,
        "messages_per_day": limits.messages_per_day_max,
        "presence_members": limits.presence_members_max,
    })
}

fn app_json(app: &App, webhooks: &[WebhookEndpoint]) -> Value {
    json!({
        "id": app.id,
        "name": app.name,
        "cluster": app.cluster,
        "enabled": app.enabled,
        "client_events": app.client_events,
        "features": app.features,
        "allowed_origins": app.allowed_origins,
        "plan": app.plan.map(|plan| plan.name()),
        "connections_cap": app.connections_max,
        "messages_day_cap": app.messages_day_max,
        "created": time(app.created_ms),
        "webhooks": webhooks.iter().map(webhook_json).collect::<Vec<_>>(),
    })
}

fn webhook_json(webhook: &WebhookEndpoint) -> Value {
    let filter = match &webhook.channel_filter {
        ChannelFilter::None => Value::Null,
        ChannelFilter::Prefix(text) => json!({ "prefix": text }),
        ChannelFilter::Exact(text) => json!({ "exact": text }),
        ChannelFilter::Glob(text) => json!({ "glob": text }),
    };
    json!({
        "id": webhook.id,
        // A query is where services put the token that makes the address work.
        "url": webhook.url.split('?').next(),
        "events": webhook.kinds,
        "channels": filter,
        "header_names": webhook.headers.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "enabled": webhook.enabled,
        "paused": webhook.paused_ms.map(time),
        "created": time(webhook.created_ms),
    })
}

fn day_json(day: &UsageDelta) -> Value {
    json!({
        "app": day.app_id,
        "day": at(i64::from(day.day) * tenancy::clock::DAY_MS, "%Y-%m-%d"),
        "publishes": day.publishes,
        "deliveries": day.deliveries,
        "client_events": day.client_events,
        "presence": day.presence,
        "cached": day.cached,
        "reads": day.reads,
        "webhooks": day.webhooks,
        "connections_peak": day.connections_peak,
    })
}
