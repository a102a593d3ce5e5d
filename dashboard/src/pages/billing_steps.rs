//! What is pressed on the page of the billing: to Stripe's checkout and back, another plan, an end, its taking back, the portal.

use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use billing::{Billing, BillingError, Buyer, CAP_MAX, Money, OverageFacts, Returned};
use serde::Deserialize;
use tenancy::audit::Action;
use tenancy::plan::Plan;

use crate::client::Endpoint;
use crate::error::PageError;
use crate::page::{encode, local_path};
use crate::scope::{Allowed, ManageBilling};
use crate::session::CurrentUser;
use crate::{Dashboard, acts};

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/dash/billing/checkout", post(checkout))
        .route("/dash/billing/return", get(returned))
        .route("/dash/billing/change", post(change))
        .route("/dash/billing/cancel", post(cancel))
        .route("/dash/billing/resume", post(resume))
        .route("/dash/billing/portal", post(portal))
        .route("/dash/billing/overage", post(overage))
}

const PAGE: &str = "/dash/billing";

fn billing(dashboard: &Dashboard) -> Result<&Billing, PageError> {
    dashboard.billing().ok_or(PageError::NotFound)
}

fn go(done: &str) -> Response {
    Redirect::to(&format!("{PAGE}?done={done}")).into_response()
}

/// Back to the page with a sentence, or a page of its own for what no button of ours sends.
fn excuse(error: BillingError) -> Result<Response, PageError> {
    match error {
        BillingError::Db(error) => Err(error.into()),
        BillingError::NotSold => Err(PageError::BadForm),
        BillingError::Foreign => Err(PageError::NotFound),
        BillingError::NoSubscription => Ok(Redirect::to(PAGE).into_response()),
        BillingError::Subscribed => Ok(go("subscribed")),
        BillingError::Busy => Ok(go("busy")),
        BillingError::Stripe(error) if error.is_declined() => Ok(go("declined")),
        BillingError::Stripe(error) => {
            tracing::error!(%error, "Stripe did not do what was asked");
            Ok(go("away"))
        }
    }
}

#[derive(Deserialize)]
struct Wanted {
    plan: String,
    from: Option<String>,
}

impl Wanted {
    fn plan(&self) -> Result<Plan, PageError> {
        Plan::parse(&self.plan).ok_or(PageError::BadForm)
    }
}

async fn checkout(
    allowed: Allowed<ManageBilling>,
    current: CurrentUser,
    State(dashboard): State<Dashboard>,
    endpoint: Endpoint,
    form: Result<Form<Wanted>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(wanted) = form?;
    let origin = endpoint.origin();
    let from = wanted.from.as_deref().and_then(local_path).map(|path| format!("&from={}", encode(path)));
    let buyer = Buyer {
        account: allowed.account(),
        email: &current.user().email,
        success_url: &format!(
            "{origin}{PAGE}/return?session={{CHECKOUT_SESSION_ID}}{}",
            from.unwrap_or_default()
        ),
        cancel_url: &format!("{origin}{PAGE}"),
    };
    match billing(&dashboard)?.checkout(buyer, wanted.plan()?).await {
        Ok(opened) => {
            acts::in_organisation(
                &dashboard,
                &current.by(),
                Action::BillingCheckout,
                allowed.account(),
                wanted.plan()?.title(),
            )
            .await;
            Ok(Redirect::to(&opened.url).into_response())
        }
        Err(error) => excuse(error),
    }
}

#[derive(Deserialize)]
struct Back {
    session: String,
    from: Option<String>,
}

