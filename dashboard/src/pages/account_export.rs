//! `POST /dash/account/export`: what is stored about a person and, for its Owners, the organisation that
//! they work in, as one JSON file. It holds no secret: no
//! password, key pair, session token or value of a webhook header; and of webhook addresses no query.
//!
//! A form and not a link, so that no other site and no prefetch can start it.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use http::header::CONTENT_DISPOSITION;
use serde_json::{Value, json};
use tenancy::app::App;
use tenancy::audit::Action;
use tenancy::limits::Limits;
use tenancy::role::Permission;
use tenancy::subscription::{self, Subscription};
use tenancy::usage::UsageDelta;
use tenancy::webhook_endpoint::{ChannelFilter, WebhookEndpoint};
use tenancy::{session, usage, webhook_endpoint};

use crate::Dashboard;
use crate::acts;
use crate::error::PageError;
use crate::page::at;
use crate::session::CurrentUser;

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/dash/account/export", post(export))
}

async fn export(current: CurrentUser, State(dashboard): State<Dashboard>) -> Result<Response, PageError> {
    let (db, user) = (dashboard.db(), current.user());
    // What an organisation has is its Owners' to take along.
    let owned = current.allowed(Permission::ManageOrganisation).ok().map(|place| &place.account);
    let (mut apps, mut days) = (Vec::new(), Vec::new());
    if let Some(account) = owned {
        for app in tenancy::app::list(db, &account.id).await? {
            let webhooks = webhook_endpoint::list(db, &account.id, app.id).await?;
            apps.push(app_json(&app, &webhooks));
        }
        days = usage::of_account(db, &account.id).await?;
    }
    let sessions = session::list(db, &user.id).await?;
    acts::of_person(&dashboard, &current.by(), Action::DataExport, Value::Null).await;
    let now = tenancy::now_ms();
    let mut body = json!({
        "exported": time(now),
        "person": {
            "id": user.id,
            "email": user.email,
            "email_confirmed": current.email_confirmed(),
            "looks_after_the_server": current.is_server_admin(),
            "created": time(user.created_ms),
        },
        "organisations": current.memberships().iter().map(|place| json!({
            "id": place.account.id,
            "name": place.account.name,
            "role": place.role.name(),
        })).collect::<Vec<_>>(),
        "account": owned.map(|account| json!({
            "id": account.id,
            "name": account.name,
            "plan": account.plan.name(),
            "created": time(account.created_ms),
            "limits": limits_json(Limits::of(account.plan)),
        })),
        "apps": apps,
        "usage_days": days.iter().map(day_json).collect::<Vec<_>>(),
        "sessions": sessions.iter().map(|one| json!({
            "began": time(one.created_ms),
            "last_used": time(one.last_seen_ms),
            "address": one.client.address,
            "user_agent": one.client.user_agent,
            "this_one": one.id_hash == current.session_id(),
        })).collect::<Vec<_>>(),
    });
    if let (Some(account), true) = (owned, dashboard.billing().is_some()) {
        let known = subscription::of_account(db, &account.id).await?;
        body["billing"] = known.map_or(Value::Null, |known| billing_json(&known));
    }
    let file = format!("attachment; filename=\"fanfare-account-{}.json\"", at(now, "%Y-%m-%d"));
    Ok(([(CONTENT_DISPOSITION, file)], Json(body)).into_response())
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