async fn returned(
    allowed: Allowed<ManageBilling>,
    State(dashboard): State<Dashboard>,
    Query(back): Query<Back>,
) -> Result<Response, PageError> {
    match billing(&dashboard)?.returned(allowed.account(), &back.session).await {
        Ok(Returned::Granted(_)) => match back.from.as_deref().and_then(local_path) {
            Some(path) => Ok(Redirect::to(path).into_response()),
            None => Ok(go("granted")),
        },
        // Paid or not, the next look of the server will find it.
        Ok(Returned::Waiting) => Ok(go("waiting")),
        Err(BillingError::Stripe(error)) => {
            tracing::warn!(%error, "a return from a checkout could not be looked at");
            Ok(go("waiting"))
        }
        Err(error) => excuse(error),
    }
}

async fn change(
    allowed: Allowed<ManageBilling>,
    current: CurrentUser,
    State(dashboard): State<Dashboard>,
    form: Result<Form<Wanted>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(wanted) = form?;
    match billing(&dashboard)?.change(&allowed.account().id, wanted.plan()?).await {
        Ok(_) => {
            acts::in_organisation(
                &dashboard,
                &current.by(),
                Action::BillingChange,
                allowed.account(),
                wanted.plan()?.title(),
            )
            .await;
            Ok(go("changed"))
        }
        Err(error) => excuse(error),
    }
}

async fn cancel(
    allowed: Allowed<ManageBilling>,
    current: CurrentUser,
    State(dashboard): State<Dashboard>,
) -> Result<Response, PageError> {
    match billing(&dashboard)?.cancel_at_period_end(&allowed.account().id, true).await {
        Ok(_) => {
            acts::in_organisation(
                &dashboard,
                &current.by(),
                Action::BillingCancel,
                allowed.account(),
                allowed.account().plan.title(),
            )
            .await;
            Ok(go("canceled"))
        }
        Err(error) => excuse(error),
    }
}

async fn resume(
    allowed: Allowed<ManageBilling>,
    current: CurrentUser,
    State(dashboard): State<Dashboard>,
) -> Result<Response, PageError> {
    match billing(&dashboard)?.cancel_at_period_end(&allowed.account().id, false).await {
        Ok(_) => {
            acts::in_organisation(
                &dashboard,
                &current.by(),
                Action::BillingResume,
                allowed.account(),
                allowed.account().plan.title(),
            )
            .await;
            Ok(go("resumed"))
        }
        Err(error) => excuse(error),
    }
}

async fn portal(
    allowed: Allowed<ManageBilling>,
    State(dashboard): State<Dashboard>,
    endpoint: Endpoint,
) -> Result<Response, PageError> {
    let return_url = format!("{}{PAGE}", endpoint.origin());
    match billing(&dashboard)?.portal(&allowed.account().id, &return_url).await {
        Ok(url) => Ok(Redirect::to(&url).into_response()),
        Err(error) => excuse(error),
    }
}

#[derive(Deserialize)]
struct Allowance {
    amount: String,
}

async fn overage(
    allowed: Allowed<ManageBilling>,
    current: CurrentUser,
    State(dashboard): State<Dashboard>,
    form: Result<Form<Allowance>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(wanted) = form?;
    let billing = billing(&dashboard)?;
    let Some(facts) = billing.overage(&allowed.account().id).await.or_else(none)? else {
        return Err(PageError::NotFound);
    };
    let Some(price) = facts.price else { return Ok(go("away")) };
    let Some(cap) = Money::read(&wanted.amount, price.currency()).filter(|cap| *cap <= CAP_MAX) else {
        return Ok(go("no-amount"));
    };
    match billing.allow_overage(&allowed.account().id, cap).await {
        Ok(()) => {
            let told = price.money(cap).to_string();
            acts::in_organisation(
                &dashboard,
                &current.by(),
                Action::BillingOverage,
                allowed.account(),
                &told,
            )
            .await;
            Ok(go(if cap > 0 { "overage" } else { "no-overage" }))
        }
        Err(error) => excuse(error),
    }
}

fn none(error: BillingError) -> Result<Option<OverageFacts>, PageError> {
    match error {
        BillingError::Db(error) => Err(error.into()),
        _ => Ok(None),
    }
}
